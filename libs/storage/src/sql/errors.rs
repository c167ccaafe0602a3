//! What the driver's errors mean to a caller.

use sqlx::{
    Error,
    error::{DatabaseError, ErrorKind},
    migrate::{MigrateError, Migrator},
};

use crate::{LedgerError, MetaError, RegistryError};

impl From<Error> for MetaError {
    fn from(error: Error) -> Self {
        match &error {
            Error::ColumnDecode { .. }
            | Error::Decode(_)
            | Error::ColumnNotFound(_)
            | Error::TypeNotFound { .. }
            | Error::RowNotFound => Self::Inconsistent(error.to_string()),
            Error::Database(database) if is_defect(&**database) => Self::Inconsistent(error.to_string()),
            _ => {
                metrics::counter!("penstock_metastore_failures_total").increment(1);
                Self::Unavailable(error.to_string())
            }
        }
    }
}

/// A broken constraint that the statement didn't expect, a statement that doesn't fit the tables (PostgreSQL's class 42), a value
/// that doesn't fit its type (22): a defect of ours or a foreign hand.
fn is_defect(error: &dyn DatabaseError) -> bool {
    let code = error.code().unwrap_or_default();
    let is_class = |class: &str| code.len() == 5 && code.starts_with(class);
    let is_constraint = error.constraint().is_some() || !matches!(error.kind(), ErrorKind::Other);
    is_constraint || is_class("42") || is_class("22")
}

impl From<Error> for LedgerError {
    fn from(error: Error) -> Self {
        Self::Meta(error.into())
    }
}

impl From<Error> for RegistryError {
    fn from(error: Error) -> Self {
        Self::Meta(error.into())
    }
}

/// What came of bringing the tables up to date.
pub(crate) fn migrated(outcome: Result<(), MigrateError>, migrator: &Migrator) -> Result<(), MetaError> {
    outcome.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        MigrateError::VersionMissing(found) => {
            let known = migrator.iter().map(|migration| migration.version).max().unwrap_or(0);
            MetaError::TooNew { found, known }
        }
        error => MetaError::Inconsistent(error.to_string()),
    })
}

/// Turns the violation of a unique constraint into the error that it means here.
pub(crate) fn taken(error: Error, meaning: impl FnOnce() -> MetaError) -> MetaError {
    match &error {
        Error::Database(database) if database.is_unique_violation() => meaning(),
        _ => error.into(),
    }
}
