//! The server of the Ingest service whose requests stay as they came: who takes thousands of events a call reads them out of
//! the message itself.

use std::marker::PhantomData;

use prost::bytes::{Buf, Bytes};
use tonic::{
    Status,
    codec::{DecodeBuf, Decoder},
};
use tonic_prost::ProstEncoder;

/// The service's trait and server.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
mod generated {
    tonic::include_proto!("penstock.v1.IngestService");
}

pub use generated::ingest_service_server::{IngestService, IngestServiceServer};

/// Answers are protobuf, requests are bytes.
#[derive(Debug)]
pub struct Codec<Answer, Request>(PhantomData<(Answer, Request)>);

impl<Answer, Request> Default for Codec<Answer, Request> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Answer: prost::Message + Send + 'static> tonic::codec::Codec for Codec<Answer, Bytes> {
    type Encode = Answer;
    type Decode = Bytes;
    type Encoder = ProstEncoder<Answer>;
    type Decoder = AsItCame;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        AsItCame
    }
}

/// Takes a message's bytes.
#[derive(Debug)]
pub struct AsItCame;

impl Decoder for AsItCame {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}
