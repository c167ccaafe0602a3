//! A house whose warehouse is several ClickHouse servers: nothing is lost and nothing counts twice, whichever of them dies.

use std::process::Command;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use storage::conformance::stand::ClickHouse;

use crate::{
    erasure::{self, done, erase_of},
    house::House,
    load::{APP, Load, seed},
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

    // What takes one server says so.
    let (status, refused) = house.post(&house.operator_key(), "/v1/backups", &json!({})).await;
    assert!(refused.to_string().contains("cluster of shards"), "{status} {refused}");
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
    for seen in ["2 shards", "counted once", "2000 events", "each with all that was inserted just before", "is gone"] {
        assert!(said.contains(seen), "{seen}: {said}");
    }
    servers.kill(1);
    let (status, said) = doctor();
    assert!(status != Some(0) && said.contains("FAIL"), "{said}");
    std::fs::write(&file, "").unwrap();
    let (status, said) = doctor();
    assert!(status != Some(0) && said.contains("no cluster"), "{said}");
}
