//! Answers out.
//!
//! The path of a query: [`ask`] turns the request, typed or SQL, into one plan and seals it with the scope of the key;
//! [`freshness`] waits for a position token and reads how far the pipeline has come, *before* the query runs; [`kept`] finds what was
//! answered before ([`marks`] helps it for apps that rest), and [`states`] what of the rest can be put together from states; for what is left [`flight`] joins whoever computes
//! the same just now, or [`admit`] lets it in in its turn; [`run`] compiles, executes and streams; [`answer`] puts rows on the wire. A caller that hangs up drops the stream, and
//! with it the query in the warehouse, if nobody else waits for it. [`live`] takes the same path again whenever the pipeline has
//! come further, for all who subscribe to the same; [`export`] takes it with pieces of an answer of any length, as files. While the warehouse is away [`breaker`] refuses at once,
//! and [`last`] has earlier answers for those who take them. [`describe`] says what there is to ask about.

mod admit;
mod answer;
mod ask;
mod breaker;
mod choose;
mod describe;
mod elsewhere;
mod export;
mod flight;
mod freshness;
mod grpc;
mod kept;
mod last;
mod live;
mod marks;
mod page;
mod reads;
mod run;
mod spend;
mod states;

use std::sync::Arc;

use mesh::{HttpService, context::RequireContext, signed::SigningKey, trace, transcode::Transcoder};
use serde::{Deserialize, Serialize};
use storage::{Apps, Audit, Brandings, Cache, Directory, Ledger, Topic, Warehouse};
use tokio_util::sync::CancellationToken;
use tower::{Layer, util::BoxCloneSyncService};

pub use admit::Hours;
pub use export::{Format, Writer};

/// The bounds of queries.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How long a query may run in the warehouse, in ms.
    pub max_execution_ms: u64,
    /// How much memory it may use there, in bytes.
    pub max_memory_bytes: u64,
    /// Rows of an answer that isn't streamed.
    pub max_rows: usize,
    /// Queries that run at once.
    pub concurrent: usize,
    /// Queries of one tenant that run at once, as long as nobody else asks.
    pub tenant_concurrent: usize,
    /// The same while others ask too, since whatever runs shares the cores; a small query may start beyond it while fewer than twice as many
    /// run in all. 0: one for each two cores of an embedded warehouse, as many as `tenant_concurrent` with a ClickHouse server, whose cores
    /// are its own.
    pub shared_tenant_concurrent: usize,
    /// Queries of background priority that run at once, each on one core of the warehouse. At most half of `concurrent`.
    pub background_concurrent: usize,
    /// How long a query may wait to run, in ms.
    pub max_queue_ms: u64,
    /// The same for queries of scheduled priority.
    pub scheduled_max_queue_ms: u64,
    /// The same for queries of background priority.
    pub background_max_queue_ms: u64,
    /// Queries that wait at once; the next is refused.
    pub max_waiting: usize,
    /// Queries of one tenant that wait at once.
    pub tenant_max_waiting: usize,
    /// Bytes that one tenant's queries read in the warehouse a second, sustained, of all processes together; 0: no limit.
    pub tenant_bytes_per_second: u64,
    /// Bytes that they may read at once after a pause. 0: what may be read in ten seconds.
    pub tenant_bytes_burst: u64,
    /// Subscriptions of this process at once.
    pub max_subscriptions: usize,
    /// Subscriptions of one tenant at once.
    pub tenant_max_subscriptions: usize,
    /// Different questions that one tenant's subscriptions ask; each is computed by itself.
    pub tenant_max_live_questions: usize,
    /// How long each query of an export may run in the warehouse, in ms.
    pub export_max_execution_ms: u64,
    /// Hours of the UTC day in which background queries start whatever else runs, as "22:00-06:00". At other times they start
    /// while less than half of `concurrent` run.
    pub background_hours: Option<Hours>,
    /// How long the warehouse may be silent, in ms, until it is asked whether it is there, and how long it may take to say so.
    pub silence_ms: u64,
    /// What is kept of states.
    pub states: StateOptions,
}

/// The bounds of states: what is kept of questions that are asked for often, so that they need not read all of their events again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StateOptions {
    /// Of how many shapes of questions a tenant's states are kept at once. 0: none are computed.
    pub shapes: usize,
    /// Groups of one hour or day. A shape with more is not kept.
    pub groups: u64,
    /// The states of one hour or day, in bytes. A shape with more is not kept.
    pub bytes: u64,
}

impl Default for StateOptions {
    fn default() -> Self {
        Self { shapes: 64, groups: 10_000, bytes: 16 << 20 }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_execution_ms: 60_000,
            max_memory_bytes: 1 << 30,
            max_rows: 10_000,
            concurrent: 16,
            tenant_concurrent: 8,
            shared_tenant_concurrent: 0,
            background_concurrent: half_of_the_cores(),
            max_queue_ms: 5_000,
            scheduled_max_queue_ms: 60_000,
            background_max_queue_ms: 60_000,
            max_waiting: 4_096,
            tenant_max_waiting: 2_048,
            tenant_bytes_per_second: 0,
            tenant_bytes_burst: 0,
            max_subscriptions: 10_000,
            tenant_max_subscriptions: 1_000,
            tenant_max_live_questions: 100,
            export_max_execution_ms: 3_600_000,
            background_hours: None,
            silence_ms: 3_000,
            states: StateOptions::default(),
        }
    }
}

/// Those of this process's machine.
fn half_of_the_cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

impl Options {
    /// Fills in what depends on where the warehouse is.
    pub fn complete(&mut self, embedded_warehouse: bool) {
        if self.shared_tenant_concurrent == 0 {
            self.shared_tenant_concurrent =
                if embedded_warehouse { half_of_the_cores() } else { self.tenant_concurrent };
        }
    }
}

/// What the service stands on.
pub struct Parts {
    /// Apps and their properties.
    pub apps: Arc<Apps>,
    /// What is committed.
    pub ledger: Arc<dyn Ledger>,
    /// What tenants may read.
    pub directory: Arc<dyn Directory>,
    /// The name of this process among those that answer.
    pub name: String,
    /// Where exports are noted.
    pub audit: Arc<dyn Audit>,
    /// How the product shows itself.
    pub brandings: Arc<dyn Brandings>,
    /// Which states of aggregates are kept.
    pub states: Arc<dyn storage::States>,
    /// The log that positions refer to.
    pub topic: Topic,
    /// How many partitions it has.
    pub partitions: u32,
    /// Where events are.
    pub warehouse: Warehouse,
    /// Where answers are kept.
    pub cache: Arc<dyn Cache>,
    /// The bounds.
    pub options: Options,
    /// Signs position tokens.
    pub token_key: SigningKey,
    /// Signs the gateway's contexts.
    pub context_key: SigningKey,
    /// UTC ms.
    pub now_ms: fn() -> i64,
    /// Ends subscriptions, which would never end by themselves.
    pub stop: CancellationToken,
}

/// The whole service: gRPC, and JSON for every method.
pub fn service(parts: Parts) -> HttpService {
    let require = RequireContext::new(parts.context_key.clone(), parts.now_ms);
    let stop = parts.stop.clone();
    let engine = run::Engine::new(parts);
    let grpc = grpc::service(Arc::clone(&engine), live::Live::new(engine, stop));
    let transcoded = Transcoder::new(api::DESCRIPTORS, &["penstock.v1.QueryService"], 1 << 20).wrap(grpc);
    trace::serve("query", BoxCloneSyncService::new(require.layer(transcoded)))
}
