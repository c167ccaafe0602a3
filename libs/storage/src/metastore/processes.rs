use async_trait::async_trait;

use super::SqlMetastore;
use crate::{
    MetaError, Process, Processes,
    sql::{damaged, processes as sql, query},
};

#[async_trait]
impl Processes for SqlMetastore {
    async fn put_process(&self, process: &Process, since_ms: i64) -> Result<(), MetaError> {
        let said = serde_json::to_string(process).map_err(damaged)?;
        self.database.execute(query(sql::PUT).bind(&process.name).bind(process.seen_at_ms).bind(said)).await?;
        self.database.execute(query(sql::FORGET_OLD).bind(since_ms)).await?;
        Ok(())
    }

    async fn processes(&self, since_ms: i64) -> Result<Vec<Process>, MetaError> {
        let rows: Vec<(String,)> = self.database.fetch_all(query(sql::LIST).bind(since_ms)).await?;
        rows.iter().map(|(said,)| serde_json::from_str(said).map_err(damaged)).collect()
    }

    async fn forget_process(&self, name: &str) -> Result<(), MetaError> {
        self.database.execute(query(sql::FORGET).bind(name)).await?;
        Ok(())
    }
}
