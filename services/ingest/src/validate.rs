//! Judges one event, or one user's traits, alone. Every route comes through here.

use api::{convert, v1};
use model::{AppId, Error, Event, MAX_EXACT_INTEGER, TenantId, Value};

use crate::Limits;

/// What the event is judged against.
pub(crate) struct Judge<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) tenant: &'a TenantId,
    /// When the batch was received, UTC ms.
    pub(crate) received_at_ms: i64,
    /// Whether events of any age are taken.
    pub(crate) backfill: bool,
}

impl Judge<'_> {
    /// The event, checked and typed; or the first rule that it breaks. `at` is its path, as in `events[3]`.
    pub(crate) fn event(&self, at: &str, event: v1::Event, app: AppId) -> Result<Event, Error> {
        let limits = self.limits;
        let field = |name: &str| format!("{at}.{name}");
        name(&field("event_type"), &event.event_type, limits.name_bytes)?;
        text(&field("user_id"), &event.user_id, limits.user_bytes)?;
        text(&field("event_id"), &event.event_id, limits.name_bytes)?;
        let timestamp_ms = match event.timestamp {
            Some(time) => self.age(&field("timestamp"), convert::time_from_wire(&field("timestamp"), &time)?)?,
            None => self.received_at_ms,
        };
        let event_id = match event.event_id {
            id if id.is_empty() => uuid::Uuid::now_v7().to_string(),
            id => id,
        };
        Ok(Event {
            tenant: self.tenant.clone(),
            app,
            event_id,
            event_type: event.event_type,
            user_id: event.user_id,
            timestamp_ms,
            received_at_ms: self.received_at_ms,
            properties: self.properties(&field("properties"), event.properties)?,
        })
    }

    /// Properties or traits, checked and typed, by name.
    pub(crate) fn properties(
        &self,
        at: &str,
        given: impl IntoIterator<Item = (String, v1::Value), IntoIter: ExactSizeIterator>,
    ) -> Result<Vec<(String, Value)>, Error> {
        let given = given.into_iter();
        if given.len() > self.limits.properties {
            let description = format!("has {} entries, the limit is {}", given.len(), self.limits.properties);
            return Err(Error::invalid(at, "TOO_MANY", description));
        }
        let mut properties = Vec::with_capacity(given.len());
        for (key, wire) in given {
            name(&format!("{at}.{}", printable(&key)), &key, self.limits.name_bytes)?;
            let value = self.value(at, &key, wire)?;
            properties.push((key, value));
        }
        Ok(properties)
    }

    fn value(&self, at: &str, key: &str, wire: v1::Value) -> Result<Value, Error> {
        let field = || format!("{at}.{key}");
        let value = match wire.kind {
            // The two commonest kinds, without building the field's path first.
            // Adding 0 makes -0 to 0: the two are equal, and must be one group.
            Some(v1::value::Kind::Number(x)) => Value::Number(x + 0.0),
            Some(v1::value::Kind::String(text)) => Value::String(text),
            _ => convert::value_from_wire(&field(), wire)?,
        };
        match &value {
            Value::Number(x) if !x.is_finite() => {
                Err(Error::invalid(field(), "NOT_FINITE", "must be a finite number; leave out what has no value"))
            }
            Value::Integer(i) if i.unsigned_abs() > MAX_EXACT_INTEGER.unsigned_abs() => Err(Error::invalid(
                field(),
                "NOT_EXACT",
                format!("{i} is beyond ±2^53, where a 64-bit float is not exact; send ids as strings"),
            )),
            Value::String(s) if s.len() > self.limits.value_bytes => {
                Err(too_long(&field(), s.len(), self.limits.value_bytes))
            }
            _ => Ok(value),
        }
    }

    fn age(&self, field: &str, timestamp_ms: i64) -> Result<i64, Error> {
        let limits = self.limits;
        let age_ms = self.received_at_ms - timestamp_ms;
        if age_ms < -limits.ahead_ms {
            let description =
                format!("is {} ms ahead of the server's clock, the limit is {} ms", -age_ms, limits.ahead_ms);
            return Err(Error::invalid(field, "IN_THE_FUTURE", description));
        }
        if age_ms > limits.age_ms && !self.backfill {
            let description = format!(
                "is {age_ms} ms old, the limit is {} ms; older events need a key with `backfill`",
                limits.age_ms
            );
            return Err(Error::invalid(field, "TOO_OLD", description));
        }
        // The warehouse's days: DateTime64 and toYYYYMMDD agree from 1970 to 2299.
        if !(0..10_413_792_000_000).contains(&timestamp_ms) {
            return Err(Error::invalid(field, "MALFORMED", "must be between the years 1970 and 2299"));
        }
        Ok(timestamp_ms)
    }
}

/// A required name: not empty, within the limit, without control characters.
pub(crate) fn name(field: &str, value: &str, limit: usize) -> Result<(), Error> {
    if value.is_empty() {
        return Err(Error::invalid(field, "REQUIRED", format!("must have 1 to {limit} bytes")));
    }
    text(field, value, limit)
}

/// An optional text: within the limit, without control characters.
fn text(field: &str, value: &str, limit: usize) -> Result<(), Error> {
    if value.len() > limit {
        return Err(too_long(field, value.len(), limit));
    }
    if value.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return Err(Error::invalid(field, "MALFORMED", "must have no control characters"));
    }
    Ok(())
}

fn too_long(field: &str, len: usize, limit: usize) -> Error {
    Error::invalid(field, "TOO_LONG", format!("has {len} bytes, the limit is {limit}"))
}

/// A name as it may stand in an error: without control characters, and short.
fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(64).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    const NOW: i64 = 1_790_000_000_000;

    fn judge(event: v1::Event, backfill: bool) -> Result<Event, (String, Cow<'static, str>)> {
        let (limits, tenant) = (Limits::default(), TenantId::new("acme").unwrap());
        let judge = Judge { limits: &limits, tenant: &tenant, received_at_ms: NOW, backfill };
        judge.event("events[2]", event, AppId::new("app").unwrap()).map_err(|e| {
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
        let event = judge(event(), false).unwrap();
        assert_eq!((event.timestamp_ms, event.received_at_ms), (NOW, NOW));
        assert_eq!(event.event_id.len(), 36);
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
