//! The Ingest service whose requests stay bytes: a server that takes thousands of events a call reads them out of the message
//! itself, and a client that sends as many writes them into it, without a message in memory between.

use std::marker::PhantomData;

use prost::{
    bytes::{Buf, BufMut, Bytes},
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint},
};
use tonic::{
    Status,
    codec::{DecodeBuf, Decoder, EncodeBuf, Encoder},
};
use tonic_prost::{ProstDecoder, ProstEncoder};

/// The service's trait and server.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
mod server {
    tonic::include_proto!("penstock.v1.IngestService");
}

/// The service's client.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
mod client {
    include!(concat!(env!("OUT_DIR"), "/client/penstock.v1.IngestService.rs"));
}

pub use client::ingest_service_client::IngestServiceClient;
pub use server::ingest_service_server::{IngestService, IngestServiceServer};

/// A server's: answers are protobuf, requests are bytes.
#[derive(Debug)]
pub struct Codec<Answer, Request>(PhantomData<(Answer, Request)>);

/// A client's: requests are bytes, answers are protobuf.
#[derive(Debug)]
pub struct ClientCodec<Request, Answer>(PhantomData<(Request, Answer)>);

impl<Answer, Request> Default for Codec<Answer, Request> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Request, Answer> Default for ClientCodec<Request, Answer> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Answer: prost::Message + Send + 'static> tonic::codec::Codec for Codec<Answer, Bytes> {
    type Encode = Answer;
    type Decode = Bytes;
    type Encoder = ProstEncoder<Answer>;
    type Decoder = AsItIs;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        AsItIs
    }
}

impl<Answer: prost::Message + Default + Send + 'static> tonic::codec::Codec for ClientCodec<Bytes, Answer> {
    type Encode = Bytes;
    type Decode = Answer;
    type Encoder = AsItIs;
    type Decoder = ProstDecoder<Answer>;

    fn encoder(&mut self) -> Self::Encoder {
        AsItIs
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::default()
    }
}

/// Takes a message's bytes, and gives them.
#[derive(Debug)]
pub struct AsItIs;

impl Decoder for AsItIs {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}

impl Encoder for AsItIs {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

/// An `Event`, written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event(Vec<u8>);

/// A property's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// A finite number.
    Number(f64),
    /// A whole number within ±2^53.
    Integer(i64),
    /// Text.
    Text(&'a str),
    /// Yes or no.
    Bool(bool),
}

impl Event {
    /// Something happened, as in `purchase`. What is never said is as the contract has it.
    pub fn new(event_type: &str) -> Self {
        let mut bytes = Vec::with_capacity(512);
        put_bytes(2, event_type.as_bytes(), &mut bytes);
        Self(bytes)
    }

    /// Its id: sent twice, it counts once.
    #[must_use]
    pub fn with_id(mut self, event_id: &str) -> Self {
        put_bytes(1, event_id.as_bytes(), &mut self.0);
        self
    }

    /// Who did it.
    #[must_use]
    pub fn by(mut self, user_id: &str) -> Self {
        put_bytes(3, user_id.as_bytes(), &mut self.0);
        self
    }

    /// When it happened, UTC ms.
    #[must_use]
    pub fn at(mut self, timestamp_ms: i64) -> Self {
        let (seconds, nanos) = (timestamp_ms.div_euclid(1_000), timestamp_ms.rem_euclid(1_000) * 1_000_000);
        let mut time = [0; 22]; // the most that two of them take
        let mut left = &mut time[..];
        put_varint(1, seconds.cast_unsigned(), &mut left);
        put_varint(2, nanos.cast_unsigned(), &mut left);
        let len = 22 - left.len();
        put_bytes(4, &time[..len], &mut self.0);
        self
    }

    /// Sets a property. Of a name that is set twice the last counts.
    pub fn set(&mut self, name: &str, value: Value<'_>) {
        let bytes = &mut self.0;
        let payload = match value {
            Value::Number(_) => 8,
            Value::Integer(i) => encoded_len_varint(i.cast_unsigned()),
            Value::Text(text) => sized(text.len()),
            Value::Bool(_) => 1,
        };
        // Tags below 16 have one byte.
        encode_key(5, WireType::LengthDelimited, bytes);
        encode_varint((1 + sized(name.len()) + 1 + sized(1 + payload)) as u64, bytes);
        put_bytes(1, name.as_bytes(), bytes);
        encode_key(2, WireType::LengthDelimited, bytes);
        encode_varint(1 + payload as u64, bytes);
        match value {
            Value::Number(x) => {
                encode_key(2, WireType::SixtyFourBit, bytes);
                bytes.put_f64_le(x);
            }
            Value::Integer(i) => put_varint(3, i.cast_unsigned(), bytes),
            Value::Text(text) => put_bytes(4, text.as_bytes(), bytes),
            Value::Bool(b) => put_varint(5, b.into(), bytes),
        }
    }

    /// The message's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A `PublishRequest`, written event by event.
#[derive(Debug, Clone)]
pub struct Batch {
    bytes: Vec<u8>,
    events: usize,
}

impl Batch {
    /// An empty one of this app.
    pub fn new(app_id: &str) -> Self {
        let mut bytes = Vec::new();
        put_bytes(1, app_id.as_bytes(), &mut bytes);
        Self { bytes, events: 0 }
    }

    /// Adds an event.
    pub fn push(&mut self, event: &Event) {
        put_bytes(2, event.bytes(), &mut self.bytes);
        self.events += 1;
    }

    /// How many bytes it would have with this event too.
    pub fn len_with(&self, event: &Event) -> usize {
        self.bytes.len() + 1 + sized(event.bytes().len())
    }

    /// How many events it has.
    pub fn events(&self) -> usize {
        self.events
    }

    /// The request's bytes.
    pub fn into_request(self) -> Bytes {
        self.bytes.into()
    }

    /// The bytes of a stream's message with it.
    pub fn into_stream_request(self, sequence: u64) -> Bytes {
        let mut message = Vec::with_capacity(self.bytes.len() + 22);
        put_varint(1, sequence, &mut message);
        put_bytes(2, &self.bytes, &mut message);
        message.into()
    }
}

/// How many bytes so many take with their length before them.
fn sized(len: usize) -> usize {
    encoded_len_varint(len as u64) + len
}

fn put_bytes(tag: u32, value: &[u8], out: &mut impl BufMut) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(value.len() as u64, out);
    out.put_slice(value);
}

fn put_varint(tag: u32, value: u64, out: &mut impl BufMut) {
    encode_key(tag, WireType::Varint, out);
    encode_varint(value, out);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::{
        convert::time_to_wire,
        v1::{self, value::Kind},
    };

    #[test]
    fn what_is_written_is_what_the_contract_says() {
        let long = "ä".repeat(300);
        let values = [
            ("", Value::Number(-1.5), Kind::Number(-1.5)),
            ("small", Value::Integer(7), Kind::Integer(7)),
            ("less", Value::Integer(-(1 << 53)), Kind::Integer(-(1 << 53))),
            ("empty", Value::Text(""), Kind::String(String::new())),
            ("long", Value::Text(&long), Kind::String(long.clone())),
            (&long, Value::Bool(true), Kind::Bool(true)),
            ("no", Value::Bool(false), Kind::Bool(false)),
        ];
        for timestamp_ms in [0, -1, 1_790_000_000_123, i64::from(i32::MIN)] {
            let mut event = Event::new("purchase").with_id("e1").by("u1").at(timestamp_ms);
            for (name, value, _) in &values {
                event.set(name, *value);
            }
            let properties = values.iter().map(|(name, _, kind)| {
                let kind = Some(kind.clone());
                ((*name).to_owned(), v1::Value { kind })
            });
            let expected = v1::Event {
                event_id: "e1".to_owned(),
                event_type: "purchase".to_owned(),
                user_id: "u1".to_owned(),
                timestamp: Some(time_to_wire(timestamp_ms)),
                properties: properties.collect(),
                app_id: String::new(),
            };
            assert_eq!(v1::Event::decode(event.bytes()).unwrap(), expected);

            let mut batch = Batch::new("app");
            let len = batch.len_with(&event);
            batch.push(&event);
            assert_eq!(batch.clone().into_request().len(), len);
            batch.push(&Event::new("view"));
            assert_eq!(batch.events(), 2);
            let view = v1::Event { event_type: "view".to_owned(), ..Default::default() };
            let expected =
                v1::PublishRequest { app_id: "app".to_owned(), events: vec![expected, view], ..Default::default() };
            assert_eq!(v1::PublishRequest::decode(batch.clone().into_request()).unwrap(), expected);
            let message = v1::PublishStreamRequest::decode(batch.into_stream_request(300)).unwrap();
            assert_eq!(message, v1::PublishStreamRequest { sequence: 300, batch: Some(expected) });
        }
    }
}
