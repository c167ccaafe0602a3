//! Questions through the gateway, and the very SQL they become sent to the engine directly, in turns.

use std::time::Duration;

use api::{
    convert::time_to_wire,
    v1::{self, explain_request},
};
use load::Times;
use model::{DAY_MS, HOUR_MS};
use serde::Serialize;
use storage::warehouse::QuerySettings;
use tokio::time::{Instant, sleep};

use super::house::{APP, House, READER};
use crate::{
    connection::{Connection, Query},
    error::LoadError,
};

/// Rounds, each with every question all three ways; fewer if time runs out, so that P99 is then the slowest.
const ROUNDS: u32 = 100;
const WARM_UP_ROUNDS: u32 = 3;
const LONGEST: Duration = Duration::from_secs(60);
/// Nobody waits for an answer to be kept.
const UNTIL_KEPT: Duration = Duration::from_millis(2);
const MOST_ASKED: u32 = 1_000;

/// One question, three ways.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Reading {
    pub(crate) question: &'static str,
    pub(crate) rows: usize,
    /// By gRPC through Penstock, for the first time.
    pub(crate) cold: Times,
    /// The compiled SQL, straight to the engine.
    pub(crate) direct: Times,
    /// How much longer the one took than the other in the same round, in the middle of all rounds, in ms: what slows the machine down for
    /// a while slows both. See [`more_ms`].
    pub(crate) more_ms: f64,
    /// By gRPC through Penstock, once the answer is kept.
    pub(crate) cached: Times,
}

/// A question.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Sql(String),
    Typed(Box<v1::TypedQuery>),
}

/// A question with the times so far.
struct Asked {
    name: &'static str,
    ask: Ask,
    rows: usize,
    cold: Vec<Duration>,
    direct: Vec<Duration>,
    cached: Vec<Duration>,
}

/// Asks everything in turns: whatever else the machine does meets all ways alike.
pub(crate) async fn questions(house: &House, connection: &Connection, now_ms: i64) -> Result<Vec<Reading>, LoadError> {
    let mut client = connection.query();
    let asked = |(name, ask)| Asked { name, ask, rows: 0, cold: Vec::new(), direct: Vec::new(), cached: Vec::new() };
    let mut all: Vec<_> = catalogue(now_ms).into_iter().map(asked).collect();
    let started = Instant::now();
    for round in 0..WARM_UP_ROUNDS + ROUNDS {
        if started.elapsed() > LONGEST {
            break;
        }
        for asked in &mut all {
            asked.all_ways(house, &mut client, round).await?;
            if round < WARM_UP_ROUNDS {
                asked.cold.clear();
                asked.direct.clear();
                asked.cached.clear();
            }
        }
    }
    let reading = |asked: Asked| Reading {
        question: asked.name,
        rows: asked.rows,
        more_ms: more_ms(&asked.cold, &asked.direct),
        cold: Times::of(asked.cold),
        direct: Times::of(asked.direct),
        cached: Times::of(asked.cached),
    };
    Ok(all.into_iter().map(reading).collect())
}

/// What the former took more than the latter in the middle of all rounds, in ms. Whoever comes second finds caches warm, and they take
/// turns in that: each order has a middle of its own, and what is between them is due to neither.
fn more_ms(former: &[Duration], latter: &[Duration]) -> f64 {
    let more = former.iter().zip(latter).map(|(one, other)| (one.as_secs_f64() - other.as_secs_f64()) * 1e3);
    let more: Vec<_> = more.collect();
    let middle = |first: usize| {
        let mut of_order: Vec<_> = more.iter().skip(first).step_by(2).copied().collect();
        of_order.sort_by(f64::total_cmp);
        of_order.get(of_order.len() / 2).copied().unwrap_or(0.0)
    };
    (middle(0) + middle(1)) / 2.0
}

impl Asked {
    /// Once each way; whether Penstock comes before the engine changes with the round.
    async fn all_ways(&mut self, house: &House, client: &mut Query, round: u32) -> Result<(), LoadError> {
        let ask = self.ask.anew(round);
        let direct = Direct::of(client, &ask).await?;
        let (mut through, mut around) = (0, 0);
        for way in [round % 2, (round + 1) % 2] {
            let started = Instant::now();
            if way == 0 {
                let (rows, route) = ask.rows(client).await?;
                self.cold.push(started.elapsed());
                if route == v1::Route::Cache {
                    return Err(LoadError::Incomplete("question that was never asked"));
                }
                through = rows;
            } else {
                around = direct.rows(house).await?;
                self.direct.push(started.elapsed());
            }
        }
        if through != around {
            return Err(LoadError::Incomplete("row that the engine returns"));
        }
        self.rows = through;
        self.cached.push(ask.kept(client).await?);
        Ok(())
    }
}

impl Ask {
    /// The same question in words that no cache knows: no event has this type.
    pub(crate) fn anew(&self, number: u32) -> Self {
        match self {
            Self::Sql(sql) => {
                Self::Sql(sql.replace(" GROUP BY ", &format!(" AND event_type <> 'none-{number}' GROUP BY ")))
            }
            Self::Typed(query) => {
                let mut query = query.clone();
                query.filters.push(filter("event_type", v1::FilterOp::Ne, &format!("none-{number}")));
                Self::Typed(query)
            }
        }
    }

    /// How many rows come, and by which route.
    pub(crate) async fn rows(&self, client: &mut Query) -> Result<(usize, v1::Route), LoadError> {
        let result = self.ask(client, v1::ReadOptions::default()).await?;
        let route = result.info.as_ref().map_or(v1::Route::Unspecified, v1::ResultInfo::route);
        Ok((result.rows.len(), route))
    }

    pub(crate) async fn ask(&self, client: &mut Query, options: v1::ReadOptions) -> Result<v1::Result, LoadError> {
        let options = Some(options);
        let result = match self {
            Self::Sql(sql) => {
                client
                    .sql(v1::SqlRequest { sql: sql.clone(), options, ..Default::default() })
                    .await?
                    .into_inner()
                    .result
            }
            Self::Typed(query) => {
                let query = Some(v1::TypedQuery::clone(query));
                client.query(v1::QueryRequest { query, options, ..Default::default() }).await?.into_inner().result
            }
        };
        result.ok_or(LoadError::Incomplete("result"))
    }

    /// How long the answer takes once it is kept.
    pub(crate) async fn kept(&self, client: &mut Query) -> Result<Duration, LoadError> {
        for _ in 0..MOST_ASKED {
            let started = Instant::now();
            if let (_, v1::Route::Cache) = self.rows(client).await? {
                return Ok(started.elapsed());
            }
            sleep(UNTIL_KEPT).await;
        }
        Err(LoadError::Incomplete("answer that is kept"))
    }
}

/// A question as the engine gets it.
struct Direct {
    sql: String,
    parameters: Vec<(String, String)>,
}

impl Direct {
    async fn of(client: &mut Query, ask: &Ask) -> Result<Self, LoadError> {
        let question = match ask {
            Ask::Sql(sql) => explain_request::Question::Sql(v1::SqlQuery { sql: sql.clone(), app_id: String::new() }),
            Ask::Typed(query) => explain_request::Question::Query(v1::TypedQuery::clone(query)),
        };
        let request = v1::ExplainRequest { question: Some(question), options: None, analyze: false };
        let v1::ExplainResponse { sql, parameters, .. } = client.explain(request).await?.into_inner();
        let mut parameters: Vec<(String, String)> = parameters.into_iter().collect();
        for place in places(&sql) {
            // Explain keeps the tenant to itself; nothing else is missing.
            if !parameters.iter().any(|(name, _)| *name == place) {
                parameters.push((place, READER.to_owned()));
            }
        }
        Ok(Self { sql, parameters })
    }

    async fn rows(&self, house: &House) -> Result<usize, LoadError> {
        let parameters: Vec<_> = self.parameters.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let rows = house.own_warehouse()?.select(&self.sql, &parameters, &QuerySettings::default())?;
        Ok(rows.collect().await?.len())
    }
}

/// The names of a statement's `{name:Type}` places.
fn places(sql: &str) -> Vec<String> {
    let inside = sql.split('{').skip(1).filter_map(|rest| rest.split('}').next()?.split_once(':'));
    inside.map(|(name, _)| name.trim().to_owned()).collect()
}

/// The seed's question, and what a dashboard shows.
fn catalogue(now_ms: i64) -> Vec<(&'static str, Ask)> {
    let before = |end_ms: i64, days: i64| {
        Some(v1::TimeRange {
            from: Some(time_to_wire(end_ms - days * DAY_MS)),
            to: Some(time_to_wire(end_ms)),
            ..v1::TimeRange::default()
        })
    };
    let last = |days| before(now_ms, days);
    // An answer without buckets is kept once all of its range has ended.
    let last_ended = |days| before(now_ms.div_euclid(HOUR_MS) * HOUR_MS, days);
    let by_type = v1::TypedQuery {
        app_id: APP.to_owned(),
        measures: vec![measure("events", "COUNT(*)")],
        dimensions: vec![dimension("event_type")],
        range: last(1),
        grain: v1::Grain::Hour.into(),
        ..Default::default()
    };
    let revenue = v1::TypedQuery {
        app_id: APP.to_owned(),
        measures: vec![measure("revenue_per_user", "SUM(purchase_amount) / COUNT(DISTINCT user_id)")],
        dimensions: vec![dimension("country")],
        filters: vec![equal("event_type", "purchase"), equal("status", "completed")],
        range: last(7),
        grain: v1::Grain::Day.into(),
        ..Default::default()
    };
    let pages = v1::TypedQuery {
        app_id: APP.to_owned(),
        measures: vec![
            measure("views", "COUNT(*)"),
            measure("average", "AVG(load_time)"),
            measure("slow", "PERCENTILE(0.95, load_time)"),
        ],
        dimensions: vec![dimension("page")],
        filters: vec![equal("event_type", "page_view")],
        range: last_ended(7),
        order_by: vec![v1::OrderBy { column: "views".to_owned(), descending: true }],
        limit: 10,
        ..Default::default()
    };
    vec![
        ("the seed's SQL", Ask::Sql(seed_sql(APP))),
        ("events by hour and type, 1 day", Ask::Typed(Box::new(by_type))),
        ("revenue per user by country and day", Ask::Typed(Box::new(revenue))),
        ("load times of the top pages, 7 days", Ask::Typed(Box::new(pages))),
    ]
}

pub(crate) fn measure(name: &str, formula: &str) -> v1::Measure {
    v1::Measure { name: name.to_owned(), formula: formula.to_owned(), unit: String::new() }
}

fn dimension(expression: &str) -> v1::Dimension {
    v1::Dimension { name: String::new(), expression: expression.to_owned() }
}

fn equal(field: &str, value: &str) -> v1::Filter {
    filter(field, v1::FilterOp::Eq, value)
}

fn filter(field: &str, op: v1::FilterOp, value: &str) -> v1::Filter {
    let value = v1::Value { kind: Some(v1::value::Kind::String(value.to_owned())) };
    v1::Filter { field: field.to_owned(), op: op.into(), values: vec![value] }
}

/// Active users, sessions and load times of paying users, by day and country.
fn seed_sql(app: &str) -> String {
    format!(
        "SELECT date_trunc('day', timestamp) as date, country, COUNT(DISTINCT user_id) as active_users, \
         AVG(session_duration) as avg_session, PERCENTILE(0.95, load_time) as p95_load_time \
         FROM events \
         WHERE app_id = '{app}' AND timestamp > now() - INTERVAL 30 DAY AND user_plan IN ('pro', 'enterprise') \
         GROUP BY date, country ORDER BY date DESC"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_slows_both_down_is_not_what_one_takes_more() {
        let ms = |times: [u64; 6]| times.map(Duration::from_millis);
        // Ten slower in the third round; the second of a pair takes three less.
        let more = more_ms(&ms([15, 12, 25, 12, 15, 12]), &ms([10, 13, 20, 13, 10, 13]));
        assert!((more - 2.0).abs() < 1e-9, "{more}");
    }

    #[test]
    fn a_statement_s_places_are_found() {
        assert_eq!(places("SELECT {a:String}, {b_1:Array(String)} FROM t WHERE x = {a:String}"), ["a", "b_1", "a"]);
        assert!(places("SELECT 1").is_empty());
    }
}
