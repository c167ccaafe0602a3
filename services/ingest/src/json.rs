//! Events in JSON: one object, an array, or NDJSON; each event is judged alone, a malformed one too.

use std::collections::HashMap;

use api::{convert::time_to_wire, v1};
use jiff::Timestamp;
use model::Error;
use serde::Deserialize;
use serde_json::value::RawValue;

/// An event, or why it is none.
pub(crate) type Read = Result<v1::Event, Error>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonEvent {
    #[serde(default)]
    event_id: String,
    event_type: String,
    #[serde(default)]
    user_id: String,
    timestamp: Option<JsonTime>,
    #[serde(default)]
    properties: HashMap<String, serde_json::Value>,
    #[serde(default)]
    app_id: String,
}

/// RFC 3339 text, or UTC milliseconds since 1970.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum JsonTime {
    Ms(i64),
    Text(String),
}

/// The events of a body. `ndjson`: one a line; else an object or an array.
pub(crate) fn events(body: &[u8], ndjson: bool) -> Result<Vec<Read>, Error> {
    let text = std::str::from_utf8(body)
        .map_err(|e| malformed("body", format!("is not UTF-8 at byte {}", e.valid_up_to())))?;
    if ndjson {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        return Ok(lines.enumerate().map(|(i, line)| event(i, line)).collect());
    }
    if text.trim_start().starts_with('[') {
        let items: Vec<&RawValue> =
            serde_json::from_str(text).map_err(|e| malformed("body", format!("is not JSON: {e}")))?;
        return Ok(items.iter().enumerate().map(|(i, item)| event(i, item.get())).collect());
    }
    let whole: &RawValue = serde_json::from_str(text)
        .map_err(|e| malformed("body", format!("is not JSON: {e}; send NDJSON as application/x-ndjson")))?;
    Ok(vec![event(0, whole.get())])
}

pub(crate) fn malformed(field: &str, description: String) -> Error {
    Error::invalid(field, "MALFORMED", description)
}

/// The event that stands in a text, with its place in a batch for what is wrong with it.
///
/// # Errors
/// The field at fault, as `events[INDEX].timestamp`, and what would be right.
pub fn event(index: usize, text: &str) -> Result<v1::Event, Error> {
    let at = format!("events[{index}]");
    let json: JsonEvent = serde_json::from_str(text).map_err(|e| malformed(&at, format!("is not an event: {e}")))?;
    let timestamp = json.timestamp.map(|t| time(&format!("{at}.timestamp"), t)).transpose()?.map(time_to_wire);
    let properties = json
        .properties
        .into_iter()
        .filter(|(_, value)| !value.is_null()) // null is how JSON says that there is no value
        .map(|(name, value)| {
            let value = property(&format!("{at}.properties.{name}"), value)?;
            Ok((name, v1::Value { kind: Some(value) }))
        })
        .collect::<Result<_, Error>>()?;
    Ok(v1::Event {
        event_id: json.event_id,
        event_type: json.event_type,
        user_id: json.user_id,
        timestamp,
        properties,
        app_id: json.app_id,
    })
}

pub(crate) fn time(field: &str, time: JsonTime) -> Result<i64, Error> {
    match time {
        JsonTime::Ms(ms) => Ok(ms),
        JsonTime::Text(text) => text.parse::<Timestamp>().map(Timestamp::as_millisecond).map_err(|e| {
            malformed(field, format!("must be RFC 3339, as in 2026-01-31T23:59:59.999Z, or ms since 1970: {e}"))
        }),
    }
}

/// A JSON number, string or bool; or `{"time": ...}` for an instant, since JSON has none. The other kinds may be named too, as they are
/// where the product itself writes an event.
pub(crate) fn property(field: &str, value: serde_json::Value) -> Result<v1::value::Kind, Error> {
    use serde_json::Value;
    use v1::value::Kind;
    match value {
        Value::Bool(b) => Ok(Kind::Bool(b)),
        Value::String(text) => Ok(Kind::String(text)),
        Value::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(i), _) => Ok(Kind::Integer(i)),
            // What is beyond 64 bits is beyond 2^53: refused with the same words as any other.
            (None, _) if n.is_u64() => Ok(Kind::Integer(i64::MAX)),
            (None, Some(x)) => Ok(Kind::Number(x)),
            (None, None) => Err(malformed(field, format!("{n} is not a 64-bit number"))),
        },
        Value::Object(map) if map.len() == 1 => {
            let (kind, inner) = map.into_iter().next().unwrap_or_default();
            named(field, &kind, inner)
        }
        _ => Err(nested(field)),
    }
}

/// A value under the name of its kind.
fn named(field: &str, kind: &str, value: serde_json::Value) -> Result<v1::value::Kind, Error> {
    use serde_json::Value;
    use v1::value::Kind;
    match (kind, value) {
        ("time", value) => {
            let value = serde_json::from_value(value)
                .map_err(|_| malformed(field, "\"time\" must be RFC 3339 text or ms since 1970".to_owned()))?;
            time(field, value).map(|ms| Kind::Time(time_to_wire(ms)))
        }
        ("number", Value::Number(n)) => {
            n.as_f64().map(Kind::Number).ok_or_else(|| malformed(field, format!("{n} is not a 64-bit number")))
        }
        ("integer", Value::Number(n)) if n.is_i64() => Ok(Kind::Integer(n.as_i64().unwrap_or_default())),
        ("integer", Value::String(text)) => text
            .parse()
            .map(Kind::Integer)
            .map_err(|_| malformed(field, "\"integer\" must be a whole number".to_owned())),
        ("string", Value::String(text)) => Ok(Kind::String(text)),
        ("bool", Value::Bool(b)) => Ok(Kind::Bool(b)),
        _ => Err(nested(field)),
    }
}

fn nested(field: &str) -> Error {
    let description = "must be a number, string, bool or {\"time\": \"...\"}; nested values have no column";
    malformed(field, description.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_event_does_not_sink_the_others() {
        let lines =
            b"{\"event_type\":\"a\"}\n\n{\"event_type\":1}\n{\"event_type\":\"b\",\"typo\":1}\n{\"event_type\":\"c\"}";
        let got = events(lines, true).unwrap();
        assert_eq!(got.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, true]);
        assert_eq!(got[1].as_ref().unwrap_err().violations[0].field, "events[1]");
        let got =
            events(b"[{\"event_type\":\"a\"}, 7, {\"event_type\":\"b\",\"timestamp\":\"yesterday\"}]", false).unwrap();
        assert_eq!(got[2].as_ref().unwrap_err().violations[0].field, "events[2].timestamp");
        assert!(got[0].is_ok() && got[1].is_err());
        assert!(events(b"[{\"event_type\":\"a\"}", false).is_err());
        assert!(events(b"\xff", true).is_err());
    }

    #[test]
    fn json_values_keep_their_type() {
        use v1::value::Kind;
        let body = br#"{"event_type":"a","timestamp":1700000000123,"properties":{"i":3,"x":3.5,"s":"t","b":true,"n":null,"t":{"time":"2026-01-01T00:00:00Z"}}}"#;
        let event = events(body, false).unwrap().remove(0).unwrap();
        assert_eq!(event.timestamp.unwrap(), time_to_wire(1_700_000_000_123));
        let kind = |name: &str| event.properties.get(name).and_then(|v| v.kind.clone());
        assert_eq!(kind("i"), Some(Kind::Integer(3)));
        assert_eq!(kind("x"), Some(Kind::Number(3.5)));
        assert_eq!(kind("s"), Some(Kind::String("t".into())));
        assert_eq!(kind("b"), Some(Kind::Bool(true)));
        assert_eq!(kind("n"), None);
        assert_eq!(kind("t"), Some(Kind::Time(time_to_wire(1_767_225_600_000))));
        let named = br#"{"event_type":"a","properties":{"i":{"integer":"3"},"x":{"number":3},"s":{"string":"t"},"b":{"bool":true}}}"#;
        let event = events(named, false).unwrap().remove(0).unwrap();
        let kind = |name: &str| event.properties.get(name).and_then(|v| v.kind.clone());
        assert_eq!([kind("i"), kind("x")], [Some(Kind::Integer(3)), Some(Kind::Number(3.0))]);
        assert_eq!([kind("s"), kind("b")], [Some(Kind::String("t".into())), Some(Kind::Bool(true))]);
        for bad in [
            r#"{"x":[1]}"#,
            r#"{"x":{"time":true}}"#,
            r#"{"x":{"a":1}}"#,
            r#"{"x":{"integer":"1.5"}}"#,
            r#"{"x":{"integer":1.5}}"#,
            r#"{"x":{"string":1}}"#,
            r#"{"x":{"bool":true,"number":1}}"#,
        ] {
            let body = format!(r#"{{"event_type":"a","properties":{bad}}}"#);
            let error = events(body.as_bytes(), false).unwrap().remove(0).unwrap_err();
            assert_eq!(error.violations[0].field, "events[0].properties.x");
        }
    }
}
