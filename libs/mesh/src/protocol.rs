//! In which protocol a caller speaks, and how an error is said in it.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::Frame;
use http_body_util::BodyExt;
use model::Error;
use serde_json::{Value, json};
use tonic::Status;
use tonic_types::{FieldViolation, QuotaViolation, StatusExt};

use crate::{Body, Request, Response};

/// The protocols of the one port. grpc-web is turned into gRPC before anything looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC: failures are trailers.
    Grpc,
    /// Plain HTTP with JSON: failures are a status and a JSON body.
    Json,
}

impl Protocol {
    /// By the content type.
    pub fn of(request: &Request) -> Self {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
        if content_type.starts_with("application/grpc") { Self::Grpc } else { Self::Json }
    }

    /// The error as a response.
    pub fn error(self, error: &Error) -> Response {
        self.status(&api::status::to_status(error))
    }

    /// The error as the end of a body whose head has gone out: gRPC's trailers; over JSON the answer breaks off.
    pub fn end(self, error: &Error) -> Result<Frame<Bytes>, Status> {
        let status = api::status::to_status(error);
        match self {
            Self::Grpc => {
                let mut trailers = HeaderMap::new();
                status.add_header(&mut trailers)?;
                Ok(Frame::trailers(trailers))
            }
            Self::Json => Err(status),
        }
    }

    /// The status as a response.
    pub fn status(self, status: &Status) -> Response {
        match self {
            Self::Grpc => status.clone().into_http(),
            Self::Json => json_error(status),
        }
    }
}

/// A status read from the headers or trailers of a gRPC response.
pub fn status_of(headers: &HeaderMap) -> Option<Status> {
    Status::from_header_map(headers)
}

/// A gRPC response whose status, in its headers or its trailers, has the details that ours have even if the transport made it:
/// see [`api::status::explained`].
pub fn explained(mut response: Response) -> Response {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    if !content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc")) {
        return response;
    }
    if status_of(response.headers()).is_some() {
        explain(response.headers_mut());
        return response;
    }
    let at_the_end = |mut frame: Frame<Bytes>| {
        if let Some(trailers) = frame.trailers_mut() {
            explain(trailers);
        }
        frame
    };
    response.map(|body| Body::new(body.map_frame(at_the_end)))
}

fn explain(headers: &mut HeaderMap) {
    let Some(status) = status_of(headers).filter(|status| status.code() != tonic::Code::Ok) else { return };
    for name in ["grpc-message", "grpc-status-details-bin"] {
        headers.remove(name);
    }
    // What it refuses to write is a message of ours that is no header; the code stays.
    let _ = api::status::explained(status).add_header(headers);
}

/// A failure under its HTTP status, with when to come again.
fn json_error(status: &Status) -> Response {
    let mut response = json_response(http_status(status), &error_body(status));
    if let Some(delay) = status.get_details_retry_info().and_then(|retry| retry.retry_delay) {
        let seconds = delay.as_secs_f64().ceil().max(1.0) as u64;
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn http_status(status: &Status) -> StatusCode {
    StatusCode::from_u16(api::status::http_status(status.code())).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The error body of Google's JSON APIs: `{"error": {"code", "status", "message", "details"}}`.
pub(crate) fn error_body(status: &Status) -> Value {
    let details = status.get_error_details();
    let mut list = Vec::new();
    if let Some(info) = details.error_info() {
        list.push(json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": info.reason, "domain": info.domain, "metadata": info.metadata}));
    }
    if let Some(bad) = details.bad_request() {
        let violation =
            |v: &FieldViolation| json!({"field": v.field, "description": v.description, "reason": v.reason});
        let violations: Vec<Value> = bad.field_violations.iter().map(violation).collect();
        list.push(json!({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations}));
    }
    if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
        list.push(json!({"@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": format!("{:.3}s", delay.as_secs_f64())}));
    }
    if let Some(quota) = details.quota_failure() {
        let violation = |v: &QuotaViolation| {
            json!({"subject": v.subject, "description": v.description, "quotaMetric": v.quota_metric,
                "quotaId": v.quota_id, "quotaValue": v.quota_value.to_string()})
        };
        let violations: Vec<Value> = quota.violations.iter().map(violation).collect();
        list.push(json!({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations}));
    }
    json!({"error": {"code": http_status(status).as_u16(), "status": api::status::code_name(status.code()),
        "message": status.message(), "details": list}})
}

/// A JSON body under a status.
pub fn json_response(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::new(http_body_util::Full::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
