//! How much there is.

use super::{Cell, QuerySettings, Warehouse, WarehouseError};

/// What all tables have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredSize {
    /// Rows of events.
    pub events: u64,
    /// Bytes of all tables, as they lie on disks and in the bucket.
    pub bytes: u64,
}

impl Warehouse {
    /// How much is stored now, by the server's list of parts; of replicas once.
    pub async fn stored_size(&self) -> Result<StoredSize, WarehouseError> {
        let statement = "SELECT toInt64(sumIf(rows, table = 'events')), toInt64(sum(bytes_on_disk)) FROM system.parts \
            WHERE active AND database = currentDatabase()";
        let mut size = StoredSize { events: 0, bytes: 0 };
        for shard in self.shards() {
            let rows = shard.select(statement, &[], &QuerySettings::default())?.collect().await?;
            let Some([Cell::Integer(events), Cell::Integer(bytes)]) = rows.first().map(Vec::as_slice) else {
                return Err(WarehouseError::Protocol(format!("the sizes of parts are {rows:?}")));
            };
            size.events += events.unsigned_abs();
            size.bytes += bytes.unsigned_abs();
        }
        Ok(size)
    }
}
