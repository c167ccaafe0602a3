//! Reports: asked by the clock, kept, and sent to a receiver who isn't always well.

use std::time::Instant;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::{
    house::{House, PATIENCE, rows},
    receiver::{Delivery, Receiver},
    stand,
};

/// As the contract says that it is made.
fn signature(secret: &str, delivery: &Delivery) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{}.{}.", delivery.headers["webhook-id"], delivery.headers["webhook-timestamp"]).as_bytes());
    mac.update(&delivery.body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("v1={hex}")
}

async fn get(house: &House, key: &str, path: &str) -> (u16, Value) {
    let answer = house.http.get(format!("http://{}{path}", house.address)).bearer_auth(key).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
}

fn every_minute(question: Value, webhook: &str) -> Value {
    json!({"report": {"display_name": "Sales", "app_id": "shop", "schedule": "* * * * *", "time_zone": "Europe/Berlin",
        "question": question, "webhook_url": webhook}})
}

async fn send(house: &House, key: &str, events: usize) {
    let id = || format!("{:032x}", rand::random::<u128>());
    let events: Vec<_> = (0..events)
        .map(|i| json!({"app_id": "shop", "event_id": id(), "event_type": "sale", "user_id": format!("u{i}")}))
        .collect();
    let answer = house.publish(key, &events).await;
    house.sql(key, "SELECT COUNT(*) FROM events", answer["position_token"].as_str().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_asked_kept_and_sent_until_it_is_taken() {
    let house = House::start_with("[admin]\nwebhooks_to_loopback = true").await;
    let key = house.tenant("acme", "shop", &["ingest", "query", "metrics", "admin"]).await;
    send(&house, &key, 3).await;
    let definition = json!({"definition": {"name": "sales", "formula": "COUNT(*)"}});
    let (status, answer) = house.post(&key, "/v1/apps/shop/metrics", &definition).await;
    assert_eq!(status, 200, "{answer}");
    let receiver =
        Receiver::start("/hook?x=1", |before| if before < 2 { "503 Service Unavailable" } else { "204 No Content" })
            .await;
    let sql = json!({"sql": {"sql": "SELECT event_type, COUNT(*) AS n FROM events GROUP BY event_type"}});
    let (status, made) = house.post(&key, "/v1/reports", &every_minute(sql, &receiver.url)).await;
    assert_eq!(status, 200, "{made}");
    let (secret, id) = (made["webhook_secret"].as_str().unwrap(), made["report"]["report_id"].as_str().unwrap());
    let metric = json!({"metric": {"name": "sales"}});
    let (status, of_metric) = house.post(&key, "/v1/reports", &every_minute(metric, "")).await;
    assert_eq!((status, &of_metric["webhook_secret"]), (200, &json!("")), "{of_metric}");

    let deliveries = receiver.until(3).await;
    let first = &deliveries[0];
    for delivery in &deliveries[..3] {
        assert_eq!(delivery.headers["webhook-signature"], signature(secret, delivery));
        assert_eq!(delivery.headers["webhook-id"], first.headers["webhook-id"], "the same run");
        assert_ne!(delivery.headers["webhook-signature"], signature("whsec_other", delivery));
    }
    let body: Value = serde_json::from_slice(&first.body).unwrap();
    assert_eq!((&body["report_id"], &body["run_id"]), (&json!(id), &json!(first.headers["webhook-id"])));
    assert_eq!(rows(&body["result"]), [[json!("sale"), json!(3)]]);

    let started = Instant::now();
    let runs = loop {
        let (status, runs) = get(&house, &key, &format!("/v1/reports/{id}/runs")).await;
        assert_eq!(status, 200, "{runs}");
        let last = runs["runs"].as_array().unwrap().last().cloned().unwrap_or_default();
        if last["delivered_at"].is_string() {
            break last;
        }
        assert!(started.elapsed() < PATIENCE, "{runs}");
    };
    assert_eq!((&runs["deliveries"], &runs["delivery_failure"]), (&json!(3), &json!("")), "{runs}");
    assert_eq!(rows(&runs["result"]), [[json!("sale"), json!(3)]]);
    let metric_id = of_metric["report"]["report_id"].as_str().unwrap();
    let (_, runs) = get(&house, &key, &format!("/v1/reports/{metric_id}/runs")).await;
    assert_eq!(rows(&runs["runs"][0]["result"]), [[json!(3)]], "{runs}");

    let (_, audit) = get(&house, &key, "/v1/audit").await;
    let sent = format!("reports/{id}/runs/{}", first.headers["webhook-id"]);
    let noted = audit["entries"].as_array().unwrap().iter().filter(|entry| entry["object"] == json!(sent));
    assert_eq!(noted.map(|entry| &entry["method"]).collect::<Vec<_>>(), ["penstock reports"], "once: {audit}");

    let other = house.tenant("other", "shop", &["query", "admin"]).await;
    let (_, listed) = get(&house, &other, "/v1/reports").await;
    assert_eq!(listed["reports"], json!([]), "another tenant's");
    for path in [format!("/v1/reports/{id}"), format!("/v1/reports/{id}/runs")] {
        assert_eq!(get(&house, &other, &path).await.0, 404, "{path}");
    }
    let delete = async |key: &str| {
        let url = format!("http://{}/v1/reports/{id}", house.address);
        house.http.delete(url).bearer_auth(key).send().await.unwrap().status().as_u16()
    };
    assert_eq!((delete(&other).await, delete(&key).await, delete(&key).await), (404, 200, 404));
    let (_, listed) = get(&house, &key, "/v1/reports").await;
    assert_eq!(listed["reports"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_ends_with_its_key_and_what_can_not_be_is_refused() {
    let house = House::start().await;
    let key = house.tenant("acme", "shop", &["ingest", "query", "admin"]).await;
    send(&house, &key, 1).await;
    let sql = |sql: &str| json!({"sql": {"sql": sql}});
    let count = sql("SELECT COUNT(*) AS n FROM events");
    for (change, field) in [
        (json!({"schedule": "* * * *"}), "report.schedule"),
        (json!({"time_zone": "Berlin"}), "report.time_zone"),
        (json!({"webhook_url": "http://127.0.0.1:1/"}), "report.webhook_url"),
        (json!({"webhook_url": "https://169.254.169.254/"}), "report.webhook_url"),
        (json!({"app_id": ""}), "report.app_id"),
        (json!({"question": {}}), "report.question"),
        (json!({"question": sql("SELECT nothing FROM events")}), "report.question.sql"),
        (json!({"question": {"sql": {"sql": "SELECT COUNT(*) FROM events", "app_id": "lab"}}}), "report.question"),
    ] {
        let mut body = every_minute(count.clone(), "");
        body["report"].as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let (status, answer) = house.post(&key, "/v1/reports", &body).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer.to_string().contains(&format!("\"{field}")), "{field}: {answer}");
    }
    let admin = house.tenant("acme", "shop", &["admin"]).await;
    let (status, answer) = house.post(&admin, "/v1/reports", &every_minute(count.clone(), "")).await;
    assert_eq!(status, 403, "who can't ask can't have it asked: {answer}");

    let report_of_another_key = async || {
        let maker = house.tenant("acme", "shop", &["query", "admin"]).await;
        let (status, made) = house.post(&maker, "/v1/reports", &every_minute(count.clone(), "")).await;
        assert_eq!(status, 200, "{made}");
        ["report_id", "created_by"].map(|field| made["report"][field].as_str().unwrap().to_owned())
    };
    let ([id, key_id], [lasting, rotated]) = (report_of_another_key().await, report_of_another_key().await);
    let rotation = json!({"tenant_id": "acme", "overlap": "0s"});
    let (status, new) = house.post(&house.operator_key(), &format!("/v1/keys/{rotated}:rotate"), &rotation).await;
    assert_eq!(status, 200, "{new}");
    let url = format!("http://{}/v1/keys/{key_id}?tenant_id=acme", house.address);
    assert_eq!(house.http.delete(url).bearer_auth(house.operator_key()).send().await.unwrap().status(), 200);
    let started = Instant::now();
    loop {
        let (_, report) = get(&house, &key, &format!("/v1/reports/{id}")).await;
        if report["report"]["ended"].as_str().unwrap().contains("revoked") {
            assert!(report["report"]["next_run_at"].is_null(), "{report}");
            break;
        }
        assert!(started.elapsed() < 2 * PATIENCE, "{report}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    // The other's key has ended too, but another came in its place.
    loop {
        let (_, runs) = get(&house, &key, &format!("/v1/reports/{lasting}/runs")).await;
        if let Some(run) = runs["runs"].as_array().unwrap().last().filter(|run| run["finished_at"].is_string()) {
            assert_eq!((rows(&run["result"]), &run["failure"]), (vec![vec![json!(1)]], &json!("")), "{run}");
            break;
        }
        assert!(started.elapsed() < 2 * PATIENCE, "{runs}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let (_, report) = get(&house, &key, &format!("/v1/reports/{lasting}")).await;
    assert_eq!(report["report"]["ended"], json!(""), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_cluster_reports_are_asked_across_processes() {
    let stand = stand::shared().await;
    let key = stand.tenant("reporters", "shop", &["ingest", "query", "admin"]).await;
    send(&stand, &key, 2).await;
    let sql = json!({"sql": {"sql": "SELECT COUNT(*) AS n FROM events"}});
    let (status, made) = stand.post(&key, "/v1/reports", &every_minute(sql, "")).await;
    assert_eq!(status, 200, "{made}");
    let id = made["report"]["report_id"].as_str().unwrap();
    let started = Instant::now();
    loop {
        let (_, runs) = get(&stand, &key, &format!("/v1/reports/{id}/runs")).await;
        let runs = runs["runs"].as_array().unwrap().clone();
        if let Some(run) = runs.last().filter(|run| run["finished_at"].is_string()) {
            assert_eq!((rows(&run["result"]), &run["failure"]), (vec![vec![json!(2)]], &json!("")), "{run}");
            break;
        }
        assert!(started.elapsed() < 2 * PATIENCE, "{runs:?}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}
