//! The ways to an event: protobuf as ingest reads it and as the generated types do, and JSON.

use api::v1;
use bytes::Bytes;
use ingest::dry;
use model::Error;
use prost::{DecodeError, Message};

use super::{Outcome, refusal};
use crate::{
    mutate::samples::{NOW_MS, batch_json},
    report::Verdict,
};

/// A `PublishRequest`: taken or refused, and judged, as the generated types' reading of it is.
pub fn publish(input: &[u8]) -> Outcome {
    match (dry::message(input, NOW_MS), v1::PublishRequest::decode(input)) {
        (Err(error), Err(_)) => refusal(&error),
        (Ok(ours), Ok(request)) => {
            let events: Vec<_> = request.events.into_iter().map(Ok).collect();
            same(&ours, &dry::events(&request.app_id, &events, NOW_MS))?;
            verdict(&ours)
        }
        (Ok(ours), Err(theirs)) if too_deep(&theirs) => verdict(&ours),
        (ours, theirs) => Err(format!("read as {ours:?}, by the generated types as {theirs:?}")),
    }
}

/// Both allow 100 levels of unknown groups, but the generated types count from the outermost message.
fn too_deep(theirs: &DecodeError) -> bool {
    theirs.to_string().contains("recursion limit")
}

/// An `IdentifyRequest`, likewise.
pub fn identify(input: &[u8]) -> Outcome {
    match (dry::identify(input), v1::IdentifyRequest::decode(input)) {
        (Err(error), Err(_)) => refusal(&error),
        (Err(error), Ok(_)) if error.violations.iter().all(|violation| violation.field != "message") => refusal(&error),
        (Ok((user, traits)), Ok(request)) => {
            let mut names: Vec<_> = request.traits.into_keys().collect();
            names.sort_unstable();
            if (&user, &traits) != (&request.user_id, &names) {
                return Err(format!("{user} {traits:?}, by the generated types {} {names:?}", request.user_id));
            }
            Ok(Verdict::Accepted)
        }
        (Ok(_), Err(theirs)) if too_deep(&theirs) => Ok(Verdict::Accepted),
        (ours, theirs) => Err(format!("read as {ours:?}, by the generated types as {theirs:?}")),
    }
}

/// A `PublishStreamRequest`, likewise; but a batch said twice is refused, where the generated types would merge the two.
pub fn stream(input: &[u8]) -> Outcome {
    let theirs = v1::PublishStreamRequest::decode(input);
    let ours = dry::stream(input).and_then(|(sequence, batch)| Ok((sequence, dry::message(batch, NOW_MS)?)));
    match (ours, theirs) {
        (Err(error), _) => refusal(&error),
        (Ok((sequence, ours)), Ok(request)) if sequence == request.sequence => {
            let batch = request.batch.unwrap_or_default();
            let events: Vec<_> = batch.events.into_iter().map(Ok).collect();
            same(&ours, &dry::events(&batch.app_id, &events, NOW_MS))?;
            verdict(&ours)
        }
        (Ok((_, ours)), Err(theirs)) if too_deep(&theirs) => verdict(&ours),
        (ours, theirs) => Err(format!("read as {ours:?}, by the generated types as {theirs:?}")),
    }
}

/// A batch, said in protobuf and in JSON: the same events are taken, as the same records.
pub fn json_and_protobuf(input: &[u8]) -> Outcome {
    let Ok(batch) = v1::PublishRequest::decode(input) else { return Ok(Verdict::Accepted) };
    let protobuf = dry::message(input, NOW_MS).map_err(|e| format!("{e:?}"))?;
    for lines in [false, true] {
        let text = batch_json(&batch, lines);
        if text.is_empty() {
            continue;
        }
        let events = dry::body(None, Bytes::from(text.clone()), lines).map_err(|e| format!("{e:?}: {text}"))?;
        let json = dry::events(&batch.app_id, &events, NOW_MS);
        same(&protobuf, &json).map_err(|why| format!("{why}\n{text}"))?;
    }
    verdict(&protobuf)
}

/// A body of `POST /v1/events`. What is read of it is judged as the same in protobuf.
pub fn body(encoding: Option<&[u8]>, input: &[u8], lines: bool) -> Outcome {
    let events = match dry::body(encoding, Bytes::copy_from_slice(input), lines) {
        Ok(events) => events,
        Err(error) => return refusal(&error),
    };
    for error in events.iter().filter_map(|event| event.as_ref().err()) {
        refusal(error)?;
    }
    let good: Vec<_> = events.into_iter().filter_map(Result::ok).collect();
    let message =
        v1::PublishRequest { app_id: "xyz123".to_owned(), events: good.clone(), ..Default::default() }.encode_to_vec();
    let good: Vec<_> = good.into_iter().map(Ok).collect();
    let json = dry::events("xyz123", &good, NOW_MS);
    let protobuf = dry::message(&message, NOW_MS).map_err(|e| format!("good as JSON, as protobuf {e:?}"))?;
    same(&json, &protobuf)?;
    verdict(&json)
}

fn same(one: &dry::Verdicts, other: &dry::Verdicts) -> Result<(), String> {
    if one == other { Ok(()) } else { Err(format!("judged as {one:?} one way, as {other:?} the other")) }
}

/// One for the whole batch: the first refusal.
fn verdict(verdicts: &[Result<Vec<u8>, Error>]) -> Outcome {
    let refused = verdicts.iter().filter_map(|verdict| verdict.as_ref().err()).map(refusal);
    refused.collect::<Result<Vec<_>, _>>().map(|all| all.into_iter().next().unwrap_or(Verdict::Accepted))
}
