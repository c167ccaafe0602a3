//! The metastore in PostgreSQL, 14 or later.
//!
//! Every wait is bounded: for a connection, for a statement here, for a statement there, and for a transaction whose
//! owner has stopped, which must not keep its locks from others. Once the server can't be reached, calls fail at once until
//! it is found again in the background, so that an outage adds no latency to what goes on without it.

use std::{
    str::FromStr,
    sync::{
        Arc, LazyLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, Error, PgPool, Postgres, Transaction,
    migrate::Migrator,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgConnection, PgPoolOptions},
};
use tokio::time::{sleep, timeout};

use crate::{MetaError, migrations, sql::migrated};

static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| migrations::migrator(migrations::POSTGRES));

/// Connections of one process unless the address says otherwise. PostgreSQL has 100 for all by default.
const CONNECTIONS: u32 = 8;
/// How long a caller waits for a connection. As long as the server may work at a statement: whoever waits behind one isn't told
/// that the server is away. Only the first callers of an outage wait at all.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection that answered is taken to be there.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
const SEARCH_PAUSE: Duration = Duration::from_millis(200);
/// How long the server works at a statement, its waiting for locks included, and how long it keeps an idle transaction.
const SERVER_TIMEOUT: &str = "5s";
/// How long an answer is waited for. Longer than the server's own limit: only a server that can't answer exceeds it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(6);
/// How long tables may take to be brought up to date, waiting for another process that does it included.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(300);

/// The connections to one database.
pub(crate) struct PostgresDatabase {
    pool: PgPool,
    /// Whether the server couldn't be reached and wasn't found again yet.
    lost: Arc<AtomicBool>,
}

impl PostgresDatabase {
    /// Connects to the database of this address and brings its tables up to date.
    pub(crate) async fn open(url: &str) -> Result<Self, MetaError> {
        let (options, connections) = parse(url)?;
        migrate(&options).await?;
        let options = options
            .options([("statement_timeout", SERVER_TIMEOUT), ("idle_in_transaction_session_timeout", SERVER_TIMEOUT)]);
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(|connection, _| {
                // The ledger outlives a power cut, whatever the server's default. Stricter settings stay.
                let durable = "SELECT set_config('synchronous_commit', 'on', false) \
                     WHERE current_setting('synchronous_commit') = 'off'";
                Box::pin(async move { sqlx::query(durable).execute(connection).await.map(|_| ()) })
            })
            // A round trip less for each statement; what answered a moment ago is asked nothing.
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for < TRUSTED_FOR {
                        return Ok(true);
                    }
                    within(connection.ping()).await.map(|()| true)
                })
            })
            // One that doesn't answer would take up its place in the pool for as long as TCP hopes.
            .after_release(|connection, _| Box::pin(async move { within(connection.ping()).await.map(|()| true) }))
            .connect_lazy_with(options);
        Ok(Self { pool, lost: Arc::new(AtomicBool::new(false)) })
    }

    pub(crate) async fn acquire(&self) -> Result<PoolConnection<Postgres>, Error> {
        self.reach(self.pool.acquire()).await
    }

    pub(crate) async fn begin(&self, begin: &'static str) -> Result<Transaction<'static, Postgres>, Error> {
        self.reach(within(self.pool.begin_with(begin))).await
    }

    async fn reach<T>(&self, connection: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        if self.lost.load(Ordering::Relaxed) {
            return Err(silence());
        }
        let outcome = connection.await;
        if let Err(error) = &outcome
            && !self.lost.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(%error, "PostgreSQL can't be reached");
            tokio::spawn(find_again(self.pool.clone(), Arc::downgrade(&self.lost)));
        }
        outcome
    }
}

/// Tries to connect until the server answers, or nobody is left to use it. Not by the pool, which tries ever more rarely.
async fn find_again(pool: PgPool, lost: Weak<AtomicBool>) {
    while let Some(lost) = lost.upgrade() {
        if let Ok(connection) = within(PgConnection::connect_with(&pool.connect_options())).await {
            lost.store(false, Ordering::Relaxed);
            tracing::info!("PostgreSQL is back");
            drop(connection.close().await);
            return;
        }
        drop(lost);
        sleep(SEARCH_PAUSE).await;
    }
}

/// The answer of the server, or an error if there is none for [`ANSWER_TIMEOUT`]: the connection is given up.
pub(crate) async fn within<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(ANSWER_TIMEOUT, answer).await.map_err(|_| silence())?
}

fn silence() -> Error {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "PostgreSQL doesn't answer").into()
}

/// Parameters of an address that the driver knows. It would pass over others, and with them what somebody believed to be set.
const PARAMETERS: [&str; 6] = ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "application_name"];

/// The options and the number of connections. The errors repeat nothing that could be a password.
fn parse(url: &str) -> Result<(PgConnectOptions, u32), MetaError> {
    let wrong = |what: &str| {
        let form = "postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full&max_connections=8";
        MetaError::Address(format!("{what}; it looks like {form}"))
    };
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mut connections = CONNECTIONS;
    let mut kept = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("max_connections", number)) => {
                let number = number.parse().ok().filter(|number| (1..=1000).contains(number));
                connections = number.ok_or_else(|| wrong("max_connections must be from 1 to 1000"))?;
            }
            Some((name, _)) if PARAMETERS.contains(&name) => kept.push(parameter),
            _ => return Err(wrong(&format!("parameters are max_connections, {}", PARAMETERS.join(", ")))),
        }
    }
    let options = PgConnectOptions::from_str(&format!("{base}?{}", kept.join("&")));
    let options = options.map_err(|_| wrong("it can't be read (special characters in a password are %-encoded)"))?;
    // Statements are logged by who runs them, if at all.
    Ok((options.disable_statement_logging(), connections))
}

/// Applies what is missing, each step all or nothing. Of two processes the second waits for the first and finds the work done.
async fn migrate(options: &PgConnectOptions) -> Result<(), MetaError> {
    let mut connection = timeout(ACQUIRE_TIMEOUT, options.connect()).await.map_err(|_| silence())??;
    let encoding: String = sqlx::query_scalar("SHOW server_encoding").fetch_one(&mut connection).await?;
    if encoding != "UTF8" {
        return Err(MetaError::Address(format!("the database's encoding must be UTF8, not {encoding}")));
    }
    let outcome =
        timeout(MIGRATION_TIMEOUT, MIGRATIONS.run_direct(None, &mut connection, false)).await.map_err(|_| silence())?;
    migrated(outcome, &MIGRATIONS)?;
    Ok(connection.close().await?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        conformance::{eventually, stand::Server},
        sql::Database,
    };

    #[test]
    fn an_address_says_how_many_connections_and_nothing_unknown() {
        let connections = |query: &str| parse(&format!("postgres://u:hush@db/x{query}")).map(|(_, number)| number);
        assert_eq!(connections("").unwrap(), CONNECTIONS);
        assert_eq!(connections("?max_connections=3&sslmode=disable").unwrap(), 3);
        for wrong in ["?max_connections=0", "?max_connections=x", "?ssl=hush", "?hush", "?sslmode=hush"] {
            let error = connections(wrong).unwrap_err().to_string();
            assert!(!error.contains("hush"), "{error}");
        }
        assert!(!parse("postgres://u:hu#sh@[db/x").unwrap_err().to_string().contains("hu"));
    }

    /// A process that stops in the middle of a transaction (SIGSTOP, a frozen machine) must not keep others from its partitions for ever.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_stopped_owner_does_not_keep_its_locks() {
        let server = Server::postgres();
        let open = async || Database::Postgres(PostgresDatabase::open(server.url()).await.unwrap());
        let (stopped, heir) = (open().await, open().await);
        let mut held = stopped.write().await.unwrap();
        held.lock("a partition".to_owned()).await.unwrap();
        eventually("the heir has the lock", async || {
            let mut transaction = heir.write().await.unwrap();
            transaction.lock("a partition".to_owned()).await.is_ok() && transaction.commit().await.is_ok()
        })
        .await;
        assert!(held.commit().await.is_err(), "it was ended before the heir got the lock");
    }
}
