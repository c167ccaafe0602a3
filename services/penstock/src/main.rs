//! The program: command line, and the roles that it starts. What stands on what is decided in [`wire`], nowhere else.

mod apart;
mod backup;
mod bootstrap;
mod certs;
mod cli;
mod client;
mod cluster;
mod cold;
mod config;
mod ops;
mod pulse;
mod roles;
mod services;
mod stores;
mod usage;
mod warehouse;
mod wire;

use std::{
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory, Parser};
use cli::{Cli, ClientCommand, Command, DoctorCommand};
use client::{Complaint, Show, complain};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Many small pieces of every event are made on one thread and let go of on another, which the C library's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Why the program ends without having done what was asked.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Config(#[from] config::ConfigError),
    #[error("{0}")]
    Start(#[from] wire::StartError),
    #[error("{0}")]
    Certs(#[from] certs::CertsError),
    #[error("{0}")]
    Client(#[from] client::ClientError),
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
}

impl Failure {
    /// Whether who reads what is written has had enough, as `head` has.
    fn is_unread(&self) -> bool {
        let (Self::Client(client::ClientError::Write(error)) | Self::Io { source: error, .. }) = self else {
            return false;
        };
        error.kind() == ErrorKind::BrokenPipe
    }

    fn complaint(&self) -> Complaint {
        match self {
            Self::Config(_) => Complaint::new("CONFIG", self.to_string()),
            Self::Start(_) => Complaint::new("START", self.to_string()),
            Self::Certs(_) => Complaint::new("CERTS", self.to_string()),
            Self::Client(error) => error.into(),
            Self::Io { .. } => Complaint::new("FILE", self.to_string()),
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
            complain(&Complaint::new("USAGE", error.render().to_string()), true);
            std::process::exit(error.exit_code());
        }
        error.exit()
    });
    let is_json = cli.json;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(cli)),
        Err(source) => Err(Failure::Io { what: "can't start the runtime".to_owned(), source }),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_unread() => ExitCode::SUCCESS,
        Err(failure) => {
            let complaint = failure.complaint();
            complain(&complaint, is_json);
            ExitCode::from(complaint.exit_code())
        }
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let mut show = Show::new(cli.json);
    match cli.command {
        Command::Serve(arguments) => {
            let config = arguments.config()?;
            allow_files();
            let _telemetry = wire::serve(&config, arguments.demo, stop_signal()?).await?;
            Ok(())
        }
        Command::Warehouse(arguments) => {
            let outcome = warehouse::run(arguments).await;
            if let Err(error) = &outcome {
                let _ = writeln!(io::stderr(), "penstock warehouse: {error}");
            }
            // The engine's own teardown may abort: see `chdb::exit`.
            chdb::exit(i32::from(outcome.is_err()))
        }
        Command::Certs(arguments) => {
            let made = certs::make(&arguments)?;
            Ok(made.iter().try_for_each(|identity| show.object(&json!(identity), &identity.to_string()))?)
        }
        Command::Config(arguments) => {
            let config = arguments.config()?.without_secrets();
            Ok(show.object(&json!(config), config.to_toml().trim_end())?)
        }
        Command::Restore { backup, arguments } => {
            let said = backup::restore(&arguments.config()?, &backup).await?;
            Ok(show.object(&json!({"backup_id": backup, "message": said.trim_end()}), said.trim_end())?)
        }
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "penstock", &mut text);
            print(&String::from_utf8_lossy(&text))
        }
        Command::Man { dir } => {
            let mut all = Cli::command().disable_help_subcommand(true);
            all.build();
            let pages = std::fs::create_dir_all(&dir).and_then(|()| manual(all, &dir));
            let pages =
                pages.map_err(|source| Failure::Io { what: format!("can't write to {}", dir.display()), source })?;
            let first = dir.join("penstock.1");
            let said = format!("{} pages are in {}: man -l {}", pages.len(), dir.display(), first.display());
            Ok(show.object(&json!({ "dir": dir, "pages": pages }), &said)?)
        }
        Command::Profile { command } => Ok(client::profile(command, &mut show).await?),
        Command::Login(arguments) => Ok(client::login(arguments, &mut show).await?),
        Command::Client(ClientCommand::Doctor { what: Some(DoctorCommand::Cluster(arguments)), .. }) => {
            Ok(client::doctor_cluster(&arguments.config()?, &mut show).await?)
        }
        Command::Client(command) => Ok(client::run(command, &mut show).await?),
    }
}

/// Writes a command's page and those of all below it, and returns where they are.
fn manual(command: clap::Command, dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        pages.extend(manual(below.clone(), dir)?);
    }
    pages.push(clap_mangen::Man::new(command).generate_to(dir)?);
    Ok(pages)
}

fn print(text: &str) -> Result<(), Failure> {
    let written = io::stdout().write_all(text.as_bytes());
    written.map_err(|source| Failure::Io { what: "can't write to standard output".to_owned(), source })
}

/// Each connection and each part of a table is a file: as many as may be open are, for this process and the warehouse's. A shell's own bound is
/// often 1,024, for programs that can't count further.
fn allow_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }); // as before, then
}

/// Cancelled by SIGTERM or SIGINT.
fn stop_signal() -> Result<CancellationToken, Failure> {
    let io = |source| Failure::Io { what: "can't listen to signals".to_owned(), source };
    let (mut term, mut int) =
        (signal(SignalKind::terminate()).map_err(io)?, signal(SignalKind::interrupt()).map_err(io)?);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! { _ = term.recv() => {} _ = int.recv() => {} }
        stopped.cancel();
    });
    Ok(stop)
}
