//! A warehouse of several ClickHouse servers, each a shard: where rows go, who is asked, and what happens when one is away.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use model::DAY_MS;
use storage::{
    conformance::stand::ClickHouse,
    warehouse::{
        Cell, DaysOfPartition, EventColumns, EventRow, QuerySettings, Topology, Warehouse, WarehouseError, rehearse,
    },
};

/// Bounds a hang; measures nothing.
const PATIENCE: Duration = Duration::from_secs(60);
const DAY: i64 = 19_675 * DAY_MS;

fn topology(urls: &[String]) -> Topology {
    Topology {
        name: "penstock".to_owned(),
        readers: "penstock".to_owned(),
        shards: urls.iter().map(|url| vec![url.clone()]).collect(),
        replicas: Vec::new(),
        replicated: false,
        max_staleness: Duration::from_secs(5),
    }
}

fn named(topology: Topology) -> Warehouse {
    Warehouse::cluster(topology, "penstock", "default", None).unwrap()
}

/// Events of one log partition.
fn events(partition: u32, offsets: std::ops::Range<u64>) -> EventColumns {
    let mut columns = EventColumns::for_day_of(DAY);
    for offset in offsets {
        columns
            .push(&EventRow {
                tenant: "acme",
                app: "web",
                event_type: if offset == 0 { "signup" } else { "visit" },
                timestamp_ms: DAY + offset as i64,
                user_id: &format!("{partition}-{}", offset % 10),
                event_id: &format!("{partition}-{offset}"),
                country: None,
                plan: None,
                received_at_ms: DAY,
                incarnation: 1,
                partition,
                offset,
            })
            .unwrap();
    }
    columns
}

async fn number(warehouse: &Warehouse, statement: &str) -> Result<i64, WarehouseError> {
    let rows = warehouse.select(statement, &[], &QuerySettings::default())?.collect().await?;
    match rows[..] {
        [ref row] if let [Cell::Integer(number)] = row[..] => Ok(number),
        _ => panic!("{statement}: {rows:?}"),
    }
}

const COUNT: &str = "SELECT toInt64(count()) FROM events";

#[tokio::test]
async fn rows_lie_on_their_shard_and_are_read_over_all() {
    let mut servers = ClickHouse::shards(3);
    let warehouse = named(topology(servers.urls()));
    warehouse.migrate().await.unwrap();
    warehouse.migrate().await.unwrap(); // again changes nothing
    let mut on = [0; 3];
    for partition in 0..12 {
        let number = warehouse.shard_of(partition);
        on[number as usize] += 100;
        let shard = warehouse.shard(number).unwrap();
        for _ in 0..2 {
            shard.insert(&events(partition, 0..100), &format!("log@1:{partition}:0-99")).await.unwrap();
        }
    }
    assert!(on.iter().all(|rows| *rows > 0), "{on:?}");
    for (shard, rows) in (0..).zip(on) {
        assert_eq!(number(&warehouse.shard(shard).unwrap(), COUNT).await.unwrap(), rows);
    }
    assert_eq!(number(&warehouse, COUNT).await.unwrap(), 1_200, "a block that came twice counts once");
    assert_eq!(number(&warehouse, "SELECT toInt64(sum(events)) FROM daily_users").await.unwrap(), 1_200);
    // Of all shards within a condition and a join too, whichever of them the outer row is of.
    let elsewhere = "SELECT toInt64(uniqExact(_partition)) FROM events WHERE (_partition + 1) % 12 IN \
        (SELECT _partition FROM events WHERE event = 'signup')";
    assert_eq!(number(&warehouse, elsewhere).await.unwrap(), 12);
    let joined = "SELECT toInt64(count()) FROM events AS a JOIN events AS b ON b._partition = (a._partition + 1) % 12 AND b._offset = a._offset";
    assert_eq!(number(&warehouse, joined).await.unwrap(), 1_200);
    // What is done on every shard.
    let days = DaysOfPartition { days_ms: vec![DAY], incarnation: 1, partition: 5 };
    let of_five = warehouse.shard(warehouse.shard_of(5)).unwrap();
    assert_eq!(of_five.daily_users_differ(&days).await.unwrap(), [0_i64; 0]);
    assert_eq!(warehouse.days().await.unwrap(), [DAY]);
    assert_eq!(warehouse.stored_size().await.unwrap().events, 1_200);
    let apps = warehouse.apps_of_day(DAY, &[model::TenantId::new("acme").unwrap()]).await.unwrap();
    warehouse.expire(DAY, &apps).await.unwrap();
    assert_eq!(number(&warehouse, COUNT).await.unwrap(), 0);

    // A shard that is away: the others take theirs, and nobody answers without it.
    let [here, away] = [0, 1].map(|shard| warehouse.shard(shard).unwrap());
    let [its, others] = [1, 0].map(|shard| (12..).find(|p| warehouse.shard_of(*p) == shard).unwrap());
    here.insert(&events(others, 0..10), "others").await.unwrap();
    away.insert(&events(its, 0..10), "its").await.unwrap();
    servers.kill(1);
    here.insert(&events(others, 10..20), "others, then").await.unwrap();
    let unheard = away.insert(&events(its, 10..20), "its, then").await.unwrap_err();
    assert!(unheard.is_unavailable(), "{unheard}");
    // One of those that are asked is away itself; the others lack it.
    for _ in 0..4 {
        let unheard = number(&warehouse, COUNT).await.unwrap_err();
        assert!(unheard.is_unavailable(), "{unheard}");
    }
    servers.start(1);
    away.insert(&events(its, 10..20), "its, then").await.unwrap();
    away.insert(&events(its, 0..10), "its").await.unwrap(); // remembered over the kill
    assert_eq!(number(&away, COUNT).await.unwrap(), 20);
    warehouse.wait_ready(PATIENCE).await.unwrap(); // those that were asked may begin anew: see the script that starts them
    assert_eq!(number(&warehouse, COUNT).await.unwrap(), 40);
}

#[tokio::test]
async fn another_server_of_the_shard_takes_what_one_that_is_away_may_have_taken() {
    let servers = ClickHouse::shards(1);
    named(topology(servers.urls())).migrate().await.unwrap();
    // Nobody listens at the first address. The second knows the tokens, as replicas do.
    let nobody = "http://127.0.0.1:9".to_owned();
    let pair = vec![nobody.clone(), servers.urls()[0].clone()];
    let warehouse = named(Topology { shards: vec![pair], replicated: true, ..topology(&[]) });
    let shard = warehouse.shard(0).unwrap();
    let unheard = shard.insert(&events(0, 0..100), "block").await.unwrap_err();
    assert!(unheard.is_unavailable(), "{unheard}");
    for _ in 0..2 {
        shard.insert(&events(0, 0..100), "block").await.unwrap();
    }
    let one = Warehouse::new(&servers.urls()[0], "penstock", "default", None).unwrap();
    assert_eq!(number(&one, COUNT).await.unwrap(), 100);
    // What lies on a shard that the servers don't know would be missing in answers.
    let two = Topology { shards: vec![servers.urls().to_vec(), servers.urls().to_vec()], ..topology(&[]) };
    let refused = named(two).migrate().await.unwrap_err().to_string();
    assert!(refused.contains("has 2 shards"), "{refused}");
    // Tables that aren't replicated are not taken for replicas of one another.
    let alone = named(Topology { shards: vec![servers.urls().to_vec()], replicated: true, ..topology(&[]) });
    let refused = alone.migrate().await.unwrap_err().to_string();
    assert!(refused.contains("not replicated"), "{refused}");
}

#[tokio::test]
async fn the_rehearsal_shows_what_a_cluster_does_and_leaves_nothing() {
    let mut servers = ClickHouse::shards(2);
    let topology = topology(servers.urls());
    let run = async |topology: &Topology| rehearse(topology, "scratch", "default", None, None).await.unwrap();
    let found = run(&topology).await;
    assert!(found.iter().all(|(_, outcome)| outcome.is_ok()), "{found:#?}");
    let names: Vec<_> = found.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(names, ["servers", "tables", "inserts", "counted once", "reads", "replaced", "state", "cleaned up"]);
    for url in servers.urls() {
        let server = Warehouse::new(url, "default", "default", None).unwrap();
        let left = "SELECT toInt64(count()) FROM system.databases WHERE name LIKE 'scratch%'";
        assert_eq!(number(&server, left).await.unwrap(), 0);
    }
    let unknown = run(&Topology { readers: "nobody".to_owned(), ..topology.clone() }).await;
    assert!(matches!(&unknown[..], [(_, Err(what))] if what.contains("nobody")), "{unknown:?}");
    servers.kill(1);
    let away = run(&topology).await;
    assert!(matches!(&away[..], [(what, Err(_))] if what == "servers"), "{away:?}");
}

#[test]
fn partitions_lie_evenly_and_few_move_to_a_new_shard() {
    let of = |shards: usize| named(topology(&vec!["http://127.0.0.1:9".to_owned(); shards]));
    for (partitions, shards) in [4, 8, 12, 32, 64, 256].into_iter().flat_map(|p| (1..13).map(move |s| (p, s))) {
        let [before, after] = [shards, shards + 1].map(|shards| {
            let warehouse = of(shards);
            (0..partitions).map(|partition| warehouse.shard_of(partition) as usize).collect::<Vec<_>>()
        });
        let loads: Vec<_> = (0..shards).map(|shard| before.iter().filter(|at| **at == shard).count()).collect();
        let spread = loads.iter().max().unwrap() - loads.iter().min().unwrap();
        assert!(spread <= 1, "{partitions} on {shards}: {loads:?}");
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
        let share = partitions as f64 / (shards + 1) as f64;
        assert!(moved as f64 <= share + partitions as f64 / 5.0, "{moved} of {partitions} to {shards} and one more");
    }
}

#[test]
fn what_cannot_be_a_cluster_is_refused() {
    let urls = ["http://127.0.0.1:9".to_owned(), "http://127.0.0.1:10".to_owned()];
    let refused = |topology| Warehouse::cluster(topology, "penstock", "default", None).unwrap_err().to_string();
    let pair = Topology { shards: vec![urls.to_vec()], ..topology(&[]) };
    assert!(refused(pair).contains("Keeper"));
    assert!(refused(topology(&[])).contains("needs a server"));
    assert!(refused(Topology { name: "a b".to_owned(), ..topology(&urls) }).contains("plain word"));
    assert!(refused(topology(&["ftp://x".to_owned()])).contains("http://"));
    let warehouse = named(topology(&urls));
    assert!(warehouse.shard(2).unwrap_err().to_string().contains("shard 2"));
}
