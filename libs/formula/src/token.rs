//! Text -> tokens. Every byte of the text belongs to a token, to white space or to a comment, or is a fault.

use std::borrow::Cow;

use crate::diagnostics::{Outcome, Rule, Span, fault};

/// The longest text that is read, in bytes.
pub(crate) const MAX_TEXT: usize = 64 * 1024;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind<'a>,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind<'a> {
    /// A keyword or a bare name; which one it is, the parser knows from its place.
    Word(&'a str),
    /// `"any name"`.
    Quoted(Cow<'a, str>),
    /// `'text'`, without its quotes.
    Text(Cow<'a, str>),
    /// Digits, at most one point, at most one exponent.
    Number(&'a str),
    Symbol(&'static str),
    /// `{revenue}`, `{revenue@3}`, without the braces.
    Metric(&'a str),
    End,
}

/// Operators that others have, and what to write instead.
const OF_OTHERS: [(&str, &str); 4] = [
    ("->", "a property is a column; write its name, without `->`"),
    ("~", "regular expressions are not available; write LIKE, ILIKE or CONTAINS"),
    ("!~", "regular expressions are not available; write LIKE, ILIKE or CONTAINS"),
    ("[", "a value is never a list; group by what it would hold"),
];

/// Longer symbols before their prefixes.
const SYMBOLS: [&str; 19] =
    ["||", "::", "<>", "!=", "<=", ">=", "(", ")", ",", ".", ";", "+", "-", "*", "/", "%", "=", "<", ">"];

/// Cuts a text into tokens; the last one is always [`Kind::End`].
pub(crate) fn tokenize(text: &str) -> Outcome<Vec<Token<'_>>> {
    if text.len() > MAX_TEXT {
        let message = format!("the text has {} bytes; at most {MAX_TEXT} are read", text.len());
        return fault(Span::new(MAX_TEXT, text.len()), Rule::TooLarge, message);
    }
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::with_capacity(text.len() / 4 + 1);
    loop {
        let token = lexer.next()?;
        let done = token.kind == Kind::End;
        tokens.push(token);
        if done {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn next(&mut self) -> Outcome<Token<'a>> {
        self.skip_blanks()?;
        let start = self.at;
        let Some(first) = self.rest().chars().next() else {
            return Ok(Token { kind: Kind::End, span: Span::new(start, start) });
        };
        let kind = match first {
            '\'' => Kind::Text(self.delimited('\'', "text")?),
            '"' | '`' => Kind::Quoted(self.delimited(first, "name")?),
            c if is_word_start(c) => Kind::Word(self.take_while(is_word_part)),
            c if c.is_ascii_digit() || (c == '.' && self.digit_at(1)) => self.number()?,
            '{' if self.metric().is_some() => Kind::Metric(self.metric().map_or("", |name| self.take_metric(name))),
            _ => self.symbol(first)?,
        };
        Ok(Token { kind, span: Span::new(start, self.at) })
    }

    fn skip_blanks(&mut self) -> Outcome<()> {
        loop {
            self.take_while(char::is_whitespace);
            if self.rest().starts_with("--") {
                self.take_while(|c| c != '\n');
            } else if self.rest().starts_with("/*") {
                self.block_comment()?;
            } else {
                return Ok(());
            }
        }
    }

    /// Block comments nest, as in PostgreSQL.
    fn block_comment(&mut self) -> Outcome<()> {
        let start = self.at;
        let mut depth = 0usize;
        loop {
            if self.rest().starts_with("/*") {
                depth += 1;
                self.at += 2;
            } else if self.rest().starts_with("*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return Ok(());
                }
            } else if let Some(c) = self.rest().chars().next() {
                self.at += c.len_utf8();
            } else {
                return fault(Span::new(start, start + 2), Rule::Syntax, "this comment has no end; close it with `*/`");
            }
        }
    }

    /// What stands between two quotes; a doubled quote stands for itself, a backslash too.
    fn delimited(&mut self, quote: char, what: &str) -> Outcome<Cow<'a, str>> {
        let start = self.at;
        self.at += 1;
        let mut whole = Cow::Borrowed("");
        loop {
            let Some(length) = self.rest().find(quote) else {
                let message = format!("this {what} has no end; close it with {quote}");
                return fault(Span::new(start, start + 1), Rule::Syntax, message);
            };
            let piece = &self.rest()[..length];
            self.at += length + 1;
            let doubled = self.rest().starts_with(quote);
            if whole.is_empty() && !doubled {
                return Ok(Cow::Borrowed(piece));
            }
            whole.to_mut().push_str(piece);
            if !doubled {
                return Ok(whole);
            }
            whole.to_mut().push(quote);
            self.at += 1;
        }
    }

    fn number(&mut self) -> Outcome<Kind<'a>> {
        let start = self.at;
        self.digits();
        if self.rest().starts_with('.') {
            self.at += 1;
            self.digits();
        }
        if self.rest().starts_with(['e', 'E']) {
            let sign = usize::from(self.rest()[1..].starts_with(['+', '-']));
            if self.digit_at(1 + sign) {
                self.at += 1 + sign;
                self.digits();
            }
        }
        if self.rest().starts_with(is_word_part) {
            self.take_while(is_word_part);
            let message = format!("`{}` is neither a number nor a name", &self.text[start..self.at]);
            return fault(Span::new(start, self.at), Rule::InvalidNumber, message);
        }
        Ok(Kind::Number(&self.text[start..self.at]))
    }

    /// The name between braces here, if it can be a metric's.
    fn metric(&self) -> Option<&'a str> {
        let (name, _) = self.rest().strip_prefix('{')?.split_once('}')?;
        let (word, version) = name.split_once('@').unwrap_or((name, "1"));
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let digits = (1..=9).contains(&version.len()) && version.bytes().all(|b| b.is_ascii_digit());
        let known = word.starts_with(|c: char| c.is_ascii_lowercase()) && word.len() <= 64 && word.chars().all(plain);
        (known && digits).then_some(name)
    }

    fn take_metric(&mut self, name: &'a str) -> &'a str {
        self.at += name.len() + 2;
        name
    }

    fn symbol(&mut self, first: char) -> Outcome<Kind<'a>> {
        if let Some((of_others, instead)) = OF_OTHERS.into_iter().find(|(s, _)| self.rest().starts_with(s)) {
            return fault(Span::new(self.at, self.at + of_others.len()), Rule::NotAvailable, instead);
        }
        let Some(symbol) = SYMBOLS.into_iter().find(|s| self.rest().starts_with(s)) else {
            let end = self.at + first.len_utf8();
            let message =
                format!("the character {first:?} has no meaning here; texts stand in '...', names in \"...\"");
            return fault(Span::new(self.at, end), Rule::Syntax, message);
        };
        self.at += symbol.len();
        Ok(Kind::Symbol(if symbol == "!=" { "<>" } else { symbol }))
    }

    fn digits(&mut self) {
        self.take_while(|c| c.is_ascii_digit());
    }

    fn digit_at(&self, ahead: usize) -> bool {
        self.rest().as_bytes().get(ahead).is_some_and(u8::is_ascii_digit)
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c| !keep(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }
}

fn is_word_start(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn is_word_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(text: &str, want: &str) {
        let got = match tokenize(text) {
            Ok(tokens) => tokens
                .iter()
                .map(|t| match &t.kind {
                    Kind::Word(w) => format!("w:{w}"),
                    Kind::Quoted(q) => format!("q:{q}"),
                    Kind::Text(t) => format!("t:{t}"),
                    Kind::Number(n) => format!("n:{n}"),
                    Kind::Symbol(s) => (*s).to_owned(),
                    Kind::Metric(m) => format!("m:{m}"),
                    Kind::End => "end".to_owned(),
                })
                .collect::<Vec<_>>()
                .join(" "),
            Err(d) => format!("{}..{} {}", d.span.start, d.span.end, d.message),
        };
        assert_eq!(got, want, "{text}");
    }

    #[test]
    fn texts_become_tokens() {
        check("a1 <> 'it''s' -- x\n/* /* */ */ \"A \"\"b\"", "w:a1 <> t:it's q:A \"b end");
        check("1 1.5 .5 1. 1e3 1E-2 a.b", "n:1 n:1.5 n:.5 n:1. n:1e3 n:1E-2 w:a . w:b end");
        check("a>=1!=b||c::d>e", "w:a >= n:1 <> w:b || w:c :: w:d > w:e end");
        check("'back\\slash' größe ''", "t:back\\slash w:größe t: end");
        check("{revenue} / {buyers_7@12}", "m:revenue / m:buyers_7@12 end");
        check("", "end");
    }

    #[test]
    fn faults_have_a_place() {
        check("a 'b", "2..3 this text has no end; close it with '");
        check("x /* y", "2..4 this comment has no end; close it with `*/`");
        check("12ab", "0..4 `12ab` is neither a number nor a name");
        check("a->>'b'", "1..3 a property is a column; write its name, without `->`");
        check("a !~ 'b'", "2..4 regular expressions are not available; write LIKE, ILIKE or CONTAINS");
        check("a {p0:String}", "2..3 the character '{' has no meaning here; texts stand in '...', names in \"...\"");
        for text in ["{}", "{a@}", "{a@1234567890}", "{A}", "{a b}", "{_a}", "{a", "{a@1@2}"] {
            assert!(tokenize(text).is_err(), "{text}");
        }
        let long = "x".repeat(MAX_TEXT + 1);
        assert_eq!(tokenize(&long).unwrap_err().rule, Rule::TooLarge);
    }
}
