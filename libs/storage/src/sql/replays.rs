//! Ranges of the log to replay.

use super::damaged;
use crate::{LogRange, MetaError, Replay, ReplayProgress, ReplayRequest, ReplayState, Topic};

/// $1 id, $2 topic, $3 incarnation, $4 ranges, $5 time, $6 who, $7 progress.
pub(crate) const INSERT: &str = "INSERT INTO replays (id, topic, incarnation, ranges, requested_at_ms, requested_by, state, attempt, \
     to_cancel, finished_at_ms, progress) VALUES ($1, $2, $3, $4, $5, $6, 'waiting', 0, 0, NULL, $7)";

macro_rules! columns {
    () => {
        "id, topic, incarnation, ranges, requested_at_ms, requested_by, state, attempt, to_cancel, finished_at_ms, progress"
    };
}
macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT ", columns!(), " FROM replays WHERE ", $rest)
    };
}
/// $1 id.
pub(crate) const ONE: &str = select!("id = $1");
/// $1 time, $2 id, $3 how many.
pub(crate) const PAGE: &str =
    select!("requested_at_ms < $1 OR requested_at_ms = $1 AND id < $2 ORDER BY requested_at_ms DESC, id DESC LIMIT $3");
pub(crate) const OPEN: &str = select!("finished_at_ms IS NULL");

/// $1 id.
pub(crate) const BEGIN: &str = concat!(
    "UPDATE replays SET state = 'building', attempt = attempt + 1 WHERE id = $1 AND finished_at_ms IS NULL RETURNING ",
    columns!()
);
/// $1 id.
pub(crate) const CANCEL: &str =
    concat!("UPDATE replays SET to_cancel = 1 WHERE id = $1 AND finished_at_ms IS NULL RETURNING ", columns!());

/// $1 id, $2 attempt, $3 progress.
pub(crate) const NOTE: &str =
    "UPDATE replays SET progress = $3 WHERE id = $1 AND attempt = $2 AND finished_at_ms IS NULL";
/// $1 id, $2 attempt, $3 state. Returns the log.
pub(crate) const SET_STATE: &str = "UPDATE replays SET state = $3 WHERE id = $1 AND attempt = $2 AND finished_at_ms IS NULL \
     RETURNING topic, incarnation";
/// $1 id, $2 attempt, $3 state, $4 progress, $5 time.
pub(crate) const FINISH: &str = "UPDATE replays SET state = $3, progress = $4, finished_at_ms = $5 \
     WHERE id = $1 AND attempt = $2 AND finished_at_ms IS NULL";

/// $1 topic, $2 incarnation, $3 partition, $4 the replay. Takes the partition's row, which no worker may have claimed yet.
pub(crate) const HOLD: &str = "INSERT INTO ledger_partitions (topic, incarnation, number, generation, owner, committed, pending_last, \
     pending_since_ms, frontier_ms, hold) VALUES ($1, $2, $3, 0, '', 0, NULL, NULL, 0, $4) \
     ON CONFLICT (topic, incarnation, number) DO UPDATE SET hold = $4";
/// $1 the replay.
pub(crate) const LET_GO: &str = "UPDATE ledger_partitions SET hold = NULL WHERE hold = $1";

pub(crate) const CLOCK: &str = "SELECT CAST(COALESCE(SUM(attempt), 0) AS BIGINT), \
     CAST(COUNT(CASE WHEN state IN ('building', 'swapping') THEN 1 END) AS BIGINT) FROM replays";

row! {
    pub(crate) struct ReplayRow {
        id: String,
        topic: String,
        incarnation: i64,
        ranges: String,
        requested_at_ms: i64,
        requested_by: String,
        state: String,
        attempt: i64,
        to_cancel: i64,
        finished_at_ms: Option<i64>,
        progress: String,
    }
}

impl TryFrom<ReplayRow> for Replay {
    type Error = MetaError;
    fn try_from(row: ReplayRow) -> Result<Self, MetaError> {
        let state = ReplayState::ALL.into_iter().find(|state| state.name() == row.state);
        let ranges: Vec<LogRange> = serde_json::from_str(&row.ranges).map_err(damaged)?;
        let progress: ReplayProgress = serde_json::from_str(&row.progress).map_err(damaged)?;
        Ok(Self {
            request: ReplayRequest {
                id: row.id,
                topic: Topic { name: row.topic, incarnation: row.incarnation.cast_unsigned() },
                ranges,
                requested_at_ms: row.requested_at_ms,
                requested_by: row.requested_by,
            },
            state: state.ok_or_else(|| damaged(format_args!("replay state {:?}", row.state)))?,
            attempt: u64::try_from(row.attempt).map_err(damaged)?,
            to_cancel: row.to_cancel != 0,
            finished_at_ms: row.finished_at_ms,
            progress,
        })
    }
}
