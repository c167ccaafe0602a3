//! One trace a call, from the caller's span to the warehouse: W3C Trace Context, in headers alike within a process and across.
//!
//! The gateway and every service [`join`] a span of their own to the trace that the request names, and hand it on under that span. Steps
//! inside are spans with an `otel.kind`, made by [`when_sampled`], so a call that nobody samples costs no more than its own span.

use futures::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue};
use model::record::TraceIds;
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tower::{ServiceExt, service_fn, util::BoxCloneSyncService};
use tracing::{Instrument, Span, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::{
    HttpService, Request, Response,
    body::{Around, within},
};

/// The header that names a trace and the span in it that calls.
pub const TRACEPARENT: &str = "traceparent";

/// Makes the span, which is to have an empty field `trace_id`, the caller's child, and hands the trace on in the headers under it.
pub fn join(span: &Span, headers: &mut HeaderMap) {
    let caller = extract(headers);
    let _ = span.set_parent(caller.clone()); // an error only says that no spans are kept
    let mut context = span.context();
    if !context.span().span_context().is_valid() {
        // Without an exporter there are no spans: the caller's trace goes on as it came. A log line needs an id in any case.
        context = if caller.span().span_context().is_valid() { caller } else { made_up() };
    }
    span.record("trace_id", tracing::field::display(context.span().span_context().trace_id()));
    TraceContextPropagator::new().inject_context(&context, &mut Headers(headers));
}

/// The service in a span of its own, which ends with the body of the response.
pub fn serve(name: &'static str, inner: HttpService) -> HttpService {
    BoxCloneSyncService::new(service_fn(move |mut request: Request| {
        let path = request.uri().path();
        let span = info_span!("serve", otel.name = name, otel.kind = "server", path, trace_id = Empty);
        join(&span, request.headers_mut());
        let answer = inner.clone().oneshot(request).instrument(span.clone());
        answer.map(|answer| Ok(until_its_end(answer?, span)))
    }))
}

/// The response with the span around its body: a stream's work is done while it is read.
pub fn until_its_end(response: Response, span: Span) -> Response {
    response.map(|body| match http_body::Body::is_end_stream(&body) {
        true => body,
        false => within(body, span),
    })
}

/// The ids of the current span, if it is sampled and kept.
pub fn current() -> Option<TraceIds> {
    ids(&Span::current())
}

/// A step of the current call: a span if the call is sampled, else none.
pub fn when_sampled(step: impl FnOnce() -> Span) -> Span {
    if current().is_some() { step() } else { Span::none() }
}

/// The same for a call that comes by headers, which its callee needn't join.
pub fn continued(headers: &HeaderMap, step: impl FnOnce() -> Span) -> Span {
    let caller = extract(headers);
    if !caller.span().span_context().is_sampled() {
        return Span::none();
    }
    let span = step();
    let _ = span.set_parent(caller); // as in `join`
    span
}

/// Makes the span a child of one trace's, and links it to others that share its work.
pub fn follow(span: &Span, parent: TraceIds, others: &[TraceIds]) {
    let _ = span.set_parent(Context::new().with_remote_span_context(remote(parent))); // as in `join`
    others.iter().for_each(|other| span.add_link(remote(*other)));
}

/// The `traceparent` of a call under the span, if it is sampled and kept.
pub fn traceparent(span: &Span) -> Option<String> {
    let TraceIds { trace, span } = ids(span)?;
    Some(format!("00-{}-{}-01", TraceId::from_bytes(trace), SpanId::from_bytes(span)))
}

fn ids(span: &Span) -> Option<TraceIds> {
    let context = span.context();
    let span = context.span();
    let own = span.span_context();
    let ids = || TraceIds { trace: own.trace_id().to_bytes(), span: own.span_id().to_bytes() };
    own.is_sampled().then(ids)
}

fn remote(ids: TraceIds) -> SpanContext {
    let (trace, span) = (TraceId::from_bytes(ids.trace), SpanId::from_bytes(ids.span));
    SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::default())
}

/// A trace that nobody samples.
fn made_up() -> Context {
    let (trace, span) = (TraceId::from(rand::random::<u128>()), SpanId::from(rand::random::<u64>()));
    let made = SpanContext::new(trace, span, TraceFlags::default(), false, TraceState::default());
    Context::new().with_remote_span_context(made)
}

fn extract(headers: &HeaderMap) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), &Named(headers))
}

struct Named<'a>(&'a HeaderMap);

impl Extractor for Named<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Headers<'a>(&'a mut HeaderMap);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

impl Around for Span {
    fn around<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        self.in_scope(poll)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn without_an_exporter_the_caller_s_trace_goes_on_as_it_came_and_a_call_without_one_gets_an_id() {
        let caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut headers =
            HeaderMap::from_iter([(HeaderName::from_static(TRACEPARENT), HeaderValue::from_static(caller))]);
        join(&Span::none(), &mut headers);
        assert_eq!(headers[TRACEPARENT], caller);
        for bad in ["", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "ff-x"] {
            let mut headers =
                HeaderMap::from_iter([(HeaderName::from_static(TRACEPARENT), HeaderValue::from_static(bad))]);
            join(&Span::none(), &mut headers);
            let made = headers[TRACEPARENT].to_str().unwrap();
            assert!(made.len() == 55 && made.ends_with("-00") && !made.contains("-0000000000000000"), "{made}");
        }
        assert_eq!((current(), traceparent(&Span::none())), (None, None));
    }
}
