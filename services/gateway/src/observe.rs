//! Counts and times of calls, and the one place where errors become responses.

use std::time::Instant;

use mesh::{Request, Response, protocol::Protocol};
use model::{Error, ErrorCode};
use tracing::{debug, error, info};

use crate::{call, middleware::Next};

/// Counts the call by its outcome, and times it to the head of its response.
pub(crate) async fn observe(request: Request, next: Next) -> Result<Response, Error> {
    let target = call::target(&request)?.name();
    let path = request.uri().path().to_owned();
    let started = Instant::now();
    let outcome = next.run(request).await;
    let seconds = started.elapsed().as_secs_f64();
    let code = match &outcome {
        Ok(response) => of_response(response),
        Err(error) => error.code.reason().to_owned(),
    };
    tracing::Span::current().record("code", &code);
    match &outcome {
        Err(error) if error.code == ErrorCode::Internal => error!(%path, %code, seconds, %error, "a call failed"),
        Err(error) => info!(%path, %code, seconds, %error, "a call was refused"),
        // Thousands a second: a line for each is for whoever asks for it.
        Ok(_) => debug!(%path, %code, seconds, "call"),
    }
    metrics::counter!("penstock_calls_total", "target" => target, "code" => code).increment(1);
    metrics::histogram!("penstock_call_seconds", "target" => target).record(seconds);
    outcome
}

/// `OK`, or the gRPC code where the head of the response has one, or the HTTP status.
fn of_response(response: &Response) -> String {
    match response.headers().get("grpc-status").and_then(|v| v.to_str().ok()) {
        None if response.status().is_success() => "OK".to_owned(),
        None => response.status().as_str().to_owned(),
        Some("0") => "OK".to_owned(),
        Some(code) => format!("{:?}", tonic::Code::from_bytes(code.as_bytes())),
    }
}

/// What any layer refuses becomes a response in the caller's protocol. Nothing below has to know it.
pub(crate) async fn rescue(request: Request, next: Next) -> Result<Response, Error> {
    let protocol = Protocol::of(&request);
    Ok(next.run(request).await.unwrap_or_else(|error| protocol.error(&error)))
}
