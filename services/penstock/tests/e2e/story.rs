//! The story of a first event and a first answer.

use serde_json::json;

use crate::{
    house::{House, rows},
    stand,
};

const SEED_SQL: &str = "
  SELECT date_trunc('day', timestamp) as date, country, COUNT(DISTINCT user_id) as active_users,
         AVG(session_duration) as avg_session, PERCENTILE(0.95, load_time) as p95_load_time
  FROM events
  WHERE app_id = 'xyz123' AND timestamp > now() - INTERVAL 30 DAY AND user_plan IN ('pro', 'enterprise')
  GROUP BY date, country ORDER BY date DESC";

#[tokio::test]
async fn the_seed_s_query_and_metric_come_back_right() {
    the_story(&House::start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_is_the_same_on_a_cluster() {
    the_story(&*stand::shared().await).await;
}

async fn the_story(house: &House) {
    let key = house.demo_key();
    for (user, country, plan) in [("u1", "DE", "pro"), ("u2", "DE", "enterprise"), ("u3", "FR", "free")] {
        let traits = json!({"country": {"string": country}, "plan": {"string": plan}});
        let body = json!({"app_id": "xyz123", "user_id": user, "traits": traits});
        let (status, answer) = house.post(&key, "/v1/identify", &body).await;
        assert_eq!(status, 200, "{answer}");
    }
    let event = |id: &str, user: &str, amount: f64, session: f64| {
        json!({"app_id": "xyz123", "event_id": id, "event_type": "purchase", "user_id": user, "properties":
            {"purchase_amount": amount, "status": "completed", "session_duration": session, "load_time": 1.5}})
    };
    let events = [
        event("1", "u1", 10.0, 100.0),
        event("2", "u2", 20.0, 200.0),
        event("3", "u3", 40.0, 5.0),
        event("1", "u1", 10.0, 100.0),
        json!({"event_type": ""}),
    ];
    let answer = house.publish(&key, &events).await;
    assert_eq!(answer["accepted"], json!(4), "{answer}");
    assert_eq!(answer["rejections"][0]["field"], "events[4].app_id");
    let token = answer["position_token"].as_str().unwrap();

    let got = house.sql(&key, SEED_SQL, token).await;
    assert_eq!(got.len(), 1, "{got:?}");
    assert_eq!(got[0][1..], [json!("DE"), json!(2), json!(150.0), json!(1.5)]);

    let filter =
        |field: &str, value: &str| json!({"field": field, "op": "FILTER_OP_EQ", "values": [{"string": value}]});
    let definition = json!({"name": "revenue_per_user", "display_name": "Revenue per User", "unit": "USD",
        "formula": "SUM(purchase_amount) / COUNT(DISTINCT user_id)",
        "filters": [filter("event_type", "purchase"), filter("status", "completed")]});
    let (status, answer) = house.post(&key, "/v1/apps/xyz123/metrics", &json!({"definition": definition})).await;
    assert_eq!((status, &answer["metric"]["version"]), (200, &json!(1)), "{answer}");
    let (status, answer) = house.post(&key, "/v1/apps/xyz123/metrics/revenue_per_user:evaluate", &json!({})).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(rows(&answer["result"]), [[json!(70.0 / 3.0)]]);
    assert_eq!(answer["result"]["columns"][0]["unit"], "USD");
}
