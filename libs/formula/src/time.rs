//! Instants, zones and the calendar between them. Nothing here reads a clock or a file.

use std::sync::{Arc, OnceLock};

use jiff::{
    Span as Length, Timestamp, ToSpan, ZonedDateTime, civil,
    tz::{TimeZone, TimeZoneDatabase},
};

use crate::{grain::Grain, interval::Interval};

/// The instants that the warehouse can hold: the years 1900 to 2299, UTC ms.
const FIRST_MS: i64 = -2_208_988_800_000;
const LAST_MS: i64 = 10_413_791_999_999;

/// A time zone by its IANA name.
#[derive(Debug, Clone)]
pub struct Zone {
    name: Arc<str>,
    zone: TimeZone,
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Zone {
    /// The zone of that IANA name, as in `Europe/Berlin`, in any case; nothing if there is none.
    pub fn named(name: &str) -> Option<Self> {
        static DATABASE: OnceLock<TimeZoneDatabase> = OnceLock::new();
        if name.len() > 64 {
            return None;
        }
        let zone = DATABASE.get_or_init(TimeZoneDatabase::bundled).get(name).ok()?;
        let name = zone.iana_name()?.into();
        Some(Self { name, zone })
    }

    /// Its IANA name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its clock never changes, and is that of the instants themselves.
    pub(crate) fn is_utc(&self) -> bool {
        matches!(self.name(), "UTC" | "Etc/UTC")
    }

    /// Whether its clock is put forward by something else than whole hours, as `Australia/Lord_Howe`'s.
    pub(crate) fn changes_within_hours(&self) -> bool {
        const MONTH_MS: i64 = 2_629_746_000;
        const SOME_JANUARY_MS: i64 = 1_704_067_200_000;
        let offset = |month| self.local(SOME_JANUARY_MS + month * MONTH_MS).map_or(0, |local| local.offset().seconds());
        (offset(6) - offset(0)) % 3_600 != 0
    }

    fn local(&self, ms: i64) -> Option<ZonedDateTime> {
        Some(Timestamp::from_millisecond(ms).ok()?.to_zoned_datetime(self.zone.clone()))
    }
}

/// The instant, if the warehouse can hold it.
fn within(ms: i64) -> Option<i64> {
    (FIRST_MS..=LAST_MS).contains(&ms).then_some(ms)
}

fn instant(zoned: &ZonedDateTime) -> Option<i64> {
    within(zoned.timestamp().as_millisecond())
}

/// Reads `2024-01-31`, `2024-01-31 12:00:00.5`, with `T`, and with `Z` or an offset; without one it is local to the zone.
pub(crate) fn parse(text: &str, zone: &Zone) -> Option<i64> {
    let text = text.trim();
    if text.len() > 64 || !text.is_ascii() || text.contains('[') {
        return None;
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return within(timestamp.as_millisecond());
    }
    let local: civil::DateTime = text.parse().ok()?;
    instant(&local.to_zoned_datetime(zone.zone.clone()).ok()?)
}

/// The instant so much later by the zone's calendar: months, then days, then the exact rest.
pub(crate) fn shift(ms: i64, by: Interval, zone: &Zone) -> Option<i64> {
    let months = Length::new().try_months(by.months).ok()?;
    let days = Length::new().try_days(by.days).ok()?;
    let exact = Length::new().try_milliseconds(by.ms).ok()?;
    let zoned = zone.local(ms)?.checked_add(months).ok()?.checked_add(days).ok()?.checked_add(exact).ok()?;
    instant(&zoned)
}

/// Where the bucket of this instant begins.
pub(crate) fn bucket_start(ms: i64, grain: Grain, zone: &Zone) -> Option<i64> {
    let local = zone.local(ms)?;
    let date = local.date();
    let first = match grain {
        Grain::Second | Grain::Minute | Grain::Hour => return exact_start(ms, grain, &local),
        Grain::Day => date,
        Grain::Week => date.checked_sub(i64::from(date.weekday().to_monday_zero_offset()).days()).ok()?,
        Grain::Month => date.first_of_month(),
        Grain::Quarter => civil::Date::new(date.year(), (date.month() - 1) / 3 * 3 + 1, 1).ok()?,
        Grain::Year => date.first_of_year(),
    };
    instant(&first.to_zoned_datetime(zone.zone.clone()).ok()?)
}

/// Up to an hour, buckets are cut on the local clock without joining instants that a clock change sets apart.
fn exact_start(ms: i64, grain: Grain, local: &ZonedDateTime) -> Option<i64> {
    let width = match grain {
        Grain::Second => 1_000,
        Grain::Minute => 60_000,
        _ => 3_600_000,
    };
    let offset = i64::from(local.offset().seconds()) * 1_000;
    within((ms + offset).div_euclid(width) * width - offset)
}

/// Where the bucket after that of this instant begins.
pub(crate) fn next_bucket(ms: i64, grain: Grain, zone: &Zone) -> Option<i64> {
    let start = bucket_start(ms, grain, zone)?;
    let one = Interval::of(1.0, grain.name())?;
    let next = bucket_start(shift(start, one, zone)?, grain, zone)?;
    (next > ms).then_some(next)
}

/// `2024-01-31 12:00:00.500`, in UTC: how instants are bound.
pub(crate) fn format_utc(ms: i64) -> Option<String> {
    let time = TimeZone::UTC.to_datetime(Timestamp::from_millisecond(within(ms)?).ok()?);
    Some(format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:03}",
        time.year(),
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.millisecond()
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Zone {
        Zone::named(name).unwrap()
    }

    fn utc(text: &str) -> i64 {
        parse(text, &zone("UTC")).unwrap()
    }

    #[test]
    fn times_are_read_in_their_zone() {
        let berlin = zone("europe/berlin");
        assert_eq!(berlin.name(), "Europe/Berlin");
        for (text, want) in [
            ("2024-01-31", Some("2024-01-30 23:00:00.000")),
            ("2024-07-01 12:30:00.25", Some("2024-07-01 10:30:00.250")),
            ("2024-07-01T12:30", Some("2024-07-01 10:30:00.000")),
            ("2024-07-01 12:30:00Z", Some("2024-07-01 12:30:00.000")),
            ("2024-07-01T12:30:00-05:00", Some("2024-07-01 17:30:00.000")),
            ("2024-02-30", None),
            ("yesterday", None),
            ("1800-01-01", None),
            ("", None),
        ] {
            assert_eq!(parse(text, &berlin).and_then(format_utc).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn shifts_follow_the_calendar() {
        let berlin = zone("Europe/Berlin");
        let day = Interval { days: 1, ..Interval::default() };
        let month = Interval { months: 1, ..Interval::default() };
        assert_eq!(shift(utc("2024-03-30 11:00"), day, &berlin), Some(utc("2024-03-31 10:00")));
        assert_eq!(shift(utc("2024-01-31"), month, &zone("UTC")), Some(utc("2024-02-29")));
        assert_eq!(shift(utc("2299-12-31"), month, &berlin), None);
    }

    #[test]
    fn buckets_follow_the_zone() {
        let berlin = zone("Europe/Berlin");
        for (grain, start, next) in [
            (Grain::Hour, "2024-10-27 00:00", "2024-10-27 01:00"),
            (Grain::Day, "2024-10-26 22:00", "2024-10-27 23:00"),
            (Grain::Week, "2024-10-20 22:00", "2024-10-27 23:00"),
            (Grain::Month, "2024-09-30 22:00", "2024-10-31 23:00"),
            (Grain::Quarter, "2024-09-30 22:00", "2024-12-31 23:00"),
            (Grain::Year, "2023-12-31 23:00", "2024-12-31 23:00"),
        ] {
            let at = utc("2024-10-27 00:30");
            assert_eq!(bucket_start(at, grain, &berlin), Some(utc(start)), "{grain:?}");
            assert_eq!(next_bucket(at, grain, &berlin), Some(utc(next)), "{grain:?}");
        }
        let calcutta = zone("Asia/Kolkata");
        assert_eq!(bucket_start(utc("2024-01-01 00:15"), Grain::Hour, &calcutta), Some(utc("2023-12-31 23:30")));
    }

    #[test]
    fn unknown_zones_are_nothing() {
        for name in ["", "Mars/Base", "Europe/Berlin'; DROP", &"x".repeat(1000)] {
            assert!(Zone::named(name).is_none(), "{name}");
        }
    }
}
