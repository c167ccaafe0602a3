//! The words of the house, without I/O and without generated types.
//!
//! Everything that two crates must agree on and that is not a wire contract stands here: who is asking ([`Scope`]),
//! what was sent and how it lies in the event log ([`record`]), where a property
//! lives in the warehouse ([`AppSchema`]), how far the pipeline has come ([`Position`]) and what can go wrong
//! ([`Error`]).
//!
//! Times are UTC milliseconds since 1970 in an `i64`, in names that end in `_ms`.

mod act;
mod branding;
mod error;
mod event;
mod ids;
mod key;
mod metric;
mod network;
mod position;
pub mod record;
mod schema;
mod scope;
mod value;

pub use act::Act;
pub use branding::Branding;
pub use error::{Error, ErrorCode, Exceeded, Violation};
pub use event::{identity_hash, partition_of};
pub use ids::{AppId, IdError, TenantId};
pub use key::{Environment, KeyKind, KeyText};
pub use metric::{FilterOp, Metric, MetricFilter};
pub use network::{Network, NetworkError, is_host};
pub use position::{Incarnation, Offset, PartitionId, Position};
pub use schema::{AppSchema, NUMBER_SLOTS, Property, Slot, TEXT_SLOTS, push_map_key};
pub use scope::{AppSet, Evaluates, Permission, Permissions, Priority, ReadFilter, Scope};
pub use value::{MAX_EXACT_INTEGER, PropertyKind, Value};

/// Milliseconds in one hour: the width of an epoch and of a base bucket.
pub const HOUR_MS: i64 = 3_600_000;
/// Milliseconds in one UTC day: the width of a warehouse partition.
pub const DAY_MS: i64 = 24 * HOUR_MS;
