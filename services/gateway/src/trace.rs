//! One span a call, in the caller's trace if it has one; its id stands on every log line and travels on.

use http::{HeaderMap, HeaderName, HeaderValue};
use mesh::{Request, Response};
use model::Error;
use opentelemetry::{
    propagation::{Extractor, Injector},
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tracing::{Instrument, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::{call, middleware::Next};

struct Headers<'a>(&'a mut HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|v| v.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

/// Runs the call in a span and hands the trace on in `traceparent`.
pub(crate) async fn trace(mut request: Request, next: Next) -> Result<Response, Error> {
    let target = call::target(&request)?.name();
    let span = info_span!("call", target, path = request.uri().path(), trace_id = tracing::field::Empty);
    opentelemetry::global::get_text_map_propagator(|propagator| {
        let headers = Headers(request.headers_mut());
        let _ = span.set_parent(propagator.extract(&headers)); // an error only says that no trace is kept
    });
    let mut context = span.context();
    if !context.span().span_context().is_valid() {
        // Without an exporter there are no spans, but a log line still needs an id to be found by.
        let (trace, own) = (TraceId::from(rand::random::<u128>()), SpanId::from(rand::random::<u64>()));
        let made = SpanContext::new(trace, own, TraceFlags::default(), false, TraceState::default());
        context = context.with_remote_span_context(made);
    }
    span.record("trace_id", context.span().span_context().trace_id().to_string());
    opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut Headers(request.headers_mut()));
    });
    next.run(request).instrument(span).await
}
