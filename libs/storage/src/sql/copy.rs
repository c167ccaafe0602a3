//! Everything of a metastore as a SQLite file, and out of such a file: how it is backed up, restored, and moved from one database to the other.
//!
//! Both databases have the same tables, and every column is text or a number. So a file that was made of PostgreSQL is one that was made of
//! SQLite, whatever a metastore is made of it later.

use std::{fmt::Write, path::Path};

use futures::TryStreamExt;
use sqlx::{
    AssertSqlSafe, Connection, Error, PgConnection, Row, Sqlite, SqliteConnection, Transaction, postgres::PgRow,
    sqlite::SqliteRow,
};

use super::{
    database::{Database, Value},
    ledger, states,
};
use crate::{
    MetaError,
    postgres::{PostgresDatabase, within},
    sqlite,
};

/// As much is sent to PostgreSQL at a time.
const PIECE_BYTES: usize = 256 << 10;

/// A table of the schema.
struct Table {
    name: String,
    columns: Vec<(String, Kind)>,
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
}

impl Table {
    /// Their names with commas between.
    fn columns(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        names.join(", ")
    }

    fn select(&self) -> String {
        format!("SELECT {} FROM \"{}\"", self.columns(), self.name)
    }

    fn insert(&self) -> String {
        let values: Vec<_> = (1..=self.columns.len()).map(|number| format!("${number}")).collect();
        format!("INSERT INTO \"{}\" ({}) VALUES ({})", self.name, self.columns(), values.join(", "))
    }
}

/// The values of a row of either database.
macro_rules! values {
    ($table:expr, $row:expr) => {
        $table.columns.iter().enumerate().map(|(at, (_, kind))| match kind {
            Kind::Text => $row.try_get(at).map(Value::Text),
            Kind::Number => $row.try_get(at).map(Value::Number),
        })
    };
}

impl Database {
    /// Everything as of one instant but states and marks, into a new file; writers go on meanwhile.
    pub(crate) async fn copy_into(&self, into: &Path) -> Result<(), MetaError> {
        if let Self::Sqlite(database) = self {
            database.copy_into(into).await?;
        }
        let mut file = sqlite::file(into).await?;
        if let Self::Postgres(database) = self {
            let mut whole = file.begin().await?;
            read_postgres(database, &mut whole).await?;
            whole.commit().await?;
        }
        for statement in [states::NEXT_LIVES, states::FORGET_ALL, ledger::UNMARK_ALL] {
            sqlx::query(statement).execute(&mut file).await?;
        }
        Ok(file.close().await?)
    }

    /// Whether nothing was ever kept here.
    pub(crate) async fn is_empty(&self) -> Result<bool, MetaError> {
        // Whoever serves makes a secret first.
        let counted = super::query(
            "SELECT (SELECT COUNT(*) FROM secrets) + (SELECT COUNT(*) FROM tenants) + (SELECT COUNT(*) FROM ledger_partitions)",
        );
        Ok(self.fetch_optional::<(i64,)>(counted).await? == Some((0,)))
    }

    /// Everything of such a file, which may be of an older program: all or nothing.
    pub(crate) async fn fill(&self, from: &Path) -> Result<(), MetaError> {
        let mut file = sqlite::file(from).await?;
        match self {
            Self::Sqlite(database) => {
                let mut transaction = database.begin_write().await?;
                for table in tables(&mut file).await? {
                    let mut rows = sqlx::query(AssertSqlSafe(table.select())).fetch(&mut file);
                    while let Some(row) = rows.try_next().await? {
                        insert(&mut transaction, &table, values!(table, row)).await?;
                    }
                }
                transaction.commit().await?;
            }
            Self::Postgres(database) => {
                let mut transaction = database.begin("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await?;
                take_time(&mut transaction).await?;
                for table in tables(&mut file).await? {
                    write_postgres(&mut transaction, &table, &mut file).await?;
                }
                within(transaction.commit()).await?;
            }
        }
        Ok(file.close().await?)
    }
}

/// Those whose rows others refer to come first.
async fn tables(file: &mut SqliteConnection) -> Result<Vec<Table>, Error> {
    let names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' AND name <> '_sqlx_migrations'";
    let mut left: Vec<String> = sqlx::query_scalar(names).fetch_all(&mut *file).await?;
    let mut tables: Vec<Table> = Vec::new();
    while !left.is_empty() {
        let before = left.len();
        for name in std::mem::take(&mut left) {
            let of = "SELECT DISTINCT \"table\" FROM pragma_foreign_key_list($1)";
            let of: Vec<String> = sqlx::query_scalar(of).bind(&name).fetch_all(&mut *file).await?;
            if !of.iter().all(|of| *of == name || tables.iter().any(|table| table.name == *of)) {
                left.push(name);
                continue;
            }
            let columns = "SELECT name, type FROM pragma_table_info($1) ORDER BY cid";
            let columns: Vec<(String, String)> = sqlx::query_as(columns).bind(&name).fetch_all(&mut *file).await?;
            let kind = |declared: &str| if declared == "TEXT" { Kind::Text } else { Kind::Number };
            let columns = columns.into_iter().map(|(name, declared)| (name, kind(&declared))).collect();
            tables.push(Table { name, columns });
        }
        if left.len() == before {
            return Err(Error::Protocol(format!("the tables {left:?} refer to one another")));
        }
    }
    Ok(tables)
}

async fn insert(
    into: &mut Transaction<'_, Sqlite>,
    table: &Table,
    values: impl Iterator<Item = Result<Value, Error>>,
) -> Result<(), Error> {
    let mut query = sqlx::query(AssertSqlSafe(table.insert()));
    for value in values {
        query = match value? {
            Value::Text(text) => query.bind(text),
            Value::Number(number) => query.bind(number),
        };
    }
    query.execute(&mut **into).await.map(drop)
}

async fn read_postgres(database: &PostgresDatabase, into: &mut Transaction<'_, Sqlite>) -> Result<(), Error> {
    let mut snapshot = database.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    take_time(&mut snapshot).await?;
    for table in tables(into).await? {
        let mut rows = sqlx::query(AssertSqlSafe(table.select())).fetch(&mut *snapshot);
        while let Some(row) = rows.try_next().await? {
            let row: PgRow = row;
            insert(into, &table, values!(table, row)).await?;
        }
    }
    snapshot.commit().await
}

async fn write_postgres(into: &mut PgConnection, table: &Table, file: &mut SqliteConnection) -> Result<(), Error> {
    let copy = format!("COPY \"{}\" ({}) FROM STDIN", table.name, table.columns());
    let (mut copy, mut piece) = (into.copy_in_raw(&copy).await?, String::new());
    let mut rows = sqlx::query(AssertSqlSafe(table.select())).fetch(file);
    while let Some(row) = rows.try_next().await? {
        let row: SqliteRow = row;
        for (at, value) in values!(table, row).enumerate() {
            if at > 0 {
                piece.push('\t');
            }
            match value? {
                Value::Text(Some(text)) => escaped(&text, &mut piece),
                Value::Number(Some(number)) => drop(write!(piece, "{number}")), // into memory
                Value::Text(None) | Value::Number(None) => piece.push_str("\\N"),
            }
        }
        piece.push('\n');
        if piece.len() > PIECE_BYTES {
            copy.send(std::mem::take(&mut piece).as_bytes()).await?;
        }
    }
    copy.send(piece.as_bytes()).await?;
    copy.finish().await.map(drop)
}

/// As PostgreSQL's COPY reads it.
fn escaped(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
}

/// What is large takes longer than a statement may.
async fn take_time(connection: &mut PgConnection) -> Result<(), Error> {
    for limit in ["statement_timeout", "idle_in_transaction_session_timeout"] {
        let set = sqlx::query("SELECT set_config($1, '0', true)").bind(limit);
        within(set.execute(&mut *connection)).await?;
    }
    Ok(())
}
