//! What Grafana's JSON data source sends, as its plugin documents it: Grafana itself is in none of the registries that the tests may use.

use serde_json::{Value, json};

use crate::house::House;

const HOUR: &str = "2024-01-01T10:";

async fn ask(house: &House, key: &str, path: &str, body: &Value) -> (u16, Value) {
    house.post(key, &format!("/v1/grafana/shop/{path}"), body).await
}

#[tokio::test]
async fn panels_are_asked_through_the_compiler() {
    let house = House::start().await;
    let key = house.tenant("red", "shop", &["ingest", "backfill", "query", "metrics"]).await;
    let event = |minute: u32, country: &str, n: u32| {
        json!({"event_type": "buy", "user_id": format!("u{n}"), "timestamp": format!("{HOUR}{minute:02}:30Z"),
            "properties": {"n": n, "land": country}})
    };
    let events = json!([event(0, "NL", 1), event(0, "FR", 2), event(1, "NL", 4), event(30, "FR", 8)]);
    let (status, answer) = house.post(&key, "/v1/events", &events).await;
    assert_eq!(status, 200, "{answer}");
    house.sql(&key, "SELECT COUNT(*) FROM events", answer["position_token"].as_str().unwrap()).await;
    let metric = json!({"definition": {"name": "revenue", "display_name": "Revenue", "formula": "SUM(n)"}});
    assert_eq!(house.post(&key, "/v1/apps/shop/metrics", &metric).await.0, 200);

    let url = format!("http://{}/v1/grafana/shop", house.address);
    // As Grafana's own basic authentication sends a key.
    let saved = house.http.get(&url).basic_auth(&key, Some("")).send().await.unwrap();
    assert_eq!(saved.status(), 200);
    assert_eq!(house.http.get(&url).send().await.unwrap().status(), 401);
    let (_, choices) = ask(&house, &key, "metrics", &json!({})).await;
    let offered: Vec<_> = choices.as_array().unwrap().iter().map(|c| (&c["label"], &c["value"])).collect();
    assert_eq!(offered, [(&json!("Revenue"), &json!("revenue")), (&json!("Formula"), &json!("="))]);
    assert_eq!(ask(&house, &key, "search", &json!({})).await.1, json!(["revenue"]));

    let query = |targets: Value, interval: f64| {
        json!({"panelId": 1, "range": {"from": format!("{HOUR}00:00.000Z"), "to": "2024-01-01T11:00:00.000Z", "raw": {"from": "now-1h", "to": "now"}},
            "interval": "30s", "intervalMs": interval, "maxDataPoints": 550, "targets": targets})
    };
    let at = |minute: i64| 1_704_103_200_000 + minute * 60_000;
    let both = json!([
        {"refId": "A", "target": "revenue", "payload": {"by": "land"}},
        {"refId": "B", "target": "=", "payload": {"formula": "COUNT(*)", "grain": "hour"}},
        {"refId": "C", "target": "revenue", "hide": true},
        {"refId": "D", "target": ""},
    ]);
    let wanted = json!([
        {"target": "FR", "datapoints": [[2.0, at(0)], [8.0, at(30)]]},
        {"target": "NL", "datapoints": [[1.0, at(0)], [4.0, at(1)]]},
        {"target": "COUNT(*)", "datapoints": [[4, at(0)]]},
    ]);
    let (status, answer) = ask(&house, &key, "query", &query(both, 30_000.0)).await;
    assert_eq!((status, answer), (200, wanted));
    // A filter of the dashboard's, and a table.
    let mut filtered =
        query(json!([{"refId": "A", "target": "revenue", "payload": {"grain": "none", "by": "land"}}]), 1e6);
    filtered["adhocFilters"] = json!([{"key": "land", "operator": "=", "value": "NL"}]);
    let wanted = json!([{"type": "table", "columns": [{"text": "land", "type": "string"}, {"text": "revenue", "type": "number"}],
        "rows": [["NL", 5.0]]}]);
    assert_eq!(ask(&house, &key, "query", &filtered).await, (200, wanted));
    let values = json!([{"__text": "FR", "__value": "FR"}, {"__text": "NL", "__value": "NL"}]);
    let variable =
        json!({"payload": {"target": "land"}, "range": {"from": "2024-01-01T00:00:00Z", "to": "2024-01-02T00:00:00Z"}});
    let (status, mut answer) = ask(&house, &key, "variable", &variable).await;
    answer.as_array_mut().unwrap().sort_by_key(ToString::to_string);
    assert_eq!((status, answer), (200, values));

    // What is wrong is said as everywhere; what is another's is not there.
    for (body, field) in [
        (query(json!([{"target": "=", "payload": {"formula": "SUM(m)"}}]), 1.0), "definition.formula"),
        (query(json!([{"target": "="}]), 1.0), "targets[0].payload.formula"),
        (query(json!([{"target": "revenue/versions"}]), 1.0), "targets[0].target"),
        (json!({"targets": "all"}), "body"),
    ] {
        let (status, answer) = ask(&house, &key, "query", &body).await;
        let told = &answer["error"]["details"][1]["fieldViolations"][0]["field"];
        assert_eq!((status, told), (400, &json!(field)), "{answer}");
    }
    let other = house.tenant("blue", "lab", &["query"]).await;
    assert_ne!(ask(&house, &other, "query", &query(json!([{"target": "revenue"}]), 1.0)).await.0, 200);
    assert_eq!(ask(&house, &key, "annotations", &json!({})).await.0, 404);
}
