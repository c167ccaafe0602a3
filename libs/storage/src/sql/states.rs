//! States of buckets that are complete.

use super::{damaged, listed};
use crate::{BucketState, MetaError};

/// $1 tenant, $2 app.
pub(crate) const LIFE: &str = "SELECT life FROM state_lives WHERE tenant = $1 AND app = $2";
/// $1 tenant, $2 app. Takes the row, and changes nothing in it.
pub(crate) const HOLD_LIFE: &str = "INSERT INTO state_lives (tenant, app, life) VALUES ($1, $2, 0) \
     ON CONFLICT (tenant, app) DO UPDATE SET life = state_lives.life RETURNING life";
/// $1 tenant, $2 app.
pub(crate) const NEXT_LIFE: &str = "INSERT INTO state_lives (tenant, app, life) VALUES ($1, $2, 1) \
     ON CONFLICT (tenant, app) DO UPDATE SET life = state_lives.life + 1 RETURNING life";

/// $1 tenant, $2 app, $3 shape, $4 from, $5 to, $6 since. One statement sees one snapshot, and of one row, as those that the ledger is read with.
pub(crate) const STATES: &str = "SELECT (SELECT life FROM state_lives WHERE tenant = $1 AND app = $2), \
     (SELECT string_agg(bucket_ms || ' ' || length_ms || ' ' || piece || ' ' || epochs, ',') FROM bucket_states \
     WHERE tenant = $1 AND app = $2 AND shape = $3 AND bucket_ms >= $4 AND bucket_ms < $5 AND kept_at_ms >= $6)";
/// $1 tenant, $2 app, $3 shape, $4 bucket, $5 length, $6 epochs, $7 piece, $8 now.
pub(crate) const KEEP: &str = "INSERT INTO bucket_states (tenant, app, shape, bucket_ms, length_ms, epochs, piece, kept_at_ms) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant, app, shape, bucket_ms, length_ms) \
     DO UPDATE SET epochs = excluded.epochs, piece = excluded.piece, kept_at_ms = excluded.kept_at_ms";
/// $1 tenant, $2 app, $3 before.
pub(crate) const FORGET: &str = "DELETE FROM bucket_states WHERE tenant = $1 AND app = $2 AND kept_at_ms < $3";
/// Of all apps.
pub(crate) const NEXT_LIVES: &str = "UPDATE state_lives SET life = life + 1";
/// Of all apps.
pub(crate) const FORGET_ALL: &str = "DELETE FROM bucket_states";

/// States as [`STATES`] lists them, by bucket and length.
pub(crate) fn states(list: Option<&str>) -> Result<Vec<BucketState>, MetaError> {
    let state = |[bucket_ms, length_ms, piece, epochs]: [&str; 4]| {
        Ok(BucketState {
            bucket_ms: bucket_ms.parse().map_err(damaged)?,
            length_ms: length_ms.parse().map_err(damaged)?,
            epochs: epochs.to_owned(),
            piece: piece.parse().map_err(damaged)?,
        })
    };
    listed(list, state)
}
