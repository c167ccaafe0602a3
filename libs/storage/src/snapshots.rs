use std::path::Path;

use async_trait::async_trait;

use crate::MetaError;

/// Copies of the whole metastore.
#[async_trait]
pub trait Snapshots: Send + Sync {
    /// Writes everything as of one instant into a file that is not there yet, as a metastore of its own (SQLite); writers go on meanwhile. What is
    /// noted of states is not in it, and their lives are others: they are of one warehouse.
    async fn snapshot(&self, into: &Path) -> Result<(), MetaError>;

    /// Whether nothing was ever kept here.
    async fn is_empty(&self) -> Result<bool, MetaError>;

    /// Takes in everything of such a file, all or nothing; it may be of an older program, and is brought up to date. `AlreadyExists` if something is
    /// kept here.
    async fn fill(&self, from: &Path) -> Result<(), MetaError>;
}
