//! [`model::Error`] to `google.rpc.Status` and back. The only place that knows both.

use std::collections::HashMap;

use model::{Error, ErrorCode, Exceeded, Violation};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, QuotaViolation, StatusExt};

use crate::ERROR_DOMAIN;

/// The gRPC code of an error.
pub const fn grpc_code(code: ErrorCode) -> Code {
    match code {
        ErrorCode::InvalidArgument | ErrorCode::InvalidQuery => Code::InvalidArgument,
        ErrorCode::Unauthenticated => Code::Unauthenticated,
        ErrorCode::PermissionDenied => Code::PermissionDenied,
        ErrorCode::NotFound => Code::NotFound,
        ErrorCode::AlreadyExists => Code::AlreadyExists,
        ErrorCode::Conflict => Code::Aborted,
        ErrorCode::ResourceExhausted => Code::ResourceExhausted,
        ErrorCode::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorCode::Unavailable => Code::Unavailable,
        ErrorCode::Internal => Code::Internal,
    }
}

/// The HTTP status of a gRPC code, as google.rpc.Code documents it.
pub const fn http_status(code: Code) -> u16 {
    match code {
        Code::Ok => 200,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::ResourceExhausted => 429,
        Code::Cancelled => 499,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::DeadlineExceeded => 504,
        Code::Unknown | Code::Internal | Code::DataLoss => 500,
    }
}

/// What such a status says, in gRPC's terms.
pub const fn of_http(status: u16) -> Code {
    match status {
        200..=399 => Code::Ok,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        409 => Code::Aborted,
        429 => Code::ResourceExhausted,
        400..=498 => Code::InvalidArgument,
        499 => Code::Cancelled,
        501 => Code::Unimplemented,
        502 | 503 => Code::Unavailable,
        504 => Code::DeadlineExceeded,
        _ => Code::Internal,
    }
}

/// The name of a code as the contracts of Google's APIs spell it.
pub const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// The error as a status with ErrorInfo, BadRequest, QuotaFailure and RetryInfo.
pub fn to_status(error: &Error) -> Status {
    let mut details = ErrorDetails::new();
    let mut metadata = HashMap::new();
    if let Some((start, end)) = error.violations.iter().find_map(|v| v.span) {
        metadata.insert("position".to_owned(), format!("{start}-{end}"));
    }
    details.set_error_info(error.code.reason(), ERROR_DOMAIN, metadata);
    if !error.violations.is_empty() {
        details.set_bad_request(
            error
                .violations
                .iter()
                .map(|v| FieldViolation {
                    reason: v.reason.clone().into_owned(),
                    ..FieldViolation::new(&v.field, &v.description)
                })
                .collect::<Vec<_>>(),
        );
    }
    if let Some(after) = error.retry_after {
        details.set_retry_info(Some(after));
    }
    if let Some(limit) = &error.limit {
        details.set_quota_failure(vec![QuotaViolation {
            subject: limit.subject.clone(),
            description: error.message.clone(),
            quota_metric: limit.unit.clone(),
            quota_id: limit.name.clone(),
            quota_value: i64::try_from(limit.value).unwrap_or(i64::MAX),
            ..QuotaViolation::default()
        }]);
    }
    Status::with_error_details(grpc_code(error.code), &error.message, details)
}

/// A status of another Penstock service as an error, so that it can be passed on whole.
pub fn from_status(status: &Status) -> Error {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.as_str());
    let code = reason.and_then(code_of_reason).unwrap_or(match status.code() {
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => ErrorCode::InvalidArgument,
        Code::Unauthenticated => ErrorCode::Unauthenticated,
        Code::PermissionDenied => ErrorCode::PermissionDenied,
        Code::NotFound => ErrorCode::NotFound,
        Code::AlreadyExists => ErrorCode::AlreadyExists,
        Code::Aborted => ErrorCode::Conflict,
        Code::ResourceExhausted => ErrorCode::ResourceExhausted,
        Code::DeadlineExceeded | Code::Cancelled => ErrorCode::DeadlineExceeded,
        Code::Unavailable => ErrorCode::Unavailable,
        _ => ErrorCode::Internal,
    });
    let mut violations = details.bad_request().map_or_else(Vec::new, |bad| {
        bad.field_violations
            .iter()
            .map(|v| Violation {
                field: v.field.clone(),
                description: v.description.clone(),
                reason: v.reason.clone().into(),
                span: None,
            })
            .collect::<Vec<_>>()
    });
    // `to_status` tells one place for all violations: of several, whose it is isn't known.
    if let [only] = violations.as_mut_slice() {
        let position = details.error_info().and_then(|info| info.metadata.get("position")?.split_once('-'));
        only.span = position.and_then(|(start, end)| Some((start.parse().ok()?, end.parse().ok()?)));
    }
    let retry_after = details.retry_info().and_then(|retry| retry.retry_delay);
    let limit = details.quota_failure().and_then(|quota| quota.violations.first()).map(|over| {
        let (subject, name, unit) = (over.subject.clone(), over.quota_id.clone(), over.quota_metric.clone());
        Box::new(Exceeded { subject, name, value: over.quota_value.unsigned_abs(), unit })
    });
    Error { code, message: status.message().to_owned(), violations, retry_after, limit }
}

/// A status that the transport made, before any service saw the call, with the details that each of ours has; any other as it is.
///
/// The transport calls a message that it can't read INTERNAL, which says that the server is broken and the call worth repeating:
/// it becomes an invalid argument.
pub fn explained(status: Status) -> Status {
    if status.code() == Code::Ok || status.get_error_details().error_info().is_some() {
        return status;
    }
    let text = status.message();
    let of_message = |reason, description: String| Error::invalid("message", reason, description);
    let unreadable =
        ["failed to decode", "Error decompressing", "Unexpected EOF", "protocol error", "Missing request", "tonic-web"];
    let error = match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => of_message("TOO_LONG", format!("is too long: {text}")),
        Code::Internal if unreadable.iter().any(|start| text.starts_with(start)) => {
            of_message("MALFORMED", format!("is not the message that the contract describes: {text}"))
        }
        Code::Unimplemented if text.starts_with("Content is compressed") => {
            Error::invalid("grpc-encoding", "NOT_ALLOWED", "must be gzip, zstd or identity")
        }
        Code::InvalidArgument => of_message("MALFORMED", format!("is refused: {text}")),
        Code::Unimplemented => Error::new(ErrorCode::NotFound, "there is no such method"),
        _ => from_status(&status),
    };
    let told = to_status(&error);
    // Clients know by this code that a server has no such method, or no such compression.
    let code = if status.code() == Code::Unimplemented { Code::Unimplemented } else { told.code() };
    Status::with_details_and_metadata(code, error.message, told.details().to_vec().into(), status.metadata().clone())
}

fn code_of_reason(reason: &str) -> Option<ErrorCode> {
    use ErrorCode::{
        AlreadyExists, Conflict, DeadlineExceeded, Internal, InvalidArgument, InvalidQuery, NotFound, PermissionDenied,
        ResourceExhausted, Unauthenticated, Unavailable,
    };
    [
        InvalidArgument,
        InvalidQuery,
        Unauthenticated,
        PermissionDenied,
        NotFound,
        AlreadyExists,
        Conflict,
        ResourceExhausted,
        DeadlineExceeded,
        Unavailable,
        Internal,
    ]
    .into_iter()
    .find(|code| code.reason() == reason)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_error_keeps_its_code_fields_and_retry_time_on_the_wire() {
        let sent = Error {
            code: ErrorCode::InvalidQuery,
            message: "sql: unknown column".into(),
            violations: vec![Violation {
                field: "sql".into(),
                description: "unknown column; did you mean `price`?".into(),
                reason: "UNKNOWN_COLUMN".into(),
                span: Some((7, 12)),
            }],
            retry_after: Some(Duration::from_millis(1500)),
            limit: Some(Box::new(Exceeded {
                subject: "tenants/acme".into(),
                name: "events_per_second".into(),
                value: 100,
                unit: "events".into(),
            })),
        };
        let status = to_status(&sent);
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "INVALID_QUERY");
        assert_eq!(details.error_info().unwrap().metadata["position"], "7-12");
        let got = from_status(&status);
        assert_eq!((got.code, got.retry_after), (sent.code, sent.retry_after));
        assert_eq!((got.violations, got.limit), (sent.violations, sent.limit));
    }
    #[test]
    fn what_the_transport_refuses_has_code_and_field_too() {
        for (status, code, reason, field) in [
            (Status::internal("failed to decode Protobuf message: x"), Code::InvalidArgument, "MALFORMED", "message"),
            (Status::internal("Unexpected EOF decoding stream."), Code::InvalidArgument, "MALFORMED", "message"),
            (Status::internal("tonic-web: Invalid symbol"), Code::InvalidArgument, "MALFORMED", "message"),
            (Status::resource_exhausted("Error decompressing: x"), Code::InvalidArgument, "TOO_LONG", "message"),
            (Status::out_of_range("Error, decoded message length"), Code::InvalidArgument, "TOO_LONG", "message"),
            (Status::invalid_argument("invalid MessageRequest"), Code::InvalidArgument, "MALFORMED", "message"),
            (Status::unimplemented("Content is compressed"), Code::Unimplemented, "NOT_ALLOWED", "grpc-encoding"),
        ] {
            let told = explained(status);
            let details = told.get_error_details();
            let violation = &details.bad_request().unwrap().field_violations[0];
            assert_eq!((told.code(), details.error_info().unwrap().reason.as_str()), (code, "INVALID_ARGUMENT"));
            assert_eq!((violation.reason.as_str(), violation.field.as_str()), (reason, field));
        }
        let reason = |status| explained(status).get_error_details().error_info().unwrap().reason.clone();
        assert_eq!(reason(Status::unimplemented("")), "NOT_FOUND");
        assert_eq!(reason(Status::internal("a defect")), "INTERNAL");
        let ours = to_status(&Error::invalid("x", "REQUIRED", "is needed"));
        assert_eq!(explained(ours.clone()).details(), ours.details());
    }
}
