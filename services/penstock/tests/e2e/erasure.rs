//! A user is erased: nothing of that one is left, nothing of another's is touched, and the books still balance.

use std::collections::BTreeSet;

use api::{
    convert::time_to_wire,
    v1::{self, ReconcileResponse, ReconciledHour, value::Kind},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    account::{APP, keys, publish, reconcile, settle},
    clients::event,
    house::{House, PATIENCE},
    kept::{self, Board},
};

/// Looks again at once: no test waits for an insert that hangs.
pub const CONFIG: &str = "[admin]\nlook_again_seconds = 0\n";
/// A name that would break a careless quoting.
const NASTY: &str = r#"it's \' "ada" -- {x:String} 🦀"#;

pub async fn get(house: &House, key: &str, path: &str) -> (u16, Value) {
    let answer = house.http.get(format!("http://{}{path}", house.address)).bearer_auth(key).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Asks for a user's erasure; returns its id.
pub async fn erase(house: &House, key: &str, user: &str) -> String {
    erase_of(house, key, APP, user).await
}

/// The same of another app's.
pub async fn erase_of(house: &House, key: &str, app: &str, user: &str) -> String {
    let (status, answer) = house.post(key, "/v1/erasures", &json!({"app_id": app, "user_id": user})).await;
    assert_eq!((status, &answer["erasure"]["user_id"]), (200, &json!(user)), "{answer}");
    answer["erasure"]["erasure_id"].as_str().unwrap().to_owned()
}

async fn look(house: &House, key: &str, id: &str) -> Value {
    let (status, answer) = get(house, key, &format!("/v1/erasures/{id}")).await;
    assert_eq!(status, 200, "{answer}");
    answer["erasure"].clone()
}

/// The erasure, once it is in one of these states.
async fn until(house: &House, key: &str, id: &str, states: &[&str]) -> Value {
    let started = Instant::now();
    loop {
        let erasure = look(house, key, id).await;
        if states.iter().any(|state| erasure["state"] == *state) {
            return erasure;
        }
        assert!(started.elapsed() < PATIENCE, "{erasure}\n{}", house.log());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

pub async fn done(house: &House, key: &str, id: &str) -> Value {
    until(house, key, id, &["STATE_DONE"]).await
}

/// What was deleted: events, identifies, and what didn't count.
fn deleted(erasure: &Value) -> [u64; 3] {
    assert!(erasure["finished_at"].is_string(), "{erasure}");
    // Numbers of 64 bits are text in JSON, and left out where they are 0.
    ["events_deleted", "identifies_deleted", "uncounted_deleted"].map(|field| {
        erasure[field].as_str().map_or_else(|| erasure[field].as_u64().unwrap_or(0), |n| n.parse().unwrap())
    })
}

fn events(user: &str, ids: std::ops::Range<usize>) -> Vec<v1::Event> {
    ids.map(|i| event("buy", &format!("e{i}"), user, &[("n", Kind::Integer(1)), ("who", Kind::String(user.into()))]))
        .collect()
}

pub async fn identify(house: &House, key: &str, user: &str, country: &str) {
    let traits = json!({"country": {"string": country}, "plan": {"string": "pro"}});
    let body = json!({"app_id": APP, "user_id": user, "traits": traits});
    let (status, answer) = house.post(key, "/v1/identify", &body).await;
    assert_eq!(status, 200, "{answer}");
}

/// A life of a user: known, ten events, each sent twice, and two that come too late.
pub async fn live(house: &House, key: &str, user: &str) {
    identify(house, key, user, "DE").await;
    let old = time_to_wire(Timestamp::now().as_millisecond() - 48 * 3_600_000);
    let mut sent = events(user, 0..10);
    sent.extend(events(user, 10..12).into_iter().map(|event| v1::Event { timestamp: Some(old), ..event }));
    for accepted in [10, 10] {
        assert_eq!(publish(house, key, sent.clone()).await.accepted, accepted);
    }
}

/// How many events there are of a user, from which countries, by the events and by the rollup.
async fn shown(house: &House, key: &str, user: &str) -> (u64, Vec<String>) {
    let quoted = user.replace('\'', "''");
    let sql = format!("SELECT country, COUNT(*) FROM events WHERE user_id = '{quoted}' GROUP BY country ORDER BY 1");
    let (status, body) = house.post(key, "/v1/sql", &json!({"sql": sql, "app_id": APP})).await;
    assert_eq!(status, 200, "{body}");
    let rows = crate::house::rows(&body["result"]);
    let countries = rows.iter().map(|row| row[0].as_str().unwrap_or("").replace("NULL_VALUE", "")).collect();
    (rows.iter().map(|row| row[1].as_u64().unwrap()).sum(), countries)
}

/// Rows of the warehouse's own tables in which the user stands, whatever tenant's.
pub async fn rows(house: &House, user: &str) -> [u64; 5] {
    let quoted = user.replace('\\', r"\\").replace('\'', r"\'");
    let count = async |table: &str, what: &str| {
        house.warehouse(&format!("SELECT count() FROM {table} WHERE {what}")).await.trim().parse::<u64>().unwrap()
    };
    let of_user = format!("user = '{quoted}'");
    [
        count("events", &of_user).await,
        count("users", &of_user).await,
        count("uncounted", &of_user).await,
        count("daily_users", &of_user).await,
        // Texts of a record stand behind their length. Without it "ada" and the time that follows can spell "dan".
        count("uncounted", &format!("position(record, concat(char({}), '{quoted}')) > 0", user.len())).await,
    ]
}

/// Whether the rollup counts just what the events do.
pub async fn assert_rolled_up(house: &House) {
    let of = |table: &str, day: &str, count: &str| {
        format!("SELECT tenant, app, user, {day} AS d, {count} FROM {table} GROUP BY tenant, app, user, d ORDER BY ALL")
    };
    let events = house.warehouse(&of("events", "toDate(ts)", "count()")).await;
    let daily = house.warehouse(&of("daily_users", "toDate(day)", "sum(events)")).await;
    assert_eq!(events, daily);
}

/// Accepted, stored, duplicates, dead letters, erased; and that nothing is missing or doubled.
pub async fn books(house: &House, key: &str) -> [u64; 5] {
    settle(house, key).await;
    let answer: ReconcileResponse = reconcile(house, key, APP).await;
    assert_eq!(answer.differences, [], "{answer:?}");
    let of = |figure: fn(&ReconciledHour) -> u64| answer.hours.iter().map(figure).sum::<u64>();
    assert_eq!((of(|h| h.missing), of(|h| h.doubled)), (0, 0));
    [of(|h| h.accepted), of(|h| h.stored), of(|h| h.duplicates), of(|h| h.dead_letters), of(|h| h.erased)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_erased_user_nothing_is_left_and_who_comes_after_is_new() {
    let mut house = House::start_with(CONFIG).await;
    let (key, other) = (keys(&house, "red").await, keys(&house, "blue").await);
    for (key, users) in [(&key, &["ada", NASTY, "bob"][..]), (&other, &["ada"])] {
        for user in users {
            live(&house, key, user).await;
        }
    }
    // `settle` sends one more each time.
    assert_eq!(books(&house, &key).await, [73, 31, 30, 12, 0]);
    assert_eq!(shown(&house, &key, "ada").await, (10, vec!["DE".to_owned()]));

    // What is still on its way is erased too; what comes after the answer is not.
    assert_eq!(publish(&house, &key, events("ada", 20..23)).await.accepted, 3);
    let id = erase(&house, &key, "ada").await;
    assert_eq!(publish(&house, &key, events("ada", 0..4)).await.accepted, 4);
    let nasty = erase(&house, &key, NASTY).await;
    let erasure = done(&house, &key, &id).await;
    // What the pipeline came to later than the request was never stored.
    let [stored, identifies, uncounted] = deleted(&erasure);
    assert!((10..=13).contains(&stored) && (identifies, uncounted) == (1, 14), "{erasure}");
    assert_eq!(deleted(&done(&house, &key, &nasty).await), [10, 1, 14]);
    assert_eq!(books(&house, &key).await, [81, 16, 10, 4, 51]);
    assert_eq!(shown(&house, &key, "ada").await, (4, vec![String::new()]), "counts anew, without the old traits");
    assert_eq!(shown(&house, &key, NASTY).await.0, 0);
    assert_eq!(shown(&house, &key, "bob").await, (10, vec!["DE".to_owned()]));
    assert_eq!(shown(&house, &other, "ada").await, (10, vec!["DE".to_owned()]), "another tenant's of the same name");
    assert_eq!(rows(&house, NASTY).await, [0; 5]);
    assert_eq!(rows(&house, "ada").await, [14, 1, 14, 2, 4], "the other tenant's, and the new one's four");
    assert_rolled_up(&house).await;

    // Who asks sees their own.
    let (status, answer) = get(&house, &key, &format!("/v1/erasures?app_id={APP}&page_size=1")).await;
    let listed = |answer: &Value| answer["erasures"][0]["erasure_id"].as_str().unwrap_or_default().to_owned();
    assert_eq!((status, listed(&answer)), (200, nasty.clone()), "{answer}");
    let token = answer["next_page_token"].as_str().unwrap();
    let (_, answer) = get(&house, &key, &format!("/v1/erasures?app_id={APP}&page_size=1&page_token={token}")).await;
    assert_eq!((listed(&answer), answer["next_page_token"].as_str().unwrap_or_default()), (id.clone(), ""));
    assert_eq!(get(&house, &other, &format!("/v1/erasures/{id}")).await.0, 404);
    assert_eq!(get(&house, &other, &format!("/v1/erasures?app_id={APP}")).await.1["erasures"], json!([]));
    let operator = house.operator_key();
    assert_eq!(get(&house, &operator, &format!("/v1/erasures/{id}?tenant_id=red")).await.0, 200);

    // The running worker and a new one know the same of the new user.
    identify(&house, &key, "ada", "FR").await;
    for restarted in [false, true] {
        if restarted {
            assert!(house.terminate().success());
            house.launch().await;
        }
        let again = events("ada", 0..4); // seen
        let new = events("ada", if restarted { 7..10 } else { 4..7 }); // an erased one's
        publish(&house, &key, [again, new].concat()).await;
    }
    let [accepted, stored, duplicates, ..] = books(&house, &key).await;
    assert_eq!([accepted, stored, duplicates], [81 + 15, 16 + 7, 10 + 8]);
    assert_eq!(shown(&house, &key, "ada").await, (10, vec!["FR".to_owned(), String::new()]));

    // The new one can be erased like the old.
    let id = erase(&house, &key, "ada").await;
    assert_eq!(deleted(&done(&house, &key, &id).await), [10, 1, 8]);
    assert_eq!(shown(&house, &key, "ada").await.0, 0);
    assert_eq!(rows(&house, "ada").await, [10, 1, 12 + 2, 1, 4]);
    assert_rolled_up(&house).await;
}

#[tokio::test]
async fn an_erasure_goes_on_wherever_it_was_killed() {
    let mut house = House::start_with(CONFIG).await;
    let key = keys(&house, "red").await;
    let users: Vec<_> = (0..6).map(|i| format!("u{i}")).collect();
    for user in &users {
        live(&house, &key, user).await;
    }
    let before = books(&house, &key).await;
    let (erased, kept) = users.split_at(4);
    let mut ids = Vec::new();
    for user in erased {
        ids.push(erase(&house, &key, user).await);
    }
    house.kill();
    house.launch().await;
    until(&house, &key, &ids[0], &["STATE_DELETING", "STATE_SETTLING", "STATE_DONE"]).await;
    house.kill_warehouse();
    until(&house, &key, &ids[0], &["STATE_SETTLING", "STATE_DONE"]).await;
    house.kill();
    house.launch().await;
    let mut gone = BTreeSet::new();
    for id in &ids {
        gone.insert(deleted(&done(&house, &key, id).await));
    }
    assert_eq!(gone, BTreeSet::from([[10, 1, 14]]), "none is counted twice");
    let after = books(&house, &key).await;
    assert_eq!(after[0], before[0] + 1);
    assert_eq!(after[1..], [before[1] + 1 - 40, 20, 8, 96]);
    for user in erased {
        assert_eq!(rows(&house, user).await, [0; 5], "{user}");
    }
    for user in kept {
        assert_eq!(shown(&house, &key, user).await, (10, vec!["DE".to_owned()]));
    }
    assert_rolled_up(&house).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_kept_of_an_answer_is_told_anew() {
    let house = House::start_with(CONFIG).await;
    let admin = house.tenant("red", kept::APP, &["admin"]).await;
    let mut board = Board::new(&house, "red").await;
    // Of hours that have ended: u1 and u2 in turns, over two days.
    let hourly: Vec<_> = (2..22).map(|hour| (hour * 3_600_000, hour as u32 % 2 + 1)).collect();
    board.send(&hourly).await;
    let by_hour = "SELECT date_trunc('hour', timestamp) t, COUNT(*) n, COUNT(DISTINCT user_id) users FROM events \
        WHERE timestamp > now() - INTERVAL 2 DAY GROUP BY t ORDER BY t DESC";
    let by_day =
        "SELECT date_trunc('day', timestamp) t, COUNT(DISTINCT user_id) users FROM events GROUP BY t ORDER BY t DESC";
    assert_eq!(board.kept(by_hour).await.len(), 20);
    assert_eq!(board.computed(by_day, "").await.iter().map(|row| row[1].as_u64().unwrap()).max(), Some(2));
    done(&house, &admin, &erase_of(&house, &admin, kept::APP, "u1").await).await;
    let after = board.kept(by_hour).await;
    assert_eq!(after.len(), 10, "{after:?}");
    assert!(after.iter().all(|row| (&row[1], &row[2]) == (&json!(1), &json!(1))), "{after:?}");
    assert!(board.computed(by_day, "").await.iter().all(|row| row[1] == json!(1)));
    assert_rolled_up(&house).await;
}

/// Rounds of a flow that is cut off right behind each request.
const ROUNDS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_amid_the_flow_cuts_it_at_one_place_whatever_dies() {
    let mut house = House::start_with(CONFIG).await;
    let key = keys(&house, "red").await;
    let mut erasures = Vec::new();
    // Each round's events have ids of their own.
    for round in 0..ROUNDS {
        let user = format!("u{}", round % 2);
        for user in ["u0", "u1", "u2"] {
            identify(&house, &key, user, "DE").await;
            let ids = events(user, round * 200..(round + 1) * 200);
            assert_eq!(publish(&house, &key, ids).await.accepted, 200);
        }
        erasures.push(erase(&house, &key, &user).await);
        assert_eq!(publish(&house, &key, events(&user, 5_000 + round * 10..5_010 + round * 10)).await.accepted, 10);
        match round % 3 {
            0 => house.kill(),
            1 => house.kill_warehouse(),
            _ => {}
        }
        if round % 3 == 0 {
            house.launch().await;
        }
    }
    for id in &erasures {
        done(&house, &key, id).await;
    }
    let [accepted, stored, duplicates, dead_letters, erased] = books(&house, &key).await;
    assert_eq!((accepted, duplicates, dead_letters), (ROUNDS as u64 * 610 + 1, 0, 0));
    assert_eq!(stored + erased, accepted);
    // Of u0 what came after the fifth request, of u1 after the fourth, and everything of u2.
    let counted = [shown(&house, &key, "u0").await, shown(&house, &key, "u1").await, shown(&house, &key, "u2").await];
    let countries = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(counted[0], (10, countries(&[""])), "nothing known of the old one");
    assert_eq!(counted[1], (10 + 200, countries(&["DE", ""])));
    assert_eq!(counted[2], (1_000, countries(&["DE"])));
    assert_eq!(stored, 10 + 210 + 1_000 + 1);
    assert_rolled_up(&house).await;
}

#[tokio::test]
async fn what_can_not_be_erased_is_said_by_its_field() {
    let house = House::start_with(CONFIG).await;
    let key = keys(&house, "red").await;
    for (body, status, field) in [
        (json!({"app_id": APP}), 400, "user_id"),
        (json!({"app_id": APP, "user_id": "a\u{0}b"}), 400, "user_id"),
        (json!({"app_id": APP, "user_id": "x".repeat(1025)}), 400, "user_id"),
        (json!({"user_id": "ada"}), 400, "app_id"),
        (json!({"app_id": "lab", "user_id": "ada"}), 403, ""),
        (json!({"tenant_id": "demo", "app_id": APP, "user_id": "ada"}), 403, ""),
    ] {
        let (got, answer) = house.post(&key, "/v1/erasures", &body).await;
        assert_eq!(got, status, "{answer}");
        if !field.is_empty() {
            assert_eq!(answer["error"]["details"][1]["fieldViolations"][0]["field"], field, "{answer}");
        }
    }
    let (status, answer) = get(&house, &key, &format!("/v1/erasures?app_id={APP}&page_token=x")).await;
    assert_eq!((status, &answer["error"]["details"][1]["fieldViolations"][0]["field"]), (400, &json!("page_token")));
    assert_eq!(get(&house, &key, "/v1/erasures/none").await.0, 404);
}
