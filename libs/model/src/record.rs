//! The bytes of one record in the event log.
//!
//! All integers unsigned LEB128 varints unless said otherwise, strings as length and UTF-8 bytes:
//!
//! ```text
//! version   u8: 1, or 2 if the trace follows
//! trace     version 2 only: W3C trace id, 16 bytes, and the id of the span that appended it, 8 bytes
//! what      u8: 1 event, 2 identify
//! tenant    string
//! app       string
//! user_id   string, empty if nobody is known
//! received  i64 little-endian, UTC ms
//! event only:  event_id string, event_type string, timestamp i64 little-endian UTC ms
//! count     number of properties or traits
//! each:     name string, kind u8, then f64 little-endian (1 number, 3 bool, 4 time) or string (2)
//! ```
//!
//! A record names everything it needs, so a log can be read without the metastore. Decoding borrows from the record:
//! the pipeline decodes each event once, straight into columns. Only records of sampled calls carry their trace.

use crate::{Event, Identify, PropertyKind, Value};

const VERSION: u8 = 1;
const TRACED: u8 = 2;
const EVENT: u8 = 1;
const IDENTIFY: u8 = 2;

/// A record that can't be read: which part, and at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a log record is damaged at byte {at}: {what}")]
pub struct RecordError {
    /// What was being read.
    pub what: &'static str,
    /// Where, from the record's first byte.
    pub at: usize,
}

/// The sampled trace of the call that appended a record, and the span in it: W3C ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceIds {
    /// The trace.
    pub trace: [u8; 16],
    /// The span.
    pub span: [u8; 8],
}

/// A record, borrowed from its bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecordRef<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The app.
    pub app: &'a str,
    /// The user, empty if nobody is known.
    pub user_id: &'a str,
    /// When ingest received it, UTC ms.
    pub received_at_ms: i64,
    /// Event or identify.
    pub body: Body<'a>,
    /// The properties of the event, or the traits of the user.
    pub properties: Properties<'a>,
}

/// What the record says beside its properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// Something happened.
    Event {
        /// The event's id.
        event_id: &'a str,
        /// Its type.
        event_type: &'a str,
        /// When it happened, UTC ms.
        timestamp_ms: i64,
    },
    /// The user has these traits from here on.
    Identify,
}

/// Properties of a record, decoded as they are iterated. Checked once by [`decode`], so iteration can't fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Properties<'a> {
    bytes: &'a [u8],
    count: u64,
}

/// A property value, borrowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'a> {
    /// Number, bool (0 or 1) or time (UTC ms): see the kind beside it.
    Number(f64),
    /// Text.
    Text(&'a str),
}

/// Appends the event's record to `out`, with the trace of its call if that is sampled.
pub fn encode_event(event: &Event, trace: Option<TraceIds>, out: &mut Vec<u8>) {
    version(trace, out);
    head(EVENT, event.tenant.as_str(), event.app.as_str(), &event.user_id, event.received_at_ms, out);
    put_str(&event.event_id, out);
    put_str(&event.event_type, out);
    out.extend_from_slice(&event.timestamp_ms.to_le_bytes());
    put_properties(&event.properties, out);
}

/// Appends the user's record to `out`, with the trace of its call if that is sampled.
pub fn encode_identify(identify: &Identify, trace: Option<TraceIds>, out: &mut Vec<u8>) {
    version(trace, out);
    head(IDENTIFY, identify.tenant.as_str(), identify.app.as_str(), &identify.user_id, identify.received_at_ms, out);
    put_properties(&identify.traits, out);
}

fn version(trace: Option<TraceIds>, out: &mut Vec<u8>) {
    match trace {
        None => out.push(VERSION),
        Some(TraceIds { trace, span }) => {
            out.push(TRACED);
            out.extend_from_slice(&trace);
            out.extend_from_slice(&span);
        }
    }
}

fn head(what: u8, tenant: &str, app: &str, user_id: &str, received_at_ms: i64, out: &mut Vec<u8>) {
    out.push(what);
    put_str(tenant, out);
    put_str(app, out);
    put_str(user_id, out);
    out.extend_from_slice(&received_at_ms.to_le_bytes());
}

fn put_properties(properties: &[(String, Value)], out: &mut Vec<u8>) {
    put_varint(properties.len() as u64, out);
    for (name, value) in properties {
        put_str(name, out);
        out.push(value.kind() as u8);
        match value {
            Value::Number(x) => out.extend_from_slice(&x.to_le_bytes()),
            Value::Integer(i) | Value::Time(i) => out.extend_from_slice(&(*i as f64).to_le_bytes()),
            Value::Bool(b) => out.extend_from_slice(&f64::from(u8::from(*b)).to_le_bytes()),
            Value::String(text) => put_str(text, out),
        }
    }
}

fn put_str(text: &str, out: &mut Vec<u8>) {
    put_varint(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

fn put_varint(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// The trace of the record's call, if it carries one. Looks at nothing else.
pub fn trace_of(bytes: &[u8]) -> Option<TraceIds> {
    let mut cursor = Cursor { bytes, at: 0 };
    cursor.trace().ok().flatten()
}

/// Reads one record and checks all of it.
pub fn decode(bytes: &[u8]) -> Result<RecordRef<'_>, RecordError> {
    let mut cursor = Cursor { bytes, at: 0 };
    cursor.trace()?;
    let at = cursor.at;
    let what = cursor.byte("what")?;
    let (tenant, app) = (cursor.str("tenant")?, cursor.str("app")?);
    let (user_id, received_at_ms) = (cursor.str("user_id")?, cursor.i64("received")?);
    let body = match what {
        EVENT => Body::Event {
            event_id: cursor.str("event_id")?,
            event_type: cursor.str("event_type")?,
            timestamp_ms: cursor.i64("timestamp")?,
        },
        IDENTIFY => Body::Identify,
        _ => return Err(RecordError { what: "neither event nor identify", at }),
    };
    let count = cursor.varint("count")?;
    let properties = Properties { bytes: &bytes[cursor.at..], count };
    for _ in 0..count {
        cursor.property()?;
    }
    if cursor.at != bytes.len() {
        return Err(RecordError { what: "bytes after the end", at: cursor.at });
    }
    Ok(RecordRef { tenant, app, user_id, received_at_ms, body, properties })
}

impl<'a> Properties<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Name, kind and value of each, in the order they were sent.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, PropertyKind, ValueRef<'a>)> + use<'a> {
        let mut cursor = Cursor { bytes: self.bytes, at: 0 };
        (0..self.count).map_while(move |_| cursor.property().ok())
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], RecordError> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(RecordError { what, at: self.at })?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self, what: &'static str) -> Result<u8, RecordError> {
        Ok(self.take(1, what)?[0])
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], RecordError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    /// The version, and the trace that it announces.
    fn trace(&mut self) -> Result<Option<TraceIds>, RecordError> {
        match self.byte("version")? {
            VERSION => Ok(None),
            TRACED => Ok(Some(TraceIds { trace: self.array("trace")?, span: self.array("trace")? })),
            _ => Err(RecordError { what: "unknown version", at: 0 }),
        }
    }

    fn i64(&mut self, what: &'static str) -> Result<i64, RecordError> {
        self.array(what).map(i64::from_le_bytes)
    }

    fn varint(&mut self, what: &'static str) -> Result<u64, RecordError> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(what)?;
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(RecordError { what, at: self.at })
    }

    fn str(&mut self, what: &'static str) -> Result<&'a str, RecordError> {
        let len = self.varint(what)?;
        let at = self.at;
        let bytes = self.take(usize::try_from(len).unwrap_or(usize::MAX), what)?;
        std::str::from_utf8(bytes).map_err(|_| RecordError { what, at })
    }

    fn property(&mut self) -> Result<(&'a str, PropertyKind, ValueRef<'a>), RecordError> {
        let name = self.str("property name")?;
        let at = self.at;
        let kind = PropertyKind::from_u8(self.byte("property kind")?);
        let kind = kind.ok_or(RecordError { what: "property kind", at })?;
        let value = match kind {
            PropertyKind::String => ValueRef::Text(self.str("property value")?),
            _ => ValueRef::Number(f64::from_le_bytes(self.array("property value")?)),
        };
        Ok((name, kind, value))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{AppId, TenantId};

    fn event(properties: Vec<(String, Value)>) -> Event {
        Event {
            tenant: TenantId::new("acme").unwrap(),
            app: AppId::new("xyz123").unwrap(),
            event_id: "e-1".into(),
            event_type: "purchase".into(),
            user_id: "u-1".into(),
            timestamp_ms: -5,
            received_at_ms: 1_700_000_000_000,
            properties,
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(Value::Number),
            (-(1i64 << 53)..=1 << 53).prop_map(Value::Integer),
            ".{0,40}".prop_map(Value::String),
            any::<bool>().prop_map(Value::Bool),
            (-(1i64 << 53)..=1 << 53).prop_map(Value::Time),
        ]
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            properties in prop::collection::vec((".{0,20}", value()), 0..8),
            trace in prop::option::of(any::<([u8; 16], [u8; 8])>()),
        ) {
            let event = event(properties);
            let trace = trace.map(|(trace, span)| TraceIds { trace, span });
            let mut bytes = Vec::new();
            encode_event(&event, trace, &mut bytes);
            prop_assert_eq!(trace_of(&bytes), trace);
            let record = decode(&bytes).unwrap();
            prop_assert_eq!((record.tenant, record.app, record.user_id), ("acme", "xyz123", "u-1"));
            prop_assert_eq!(record.body, Body::Event { event_id: "e-1", event_type: "purchase", timestamp_ms: -5 });
            prop_assert_eq!(record.properties.iter().count(), event.properties.len());
            for ((name, kind, got), (sent_name, sent)) in record.properties.iter().zip(&event.properties) {
                prop_assert_eq!((name, kind), (sent_name.as_str(), sent.kind()));
                let want = match sent {
                    Value::Number(x) => ValueRef::Number(*x),
                    Value::Integer(i) | Value::Time(i) => ValueRef::Number(*i as f64),
                    Value::Bool(b) => ValueRef::Number(f64::from(u8::from(*b))),
                    Value::String(s) => ValueRef::Text(s),
                };
                prop_assert_eq!(got, want);
            }
        }

        #[test]
        fn damage_is_an_error_never_a_panic(cut in 0usize..90, at in 0usize..90, byte in any::<u8>()) {
            let mut bytes = Vec::new();
            let event = event(vec![("a".into(), Value::Number(1.5)), ("b".into(), Value::String("x".into()))]);
            encode_event(&event, None, &mut bytes);
            let whole = bytes.len();
            if at < whole { bytes[at] = byte; }
            let _ = decode(&bytes);
            if cut < whole { prop_assert!(decode(&bytes[..cut]).is_err() || at < whole); }
        }
    }

    #[test]
    fn every_cut_of_an_identify_is_refused() {
        let identify = Identify {
            tenant: TenantId::new("acme").unwrap(),
            app: AppId::new("app").unwrap(),
            user_id: "u".into(),
            received_at_ms: 1,
            traits: vec![("country".into(), Value::String("DE".into()))],
        };
        for trace in [None, Some(TraceIds { trace: [1; 16], span: [2; 8] })] {
            let mut bytes = Vec::new();
            encode_identify(&identify, trace, &mut bytes);
            assert_eq!(decode(&bytes).unwrap().body, Body::Identify);
            for cut in 0..bytes.len() {
                assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
            }
            bytes.push(0);
            assert_eq!(decode(&bytes).unwrap_err().what, "bytes after the end");
        }
    }

    #[test]
    fn a_record_is_written_as_it_always_was_unless_its_call_is_sampled() {
        let event = event(vec![("n".into(), Value::Number(1.0))]);
        let (mut plain, mut traced) = (Vec::new(), Vec::new());
        encode_event(&event, None, &mut plain);
        let rest = b"\x01\x04acme\x06xyz123\x03u-1\x00\x68\xe5\xcf\x8b\x01\0\0\x03e-1\x08purchase\
            \xfb\xff\xff\xff\xff\xff\xff\xff\x01\x01n\x01\0\0\0\0\0\0\xf0\x3f";
        assert_eq!(plain, [&[1], &rest[..]].concat());
        encode_event(&event, Some(TraceIds { trace: [7; 16], span: [8; 8] }), &mut traced);
        assert_eq!(traced, [&[2], &[7; 16][..], &[8; 8], rest].concat());
        assert_eq!(decode(&traced).unwrap(), decode(&plain).unwrap());
    }
}
