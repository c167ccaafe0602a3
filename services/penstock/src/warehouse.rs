//! The embedded warehouse: the process itself, and its start by `serve`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use chdb::{ChdbConfig, Supervisor, SupervisorConfig};
use clap::Args;
use mesh::telemetry::{self, TelemetryOptions};
use serde::{Serialize, de::DeserializeOwned};

use crate::{backup::BackupOptions, bootstrap, cold::ColdOptions, config::Config, wire::StartError};

/// What `penstock warehouse` is told by `penstock serve`.
#[derive(Debug, Args)]
pub(crate) struct WarehouseArguments {
    /// The engine's library.
    #[arg(long)]
    engine: PathBuf,
    /// Directory of the data.
    #[arg(long)]
    data: PathBuf,
    /// Where to listen; loopback only.
    #[arg(long)]
    listen: SocketAddr,
    /// File with the key that requests must carry. A file, since arguments are there for every user to read.
    #[arg(long)]
    access_key_file: PathBuf,
    /// Logs and traces, as the `telemetry` table of a configuration file.
    #[arg(long, value_parser = parse::<TelemetryOptions>)]
    telemetry: TelemetryOptions,
    /// Where old events lie, as the `cold` table of a configuration file.
    #[arg(long, value_parser = parse::<ColdOptions>)]
    cold: ColdOptions,
    /// Where backups go, as the `backup` table of a configuration file.
    #[arg(long, value_parser = parse::<BackupOptions>)]
    backup: BackupOptions,
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, toml::de::Error> {
    toml::from_str(text)
}

/// Runs the warehouse process until it is told to stop, or its parent ends.
pub(crate) async fn run(arguments: WarehouseArguments) -> Result<(), StartError> {
    let _telemetry = telemetry::init("penstock-warehouse", &arguments.telemetry)?;
    let access_key = std::fs::read_to_string(&arguments.access_key_file)
        .map_err(|source| StartError::File { path: arguments.access_key_file.clone(), source })?;
    let mut config = ChdbConfig::new(arguments.engine, arguments.data);
    config.listen = arguments.listen;
    config.access_key = Some(access_key.trim().to_owned());
    config.exit_with_stdin = true;
    config.cold = arguments.cold.store().map_err(StartError::Warehouse)?;
    config.backups = arguments.backup.store().map_err(StartError::Warehouse)?;
    chdb::run(config).await.map_err(|e| StartError::Warehouse(e.to_string()))
}

/// A warehouse process under supervision.
pub(crate) struct Embedded {
    pub(crate) supervisor: Supervisor,
    pub(crate) url: String,
    pub(crate) access_key: String,
}

/// Starts the warehouse at `listen`, or on a free port of the loopback interface, with a key of its own.
pub(crate) fn start(dir: &Path, config: &Config) -> Result<Embedded, StartError> {
    let engine = find_engine(&config.engine)?;
    config.backup.store().map_err(StartError::Warehouse)?;
    config.cold.store().map_err(StartError::Warehouse)?; // what is wrong with it is said here, not by a child that ends
    let program = std::env::current_exe().map_err(|e| StartError::Warehouse(e.to_string()))?;
    let access_key_file = dir.join("access.key");
    let access_key = bootstrap::secret_file(&access_key_file)?;
    let address = match config.warehouse_listen.as_str() {
        "" => free_address().map_err(|e| StartError::Warehouse(e.to_string()))?,
        listen => {
            listen.parse().map_err(|_| StartError::Warehouse(format!("warehouse_listen: {listen:?} is not IP:PORT")))?
        }
    };
    let arguments = [
        "warehouse".into(),
        "--engine".into(),
        engine.into(),
        "--data".into(),
        dir.join("data").into(),
        "--listen".into(),
        address.to_string().into(),
        "--access-key-file".into(),
        access_key_file.into(),
        "--telemetry".into(),
        table(&config.telemetry).into(),
        "--cold".into(),
        table(&config.cold).into(),
        "--backup".into(),
        table(&config.backup).into(),
    ];
    let supervisor = Supervisor::start(SupervisorConfig::new(program, arguments.into(), address));
    Ok(Embedded { supervisor, url: format!("http://{address}"), access_key })
}

/// As a table of a configuration file.
fn table(options: &impl Serialize) -> String {
    toml::to_string(options).expect("options are a table of plain values")
}

fn find_engine(configured: &Path) -> Result<PathBuf, StartError> {
    if configured.is_file() {
        return Ok(configured.to_owned());
    }
    if !configured.as_os_str().is_empty() {
        return Err(StartError::Warehouse(format!("engine: there is no {}", configured.display())));
    }
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("libchdb.so")));
    if let Some(path) = beside.filter(|path| path.is_file()) {
        return Ok(path);
    }
    let here = std::env::current_dir().map_err(|e| StartError::Warehouse(e.to_string()))?;
    chdb::find_library(&here).map_err(|e| StartError::Warehouse(e.to_string()))
}

fn free_address() -> std::io::Result<SocketAddr> {
    std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()
}
