//! `POST /v1/events`, and what Segment has ([`segment`]): events in JSON, on the same judgement and the same log as gRPC.

use std::{io::Read, sync::Arc};

use api::v1;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use mesh::{
    HttpService, Request, Response, body,
    context::{self, CallContext},
    protocol::{Protocol, json_response},
};
use model::Error;
use serde_json::json;
use tower::{ServiceExt, service_fn, util::BoxCloneSyncService};

use crate::{Publisher, json, segment, wire::Batch};

/// 8 MiB, as RFC 9659 bounds it for HTTP: a frame says itself how much memory its reader must have, 128 MiB if it is let.
const ZSTD_WINDOW_LOG: u32 = 23;

/// `POST /v1/events` for an OpenAPI document that has the contracts' messages.
pub fn openapi() -> serde_json::Value {
    let text = json!({"type": "string"});
    let value = json!({"description": "Text, number, bool, or null for none."});
    let event = json!({
        "type": "object",
        "required": ["event_type"],
        "additionalProperties": false,
        "properties": {
            "event_id": {"type": "string", "description": "The same id of a user's event within 24 hours counts once. Made up if empty, so that a retry may count twice."},
            "event_type": text,
            "user_id": text,
            "timestamp": {"type": ["string", "integer"], "description": "RFC 3339, or UTC milliseconds since 1970. The time of receipt if left out."},
            "properties": {"type": "object", "additionalProperties": value},
            "app_id": {"type": "string", "description": "Needed unless the key reaches exactly one, or the parameter says it."},
        },
    });
    let verdict = json!({"$ref": "#/components/schemas/Acknowledgement"});
    json!({"post": {
        "operationId": "PostEvents",
        "tags": ["IngestService"],
        "summary": "Publishes events",
        "description": "Each event gets its own verdict: one that is refused never sinks its batch. Acknowledged events are durable. \
            The body may be sent with content-encoding gzip or zstd.",
        "parameters": [{"name": "app_id", "in": "query", "description": "The app of the events that name none.", "schema": text}],
        "requestBody": {"required": true, "content": {
            "application/json": {"schema": {"oneOf": [event, {"type": "array", "items": event}]}},
            "application/x-ndjson": {"schema": event},
        }},
        "responses": {
            "200": {"description": "The verdict.", "content": {"application/json": {"schema": verdict}}},
            "400": {"description": "No event was accepted, or the body is none.", "content": {"application/json": {"schema":
                {"oneOf": [verdict, {"$ref": "#/components/schemas/Error"}]}}}},
            "default": {"description": "Why not.", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}},
        },
    }})
}

/// Answers `POST /v1/events` and the calls of Segment's libraries; everything else goes to `others`.
pub(crate) fn route(publisher: Arc<Publisher>, others: HttpService) -> HttpService {
    BoxCloneSyncService::new(service_fn(move |request: Request| {
        let (publisher, others) = (Arc::clone(&publisher), others.clone());
        async move {
            let answer = match request.uri().path() {
                "/v1/events" => post(&publisher, request).await,
                path => match segment::kind_of(path) {
                    Some(kind) => segment::post(&publisher, request, kind).await,
                    None => return others.oneshot(request).await,
                },
            };
            Ok(answer.unwrap_or_else(|error| Protocol::Json.error(&error)))
        }
    }))
}

/// A body that came by HTTP.
pub(crate) struct Received {
    pub(crate) context: Arc<CallContext>,
    /// The app that the address names.
    pub(crate) app: String,
    ndjson: bool,
    pub(crate) body: Bytes,
}

/// Takes a body off the wire.
pub(crate) async fn receive(publisher: &Publisher, request: Request) -> Result<Received, Error> {
    if request.method() != Method::POST {
        return Err(Error::invalid("method", "NOT_ALLOWED", "events are sent by POST"));
    }
    let context = context::of(request.extensions())?;
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let ndjson =
        ["application/x-ndjson", "application/ndjson", "application/jsonl"].iter().any(|t| content_type.starts_with(t));
    let query = request.uri().query().unwrap_or("");
    let app = query.split('&').find_map(|pair| pair.strip_prefix("app_id=")).unwrap_or("").to_owned();
    let encoding = request.headers().get(header::CONTENT_ENCODING).cloned();
    let limit = publisher.limits().json_bytes;
    let sent = body::collect(request.into_body(), limit).await?;
    let body = decompressed(encoding.as_ref().map(HeaderValue::as_bytes), sent, limit)?;
    Ok(Received { context, app, ndjson, body })
}

async fn post(publisher: &Publisher, request: Request) -> Result<Response, Error> {
    let Received { context, app, ndjson, body } = receive(publisher, request).await?;
    let events = json::events(&body, ndjson)?;
    let verdict = publisher.events(&context, Batch::of(&app, &events), body.len()).await?;

    let none_accepted = verdict.accepted == 0 && !verdict.rejections.is_empty();
    let status = if none_accepted { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let rejections: Vec<_> = verdict.rejections.iter().map(rejection).collect();
    Ok(json_response(
        status,
        &json!({"accepted": verdict.accepted, "rejections": rejections, "position_token": verdict.position_token}),
    ))
}

/// A refused event in an answer.
pub(crate) fn rejection(r: &v1::Rejection) -> serde_json::Value {
    json!({"index": r.index, "event_id": r.event_id, "code": r.code, "field": r.field, "message": r.message})
}

/// A body as it was before the client compressed it, if that isn't more than `limit` bytes.
pub(crate) fn decompressed(encoding: Option<&[u8]>, sent: Bytes, limit: usize) -> Result<Bytes, Error> {
    match encoding {
        None | Some(b"identity") => Ok(sent),
        Some(b"gzip") => inflate(flate2::read::MultiGzDecoder::new(&*sent), limit),
        Some(b"zstd") => {
            let mut decoder = zstd::Decoder::new(&*sent).map_err(corrupt)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(corrupt)?;
            inflate(decoder, limit)
        }
        Some(_) => Err(Error::invalid("content-encoding", "NOT_ALLOWED", "must be gzip, zstd or identity")),
    }
}

/// What a decoder gives, if it isn't more than `limit` bytes: a bomb is cut off there.
fn inflate(decoder: impl Read, limit: usize) -> Result<Bytes, Error> {
    let mut bytes = Vec::new();
    decoder.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(corrupt)?;
    if bytes.len() > limit {
        return Err(Error::invalid("body", "TOO_LONG", format!("must have at most {limit} bytes when decompressed")));
    }
    Ok(Bytes::from(bytes))
}

fn corrupt(error: std::io::Error) -> Error {
    Error::invalid("body", "MALFORMED", format!("can't be decompressed: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_frame_that_wants_more_memory_than_http_allows_is_refused() {
        let frame = |window_log| {
            let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(window_log).unwrap();
            encoder.write_all(b"[]").unwrap();
            Bytes::from(encoder.finish().unwrap())
        };
        assert_eq!(decompressed(Some(b"zstd"), frame(ZSTD_WINDOW_LOG), 100).unwrap(), "[]");
        let error = decompressed(Some(b"zstd"), frame(ZSTD_WINDOW_LOG + 4), 100).unwrap_err();
        assert_eq!((error.violations[0].field.as_str(), &*error.violations[0].reason), ("body", "MALFORMED"));
    }
}
