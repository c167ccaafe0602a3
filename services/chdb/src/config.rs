//! What the warehouse process is told: where it stores, where it listens, and its bounds.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::cold::{BackupStore, ColdStore};

/// Settings of one warehouse process. [`ChdbConfig::new`] gives the defaults named at each field.
#[derive(Clone, Debug)]
pub struct ChdbConfig {
    /// `libchdb.so`.
    pub library: PathBuf,
    /// Directory of the data, the lock and the generated engine configuration; created if absent.
    pub data_dir: PathBuf,
    /// Where HTTP is served; default `127.0.0.1:8123`. Only a loopback address is accepted: the interface trusts who
    /// reaches it, and [`access_key`](Self::access_key) is a fence between local users, not a wall to the outside.
    pub listen: SocketAddr,
    /// If set, a request must carry it (`X-ClickHouse-Key`, basic authentication's password or `?password=`).
    pub access_key: Option<String>,
    /// Queries that may run at once; default 32.
    pub max_concurrent_queries: usize,
    /// Queries that may wait for a place beyond those; the next is refused with 503. Default 64.
    pub max_waiting_queries: usize,
    /// The longest wait for a place; default 5 s.
    pub max_wait: Duration,
    /// The engine's bound on all memory it tracks, in bytes; default 4 GiB.
    pub max_server_memory_bytes: u64,
    /// The bound on one query's memory unless its request sets `max_memory_usage`, in bytes; default 2 GiB. An insert's
    /// block counts against it, since an insert is one block for each partition.
    pub max_query_memory_bytes: u64,
    /// The longest statement in bytes, an insert's data not counted; default 1 MiB.
    pub max_statement_bytes: usize,
    /// How much of a result is held back so that its headers can tell how the query ended, in bytes; default 64 KiB.
    pub held_result_bytes: usize,
    /// The same with `wait_end_of_query=1`: larger results start to stream there. Default 32 MiB.
    pub waited_result_bytes: usize,
    /// The longest silence of a client that is sending a body; default 5 min.
    pub receive_timeout: Duration,
    /// How long running queries may go on once a stop is asked for, before they are killed; default 10 s.
    pub drain_timeout: Duration,
    /// How long to wait for another process to let go of `data_dir`; default 30 s.
    pub lock_timeout: Duration,
    /// Finished queries that `GET /query_log` remembers; default 1000.
    pub query_log_entries: usize,
    /// Table functions and engines that reach outside and are nevertheless allowed, such as `s3` or `S3`; default none.
    pub allowed_external: Vec<String>,
    /// Where tables with the storage policy `penstock` have their volume `cold`; default none: the policy isn't there.
    pub cold: Option<ColdStore>,
    /// Where `BACKUP` writes, as the disk `backups`; default none: there is no such disk.
    pub backups: Option<BackupStore>,
    /// XML elements to put into the engine's configuration file (`remote_servers`, caches).
    pub engine_config: String,
    /// Exit when standard input ends, so that a supervised process never outlives its parent; default false.
    pub exit_with_stdin: bool,
}

impl ChdbConfig {
    /// The defaults, over `library` and `data_dir`.
    pub fn new(library: impl Into<PathBuf>, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            library: library.into(),
            data_dir: data_dir.into(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8123)),
            access_key: None,
            max_concurrent_queries: 32,
            max_waiting_queries: 64,
            max_wait: Duration::from_secs(5),
            max_server_memory_bytes: 4 << 30,
            max_query_memory_bytes: 2 << 30,
            max_statement_bytes: 1 << 20,
            held_result_bytes: 64 << 10,
            waited_result_bytes: 32 << 20,
            receive_timeout: Duration::from_secs(300),
            drain_timeout: Duration::from_secs(10),
            lock_timeout: Duration::from_secs(30),
            query_log_entries: 1000,
            allowed_external: Vec::new(),
            cold: None,
            backups: None,
            engine_config: String::new(),
            exit_with_stdin: false,
        }
    }
}

/// Why the process can't start or go on. What goes wrong in a query is told to its client instead.
#[derive(Debug, thiserror::Error)]
pub enum ChdbError {
    /// The library can't be loaded or refuses the data directory.
    #[error(transparent)]
    Engine(#[from] crate::ffi::FfiError),
    /// A statement of the start failed.
    #[error("the engine failed to start: {0}")]
    Boot(crate::error::QueryError),
    /// The data directory can't be used.
    #[error("can't use {path}: {source}")]
    DataDir {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process holds the data directory.
    #[error("{0} is in use by another process")]
    Locked(PathBuf),
    /// The address is not loopback.
    #[error("{0} is not a loopback address")]
    NotLoopback(SocketAddr),
    /// The address can't be bound.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}
