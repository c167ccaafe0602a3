//! Every event that was taken is accounted for, and where it isn't the product says so itself.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use api::{
    convert::{instant, time_to_wire},
    v1::{
        self, Difference, PublishRequest, ReconcileRequest, ReconcileResponse, ReconciledHour,
        admin_service_client::AdminServiceClient, difference::Kind as Wrong,
        ingest_service_client::IngestServiceClient, value::Kind,
    },
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::sleep;
use tonic::Code;

use crate::{
    clients::event,
    house::{House, PATIENCE},
};

pub const APP: &str = "shop";
const HOUR_MS: i64 = 3_600_000;

/// Publishes as any client does, which sends again what may be sent again.
pub async fn publish(house: &House, key: &str, events: Vec<v1::Event>) -> v1::Acknowledgement {
    let batch = PublishRequest { app_id: APP.to_owned(), events, ..Default::default() };
    let started = Instant::now();
    loop {
        let mut client = IngestServiceClient::new(house.keyed(key).await);
        match client.publish(batch.clone()).await {
            Ok(answer) => return answer.into_inner().acknowledgement.unwrap(),
            Err(status) if status.code() == Code::Unavailable && started.elapsed() < PATIENCE => {
                sleep(Duration::from_millis(100)).await;
            }
            Err(status) => panic!("{status:?}"),
        }
    }
}

/// The app's last hours, reconciled.
pub async fn reconcile(house: &House, key: &str, app: &str) -> ReconcileResponse {
    let now_ms = Timestamp::now().as_millisecond();
    let request = ReconcileRequest {
        tenant_id: String::new(),
        app_id: app.to_owned(),
        from: Some(time_to_wire(now_ms - 2 * HOUR_MS)),
        to: Some(time_to_wire(now_ms + 1)),
    };
    let mut client = AdminServiceClient::new(house.keyed(key).await);
    let answer = client.reconcile(request).await.unwrap().into_inner();
    let starts: Vec<_> = answer.hours.iter().map(|hour| instant(hour.start.as_ref().unwrap()).unwrap()).collect();
    assert!(starts.len() >= 3 && starts.windows(2).all(|pair| pair[1] - pair[0] == HOUR_MS), "every hour is there");
    for hour in &answer.hours {
        let (had, has) = (hour.accepted + hour.doubled, hour.stored + hour.duplicates + hour.dead_letters);
        assert_eq!(had, has + hour.missing + hour.expired + hour.erased, "each hour adds up: {hour:?}");
    }
    answer
}

/// The hours as one: accepted, stored, duplicates, dead letters, missing, doubled.
fn sums(answer: &ReconcileResponse) -> [u64; 6] {
    let of = |figure: fn(&ReconciledHour) -> u64| answer.hours.iter().map(figure).sum();
    [
        of(|h| h.accepted),
        of(|h| h.stored),
        of(|h| h.duplicates),
        of(|h| h.dead_letters),
        of(|h| h.missing),
        of(|h| h.doubled),
    ]
}

/// Publishes an event of its own, and waits until it and all before it are stored.
pub async fn settle(house: &House, key: &str) {
    let token = publish(house, key, vec![event("last", "", "", &[])]).await.position_token;
    house.sql(key, "SELECT COUNT(*) FROM events", &token).await;
    // The token reaches the partition of that event: the others are idle, and their frontier follows.
    let wanted = Timestamp::now().as_millisecond();
    while reconcile(house, key, APP).await.settled_until.and_then(|until| instant(&until)).is_none_or(|ms| ms < wanted)
    {
    }
}

fn events(from: usize, to: usize) -> Vec<v1::Event> {
    (from..to)
        .map(|i| event("buy", &format!("e{i}"), &format!("u{}", i % 7), &[("n", Kind::Integer(i as i64))]))
        .collect()
}

#[tokio::test]
async fn what_was_taken_is_stored_or_a_duplicate_or_kept_and_a_lost_row_is_named() {
    let house = House::start().await;
    let (key, other) = (keys(&house, "red").await, keys(&house, "blue").await);
    let old = time_to_wire(Timestamp::now().as_millisecond() - 48 * HOUR_MS);
    let mut sent = events(0, 30);
    sent.extend(events(30, 34).into_iter().map(|event| v1::Event { timestamp: Some(old), ..event }));
    for key in [&key, &key, &other] {
        let verdict = publish(&house, key, sent.clone()).await;
        assert_eq!((verdict.accepted, verdict.rejections.len()), (30, 4), "{:?}", verdict.rejections);
        assert!(verdict.rejections.iter().all(|rejection| rejection.code == "TOO_OLD"));
    }
    let (status, answer) = house
        .post(&key, "/v1/identify", &json!({"app_id": APP, "user_id": "u1", "traits": {"age": {"integer": 3}}}))
        .await;
    assert_eq!(status, 200, "{answer}");
    settle(&house, &key).await;
    let answer = reconcile(&house, &key, APP).await;
    assert_eq!((sums(&answer), &answer.differences[..]), ([69, 31, 30, 8, 0, 0], &[][..]));
    assert_eq!(answer.checked_since, None);
    let midnight = Timestamp::now().strftime("%Y-%m-%dT00:00:00Z").to_string();
    let by_url = async |from: &str| {
        let to = Timestamp::now().to_string();
        let url = format!("http://{}/v1/reconcile?app_id={APP}&from={from}&to={to}", house.address);
        let answer = reqwest::Client::new().get(url).bearer_auth(&key).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let (status, answer) = by_url(&midnight).await;
    assert!(status == 200 && answer["hours"].as_array().is_some_and(|hours| !hours.is_empty()), "{answer}");
    let (status, answer) = by_url("yesterday").await;
    assert_eq!(
        (status, &answer["error"]["details"][1]["fieldViolations"][0]["field"]),
        (400, &json!("from")),
        "{answer}"
    );

    settle(&house, &other).await;
    assert_eq!(sums(&reconcile(&house, &other, APP).await), [35, 31, 0, 4, 0, 0], "another's events are another's");

    // Rows vanish behind the product's back, of both tenants.
    let place = async |id: &str| {
        let asked = house
            .warehouse(&format!("SELECT _partition, _offset FROM events WHERE tenant = 'red' AND event_id = '{id}'"))
            .await;
        let (partition, offset) = asked.trim().split_once('\t').unwrap();
        (partition.parse::<u32>().unwrap(), offset.parse::<u64>().unwrap())
    };
    let lost = BTreeSet::from([place("e3").await, place("e4").await]);
    let twice = place("e5").await;
    house.warehouse("ALTER TABLE events DELETE WHERE event_id IN ('e3', 'e4') SETTINGS mutations_sync = 1").await;
    house.warehouse("INSERT INTO events SELECT * FROM events WHERE event_id = 'e5' AND tenant = 'red'").await;
    let answer = reconcile(&house, &key, APP).await;
    assert_eq!(sums(&answer), [69, 30, 30, 8, 2, 1]);
    let of = |kind: Wrong| answer.differences.iter().filter(move |difference| difference.kind() == kind);
    let named = |difference: &Difference| (difference.partition, difference.first_offset, difference.last_offset);
    let missing: Vec<_> = of(Wrong::Missing).map(named).collect();
    assert!(
        lost.iter()
            .all(|(p, offset)| missing.iter().any(|(q, first, last)| p == q && (first..=last).contains(&offset)))
    );
    assert_eq!(of(Wrong::Missing).map(|difference| difference.events).sum::<u64>(), 2);
    assert_eq!(of(Wrong::Doubled).map(named).collect::<Vec<_>>(), [(twice.0, twice.1, twice.1)]);
}

#[tokio::test]
async fn the_account_is_right_while_events_flow() {
    let house = House::start().await;
    let key = keys(&house, "red").await;
    let looks = AtomicUsize::new(0);
    let flow = async {
        for batch in 0..60 {
            while looks.load(Ordering::Relaxed) < batch / 12 {
                sleep(Duration::from_millis(5)).await; // somebody looks meanwhile
            }
            let events = events(batch * 50, batch * 50 + 75); // a third of them come again with the next
            assert_eq!(publish(&house, &key, events).await.accepted, 75);
        }
    };
    let look = async {
        let mut last = 0;
        loop {
            let answer = reconcile(&house, &key, APP).await;
            let [accepted, stored, duplicates, ..] = sums(&answer);
            assert_eq!((&answer.differences[..], accepted), (&[][..], stored + duplicates));
            assert!(accepted >= last, "{accepted} after {last}");
            last = accepted;
            looks.fetch_add(1, Ordering::Relaxed);
        }
    };
    tokio::select! {
        () = flow => {}
        () = look => {}
    }
    settle(&house, &key).await;
    assert_eq!(sums(&reconcile(&house, &key, APP).await), [60 * 75 + 1, 60 * 50 + 25 + 1, 59 * 25, 0, 0, 0]);
}

/// A page of dead letters, and the token of the next.
async fn page(house: &House, key: &str, token: &str) -> (Vec<Value>, String) {
    let url = format!("http://{}/v1/dead-letters?app_id={APP}&page_size=3&page_token={token}", house.address);
    let answer = reqwest::Client::new().get(url).bearer_auth(key).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.unwrap();
    let letters = answer["dead_letters"].as_array().cloned().unwrap_or_default();
    (letters, answer["next_page_token"].as_str().unwrap_or_default().to_owned())
}

async fn all_pages(house: &House, key: &str) -> Vec<Value> {
    let (mut letters, mut token) = page(house, key, "").await;
    while !token.is_empty() {
        let (more, next) = page(house, key, &token).await;
        assert!(!more.is_empty() && more.len() <= 3);
        letters.extend(more);
        token = next;
    }
    letters
}

#[tokio::test]
async fn dead_letters_can_be_listed_mended_and_sent_again() {
    let house = House::start().await;
    let key = keys(&house, "red").await;
    let backfill = house.tenant("red", APP, &["ingest", "backfill", "query", "admin"]).await;
    let old_ms = Timestamp::now().as_millisecond() - 48 * HOUR_MS;
    let values = [
        ("n", Kind::Integer(7)),
        ("x", Kind::Number(0.5)),
        ("s", Kind::String("ü".into())),
        ("b", Kind::Bool(true)),
        ("t", Kind::Time(time_to_wire(old_ms))),
    ];
    let sent: Vec<_> = (0..7)
        .map(|i| v1::Event {
            timestamp: Some(time_to_wire(old_ms + i)),
            // One without an id gets one, and is told which.
            ..event("buy", &if i == 6 { String::new() } else { format!("e{i}") }, "u", &values)
        })
        .collect();
    let verdict = publish(&house, &key, sent.clone()).await;
    assert_eq!((verdict.accepted, verdict.rejections.len(), verdict.position_token.as_str()), (0, 7, ""));
    let ids: Vec<_> = verdict.rejections.iter().map(|rejection| rejection.event_id.clone()).collect();
    assert!(ids[..6].iter().enumerate().all(|(i, id)| *id == format!("e{i}")) && !ids[6].is_empty());
    settle(&house, &backfill).await;

    let letters = all_pages(&house, &key).await;
    let listed: Vec<_> = letters.iter().map(|letter| letter["event"]["event_id"].as_str().unwrap()).collect();
    assert_eq!(listed, ids, "in the order in which they came, each once");
    assert!(letters.iter().all(|letter| letter["code"] == "TOO_OLD" && letter["stored_since"] != true));
    let time: Timestamp = letters[0]["event"]["properties"]["t"]["time"].as_str().unwrap().parse().unwrap();
    assert_eq!(time.as_millisecond(), old_ms);
    let none = keys(&house, "blue").await;
    assert_eq!(all_pages(&house, &none).await, [] as [Value; 0], "another tenant's are not shown");

    // As listed they can be sent again, once the key may and what is to be mended is mended.
    let mut again: Vec<Value> = letters.iter().take(5).map(|letter| letter["event"].clone()).collect();
    again[0]["properties"]["n"] = json!(8);
    let (status, answer) = house.post(&backfill, "/v1/events", &json!(again)).await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(5)), "{answer}");
    let token = answer["position_token"].as_str().unwrap();
    let sql = "SELECT COUNT(*), SUM(n), SUM(x), COUNT(b) FROM events WHERE event_type = 'buy' AND s = 'ü'";
    assert_eq!(house.sql(&backfill, sql, token).await, [[json!(5), json!(36.0), json!(2.5), json!(5)]]);
    let stored: Vec<_> = all_pages(&house, &key).await.iter().map(|letter| letter["stored_since"] == true).collect();
    assert_eq!(stored, [true, true, true, true, true, false, false]);
}

/// A key of the tenant's that may do all but backfill.
pub async fn keys(house: &House, tenant: &str) -> String {
    house.tenant(tenant, APP, &["ingest", "query", "admin"]).await
}
