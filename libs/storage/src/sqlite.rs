//! The metastore in one SQLite file.
//!
//! One connection writes, a few read. Every write is a transaction that takes SQLite's write lock at its start, so a
//! statement never fails halfway because another process wrote meanwhile. The file is in WAL mode and each commit is
//! on disk before it returns: the ledger outlives a power cut.

use std::{path::Path, sync::LazyLock, time::Duration};

use sqlx::{
    Connection, Error, Sqlite, SqliteConnection, SqlitePool, Transaction,
    migrate::Migrator,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{MetaError, migrations, sql::migrated};

static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| migrations::migrator(migrations::SQLITE));

/// How long a statement waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for a free connection; longer than a writer can be kept waiting by another process.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;
/// Switching a new file to WAL doesn't wait for a lock but fails: two processes that open it at once try again.
const OPEN_ATTEMPTS: u32 = 40;
const OPEN_PAUSE: Duration = Duration::from_millis(50);

/// The connections to one file.
pub(crate) struct SqliteDatabase {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteDatabase {
    /// Opens the file, makes it if it isn't there, and brings its tables up to date.
    pub(crate) async fn open(path: &Path) -> Result<Self, MetaError> {
        if let Some(folder) = path.parent() {
            tokio::fs::create_dir_all(folder).await.map_err(|e| MetaError::Unavailable(e.to_string()))?;
        }
        let mut attempt = 1;
        let writer = loop {
            match Self::open_writer(path).await {
                Err(MetaError::Unavailable(_)) if attempt < OPEN_ATTEMPTS => attempt += 1,
                outcome => break outcome?,
            }
            tokio::time::sleep(OPEN_PAUSE).await;
        };
        let readers = pool(READERS).connect_with(options(path).read_only(true)).await?;
        Ok(Self { writer, readers })
    }

    async fn open_writer(path: &Path) -> Result<SqlitePool, MetaError> {
        let options = options(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true);
        let writer = pool(1).connect_with(options).await?;
        let outcome = migrate(&writer).await;
        if outcome.is_err() {
            writer.close().await;
        }
        outcome.map(|()| writer)
    }

    pub(crate) async fn writer(&self) -> Result<PoolConnection<Sqlite>, Error> {
        self.writer.acquire().await
    }

    pub(crate) async fn reader(&self) -> Result<PoolConnection<Sqlite>, Error> {
        self.readers.acquire().await
    }

    /// Writes everything as of one instant into a new file.
    pub(crate) async fn copy_into(&self, into: &Path) -> Result<(), Error> {
        let copy = sqlx::query("VACUUM INTO $1").bind(into.display().to_string());
        copy.execute(&mut *self.reader().await?).await.map(drop)
    }

    pub(crate) async fn begin_write(&self) -> Result<Transaction<'static, Sqlite>, Error> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }
}

/// A metastore that lies still as one file, made if it isn't there, with its tables up to date.
pub(crate) async fn file(path: &Path) -> Result<SqliteConnection, MetaError> {
    let options = options(path).create_if_missing(true).journal_mode(SqliteJournalMode::Delete);
    let mut file = SqliteConnection::connect_with(&options).await?;
    let outcome = MIGRATIONS.run_direct(None, &mut file, false).await;
    migrated(outcome, &MIGRATIONS)?;
    Ok(file)
}

/// On a full disk SQLite ends a transaction by itself. sqlx goes on to think that the connection has one, and can never begin another.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false) // a file doesn't hang up, and each test is two hops between threads
        .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).busy_timeout(BUSY_TIMEOUT)
}

/// Applies what is missing, all or nothing. The migrator takes no lock of its own on SQLite, so that it runs inside a
/// transaction that holds the write lock: of two processes the second finds the work done.
async fn migrate(writer: &SqlitePool) -> Result<(), MetaError> {
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    let outcome = MIGRATIONS.run_direct(None, &mut *transaction, false).await;
    migrated(outcome, &MIGRATIONS)?;
    Ok(transaction.commit().await?)
}
