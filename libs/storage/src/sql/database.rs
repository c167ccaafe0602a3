//! One way to run a statement on either database. Where they differ stands here, and in how each is opened.

use sqlx::{Error, FromRow, PgConnection, Postgres, Sqlite, SqliteConnection, postgres::PgRow, sqlite::SqliteRow};

use crate::{
    postgres::{PostgresDatabase, within},
    sqlite::SqliteDatabase,
};

/// A statement and its parameters.
pub(crate) struct Statement {
    text: &'static str,
    values: Vec<Value>,
}

/// Every column is text or a number.
pub(crate) enum Value {
    Text(Option<String>),
    Number(Option<i64>),
}

/// A statement whose parameters `$1`, `$2`.. are bound in this order.
pub(crate) fn query(text: &'static str) -> Statement {
    Statement { text, values: Vec::new() }
}

impl Statement {
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(Some(text.clone()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

/// What a row of either database can be read as.
pub(crate) trait Row: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}
impl<T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin> Row for T {}

/// The database of a metastore.
pub(crate) enum Database {
    Sqlite(SqliteDatabase),
    Postgres(PostgresDatabase),
}

impl Database {
    /// Runs a statement that writes, as a transaction of its own. Returns how many rows it changed.
    pub(crate) async fn execute(&self, statement: Statement) -> Result<u64, Error> {
        match self {
            Self::Sqlite(database) => Connection::Sqlite(&mut *database.writer().await?).execute(statement).await,
            Self::Postgres(database) => Connection::Postgres(&mut *database.acquire().await?).execute(statement).await,
        }
    }

    /// Reads all rows.
    pub(crate) async fn fetch_all<R: Row>(&self, statement: Statement) -> Result<Vec<R>, Error> {
        match self {
            Self::Sqlite(database) => Connection::Sqlite(&mut *database.reader().await?).fetch_all(statement).await,
            Self::Postgres(database) => {
                Connection::Postgres(&mut *database.acquire().await?).fetch_all(statement).await
            }
        }
    }

    /// Reads the first row.
    pub(crate) async fn fetch_optional<R: Row>(&self, statement: Statement) -> Result<Option<R>, Error> {
        Ok(self.fetch_all(statement).await?.into_iter().next())
    }

    /// A transaction that may write. In SQLite it has the one write lock from here on. In PostgreSQL each of its statements sees
    /// what was committed before the statement, rows that it writes are locked until its end, and [`Transaction::lock`] serialises what rows can't.
    pub(crate) async fn write(&self) -> Result<Transaction, Error> {
        match self {
            Self::Sqlite(database) => database.begin_write().await.map(Transaction::Sqlite),
            Self::Postgres(database) => {
                database.begin("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await.map(Transaction::Postgres)
            }
        }
    }
}

/// Several statements that take effect together, at [`Transaction::commit`], or not at all.
pub(crate) enum Transaction {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Transaction {
    pub(crate) async fn execute(&mut self, statement: Statement) -> Result<u64, Error> {
        self.connection().execute(statement).await
    }

    pub(crate) async fn fetch_all<R: Row>(&mut self, statement: Statement) -> Result<Vec<R>, Error> {
        self.connection().fetch_all(statement).await
    }

    pub(crate) async fn fetch_optional<R: Row>(&mut self, statement: Statement) -> Result<Option<R>, Error> {
        Ok(self.fetch_all(statement).await?.into_iter().next())
    }

    /// Waits for other transactions that hold this name, and holds it until the end. For decisions over rows that may not be
    /// there yet, which no row's lock guards. SQLite's writers wait for one another anyway.
    pub(crate) async fn lock(&mut self, name: String) -> Result<(), Error> {
        if let Self::Postgres(_) = self {
            self.execute(query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))").bind(name)).await?;
        }
        Ok(())
    }

    pub(crate) async fn commit(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await,
            Self::Postgres(transaction) => within(transaction.commit()).await,
        }
    }

    fn connection(&mut self) -> Connection<'_> {
        match self {
            Self::Sqlite(transaction) => Connection::Sqlite(transaction),
            Self::Postgres(transaction) => Connection::Postgres(transaction),
        }
    }
}

enum Connection<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

/// `query` or `query_as` of sqlx with the statement's parameters.
macro_rules! bound {
    ($query:ident, $statement:expr) => {
        $statement.values.into_iter().fold(sqlx::$query($statement.text), |query, value| match value {
            Value::Text(text) => query.bind(text),
            Value::Number(number) => query.bind(number),
        })
    };
}

impl Connection<'_> {
    async fn execute(self, statement: Statement) -> Result<u64, Error> {
        match self {
            Self::Sqlite(connection) => Ok(bound!(query, statement).execute(connection).await?.rows_affected()),
            Self::Postgres(connection) => {
                Ok(within(bound!(query, statement).execute(connection)).await?.rows_affected())
            }
        }
    }

    async fn fetch_all<R: Row>(self, statement: Statement) -> Result<Vec<R>, Error> {
        match self {
            Self::Sqlite(connection) => bound!(query_as, statement).fetch_all(connection).await,
            Self::Postgres(connection) => within(bound!(query_as, statement).fetch_all(connection)).await,
        }
    }
}
