//! Units of the calendar: bucket widths and parts of a date.

/// The width of a time bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Grain {
    /// One second.
    Second,
    /// One minute.
    Minute,
    /// One hour; by instant, so the hour that a clock change repeats is two buckets.
    Hour,
    /// One local day, however long a clock change makes it.
    Day,
    /// Seven local days from Monday.
    Week,
    /// One local month.
    Month,
    /// Three local months from January, April, July, October.
    Quarter,
    /// One local year.
    Year,
}

impl Grain {
    /// All of them, the narrowest first.
    pub const ALL: [Self; 8] =
        [Self::Second, Self::Minute, Self::Hour, Self::Day, Self::Week, Self::Month, Self::Quarter, Self::Year];

    /// The word users and the engine know it by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }

    /// The grain of that name, in any case, in singular or plural.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.trim().to_ascii_lowercase();
        let name = name.strip_suffix('s').unwrap_or(&name);
        Self::ALL.into_iter().find(|grain| grain.name() == name)
    }
}

/// A number that a calendar shows for an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Year,
    IsoYear,
    Quarter,
    Month,
    /// ISO 8601 week.
    Week,
    Day,
    DayOfYear,
    /// Sunday 0 to Saturday 6, as PostgreSQL's `dow`.
    DayOfWeek,
    /// Monday 1 to Sunday 7.
    IsoDayOfWeek,
    Hour,
    Minute,
    Second,
    /// Seconds since 1970, with a fraction.
    Epoch,
}

/// Spellings in `EXTRACT(... FROM ...)` and `DATE_PART('...', ...)`.
pub(crate) const PARTS: [(&str, Part); 17] = [
    ("year", Part::Year),
    ("isoyear", Part::IsoYear),
    ("quarter", Part::Quarter),
    ("month", Part::Month),
    ("week", Part::Week),
    ("day", Part::Day),
    ("doy", Part::DayOfYear),
    ("dayofyear", Part::DayOfYear),
    ("dow", Part::DayOfWeek),
    ("dayofweek", Part::DayOfWeek),
    ("isodow", Part::IsoDayOfWeek),
    ("hour", Part::Hour),
    ("minute", Part::Minute),
    ("second", Part::Second),
    ("epoch", Part::Epoch),
    ("weekday", Part::DayOfWeek),
    ("day_of_week", Part::DayOfWeek),
];

/// Functions of one time that give a part of it.
pub(crate) const PART_FUNCTIONS: [(&str, Part); 15] = [
    ("year", Part::Year),
    ("isoyear", Part::IsoYear),
    ("quarter", Part::Quarter),
    ("month", Part::Month),
    ("week", Part::Week),
    ("day", Part::Day),
    ("day_of_month", Part::Day),
    ("day_of_year", Part::DayOfYear),
    ("dayofweek", Part::DayOfWeek),
    ("day_of_week", Part::DayOfWeek),
    ("iso_day_of_week", Part::IsoDayOfWeek),
    ("hour", Part::Hour),
    ("minute", Part::Minute),
    ("second", Part::Second),
    ("epoch", Part::Epoch),
];

/// The part of that name, in any case.
pub(crate) fn part_named(table: &[(&str, Part)], name: &str) -> Option<Part> {
    table.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, part)| *part)
}
