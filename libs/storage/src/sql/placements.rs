//! How records are spread over partitions, and who appends them.

use super::damaged;
use crate::{Growing, Grown, MetaError, Placement, Writer};

/// $1 topic, $2 incarnation, $3 partitions.
pub(crate) const INSERT: &str = "INSERT INTO placements (topic, incarnation, partitions, grown, growing_to, paused, version) \
     VALUES ($1, $2, $3, '[]', NULL, 0, 0) ON CONFLICT (topic, incarnation) DO NOTHING";
/// $1 topic, $2 incarnation.
pub(crate) const ONE: &str = "SELECT partitions, grown, growing_to, paused, version FROM placements \
     WHERE topic = $1 AND incarnation = $2";
/// $1 topic, $2 incarnation, $3 grown, $4 growing to, $5 paused.
pub(crate) const CHANGE: &str = "UPDATE placements SET grown = $3, growing_to = $4, paused = $5, version = version + 1 \
     WHERE topic = $1 AND incarnation = $2 RETURNING partitions, grown, growing_to, paused, version";
/// $1..$3 a new partition, $4 the one that its users come from.
pub(crate) const INSERT_PARTITION: &str = "INSERT INTO ledger_partitions (topic, incarnation, number, generation, owner, committed, \
     pending_last, pending_since_ms, frontier_ms) \
     SELECT topic, incarnation, $3, 0, '', 0, NULL, NULL, frontier_ms FROM ledger_partitions \
     WHERE topic = $1 AND incarnation = $2 AND number = $4 ON CONFLICT (topic, incarnation, number) DO NOTHING";

/// $1 topic, $2 incarnation, $3 name, $4 version, $5 holds, $6 heard.
pub(crate) const CONFIRM: &str = "INSERT INTO writers (topic, incarnation, name, version, holds_ms, heard_ms) \
     VALUES ($1, $2, $3, $4, $5, $6) \
     ON CONFLICT (topic, incarnation, name) DO UPDATE SET version = $4, holds_ms = $5, heard_ms = $6";
/// $1 topic, $2 incarnation.
pub(crate) const WRITERS: &str =
    "SELECT name, version, holds_ms, heard_ms FROM writers WHERE topic = $1 AND incarnation = $2 ORDER BY name";
/// $1 topic, $2 incarnation, $3 name.
pub(crate) const FORGET: &str = "DELETE FROM writers WHERE topic = $1 AND incarnation = $2 AND name = $3";

row! {
    pub(crate) struct PlacementRow {
        partitions: i64,
        grown: String,
        growing_to: Option<i64>,
        paused: i64,
        version: i64,
    }
}

impl TryFrom<PlacementRow> for Placement {
    type Error = MetaError;
    fn try_from(row: PlacementRow) -> Result<Self, MetaError> {
        let grown: Vec<Grown> = serde_json::from_str(&row.grown).map_err(damaged)?;
        let to = row.growing_to.map(u32::try_from).transpose().map_err(damaged)?;
        Ok(Self {
            first: u32::try_from(row.partitions).map_err(damaged)?,
            grown,
            growing: to.map(|to| Growing { to, paused: row.paused != 0 }),
            version: u64::try_from(row.version).map_err(damaged)?,
        })
    }
}

row! {
    pub(crate) struct WriterRow {
        name: String,
        version: i64,
        holds_ms: i64,
        heard_ms: i64,
    }
}

impl TryFrom<WriterRow> for Writer {
    type Error = MetaError;
    fn try_from(row: WriterRow) -> Result<Self, MetaError> {
        Ok(Self {
            name: row.name,
            version: u64::try_from(row.version).map_err(damaged)?,
            holds_ms: u64::try_from(row.holds_ms).map_err(damaged)?,
            heard_ms: row.heard_ms,
        })
    }
}
