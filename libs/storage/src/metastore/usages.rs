use async_trait::async_trait;
use model::TenantId;

use super::SqlMetastore;
use crate::{
    MetaError, Usages, Used,
    sql::{query, usages as sql},
};

/// By what, and the amounts in the order of the table's columns.
type Row<T> = (T, i64, i64, i64, i64, i64, i64, i64, i64, i64);

#[async_trait]
impl Usages for SqlMetastore {
    async fn add_used(&self, day_ms: i64, used: &[(String, Used)], since_ms: i64) -> Result<(), MetaError> {
        let mut by_name: Vec<_> = used.iter().collect();
        by_name.sort_by_key(|(tenant, _)| tenant); // two processes wait for each other's rows in one order
        let mut transaction = self.database.write().await?;
        for (tenant, used) in by_name {
            let add = query(sql::ADD).bind(day_ms).bind(tenant);
            transaction.execute(amounts(used).into_iter().fold(add, |add, amount| add.bind(amount))).await?;
        }
        transaction.execute(query(sql::FORGET).bind(since_ms)).await?;
        Ok(transaction.commit().await?)
    }

    async fn used_by_day(&self, tenant: &TenantId, from_ms: i64, to_ms: i64) -> Result<Vec<(i64, Used)>, MetaError> {
        let by_day = query(sql::BY_DAY).bind(tenant.as_str()).bind(from_ms).bind(to_ms);
        Ok(self.database.fetch_all(by_day).await?.into_iter().map(used).collect())
    }

    async fn used_by_tenant(&self, from_ms: i64, to_ms: i64) -> Result<Vec<(String, Used)>, MetaError> {
        let by_tenant = query(sql::BY_TENANT).bind(from_ms).bind(to_ms);
        Ok(self.database.fetch_all(by_tenant).await?.into_iter().map(used).collect())
    }
}

fn amounts(used: &Used) -> [i64; 9] {
    let Used { events, calls, bytes_in, bytes_out, log_bytes, queries, read_bytes, work_us, warehouse_us } = *used;
    [events, calls, bytes_in, bytes_out, log_bytes, queries, read_bytes, work_us, warehouse_us]
        .map(|amount| i64::try_from(amount).unwrap_or(i64::MAX))
}

fn used<T>(row: Row<T>) -> (T, Used) {
    let (by, events, calls, bytes_in, bytes_out, log_bytes, queries, read_bytes, work_us, warehouse_us) = row;
    let amounts = [events, calls, bytes_in, bytes_out, log_bytes, queries, read_bytes, work_us, warehouse_us];
    let [events, calls, bytes_in, bytes_out, log_bytes, queries, read_bytes, work_us, warehouse_us] =
        amounts.map(i64::unsigned_abs);
    (by, Used { events, calls, bytes_in, bytes_out, log_bytes, queries, read_bytes, work_us, warehouse_us })
}
