//! The cluster, disturbed: whatever dies, stops or goes away, what was acknowledged is counted once, and a client that sends
//! again what failed sees nothing of it.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

use crate::{
    house::{PATIENCE, rows},
    load::{self, Load, seed},
    stand::{self, Stand},
};

/// What may be killed at any time.
pub const PROCESSES: [&str; 12] = [
    "gateway-1",
    "gateway-2",
    "ingest-1",
    "ingest-2",
    "pipeline-1",
    "pipeline-2",
    "pipeline-3",
    "query-1",
    "query-2",
    "metrics-1",
    "admin-1",
    "warehouse",
];

/// kill -9, so many times, unless `PENSTOCK_KILLS` says otherwise.
const KILLS: usize = 16;

/// How long PostgreSQL is away.
const OUTAGE: Duration = Duration::from_secs(30);

/// Load through both gateways in turn: a customer's balancer.
pub fn load(stand: &Stand, seed: u64) -> Load {
    let load = Load::start(stand, seed);
    let (address, gateways) = (load.field.address.clone(), stand.gateways());
    tokio::spawn(async move {
        for gateway in gateways.iter().cycle() {
            tokio::select! {
                () = address.closed() => return,
                () = tokio::time::sleep(Duration::from_millis(50)) => address.send_replace(gateway.clone()),
            };
        }
    });
    load
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_process_may_be_killed_at_any_time() {
    let (stand, seed) = (stand::alone().await, seed());
    let mut random = StdRng::seed_from_u64(seed);
    let mut load = load(&stand, seed);
    let kills = load::scale("PENSTOCK_KILLS", KILLS);
    for kill in 0..kills {
        if kill == kills / 2 {
            stand.forget_tokens().await;
        }
        // Each at least once, the rest as it comes.
        let name = PROCESSES.get(kill).or_else(|| PROCESSES.choose(&mut random)).unwrap();
        load.progress(random.random_range(0..40)).await;
        stand.kill(name);
        if random.random() {
            load.progress(random.random_range(0..20)).await;
        }
        stand.start_again(name);
    }
    let books = load.settle(&stand).await;
    load::all_may_be_retried(&books);
    let events: u64 = books.iter().map(|b| b.events).sum();
    let failed: usize = books.iter().map(|b| b.failures.len()).sum();
    println!("{kills} kills, {events} events, {failed} calls sent again, none lost, none doubled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_fails_no_call_that_is_not_sent_again() {
    let (stand, seed) = (stand::alone().await, seed());
    let mut load = load(&stand, seed);
    for name in PROCESSES.iter().filter(|name| **name != "warehouse") {
        stand.stop(name);
        load.progress(10).await;
        stand.start_again(name);
        load.progress(10).await;
    }
    let books = load.settle(&stand).await;
    load::all_may_be_retried(&books);
    let failed: usize = books.iter().map(|b| b.failures.len()).sum();
    println!("every role restarted, {failed} calls sent again");
}

/// A worker that is stopped while others take its partitions, and wakes up in the belief that they are its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_worker_changes_nothing() {
    let (stand, seed) = (stand::alone().await, seed());
    let mut load = load(&stand, seed);
    for zombie in ["pipeline-1", "pipeline-2"] {
        load.progress(30).await;
        let others: Vec<_> = ["pipeline-1", "pipeline-2", "pipeline-3"].into_iter().filter(|n| *n != zombie).collect();
        let claims =
            || others.iter().map(|name| stand.log_of(name).matches("partition claimed").count()).sum::<usize>();
        let before = claims();
        stand.signal(zombie, "STOP");
        until("its partitions are claimed by others", || claims() > before).await;
        load.progress(30).await;
        stand.signal(zombie, "CONT");
        load.progress(30).await;
    }
    let books = load.settle(&stand).await;
    load::all_may_be_retried(&books);
}

/// Of three brokers one may be gone, and nobody sees it. With too few left, ingest refuses until they are back.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_may_be_gone_and_without_enough_of_them_ingest_refuses() {
    let (stand, seed) = (stand::alone().await, seed());
    let (brokers, mut load) = (stand::brokers(), load(&stand, seed));
    load.progress(20).await;
    if brokers > 2 {
        for broker in 1..=brokers {
            stand.part("kafka", &["kill", &broker.to_string()]);
            load.progress(40).await;
            stand.part("kafka", &["start", &broker.to_string()]);
            load.progress(40).await;
        }
    }
    let too_many = 1..=brokers.div_ceil(2);
    for broker in too_many.clone() {
        stand.part("kafka", &["kill", &broker.to_string()]);
    }
    let event = json!({"app_id": "xyz123", "event_type": "refused", "user_id": "u"});
    let (status, answer) = stand.post(&stand.demo_key(), "/v1/events", &event).await;
    assert_eq!(status, 503, "{answer}");
    assert!(answer.to_string().contains("RetryInfo"), "{answer}");
    for broker in too_many {
        stand.part("kafka", &["start", &broker.to_string()]);
    }
    load.progress(20).await;
    load::all_may_be_retried(&load.settle(&stand).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_it_is_only_slower() {
    let (stand, seed) = (stand::alone().await, seed());
    let key = stand.tenant("calm", "board", &["ingest", "query"]).await;
    let events: Vec<_> = (0..40).map(|n| json!({"event_type": "seen", "user_id": format!("u{}", n % 7)})).collect();
    let (status, sent) = stand.post(&key, "/v1/events", &json!(events)).await;
    assert_eq!(status, 200, "{sent}");
    let ask = async || {
        let mut answers = Vec::new();
        for sql in [
            "SELECT COUNT(*), COUNT(DISTINCT user_id) FROM events",
            "SELECT user_id, COUNT(*) FROM events WHERE timestamp > now() - INTERVAL 2 DAY GROUP BY user_id ORDER BY user_id",
            "SELECT date_trunc('day', timestamp) d, COUNT(*) n FROM events WHERE timestamp > now() - INTERVAL 9 DAY GROUP BY d",
        ] {
            let options = json!({"position_token": sent["position_token"], "max_wait_ms": 30_000});
            let (status, answer) = stand.post(&key, "/v1/sql", &json!({"sql": sql, "options": options})).await;
            assert_eq!(status, 200, "{sql}: {answer}");
            answers.push(rows(&answer["result"]));
        }
        answers
    };
    let mut load = load(&stand, seed);
    load.progress(20).await;
    let before = ask().await;
    assert_eq!(before[0], [[json!(40), json!(7)]]);
    stand.part("redis", &["down"]);
    load.progress(20).await;
    assert_eq!(ask().await, before);
    // It keeps nothing on disk: what comes back is a flushed one.
    stand.part("redis", &["up"]);
    load.progress(20).await;
    assert_eq!(ask().await, before);
    load::all_may_be_retried(&load.settle(&stand).await);
}

/// Ingest goes on with the keys and apps that it knows; the pipeline waits and goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_ingest_goes_on_with_what_it_knows() {
    let (stand, seed) = (stand::alone().await, seed());
    let mut load = load(&stand, seed);
    load.progress(40).await;
    let ask = async || {
        let question = json!({"sql": "SELECT COUNT(*) FROM events", "app_id": "xyz123"});
        let (status, answer) = stand.post(&stand.demo_key(), "/v1/sql", &question).await;
        assert_eq!(status, 200, "{answer}");
    };
    ask().await;
    stand.part("postgres", &["down"]);
    let away = Instant::now();
    while away.elapsed() < OUTAGE {
        load.progress(10).await;
        ask().await;
    }
    stand.part("postgres", &["up"]);
    load.progress(20).await;
    load::all_may_be_retried(&load.settle(&stand).await);
}

/// What was asked before can be asked on, by the keys, apps and metrics that are known, as of the last frontier.
#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_questions_are_answered_as_of_the_last_frontier() {
    let stand = stand::alone().await;
    let key = stand.tenant("asking", "board", &["ingest", "query", "metrics"]).await;
    let (status, sent) = stand.post(&key, "/v1/events", &json!([{"event_type": "seen", "user_id": "u"}])).await;
    assert_eq!(status, 200, "{sent}");
    let definition = json!({"name": "users", "formula": "COUNT(DISTINCT user_id)"});
    let (status, answer) = stand.post(&key, "/v1/apps/board/metrics", &json!({"definition": definition})).await;
    assert_eq!(status, 200, "{answer}");
    let question = json!({"sql": "SELECT COUNT(*) AS n FROM events"});
    let with_token = |sent: &Value| json!({"sql": question["sql"], "options": {"position_token": sent["position_token"], "max_wait_ms": 30_000}});
    assert_eq!(stand.post(&key, "/v1/sql", &with_token(&sent)).await.0, 200);
    let ask = async || {
        let (status, sql) = stand.post(&key, "/v1/sql", &question).await;
        assert_eq!(status, 200, "{sql}");
        let (status, metric) = stand.post(&key, "/v1/apps/board/metrics/users:evaluate", &json!({})).await;
        assert_eq!(status, 200, "{metric}");
        let watermark = sql["result"]["info"]["watermark"].clone();
        ([rows(&sql["result"]), rows(&metric["result"])], watermark)
    };
    let (before, _) = ask().await;
    assert_eq!(before, [[[json!(1)]], [[json!(1)]]]);
    stand.part("postgres", &["down"]);
    let (then, watermark) = ask().await;
    let (again, same) = ask().await;
    assert_eq!((then, again, same), (before.clone(), before, watermark), "nothing moves on");
    stand.part("postgres", &["up"]);
    // Each process finds it again by itself: until then it says when to come again.
    stand.tenant("made-anew", "board", &["query"]).await;
    let until_taken = async |path, body| {
        let started = Instant::now();
        loop {
            let (status, answer) = stand.post(&key, path, &body).await;
            if status == 200 {
                return answer;
            }
            assert!(status == 503 && started.elapsed() < PATIENCE, "{path}: {status} {answer}");
        }
    };
    let sent = until_taken("/v1/events", json!([{"event_type": "seen", "user_id": "v"}])).await;
    assert_eq!(rows(&until_taken("/v1/sql", with_token(&sent)).await["result"]), [[json!(2)]]);
}
