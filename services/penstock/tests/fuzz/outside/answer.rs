//! What an answer must be: a success, or a refusal with its code, and its field if one is at fault.

use api::v1;
use base64::Engine;
use http::{HeaderMap, HeaderName};
use prost::Message;
use serde_json::Value;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::report::Verdict;

/// The catalogue of codes in `ErrorInfo.reason`, less those that nothing a client sends may cause.
const REASONS: [&str; 10] = [
    "INVALID_ARGUMENT",
    "INVALID_QUERY",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "CONFLICT",
    "RESOURCE_EXHAUSTED",
    "DEADLINE_EXCEEDED",
    "UNAVAILABLE",
];

/// A gRPC answer, by its headers and trailers.
pub fn grpc(status: u16, headers: &HeaderMap, trailers: Option<&HeaderMap>) -> Result<Verdict, String> {
    if status != 200 {
        return Err(format!("HTTP status {status} in gRPC"));
    }
    let found = trailers.and_then(Status::from_header_map).or_else(|| Status::from_header_map(headers));
    let status = found.ok_or("an answer without a status")?;
    if status.code() == Code::Ok {
        return Ok(Verdict::Accepted);
    }
    let details = status.get_error_details();
    let reason = details.error_info().map_or("", |info| info.reason.as_str());
    let fields: Vec<_> = details
        .bad_request()
        .map(|bad| bad.field_violations.iter().map(|violation| violation.field.clone()).collect())
        .unwrap_or_default();
    let retry = details.retry_info().is_some();
    refused(reason, &fields, retry, &format!("{:?}: {}", status.code(), status.message()))
}

/// The answer to `Publish` that wasn't refused as a whole: each event that was has its code and field.
pub fn publish(body: &[u8]) -> Result<Verdict, String> {
    let message = body.get(5..).ok_or("no message in a success")?;
    let answer = v1::PublishResponse::decode(message).map_err(|error| format!("no answer to Publish: {error}"))?;
    let rejections = answer.acknowledgement.unwrap_or_default().rejections;
    if let Some(bare) = rejections.iter().find(|r| r.code.is_empty() || r.field.is_empty() || r.message.is_empty()) {
        return Err(format!("a rejection without code, field or message: {bare:?}"));
    }
    Ok(rejections.first().map_or(Verdict::Accepted, |first| Verdict::Refused(first.code.clone())))
}

/// The trailers of grpc-web: the last frame of the body, in base64 if the content type says `text`.
pub fn web_trailers(body: &[u8], text: bool) -> Option<HeaderMap> {
    let decoded = if text { base64::engine::general_purpose::STANDARD.decode(body).ok()? } else { body.to_vec() };
    let mut rest = &decoded[..];
    loop {
        let (head, after) = rest.split_first_chunk::<5>()?;
        let len = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let (frame, after) = after.split_at_checked(len)?;
        if head[0] & 0x80 == 0 {
            rest = after;
            continue;
        }
        let lines = std::str::from_utf8(frame).ok()?.lines().filter_map(|line| line.split_once(':'));
        return Some(
            lines
                .filter_map(|(name, value)| Some((HeaderName::try_from(name).ok()?, value.trim().parse().ok()?)))
                .collect(),
        );
    }
}

/// A JSON answer.
pub fn json(status: u16, body: &[u8]) -> Result<Verdict, String> {
    let text = || format!("HTTP {status}: {}", body.escape_ascii());
    let answer: Value = match serde_json::from_slice(body) {
        Ok(answer) => answer,
        Err(_) if status < 400 => return Ok(Verdict::Accepted), // lines, files, pages
        Err(_) => return Err(text()),
    };
    // Also of those whose others were taken.
    if let Some(rejections) = answer["rejections"].as_array() {
        let named = rejections
            .iter()
            .all(|r| ["code", "field", "message"].iter().all(|of| r[of].as_str().is_some_and(|s| !s.is_empty())));
        let code = rejections.first().and_then(|first| first["code"].as_str()).unwrap_or_default();
        return match named {
            true if code.is_empty() => Ok(Verdict::Accepted),
            true => Ok(Verdict::Refused(code.to_owned())),
            false => Err(text()),
        };
    }
    if status < 400 {
        return Ok(Verdict::Accepted);
    }
    let details = answer["error"]["details"].as_array().ok_or_else(text)?;
    let detail = |name: &str| details.iter().find(|d| d["@type"].as_str().is_some_and(|t| t.ends_with(name)));
    let reason = detail("ErrorInfo").and_then(|info| info["reason"].as_str()).unwrap_or_default();
    let fields: Vec<_> = detail("BadRequest")
        .and_then(|bad| bad["fieldViolations"].as_array())
        .map(|all| all.iter().map(|v| v["field"].as_str().unwrap_or_default().to_owned()).collect())
        .unwrap_or_default();
    refused(reason, &fields, detail("RetryInfo").is_some(), &text())
}

fn refused(reason: &str, fields: &[String], retry: bool, text: &str) -> Result<Verdict, String> {
    if !REASONS.contains(&reason) {
        return Err(format!("no code of the catalogue, but {reason:?}: {text}"));
    }
    if fields.iter().any(String::is_empty) || (fields.is_empty() && reason == "INVALID_ARGUMENT") {
        return Err(format!("no field: {text}"));
    }
    if matches!(reason, "UNAVAILABLE" | "RESOURCE_EXHAUSTED") && !retry {
        return Err(format!("no time to come again: {text}"));
    }
    Ok(Verdict::Refused(reason.to_owned()))
}
