//! Answers put together from states: the same as from the events, from a fraction of their rows, and never of what is no longer so.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::{
    erasure::{self, done, erase_of},
    house::{House, PATIENCE, rows},
};

const APP: &str = "board";
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// How far back events go, and how many there are of an hour.
const DAYS: i64 = 12;
const OF_HOUR: i64 = 30;

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

fn instant(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap().to_string()
}

/// What was answered.
#[derive(Debug)]
struct Answer {
    rows: Vec<Vec<Value>>,
    route: String,
    read_rows: u64,
}

/// Someone with many events who asks the same again and again.
struct Desk<'a> {
    house: &'a House,
    key: String,
    token: String,
}

impl<'a> Desk<'a> {
    async fn new(house: &'a House, tenant: &str) -> Self {
        let permissions = ["ingest", "backfill", "query", "admin", "metrics"];
        Self { house, key: house.tenant(tenant, APP, &permissions).await, token: String::new() }
    }

    /// One with the events of all days.
    async fn filled(house: &'a House, tenant: &str) -> Self {
        let mut desk = Self::new(house, tenant).await;
        let now = now_ms();
        for day in 0..DAYS {
            let ago = |i: i64| day * DAY_MS + i * HOUR_MS / OF_HOUR + i % 7 * 1_009;
            let events: Vec<_> = (0..24 * OF_HOUR).map(|i| event(now - ago(i), i * 31 + day)).collect();
            for some in events.chunks(400) {
                desk.send(some).await;
            }
        }
        desk
    }

    async fn send(&mut self, events: &[Value]) {
        let (status, answer) = self.house.post(&self.key, "/v1/events", &json!(events)).await;
        assert_eq!((status, answer["accepted"].as_u64()), (200, Some(events.len() as u64)), "{answer}");
        self.token = answer["position_token"].as_str().unwrap().to_owned();
    }

    /// What a SELECT with `{range}` in it gives over the times from then on.
    async fn ask(&self, sql: &str, from_ms: i64) -> Answer {
        let range = format!("timestamp >= '{}' AND timestamp < '{}'", instant(from_ms), instant(now_ms() + DAY_MS));
        let options = json!({"position_token": self.token, "max_wait_ms": 30_000, "time_zone": "Asia/Kathmandu"});
        let body = json!({"sql": sql.replace("{range}", &range), "options": options});
        answer_of(&self.house.answer(&self.key, &body).await["result"])
    }

    /// The same from the events: of no condition twice, so nobody has kept anything of it.
    async fn computed(&self, sql: &str, from_ms: i64) -> Answer {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let answer =
            self.ask(&sql.replace("{range}", &format!("{{range}} AND event_type <> '{number}'")), from_ms).await;
        assert_eq!(answer.route, "ROUTE_RAW");
        answer
    }

    /// Asks, over a range that moves on by a minute, until all but two days comes from states.
    async fn until_kept(&self, sql: &str, from_ms: i64) -> Answer {
        let started = Instant::now();
        for minute in 0.. {
            let answer = self.ask(sql, from_ms + minute % 20 * 60_000).await;
            // Of an hour at each end the events are read, and the granules that these lie in are those of a day. A granule of states has others'
            // too, once their parts are merged.
            let states: u64 = self.house.warehouse("SELECT count() FROM bucket_states").await.trim().parse().unwrap();
            if answer.route == "ROUTE_STATES" && answer.read_rows < states + 3 * 24 * OF_HOUR as u64 {
                return answer;
            }
            assert!(started.elapsed() < PATIENCE, "{sql}: {} rows by {}", answer.read_rows, answer.route);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        unreachable!()
    }
}

fn answer_of(result: &Value) -> Answer {
    // Numbers of 64 bits are text in JSON, and left out where they are 0.
    let number =
        |value: &Value| value.as_str().map_or_else(|| value.as_u64().unwrap_or(0), |text| text.parse().unwrap());
    Answer {
        rows: rows(result),
        route: result["info"]["route"].as_str().unwrap_or_default().to_owned(),
        read_rows: number(&result["info"]["cost"]["read_rows"]),
    }
}

fn event(at_ms: i64, number: i64) -> Value {
    let mut properties = json!({"page": format!("p{}", number % 5), "vip": number % 3 == 0});
    if number % 11 != 0 {
        properties["x"] = json!((number % 1_000) as f64 / 8.0);
    }
    let event_type = ["view", "buy"][number as usize % 2];
    json!({"event_type": event_type, "user_id": format!("u{}", number % 97),
        "timestamp": instant(at_ms), "properties": properties})
}

/// Whether two answers are the same: floats as sums of them may differ, the columns in `rough` as sketches may.
fn assert_same(kept: &[Vec<Value>], computed: &[Vec<Value>], rough: &[usize], sql: &str) {
    assert_eq!(kept.len(), computed.len(), "{sql}\n{kept:?}\n{computed:?}");
    for (kept, computed) in kept.iter().zip(computed) {
        for (column, (a, b)) in kept.iter().zip(computed).enumerate() {
            let same = match (a.as_f64(), b.as_f64()) {
                (Some(a), Some(b)) => {
                    (a - b).abs() <= if rough.contains(&column) { 0.05 } else { 1e-9 } * b.abs().max(1e-9)
                }
                _ => a == b,
            };
            assert!(same, "{sql}\n{kept:?}\n{computed:?}");
        }
    }
}

/// Every function, and what is done with groups. The columns behind it are sketches.
const SHAPES: [(&str, &[usize]); 7] = [
    (
        "SELECT COUNT(*), COUNT(x), COUNT_IF(vip), SUM(x), AVG(x), MIN(x), MAX(x), MIN(timestamp), MAX(page), \
         COUNT(DISTINCT user_id), COUNT(DISTINCT page, vip), MEDIAN(x), PERCENTILE(0.9, x), PERCENTILE_CONT(0.25, x), \
         PERCENTILE_DISC(0.5, page), STDDEV(x), VARIANCE(x), APPROX_COUNT_DISTINCT(user_id), SUM_IF(x, vip) / COUNT(*), \
         COUNT(DISTINCT vip), SUM(x) FILTER (WHERE page = 'p9') FROM events WHERE {range}",
        &[12, 17],
    ),
    (
        "SELECT page, vip, COUNT(*) n, COUNT(DISTINCT user_id) u FROM events WHERE {range} AND event_type = 'buy' \
         GROUP BY page, vip HAVING SUM(x) > 10 ORDER BY n DESC, page, vip LIMIT 4",
        &[],
    ),
    (
        "SELECT date_trunc('day', timestamp) day, vip, SUM(x) s, COUNT(*) n FROM events WHERE {range} \
         GROUP BY day, vip ORDER BY day, vip LIMIT 1000",
        &[],
    ),
    (
        "SELECT x, extract(hour FROM timestamp) h, MAX(timestamp) FROM events WHERE {range} AND x < 3 GROUP BY x, h ORDER BY x, h LIMIT 50",
        &[],
    ),
    (
        "SELECT page, COUNT(*) n, SUM(COUNT(*)) OVER (ORDER BY page) FROM events WHERE {range} GROUP BY page ORDER BY page",
        &[],
    ),
    ("SELECT DISTINCT COUNT(*) > 10 FROM events WHERE {range} AND x IS NOT NULL GROUP BY page, vip ORDER BY 1", &[]),
    ("SELECT page, COUNT(*) n FROM events WHERE {range} AND page = 'nowhere' GROUP BY page", &[]),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_moves_by_a_minute_reads_its_ends_and_gives_the_same() {
    let house = House::start().await;
    let desk = Desk::filled(&house, "cyan").await;
    let mut other = Desk::new(&house, "magenta").await;
    other.send(&[event(now_ms() - 3 * DAY_MS, 1)]).await;
    let from_ms = now_ms() - (DAYS - 1) * DAY_MS;
    for (sql, rough) in SHAPES {
        let events = desk.computed(sql, from_ms + 25 * 60_000).await;
        desk.until_kept(sql, from_ms).await;
        let moved = desk.ask(sql, from_ms + 25 * 60_000).await;
        assert_eq!(moved.route, "ROUTE_STATES");
        assert_same(&moved.rows, &events.rows, rough, sql);
        let least = events.read_rows / 3;
        assert!(moved.read_rows < least, "{sql}: {} of {} rows", moved.read_rows, events.read_rows);
        // The same question of others is about their own.
        let theirs = other.ask(sql, from_ms).await;
        assert_eq!(theirs.route, "ROUTE_RAW");
        assert_same(&theirs.rows, &other.computed(sql, from_ms).await.rows, rough, sql);
    }
    assert!(house.metric("penstock_states_built_total").await > 0.0);
    assert!(house.metric("penstock_states_used_total").await >= SHAPES.len() as f64);
}

const TOTAL: &str = "SELECT COUNT(*), COUNT(DISTINCT user_id), SUM(x) FROM events WHERE {range} AND page <> ''";

#[tokio::test(flavor = "multi_thread")]
async fn a_late_event_counts_at_once() {
    let house = House::start().await;
    let mut desk = Desk::filled(&house, "cyan").await;
    let from_ms = now_ms() - (DAYS - 1) * DAY_MS;
    desk.until_kept(TOTAL, from_ms).await;
    let built = house.metric("penstock_states_built_total").await;
    for (i, days_ago) in [5, 1].into_iter().enumerate() {
        let before = desk.computed(TOTAL, from_ms).await.rows;
        let at = now_ms() - days_ago * DAY_MS;
        desk.send(&[event(at, 1)]).await;
        let after = desk.ask(TOTAL, from_ms).await;
        assert_eq!(after.route, "ROUTE_STATES", "the other buckets are as they were");
        assert_eq!(after.rows[0][0].as_i64().unwrap(), before[0][0].as_i64().unwrap() + 1);
        assert_same(&after.rows, &desk.computed(TOTAL, from_ms).await.rows, &[], TOTAL);
        // Its bucket is computed anew.
        let started = Instant::now();
        while house.metric("penstock_states_built_total").await <= built + i as f64 {
            assert!(started.elapsed() < PATIENCE, "the bucket of the late event is not computed anew");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let again = desk.until_kept(TOTAL, from_ms).await;
        assert!(again.read_rows > 0);
    }
    assert_same(&desk.ask(TOTAL, from_ms).await.rows, &desk.computed(TOTAL, from_ms).await.rows, &[], TOTAL);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_state_knows_an_erased_user() {
    let house = House::start_with(erasure::CONFIG).await;
    let mut desk = Desk::filled(&house, "cyan").await;
    let at = now_ms() - 4 * DAY_MS;
    let cleo: Vec<_> = (0..5)
        .map(|i| {
            let mut event = event(at - i * HOUR_MS, 5 + 10 * i);
            event["user_id"] = json!("cleo");
            event
        })
        .collect();
    desk.send(&cleo).await;
    let from_ms = now_ms() - (DAYS - 1) * DAY_MS;
    let by_user = "SELECT user_id, COUNT(*) FROM events WHERE {range} AND page = 'p0' AND event_type = 'buy' \
        GROUP BY user_id ORDER BY user_id";
    desk.until_kept(by_user, from_ms).await;
    let known = async || house.warehouse("SELECT count() FROM bucket_states WHERE has(texts, 'cleo')").await;
    assert_ne!(known().await, "0\n");
    let id = erase_of(&house, &desk.key, APP, "cleo").await;
    done(&house, &desk.key, &id).await;
    assert_eq!(known().await, "0\n");
    let names = |answer: &Answer| answer.rows.iter().map(|row| row[0].to_string()).collect::<BTreeSet<_>>();
    let left = desk.until_kept(by_user, from_ms).await;
    assert!(!names(&left).contains("\"cleo\"") && names(&left).contains("\"u5\""), "{:?}", names(&left));
    assert_same(&desk.ask(by_user, from_ms).await.rows, &desk.computed(by_user, from_ms).await.rows, &[], by_user);
    assert_eq!(known().await, "0\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_is_cut_off_leaves_nothing_that_counts() {
    let mut house = House::start().await;
    let from_ms = now_ms() - (DAYS - 1) * DAY_MS;
    let (key, mut token) = {
        let desk = Desk::filled(&house, "cyan").await;
        (desk.key, desk.token)
    };
    for at_rows in [1, 30, 40] {
        let desk = Desk { house: &house, key: key.clone(), token };
        let started = Instant::now();
        // Every time it is some other rows that are there, noted or not.
        loop {
            desk.ask(TOTAL, from_ms).await;
            let rows = house.warehouse("SELECT count() FROM bucket_states").await.trim().parse::<u64>().unwrap();
            if rows >= at_rows {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "no states are computed");
        }
        token = desk.token;
        house.kill();
        house.launch().await;
        let desk = Desk { house: &house, key: key.clone(), token: token.clone() };
        let (kept, computed) = (desk.ask(TOTAL, from_ms).await, desk.computed(TOTAL, from_ms).await);
        assert_same(&kept.rows, &computed.rows, &[], TOTAL);
    }
    let desk = Desk { house: &house, key, token };
    desk.until_kept(TOTAL, from_ms).await;
    assert_same(&desk.ask(TOTAL, from_ms).await.rows, &desk.computed(TOTAL, from_ms).await.rows, &[], TOTAL);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metric_that_is_materialized_is_kept_from_the_first_time_on() {
    let house = House::start().await;
    let desk = Desk::filled(&house, "cyan").await;
    let definition = json!({"name": "volume", "formula": "SUM(x) / COUNT(DISTINCT user_id)", "materialize": true});
    let path = format!("/v1/apps/{APP}/metrics");
    let (status, answer) = house.post(&desk.key, &path, &json!({"definition": definition})).await;
    assert_eq!((status, &answer["metric"]["definition"]["materialize"]), (200, &json!(true)), "{answer}");
    let evaluation = json!({"range": {"last": format!("{}s", (DAYS - 1) * 86_400)},
        "dimensions": [{"expression": "page"}], "limit": 9});
    let options = json!({"position_token": desk.token, "max_wait_ms": 30_000});
    let evaluate = json!({"evaluation": evaluation, "options": options});
    let ask = async || {
        let (status, answer) = house.post(&desk.key, &format!("{path}/volume:evaluate"), &evaluate).await;
        assert_eq!(status, 200, "{answer}");
        answer_of(&answer["result"])
    };
    let first = ask().await;
    assert_eq!(first.route, "ROUTE_RAW");
    let query = json!({"app_id": APP, "range": {"last": format!("{}s", (DAYS - 1) * 86_400)},
        "measures": [{"formula": "SUM(x) / COUNT(DISTINCT user_id)"}], "dimensions": [{"expression": "page"}]});
    let explained = async || {
        let (status, answer) = house.post(&desk.key, "/v1/explain", &json!({"query": query})).await;
        assert_eq!(status, 200, "{answer}");
        (answer["route"].as_str().unwrap().to_owned(), answer["route_reason"].as_str().unwrap().to_owned())
    };
    // Nobody asks again meanwhile.
    let started = Instant::now();
    let reason = loop {
        let (route, reason) = explained().await;
        if route == "ROUTE_STATES" {
            break reason;
        }
        assert!(reason.contains("daily_users") && reason.contains("not from states, since they are still"), "{reason}");
        assert!(started.elapsed() < PATIENCE, "{reason}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(reason.starts_with("states: ") && reason.contains("not from the cache"), "{reason}");
    let then = ask().await;
    assert_eq!(then.route, "ROUTE_STATES");
    assert_eq!(then.rows.len(), first.rows.len());
}
