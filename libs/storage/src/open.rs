use std::{path::Path, sync::Arc};

use crate::{MetaError, Metastore, sqlite::SqliteMetastore};

/// Opens the metastore at `url` and brings its tables up to date.
///
/// `sqlite:PATH` and `sqlite://PATH` name a file, which is made with its folder if it isn't there. Every process that
/// opens the same file shares what it keeps. `Address` for anything else.
pub async fn open(url: &str) -> Result<Arc<dyn Metastore>, MetaError> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path.contains(['?', '#']) || path.contains(":memory:") {
            let what = "needs the path of a file after sqlite:, without parameters";
            return Err(MetaError::Address(format!("{url:?} {what}")));
        }
        return Ok(Arc::new(SqliteMetastore::open(Path::new(path)).await?));
    }
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    Err(MetaError::Address(match scheme {
        // The rest of the address may hold a password.
        "postgres" | "postgresql" => "this build has no PostgreSQL backend yet; use sqlite:PATH".to_owned(),
        _ => format!("unknown kind of metastore {scheme:?}; use sqlite:PATH"),
    }))
}
