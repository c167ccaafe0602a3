//! A part of the log is put into the warehouse anew, while events flow: what was lost is there again, what was wrong is right, and nothing
//! else is any different.

use std::process::Command;

use api::{convert::time_to_wire, v1};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use crate::{
    account::{APP, keys, publish, reconcile, settle},
    clients::event,
    erasure,
    house::{House, PATIENCE},
    load::{Load, seed},
    retention,
};

/// More than one block a partition: there is something to be cut off.
fn config() -> String {
    format!("{}[pipeline]\nblock_records = 2000\n", erasure::CONFIG)
}

/// Asks for a replay of the last hour; returns its id.
pub async fn start(house: &House) -> String {
    let now = Timestamp::now();
    let hour_ago = now - SignedDuration::from_hours(1);
    let body = json!({"from": hour_ago.to_string(), "to": now.to_string()});
    let (status, answer) = house.post(&house.operator_key(), "/v1/replays", &body).await;
    assert_eq!(status, 200, "{answer}");
    answer["replay"]["replay_id"].as_str().unwrap().to_owned()
}

async fn look(house: &House, id: &str) -> Value {
    let (status, answer) = erasure::get(house, &house.operator_key(), &format!("/v1/replays/{id}")).await;
    assert_eq!(status, 200, "{answer}");
    answer["replay"].clone()
}

async fn until(house: &House, id: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let replay = look(house, id).await;
        if holds(&replay) {
            return replay;
        }
        assert!(started.elapsed() < PATIENCE, "{replay}\n{}", house.log());
        sleep(Duration::from_millis(20)).await;
    }
}

/// The replay, once it is done.
pub async fn done(house: &House, id: &str) -> Value {
    let replay = until(house, id, |replay| replay["finished_at"].is_string()).await;
    assert_eq!(replay["state"], "STATE_DONE", "{replay}");
    replay
}

/// A number of 64 bits: text in JSON, and left out where it is 0.
pub fn number(value: &Value) -> u64 {
    value.as_str().map_or_else(|| value.as_u64().unwrap_or(0), |text| text.parse().unwrap())
}

/// What the tenant sees of its app, in many ways.
async fn answers(house: &House, key: &str) -> Vec<Vec<Vec<Value>>> {
    let mut all = Vec::new();
    for sql in [
        "SELECT event_type, COUNT(*), SUM(n), COUNT(DISTINCT user_id), COUNT(DISTINCT event_id) FROM events \
         WHERE event_type <> 'last' GROUP BY event_type ORDER BY event_type",
        "SELECT country, user_plan, COUNT(*) FROM events WHERE event_type <> 'last' GROUP BY country, user_plan ORDER BY 1, 2",
        "SELECT date_trunc('day', timestamp) AS day, COUNT(DISTINCT user_id) FROM events WHERE user_id <> '' GROUP BY day ORDER BY day",
        "SELECT date_trunc('hour', timestamp) AS hour, SUM(n) FROM events WHERE timestamp < now() - INTERVAL 1 DAY \
         GROUP BY hour ORDER BY hour",
        "SELECT who, COUNT(*) FROM events WHERE event_type = 'buy' GROUP BY who ORDER BY who",
    ] {
        all.push(house.sql(key, sql, "").await);
    }
    all
}

/// Events of `days` days, which only a key that may backfill can send.
async fn backfill(house: &House, days: i64) {
    let key = house.tenant("red", APP, &["ingest", "backfill"]).await;
    let now_ms = Timestamp::now().as_millisecond();
    let at = |i: i64| v1::Event {
        timestamp: Some(time_to_wire(now_ms - (i % days + 2) * 86_400_000)),
        ..event("late", &format!("late{i}"), &format!("u{}", i % 5), &[("n", v1::value::Kind::Integer(i))])
    };
    assert_eq!(publish(house, &key, (0..3 * days).map(at).collect()).await.accepted as i64, 3 * days);
}

/// Rows vanish, others become wrong, some stand twice: of the tenant, and of the load.
async fn damage(house: &House) {
    let wait = "SETTINGS mutations_sync = 2";
    for statement in [
        format!("ALTER TABLE events DELETE WHERE tenant = 'red' AND cityHash64(event_id, user) % 3 = 0 {wait}"),
        format!("ALTER TABLE events UPDATE n0 = 77, country = 'XX' WHERE tenant = 'red' AND cityHash64(event_id) % 3 = 1 {wait}"),
        format!("ALTER TABLE events DELETE WHERE app = 'xyz123' AND _offset % 5 = 0 {wait}"),
        "INSERT INTO events SELECT * FROM events WHERE tenant = 'red' AND _offset % 2 = 1 SETTINGS insert_deduplicate = 0".to_owned(),
        format!("ALTER TABLE uncounted DELETE WHERE tenant = 'red' AND reason = 'duplicate' AND _offset % 2 = 0 {wait}"),
        format!("ALTER TABLE users UPDATE country = 'XX' WHERE tenant = 'red' {wait}"),
        format!("ALTER TABLE daily_users DELETE WHERE tenant = 'red' AND user = 'cleo' {wait}"),
    ] {
        house.warehouse(&statement).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_lost_or_wrong_is_right_again_while_events_flow_and_who_was_erased_stays_so() {
    let house = House::start_with(&config()).await;
    let key = keys(&house, "red").await;
    for user in ["ada", "bob", "cleo", "dan"] {
        erasure::live(&house, &key, user).await;
    }
    backfill(&house, 5).await;
    settle(&house, &key).await;
    erasure::done(&house, &key, &erasure::erase(&house, &key, "bob").await).await;
    let before = answers(&house, &key).await;
    let books = erasure::books(&house, &key).await;

    let mut load = Load::unwatched(&house, seed());
    load.progress(10).await;
    damage(&house).await;
    assert_ne!(answers(&house, &key).await, before);
    assert_ne!(reconcile(&house, &key, APP).await.differences, []);

    let id = start(&house).await;
    let (status, answer) = house
        .post(
            &house.operator_key(),
            "/v1/replays",
            &json!({"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}),
        )
        .await;
    assert_eq!(
        (status, &answer["error"]["details"][0]["reason"]),
        (409, &json!("ALREADY_EXISTS")),
        "one at a time: {answer}"
    );
    // Asked for amid it, and done: the copies don't bring the user back.
    let dan = erasure::erase(&house, &key, "dan").await;
    load.progress(10).await;
    let replay = done(&house, &id).await;
    erasure::done(&house, &key, &dan).await;
    assert_eq!(replay["records"], replay["records_read"]);
    let table = |name: &str| {
        let tables = replay["tables"].as_array().unwrap();
        let table = tables.iter().find(|table| table["table"] == name).unwrap();
        [number(&table["rows_before"]), number(&table["rows_after"])]
    };
    assert!(table("events")[0] != table("events")[1] && table("uncounted")[0] < table("uncounted")[1], "{replay}");
    let rows = ["events", "users", "uncounted"].map(|name| table(name)[1]);
    assert_eq!(rows.iter().sum::<u64>(), number(&replay["records"]), "each record has its row");

    let mut wanted = before;
    let [by_type, by_country, by_day, _, by_who] = &mut wanted[..] else { panic!("five questions") };
    let less = |row: &mut Vec<Value>, at: usize, n: u64| row[at] = json!(row[at].as_u64().unwrap() - n);
    let buys = by_type.iter_mut().find(|row| row[0] == "buy").unwrap();
    less(buys, 1, 10);
    less(buys, 3, 1);
    buys[2] = json!(buys[2].as_f64().unwrap() - 10.0);
    less(by_country.iter_mut().find(|row| row[0] == "DE").unwrap(), 2, 10);
    less(by_day.last_mut().unwrap(), 1, 1);
    by_who.retain(|row| row[0] != "dan");
    assert_eq!(answers(&house, &key).await, wanted, "all as before, less the one that was erased since");
    for user in ["bob", "dan"] {
        assert_eq!(erasure::rows(&house, user).await, [0; 5], "{user}");
    }
    let after = erasure::books(&house, &key).await;
    // One more of `settle`; and of the erased one ten events, ten duplicates, four dead letters.
    assert_eq!(after, [books[0] + 1, books[1] + 1 - 10, books[2] - 10, books[3] - 4, books[4] + 24]);
    load.settle(&house).await;
    erasure::assert_rolled_up(&house).await;
    let left = "SELECT name FROM system.tables WHERE database = 'penstock' ORDER BY name";
    assert_eq!(house.warehouse(left).await, "bucket_states\ndaily_users\ndaily_users_view\nevents\nuncounted\nusers\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_goes_on_wherever_it_was_killed() {
    let mut house = House::start_with(&config()).await;
    let key = keys(&house, "red").await;
    for user in ["ada", "bob"] {
        erasure::live(&house, &key, user).await;
    }
    // Some days, to be swapped one by one.
    backfill(&house, 12).await;
    settle(&house, &key).await;
    let before = answers(&house, &key).await;
    let books = erasure::books(&house, &key).await;
    let mut load = Load::unwatched(&house, seed());
    load.progress(10).await;
    damage(&house).await;

    let id = start(&house).await;
    until(&house, &id, |replay| number(&replay["records_read"]) > 0).await;
    house.kill();
    house.launch().await;
    load.field.address.send_replace(house.address.clone());
    for kills in 1..=2 {
        // Amid the swap: the pipeline stands still, and its days are new or old.
        house.until(|house| house.log().matches("stands still for a replay").count() >= kills).await;
        if kills == 1 {
            house.kill();
            house.launch().await;
            load.field.address.send_replace(house.address.clone());
        } else {
            house.kill_warehouse();
        }
        load.progress(10).await;
    }
    let replay = done(&house, &id).await;
    assert!(number(&replay["attempts"]) >= 3, "no kill hit it: {replay}");
    load.progress(10).await;
    assert_eq!(answers(&house, &key).await, before);
    let after = erasure::books(&house, &key).await;
    assert_eq!(after, [books[0] + 1, books[1] + 1, books[2], books[3], books[4]]);
    load.settle(&house).await;
    erasure::assert_rolled_up(&house).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_longer_kept_does_not_come_back() {
    let house = House::start_with("[retention]\nlook_seconds = 1\n").await;
    let permissions = ["ingest", "query", "backfill", "admin"];
    let [red, blue] = [
        house.tenant("red", retention::APP, &permissions).await,
        house.tenant("blue", retention::APP, &permissions).await,
    ];
    for key in [&red, &blue] {
        let answer = retention::publish(&house, key, &[0, 3, 40]).await;
        retention::ids(&house, key, answer["position_token"].as_str().unwrap()).await;
    }
    retention::keep(&house, "red", Some(8)).await;
    retention::until_left(&house, &red, &["e0", "e3"]).await;
    // Since then it is kept again: a later event of the day stays, one that went does not return.
    retention::keep(&house, "red", None).await;
    let token = loop {
        let answer = retention::publish(&house, &red, &[41]).await; // ingest soon learns of it
        if answer["accepted"] == json!(1) {
            break answer["position_token"].as_str().unwrap().to_owned();
        }
        assert_eq!(answer["rejections"][0]["code"], json!("EXPIRED"), "{answer}");
    };
    retention::ids(&house, &red, &token).await;
    house.warehouse("ALTER TABLE events DELETE WHERE event_id = 'e3' SETTINGS mutations_sync = 2").await;
    done(&house, &start(&house).await).await;
    assert_eq!(retention::ids(&house, &red, "").await, ["e0", "e3", "e41"]);
    assert_eq!(retention::ids(&house, &blue, "").await, ["e0", "e3", "e40"]);
    let answer = reconcile(&house, &red, retention::APP).await;
    assert_eq!(
        answer.hours.iter().map(|hour| [hour.expired, hour.stored, hour.missing]).fold([0; 3], |a, b| [
            a[0] + b[0],
            a[1] + b[1],
            a[2] + b[2]
        ]),
        [1, 3, 0]
    );
    erasure::assert_rolled_up(&house).await;
}

#[tokio::test]
async fn what_can_not_be_replayed_is_said_by_its_field_and_a_terminal_does_it_too() {
    let house = House::start().await;
    let (key, operator) = (keys(&house, "red").await, house.operator_key());
    publish(&house, &key, vec![event("buy", "e1", "ada", &[])]).await;
    settle(&house, &key).await;
    let range = |partition: u32, first: &str, last: &str| json!({"ranges": [{"partition": partition, "first_offset": first, "last_offset": last}]});
    for (body, field) in [
        (json!({}), "from"),
        (json!({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}), "to"),
        (json!({"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"}), "from"),
        (range(0, "1", "0"), "ranges[0].last_offset"),
        (range(0, "0", "1000000"), "ranges[0].last_offset"),
        (range(4, "0", "0"), "ranges[0].partition"),
    ] {
        let (status, answer) = house.post(&operator, "/v1/replays", &body).await;
        assert_eq!(
            (status, &answer["error"]["details"][1]["fieldViolations"][0]["field"]),
            (400, &json!(field)),
            "{answer}"
        );
    }
    assert_eq!(house.post(&key, "/v1/replays", &json!({})).await.0, 403);
    assert_eq!(erasure::get(&house, &operator, "/v1/replays/0").await.0, 404);

    let penstock = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
        command
            .arg("replay")
            .args(["--server", &format!("http://{}", house.address), "--key", &operator])
            .args(arguments);
        let output = command.output().unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (ok, said) = penstock(&["start", "--range", "4:0-9"]);
    assert!(!ok && said.contains("ranges[0].partition"), "{said}");
    let (from, to) = (Timestamp::now() - SignedDuration::from_hours(1), Timestamp::now());
    let (ok, said) = penstock(&["start", "--from", &from.to_string(), "--to", &to.to_string()]);
    let id = said.trim();
    assert!(ok && id.len() == 32, "{said}");
    done(&house, id).await;
    let (ok, said) = penstock(&["show", id]);
    assert!(ok && said.contains(&format!("\n{id}  done ")) && said.contains("events "), "{said}");
    assert!(penstock(&["list"]).1.contains(id));
    // It is done: to end it changes nothing.
    assert!(penstock(&["cancel", id]).1.contains("done"));
    let answer =
        house.http.delete(format!("http://{}/v1/replays/{id}", house.address)).bearer_auth(&operator).send().await;
    assert_eq!(answer.unwrap().json::<Value>().await.unwrap()["replay"]["state"], "STATE_DONE");
}

mod alone {
    use super::*;
    use crate::{alone::faults, load::all_may_be_retried, stand};

    /// Exactly the offsets that are named, of a log in Kafka, while others send and look.
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "takes minutes: make verify"]
    async fn a_range_of_kafka_s_log_is_put_in_anew_and_nothing_beside_it() {
        let (stand, seed) = (stand::alone().await, seed());
        let key = stand.tenant("anew", APP, &["ingest", "query", "admin"]).await;
        for n in 0..5 {
            publish(
                &stand,
                &key,
                (n * 100..n * 100 + 100).map(|i| event("buy", &format!("e{i}"), "ada", &[])).collect(),
            )
            .await;
        }
        settle(&stand, &key).await;
        let ids = async || {
            stand.sql(&key, "SELECT event_id FROM events WHERE event_type = 'buy' ORDER BY event_id", "").await
        };
        let before = ids().await;
        assert_eq!(before.len(), 500);
        let mut load = faults::load(&stand, seed);
        load.progress(10).await;

        let hers = "tenant = 'anew' AND event = 'buy'";
        let places = stand
            .warehouse(&format!("SELECT _partition, _offset, event_id FROM events WHERE {hers} ORDER BY _offset"))
            .await;
        let places: Vec<(u32, u64, &str)> = places
            .lines()
            .map(|line| {
                let [partition, offset, id] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
                (partition.parse().unwrap(), offset.parse().unwrap(), id)
            })
            .collect();
        stand.warehouse(&format!("ALTER TABLE events DELETE WHERE {hers} SETTINGS mutations_sync = 2")).await;
        assert_eq!(ids().await.len(), 0);
        // All are one user's, and so of one partition.
        let anew = async |places: &[(u32, u64, &str)]| {
            let ((partition, first, _), (_, last, _)) = (places[0], places[places.len() - 1]);
            let range =
                json!({"partition": partition, "first_offset": first.to_string(), "last_offset": last.to_string()});
            let (status, answer) = stand.post(&stand.operator_key(), "/v1/replays", &json!({"ranges": [range]})).await;
            assert_eq!(status, 200, "{answer}");
            let replay = done(&stand, answer["replay"]["replay_id"].as_str().unwrap()).await;
            assert_eq!(number(&replay["records"]), last - first + 1, "{replay}");
        };
        anew(&places[..123]).await;
        let mut first: Vec<_> = places[..123].iter().map(|(_, _, id)| vec![json!(id)]).collect();
        first.sort_by_key(|row| row[0].to_string());
        assert_eq!(ids().await, first, "of what is missing nothing else came back");
        load.progress(10).await;
        anew(&places[123..]).await;
        assert_eq!(ids().await, before);
        assert_eq!(reconcile(&stand, &key, APP).await.differences, []);
        all_may_be_retried(&load.settle(&stand).await);
    }
}
