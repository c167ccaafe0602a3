//! Faults in a text: where, what rule, and what would be right.

use model::{Error, ErrorCode, Violation};

/// A byte range in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// From the start of this to the end of the other.
    pub(crate) fn to(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// The rule that a text breaks; its name is what clients program against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    Syntax,
    TooLarge,
    NotAvailable,
    UnknownTable,
    UnknownField,
    UnknownFunction,
    UnknownName,
    AmbiguousProperty,
    AmbiguousName,
    WrongArguments,
    TypeMismatch,
    AggregateNotAllowed,
    NestedAggregate,
    NotGrouped,
    InvalidTime,
    InvalidInterval,
    InvalidTimeZone,
    InvalidNumber,
    InvalidLimit,
    DuplicateName,
    OtherApp,
}

impl Rule {
    const fn reason(self) -> &'static str {
        match self {
            Self::Syntax => "SYNTAX",
            Self::TooLarge => "TOO_LARGE",
            Self::NotAvailable => "NOT_AVAILABLE",
            Self::UnknownTable => "UNKNOWN_TABLE",
            Self::UnknownField => "UNKNOWN_FIELD",
            Self::UnknownFunction => "UNKNOWN_FUNCTION",
            Self::UnknownName => "UNKNOWN_NAME",
            Self::AmbiguousProperty => "AMBIGUOUS_PROPERTY",
            Self::AmbiguousName => "AMBIGUOUS_NAME",
            Self::WrongArguments => "WRONG_ARGUMENTS",
            Self::TypeMismatch => "TYPE_MISMATCH",
            Self::AggregateNotAllowed => "AGGREGATE_NOT_ALLOWED",
            Self::NestedAggregate => "NESTED_AGGREGATE",
            Self::NotGrouped => "NOT_GROUPED",
            Self::InvalidTime => "INVALID_TIME",
            Self::InvalidInterval => "INVALID_INTERVAL",
            Self::InvalidTimeZone => "INVALID_TIME_ZONE",
            Self::InvalidNumber => "INVALID_NUMBER",
            Self::InvalidLimit => "INVALID_LIMIT",
            Self::DuplicateName => "DUPLICATE_NAME",
            Self::OtherApp => "OTHER_APP",
        }
    }
}

/// One fault in one text. A stage stops at the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    pub(crate) rule: Rule,
    pub(crate) span: Span,
    pub(crate) message: String,
}

/// The outcome of a stage.
pub(crate) type Outcome<T> = Result<T, Box<Diagnostic>>;

/// A fault at a place.
pub(crate) fn fault<T>(span: Span, rule: Rule, message: impl Into<String>) -> Outcome<T> {
    Err(Box::new(Diagnostic { rule, span, message: message.into() }))
}

impl Diagnostic {
    /// The error for the caller: `field` is the request's field that held `text`.
    pub(crate) fn into_error(self, field: &str, text: &str) -> Error {
        let span = clamp(self.span, text);
        let (line, column) = position(text, span.start);
        let description = format!("line {line}, column {column}: {}", self.message);
        invalid(field, self.rule, description, Some((span.start, span.end)))
    }

    /// The error where the request's field is a value, not a text of the language.
    pub(crate) fn into_value_error(self, field: &str) -> Error {
        invalid(field, self.rule, self.message, None)
    }
}

fn invalid(field: &str, rule: Rule, description: String, span: Option<(usize, usize)>) -> Error {
    let message = format!("{field}: {description}");
    let violation = Violation { field: field.to_owned(), description, reason: rule.reason().into(), span };
    Error { violations: vec![violation], ..Error::new(ErrorCode::InvalidQuery, message) }
}

/// A span that lies inside the text, on character boundaries.
fn clamp(span: Span, text: &str) -> Span {
    let start = text.floor_char_boundary(span.start);
    Span { start, end: text.ceil_char_boundary(span.end.max(start)) }
}

/// Line and column, both from 1; a column is a character.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// What the text says, short enough to quote in a message.
pub(crate) fn excerpt(text: &str) -> String {
    const MAX: usize = 48;
    let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() > MAX {
        words = words.chars().take(MAX - 1).collect();
        words.push('…');
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str, start: usize, end: usize) -> Error {
        Diagnostic { rule: Rule::Syntax, span: Span::new(start, end), message: "no".into() }.into_error("sql", text)
    }

    #[test]
    fn a_place_is_told_as_line_and_column() {
        assert_eq!(error("ab\ncdé f", 7, 8).message, "sql: line 2, column 4: no");
        assert_eq!(error("", 0, 0).message, "sql: line 1, column 1: no");
    }

    #[test]
    fn a_span_lies_inside_its_text() {
        for (text, start, end) in [("é", 1, 1), ("abc", 9, 12), ("aé", 2, 2), ("", 3, 1)] {
            let (from, to) = error(text, start, end).violations[0].span.unwrap_or((usize::MAX, 0));
            assert!(text.get(from..to).is_some(), "{text:?} {from}..{to}");
        }
    }

    #[test]
    fn an_excerpt_is_short() {
        assert_eq!(excerpt("a \n  b"), "a b");
        assert_eq!(excerpt(&"é".repeat(99)).chars().count(), 48);
    }
}
