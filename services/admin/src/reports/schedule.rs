//! When a report is due: a cron expression, read by the clock of a zone.

use jiff::{
    Timestamp,
    civil::{Date, time},
    tz::{TimeZone, TimeZoneDatabase},
};
use model::Error;

/// How far ahead it is looked: a leap day that falls on a day of the week comes every 28 years, and once after 40.
const DAYS: usize = 41 * 366;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The minutes of a zone's clock that an expression names.
#[derive(Debug)]
pub(crate) struct Schedule {
    minutes: Vec<i8>,
    hours: Vec<i8>,
    days: Vec<i8>,
    months: Vec<i8>,
    weekdays: Vec<i8>,
    /// Whether a day may be named by its weekday or by its date: where both are given, either will do.
    either: bool,
    zone: TimeZone,
}

impl Schedule {
    /// Reads `minute hour day-of-month month day-of-week`, as in `30 6 * * mon-fri`.
    pub(crate) fn parse(field: &str, text: &str, zone: &str) -> Result<Self, Error> {
        let fault = |what: String| {
            let what = format!(
                "{what}; must be five fields as in \"30 6 * * mon-fri\": minute, hour, day of the month, month, weekday"
            );
            Error::invalid(field, "MALFORMED", what)
        };
        let fields: Vec<_> = text.split_ascii_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return Err(fault(format!("has {} fields", fields.len())));
        };
        let zone = TimeZoneDatabase::bundled().get(zone);
        let read = |text, from, to, names: &[&str]| values(text, from, to, names).map_err(fault);
        let mut weekdays_read = read(weekdays, 0, 7, &WEEKDAYS)?;
        weekdays_read.iter_mut().for_each(|day| *day %= 7); // 0 and 7 are Sunday
        let schedule = Self {
            minutes: read(minutes, 0, 59, &[])?,
            hours: read(hours, 0, 23, &[])?,
            days: read(days, 1, 31, &[])?,
            months: read(months, 1, 12, &MONTHS)?,
            weekdays: weekdays_read,
            either: !days.starts_with('*') && !weekdays.starts_with('*'),
            zone: zone.map_err(|_| {
                Error::invalid("time_zone", "UNKNOWN_TIME_ZONE", "must be the IANA name of a time zone")
            })?,
        };
        if schedule.after(0).is_none() {
            return Err(fault("names a day that never comes".to_owned()));
        }
        Ok(schedule)
    }

    /// The first time after this instant, both UTC ms. A time that the clock leaves out counts when it goes on, one that it shows twice the first
    /// time.
    pub(crate) fn after(&self, ms: i64) -> Option<i64> {
        let now = Timestamp::from_millisecond(ms).ok()?;
        let mut day = self.zone.to_datetime(now).date();
        for _ in 0..DAYS {
            if self.is_on(day) {
                let times = self.hours.iter().flat_map(|hour| self.minutes.iter().map(move |minute| (*hour, *minute)));
                let instants = times.filter_map(|(hour, minute)| {
                    let shown = day.to_datetime(time(hour, minute, 0, 0));
                    self.zone.to_ambiguous_timestamp(shown).compatible().ok()
                });
                if let Some(next) = instants.filter(|next| *next > now).min() {
                    return Some(next.as_millisecond());
                }
            }
            day = day.tomorrow().ok()?;
        }
        None
    }

    fn is_on(&self, day: Date) -> bool {
        let date = self.days.contains(&day.day());
        let weekday = self.weekdays.contains(&day.weekday().to_sunday_zero_offset());
        self.months.contains(&day.month()) && if self.either { date || weekday } else { date && weekday }
    }
}

/// The numbers that a field names: `*`, `7`, `1-5`, `*/15`, `10-40/10`, several with commas, or names.
fn values(text: &str, from: i8, to: i8, names: &[&str]) -> Result<Vec<i8>, String> {
    let number = |word: &str| {
        let name = names.iter().position(|name| name.eq_ignore_ascii_case(word));
        let known = name.map(|at| at as i8 + if names.len() == 12 { 1 } else { 0 });
        let read = known.or_else(|| word.bytes().all(|b| b.is_ascii_digit()).then(|| word.parse().ok()).flatten());
        read.filter(|n| (from..=to).contains(n)).ok_or_else(|| format!("{word:?} is not a number from {from} to {to}"))
    };
    let mut values = Vec::new();
    for part in text.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (from, to),
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(range)?, if step.is_some() { to } else { number(range)? }),
        };
        let step = match step {
            None => 1,
            Some(step) => {
                step.parse::<u8>().ok().filter(|n| (1..=59).contains(n)).ok_or(format!("{step:?} is no step"))?
            }
        };
        if first > last {
            return Err(format!("{part:?} ends before it begins"));
        }
        values.extend((first..=last).step_by(step.into()));
    }
    Ok(values)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[track_caller]
    fn check(expression: &str, zone: &str, after: &str, expect: &[&str]) {
        let schedule = Schedule::parse("schedule", expression, zone).unwrap();
        let mut now = ms(after);
        for next in expect {
            now = schedule.after(now).unwrap();
            assert_eq!(Timestamp::from_millisecond(now).unwrap().to_string(), *next, "{expression}");
        }
    }

    #[test]
    fn the_next_time_is_by_the_clock_of_the_zone() {
        check(
            "*/20 * * * *",
            "UTC",
            "2026-01-31T23:15:00Z",
            &["2026-01-31T23:20:00Z", "2026-01-31T23:40:00Z", "2026-02-01T00:00:00Z"],
        );
        check(
            "30 6 * * mon-fri",
            "Europe/Berlin",
            "2026-01-02T05:30:00Z",
            &["2026-01-05T05:30:00Z", "2026-01-06T05:30:00Z"],
        );
        check(
            "0 0 1,15 * *",
            "Asia/Kathmandu",
            "2026-01-01T00:00:00Z",
            &["2026-01-14T18:15:00Z", "2026-01-31T18:15:00Z"],
        );
        check("0 12 29 2 *", "UTC", "2026-01-01T00:00:00Z", &["2028-02-29T12:00:00Z", "2032-02-29T12:00:00Z"]);
        check(
            "5/20 0 13 * 5",
            "UTC",
            "2026-02-12T23:00:00Z",
            &["2026-02-13T00:05:00Z", "2026-02-13T00:25:00Z", "2026-02-13T00:45:00Z", "2026-02-20T00:05:00Z"],
        );
        check("0 0 * * 7", "UTC", "2026-01-01T00:00:00Z", &["2026-01-04T00:00:00Z"]);
    }

    #[test]
    fn a_day_with_a_change_of_the_clock_has_each_time_once() {
        // 02:30 is not there on March 29th, and there twice on October 25th.
        check("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", &["2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]);
        check("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_what_is_right() {
        for (wrong, says) in [
            ("", "has 0 fields"),
            ("* * * *", "has 4 fields"),
            ("0 0 * * * *", "has 6 fields"),
            ("60 * * * *", "from 0 to 59"),
            ("* 24 * * *", "from 0 to 23"),
            ("* * 0 * *", "from 1 to 31"),
            ("* * * 13 *", "from 1 to 12"),
            ("* * * * 8", "from 0 to 7"),
            ("*/0 * * * *", "no step"),
            ("9-3 * * * *", "ends before it begins"),
            ("+1 * * * *", "from 0 to 59"),
            ("* * * foo *", "from 1 to 12"),
            ("0 0 30 2 *", "never comes"),
        ] {
            let error = Schedule::parse("schedule", wrong, "UTC").unwrap_err();
            assert!(error.message.contains(says) && error.message.contains("five fields"), "{wrong}: {error}");
        }
    }
}
