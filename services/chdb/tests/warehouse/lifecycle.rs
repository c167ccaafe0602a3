use std::process::Stdio;
use std::sync::Arc;

use chdb::{Health, Supervisor, SupervisorConfig};
use http::StatusCode;

use crate::harness::{Warehouse, free_address, kill, program, program_arguments, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_comes_back_with_everything_acknowledged() {
    let warehouse = Warehouse::start().await;
    warehouse.run("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a").await;
    let client = warehouse.client();
    let mut acknowledged = Vec::new();
    for round in 0..3_u64 {
        let mut health = warehouse.supervisor.health();
        let pid = warehouse.supervisor.pid().unwrap();
        // Inserts until one fails, which is when the kill has struck.
        for n in (round * 100_000).. {
            if n == round * 100_000 + 20 {
                kill(pid, rustix::process::Signal::KILL);
            }
            match client.query("INSERT INTO t VALUES ({n:UInt64})").param("n", n).execute().await {
                Ok(()) => acknowledged.push(n),
                Err(_) => break,
            }
        }
        health.wait_for(|h| matches!(h, Health::Serving { pid: new } if *new != pid)).await.unwrap();
    }
    let stored = client.query("SELECT DISTINCT a FROM t ORDER BY a").fetch_all::<u64>().await.unwrap();
    let missing: Vec<_> = acknowledged.iter().filter(|n| stored.binary_search(n).is_err()).collect();
    assert!(missing.is_empty() && acknowledged.len() >= 60, "{missing:?} of {} missing", acknowledged.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_queries_finish() {
    let warehouse = Arc::new(Warehouse::start().await);
    let other = Arc::clone(&warehouse);
    let query =
        tokio::spawn(async move { other.post("query_id=slow", "SELECT sleepEachRow(0.5) FROM numbers(3)").await });
    warehouse.wait_running("slow", true).await;
    let mut health = warehouse.supervisor.health();
    kill(warehouse.supervisor.pid().unwrap(), rustix::process::Signal::TERM);
    let answer = query.await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, "0\n0\n0\n"));
    let down = health.wait_for(|h| matches!(h, Health::Down { .. })).await.unwrap().clone();
    assert_eq!(down, Health::Down { reason: "it ended: exit status: 0".into() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_kills_what_does_not_finish() {
    let warehouse = Arc::new(Warehouse::with(&["--drain-timeout-ms=100"]).await);
    let other = Arc::clone(&warehouse);
    let endless = "SELECT max(sipHash64(number)) FROM numbers(1000000000000)";
    let query = tokio::spawn(async move { other.post("query_id=endless", endless).await });
    warehouse.wait_running("endless", true).await;
    let mut health = warehouse.supervisor.health();
    kill(warehouse.supervisor.pid().unwrap(), rustix::process::Signal::TERM);
    let down = health.wait_for(|h| matches!(h, Health::Down { .. })).await.unwrap().clone();
    assert_eq!(down, Health::Down { reason: "it ended: exit status: 0".into() });
    query.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_ends_the_process() {
    let warehouse = Warehouse::start().await;
    let pid = warehouse.supervisor.pid().unwrap();
    let health = warehouse.supervisor.health();
    warehouse.supervisor.shutdown().await;
    assert_eq!(*health.borrow(), Health::Stopped);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

/// When a parent is killed, all that its child sees is the end of its standard input.
#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_goes_and_frees_the_data() {
    let directory = tempfile::tempdir().unwrap();
    let spawn = |address| {
        tokio::process::Command::new(program())
            .args(program_arguments(directory.path(), address))
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    };
    let (first_address, second_address) = (free_address(), free_address());
    let serves = |address| async move { tokio::net::TcpStream::connect(address).await.is_ok() };
    let mut first = spawn(first_address);
    wait_for("the first serves", || serves(first_address)).await;
    let mut second = spawn(second_address);
    drop(first.stdin.take());
    assert!(first.wait().await.unwrap().success());
    wait_for("the second serves", || serves(second_address)).await;
    assert!(second.try_wait().unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_can_not_run_is_reported_and_tried_again() {
    for program in ["false", "no such program"] {
        let supervisor = Supervisor::start(SupervisorConfig::new(program, vec![], free_address()));
        let mut health = supervisor.health();
        for _ in 0..3 {
            let down = |h: &Health| matches!(h, Health::Down { reason } if reason.starts_with("it ended: exit status: 1") || reason.starts_with("can't start it"));
            health.wait_for(down).await.unwrap();
            health.changed().await.unwrap();
        }
        assert_eq!(supervisor.pid().is_some(), matches!(*health.borrow(), Health::Starting { .. }));
        supervisor.shutdown().await;
        assert_eq!(*health.borrow(), Health::Stopped);
    }
}

/// The first start leaves a database without tables, the second one with: both must come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_tables_and_comes_back_without_any() {
    let warehouse = Warehouse::start().await;
    warehouse.crash().await;
    warehouse.run("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a").await;
    warehouse.run("INSERT INTO t VALUES (1)").await;
    for rows in ["1\n", "1\n"] {
        warehouse.crash().await;
        assert_eq!(warehouse.run("SELECT count() FROM t").await, rows);
        assert_eq!(warehouse.run("SELECT engine FROM system.databases WHERE name = 'default'").await, "Atomic\n");
    }
}
