//! The embedded warehouse: libchdb behind ClickHouse's HTTP interface, in a process of its own.
//!
//! # The path of a query
//! A request's head becomes a `request`, waits for a place (`admission`), claims its query id
//! (`running`) and goes to a blocking thread (`execute`). There its statement is split (`statement`), judged
//! (`guard`) and run on a fresh engine connection (`engine`). A SELECT writes into a pipe that the async side reads
//! as fast as the client does (`response`); an insert's body flows the other way (`body`). When the client hangs up,
//! the query is killed. Each query leaves a line in the `query_log`,
//! and a span in its caller's trace if that is sampled.
//!
//! # What differs from a ClickHouse server
//! - `system.processes` shows the engine's own ids; ours stand in `Settings['log_comment']`. `KILL QUERY WHERE query_id =
//!   ...` is rewritten to that and always runs ASYNC. `GET /query_log` takes the place of `system.query_log`.
//! - No users, roles, external tables or temporary tables; sessions keep SET and USE.
//! - What reaches outside the database is refused: see [`ChdbConfig::allowed_external`].
//! - An insert is one block: atomic in each partition, held in memory until its end.
//! - With `wait_end_of_query=1` a result beyond [`ChdbConfig::waited_result_bytes`] streams all the same; an error then
//!   comes as the exception tag, as in any streamed result.

mod admission;
mod block;
mod body;
mod cold;
mod config;
mod encoding;
mod engine;
mod error;
mod execute;
mod fail_stop;
mod ffi;
mod flush;
mod guard;
mod lexer;
mod merges;
mod multipart;
mod query_log;
mod request;
mod response;
mod running;
mod server;
mod session;
mod statement;
mod supervisor;

pub use cold::{BackupStore, ColdStore};
pub use config::{ChdbConfig, ChdbError};
pub use engine::find_library;
pub use error::QueryError;
pub use ffi::FfiError;
pub use server::Server;
pub use supervisor::{Health, Supervisor, SupervisorConfig};

use tokio::signal::unix::{SignalKind, signal};

/// Runs the warehouse process: serves until SIGTERM or SIGINT, then stops in order. Call it from a multi-threaded
/// runtime in a process that does nothing else, and end that process with [`exit`].
pub async fn run(config: ChdbConfig) -> Result<(), ChdbError> {
    if config.exit_with_stdin {
        std::thread::spawn(exit_with_stdin);
    }
    let address = config.listen;
    let listen = |source| ChdbError::Listen { address, source };
    let mut terminate = signal(SignalKind::terminate()).map_err(listen)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(listen)?;
    fail_stop::arm();
    let server = Server::start(config).await?;
    server
        .serve(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await;
    Ok(())
}

/// Ends the process without running the engine's global destructors, which may abort while its threads still run.
pub fn exit(status: i32) -> ! {
    ffi::exit_now(status)
}

/// The parent holds the other end of standard input for its life, so its end, however it comes, is an end of file here.
/// Acknowledged inserts are on disk; nothing has to be said to anyone: the process just goes, and its lock with it.
fn exit_with_stdin() {
    let mut buffer = [0; 64];
    loop {
        match std::io::Read::read(&mut std::io::stdin(), &mut buffer) {
            Ok(0) => break,
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => break,
            Ok(_) | Err(_) => {}
        }
    }
    tracing::warn!("the parent process is gone");
    exit(0)
}
