//! Writing as fast as it goes: the raw engine both ways, then Penstock from the client's event to the counted row.

use std::time::Duration;

use api::raw::Event;
use load::{now_ms, shop::KINDS};
use serde::Serialize;
use storage::warehouse::{Cell, QuerySettings, schema::DAILY_USERS_VIEW};
use tokio::time::Instant;

use super::{
    house::{APP, Cpu, House, count},
    raw,
    rows::Rows,
};
use crate::{
    connection::Connection,
    error::LoadError,
    publish::{self, Batches, Outcome},
};

/// Streams that send at once, and batches in flight on each.
const STREAMS: u64 = 2;
const IN_FLIGHT: usize = 8;
const NATIVE: &str = "bench_native";
const ROW_BINARY: &str = "bench_row_binary";

/// What a way of writing costs. CPU seconds run from the first row until the merges that follow have ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Raw {
    pub(crate) rows: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu: Cpu,
    /// Rows by the CPU time of client and engine.
    pub(crate) rows_per_cpu_second: f64,
}

/// The same of Penstock.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct EndToEnd {
    pub(crate) events: u64,
    pub(crate) cpu: Cpu,
    /// Events by the CPU time of all three processes.
    pub(crate) events_per_cpu_second: f64,
    /// Without the load generator's.
    pub(crate) events_per_cpu_second_of_penstock: f64,
    /// From the first event sent to the last acknowledgement.
    pub(crate) acknowledged_per_second: f64,
    /// From the first event sent until every acknowledged one is in the answers.
    pub(crate) queryable_per_second: f64,
}

/// Both ways of writing without Penstock: Native, then RowBinary. Each into a database of its own, which is gone afterwards.
pub(crate) async fn raw(house: &House, rows: &Rows, count: u64) -> Result<(Raw, Raw), LoadError> {
    let warm_up = raw::BLOCK_ROWS.min(count);
    let warehouse = house.warehouse(NATIVE)?;
    bare(house, NATIVE).await?;
    raw::native(&warehouse, rows, warm_up).await?;
    let native = measure(house, count, raw::native(&warehouse, rows, count)).await?;
    let native_rows = fingerprint(house, NATIVE).await?;
    drop_database(house, NATIVE).await?;

    bare(house, ROW_BINARY).await?;
    let client = house.clickhouse(ROW_BINARY);
    raw::row_binary(&client, rows, warm_up).await?;
    let row_binary = measure(house, count, raw::row_binary(&client, rows, count)).await?;
    let same = fingerprint(house, ROW_BINARY).await? == native_rows;
    drop_database(house, ROW_BINARY).await?;
    if same { Ok((native, row_binary)) } else { Err(LoadError::Incomplete("row that was inserted the other way")) }
}

/// The tables without what the product keeps beside them: rows and nothing else.
async fn bare(house: &House, database: &str) -> Result<(), LoadError> {
    house.warehouse(database)?.migrate().await?;
    Ok(house.clickhouse(database).query(&format!("DROP VIEW {DAILY_USERS_VIEW} SYNC")).execute().await?)
}

/// What the rows of a database hold, times aside: equal rows in any order give the same.
async fn fingerprint(house: &House, database: &str) -> Result<Vec<Vec<Cell>>, LoadError> {
    let slots = (0..KINDS).map(|i| format!("n{i}")).chain((0..KINDS).map(|i| format!("s{i}"))).collect::<Vec<_>>();
    let statement = format!(
        "SELECT toString(count()), toString(sum(cityHash64(tenant, app, event, user, event_id, country, plan, {}))) FROM events",
        slots.join(", ")
    );
    Ok(house.warehouse(database)?.select(&statement, &[], &QuerySettings::default())?.collect().await?)
}

async fn drop_database(house: &House, name: &str) -> Result<(), LoadError> {
    Ok(house.clickhouse("default").query(&format!("DROP DATABASE {name} SYNC")).execute().await?)
}

async fn measure(
    house: &House,
    rows: u64,
    work: impl Future<Output = Result<(), LoadError>>,
) -> Result<Raw, LoadError> {
    house.settle().await?;
    let (before, started) = (house.cpu()?, Instant::now());
    work.await?;
    let seconds = started.elapsed().as_secs_f64();
    house.settle().await?;
    let cpu = house.cpu()?.since(before);
    let rows_per_cpu_second = per_second(rows, cpu.client_s + cpu.warehouse_s);
    Ok(Raw { rows, seconds, cpu, rows_per_cpu_second })
}

/// Publishes the first rows and waits until all are counted: `counted_before` and `events`.
pub(crate) async fn end_to_end(
    house: &House,
    connection: &Connection,
    rows: &'static Rows,
    events: u64,
    counted_before: u64,
) -> Result<EndToEnd, LoadError> {
    house.settle().await?;
    let (before, started) = (house.cpu()?, Instant::now());
    let mut streams = tokio::task::JoinSet::new();
    for stream in 0..STREAMS {
        let (from, to) = (events * stream / STREAMS, events * (stream + 1) / STREAMS);
        let client = house.connect().await?.ingest();
        let batches = Batches::new(APP, (from..to).map(|number| rows.get(number).into_event(now_ms())));
        streams.spawn(publish::stream(client, batches, IN_FLIGHT, |_| {}));
    }
    let outcomes = streams.join_all().await.into_iter().collect::<Result<Vec<Outcome>, _>>()?;
    let finished = outcomes.iter().map(|outcome| outcome.finished).max().unwrap_or(started);
    let tokens: Vec<_> = outcomes.into_iter().flat_map(|outcome| outcome.tokens).collect();
    let counted = count(connection, &tokens).await?;
    let queryable = started.elapsed();
    house.settle().await?;
    let cpu = house.cpu()?.since(before);
    check(counted_before + events, counted)?;
    let per = |time: Duration| per_second(events, time.as_secs_f64());
    Ok(EndToEnd {
        events,
        cpu,
        events_per_cpu_second: per_second(events, cpu.client_s + cpu.server_s + cpu.warehouse_s),
        events_per_cpu_second_of_penstock: per_second(events, cpu.server_s + cpu.warehouse_s),
        acknowledged_per_second: per(finished - started),
        queryable_per_second: per(queryable),
    })
}

/// Publishes events that are there for the questions alone; returns how many of the app's are counted then.
pub(crate) async fn load(connection: &Connection, events: impl Iterator<Item = Event>) -> Result<u64, LoadError> {
    let outcome = publish::stream(connection.ingest(), Batches::new(APP, events), IN_FLIGHT, |_| {}).await?;
    count(connection, &outcome.tokens).await
}

/// Nothing is worth measuring that loses events or counts them twice.
pub(crate) fn check(accepted: u64, counted: u64) -> Result<(), LoadError> {
    if accepted == counted { Ok(()) } else { Err(LoadError::Miscounted { accepted, counted }) }
}

fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds.max(f64::EPSILON)
}
