//! Hours of the day, as a setting has them.

use std::fmt::{self, Display, Formatter};

use model::DAY_MS;
use serde::{Deserialize, Serialize};

const MINUTE_MS: i64 = 60_000;

/// Hours of the UTC day, as in `22:00-06:00`; the last minute is not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hours {
    /// Minutes of the day.
    from: i64,
    to: i64,
}

impl Hours {
    /// Whether the instant, UTC ms, is in them.
    pub(super) fn contains(self, ms: i64) -> bool {
        let minute = ms.rem_euclid(DAY_MS) / MINUTE_MS;
        match self.from < self.to {
            true => (self.from..self.to).contains(&minute),
            false => minute >= self.from || minute < self.to,
        }
    }

    /// When they begin, for people.
    pub(super) fn begin(self) -> String {
        format!("{} UTC", clock(self.from))
    }
}

impl Display for Hours {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", clock(self.from), clock(self.to))
    }
}

impl From<Hours> for String {
    fn from(hours: Hours) -> Self {
        hours.to_string()
    }
}

impl TryFrom<String> for Hours {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let hours = text.split_once('-').and_then(|(from, to)| Some(Self { from: minute(from)?, to: minute(to)? }));
        let hours = hours.filter(|hours| hours.from != hours.to);
        hours.ok_or_else(|| format!("{text:?} are no hours of the UTC day, as in \"22:00-06:00\""))
    }
}

fn clock(minute: i64) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

fn minute(text: &str) -> Option<i64> {
    let (hour, minute) = text.trim().split_once(':')?;
    let two = |text: &str| (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?;
    let (hour, minute): (i64, i64) = (two(hour)?, two(minute)?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hours_may_go_over_midnight() {
        let hours = |text: &str| Hours::try_from(text.to_owned());
        let at = |hour: i64, minute: i64| 20_000 * DAY_MS + (hour * 60 + minute) * MINUTE_MS;
        let night = hours("22:00-06:30").unwrap();
        assert!([(22, 0), (23, 59), (0, 0), (6, 29)].iter().all(|(h, m)| night.contains(at(*h, *m))));
        assert!([(21, 59), (6, 30), (12, 0)].iter().all(|(h, m)| !night.contains(at(*h, *m))));
        let noon = hours("12:00-13:00").unwrap();
        assert!(noon.contains(at(12, 59)) && !noon.contains(at(13, 0)) && !noon.contains(at(11, 59)));
        assert_eq!(String::from(night), "22:00-06:30");
        for bad in ["", "22", "22:00", "22:00-22:00", "24:00-06:00", "2:00-06:00", "+1:00-06:00", "22:60-06:00"] {
            assert!(hours(bad).is_err(), "{bad}");
        }
    }
}
