//! Counts and times of calls, and the one place where errors become responses.

use std::{
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
    time::Instant,
};

use api::status::{code_name, of_http};
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Frame, SizeHint};
use mesh::{Body, Request, Response, exemplar, lately, per_tenant::PerTenant, protocol::Protocol, work::Account};
use metrics::{Counter, Histogram, counter, histogram};
use model::{Error, ErrorCode};
use tracing::{Span, debug, error, info};

use crate::{call, middleware::Next};

/// Counts the call by its outcome, and times it to the head of its response. By gRPC the outcome may come after all that was answered. The layer that finds
/// out whose call it is names the account.
pub(crate) async fn observe(mut request: Request, next: Next) -> Result<Response, Error> {
    let account = Account::default();
    request.extensions_mut().insert(account.clone());
    let target = call::target(&request)?.name();
    let path = request.uri().path().to_owned();
    let call = Call { target, path, account: account.clone(), span: Span::current(), seconds: 0.0 };
    let request = request.map(|body| Body::new(Observed { body, account: account.clone(), way: Way::In }));
    let started = Instant::now();
    let outcome = account.charged(next.run(request)).await;
    let call = Call { seconds: started.elapsed().as_secs_f64(), ..call };
    exemplar::record("penstock_call_seconds", ("target", target), call.seconds);
    match outcome {
        Ok(response) => {
            let call = match of_head(&response) {
                Some(code) => {
                    call.end(code);
                    None
                }
                None => Some(call),
            };
            let body = |body| Body::new(Observed { body: account.charged_body(body), account, way: Way::Out(call) });
            Ok(response.map(body))
        }
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
    account: Account,
    span: Span,
    /// To the head of the response.
    seconds: f64,
}

impl Call {
    fn end(&self, code: &'static str) {
        let Self { target, path, account, span, seconds } = self;
        span.record("code", code);
        // Thousands a second: a line for each is for whoever asks for it.
        span.in_scope(|| debug!(%path, %code, seconds, "call"));
        counter!("penstock_calls_total", "target" => *target, "code" => code).increment(1);
        lately::record(target, code, *seconds);
        if let Some(tenant) = account.tenant() {
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
    /// Bytes of bodies.
    received: Counter,
    sent: Counter,
}

static OF_TENANTS: LazyLock<PerTenant<OfTenant>> = LazyLock::new(|| {
    PerTenant::new(|tenant| {
        let outcome =
            |outcome| counter!("penstock_tenant_calls_total", "tenant" => tenant.clone(), "outcome" => outcome);
        let (ok, refused, failed) = (outcome("ok"), outcome("refused"), outcome("failed"));
        let bytes = |way| counter!("penstock_tenant_body_bytes_total", "tenant" => tenant.clone(), "direction" => way);
        let (received, sent) = (bytes("in"), bytes("out"));
        let seconds = histogram!("penstock_tenant_call_seconds", "tenant" => tenant);
        OfTenant { ok, refused, failed, seconds, received, sent }
    })
});

impl OfTenant {
    fn end(&self, code: &str, seconds: f64) {
        let outcome = match code {
            "OK" => &self.ok,
            code if lately::is_failure(code) => &self.failed,
            _ => &self.refused,
        };
        outcome.increment(1);
        self.seconds.record(seconds);
    }
}

/// A body whose bytes are counted.
struct Observed {
    body: Body,
    account: Account,
    way: Way,
}

enum Way {
    In,
    /// With the call, if its outcome stands at the end.
    Out(Option<Call>),
}

impl Observed {
    fn count(&self, bytes: u64) {
        if let Some(tenant) = self.account.tenant() {
            let of_tenant = OF_TENANTS.of(tenant);
            let counter = if let Way::In = self.way { &of_tenant.received } else { &of_tenant.sent };
            counter.increment(bytes);
        }
    }

    fn end(&mut self, code: &'static str) {
        if let Way::Out(call) = &mut self.way
            && let Some(call) = call.take()
        {
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
                    if let Some(data) = frame.data_ref() {
                        self.count(data.len() as u64);
                    }
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
