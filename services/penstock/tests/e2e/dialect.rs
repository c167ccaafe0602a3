//! What the SQL of users may say, how it may be spelled, and how a refusal reads on the wire.

mod accepted;
mod refused;
mod shapes;

use serde_json::{Value, json};

use crate::house::House;

/// Six events around the night of March 31st, 2024, when Berlin's clocks skip an hour. `mixed` comes as number and as
/// string.
fn events() -> Value {
    let event = |id: u32, kind: &str, user: &str, time: &str, properties: Value| {
        let event_id = id.to_string();
        json!({"event_id": event_id, "event_type": kind, "user_id": user, "timestamp": time, "properties": properties})
    };
    json!([
        event(
            1,
            "purchase",
            "u1",
            "2024-03-30T22:30:00Z",
            json!({"amount": 10, "status": "completed", "vip": true, "page.url": "/a", "mixed": 1})
        ),
        event(
            2,
            "purchase",
            "u1",
            "2024-03-30T23:30:00Z",
            json!({"amount": 20.5, "status": "completed", "vip": false, "page.url": "/b_1", "mixed": "one"})
        ),
        event(
            3,
            "purchase",
            "u2",
            "2024-03-31T00:30:00Z",
            json!({"amount": 0, "status": "refunded", "vip": false, "page.url": "/bx1", "mixed": 3})
        ),
        event(4, "view", "u3", "2024-03-31T01:30:00Z", json!({"page.url": "/a%", "vip": true})),
        event(5, "view", "", "2024-04-01T10:00:00.250Z", json!({"page.url": "it's"})),
        event(6, "view", "u2", "2024-04-02T00:00:00Z", json!({"status": "späť", "amount": -4})),
    ])
}

struct World {
    house: House,
    key: String,
}

impl World {
    async fn new() -> Self {
        let house = House::start().await;
        let key = house.tenant("language", "shop", &["ingest", "backfill", "query", "metrics"]).await;
        let (status, answer) = house.post(&key, "/v1/events", &events()).await;
        assert_eq!((status, &answer["accepted"]), (200, &json!(6)), "{answer}");
        let world = Self { house, key };
        let token = answer["position_token"].as_str().unwrap();
        assert_eq!(world.house.sql(&world.key, "SELECT COUNT(*) FROM events", token).await, [[json!(6)]]);
        for (user, traits) in [
            ("u1", json!({"country": {"string": "AT"}, "plan": {"string": "free"}, "age": {"number": 29}})),
            ("u2", json!({"country": {"string": "FR"}, "age": {"number": 40}})),
            (
                "u1",
                json!({"country": {"string": "DE"}, "plan": {"string": "pro"}, "age": {"number": 30}, "vip": {"bool": true}}),
            ),
        ] {
            let body = json!({"user_id": user, "traits": traits});
            let (status, answer) = world.house.post(&world.key, "/v1/identify", &body).await;
            assert_eq!(status, 200, "{answer}");
            let token = answer.pointer("/acknowledgement/position_token").or(answer.get("position_token"));
            let token = token.and_then(Value::as_str).unwrap_or_else(|| panic!("no token in {answer}"));
            world.house.sql(&world.key, "SELECT COUNT(*) FROM events", token).await;
        }
        world
    }

    async fn sql(&self, sql: &str, zone: &str) -> (u16, Value) {
        let request = json!({"sql": sql, "options": {"time_zone": zone}});
        self.house.post(&self.key, "/v1/sql", &request).await
    }
}

#[tokio::test]
async fn every_spelling_gives_its_rows() {
    let world = World::new().await;
    let mut wrong = Vec::new();
    for (sql, zone, want) in accepted::QUERIES {
        let (status, answer) = world.sql(sql, zone).await;
        let want: Vec<Vec<Value>> = serde_json::from_str(want).unwrap();
        if status != 200 {
            wrong.push(format!("{sql}\n  refused: {}", answer["error"]["message"]));
        } else if crate::house::rows(&answer["result"]) != want {
            wrong.push(format!("{sql}\n  {:?}\n  not {want:?}", crate::house::rows(&answer["result"])));
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn every_refusal_says_where_why_and_what_would_be_right() {
    let world = World::new().await;
    let mut wrong = Vec::new();
    for (marked, reason, hint) in refused::QUERIES {
        let (sql, position) = unmarked(marked);
        let (status, answer) = world.sql(&sql, "").await;
        let details = &answer["error"]["details"];
        let violation = &details[1]["fieldViolations"][0];
        let got = (
            status,
            details[0]["reason"].as_str().unwrap_or_default(),
            details[0]["metadata"]["position"].as_str().unwrap_or_default(),
            violation["field"].as_str().unwrap_or_default(),
            violation["reason"].as_str().unwrap_or_default(),
        );
        let said = violation["description"].as_str().unwrap_or_default();
        if got != (400, "INVALID_QUERY", position.as_str(), "sql", reason) || !said.contains(hint) {
            let place = got.2.split_once('-').and_then(|(a, b)| sql.get(a.parse().ok()?..b.parse().ok()?));
            wrong.push(format!("{marked}\n  {got:?} ({place:?})\n  {said}\n  not {reason} at {position}: {hint}"));
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// The text without its marks, and the place between them as `start-end`.
fn unmarked(marked: &str) -> (String, String) {
    let (before, rest) = marked.split_once('⟦').unwrap();
    let (place, after) = rest.split_once('⟧').unwrap();
    (format!("{before}{place}{after}"), format!("{}-{}", before.len(), before.len() + place.len()))
}

#[tokio::test]
async fn what_the_request_says_beside_its_text_is_held_against_it() {
    let world = World::new().await;
    // A zone that is none is told by the field that named it.
    let (status, answer) = world.sql("SELECT COUNT(*) FROM events", "Europe/Berlln").await;
    let violation = &answer["error"]["details"][1]["fieldViolations"][0];
    let got = (status, &violation["field"], &violation["reason"]);
    assert_eq!(got, (400, &json!("options.time_zone"), &json!("INVALID_TIME_ZONE")), "{answer}");
    let query = json!({"query": {"measures": [{"formula": "SUM(ammount)"}]}});
    let (status, answer) = world.house.post(&world.key, "/v1/query", &query).await;
    let violation = &answer["error"]["details"][1]["fieldViolations"][0];
    let got = (status, &violation["field"], &violation["reason"]);
    assert_eq!(got, (400, &json!("query.measures[0].formula"), &json!("UNKNOWN_FIELD")), "{answer}");

    // A query reads one app, and only one in the key's reach.
    let sql = "SELECT COUNT(*) FROM events WHERE app_id = 'other'";
    let (status, answer) = world.sql(sql, "").await;
    assert_eq!((status, &answer["error"]["status"]), (403, &json!("PERMISSION_DENIED")), "{answer}");
    let (status, answer) = world.house.post(&world.key, "/v1/sql", &json!({"sql": sql, "app_id": "shop"})).await;
    let violation = &answer["error"]["details"][1]["fieldViolations"][0];
    assert_eq!((status, &violation["reason"]), (400, &json!("OTHER_APP")), "{answer}");
}
