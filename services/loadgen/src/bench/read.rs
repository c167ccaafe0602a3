//! Questions through the gateway, and the very SQL they become sent to the engine directly, in turns.

use std::time::Duration;

use api::{
    convert::time_to_wire,
    v1::{self, explain_request},
};
use model::DAY_MS;
use serde::Serialize;
use storage::warehouse::QuerySettings;
use tokio::time::Instant;

use super::{
    house::{APP, House, TENANT},
    stats::Times,
};
use crate::{
    connection::{Connection, Query},
    demo::seed_sql,
    error::LoadError,
};

/// Rounds, each with every question both ways; fewer if time runs out, so that P99 is then the slowest.
const ROUNDS: u32 = 100;
const WARM_UP_ROUNDS: u32 = 3;
const LONGEST: Duration = Duration::from_secs(60);

/// One question, both ways.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Reading {
    pub(crate) question: &'static str,
    pub(crate) rows: usize,
    /// By gRPC through Penstock.
    pub(crate) penstock: Times,
    /// The compiled SQL, straight to the engine.
    pub(crate) direct: Times,
}

enum Ask {
    Sql(String),
    Typed(Box<v1::TypedQuery>),
}

/// A question with its compiled SQL and the times so far.
struct Asked {
    name: &'static str,
    ask: Ask,
    sql: String,
    parameters: Vec<(String, String)>,
    rows: usize,
    penstock: Vec<Duration>,
    direct: Vec<Duration>,
}

/// Asks everything in turns: whatever else the machine does meets both ways alike.
pub(crate) async fn questions(house: &House, connection: &Connection, now_ms: i64) -> Result<Vec<Reading>, LoadError> {
    let mut client = connection.query();
    let mut all = Vec::new();
    for (name, ask) in catalogue(now_ms) {
        all.push(explain(&mut client, name, ask).await?);
    }
    let started = Instant::now();
    for round in 0..WARM_UP_ROUNDS + ROUNDS {
        if started.elapsed() > LONGEST {
            break;
        }
        for asked in &mut all {
            asked.both(house, &mut client, round).await?;
            if round < WARM_UP_ROUNDS {
                asked.penstock.clear();
                asked.direct.clear();
            }
        }
    }
    let reading = |asked: Asked| Reading {
        question: asked.name,
        rows: asked.rows,
        penstock: Times::of(asked.penstock),
        direct: Times::of(asked.direct),
    };
    Ok(all.into_iter().map(reading).collect())
}

impl Asked {
    /// Once each way; who comes first changes with the round.
    async fn both(&mut self, house: &House, client: &mut Query, round: u32) -> Result<(), LoadError> {
        let (mut through, mut around) = (0, 0);
        for way in [round % 2, (round + 1) % 2] {
            let started = Instant::now();
            if way == 0 {
                through = ask(client, &self.ask).await?;
                self.penstock.push(started.elapsed());
            } else {
                around = self.directly(house).await?;
                self.direct.push(started.elapsed());
            }
        }
        self.rows = through;
        if through == around { Ok(()) } else { Err(LoadError::Incomplete("row that the engine returns")) }
    }

    async fn directly(&self, house: &House) -> Result<usize, LoadError> {
        let parameters: Vec<_> = self.parameters.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let rows = house.own_warehouse()?.select(&self.sql, &parameters, &QuerySettings::default())?;
        Ok(rows.collect().await?.len())
    }
}

async fn ask(client: &mut Query, ask: &Ask) -> Result<usize, LoadError> {
    let result = match ask {
        Ask::Sql(sql) => {
            client.sql(v1::SqlRequest { sql: sql.clone(), ..Default::default() }).await?.into_inner().result
        }
        Ask::Typed(query) => {
            client
                .query(v1::QueryRequest { query: Some(v1::TypedQuery::clone(query)), ..Default::default() })
                .await?
                .into_inner()
                .result
        }
    };
    Ok(result.ok_or(LoadError::Incomplete("result"))?.rows.len())
}

async fn explain(client: &mut Query, name: &'static str, ask: Ask) -> Result<Asked, LoadError> {
    let question = match &ask {
        Ask::Sql(sql) => explain_request::Question::Sql(v1::SqlQuery { sql: sql.clone(), app_id: String::new() }),
        Ask::Typed(query) => explain_request::Question::Query(v1::TypedQuery::clone(query)),
    };
    let request = v1::ExplainRequest { question: Some(question), options: None };
    let v1::ExplainResponse { sql, parameters, .. } = client.explain(request).await?.into_inner();
    let mut parameters: Vec<(String, String)> = parameters.into_iter().collect();
    for place in places(&sql) {
        // Explain keeps the tenant to itself; nothing else is missing.
        if !parameters.iter().any(|(name, _)| *name == place) {
            parameters.push((place, TENANT.to_owned()));
        }
    }
    Ok(Asked { name, ask, sql, parameters, rows: 0, penstock: Vec::new(), direct: Vec::new() })
}

/// The names of a statement's `{name:Type}` places.
fn places(sql: &str) -> Vec<String> {
    let inside = sql.split('{').skip(1).filter_map(|rest| rest.split('}').next()?.split_once(':'));
    inside.map(|(name, _)| name.trim().to_owned()).collect()
}

/// The seed's question, and what a dashboard shows.
fn catalogue(now_ms: i64) -> Vec<(&'static str, Ask)> {
    let last = |days: i64| {
        Some(v1::TimeRange {
            from: Some(time_to_wire(now_ms - days * DAY_MS)),
            to: Some(time_to_wire(now_ms)),
            ..v1::TimeRange::default()
        })
    };
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
        range: last(7),
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

fn measure(name: &str, formula: &str) -> v1::Measure {
    v1::Measure { name: name.to_owned(), formula: formula.to_owned(), unit: String::new() }
}

fn dimension(expression: &str) -> v1::Dimension {
    v1::Dimension { name: String::new(), expression: expression.to_owned() }
}

fn equal(field: &str, value: &str) -> v1::Filter {
    let value = v1::Value { kind: Some(v1::value::Kind::String(value.to_owned())) };
    v1::Filter { field: field.to_owned(), op: v1::FilterOp::Eq.into(), values: vec![value] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_s_places_are_found() {
        assert_eq!(places("SELECT {a:String}, {b_1:Array(String)} FROM t WHERE x = {a:String}"), ["a", "b_1", "a"]);
        assert!(places("SELECT 1").is_empty());
    }
}
