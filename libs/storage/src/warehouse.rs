//! ClickHouse over HTTP, by the official client.
//!
//! Writing: [`EventColumns`] and [`UserColumns`] take rows as the pipeline decodes them and lie ready for the wire;
//! [`Warehouse::insert`] sends them as one block under a token. Reading: [`Warehouse::select`] streams a result
//! as [`Cell`]s. The tables' DDL stands in [`schema`] alone.

mod backup;
mod blocks;
mod cell;
mod cold;
mod columns;
mod daily;
mod dictionary;
mod erase;
mod error;
mod events;
mod expire;
mod insert;
mod native;
pub mod param;
mod rebuild;
pub mod schema;
mod select;
mod size;
mod states;
mod tls;
mod uncounted;
mod users;

pub use backup::{BackupManifest, BackupProgress};
pub use blocks::ReadCost;
pub use cell::{Cell, ResultColumn, RowBlock};
pub use daily::DayOfPartition;
pub use erase::{ErasedUser, Remains};
pub use error::WarehouseError;
pub use events::{ColumnsError, EventColumns, EventRow};
pub use insert::{Columns, InsertOutcome, LONGEST_INSERT};
pub use rebuild::{Part, Rebuild};
pub use select::{QuerySettings, RowStream};
pub use size::StoredSize;
pub use states::StateSize;
pub use uncounted::{Reason, UncountedColumns, UncountedRow};
pub use users::{UserColumns, UserRow};

use std::time::Duration;

use clickhouse::{Client, Compression};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long a server that is well may take to say so.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A ClickHouse server and one database of it. Cloning is cheap and shares the connections.
#[derive(Clone)]
pub struct Warehouse {
    /// Works in the database.
    client: Client,
    database: String,
    compress: bool,
    quorum: Option<String>,
}

impl Warehouse {
    /// Names a server, as `http://host:8123` or `https://host:8443`. Nothing is sent yet. `Address` if the address is neither, if
    /// this machine has no certificates to check the server's by, or if the database's name isn't a plain word
    /// (`A-Z a-z 0-9 _`, no digit first).
    pub fn new(url: &str, database: &str, user: &str, password: Option<&str>) -> Result<Self, WarehouseError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !database.chars().all(plain) || database.starts_with(|c: char| c.is_ascii_digit()) || database.is_empty() {
            return Err(WarehouseError::Address(format!("{database:?} can't be a database's name")));
        }
        let client = match url.split_once("://") {
            Some(("http", _)) => Client::default(),
            Some(("https", _)) => tls::client()?,
            // The rest may hold a password.
            _ => return Err(WarehouseError::Address("it must start with http:// or https://".to_owned())),
        };
        let mut client = client.with_url(url).with_database(database).with_user(user);
        if let Some(password) = password {
            client = client.with_password(password);
        }
        Ok(Self { client, database: database.to_owned(), compress: false, quorum: None })
    }

    /// Compresses inserts with LZ4. Worth its CPU time across a network, not on one host.
    pub fn with_insert_compression(self, compress: bool) -> Self {
        Self { compress, ..self }
    }

    /// How many replicas must have an insert before it counts as done, in ClickHouse's words for `insert_quorum`: a number or
    /// `auto`. Without it the one that took it.
    pub fn with_insert_quorum(self, quorum: impl Into<String>) -> Self {
        Self { quorum: Some(quorum.into()), ..self }
    }

    /// Tells the server with every request in which W3C trace context it runs: the value of a `traceparent` header.
    pub fn with_traceparent(self, traceparent: &str) -> Self {
        Self { client: self.client.with_header("traceparent", traceparent), ..self }
    }

    /// Whether the server answers.
    pub async fn ping(&self) -> Result<(), WarehouseError> {
        let ping = self.anywhere().query_raw("SELECT 1").execute();
        match timeout(PING_TIMEOUT, ping).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(WarehouseError::Unavailable(format!("no answer for {PING_TIMEOUT:?}"))),
        }
    }

    /// Waits until the server answers, at most for `bound`. An answer that waiting can't better (as a wrong password) is
    /// returned at once.
    pub async fn wait_ready(&self, bound: Duration) -> Result<(), WarehouseError> {
        let end = Instant::now() + bound;
        let mut pause = FIRST_PAUSE;
        loop {
            let outcome = match timeout_at(end, self.ping()).await {
                Ok(outcome) => outcome,
                Err(_) => Err(WarehouseError::Unavailable(format!("no answer for {bound:?}"))),
            };
            match outcome {
                Err(error) if error.is_unavailable() && Instant::now() + pause < end => {
                    tracing::debug!(%error, "the warehouse is not ready yet");
                }
                outcome => return outcome,
            }
            sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    /// Makes the database and brings its tables up to date. Safe to run again, and by several at once.
    pub async fn migrate(&self) -> Result<(), WarehouseError> {
        let create = format!("CREATE DATABASE IF NOT EXISTS {}", self.database);
        self.anywhere().query_raw(&create).execute().await?;
        for statement in schema::migrations() {
            self.execute(&statement, &[]).await?;
        }
        self.view_daily_users().await
    }

    /// Runs a statement that changes something, with these settings.
    pub(crate) async fn execute(&self, statement: &str, settings: &[(&str, &str)]) -> Result<(), WarehouseError> {
        let mut query = self.client().query_raw(statement);
        for (name, value) in settings {
            query = query.with_setting(*name, *value);
        }
        Ok(query.execute().await?)
    }

    /// Runs a deletion, and returns when it is done on every replica.
    async fn delete(&self, statement: &str) -> Result<(), WarehouseError> {
        self.execute(statement, &[("mutations_sync", "2")]).await
    }

    /// A client that needs no database of ours to be there.
    fn anywhere(&self) -> Client {
        self.client.clone().with_database("default")
    }

    fn client(&self) -> &Client {
        &self.client
    }

    fn insert_compression(&self) -> Compression {
        if self.compress { Compression::Lz4 } else { Compression::None }
    }

    fn insert_quorum(&self) -> Option<(&str, &str)> {
        self.quorum.as_deref().map(|quorum| ("insert_quorum", quorum))
    }
}

impl std::fmt::Debug for Warehouse {
    /// Without the address and the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Warehouse").field("database", &self.database).finish_non_exhaustive()
    }
}
