//! Many who ask at once: dashboards that are looked at, and somebody beside a flood.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use api::v1;
use load::{
    Times,
    open_loop::{self, Schedule},
};
use model::DAY_MS;
use serde::Serialize;
use storage::warehouse::schema::DEFAULT_DATABASE;
use tokio::{task::JoinSet, time::Instant};

use super::{
    dashboards::{between, tiles},
    house::{APP, House, READER},
    read::Ask,
    skew,
};
use crate::{
    connection::{Connection, Query},
    error::LoadError,
};

/// People who look at a dashboard, each with a connection of their own.
const USERS: usize = 2_000;
/// Tiles that they ask for a second, all together: each of them one in two seconds.
const TILES_PER_SECOND: u64 = 1_000;
/// Who asks for kept answers as fast as they come, and on how many connections.
const ASKERS: usize = 64;
const CONNECTIONS: usize = 4;
/// Questions under way in a flood.
const FLOOD: usize = 50;
const SMALL: &str = "small";
/// Of the small tenant's events.
const SMALL_EVENTS: u64 = 100_000;

/// What was seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Crowd {
    pub(crate) cached_per_second: f64,
    pub(crate) users: usize,
    pub(crate) tiles_per_second: u64,
    pub(crate) tiles: Times,
    pub(crate) errors: u64,
    pub(crate) interactive: Beside,
    pub(crate) small_tenant: Beside,
}

/// One's questions, none of them asked before, and what a flood of others' does to them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Beside {
    pub(crate) alone: Times,
    pub(crate) beside: Times,
    /// What of the flood was answered meanwhile.
    pub(crate) flood_answered: u64,
}

/// All of it, each for `seconds`.
pub(crate) async fn measure(house: &House, key: &str, now_ms: i64, seconds: u64) -> Result<Crowd, LoadError> {
    let span = Duration::from_secs(seconds);
    let today_ms = now_ms.div_euclid(DAY_MS) * DAY_MS;
    let week = [today_ms - 8 * DAY_MS, today_ms - DAY_MS];
    let tiles: Arc<[Ask]> = tiles(&between(week[0], week[1])).into();
    let connection = house.connect().await?.with_key(key)?;
    for tile in tiles.iter() {
        tile.kept(&mut connection.query()).await?;
    }
    let cached_per_second = as_fast_as_they_come(house, key, &tiles, span).await?;
    let (times, errors) = looked_at(house, key, &tiles, seconds).await?;

    // The heaviest tile, for a flood; a light one for who is beside it.
    let (heavy, light) = (&tiles[tiles.len() - 1], &tiles[1]);
    let background = Flood { question: heavy, priority: v1::Priority::Background };
    let interactive = beside(&connection, light, background, &connection, span).await?;
    let small = small_tenant(house, &connection, week).await?;
    let noisy = Flood { question: heavy, priority: v1::Priority::Interactive };
    let small_tenant = beside(&small, light, noisy, &connection, span).await?;
    let tiles_per_second = TILES_PER_SECOND;
    Ok(Crowd { cached_per_second, users: USERS, tiles_per_second, tiles: times, errors, interactive, small_tenant })
}

/// Kept answers a second.
async fn as_fast_as_they_come(house: &House, key: &str, tiles: &Arc<[Ask]>, span: Duration) -> Result<f64, LoadError> {
    let (started, mut askers) = (Instant::now(), JoinSet::new());
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(house.connect().await?.with_key(key)?);
    }
    for asker in 0..ASKERS {
        let (mut client, tiles) = (connections[asker % CONNECTIONS].query(), Arc::clone(tiles));
        askers.spawn(async move {
            let mut answers = 0u64;
            while started.elapsed() < span {
                tiles[(asker + answers as usize) % tiles.len()].rows(&mut client).await?;
                answers += 1;
            }
            Ok::<_, LoadError>(answers)
        });
    }
    let answers = askers.join_all().await.into_iter().sum::<Result<u64, _>>()?;
    Ok(answers as f64 / started.elapsed().as_secs_f64())
}

/// How long a tile takes from the time when somebody's dashboard wanted it, and how many failed.
async fn looked_at(house: &House, key: &str, tiles: &Arc<[Ask]>, seconds: u64) -> Result<(Times, u64), LoadError> {
    let mut users = Vec::new();
    for _ in 0..USERS {
        users.push(house.connect().await?.with_key(key)?);
    }
    let done = open_loop::run(Schedule::of(TILES_PER_SECOND, seconds), |call| {
        let (mut client, tiles) = (users[call as usize % USERS].query(), Arc::clone(tiles));
        async move {
            let answer = tiles[(call / USERS as u64 + call) as usize % tiles.len()].rows(&mut client).await;
            (answer.is_ok(), Instant::now())
        }
    });
    let (mut times, mut errors) = (Vec::new(), 0);
    for (due, (answered, at)) in done.await? {
        errors += u64::from(!answered);
        times.push(at - due);
    }
    Ok((Times::of(times), errors))
}

/// What is asked again and again, never twice the same.
struct Flood<'a> {
    question: &'a Ask,
    priority: v1::Priority,
}

/// One question after the other by itself, then while a flood comes from `others`.
async fn beside(
    one: &Connection,
    question: &Ask,
    flood: Flood<'_>,
    others: &Connection,
    span: Duration,
) -> Result<Beside, LoadError> {
    let number = Arc::new(AtomicU64::new(0));
    let alone = for_a_time(&mut one.query(), question, &number, span).await?;
    let (mut flooding, answered) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
    for _ in 0..FLOOD {
        let (mut client, question) = (others.query(), flood.question.clone());
        let (number, answered, priority) = (Arc::clone(&number), Arc::clone(&answered), flood.priority);
        flooding.spawn(async move {
            loop {
                let question = question.anew(next(&number));
                // A refusal is what a flood may get.
                let options = v1::ReadOptions { priority: priority.into(), ..Default::default() };
                if question.ask(&mut client, options).await.is_ok() {
                    answered.fetch_add(1, Ordering::Relaxed);
                } else {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    let beside = for_a_time(&mut one.query(), question, &number, span).await?;
    let flood_answered = answered.load(Ordering::Relaxed);
    flooding.shutdown().await;
    Ok(Beside { alone, beside, flood_answered })
}

async fn for_a_time(
    client: &mut Query,
    question: &Ask,
    number: &AtomicU64,
    span: Duration,
) -> Result<Times, LoadError> {
    let (started, mut times) = (Instant::now(), Vec::new());
    while started.elapsed() < span {
        let question = question.anew(next(number));
        let asked = Instant::now();
        question.rows(client).await?;
        times.push(asked.elapsed());
    }
    Ok(Times::of(times))
}

/// Not those of other questions of the run.
fn next(number: &AtomicU64) -> u32 {
    (1 << 20) + number.fetch_add(1, Ordering::Relaxed) as u32
}

/// A tenant with some of the large one's events of these times.
async fn small_tenant(
    house: &House,
    connection: &Connection,
    [from_ms, to_ms]: [i64; 2],
) -> Result<Connection, LoadError> {
    let operator = connection.with_key(&house.operator_key()?)?;
    let small = connection.with_key(&skew::tenant(&operator, SMALL).await?)?;
    // The events are chosen within, where their tenant is still their own: its name outside is the new one's.
    let statement = format!(
        "INSERT INTO events SELECT * REPLACE ('{SMALL}' AS tenant) FROM (SELECT * FROM events \
         WHERE tenant = '{READER}' AND app = '{APP}' AND ts >= fromUnixTimestamp64Milli({from_ms}, 'UTC') \
         AND ts < fromUnixTimestamp64Milli({to_ms}, 'UTC') LIMIT {SMALL_EVENTS})"
    );
    let warehouse = house.clickhouse(DEFAULT_DATABASE);
    warehouse.query(&statement).execute().await?;
    let counted = format!("SELECT count() FROM events WHERE tenant = '{SMALL}'");
    match warehouse.query(&counted).fetch_one::<u64>().await? {
        SMALL_EVENTS => Ok(small),
        _ => Err(LoadError::Incomplete("events of the small tenant")),
    }
}
