#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use super::{Clock, EmbeddedLog, system_clock};
use crate::{EventLog, LogError, LogOptions};

mod broken_disk;
mod damage;
mod power_cut;
mod restart;

fn options() -> LogOptions {
    LogOptions { partitions: 2, cache_bytes: 0, ..LogOptions::default() }
}

async fn open(dir: &Path) -> Result<EmbeddedLog, LogError> {
    EmbeddedLog::open(dir, &options(), system_clock()).await
}

/// A clock that a test sets.
fn set_clock(time_ms: &Arc<AtomicI64>) -> Clock {
    let time_ms = Arc::clone(time_ms);
    Arc::new(move || time_ms.load(Ordering::Relaxed))
}

/// Copies a directory. Of a log that is open and at rest, the copy is what a `kill -9` would leave.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn journal(dir: &Path) -> PathBuf {
    dir.join("v1/records/0.jnl")
}

/// The journal's bytes without the zeros that it is filled up with.
fn journal_bytes(dir: &Path) -> Vec<u8> {
    let mut bytes = fs::read(journal(dir)).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(end);
    bytes
}
