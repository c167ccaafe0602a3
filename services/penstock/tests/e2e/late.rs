//! What is said of time: reads see writes, watermarks don't promise what isn't there, old events find their day.

use std::time::{SystemTime, UNIX_EPOCH};

use api::v1::{self, PublishRequest, ingest_service_client::IngestServiceClient, value::Kind};
use futures::future::join_all;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::{
    clients::{Keyed, event, event_json},
    house::{House, rows},
    load::seed,
};

const APP: &str = "xyz123";
const DAY_MS: i64 = 86_400_000;

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

fn at(ms: i64, event: v1::Event) -> v1::Event {
    v1::Event { timestamp: Some(api::convert::time_to_wire(ms)), ..event }
}

async fn ingest(house: &House, key: &str) -> IngestServiceClient<Keyed> {
    IngestServiceClient::new(house.keyed(key).await)
}

async fn publish(client: &mut IngestServiceClient<Keyed>, events: Vec<v1::Event>) -> v1::Acknowledgement {
    let batch = PublishRequest { app_id: APP.to_owned(), events, ..Default::default() };
    client.publish(batch).await.unwrap().into_inner().acknowledgement.unwrap()
}

async fn identify(house: &House, key: &str, user: &str, traits: Value) -> String {
    let body = json!({"app_id": APP, "user_id": user, "traits": traits});
    let (status, answer) = house.post(key, "/v1/identify", &body).await;
    assert_eq!(status, 200, "{answer}");
    answer["position_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn whoever_shows_the_token_reads_what_it_acknowledges() {
    let house = House::start().await;
    let writer = house.tenant("red", APP, &["ingest"]).await;
    let reader = house.tenant("red", APP, &["query"]).await;
    let mut client = ingest(&house, &writer).await;
    for count in 1..=20 {
        let users: Vec<_> = (0..10).map(|u| event("step", "", &format!("u{u}"), &[])).collect();
        let token = publish(&mut client, users).await.position_token;
        assert_eq!(house.sql(&reader, "SELECT COUNT(*) FROM events", &token).await, [[json!(count * 10)]]);
    }
}

/// What an answer counted, until when it says that it is complete, and how far it came.
async fn counted(house: &House, key: &str) -> (u64, i64, String) {
    let sql = format!("SELECT COUNT(*) FROM events WHERE app_id = '{APP}'");
    let (status, answer) = house.post(key, "/v1/sql", &json!({"sql": sql})).await;
    assert_eq!(status, 200, "{answer}");
    let watermark = &answer["result"]["info"]["watermark"];
    let until: jiff::Timestamp = watermark["complete_until"].as_str().unwrap().parse().unwrap();
    let count = rows(&answer["result"])[0][0].as_u64().unwrap();
    (count, until.as_millisecond(), watermark["position_token"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watermark_never_claims_more_than_is_there() {
    let mut random = StdRng::seed_from_u64(seed());
    let house = House::start().await;
    let key = house.demo_key();
    let mut client = ingest(&house, &key).await;
    // Events acknowledged by each instant.
    let (mut history, mut sent, mut claims) = (vec![(0, 0)], 0, 0);
    let mut last = (0, 0);
    while claims < 60 {
        let size = random.random_range(1..5);
        let events = (0..size).map(|_| event("tick", "", &format!("u{}", random.random_range(0..50)), &[])).collect();
        let publishing = publish(&mut client, events);
        let (_, (count, until, _)) = tokio::join!(publishing, counted(&house, &key));
        // The clock is read after the acknowledgement: what the answer must hold is what was acknowledged before.
        let promised = history.iter().rev().find(|(ms, _)| *ms < until).map_or(0, |(_, events)| *events);
        assert!(count >= promised, "{count} of the {promised} events acknowledged before {until}");
        assert!(until >= last.0 && count >= last.1, "{until} after {}, {count} after {}", last.0, last.1);
        claims += u64::from(promised > 0);
        last = (until, count);
        sent += size;
        history.push((now_ms(), sent));
    }
    // With nothing more to come, the watermark passes the last acknowledgement by itself.
    let end = now_ms();
    loop {
        let (count, until, token) = counted(&house, &key).await;
        if until > end {
            assert_eq!(count, sent);
            house.sql(&key, &format!("SELECT COUNT(*) FROM events WHERE app_id = '{APP}'"), &token).await;
            break;
        }
    }
}

/// More days in one batch than the engine would take in one insert.
const DAYS: i64 = 120;

#[tokio::test]
async fn old_events_find_their_day_by_a_backfill_key_and_are_refused_without() {
    let house = House::start().await;
    let (backfill, plain) = (house.demo_key(), plain_key(&house).await);
    let now = now_ms();
    let days: Vec<v1::Event> = (0..DAYS)
        .flat_map(|day| [(0, 1), (1, 2)].map(|(i, n)| (day, i, n)))
        .map(|(day, i, n)| {
            at(now - day * DAY_MS, event("old", &format!("{day}-{i}"), &format!("u{i}"), &[("n", Kind::Integer(n))]))
        })
        .collect();
    let verdict = publish(&mut ingest(&house, &plain).await, days.clone()).await;
    let refused: Vec<_> = verdict.rejections.iter().map(|r| (r.index, r.code.as_str(), r.field.clone())).collect();
    let wanted: Vec<_> = (4..2 * DAYS as u32).map(|i| (i, "TOO_OLD", format!("events[{i}].timestamp"))).collect();
    // The day before today may be a few ms too old by the time it arrives: it is exactly 24 hours.
    assert!(refused.ends_with(&wanted) && refused.len() <= 2 * DAYS as usize - 2, "{refused:?}");
    assert!(verdict.rejections[0].message.contains("86400000") && verdict.rejections[0].message.contains("backfill"));

    let verdict = publish(&mut ingest(&house, &backfill).await, days).await;
    assert_eq!((verdict.accepted, verdict.rejections.len()), (2 * DAYS as u32, 0));
    let sql = format!(
        "SELECT date_trunc('day', timestamp) AS day, COUNT(*), SUM(n) FROM events WHERE app_id = '{APP}' GROUP BY day ORDER BY day DESC"
    );
    let got = house.sql(&backfill, &sql, &verdict.position_token).await;
    let midnight = |day: i64| {
        let ms = (now - day * DAY_MS).div_euclid(DAY_MS) * DAY_MS;
        json!(jiff::Timestamp::from_millisecond(ms).unwrap().to_string())
    };
    let wanted: Vec<_> = (0..DAYS).map(|day| vec![midnight(day), json!(2), json!(3.0)]).collect();
    assert_eq!(got, wanted, "each day once, though some came twice");
}

/// A key of the demo tenant that may not backfill.
async fn plain_key(house: &House) -> String {
    let body = json!({"permissions": ["PERMISSION_INGEST"], "app_ids": [APP]});
    let (_, answer) = house.post(&house.demo_key(), "/v1/keys", &body).await;
    answer["secret"].as_str().unwrap().to_owned()
}

/// Country, plan and number of events, as the events carry them.
async fn joined(house: &House, token: &str) -> Vec<Vec<Value>> {
    let sql = format!(
        "SELECT country, user_plan, COUNT(*) FROM events WHERE app_id = '{APP}' GROUP BY country, user_plan ORDER BY 3"
    );
    house.sql(&house.demo_key(), &sql, token).await
}

#[tokio::test]
async fn events_carry_what_was_known_of_their_user_then_across_restarts_too() {
    let mut house = House::start().await;
    let key = house.demo_key();
    let step = async |house: &House, events: usize| {
        let events = (0..events).map(|_| event("visit", "", "ada", &[])).collect();
        publish(&mut ingest(house, &key).await, events).await.position_token
    };
    step(&house, 1).await;
    identify(
        &house,
        &key,
        "ada",
        json!({"country": {"string": "DE"}, "plan": {"string": "free"}, "age": {"integer": 36}}),
    )
    .await;
    step(&house, 2).await;
    identify(&house, &key, "ada", json!({"plan": {"string": "pro"}})).await;
    let token = step(&house, 3).await;
    let mut wanted = vec![
        vec![Value::Null, Value::Null, json!(1)],
        vec![json!("DE"), json!("free"), json!(2)],
        vec![json!("DE"), json!("pro"), json!(3)],
    ];
    let shown = |rows: &[Vec<Value>]| {
        rows.iter()
            .map(|row| row.iter().map(|v| if v == "NULL_VALUE" { Value::Null } else { v.clone() }).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(&joined(&house, &token).await), wanted);

    // The worker's memory is gone: by an orderly end, then by a kill.
    assert!(house.terminate().success());
    house.launch().await;
    step(&house, 4).await;
    identify(&house, &key, "ada", json!({"country": {"string": "FR"}})).await;
    let token = step(&house, 5).await;
    wanted[2][2] = json!(7);
    wanted.insert(2, vec![json!("FR"), json!("pro"), json!(5)]);
    assert_eq!(shown(&joined(&house, &token).await), wanted);
    house.kill();
    house.launch().await;
    let token = step(&house, 6).await;
    wanted.remove(2);
    wanted.push(vec![json!("FR"), json!("pro"), json!(11)]);
    assert_eq!(shown(&joined(&house, &token).await), wanted);
}

#[tokio::test]
async fn an_event_counts_once_before_and_after_a_restart_by_either_route() {
    let mut house = House::start().await;
    let key = house.demo_key();
    let events: Vec<_> = (0..60)
        .map(|i| event("same", &format!("id-{i}"), &format!("u{}", i % 7), &[("n", Kind::Integer(1 << (i % 8)))]))
        .collect();
    let by_rest = async |house: &House, events: &[v1::Event]| {
        let body = json!(events.iter().map(event_json).collect::<Vec<_>>());
        let (status, answer) = house.post(&key, &format!("/v1/events?app_id={APP}"), &body).await;
        assert_eq!((status, &answer["accepted"]), (200, &json!(events.len())), "{answer}");
        answer["position_token"].as_str().unwrap().to_owned()
    };
    let once = async |house: &House, tokens: Vec<String>| {
        let sql = format!("SELECT COUNT(*), COUNT(DISTINCT event_id), SUM(n) FROM events WHERE app_id = '{APP}'");
        let sum: i64 = (0..60).map(|i| 1 << (i % 8)).sum();
        for answer in join_all(tokens.iter().map(|token| house.sql(&key, &sql, token))).await {
            assert_eq!(answer, [[json!(60), json!(60), json!(sum as f64)]]);
        }
    };
    // Half by one route first, then all by both: in one batch too.
    by_rest(&house, &events[..30]).await;
    let mut client = ingest(&house, &key).await;
    publish(&mut client, events[30..].to_vec()).await;
    let token = publish(&mut client, [&events[..], &events[..]].concat()).await.position_token;
    once(&house, vec![token, by_rest(&house, &events).await]).await;
    for orderly in [true, false] {
        if orderly {
            assert!(house.terminate().success());
        } else {
            house.kill();
        }
        house.launch().await;
        let mut client = ingest(&house, &key).await;
        let token = publish(&mut client, events.clone()).await.position_token;
        once(&house, vec![by_rest(&house, &events).await, token]).await;
    }
    // The identity is app, user and id: another user's event of that id is another event.
    let other = publish(&mut ingest(&house, &key).await, vec![event("same", "id-0", "another", &[])]).await;
    let sql = format!("SELECT COUNT(*) FROM events WHERE app_id = '{APP}' AND event_id = 'id-0'");
    assert_eq!(house.sql(&key, &sql, &other.position_token).await, [[json!(2)]]);
}
