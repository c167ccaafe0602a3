//! A dashboard of 20 tiles over 30 days, on many more events than are sent here: the engine multiplies the week's own.

use std::time::Duration;

use api::{convert::time_to_wire, v1};
use model::DAY_MS;
use serde::Serialize;
use storage::warehouse::schema::DEFAULT_DATABASE;
use tokio::time::{Instant, sleep};

use super::{
    house::{APP, House, READER},
    read::{Ask, measure},
    stats::Times,
};
use crate::{connection::Query, error::LoadError};

/// Days that the tiles show; the copies lie in them, one after the other.
const DAYS: i64 = 30;
/// Whole days of the week that are copied: those that nothing but the week was sent for.
const COPIED_DAYS: i64 = 5;
const MINUTE_MS: i64 = 60_000;
const ROUNDS: i64 = 5;
/// How long it is waited for what makes the same question cheaper from now on.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// What was seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Dashboards {
    pub(crate) events: u64,
    /// All tiles one after the other, computed from the events.
    pub(crate) raw: Times,
    /// The same by whatever is kept beside the events, and nothing of an earlier answer.
    pub(crate) kept_beside: Times,
    /// How many tiles came from where at the last time.
    pub(crate) routes: Vec<(String, usize)>,
    /// Totals of the last 30 days up to now, computed from the events.
    pub(crate) window_raw: Times,
    /// The same when the window has moved on by a minute.
    pub(crate) window_moved: Times,
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

/// Every kind of measure by everything that people look at.
pub(crate) fn tiles(range: &v1::TimeRange) -> Vec<v1::TypedQuery> {
    const MEASURES: [&str; 5] = [
        "COUNT(*)",
        "COUNT(DISTINCT user_id)",
        "SUM(purchase_amount)",
        "AVG(load_time)",
        "PERCENTILE(0.95, load_time)",
    ];
    let mut tiles = Vec::new();
    for formula in MEASURES {
        for by in [None, Some("day"), Some("country"), Some("event_type")] {
            let dimension =
                by.filter(|by| *by != "day").map(|by| v1::Dimension { name: String::new(), expression: by.to_owned() });
            tiles.push(v1::TypedQuery {
                app_id: APP.to_owned(),
                measures: vec![measure("value", formula)],
                dimensions: dimension.into_iter().collect(),
                range: Some(*range),
                grain: if by == Some("day") { v1::Grain::Day.into() } else { 0 },
                ..Default::default()
            });
        }
    }
    tiles
}

/// From and up to these instants, UTC ms.
pub(crate) fn between(from_ms: i64, to_ms: i64) -> v1::TimeRange {
    v1::TimeRange { from: Some(time_to_wire(from_ms)), to: Some(time_to_wire(to_ms)), ..Default::default() }
}

/// Asks for the tiles, with and without what is kept beside the events.
pub(crate) async fn dashboards(client: &mut Query, now_ms: i64, events: u64) -> Result<Dashboards, LoadError> {
    let today_ms = now_ms.div_euclid(DAY_MS) * DAY_MS;
    let range = |days_ago: i64| {
        let to_ms = today_ms - days_ago * DAY_MS;
        between(to_ms - (DAYS - ROUNDS) * DAY_MS, to_ms)
    };
    let asked: Vec<_> = tiles(&range(0)).into_iter().map(|tile| Ask::Typed(Box::new(tile))).collect();
    until_cheaper(client, &asked).await?;
    let (mut raw, mut kept_beside, mut routes) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // Another day at each end: no answer is there yet.
        let tiles: Vec<_> = tiles(&range(round + 1)).into_iter().map(|tile| Ask::Typed(Box::new(tile))).collect();
        let anew: Vec<_> = tiles.iter().map(|tile| tile.anew(round as u32)).collect();
        raw.push(all(client, &anew).await?.0);
        let (time, by) = all(client, &tiles).await?;
        kept_beside.push(time);
        routes = by;
    }
    let mut counted: Vec<(String, usize)> = Vec::new();
    for route in routes {
        match counted.iter_mut().find(|(name, _)| *name == route.as_str_name()) {
            Some((_, n)) => *n += 1,
            None => counted.push((route.as_str_name().to_owned(), 1)),
        }
    }
    let (window_raw, window_moved) = window(client, now_ms).await?;
    Ok(Dashboards {
        events,
        raw: Times::of(raw),
        kept_beside: Times::of(kept_beside),
        routes: counted,
        window_raw,
        window_moved,
    })
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
    until_cheaper(client, &[total(first_ms)]).await?;
    let (mut raw, mut moved) = (Vec::new(), Vec::new());
    for round in 1..=2 * ROUNDS {
        let question = total(first_ms + round * MINUTE_MS);
        raw.push(all(client, &[question.anew(1_000 + round as u32)]).await?.0);
        moved.push(all(client, &[question]).await?.0);
    }
    Ok((Times::of(raw), Times::of(moved)))
}

/// Asks until no answer is computed from the events any more, or it has become clear that some always are.
async fn until_cheaper(client: &mut Query, questions: &[Ask]) -> Result<(), LoadError> {
    let end = Instant::now() + PATIENCE;
    let mut round = 0;
    while Instant::now() < end {
        let (_, routes) = all(client, questions).await?;
        if round > 3 && !routes.contains(&v1::Route::Raw) {
            break;
        }
        round += 1;
        sleep(POLL).await;
    }
    Ok(())
}

/// One after the other: how long it takes, and the routes.
async fn all(client: &mut Query, questions: &[Ask]) -> Result<(Duration, Vec<v1::Route>), LoadError> {
    let (started, mut routes) = (Instant::now(), Vec::new());
    for question in questions {
        routes.push(question.rows(client).await?.1);
    }
    Ok((started.elapsed(), routes))
}
