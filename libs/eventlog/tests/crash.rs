//! `kill -9` at any moment: what a process was told is durable is there, under its offset, for the next one.
//!
//! The test runs itself again as the process to be killed; that one tells each acknowledged batch on a line.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use eventlog::{
    EmbeddedLog, EventLog, LogOptions,
    conformance::{Random, assert_consecutive, batch, read_from, texts},
    system_clock,
};

const DIR: &str = "EVENTLOG_CRASH_DIR";
const ROUNDS: u64 = 15;
const PARTITIONS: u32 = 2;

async fn open(dir: &Path) -> EmbeddedLog {
    let options = LogOptions { partitions: PARTITIONS, ..LogOptions::default() };
    EmbeddedLog::open(dir, &options, system_clock()).await.unwrap()
}

/// Appends until killed. A line `ack PARTITION END COUNT NAME` says that NAME-0, NAME-1, ... end at END.
async fn append_until_killed(dir: &Path) {
    let log = Arc::new(open(dir).await);
    let appenders = (0..4).map(|appender| {
        let (log, mut random) = (Arc::clone(&log), Random::new());
        tokio::spawn(async move {
            for turn in 0u64.. {
                let (partition, count) = (random.below(u64::from(PARTITIONS)) as u32, 1 + random.below(50));
                let name = format!("{}/{appender}/{turn}", std::process::id());
                let records = (0..count).map(|index| format!("{name}-{index}"));
                let position = log.append(vec![batch(partition, records)]).await.unwrap();
                println!("ack {partition} {} {count} {name}", position.ends[0].1);
            }
        })
    });
    for appender in appenders.collect::<Vec<_>>() {
        appender.await.unwrap();
    }
}

/// Runs the process, kills it after about so many lines, and returns what it was told.
fn run_and_kill(dir: &Path, lines: u64) -> Vec<(u32, u64, u64, String)> {
    let test = std::env::current_exe().unwrap();
    let mut child = Command::new(test)
        .args(["--exact", "what_was_acknowledged_survives_kill_9", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = Vec::new();
    for (read, line) in BufReader::new(child.stdout.take().unwrap()).lines().enumerate() {
        if read as u64 == lines {
            child.kill().unwrap();
        }
        let line = line.unwrap();
        // The last line may be cut short, and then it tells nothing.
        if let ["ack", partition, end, count, name] = line.split(' ').collect::<Vec<_>>()[..]
            && name.split('/').count() == 3
        {
            acknowledged.push((
                partition.parse().unwrap(),
                end.parse().unwrap(),
                count.parse().unwrap(),
                name.to_owned(),
            ));
        }
    }
    let status = child.wait().unwrap();
    assert!(status.code().is_none(), "the process ended by itself: {status}");
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_9() {
    if let Some(dir) = std::env::var_os(DIR) {
        return append_until_killed(Path::new(&dir)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random::new();
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        // Some are killed while they make or open the log.
        let lines = if round % 5 == 0 { random.below(6) } else { random.below(400) };
        acknowledged.extend(run_and_kill(dir.path(), lines));
        let log = open(dir.path()).await;
        for partition in 0..PARTITIONS {
            let records = read_from(&log, partition, 0).await;
            assert_consecutive(&records, 0);
            let found = texts(&records);
            for (_, end, count, name) in acknowledged.iter().filter(|(of, ..)| *of == partition) {
                let wanted: Vec<_> = (0..*count).map(|index| format!("{name}-{index}")).collect();
                let range = (end - count) as usize..*end as usize;
                assert_eq!(found.get(range), Some(&wanted[..]), "round {round}, partition {partition}, end {end}");
            }
        }
    }
    assert!(acknowledged.len() > 500, "only {} batches were acknowledged at all", acknowledged.len());
}
