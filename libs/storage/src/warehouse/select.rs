use std::time::Duration;

use clickhouse::Compression;

use super::{
    RowBlock, Warehouse, WarehouseError,
    blocks::{Blocks, ReadCost},
    cluster::CatchUp,
    servers::Server,
};

/// How one query may run.
#[derive(Debug, Clone, Default)]
pub struct QuerySettings {
    /// The id under which the server knows the query; unique. Empty: the server gives one.
    pub query_id: String,
    /// How long it may run on the server.
    pub max_execution_time: Option<Duration>,
    /// How much memory it may use, bytes.
    pub max_memory_bytes: Option<u64>,
    /// How many rows it may read from tables.
    pub max_rows_to_read: Option<u64>,
    /// How many rows it may return.
    pub max_result_rows: Option<u64>,
    /// How many threads it may use.
    pub max_threads: Option<u32>,
    /// Whether it reads so little that what the server does to read less costs more than reading.
    pub is_small: bool,
    /// How urgent it is, from 1: it stands back while a query with a lower number runs.
    pub priority: Option<u32>,
    /// How long it stands back at a time, with each block of rows that it reads; by default as long as the server likes.
    pub stands_back: Option<Duration>,
    /// How its threads give way to others on the server's cores, as `nice` does, from 0 to 19; nothing where the server may not set it (`CAP_SYS_NICE`).
    pub nice: Option<u32>,
    /// The W3C trace context in which it runs: the value of a `traceparent` header.
    pub traceparent: Option<String>,
}

/// How much longer than the server's own limit a part of an answer is waited for, before the server counts as gone.
const GRACE: Duration = Duration::from_secs(5);

impl Warehouse {
    /// Starts a query and streams its result. `params` are the values of the statement's `{name: Type}` places, each in the
    /// text form of its type: see [`super::param`].
    ///
    /// Nothing is sent before the first [`RowStream::next`], and dropping the stream stops the query. The statement can
    /// only read.
    pub fn select(
        &self,
        statement: &str,
        params: &[(&str, String)],
        settings: &QuerySettings,
    ) -> Result<RowStream, WarehouseError> {
        let server = self.server();
        let before = Some(self.caught_up(&server, statement));
        // Not within the blocks: one host doesn't need it.
        let mut client = server.client.clone().with_compression(Compression::None);
        if let Some(traceparent) = &settings.traceparent {
            client = client.with_header("traceparent", traceparent);
        }
        let mut query = client.query_raw(statement);
        let params = params.iter().map(|(name, value)| (format!("param_{name}"), value.clone()));
        for (name, value) in settings.named().chain(self.read_settings()).chain(params) {
            query = query.with_setting(name, value);
        }
        let bound = settings.max_execution_time.map(|limit| limit + GRACE);
        Ok(RowStream { server, before, blocks: Blocks::new(query.fetch_bytes("Native")?), bound })
    }
}

impl QuerySettings {
    /// The settings by ClickHouse's names.
    pub(super) fn named(&self) -> impl Iterator<Item = (String, String)> {
        let seconds = self.max_execution_time.map(|limit| format!("{:.3}", limit.as_secs_f64()));
        let text = |n: Option<u64>| n.map(|n| n.to_string());
        let small = self.is_small.then(|| "0".to_owned());
        let query_id = (!self.query_id.is_empty()).then(|| self.query_id.clone());
        [
            // Settings may follow, data and tables may not change.
            ("readonly", Some("2".to_owned())),
            ("cancel_http_readonly_queries_on_client_close", Some("1".to_owned())),
            ("query_id", query_id),
            ("max_execution_time", seconds),
            ("max_memory_usage", text(self.max_memory_bytes)),
            ("max_rows_to_read", text(self.max_rows_to_read)),
            ("max_result_rows", text(self.max_result_rows)),
            ("max_threads", text(self.max_threads.map(u64::from))),
            ("optimize_move_to_prewhere", small.clone()),
            ("optimize_use_projections", small),
            ("priority", text(self.priority.map(u64::from))),
            ("low_priority_query_wait_time_ms", text(self.stands_back.map(|time| time.as_millis() as u64))),
            // The name that servers of all versions know.
            ("os_thread_priority", text(self.nice.map(u64::from))),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    }
}

/// The result of a query as it comes. Dropping it closes the request, on which the server stops the query.
#[must_use = "a query runs only while its stream is read"]
pub struct RowStream {
    server: Server,
    /// What is waited for before anything is sent.
    before: Option<CatchUp>,
    blocks: Blocks,
    bound: Option<Duration>,
}

impl RowStream {
    /// The next rows; none at the end. A result without rows has no block at all. After an error, and after a call that was not
    /// awaited to its end, the stream is over.
    pub async fn next(&mut self) -> Result<Option<RowBlock>, WarehouseError> {
        if let Some(before) = self.before.take() {
            self.server.heard(before.wait().await)?;
        }
        loop {
            let next = self.blocks.next();
            let block = match self.bound {
                None => next.await,
                Some(bound) => tokio::time::timeout(bound, next)
                    .await
                    .unwrap_or_else(|_| Err(WarehouseError::Unavailable(format!("no answer for {bound:?}")))),
            };
            match self.server.heard(block)? {
                Some(block) if block.rows == 0 => {}
                block => return Ok(block),
            }
        }
    }

    /// What the query read from tables; `None` before the first rows, and for a result so large that it began to come while the
    /// query still read.
    pub fn cost(&self) -> Option<ReadCost> {
        self.blocks.cost()
    }

    /// All rows of a small result.
    pub async fn collect(mut self) -> Result<Vec<Vec<super::Cell>>, WarehouseError> {
        let mut rows = Vec::new();
        while let Some(block) = self.next().await? {
            rows.extend(block.into_rows());
        }
        Ok(rows)
    }
}

impl std::fmt::Debug for RowStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowStream").finish_non_exhaustive()
    }
}
