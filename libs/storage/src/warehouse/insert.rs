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

/// Rows for one table on their way.
#[derive(Debug, Clone, Copy)]
pub enum Columns<'a> {
    /// Events of a day.
    Events(&'a EventColumns),
    /// Users' states.
    Users(&'a UserColumns),
    /// Records that don't count.
    Uncounted(&'a UncountedColumns),
}

impl Columns<'_> {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Events(events) => events.len(),
            Self::Users(users) => users.len(),
            Self::Uncounted(records) => records.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) const fn table(&self) -> &'static str {
        match self {
            Self::Events(_) => schema::EVENTS,
            Self::Users(_) => schema::USERS,
            Self::Uncounted(_) => schema::UNCOUNTED,
        }
    }

    fn to_native(self) -> Vec<u8> {
        match self {
            Self::Events(events) => events.to_native(),
            Self::Users(users) => users.to_native(),
            Self::Uncounted(records) => records.to_native(),
        }
    }
}

impl<'a> From<&'a EventColumns> for Columns<'a> {
    fn from(events: &'a EventColumns) -> Self {
        Self::Events(events)
    }
}

impl<'a> From<&'a UserColumns> for Columns<'a> {
    fn from(users: &'a UserColumns) -> Self {
        Self::Users(users)
    }
}

impl<'a> From<&'a UncountedColumns> for Columns<'a> {
    fn from(records: &'a UncountedColumns) -> Self {
        Self::Uncounted(records)
    }
}

impl Warehouse {
    /// Inserts the rows as one block, all or none of them. A block whose `token` the table has seen within its window
    /// changes nothing, so after `Unavailable` the same columns are sent again. No rows: nothing is sent.
    pub async fn insert<'a>(
        &self,
        columns: impl Into<Columns<'a>>,
        token: &str,
    ) -> Result<InsertOutcome, WarehouseError> {
        let columns = columns.into();
        self.insert_into(columns.table(), columns, token).await
    }

    /// The same, into a table of the same columns.
    pub(super) async fn insert_into(
        &self,
        table: &str,
        columns: Columns<'_>,
        token: &str,
    ) -> Result<InsertOutcome, WarehouseError> {
        let rows = columns.len();
        if token.is_empty() {
            // The server would compare contents instead, and drop a different block that looks the same.
            return Err(WarehouseError::Protocol("an insert needs a token".to_owned()));
        }
        if rows == 0 {
            return Ok(InsertOutcome::default());
        }
        let mut block = Bytes::from(columns.to_native());
        let bytes = block.len();
        let statement = format!("INSERT INTO {table} FORMAT Native");
        let server = self.server();
        let mut insert = server
            .client
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
        let outcome = timeout(LONGEST_INSERT, whole).await.map_err(too_long);
        server.heard(outcome.and_then(|sent| Ok(sent?)))?;
        Ok(InsertOutcome { rows, bytes })
    }
}
