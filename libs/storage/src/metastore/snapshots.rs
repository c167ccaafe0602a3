use std::path::Path;

use async_trait::async_trait;

use super::SqlMetastore;
use crate::{MetaError, Snapshots};

#[async_trait]
impl Snapshots for SqlMetastore {
    async fn snapshot(&self, into: &Path) -> Result<(), MetaError> {
        self.database.copy_into(into).await
    }

    async fn is_empty(&self) -> Result<bool, MetaError> {
        self.database.is_empty().await
    }

    async fn fill(&self, from: &Path) -> Result<(), MetaError> {
        if !self.is_empty().await? {
            return Err(MetaError::AlreadyExists("what the metastore keeps".to_owned()));
        }
        self.database.fill(from).await
    }
}
