//! The log's directory: how it is locked, made, and found again.
//!
//! ```text
//! DIR/lock        held by the process that has the log open
//! DIR/v1/records  the storage engine's files
//! DIR/v1/ends     the acknowledged ends (see `store`); `ends.new` while there become more
//! DIR/v1/floor    the lease of the clock (see `timeline`)
//! DIR/making/     a log half made by a process that died; thrown away
//! ```
//!
//! `v1` appears by a rename when everything in it is durable, so a log is there whole or not at all.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use super::fault;
use crate::LogError;

/// The directory, locked as long as this lives.
#[derive(Debug)]
pub(super) struct Layout {
    dir: PathBuf,
    _lock: File,
}

impl Layout {
    /// Makes the directory if need be and locks it.
    pub(super) fn lock(dir: &Path) -> Result<Self, LogError> {
        let unusable = |error: io::Error| LogError::Config(format!("{} can't hold a log: {error}", dir.display()));
        fs::create_dir_all(dir).map_err(unusable)?;
        let path = dir.join("lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir: dir.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(LogError::Config(format!(
                "the log in {} is open already, here or in another process",
                dir.display()
            ))),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }

    /// Where the log's parts lie. If there is no log yet, `make` fills an empty directory with one.
    pub(super) fn find_or_make(&self, make: impl FnOnce(&Path) -> Result<(), LogError>) -> Result<PathBuf, LogError> {
        let place = self.dir.join("v1");
        let io_error = |error| fault::file("making the log", error);
        if !place.try_exists().map_err(io_error)? {
            let making = self.dir.join("making");
            if making.try_exists().map_err(io_error)? {
                fs::remove_dir_all(&making).map_err(io_error)?;
            }
            fs::create_dir(&making).map_err(io_error)?;
            make(&making)?;
            sync_dir(&making).map_err(io_error)?;
            fs::rename(&making, &place).map_err(io_error)?;
            sync_dir(&self.dir).map_err(io_error)?;
        }
        Ok(place)
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
