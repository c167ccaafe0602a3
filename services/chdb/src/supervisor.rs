//! The parent's side: keeps one warehouse process alive.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// Which process to keep alive, and how patiently.
#[derive(Clone, Debug)]
pub struct SupervisorConfig {
    /// The program and its arguments. It must run [`run`](crate::run) with `exit_with_stdin`, on `address`.
    pub program: OsString,
    /// Arguments of the program.
    pub arguments: Vec<OsString>,
    /// Where the process serves `/ping`.
    pub address: SocketAddr,
    /// How long a start may take before the process is killed and started again; default 60 s.
    pub start_timeout: Duration,
    /// The pause before the first restart; doubles with every start that fails. Default 100 ms.
    pub min_backoff: Duration,
    /// The longest pause; default 10 s.
    pub max_backoff: Duration,
    /// How long a process that was asked to stop may take before it is killed; default 30 s.
    pub stop_timeout: Duration,
}

impl SupervisorConfig {
    /// The defaults named at each field.
    pub fn new(program: impl Into<OsString>, arguments: Vec<OsString>, address: SocketAddr) -> Self {
        Self {
            program: program.into(),
            arguments,
            address,
            start_timeout: Duration::from_secs(60),
            min_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(30),
        }
    }
}

/// How the supervised process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Started, not yet answering.
    Starting {
        /// Its process id.
        pid: u32,
    },
    /// It answers.
    Serving {
        /// Its process id.
        pid: u32,
    },
    /// It died or could not be started; the next start follows.
    Down {
        /// Why.
        reason: String,
    },
    /// It was stopped by [`Supervisor::shutdown`].
    Stopped,
}

/// A running supervision. Dropped without [`shutdown`](Self::shutdown), it kills the process.
pub struct Supervisor {
    health: watch::Receiver<Health>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Supervisor {
    /// Starts the process and keeps restarting it. Its standard error goes to this process's own.
    pub fn start(config: SupervisorConfig) -> Self {
        let (sender, health) = watch::channel(Health::Down { reason: "not started yet".into() });
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(supervise(config, sender, stopped));
        Self { health, stop, task }
    }

    /// How the process is, now and on every change.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// The process id, while there is a process.
    pub fn pid(&self) -> Option<u32> {
        match *self.health.borrow() {
            Health::Starting { pid } | Health::Serving { pid } => Some(pid),
            Health::Down { .. } | Health::Stopped => None,
        }
    }

    /// Waits until the process serves.
    pub async fn ready(&self) {
        let mut health = self.health.clone();
        // The sender lives as long as the task, which ends only by `shutdown`, which consumes `self`.
        let _ = health.wait_for(|h| matches!(h, Health::Serving { .. })).await;
    }

    /// Asks the process to finish its queries and stop, waits for it, and kills it if it takes too long.
    pub async fn shutdown(self) {
        let Self { stop, task, .. } = self;
        let _ = stop.send(());
        if let Err(error) = task.await {
            tracing::error!(%error, "the warehouse's supervision failed");
        }
    }
}

async fn supervise(config: SupervisorConfig, health: watch::Sender<Health>, mut stopped: oneshot::Receiver<()>) {
    let mut backoff = config.min_backoff;
    loop {
        let reason = match spawn(&config) {
            Err(error) => format!("can't start it: {error}"),
            Ok(mut child) => {
                // Held open for the child's life: waiting for it would close it otherwise.
                let _lifeline = child.stdin.take();
                // A dropped supervisor closes the channel: that too is a stop.
                let end = tokio::select! {
                    end = watch_over(&config, &health, &mut child, &mut backoff) => Some(end),
                    _ = &mut stopped => None,
                };
                match end {
                    Some(reason) => reason,
                    None => {
                        stop(&config, child).await;
                        health.send_replace(Health::Stopped);
                        return;
                    }
                }
            }
        };
        tracing::error!(reason, restart_in_ms = backoff.as_millis() as u64, "the warehouse process is down");
        health.send_replace(Health::Down { reason });
        tokio::select! {
            () = sleep(backoff) => {}
            _ = &mut stopped => {
                health.send_replace(Health::Stopped);
                return;
            }
        }
        backoff = (backoff * 2).min(config.max_backoff);
    }
}

/// The child holds the read end of a pipe as its standard input; this process the write end. However this process ends,
/// the child sees the end of the pipe and goes.
fn spawn(config: &SupervisorConfig) -> std::io::Result<Child> {
    Command::new(&config.program)
        .args(&config.arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
}

/// Sees one process through its start and its life; returns why it is no more.
async fn watch_over(
    config: &SupervisorConfig,
    health: &watch::Sender<Health>,
    child: &mut Child,
    backoff: &mut Duration,
) -> String {
    let pid = child.id().unwrap_or_default();
    health.send_replace(Health::Starting { pid });
    let deadline = Instant::now() + config.start_timeout;
    tokio::select! {
        status = child.wait() => return died(status),
        up = answers(config, deadline) => if !up {
            let _ = child.kill().await;
            return format!("it did not answer within {} s", config.start_timeout.as_secs());
        },
    }
    tracing::info!(pid, "the warehouse process serves");
    health.send_replace(Health::Serving { pid });
    *backoff = config.min_backoff;
    died(child.wait().await)
}

fn died(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => format!("it ended: {status}"),
        Err(error) => format!("it is lost: {error}"),
    }
}

/// Pings until it answers; `false` if that is not before `deadline`.
async fn answers(config: &SupervisorConfig, deadline: Instant) -> bool {
    while Instant::now() < deadline {
        if matches!(timeout(config.start_timeout, ping(config.address)).await, Ok(Ok(true))) {
            return true;
        }
        sleep(Duration::from_millis(20)).await;
    }
    false
}

async fn ping(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}

async fn stop(config: &SupervisorConfig, mut child: Child) {
    let pid = child.id().and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?));
    if let Some(pid) = pid {
        // It may have ended meanwhile; it is not reaped yet, so the id is still its own.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    if timeout(config.stop_timeout, child.wait()).await.is_err() {
        tracing::error!("the warehouse process does not stop: killing it");
        let _ = child.kill().await;
    }
}
