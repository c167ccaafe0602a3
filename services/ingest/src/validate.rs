//! Judges one event, or one user's traits, alone. Every route comes through here.
//!
//! Paths of fields, as in `events[3].user_id`, are made where a rule is broken and nowhere else.

use std::borrow::Cow;

use api::convert;
use model::{
    AppSchema, Error, MAX_EXACT_INTEGER, PropertyKind,
    record::{Body, PropertyRef, ValueRef},
};

use crate::{
    Limits,
    wire::{Event, Value},
};

/// What the event is judged against.
pub(crate) struct Judge<'a> {
    pub(crate) limits: &'a Limits,
    /// When the batch was received, UTC ms.
    pub(crate) received_at_ms: i64,
    /// Whether events of any age are taken.
    pub(crate) backfill: bool,
}

/// An event that may be logged, less its properties.
#[derive(Debug)]
pub(crate) struct Good<'a> {
    /// The client's, or one given here.
    pub(crate) event_id: Cow<'a, str>,
    event_type: &'a str,
    pub(crate) user_id: &'a str,
    timestamp_ms: i64,
    /// Why it doesn't count, if it is only fit to be kept.
    pub(crate) dead: Option<Error>,
}

impl Good<'_> {
    pub(crate) fn body(&self) -> Body<'_> {
        let Self { event_id, event_type, timestamp_ms, .. } = self;
        let (event_type, timestamp_ms) = (*event_type, *timestamp_ms);
        match &self.dead {
            None => Body::Event { event_id, event_type, timestamp_ms },
            Some(error) => {
                let code = error.violations.first().map_or(error.code.reason(), |violation| &violation.reason);
                Body::DeadLetter { event_id, event_type, timestamp_ms, code }
            }
        }
    }
}

impl Judge<'_> {
    /// The event, checked; or the first rule that it breaks.
    pub(crate) fn event<'a>(&self, index: usize, event: &Event<'a>) -> Result<Good<'a>, Error> {
        let limits = self.limits;
        let field = |name: &str| format!("events[{index}].{name}");
        name(event.event_type, limits.name_bytes, || field("event_type"))?;
        text(event.user_id, limits.user_bytes, || field("user_id"))?;
        text(event.event_id, limits.name_bytes, || field("event_id"))?;
        let (timestamp_ms, dead) = match &event.timestamp {
            Some(time) => match convert::instant(time) {
                Some(ms) => (ms, self.age(ms, || field("timestamp"))?),
                None => return Err(convert::no_instant(field("timestamp"))),
            },
            None => (self.received_at_ms, None),
        };
        let event_id = match event.event_id {
            "" => uuid::Uuid::now_v7().to_string().into(),
            id => id.into(),
        };
        Ok(Good { event_id, event_type: event.event_type, user_id: event.user_id, timestamp_ms, dead })
    }

    /// Refuses what would be deleted at once: an event that counts, of a day that an app that keeps `days` (0: for ever) no longer keeps.
    pub(crate) fn kept(&self, index: usize, good: &Good<'_>, days: u32) -> Result<(), Error> {
        let from_ms = storage::kept_from_ms(days, self.received_at_ms).filter(|_| good.dead.is_none());
        if from_ms.is_none_or(|from_ms| good.timestamp_ms >= from_ms) {
            return Ok(());
        }
        let description = format!("is of a day that is no longer kept: this app's events are kept for {days} days");
        Err(Error::invalid(format!("events[{index}].timestamp"), "EXPIRED", description))
    }

    /// Puts properties or traits, checked and typed, into `good`. `schema`: names in it were checked when they were registered.
    ///
    /// Returns whether any isn't in the schema. On an error `good` has some of them.
    pub(crate) fn properties<'a>(
        &self,
        at: impl Fn() -> String,
        given: &[(&'a str, Value<'a>)],
        schema: &AppSchema,
        good: &mut Vec<PropertyRef<'a>>,
    ) -> Result<bool, Error> {
        if given.len() > self.limits.properties {
            let description = format!("has {} entries, the limit is {}", given.len(), self.limits.properties);
            return Err(Error::invalid(at(), "TOO_MANY", description));
        }
        let (mut any_new, mut known) = (false, schema.slots());
        for (key, value) in given {
            let (kind, value) = self.value(*value, || format!("{}.{}", at(), printable(key)))?;
            if known.of(key, kind).is_none() {
                name(key, self.limits.name_bytes, || format!("{}.{}", at(), printable(key)))?;
                any_new = true;
            }
            good.push(PropertyRef { name: key, kind, value });
        }
        Ok(any_new)
    }

    fn value<'a>(
        &self,
        value: Value<'a>,
        field: impl FnOnce() -> String,
    ) -> Result<(PropertyKind, ValueRef<'a>), Error> {
        let (kind, number) = match value {
            Value::Text(text) if text.len() > self.limits.value_bytes => {
                return Err(too_long(field(), text.len(), self.limits.value_bytes));
            }
            Value::Text(text) => return Ok((PropertyKind::String, ValueRef::Text(text))),
            Value::Number(x) if !x.is_finite() => {
                let description = "must be a finite number; leave out what has no value";
                return Err(Error::invalid(field(), "NOT_FINITE", description));
            }
            // Adding 0 makes -0 to 0: the two are equal, and must be one group.
            Value::Number(x) => (PropertyKind::Number, x + 0.0),
            Value::Integer(i) if i.unsigned_abs() > MAX_EXACT_INTEGER.unsigned_abs() => {
                let description =
                    format!("{i} is beyond ±2^53, where a 64-bit float is not exact; send ids as strings");
                return Err(Error::invalid(field(), "NOT_EXACT", description));
            }
            Value::Integer(i) => (PropertyKind::Number, i as f64),
            Value::Bool(b) => (PropertyKind::Bool, f64::from(u8::from(b))),
            Value::Time(time) => match convert::instant(&time) {
                Some(ms) => (PropertyKind::Time, ms as f64),
                None => return Err(convert::no_instant(field())),
            },
            Value::None => return Err(convert::no_value(field())),
        };
        Ok((kind, ValueRef::Number(number)))
    }

    /// What keeps an event of this time from counting, though it can be kept; or why it can't even be that.
    fn age(&self, timestamp_ms: i64, field: impl FnOnce() -> String) -> Result<Option<Error>, Error> {
        let limits = self.limits;
        // The warehouse's days: DateTime64 and toYYYYMMDD agree from 1970 to 2299.
        if !(0..10_413_792_000_000).contains(&timestamp_ms) {
            return Err(Error::invalid(field(), "MALFORMED", "must be between the years 1970 and 2299"));
        }
        let age_ms = self.received_at_ms - timestamp_ms;
        if age_ms < -limits.ahead_ms {
            let description =
                format!("is {} ms ahead of the server's clock, the limit is {} ms", -age_ms, limits.ahead_ms);
            return Err(Error::invalid(field(), "IN_THE_FUTURE", description));
        }
        let too_old = age_ms > limits.age_ms && !self.backfill;
        Ok(too_old.then(|| {
            let limit = limits.age_ms;
            let description =
                format!("is {age_ms} ms old, the limit is {limit} ms; older events need a key with `backfill`");
            Error::invalid(field(), "TOO_OLD", description)
        }))
    }
}

/// A required name: not empty, within the limit, without control characters.
pub(crate) fn name(value: &str, limit: usize, field: impl FnOnce() -> String) -> Result<(), Error> {
    if value.is_empty() {
        return Err(Error::invalid(field(), "REQUIRED", format!("must have 1 to {limit} bytes")));
    }
    text(value, limit, field)
}

/// An optional text: within the limit, without control characters.
fn text(value: &str, limit: usize, field: impl FnOnce() -> String) -> Result<(), Error> {
    if value.len() > limit {
        return Err(too_long(field(), value.len(), limit));
    }
    // All bytes at once: to stop at the first would look at them one by one.
    if value.bytes().fold(false, |any, b| any | (b < 0x20) | (b == 0x7f)) {
        return Err(Error::invalid(field(), "MALFORMED", "must have no control characters"));
    }
    Ok(())
}

fn too_long(field: String, len: usize, limit: usize) -> Error {
    Error::invalid(field, "TOO_LONG", format!("has {len} bytes, the limit is {limit}"))
}

/// A name as it may stand in an error: without control characters, and short.
fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(64).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use api::v1;

    use super::*;
    use crate::wire::Batch;

    const NOW: i64 = 1_790_000_000_000;

    /// When it happened and its id.
    fn judge(event: v1::Event, backfill: bool) -> Result<(i64, String), (String, Cow<'static, str>)> {
        let limits = Limits::default();
        let judge = Judge { limits: &limits, received_at_ms: NOW, backfill };
        let events = [Ok(event)];
        let batch = Batch::of("", &events);
        let (event, schema) = (batch.events[0].as_ref().unwrap(), AppSchema::default());
        let properties = &batch.properties[event.properties.clone()];
        let judged = judge.event(2, event).and_then(|good| {
            judge.properties(|| "events[2].properties".into(), properties, &schema, &mut Vec::new())?;
            match good.dead {
                Some(error) => Err(error),
                None => Ok((good.timestamp_ms, good.event_id.into_owned())),
            }
        });
        judged.map_err(|e| {
            let violation = e.violations.into_iter().next().unwrap();
            (violation.field, violation.reason)
        })
    }

    fn event() -> v1::Event {
        v1::Event { event_type: "purchase".into(), ..Default::default() }
    }

    fn with(name: &str, kind: v1::value::Kind) -> v1::Event {
        v1::Event { properties: [(name.to_owned(), v1::Value { kind: Some(kind) })].into(), ..event() }
    }

    fn at(ms: i64) -> v1::Event {
        v1::Event { timestamp: Some(convert::time_to_wire(ms)), ..event() }
    }

    #[test]
    fn what_is_left_out_is_given() {
        let (timestamp_ms, event_id) = judge(event(), false).unwrap();
        assert_eq!((timestamp_ms, event_id.len()), (NOW, 36));
    }

    #[test]
    fn age_is_judged_once_to_the_millisecond() {
        assert!(judge(at(NOW - model::DAY_MS), false).is_ok());
        assert_eq!(
            judge(at(NOW - model::DAY_MS - 1), false).unwrap_err(),
            ("events[2].timestamp".into(), "TOO_OLD".into())
        );
        assert!(judge(at(NOW - 400 * model::DAY_MS), true).is_ok());
        assert!(judge(at(NOW + 300_000), false).is_ok());
        assert_eq!(judge(at(NOW + 300_001), true).unwrap_err().1, "IN_THE_FUTURE");
        assert_eq!(judge(at(-1), true).unwrap_err().1, "MALFORMED");
    }

    #[test]
    fn what_is_no_longer_kept_is_refused_by_the_day() {
        let limits = Limits::default();
        let judge = Judge { limits: &limits, received_at_ms: NOW, backfill: true };
        let kept = |timestamp_ms, days| {
            let events = [Ok(at(timestamp_ms))];
            let batch = Batch::of("", &events);
            let good = judge.event(0, batch.events[0].as_ref().unwrap()).unwrap();
            judge.kept(0, &good, days).map_err(|e| e.violations[0].reason.clone())
        };
        let today_ms = NOW.div_euclid(model::DAY_MS) * model::DAY_MS;
        for days in [1, 30] {
            let first_ms = today_ms - i64::from(days) * model::DAY_MS;
            assert_eq!(kept(first_ms, days), Ok(()));
            assert_eq!(kept(first_ms - 1, days), Err("EXPIRED".into()));
        }
        assert_eq!(kept(0, 0), Ok(()));
    }

    #[test]
    fn each_broken_rule_names_its_field() {
        use v1::value::Kind;
        let cases: Vec<(v1::Event, &str, &str)> = vec![
            (v1::Event::default(), "events[2].event_type", "REQUIRED"),
            (v1::Event { event_type: "x".repeat(129), ..event() }, "events[2].event_type", "TOO_LONG"),
            (v1::Event { event_type: "a\nb".into(), ..event() }, "events[2].event_type", "MALFORMED"),
            (v1::Event { user_id: "x".repeat(257), ..event() }, "events[2].user_id", "TOO_LONG"),
            (v1::Event { event_id: "x\0".into(), ..event() }, "events[2].event_id", "MALFORMED"),
            (with("price", Kind::Number(f64::NAN)), "events[2].properties.price", "NOT_FINITE"),
            (with("id", Kind::Integer((1 << 53) + 1)), "events[2].properties.id", "NOT_EXACT"),
            (with("id", Kind::Integer(i64::MIN)), "events[2].properties.id", "NOT_EXACT"),
            (with("t", Kind::String("x".repeat(1025))), "events[2].properties.t", "TOO_LONG"),
            (with("", Kind::Bool(true)), "events[2].properties.", "REQUIRED"),
            (with("n", Kind::Null(0)), "events[2].properties.n", "REQUIRED"),
        ];
        for (event, field, reason) in cases {
            assert_eq!(judge(event, false).unwrap_err(), (field.to_owned(), reason.into()));
        }
        let many = (0..257).map(|i| (i.to_string(), v1::Value { kind: Some(Kind::Bool(true)) })).collect();
        let many = v1::Event { properties: many, ..event() };
        assert_eq!(judge(many, false).unwrap_err(), ("events[2].properties".into(), "TOO_MANY".into()));
        assert!(judge(with("id", Kind::Integer(1 << 53)), false).is_ok());
    }
}
