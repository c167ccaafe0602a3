//! What a value of the language can be.

use std::fmt;

use model::PropertyKind;

/// The type of an expression. Every type has NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    /// 64-bit float.
    Number,
    /// 64-bit integer: counts, lengths, parts of a date, whole literals.
    Integer,
    String,
    Bool,
    /// An instant, to the millisecond.
    Time,
    /// NULL alone.
    Null,
}

impl Type {
    pub(crate) const fn of(kind: PropertyKind) -> Self {
        match kind {
            PropertyKind::Number => Self::Number,
            PropertyKind::String => Self::String,
            PropertyKind::Bool => Self::Bool,
            PropertyKind::Time => Self::Time,
        }
    }

    /// The type with its article, for messages.
    pub(crate) const fn described(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Integer => "an integer",
            Self::String => "a string",
            Self::Bool => "a bool",
            Self::Time => "a time",
            Self::Null => "NULL",
        }
    }

    pub(crate) const fn is_numeric(self) -> bool {
        matches!(self, Self::Number | Self::Integer)
    }

    /// Whether a value of this type stands where the other is wanted.
    pub(crate) fn fits(self, wanted: Self) -> bool {
        self == wanted || self == Self::Null || (self == Self::Integer && wanted == Self::Number)
    }

    /// The type of a value that is one of the two.
    pub(crate) fn common(self, other: Self) -> Option<Self> {
        if other.fits(self) { Some(self) } else { self.fits(other).then_some(other) }
    }

    /// The type that a cast names, in the words of PostgreSQL, DuckDB and this language.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "number" | "double" | "float" | "float8" | "float64" | "real" | "numeric" | "decimal" => Self::Number,
            "integer" | "int" | "bigint" | "int8" | "int4" | "int64" | "smallint" => Self::Integer,
            "string" | "text" | "varchar" | "char" => Self::String,
            "bool" | "boolean" => Self::Bool,
            "time" | "timestamp" | "timestamptz" | "datetime" => Self::Time,
            _ => return None,
        })
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "number",
            Self::Integer => "integer",
            Self::String => "string",
            Self::Bool => "bool",
            Self::Time => "time",
            Self::Null => "null",
        })
    }
}
