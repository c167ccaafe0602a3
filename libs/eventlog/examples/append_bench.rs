//! How fast the embedded log appends: records a second, CPU a record, and how long an acknowledgement takes.
//!
//! `cargo run --release -p eventlog --example append_bench -- [DIR] [BATCHES]`

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use eventlog::{Batch, EmbeddedLog, EventLog, LogOptions, system_clock};

const RECORDS: usize = 1000;
const RECORD_BYTES: usize = 300;

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let parent = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let batches: usize = args.next().map_or(1600, |count| count.parse().unwrap());
    println!("batches of {RECORDS} x {RECORD_BYTES} B, {batches} batches");
    println!("appenders  records/s   MB/s  CPU us/record  ack P50 ms  ack P99 ms  written/payload");
    for appenders in [1, 16] {
        let dir = parent.join(format!("append_bench_{}", std::process::id()));
        run(&dir, appenders, batches).await;
        fs::remove_dir_all(dir).unwrap();
    }
}

async fn run(dir: &std::path::Path, appenders: usize, batches: usize) {
    let log = Arc::new(EmbeddedLog::open(dir, &LogOptions::default(), system_clock()).await.unwrap());
    let (buffer, ends) = payload();
    let (start, cpu, written) = (Instant::now(), cpu_seconds(), written_bytes());
    let tasks: Vec<_> = (0..appenders)
        .map(|appender| {
            let (log, buffer, ends) = (Arc::clone(&log), buffer.clone(), ends.clone());
            tokio::spawn(async move {
                let mut waits = Vec::new();
                for turn in 0..batches / appenders {
                    let partition = ((appender + turn) % 4) as u32;
                    let batch = Batch { partition, buffer: buffer.clone(), ends: ends.clone() };
                    let asked = Instant::now();
                    log.append(vec![batch]).await.unwrap();
                    waits.push(asked.elapsed());
                }
                waits
            })
        })
        .collect();
    let mut waits: Vec<Duration> = Vec::new();
    for task in tasks {
        waits.extend(task.await.unwrap());
    }
    let seconds = start.elapsed().as_secs_f64();
    log.close().await.unwrap();
    waits.sort_unstable();
    let records = (waits.len() * RECORDS) as f64;
    let payload = records * RECORD_BYTES as f64;
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    println!(
        "{appenders:9} {:10.0} {:6.0} {:14.2} {:11.2} {:11.2} {:16.2}",
        records / seconds,
        payload / seconds / 1e6,
        (cpu_seconds() - cpu) / records * 1e6,
        at(0.5),
        at(0.99),
        (written_bytes() - written) / payload,
    );
}

/// Text like that of events, of which a third is noise.
fn payload() -> (bytes::Bytes, Vec<u32>) {
    let mut noise = 1u64;
    let (mut buffer, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..RECORDS {
        let start = buffer.len();
        while buffer.len() < start + RECORD_BYTES {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            buffer.extend_from_slice(format!("acme shop page_view country plan {noise:x} ").as_bytes());
        }
        buffer.truncate(start + RECORD_BYTES);
        ends.push(buffer.len() as u32);
    }
    (buffer.into(), ends)
}

/// User and system time of this process, by Linux's 100 ticks a second.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// What this process had the disk write.
fn written_bytes() -> f64 {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap().parse().unwrap()
}
