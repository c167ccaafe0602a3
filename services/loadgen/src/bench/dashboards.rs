//! A dashboard of 20 tiles over 30 days, on many more events than are sent here: the engine multiplies the week's own.

use std::time::Duration;

use api::{convert::time_to_wire, v1};
use load::Times;
use model::DAY_MS;
use serde::Serialize;
use storage::warehouse::schema::DEFAULT_DATABASE;
use tokio::time::{Instant, sleep};

use super::{
    house::{APP, House, READER},
    read::{Ask, measure},
};
use crate::{connection::Query, error::LoadError};

/// Days that the tiles show; the copies lie in them, one after the other.
const DAYS: i64 = 30;
/// Whole days of the week that are copied: those that nothing but the week was sent for.
const COPIED_DAYS: i64 = 5;
const MINUTE_MS: i64 = 60_000;
const ROUNDS: i64 = 5;
/// How long it is waited for what makes the same question cheaper from now on.
const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_secs(1);
/// A question is asked so often before anything is kept for it, and so many times in a row nothing may have become cheaper.
const OFTEN: i64 = 5;
const STEADY: u32 = 4;

/// What was seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Dashboards {
    pub(crate) events: u64,
    /// All tiles one after the other, computed from the events.
    pub(crate) raw: Times,
    /// The same by whatever is kept beside the events, and nothing of an earlier answer.
    pub(crate) kept_beside: Times,
    /// Each tile by itself, those that gain least first.
    pub(crate) tiles: Vec<Tile>,
    /// Totals of the last 30 days up to now, computed from the events.
    pub(crate) window_raw: Times,
    /// The same when the window has moved on by a minute.
    pub(crate) window_moved: Times,
}

/// One tile.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Tile {
    pub(crate) formula: &'static str,
    pub(crate) by: Option<&'static str>,
    /// The route of the last answer that was not computed from the events on purpose.
    pub(crate) route: String,
    pub(crate) raw: Times,
    pub(crate) kept_beside: Times,
}

impl Tile {
    /// How many times as long it takes from the events.
    pub(crate) fn gain(&self) -> f64 {
        self.raw.p50_ms / self.kept_beside.p50_ms.max(f64::EPSILON)
    }
}

/// Makes the app have about so many events in the last 30 days; returns how many the engine counts. They are the engine's alone: no
/// ledger knows of them.
pub(crate) async fn fill(house: &House, now_ms: i64, wanted: u64) -> Result<u64, LoadError> {
    let client = house.clickhouse(DEFAULT_DATABASE);
    let today_ms = now_ms.div_euclid(DAY_MS) * DAY_MS;
    // Yesterday and today have other events too.
    let (from, to) = (today_ms - (COPIED_DAYS + 1) * DAY_MS, today_ms - DAY_MS);
    let copied = format!(
        "tenant = '{READER}' AND app = '{APP}' AND ts >= fromUnixTimestamp64Milli({from}, 'UTC') AND ts < fromUnixTimestamp64Milli({to}, 'UTC')"
    );
    let there: u64 = client.query(&format!("SELECT count() FROM events WHERE {copied}")).fetch_one().await?;
    let shifts = DAYS / COPIED_DAYS;
    let copies = wanted / (there * shifts as u64).max(1);
    client.query("CREATE TABLE copied AS events").execute().await?;
    client.query(&format!("INSERT INTO copied SELECT * FROM events WHERE {copied}")).execute().await?;
    for shift in 0..shifts {
        let days = shift * COPIED_DAYS;
        let statement = format!(
            "INSERT INTO events SELECT * EXCEPT (number) REPLACE (ts - toIntervalDay({days}) AS ts, \
             concat(user, '-', toString(number)) AS user, concat(event_id, '-{shift}-', toString(number)) AS event_id) \
             FROM copied AS c CROSS JOIN numbers({copies}) AS n"
        );
        client.query(&statement).execute().await?;
    }
    client.query("DROP TABLE copied SYNC").execute().await?;
    house.settle().await?;
    let all = format!("SELECT count() FROM events WHERE tenant = '{READER}' AND app = '{APP}'");
    Ok(client.query(&all).fetch_one().await?)
}

const MEASURES: [&str; 5] =
    ["COUNT(*)", "COUNT(DISTINCT user_id)", "SUM(purchase_amount)", "AVG(load_time)", "PERCENTILE(0.95, load_time)"];
const DIMENSIONS: [Option<&str>; 4] = [None, Some("day"), Some("country"), Some("event_type")];

/// What the tiles show: every kind of measure by everything that people look at.
fn shown() -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
    MEASURES.into_iter().flat_map(|formula| DIMENSIONS.map(|by| (formula, by)))
}

/// The tiles.
pub(crate) fn tiles(range: &v1::TimeRange) -> Vec<Ask> {
    let tile = |(formula, by): (&str, Option<&str>)| {
        let dimension =
            by.filter(|by| *by != "day").map(|by| v1::Dimension { name: String::new(), expression: by.to_owned() });
        Ask::Typed(Box::new(v1::TypedQuery {
            app_id: APP.to_owned(),
            measures: vec![measure("value", formula)],
            dimensions: dimension.into_iter().collect(),
            range: Some(*range),
            grain: if by == Some("day") { v1::Grain::Day.into() } else { 0 },
            ..Default::default()
        }))
    };
    shown().map(tile).collect()
}

/// From and up to these instants, UTC ms.
pub(crate) fn between(from_ms: i64, to_ms: i64) -> v1::TimeRange {
    v1::TimeRange { from: Some(time_to_wire(from_ms)), to: Some(time_to_wire(to_ms)), ..Default::default() }
}

/// Asks for the tiles, with and without what is kept beside the events.
pub(crate) async fn dashboards(client: &mut Query, now_ms: i64, events: u64) -> Result<Dashboards, LoadError> {
    let today_ms = now_ms.div_euclid(DAY_MS) * DAY_MS;
    let tiles_until = |to_ms: i64| tiles(&between(to_ms - (DAYS - ROUNDS) * DAY_MS, to_ms));
    let first_ms = today_ms - ROUNDS * DAY_MS;
    until_kept(client, |round| tiles_until(first_ms + round * MINUTE_MS)).await?;
    let (mut raw, mut kept_beside): (Vec<Vec<Duration>>, Vec<_>) = (Vec::new(), Vec::new());
    let mut routes = Vec::new();
    for round in 1..=ROUNDS {
        // Another day: no answer is there yet.
        let tiles = tiles_until(first_ms + round * DAY_MS);
        raw.push(all(client, &tiles, v1::Route::Raw).await?.times);
        let found = all(client, &tiles, v1::Route::Unspecified).await?;
        kept_beside.push(found.times);
        routes = found.routes;
    }
    let of_tile = |rounds: &[Vec<Duration>], i: usize| Times::of(rounds.iter().map(|times| times[i]).collect());
    let tile = |(i, (formula, by))| Tile {
        formula,
        by,
        route: routes.get(i).map_or("", v1::Route::as_str_name).to_owned(),
        raw: of_tile(&raw, i),
        kept_beside: of_tile(&kept_beside, i),
    };
    let mut tiles: Vec<_> = shown().enumerate().map(tile).collect();
    tiles.sort_by(|a, b| a.gain().total_cmp(&b.gain()));
    let together = |rounds: &[Vec<Duration>]| Times::of(rounds.iter().map(|times| times.iter().sum()).collect());
    let (window_raw, window_moved) = window(client, now_ms).await?;
    Ok(Dashboards { events, raw: together(&raw), kept_beside: together(&kept_beside), tiles, window_raw, window_moved })
}

/// Totals by country of the last 30 days, moved on by a minute each time, each time also computed from the events.
async fn window(client: &mut Query, now_ms: i64) -> Result<(Times, Times), LoadError> {
    let total = |to_ms: i64| {
        let measures = ["COUNT(*)", "COUNT(DISTINCT user_id)", "SUM(purchase_amount)", "AVG(load_time)"];
        Ask::Typed(Box::new(v1::TypedQuery {
            app_id: APP.to_owned(),
            measures: measures.iter().enumerate().map(|(i, formula)| measure(&format!("m{i}"), formula)).collect(),
            dimensions: vec![v1::Dimension { name: String::new(), expression: "country".to_owned() }],
            range: Some(between(to_ms - (DAYS - 1) * DAY_MS, to_ms)),
            ..Default::default()
        }))
    };
    let first_ms = now_ms - DAY_MS;
    until_kept(client, |round| vec![total(first_ms - round * MINUTE_MS)]).await?;
    let (mut raw, mut moved) = (Vec::new(), Vec::new());
    for round in 1..=2 * ROUNDS {
        let question = [total(first_ms + round * MINUTE_MS)];
        raw.extend(all(client, &question, v1::Route::Raw).await?.times);
        moved.extend(all(client, &question, v1::Route::Unspecified).await?.times);
    }
    Ok((Times::of(raw), Times::of(moved)))
}

/// Asks one dashboard after the other, none of them twice, until nothing more is kept beside the events: no fewer rows are read than before.
async fn until_kept(client: &mut Query, dashboard: impl Fn(i64) -> Vec<Ask>) -> Result<(), LoadError> {
    let end = Instant::now() + PATIENCE;
    let (mut round, mut least, mut since) = (0, u64::MAX, 0);
    while Instant::now() < end && (round < OFTEN || since < STEADY) {
        let read = all(client, &dashboard(round), v1::Route::Unspecified).await?.read_rows;
        since = if read < least { 0 } else { since + 1 };
        least = least.min(read);
        round += 1;
        sleep(POLL).await;
    }
    Ok(())
}

/// What questions came to that were asked one after the other.
#[derive(Default)]
struct Found {
    times: Vec<Duration>,
    routes: Vec<v1::Route>,
    read_rows: u64,
}

/// Asks one after the other, by this route, or by any if it is none.
async fn all(client: &mut Query, questions: &[Ask], route: v1::Route) -> Result<Found, LoadError> {
    let mut found = Found::default();
    for question in questions {
        let started = Instant::now();
        let options = v1::ReadOptions { route: route.into(), ..Default::default() };
        let info = question.ask(client, options).await?.info.unwrap_or_default();
        found.times.push(started.elapsed());
        found.routes.push(info.route());
        found.read_rows += info.cost.map_or(0, |cost| cost.read_rows);
    }
    Ok(found)
}
