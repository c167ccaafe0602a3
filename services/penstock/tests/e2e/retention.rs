//! How long events are kept is each tenant's own.

use api::{convert::time_to_wire, v1};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{account::reconcile, clients::event, house::House};

const DAY_MS: i64 = 86_400_000;
pub const APP: &str = "shop";

/// The tenant's only events, one on each of these days ago.
pub async fn publish(house: &House, key: &str, days: &[i64]) -> Value {
    let now_ms = Timestamp::now().as_millisecond();
    let at = |days: &i64| v1::Event {
        timestamp: Some(time_to_wire(now_ms - days * DAY_MS)),
        ..event("visit", &format!("e{days}"), "ada", &[])
    };
    let events: Vec<_> = days.iter().map(at).map(|event| crate::clients::event_json(&event)).collect();
    let (status, answer) = house.post(key, &format!("/v1/events?app_id={APP}"), &json!(events)).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

pub async fn keep(house: &House, tenant: &str, days: Option<u32>) {
    let request = house.http.put(format!("http://{}/v1/retention", house.address)).bearer_auth(house.operator_key());
    let answer = request.json(&json!({"tenant_id": tenant, "days": days})).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
}

/// The ids of the app's events, oldest first.
pub async fn ids(house: &House, key: &str, token: &str) -> Vec<String> {
    let sql = "SELECT event_id, COUNT(*) FROM events GROUP BY event_id ORDER BY event_id";
    house.sql(key, sql, token).await.iter().map(|row| row[0].as_str().unwrap().to_owned()).collect()
}

pub async fn until_left(house: &House, key: &str, wanted: &[&str]) {
    for _ in 0..600 {
        if ids(house, key, "").await == wanted {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{:?} are left, not {wanted:?}", ids(house, key, "").await);
}

#[tokio::test]
async fn what_a_tenant_keeps_no_longer_goes_and_everything_else_stays_and_the_books_say_so() {
    let mut house = House::start_with("[retention]\nlook_seconds = 1\n").await;
    let permissions = ["ingest", "query", "backfill", "admin"];
    let (red, blue) = (house.tenant("red", APP, &permissions).await, house.tenant("blue", APP, &permissions).await);
    let days = [0, 3, 8, 9, 40];
    for key in [&red, &blue] {
        let answer = publish(&house, key, &days).await;
        assert_eq!(answer["accepted"], json!(5), "{answer}");
        assert_eq!(ids(&house, key, answer["position_token"].as_str().unwrap()).await.len(), 5);
    }
    keep(&house, "red", Some(8)).await;
    until_left(&house, &red, &["e0", "e3", "e8"]).await;
    assert_eq!(ids(&house, &blue, "").await, ["e0", "e3", "e40", "e8", "e9"], "another's events of the same days");

    // What would go at once is refused; what is kept is taken, also by a program that was started since.
    house.kill();
    house.launch().await;
    let answer = publish(&house, &red, &[9, 7]).await;
    assert_eq!((&answer["accepted"], &answer["rejections"][0]["code"]), (&json!(1), &json!("EXPIRED")), "{answer}");
    assert_eq!(answer["rejections"][0]["field"], json!("events[0].timestamp"));
    ids(&house, &red, answer["position_token"].as_str().unwrap()).await;
    until_left(&house, &red, &["e0", "e3", "e7", "e8"]).await;

    // Every event is accounted for, also after the retention grew: what is gone stays gone.
    for days in [Some(8), Some(100), None] {
        keep(&house, "red", days).await;
        let answer = reconcile(&house, &red, APP).await;
        let of = |figure: fn(&v1::ReconciledHour) -> u64| answer.hours.iter().map(figure).sum::<u64>();
        assert_eq!([of(|h| h.accepted), of(|h| h.stored), of(|h| h.expired), of(|h| h.missing)], [6, 4, 2, 0]);
        assert!(answer.differences.is_empty(), "{:?}", answer.differences);
    }
    let others = reconcile(&house, &blue, APP).await;
    assert_eq!(others.hours.iter().map(|hour| hour.stored).sum::<u64>(), 5);
    assert!(others.differences.is_empty() && others.hours.iter().all(|hour| hour.expired == 0), "{others:?}");
}
