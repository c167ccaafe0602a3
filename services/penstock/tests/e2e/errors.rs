//! Errors of a process go to a server that speaks Sentry's protocol.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    house::{House, PATIENCE},
    receiver::Receiver,
};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// Kills the warehouse, which the house tells as an error, and waits for the next.
async fn fails(house: &House) {
    let killed = house.warehouse_pid();
    house.kill_warehouse();
    let started = Instant::now();
    while house.warehouse_pid().is_none_or(|pid| Some(pid) == killed) {
        assert!(started.elapsed() < PATIENCE, "there is no warehouse");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_reported_and_no_more_than_the_server_takes() {
    let answers = |before| if before == 0 { "200 OK" } else { "429 Too Many Requests\r\nretry-after: 3600" };
    let receiver = Receiver::start("/api/42/envelope/", answers).await;
    let dsn = receiver.url.replace("://", &format!("://{KEY}@")).replace("/api/42/envelope/", "/42");
    let settings = format!("[telemetry]\nsentry_dsn = \"{dsn}\"\nsentry_environment = \"test\"");
    let house = House::start_with(&settings).await;
    fails(&house).await;
    let report = receiver.until(1).await.remove(0);
    assert!(report.headers["x-sentry-auth"].contains(&format!("sentry_key={KEY}")), "{:?}", report.headers);
    let text = String::from_utf8(report.body).unwrap();
    let parts: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [_, head, event] = parts.as_slice() else { panic!("{text}") };
    assert_eq!(head["type"], "event");
    assert_eq!(event["environment"], "test");
    assert!(matches!(event["level"].as_str(), None | Some("error")), "an error where none is said: {event}");
    assert_eq!(event["message"], "the warehouse process is down");
    assert_eq!(event["release"], concat!("penstock@", env!("CARGO_PKG_VERSION")));
    assert!(!text.contains(&house.operator_key()), "{text}");

    // The server has too much, and from then on nothing is sent.
    fails(&house).await;
    receiver.until(2).await;
    fails(&house).await;
    house.until_metric("penstock_error_reports_total", |reports| reports >= 3.0).await;
    assert_eq!(receiver.until(2).await.len(), 2);
}
