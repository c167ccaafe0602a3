//! The fifteen traits of the metastore, over either database.
//!
//! What must be true in PostgreSQL, where writers run side by side, is also true in SQLite, where they don't. Each write of
//! the ledger is one conditional UPDATE first: it takes the partition's row, so that who comes second sees what the first
//! committed, and is the fence. Epochs are changed after it, in one order for everybody. Decisions over rows that may not be there yet (the
//! next slot, the next version, the next life of a topic) are made under a lock by name. So nothing is ever decided on a
//! snapshot that another writer made old, and no transaction needs to be repeated.

mod audit;
mod brandings;
mod dashboards;
mod directory;
mod erasures;
mod ledger;
mod metrics;
mod placements;
mod processes;
mod registry;
mod replays;
mod reports;
mod settings;
mod snapshots;
mod states;
mod usages;

use std::sync::Arc;

use model::Act;

use crate::sql::Database;

pub(crate) struct SqlMetastore {
    database: Arc<Database>,
    /// Who changes what through it is noted, if anybody.
    act: Option<Arc<Act>>,
}

impl SqlMetastore {
    pub(crate) fn new(database: Database) -> Self {
        Self { database: Arc::new(database), act: None }
    }
}
