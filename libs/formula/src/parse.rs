//! Tokens -> AST: a Pratt parser for expressions, a straight one for `SELECT`.

mod call;
mod expr;
mod select;

use crate::{
    ast::{Expr, Node, Query, Word},
    diagnostics::{Outcome, Rule, Span, fault},
    token::{Kind, Token, tokenize},
};

/// The deepest tree that is built; every later stage may recurse over it.
pub(crate) const MAX_DEPTH: u16 = 128;
/// How deep queries may stand in queries.
pub(crate) const MAX_QUERIES: usize = 12;
/// Of a formula, in which none may stand.
const NO_QUERIES: usize = usize::MAX;
/// The most nodes one text may have.
pub(crate) const MAX_NODES: usize = 20_000;

/// Words that end or join clauses, so they are names only in quotes.
pub(crate) const RESERVED: [&str; 45] = [
    "all",
    "and",
    "as",
    "asc",
    "between",
    "by",
    "case",
    "cross",
    "desc",
    "distinct",
    "else",
    "end",
    "except",
    "final",
    "format",
    "from",
    "full",
    "group",
    "having",
    "ilike",
    "in",
    "inner",
    "intersect",
    "into",
    "is",
    "join",
    "left",
    "like",
    "limit",
    "not",
    "null",
    "nulls",
    "offset",
    "on",
    "or",
    "order",
    "prewhere",
    "select",
    "settings",
    "then",
    "union",
    "using",
    "when",
    "where",
    "with",
];

/// Reads one query; a semicolon may end it.
pub(crate) fn query(text: &str) -> Outcome<Query> {
    let mut parser = Parser::new(text)?;
    let query = parser.query()?;
    parser.eat(";");
    if parser.is_end() {
        return Ok(query);
    }
    parser.unsupported_clause()?;
    parser.unexpected("the end of the query; one call runs one statement")
}

/// Reads one expression: a formula or a dimension.
pub(crate) fn expression(text: &str) -> Outcome<Expr> {
    let mut parser = Parser { queries: NO_QUERIES, ..Parser::new(text)? };
    let expr = parser.expr()?;
    if parser.is_end() { Ok(expr) } else { parser.unexpected("the end of the expression") }
}

/// The names in braces and where they stand, braces included; nothing of a text that has faults.
pub(crate) fn metrics(text: &str) -> Vec<(Span, &str)> {
    let tokens = tokenize(text).unwrap_or_default().into_iter();
    let metrics = tokens.filter_map(|token| match token.kind {
        Kind::Metric(name) => Some((token.span, name)),
        _ => None,
    });
    metrics.collect()
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token<'a>>,
    at: usize,
    depth: u16,
    nodes: usize,
    /// Queries that are open here.
    queries: usize,
    /// The depth of the deepest node since the innermost of them began.
    deepest: u16,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Outcome<Self> {
        Ok(Self { text, tokens: tokenize(text)?, at: 0, depth: 0, nodes: 0, queries: 0, deepest: 0 })
    }

    fn token(&self) -> &Token<'a> {
        self.ahead(0)
    }

    /// The token so far ahead; past the end it is the end.
    fn ahead(&self, by: usize) -> &Token<'a> {
        &self.tokens[(self.at + by).min(self.tokens.len() - 1)]
    }

    fn span(&self) -> Span {
        self.token().span
    }

    /// Where the token before this one ended.
    fn since(&self, start: Span) -> Span {
        let last = self.tokens[self.at.saturating_sub(1)].span;
        if last.end < start.end { start } else { start.to(last) }
    }

    fn advance(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    fn is_end(&self) -> bool {
        self.token().kind == Kind::End
    }

    fn is(&self, symbol: &str) -> bool {
        self.is_ahead(0, symbol)
    }

    fn is_ahead(&self, by: usize, symbol: &str) -> bool {
        matches!(self.ahead(by).kind, Kind::Symbol(s) if s == symbol)
    }

    fn eat(&mut self, symbol: &str) -> bool {
        let found = self.is(symbol);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, symbol: &str, what: &str) -> Outcome<()> {
        if self.eat(symbol) { Ok(()) } else { self.unexpected(&format!("`{symbol}` {what}")) }
    }

    fn is_word(&self, word: &str) -> bool {
        self.is_word_ahead(0, word)
    }

    fn is_word_ahead(&self, by: usize, word: &str) -> bool {
        matches!(self.ahead(by).kind, Kind::Word(w) if w.eq_ignore_ascii_case(word))
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.advance();
        }
        found
    }

    /// Takes all the words, or none.
    fn eat_words(&mut self, words: &[&str]) -> bool {
        let found = words.iter().enumerate().all(|(i, word)| self.is_word_ahead(i, word));
        if found {
            words.iter().for_each(|_| self.advance());
        }
        found
    }

    fn expect_word(&mut self, word: &str, what: &str) -> Outcome<()> {
        if self.eat_word(word) { Ok(()) } else { self.unexpected(&format!("{} {what}", word.to_uppercase())) }
    }

    /// A bare or quoted name that no clause begins with.
    fn eat_name(&mut self) -> Option<Word> {
        let text = match &self.token().kind {
            Kind::Word(word) if !is_reserved(word) => (*word).to_owned(),
            Kind::Quoted(name) => name.clone().into_owned(),
            _ => return None,
        };
        let span = self.span();
        self.advance();
        Some(Word { text, span })
    }

    /// A fault at the current token: what was expected instead of it.
    fn unexpected<T>(&self, expected: &str) -> Outcome<T> {
        let span = self.span();
        let found = match &self.token().kind {
            Kind::End => "the end of the text".to_owned(),
            _ => format!("`{}`", crate::diagnostics::excerpt(&self.text[span.start..span.end])),
        };
        fault(span, Rule::Syntax, format!("found {found}, expected {expected}"))
    }

    fn not_available<T>(&self, span: Span, what: &str) -> Outcome<T> {
        fault(span, Rule::NotAvailable, what)
    }

    /// Counts one level of nesting while `inner` runs.
    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        if self.depth == MAX_DEPTH {
            return fault(self.span(), Rule::TooLarge, too_deep());
        }
        self.depth += 1;
        let outcome = inner(self);
        self.depth -= 1;
        outcome
    }

    /// Makes a node over its children, within the bounds of depth and number.
    fn node(&mut self, span: Span, children: u16, node: Node) -> Outcome<Expr> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("the text has more than {MAX_NODES} parts; split it into several queries");
            return fault(span, Rule::TooLarge, message);
        }
        if children >= MAX_DEPTH {
            return fault(span, Rule::TooLarge, too_deep());
        }
        self.deepest = self.deepest.max(children + 1);
        Ok(Expr { node, span, depth: children + 1 })
    }
}

fn too_deep() -> String {
    format!("the expression is nested more than {MAX_DEPTH} levels deep; split it")
}

fn is_reserved(word: &str) -> bool {
    RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(word))
}

/// The depth of the deepest.
fn deepest<'e>(children: impl IntoIterator<Item = &'e Expr>) -> u16 {
    children.into_iter().map(|child| child.depth).max().unwrap_or(0)
}

#[cfg(test)]
mod tests;
