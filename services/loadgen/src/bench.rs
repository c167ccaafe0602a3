//! Penstock measured, with what somebody would use instead beside it.
//!
//! One run on one machine, from an empty directory: the raw engine takes the rows, in Penstock's own format and by the ordinary
//! client ([`raw`]); a day of events is stored and weighed ([`stored`]); Penstock takes the rows ([`write`]); questions are asked through Penstock and around it ([`read`]); then
//! events come at a fixed rate while it is seen how long each waits ([`latency`]). All on the same engine, so the ratios hold
//! where the numbers don't. Every accepted event must be counted exactly once, or there is no result. Last, the engine multiplies
//! the events, and many look at their dashboards ([`dashboards`], [`crowd`]).

mod crowd;
mod dashboards;
mod house;
mod latency;
mod process;
mod raw;
mod read;
mod report;
mod rows;
mod skew;
pub(crate) mod soak;
mod stored;
mod victim;
mod write;

use std::{io::Write, path::Path};

use load::{
    Machine, now_ms,
    shop::{Density, KINDS, Users, Week, wire},
};
use storage::warehouse::{Cell, QuerySettings};
use tokio::time::Instant;

use crate::{
    args::{BenchArguments, Part},
    connection::Connection,
    error::LoadError,
    publish::identify,
};
use house::{APP, House, READER};
use report::Report;
use rows::Rows;

/// Rates at which waiting is measured, in events a second. The second is 2 billion a day; the third is about what two cores bear.
const RATES: [u64; 3] = [5_000, 23_000, 100_000];
/// Penstock gets so many times the rows: in a short burst it need not keep up, and the last block's wait counts for much.
const SUSTAINED: u64 = 5;
/// How often one by itself and one beside others are measured in turns: the 99th percentile of few calls is chance, and the
/// machine's mood changes.
const TURNS: usize = 3;

/// Measures, writes the file and prints the table.
pub(crate) async fn run(arguments: &BenchArguments, out: &mut impl Write) -> Result<(), LoadError> {
    let beside = arguments.out.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let dir = std::fs::create_dir_all(beside).and_then(|()| beside.canonicalize()).and_then(tempfile::tempdir_in);
    let dir = dir.map_err(LoadError::io(format!("can't make a directory in {}", beside.display())))?;
    let machine = Machine::here(Some(dir.path()));
    let house = House::start(dir.path()).await?;
    let report = measure(&house, arguments, machine, &mut |step| {
        let _ = writeln!(out, "{step} ..."); // the result is in the file too
    })
    .await?;
    house.stop().await?;
    let json = serde_json::to_vec_pretty(&report)
        .map_err(|e| LoadError::Io { what: "the report".to_owned(), source: e.into() })?;
    std::fs::write(&arguments.out, json).map_err(LoadError::io(arguments.out.display().to_string()))?;
    let text = format!("\n{}\nwritten to {}\n", report.table(), arguments.out.display());
    out.write_all(text.as_bytes()).map_err(LoadError::io("can't write to standard output"))
}

async fn measure(
    house: &House,
    arguments: &BenchArguments,
    machine: Machine,
    say: &mut impl FnMut(&str),
) -> Result<Report, LoadError> {
    let (started, count) = (Instant::now(), arguments.rows);
    // Tasks read the rows until the process ends.
    let rows: &'static Rows = Box::leak(Box::new(Rows::new(arguments.seed, count)));
    say("the engine alone");
    let (raw_native, raw_row_binary) = write::raw(house, rows, count).await?;

    let connection = house.connect().await?;
    identify(&connection.ingest(), rows.users(), APP).await?;
    // Before the measured ones: properties get registered, connections and caches warm.
    say("a day of events to weigh");
    let stored = stored::measure(house, &connection, rows.users(), arguments.seed, count / 2).await?;
    let mut counted = stored.events;
    house.reset_peaks()?;
    say("Penstock, end to end");
    let events = SUSTAINED * count;
    let penstock = write::end_to_end(house, &connection, rows, events, counted).await?;
    counted += events;
    let sustained_peaks = house.peaks()?;

    say("a week of events to ask about");
    let reader_key = skew::tenant(&connection.with_key(&house.operator_key()?)?, READER).await?;
    let reader = connection.with_key(&reader_key)?;
    let events_read = week(&reader, arguments.seed, 2 * count).await?;
    house.settle().await?;
    let mut readings = Vec::new();
    if arguments.measures(Part::Questions) {
        say("questions");
        readings = read::questions(house, &reader, now_ms()).await?;
    }
    let mut next = events;
    let mut latencies = Vec::new();
    for rate in RATES.into_iter().filter(|_| arguments.measures(Part::Waiting)) {
        say(&format!("{rate} events a second"));
        let latency = latency::at_rate(house, rows, next, rate, arguments.seconds).await?;
        next += latency.events;
        counted += latency.events;
        write::check(counted, caught_up(house, &connection, counted).await?)?;
        latencies.push(latency);
    }
    let mut skewed = None;
    if arguments.measures(Part::Skew) {
        say("one large tenant among many");
        let rate = arguments.sustained.unwrap_or(penstock.queryable_per_second);
        skewed = Some(skew::measure(house, rows, next, rate, arguments.seconds).await?);
    }
    let mut beside = None;
    if arguments.measures(Part::Victim) {
        say("one within its limits beside one at ten times its quota");
        beside = Some(victim::measure(house, rows, next, arguments.seconds).await?);
    }
    let now_ms = now_ms();
    let mut boards = None;
    if arguments.measures(Part::Dashboards) {
        say("a month of events for dashboards");
        let many = dashboards::fill(house, now_ms, arguments.dashboard_events).await?;
        say("dashboards");
        boards = Some(dashboards::dashboards(&mut reader.query(), now_ms, many).await?);
    }
    let mut crowded = None;
    if arguments.measures(Part::Crowd) {
        say("a crowd");
        crowded = Some(crowd::measure(house, &reader_key, now_ms, arguments.seconds).await?);
    }
    Ok(Report {
        machine,
        optimised: !cfg!(debug_assertions),
        engine: engine_version(house).await?,
        seed: arguments.seed,
        properties: 2 * KINDS,
        raw_native,
        raw_row_binary,
        penstock,
        stored,
        events_read,
        readings,
        latencies,
        skew: skewed,
        victim: beside,
        dashboards: boards,
        crowd: crowded,
        sustained_peaks,
        run_seconds: started.elapsed().as_secs_f64(),
    })
}

/// Publishes a natural week of its own users; returns how many events they are.
async fn week(connection: &Connection, seed: u64, events: u64) -> Result<u64, LoadError> {
    let seed = seed.wrapping_add(1);
    let users = Users::new(seed);
    identify(&connection.ingest(), &users, APP).await?;
    let now_ms = now_ms();
    let made = Week::new(seed, &users, events, Density::Natural).map(|made| {
        let id = wire::event_id(seed, made.number);
        wire::event(&made, users.get(made.user), &id, wire::time_in_last_week(&made, now_ms))
    });
    write::check(events, write::load(connection, made).await?)?;
    Ok(events)
}

/// How many events are counted once the pipeline has taken in what was acknowledged.
async fn caught_up(house: &House, connection: &Connection, accepted: u64) -> Result<u64, LoadError> {
    house::wait_for_count(connection, accepted).await?;
    house.settle().await?;
    house::count(connection, &[]).await
}

async fn engine_version(house: &House) -> Result<String, LoadError> {
    let rows = house.own_warehouse()?.select("SELECT version()", &[], &QuerySettings::default())?.collect().await?;
    match rows.into_iter().flatten().next() {
        Some(Cell::String(version)) => Ok(version),
        _ => Err(LoadError::Incomplete("version")),
    }
}
