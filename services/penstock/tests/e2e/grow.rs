//! The log gets more partitions while events flow, whatever dies meanwhile: nothing is lost, nothing counts twice, and what is known of a user
//! goes on where the user's events do.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use api::v1::value::Kind;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    account::{keys, publish},
    alone::faults,
    clients::event,
    erasure::{self, books, identify},
    house::House,
    load::{self, Load, seed},
    replay, stand,
};

/// A process that takes events and is gone is waited for, a minute.
const GROWTH: Duration = Duration::from_secs(300);
/// In every partition there are some.
const USERS: usize = 60;

async fn topic(house: &House) -> Value {
    let (status, answer) = erasure::get(house, &house.operator_key(), "/v1/topic").await;
    assert!(status == 200 || status == 503, "{answer}");
    answer["topic"].clone()
}

async fn ask(house: &House, partitions: u32) {
    let asked = json!({ "partitions": partitions });
    let (status, answer) = house.post(&house.operator_key(), "/v1/topic:grow", &asked).await;
    assert_eq!(status, 200, "{answer}");
}

/// Waits until the topic has so many partitions and nothing more is to be done for it.
async fn grown(house: &House, partitions: u32) {
    let started = Instant::now();
    loop {
        let topic = topic(house).await;
        if topic["partitions"] == partitions && topic["state"] == "STATE_STEADY" {
            return;
        }
        assert!(started.elapsed() < GROWTH, "{topic}\n{}", house.log());
        sleep(Duration::from_millis(50)).await;
    }
}

/// Users of whom something is known, and who did something.
struct Witness<'a> {
    house: &'a House,
    key: String,
    /// How often they did something new.
    turns: usize,
    /// How often they sent all of it again.
    again: usize,
    /// Covers the first turn.
    token: String,
}

impl<'a> Witness<'a> {
    async fn new(house: &'a House, tenant: &str) -> Self {
        let key = keys(house, tenant).await;
        for user in 0..USERS {
            identify(house, &key, &format!("{tenant}-{user}"), "DE").await;
        }
        let mut witness = Self { house, key, turns: 0, again: 0, token: String::new() };
        witness.token = witness.turn(tenant).await;
        witness
    }

    /// One new event of each user, and all events of before once more.
    async fn turn(&mut self, tenant: &str) -> String {
        self.turns += 1;
        let of_turn = |turn: usize| {
            (0..USERS).map(move |user| {
                let (id, user) = (format!("e{turn}-{user}"), format!("{tenant}-{user}"));
                event("did", &id, &user, &[("n", Kind::Integer(1))])
            })
        };
        for turn in 1..self.turns {
            assert_eq!(publish(self.house, &self.key, of_turn(turn).collect()).await.accepted as usize, USERS);
            self.again += 1;
        }
        publish(self.house, &self.key, of_turn(self.turns).collect()).await.position_token
    }

    /// Each counts once, in its user's country, and the books say so; `erased` of the users are none any more.
    async fn check(&self, settles: u64, erased: usize) {
        let (house, key) = (self.house, &self.key);
        let balance = books(house, key).await;
        let [stored, gone] = [USERS - erased, erased].map(|users| (users * self.turns) as u64);
        let duplicates = (self.again * (USERS - erased)) as u64;
        let of_erased = gone + (self.again * erased) as u64;
        assert_eq!(
            balance[1..],
            [stored + settles, duplicates, 0, of_erased],
            "stored, duplicates, dead letters, erased"
        );
        let sql = "SELECT country, COUNT(*), COUNT(DISTINCT event_id), COUNT(DISTINCT user_id) FROM events \
            WHERE event_type = 'did' GROUP BY country";
        // A token from before the first growth is as good as ever.
        let rows = house.sql(key, sql, &self.token).await;
        assert_eq!(rows, [[json!("DE"), json!(stored), json!(stored), json!(USERS - erased)]]);
        let users = house.sql(key, "SELECT country, COUNT(*) FROM users GROUP BY country", "").await;
        assert_eq!(users, [[json!("DE"), json!(USERS - erased)]]);
    }
}

/// Who of the witness's users has rows in the most partitions, and in how many.
async fn most_moved(house: &House, tenant: &str) -> (u32, String) {
    let of = |table: &str| format!("SELECT user, _partition AS p FROM {table} WHERE tenant = '{tenant}'");
    let both = format!("{} UNION ALL {}", of("events"), of("users"));
    let most = format!("SELECT uniqExact(p) AS n, user FROM ({both}) GROUP BY user ORDER BY n DESC LIMIT 1");
    let answer = house.warehouse(&most).await;
    let (number, user) = answer.trim().split_once('\t').expect("a row");
    (number.parse().unwrap(), user.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_grows_twice_under_load_and_whoever_moved_is_the_same() {
    // Of 16 partitions a block each every quarter of a second is more than a machine has time for that does something else too.
    let slow = "[pipeline]\nblock_interval_ms = 1000\nblock_interval_busy_ms = 4000\n";
    let house = House::start_with(&format!("{}{slow}", erasure::CONFIG)).await;
    let mut load = Load::start(&house, seed());
    let mut witness = Witness::new(&house, "red").await;
    load.progress(10).await;
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
        command.args(["topic", "--server", &format!("http://{}", house.address), "--key", &house.operator_key()]);
        let output = command.args(arguments).output().unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(),
        )
    };
    assert_eq!(run(&["show"]), (true, "events  4 partitions  steady\n".to_owned()));
    for (wrong, told) in
        [("0", "multiple of 4"), ("6", "multiple of 4"), ("2", "never gets fewer"), ("2048", "at most 1024")]
    {
        let (well, said) = run(&["grow", "--partitions", wrong]);
        assert!(!well && said.contains("partitions: must be") && said.contains(told), "{wrong}: {said}");
    }
    let (well, said) = run(&["grow", "--partitions", "8"]);
    assert!(well && said.starts_with("events  4 partitions  growing to 8"), "{said}");
    load.progress(20).await;
    grown(&house, 8).await;
    witness.turn("red").await;
    witness.check(1, 0).await;
    ask(&house, 8).await; // again changes nothing
    ask(&house, 16).await;
    load.progress(10).await;
    grown(&house, 16).await;
    assert_eq!(run(&["show"]), (true, "events  16 partitions  steady\n".to_owned()));
    witness.turn("red").await;
    witness.check(2, 0).await;

    // Who is erased is so in every partition.
    let most = most_moved(&house, "red").await;
    assert_eq!(most.0, 3, "nobody moved twice");
    erasure::done(&house, &witness.key, &erasure::erase(&house, &witness.key, &most.1).await).await;
    assert_eq!(erasure::rows(&house, &most.1).await, [0; 5]);
    witness.check(3, 1).await;
    // What is replayed, before and after each growth, is the same again.
    house
        .warehouse("ALTER TABLE events DELETE WHERE tenant = 'red' AND _offset % 2 = 0 SETTINGS mutations_sync = 2")
        .await;
    replay::done(&house, &replay::start(&house).await).await;
    assert_eq!(erasure::rows(&house, &most.1).await, [0; 5], "the erased stay erased");
    witness.check(4, 1).await;
    load.settle(&house).await;
    erasure::assert_rolled_up(&house).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_growth_goes_on_wherever_it_was_killed() {
    let mut house = House::start().await;
    let mut load = Load::start(&house, seed());
    load.progress(10).await;
    for (partitions, words) in
        [(8, "is to get more partitions"), (16, "events wait"), (32, "the log has more partitions")]
    {
        let seen = house.log().matches(words).count();
        ask(&house, partitions).await;
        house.until(|house| house.log().matches(words).count() > seen).await;
        house.kill();
        house.launch().await;
        load.field.address.send_replace(house.address.clone());
        grown(&house, partitions).await;
        load.progress(10).await;
    }
    load.settle(&house).await;
}

mod alone {
    use super::*;

    /// Partitions in Kafka, and every role in processes of its own, each of which dies amid it.
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "takes minutes: make verify"]
    async fn a_topic_of_kafka_grows_whoever_dies() {
        let stand = stand::alone().await;
        let mut load = faults::load(&stand, seed());
        let mut witness = Witness::new(&stand, "growing").await;
        let before = topic(&stand).await["partitions"].as_u64().unwrap() as u32;
        load.progress(10).await;
        ask(&stand, 2 * before).await;
        for name in ["admin-1", "ingest-1", "pipeline-1", "query-1"] {
            stand.kill(name);
            load.progress(5).await;
            stand.start_again(name);
            load.progress(5).await;
        }
        grown(&stand, 2 * before).await;
        load.progress(20).await;
        witness.turn("growing").await;
        witness.check(1, 0).await;
        // One that stands still for it, and wakes up when the others have gone on.
        ask(&stand, 4 * before).await;
        stand.signal("ingest-2", "STOP");
        grown(&stand, 4 * before).await;
        stand.signal("ingest-2", "CONT");
        load.progress(20).await;
        witness.turn("growing").await;
        witness.check(2, 0).await;
        load::all_may_be_retried(&load.settle(&stand).await);
    }
}
