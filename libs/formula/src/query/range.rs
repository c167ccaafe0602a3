//! Which times a typed query is about, and those that it is compared with.

use model::{Error, HOUR_MS};

use super::{TypedQuery, value_error};
use crate::{
    ast::CompareOp,
    diagnostics::{Rule, Span},
    grain::Grain,
    interval::Interval,
    plan::Buckets,
    time::{Zone, bucket_start, format_utc, next_bucket, shift},
    typed::{Expr, Field, Node},
    types::Type,
};

/// How many buckets are filled at most.
const MAX_FILLED: usize = 10_000;

/// Whole units of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// Their unit.
    pub unit: Grain,
    /// How many units the last of them lies back: 0 is the one that is now.
    pub ago: u32,
    /// How many there are.
    pub count: u32,
}

/// What a query is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// The time right before, as long.
    Previous,
    /// The same dates a year before.
    YearBefore,
    /// From this instant on, UTC ms, as long as the query's own.
    From(i64),
}

/// Times from the first instant to that after the last, UTC ms, if they are bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Times {
    pub(super) from: Option<i64>,
    pub(super) to: Option<i64>,
}

/// What a query is compared with: events of other times, moved into its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Earlier {
    pub(super) times: Times,
    pub(super) by: Interval,
}

impl Times {
    /// The conditions on an event's time.
    pub(super) fn bounds(self) -> Vec<Expr> {
        let bound = |(op, ms): (CompareOp, Option<i64>)| {
            let node = Node::Compare(op, Box::new(timestamp()), Box::new(instant(ms?)));
            Some(Expr::new(node, Type::Bool, Span::default()))
        };
        [(CompareOp::Ge, self.from), (CompareOp::Lt, self.to)].into_iter().filter_map(bound).collect()
    }

    /// Whether an event is of these times.
    pub(super) fn holds(self) -> Expr {
        Expr::new(Node::All(self.bounds()), Type::Bool, Span::default())
    }
}

pub(super) fn timestamp() -> Expr {
    Expr::new(Node::Field(Field::Timestamp), Type::Time, Span::default())
}

pub(super) fn instant(ms: i64) -> Expr {
    Expr::new(Node::Time(ms), Type::Time, Span::default())
}

impl TypedQuery {
    pub(super) fn times(&self, now_ms: i64, zone: &Zone) -> Result<Times, Error> {
        let Some(Period { unit, ago, count }) = self.period else {
            for (ms, field) in [(self.from_ms, "range.from"), (self.to_ms, "range.to")] {
                if ms.is_some_and(|ms| format_utc(ms).is_none()) {
                    return Err(value_error(field, Rule::InvalidTime, "the time lies outside the years 1900 to 2299"));
                }
            }
            return Ok(Times { from: self.from_ms, to: self.to_ms });
        };
        let back = |units: u32| {
            let by = Interval::of(-f64::from(units), unit.name())?;
            bucket_start(shift(bucket_start(now_ms, unit, zone)?, by, zone)?, unit, zone)
        };
        let from = ago.checked_add(count.max(1) - 1).and_then(back);
        let to = back(ago).and_then(|last| next_bucket(last, unit, zone));
        match (from, to) {
            (Some(_), Some(_)) => Ok(Times { from, to }),
            _ => Err(value_error("range.period", Rule::InvalidTime, "the period lies outside the years 1900 to 2299")),
        }
    }

    /// Which buckets have a row, events or not.
    pub(super) fn filled(&self, times: Times, zone: &Zone) -> Result<Option<Buckets>, Error> {
        if self.fill.is_none() {
            return Ok(None);
        }
        let refuse = |rule, message: &str| Err(value_error("fill", rule, message));
        let Some(grain) = self.grain else {
            return refuse(Rule::WrongArguments, "there are buckets only with a grain");
        };
        let (Some(from), Some(to)) = (times.from, times.to) else {
            return refuse(Rule::WrongArguments, "the range must have a beginning and an end");
        };
        let mut starts = bucket_start(from, grain, zone);
        for _ in 0..=MAX_FILLED {
            match starts {
                Some(start) if start < to => {
                    let next = next_bucket(start, grain, zone);
                    // The warehouse fills them in even steps.
                    if grain == Grain::Hour && next.is_some_and(|next| next - start != HOUR_MS) {
                        let message = "the zone's clocks change by less than an hour in this range; take days, or UTC";
                        return refuse(Rule::WrongArguments, message);
                    }
                    starts = next;
                }
                next => {
                    let (from, to) = (bucket_start(from, grain, zone).unwrap_or(from), next.unwrap_or(to));
                    return Ok(Some(Buckets { grain, zone: zone.clone(), from, to }));
                }
            }
        }
        refuse(Rule::TooLarge, "the range has more than 10,000 buckets; take a wider grain")
    }

    /// What it is compared with, given its own times.
    pub(super) fn earlier(&self, times: Times, now_ms: i64, zone: &Zone) -> Result<Option<Earlier>, Error> {
        let Some(comparison) = self.comparison else { return Ok(None) };
        let refuse = |message| Err(value_error("comparison", Rule::InvalidTime, message));
        let Some(from) = times.from else { return refuse("a range that is compared has a beginning") };
        let to = times.to.unwrap_or(now_ms);
        let year = Interval { months: 12, ..Interval::default() };
        let by = match comparison {
            Comparison::YearBefore => year,
            Comparison::From(start) => distance(start, from, zone),
            Comparison::Previous => match self.period {
                Some(Period { unit, count, .. }) if self.grain.is_none_or(|grain| grain >= Grain::Month) => {
                    Interval::of(f64::from(count.max(1)), unit.name()).unwrap_or(year)
                }
                // Day by day from the first: months have different days.
                Some(Period { unit, count, .. }) => {
                    let back = Interval::of(-f64::from(count.max(1)), unit.name());
                    distance(back.and_then(|back| shift(from, back, zone)).unwrap_or(from), from, zone)
                }
                None => distance(from, to, zone),
            },
        };
        let (start, mut end) = (shift(from, by.negated(), zone), shift(to, by.negated(), zone));
        if comparison == Comparison::Previous {
            end = Some(from); // of a shorter month, all of it
        }
        match (start, end) {
            (Some(start), Some(end)) if start < end && (end <= from || start >= to) => {
                Ok(Some(Earlier { times: Times { from: Some(start), to: Some(end) }, by }))
            }
            (Some(_), Some(_)) => refuse("the times compared with each other must not overlap"),
            _ => refuse("the time compared with lies outside the years 1900 to 2299"),
        }
    }
}

/// From one instant to a later one, in days of the zone if both are the same time of the day there.
fn distance(from: i64, to: i64, zone: &Zone) -> Interval {
    let nearest = (to - from + model::DAY_MS / 2).div_euclid(model::DAY_MS);
    let days = Interval { days: nearest, ..Interval::default() };
    if shift(from, days, zone) == Some(to) { days } else { Interval { ms: to - from, ..Interval::default() } }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// 2024-04-02 10:00 in Berlin, two days after its clocks changed.
    const NOW_MS: i64 = 1_712_044_800_000;

    fn shown(times: Times) -> String {
        let utc = |ms: Option<i64>| ms.and_then(format_utc).map_or("-".to_owned(), |text| text[..16].to_owned());
        format!("{} {}", utc(times.from), utc(times.to))
    }

    fn query(unit: Grain, ago: u32, count: u32) -> TypedQuery {
        TypedQuery { period: Some(Period { unit, ago, count }), ..TypedQuery::default() }
    }

    #[test]
    fn a_period_is_of_the_zone_s_calendar() {
        let zone = Zone::named("Europe/Berlin").unwrap();
        for (unit, ago, count, want) in [
            (Grain::Day, 0, 1, "2024-04-01 22:00 2024-04-02 22:00"),
            (Grain::Day, 2, 1, "2024-03-30 23:00 2024-03-31 22:00"),
            (Grain::Month, 0, 1, "2024-03-31 22:00 2024-04-30 22:00"),
            (Grain::Month, 1, 3, "2023-12-31 23:00 2024-03-31 22:00"),
            (Grain::Week, 1, 1, "2024-03-24 23:00 2024-03-31 22:00"),
            (Grain::Year, 1, 0, "2022-12-31 23:00 2023-12-31 23:00"),
        ] {
            assert_eq!(shown(query(unit, ago, count).times(NOW_MS, &zone).unwrap()), want, "{unit:?} {ago} {count}");
        }
        assert!(query(Grain::Year, 500, 1).times(NOW_MS, &zone).is_err());
        assert!(query(Grain::Day, u32::MAX, u32::MAX).times(NOW_MS, &zone).is_err());
    }

    #[test]
    fn what_is_compared_lies_before_and_apart() {
        let zone = Zone::named("Europe/Berlin").unwrap();
        let earlier = |query: TypedQuery, comparison| {
            let query = TypedQuery { comparison: Some(comparison), ..query };
            let times = query.times(NOW_MS, &zone).unwrap();
            query.earlier(times, NOW_MS, &zone).map(|earlier| shown(earlier.unwrap().times))
        };
        use Comparison::{From, Previous, YearBefore};
        assert_eq!(earlier(query(Grain::Month, 0, 1), Previous).unwrap(), "2024-02-29 23:00 2024-03-31 22:00");
        assert_eq!(earlier(query(Grain::Month, 1, 1), Previous).unwrap(), "2024-01-31 23:00 2024-02-29 23:00");
        assert_eq!(earlier(query(Grain::Day, 1, 2), Previous).unwrap(), "2024-03-28 23:00 2024-03-30 23:00");
        assert_eq!(earlier(query(Grain::Week, 1, 1), YearBefore).unwrap(), "2023-03-24 23:00 2023-03-31 22:00");
        let hours = TypedQuery { from_ms: Some(NOW_MS - 3_600_000), ..TypedQuery::default() };
        assert_eq!(earlier(hours.clone(), Previous).unwrap(), "2024-04-02 06:00 2024-04-02 07:00");
        assert_eq!(earlier(hours.clone(), From(NOW_MS - 86_400_000)).unwrap(), "2024-04-01 08:00 2024-04-01 09:00");
        assert!(earlier(hours, From(NOW_MS - 5_000_000)).unwrap_err().message.contains("must not overlap"));
        assert!(earlier(query(Grain::Year, 0, 2), YearBefore).unwrap_err().message.contains("must not overlap"));
        assert!(earlier(TypedQuery::default(), Previous).unwrap_err().message.contains("has a beginning"));
    }
}
