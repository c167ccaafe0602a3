//! In process: the places where bytes from outside are read, each as a function from bytes to a verdict.
//!
//! Where the same thing can be said in two ways, both are read and must come to the same: ingest's own reading of protobuf and the
//! generated types', and JSON and protobuf.

mod query;
mod routes;
pub mod transcode;

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
};

use model::Error;

use crate::{
    mutate::{self, json, one_in, proto, samples},
    report::{Report, Verdict, peak_bytes},
    run::Plan,
    shrink::shrink,
};

/// More than this the process may not have had resident.
const LIMIT_BYTES: u64 = 384 << 20;

/// What reading an input came to, or what is wrong with that.
pub type Outcome = Result<Verdict, String>;

const KINDS: [&str; 10] = [
    "publish",
    "publish",
    "identify",
    "stream",
    "routes",
    "events-json",
    "events-ndjson",
    "compressed",
    "query-text",
    "transcode",
];

pub fn run(plan: &Plan) {
    // Panics are caught and told with their input; the hook keeps where they were.
    std::panic::set_hook(Box::new(|info| PANIC.set(info.to_string())));
    let report = Report::default();
    plan.work(
        &KINDS,
        &report,
        || (),
        |(), kind, number| {
            let mut random = plan.random(kind, number);
            let input = input(kind, &mut random);
            match outcome(kind, &input) {
                Ok(verdict) => report.verdict(kind, verdict),
                Err(why) => {
                    let least = shrink(&input, 3_000, |bytes| outcome(kind, bytes).is_err());
                    report.failure(kind, number, &why, &shown(&least));
                }
            }
        },
    );
    drop(std::panic::take_hook());
    report.conclude("in process", plan, peak_bytes(std::process::id()), LIMIT_BYTES);
}

/// Bytes as a literal, to paste into a test.
pub fn shown(input: &[u8]) -> String {
    format!("b\"{}\"", input.escape_ascii())
}

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

fn outcome(kind: &str, input: &[u8]) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| check(kind, input))).unwrap_or_else(|_| Err(PANIC.take()))
}

fn check(kind: &str, input: &[u8]) -> Outcome {
    match kind {
        "publish" => routes::publish(input),
        "identify" => routes::identify(input),
        "stream" => routes::stream(input),
        "routes" => routes::json_and_protobuf(input),
        "events-json" => routes::body(None, input, false),
        "events-ndjson" => routes::body(None, input, true),
        "compressed" => match input.split_first() {
            Some((b'g', body)) => routes::body(Some(b"gzip"), body, false),
            Some((_, body)) => routes::body(Some(b"zstd"), body, true),
            None => Ok(Verdict::Accepted),
        },
        "query-text" => query::check(&String::from_utf8_lossy(input)),
        _ => transcode::check(input),
    }
}

fn input(kind: &str, random: &mut crate::run::Random) -> Vec<u8> {
    use prost::Message;
    let batch = samples::batch(random);
    let mut input = match kind {
        "publish" => proto::mutate(random, &batch.encode_to_vec()),
        "identify" => {
            let traits = batch.events.into_iter().flat_map(|event| event.properties).collect();
            let identify = api::v1::IdentifyRequest {
                app_id: batch.app_id,
                user_id: "u".to_owned(),
                traits,
                ..Default::default()
            };
            proto::mutate(random, &identify.encode_to_vec())
        }
        "stream" => {
            let message = api::v1::PublishStreamRequest { sequence: u64::MAX, batch: Some(batch) };
            proto::mutate(random, &message.encode_to_vec())
        }
        // Stays what it is: the two ways to say it are made of it.
        "routes" => return batch.encode_to_vec(),
        "events-json" | "events-ndjson" => {
            let lines = kind == "events-ndjson";
            if one_in(random, 3) {
                let mut event = serde_json::from_str(&samples::batch_json(&batch, false)).unwrap_or_default();
                json::retype(random, &mut event);
                event.to_string().into_bytes()
            } else {
                json::mutate(random, &samples::batch_json(&batch, lines))
            }
        }
        "compressed" => {
            let (encoding, bytes) = samples::compressed(random, samples::batch_json(&batch, true).as_bytes());
            return [&encoding.as_bytes()[..1], &bytes].concat();
        }
        "query-text" => return samples::query_text(random).into_bytes(),
        _ => transcode::input(random),
    };
    if one_in(random, 3) {
        mutate::bytes(random, &mut input);
    }
    input
}

/// A refusal must say what is wrong, and where.
fn refusal(error: &Error) -> Outcome {
    for violation in &error.violations {
        if violation.field.is_empty() || violation.description.is_empty() || violation.reason.is_empty() {
            return Err(format!("a violation without field, reason or description: {error:?}"));
        }
    }
    let code = error.code.reason();
    match code {
        "INVALID_ARGUMENT" | "INVALID_QUERY" if error.violations.is_empty() => Err(format!("no field: {error:?}")),
        "INTERNAL" => Err(format!("a defect: {error:?}")),
        _ => Ok(Verdict::Refused(code.to_owned())),
    }
}
