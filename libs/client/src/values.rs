//! Values, as they are sent and as answers have them.

use std::{collections::HashMap, time::SystemTime};

use crate::{Error, v1};

const EXACT: i64 = 1 << 53;

/// A value of an event, a user, a filter or an answer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// SQL's NULL. In what is sent: left out.
    Null,
    /// A 64-bit float; what is sent is finite.
    Number(f64),
    /// A whole number; what is sent is within ±2^53, where a 64-bit float is exact: send larger ids as text.
    Integer(i64),
    /// Text.
    String(String),
    /// true or false.
    Bool(bool),
    /// An instant, kept to the millisecond.
    Time(SystemTime),
}

impl Value {
    /// On the wire. The error says where it stands, and what would be right.
    pub(crate) fn wire(self, place: impl FnOnce() -> String) -> Result<v1::Value, Error> {
        use v1::value::Kind;
        let kind = match self {
            Self::Null => Kind::Null(0),
            Self::Number(number) if !number.is_finite() => {
                return Err(Error::Invalid(format!("{} is {number}: numbers must be finite", place())));
            }
            Self::Number(number) => Kind::Number(number),
            Self::Integer(integer) if !(-EXACT..=EXACT).contains(&integer) => {
                let place = place();
                return Err(Error::Invalid(format!(
                    "{place} is beyond 2^53, where numbers are no longer exact: send large ids as text"
                )));
            }
            Self::Integer(integer) => Kind::Integer(integer),
            Self::String(text) => Kind::String(text),
            Self::Bool(bool) => Kind::Bool(bool),
            Self::Time(time) => Kind::Time(time.into()),
        };
        Ok(v1::Value { kind: Some(kind) })
    }

    pub(crate) fn of_wire(value: v1::Value) -> Self {
        use v1::value::Kind;
        match value.kind {
            None | Some(Kind::Null(_)) => Self::Null,
            Some(Kind::Number(number)) => Self::Number(number),
            Some(Kind::Integer(integer)) => Self::Integer(integer),
            Some(Kind::String(text)) => Self::String(text),
            Some(Kind::Bool(bool)) => Self::Bool(bool),
            Some(Kind::Time(time)) => SystemTime::try_from(time).map_or(Self::Null, Self::Time),
        }
    }
}

/// On the wire, but for those that are null.
pub(crate) fn wires(values: HashMap<String, Value>, what: &str) -> Result<HashMap<String, v1::Value>, Error> {
    let there = values.into_iter().filter(|(_, value)| *value != Value::Null);
    there
        .map(|(name, value)| {
            let wire = value.wire(|| format!("{what}.{name}"))?;
            Ok((name, wire))
        })
        .collect()
}

pub(crate) fn of_wires(values: HashMap<String, v1::Value>) -> HashMap<String, Value> {
    values.into_iter().map(|(name, value)| (name, Value::of_wire(value))).collect()
}

macro_rules! from {
    ($($kind:ty => $made:expr),* $(,)?) => {
        $(impl From<$kind> for Value {
            fn from(value: $kind) -> Self {
                ($made)(value)
            }
        })*
    };
}

from! {
    f64 => Self::Number,
    f32 => |value| Self::Number(f64::from(value)),
    i64 => Self::Integer,
    i32 => |value| Self::Integer(i64::from(value)),
    u32 => |value| Self::Integer(i64::from(value)),
    u64 => |value| Self::Integer(i64::try_from(value).unwrap_or(i64::MAX)), // which is refused, as it should be
    usize => |value| Self::Integer(i64::try_from(value).unwrap_or(i64::MAX)),
    String => Self::String,
    &str => |value: &str| Self::String(value.to_owned()),
    bool => Self::Bool,
    SystemTime => Self::Time,
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
