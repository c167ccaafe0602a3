use std::path::Path;

use async_trait::async_trait;

use super::SqlMetastore;
use crate::{MetaError, Snapshots};

#[async_trait]
impl Snapshots for SqlMetastore {
    async fn snapshot(&self, into: &Path) -> Result<bool, MetaError> {
        Ok(self.database.copy_into(into).await?)
    }
}
