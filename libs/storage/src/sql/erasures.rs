//! Users to erase.

use std::collections::{BTreeMap, BTreeSet};

use model::{AppId, Offset, PartitionId, TenantId};

use super::damaged;
use crate::{Erasure, ErasureRequest, ErasureState, Gone, MetaError, Progress, Tombstone, Topic};

/// $1 topic, $2 incarnation, $3 partition. Takes the partition's row, which no worker may have claimed yet, and changes nothing in it.
pub(crate) const HOLD_PARTITION: &str = "INSERT INTO ledger_partitions (topic, incarnation, number, generation, owner, committed, \
     pending_last, pending_since_ms, frontier_ms) VALUES ($1, $2, $3, 0, '', 0, NULL, NULL, 0) \
     ON CONFLICT (topic, incarnation, number) DO UPDATE SET generation = ledger_partitions.generation \
     RETURNING committed, pending_last";
/// $1..$3 the partition. Its row is held: nobody else adds a tombstone.
pub(crate) const LAST_ORDINAL: &str =
    "SELECT MAX(ordinal) FROM erasures WHERE topic = $1 AND incarnation = $2 AND number = $3";
/// $1..$3 the partition.
pub(crate) const INSERT: &str = "INSERT INTO erasures (topic, incarnation, number, id, tenant, app, user_id, requested_at_ms, \
     requested_by, log_end, ordinal, state, hours, gone) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'waiting', '[]', '{}')";

/// $1..$3 the partition, $4 the last ordinal known.
pub(crate) const TOMBSTONES: &str = "SELECT ordinal, tenant, app, user_id, log_end FROM erasures \
     WHERE topic = $1 AND incarnation = $2 AND number = $3 AND ordinal > $4 ORDER BY ordinal";

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant, app, user_id, requested_at_ms, requested_by, topic, incarnation, number, log_end, \
             state, look_again_at_ms, finished_at_ms, hours, gone FROM erasures WHERE ",
            $rest
        )
    };
}
/// $1 tenant, $2 id.
pub(crate) const ONE: &str = select!("tenant = $1 AND id = $2");
/// $1 tenant, $2 app, $3 time, $4 id, $5 how many.
pub(crate) const PAGE: &str = select!(
    "tenant = $1 AND app = $2 AND (requested_at_ms < $3 OR requested_at_ms = $3 AND id < $4) \
     ORDER BY requested_at_ms DESC, id DESC LIMIT $5"
);
/// $1 how many.
pub(crate) const OPEN: &str = select!("finished_at_ms IS NULL ORDER BY requested_at_ms, id LIMIT $1");

/// $1 id, $2 state, $3 when to look again, $4 when finished, $5 hours, $6 gone.
pub(crate) const NOTE: &str = "UPDATE erasures \
     SET state = $2, look_again_at_ms = $3, finished_at_ms = $4, hours = $5, gone = $6 WHERE id = $1 AND finished_at_ms IS NULL";

row! {
    pub(crate) struct TombstoneRow {
        ordinal: i64,
        tenant: String,
        app: String,
        user_id: String,
        log_end: i64,
    }
}

impl TryFrom<TombstoneRow> for Tombstone {
    type Error = MetaError;
    fn try_from(row: TombstoneRow) -> Result<Self, MetaError> {
        Ok(Self {
            ordinal: u64::try_from(row.ordinal).map_err(damaged)?,
            tenant: TenantId::new(&row.tenant).map_err(damaged)?,
            app: AppId::new(&row.app).map_err(damaged)?,
            user_id: row.user_id,
            end: Offset::try_from(row.log_end).map_err(damaged)?,
        })
    }
}

row! {
    pub(crate) struct ErasureRow {
        id: String,
        tenant: String,
        app: String,
        user_id: String,
        requested_at_ms: i64,
        requested_by: String,
        topic: String,
        incarnation: i64,
        number: i64,
        log_end: i64,
        state: String,
        look_again_at_ms: Option<i64>,
        finished_at_ms: Option<i64>,
        hours: String,
        gone: String,
    }
}

impl TryFrom<ErasureRow> for Erasure {
    type Error = MetaError;
    fn try_from(row: ErasureRow) -> Result<Self, MetaError> {
        let state = ErasureState::ALL.into_iter().find(|state| state.name() == row.state);
        let hours: BTreeSet<i64> = serde_json::from_str(&row.hours).map_err(damaged)?;
        let gone: BTreeMap<String, Gone> = serde_json::from_str(&row.gone).map_err(damaged)?;
        Ok(Self {
            request: ErasureRequest {
                id: row.id,
                tenant: TenantId::new(&row.tenant).map_err(damaged)?,
                app: AppId::new(&row.app).map_err(damaged)?,
                user_id: row.user_id,
                requested_at_ms: row.requested_at_ms,
                requested_by: row.requested_by,
            },
            topic: Topic { name: row.topic, incarnation: row.incarnation.cast_unsigned() },
            partition: PartitionId::try_from(row.number).map_err(damaged)?,
            end: Offset::try_from(row.log_end).map_err(damaged)?,
            progress: Progress {
                state: state.ok_or_else(|| damaged(format_args!("erasure state {:?}", row.state)))?,
                look_again_at_ms: row.look_again_at_ms,
                finished_at_ms: row.finished_at_ms,
                hours,
                gone,
            },
        })
    }
}
