//! Real servers for tests: private ones on loopback, started by the scripts in `deploy/stand`, which install what is missing
//! or say so. They end with the process that started them, however it ends.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use super::eventually;

/// A script of the repository that the tests are run in. Its path, compiled in, would make of each folder another program.
fn script(name: &str) -> PathBuf {
    let here = std::env::current_dir().unwrap();
    let stand = here.ancestors().map(|folder| folder.join("deploy/stand")).find(|stand| stand.is_dir());
    stand.unwrap_or_else(|| panic!("{} is not in the repository", here.display())).join(name)
}

/// A server that is this process's own.
pub struct Server {
    script: PathBuf,
    dir: PathBuf,
    url: String,
    /// Its standard input, once closed, ends the server and deletes its files.
    holder: Child,
}

impl Server {
    /// An empty PostgreSQL, at `postgres://...`.
    pub fn postgres() -> Self {
        Self::start("postgres")
    }

    /// An empty Redis, at `redis://...`.
    pub fn redis() -> Self {
        Self::start("redis")
    }

    fn start(kind: &str) -> Self {
        let script = script(&format!("{kind}.sh"));
        let dir = std::env::temp_dir().join(format!("penstock-{kind}-{}", uuid::Uuid::new_v4().simple()));
        let mut holder = Command::new(&script)
            .arg("hold")
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0) // what is sent to our group, as by Ctrl-C, must not keep it from cleaning up
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(!url.is_empty(), "{} started nothing; its messages are above", script.display());
        Self { script, dir, url: url.trim_end().to_owned(), holder }
    }

    /// Where it is, with its password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its process.
    pub fn pid(&self) -> String {
        std::fs::read_to_string(self.dir.join("pid")).unwrap().trim().to_owned()
    }

    /// Kills it (SIGKILL).
    pub async fn kill(&self) {
        let pid = self.pid();
        assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
        let running = || match std::fs::read_to_string(format!("/proc/{pid}/status")) {
            Ok(status) => !status.contains("State:\tZ"),
            Err(_) => false,
        };
        eventually("a killed server is gone", async || !running()).await;
    }

    /// Starts it again at the same address, with what it had on disk. Returns when it takes connections.
    pub fn start_again(&self) {
        let up = Command::new(&self.script).arg("up").arg(&self.dir).stdout(Stdio::null()).status().unwrap();
        assert!(up.success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

/// Servers of ClickHouse's own interfaces, each a shard of the cluster `penstock`, without Keeper and replicas.
pub struct ClickHouse {
    urls: Vec<String>,
    holder: Child,
    said: BufReader<ChildStdout>,
}

impl ClickHouse {
    /// As many of them, empty.
    pub fn shards(count: usize) -> Self {
        let script = script("clickhouse.py");
        let dir = std::env::temp_dir().join(format!("penstock-clickhouse-{}", uuid::Uuid::new_v4().simple()));
        let mut holder = Command::new("python3")
            .arg(script)
            .arg("hold")
            .arg(dir)
            .arg(count.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut said = BufReader::new(holder.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let urls: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        assert_eq!(urls.len(), count, "the servers didn't start; their messages are above");
        Self { urls, holder, said }
    }

    /// Where each takes HTTP.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Kills one of them (SIGKILL), by its place.
    pub fn kill(&mut self, which: usize) {
        self.tell("kill", which);
    }

    /// Starts it again at the same address, with what it had on disk. Returns when it answers.
    pub fn start(&mut self, which: usize) {
        self.tell("start", which);
    }

    fn tell(&mut self, what: &str, which: usize) {
        writeln!(self.holder.stdin.as_mut().unwrap(), "{what} {}", which + 1).unwrap();
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n", "{what} {which}");
    }
}

impl Drop for ClickHouse {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
