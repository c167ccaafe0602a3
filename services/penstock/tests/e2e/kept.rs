//! What was answered before is not computed again, and never stands in the way of what is true now.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

use crate::{
    house::{House, PATIENCE, rows},
    load::seed,
    stand,
};

pub const APP: &str = "board";
const HOUR_MS: i64 = 3_600_000;

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

fn instant(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap().to_string()
}

/// Someone who sends events and looks at a dashboard.
#[derive(Clone)]
pub struct Board<'a> {
    house: &'a House,
    key: String,
    /// Of the last events sent.
    token: String,
}

impl<'a> Board<'a> {
    pub async fn new(house: &'a House, tenant: &str) -> Self {
        let key = house.tenant(tenant, APP, &["ingest", "backfill", "query"]).await;
        Self { house, key, token: String::new() }
    }

    /// Sends an event of each user, so many ms ago.
    pub async fn send(&mut self, events: &[(i64, u32)]) {
        let now = now_ms();
        let body: Vec<_> = events
            .iter()
            .map(|(ago, user)| {
                let event_type = ["view", "buy"][*user as usize % 2];
                let id = format!("{:032x}", rand::random::<u128>());
                json!({"event_id": id, "event_type": event_type, "user_id": format!("u{user}"),
                    "timestamp": instant(now - ago), "properties": {"x": (ago % 1_000) as f64 / 8.0}})
            })
            .collect();
        let acknowledgement = self.house.publish(&self.key, &body).await;
        assert_eq!(acknowledgement["accepted"].as_u64(), Some(events.len() as u64), "{acknowledgement}");
        self.token = acknowledgement["position_token"].as_str().unwrap().to_owned();
    }

    /// The rows, and where they came from.
    async fn ask(&self, sql: &str, zone: &str) -> (Vec<Vec<Value>>, String) {
        let options = json!({"position_token": self.token, "max_wait_ms": 30_000, "time_zone": zone});
        let answer = self.house.answer(&self.key, &json!({"sql": sql, "options": options})).await;
        (rows(&answer["result"]), answer["result"]["info"]["route"].as_str().unwrap_or_default().to_owned())
    }

    /// The same from the events themselves: no limit is asked for twice, so nobody has kept the answer.
    pub async fn computed(&self, sql: &str, zone: &str) -> Vec<Vec<Value>> {
        static LIMIT: AtomicU32 = AtomicU32::new(1_000);
        let limit = LIMIT.fetch_add(1, Ordering::Relaxed);
        let (rows, route) = self.ask(&format!("{sql} LIMIT {limit}"), zone).await;
        assert_ne!(route, "ROUTE_CACHE");
        rows
    }

    /// Asks until the answer comes from the cache: hours count as ended only once every partition has said so.
    pub async fn kept(&self, sql: &str) -> Vec<Vec<Value>> {
        let started = Instant::now();
        loop {
            let (rows, route) = self.ask(sql, "").await;
            if route == "ROUTE_CACHE" {
                return rows;
            }
            assert!(started.elapsed() < PATIENCE, "nothing is kept: {route}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dashboard_is_kept_until_a_late_event_changes_it() {
    let house = House::start().await;
    a_dashboard_is_kept(&house).await;

    // What ended long ago needs no warehouse.
    let board = Board::new(&house, "cyan").await;
    let today = now_ms() / HOUR_MS * HOUR_MS;
    let sql = format!(
        "SELECT date_trunc('hour', timestamp) t, COUNT(*) n FROM events \
         WHERE timestamp >= '{}' AND timestamp < '{}' GROUP BY t ORDER BY t",
        instant(today - 30 * HOUR_MS),
        instant(today - 3 * HOUR_MS)
    );
    let before = board.kept(&sql).await;
    house.kill_warehouse();
    assert_eq!(board.ask(&sql, "").await, (before, "ROUTE_CACHE".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn and_so_it_is_on_a_cluster() {
    a_dashboard_is_kept(&*stand::shared().await).await;
}

async fn a_dashboard_is_kept(house: &House) {
    let (mut ours, mut theirs) = (Board::new(house, "cyan").await, Board::new(house, "magenta").await);
    let hourly: Vec<_> = (0..60).map(|hour| (hour * HOUR_MS, hour as u32 % 7)).collect();
    ours.send(&hourly).await;
    theirs.send(&hourly[..40]).await;
    let sql = "SELECT date_trunc('hour', timestamp) t, event_type, COUNT(*) n, COUNT(DISTINCT user_id) users, \
        MEDIAN(x) m FROM events WHERE timestamp > now() - INTERVAL 2 DAY GROUP BY t, event_type ORDER BY t DESC, n";
    let before = ours.kept(sql).await;
    assert_eq!(before, ours.computed(sql, "").await);
    assert_eq!(theirs.kept(sql).await, theirs.computed(sql, "").await);
    assert!(theirs.kept(sql).await.len() < before.len(), "each sees their own");

    let total = |rows: &[Vec<Value>]| rows.iter().map(|row| row[2].as_i64().unwrap()).sum::<i64>();
    for tries in 1.. {
        let before = ours.kept(sql).await;
        ours.send(&[(20 * HOUR_MS, 100), (20 * HOUR_MS, 100)]).await;
        let (after, route) = ours.ask(sql, "").await;
        assert_eq!(after, ours.computed(sql, "").await);
        // A minute's worth of the window may have passed meanwhile, and with it the oldest event.
        assert!((1..=2).contains(&(total(&after) - total(&before))), "{before:?}\n{after:?}");
        if is_from_cache(&route, tries) {
            break; // the other hours are kept still
        }
    }
}

/// A shared cache that answers too late is passed over, and with it the route: but not again and again.
fn is_from_cache(route: &str, tries: u32) -> bool {
    assert!(route == "ROUTE_CACHE" || tries < 5, "{tries} times it was computed, by {route}");
    route == "ROUTE_CACHE"
}

/// Hours that have not ended are kept as long as nothing comes for the app.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_ended_is_kept_until_something_comes() {
    let house = House::start().await;
    what_has_not_ended_is_kept(&house).await;

    let board = Board::new(&house, "olive").await;
    let sql = format!("SELECT COUNT(*) n FROM events WHERE timestamp >= '{}'", instant(now_ms() - 3 * HOUR_MS));
    let before = board.kept(&sql).await;
    house.kill_warehouse();
    assert_eq!(board.ask(&sql, "").await, (before, "ROUTE_CACHE".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn and_so_it_is_until_something_comes_on_a_cluster() {
    what_has_not_ended_is_kept(&*stand::shared().await).await;
}

async fn what_has_not_ended_is_kept(house: &House) {
    let (mut ours, mut theirs) = (Board::new(house, "olive").await, Board::new(house, "teal").await);
    ours.send(&[(0, 1), (HOUR_MS, 2), (30 * HOUR_MS, 3)]).await;
    theirs.send(&[(0, 1)]).await;
    // Whole hours, what the range cuts and what has not ended; a number; and the first few, with no end.
    let from = now_ms() - 2 * HOUR_MS - 1_000;
    let asked = [
        format!(
            "SELECT date_trunc('hour', timestamp) t, COUNT(*) n FROM events \
             WHERE timestamp >= '{}' AND timestamp < '{}' GROUP BY t ORDER BY t",
            instant(from),
            instant(now_ms() + HOUR_MS / 2)
        ),
        format!("SELECT COUNT(*) n, COUNT(DISTINCT user_id) m FROM events WHERE timestamp >= '{}'", instant(from)),
        format!(
            "SELECT event_type, COUNT(*) n FROM events WHERE timestamp >= '{}' GROUP BY event_type ORDER BY n DESC LIMIT 1",
            instant(from)
        ),
    ];
    let total = |rows: &[Vec<Value>]| rows.iter().map(|row| row.last().unwrap().as_i64().unwrap()).sum::<i64>();
    for sql in &asked {
        for tries in 1.. {
            let kept = ours.kept(sql).await;
            if !sql.ends_with("LIMIT 1") {
                assert_eq!(kept, ours.computed(sql, "").await);
            }
            theirs.send(&[(0, 5)]).await;
            theirs.ask(sql, "").await;
            let (after, route) = ours.ask(sql, "").await;
            assert_eq!(after, kept, "of others' events nothing is in it");
            if is_from_cache(&route, tries) {
                break;
            }
        }
    }
    // Of each kind of hour. What was acknowledged is in the next answer, kept or not.
    let mut expected = total(&ours.kept(&asked[0]).await);
    assert_eq!(expected, 2);
    for (round, ago) in [0, HOUR_MS, 0, 2 * HOUR_MS, 0, -60_000, 0].into_iter().enumerate() {
        ours.send(&[(ago, 10 + round as u32)]).await;
        expected += 1;
        for sql in &asked[..2] {
            let (rows, route) = ours.ask(sql, "").await;
            assert_eq!(total(&rows), expected, "{sql} after {round}, by {route}");
        }
        assert_eq!(total(&ours.kept(&asked[0]).await), expected);
    }
    // Whoever asks while events come is told of all that were acknowledged when it asked.
    let acknowledged = AtomicU32::new(0);
    let (mut writer, asked) = (Board { token: String::new(), ..ours.clone() }, &asked[0]);
    let writes = async {
        for user in 0..60 {
            writer.send(&[(0, user)]).await;
            let (seen, _) = writer.ask(asked, "").await;
            assert!(total(&seen) > expected + i64::from(user), "{user}: {seen:?}");
            acknowledged.store(user + 1, Ordering::SeqCst);
        }
    };
    let reads = async {
        let mut before = 0;
        while acknowledged.load(Ordering::SeqCst) < 60 {
            let least = expected + i64::from(acknowledged.load(Ordering::SeqCst));
            let seen = total(&ours.ask(asked, "").await.0);
            assert!(seen >= least.max(before) && seen <= expected + 60, "{seen} of {least}");
            before = seen;
        }
    };
    futures::join!(writes, reads);
    assert_eq!(total(&ours.kept(asked).await), expected + 60);
}

/// Whatever is asked again and again while events come late: the answer is that of the events.
#[tokio::test(flavor = "multi_thread")]
async fn answers_put_together_are_those_of_the_events() {
    let mut random = StdRng::seed_from_u64(seed());
    let house = House::start().await;
    let mut board = Board::new(&house, "cyan").await;
    let start = now_ms() / HOUR_MS * HOUR_MS - 200 * HOUR_MS;
    let (mut from_cache, mut numbers, mut asked) = (0, 0, 0);
    let began = Instant::now();
    while asked < 25 || from_cache == 0 || numbers == 0 {
        assert!(began.elapsed() < PATIENCE, "{from_cache} series and {numbers} numbers of {asked} were kept");
        let late: Vec<_> = (0..random.random_range(1..6))
            .map(|_| (random.random_range(0..220 * HOUR_MS), random.random_range(0..20)))
            .collect();
        board.send(&late).await;
        let grain = ["hour", "day", "week", "month"].choose(&mut random).unwrap();
        let zone = ["UTC", "Europe/Berlin", "Asia/Kathmandu"].choose(&mut random).unwrap();
        let from = instant(start + random.random_range(0..3) * 20 * HOUR_MS + random.random_range(0..2) * 1_234_567);
        let to =
            ["".to_owned(), format!("AND timestamp < '{}'", instant(start + random.random_range(100..104) * HOUR_MS))];
        let (to, direction) = (to.choose(&mut random).unwrap(), ["ASC", "DESC"].choose(&mut random).unwrap());
        let measures = ["COUNT(*) n, COUNT(DISTINCT user_id) m", "AVG(x) n, MAX(x) m"].choose(&mut random).unwrap();
        let number = format!("SELECT {measures} FROM events WHERE timestamp >= '{from}' {to}");
        // Late events are everywhere: only what was asked just before is still kept as a whole.
        board.ask(&number, zone).await;
        let (rows, route) = board.ask(&number, zone).await;
        assert_eq!(rows, board.computed(&number, zone).await, "{number} ({route})");
        numbers += usize::from(route == "ROUTE_CACHE");
        let sql = format!(
            "SELECT event_type, date_trunc('{grain}', timestamp) t, {measures} FROM events \
             WHERE timestamp >= '{from}' {to} GROUP BY t, event_type HAVING COUNT(*) > 0 ORDER BY t {direction}, event_type"
        );
        let (rows, route) = board.ask(&sql, zone).await;
        assert_eq!(rows, board.computed(&sql, zone).await, "{sql} ({zone}, {route})");
        asked += 1;
        from_cache += usize::from(route == "ROUTE_CACHE");
    }
}
