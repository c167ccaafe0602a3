//! The tests' own servers leave nothing behind, however the test ends.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use storage::conformance::stand::Server;

/// Tells the process that is started to start a server of this kind.
const KIND: &str = "PENSTOCK_TEST_SERVER";
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_server_ends_with_the_process_that_started_it() {
    for kind in ["postgres", "redis"] {
        let mut owner = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "starts_a_server_and_waits", "--nocapture"])
            .env(KIND, kind)
            .stdin(Stdio::piped()) // open for as long as we live
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines().map(Result::unwrap);
        let line = lines.find(|line| line.starts_with("at ")).unwrap();
        let (pid, dir) = line["at ".len()..].split_once(' ').unwrap();
        let process = format!("/proc/{pid}/exe");
        assert!(Path::new(&process).exists() && Path::new(dir).exists());
        owner.kill().unwrap(); // SIGKILL: nothing of its own runs any more
        owner.wait().unwrap();
        let start = Instant::now();
        while Path::new(&process).exists() || Path::new(dir).exists() {
            assert!(start.elapsed() < PATIENCE, "{kind} is still there");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Does nothing unless the test above asks.
#[test]
fn starts_a_server_and_waits() {
    let server = match std::env::var(KIND).as_deref() {
        Ok("postgres") => Server::postgres(),
        Ok(_) => Server::redis(),
        Err(_) => return,
    };
    println!("\nat {} {}", server.pid(), server.dir().display());
    let _ = std::io::stdin().read_line(&mut String::new());
}
