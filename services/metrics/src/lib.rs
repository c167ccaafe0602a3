//! Custom metrics and dashboards: `penstock.v1.MetricsService` and `penstock.v1.DashboardService` over the metastore and the query service.
//!
//! A call goes through [`mesh::context::RequireContext`], which says who calls; `target` finds the app, if the key reaches it. A
//! definition is held against the app's properties by the same language that queries are compiled with (`definition`), and kept
//! as an immutable version (`define`, `read`). To be evaluated it becomes a typed query with one measure, which the query
//! service answers under the caller's own context (`evaluate`, `upstream`): a metric has no compiler and no plan of its own.
//! So it is followed (`subscribe`): the query service's pushes, passed on, from another question once the metric has become another.
//! A formula can name other metrics (`references`): their versions are fixed when it is kept, and the query brings them along.
//! What the query service finds at fault is told by the fields of the request that the caller made (`origin`). While the
//! metastore can't be reached, metrics and apps are what they were within the last minute (`known`).
//!
//! A dashboard (`dashboards`) is kept as its writer put it, under a tag that is another one with each change; what its tiles ask is tried before,
//! by the query service, as the writer (`tiles`).

mod call;
mod dashboards;
mod define;
mod definition;
mod evaluate;
mod grafana;
mod known;
mod origin;
mod read;
mod references;
mod service;
mod subscribe;
mod target;
mod tiles;
mod upstream;
mod wire;

use std::sync::Arc;

use api::v1::{
    dashboard_service_server::{self, DashboardServiceServer},
    metrics_service_server::{self, MetricsServiceServer},
};
use mesh::{HttpService, context::RequireContext, signed::SigningKey, trace, transcode::Transcoder};
use storage::Metastore;
use tokio_util::sync::CancellationToken;
use tonic::{codec::CompressionEncoding, service::Routes};
use tower::{Layer, util::BoxCloneSyncService};

/// The largest request, in bytes, as gRPC and as JSON: room for a filter with thousands of values.
pub const MAX_REQUEST_BYTES: usize = 256 * 1024;
/// The largest answer, in bytes, that is taken from the query service and passed on: 10,000 rows of some KiB.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// The service, in gRPC, in JSON, and as Grafana asks it.
///
/// It takes calls whose context `key` signed, and asks `query` (the query service, here or elsewhere) with contexts that the
/// same key signs. It reads the time (UTC ms) from `now_ms`. Subscriptions end once `stop` is cancelled.
pub fn service(
    store: Arc<dyn Metastore>,
    query: HttpService,
    key: SigningKey,
    now_ms: fn() -> i64,
    stop: CancellationToken,
) -> HttpService {
    let upstream = upstream::Upstream::new(query, key.clone(), now_ms);
    let known = Arc::new(known::Known::new(Arc::clone(&store), now_ms));
    let metrics = Arc::new(service::Metrics { store, known, upstream, now_ms, stop });
    let grpc = MetricsServiceServer::from_arc(Arc::clone(&metrics))
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(MAX_REQUEST_BYTES)
        .max_encoding_message_size(MAX_ANSWER_BYTES);
    let dashboards = DashboardServiceServer::from_arc(metrics)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(MAX_REQUEST_BYTES);
    let routes = BoxCloneSyncService::new(Routes::new(grpc).add_service(dashboards).prepare());
    let names = [metrics_service_server::SERVICE_NAME, dashboard_service_server::SERVICE_NAME];
    let with_json = Transcoder::new(api::DESCRIPTORS, &names, MAX_REQUEST_BYTES).wrap(routes);
    let routed = grafana::route(with_json);
    trace::serve("metrics", BoxCloneSyncService::new(RequireContext::new(key, now_ms).layer(routed)))
}
