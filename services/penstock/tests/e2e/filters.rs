//! A key that reads some events alone reads no others, by whatever way it asks.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    house::{House, rows},
    tokens::{Signer, now_s},
};

const APP: &str = "portal";

/// A tenant whose customers each have events of their own.
struct Portal {
    house: House,
    /// Reads everything.
    whole: String,
    token: String,
}

impl Portal {
    async fn open() -> Self {
        let house = House::start().await;
        let whole = house.tenant("host", APP, &["ingest", "backfill", "query", "export", "metrics", "admin"]).await;
        let mut portal = Self { house, whole, token: String::new() };
        let of = |customer: &str, n: i64| {
            let properties =
                json!({"customer": customer, "store": n, "amount": n * 10, "secret": format!("{customer}-{n}")});
            json!({"event_type": "sale", "user_id": format!("{customer}-{}", n % 3), "properties": properties})
        };
        let nobodys = json!({"event_type": "sale", "user_id": "nobody", "properties": {"amount": 1}});
        let events: Vec<_> = (1..=9).flat_map(|n| [of("ann", n), of("bob", n)]).chain([nobodys]).collect();
        portal.send(json!(events)).await;
        portal
    }

    async fn send(&mut self, events: Value) {
        let (status, answer) = self.house.post(&self.whole, "/v1/events", &events).await;
        assert_eq!((status, answer["rejected"].as_u64().unwrap_or(0)), (200, 0), "{answer}");
        self.token = answer["position_token"].as_str().unwrap().to_owned();
    }

    /// A key that reads what the filters let pass.
    async fn key(&self, filters: Value) -> String {
        let body =
            json!({"permissions": ["PERMISSION_QUERY", "PERMISSION_EXPORT"], "app_ids": [APP], "filters": filters});
        let (status, answer) = self.house.post(&self.whole, "/v1/keys", &body).await;
        assert_eq!((status, &answer["key"]["filters"]), (200, &filters), "{answer}");
        answer["secret"].as_str().unwrap().to_owned()
    }

    /// What a page of the customer's has: an embed token with the filter.
    async fn token(&self, customer: &str) -> String {
        let body = json!({"permissions": ["PERMISSION_QUERY", "PERMISSION_EXPORT"], "app_ids": [APP], "kind": "KEY_KIND_HS256"});
        let (status, answer) = self.house.post(&self.whole, "/v1/keys", &body).await;
        assert_eq!(status, 200, "{answer}");
        let signer = Signer::hs256(answer["secret"].as_str().unwrap());
        let claims = json!({"exp": now_s() + 600, "filters": {"customer": customer}});
        signer.token(answer["key"]["key_id"].as_str().unwrap(), claims)
    }

    async fn ask(&self, key: &str, path: &str, mut body: Value) -> Value {
        body["options"] = json!({"position_token": self.token, "max_wait_ms": 30_000});
        let (status, answer) = self.house.post(key, path, &body).await;
        assert_eq!(status, 200, "{body}: {answer}");
        answer
    }

    async fn sql(&self, key: &str, sql: &str) -> Vec<Vec<Value>> {
        rows(&self.ask(key, "/v1/sql", json!({"sql": sql, "app_id": APP})).await["result"])
    }

    /// What a stream of lines says until it ends, or so many lines of it.
    async fn lines(&self, key: &str, path: &str, body: Value, most: usize) -> String {
        let request = self.house.http.post(format!("http://{}{path}", self.house.address)).bearer_auth(key);
        let mut answer = request.json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut text = String::new();
        while text.matches('\n').count() < most
            && let Some(piece) = answer.chunk().await.unwrap()
        {
            text.push_str(std::str::from_utf8(&piece).unwrap());
        }
        text
    }
}

fn one(property: &str, values: &[&str]) -> Value {
    json!([{"property": property, "values": values}])
}

#[tokio::test(flavor = "multi_thread")]
async fn no_way_of_asking_leads_past_a_key_s_filters() {
    let portal = Portal::open().await;
    let [ann, bob] = [portal.key(one("customer", &["ann"])).await, portal.key(one("customer", &["bob"])).await];
    no_way_leads_past(&portal, ann, bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_past_a_token_s() {
    let portal = Portal::open().await;
    let [ann, bob] = [portal.token("ann").await, portal.token("bob").await];
    no_way_leads_past(&portal, ann, bob).await;
}

/// By keys or tokens of two customers, each of whom sees its own events.
async fn no_way_leads_past(portal: &Portal, ann: String, bob: String) {
    // Counts, groups, the rollup, queries in queries: what the others see is never kept for these, nor the other way round.
    let sums = [
        ("SELECT COUNT(*) AS n FROM events", [json!(19), json!(9), json!(9)]),
        ("SELECT SUM(amount) AS n FROM events", [json!(901.0), json!(450.0), json!(450.0)]),
        ("SELECT COUNT(DISTINCT user_id) AS n FROM events", [json!(7), json!(3), json!(3)]),
        ("SELECT COUNT(*) AS n FROM events WHERE customer = 'bob' OR secret = 'bob-1'", [json!(9), json!(0), json!(9)]),
        ("SELECT COUNT(*) AS n FROM events WHERE customer IS NULL", [json!(1), json!(0), json!(0)]),
        (
            "SELECT MAX(n) AS n FROM (SELECT customer, COUNT(*) AS n FROM events GROUP BY 1) x",
            [json!(9), json!(9), json!(9)],
        ),
        (
            "SELECT COUNT(*) AS n FROM events WHERE user_id IN (SELECT user_id FROM events WHERE customer = 'bob')",
            [json!(9), json!(0), json!(9)],
        ),
        ("SELECT (SELECT COUNT(*) FROM events) AS n FROM events LIMIT 1", [json!(19), json!(9), json!(9)]),
        ("SELECT COUNT(*) AS n FROM events WHERE timestamp < now() - INTERVAL 1 DAY", [json!(0), json!(0), json!(0)]),
    ];
    for round in 0..3 {
        for (sql, wanted) in &sums {
            for (key, wanted) in [&portal.whole, &ann, &bob].into_iter().zip(wanted) {
                assert_eq!(portal.sql(key, sql).await, [[wanted.clone()]], "round {round}: {sql}");
            }
        }
    }
    let seen: BTreeSet<_> = portal
        .sql(&ann, "SELECT customer, secret FROM events")
        .await
        .into_iter()
        .map(|row| row[0].clone().to_string())
        .collect();
    assert_eq!(seen, BTreeSet::from(["\"ann\"".to_owned()]));

    // Typed queries, by the most dimensions that there are, with totals and the rest of a top.
    let query = json!({"app_id": APP, "measures": [{"name": "n", "formula": "COUNT(*)"}],
        "dimensions": [{"expression": "secret"}], "top": {"n": 2, "dimension": "secret", "others": "the rest"}, "totals": true});
    let answer = portal.ask(&ann, "/v1/query", json!({"query": query})).await;
    assert!(!answer.to_string().contains("bob"), "{answer}");
    assert!(
        rows(&answer["result"]).iter().any(|row| row.last() == Some(&json!(9)) || row.contains(&json!(9))),
        "{answer}"
    );

    // A metric that the tenant made.
    let metric = json!({"definition": {"name": "sales", "formula": "SUM(amount)"}});
    let (status, made) = portal.house.post(&portal.whole, &format!("/v1/apps/{APP}/metrics"), &metric).await;
    assert_eq!(status, 200, "{made}");
    for (key, wanted) in [(&ann, 450.0), (&portal.whole, 901.0)] {
        let answer = portal.ask(key, &format!("/v1/apps/{APP}/metrics/sales:evaluate"), json!({})).await;
        assert_eq!(rows(&answer["result"]), [[json!(wanted)]]);
        let path = format!("/v1/apps/{APP}/metrics/sales:subscribe");
        let body = json!({"options": {"position_token": portal.token, "max_wait_ms": 30_000}});
        let push: Value = serde_json::from_str(&portal.lines(key, &path, body, 1).await).unwrap();
        assert_eq!(rows(&push["state"]["result"]), [[json!(wanted)]]);
    }

    // Streams, subscriptions and exports.
    let question = json!({"sql": "SELECT customer, secret, user_id FROM events", "app_id": APP});
    let streamed = portal.lines(&ann, "/v1/sql:stream", question.clone(), usize::MAX).await;
    let pushed = portal.lines(&ann, "/v1/subscribe", json!({"sql": question}), 1).await;
    let exported =
        portal.lines(&ann, "/v1/export", json!({"sql": question, "format": "EXPORT_FORMAT_NDJSON"}), usize::MAX).await;
    for text in [streamed, pushed, exported] {
        assert!(text.contains("ann-9") && !text.contains("bob") && !text.contains("nobody"), "{text}");
    }

    // How it would be answered tells nothing of the filter, and of nobody else.
    let explained = portal.ask(&ann, "/v1/explain", json!({"sql": {"sql": sums[0].0, "app_id": APP}})).await;
    let text = explained.to_string();
    assert!(text.contains("as the key may read it") && !text.contains("ann") && !text.contains("bob"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_knows_values_by_their_text_and_what_is_not_there_is_not_let_through() {
    let mut portal = Portal::open().await;
    let count = "SELECT COUNT(*) AS n FROM events";
    for (filters, wanted) in [
        (one("store", &["1", "2"]), 4),
        (one("store", &["01"]), 0),
        (one("user_id", &["ann-0", "bob-1"]), 6),
        (one("event_type", &["sale"]), 19),
        (one("event_type", &["Sale"]), 0),
        (one("never_sent", &["1"]), 0),
        (json!([{"property": "customer", "values": ["ann"]}, {"property": "store", "values": ["9", "it's"]}]), 1),
        (json!([{"property": "customer", "values": ["ann"]}, {"property": "customer", "values": ["bob"]}]), 0),
        (one("customer", &["ann' OR 1 = 1 --", "\\", "a\tn\n"]), 0),
    ] {
        let key = portal.key(filters.clone()).await;
        assert_eq!(portal.sql(&key, count).await, [[json!(wanted)]], "{filters}");
    }
    // Seen for the first time after the key was made, and as another kind than before.
    let (late, store) = (portal.key(one("late", &["true", "x"])).await, portal.key(one("store", &["7"])).await);
    assert_eq!(portal.sql(&late, count).await, [[json!(0)]]);
    let of = |properties: Value| json!({"event_type": "sale", "user_id": "ann-1", "properties": properties});
    portal
        .send(json!([
            of(json!({"late": true})),
            of(json!({"late": false})),
            of(json!({"late": "x"})),
            of(json!({"store": "7"}))
        ]))
        .await;
    assert_eq!(portal.sql(&late, count).await, [[json!(2)]]);
    assert_eq!(portal.sql(&store, count).await, [[json!(3)]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_filters_reads_events_and_does_nothing_else() {
    let portal = Portal::open().await;
    let ann = portal.key(one("customer", &["ann"])).await;
    for sql in ["SELECT user_id FROM users", "SELECT COUNT(*) AS n FROM events JOIN users USING (user_id)"] {
        let (status, answer) = portal.house.post(&ann, "/v1/sql", &json!({"sql": sql, "app_id": APP})).await;
        assert_eq!((status, answer["error"]["status"].as_str()), (403, Some("PERMISSION_DENIED")), "{answer}");
    }
    for (permissions, filters, field) in [
        (json!(["PERMISSION_QUERY", "PERMISSION_ADMIN"]), one("customer", &["ann"]), "permissions"),
        (json!(["PERMISSION_INGEST"]), one("customer", &["ann"]), "permissions"),
        (json!(["PERMISSION_QUERY"]), one("", &["ann"]), "filters[0].property"),
        (json!(["PERMISSION_QUERY"]), one("timestamp", &["ann"]), "filters[0].property"),
        (json!(["PERMISSION_QUERY"]), one("customer", &[]), "filters[0].values"),
        (json!(["PERMISSION_QUERY"]), one("customer", &["x"; 101]), "filters[0].values"),
        (json!(["PERMISSION_QUERY"]), one("customer", &[&"x".repeat(4_096)]), "filters"),
        (json!(["PERMISSION_QUERY"]), json!(vec![json!({"property": "p", "values": ["v"]}); 9]), "filters"),
    ] {
        let (status, answer) = portal
            .house
            .post(&portal.whole, "/v1/keys", &json!({"permissions": permissions, "filters": filters}))
            .await;
        assert_eq!(status, 400, "{field}: {answer}");
        assert!(answer.to_string().contains(&format!("\"{field}\"")), "{field}: {answer}");
    }
    // The one that comes in its place has them too.
    let id = &ann["pnsk_live_".len()..][..12];
    let (status, answer) = portal.house.post(&portal.whole, &format!("/v1/keys/{id}:rotate"), &json!({})).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(portal.sql(answer["secret"].as_str().unwrap(), "SELECT COUNT(*) AS n FROM events").await, [[json!(9)]]);
}
