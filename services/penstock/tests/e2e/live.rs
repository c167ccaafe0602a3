//! Subscriptions: the answer, and what becomes of it as events arrive, a key ends, the warehouse dies, the program stops.

use std::{collections::BTreeMap, time::Instant};

use api::v1::{
    Dimension, Measure, PublishRequest, ReadOptions, Row, SqlQuery, SqlRequest, SubscribeRequest, SubscribeResponse,
    TypedQuery, ingest_service_client::IngestServiceClient, query_service_client::QueryServiceClient,
    subscribe_request::Question, subscribe_response::Push, value::Kind,
};
use futures::future::join_all;
use prost::Message;
use serde_json::{Value, json};
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

use crate::{
    clients::{Keyed, event},
    house::{House, PATIENCE},
    stand,
};

/// An answer as a subscriber knows it: rows by their keys, and how often each is there.
struct Folded {
    pushes: Streaming<SubscribeResponse>,
    key_columns: Vec<u32>,
    rows: BTreeMap<Vec<u8>, Vec<Row>>,
    token: String,
    changes: usize,
}

impl Folded {
    async fn subscribe(client: &mut QueryServiceClient<Keyed>, question: Question) -> Result<Self, Status> {
        let min_interval = Some(prost_types::Duration { seconds: 0, nanos: 200_000_000 });
        let request = SubscribeRequest { question: Some(question), min_interval, ..SubscribeRequest::default() };
        let pushes = client.subscribe(request).await?.into_inner();
        let (key_columns, rows, token) = Default::default();
        let mut folded = Self { pushes, key_columns, rows, token, changes: 0 };
        folded.next().await?;
        Ok(folded)
    }

    fn key(&self, row: &Row) -> Vec<u8> {
        if self.key_columns.is_empty() {
            return row.encode_to_vec();
        }
        let values = self.key_columns.iter().map(|column| row.values[*column as usize].clone()).collect();
        Row { values }.encode_to_vec()
    }

    async fn next(&mut self) -> Result<(), Status> {
        let push = timeout(PATIENCE, self.pushes.message()).await.expect("there is a heartbeat at least")?;
        let watermark = match push.expect("it never ends by itself").push.unwrap() {
            Push::State(state) => {
                let result = state.result.unwrap();
                (self.key_columns, self.rows) = (state.key_columns, BTreeMap::new());
                for row in result.rows {
                    self.rows.entry(self.key(&row)).or_default().push(row);
                }
                result.info.unwrap().watermark
            }
            Push::Change(change) => {
                self.changes += 1;
                for key in change.removed {
                    let key = key.encode_to_vec();
                    let there = self.rows.get_mut(&key).expect("only what is there is removed");
                    there.pop();
                    if there.is_empty() {
                        self.rows.remove(&key);
                    }
                }
                for row in change.upserted {
                    let key = self.key(&row);
                    let there = self.rows.entry(key).or_default();
                    if !self.key_columns.is_empty() {
                        there.clear();
                    }
                    there.push(row);
                }
                change.info.unwrap().watermark
            }
            Push::Heartbeat(heartbeat) => heartbeat.watermark,
        };
        self.token = watermark.unwrap().position_token;
        Ok(())
    }

    fn sorted(&self) -> Vec<Vec<u8>> {
        sorted(self.rows.values().flatten())
    }

    /// Reads on until the rows are these.
    async fn until(&mut self, wanted: &[Vec<u8>]) {
        let started = Instant::now();
        while self.sorted() != wanted {
            assert!(started.elapsed() < PATIENCE, "{:?}", self.rows);
            self.next().await.unwrap();
        }
    }
}

fn sorted<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<Vec<u8>> {
    let mut rows: Vec<_> = rows.map(Message::encode_to_vec).collect();
    rows.sort();
    rows
}

fn sql(text: &str) -> Question {
    Question::Sql(SqlQuery { sql: text.to_owned(), app_id: "shop".to_owned() })
}

/// Sends events of these types, all of one user, and returns the token.
async fn send(house: &House, key: &str, types: &[&str]) -> String {
    let mut client = IngestServiceClient::new(house.keyed(key).await);
    let id = || format!("{:032x}", rand::random::<u128>());
    let events = types.iter().enumerate().map(|(i, of)| event(of, &id(), "u", &[("n", Kind::Integer(i as i64))]));
    let batch = PublishRequest { app_id: "shop".to_owned(), events: events.collect(), ..Default::default() };
    let sent = Instant::now();
    loop {
        match client.publish(batch.clone()).await {
            Ok(answer) => return answer.into_inner().acknowledgement.unwrap().position_token,
            // Whoever is told to come again does, with the same ids.
            Err(refused) => assert!(refused.code() == Code::Unavailable && sent.elapsed() < PATIENCE, "{refused}"),
        }
    }
}

async fn answered(client: &mut QueryServiceClient<Keyed>, text: &str, token: &str) -> Vec<Vec<u8>> {
    let options = ReadOptions { position_token: token.to_owned(), max_wait_ms: 30_000, ..ReadOptions::default() };
    let request = SqlRequest { sql: text.to_owned(), app_id: "shop".to_owned(), options: Some(options) };
    let asked = Instant::now();
    loop {
        match client.sql(request.clone()).await {
            Ok(answer) => return sorted(answer.into_inner().result.unwrap().rows.iter()),
            Err(late) => assert!(late.code() == Code::DeadlineExceeded && asked.elapsed() < PATIENCE, "{late}"),
        }
    }
}

const GROUPED: &str = "SELECT event_type, COUNT(*) AS c, SUM(n) AS s FROM events GROUP BY event_type";
const COUNTED: &str = "SELECT event_type, COUNT(*) AS c FROM events GROUP BY event_type";
const KEYLESS: &str = "SELECT COUNT(*) AS c FROM events GROUP BY event_type";
const ROWS: &str = "SELECT event_type, n FROM events";

async fn pushed_is_what_a_query_answers(house: &House, tenant: &str) {
    let key = house.tenant(tenant, "shop", &["ingest", "query"]).await;
    let mut client = QueryServiceClient::new(house.keyed(&key).await);
    send(house, &key, &["a", "b", "c", "d", "e", "f"]).await;
    let measure =
        |name: &str, formula: &str| Measure { name: name.into(), formula: formula.into(), ..Default::default() };
    let typed = TypedQuery {
        app_id: "shop".to_owned(),
        measures: vec![measure("c", "COUNT(*)"), measure("s", "SUM(n)")],
        dimensions: vec![Dimension { name: String::new(), expression: "event_type".to_owned() }],
        ..TypedQuery::default()
    };
    let mut subscriptions = Vec::new();
    for (question, same) in
        [(sql(GROUPED), GROUPED), (sql(KEYLESS), KEYLESS), (sql(ROWS), ROWS), (Question::Query(typed), GROUPED)]
    {
        subscriptions.push((Folded::subscribe(&mut client, question).await.unwrap(), same));
    }
    assert_eq!(subscriptions.iter().map(|(folded, _)| folded.key_columns.len()).collect::<Vec<_>>(), [1, 0, 0, 1]);
    for types in [&["a"][..], &["g", "a", "a", "b"], &["h"], &["b", "b"]] {
        let token = send(house, &key, types).await;
        for (folded, same) in &mut subscriptions {
            folded.until(&answered(&mut client, same, &token).await).await;
            assert_eq!(folded.sorted(), answered(&mut client, same, &folded.token).await, "as of its own watermark");
        }
    }
    assert!(subscriptions.iter().all(|(folded, _)| folded.changes > 0), "not always the whole answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_is_what_a_query_answers() {
    pushed_is_what_a_query_answers(&House::start().await, "live").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_so_it_is_on_a_cluster() {
    pushed_is_what_a_query_answers(&*stand::shared().await, "live").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_subscribers_are_one_query_a_push() {
    let house = House::start().await;
    let key = house.tenant("live", "shop", &["ingest", "query"]).await;
    let token = send(&house, &key, &["a", "b"]).await;
    let mut client = QueryServiceClient::new(house.keyed(&key).await);
    let text = "SELECT event_type, MEDIAN(n) AS m, COUNT(*) AS c FROM events GROUP BY event_type";
    answered(&mut client, "SELECT COUNT(*) AS c FROM events", &token).await;
    let clients: Vec<_> = (0..50).map(|_| client.clone()).collect();
    let subscribed = join_all(
        clients.into_iter().map(|mut client| async move { Folded::subscribe(&mut client, sql(text)).await.unwrap() }),
    );
    let mut subscribers = subscribed.await;
    assert_eq!(house.metric("penstock_query_subscriptions").await, 50.0);
    let runs = async || {
        let of_ours = |entry: &&Value| entry["query"].as_str().unwrap().contains("quantile");
        house.warehouse_log().await.iter().filter(of_ours).count()
    };
    for round in 1..=5 {
        send(&house, &key, &["a"]).await;
        let wanted = 1 + round;
        let reached = join_all(subscribers.iter_mut().map(|folded| async move {
            let count = |folded: &Folded| {
                let of_a = |row: &&Row| row.values[0].kind == Some(Kind::String("a".to_owned()));
                folded.rows.values().flatten().find(of_a).map(|row| row.values[2].kind.clone().unwrap())
            };
            let started = Instant::now();
            while count(folded) != Some(Kind::Integer(wanted)) {
                assert!(started.elapsed() < PATIENCE, "{:?}", folded.rows);
                folded.next().await.unwrap();
            }
        }));
        reached.await;
    }
    let runs = runs().await;
    assert!((6..=12).contains(&runs), "{runs} runs for six answers");
    drop(subscribers);
    let started = Instant::now();
    while house.metric("penstock_query_subscriptions").await > 0.0 {
        assert!(started.elapsed() < PATIENCE, "subscriptions that nobody listens to are kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_ends_with_its_key_and_outlives_the_warehouse() {
    let house = House::start_with("[query]\nsilence_ms = 300").await;
    let key = house.tenant("live", "shop", &["ingest", "query"]).await;
    let body = json!({"tenant_id": "live", "permissions": ["PERMISSION_QUERY"], "app_ids": ["shop"]});
    let (_, made) = house.post(&house.operator_key(), "/v1/keys", &body).await;
    let (secret, id) = (made["secret"].as_str().unwrap(), made["key"]["key_id"].as_str().unwrap());
    let mut client = QueryServiceClient::new(house.keyed(&key).await);
    let mut other = QueryServiceClient::new(house.keyed(secret).await);
    let mut folded = Folded::subscribe(&mut client, sql(COUNTED)).await.unwrap();
    let mut ending = Folded::subscribe(&mut other, sql(COUNTED)).await.unwrap();

    let url = format!("http://{}/v1/keys/{id}?tenant_id=live", house.address);
    let answer = house.http.delete(&url).bearer_auth(house.operator_key()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let status = loop {
        if let Err(status) = ending.next().await {
            break status;
        }
    };
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    let status = Folded::subscribe(&mut other, sql(COUNTED)).await.err().unwrap();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");

    house.kill_warehouse();
    let token = send(&house, &key, &["a", "b", "a"]).await;
    let started = Instant::now();
    while folded.rows.len() < 2 {
        assert!(started.elapsed() < PATIENCE, "it does not go on");
        folded.next().await.unwrap();
    }
    folded.until(&answered(&mut client, COUNTED, &token).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_end_says_when_to_come_again() {
    let mut house = House::start().await;
    let key = house.tenant("live", "shop", &["query"]).await;
    let mut client = QueryServiceClient::new(house.keyed(&key).await);
    let mut folded = Folded::subscribe(&mut client, sql(COUNTED)).await.unwrap();
    let ended = tokio::spawn(async move {
        loop {
            if let Err(status) = folded.next().await {
                return status;
            }
        }
    });
    tokio::task::block_in_place(|| house.terminate());
    let status = ended.await.unwrap();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.get_error_details().retry_info().unwrap().retry_delay.is_some(), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_get_events_and_everyone_else_lines() {
    let house = House::start().await;
    let key = house.tenant("live", "shop", &["ingest", "query"]).await;
    for (accept, content_type, prefix) in
        [("text/event-stream", "text/event-stream", "data: "), ("*/*", "application/x-ndjson", "")]
    {
        let request = house.http.post(format!("http://{}/v1/subscribe", house.address)).bearer_auth(&key);
        let question = json!({"sql": {"sql": COUNTED, "app_id": "shop"}, "min_interval": "0.2s"});
        let mut answer = request.header("accept", accept).json(&question).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], content_type);
        let mut next = async || {
            let chunk = timeout(PATIENCE, answer.chunk()).await.unwrap().unwrap().unwrap();
            let text = std::str::from_utf8(&chunk).unwrap().to_owned();
            serde_json::from_str::<Value>(text.strip_prefix(prefix).unwrap()).unwrap_or_else(|e| panic!("{text}: {e}"))
        };
        let first = next().await;
        assert!(first["state"]["result"]["columns"].is_array(), "{first}");
        send(&house, &key, &["a"]).await;
        let started = Instant::now();
        while next().await.get("heartbeat").is_some() {
            assert!(started.elapsed() < PATIENCE, "no news");
        }
    }
}

/// A metric is followed by its name: over events, into its next version, to its end.
async fn a_metric_is_followed(house: &House, tenant: &str) {
    let key = house.tenant(tenant, "shop", &["ingest", "query", "metrics"]).await;
    let metrics = "/v1/apps/shop/metrics";
    let definition = |formula: &str| json!({"definition": {"name": "all", "formula": formula}, "base_version": 1});
    assert_eq!(house.post(&key, metrics, &json!({"definition": definition("COUNT(*)")["definition"]})).await.0, 200);
    let token = send(house, &key, &["a", "b"]).await;
    let options = json!({"position_token": token, "max_wait_ms": 30_000});
    let url = format!("http://{}{metrics}/all", house.address);
    let request = house.http.post(format!("{url}:subscribe")).bearer_auth(&key);
    let mut answer = request.json(&json!({"options": options, "min_interval": "0.2s"})).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut line = String::new();
    let mut next = async || {
        while !line.contains('\n') {
            let chunk = timeout(PATIENCE, answer.chunk()).await.expect("there is a heartbeat at least").unwrap();
            line.push_str(std::str::from_utf8(&chunk.expect("a stream ends with its error")).unwrap());
        }
        let (first, rest) = line.split_once('\n').unwrap();
        let push: Value = serde_json::from_str(first).unwrap_or_else(|e| panic!("{first}: {e}"));
        line = rest.to_owned();
        push
    };
    let mut until = async |wanted: &dyn Fn(&Value) -> bool| {
        let started = Instant::now();
        loop {
            let push = next().await;
            if wanted(&push) {
                return push;
            }
            assert!(started.elapsed() < PATIENCE, "{push}");
        }
    };
    let value = |push: &Value| {
        let part =
            if push["state"].is_object() { &push["state"]["result"]["rows"] } else { &push["change"]["upserted"] };
        let value = part[0]["values"][0].as_object()?.values().next()?;
        value.as_f64().or_else(|| value.as_str()?.parse().ok())
    };
    let first = until(&|_| true).await;
    assert_eq!((value(&first), &first["version"]), (Some(2.0), &json!(1)), "{first}");
    send(house, &key, &["a"]).await;
    until(&|push| value(push) == Some(3.0)).await;

    let changed = house.http.patch(&url).bearer_auth(&key).json(&definition("COUNT(*) * 100")).send().await.unwrap();
    assert_eq!(changed.status(), 200);
    until(&|push| push["version"] == 2 && push["state"].is_object()).await;
    send(house, &key, &["a"]).await;
    until(&|push| value(push) == Some(400.0)).await;

    assert_eq!(house.http.delete(&url).bearer_auth(&key).send().await.unwrap().status(), 200);
    let ended = until(&|push| push["error"].is_object()).await;
    assert_eq!((&ended["error"]["status"], &ended["error"]["code"]), (&json!("NOT_FOUND"), &json!(404)), "{ended}");
    assert_eq!(ended["error"]["details"][0]["reason"], "NOT_FOUND", "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metric_is_followed_through_its_versions() {
    a_metric_is_followed(&House::start().await, "metric").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_so_is_a_metric_on_a_cluster() {
    a_metric_is_followed(&*stand::shared().await, "metric").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_which_limit() {
    let limits = "tenant_max_subscriptions = 3\ntenant_max_live_questions = 1\nmax_rows = 3";
    let house = House::start_with(&format!("[query]\n{limits}")).await;
    let key = house.tenant("live", "shop", &["ingest", "query"]).await;
    let token = send(&house, &key, &["a", "b", "c", "d"]).await;
    let mut client = QueryServiceClient::new(house.keyed(&key).await);
    answered(&mut client, "SELECT COUNT(*) AS c FROM events", &token).await;
    let mut refused = async |question: Question| Folded::subscribe(&mut client, question).await.err().unwrap();

    let status = refused(sql(ROWS)).await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("more than 3 rows"), "{status:?}");

    let count = || sql("SELECT COUNT(*) AS c FROM events");
    let mut other = QueryServiceClient::new(house.keyed(&key).await);
    let mut held = vec![Folded::subscribe(&mut other, count()).await.unwrap()];
    let status = refused(sql("SELECT MAX(n) AS m FROM events")).await;
    assert!(status.message().contains("1 different questions"), "{status:?}");
    for _ in 0..2 {
        held.push(Folded::subscribe(&mut other, count()).await.unwrap());
    }
    let status = refused(count()).await;
    assert!(status.message().contains("all of its 3 subscriptions"), "{status:?}");
    assert!(status.get_error_details().retry_info().is_some());
    drop(held);

    for (body, field) in [
        (json!({}), "question"),
        (json!({"sql": {"sql": "SELECT 1", "app_id": "shop"}, "min_interval": "0.1s"}), "min_interval"),
        (json!({"sql": {"sql": "SELECT nothing(1) FROM events", "app_id": "shop"}}), "sql"),
    ] {
        let (status, answer) = house.post(&key, "/v1/subscribe", &body).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer.to_string().contains(field), "{answer}");
    }
}
