use std::path::Path;

use async_trait::async_trait;

use crate::MetaError;

/// Copies of the whole metastore.
#[async_trait]
pub trait Snapshots: Send + Sync {
    /// Writes everything as of one instant into a file that is not there yet, as a metastore of its own; writers go on meanwhile. What is
    /// noted of states is not in it, and their lives are others: they are of one warehouse. `false`, and nothing is written, where the database has
    /// tools of its own for it: PostgreSQL.
    async fn snapshot(&self, into: &Path) -> Result<bool, MetaError>;
}
