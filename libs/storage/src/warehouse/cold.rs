//! Moving old events to a volume of their own.

use super::{Cell, QuerySettings, Warehouse, WarehouseError, schema};

impl Warehouse {
    /// Has the server move events to the volume `cold` of the storage policy `penstock` when the last of their part is `days` old: in the
    /// background, now and from now on. Again changes nothing. `Rejected` without such a policy.
    pub async fn move_to_cold_after(&self, days: u32) -> Result<(), WarehouseError> {
        for shard in self.shards() {
            shard.move_there_after(days).await?;
        }
        Ok(())
    }

    async fn move_there_after(&self, days: u32) -> Result<(), WarehouseError> {
        let (table, policy, volume) = (schema::EVENTS, schema::COLD_POLICY, schema::COLD_VOLUME);
        let ddl =
            format!("SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = '{table}'");
        let rows = self.select(&ddl, &[], &QuerySettings::default())?.collect().await?;
        let Some([Cell::String(engine)]) = rows.first().map(Vec::as_slice) else {
            return Err(WarehouseError::Protocol(format!("the table {table} isn't there")));
        };
        if !engine.contains(&format!("storage_policy = '{policy}'")) {
            let settings = format!("storage_policy = '{policy}', materialize_ttl_recalculate_only = 1");
            self.execute(&format!("ALTER TABLE {table} MODIFY SETTING {settings}"), &[]).await?;
        }
        // As the server itself writes it.
        let ttl = format!("toDateTime(ts) + toIntervalDay({days}) TO VOLUME '{volume}'");
        if !engine.contains(&format!("TTL {ttl} ")) {
            self.execute(&format!("ALTER TABLE {table} MODIFY TTL {ttl}"), &[]).await?;
        }
        Ok(())
    }

    /// Whether something can move there: the server itself finds out, and says so, only when something is old enough.
    pub async fn check_cold(&self) -> Result<(), WarehouseError> {
        for shard in self.shards() {
            shard.check_there().await?;
        }
        Ok(())
    }

    async fn check_there(&self) -> Result<(), WarehouseError> {
        // Several processes may check at once.
        let table = format!("cold_check_{}", uuid::Uuid::new_v4().simple());
        let (policy, volume) = (schema::COLD_POLICY, schema::COLD_VOLUME);
        let run = async |statement: String| self.execute(&statement, &[]).await;
        run(format!(
            "CREATE TABLE {table} (a UInt8) ENGINE = MergeTree ORDER BY a SETTINGS storage_policy = '{policy}'"
        ))
        .await?;
        let checked = async {
            run(format!("INSERT INTO {table} SELECT 1")).await?;
            run(format!("ALTER TABLE {table} MOVE PARTITION tuple() TO VOLUME '{volume}'")).await
        };
        let checked = checked.await;
        run(format!("DROP TABLE {table} SYNC")).await?;
        checked
    }
}
