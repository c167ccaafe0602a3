//! The warehouse process on its own: for operators, and for tests.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chdb::ChdbConfig;
use clap::Parser;

/// Serves ClickHouse's HTTP interface over an embedded engine, on loopback.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The engine's shared library.
    #[arg(long, env = "PENSTOCK_ENGINE")]
    engine: PathBuf,
    /// Directory of the data.
    #[arg(long)]
    data_dir: PathBuf,
    /// Address to listen on; loopback only.
    #[arg(long, default_value = "127.0.0.1:8123")]
    listen: SocketAddr,
    /// Key that requests must carry.
    #[arg(long, env = "PENSTOCK_CHDB_ACCESS_KEY", hide_env_values = true)]
    access_key: Option<String>,
    /// Queries that may run at once.
    #[arg(long, default_value_t = 32)]
    max_concurrent_queries: usize,
    /// Queries that may wait for a place.
    #[arg(long, default_value_t = 64)]
    max_waiting_queries: usize,
    /// Longest wait for a place, in milliseconds.
    #[arg(long, default_value_t = 5000)]
    max_wait_ms: u64,
    /// Memory of the whole engine, in bytes.
    #[arg(long, default_value_t = 4 << 30)]
    max_server_memory_bytes: u64,
    /// Memory of one query, in bytes.
    #[arg(long, default_value_t = 2 << 30)]
    max_query_memory_bytes: u64,
    /// A table function or engine that reaches outside and is allowed; may be repeated.
    #[arg(long)]
    allow_external: Vec<String>,
    /// How long running queries may go on after SIGTERM, in milliseconds.
    #[arg(long, default_value_t = 10_000)]
    drain_timeout_ms: u64,
    /// End when standard input ends.
    #[arg(long)]
    exit_with_stdin: bool,
}

fn main() {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::INFO).init();
    let config = ChdbConfig {
        listen: arguments.listen,
        access_key: arguments.access_key,
        max_concurrent_queries: arguments.max_concurrent_queries,
        max_waiting_queries: arguments.max_waiting_queries,
        max_wait: Duration::from_millis(arguments.max_wait_ms),
        max_server_memory_bytes: arguments.max_server_memory_bytes,
        max_query_memory_bytes: arguments.max_query_memory_bytes,
        allowed_external: arguments.allow_external,
        drain_timeout: Duration::from_millis(arguments.drain_timeout_ms),
        exit_with_stdin: arguments.exit_with_stdin,
        ..ChdbConfig::new(arguments.engine, arguments.data_dir)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(chdb::run(config)).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = &result {
        tracing::error!(error, "the warehouse can't run");
    }
    chdb::exit(i32::from(result.is_err()))
}
