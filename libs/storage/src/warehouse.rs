//! ClickHouse over HTTP, by the official client.
//!
//! Writing: [`EventColumns`] and [`UserColumns`] take rows as the pipeline decodes them and lie ready for the wire;
//! [`Warehouse::insert`] sends them as one block under a token. Reading: [`Warehouse::select`] streams a result
//! as [`Cell`]s. The tables' DDL stands in [`schema`] alone.

pub mod analyze;
mod backup;
mod blocks;
mod cell;
mod cluster;
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
mod servers;
mod size;
mod states;
mod tls;
mod uncounted;
mod users;

pub use backup::{BackupManifest, BackupProgress, BackupServer};
pub use blocks::ReadCost;
pub use cell::{Cell, ResultColumn, RowBlock};
pub use cluster::{Finding, Topology, rehearse};
pub use daily::DaysOfPartition;
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

use std::{sync::Arc, time::Duration};

use clickhouse::{Client, Compression};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use cluster::{CatchUp, Cluster};
use schema::Layout;
use servers::{Server, Servers};

/// How long a server that is well may take to say so.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A ClickHouse server and one database of it, or a cluster of them. Cloning is cheap and shares the connections.
#[derive(Clone)]
pub struct Warehouse {
    /// Which are asked.
    servers: Arc<Servers>,
    /// In which database.
    database: String,
    compress: bool,
    quorum: Option<String>,
    traceparent: Option<String>,
    role: Role,
}

/// What of a cluster a [`Warehouse`] is.
#[derive(Clone)]
enum Role {
    /// There is one server.
    Alone,
    /// All shards. The servers are those that are asked for all of them.
    Cluster(Arc<Cluster>),
    /// A shard, whose servers may be replicas of one another.
    Shard { replicated: bool },
}

impl Warehouse {
    /// Names a server, as `http://host:8123` or `https://host:8443`. Nothing is sent yet. `Address` if the address is neither, if
    /// this machine has no certificates to check the server's by, or if the database's name isn't a plain word
    /// (`A-Z a-z 0-9 _`, no digit first).
    pub fn new(url: &str, database: &str, user: &str, password: Option<&str>) -> Result<Self, WarehouseError> {
        let client = client(url, user, password)?;
        if !is_plain(database) {
            return Err(WarehouseError::Address(format!("{database:?} can't be a database's name")));
        }
        Ok(Self::of(Servers::new(vec![client]), database, Role::Alone))
    }

    fn of(servers: impl Into<Arc<Servers>>, database: &str, role: Role) -> Self {
        let (servers, database) = (servers.into(), database.to_owned());
        Self { servers, database, compress: false, quorum: None, traceparent: None, role }
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
        Self { traceparent: Some(traceparent.to_owned()), ..self }
    }

    /// Whether the server answers.
    pub async fn ping(&self) -> Result<(), WarehouseError> {
        let server = self.anywhere();
        let ping = async { Ok(server.client.query_raw("SELECT 1").execute().await?) };
        server.heard(
            timeout(PING_TIMEOUT, ping)
                .await
                .unwrap_or_else(|_| Err(WarehouseError::Unavailable(format!("no answer for {PING_TIMEOUT:?}")))),
        )
    }

    /// Waits until the server answers, of a cluster one of each shard, at most for `bound`. An answer that waiting can't better (as a wrong
    /// password) is returned at once.
    pub async fn wait_ready(&self, bound: Duration) -> Result<(), WarehouseError> {
        let end = Instant::now() + bound;
        if let Role::Cluster(_) = &self.role {
            for shard in self.shards() {
                shard.wait_until(end).await?;
            }
        }
        self.wait_until(end).await
    }

    async fn wait_until(&self, end: Instant) -> Result<(), WarehouseError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let outcome = match timeout_at(end, self.ping()).await {
                Ok(outcome) => outcome,
                Err(_) => Err(WarehouseError::Unavailable("no answer in time".to_owned())),
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
        if let Role::Cluster(cluster) = &self.role {
            return cluster.migrate().await;
        }
        self.create_database("", &[]).await?;
        for statement in schema::migrations(&Layout::default()) {
            self.execute(&statement, &[]).await?;
        }
        self.view_daily_users().await
    }

    /// `on`: where.
    async fn create_database(&self, on: &str, settings: &[(&str, &str)]) -> Result<(), WarehouseError> {
        let create = format!("CREATE DATABASE IF NOT EXISTS {}{on}", self.database);
        Self { database: "default".to_owned(), ..self.clone() }.execute(&create, settings).await
    }

    /// Runs a statement that changes something, with these settings.
    pub(crate) async fn execute(&self, statement: &str, settings: &[(&str, &str)]) -> Result<(), WarehouseError> {
        let server = self.server();
        server.heard(self.caught_up(&server, statement).wait().await)?;
        let mut query = server.client.query_raw(statement);
        for (name, value) in settings {
            query = query.with_setting(*name, *value);
        }
        server.heard(query.execute().await.map_err(Into::into))
    }

    /// Runs a deletion on every shard, and returns when it is done on every replica.
    async fn delete(&self, statement: &str) -> Result<(), WarehouseError> {
        for shard in self.shards() {
            shard.execute(statement, &[("mutations_sync", "2")]).await?;
        }
        Ok(())
    }

    /// A client that needs no database of ours to be there.
    fn anywhere(&self) -> Server {
        self.in_database("default")
    }

    /// Which is asked now.
    fn server(&self) -> Server {
        self.in_database(&self.database)
    }

    fn in_database(&self, database: &str) -> Server {
        let mut server = self.servers.now();
        server.client = server.client.with_database(database);
        if let Some(traceparent) = &self.traceparent {
            server.client = server.client.with_header("traceparent", traceparent);
        }
        server
    }

    /// What must be there before a statement reads: everything that is acknowledged, whichever replica is read.
    fn caught_up(&self, server: &Server, statement: &str) -> CatchUp {
        match &self.role {
            Role::Cluster(cluster) => cluster.caught_up(statement),
            Role::Shard { replicated: true } => CatchUp::of(server, &self.database, statement),
            Role::Shard { replicated: false } | Role::Alone => CatchUp::Done,
        }
    }

    fn insert_compression(&self) -> Compression {
        if self.compress { Compression::Lz4 } else { Compression::None }
    }

    /// Whether an insert counts only when several replicas have it.
    pub fn has_quorum(&self) -> bool {
        self.quorum.is_some()
    }

    fn insert_quorum(&self) -> Option<(&str, &str)> {
        self.quorum.as_deref().map(|quorum| ("insert_quorum", quorum))
    }
}

/// How a server is spoken to.
fn client(url: &str, user: &str, password: Option<&str>) -> Result<Client, WarehouseError> {
    let client = match url.split_once("://") {
        Some(("http", _)) => Client::default(),
        Some(("https", _)) => tls::client()?,
        // The rest may hold a password.
        _ => return Err(WarehouseError::Address("it must start with http:// or https://".to_owned())),
    };
    let client = client.with_url(url).with_user(user);
    Ok(match password {
        Some(password) => client.with_password(password),
        None => client,
    })
}

/// Whether a name needs no quoting.
fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && name.starts_with(|c: char| !c.is_ascii_digit())
}

impl std::fmt::Debug for Warehouse {
    /// Without the address and the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Warehouse").field("database", &self.database).finish_non_exhaustive()
    }
}
