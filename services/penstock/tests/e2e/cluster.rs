//! A house whose warehouse is several ClickHouse servers: nothing is lost and nothing counts twice, whichever of them dies.

use std::process::Command;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use storage::conformance::stand::ClickHouse;

use crate::{
    backup,
    erasure::{self, done, erase_of},
    house::House,
    load::{APP, Load, seed},
    replay,
};

/// kill -9 of the program and of a shard in turn.
const KILLS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_counts_once_over_shards_that_die() {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let mut servers = ClickHouse::shards(3);
    let mut house = House::on_shards(&servers, erasure::CONFIG).await;
    let mut load = Load::start(&house, seed);
    for kill in 0..KILLS {
        if kill == KILLS / 2 {
            house.forget_tokens().await;
        }
        load.progress(random.random_range(20..80)).await;
        let shard = random.random_range(0..3);
        servers.kill(shard);
        load.progress(random.random_range(20..80)).await; // the log takes what a shard can't
        servers.start(shard);
        load.progress(random.random_range(0..40)).await;
        house.kill();
        house.launch().await;
        load.field.address.send_replace(house.address.clone());
    }
    let books = load.settle(&house).await;
    let events: u64 = books.iter().map(|books| books.events).sum();
    let of_each = house.warehouse("SELECT _shard_num, count() FROM events GROUP BY _shard_num ORDER BY 1").await;
    println!("{events} events, by shard:\n{of_each}");
    assert!(of_each.lines().count() > 1, "they lie on one shard: {of_each}");

    // A user is gone from all of them.
    let (key, user) = (house.demo_key(), format!("{}-7", books[0].client));
    let count = async |user: &str| house.warehouse(&format!("SELECT count() FROM events WHERE user = '{user}'")).await;
    assert_ne!(count(&user).await, "0\n");
    let id = erase_of(&house, &key, APP, &user).await;
    done(&house, &key, &id).await;
    assert_eq!(count(&user).await, "0\n");
    assert_ne!(count(&format!("{}-8", books[0].client)).await, "0\n");
    let sql = format!("SELECT COUNT(*) FROM events WHERE app_id = '{APP}' AND user_id = '{user}'");
    assert_eq!(house.sql(&key, &sql, "").await, [[json!(0)]]);
}

/// Asks one server, past all others.
async fn on(house: &House, url: &str, statement: &str) {
    let request = house.http.post(format!("{url}/?database=penstock")).body(statement.to_owned());
    let answer = request.send().await.unwrap();
    assert!(answer.status().is_success(), "{statement}: {}", answer.text().await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_shards_lost_comes_back_by_a_replay_and_by_a_backup() {
    let servers = ClickHouse::shards(3);
    let mut house = House::on_shards(&servers, erasure::CONFIG).await;
    let mut load = Load::unwatched(&house, seed());
    load.progress(30).await;
    for (number, url) in servers.urls().iter().enumerate() {
        // Rows vanish, and some that belong elsewhere come.
        on(&house, url, "ALTER TABLE events DELETE WHERE _offset % 3 = 0 SETTINGS mutations_sync = 2").await;
        let astray = format!(
            "INSERT INTO events SELECT * FROM cluster('penstock', penstock, events) WHERE _offset % 7 = {number} SETTINGS insert_deduplicate = 0"
        );
        on(&house, url, &astray).await;
    }
    let replay = replay::start(&house).await;
    load.progress(20).await;
    let replay = replay::done(&house, &replay).await;
    assert_eq!(replay["records"], replay["records_read"]);
    let tables = replay["tables"].as_array().unwrap();
    let rows: u64 = tables.iter().map(|table| replay::number(&table["rows_after"])).sum();
    assert_eq!(rows, replay::number(&replay["records"]), "each record has its row: {replay}");
    load.progress(20).await;

    // Nothing is left of the house but its log, and of the shards but what they backed up.
    let backup = tokio::task::spawn_blocking(backup::penstock(&house, &["backup"])).await.unwrap();
    assert!(backup.status.success(), "{backup:?}");
    let id = String::from_utf8(backup.stdout).unwrap().trim().to_owned();
    load.progress(20).await;
    house.kill();
    let data = house.data();
    let lost = data.with_file_name("lost");
    std::fs::rename(&data, &lost).unwrap();
    std::fs::create_dir(&data).unwrap();
    backup::copy(&lost.join("log"), &data.join("log"));
    let refused = backup::penstock_restore(&house, &id);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("has events already"), "{refused:?}");
    for url in servers.urls() {
        on(&house, url, "DROP DATABASE penstock SYNC").await;
    }
    house.configure_shards(&servers.urls()[..2], erasure::CONFIG);
    let refused = backup::penstock_restore(&house, &id);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("the backup is of 3 shards"), "{refused:?}");
    house.configure_shards(servers.urls(), erasure::CONFIG);
    println!("{}", backup::restored(&house, &id));
    house.launch().await;
    load.field.address.send_replace(house.address.clone());
    load.progress(10).await;
    load.settle(&house).await;
    erasure::assert_rolled_up(&house).await;
    for url in servers.urls() {
        let left = "SELECT throwIf(count() > 0) FROM system.tables \
            WHERE database = 'penstock' AND (name LIKE '%rebuilt%' OR name LIKE 'backup%')";
        on(&house, url, left).await;
    }
}

#[tokio::test]
async fn the_doctor_tries_a_cluster() {
    let mut servers = ClickHouse::shards(2);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("penstock.toml");
    let config = format!("warehouse = \"cluster:\"\n[cluster]\nkeeper = false\nshards = {:?}\n", servers.urls());
    std::fs::write(&file, config).unwrap();
    let doctor = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
        command.args(["doctor", "cluster", "--config"]).arg(&file);
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let (status, said) = doctor();
    assert_eq!(status, Some(0), "{said}");
    for seen in [
        "2 shards",
        "counted once",
        "2000 events",
        "each with all that was inserted just before",
        "a day of each shard",
        "is gone",
    ] {
        assert!(said.contains(seen), "{seen}: {said}");
    }
    servers.kill(1);
    let (status, said) = doctor();
    assert!(status != Some(0) && said.contains("FAIL"), "{said}");
    std::fs::write(&file, "").unwrap();
    let (status, said) = doctor();
    assert!(status != Some(0) && said.contains("no cluster"), "{said}");
}
