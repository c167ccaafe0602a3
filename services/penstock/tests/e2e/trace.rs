//! One trace leads from the caller's span to the query in the engine, as a collector on this machine receives it.

mod collector;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use api::v1::{PublishRequest, PublishStreamRequest, ingest_service_client::IngestServiceClient};
use collector::Span;
use serde_json::{Value, json};
use tonic::Request;

use crate::{
    clients::event,
    house::{House, PATIENCE},
    stand,
};

pub use collector::Collector;

/// The tenant and the app that is called.
const APP: &str = "traced";

async fn key(house: &House) -> String {
    house.tenant(APP, APP, &["ingest", "query", "metrics"]).await
}

/// A caller's span, as its `traceparent` names it.
struct Caller {
    trace: &'static str,
    span: &'static str,
    flags: &'static str,
}

const fn sampled(trace: &'static str) -> Caller {
    Caller { trace, span: "00f067aa0ba902b7", flags: "01" }
}

impl Caller {
    fn traceparent(&self) -> String {
        format!("00-{}-{}-{}", self.trace, self.span, self.flags)
    }

    /// Publishes an event by gRPC; returns its position.
    async fn publish(&self, house: &House, key: &str, event_id: &str) -> String {
        let mut ingest = IngestServiceClient::new(house.keyed(key).await);
        let answer = ingest.publish(self.request(batch(event_id))).await.unwrap().into_inner();
        answer.acknowledgement.unwrap().position_token
    }

    /// Calls in JSON.
    async fn post(&self, house: &House, key: &str, path: &str, body: &Value) -> Value {
        let call = house.http.post(format!("http://{}{path}", house.address)).bearer_auth(key);
        let answer = call.header("traceparent", self.traceparent()).json(body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("traceparent", self.traceparent().parse().unwrap());
        request
    }
}

/// One event of the one user, so that all are in one partition.
fn batch(event_id: &str) -> PublishRequest {
    PublishRequest { app_id: APP.to_owned(), events: vec![event("traced", event_id, "u1", &[])], ..Default::default() }
}

fn count(position_token: &str) -> Value {
    json!({"sql": format!("SELECT COUNT(*) FROM events WHERE app_id = '{APP}'"),
        "options": {"position_token": position_token, "max_wait_ms": 30_000}})
}

const STORED: [&str; 6] = ["gateway", "ingest", "append", "block", "insert", "clickhouse"];
const ASKED: [&str; 4] = ["gateway", "query", "select", "clickhouse"];
const EVALUATED: [&str; 5] = ["gateway", "metrics", "query", "select", "clickhouse"];

// Two threads: one waits for the house's end while the other receives what it flushes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_leads_from_the_caller_to_the_engine() {
    let collector = Collector::start().await;
    let mut house = House::start_with(&collector.configuration(0.0)).await;
    let calls = every_route(&house).await;
    assert_eq!(exemplars(&house).await, ["penstock_call_seconds", "penstock_query_seconds"]);
    // The end of the process sends what has not been sent.
    assert!(tokio::task::block_in_place(|| house.terminate()).success());
    let spans = collector.spans();
    led(&spans, &calls).unwrap();
    let engine: Vec<_> = spans.iter().filter(|span| span.name == "clickhouse").map(|span| &*span.service).collect();
    assert_eq!(engine, ["penstock-warehouse"; 4]);
}

/// The histograms that lead from a bucket to the trace of a call in it.
async fn exemplars(house: &House) -> Vec<String> {
    let request = house.http.get(format!("http://{}/metrics", house.ops_address));
    // As Prometheus asks.
    let accepted = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4";
    let answer = request.header("accept", accepted).send().await.unwrap();
    let format = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(format.starts_with("application/openmetrics-text; version=1.0.0"), "{format}");
    let text = answer.text().await.unwrap();
    assert!(text.ends_with("\n# EOF\n") && !text.contains("\n\n"));
    let led = text.lines().filter(|line| line.contains(" # {trace_id=\""));
    let names: BTreeSet<_> =
        led.filter_map(|line| line.split_once("_bucket{")).map(|(name, _)| name.to_owned()).collect();
    names.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_leads_through_the_processes_of_a_cluster() {
    let stand = stand::shared().await;
    let calls = every_route(&stand).await;
    let started = Instant::now();
    let spans = loop {
        let spans = stand.collector().spans();
        match led(&spans, &calls) {
            Ok(()) => break spans,
            Err(missing) => assert!(started.elapsed() < PATIENCE, "{missing}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    for span in spans {
        let process = match &*span.name {
            "append" => "ingest",
            "block" | "insert" => "pipeline",
            "select" => "query",
            "clickhouse" => "warehouse",
            own => own,
        };
        assert_eq!(span.service, format!("penstock-{process}"), "{}", span.name);
    }
}

/// Calls by every route, some of them sampled by their callers: those, and the steps that each should have taken.
async fn every_route(house: &House) -> [(Caller, &'static [&'static str]); 4] {
    let key = &key(house).await;
    let published = sampled("4bf92f3577b34da6a3ce929d0e0e4736");
    let streamed = sampled("5bf92f3577b34da6a3ce929d0e0e4736");
    let asked = sampled("6bf92f3577b34da6a3ce929d0e0e4736");
    let evaluated = sampled("7bf92f3577b34da6a3ce929d0e0e4736");
    let unsampled = Caller { trace: "8bf92f3577b34da6a3ce929d0e0e4736", span: "00f067aa0ba902b7", flags: "00" };

    let token = published.publish(house, key, "e1").await;
    asked.post(house, key, "/v1/sql", &count(&token)).await;
    let mut ingest = IngestServiceClient::new(house.keyed(key).await);
    let message = PublishStreamRequest { sequence: 1, batch: Some(batch("e2")) };
    let answers = ingest.publish_stream(streamed.request(tokio_stream::once(message))).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    let token = answer.acknowledgement.unwrap().position_token;
    let metric = json!({"definition": {"name": "events", "formula": "COUNT(*)"}});
    unsampled.post(house, key, &format!("/v1/apps/{APP}/metrics"), &metric).await;
    let evaluation = json!({"options": {"position_token": token, "max_wait_ms": 30_000}});
    evaluated.post(house, key, &format!("/v1/apps/{APP}/metrics/events:evaluate"), &evaluation).await;
    let token = unsampled.publish(house, key, "e3").await;
    unsampled.post(house, key, "/v1/sql", &count(&token)).await;
    let (_, answer) = house.post(key, "/v1/sql", &count("")).await; // not even a traceparent
    assert_eq!(answer["result"]["rows"][0]["values"][0]["integer"], 3, "{answer}");
    [(published, &STORED), (streamed, &STORED), (asked, &ASKED), (evaluated, &EVALUATED)]
}

/// Whether each call's trace is one chain of its steps; fails on spans of calls that nobody sampled.
fn led(spans: &[Span], calls: &[(Caller, &[&str])]) -> Result<(), String> {
    let others: Vec<_> = spans.iter().filter(|span| calls.iter().all(|(call, _)| call.trace != span.trace)).collect();
    assert!(others.is_empty(), "spans of calls that nobody sampled: {others:#?}");
    for (caller, steps) in calls {
        let trace: Vec<_> = spans.iter().filter(|span| span.trace == caller.trace).collect();
        if chain(&trace, caller.span) != *steps {
            return Err(format!("{steps:?} expected: {trace:#?}"));
        }
    }
    Ok(())
}

/// The names of the spans, each the only child of the one before; the first's parent is the caller's.
fn chain<'a>(spans: &[&'a Span], caller: &'a str) -> Vec<&'a str> {
    let (mut parent, mut names) = (caller, Vec::new());
    while let Some(span) = spans.iter().find(|span| span.parent == parent) {
        names.push(&*span.name);
        parent = &span.id;
    }
    // A span that is no link of the chain is told too.
    names.extend(spans.iter().map(|span| &*span.name).skip(names.len()));
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_is_linked_to_every_call_that_is_in_it() {
    let collector = Collector::start().await;
    // Blocks are a second apart, so that calls between two of them share one.
    let config = collector.configuration(0.0) + "[pipeline]\nblock_interval_ms = 1000\n";
    let house = House::start_with(&config).await;
    let key = key(&house).await;
    let (one, other) = (sampled("4bf92f3577b34da6a3ce929d0e0e4736"), sampled("5bf92f3577b34da6a3ce929d0e0e4736"));
    let started = Instant::now();
    for round in 0.. {
        let (first, second) = (format!("a{round}"), format!("b{round}"));
        let (_, token) = tokio::join!(one.publish(&house, &key, &first), other.publish(&house, &key, &second));
        house.sql(&key, "SELECT COUNT(*) FROM events", &token).await;
        let spans = collector.spans();
        if let Some(block) = spans.iter().find(|span| span.name == "block" && !span.links.is_empty()) {
            let (here, linked) = if block.trace == one.trace { (&one, &other) } else { (&other, &one) };
            let appends = |caller: &Caller| {
                let of_caller = spans.iter().filter(|span| span.name == "append" && span.trace == caller.trace);
                of_caller.map(|span| span.id.clone()).collect::<Vec<_>>()
            };
            assert!(appends(here).contains(&block.parent));
            assert!(block.links.iter().all(|(trace, span)| trace != linked.trace || appends(linked).contains(span)));
            return;
        }
        assert!(started.elapsed() < PATIENCE, "no two calls came to share a block: {spans:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_caller_s_word_the_ratio_decides_and_every_log_line_names_its_trace() {
    let collector = Collector::start().await;
    let mut house = House::start_with(&collector.configuration(1.0)).await;
    let sql = json!({"sql": "SELECT COUNT(*) FROM events WHERE app_id = 'xyz123'"});
    house.post(&house.demo_key(), "/v1/sql", &sql).await;
    let declined = Caller { trace: "4bf92f3577b34da6a3ce929d0e0e4736", span: "00f067aa0ba902b7", flags: "00" };
    let refused = house.http.post(format!("http://{}/v1/sql", house.address)).bearer_auth("no-key");
    refused.header("traceparent", declined.traceparent()).json(&sql).send().await.unwrap();
    assert!(tokio::task::block_in_place(|| house.terminate()).success());

    let spans = collector.spans();
    let gateway: Vec<_> = spans.iter().filter(|span| span.name == "gateway").collect();
    let [root] = &gateway[..] else { panic!("one call was sampled, not {gateway:#?}") };
    assert_eq!(root.parent, "");
    assert_eq!(chain(&spans.iter().collect::<Vec<_>>(), ""), ["gateway", "query", "select", "clickhouse"]);
    let line = house.log().lines().find(|line| line.contains("a call was refused")).map(str::to_owned).unwrap();
    assert!(line.contains(&format!("\"trace_id\":\"{}\"", declined.trace)), "{line}");
}
