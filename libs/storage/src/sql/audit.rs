//! The chains of the audit log.

use model::Act;

use super::damaged;
use crate::{AuditEntry, MetaError};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT sequence, at_ms, method, key_id, key_tenant, object, app, before_json, after_json, address, trace_id, \
             previous_hash, hash FROM audit_entries WHERE chain = $1 AND sequence > 0 AND ",
            $rest
        )
    };
}

/// $1 chain.
pub(crate) const LAST: &str =
    "SELECT sequence, hash FROM audit_entries WHERE chain = $1 ORDER BY sequence DESC LIMIT 1";
/// $1 chain, and the columns in the order in which they are read.
pub(crate) const INSERT: &str = "INSERT INTO audit_entries (chain, sequence, at_ms, method, key_id, key_tenant, object, app, \
     before_json, after_json, address, trace_id, previous_hash, hash) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
/// $1 chain, $2 place, $3 how many.
pub(crate) const AFTER: &str = select!("sequence > $2 ORDER BY sequence LIMIT $3");
/// $1 chain, $2 place, $3 and $4 times, $5 method, $6 key, $7 how many.
pub(crate) const PAGE: &str = select!(
    "sequence < $2 AND at_ms >= $3 AND at_ms < $4 AND ($5 = '' OR method = $5) AND ($6 = '' OR key_id = $6) \
     ORDER BY sequence DESC LIMIT $7"
);

row! {
    pub(crate) struct EntryRow {
        sequence: i64,
        at_ms: i64,
        method: String,
        key_id: String,
        key_tenant: String,
        object: String,
        app: String,
        before_json: String,
        after_json: String,
        address: String,
        trace_id: String,
        previous_hash: String,
        hash: String,
    }
}

impl TryFrom<EntryRow> for AuditEntry {
    type Error = MetaError;
    fn try_from(row: EntryRow) -> Result<Self, MetaError> {
        let EntryRow { at_ms, method, key_id, key_tenant, address, trace_id, .. } = row;
        Ok(Self {
            sequence: u64::try_from(row.sequence).map_err(damaged)?,
            act: Act { method, key_id, key_tenant, at_ms, address, trace_id },
            object: row.object,
            app: row.app,
            before: row.before_json,
            after: row.after_json,
            previous_hash: row.previous_hash,
            hash: row.hash,
        })
    }
}
