//! What holds comes from the nearest place that sets it: the app, its tenant, the installation.

use std::time::Instant;

use serde_json::{Value, json};

use crate::house::{House, PATIENCE, rows};

async fn set(house: &House, key: &str, body: &Value) -> Value {
    let request = house.http.put(format!("http://{}/v1/settings", house.address)).bearer_auth(key);
    let answer = request.json(body).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{body}");
    answer.json().await.unwrap()
}

/// The start of the day of the only event.
async fn day(house: &House, key: &str, options: Value) -> Value {
    let sql = "SELECT DATE_TRUNC('day', timestamp) AS day, COUNT(*) AS n FROM events GROUP BY day";
    let (status, answer) = house.post(key, "/v1/sql", &json!({"sql": sql, "app_id": "shop", "options": options})).await;
    assert_eq!(status, 200, "{answer}");
    rows(&answer["result"])[0][0].clone()
}

#[tokio::test]
async fn days_begin_and_pages_call_as_the_nearest_place_says() {
    let house = House::start().await;
    let acme = house.tenant("acme", "shop", &["ingest", "query", "admin"]).await;
    let operator = house.operator_key();
    let chief = json!({"tenant_id": "acme", "permissions": ["PERMISSION_ADMIN", "PERMISSION_QUERY"]});
    let (_, answer) = house.post(&operator, "/v1/keys", &chief).await;
    let chief = answer["secret"].as_str().unwrap().to_owned();

    set(&house, &operator, &json!({"settings": {"time_zone": "Asia/Kathmandu", "retention_days": 4000}})).await;
    let told = set(&house, &chief, &json!({"settings": {"allowed_origins": ["https://acme.example"]}})).await;
    assert_eq!(
        (&told["effective"]["time_zone"], &told["effective"]["retention_days"]),
        (&json!("Asia/Kathmandu"), &json!(4000))
    );
    assert_eq!(told["origins"][0], json!({"field": "time_zone", "level": "SETTINGS_LEVEL_INSTALLATION"}));

    let (status, answer) = house.post(&acme, "/v1/events", &json!([{"event_type": "e", "user_id": "u"}])).await;
    assert_eq!(status, 200, "{answer}");
    let position = &answer["position_token"];
    let in_zone = async |zone: &str| day(&house, &acme, json!({"position_token": position, "time_zone": zone})).await;
    let [kathmandu, utc] = [in_zone("Asia/Kathmandu").await, in_zone("UTC").await];
    assert_ne!(kathmandu, utc, "a day there never begins with one in UTC");
    assert_eq!(
        day(&house, &acme, json!({})).await,
        kathmandu,
        "an app that was made without a zone has the installation's"
    );

    // Pages are refused within seconds: with a key that names no origins, those of its tenant hold.
    let status = async |origin: &str| {
        let ask = house.http.get(format!("http://{}/v1/describe", house.address)).bearer_auth(&acme);
        ask.header("origin", origin).send().await.unwrap().status().as_u16()
    };
    let started = Instant::now();
    while status("https://evil.example").await != 403 {
        assert!(started.elapsed() < PATIENCE, "a page of elsewhere still calls");
    }
    assert_eq!(status("https://acme.example").await, 200);
}
