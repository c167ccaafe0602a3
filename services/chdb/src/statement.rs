//! Takes one statement apart: what it is, its output format, and where an insert's data begin.

use crate::error::QueryError;
use crate::lexer::{Kind, Lexer, Token};

/// A statement, split as far as running it needs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Statement {
    /// A SELECT: streamed out in `format` if the text names one. `body` is the text without its FORMAT clause and
    /// `tail` what follows the clause (`SETTINGS ...`).
    Select { body: String, format: Option<String>, tail: String },
    /// An INSERT whose data follow it: `head` is the text before FORMAT or VALUES, `data_start` the byte of the text
    /// where its data begin.
    Insert { head: String, format: String, data_start: usize },
    /// KILL QUERY, rewritten to find queries by what the engine knows of our query ids.
    Kill { text: String },
    /// SET or USE: what a session remembers.
    Session { text: String },
    /// Anything else; its result is small. `format` is what the text itself asks for.
    Other { text: String, format: Option<String> },
}

impl Statement {
    /// Splits `text`. An INSERT is recognised without looking at its data.
    pub(crate) fn parse(text: &str) -> Result<Self, QueryError> {
        let mut lexer = Lexer::new(text);
        let Some(first) = lexer.next() else {
            return Err(QueryError::syntax("Syntax error: the query is empty."));
        };
        if first.is("INSERT")
            && let Some(insert) = split_insert(text, lexer)
        {
            return Ok(insert);
        }
        let tokens: Vec<_> = Lexer::new(text).collect();
        let end = tokens.iter().rev().find(|t| !t.is_punctuation(b';')).map_or(0, Token::end);
        let trimmed = text[..end].to_owned();
        let starts = |words: &[&str]| words.iter().any(|w| first.is(w));
        Ok(if starts(&["SELECT", "WITH", "FROM"]) || first.is_punctuation(b'(') {
            split_select(text, &tokens, end)
        } else if first.is("KILL") {
            Self::Kill { text: rewrite_kill(&trimmed) }
        } else if starts(&["SET", "USE"]) {
            Self::Session { text: trimmed }
        } else {
            let format = format_clause(&tokens, end).and_then(|at| tokens[at + 1].name());
            Self::Other { text: trimmed, format: format.map(|name| name.into_owned()) }
        })
    }

    /// The word for it in the query log.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Select { .. } => "Select",
            Self::Insert { .. } => "Insert",
            Self::Kill { .. } => "Kill",
            Self::Session { .. } => "Session",
            Self::Other { .. } => "Other",
        }
    }
}

/// The index of the FORMAT that ends a text, a SETTINGS clause behind it aside.
fn format_clause(tokens: &[Token<'_>], end: usize) -> Option<usize> {
    let tokens = &tokens[..tokens.iter().rposition(|t| t.end() == end).map_or(0, |at| at + 1)];
    (0..tokens.len().saturating_sub(1)).rev().find(|&at| {
        tokens[at].is("FORMAT")
            && tokens[at + 1].name().is_some()
            && tokens.get(at + 2).is_none_or(|next| next.is("SETTINGS"))
    })
}

fn split_select(text: &str, tokens: &[Token<'_>], end: usize) -> Statement {
    match format_clause(tokens, end) {
        None => Statement::Select { body: text[..end].to_owned(), format: None, tail: String::new() },
        Some(at) => Statement::Select {
            body: text[..tokens[at].start].to_owned(),
            format: tokens[at + 1].name().map(|name| name.into_owned()),
            tail: text[tokens[at + 1].end()..end].trim().to_owned(),
        },
    }
}

/// `None` for INSERT ... SELECT and for what is no insert the engine would take: those run as they are.
fn split_insert<'a>(text: &'a str, mut tokens: Lexer<'a>) -> Option<Statement> {
    let insert = |end: usize, format: String, data_start| {
        Some(Statement::Insert { head: text[..end].to_owned(), format, data_start })
    };
    let mut depth = 0_usize;
    // The target may be named like a keyword, so names are skipped before keywords are looked for.
    let mut target = Target::Expected;
    while let Some(token) = tokens.next() {
        match token.kind {
            Kind::Broken => return None,
            Kind::Punctuation(b'(' | b'[') => depth += 1,
            Kind::Punctuation(b')' | b']') => depth = depth.checked_sub(1)?,
            Kind::Punctuation(b';') if depth == 0 => return None,
            Kind::Word if target == Target::Opened && (token.is("SELECT") || token.is("WITH")) => {
                // A column may bear such a name: then the list goes on or ends behind it.
                let next = tokens.clone().next()?;
                if !next.is_punctuation(b',') && !next.is_punctuation(b')') {
                    return None;
                }
            }
            Kind::Word if depth == 0 && target.is_named() => {
                if token.is("VALUES") {
                    return insert(token.start, "Values".into(), token.end());
                }
                if token.is("FORMAT") {
                    let name = tokens.next()?;
                    return insert(token.start, name.name()?.into_owned(), data_start(text, name.end()));
                }
                if ["SELECT", "WITH", "FROM", "WATCH"].iter().any(|w| token.is(w)) {
                    return None;
                }
            }
            _ => {}
        }
        target = target.after(&token, depth);
    }
    None
}

/// Where the reading of `INTO [TABLE] [FUNCTION] name[.name]` stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Expected,
    Named,
    AfterDot,
    /// A bracket right after the name: a column list, or a SELECT in brackets.
    Opened,
}

impl Target {
    fn is_named(self) -> bool {
        matches!(self, Self::Named | Self::Opened)
    }

    fn after(self, token: &Token<'_>, depth: usize) -> Self {
        match self {
            Self::Expected if ["INTO", "TABLE", "FUNCTION"].iter().any(|w| token.is(w)) => Self::Expected,
            Self::Expected | Self::AfterDot => Self::Named,
            Self::Named if token.is_punctuation(b'.') => Self::AfterDot,
            Self::Named if token.is_punctuation(b'(') && depth == 1 => Self::Opened,
            Self::Opened => Self::Named,
            other => other,
        }
    }
}

/// Data begin after the line of the FORMAT clause, or after the spaces behind it.
fn data_start(text: &str, format_end: usize) -> usize {
    let rest = &text[format_end..];
    let rest = rest.trim_start_matches([' ', '\t', '\x0c']);
    let rest = rest.strip_prefix('\r').unwrap_or(rest);
    let rest = rest.strip_prefix('\n').unwrap_or(rest);
    text.len() - rest.len()
}

/// The engine gives every query an id of its own and carries ours as `log_comment`; and it hangs on SYNC.
fn rewrite_kill(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 32);
    let mut copied = 0;
    for token in Lexer::new(text) {
        let replacement = match token.name() {
            Some(name) if name == "query_id" => "Settings['log_comment']",
            Some(_) if token.is("SYNC") => "ASYNC",
            _ => continue,
        };
        out.push_str(&text[copied..token.start]);
        out.push_str(replacement);
        copied = token.end();
    }
    out.push_str(&text[copied..]);
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn select(text: &str) -> (String, Option<String>, String) {
        match Statement::parse(text).unwrap() {
            Statement::Select { body, format, tail } => (body, format, tail),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn the_format_clause_is_cut_out() {
        let some = |s: &str| Some(s.to_owned());
        assert_eq!(select("SELECT 1"), ("SELECT 1".into(), None, String::new()));
        assert_eq!(select("SELECT 1 FORMAT JSON; -- x"), ("SELECT 1 ".into(), some("JSON"), String::new()));
        assert_eq!(
            select("select format from t format `CSV` settings max_threads = 1"),
            ("select format from t ".into(), some("CSV"), "settings max_threads = 1".into())
        );
        assert_eq!(select("SELECT 1 AS format").1, None);
        assert_eq!(select("SELECT 'x FORMAT JSON'").1, None);
        assert_eq!(select("SELECT 1 AS format SETTINGS max_threads = 1").1, None);
    }

    #[test]
    fn an_insert_ends_where_its_data_begin() {
        for (text, head, format, data) in [
            ("INSERT INTO t FORMAT CSV\n1,2", "INSERT INTO t ", "CSV", "1,2"),
            ("INSERT INTO t FORMAT TSV  1\t2", "INSERT INTO t ", "TSV", "1\t2"),
            ("insert into db.t (a, b) values (1, ';')", "insert into db.t (a, b) ", "Values", " (1, ';')"),
            (
                "INSERT INTO `format` (`values`) SETTINGS a = 1 FORMAT Native\r\n\0",
                "INSERT INTO `format` (`values`) SETTINGS a = 1 ",
                "Native",
                "\0",
            ),
            ("INSERT INTO format FORMAT CSV\n", "INSERT INTO format ", "CSV", ""),
            ("INSERT INTO a.values(select) VALUES (1)", "INSERT INTO a.values(select) ", "Values", " (1)"),
            ("INSERT INTO t FORMAT CSV\n'never closed", "INSERT INTO t ", "CSV", "'never closed"),
        ] {
            match Statement::parse(text).unwrap() {
                Statement::Insert { head: h, format: f, data_start } => {
                    assert_eq!((h.as_str(), f.as_str(), &text[data_start..]), (head, format, data), "{text}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn an_insert_without_data_runs_as_it_is() {
        for text in [
            "INSERT INTO t SELECT 1",
            "INSERT INTO t (SELECT 1)",
            "INSERT INTO t (a) WITH 1 AS x SELECT x",
            "INSERT",
            "INSERT INTO t",
        ] {
            assert!(matches!(Statement::parse(text).unwrap(), Statement::Other { .. }), "{text}");
        }
    }

    #[test]
    fn kill_finds_our_ids_and_never_waits() {
        let Statement::Kill { text } = Statement::parse("KILL QUERY WHERE query_id = 'sync query_id' SYNC;").unwrap()
        else {
            panic!("not a kill");
        };
        assert_eq!(text, "KILL QUERY WHERE Settings['log_comment'] = 'sync query_id' ASYNC");
    }

    #[test]
    fn nothing_is_no_statement() {
        for text in ["", " -- x", "/* */"] {
            assert_eq!(Statement::parse(text).unwrap_err().code, 62);
        }
    }
}
