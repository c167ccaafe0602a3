//! The times that a typed query is about, and those that it is compared with, in the words of both engines.

use api::{
    convert::time_to_wire,
    v1::{self, Grain},
};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};

use super::{data::DAYS, expr::instant};

/// The widths of buckets by their names in both.
const GRAINS: [(Grain, &str); 7] = [
    (Grain::Minute, "minute"),
    (Grain::Hour, "hour"),
    (Grain::Day, "day"),
    (Grain::Week, "week"),
    (Grain::Month, "month"),
    (Grain::Quarter, "quarter"),
    (Grain::Year, "year"),
];

#[derive(Debug, Clone, Copy)]
pub enum Times {
    All,
    /// UTC ms.
    Between(i64, i64),
    /// Local days from the first on.
    Days(Date, i64),
    /// A month, quarter or year of the calendar: the first local day of it, and how many there are.
    Period(Grain, Date, i64),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Comparison {
    Previous,
    Year,
}

/// Any times.
pub fn times(random: &mut StdRng) -> Times {
    let day = |random: &mut StdRng| {
        let (year, month, day) = *DAYS.choose(random).unwrap();
        Date::new(year, month, day).unwrap()
    };
    match random.random_range(0..6) {
        0 => Times::All,
        1 | 2 => {
            let (from, to) = super::range(random);
            Times::Between(from, to)
        }
        3 | 4 => Times::Days(day(random), *[1, 2, 7, 30, 90].choose(random).unwrap()),
        _ => {
            let day = day(random);
            match random.random_range(0..3) {
                0 => Times::Period(Grain::Month, day.first_of_month(), random.random_range(1..=3)),
                1 => {
                    let first = Date::new(day.year(), (day.month() - 1) / 3 * 3 + 1, 1).unwrap();
                    Times::Period(Grain::Quarter, first, random.random_range(1..=2))
                }
                _ => Times::Period(Grain::Year, day.first_of_year(), 1),
            }
        }
    }
}

impl Times {
    /// A grain that gives no more buckets than a query may fill and show.
    pub fn grain(self, random: &mut StdRng) -> Option<(Grain, &'static str)> {
        let days = match self {
            Self::All => 731,
            Self::Between(from, to) => (to - from) / 86_400_000 + 1,
            Self::Days(_, days) => days,
            Self::Period(..) => 366,
        };
        let least = match days {
            ..=2 => 0,
            3..=31 => 1,
            _ => 2,
        };
        GRAINS[least..].choose(random).copied()
    }

    /// Whether there is a length of time to divide by, which is over: of one that isn't only what has passed counts, and that changes meanwhile. Times
    /// may be moved, the last of the days to shortly before today.
    pub fn has_length(self) -> bool {
        let (year, month, day) = DAYS[DAYS.len() - 1];
        let last = Date::new(year, month, day).unwrap().to_zoned_datetime(TimeZone::UTC).unwrap().timestamp();
        match self {
            Self::All => false,
            Self::Between(_, to) => to <= last.as_millisecond(),
            Self::Days(..) | Self::Period(..) => true,
        }
    }

    /// Whether the times compared don't overlap, and buckets meet buckets.
    pub fn allows(self, comparison: Comparison, grain: Option<(Grain, &'static str)>) -> bool {
        let longest = grain.is_none_or(|(grain, _)| grain <= Grain::Day);
        match (self, comparison) {
            (Self::Days(_, days), Comparison::Previous) => longest && days <= 300,
            (Self::Days(_, days), Comparison::Year) => longest && days <= 300,
            (Self::Period(..), Comparison::Previous) => {
                grain.is_none_or(|(grain, _)| grain == Grain::Day || grain == Grain::Month)
            }
            (Self::Period(..), Comparison::Year) => true,
            _ => false,
        }
    }

    pub fn ours(self, zone: &str) -> Option<v1::TimeRange> {
        let wire = |ms| Some(time_to_wire(ms));
        match self {
            Self::All => None,
            Self::Between(from, to) => {
                Some(v1::TimeRange { from: wire(from), to: wire(to), ..v1::TimeRange::default() })
            }
            Self::Days(first, days) => {
                let zone = TimeZone::get(zone).unwrap();
                let midnight = |days| {
                    let day = first.checked_add(jiff::Span::new().days(days)).unwrap();
                    day.to_zoned_datetime(zone.clone()).unwrap().timestamp().as_millisecond()
                };
                Some(v1::TimeRange { from: wire(midnight(0)), to: wire(midnight(days)), ..v1::TimeRange::default() })
            }
            Self::Period(unit, first, count) => {
                let now = Timestamp::now().to_zoned_datetime(TimeZone::get(zone).unwrap());
                let months = |date: Date| i64::from(date.year()) * 12 + i64::from(date.month()) - 1;
                let length = match unit {
                    Grain::Month => 1,
                    Grain::Quarter => 3,
                    _ => 12,
                };
                let ago = months(now.date()).div_euclid(length) - months(first).div_euclid(length) - (count - 1);
                let period = v1::Period { unit: unit.into(), ago: ago as u32, count: count as u32 };
                Some(v1::TimeRange { period: Some(period), ..v1::TimeRange::default() })
            }
        }
    }

    pub fn theirs(self) -> (Option<String>, Option<String>) {
        let local = |date: Date, by: String| Some(format!("(TIMESTAMP '{date}' + INTERVAL '{by}')::TIMESTAMPTZ"));
        match self {
            Self::All => (None, None),
            Self::Between(from, to) => (Some(instant(from).1), Some(instant(to).1)),
            Self::Days(first, days) => (local(first, "0 day".to_owned()), local(first, format!("{days} day"))),
            Self::Period(unit, first, count) => (local(first, "0 day".to_owned()), local(first, length(unit, count))),
        }
    }

    /// How far back the time lies that it is compared with.
    pub fn back(self, comparison: Comparison) -> String {
        match (comparison, self) {
            (Comparison::Year, _) => "INTERVAL '1 year'".to_owned(),
            (_, Self::Days(_, days)) => format!("INTERVAL '{days} day'"),
            (_, Self::Period(unit, _, count)) => format!("INTERVAL '{}'", length(unit, count)),
            _ => String::new(),
        }
    }
}

fn length(unit: Grain, count: i64) -> String {
    match unit {
        Grain::Month => format!("{count} month"),
        Grain::Quarter => format!("{} month", 3 * count),
        _ => format!("{count} year"),
    }
}
