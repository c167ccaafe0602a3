//! Counts and times of calls, and the one place where errors become responses.

use std::{
    pin::Pin,
    sync::{Arc, LazyLock, OnceLock},
    task::{Context, Poll},
    time::Instant,
};

use api::status::{code_name, of_http};
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Frame, SizeHint};
use mesh::{Body, Request, Response, per_tenant::PerTenant, protocol::Protocol};
use metrics::{Counter, Histogram, counter, histogram};
use model::{Error, ErrorCode, TenantId};
use tracing::{Span, debug, error, info};

use crate::{call, middleware::Next};

/// Whose call it is; the layer that finds it out says so.
#[derive(Debug, Clone, Default)]
pub(crate) struct CalledBy(Arc<OnceLock<TenantId>>);

impl CalledBy {
    /// Notes it on the call.
    pub(crate) fn note(request: &Request, tenant: &TenantId) {
        if let Some(Self(called_by)) = request.extensions().get() {
            let _ = called_by.set(tenant.clone()); // noted already, by the same layer
        }
    }
}

/// Counts the call by its outcome, and times it to the head of its response. By gRPC the outcome may come after all that was answered.
pub(crate) async fn observe(mut request: Request, next: Next) -> Result<Response, Error> {
    let called_by = CalledBy::default();
    request.extensions_mut().insert(called_by.clone());
    let target = call::target(&request)?.name();
    let call = Call { target, path: request.uri().path().to_owned(), called_by, span: Span::current(), seconds: 0.0 };
    let started = Instant::now();
    let outcome = next.run(request).await;
    let call = Call { seconds: started.elapsed().as_secs_f64(), ..call };
    histogram!("penstock_call_seconds", "target" => target).record(call.seconds);
    match outcome {
        Ok(response) => Ok(match of_head(&response) {
            Some(code) => {
                call.end(code);
                response
            }
            None => response.map(|body| Body::new(Observed { body, call: Some(call) })),
        }),
        Err(error) => {
            let Call { path, seconds, .. } = &call;
            match error.code {
                ErrorCode::Internal => error!(%path, seconds, %error, "a call failed"),
                _ => info!(%path, seconds, %error, "a call was refused"),
            }
            call.end(error.code.reason());
            Err(error)
        }
    }
}

struct Call {
    target: &'static str,
    path: String,
    called_by: CalledBy,
    span: Span,
    /// To the head of the response.
    seconds: f64,
}

impl Call {
    fn end(&self, code: &'static str) {
        let Self { target, path, called_by: CalledBy(tenant), span, seconds } = self;
        span.record("code", code);
        // Thousands a second: a line for each is for whoever asks for it.
        span.in_scope(|| debug!(%path, %code, seconds, "call"));
        counter!("penstock_calls_total", "target" => *target, "code" => code).increment(1);
        if let Some(tenant) = tenant.get() {
            OF_TENANTS.of(tenant).end(code, *seconds);
        }
    }
}

/// The calls of one tenant.
struct OfTenant {
    ok: Counter,
    refused: Counter,
    failed: Counter,
    seconds: Histogram,
}

static OF_TENANTS: LazyLock<PerTenant<OfTenant>> = LazyLock::new(|| {
    PerTenant::new(|tenant| {
        let outcome =
            |outcome| counter!("penstock_tenant_calls_total", "tenant" => tenant.clone(), "outcome" => outcome);
        let (ok, refused, failed) = (outcome("ok"), outcome("refused"), outcome("failed"));
        OfTenant { ok, refused, failed, seconds: histogram!("penstock_tenant_call_seconds", "tenant" => tenant) }
    })
});

impl OfTenant {
    fn end(&self, code: &str, seconds: f64) {
        let outcome = match code {
            "OK" => &self.ok,
            "INTERNAL" | "UNAVAILABLE" | "DEADLINE_EXCEEDED" | "UNKNOWN" | "DATA_LOSS" => &self.failed,
            _ => &self.refused,
        };
        outcome.increment(1);
        self.seconds.record(seconds);
    }
}

/// A body at whose end the outcome of the call stands.
struct Observed {
    body: Body,
    call: Option<Call>,
}

impl Observed {
    fn end(&mut self, code: &'static str) {
        if let Some(call) = self.call.take() {
            call.end(code);
        }
    }
}

impl http_body::Body for Observed {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(frame) = &frame {
            match frame {
                Some(Ok(frame)) => {
                    if let Some(code) = frame.trailers_ref().and_then(grpc_code) {
                        self.end(code);
                    }
                }
                Some(Err(status)) => self.end(code_name(status.code())),
                None => self.end("UNKNOWN"), // without a status, which gRPC calls so
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Observed {
    /// The caller left before the end.
    fn drop(&mut self) {
        self.end(code_name(tonic::Code::Cancelled));
    }
}

/// The outcome, unless it comes at the end of the body.
fn of_head(response: &Response) -> Option<&'static str> {
    if let Some(code) = grpc_code(response.headers()) {
        return Some(code);
    }
    let content_type = response.headers().get(header::CONTENT_TYPE);
    if content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc")) {
        return None;
    }
    // One outcome has one name, whatever the protocol.
    Some(code_name(of_http(response.status().as_u16())))
}

fn grpc_code(headers: &HeaderMap) -> Option<&'static str> {
    Some(code_name(tonic::Code::from_bytes(headers.get("grpc-status")?.as_bytes())))
}

/// What any layer refuses becomes a response in the caller's protocol. Nothing below has to know it.
pub(crate) async fn rescue(request: Request, next: Next) -> Result<Response, Error> {
    let protocol = Protocol::of(&request);
    Ok(next.run(request).await.unwrap_or_else(|error| protocol.error(&error)))
}
