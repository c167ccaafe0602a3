//! Over sockets, at the whole program on its embedded parts: every method in gRPC and in JSON, and both HTTPs as no library
//! would speak them.

pub mod answer;
mod call;
mod found;
mod http1;
mod http2;
mod socket;

use std::time::Instant;

use serde_json::json;

use crate::{
    house::{House, PATIENCE},
    inside::shown,
    report::{Report, Verdict, peak_bytes},
    run::{Plan, Random},
    shrink::shrink,
};
use call::{Call, Client};

/// More than this the server may not have had resident: its bound for calls under way, and the rest of it.
const LIMIT_BYTES: u64 = 384 << 20;

/// `http1` and `http2` are few: most of what they send has no answer, which takes a silence to know.
const KINDS: [&str; 16] = [
    "grpc", "json", "grpc", "events", "grpc", "json", "grpc", "http1", "grpc", "json", "grpc", "events", "grpc",
    "json", "grpc", "http2",
];

/// The limits that would answer for everything else.
const CONFIG: &str = "[gateway]\ntenant_calls_per_second = 1000000\ntenant_burst = 1000000\n";

pub fn run(plan: &Plan) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let house = runtime.block_on(House::start_with(CONFIG));
    let before = peak_bytes(house.pid());
    let (report, keys) = (Report::default(), [house.demo_key(), house.operator_key()]);
    found::send(&Client::new(&house.address), &keys[0], &keys[1]);
    plan.work(
        &KINDS,
        &report,
        || Client::new(&house.address),
        |client, kind, number| {
            let mut random = plan.random(kind, number);
            match kind {
                "http1" | "http2" => raw(&report, &house.address, kind, number, &keys[0], &mut random),
                _ => {
                    let call = Call::of(kind, &mut random, &keys);
                    match client.send(&call) {
                        Ok(verdict) => report.verdict(kind, verdict),
                        Err(why) => {
                            let with = |body: &[u8]| call.with(body);
                            let least = with(&shrink(&call.body, 150, |body| client.send(&with(body)).is_err()));
                            report.failure(kind, number, &why, &least.shown(&keys));
                        }
                    }
                }
            }
        },
    );
    let peak = peak_bytes(house.pid());
    println!("the server's peak memory before the first request: {} MiB", before >> 20);
    let panics: Vec<_> = house.log().lines().filter(|line| line.contains("panicked")).map(str::to_owned).collect();
    assert!(panics.is_empty(), "panics: {panics:#?}");
    runtime.block_on(still_right(&house));
    report.conclude("over sockets", plan, peak, LIMIT_BYTES);
}

/// Sends bytes that are no request of any library, and reads until the server has nothing to say.
fn raw(report: &Report, address: &str, kind: &'static str, number: u64, key: &str, random: &mut Random) {
    let input = if kind == "http1" { http1::bytes(random, key) } else { http2::bytes(random, key) };
    match socket::exchange(address, &input) {
        Ok(answer) if kind == "http1" => match http1::check(&answer) {
            Ok(verdict) => report.verdict(kind, verdict),
            Err(why) => report.failure(kind, number, &why, &shown(&input)),
        },
        Ok(answer) if answer.is_empty() => report.verdict(kind, Verdict::Refused("closed".to_owned())),
        Ok(_) => report.verdict(kind, Verdict::Accepted),
        Err(error) => report.failure(kind, number, &format!("the server is gone: {error}"), &shown(&input)),
    }
}

/// What was sent before leaves nothing behind that would be in the way of a customer.
async fn still_right(house: &House) {
    // But for limits, which an operator may set: some of what was sent was an operator's and good.
    for place in [json!({}), json!({"tenant_id": "demo"}), json!({"tenant_id": "demo", "app_id": "xyz123"})] {
        let mut body = place;
        body["settings"] = json!({});
        let set = house.http.put(format!("http://{}/v1/settings", house.address)).bearer_auth(house.operator_key());
        let answer = set.json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{body}: {:?}", answer.text().await);
    }
    let key = house.demo_key();
    let started = Instant::now();
    let events: Vec<_> =
        (0..7).map(|i| json!({"event_type": "after", "user_id": "u", "event_id": format!("after-{i}")})).collect();
    let body = loop {
        let (status, body) = house.post(&key, "/v1/events?app_id=xyz123", &json!(events)).await;
        // It may take two seconds until everybody knows.
        if status == 200 || started.elapsed() > PATIENCE {
            assert_eq!((status, &body["accepted"]), (200, &json!(7)), "{body}");
            break body;
        }
    };
    let token = body["position_token"].as_str().unwrap();
    let sql = "SELECT COUNT(*) FROM events WHERE app_id = 'xyz123' AND event_type = 'after'";
    assert_eq!(house.sql(&key, sql, token).await, [[json!(7)]]);
}
