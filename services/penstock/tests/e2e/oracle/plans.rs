//! Random plans: what is asked in SQL and as typed queries is answered alike by every route, and as by another engine.
//!
//! - `PENSTOCK_PLANS`: how many plans there are.
//! - `PENSTOCK_SEED`: what they and the events are made from; a random one otherwise. Every run prints it.
//!
//! With neither, there are 2,000, the same every time: no build fails for what it did not change. `make verify` draws others. Only those about the
//! last year move on with the date.

mod data;
mod expr;
mod measure;
mod sql;
mod times;
mod typed;

use std::{collections::HashMap, time::Instant};

use api::v1::{self, ReadOptions, Route};
use futures::StreamExt;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use storage::conformance::stand::ClickHouse;

use super::{
    Rows,
    answer::{Bound, difference},
    client::{Client, authorized},
    duckdb,
};
use crate::{
    house::{House, PATIENCE},
    load::seed,
};

const APP: &str = "made";
/// How many plans there are.
const PLANS: usize = 2_000;
/// How many of them are asked at once.
const AT_ONCE: usize = 4;
/// How many are handed to the other engine at once.
const BATCH: usize = 500;
/// Rows that the house gives at most: an answer of more is not held against another.
const MOST_ROWS: usize = 10_000;
/// The differences that are looked into.
const TOLD: usize = 5;

#[derive(Debug, Clone)]
enum Plan {
    Sql(sql::Sql),
    Typed(typed::Typed),
}

/// A plan in the words of both engines.
struct Asked {
    zone: &'static str,
    ours: Question,
    theirs: String,
    any_order: bool,
    bounds: Vec<(usize, Bound)>,
}

#[derive(Debug, Clone)]
pub enum Question {
    Sql(String),
    Typed(Box<v1::TypedQuery>),
}

#[tokio::test(flavor = "multi_thread")]
async fn random_plans_are_answered_alike_by_every_route() {
    let (seed, plans) = drawn();
    answered_alike(House::start().await, seed, plans).await;
}

/// Fewer of them, of a warehouse of three servers: what reads over shards is the same statement.
#[tokio::test(flavor = "multi_thread")]
async fn random_plans_are_answered_alike_over_shards() {
    let (seed, plans) = drawn();
    let servers = ClickHouse::shards(3);
    answered_alike(House::on_shards(&servers, "").await, seed, plans / 20).await;
}

/// Fewer of them, about the last year: of what lies further back no states are kept.
#[tokio::test(flavor = "multi_thread")]
async fn random_plans_are_answered_alike_from_states() {
    let (seed, plans) = drawn();
    let plans = plans / 100;
    let mut random = StdRng::seed_from_u64(seed);
    let world = World::new(House::start_with("[query.states]\nshapes = 10000\n").await).await;
    let mut known = data::Known::of_last_year();
    let mut token = world.send(known.more(&mut random, 2_500)).await;
    let drawn = std::iter::repeat_with(|| Plan::random(&mut random).moved(known.later_ms));
    let of_last_year: Vec<_> = drawn.filter(Plan::moves).take(plans).collect();
    let mut told = Told::default();
    for late in [0, 100] {
        // What was kept of an hour is no longer so once a late event has changed it.
        if late > 0 {
            token = world.send(known.more(&mut random, late)).await;
        }
        let tables = known.tables(world.files.path());
        let (started, wanted) = (Instant::now(), told.answered(Route::States) + plans);
        // Each time about a minute later, so that it isn't the answer that is kept.
        for minute in 0.. {
            let moved: Vec<_> = of_last_year.iter().map(|plan| plan.moved(minute * 60_000)).collect();
            world.compare(&moved, &tables, &token, &mut told).await;
            if told.answered(Route::States) >= wanted || !told.differ.is_empty() {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "of seed {seed}, too few are answered from states: {told:?}");
        }
    }
    told.assert_alike(seed);
}

async fn answered_alike(house: House, seed: u64, plans: usize) {
    let mut random = StdRng::seed_from_u64(seed);
    let world = World::new(house).await;
    let mut known = data::Known::default();
    let mut token = world.send(known.more(&mut random, 2_500)).await;
    let mut told = Told::default();
    let mut left = plans;
    while left > 0 {
        let plans: Vec<Plan> = (0..left.min(BATCH)).map(|_| Plan::random(&mut random)).collect();
        left -= plans.len();
        let tables = known.tables(world.files.path());
        world.compare(&plans, &tables, &token, &mut told).await;
        // What was kept must not be told once late events have changed it.
        token = world.send(known.more(&mut random, 100)).await;
        let again: Vec<Plan> = plans.into_iter().step_by(5).collect();
        let tables = known.tables(world.files.path());
        world.compare(&again, &tables, &token, &mut told).await;
        if told.differ.len() >= TOLD {
            break;
        }
    }
    told.assert_alike(seed);
    assert!(told.too_large * 50 <= plans, "{} plans of {plans} have too many rows", told.too_large);
    for (route, share) in [(Route::Raw, 2), (Route::Rollup, 100), (Route::Cache, 5)] {
        let answers = told.answered(route);
        assert!(answers * share >= plans, "{route:?} answered {answers} times in {plans} plans");
    }
}

/// The seed and the number of plans.
fn drawn() -> (u64, usize) {
    match (std::env::var("PENSTOCK_SEED"), std::env::var("PENSTOCK_PLANS")) {
        (Err(_), Err(_)) => (1, PLANS),
        (_, Err(_)) => (seed(), PLANS),
        (_, Ok(plans)) => (seed(), plans.parse().unwrap()),
    }
}

/// What came of it.
#[derive(Debug, Default)]
struct Told {
    routes: HashMap<Route, usize>,
    rows: usize,
    too_large: usize,
    differ: Vec<String>,
}

impl Told {
    fn answered(&self, route: Route) -> usize {
        self.routes.get(&route).copied().unwrap_or(0)
    }

    fn assert_alike(&self, seed: u64) {
        println!("{self:?}");
        let (differ, plans) = (self.differ.len(), self.differ.join("\n\n"));
        assert!(differ == 0, "of seed {seed}, {differ} plans differ:\n\n{plans}");
    }
}

struct World {
    house: House,
    client: Client,
    files: tempfile::TempDir,
}

impl Plan {
    fn random(random: &mut StdRng) -> Self {
        match random.random_bool(0.5) {
            true => Self::Sql(sql::Sql::random(random)),
            false => Self::Typed(typed::Typed::random(random)),
        }
    }

    fn asked(&self) -> Asked {
        match self {
            Self::Sql(sql) => sql.asked(),
            Self::Typed(typed) => typed.asked(),
        }
    }

    /// The same about times that lie so many ms later, as far as it is about times.
    fn moved(&self, ms: i64) -> Self {
        match self {
            Self::Sql(sql) => Self::Sql(sql.moved(ms)),
            Self::Typed(typed) => Self::Typed(typed.moved(ms)),
        }
    }

    /// Whether it is about times that can be moved.
    fn moves(&self) -> bool {
        self.moved(1).asked().theirs != self.asked().theirs
    }

    fn smaller(&self) -> Vec<Self> {
        match self {
            Self::Sql(sql) => sql.smaller().into_iter().map(Self::Sql).collect(),
            Self::Typed(typed) => typed.smaller().into_iter().map(Self::Typed).collect(),
        }
    }
}

impl World {
    async fn new(house: House) -> Self {
        let key = house.tenant("makers", APP, &["ingest", "backfill", "query"]).await;
        let client = Client { channel: house.channel().await, key };
        Self { house, client, files: tempfile::tempdir().unwrap() }
    }

    /// Sends all of it; the token of the last acknowledgement, which holds by then.
    async fn send(&self, data: data::Data) -> String {
        let Client { channel, key } = &self.client;
        let mut service = v1::ingest_service_client::IngestServiceClient::new(channel.clone());
        for user in data.users {
            service.identify(authorized(key, user)).await.unwrap();
        }
        let mut token = String::new();
        for events in data.events.chunks(500) {
            let request = v1::PublishRequest { app_id: APP.to_owned(), events: events.to_vec(), ..Default::default() };
            let acknowledgement = service.publish(authorized(key, request)).await.unwrap().into_inner().acknowledgement;
            let acknowledgement = acknowledgement.unwrap();
            assert_eq!(acknowledgement.accepted as usize, events.len(), "{acknowledgement:?}");
            token = acknowledgement.position_token;
        }
        let count = self.house.sql(key, "SELECT COUNT(*) FROM events", &token).await;
        assert!(count[0][0].as_i64() >= Some(data.events.len() as i64), "{count:?}");
        // Few events in many parts would cost each plan more than everything else.
        for table in ["events", "daily_users"] {
            self.house.each_warehouse(&format!("OPTIMIZE TABLE {table} FINAL")).await;
        }
        token
    }

    async fn compare(&self, plans: &[Plan], tables: &[String], token: &str, told: &mut Told) {
        let asked: Vec<_> = plans.iter().map(Plan::asked).collect();
        let theirs = duckdb(tables, asked.iter().map(|asked| (asked.zone, asked.theirs.clone())));
        let ours = plans.iter().zip(&asked).map(|(plan, asked)| self.by_every_route(plan, asked, token));
        let ours: Vec<_> = futures::stream::iter(ours).buffered(AT_ONCE).collect().await;
        for (((plan, asked), theirs), ours) in plans.iter().zip(&asked).zip(theirs).zip(ours) {
            let rows = theirs.as_ref().map_or(0, Vec::len);
            told.rows += rows;
            told.too_large += usize::from(rows > MOST_ROWS);
            for (route, _) in ours.iter().flatten() {
                *told.routes.entry(*route).or_default() += 1;
            }
            if let Some(why) = differs(asked, &theirs, &ours)
                && told.differ.len() < TOLD
            {
                let text = self.least(plan.clone(), tables, token).await;
                told.differ.push(text.unwrap_or_else(|| {
                    format!("{:?} ({})\n  {}\n  once, and not again: {why}", asked.ours, asked.zone, asked.theirs)
                }));
            }
        }
    }

    /// The answers, each with where it came from: that which is best, what was kept of it, and that of the events.
    async fn by_every_route(&self, plan: &Plan, asked: &Asked, token: &str) -> Result<Vec<(Route, Rows)>, String> {
        // What it has in common with this is kept, and the rest computed.
        if plan.moves() {
            let before = plan.moved(-7 * 3_600_000).asked();
            self.ask(&before, Route::Unspecified, token).await?;
        }
        let mut answers: Vec<(Route, Rows)> = Vec::new();
        for how in ["once", "twice"] {
            let answer = self.ask(asked, Route::Unspecified, token).await.map_err(|why| format!("{how}: {why}"))?;
            answers.push(answer);
        }
        if answers.iter().all(|(route, _)| *route != Route::Raw) {
            answers.push(self.ask(asked, Route::Raw, token).await?);
        }
        Ok(answers)
    }

    async fn ask(&self, asked: &Asked, route: Route, token: &str) -> Result<(Route, Rows), String> {
        let options = ReadOptions {
            position_token: token.to_owned(),
            max_wait_ms: 30_000,
            time_zone: asked.zone.to_owned(),
            route: route.into(),
            ..ReadOptions::default()
        };
        self.client.ask(&asked.ours, options).await.map_err(|status| format!("refused: {}", status.message()))
    }

    /// The smallest plan found that differs still, and how; none if this one differs no longer.
    async fn least(&self, mut plan: Plan, tables: &[String], token: &str) -> Option<String> {
        let mut tries = 80;
        let mut why = self.difference(&plan, tables, token).await?;
        'smaller: loop {
            for smaller in plan.smaller() {
                tries -= 1;
                if tries == 0 {
                    break 'smaller;
                }
                if let Some(less) = self.difference(&smaller, tables, token).await {
                    (plan, why) = (smaller, less);
                    continue 'smaller;
                }
            }
            break;
        }
        let asked = plan.asked();
        Some(format!("{:?} ({})\n  {}\n  {why}", asked.ours, asked.zone, asked.theirs))
    }

    async fn difference(&self, plan: &Plan, tables: &[String], token: &str) -> Option<String> {
        let asked = plan.asked();
        let theirs = duckdb(tables, std::iter::once((asked.zone, asked.theirs.clone()))).remove(0);
        differs(&asked, &theirs, &self.by_every_route(plan, &asked, token).await)
    }
}

/// How an answer differs from the other engine's.
fn differs(asked: &Asked, theirs: &Result<Rows, String>, ours: &Result<Vec<(Route, Rows)>, String>) -> Option<String> {
    let (theirs, ours) = match (theirs, ours) {
        (Err(why), _) => return Some(format!("the other engine: {why}")),
        (_, Err(why)) => return Some(why.clone()),
        (Ok(theirs), Ok(_)) if theirs.len() > MOST_ROWS => return None,
        (Ok(theirs), Ok(ours)) => (theirs, ours),
    };
    ours.iter().find_map(|(route, rows)| {
        let difference = difference(rows.clone(), theirs.clone(), asked.any_order, &asked.bounds)?;
        Some(format!("by {route:?}: {difference}"))
    })
}

/// A span of event times, UTC ms: of some hours or of months, of whole hours mostly.
fn range(random: &mut StdRng) -> (i64, i64) {
    const HOUR_MS: i64 = 3_600_000;
    let hours = [30, 24 * 7, 24 * 45, 24 * 400][random.random_range(0..4)];
    let from = data::day_ms(random) + random.random_range(-24..24) * HOUR_MS;
    let odd = if random.random_bool(0.3) { random.random_range(0..HOUR_MS) } else { 0 };
    (from + odd, from + random.random_range(1..hours) * HOUR_MS)
}
