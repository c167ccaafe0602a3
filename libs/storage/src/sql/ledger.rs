//! The ledger. Each write is one conditional UPDATE first: it takes the row's lock and is the fence.

use model::{AppId, PartitionId, TenantId};

use super::{damaged, listed};
use crate::{ExpiringDay, LedgerError, MetaError, PartitionState, Pending, Reached};

/// $1 topic, $2 incarnation, $3 partition, $4 owner.
pub(crate) const CLAIM: &str = "INSERT INTO ledger_partitions (topic, incarnation, number, generation, owner, committed, \
     pending_last, pending_since_ms, frontier_ms) VALUES ($1, $2, $3, 1, $4, 0, NULL, NULL, 0) \
     ON CONFLICT (topic, incarnation, number) \
     DO UPDATE SET generation = ledger_partitions.generation + 1, owner = excluded.owner \
     RETURNING number, generation, owner, committed, pending_last, pending_since_ms, frontier_ms, hold, shard";

/// $1..$3 the partition, $4 generation, $5 first, $6 last, $7 since.
pub(crate) const BEGIN: &str = "UPDATE ledger_partitions \
     SET pending_last = $6, pending_since_ms = COALESCE(pending_since_ms, $7) \
     WHERE topic = $1 AND incarnation = $2 AND number = $3 AND generation = $4 AND committed = $5 \
     AND (pending_last = $6 OR pending_last IS NULL AND hold IS NULL)";

/// $1..$3 the partition, $4 generation, $5 last, $6 end. Returns the frontier as it was stored before this commit.
pub(crate) const COMMIT: &str = "UPDATE ledger_partitions \
     SET committed = $6, pending_last = NULL, pending_since_ms = NULL \
     WHERE topic = $1 AND incarnation = $2 AND number = $3 AND generation = $4 AND pending_last = $5 \
     RETURNING frontier_ms";

/// $1..$3 the partition, $4 the frontier.
pub(crate) const RAISE_FRONTIER: &str = "UPDATE ledger_partitions SET frontier_ms = $4 \
     WHERE topic = $1 AND incarnation = $2 AND number = $3 AND frontier_ms < $4";

/// $1..$3 the partition, $4 generation, $5 committed, $6 the frontier.
pub(crate) const ADVANCE: &str = "UPDATE ledger_partitions \
     SET frontier_ms = CASE WHEN frontier_ms < $6 THEN $6 ELSE frontier_ms END \
     WHERE topic = $1 AND incarnation = $2 AND number = $3 AND generation = $4 AND committed = $5 \
     AND pending_last IS NULL";

/// $1..$3 the partition, $4 generation, $5 shard.
pub(crate) const PLACE: &str = "UPDATE ledger_partitions SET shard = $5 \
     WHERE topic = $1 AND incarnation = $2 AND number = $3 AND generation = $4 AND pending_last IS NULL";

pub(crate) const PARTITION: &str = "SELECT number, generation, owner, committed, pending_last, pending_since_ms, \
     frontier_ms, hold, shard FROM ledger_partitions WHERE topic = $1 AND incarnation = $2 AND number = $3";
pub(crate) const PARTITIONS: &str = "SELECT number, generation, owner, committed, pending_last, pending_since_ms, \
     frontier_ms, hold, shard FROM ledger_partitions WHERE topic = $1 AND incarnation = $2 ORDER BY number";

/// $1 tenant, $2 app, $3 hour, $4 epoch.
pub(crate) const CHANGE_EPOCH: &str = "INSERT INTO ledger_epochs (tenant, app, hour_ms, epoch) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (tenant, app, hour_ms) DO UPDATE SET epoch = excluded.epoch";
// Every query reads one of these two. Of one row, since SQLite's thread and the reader's take turns row by row, which takes longer than to read it.
/// $1 topic, $2 incarnation.
pub(crate) const REACHED: &str = "SELECT string_agg(number || ' ' || committed || ' ' || frontier_ms, ',') \
     FROM ledger_partitions WHERE topic = $1 AND incarnation = $2";
/// $1 topic, $2 incarnation, $3 tenant, $4 app, $5 from, $6 to. One statement sees one snapshot, and is one round trip.
pub(crate) const EPOCHS: &str = "SELECT (SELECT string_agg(number || ' ' || committed || ' ' || frontier_ms, ',') \
     FROM ledger_partitions WHERE topic = $1 AND incarnation = $2), \
     (SELECT string_agg(hour_ms || ' ' || epoch, ',') FROM ledger_epochs \
     WHERE tenant = $3 AND app = $4 AND hour_ms >= $5 AND hour_ms < $6), \
     (SELECT mark FROM ledger_marks WHERE tenant = $3 AND app = $4), \
     (SELECT piece FROM bucket_states WHERE tenant = $3 AND app = $4 LIMIT 1)";

/// $1 tenant, $2 app, $3 mark, $4 now.
pub(crate) const MARK: &str = "INSERT INTO ledger_marks (tenant, app, mark, made_at_ms) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (tenant, app) DO NOTHING";
pub(crate) const MARKED: &str = "SELECT tenant, app, made_at_ms FROM ledger_marks ORDER BY tenant, app";
/// $1 tenant, $2 app.
pub(crate) const UNMARK: &str = "DELETE FROM ledger_marks WHERE tenant = $1 AND app = $2";
/// Of all apps.
pub(crate) const UNMARK_ALL: &str = "DELETE FROM ledger_marks";

/// $1 topic, $2 identity.
pub(crate) const LIFE: &str = "SELECT incarnation FROM ledger_topics WHERE topic = $1 AND identity = $2";
/// $1 topic. The newest of its lives, be it numbered here or by a log that numbers its own.
pub(crate) const LAST_LIFE: &str = "SELECT MAX(incarnation) FROM \
     (SELECT incarnation FROM ledger_topics WHERE topic = $1 \
     UNION ALL SELECT incarnation FROM ledger_partitions WHERE topic = $1) AS lives";
/// $1 topic, $2 identity, $3 incarnation.
pub(crate) const INSERT_LIFE: &str = "INSERT INTO ledger_topics (topic, identity, incarnation) VALUES ($1, $2, $3)";

/// $1 tenant, $2 app, $3 before.
pub(crate) const RAISE_EXPIRED: &str = "INSERT INTO ledger_expired (tenant, app, before_ms) VALUES ($1, $2, $3) \
     ON CONFLICT (tenant, app) DO UPDATE SET before_ms = $3 WHERE ledger_expired.before_ms < $3";
pub(crate) const EXPIRED_BEFORE: &str = "SELECT before_ms FROM ledger_expired WHERE tenant = $1 AND app = $2";
/// $1 day, $2 tenant, $3 app.
pub(crate) const INSERT_EXPIRING: &str = "INSERT INTO ledger_expiring (day_ms, tenant, app) VALUES ($1, $2, $3) \
     ON CONFLICT (day_ms, tenant, app) DO NOTHING";
pub(crate) const DELETE_EXPIRING: &str = "DELETE FROM ledger_expiring WHERE day_ms = $1 AND tenant = $2 AND app = $3";
pub(crate) const EXPIRING: &str = "SELECT day_ms, tenant, app FROM ledger_expiring ORDER BY day_ms, tenant, app";
/// $1 name, $2 owner, $3 now, $4 until.
pub(crate) const LEASE: &str = "INSERT INTO leases (name, owner, until_ms) VALUES ($1, $2, $4) \
     ON CONFLICT (name) DO UPDATE SET owner = $2, until_ms = $4 WHERE leases.owner = $2 OR leases.until_ms <= $3";

row! {
    pub(crate) struct PartitionRow {
        number: i64,
        generation: i64,
        owner: String,
        committed: i64,
        pending_last: Option<i64>,
        pending_since_ms: Option<i64>,
        frontier_ms: i64,
        hold: Option<String>,
        shard: i64,
    }
}

impl TryFrom<PartitionRow> for PartitionState {
    type Error = MetaError;
    fn try_from(row: PartitionRow) -> Result<Self, MetaError> {
        let committed = u64::try_from(row.committed).map_err(damaged)?;
        let pending = match (row.pending_last, row.pending_since_ms) {
            (Some(last), Some(since_ms)) => {
                Some(Pending { first: committed, last: u64::try_from(last).map_err(damaged)?, since_ms })
            }
            (None, None) => None,
            _ => return Err(damaged("half of a pending range")),
        };
        Ok(Self {
            partition: PartitionId::try_from(row.number).map_err(damaged)?,
            generation: u64::try_from(row.generation).map_err(damaged)?,
            owner: row.owner,
            committed,
            pending,
            frontier_ms: row.frontier_ms,
            held: row.hold.is_some(),
            shard: u32::try_from(row.shard).map_err(damaged)?,
        })
    }
}

row! {
    pub(crate) struct ExpiringRow {
        day_ms: i64,
        tenant: String,
        app: String,
    }
}

impl TryFrom<ExpiringRow> for ExpiringDay {
    type Error = MetaError;
    fn try_from(row: ExpiringRow) -> Result<Self, MetaError> {
        Ok(Self {
            day_ms: row.day_ms,
            tenant: TenantId::new(&row.tenant).map_err(damaged)?,
            app: AppId::new(&row.app).map_err(damaged)?,
        })
    }
}

/// A number as the database holds it. Offsets and generations count from 0 and never come near 2^63.
pub(crate) fn stored(number: u64, partition: PartitionId) -> Result<i64, LedgerError> {
    let out_of_order = |_| LedgerError::OutOfOrder { partition, what: format!("{number} is beyond 2^63") };
    i64::try_from(number).map_err(out_of_order)
}

/// Partitions as [`REACHED`] lists them, by number.
pub(crate) fn reached(list: Option<&str>) -> Result<Vec<Reached>, MetaError> {
    let reached = |[partition, committed, frontier_ms]: [&str; 3]| {
        Ok(Reached {
            partition: partition.parse().map_err(damaged)?,
            committed: committed.parse().map_err(damaged)?,
            frontier_ms: frontier_ms.parse().map_err(damaged)?,
        })
    };
    listed(list, reached)
}

/// Epochs as [`EPOCHS`] lists them, by hour.
pub(crate) fn hours(list: Option<&str>) -> Result<Vec<(i64, u128)>, MetaError> {
    listed(list, |[hour_ms, epoch]: [&str; 2]| Ok((hour_ms.parse().map_err(damaged)?, epoch_id(epoch)?)))
}

/// A new epoch's id: 128 bits of which no two are alike.
pub(crate) fn new_epoch() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// The id as readers get it.
pub(crate) fn epoch_id(text: &str) -> Result<u128, MetaError> {
    u128::from_str_radix(text, 16).map_err(damaged)
}
