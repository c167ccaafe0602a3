//! The house from a backup: to one point in time, with the event log and without it.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Output},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{cold::Bucket, house::House};

/// When each batch was acknowledged, by the number that its events carry.
type Acknowledged = Mutex<BTreeMap<u64, Timestamp>>;

const BATCH: u64 = 50;

#[tokio::test(flavor = "multi_thread")]
async fn a_house_comes_back_from_a_backup_made_under_load() {
    let mut house = House::start().await;
    let key = house.tenant("red", "shop", &["ingest", "query", "metrics", "admin"]).await;
    let metric = |name: &str| json!({"definition": {"name": name, "formula": "SUM(n)"}});
    send(&house, &key, 0).await.unwrap();
    let (status, answer) = house.post(&key, "/v1/apps/shop/metrics", &metric("before")).await;
    assert_eq!(status, 200, "{answer}");
    let dashboard = format!("http://{}/v1/apps/shop/dashboards/before", house.address);
    let put = house.http.put(dashboard).bearer_auth(&key).json(&json!({"dashboard": {}})).send().await.unwrap();
    assert_eq!(put.status(), 200);
    house.until_metric("penstock_pipeline_events_total", |events| events >= BATCH as f64).await;
    // A backup's warehouse may be younger than its ledger, which then doesn't know of such rows as these.
    let younger = "INSERT INTO events SELECT * REPLACE (1000000 + _offset AS _offset, concat('ghost', event_id) AS event_id) FROM events";
    house.warehouse(younger).await;
    let younger = "INSERT INTO users (tenant, app, user, _incarnation, _partition, _offset) \
        SELECT 'red', 'shop', 'ghost', any(_incarnation), 0, 1000000 FROM events";
    house.warehouse(younger).await;

    let (stop, next, acknowledged) = (AtomicBool::new(false), AtomicU64::new(1), Acknowledged::default());
    acknowledged.lock().insert(0, Timestamp::UNIX_EPOCH);
    let senders = (0..3).map(|_| async {
        while !stop.load(Ordering::Relaxed) {
            let batch = next.fetch_add(1, Ordering::Relaxed);
            if send(&house, &key, batch).await.is_some() {
                acknowledged.lock().insert(batch, Timestamp::now());
            }
        }
    });
    let backed_up = async {
        house.until_metric("penstock_pipeline_events_total", |events| events >= 20.0 * BATCH as f64).await;
        let backup = penstock(&house, &["backup"]);
        let backup = tokio::task::spawn_blocking(backup).await.unwrap();
        assert!(backup.status.success(), "{backup:?}");
        let went_on = house.metric("penstock_pipeline_events_total").await;
        house.until_metric("penstock_pipeline_events_total", |events| events >= went_on + 10.0 * BATCH as f64).await;
        stop.store(true, Ordering::Relaxed);
        backup
    };
    let (backup, _) = tokio::join!(backed_up, futures::future::join_all(senders));
    let id = String::from_utf8(backup.stdout).unwrap().trim().to_owned();
    let told = String::from_utf8(backup.stderr).unwrap();
    let reaches: Timestamp = told.split(' ').find_map(|word| word.parse().ok()).unwrap();
    let (status, answer) = house.post(&key, "/v1/apps/shop/metrics", &metric("after")).await;
    assert_eq!(status, 200, "{answer}");
    let acknowledged = acknowledged.into_inner();
    house.kill();

    // The disk with the warehouse and the metastore is gone; the log is there: nothing is lost.
    let data = house.data();
    let lost = data.with_file_name("lost");
    std::fs::rename(&data, &lost).unwrap();
    std::fs::create_dir(&data).unwrap();
    copy(&lost.join("backups"), &data.join("backups"));
    copy(&lost.join("log"), &data.join("log"));
    assert!(restored(&house, &id).contains("Restored"));
    house.launch().await;
    let all = acknowledged.len() as u64 * BATCH;
    house.until_metric("penstock_pipeline_lag_records", |lag| lag == 0.0).await;
    until_count(&house, &key, all).await;
    check(&house, &key, all).await;
    assert_eq!(house.warehouse("SELECT count() FROM users WHERE user = 'ghost'").await.trim(), "0");
    for (name, there) in [("before", 200), ("after", 404)] {
        let url = format!("http://{}/v1/apps/shop/metrics/{name}", house.address);
        let answer = house.http.get(url).bearer_auth(&key).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), there, "the metric of {name} the backup");
    }
    let dashboard = format!("http://{}/v1/apps/shop/dashboards/before", house.address);
    let kept = house.http.get(dashboard).bearer_auth(&key).send().await.unwrap();
    assert_eq!(kept.status(), 200, "the dashboard of before the backup");
    // A house is there now.
    let again = penstock_restore(&house, &id);
    assert!(String::from_utf8_lossy(&again.stderr).contains("there is a house already"), "{again:?}");
    house.kill();

    // Everything is gone but the backup: it has all that was acknowledged before what it says that it reaches.
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::create_dir(&data).unwrap();
    copy(&lost.join("backups"), &data.join("backups"));
    let wrong = penstock_restore(&house, "20200101T000000Z-000000");
    assert!(!wrong.status.success() && !data.join("meta.db").exists(), "{wrong:?}");
    restored(&house, &id);
    house.launch().await;
    let have = house.sql(&key, "SELECT batch, COUNT(*) AS c FROM events GROUP BY 1 ORDER BY 1", "").await;
    let have: BTreeMap<_, _> = have.iter().map(|row| (row[0].as_f64().unwrap() as u64, row[1].clone())).collect();
    for (batch, at) in acknowledged.iter().filter(|(_, at)| **at < reaches) {
        assert_eq!(
            have.get(batch).map(ToString::to_string).as_deref().map(|c| c.trim_matches('"').to_owned()),
            Some(BATCH.to_string()),
            "batch {batch} of {at}"
        );
    }
    let rows: u64 = house.warehouse("SELECT count() FROM events").await.trim().parse().unwrap();
    assert!(rows < all, "what was sent after the backup can't be in it");
    check(&house, &key, rows).await;
    // It takes events, and knows what it has, though the log is another.
    for batch in [0, next.load(Ordering::Relaxed)] {
        send(&house, &key, batch).await.unwrap();
    }
    until_count(&house, &key, rows + BATCH).await;
    // Whatever of them is still under way would count by then.
    house.until_metric("penstock_pipeline_lag_records", |lag| lag == 0.0).await;
    check(&house, &key, rows + BATCH).await;
}

#[tokio::test]
async fn a_backup_lies_in_a_bucket_and_is_restored_from_there() {
    let bucket = Bucket::start().await;
    let (url, key_file) = (format!("http://{}/events/backups", bucket.address), bucket.key_file());
    std::fs::write(&key_file, "penstock\nhush hush\n").unwrap();
    let mut house =
        House::start_with(&format!("[backup]\nto = {url:?}\nregion = \"us-east-1\"\nkey_file = {key_file:?}\n")).await;
    let key = house.tenant("red", "shop", &["ingest", "query"]).await;
    send(&house, &key, 0).await.unwrap();
    until_count(&house, &key, BATCH).await;
    // Asked for by JSON, which tells how far it is line by line.
    let url = format!("http://{}/v1/backups", house.address);
    let made = house.http.post(url).bearer_auth(house.operator_key()).json(&json!({})).send().await.unwrap();
    let told = made.text().await.unwrap();
    let last: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!(last["backup"]["done"], json!(true), "{told}");
    let id = last["backup"]["backup_id"].as_str().unwrap();
    house.kill();
    std::fs::remove_dir_all(house.data()).unwrap();
    restored(&house, id);
    house.launch().await;
    check(&house, &key, BATCH).await;
}

mod alone {
    use super::*;
    use crate::{
        alone::faults::{self, PROCESSES},
        load::{all_may_be_retried, seed},
        stand,
    };

    /// Everything but Kafka is lost, and clients go on trying: what was acknowledged is counted once.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_cluster_comes_back_from_a_backup_made_under_load() {
        let (stand, seed) = (stand::alone().await, seed());
        let mut load = faults::load(&stand, seed);
        load.progress(40).await;
        let backup = tokio::task::spawn_blocking(penstock(&stand, &["backup"])).await.unwrap();
        assert!(backup.status.success(), "{backup:?}");
        let id = String::from_utf8(backup.stdout).unwrap().trim().to_owned();
        load.progress(40).await;
        for name in PROCESSES.iter().filter(|name| **name != "warehouse") {
            stand.kill(name);
        }
        let config = stand.data().join("admin-1/penstock.toml");
        let restore = || {
            let arguments = ["restore", &id, "--config", config.to_str().unwrap()];
            Command::new(env!("CARGO_BIN_EXE_penstock")).args(arguments).output().unwrap()
        };
        for (lost, still) in [("", "there is a house already"), ("metastore", "the warehouse has events already")] {
            if lost == "metastore" {
                stand.part("postgres", &["empty"]);
            }
            let refused = restore();
            let told = String::from_utf8_lossy(&refused.stderr);
            assert!(!refused.status.success() && told.contains(still), "{told}");
        }
        stand.warehouse("DROP DATABASE penstock SYNC").await;
        let restored = restore();
        assert!(restored.status.success(), "{restored:?}");
        for name in ["admin-1", "metrics-1", "query-1", "query-2", "ingest-1", "ingest-2"] {
            stand.start_again(name);
        }
        for name in ["pipeline-1", "pipeline-2", "pipeline-3", "gateway-1", "gateway-2"] {
            stand.start_again(name);
        }
        load.progress(40).await;
        let books = load.settle(&stand).await;
        all_may_be_retried(&books);
        let events: u64 = books.iter().map(|b| b.events).sum();
        println!("{events} events, {}", String::from_utf8(restored.stdout).unwrap());
    }
}

/// Answers from the events, from what is kept by day, and from the books agree.
async fn check(house: &House, key: &str, events: u64) {
    let n = events.to_string();
    let ids = "SELECT COUNT(*) AS c, COUNT(DISTINCT event_id) AS ids FROM events";
    let counted = house.sql(key, ids, "").await;
    let counted: Vec<_> = counted[0].iter().map(|c| c.to_string().trim_matches('"').to_owned()).collect();
    assert_eq!(counted, [n.as_str(), n.as_str()]);
    assert_eq!(house.warehouse("SELECT sum(events) FROM daily_users").await.trim(), n);
    let tables = "SELECT count() FROM system.tables WHERE database = 'penstock' AND (name LIKE '%rebuilt%' OR name LIKE 'backup%')";
    assert_eq!(house.warehouse(tables).await.trim(), "0");
}

async fn until_count(house: &House, key: &str, events: u64) {
    let since = std::time::Instant::now();
    loop {
        let counted = house.sql(key, "SELECT COUNT(*) AS c FROM events", "").await[0][0].to_string();
        if counted.trim_matches('"') == events.to_string() {
            return;
        }
        assert!(since.elapsed() < crate::house::PATIENCE, "{counted} events instead of {events}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// A batch whose events have ids that are always the same. `None` if it was refused.
async fn send(house: &House, key: &str, batch: u64) -> Option<()> {
    let events: Vec<_> = (0..BATCH)
        .map(|i| json!({"event_type": "seen", "event_id": format!("{batch}-{i}"), "user_id": format!("u{}", i % 7), "properties": {"batch": batch, "n": 1}}))
        .collect();
    (house.post(key, "/v1/events", &json!(events)).await.0 == 200).then_some(())
}

pub fn restored(house: &House, id: &str) -> String {
    let output = penstock_restore(house, id);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

pub fn penstock_restore(house: &House, id: &str) -> Output {
    let data = house.data();
    let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
    let config = data.with_file_name("penstock.toml");
    command
        .args(["restore", id, "--config", config.to_str().unwrap(), "--data", data.to_str().unwrap()])
        .output()
        .unwrap()
}

/// A command of the operator's.
pub fn penstock(house: &House, arguments: &'static [&str]) -> impl FnOnce() -> Output + Send + use<> {
    let (address, key) = (format!("http://{}", house.address), house.operator_key());
    move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
        command.args(arguments).env("PENSTOCK_SERVER", address).env("PENSTOCK_KEY", key).output().unwrap()
    }
}

pub fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(status.success());
}
