//! The operators' port: `/metrics` for Prometheus, `/livez`, `/readyz`.

use std::{convert::Infallible, sync::Arc};

use http::{StatusCode, header};
use mesh::{Body, HttpService, Request, Response, telemetry::Telemetry};
use tower::{service_fn, util::BoxCloneSyncService};

/// Answers from the process's telemetry; `ready` says whether the warehouse answers.
pub(crate) fn service(telemetry: Arc<Telemetry>, ready: Arc<dyn Fn() -> bool + Send + Sync>) -> HttpService {
    BoxCloneSyncService::new(service_fn(move |request: Request| {
        let answer = match request.uri().path() {
            "/metrics" => text(StatusCode::OK, telemetry.render()),
            "/livez" => text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" if ready() => text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "this process starts or ends, or the warehouse does not answer\n".to_owned(),
            ),
            _ => text(StatusCode::NOT_FOUND, "there are /metrics, /livez and /readyz\n".to_owned()),
        };
        async { Ok::<_, Infallible>(answer) }
    }))
}

fn text(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::new(http_body_util::Full::from(text)));
    *response.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
