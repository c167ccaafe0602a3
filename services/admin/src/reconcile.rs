//! Whether every event that the log has of an app is accounted for in the warehouse.
//!
//! Each offset of the log is in exactly one row: of the events, of the users, or of what doesn't count. (Where a user is erased, the
//! row that says so may stand beside the other for a while.) So whether anything is
//! missing shows by counting offsets, of all tenants together; only where some are missing is the log read, to see whose they are.
//! All of it is of offsets below those that were committed when it began, so what comes in meanwhile changes nothing.

use std::{collections::BTreeMap, ops::Range};

use api::{
    convert::{time_from_wire, time_to_wire},
    v1::{Difference, ReconcileRequest, ReconcileResponse, ReconciledHour, difference::Kind},
};
use eventlog::{EventLog, LogError};
use model::{
    AppId, DAY_MS, Error, HOUR_MS, Offset, PartitionId, TenantId,
    record::{self, Body},
};
use storage::warehouse::{Reason, schema::UNCOUNTED_DAYS};
use tracing::warn;

use crate::{
    account::{Account, BUCKET, Bucket},
    caller::Caller,
    service::{Admin, Ground, stored},
    wire::app_of,
};

/// How many hours one call may ask for.
const MOST_MS: i64 = 7 * DAY_MS;
/// How far apart the receipt of an event and its place in the log may be in time: an append's, and the clocks'.
pub(crate) const SLACK_MS: i64 = 5 * 60_000;
/// How many differences an answer names.
const MOST_DIFFERENCES: usize = 1_000;
/// How much of the log is read at once where offsets are missing.
const READ_RECORDS: usize = 4_096;
const READ_BYTES: usize = 4 << 20;

/// The app's events in these hours.
struct Question<'a> {
    tenant: &'a TenantId,
    app: &'a AppId,
    received: Range<i64>,
    /// Events that happened before may be gone because they were no longer kept.
    expired_ms: Option<i64>,
}

#[derive(Default)]
struct Findings {
    /// By hour and kind, the events there.
    differences: Vec<Difference>,
    /// By hour.
    hours: BTreeMap<i64, Found>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Found {
    missing: u64,
    doubled: u64,
    expired: u64,
}

impl Admin {
    pub(crate) async fn reconciliation(
        &self,
        caller: &Caller,
        request: &ReconcileRequest,
    ) -> Result<ReconcileResponse, Error> {
        let tenant = caller.tenant(&request.tenant_id)?;
        let app = app_of(caller, &request.app_id)?;
        let received = hours(request, (self.now_ms)())?;
        self.require_app(&tenant, &app).await?;
        let ground = self.ground()?;
        let log = &*ground.log;
        let (topic, partitions) = (ground.topic(), ground.placement().await?.partitions());
        let states = ground.ledger.partitions(&topic).await.map_err(stored)?;
        let state = |partition| states.iter().find(|state| state.partition == partition);
        let committed: Vec<Offset> =
            (0..partitions).map(|partition| state(partition).map_or(0, |state| state.committed)).collect();
        let settled_ms = (0..partitions).map(|p| state(p).map_or(0, |state| state.frontier_ms)).min();

        // Before the warehouse is asked: it is recorded before anything is deleted.
        let expired_ms = ground.ledger.expired_before(&tenant, &app).await.map_err(stored)?;
        let question = Question { tenant: &tenant, app: &app, received, expired_ms };
        let account = Account {
            warehouse: &ground.warehouse,
            incarnation: topic.incarnation,
            received: question.received.clone(),
        };
        let counts = account.counts(&tenant, &app, &committed).await?;
        let (ranges, checked_ms) = ranges(log, &committed, &question.received).await?;
        let findings = question.differences(ground, topic.incarnation, &ranges).await?;

        let mut hours: BTreeMap<i64, ReconciledHour> = BTreeMap::new();
        for start in question.received.clone().step_by(HOUR_MS as usize) {
            let Found { missing, doubled, expired } = findings.hours.get(&start).copied().unwrap_or_default();
            let start_time = Some(time_to_wire(start));
            let hour = ReconciledHour { start: start_time, missing, doubled, expired, ..Default::default() };
            hours.insert(start, hour);
        }
        for count in counts {
            let Some(hour) = hours.get_mut(&count.hour_ms) else { continue };
            match count.reason {
                None => hour.stored += count.rows,
                Some(Reason::Duplicate) => hour.duplicates += count.rows,
                Some(Reason::DeadLetter) => hour.dead_letters += count.rows,
                Some(Reason::Erased) => hour.erased += count.rows,
                // Nobody's, no event, or never accepted.
                Some(Reason::Damaged | Reason::ErasedIdentify | Reason::Misplaced) => {}
            }
        }
        for hour in hours.values_mut() {
            let rows = hour.stored + hour.duplicates + hour.dead_letters + hour.expired + hour.erased;
            hour.accepted = (rows + hour.missing).saturating_sub(hour.doubled);
        }
        Ok(ReconcileResponse {
            hours: hours.into_values().collect(),
            differences: findings.differences,
            settled_until: settled_ms.filter(|ms| *ms > 0).map(time_to_wire),
            checked_since: checked_ms.map(time_to_wire),
        })
    }
}

/// The whole hours of the request, UTC ms.
fn hours(request: &ReconcileRequest, now_ms: i64) -> Result<Range<i64>, Error> {
    let required = |field| Error::invalid(field, "REQUIRED", "must be an instant, as 2026-01-31T23:00:00Z");
    let instant = |field, time: &Option<_>| match time {
        Some(time) => time_from_wire(field, time),
        None => Err(required(field)),
    };
    let (from, to) = (instant("from", &request.from)?, instant("to", &request.to)?);
    let from = from.div_euclid(HOUR_MS) * HOUR_MS;
    let to = (to + HOUR_MS - 1).div_euclid(HOUR_MS) * HOUR_MS;
    if to <= from {
        return Err(Error::invalid("to", "MALFORMED", "must be after `from`"));
    }
    if to - from > MOST_MS {
        return Err(Error::invalid("to", "TOO_MANY", "must be at most 7 days after `from`"));
    }
    if now_ms - from > UNCOUNTED_DAYS * DAY_MS {
        let description =
            format!("must be at most {UNCOUNTED_DAYS} days ago: duplicates and dead letters are kept no longer");
        return Err(Error::invalid("from", "TOO_OLD", description));
    }
    Ok(from..to)
}

/// The offsets that may have been received in this time, by partition, as far as they are committed; and since when, if the log
/// doesn't go back that far.
pub(crate) async fn ranges(
    log: &dyn EventLog,
    committed: &[Offset],
    received: &Range<i64>,
) -> Result<(Vec<Range<Offset>>, Option<i64>), Error> {
    let (mut ranges, mut checked_ms) = (Vec::with_capacity(committed.len()), None);
    for (partition, committed) in committed.iter().enumerate() {
        let partition = partition as PartitionId;
        let first = log.first_since(partition, received.start - SLACK_MS).await.map_err(unreadable)?;
        let end = log.first_since(partition, received.end + SLACK_MS).await.map_err(unreadable)?.min(*committed);
        if let Err(LogError::Trimmed { begin, .. }) = log.read(partition, 0, 1, 1).await
            && begin >= first
        {
            let record = log.read(partition, begin, 1, 1).await.map_err(unreadable)?;
            checked_ms = checked_ms.max(record.first().map(|record| record.appended_ms));
        }
        ranges.push(first..end.max(first));
    }
    Ok((ranges, checked_ms))
}

impl Question<'_> {
    async fn differences(
        &self,
        ground: &Ground,
        incarnation: u64,
        ranges: &[Range<Offset>],
    ) -> Result<Findings, Error> {
        let received = self.received.start - 2 * SLACK_MS..self.received.end + 2 * SLACK_MS;
        let account = Account { warehouse: &ground.warehouse, incarnation, received };
        let buckets = account.buckets(ranges).await?;
        let buckets: BTreeMap<_, _> = buckets.into_iter().map(|b| ((b.partition, b.number), b)).collect();
        let mut findings = Findings::default();
        for (partition, range) in ranges.iter().enumerate() {
            let partition = partition as PartitionId;
            for number in range.start / BUCKET..range.end.div_ceil(BUCKET) {
                let of_bucket = range.start.max(number * BUCKET)..range.end.min((number + 1) * BUCKET);
                let empty = Bucket { partition, number, rows: 0, offsets: 0 };
                let found = buckets.get(&(partition, number)).copied().unwrap_or(empty);
                if found.offsets < of_bucket.end - of_bucket.start {
                    let there = account.offsets(partition, &of_bucket).await?;
                    for hole in holes(&of_bucket, &there) {
                        self.missing(&*ground.log, partition, hole, &mut findings).await?;
                    }
                }
                if found.rows > found.offsets {
                    for double in account.doubles(self.tenant, self.app, partition, &of_bucket).await? {
                        if self.received.contains(&double.received_ms) {
                            findings.add(Kind::Doubled, double.received_ms, partition, double.offset, double.more);
                        }
                    }
                }
            }
        }
        Ok(findings)
    }

    /// Reads what the warehouse doesn't have.
    async fn missing(
        &self,
        log: &dyn EventLog,
        partition: PartitionId,
        hole: Range<Offset>,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        let mut next = hole.start;
        while next < hole.end {
            let most = READ_RECORDS.min((hole.end - next) as usize);
            let records = match log.read(partition, next, most, READ_BYTES).await {
                // Let go of since it was looked for: nothing can be said of it.
                Err(LogError::Trimmed { begin, .. }) => {
                    next = begin;
                    continue;
                }
                records => records.map_err(unreadable)?,
            };
            let Some(last) = records.last() else { return Ok(()) };
            next = last.offset + 1;
            let mut properties = Vec::new();
            for entry in &records {
                let Ok(content) = record::decode(&entry.payload, &mut properties) else { continue };
                let ours = content.tenant == self.tenant.as_str() && content.app == self.app.as_str();
                let (Body::Event { timestamp_ms, .. } | Body::DeadLetter { timestamp_ms, .. }) = content.body else {
                    continue;
                };
                if !ours || !self.received.contains(&content.received_at_ms) {
                    continue;
                }
                match self.expired_ms {
                    Some(expired_ms) if timestamp_ms < expired_ms => findings.hour(content.received_at_ms).expired += 1,
                    _ => findings.add(Kind::Missing, content.received_at_ms, partition, entry.offset, 1),
                }
            }
        }
        Ok(())
    }
}

/// The ranges of offsets that aren't there.
fn holes(range: &Range<Offset>, there: &[Offset]) -> Vec<Range<Offset>> {
    let mut holes = Vec::new();
    let mut next = range.start;
    for offset in there.iter().copied().chain([range.end]) {
        if offset > next {
            holes.push(next..offset);
        }
        next = offset + 1;
    }
    holes
}

fn hour_of(ms: i64) -> i64 {
    ms.div_euclid(HOUR_MS) * HOUR_MS
}

impl Findings {
    fn hour(&mut self, received_ms: i64) -> &mut Found {
        self.hours.entry(hour_of(received_ms)).or_default()
    }

    fn add(&mut self, kind: Kind, received_ms: i64, partition: PartitionId, offset: Offset, events: u64) {
        let found = self.hour(received_ms);
        match kind {
            Kind::Doubled => found.doubled += events,
            _ => found.missing += events,
        }
        let hour = Some(time_to_wire(hour_of(received_ms)));
        let same = |d: &Difference| d.kind == kind as i32 && d.hour == hour && d.partition == partition;
        // Offsets come in order, so what belongs to a difference comes soon after it; hours may take turns.
        let near = |d: &&mut Difference| same(d) && offset - d.last_offset <= BUCKET;
        if let Some(difference) = self.differences.iter_mut().rev().take(4).find(near) {
            difference.last_offset = offset;
            difference.events += events;
        } else if self.differences.len() < MOST_DIFFERENCES {
            let (kind, first_offset, last_offset) = (kind.into(), offset, offset);
            self.differences.push(Difference { kind, hour, partition, first_offset, last_offset, events });
        }
    }
}

pub(crate) fn unreadable(error: LogError) -> Error {
    warn!(%error, "the event log can't be read");
    match error {
        LogError::Unavailable(_) => {
            Error::unavailable("the event log can't be read now", std::time::Duration::from_secs(1))
        }
        _ => Error::internal("the event log can't be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_what_lies_between() {
        assert_eq!(holes(&(3..9), &[3, 4, 7]), [5..7, 8..9]);
        assert!(holes(&(3..5), &[3, 4]).is_empty());
        assert_eq!(holes(&(3..9), &[]), vec![3..9]);
    }
}
