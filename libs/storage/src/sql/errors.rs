//! What the driver's errors mean to a caller.

use sqlx::Error;

use crate::{LedgerError, MetaError, RegistryError};

impl From<Error> for MetaError {
    fn from(error: Error) -> Self {
        match &error {
            Error::ColumnDecode { .. }
            | Error::Decode(_)
            | Error::ColumnNotFound(_)
            | Error::TypeNotFound { .. }
            | Error::RowNotFound => Self::Inconsistent(error.to_string()),
            // A broken constraint that the statement didn't expect: a defect of ours or a foreign hand.
            Error::Database(database) if database.constraint().is_some() || is_constraint(database.kind()) => {
                Self::Inconsistent(error.to_string())
            }
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

fn is_constraint(kind: sqlx::error::ErrorKind) -> bool {
    !matches!(kind, sqlx::error::ErrorKind::Other)
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

/// Turns the violation of a unique constraint into the error that it means here.
pub(crate) fn taken(error: Error, meaning: impl FnOnce() -> MetaError) -> MetaError {
    match &error {
        Error::Database(database) if database.is_unique_violation() => meaning(),
        _ => error.into(),
    }
}
