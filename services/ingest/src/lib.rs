//! Events in: validate, type, place in a partition, append durably, acknowledge.
//!
//! The path of an event: [`receiving`] has its call wait until there is room to read it; [`grpc`] or [`rest`] takes it off the wire, where possible without a copy ([`wire`]); [`flow`] lets
//! its batch in, or says when it would; [`validate`] judges it alone, once, for every route;
//! [`publish`] registers properties never seen before, puts each event in its user's partition ([`placing`]), appends all of them in one
//! call to the log, and only then answers with the position token.

mod apps;
pub mod dry;
mod flow;
mod grpc;
mod json;
mod placing;
mod publish;
mod receiving;
mod rest;
mod segment;
mod stream;
mod validate;
mod wire;

use std::sync::Arc;

use eventlog::EventLog;
use mesh::{HttpService, context::RequireContext, signed::SigningKey, trace, transcode::Transcoder};
use serde::{Deserialize, Serialize};
use storage::{Apps, Cache, Metastore};
use tokio_util::sync::CancellationToken;
use tower::{Layer, util::BoxCloneSyncService};

pub use flow::{FlowOptions, QuotaOptions};
pub use json::event as event_from_json;
pub use publish::Publisher;
pub use rest::openapi;

use flow::Flow;

/// What one request, event or property may be at most.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of a batch, encoded as protobuf.
    pub batch_bytes: usize,
    /// Bytes of a JSON body, after decompression: JSON says the same in more bytes.
    pub json_bytes: usize,
    /// Events in a batch.
    pub batch_events: usize,
    /// Properties of an event, or traits of a user.
    pub properties: usize,
    /// Properties that an app may have in all.
    pub app_properties: usize,
    /// Bytes of a property's name, an event's id or type.
    pub name_bytes: usize,
    /// Bytes of a user's id.
    pub user_bytes: usize,
    /// Bytes of a string value.
    pub value_bytes: usize,
    /// How old an event may be when it is received, in ms, unless the key may backfill.
    pub age_ms: i64,
    /// How far ahead of the server's clock an event may be, in ms.
    pub ahead_ms: i64,
    /// Whether events that are too old are kept as dead letters, to be looked at and sent again. They are refused all the same.
    pub keep_dead_letters: bool,
    /// For how long events are taken without a word from the metastore, in seconds: a growth of the log waits so long for a process that can't
    /// be reached.
    pub away_seconds: u64,
    /// Batches of one stream that are worked on at once: its credits while nothing is slow.
    pub stream_batches: usize,
    /// How much may be under way.
    pub flow: FlowOptions,
    /// What a tenant may send.
    pub quota: QuotaOptions,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_bytes: 1 << 20,
            json_bytes: 4 << 20,
            batch_events: 10_000,
            properties: 256,
            app_properties: 2_000,
            name_bytes: 128,
            user_bytes: 256,
            value_bytes: 1_024,
            age_ms: model::DAY_MS,
            ahead_ms: 5 * 60_000,
            keep_dead_letters: true,
            away_seconds: 60,
            stream_batches: 16,
            flow: FlowOptions::default(),
            quota: QuotaOptions::default(),
        }
    }
}

/// What the service stands on.
pub struct Parts {
    /// Where events go.
    pub log: Arc<dyn EventLog>,
    /// Apps and their properties.
    pub apps: Arc<Apps>,
    /// Which processes let in how much of a tenant's quota.
    pub cache: Arc<dyn Cache>,
    /// Tenants' quotas, and how far the pipeline is.
    pub meta: Arc<dyn Metastore>,
    /// The bounds.
    pub limits: Limits,
    /// For how many days events are kept whose tenant has no retention; 0: for ever.
    pub retention_days: u32,
    /// The name of this process among those that write to the log.
    pub writer: String,
    /// Signs position tokens.
    pub token_key: SigningKey,
    /// Signs the gateway's contexts.
    pub context_key: SigningKey,
    /// UTC ms.
    pub now_ms: fn() -> i64,
    /// Cancelled when the process drains: open streams end after the batches they have sent.
    pub stop: CancellationToken,
}

/// The whole service: gRPC, `POST /v1/events`, and JSON for the other methods. To be called within a runtime: what quotas there
/// are and how far the pipeline is are looked after in the background, until the process drains.
pub fn service(parts: Parts) -> HttpService {
    let json_bytes = parts.limits.json_bytes;
    let (require, stop) = (RequireContext::new(parts.context_key.clone(), parts.now_ms), parts.stop.clone());
    let (cache, directory, quota) =
        (Arc::clone(&parts.cache), Arc::clone(&parts.meta) as _, parts.limits.quota.clone());
    let limits = mesh::limits::Limits::follow(cache, directory, ("ingest", parts.writer.clone()), quota.processes);
    let flow = Arc::new(Flow::new(parts.limits.flow.clone(), quota, limits));
    let (log, ledger) = (Arc::clone(&parts.log), Arc::clone(&parts.meta) as _);
    tokio::spawn(flow::follow_lag(Arc::clone(&flow), log, ledger, parts.now_ms, stop.clone()));
    let publisher = Arc::new(Publisher::new(parts, flow));
    let grpc = grpc::service(Arc::clone(&publisher), stop);
    let transcoded = Transcoder::new(api::DESCRIPTORS, &["penstock.v1.IngestService"], json_bytes).wrap(grpc);
    let bounded = receiving::bounded(Arc::clone(&publisher), rest::route(publisher, transcoded));
    trace::serve("ingest", BoxCloneSyncService::new(require.layer(bounded)))
}
