//! The bytes of one record in the event log.
//!
//! All integers unsigned LEB128 varints unless said otherwise, strings as length and UTF-8 bytes:
//!
//! ```text
//! version   u8: 1, or 2 if the trace follows
//! trace     version 2 only: W3C trace id, 16 bytes, and the id of the span that appended it, 8 bytes
//! what      u8: 1 event, 2 identify, 3 dead letter
//! tenant    string
//! app       string
//! user_id   string, empty if nobody is known
//! received  i64 little-endian, UTC ms
//! event and dead letter:  event_id string, event_type string, timestamp i64 little-endian UTC ms
//! dead letter only:  code string
//! count     number of properties or traits
//! each:     name string, kind u8, then f64 little-endian (1 number, 3 bool, 4 time) or string (2)
//! ```
//!
//! A record names everything it needs, so a log can be read without the metastore. Encoding and decoding borrow, so that
//! ingest copies an event once, from its message into its record, and the pipeline once, from its record into columns. Only
//! records of sampled calls carry their trace.

use crate::PropertyKind;

const VERSION: u8 = 1;
const TRACED: u8 = 2;
const EVENT: u8 = 1;
const IDENTIFY: u8 = 2;
const DEAD_LETTER: u8 = 3;

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

/// A record without its properties, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// The tenant; from the key, never from the request.
    pub tenant: &'a str,
    /// The tenant's app.
    pub app: &'a str,
    /// Who did it; empty if nobody is known.
    pub user_id: &'a str,
    /// When ingest received it, UTC ms. Age is judged once, against this.
    pub received_at_ms: i64,
    /// What it is.
    pub body: Body<'a>,
}

/// What the record says beside its properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// Something happened.
    Event {
        /// The client's id, or one that ingest gave. Within (tenant, app, user) the same id within 24 h of arrival counts once.
        event_id: &'a str,
        /// What happened, as in `purchase`.
        event_type: &'a str,
        /// When it happened by the client's clock, UTC ms.
        timestamp_ms: i64,
    },
    /// The user has these traits from here on; one that is not named keeps its value. `country` and `plan` (strings) are
    /// joined to the user's later events.
    Identify,
    /// An event that ingest refused and kept. It never counts.
    DeadLetter {
        /// The client's id, or one that ingest gave.
        event_id: &'a str,
        /// What happened.
        event_type: &'a str,
        /// When it happened by the client's clock, UTC ms.
        timestamp_ms: i64,
        /// The code of its rejection.
        code: &'a str,
    },
}

/// A property of an event or a trait of a user, borrowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PropertyRef<'a> {
    /// The name, as sent.
    pub name: &'a str,
    /// What the value is.
    pub kind: PropertyKind,
    /// The value.
    pub value: ValueRef<'a>,
}

/// A property value, borrowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'a> {
    /// Number, bool (0 or 1) or time (UTC ms): see the kind beside it.
    Number(f64),
    /// Text.
    Text(&'a str),
}

/// Appends the record to `out`, with the trace of its call if that is sampled. A text property has a text value, any other a number.
pub fn encode(record: &RecordRef<'_>, properties: &[PropertyRef<'_>], trace: Option<TraceIds>, out: &mut Vec<u8>) {
    version(trace, out);
    out.push(match record.body {
        Body::Event { .. } => EVENT,
        Body::Identify => IDENTIFY,
        Body::DeadLetter { .. } => DEAD_LETTER,
    });
    put_str(record.tenant, out);
    put_str(record.app, out);
    put_str(record.user_id, out);
    out.extend_from_slice(&record.received_at_ms.to_le_bytes());
    if let Body::Event { event_id, event_type, timestamp_ms }
    | Body::DeadLetter { event_id, event_type, timestamp_ms, .. } = record.body
    {
        put_str(event_id, out);
        put_str(event_type, out);
        out.extend_from_slice(&timestamp_ms.to_le_bytes());
    }
    if let Body::DeadLetter { code, .. } = record.body {
        put_str(code, out);
    }
    put_varint(properties.len() as u64, out);
    for PropertyRef { name, kind, value } in properties {
        put_str(name, out);
        out.push(*kind as u8);
        match value {
            ValueRef::Number(x) => out.extend_from_slice(&x.to_le_bytes()),
            ValueRef::Text(text) => put_str(text, out),
        }
    }
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

/// Reads one record and checks all of it. Its properties are put into `properties`, in the order in which they were sent.
pub fn decode<'a>(bytes: &'a [u8], properties: &mut Vec<PropertyRef<'a>>) -> Result<RecordRef<'a>, RecordError> {
    properties.clear();
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
        DEAD_LETTER => Body::DeadLetter {
            event_id: cursor.str("event_id")?,
            event_type: cursor.str("event_type")?,
            timestamp_ms: cursor.i64("timestamp")?,
            code: cursor.str("code")?,
        },
        _ => return Err(RecordError { what: "neither event, identify nor dead letter", at }),
    };
    for _ in 0..cursor.varint("count")? {
        properties.push(cursor.property()?);
    }
    if cursor.at != bytes.len() {
        return Err(RecordError { what: "bytes after the end", at: cursor.at });
    }
    Ok(RecordRef { tenant, app, user_id, received_at_ms, body })
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

    fn property(&mut self) -> Result<PropertyRef<'a>, RecordError> {
        let name = self.str("property name")?;
        let at = self.at;
        let kind = PropertyKind::from_u8(self.byte("property kind")?);
        let kind = kind.ok_or(RecordError { what: "property kind", at })?;
        let value = match kind {
            PropertyKind::String => ValueRef::Text(self.str("property value")?),
            _ => ValueRef::Number(f64::from_le_bytes(self.array("property value")?)),
        };
        Ok(PropertyRef { name, kind, value })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVENT: RecordRef<'_> = RecordRef {
        tenant: "acme",
        app: "xyz123",
        user_id: "u-1",
        received_at_ms: 1_700_000_000_000,
        body: Body::Event { event_id: "e-1", event_type: "purchase", timestamp_ms: -5 },
    };

    const DEAD_LETTER: Body<'_> =
        Body::DeadLetter { event_id: "e-1", event_type: "purchase", timestamp_ms: -5, code: "TOO_OLD" };

    fn number(name: &str, x: f64) -> PropertyRef<'_> {
        PropertyRef { name, kind: PropertyKind::Number, value: ValueRef::Number(x) }
    }

    fn text<'a>(name: &'a str, text: &'a str) -> PropertyRef<'a> {
        PropertyRef { name, kind: PropertyKind::String, value: ValueRef::Text(text) }
    }

    fn encoded(record: &RecordRef<'_>, properties: &[PropertyRef<'_>], trace: Option<TraceIds>) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(record, properties, trace, &mut bytes);
        bytes
    }

    fn decoded(bytes: &[u8]) -> Result<(RecordRef<'_>, Vec<PropertyRef<'_>>), RecordError> {
        let mut properties = vec![number("of the record before", 1.0)];
        decode(bytes, &mut properties).map(|record| (record, properties))
    }

    fn finite() -> impl Strategy<Value = f64> {
        any::<f64>().prop_filter("finite", |x| x.is_finite())
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            names in prop::collection::vec((".{0,20}", ".{0,40}", finite(), 1u8..=4), 0..8),
            trace in prop::option::of(any::<([u8; 16], [u8; 8])>()),
            what in 0usize..3,
        ) {
            let properties: Vec<_> = names.iter().map(|(name, words, x, kind)| match PropertyKind::from_u8(*kind) {
                Some(PropertyKind::String) => text(name, words),
                Some(kind) => PropertyRef { kind, ..number(name, *x) },
                None => unreachable!(),
            }).collect();
            let record = RecordRef { body: [EVENT.body, Body::Identify, DEAD_LETTER][what], ..EVENT };
            let trace = trace.map(|(trace, span)| TraceIds { trace, span });
            let bytes = encoded(&record, &properties, trace);
            prop_assert_eq!(trace_of(&bytes), trace);
            prop_assert_eq!(decoded(&bytes).unwrap(), (record, properties));
        }

        #[test]
        fn damage_is_an_error_never_a_panic(cut in 0usize..90, at in 0usize..90, byte in any::<u8>()) {
            let mut bytes = encoded(&EVENT, &[number("a", 1.5), text("b", "x")], None);
            let whole = bytes.len();
            if at < whole { bytes[at] = byte; }
            let _ = decoded(&bytes);
            if cut < whole { prop_assert!(decoded(&bytes[..cut]).is_err() || at < whole); }
        }
    }

    #[test]
    fn every_cut_is_refused() {
        let traces = [None, Some(TraceIds { trace: [1; 16], span: [2; 8] })];
        for (body, trace) in
            [Body::Identify, DEAD_LETTER].into_iter().flat_map(|body| traces.map(|trace| (body, trace)))
        {
            let mut bytes = encoded(&RecordRef { body, ..EVENT }, &[text("country", "DE")], trace);
            assert_eq!(decoded(&bytes).unwrap().0.body, body);
            for cut in 0..bytes.len() {
                assert!(decoded(&bytes[..cut]).is_err(), "cut at {cut}");
            }
            bytes.push(0);
            assert_eq!(decoded(&bytes).unwrap_err().what, "bytes after the end");
        }
    }

    #[test]
    fn a_record_is_written_as_it_always_was_unless_its_call_is_sampled() {
        let properties = [number("n", 1.0)];
        let rest = b"\x01\x04acme\x06xyz123\x03u-1\x00\x68\xe5\xcf\x8b\x01\0\0\x03e-1\x08purchase\
            \xfb\xff\xff\xff\xff\xff\xff\xff\x01\x01n\x01\0\0\0\0\0\0\xf0\x3f";
        let plain = encoded(&EVENT, &properties, None);
        assert_eq!(plain, [&[1], &rest[..]].concat());
        let traced = encoded(&EVENT, &properties, Some(TraceIds { trace: [7; 16], span: [8; 8] }));
        assert_eq!(traced, [&[2], &[7; 16][..], &[8; 8], rest].concat());
        assert_eq!(decoded(&traced).unwrap(), decoded(&plain).unwrap());
    }
}
