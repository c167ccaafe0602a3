//! Tenants, their apps and their API keys, and what became of their events: `penstock.v1.AdminService` over the metastore, the event
//! log and the warehouse.
//!
//! A call goes through [`mesh::context::RequireContext`], which says who calls; `caller` decides whose things that one may manage;
//! `wire` turns the message into the directory's types, or into a refusal that names every field at fault; `tenants`, `quotas`,
//! `retention`, `brandings`, `settings`, `apps`, `keys`, `reconcile`, `dead_letters`, `erasures`, `replays`, `reports`, `backups`, `topics`, `usage` and `health` do what was asked, and what they change is noted with the change (`audit`). [`Expiry`],
//! [`Eraser`], [`Reporter`] and [`Grower`] work by themselves.
//!
//! Whom a call may reach comes from its key alone. An admin's key manages its own tenant, an operator's key the tenant that the
//! call names. A key limited to some apps manages only those, and keys that reach nothing else.

mod account;
mod apps;
mod audit;
mod backups;
mod brandings;
mod caller;
mod check;
mod dead_letters;
mod eraser;
mod erasures;
mod expiry;
mod grower;
mod health;
mod keys;
mod quotas;
mod reconcile;
mod replays;
mod reports;
mod retention;
mod service;
mod settings;
mod tenants;
mod topics;
mod usage;
mod wire;

use std::sync::Arc;

use api::v1::admin_service_server::{AdminServiceServer, SERVICE_NAME};
use mesh::{HttpService, context::RequireContext, signed::SigningKey, trace, transcode::Transcoder};
use storage::{Cache, Metastore};
use tonic::{codec::CompressionEncoding, service::Routes};
use tower::{Layer, util::BoxCloneSyncService};

pub use eraser::{Eraser, Options};
pub use expiry::Expiry;
pub use grower::Grower;
pub use keys::mint;
pub use reports::{Desk, DeskParts, Reporter};
pub use retention::RetentionOptions;
pub use service::{Ground, Terms};
pub use usage::{Prices, USAGE_DAYS};

/// The largest request, in bytes, as gRPC and as JSON.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024;
/// The largest answer, in bytes: what gRPC clients accept unless told otherwise.
pub const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// The service, in gRPC and in JSON.
///
/// It takes calls whose context `key` signed, and reads the time (UTC ms) from `now_ms`. Copies of revoked keys are deleted from
/// `cache`, the one that the gateways use. What is asked of events is answered from `ground`, reports are kept on `desk`. `terms` are
/// those of the house.
pub fn service(
    directory: Arc<dyn Metastore>,
    cache: Arc<dyn Cache>,
    ground: Option<Ground>,
    desk: Option<Arc<Desk>>,
    terms: Terms,
    key: SigningKey,
    now_ms: fn() -> i64,
) -> HttpService {
    let Terms { retention_days, prices } = terms;
    let grpc =
        AdminServiceServer::new(service::Admin { directory, cache, ground, desk, retention_days, prices, now_ms })
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
            .max_decoding_message_size(MAX_REQUEST_BYTES)
            .max_encoding_message_size(MAX_ANSWER_BYTES);
    let routes = BoxCloneSyncService::new(Routes::new(grpc).prepare());
    let with_json = Transcoder::new(api::DESCRIPTORS, &[SERVICE_NAME], MAX_REQUEST_BYTES).wrap(routes);
    trace::serve("admin", BoxCloneSyncService::new(RequireContext::new(key, now_ms).layer(with_json)))
}
