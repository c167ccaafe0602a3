//! The pinned Python interpreter, for engines and clients that are not ours.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Runs `tests/oracle/SCRIPT` with these arguments; returns what it printed. The test fails if the script does.
pub fn run(script: &str, arguments: &[&Path], input: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle").join(script);
    let mut child = Command::new(interpreter())
        .arg(&script)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The script reads all of it before it prints, so neither side waits for the other.
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{} ended with {}", script.display(), output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn interpreter() -> PathBuf {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|dir| dir.join(".tools/venv/bin/python"));
    found.into_iter().find(|python| python.exists()).expect("there is no .tools/venv: run `make venv`")
}
