//! The SQL of the metastore: the texts of the queries, the shapes of their rows, how they are run, and what the
//! driver's errors mean. The texts keep to what SQLite and PostgreSQL both understand.

/// A struct that is read from a row: a column of its name for each field. The driver's own macro would compile the driver, and SQLite
/// with it, once more for the compiler.
macro_rules! row {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($field_vis:vis $field:ident: $kind:ty,)+ }) => {
        $(#[$meta])*
        $vis struct $name { $($field_vis $field: $kind,)+ }

        impl<'r, R: sqlx::Row> sqlx::FromRow<'r, R> for $name
        where
            &'static str: sqlx::ColumnIndex<R>,
            $($kind: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,)+
        {
            fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
                Ok(Self { $($field: row.try_get(stringify!($field))?,)+ })
            }
        }
    };
}

pub(crate) mod audit;
pub(crate) mod brandings;
mod copy;
pub(crate) mod dashboards;
mod database;
pub(crate) mod directory;
pub(crate) mod erasures;
mod errors;
pub(crate) mod ledger;
pub(crate) mod metrics;
pub(crate) mod placements;
pub(crate) mod processes;
pub(crate) mod registry;
pub(crate) mod replays;
pub(crate) mod reports;
pub(crate) mod states;
pub(crate) mod usages;

pub(crate) use database::{Database, Statement, Transaction, query};
pub(crate) use errors::{migrated, taken};

use crate::MetaError;

/// A row that this program can't have written.
pub(crate) fn damaged(what: impl std::fmt::Display) -> MetaError {
    MetaError::Inconsistent(what.to_string())
}

/// What a query gathered into one text, in order: items with a comma between, of parts with a space between.
pub(crate) fn listed<const PARTS: usize, T: Ord>(
    list: Option<&str>,
    item: impl Fn([&str; PARTS]) -> Result<T, MetaError>,
) -> Result<Vec<T>, MetaError> {
    let items = list.into_iter().flat_map(|list| list.split(',')).map(|text| {
        let mut parts = text.splitn(PARTS, ' ');
        item(std::array::from_fn(|_| parts.next().unwrap_or_default()))
    });
    let mut items: Vec<T> = items.collect::<Result<_, _>>()?;
    items.sort_unstable(); // the databases give them in any order
    Ok(items)
}

/// Bytes as lower-case hex: how hashes, secrets and epochs are stored.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string can't fail");
        text
    })
}

/// The 32 bytes that [`hex`] wrote.
pub(crate) fn unhex(text: &str) -> Result<[u8; 32], MetaError> {
    let digits = text.as_bytes();
    let digit = |at: usize| digits.get(at).and_then(|d| char::from(*d).to_digit(16));
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        let (Some(high), Some(low)) = (digit(2 * at), digit(2 * at + 1)) else {
            return Err(damaged("32 bytes in hex were expected"));
        };
        *byte = (high << 4 | low) as u8;
    }
    if digits.len() == 64 { Ok(bytes) } else { Err(damaged("32 bytes in hex were expected")) }
}
