//! The product as a cluster: what `make stack` starts, in a directory of its own, gone with this process.

use std::{
    ops::Deref,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::{house::House, load::scale, trace::Collector};

/// A running stand. To its customers it is a house.
pub struct Stand {
    dir: PathBuf,
    house: House,
    collector: Collector,
}

impl Deref for Stand {
    type Target = House;
    fn deref(&self) -> &House {
        &self.house
    }
}

static STAND: OnceCell<Arc<RwLock<Stand>>> = OnceCell::const_new();

/// The stand, shared with other tests that disturb nothing.
pub async fn shared() -> RwLockReadGuard<'static, Stand> {
    get().await.read().await
}

/// The stand for one test alone, which leaves it whole.
pub async fn alone() -> RwLockWriteGuard<'static, Stand> {
    get().await.write().await
}

async fn get() -> &'static RwLock<Stand> {
    STAND.get_or_init(|| async { Arc::new(RwLock::new(Stand::start().await)) }).await
}

impl Stand {
    async fn start() -> Self {
        // Not deleted by a drop: it has to outlive every test. The script deletes it once this process is gone.
        let dir = tempfile::Builder::new().prefix("penstock-stand-").tempdir().unwrap().keep();
        let collector = Collector::start_for_all().await;
        let telemetry = collector.configuration(0.0);
        let environment = [("EXTRA", &*telemetry), ("BROKERS", &brokers().to_string())];
        let said = tokio::task::block_in_place(|| script(&dir, &["up"], None, &environment));
        let gateways = std::fs::read_to_string(dir.join("gateways")).unwrap_or_else(|_| panic!("{said}"));
        let gateway = gateways.split_whitespace().next().unwrap().to_owned();
        for key in ["demo.key", "operator.key"] {
            std::os::unix::fs::symlink(dir.join("admin-1").join(key), dir.join(key)).unwrap();
        }
        Self { house: House::of_stand(dir.clone(), gateway), dir, collector }
    }

    /// What all processes report their traces to: of their own they sample none.
    pub fn collector(&self) -> &Collector {
        &self.collector
    }

    /// The addresses of both gateways.
    pub fn gateways(&self) -> [String; 2] {
        let text = std::fs::read_to_string(self.dir.join("gateways")).unwrap();
        let all: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
        all.try_into().unwrap()
    }

    /// kill -9 of one process.
    pub fn kill(&self, name: &str) {
        self.run(&["kill", name]);
    }

    /// An orderly end of one process.
    pub fn stop(&self, name: &str) {
        self.run(&["stop", name]);
    }

    /// Starts one process again and waits until it is ready.
    pub fn start_again(&self, name: &str) {
        self.run(&["start", name]);
    }

    /// A signal to one process, as `STOP`.
    pub fn signal(&self, name: &str, signal: &str) {
        let pid = std::fs::read_to_string(self.dir.join(name).join("pid")).unwrap();
        assert!(Command::new("kill").args([&format!("-{signal}"), pid.trim()]).status().unwrap().success());
    }

    /// What a process logged.
    pub fn log_of(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join(name).join("log")).unwrap_or_default()
    }

    /// Runs another script of the stand on its part: `part("kafka", &["kill", "1"])`.
    pub fn part(&self, part: &str, arguments: &[&str]) -> String {
        let (command, rest) = arguments.split_first().unwrap();
        tokio::task::block_in_place(|| {
            let script = root().join(format!("deploy/stand/{part}.sh"));
            output(Command::new(script).arg(command).arg(self.dir.join(part)).args(rest))
        })
    }

    fn run(&self, arguments: &[&str]) {
        tokio::task::block_in_place(|| script(&self.dir, &arguments[..1], arguments.get(1).copied(), &[]));
    }
}

/// How many brokers Kafka has: one, or `PENSTOCK_BROKERS`.
pub fn brokers() -> usize {
    scale("PENSTOCK_BROKERS", 1)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn script(dir: &Path, command: &[&str], name: Option<&str>, environment: &[(&str, &str)]) -> String {
    let mut run = Command::new(root().join("deploy/stand/stack.sh"));
    run.args(command).arg(dir).args(name).envs(environment.iter().copied());
    run.env("PENSTOCK", env!("CARGO_BIN_EXE_penstock")).env("PARENT", std::process::id().to_string());
    output(&mut run)
}

fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} failed: {said}{told}");
    said.into_owned()
}
