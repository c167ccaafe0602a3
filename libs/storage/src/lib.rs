//! What the product stands on beside the log: the metastore, the warehouse and the cache.
//!
//! The metastore is fourteen small traits, one for each thing it keeps: the [`Directory`] of tenants, apps, keys and settings, the
//! [`Registry`] of properties, the [`Ledger`] of what the pipeline has committed, the [`Metrics`] that tenants
//! define, the [`Erasures`] of users, the [`Replays`] of the log, the [`Reports`] that are asked by the clock, the [`Placements`] of the log's
//! records, the [`Processes`] that there are, [`Usages`] of tenants, the [`States`] of buckets, the [`Audit`] of who changed what, the [`Brandings`] of tenants, the [`Dashboards`] of their apps, and [`Snapshots`] of all. [`Metastore`] is all fifteen; it lives in SQLite or in PostgreSQL, with the same SQL, and one conformance suite checks the promises written here on both.
//!
//! The [`Warehouse`] is ClickHouse over HTTP, always by the official client: the embedded engine and a cluster differ
//! by an address.
//!
//! The [`Cache`] keeps copies of what can be had elsewhere, in memory or in Redis: without it things are slower, never wrong.

mod apps;
mod audit;
mod brandings;
mod cache;
mod dashboards;
mod directory;
mod erasures;
mod leased;
mod ledger;
mod metastore;
mod metrics;
mod migrations;
mod open;
pub mod place;
mod placements;
mod postgres;
mod processes;
mod registry;
mod replays;
mod reports;
mod settings;
mod snapshots;
mod sql;
mod sqlite;
mod states;
mod usages;
pub mod warehouse;

pub mod conformance;

pub use apps::{AppInfo, Apps};
pub use audit::{Audit, AuditEntry, AuditExpected, AuditFilter, AuditVerdict, Change, verify_audit};
pub use brandings::{Branded, Brandings, Hosts};
pub use cache::{Ask, Cache, CacheError, Lease, PRESENT, open_cache};
pub use dashboards::{Dashboard, Dashboards};
pub use directory::{App, Customer, Directory, Key, Places, Tenant, kept_from_ms};
pub use erasures::{Erasure, ErasureRequest, ErasureState, Erasures, Gone, Progress, Tombstone};
pub use leased::Leased;
pub use ledger::{
    Commit, Epochs, ExpiringDay, Ledger, LedgerError, PartitionState, Pending, Reached, Topic, TouchedHour,
};
pub use metrics::Metrics;
pub use open::open;
pub use placements::{CHANGING_HOLDS, Growing, Grown, Placement, Placements, Writer};
pub use processes::{Process, ProcessCalls, Processes};
pub use registry::{Registry, RegistryError};
pub use replays::{LogRange, Rebuilt, Replay, ReplayClock, ReplayProgress, ReplayRequest, ReplayState, Replays};
pub use reports::{Report, ReportRun, ReportTerms, Reports, RunProgress};
pub use settings::{AllSettings, Layers, Quota, Setting, Settings};
pub use snapshots::Snapshots;
pub use states::{BucketState, STATES_LAST_MS, States};
pub use usages::{Usages, Used};
pub use warehouse::{Warehouse, WarehouseError};

/// Everything the metastore keeps, behind one connection pool.
pub trait Metastore:
    Directory
    + Registry
    + Ledger
    + Metrics
    + Erasures
    + Replays
    + Reports
    + Placements
    + Processes
    + Usages
    + States
    + Audit
    + Brandings
    + Dashboards
    + Snapshots
{
}
impl<
    T: Directory
        + Registry
        + Ledger
        + Metrics
        + Erasures
        + Replays
        + Reports
        + Placements
        + Processes
        + Usages
        + States
        + Audit
        + Brandings
        + Dashboards
        + Snapshots,
> Metastore for T
{
}

/// What the metastore can't do.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// The named thing isn't there.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The named thing is there already.
    #[error("{0} exists already")]
    AlreadyExists(String),
    /// The thing changed since it was read.
    #[error("{0} changed meanwhile")]
    Conflict(String),
    /// There are as many as there may be.
    #[error("{0}, and may have no more")]
    TooMany(String),
    /// The metastore can't be reached or is busy for too long; nothing was changed, or it is unknown whether.
    #[error("the metastore can't be used now: {0}")]
    Unavailable(String),
    /// The address names no metastore that this build knows.
    #[error("the metastore's address: {0}")]
    Address(String),
    /// A newer program has changed the tables in ways that this one doesn't know.
    #[error(
        "the metastore's tables are at version {found}, this program knows them up to {known}: run a newer program"
    )]
    TooNew {
        /// The tables' version.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// A row that this program can't have written, or a defect of ours.
    #[error("the metastore is inconsistent: {0}")]
    Inconsistent(String),
}

impl From<MetaError> for model::Error {
    fn from(error: MetaError) -> Self {
        use model::ErrorCode::{AlreadyExists, Conflict, Internal, NotFound, ResourceExhausted, Unavailable};
        let text = error.to_string();
        match error {
            MetaError::NotFound(_) => Self::new(NotFound, text),
            MetaError::AlreadyExists(_) => Self::new(AlreadyExists, text),
            MetaError::Conflict(_) => Self::new(Conflict, text),
            MetaError::TooMany(_) => Self::new(ResourceExhausted, text),
            // The backend's own words may name hosts and files: they go to the log, not to a tenant.
            MetaError::Unavailable(_) => Self {
                retry_after: Some(std::time::Duration::from_secs(1)),
                ..Self::new(Unavailable, "the metastore can't be reached now")
            },
            MetaError::Address(_) => Self::new(Internal, "the metastore's address is wrong"),
            MetaError::TooNew { .. } => Self::new(Internal, "the metastore is of a newer version"),
            MetaError::Inconsistent(_) => Self::new(Internal, "the metastore is inconsistent"),
        }
    }
}
