//! Queries that wait for their turn, that are computed once for many, that nobody waits for any more, and that find no warehouse.

use std::{process::Command, time::Instant};

use api::v1::{Priority, ReadOptions, SqlRequest, SqlStreamRequest};
use futures::{FutureExt, future::join_all};
use serde_json::{Value, json};
use tonic::Request;

use crate::{
    house::{House, PATIENCE, rows},
    stand,
    streams::{ROWS, client, fill, large, open, stream_of, until_running},
};

/// What the warehouse says of a query that was killed.
const CANCELLED: u64 = 394;

/// Takes longer than any test waits and little memory, and answers one row: every event with every event.
fn slow() -> String {
    let pairs = "FROM events AS a JOIN (SELECT event_type, n FROM events) AS b ON a.event_type = b.event_type";
    format!("SELECT COUNT(*) AS n {pairs} WHERE a.app_id = 'xyz123' AND sqrt(a.n + b.n) + exp(b.n) < 0")
}

async fn sql(house: &House, sql: &str, options: Value) -> (u16, Value) {
    house.post(&house.demo_key(), "/v1/sql", &json!({"sql": sql, "app_id": "xyz123", "options": options})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_identical_queries_in_flight_are_computed_once() {
    let house = House::start_with("[query]\nconcurrent = 1\ntenant_concurrent = 1\nmax_queue_ms = 120000").await;
    fill(&house).await;
    let mut streams = client(&house).await;
    let busy = open(&mut streams, stream_of(&large())).await; // has the one place until its reader goes
    let question = "SELECT MEDIAN(n) AS m, COUNT(*) AS c FROM events";
    let asked = join_all((0..50).map(|_| sql(&house, question, json!({}))));
    let meanwhile = async {
        let started = Instant::now();
        while house.metric("penstock_query_shared_total").await < 49.0 {
            assert!(started.elapsed() < PATIENCE, "they are not all in flight");
        }
        drop(busy);
    };
    let (answers, ()) = futures::join!(asked, meanwhile);
    for (status, answer) in &answers {
        assert_eq!(*status, 200, "{answer}");
        assert_eq!(rows(&answer["result"]), rows(&answers[0].1["result"]));
        let info = &answer["result"]["info"];
        assert!(info["watermark"]["position_token"].is_string(), "{info}");
        assert!(info["cost"]["queued_us"].as_u64() > Some(0), "{info}");
    }
    assert_eq!(rows(&answers[0].1["result"])[0][1], json!(ROWS));
    let of_ours = |entry: &&Value| entry["query"].as_str().unwrap().contains("quantile");
    assert_eq!(house.warehouse_log().await.iter().filter(of_ours).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_says_what_it_cost_and_a_query_how_urgent_it_is() {
    let house = House::start().await;
    fill(&house).await;
    let (status, answer) = sql(&house, "SELECT SUM(n) FROM events", json!({})).await;
    assert_eq!(status, 200, "{answer}");
    let cost = &answer["result"]["info"]["cost"];
    let number = |name: &str| cost[name].as_u64().unwrap() as usize;
    assert_eq!(number("read_rows"), ROWS, "{cost}");
    assert!(number("read_bytes") >= 8 * ROWS, "{cost}");
    let question = json!({"sql": {"sql": "SELECT MAX(n) FROM events", "app_id": "xyz123"}});
    let (status, explained) = house.post(&house.demo_key(), "/v1/explain", &question).await;
    assert_eq!(status, 200, "{explained}");
    let learned = explained["estimated_bytes"].as_u64().unwrap();
    assert!((1..16_000_000).contains(&learned), "by what was read, not what is expected of the unknown: {learned}");
    let rows = explained["estimated_rows"].as_u64().unwrap() as usize;
    assert!((1..=ROWS).contains(&rows), "{explained}");
    assert_eq!(explained["actual"], Value::Null, "nothing was run");
    let mut analyzed = question.clone();
    analyzed["analyze"] = json!(true);
    let (status, analyzed) = house.post(&house.demo_key(), "/v1/explain", &analyzed).await;
    assert_eq!((status, &analyzed["plan"]), (200, &explained["plan"]), "{analyzed}");
    assert_eq!(analyzed["actual"]["read_rows"].as_u64(), Some(ROWS as u64), "{analyzed}");
    assert!(analyzed["actual"]["elapsed_us"].as_u64() > Some(0), "{analyzed}");
    assert_eq!(analyzed["actual_route"], "ROUTE_RAW");
    let worked = analyzed["actual_cpu_us"].as_u64().unwrap();
    assert!(worked > 0, "{analyzed}");
    // What was read and worked is what is expected of the next.
    let (status, expected) = house.post(&house.demo_key(), "/v1/explain", &question).await;
    let estimated = expected["estimated_cpu_us"].as_u64().unwrap();
    let bytes = |of: &Value, name: &str| of[name].as_u64().unwrap() as u128;
    let by_byte = u128::from(worked) * bytes(&expected, "estimated_bytes") / bytes(&analyzed["actual"], "read_bytes");
    assert_eq!((status, by_byte.abs_diff(estimated.into()) <= 1), (200, true), "{expected} after {analyzed}");

    let (status, answer) = sql(&house, "SELECT SUM(n) FROM events", json!({"priority": 9})).await;
    assert_eq!(status, 400, "{answer}");
    assert!(answer.to_string().contains("options.priority"), "{answer}");

    let background = || {
        let options = ReadOptions { priority: Priority::Background.into(), ..ReadOptions::default() };
        Request::new(SqlStreamRequest { sql: large(), options: Some(options), ..SqlStreamRequest::default() })
    };
    let mut client = client(&house).await;
    let work = open(&mut client, background()).await;
    let settings = "SELECT Settings['priority'], Settings['max_threads'], Settings['low_priority_query_wait_time_ms'], \
        Settings['os_threads_nice_value_query'] FROM system.processes WHERE query LIKE '%FROM events%' AND query NOT LIKE '%processes%' ORDER BY 1";
    until_running(&house, 1).await;
    assert_eq!(house.warehouse(settings).await, "4\t1\t\t15\n");
    drop(work);
    until_running(&house, 0).await;
    // A small one is before one of which nobody knows how large it is.
    for (range, said) in [("", "1\t1\t\t\n"), (" AND timestamp > now() - INTERVAL 1 DAY", "2\t\t10\t\n")] {
        let work = open(&mut client, stream_of(&format!("{}{range}", large()))).await;
        until_running(&house, 1).await;
        assert_eq!(house.warehouse(settings).await, said, "{range}");
        drop(work);
        until_running(&house, 0).await;
    }
    // Beside another a large one is nicer, too.
    let works = [
        open(&mut client, background()).await,
        open(&mut client, stream_of(&format!("{} AND timestamp > now() - INTERVAL 1 DAY", large()))).await,
    ];
    until_running(&house, 2).await;
    assert_eq!(house.warehouse(settings).await, "2\t\t10\t5\n4\t1\t\t15\n");
    drop(works);
    until_running(&house, 0).await;
    // An export is no more urgent, whatever its key may.
    let request = house.http.post(format!("http://{}/v1/export", house.address)).bearer_auth(house.demo_key());
    let body = json!({"sql": {"sql": large(), "app_id": "xyz123"}, "format": "EXPORT_FORMAT_CSV"});
    let export = request.json(&body).send().await.unwrap();
    until_running(&house, 1).await;
    assert_eq!(house.warehouse(settings).await, "4\t1\t\t15\n");
    drop(export);
    // That there is nothing to read is known too, once it was asked for.
    let of_nothing = "SELECT SUM(n) FROM events WHERE timestamp >= '2001-01-01' AND timestamp < '2001-01-03'";
    let (status, answer) = sql(&house, of_nothing, json!({})).await;
    assert_eq!((status, &answer["result"]["info"]["cost"]["read_bytes"]), (200, &json!(0)), "{answer}");
    let question = json!({"sql": {"sql": of_nothing, "app_id": "xyz123"}});
    let (status, expected) = house.post(&house.demo_key(), "/v1/explain", &question).await;
    assert_eq!((status, &expected["estimated_bytes"]), (200, &json!(0)), "{expected}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_can_not_have_its_turn_is_told_where_it_stood_why_and_when_to_come_again() {
    let waits = "max_queue_ms = 300\nbackground_max_queue_ms = 300";
    let house = House::start_with(&format!("[query]\nconcurrent = 1\ntenant_concurrent = 1\n{waits}")).await;
    fill(&house).await;
    let rival = house.tenant("rival", "shop", &["query"]).await;
    let mut streams = client(&house).await;
    let busy = open(&mut streams, stream_of(&large())).await;
    let question = "SELECT COUNT(*) AS n FROM events";
    let closed = "background work is closed while half of the 1 places are in use";
    for (key, header, priority, class, why) in [
        (house.demo_key(), "", "PRIORITY_INTERACTIVE", "interactive", "the tenant has all of its 1 places in use"),
        (rival.clone(), "", "PRIORITY_UNSPECIFIED", "interactive", "the house is full: 1 of its 1 places are in use"),
        (rival.clone(), "", "PRIORITY_BACKGROUND", "background", closed),
        (rival.clone(), "background", "PRIORITY_UNSPECIFIED", "background", closed),
        (rival.clone(), "background", "PRIORITY_SCHEDULED", "scheduled", "the house is full"),
    ] {
        let app = if key == house.demo_key() { "xyz123" } else { "shop" };
        let body = json!({"sql": question, "app_id": app, "options": {"priority": priority}});
        let mut request = house.http.post(format!("http://{}/v1/sql", house.address)).bearer_auth(&key).json(&body);
        if !header.is_empty() {
            request = request.header("x-priority", header);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 429, "{header}, {priority}");
        let text = answer.text().await.unwrap();
        assert!(text.contains(&format!("at place 1 of the {class} queue; {why}")), "{text}");
        assert!(text.contains("RESOURCE_EXHAUSTED") && text.contains("RetryInfo"), "{text}");
    }
    let request = house.http.post(format!("http://{}/v1/sql", house.address)).bearer_auth(&rival);
    let answer = request.header("x-priority", "urgent").json(&json!({"sql": question})).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert!(answer.text().await.unwrap().contains("must be `interactive`, `scheduled` or `background`"));
    drop(busy);
    let started = Instant::now();
    while sql(&house, question, json!({})).await.0 != 200 {
        assert!(started.elapsed() < PATIENCE, "the place never comes free");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_no_longer_waits_takes_the_query_along() {
    let house = House::start().await;
    fill(&house).await;
    nobody_waits(&house).await;
}

mod alone {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn and_so_it_is_on_a_cluster() {
        let stand = stand::alone().await;
        fill(&stand).await;
        nobody_waits(&stand).await;
    }
}

/// A hang-up and a deadline, of one answer and of a stream, by gRPC and by HTTP: nothing is left in the warehouse.
async fn nobody_waits(house: &House) {
    let log_before = house.warehouse_log().await;
    let mut client = client(house).await;
    let body = json!({"sql": slow(), "app_id": "xyz123"});
    let post = |path: &str| {
        house.http.post(format!("http://{}{path}", house.address)).bearer_auth(house.demo_key()).json(&body)
    };
    let mut took = Vec::new();
    let mut ended = async |what: &str| {
        let began = Instant::now();
        until_running(house, 0).await;
        took.push(format!("{what}: {} ms", began.elapsed().as_millis()));
    };

    let unary = Request::new(SqlRequest { sql: slow(), app_id: "xyz123".to_owned(), ..SqlRequest::default() });
    tokio::select! {
        answer = client.sql(unary) => panic!("{answer:?}"),
        () = until_running(house, 1) => {}
    }
    ended("gRPC, hang-up").await;
    tokio::select! {
        answer = post("/v1/sql").send() => panic!("{answer:?}"),
        () = until_running(house, 1) => {}
    }
    ended("HTTP, hang-up").await;
    for path in ["/v1/sql", "/v1/sql:stream"] {
        // The header by hand: the client's own clock would be first. Longer where the machine is too busy to begin in time.
        let mut texts = (1..6u32).map(|n| {
            let request = post(path).header("grpc-timeout", format!("{}S", 1 << n));
            async move { request.send().await.unwrap().text().await }.boxed()
        });
        let text = loop {
            let mut reading = texts.next().expect("one of them begins in time");
            tokio::select! {
                _ = &mut reading => {}
                () = until_running(house, 1) => break reading.await,
            }
        };
        // What has begun is broken off.
        assert!(text.as_ref().is_err() == (path != "/v1/sql"), "{text:?}");
        assert!(text.as_ref().map_or(true, |text| text.contains("DEADLINE_EXCEEDED")), "{text:?}");
        ended(&format!("{path}, deadline")).await;
    }
    let parts = open(&mut client, stream_of(&large())).await;
    until_running(house, 1).await;
    drop(parts);
    ended("gRPC, a stream").await;
    // Each was killed: none came to its own end, or to the end of its time.
    let (began, started) = (&log_before, Instant::now());
    loop {
        let is_stopped =
            |entry: &&Value| entry["kind"] == "Select" && entry["error_code"] == CANCELLED && !began.contains(entry);
        if house.warehouse_log().await.iter().filter(is_stopped).count() >= took.len() {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "not all were stopped");
    }
    println!("a query ends after its caller went: {}", took.join(", "));
}

/// Goes on when this is dropped.
struct Stopped(u32);

impl Stopped {
    fn new(pid: u32) -> Self {
        signal(pid, "STOP");
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal(self.0, "CONT");
    }
}

fn signal(pid: u32, signal: &str) {
    assert!(Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_its_own_events_is_told_when_they_do_not_come() {
    let house = House::start().await;
    let stopped = Stopped::new(house.warehouse_pid().unwrap());
    let events = json!([{"app_id": "xyz123", "event_type": "seen", "user_id": "u"}]);
    let (status, answer) = house.post(&house.demo_key(), "/v1/events", &events).await;
    assert_eq!(status, 200, "{answer}");
    let (token, question) = (answer["position_token"].clone(), "SELECT COUNT(*) AS n FROM events");
    let (status, answer) = sql(&house, question, json!({"position_token": token, "max_wait_ms": 300})).await;
    let said = answer.to_string();
    assert_eq!(status, 504, "{said}");
    assert!(said.contains("not queryable after 300 ms") && said.contains("RetryInfo"), "{said}");
    drop(stopped);
    let (status, answer) = sql(&house, question, json!({"position_token": token, "max_wait_ms": 30_000})).await;
    assert_eq!((status, rows(&answer["result"])), (200, vec![vec![json!(1)]]), "{answer}");
}

/// A question, and an answer to it that may be given later.
async fn answered(house: &House) -> (&'static str, Value) {
    let events = json!([{"app_id": "xyz123", "event_type": "seen", "user_id": "u"}]);
    let (_, answer) = house.post(&house.demo_key(), "/v1/events", &events).await;
    let (token, question) = (answer["position_token"].clone(), "SELECT COUNT(*) AS n FROM events");
    let (status, answer) = sql(house, question, json!({"position_token": token})).await;
    assert_eq!(status, 200, "{answer}");
    // A house that has just begun doesn't know yet since when its answers are complete, so nobody could say how old they are.
    let started = Instant::now();
    loop {
        let (status, before) = sql(house, question, json!({"max_staleness": "3600s"})).await;
        assert_eq!((status, rows(&before["result"])), (200, vec![vec![json!(1)]]), "{before}");
        if before["result"]["info"]["watermark"]["complete_until"].as_str() > Some("2000") {
            assert_eq!(before["result"]["info"]["stale"], json!(false), "{before}");
            return (question, before);
        }
        assert!(started.elapsed() < PATIENCE, "{before}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_warehouse_has_until_the_deadline_nears() {
    // Nobody doubts that it is there.
    let house = House::start_with("[query]\nsilence_ms = 600000").await;
    let (question, before) = answered(&house).await;
    let ask = async |options: Value| {
        let request = house.http.post(format!("http://{}/v1/sql", house.address)).bearer_auth(house.demo_key());
        let body = json!({"sql": question, "app_id": "xyz123", "options": options});
        let answer = request.header("grpc-timeout", "2S").json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let stopped = Stopped::new(house.warehouse_pid().unwrap());
    let (status, answer) = ask(json!({})).await;
    assert_eq!(status, 504, "{answer}");
    let (status, answer) = ask(json!({"max_staleness": "3600s"})).await;
    assert_eq!((status, rows(&answer["result"])), (200, rows(&before["result"])), "{answer}");
    assert_eq!(answer["result"]["info"]["stale"], json!(true), "{answer}");
    drop(stopped);
    let started = Instant::now();
    while ask(json!({"max_staleness": "3600s"})).await.1["result"]["info"]["stale"] != json!(false) {
        assert!(started.elapsed() < PATIENCE, "it is never answered anew");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_warehouse_old_answers_are_given_to_those_who_take_them() {
    let house = House::start_with("[query]\nsilence_ms = 300").await;
    let (question, before) = answered(&house).await;

    let stopped = Stopped::new(house.warehouse_pid().unwrap());
    for _ in 0..3 {
        let (status, answer) = sql(&house, question, json!({})).await;
        assert_eq!(status, 503, "{answer}");
        assert!(answer.to_string().contains("RetryInfo"), "{answer}");
        let (status, after) = sql(&house, question, json!({"max_staleness": "3600s"})).await;
        assert_eq!((status, rows(&after["result"])), (200, rows(&before["result"])), "{after}");
        let info = &after["result"]["info"];
        assert_eq!((&info["stale"], &info["watermark"]), (&json!(true), &before["result"]["info"]["watermark"]));
        let other_words = sql(&house, "SELECT COUNT(*) AS m FROM events", json!({"max_staleness": "3600s"})).await;
        assert_eq!(other_words.0, 503, "{}", other_words.1);
        let too_old = sql(&house, question, json!({"max_staleness": "0.001s"})).await;
        assert_eq!(too_old.0, 503, "{}", too_old.1);
    }
    let key = house.tenant("rival", "xyz123", &["query"]).await;
    let body = json!({"sql": question, "app_id": "xyz123", "options": {"max_staleness": "3600s"}});
    let (status, answer) = house.post(&key, "/v1/sql", &body).await;
    assert_eq!(status, 503, "what one tenant was answered is not another's: {answer}");
    drop(stopped);

    let started = Instant::now();
    loop {
        let (status, answer) = sql(&house, question, json!({"max_staleness": "3600s"})).await;
        if status == 200 && answer["result"]["info"]["stale"] == json!(false) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{status} {answer}");
    }
}
