//! The operators' port: `/metrics` for Prometheus, `/livez`, `/readyz`.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use mesh::{Body, HttpService, Request, Response, telemetry::Telemetry};
use tower::{service_fn, util::BoxCloneSyncService};

/// Answers from the process's telemetry; `ready` says whether the warehouse answers, `data` is the directory whose disk is watched, `warehouse` the process of a
/// warehouse of our own, whose CPU time is told with this one's.
pub(crate) fn service(
    telemetry: Arc<Telemetry>,
    data: PathBuf,
    warehouse: Arc<dyn Fn() -> Option<u32> + Send + Sync>,
    ready: Arc<dyn Fn() -> bool + Send + Sync>,
) -> HttpService {
    let (data, told) = (Arc::new(data), Arc::new(Mutex::default()));
    BoxCloneSyncService::new(service_fn(move |request: Request| {
        let answer = match request.uri().path() {
            "/metrics" => {
                watch_disk(&data);
                watch_cpu(warehouse(), &told);
                metrics_of(&telemetry, request.headers())
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

/// Tells the CPU time of the process since it was told last. `told` is which that was, and its time until then.
fn watch_cpu(pid: Option<u32>, told: &Mutex<(u32, u64)>) {
    let Some((pid, now_ms)) = pid.and_then(|pid| Some((pid, cpu_ms(pid)?))) else { return };
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    let before_ms = if told.0 == pid { told.1 } else { 0 };
    metrics::counter!("penstock_warehouse_cpu_milliseconds_total").increment(now_ms.saturating_sub(before_ms));
    *told = (pid, now_ms);
}

/// Of all its threads, in user and kernel. Linux counts in hundredths of a second whatever its clock is.
fn cpu_ms(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may have anything in it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) * 10)
}

/// A process that keeps nothing has no such directory, and no such metric.
fn watch_disk(data: &Path) {
    let Ok(disk) = rustix::fs::statvfs(data) else { return };
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize) as f64;
    metrics::gauge!("penstock_disk_size_bytes").set(bytes(disk.f_blocks));
    // What this process may take: the rest is for the administrator.
    metrics::gauge!("penstock_disk_free_bytes").set(bytes(disk.f_bavail));
}

/// In the format that the scraper asks for.
fn metrics_of(telemetry: &Telemetry, headers: &HeaderMap) -> Response {
    let accepted = headers.get(header::ACCEPT).and_then(|accepted| accepted.to_str().ok()).unwrap_or_default();
    let is_open = accepted.contains("application/openmetrics-text");
    let mut response = text(StatusCode::OK, telemetry.render(is_open));
    if is_open {
        let open = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, open);
    }
    response
}

fn text(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::new(http_body_util::Full::from(text)));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
