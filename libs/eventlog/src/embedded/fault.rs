//! What the storage engine's errors mean to a user of the log.

use std::io;

use crate::LogError;

/// Bytes that aren't what was written are damage; everything else may pass when the disk or the process does.
pub(super) fn storage(place: &str, error: fjall::Error) -> LogError {
    use fjall::{Error, LsmError};
    match error {
        Error::Io(error) | Error::Storage(LsmError::Io(error)) => file(place, error),
        Error::Storage(_)
        | Error::JournalRecovery(_)
        | Error::InvalidVersion(_)
        | Error::Decompress(_)
        | Error::InvalidTrailer
        | Error::InvalidTag(_)
        | Error::Unrecoverable => LogError::Damaged(format!("{place}: {error}")),
        _ => LogError::Unavailable(format!("{place}: {error}")),
    }
}

/// The same for plain files.
pub(super) fn file(place: &str, error: io::Error) -> LogError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::NotFound => {
            LogError::Damaged(format!("{place}: {error}"))
        }
        _ => LogError::Unavailable(format!("{place}: {error}")),
    }
}
