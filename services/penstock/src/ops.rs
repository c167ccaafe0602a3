//! The operators' port: `/metrics` for Prometheus, `/livez`, `/readyz`.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    sync::Arc,
};

use http::{StatusCode, header};
use mesh::{Body, HttpService, Request, Response, telemetry::Telemetry};
use tower::{service_fn, util::BoxCloneSyncService};

/// Answers from the process's telemetry; `ready` says whether the warehouse answers, `data` is the directory whose disk is watched.
pub(crate) fn service(
    telemetry: Arc<Telemetry>,
    data: PathBuf,
    ready: Arc<dyn Fn() -> bool + Send + Sync>,
) -> HttpService {
    let data = Arc::new(data);
    BoxCloneSyncService::new(service_fn(move |request: Request| {
        let answer = match request.uri().path() {
            "/metrics" => {
                watch_disk(&data);
                text(StatusCode::OK, telemetry.render())
            }
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

/// A process that keeps nothing has no such directory, and no such metric.
fn watch_disk(data: &Path) {
    let Ok(disk) = rustix::fs::statvfs(data) else { return };
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize) as f64;
    metrics::gauge!("penstock_disk_size_bytes").set(bytes(disk.f_blocks));
    // What this process may take: the rest is for the administrator.
    metrics::gauge!("penstock_disk_free_bytes").set(bytes(disk.f_bavail));
}

fn text(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::new(http_body_util::Full::from(text)));
    *response.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
