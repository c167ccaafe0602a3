//! Ranges of the log to put into the warehouse anew: asked for here, and done by the pipeline.

use api::{
    convert::{time_from_wire, time_to_wire},
    v1::{
        self, CancelReplayRequest, CancelReplayResponse, GetReplayRequest, GetReplayResponse, ListReplaysRequest,
        ListReplaysResponse, StartReplayRequest, StartReplayResponse, replay::State,
    },
};
use eventlog::{EventLog, LogError};
use jiff::Timestamp;
use model::{Error, ErrorCode, Offset, PartitionId};
use storage::{LogRange, MetaError, Replay, ReplayRequest, ReplayState};
use tracing::info;

use crate::{
    caller::Caller,
    check::{self, before, page_token},
    reconcile::{SLACK_MS, ranges, unreadable},
    service::{Admin, stored},
};

/// How many ranges one replay may have.
const MOST_RANGES: usize = 1_000;

impl Admin {
    pub(crate) async fn ask_replay(
        &self,
        caller: &Caller,
        request: &StartReplayRequest,
    ) -> Result<StartReplayResponse, Error> {
        caller.require_operator()?;
        let wanted = Wanted::of(request)?;
        let ground = self.ground()?;
        let log = &*ground.log;
        let (topic, partitions) = (ground.topic(), ground.placement().await?.partitions());
        let states = ground.ledger.partitions(&topic).await.map_err(stored)?;
        let state = |partition| states.iter().find(|state| state.partition == partition);
        let committed: Vec<Offset> =
            (0..partitions).map(|partition| state(partition).map_or(0, |state| state.committed)).collect();
        let ranges = match wanted {
            Wanted::Received { from_ms, to_ms } => received(log, &committed, from_ms, to_ms).await?,
            Wanted::Offsets(ranges) => {
                check_ranges(log, &committed, &ranges).await?;
                ranges
            }
        };
        let request = ReplayRequest {
            id: format!("{:032x}", rand::random::<u128>()),
            topic,
            ranges,
            requested_at_ms: (self.now_ms)(),
            requested_by: caller.key_id().to_owned(),
        };
        let acting = self.acting(caller, "AdminService/StartReplay");
        let replay = acting.request_replay(request).await.map_err(stored)?;
        info!(by = caller.key_id(), replay = replay.request.id, ranges = ?replay.request.ranges, "a replay is to be done");
        Ok(StartReplayResponse { replay: Some(to_wire(replay)) })
    }

    pub(crate) async fn replay(&self, caller: &Caller, request: &GetReplayRequest) -> Result<GetReplayResponse, Error> {
        caller.require_operator()?;
        Ok(GetReplayResponse { replay: Some(to_wire(self.known_replay(&request.replay_id).await?)) })
    }

    pub(crate) async fn replays(
        &self,
        caller: &Caller,
        request: &ListReplaysRequest,
    ) -> Result<ListReplaysResponse, Error> {
        caller.require_operator()?;
        let page_size = check::page_size(request.page_size)?;
        let before = before(&request.page_token)?;
        let mut page = self.ground()?.replays.replays(before, page_size + 1).await.map_err(stored)?;
        let there_is_more = page.len() > page_size as usize;
        page.truncate(page_size as usize);
        let last = page.last().filter(|_| there_is_more).map(|last| &last.request);
        let next_page_token = last.map_or_else(String::new, |last| page_token(last.requested_at_ms, &last.id));
        Ok(ListReplaysResponse { replays: page.into_iter().map(to_wire).collect(), next_page_token })
    }

    pub(crate) async fn stop_replay(
        &self,
        caller: &Caller,
        request: &CancelReplayRequest,
    ) -> Result<CancelReplayResponse, Error> {
        caller.require_operator()?;
        let known = self.known_replay(&request.replay_id).await?;
        let acting = self.acting(caller, "AdminService/CancelReplay");
        let replay = match acting.cancel_replay(&known.request.id).await {
            // It is finished: again changes nothing.
            Err(MetaError::Conflict(_)) => self.known_replay(&request.replay_id).await?,
            cancelled => cancelled.map_err(stored)?,
        };
        info!(by = caller.key_id(), replay = replay.request.id, "a replay is to be cancelled");
        Ok(CancelReplayResponse { replay: Some(to_wire(replay)) })
    }

    async fn known_replay(&self, id: &str) -> Result<Replay, Error> {
        let id = check::given_id("replay_id", id, "StartReplay")?;
        let replay = self.ground()?.replays.replay(id).await.map_err(stored)?;
        replay.ok_or_else(|| Error::new(ErrorCode::NotFound, "there is no such replay"))
    }
}

/// What is asked for, as far as the request alone can say it.
#[derive(Debug, PartialEq)]
enum Wanted {
    Received { from_ms: i64, to_ms: i64 },
    Offsets(Vec<LogRange>),
}

impl Wanted {
    fn of(request: &StartReplayRequest) -> Result<Self, Error> {
        if request.ranges.is_empty() {
            let instant = |field, time: &Option<_>| match time {
                Some(time) => time_from_wire(field, time),
                None => Err(Error::invalid(
                    field,
                    "REQUIRED",
                    "must be an instant, as 2026-01-31T23:00:00Z, unless there are `ranges`",
                )),
            };
            let (from_ms, to_ms) = check::both(instant("from", &request.from), instant("to", &request.to))?;
            if to_ms <= from_ms {
                return Err(Error::invalid("to", "MALFORMED", "must be after `from`"));
            }
            return Ok(Self::Received { from_ms, to_ms });
        }
        if request.from.is_some() || request.to.is_some() {
            let description = "must be empty where `from` and `to` say what is to be replayed";
            return Err(Error::invalid("ranges", "NOT_ALLOWED", description));
        }
        if request.ranges.len() > MOST_RANGES {
            let description = format!("must be at most {MOST_RANGES}, not {}", request.ranges.len());
            return Err(Error::invalid("ranges", "TOO_MANY", description));
        }
        let mut ranges: Vec<LogRange> = Vec::with_capacity(request.ranges.len());
        for (i, range) in request.ranges.iter().enumerate() {
            let v1::LogRange { partition, first_offset: first, last_offset: last } = *range;
            let wrong = |name: &str, rule, what| Err(Error::invalid(format!("ranges[{i}].{name}"), rule, what));
            if last < first {
                return wrong("last_offset", "MALFORMED", "must not be before `first_offset`");
            }
            let Some(end) = last.checked_add(1).filter(|end| i64::try_from(*end).is_ok()) else {
                return wrong("last_offset", "OUT_OF_RANGE", "must be below 2^63 - 1");
            };
            let overlaps = |other: &LogRange| other.partition == partition && first < other.end && other.first < end;
            if ranges.iter().any(overlaps) {
                return wrong("first_offset", "OVERLAPPING", "must not be in an earlier one of the ranges");
            }
            ranges.push(LogRange { partition, first, end });
        }
        Ok(Self::Offsets(ranges))
    }
}

/// At least all that was received in this time, as far as it is committed.
async fn received(log: &dyn EventLog, committed: &[Offset], from_ms: i64, to_ms: i64) -> Result<Vec<LogRange>, Error> {
    let (ranges, checked_ms) = ranges(log, committed, &(from_ms..to_ms)).await?;
    if let Some(begin_ms) = checked_ms.filter(|begin_ms| *begin_ms > from_ms) {
        // To the second after it.
        let begin =
            Timestamp::from_second(begin_ms.div_euclid(1000) + 1).map_err(|e| Error::internal(e.to_string()))?;
        let description = format!("must not be before {begin}: the log has let go of what came earlier");
        return Err(Error::invalid("from", "TOO_OLD", description));
    }
    let ranges = (0..).zip(ranges).filter(|(_, range)| !range.is_empty());
    let ranges: Vec<_> =
        ranges.map(|(partition, range)| LogRange { partition, first: range.start, end: range.end }).collect();
    if ranges.is_empty() {
        let minutes = SLACK_MS / 60_000;
        let description = format!("nothing that is stored was received then, or {minutes} minutes before or after");
        return Err(Error::invalid("from", "EMPTY", description));
    }
    Ok(ranges)
}

/// That each of them is there, in the log and in the warehouse.
async fn check_ranges(log: &dyn EventLog, committed: &[Offset], ranges: &[LogRange]) -> Result<(), Error> {
    for (i, LogRange { partition, first, end }) in ranges.iter().enumerate() {
        let wrong = |name: &str, rule, what| Err(Error::invalid(format!("ranges[{i}].{name}"), rule, what));
        let Some(stored) = committed.get(*partition as usize) else {
            return wrong("partition", "OUT_OF_RANGE", format!("must be below {}", committed.len()));
        };
        if end > stored {
            return wrong(
                "last_offset",
                "OUT_OF_RANGE",
                format!("must be below {stored}: so far the partition is stored"),
            );
        }
        if let Some(begin) = begin_after(log, *partition, *first).await? {
            return wrong(
                "first_offset",
                "TOO_OLD",
                format!("must be at least {begin}, where the partition now begins"),
            );
        }
    }
    Ok(())
}

/// Where the partition begins, if that is after this offset.
async fn begin_after(log: &dyn EventLog, partition: PartitionId, offset: Offset) -> Result<Option<Offset>, Error> {
    match log.read(partition, offset, 1, 1).await {
        Ok(_) => Ok(None),
        Err(LogError::Trimmed { begin, .. }) => Ok(Some(begin)),
        Err(error) => Err(unreadable(error)),
    }
}

fn to_wire(replay: Replay) -> v1::Replay {
    let Replay { request, state, attempt, finished_at_ms, progress, .. } = replay;
    let state = match state {
        ReplayState::Waiting => State::Waiting,
        ReplayState::Building => State::Building,
        ReplayState::Swapping => State::Swapping,
        ReplayState::Done => State::Done,
        ReplayState::Failed => State::Failed,
        ReplayState::Cancelled => State::Cancelled,
    };
    let range = |range: &LogRange| v1::LogRange {
        partition: range.partition,
        first_offset: range.first,
        last_offset: range.end - 1,
    };
    v1::Replay {
        replay_id: request.id,
        state: state.into(),
        ranges: request.ranges.iter().map(range).collect(),
        requested_at: Some(time_to_wire(request.requested_at_ms)),
        requested_by: request.requested_by,
        finished_at: finished_at_ms.map(time_to_wire),
        records: request.ranges.iter().map(|range| range.end - range.first).sum(),
        records_read: progress.records,
        tables: progress
            .rows
            .into_iter()
            .map(|(table, rows)| v1::ReplayedTable { table, rows_before: rows.before, rows_after: rows.after })
            .collect(),
        attempts: attempt,
        message: progress.message,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn range(partition: u32, first_offset: u64, last_offset: u64) -> v1::LogRange {
        v1::LogRange { partition, first_offset, last_offset }
    }

    #[test]
    fn what_is_wanted_is_said_in_one_way() {
        let time = |ms| Some(time_to_wire(ms));
        let asked =
            |from, to, ranges: &[v1::LogRange]| Wanted::of(&StartReplayRequest { from, to, ranges: ranges.to_vec() });
        assert_eq!(asked(time(5), time(9), &[]).unwrap(), Wanted::Received { from_ms: 5, to_ms: 9 });
        let both = [range(1, 0, 9), range(1, 10, 10), range(2, 5, 5)];
        let Wanted::Offsets(ranges) = asked(None, None, &both).unwrap() else { panic!("offsets were given") };
        assert_eq!(
            ranges.iter().map(|r| (r.partition, r.first, r.end)).collect::<Vec<_>>(),
            [(1, 0, 10), (1, 10, 11), (2, 5, 6)]
        );
        let fields = |outcome: Result<Wanted, Error>| {
            outcome.unwrap_err().violations.into_iter().map(|v| v.field).collect::<Vec<_>>()
        };
        assert_eq!(fields(asked(None, None, &[])), ["from", "to"]);
        assert_eq!(fields(asked(time(9), time(9), &[])), ["to"]);
        assert_eq!(fields(asked(time(5), time(9), &both)), ["ranges"]);
        assert_eq!(fields(asked(None, None, &vec![range(1, 0, 9); MOST_RANGES + 1])), ["ranges"]);
        assert_eq!(fields(asked(None, None, &[range(1, 0, 9), range(1, 9, 12)])), ["ranges[1].first_offset"]);
        for wrong in [range(1, 3, 2), range(1, 0, u64::MAX), range(1, 0, i64::MAX.unsigned_abs())] {
            assert_eq!(fields(asked(None, None, &[range(0, 0, 0), wrong])), ["ranges[1].last_offset"]);
        }
    }
}
