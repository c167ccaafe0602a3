use async_trait::async_trait;
use model::{AppId, TenantId};

use super::SqlMetastore;
use crate::{
    BucketState, MetaError, STATES_LAST_MS, States,
    sql::{Statement, query, states as sql},
};

#[async_trait]
impl States for SqlMetastore {
    async fn states_life(&self, tenant: &TenantId, app: &AppId) -> Result<i64, MetaError> {
        let row: Option<(i64,)> = self.database.fetch_optional(of_app(sql::LIFE, tenant, app)).await?;
        Ok(row.map_or(0, |(life,)| life))
    }

    async fn states(
        &self,
        tenant: &TenantId,
        app: &AppId,
        shape: &str,
        (from_ms, to_ms): (i64, i64),
        since_ms: i64,
    ) -> Result<(i64, Vec<BucketState>), MetaError> {
        let select = of_app(sql::STATES, tenant, app).bind(shape).bind(from_ms).bind(to_ms).bind(since_ms);
        let row: Option<(Option<i64>, Option<String>)> = self.database.fetch_optional(select).await?;
        let (life, list) = row.unwrap_or_default();
        Ok((life.unwrap_or(0), sql::states(list.as_deref())?))
    }

    async fn keep_states(
        &self,
        tenant: &TenantId,
        app: &AppId,
        shape: &str,
        life: i64,
        now_ms: i64,
        states: &[BucketState],
    ) -> Result<bool, MetaError> {
        let mut transaction = self.database.write().await?;
        let held: Option<(i64,)> = transaction.fetch_optional(of_app(sql::HOLD_LIFE, tenant, app)).await?;
        if held != Some((life,)) {
            return Ok(false);
        }
        for BucketState { bucket_ms, length_ms, epochs, piece } in states {
            let keep = of_app(sql::KEEP, tenant, app).bind(shape).bind(*bucket_ms).bind(*length_ms).bind(epochs);
            transaction.execute(keep.bind(*piece).bind(now_ms)).await?;
        }
        transaction.execute(of_app(sql::FORGET, tenant, app).bind(now_ms - STATES_LAST_MS)).await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn end_states(&self, tenant: &TenantId, app: &AppId) -> Result<i64, MetaError> {
        let mut transaction = self.database.write().await?;
        let next: Option<(i64,)> = transaction.fetch_optional(of_app(sql::NEXT_LIFE, tenant, app)).await?;
        transaction.execute(of_app(sql::FORGET, tenant, app).bind(i64::MAX)).await?;
        transaction.commit().await?;
        Ok(next.ok_or(sqlx::Error::RowNotFound)?.0)
    }
}

/// A statement whose first two parameters name the app.
fn of_app(text: &'static str, tenant: &TenantId, app: &AppId) -> Statement {
    query(text).bind(tenant.as_str()).bind(app.as_str())
}
