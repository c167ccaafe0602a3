//! The embedded log passes the suite: with the machine's clock, and with one that jumps to and fro.

#![allow(clippy::unwrap_used)]

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use async_trait::async_trait;
use eventlog::{
    Clock, EmbeddedLog, EventLog, LogOptions,
    conformance::{Factory, PARTITIONS},
    system_clock,
};
use tempfile::TempDir;

struct Directory {
    dir: TempDir,
    options: LogOptions,
    clock: Clock,
}

impl Directory {
    fn new(clock: Clock, cache_bytes: usize) -> Self {
        let options = LogOptions { partitions: PARTITIONS, cache_bytes, ..LogOptions::default() };
        Self { dir: tempfile::tempdir().unwrap(), options, clock }
    }

    fn log_dir(&self) -> PathBuf {
        self.dir.path().join("some/log")
    }
}

#[async_trait]
impl Factory for Directory {
    async fn make(&self) -> Arc<dyn EventLog> {
        assert!(!self.log_dir().exists());
        self.reopen().await
    }

    async fn reopen(&self) -> Arc<dyn EventLog> {
        Arc::new(EmbeddedLog::open(&self.log_dir(), &self.options, Arc::clone(&self.clock)).await.unwrap())
    }
}

/// As it is opened by its URL.
struct Opened(Directory);

#[async_trait]
impl Factory for Opened {
    async fn make(&self) -> Arc<dyn EventLog> {
        self.reopen().await
    }

    async fn reopen(&self) -> Arc<dyn EventLog> {
        let url = format!("embedded:{}", self.0.log_dir().display());
        eventlog::open(&url, &self.0.options, None).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_grows() {
    eventlog::conformance::a_log_grows(&Opened(Directory::new(system_clock(), 1 << 20))).await;
}

/// Goes forth by 700 ms and back by 500 in turn, so it falls at every other reading.
fn jumping_clock() -> Clock {
    let turn = AtomicI64::new(0);
    Arc::new(move || {
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        1_700_000_000_000 + 100 * turn + 600 * (turn % 2)
    })
}

mod from_memory {
    use super::*;
    eventlog::conformance_tests!(Directory::new(system_clock(), 64 << 20));
}

mod from_disk {
    use super::*;
    eventlog::conformance_tests!(Directory::new(system_clock(), 0));
}

mod by_a_jumping_clock {
    use super::*;
    eventlog::conformance_tests!(Directory::new(jumping_clock(), 1 << 10));
}
