//! Calendar-aware lengths of time: `INTERVAL 30 DAY`, `INTERVAL '1 month 2 hours'`.

use crate::diagnostics::{Outcome, Rule, Span, fault};

/// Months and days depend on the calendar of a zone, the rest is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Interval {
    pub(crate) months: i64,
    pub(crate) days: i64,
    pub(crate) ms: i64,
}

/// No interval is longer, in any unit: 10,000 years.
const MAX_MONTHS: i64 = 120_000;
const MAX_DAYS: i64 = 3_660_000;
const MAX_MS: i64 = MAX_DAYS * 86_400_000;
const EXPECTED: &str = "an interval is written like INTERVAL 30 DAY or INTERVAL '1 month 12 hours', in units from \
                        millisecond to year";

impl Interval {
    /// So many of one unit.
    pub(crate) fn of(amount: f64, unit: &str) -> Option<Self> {
        let unit = unit.to_ascii_lowercase();
        let singular = unit.strip_suffix('s').filter(|u| u.len() > 1).unwrap_or(&unit);
        let one = match singular {
            "year" | "yr" | "y" => Self { months: 12, ..Self::default() },
            "quarter" => Self { months: 3, ..Self::default() },
            "month" | "mon" => Self { months: 1, ..Self::default() },
            "week" | "w" => Self { days: 7, ..Self::default() },
            "day" | "d" => Self { days: 1, ..Self::default() },
            "hour" | "hr" | "h" => Self { ms: 3_600_000, ..Self::default() },
            "minute" | "min" => Self { ms: 60_000, ..Self::default() },
            "second" | "sec" | "s" => Self { ms: 1_000, ..Self::default() },
            "millisecond" | "ms" => Self { ms: 1, ..Self::default() },
            _ => return None,
        };
        Some(Self { months: scale(one.months, amount)?, days: scale(one.days, amount)?, ms: scale(one.ms, amount)? })
    }

    /// The intervals one after the other, if the sum is within bounds.
    pub(crate) fn plus(self, other: Self) -> Option<Self> {
        Self {
            months: self.months.checked_add(other.months)?,
            days: self.days.checked_add(other.days)?,
            ms: self.ms.checked_add(other.ms)?,
        }
        .bounded()
    }

    pub(crate) fn negated(self) -> Self {
        Self { months: -self.months, days: -self.days, ms: -self.ms }
    }

    fn bounded(self) -> Option<Self> {
        let within = self.months.abs() <= MAX_MONTHS && self.days.abs() <= MAX_DAYS && self.ms.abs() <= MAX_MS;
        within.then_some(self)
    }

    /// Reads pairs of a number and a unit, as in `1 day 12 hours`.
    pub(crate) fn parse(text: &str, span: Span) -> Outcome<Self> {
        let spaced = separate(text);
        let mut words = spaced.split_whitespace();
        let mut sum = None;
        while let Some(amount) = words.next() {
            let part = amount.parse().ok().zip(words.next()).and_then(|(amount, unit)| Self::of(amount, unit));
            sum = part.and_then(|part| sum.unwrap_or(Self::default()).plus(part));
            if sum.is_none() {
                break;
            }
        }
        sum.map_or_else(|| fault(span, Rule::InvalidInterval, EXPECTED), Ok)
    }

    /// `INTERVAL 30 DAY`: the number and the unit stand apart in the text.
    pub(crate) fn from_parts(amount: &str, unit: &str, span: Span) -> Outcome<Self> {
        let interval = amount.trim().parse().ok().and_then(|amount| Self::of(amount, unit)).and_then(Self::bounded);
        interval.map_or_else(|| fault(span, Rule::InvalidInterval, EXPECTED), Ok)
    }
}

/// Puts a blank between a digit and the letter after it, as in `30d`.
fn separate(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len() + 4);
    let mut after_digit = false;
    for c in text.chars() {
        if after_digit && c.is_alphabetic() {
            spaced.push(' ');
        }
        after_digit = c.is_ascii_digit();
        spaced.push(c);
    }
    spaced
}

/// A whole number of the unit, or nothing: half a month has no length.
fn scale(unit: i64, amount: f64) -> Option<i64> {
    let scaled = unit as f64 * amount;
    (scaled.fract() == 0.0 && scaled.abs() <= MAX_MS as f64).then_some(scaled as i64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(text: &str, want: Option<(i64, i64, i64)>) {
        let got = Interval::parse(text, Span::default()).ok().map(|i| (i.months, i.days, i.ms));
        assert_eq!(got, want, "{text}");
    }

    #[test]
    fn intervals_are_read() {
        check("30 days", Some((0, 30, 0)));
        check("1 month 2 hours", Some((1, 0, 7_200_000)));
        check("1.5 hours", Some((0, 0, 5_400_000)));
        check("-2 weeks", Some((0, -14, 0)));
        check("30d 250ms", Some((0, 30, 250)));
        check("1 quarter 1 year", Some((15, 0, 0)));
    }

    #[test]
    fn what_is_no_interval_is_refused() {
        for text in [
            "",
            "30",
            "days",
            "1.5 months",
            "1 fortnight",
            "nan days",
            "inf days",
            "1e300 days",
            "99999 years",
            "1 s s",
        ] {
            check(text, None);
        }
        assert!(Interval::from_parts("1e300", "DAY", Span::default()).is_err());
    }
}
