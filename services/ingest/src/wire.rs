//! A batch as it came, borrowed from its message: an event is copied once, into its record, after it was judged.
//!
//! Reads what the generated types would read, by protobuf's rules: unknown fields are skipped, of a field given twice the last
//! counts, texts are UTF-8.

use std::ops::Range;

use api::v1;
use model::Error;
use prost::encoding::{DecodeContext, WireType, decode_varint, skip_field};
use prost_types::Timestamp;

/// About as many as one has on the wire: for so many of them there is room from the start.
const BYTES_OF_A_PROPERTY: usize = 24;

/// A message of a stream.
#[derive(Debug, Default)]
pub(crate) struct StreamRequest<'a> {
    pub(crate) sequence: u64,
    /// The `PublishRequest`, not yet read.
    pub(crate) batch: &'a [u8],
}

/// A batch of events.
#[derive(Debug, Default)]
pub(crate) struct Batch<'a> {
    pub(crate) app_id: &'a str,
    /// What the batch's token is to cover too.
    pub(crate) position_token: &'a str,
    /// Each event, or why its route refused it before it came here.
    pub(crate) events: Vec<Result<Event<'a>, Error>>,
    /// The properties of all events, one after another; names are unique within an event, and in order.
    pub(crate) properties: Vec<(&'a str, Value<'a>)>,
}

/// An event as sent.
#[derive(Debug, Default)]
pub(crate) struct Event<'a> {
    pub(crate) event_id: &'a str,
    pub(crate) event_type: &'a str,
    pub(crate) user_id: &'a str,
    pub(crate) app_id: &'a str,
    pub(crate) timestamp: Option<Timestamp>,
    /// Where its properties are in those of the batch.
    pub(crate) properties: Range<usize>,
}

/// What is known of a user, as sent.
#[derive(Debug, Default)]
pub(crate) struct Identify<'a> {
    pub(crate) app_id: &'a str,
    pub(crate) position_token: &'a str,
    pub(crate) user_id: &'a str,
    pub(crate) traits: Vec<(&'a str, Value<'a>)>,
}

/// A property's value as sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    /// Null, or nothing that this version knows.
    None,
    Number(f64),
    Integer(i64),
    Text(&'a str),
    Bool(bool),
    Time(Timestamp),
}

impl<'a> From<&'a v1::Value> for Value<'a> {
    fn from(value: &'a v1::Value) -> Self {
        use v1::value::Kind;
        match &value.kind {
            None | Some(Kind::Null(_)) => Self::None,
            Some(Kind::Number(x)) => Self::Number(*x),
            Some(Kind::Integer(i)) => Self::Integer(*i),
            Some(Kind::String(text)) => Self::Text(text),
            Some(Kind::Bool(b)) => Self::Bool(*b),
            Some(Kind::Time(time)) => Self::Time(*time),
        }
    }
}

impl<'a> StreamRequest<'a> {
    pub(crate) fn read(message: &'a [u8]) -> Result<Self, Error> {
        let mut request = Self::default();
        fields(message, |tag, value| {
            match (tag, value) {
                (1, Field::Varint(sequence)) => request.sequence = sequence,
                // Two batches in one message would have to be merged; nobody writes that.
                (2, Field::Bytes(batch)) if request.batch.is_empty() => request.batch = batch,
                (1 | 2, _) => return Err(Malformed),
                _ => {}
            }
            Ok(())
        })?;
        Ok(request)
    }
}

/// How many events a `PublishRequest` has, without a look at them.
pub(crate) fn count(message: &[u8]) -> Result<usize, Error> {
    let mut events = 0;
    fields(message, |tag, _| {
        events += usize::from(tag == 2);
        Ok(())
    })?;
    Ok(events)
}

impl<'a> Batch<'a> {
    /// Reads a `PublishRequest`.
    pub(crate) fn read(message: &'a [u8]) -> Result<Self, Error> {
        let (mut batch, mut order) = (Self::default(), Order::default());
        batch.properties.reserve(message.len() / BYTES_OF_A_PROPERTY);
        fields(message, |tag, value| {
            match (tag, value) {
                (1, Field::Bytes(app_id)) => batch.app_id = text(app_id)?,
                (2, Field::Bytes(event)) => {
                    let event = Event::read(event, &mut batch.properties, &mut order)?;
                    batch.events.push(Ok(event));
                }
                (3, Field::Bytes(token)) => batch.position_token = text(token)?,
                (1..=3, _) => return Err(Malformed),
                _ => {}
            }
            Ok(())
        })?;
        Ok(batch)
    }

    /// Of events that another route has read.
    pub(crate) fn of(app_id: &'a str, events: &'a [Result<v1::Event, Error>]) -> Self {
        let (mut batch, mut order) = (Self { app_id, ..Self::default() }, Order::default());
        for event in events {
            let event = event.as_ref().map_err(Clone::clone).map(|event| {
                let start = batch.properties.len();
                batch.properties.extend(event.properties.iter().map(|(name, value)| (name.as_str(), value.into())));
                order.sort(&mut batch.properties, start);
                Event {
                    event_id: &event.event_id,
                    event_type: &event.event_type,
                    user_id: &event.user_id,
                    app_id: &event.app_id,
                    timestamp: event.timestamp,
                    properties: start..batch.properties.len(),
                }
            });
            batch.events.push(event);
        }
        batch
    }
}

impl<'a> Identify<'a> {
    /// Reads an `IdentifyRequest`.
    pub(crate) fn read(message: &'a [u8]) -> Result<Self, Error> {
        let mut identify = Self::default();
        fields(message, |tag, value| {
            match (tag, value) {
                (1, Field::Bytes(app_id)) => identify.app_id = text(app_id)?,
                (2, Field::Bytes(user_id)) => identify.user_id = text(user_id)?,
                (3, Field::Bytes(bytes)) => identify.traits.push(read_property(bytes)?),
                (4, Field::Bytes(token)) => identify.position_token = text(token)?,
                (1..=4, _) => return Err(Malformed),
                _ => {}
            }
            Ok(())
        })?;
        Order::default().sort(&mut identify.traits, 0);
        Ok(identify)
    }
}

impl<'a> Event<'a> {
    fn read(
        message: &'a [u8],
        properties: &mut Vec<(&'a str, Value<'a>)>,
        order: &mut Order,
    ) -> Result<Self, Malformed> {
        let (mut event, start) = (Self::default(), properties.len());
        fields(message, |tag, value| {
            match (tag, value) {
                (1, Field::Bytes(bytes)) => event.event_id = text(bytes)?,
                (2, Field::Bytes(bytes)) => event.event_type = text(bytes)?,
                (3, Field::Bytes(bytes)) => event.user_id = text(bytes)?,
                (4, Field::Bytes(bytes)) => read_time(bytes, event.timestamp.get_or_insert_default())?,
                (5, Field::Bytes(bytes)) => properties.push(read_property(bytes)?),
                (6, Field::Bytes(bytes)) => event.app_id = text(bytes)?,
                (1..=6, _) => return Err(Malformed),
                _ => {}
            }
            Ok(())
        })?;
        order.sort(properties, start);
        event.properties = start..properties.len();
        Ok(event)
    }
}

/// Orders an event's properties by name: records of one kind of event are alike, which compresses and is quick to look up. Of
/// a name given twice the last counts.
///
/// Senders keep properties in maps, so they come in any order. Names mostly differ in their first bytes: numbers are ordered, not texts.
#[derive(Default)]
struct Order(Vec<(u64, usize)>);

impl Order {
    fn sort(&mut self, properties: &mut Vec<(&str, Value<'_>)>, start: usize) {
        if properties[start..].is_sorted_by(|(a, _), (b, _)| a < b) {
            return;
        }
        let end = properties.len();
        self.0.clear();
        self.0.extend((start..end).map(|i| (first_bytes(properties[i].0), i)));
        self.0.sort_unstable();
        for alike in self.0.chunk_by_mut(|(a, _), (b, _)| a == b).filter(|alike| alike.len() > 1) {
            alike.sort_by_key(|(_, i)| properties[*i].0); // stable
        }
        for (at, (_, i)) in self.0.iter().enumerate() {
            let property = properties[*i];
            if self.0.get(at + 1).is_none_or(|(_, next)| properties[*next].0 != property.0) {
                properties.push(property);
            }
        }
        let kept = properties.len() - end;
        properties.copy_within(end.., start);
        properties.truncate(start + kept);
    }
}

/// In the order of the texts, as far as they reach.
fn first_bytes(text: &str) -> u64 {
    let mut bytes = [0; 8];
    let len = text.len().min(8);
    bytes[..len].copy_from_slice(&text.as_bytes()[..len]);
    u64::from_be_bytes(bytes)
}

fn read_property(message: &[u8]) -> Result<(&str, Value<'_>), Malformed> {
    let mut property = ("", Value::None);
    fields(message, |tag, value| {
        match (tag, value) {
            (1, Field::Bytes(name)) => property.0 = text(name)?,
            (2, Field::Bytes(value)) => read_value(value, &mut property.1)?,
            (1 | 2, _) => return Err(Malformed),
            _ => {}
        }
        Ok(())
    })?;
    Ok(property)
}

fn read_value<'a>(message: &'a [u8], value: &mut Value<'a>) -> Result<(), Malformed> {
    fields(message, |tag, field| {
        *value = match (tag, field) {
            (1, Field::Varint(_)) => Value::None,
            (2, Field::Fixed64(bits)) => Value::Number(f64::from_bits(bits)),
            (3, Field::Varint(i)) => Value::Integer(i.cast_signed()),
            (4, Field::Bytes(bytes)) => Value::Text(text(bytes)?),
            (5, Field::Varint(b)) => Value::Bool(b != 0),
            (6, Field::Bytes(bytes)) => {
                let mut time = if let Value::Time(time) = *value { time } else { Timestamp::default() };
                read_time(bytes, &mut time)?;
                Value::Time(time)
            }
            (1..=6, _) => return Err(Malformed),
            _ => *value,
        };
        Ok(())
    })
}

fn read_time(message: &[u8], time: &mut Timestamp) -> Result<(), Malformed> {
    fields(message, |tag, value| {
        match (tag, value) {
            (1, Field::Varint(seconds)) => time.seconds = seconds.cast_signed(),
            (2, Field::Varint(nanos)) => time.nanos = nanos as i32, // as protobuf narrows it
            (1 | 2, _) => return Err(Malformed),
            _ => {}
        }
        Ok(())
    })
}

/// A field's value, by its wire type.
enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    /// Of a type that no field here has.
    Other,
}

/// That a message isn't what the contract describes. Small, for it is looked for after each field.
#[derive(Debug)]
struct Malformed;

impl From<Malformed> for Error {
    fn from(_: Malformed) -> Self {
        Self::invalid("message", "MALFORMED", "is not the protobuf message that the contract describes")
    }
}

/// Calls `take` with each field of a message.
fn fields<'a>(
    mut message: &'a [u8],
    mut take: impl FnMut(u32, Field<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    while !message.is_empty() {
        let key = u32::try_from(varint(&mut message)?).map_err(|_| Malformed)?;
        let (tag, wire_type) = (key >> 3, WireType::try_from(u64::from(key & 7)).map_err(|_| Malformed)?);
        if tag == 0 {
            return Err(Malformed);
        }
        let field = match wire_type {
            WireType::Varint => Field::Varint(varint(&mut message)?),
            WireType::SixtyFourBit => {
                let (bits, rest) = message.split_first_chunk().ok_or(Malformed)?;
                message = rest;
                Field::Fixed64(u64::from_le_bytes(*bits))
            }
            WireType::LengthDelimited => {
                let len = usize::try_from(varint(&mut message)?).map_err(|_| Malformed)?;
                let (bytes, rest) = message.split_at_checked(len).ok_or(Malformed)?;
                message = rest;
                Field::Bytes(bytes)
            }
            _ => {
                skip_field(wire_type, tag, &mut message, DecodeContext::default()).map_err(|_| Malformed)?;
                Field::Other
            }
        };
        take(tag, field)?;
    }
    Ok(())
}

/// Nearly all have one byte.
fn varint(message: &mut &[u8]) -> Result<u64, Malformed> {
    match *message {
        [byte @ ..0x80, rest @ ..] => {
            *message = rest;
            Ok(u64::from(*byte))
        }
        _ => decode_varint(message).map_err(|_| Malformed),
    }
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    fn kind() -> impl Strategy<Value = Option<v1::value::Kind>> {
        use v1::value::Kind;
        let time = |(seconds, nanos)| Kind::Time(Timestamp { seconds, nanos });
        prop::option::of(prop_oneof![
            Just(Kind::Null(0)),
            any::<f64>().prop_map(Kind::Number),
            any::<i64>().prop_map(Kind::Integer),
            ".{0,20}".prop_map(Kind::String),
            any::<bool>().prop_map(Kind::Bool),
            any::<(i64, i32)>().prop_map(time),
        ])
    }

    prop_compose! {
        fn event()(
            texts in (".{0,9}", ".{0,9}", ".{0,9}", ".{0,9}"),
            time in prop::option::of(any::<(i64, i32)>()),
            properties in prop::collection::hash_map(".{0,9}", kind(), 0..30),
        ) -> v1::Event {
            v1::Event {
                event_id: texts.0,
                event_type: texts.1,
                user_id: texts.2,
                app_id: texts.3,
                timestamp: time.map(|(seconds, nanos)| Timestamp { seconds, nanos }),
                properties: properties.into_iter().map(|(name, kind)| (name, v1::Value { kind })).collect(),
            }
        }
    }

    /// Both ways to a batch must say the same.
    fn assert_same(read: &Batch<'_>, generated: &v1::PublishRequest) {
        let events: Vec<_> = generated.events.iter().cloned().map(Ok).collect();
        let generated = Batch { position_token: &generated.position_token, ..Batch::of(&generated.app_id, &events) };
        assert_eq!(format!("{read:?}"), format!("{generated:?}"));
    }

    proptest! {
        #[test]
        fn what_the_generated_types_read_is_read_the_same(
            (app_id, position_token) in (".{0,9}", ".{0,9}"),
            events in prop::collection::vec(event(), 0..4),
        ) {
            let request = v1::PublishRequest { app_id, events, position_token };
            let bytes = request.encode_to_vec();
            assert_same(&Batch::read(&bytes).unwrap(), &request);
            prop_assert_eq!(count(&bytes).unwrap(), request.events.len());
            let message = v1::PublishStreamRequest { sequence: 7, batch: Some(request.clone()) }.encode_to_vec();
            let message = StreamRequest::read(&message).unwrap();
            prop_assert_eq!(message.sequence, 7);
            assert_same(&Batch::read(message.batch).unwrap(), &request);
        }

        /// Whatever the generated types refuse is refused, and what they take is read the same; but for what is said twice.
        #[test]
        fn mutations_are_taken_or_refused_as_by_the_generated_types(
            events in prop::collection::vec(event(), 1..3),
            mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut bytes = v1::PublishRequest { app_id: "app".to_owned(), events, ..Default::default() }.encode_to_vec();
            for (at, byte) in mutations {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            match (Batch::read(&bytes), v1::PublishRequest::decode(&*bytes)) {
                (Ok(read), Ok(generated)) => assert_same(&read, &generated),
                (Err(_), Err(_)) => {}
                (ours, theirs) => prop_assert!(false, "{ours:?} but {theirs:?}: {bytes:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn names_come_in_order_and_the_last_of_each_counts(names in prop::collection::vec("(the same)?[ab\u{0}é]{0,3}", 0..40)) {
            let mut properties: Vec<_> = names.iter().zip(0..).map(|(name, i)| (name.as_str(), Value::Integer(i))).collect();
            let start = names.len().min(2); // of the event before
            let expected: Vec<_> = properties[start..].iter().copied().collect::<BTreeMap<_, _>>().into_iter().collect();
            Order::default().sort(&mut properties, start);
            prop_assert_eq!(&properties[start..], expected);
        }
    }

    #[test]
    fn the_last_of_a_name_counts_and_an_unknown_field_does_not() {
        let property = |name: &str, i| {
            let kind = Some(v1::value::Kind::Integer(i));
            v1::Event { properties: [(name.to_owned(), v1::Value { kind })].into(), ..v1::Event::default() }
        };
        let mut event: Vec<u8> = [("b", 1), ("a", 2), ("b", 3), ("a", 4), ("c", 5)]
            .iter()
            .flat_map(|(name, i)| property(name, *i).encode_to_vec())
            .collect();
        event.extend([0x92, 0x03, 2, b'x', b'y', 0x9d, 0x03, 1, 2, 3, 4]); // fields 50 and 51
        let mut properties = vec![("of the event before", Value::Bool(true))];
        let event = Event::read(&event, &mut properties, &mut Order::default()).unwrap();
        assert_eq!(event.properties, 1..4);
        let (a, b, c) = (Value::Integer(4), Value::Integer(3), Value::Integer(5));
        assert_eq!(properties[1..], [("a", a), ("b", b), ("c", c)]);
    }
}
