//! Acknowledgement and freshness at a fixed rate.

use std::time::Duration;

use api::raw::Batch;
use load::{
    Times, now_ms,
    open_loop::{self, Schedule},
};
use serde::Serialize;
use tokio::time::Instant;

use super::{
    house::{APP, House, Peaks, fresh},
    rows::Rows,
};
use crate::{connection::Connection, error::LoadError, publish::verdict};

/// Events in a call: what an SDK gathers in a moment.
pub(crate) const BATCH_EVENTS: u64 = 100;
/// How often freshness is asked for.
pub(crate) const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// What was seen at one rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) events_per_second: u64,
    pub(crate) events_in_a_call: u64,
    pub(crate) events: u64,
    /// From the time that a call was due to its acknowledgement.
    pub(crate) acknowledge: Times,
    /// From a call's acknowledgement to the first answer that includes its events.
    pub(crate) fresh: Times,
    pub(crate) peaks: Peaks,
}

/// When a call was acknowledged, and when an answer had its events, if it was asked.
pub(crate) struct Answered {
    pub(crate) acknowledged: Instant,
    pub(crate) fresh: Option<Instant>,
}

/// Publishes rows numbered from `first` on at a fixed rate for `seconds`.
pub(crate) async fn at_rate(
    house: &House,
    rows: &'static Rows,
    first: u64,
    events_per_second: u64,
    seconds: u64,
) -> Result<Latency, LoadError> {
    let schedule = Schedule::of(events_per_second / BATCH_EVENTS, seconds);
    let sample_every = (SAMPLE_EVERY.as_millis() as u64 * events_per_second / BATCH_EVENTS / 1000).max(1);
    // Questions go by a connection of their own: an answer shall not wait behind events.
    let (writer, reader) = (house.connect().await?, house.connect().await?);
    house.reset_peaks()?;
    let done = open_loop::run(schedule, |call| {
        let sampled = (call % sample_every == 0).then(|| reader.clone());
        publish(rows, first + call * BATCH_EVENTS, BATCH_EVENTS, writer.clone(), sampled)
    });
    let (mut acknowledge, mut freshness) = (Vec::new(), Vec::new());
    for (due, answered) in done.await? {
        let answered = answered?;
        acknowledge.push(answered.acknowledged - due);
        freshness.extend(answered.fresh.map(|at| at - answered.acknowledged));
    }
    Ok(Latency {
        events_per_second,
        events_in_a_call: BATCH_EVENTS,
        events: schedule.calls * BATCH_EVENTS,
        acknowledge: Times::of(acknowledge),
        fresh: Times::of(freshness),
        peaks: house.peaks()?,
    })
}

/// Publishes so many rows in one call, and has the reader, if there is one, ask until its answer includes them.
pub(crate) async fn publish(
    rows: &'static Rows,
    first: u64,
    events: u64,
    writer: Connection,
    reader: Option<Connection>,
) -> Result<Answered, LoadError> {
    let mut batch = Batch::new(APP);
    (first..first + events).for_each(|number| batch.push(&rows.get(number).into_event(now_ms())));
    let answer = writer.ingest().publish(batch.into_request()).await?.into_inner();
    let acknowledged = Instant::now();
    let (_, token) = verdict(answer.acknowledgement)?;
    let Some(reader) = reader else { return Ok(Answered { acknowledged, fresh: None }) };
    let sql = format!(
        "SELECT COUNT(*) AS events FROM events \
         WHERE app_id = '{APP}' AND event_type = 'signup' AND timestamp > now() - INTERVAL 1 MINUTE"
    );
    fresh(&reader, &sql, &token).await?;
    Ok(Answered { acknowledged, fresh: Some(Instant::now()) })
}
