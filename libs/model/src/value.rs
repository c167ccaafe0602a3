use serde::{Deserialize, Serialize};

/// The largest magnitude an integer property may have: 2^53. Beyond it a 64-bit float is no longer exact; such ids are strings.
pub const MAX_EXACT_INTEGER: i64 = 1 << 53;

/// A typed property value. Stored as a 64-bit float (numbers, integers, bools as 0 / 1, times as ms) or as a string.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// A finite 64-bit float.
    Number(f64),
    /// A whole number within ±[`MAX_EXACT_INTEGER`]. Integers and numbers are one property kind.
    Integer(i64),
    /// UTF-8 text.
    String(String),
    /// true or false.
    Bool(bool),
    /// UTC milliseconds since 1970.
    Time(i64),
}

impl Value {
    /// The kind under which the registry knows a property with this value.
    pub const fn kind(&self) -> PropertyKind {
        match self {
            Self::Number(_) | Self::Integer(_) => PropertyKind::Number,
            Self::String(_) => PropertyKind::String,
            Self::Bool(_) => PropertyKind::Bool,
            Self::Time(_) => PropertyKind::Time,
        }
    }
}

/// What a property is. The same name as number and as string is two properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum PropertyKind {
    /// Numbers and integers.
    Number = 1,
    /// Text.
    String = 2,
    /// true or false, stored as 1 or 0.
    Bool = 3,
    /// An instant, stored as UTC milliseconds.
    Time = 4,
}

impl PropertyKind {
    /// The kind with this stored number.
    pub const fn from_u8(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Number,
            2 => Self::String,
            3 => Self::Bool,
            4 => Self::Time,
            _ => return None,
        })
    }

    /// The word users read and write.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::String => "string",
            Self::Bool => "bool",
            Self::Time => "time",
        }
    }
}
