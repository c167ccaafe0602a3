//! Wire messages to and from the model's types. Each refusal names the field and what would be right.

use std::time::Duration;

use jiff::Timestamp;
use model::{AppId, Branding, Error, FilterOp, MetricFilter, Permission, Priority, Value};
pub use prost_types::{Duration as WireDuration, Timestamp as WireTime};

use crate::v1;

/// The longest duration of protobuf: 10,000 years.
const MOST_SECONDS: u64 = 315_576_000_000;

/// An instant on the wire, from UTC milliseconds.
pub fn time_to_wire(ms: i64) -> WireTime {
    WireTime { seconds: ms.div_euclid(1000), nanos: (ms.rem_euclid(1000) * 1_000_000) as i32 }
}

/// An instant as UTC milliseconds, what is finer cut off; none outside of the years 1 to 9999.
pub fn instant(time: &WireTime) -> Option<i64> {
    Timestamp::new(time.seconds, time.nanos)
        .ok()
        .filter(|_| (0..1_000_000_000).contains(&time.nanos) && time.seconds >= -62_135_596_800)
        .map(|_| time.seconds * 1000 + i64::from(time.nanos) / 1_000_000)
}

/// The field is no [`instant`].
pub fn no_instant(field: impl Into<String>) -> Error {
    Error::invalid(field, "MALFORMED", "must be an instant between the years 1 and 9999, nanos 0 to 999,999,999")
}

/// The field, where a value is needed, has none.
pub fn no_value(field: impl Into<String>) -> Error {
    let description = "must be a number, integer, string, bool or time; leave out what has no value";
    Error::invalid(field, "REQUIRED", description)
}

/// An [`instant`], or the refusal of the field.
pub fn time_from_wire(field: &str, time: &WireTime) -> Result<i64, Error> {
    instant(time).ok_or_else(|| no_instant(field))
}

/// A duration over zero, or the refusal of the field. prost's own conversion overflows on the least seconds there are.
pub fn duration_from_wire(field: &str, duration: &WireDuration) -> Result<Duration, Error> {
    let parts = u64::try_from(duration.seconds).ok().zip(u32::try_from(duration.nanos).ok());
    parts
        .filter(|parts| *parts > (0, 0) && parts.0 <= MOST_SECONDS && parts.1 < 1_000_000_000)
        .map(|(seconds, nanos)| Duration::new(seconds, nanos))
        .ok_or_else(|| Error::invalid(field, "MALFORMED", "must be a positive duration, nanos 0 to 999,999,999"))
}

/// A value for an event or a filter. Null and unset are refused.
pub fn value_from_wire(field: &str, value: v1::Value) -> Result<Value, Error> {
    use v1::value::Kind;
    match value.kind {
        Some(Kind::Number(x)) => Ok(Value::Number(x)),
        Some(Kind::Integer(i)) => Ok(Value::Integer(i)),
        Some(Kind::String(text)) => Ok(Value::String(text)),
        Some(Kind::Bool(b)) => Ok(Value::Bool(b)),
        Some(Kind::Time(t)) => time_from_wire(field, &t).map(Value::Time),
        Some(Kind::Null(_)) | None => Err(no_value(field)),
    }
}

/// A value on the wire.
pub fn value_to_wire(value: &Value) -> v1::Value {
    use v1::value::Kind;
    let kind = match value {
        Value::Number(x) => Kind::Number(*x),
        Value::Integer(i) => Kind::Integer(*i),
        Value::String(text) => Kind::String(text.clone()),
        Value::Bool(b) => Kind::Bool(*b),
        Value::Time(ms) => Kind::Time(time_to_wire(*ms)),
    };
    v1::Value { kind: Some(kind) }
}

/// An app id, or why it isn't one.
pub fn app_from_wire(field: &str, text: &str) -> Result<AppId, Error> {
    AppId::new(text)
        .map_err(|e| Error::invalid(field, if text.is_empty() { "REQUIRED" } else { "MALFORMED" }, e.to_string()))
}

/// A priority; the most urgent if none is said.
pub fn priority_from_wire(field: &str, number: i32) -> Result<Priority, Error> {
    match v1::Priority::try_from(number) {
        Ok(v1::Priority::Unspecified | v1::Priority::Interactive) => Ok(Priority::Interactive),
        Ok(v1::Priority::Scheduled) => Ok(Priority::Scheduled),
        Ok(v1::Priority::Background) => Ok(Priority::Background),
        Err(_) => {
            let description = "must be one of PRIORITY_INTERACTIVE to PRIORITY_BACKGROUND";
            Err(Error::invalid(field, "MALFORMED", description))
        }
    }
}

/// A route from the wire: none if it is left open.
pub fn route_from_wire(field: &str, number: i32) -> Result<Option<v1::Route>, Error> {
    match v1::Route::try_from(number) {
        Ok(v1::Route::Unspecified) => Ok(None),
        Ok(route) => Ok(Some(route)),
        Err(_) => Err(Error::invalid(field, "MALFORMED", "must be one of ROUTE_RAW to ROUTE_STATES")),
    }
}

/// A priority on the wire.
pub fn priority_to_wire(priority: Priority) -> v1::Priority {
    match priority {
        Priority::Interactive => v1::Priority::Interactive,
        Priority::Scheduled => v1::Priority::Scheduled,
        Priority::Background => v1::Priority::Background,
    }
}

const OPS: [(v1::FilterOp, FilterOp); 11] = [
    (v1::FilterOp::Eq, FilterOp::Eq),
    (v1::FilterOp::Ne, FilterOp::Ne),
    (v1::FilterOp::Lt, FilterOp::Lt),
    (v1::FilterOp::Le, FilterOp::Le),
    (v1::FilterOp::Gt, FilterOp::Gt),
    (v1::FilterOp::Ge, FilterOp::Ge),
    (v1::FilterOp::In, FilterOp::In),
    (v1::FilterOp::NotIn, FilterOp::NotIn),
    (v1::FilterOp::Like, FilterOp::Like),
    (v1::FilterOp::IsNull, FilterOp::IsNull),
    (v1::FilterOp::IsNotNull, FilterOp::IsNotNull),
];

/// A condition; `field` is its path in the request.
pub fn filter_from_wire(field: &str, filter: v1::Filter) -> Result<MetricFilter, Error> {
    let op = OPS.iter().find(|(wire, _)| *wire as i32 == filter.op).map(|(_, op)| *op).ok_or_else(|| {
        Error::invalid(format!("{field}.op"), "REQUIRED", "must be one of FILTER_OP_EQ to FILTER_OP_IS_NOT_NULL")
    })?;
    if filter.field.is_empty() {
        return Err(Error::invalid(format!("{field}.field"), "REQUIRED", "must name a field or property"));
    }
    let given = filter.values.len();
    let (fits, wanted) = match op {
        FilterOp::In | FilterOp::NotIn => (given >= 1, "at least one value"),
        FilterOp::IsNull | FilterOp::IsNotNull => (given == 0, "no value"),
        _ => (given == 1, "exactly one value"),
    };
    if !fits {
        let description = format!("this comparison takes {wanted}, not {given}");
        return Err(Error::invalid(format!("{field}.values"), "MALFORMED", description));
    }
    let values = filter
        .values
        .into_iter()
        .enumerate()
        .map(|(i, value)| value_from_wire(&format!("{field}.values[{i}]"), value))
        .collect::<Result<_, _>>()?;
    Ok(MetricFilter { field: filter.field, op, values })
}

/// A condition on the wire.
pub fn filter_to_wire(filter: &MetricFilter) -> v1::Filter {
    let op = OPS.iter().find(|(_, op)| *op == filter.op).map_or(0, |(wire, _)| *wire as i32);
    v1::Filter { field: filter.field.clone(), op, values: filter.values.iter().map(value_to_wire).collect() }
}

/// A permission, or why the number isn't one.
pub fn permission_from_wire(field: &str, number: i32) -> Result<Permission, Error> {
    Permission::ALL
        .into_iter()
        .find(|p| *p as i32 == number)
        .ok_or_else(|| Error::invalid(field, "MALFORMED", "must be one of PERMISSION_INGEST to PERMISSION_EXPORT"))
}

macro_rules! branding_both_ways {
    ($($field:ident),*) => {
        impl From<v1::Branding> for Branding {
            fn from(branding: v1::Branding) -> Self {
                Self { $($field: branding.$field),* }
            }
        }

        impl From<Branding> for v1::Branding {
            fn from(branding: Branding) -> Self {
                Self { $($field: branding.$field),* }
            }
        }
    };
}
branding_both_ways!(product_name, logo_url, icon_url, primary_color, accent_color, mail_from, support_url, docs_url);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn instants_keep_their_milliseconds_on_both_sides_of_1970() {
        for ms in [0, 1, -1, 999, -999, -1000, 1_700_000_000_123, -62_135_596_800_000] {
            assert_eq!(time_from_wire("t", &time_to_wire(ms)).unwrap(), ms);
        }
        for (seconds, nanos) in [(i64::MAX, 0), (0, -1), (0, 1_000_000_000), (-62_135_596_801, 0)] {
            let error = time_from_wire("t", &WireTime { seconds, nanos }).unwrap_err();
            assert_eq!(error.violations[0].field, "t");
        }
    }

    #[test]
    fn durations_are_positive_and_no_number_overflows() {
        let duration = |seconds, nanos| duration_from_wire("d", &WireDuration { seconds, nanos });
        assert_eq!(duration(1, 500_000_000).unwrap(), Duration::from_millis(1_500));
        assert_eq!(duration(0, 1).unwrap(), Duration::from_nanos(1));
        for seconds in [i64::MIN, -1, 0, 1, i64::MAX] {
            for nanos in [i32::MIN, -1, 0, 1_000_000_000, i32::MAX] {
                if (seconds, nanos) != (1, 0) {
                    assert_eq!(duration(seconds, nanos).unwrap_err().violations[0].field, "d", "{seconds} {nanos}");
                }
            }
        }
    }

    #[test]
    fn a_filter_takes_as_many_values_as_its_comparison() {
        let filter = |op: v1::FilterOp, values: usize| {
            let value = v1::Value { kind: Some(v1::value::Kind::Integer(1)) };
            filter_from_wire("filters[0]", v1::Filter { field: "x".into(), op: op as i32, values: vec![value; values] })
        };
        assert!(filter(v1::FilterOp::Eq, 1).is_ok());
        assert!(filter(v1::FilterOp::In, 3).is_ok());
        assert!(filter(v1::FilterOp::IsNull, 0).is_ok());
        for (op, values) in [(v1::FilterOp::Eq, 2), (v1::FilterOp::In, 0), (v1::FilterOp::IsNull, 1)] {
            assert_eq!(filter(op, values).unwrap_err().violations[0].field, "filters[0].values");
        }
        assert_eq!(filter(v1::FilterOp::Unspecified, 1).unwrap_err().violations[0].field, "filters[0].op");
    }

    #[test]
    fn wire_numbers_of_permissions_are_the_model_s() {
        for p in Permission::ALL {
            let wire = v1::Permission::try_from(p as i32).unwrap();
            assert_eq!(wire.as_str_name(), format!("PERMISSION_{}", p.name().to_uppercase()));
        }
    }
}
