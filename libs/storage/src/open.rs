use std::{path::Path, sync::Arc};

use crate::{
    MetaError, Metastore, metastore::SqlMetastore, postgres::PostgresDatabase, sql::Database, sqlite::SqliteDatabase,
};

/// Opens the metastore at `url` and brings its tables up to date.
///
/// `sqlite:PATH` and `sqlite://PATH` name a file, which is made with its folder if it isn't there.
/// `postgres://USER:PASSWORD@HOST:PORT/DATABASE` names a database that must be there; `sslmode`, `sslrootcert`, `sslcert`,
/// `sslkey`, `host` (a socket's directory) and `application_name` mean what they do to other clients, and `max_connections`
/// is how many connections this process opens at most (8).
///
/// Every process that opens the same address shares what it keeps. `Address` for anything else, without what may be a
/// password; `TooNew` if a newer program has been here; `Unavailable` within seconds if nobody answers.
pub async fn open(url: &str) -> Result<Arc<dyn Metastore>, MetaError> {
    let database = match url.split_once(':') {
        Some(("sqlite", path)) => {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.contains(['?', '#']) || path.contains(":memory:") {
                let what = "needs the path of a file after sqlite:, without parameters";
                return Err(MetaError::Address(format!("{url:?} {what}")));
            }
            Database::Sqlite(SqliteDatabase::open(Path::new(path)).await?)
        }
        Some(("postgres" | "postgresql", _)) => Database::Postgres(PostgresDatabase::open(url).await?),
        // The rest of the address may hold a password.
        other => {
            let scheme = other.map_or("", |(scheme, _)| scheme);
            let what = format!("unknown kind of metastore {scheme:?}; use sqlite:PATH or postgres://...");
            return Err(MetaError::Address(what));
        }
    };
    Ok(Arc::new(SqlMetastore::new(database)))
}
