//! One span a call, in the caller's trace if it has one; its id stands on every log line and travels on.

use mesh::{Request, Response, trace};
use model::Error;
use tracing::{Instrument, field::Empty, info_span};

use crate::{call, middleware::Next};

/// Runs the call in a span, to the end of its response, and hands the trace on in `traceparent`.
pub(crate) async fn trace(mut request: Request, next: Next) -> Result<Response, Error> {
    let target = call::target(&request)?.name();
    let path = request.uri().path();
    let span =
        info_span!("call", otel.name = "gateway", otel.kind = "server", target, path, code = Empty, trace_id = Empty);
    trace::join(&span, request.headers_mut());
    let response = next.run(request).instrument(span.clone()).await?;
    Ok(trace::until_its_end(response, span))
}
