//! Measures a warehouse process on this machine: latency of point queries, CPU cost of inserts.
//!
//! `measure PROGRAM ENGINE [ROUNDS]` starts `PROGRAM` (penstock-chdb) on a data directory of its own and prints JSON.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::net::TcpListener;
use std::time::Instant;

use chdb::{Supervisor, SupervisorConfig};
use clickhouse::{Client, Compression};

const ROWS: u64 = 1_000_000;
/// Linux's unit of `/proc/PID/stat` times, on every platform this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let (program, engine) = (arguments.next().unwrap(), arguments.next().unwrap());
    let rounds: u64 = arguments.next().map_or(10, |n| n.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = [
        format!("--engine={engine}"),
        format!("--data-dir={}", directory.path().display()),
        format!("--listen={address}"),
        "--exit-with-stdin".into(),
    ];
    let config = SupervisorConfig::new(program, options.into_iter().map(Into::into).collect(), address);
    let supervisor = Supervisor::start(config);
    supervisor.ready().await;
    let pid = supervisor.pid().unwrap();
    let client = Client::default().with_url(format!("http://{address}")).with_compression(Compression::None);

    measure_inserts(&client, pid, rounds).await;
    measure_queries(&client).await;
    supervisor.shutdown().await;
}

async fn measure_inserts(client: &Client, pid: u32, rounds: u64) {
    client.query("CREATE TABLE t (tenant UInt32, app UInt32, event LowCardinality(String), user String, ts DateTime64(3), n0 Float64) ENGINE = MergeTree ORDER BY (tenant, app, event, user)").execute().await.unwrap();
    let source = format!(
        "SELECT toUInt32(number % 200) AS tenant, toUInt32(number % 7) AS app, toLowCardinality(concat('event', toString(number % 50))) AS event,
         concat('user', toString(number % 100000)) AS user, toDateTime64('2024-01-01 00:00:00', 3) + number AS ts, rand() / 7 AS n0 FROM numbers({ROWS})"
    );
    for format in ["Native", "RowBinary"] {
        let block = client.query(&source).fetch_bytes(format).unwrap().collect().await.unwrap();
        let (wall, cpu) = (Instant::now(), cpu_seconds(pid));
        for round in 0..rounds {
            let sql = format!("INSERT INTO t FORMAT {format}");
            let token = format!("{format}-{round}");
            let insert = client.clone().with_setting("insert_deduplication_token", token);
            let mut insert = insert.insert_formatted_with(sql);
            for chunk in block.chunks(256 << 10) {
                insert.send(bytes::Bytes::copy_from_slice(chunk)).await.unwrap();
            }
            insert.end().await.unwrap();
        }
        let (wall, cpu) = (wall.elapsed().as_secs_f64(), cpu_seconds(pid) - cpu);
        let rows = (ROWS * rounds) as f64;
        println!(
            "{{\"insert\":\"{format}\",\"rows_per_cpu_second\":{:.0},\"rows_per_second\":{:.0}}}",
            rows / cpu,
            rows / wall
        );
    }
}

async fn measure_queries(client: &Client) {
    for (name, sql) in [
        ("select 1", "SELECT 1::UInt64"),
        ("point", "SELECT count() FROM t WHERE tenant = 7 AND app = 3 AND event = 'event7' AND user = 'user7'"),
    ] {
        let mut latencies = Vec::new();
        for _ in 0..2000 {
            let began = Instant::now();
            client.query(sql).fetch_one::<u64>().await.unwrap();
            latencies.push(began.elapsed().as_secs_f64() * 1e3);
        }
        latencies.sort_by(f64::total_cmp);
        println!("{{\"query\":\"{name}\",\"p50_ms\":{:.2},\"p99_ms\":{:.2}}}", latencies[1000], latencies[1980]);
    }
    let (began, workers, each) = (Instant::now(), 16, 200);
    let queries = (0..workers).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            for _ in 0..each {
                client.query("SELECT 1::UInt64").fetch_one::<u64>().await.unwrap();
            }
        })
    });
    futures::future::join_all(queries).await;
    println!(
        "{{\"query\":\"select 1\",\"clients\":{workers},\"per_second\":{:.0}}}",
        f64::from(workers * each) / began.elapsed().as_secs_f64()
    );
}

/// User and system time of a process so far.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit_once(") ").unwrap().1;
    let fields: Vec<&str> = after_name.split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / TICKS_PER_SECOND
}
