//! What a publish would make of its bytes, without a log or a metastore: the same reading, judging and encoding, for whoever
//! compares one route with another.

use api::v1;
use bytes::Bytes;
use model::{
    AppSchema, Error,
    record::{self, RecordRef},
};

use crate::{
    Limits, json, rest,
    validate::{self, Judge},
    wire::{self, StreamRequest},
};

/// Each event of a batch: the record that would be logged, or why it would be refused.
pub type Verdicts = Vec<Result<Vec<u8>, Error>>;

/// Of a `PublishRequest` off the wire, received at `now_ms` (UTC).
pub fn message(message: &[u8], now_ms: i64) -> Result<Verdicts, Error> {
    wire::Batch::read(message).map(|batch| judge(batch, now_ms))
}

/// Of events that the generated types or JSON have read.
pub fn events(app_id: &str, events: &[Result<v1::Event, Error>], now_ms: i64) -> Verdicts {
    judge(wire::Batch::of(app_id, events), now_ms)
}

/// The events of a JSON body, as `content-encoding` and `ndjson` say that it is to be read.
pub fn body(encoding: Option<&[u8]>, body: Bytes, ndjson: bool) -> Result<Vec<Result<v1::Event, Error>>, Error> {
    json::events(&rest::decompressed(encoding, body, Limits::default().json_bytes)?, ndjson)
}

/// The sequence number and the batch's bytes of a `PublishStreamRequest`.
pub fn stream(message: &[u8]) -> Result<(u64, &[u8]), Error> {
    StreamRequest::read(message).map(|request| (request.sequence, request.batch))
}

/// The user's id and the names of the traits that an `IdentifyRequest` would set.
pub fn identify(message: &[u8]) -> Result<(String, Vec<String>), Error> {
    let (limits, mut good) = (Limits::default(), Vec::new());
    let wire::Identify { user_id, traits, .. } = wire::Identify::read(message)?;
    validate::name(user_id, limits.user_bytes, || "user_id".to_owned())?;
    let judge = Judge { limits: &limits, received_at_ms: 0, backfill: false };
    judge.properties(|| "traits".to_owned(), &traits, &AppSchema::default(), &mut good)?;
    Ok((user_id.to_owned(), good.iter().map(|property| property.name.to_owned()).collect()))
}

fn judge(batch: wire::Batch<'_>, now_ms: i64) -> Verdicts {
    let (limits, schema) = (Limits::default(), AppSchema::default());
    let judge = Judge { limits: &limits, received_at_ms: now_ms, backfill: false };
    let given = &batch.properties;
    let verdict = |(index, event): (usize, Result<wire::Event<'_>, Error>)| {
        let event = event?;
        let mut good = judge.event(index, &event)?;
        if event.event_id.is_empty() {
            good.event_id = "given".into(); // instead of a random one: two routes must say the same
        }
        let mut properties = Vec::new();
        let at = || format!("events[{index}].properties");
        judge.properties(at, &given[event.properties.clone()], &schema, &mut properties)?;
        let app = if event.app_id.is_empty() { batch.app_id } else { event.app_id };
        if let Some(error) = good.dead {
            return Err(error);
        }
        let record = RecordRef { tenant: "t", app, user_id: event.user_id, received_at_ms: now_ms, body: good.body() };
        let mut bytes = Vec::new();
        record::encode(&record, &properties, None, &mut bytes);
        Ok(bytes)
    };
    batch.events.into_iter().enumerate().map(verdict).collect()
}
