//! Made events for Penstock.
//!
//! `loadgen bench` starts a Penstock of its own and measures it, with
//! the raw engine beside it in the same run: see [`bench`]. `loadgen soak` looks whether one goes on for long as it began.

mod args;
mod bench;
mod connection;
mod error;
mod publish;

use std::{io::Write, process::ExitCode};

use args::{Cli, Command};
use clap::Parser;
use error::LoadError;

/// Many small pieces of every event are made on one thread and let go of on another, which the C library's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.map_err(LoadError::io("can't start the runtime")).and_then(|runtime| {
        runtime.block_on(async {
            let mut out = std::io::stdout();
            match &cli.command {
                Command::Soak(arguments) => bench::soak::run(arguments, &mut out).await,
                Command::Bench(arguments) => bench::run(arguments, &mut out).await,
            }
        })
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "loadgen: {error}"); // there is nowhere else to say it
            ExitCode::FAILURE
        }
    }
}
