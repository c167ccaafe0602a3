use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::{EventColumns, UncountedColumns, UserColumns, Warehouse, WarehouseError, schema};

/// How long a block may be on its way, from when it is sent until it is on disk. Who looked for rows this long after the last block was
/// sent, and found none, will find none later.
pub const LONGEST_INSERT: Duration = Duration::from_secs(300);

/// How much is handed to the connection at once.
const CHUNK_BYTES: usize = 1 << 20;
/// How long the server may not take more of a block.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// What of a block makes it one block for the server, whole and once.
///
/// `max_insert_block_size` and `min_insert_block_size_*`: the server must not cut it, or its parts would be atomic and
/// deduplicated one by one. The other three: the token decides in the table and in the targets of its views, and the
/// answer comes when the block is on disk.
const SETTINGS: [(&str, &str); 6] = [
    ("insert_deduplicate", "1"),
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
    ("async_insert", "0"),
    ("max_insert_block_size", "100000000"),
    ("min_insert_block_size_rows", "100000000"),
    ("min_insert_block_size_bytes", "0"),
];

/// What was sent. Whether the rows were there already the server doesn't say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InsertOutcome {
    /// Rows of the block.
    pub rows: usize,
    /// Its bytes in the Native format, before any compression.
    pub bytes: usize,
}

impl Warehouse {
    /// Inserts the events as one block, all or none of them. A block whose `token` the table has seen within its window
    /// changes nothing, so after `Unavailable` the same columns are sent again. No columns: nothing is sent.
    pub async fn insert_events(&self, events: &EventColumns, token: &str) -> Result<InsertOutcome, WarehouseError> {
        self.insert(schema::EVENTS, events.len(), || events.to_native(), token).await
    }

    /// Inserts the users' states as one block; otherwise as [`Warehouse::insert_events`].
    pub async fn insert_users(&self, users: &UserColumns, token: &str) -> Result<InsertOutcome, WarehouseError> {
        self.insert(schema::USERS, users.len(), || users.to_native(), token).await
    }

    /// Inserts records that don't count as one block; otherwise as [`Warehouse::insert_events`].
    pub async fn insert_uncounted(
        &self,
        records: &UncountedColumns,
        token: &str,
    ) -> Result<InsertOutcome, WarehouseError> {
        self.insert(schema::UNCOUNTED, records.len(), || records.to_native(), token).await
    }

    async fn insert(
        &self,
        table: &str,
        rows: usize,
        block: impl FnOnce() -> Vec<u8>,
        token: &str,
    ) -> Result<InsertOutcome, WarehouseError> {
        if token.is_empty() {
            // The server would compare contents instead, and drop a different block that looks the same.
            return Err(WarehouseError::Protocol("an insert needs a token".to_owned()));
        }
        if rows == 0 {
            return Ok(InsertOutcome::default());
        }
        let mut block = Bytes::from(block());
        let bytes = block.len();
        let statement = format!("INSERT INTO {table} FORMAT Native");
        let mut insert = self
            .client()
            .clone()
            .with_compression(self.insert_compression())
            .insert_formatted_with(statement)
            .with_timeouts(Some(SEND_TIMEOUT), Some(LONGEST_INSERT))
            .with_setting("insert_deduplication_token", token);
        for (name, value) in SETTINGS.into_iter().chain(self.insert_quorum()) {
            insert = insert.with_setting(name, value);
        }
        let whole = async {
            while !block.is_empty() {
                insert.send(block.split_to(CHUNK_BYTES.min(block.len()))).await?;
            }
            insert.end().await
        };
        let too_long = |_| WarehouseError::Unavailable(format!("a block was on its way for {LONGEST_INSERT:?}"));
        timeout(LONGEST_INSERT, whole).await.map_err(too_long)??;
        Ok(InsertOutcome { rows, bytes })
    }
}
