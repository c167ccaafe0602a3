//! Bodies in every form and encoding, and the limits: each refusal names the field and the limit.

use std::io::Write;

use api::v1::{Acknowledgement, Event, PublishRequest, ingest_service_client::IngestServiceClient, value::Kind};
use flate2::{Compression, write::GzEncoder};
use futures::future::join_all;
use prost::Message;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    clients::event,
    every::{Answer, answer_of},
    house::House,
};

const EVENTS: &str = "/v1/events?app_id=xyz123";

async fn post(house: &House, content_type: &str, encoding: Option<&str>, body: Vec<u8>) -> Answer {
    let mut request = house.http.post(format!("http://{}{EVENTS}", house.address)).header("content-type", content_type);
    if let Some(encoding) = encoding {
        request = request.header("content-encoding", encoding);
    }
    answer_of(request.bearer_auth(house.demo_key()).body(body).send().await.unwrap()).await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

#[tokio::test]
async fn one_event_an_array_and_lines_come_in_under_every_encoding() {
    let house = House::start().await;
    let event = |n: u32| json!({"event_type": "body", "user_id": "ü\u{1f600}", "properties": {"n": n}}).to_string();
    let forms: [(&str, String); 5] = [
        ("application/json", event(1)),
        ("application/json; charset=utf-8", format!(" [{}, {}]\n", event(10), event(20))),
        ("application/x-ndjson", format!("{}\n\n{}\r\n", event(100), event(200))),
        ("application/x-www-form-urlencoded", event(1000)), // what curl says unless told otherwise
        ("application/json", "[]".to_owned()),
    ];
    let (mut sum, mut count, mut token) = (0, 0, String::new());
    for (content_type, text) in &forms {
        for (encoding, body) in [
            (None, text.clone().into_bytes()),
            (Some("identity"), text.clone().into_bytes()),
            (Some("gzip"), gzip(text.as_bytes())),
            (Some("zstd"), zstd(text.as_bytes())),
        ] {
            let answer = post(&house, content_type, encoding, body).await;
            assert_eq!(answer.code, "OK", "{content_type} {encoding:?} {text}: {}", answer.text);
            let accepted = answer.messages[0]["accepted"].as_u64().unwrap();
            assert_eq!(accepted, text.matches("\"n\"").count() as u64);
            count += accepted;
            sum += u64::from(accepted > 0) * [1, 30, 300, 1000, 0][forms.iter().position(|f| f.1 == *text).unwrap()];
            token =
                answer.messages[0]["position_token"].as_str().filter(|t| !t.is_empty()).map_or(token, str::to_owned);
        }
    }
    let sql = "SELECT COUNT(*), SUM(n), MIN(user_id) FROM events WHERE app_id = 'xyz123' AND event_type = 'body'";
    let rows = house.sql(&house.demo_key(), sql, &token).await;
    assert_eq!(rows, [[json!(count), json!(sum as f64), json!("ü\u{1f600}")]]);
}

#[tokio::test]
async fn what_can_not_be_read_is_refused_and_bombs_are_cut_off() {
    let house = House::start().await;
    let good = br#"{"event_type": "bad"}"#.to_vec();
    // A gibibyte of spaces in many small frames: nothing may be built of it.
    let spaces = vec![b' '; 16 << 20];
    let bomb = |frame: Vec<u8>| frame.repeat(64);
    for (what, content_type, encoding, body) in [
        ("gzip bomb", "application/json", Some("gzip"), bomb(gzip(&spaces))),
        ("zstd bomb", "application/json", Some("zstd"), bomb(zstd(&spaces))),
        ("too long", "application/json", None, spaces[..(4 << 20) + 1].to_vec()),
        ("truncated gzip", "application/json", Some("gzip"), gzip(&good)[..20].to_vec()),
        ("truncated zstd", "application/json", Some("zstd"), zstd(&good)[..12].to_vec()),
        ("not gzip", "application/json", Some("gzip"), good.clone()),
        ("not zstd", "application/json", Some("zstd"), good.clone()),
        ("brotli", "application/json", Some("br"), good.clone()),
        ("two encodings", "application/json", Some("gzip, zstd"), good.clone()),
        ("not UTF-8", "application/json", None, b"{\"event_type\": \"\xff\"}".to_vec()),
        ("not JSON", "application/json", None, b"{event_type: 1}".to_vec()),
        ("half an array", "application/json", None, b"[{\"event_type\": \"x\"}".to_vec()),
        ("lines as JSON", "application/json", None, [&good[..], b"\n", &good].concat()),
        ("nothing", "application/json", None, Vec::new()),
        ("deep", "application/json", None, [b"[".repeat(100_000), b"]".repeat(100_000)].concat()),
        ("only bad lines", "application/x-ndjson", None, b"{}\n{\"event_type\": 1}\n".to_vec()),
    ] {
        let answer = post(&house, content_type, encoding, body).await;
        assert_ne!(answer.code, "OK", "{what}: {}", answer.text);
        assert!(
            answer.code == "INVALID_ARGUMENT" || answer.messages[0]["accepted"] == json!(0),
            "{what}: {}",
            answer.text
        );
        if what.contains("bomb") || what == "too long" {
            assert!(answer.text.contains("4194304"), "{what} names the limit: {}", answer.text);
        }
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", house.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib < 512 << 10, "the bombs went off: {peak_kib} KiB");
}

async fn publish(house: &House, events: Vec<Event>) -> Result<Acknowledgement, Status> {
    let mut client = IngestServiceClient::new(house.keyed(&house.demo_key()).await);
    let batch = PublishRequest { app_id: "xyz123".to_owned(), events, ..Default::default() };
    client.publish(batch).await.map(|answer| answer.into_inner().acknowledgement.unwrap())
}

fn plain(count: usize) -> Vec<Event> {
    (0..count).map(|i| event("limit", &i.to_string(), "u", &[])).collect()
}

/// An event with so many properties.
fn wide(properties: usize) -> Event {
    let names: Vec<String> = (0..properties).map(|i| format!("p{i}")).collect();
    let properties: Vec<_> = names.iter().map(|name| (name.as_str(), Kind::Bool(true))).collect();
    event("limit", "wide", "u", &properties)
}

/// Events that make a batch of exactly so many bytes.
fn batch_of(bytes: usize) -> Vec<Event> {
    let text = |len: usize| [("pad", Kind::String("x".repeat(len)))];
    let len = |events: &[Event]| {
        PublishRequest { app_id: "xyz123".to_owned(), events: events.to_vec(), ..Default::default() }.encoded_len()
    };
    let mut events: Vec<Event> =
        (0..bytes / 1100).map(|i| event("limit", &format!("{i:06}"), "u", &text(1000))).collect();
    while bytes - len(&events) > 2_000 {
        events.push(event("limit", &format!("{:06}", events.len()), "u", &text(1000)));
    }
    let missing = bytes - len(&events);
    for last in [missing / 2, missing - missing / 2] {
        let without = event("limit", &format!("{:06}", events.len()), "u", &text(500));
        let overhead = len(std::slice::from_ref(&without)) - len(&[]) - 500;
        events.push(event("limit", &without.event_id, "u", &text(last - overhead)));
    }
    assert_eq!(len(&events), bytes);
    events
}

#[tokio::test]
async fn every_limit_is_met_exactly_and_its_refusal_names_field_and_limit() {
    let house = House::start().await;
    for (events, field, limit) in [(plain(10_001), "events", "10000"), (batch_of((1 << 20) + 1), "events", "1048576")] {
        let status = publish(&house, events).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        let violations = status.get_error_details().bad_request().unwrap().field_violations.clone();
        assert_eq!(
            (violations[0].field.as_str(), violations[0].description.contains(limit)),
            (field, true),
            "{violations:?}"
        );
    }
    let long = |bytes: usize| "x".repeat(bytes);
    let text = |bytes: usize| [("text", Kind::String(long(bytes)))];
    for (bad, code, field, limit) in [
        (wide(257), "TOO_MANY", "events[1].properties", "256"),
        (event(&long(129), "", "", &[]), "TOO_LONG", "events[1].event_type", "128"),
        (event("e", &long(129), "", &[]), "TOO_LONG", "events[1].event_id", "128"),
        (event("e", "", &long(257), &[]), "TOO_LONG", "events[1].user_id", "256"),
        (event("e", "", "", &text(1025)), "TOO_LONG", "events[1].properties.text", "1024"),
        (event("e", "", "", &[(&long(129), Kind::Bool(true))]), "TOO_LONG", "events[1].properties.x", "128"),
        (event("e", "", "", &[("i", Kind::Integer((1 << 53) + 1))]), "NOT_EXACT", "events[1].properties.i", "2^53"),
    ] {
        let verdict = publish(&house, vec![event("e", "", "", &[]), bad, event("e", "", "", &[])]).await.unwrap();
        assert_eq!((verdict.accepted, verdict.rejections.len()), (2, 1), "one bad event never sinks its batch");
        let rejection = &verdict.rejections[0];
        assert_eq!((rejection.index, rejection.code.as_str()), (1, code), "{rejection:?}");
        assert!(rejection.field.starts_with(field) && rejection.message.contains(limit), "{rejection:?}");
    }
    for good in [
        plain(10_000),
        batch_of(1 << 20),
        vec![wide(256)],
        vec![event(&long(128), &long(128), &long(256), &text(1024))],
        vec![event("e", "", "", &[(&long(128), Kind::Integer(1 << 53))])],
    ] {
        let count = good.len();
        let verdict = publish(&house, good).await.unwrap();
        assert_eq!((verdict.accepted as usize, verdict.rejections.len()), (count, 0));
    }
}

#[tokio::test]
async fn an_error_says_what_where_and_when_to_come_again() {
    let house = House::start_with("[gateway]\ntenant_calls_per_second = 1\ntenant_burst = 2\n").await;
    let key = house.demo_key();
    let mut query = api::v1::query_service_client::QueryServiceClient::new(house.keyed(&key).await);
    let request = |sql: &str| api::v1::SqlRequest { sql: sql.to_owned(), app_id: "xyz123".to_owned(), options: None };
    let status = query.sql(request("SELECT COUNT(*) FROM events WHERE nothing = 1")).await.unwrap_err();
    let details = status.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INVALID_QUERY", "penstock"));
    assert_eq!(info.metadata["position"], "34-41", "where `nothing` stands");
    let violation = &details.bad_request().unwrap().field_violations[0];
    assert!(violation.field == "sql" && violation.description.contains("nothing"), "{violation:?}");

    // At once, so that even a slow machine sends more than the burst within a second.
    let calls = (0..8).map(|_| {
        let mut query = query.clone();
        async move { query.sql(request("SELECT COUNT(*) FROM events")).await }
    });
    let status = join_all(calls).await.into_iter().find_map(Result::err).expect("eight calls are more than two");
    let details = status.get_error_details();
    assert_eq!(
        (status.code(), details.error_info().unwrap().reason.as_str()),
        (Code::ResourceExhausted, "RESOURCE_EXHAUSTED")
    );
    assert!(details.retry_info().unwrap().retry_delay.is_some_and(|delay| !delay.is_zero()));
    assert_eq!(details.quota_failure().unwrap().violations[0].quota_id, "requests_per_second");
    let url = format!("http://{}/v1/apps", house.address);
    let calls = (0..8).map(|_| house.http.get(&url).bearer_auth(&key).send());
    let mut answers = join_all(calls).await.into_iter().map(Result::unwrap);
    let answer = answers.find(|answer| answer.status() == 429).expect("eight calls are more than two");
    assert_eq!(answer.headers()["retry-after"], "1");
    let error: Value = answer.json().await.unwrap();
    let kinds: Vec<_> =
        error["error"]["details"].as_array().unwrap().iter().map(|d| d["@type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        ["ErrorInfo", "RetryInfo", "QuotaFailure"].map(|kind| format!("type.googleapis.com/google.rpc.{kind}"))
    );
    let over = &error["error"]["details"][2]["violations"][0];
    assert_eq!(
        [&over["subject"], &over["quotaId"], &over["quotaMetric"], &over["quotaValue"]],
        ["tenants/demo", "requests_per_second", "requests", "1"]
    );
}
