//! A Penstock of the benchmark's own, and the way around it to its warehouse.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use api::v1;
use clickhouse::{Client, Compression};
use serde::Serialize;
use storage::{
    Warehouse,
    warehouse::{Cell, QuerySettings, schema::DEFAULT_DATABASE},
};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::process;
use crate::{connection::Connection, error::LoadError};

/// The demonstration's app, and the tenant that owns it.
pub(crate) const APP: &str = "xyz123";
/// Who asks: the tenant of events that lie as they do after a while, apart from those that are written as fast as they come.
pub(crate) const READER: &str = "reader";
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);
/// How long merges may go on after the last insert and still count for it.
const SETTLE: Duration = Duration::from_secs(15);
/// How long the server is asked to wait for a token in one call.
const TOKEN_WAIT_MS: u32 = 30_000;

/// A running server with its warehouse process.
pub(crate) struct House {
    child: Child,
    server_pid: u32,
    warehouse_pid: u32,
    url: String,
    key_file: PathBuf,
    warehouse_url: String,
    access_key: String,
}

/// The most memory that was resident at once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Peaks {
    pub(crate) server_rss_bytes: u64,
    pub(crate) warehouse_rss_bytes: u64,
}

/// CPU seconds of the processes concerned.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Cpu {
    pub(crate) client_s: f64,
    pub(crate) server_s: f64,
    pub(crate) warehouse_s: f64,
}

impl Cpu {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            client_s: self.client_s - before.client_s,
            server_s: self.server_s - before.server_s,
            warehouse_s: self.warehouse_s - before.warehouse_s,
        }
    }
}

/// One tenant asks for as much as the machine can answer.
const CONFIG: &str = "[gateway]\ntenant_calls_per_second = 1000000\ntenant_burst = 1000000\n";

impl House {
    /// Starts the `penstock` beside this program on free ports, with all its data in `dir`, and waits until it answers queries.
    pub(crate) async fn start(dir: &Path) -> Result<Self, LoadError> {
        let this = std::env::current_exe().map_err(LoadError::io("can't find this program"))?;
        let program = this.with_file_name("penstock");
        let (address, ops_address) = (free_address()?, free_address()?);
        let (data, log, config) = (dir.join("data"), dir.join("penstock.log"), dir.join("penstock.toml"));
        std::fs::write(&config, CONFIG).map_err(LoadError::io(config.display().to_string()))?;
        let errors = std::fs::File::create(&log).map_err(LoadError::io(log.display().to_string()))?;
        let mut child = Command::new(&program)
            .args(["serve", "--demo", "--listen", &address, "--ops-listen", &ops_address, "--data"])
            .arg(&data)
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .map_err(LoadError::io(format!("can't start {}", program.display())))?;
        let (url, key_file) = (format!("http://{address}"), data.join("demo.key"));
        let server_pid = child.id().ok_or_else(|| LoadError::NotUp("it ended at once".to_owned()))?;
        wait_until_up(&mut child, &url, &key_file, &log).await?;
        let warehouse_pid = process::children(server_pid)?
            .into_iter()
            .find(|pid| process::arguments(*pid).is_ok_and(|arguments| arguments.iter().any(|a| a == "warehouse")))
            .ok_or_else(|| LoadError::NotUp("it has no warehouse process".to_owned()))?;
        let listen = argument(warehouse_pid, "--listen")?;
        let key_path = PathBuf::from(argument(warehouse_pid, "--access-key-file")?);
        let access_key =
            std::fs::read_to_string(&key_path).map_err(|source| LoadError::KeyFile { path: key_path, source })?;
        let warehouse_url = format!("http://{listen}");
        let access_key = access_key.trim().to_owned();
        Ok(Self { child, server_pid, warehouse_pid, url, key_file, warehouse_url, access_key })
    }

    /// The key that may do everything.
    pub(crate) fn operator_key(&self) -> Result<String, LoadError> {
        let path = self.key_file.with_file_name("operator.key");
        std::fs::read_to_string(&path).map_err(|source| LoadError::KeyFile { path, source })
    }

    /// A connection with the demonstration's key.
    pub(crate) async fn connect(&self) -> Result<Connection, LoadError> {
        Connection::open(&self.url, &self.key_file).await
    }

    /// Penstock's own way to its warehouse, to a database of any name.
    pub(crate) fn warehouse(&self, database: &str) -> Result<Warehouse, LoadError> {
        Ok(Warehouse::new(&self.warehouse_url, database, "default", Some(&self.access_key))?)
    }

    /// The database that Penstock uses.
    pub(crate) fn own_warehouse(&self) -> Result<Warehouse, LoadError> {
        self.warehouse(DEFAULT_DATABASE)
    }

    /// The official client, as anybody would set it up on one host.
    pub(crate) fn clickhouse(&self, database: &str) -> Client {
        Client::default()
            .with_url(&self.warehouse_url)
            .with_user("default")
            .with_password(&self.access_key)
            .with_database(database)
            .with_compression(Compression::None)
            // Else it writes RowBinaryWithNamesAndTypes, and wants every column.
            .with_validation(false)
    }

    /// CPU time so far.
    pub(crate) fn cpu(&self) -> Result<Cpu, LoadError> {
        let seconds = |pid| process::cpu_time(pid).map(|time| time.as_secs_f64());
        Ok(Cpu {
            client_s: seconds(std::process::id())?,
            server_s: seconds(self.server_pid)?,
            warehouse_s: seconds(self.warehouse_pid)?,
        })
    }

    /// Since the start or the last reset.
    pub(crate) fn peaks(&self) -> Result<Peaks, LoadError> {
        let [server_rss_bytes, warehouse_rss_bytes] =
            [self.server_pid, self.warehouse_pid].map(process::peak_rss_bytes);
        Ok(Peaks { server_rss_bytes: server_rss_bytes?, warehouse_rss_bytes: warehouse_rss_bytes? })
    }

    /// What is resident now, of the server and of its warehouse process, in bytes.
    pub(crate) fn memory(&self) -> Result<[u64; 2], LoadError> {
        Ok([process::rss_bytes(self.server_pid)?, process::rss_bytes(self.warehouse_pid)?])
    }

    /// Lets the peaks begin anew.
    pub(crate) fn reset_peaks(&self) -> Result<(), LoadError> {
        process::reset_peak(self.server_pid)?;
        process::reset_peak(self.warehouse_pid)
    }

    /// Waits until no merge runs, within a bound: what an insert leaves behind for later is part of its cost.
    pub(crate) async fn settle(&self) -> Result<(), LoadError> {
        let (warehouse, end) = (self.own_warehouse()?, Instant::now() + SETTLE);
        let mut quiet = 0;
        while quiet < 3 && Instant::now() < end {
            sleep(POLL).await;
            let rows = warehouse.select("SELECT count() FROM system.merges", &[], &QuerySettings::default())?;
            let idle = rows.collect().await?.first().is_some_and(|row| row[..] == [Cell::Integer(0)]);
            quiet = if idle { quiet + 1 } else { 0 };
        }
        Ok(())
    }

    /// SIGTERM, and waits for the orderly end.
    pub(crate) async fn stop(mut self) -> Result<ExitStatus, LoadError> {
        let pid = i32::try_from(self.server_pid).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // If it has ended meanwhile, the wait says so.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        self.child.wait().await.map_err(LoadError::io("can't wait for penstock"))
    }
}

/// How many events the app has, once everything that the tokens cover is in.
pub(crate) async fn count(connection: &Connection, tokens: &[String]) -> Result<u64, LoadError> {
    let sql = format!("SELECT COUNT(*) AS events FROM events WHERE app_id = '{APP}'");
    let newest = [String::new()];
    let mut counted = 0;
    for token in if tokens.is_empty() { &newest } else { tokens } {
        let result = fresh(connection, &sql, token).await?;
        let value = result.rows.first().and_then(|row| row.values.first()?.kind.clone());
        counted = match value {
            Some(v1::value::Kind::Integer(n)) => u64::try_from(n).unwrap_or(0),
            _ => return Err(LoadError::Incomplete("count")),
        };
    }
    Ok(counted)
}

/// Waits until at least so many events are counted. Fewer after a time without any progress is for the caller to see.
pub(crate) async fn wait_for_count(connection: &Connection, wanted: u64) -> Result<(), LoadError> {
    let (mut last, mut end) = (0, Instant::now() + PATIENCE);
    loop {
        let counted = count(connection, &[]).await?;
        if counted >= wanted || Instant::now() > end {
            return Ok(());
        }
        if counted > last {
            (last, end) = (counted, Instant::now() + PATIENCE);
        }
        sleep(POLL).await;
    }
}

/// The answer to a SELECT that includes what the token covers, however long that takes within reason.
pub(crate) async fn fresh(connection: &Connection, sql: &str, token: &str) -> Result<v1::Result, LoadError> {
    let end = Instant::now() + PATIENCE;
    loop {
        let options =
            v1::ReadOptions { position_token: token.to_owned(), max_wait_ms: TOKEN_WAIT_MS, ..Default::default() };
        let request = v1::SqlRequest { sql: sql.to_owned(), options: Some(options), ..Default::default() };
        match connection.query().sql(request).await {
            Ok(answer) => return answer.into_inner().result.ok_or(LoadError::Incomplete("result")),
            Err(status) if status.code() == tonic::Code::DeadlineExceeded && Instant::now() < end => {}
            Err(status) => return Err(status.into()),
        }
    }
}

async fn wait_until_up(child: &mut Child, url: &str, key_file: &Path, log: &Path) -> Result<(), LoadError> {
    let end = Instant::now() + PATIENCE;
    loop {
        let ended = child.try_wait().map_err(LoadError::io("can't watch penstock"))?;
        let failure = match (ended, key_file.exists()) {
            (Some(status), _) => return Err(LoadError::NotUp(format!("it ended with {status}:\n{}", last_lines(log)))),
            (None, false) => LoadError::NotUp("it has made no key yet".to_owned()),
            (None, true) => match ask(url, key_file).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            },
        };
        if Instant::now() > end {
            return Err(LoadError::NotUp(format!("{failure}\n{}", last_lines(log))));
        }
        sleep(POLL).await;
    }
}

async fn ask(url: &str, key_file: &Path) -> Result<(), LoadError> {
    count(&Connection::open(url, key_file).await?, &[]).await.map(drop)
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

/// The value after this flag in a process's arguments.
fn argument(pid: u32, flag: &str) -> Result<String, LoadError> {
    let arguments = process::arguments(pid)?;
    let value = arguments.iter().skip_while(|a| *a != flag).nth(1);
    value.cloned().ok_or_else(|| LoadError::Process { pid, what: format!("it was started without {flag}") })
}

fn free_address() -> Result<String, LoadError> {
    let bound = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    Ok(bound.map_err(LoadError::io("there is no free port"))?.to_string())
}
