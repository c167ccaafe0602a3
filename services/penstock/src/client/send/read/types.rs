//! What the cells of a column hold.

use api::{convert::time_to_wire, v1};
use model::Error;

/// Whole numbers beyond it are not exact as 64-bit floats, which is what the server keeps.
const MOST_EXACT: i64 = 1 << 53;

/// The type of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Number,
    Time,
    String,
}

impl Kind {
    /// By the word of a command line.
    pub(super) fn named(word: &str) -> Option<Self> {
        match word {
            "bool" => Some(Self::Bool),
            "number" => Some(Self::Number),
            "time" => Some(Self::Time),
            "string" => Some(Self::String),
            _ => None,
        }
    }

    /// The narrowest that all of these are; text, if there are none.
    pub(super) fn of<'a>(cells: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        let text = |cell| str::from_utf8(cell).unwrap_or_default();
        let all = |kind: &Self| cells.clone().all(|cell| kind.read("", text(cell)).is_ok());
        let is_empty = cells.clone().next().is_none();
        [Self::Bool, Self::Number, Self::Time].into_iter().find(all).filter(|_| !is_empty).unwrap_or(Self::String)
    }

    /// Whether a value is one of these as it is.
    pub(super) fn holds(self, value: &v1::value::Kind) -> bool {
        use v1::value::Kind as Wire;
        match (self, value) {
            (Self::Number, Wire::Number(x)) => x.is_finite(),
            (Self::Number, Wire::Integer(whole)) => (-MOST_EXACT..=MOST_EXACT).contains(whole),
            (Self::Bool, Wire::Bool(_)) | (Self::Time, Wire::Time(_)) | (Self::String, Wire::String(_)) => true,
            _ => false,
        }
    }

    /// A cell's value.
    pub(super) fn read(self, name: &str, text: &str) -> Result<v1::value::Kind, Error> {
        use v1::value::Kind as Wire;
        match self {
            Self::String => Ok(Wire::String(text.to_owned())),
            Self::Time => Self::instant(name, text).map(|ms| Wire::Time(time_to_wire(ms))),
            Self::Bool => match text {
                "true" => Ok(Wire::Bool(true)),
                "false" => Ok(Wire::Bool(false)),
                _ => Err(not(name, text, "true or false")),
            },
            Self::Number => number(text).ok_or_else(|| {
                not(name, text, "a number as 12.5, in front of which no zeros stand and, if it is whole, within ±2^53")
            }),
        }
    }

    /// UTC ms.
    pub(super) fn instant(name: &str, text: &str) -> Result<i64, Error> {
        match text.parse::<jiff::Timestamp>() {
            Ok(time) => Ok(time.as_millisecond()),
            Err(_) => Err(not(name, text, "an instant of RFC 3339, as 2026-01-31T23:59:59.999Z")),
        }
    }
}

fn not(name: &str, text: &str, wanted: &str) -> Error {
    let advice =
        if name == "timestamp" { String::new() } else { format!("; or say --type {name}=string for the whole column") };
    Error::invalid(name, "MALFORMED", format!("must be {wanted}, not {text:?}{advice}"))
}

/// Codes as 007 are texts.
fn number(text: &str) -> Option<v1::value::Kind> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = digits.starts_with(|c: char| c.is_ascii_digit());
    let is_code = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    if !is_plain || is_code {
        return None;
    }
    match text.parse::<i64>() {
        Ok(whole) => (-MOST_EXACT..=MOST_EXACT).contains(&whole).then_some(v1::value::Kind::Integer(whole)),
        Err(_) if digits.bytes().all(|b| b.is_ascii_digit()) => None,
        Err(_) => text.parse().ok().filter(|x: &f64| x.is_finite()).map(v1::value::Kind::Number),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_what_all_its_cells_are() {
        let kind = |cells: &[&str]| Kind::of(cells.iter().map(|cell| cell.as_bytes()));
        assert_eq!(kind(&["1", "-2.5", "1e3", "0", "0.5"]), Kind::Number);
        assert_eq!(kind(&["true", "false"]), Kind::Bool);
        assert_eq!(kind(&["2026-01-31T23:00:00Z", "2026-01-31T23:00:00+01:00"]), Kind::Time);
        for texts in [&["1", "x"][..], &["007"], &["9007199254740993"], &["NaN"], &["1", "true"], &["2026-01-31"], &[]]
        {
            assert_eq!(kind(texts), Kind::String, "{texts:?}");
        }
    }

    #[test]
    fn what_does_not_fit_its_column_says_what_would() {
        let error = Kind::Number.read("amount", "12,5").unwrap_err();
        assert_eq!(error.violations[0].field, "amount");
        assert!(error.message.contains("--type amount=string"), "{error}");
    }
}
