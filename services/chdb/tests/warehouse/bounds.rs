use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;

use crate::harness::Warehouse;

/// Runs until it is killed.
const ENDLESS: &str = "SELECT max(sipHash64(number)) FROM numbers(1000000000000)";

pub(crate) async fn query_log(warehouse: &Warehouse) -> String {
    let request = Request::get("/query_log").header("host", "localhost").body(Full::new(Bytes::new())).unwrap();
    warehouse.exchange(request).await.text()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_refuses_with_a_code_and_recovers() {
    let warehouse =
        Warehouse::with(&["--max-concurrent-queries=2", "--max-waiting-queries=1", "--max-wait-ms=60000"]).await;
    let rows = "SELECT number FROM system.numbers";
    let held = [warehouse.hold(rows).await, warehouse.hold(rows).await];
    // Of two more, one waits and the other is refused at once: whichever comes second.
    let mut third = Box::pin(warehouse.post("query_id=third", "SELECT 3"));
    let mut fourth = Box::pin(warehouse.post("query_id=fourth", "SELECT 3"));
    let (refused, waits) = tokio::select! {
        refused = &mut third => (refused, fourth),
        refused = &mut fourth => (refused, third),
    };
    assert_eq!((refused.status, refused.code()), (StatusCode::SERVICE_UNAVAILABLE, 202));
    assert!(refused.text().contains("TOO_MANY_SIMULTANEOUS_QUERIES") && !refused.header("retry-after").is_empty());
    drop(held);
    assert_eq!(waits.await.text(), "3\n");
    crate::harness::wait_for("both are gone", || async { warehouse.running().await.is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_id_is_used_once_at_a_time() {
    let warehouse = Arc::new(Warehouse::start().await);
    let other = Arc::clone(&warehouse);
    let first = tokio::spawn(async move { other.post("query_id=same", ENDLESS).await });
    warehouse.wait_running("same", true).await;
    assert_eq!(warehouse.post("query_id=same", "SELECT 1").await.code(), 216);
    first.abort();
    warehouse.wait_running("same", false).await;
    crate::harness::wait_for("the id is free", || async {
        warehouse.post("query_id=same", "SELECT 1").await.status == StatusCode::OK
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_statement_size_are_bounded() {
    let warehouse = Warehouse::with(&["--max-query-memory-bytes=100000000"]).await;
    let hungry = "SELECT groupArray(number) FROM numbers(100000000) FORMAT Null";
    assert_eq!(warehouse.post("", hungry).await.code(), 241);
    assert_eq!(warehouse.post("max_memory_usage=4000000000", hungry).await.code(), 0, "a request may ask for more");
    let long = format!("SELECT '{}'", "x".repeat(2 << 20));
    let answer = warehouse.post("", long).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::PAYLOAD_TOO_LARGE, 189));
    let fits = format!("SELECT length('{}')", "x".repeat(1_000_000));
    assert_eq!(warehouse.run(&fits).await, "1000000\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_works_in_the_background_gives_way() {
    let warehouse = Warehouse::start().await;
    // The engine passes over a setting that it doesn't know.
    let wanted = [
        ("server", "max_parts_cleaning_thread_pool_size", "2"),
        ("server", "os_threads_nice_value_merge_mutate", "11"),
        ("server", "background_merges_mutations_scheduling_policy", "shortest_task_first"),
        ("merge_tree", "merge_selector_base", "12"),
        ("merge_tree", "merge_selector_enable_heuristic_to_remove_small_parts_at_right", "0"),
    ];
    for (whose, name, value) in wanted {
        let sql = format!("SELECT value FROM system.{whose}_settings WHERE name = '{name}'");
        assert_eq!(warehouse.run(&sql).await, format!("{value}\n"), "{name}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn merges_have_the_time_that_nobody_else_wants() {
    use rustix::thread::{CapabilitySet, capabilities};
    if !capabilities(None).unwrap().effective.contains(CapabilitySet::SYS_NICE) {
        println!("without CAP_SYS_NICE merges are like the rest");
        return;
    }
    let warehouse = Warehouse::start().await;
    warehouse.run("CREATE TABLE t (a UInt64, b String) ENGINE = MergeTree ORDER BY b").await;
    let pid = warehouse.supervisor.pid().unwrap();
    // By the policy, field 41 of those of proc(5): the ones behind the name are from the third on.
    let policies = || -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let stats = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
        let merging = stats.filter(|stat| stat.contains("(MergeMutate)"));
        merging.filter_map(|stat| Some(stat.rsplit_once(')')?.1.split_whitespace().nth(38)?.to_owned())).collect()
    };
    // More than enough to merge, until a merge is seen.
    crate::harness::wait_for("a merge has the time that is left", || async {
        warehouse.run("INSERT INTO t SELECT number, toString(sipHash64(number)) FROM numbers(100000)").await;
        (0..20).any(|_| policies().iter().any(|policy| policy == "5"))
    })
    .await;
    crate::harness::wait_for("who has merged is like the rest", || async {
        policies().iter().all(|policy| policy == "0")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn merges_go_on_where_others_want_all_cores() {
    let warehouse = Warehouse::start().await;
    warehouse.run("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a").await;
    let done = Arc::new(AtomicBool::new(false));
    let cores = std::thread::available_parallelism().unwrap().get();
    let busy: Vec<_> = (0..2 * cores)
        .map(|_| {
            let done = Arc::clone(&done);
            std::thread::spawn(move || while !done.load(Ordering::Relaxed) {})
        })
        .collect();
    for part in 0..13 {
        warehouse.run(&format!("INSERT INTO t SELECT {part} FROM numbers(1000)")).await;
    }
    crate::harness::wait_for("what is owed to merges is enough for one", || async {
        warehouse.run("SELECT count() < 13 FROM system.parts WHERE table = 't' AND active").await == "1\n"
    })
    .await;
    done.store(true, Ordering::Relaxed);
    busy.into_iter().for_each(|thread| thread.join().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_databases_and_sessions_hold_for_their_scope() {
    let warehouse = Warehouse::start().await;
    let setting = "SELECT getSetting('max_threads'), getSetting('readonly')";
    let answer = warehouse.post("max_threads=3&readonly=2", setting).await;
    assert_eq!(answer.text(), "3\t2\n");
    warehouse.run("SET max_threads = 5").await;
    assert_ne!(warehouse.run("SELECT getSetting('max_threads')").await, "5\n", "SET without a session is forgotten");

    warehouse.run("CREATE DATABASE other").await;
    assert_eq!(warehouse.post("database=other", "SELECT currentDatabase()").await.text(), "other\n");
    assert_eq!(warehouse.post("database=nope", "SELECT 1").await.code(), 81);

    for sql in ["SET max_threads = 5", "USE other"] {
        assert_eq!(warehouse.post("session_id=s", sql).await.code(), 0);
    }
    let inside = "SELECT getSetting('max_threads'), currentDatabase()";
    assert_eq!(warehouse.post("session_id=s&session_check=1", inside).await.text(), "5\tother\n");
    assert_eq!(warehouse.post("session_id=s&max_threads=2", inside).await.text(), "2\tother\n");
    assert_eq!(warehouse.post("session_id=s", inside).await.text(), "5\tother\n", "a URL setting is one query's");
    assert_eq!(warehouse.post("session_id=new&session_check=1", "SELECT 1").await.code(), 372);
    assert_eq!(warehouse.post("nosuch=1", "SELECT 1").await.code(), 115);
    assert_eq!(warehouse.post("max_threads%20%3D%201,%20readonly=1", "SELECT 1").await.code(), 115);
}

#[tokio::test(flavor = "multi_thread")]
async fn get_only_reads() {
    let warehouse = Warehouse::start().await;
    warehouse.run("CREATE TABLE t (a UInt8) ENGINE = Memory").await;
    for query in ["query=DROP+TABLE+t", "query=INSERT+INTO+t+VALUES+(1)", "query=WITH+1+AS+x+INSERT+INTO+t+SELECT+x"] {
        let answer = warehouse.send(Method::GET, query, &[], Bytes::new()).await;
        assert_ne!(answer.status, StatusCode::OK, "{query}");
        assert_eq!(answer.code(), 164, "{query}: {}", answer.text());
    }
    let answer = warehouse.send(Method::GET, "query=SELECT+count()+FROM+t", &[], Bytes::new()).await;
    assert_eq!(answer.text(), "0\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_key_is_asked_for_everywhere_but_the_ping() {
    let warehouse = Warehouse::with(&["--access-key=secret"]).await;
    for headers in [&[][..], &[("x-clickhouse-key", "secreT")], &[("x-clickhouse-key", "secret1")]] {
        let answer = warehouse.send(Method::POST, "", headers, "SELECT 1".into()).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, 516));
    }
    assert!(query_log(&warehouse).await.contains("516"));
    let client = warehouse.client().with_user("any").with_password("secret");
    assert_eq!(client.query("SELECT 1").fetch_one::<u8>().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_what_ran() {
    let warehouse = Warehouse::start().await;
    warehouse.run("CREATE TABLE t (a UInt8) ENGINE = Memory").await;
    warehouse.post("query_id=w&log_comment=nightly&query=INSERT+INTO+t+FORMAT+CSV", "1\n2\n").await;
    warehouse.post("query_id=r", "SELECT * FROM t").await;
    warehouse.post("query_id=e", "SELECT * FROM nope").await;
    let log = query_log(&warehouse).await;
    let lines: Vec<serde_json::Value> = log.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let find = |id: &str| lines.iter().find(|l| l["query_id"] == id).unwrap();
    assert_eq!((&find("w")["kind"], &find("w")["written_rows"]), (&"Insert".into(), &2.into()));
    assert_eq!(find("w")["log_comment"], "nightly");
    assert!(!find("w")["query"].as_str().unwrap().contains("1\n2"), "data are no part of the log");
    assert_eq!(
        (&find("r")["kind"], &find("r")["read_rows"], &find("r")["error_code"]),
        (&"Select".into(), &2.into(), &0.into())
    );
    assert_eq!(find("e")["error_code"], 60);
}
