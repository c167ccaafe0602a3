//! States of aggregates, bucket by bucket, so that an answer can be put together from them.
//!
//! The server computes and keeps them in one statement. Which of them are complete, and count, is known elsewhere ([`crate::States`]): what
//! a statement that was cut off has left is never read, and goes by itself when it is old.

use model::{AppId, TenantId};

use super::{Cell, QuerySettings, Warehouse, WarehouseError, schema};

/// What a bucket's states come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateSize {
    /// What its rows are known by.
    pub piece: i64,
    /// Rows: groups.
    pub rows: u64,
    /// Bytes of states.
    pub bytes: u64,
}

impl Warehouse {
    /// Has the server compute what the SELECT says, a row for each bucket and group in `columns`, and keep it. `TooLarge` if that were
    /// more than `max_groups` rows. What became of it is unknown if it failed.
    pub async fn fill_states(
        &self,
        columns: &[&str],
        select: &str,
        params: &[(&str, String)],
        max_groups: u64,
        settings: &QuerySettings,
    ) -> Result<(), WarehouseError> {
        let (server, table) = self.keeps_states();
        let statement = format!("INSERT INTO {table} ({}) {select}", columns.join(", "));
        self.is_read_whole(select).await?;
        let mut query = server.client.query_raw(&statement);
        let limits = [
            // Rows alike are another's: no block of them is a retry. A run has few days, but they may lie in two months.
            ("insert_deduplicate", "0".to_owned()),
            ("max_rows_to_group_by", max_groups.to_string()),
            ("group_by_overflow_mode", "throw".to_owned()),
        ];
        let quorum = self.insert_quorum().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let more = limits.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(quorum);
        let named = settings.named().filter(|(name, _)| name != "readonly");
        let params = params.iter().map(|(name, value)| (format!("param_{name}"), value.clone()));
        for (name, value) in named.chain(self.read_settings()).chain(params).chain(more) {
            query = query.with_setting(name, value);
        }
        server.heard(query.execute().await.map_err(Into::into))
    }

    /// How much there is of each of these pieces; a bucket without events has none.
    pub async fn state_sizes(
        &self,
        (tenant, app): (&TenantId, &AppId),
        shape: &str,
        pieces: std::ops::Range<i64>,
    ) -> Result<Vec<StateSize>, WarehouseError> {
        let statement = format!(
            "SELECT piece, toInt64(count()), toInt64(sum(arraySum(arrayMap(state -> length(state), states)))) FROM {} \
             WHERE tenant = {{tenant:String}} AND app = {{app:String}} AND shape = {{shape:String}} \
             AND piece >= {{first:Int64}} AND piece < {{end:Int64}} GROUP BY piece",
            schema::BUCKET_STATES
        );
        let params = [
            ("tenant", tenant.as_str().to_owned()),
            ("app", app.as_str().to_owned()),
            ("shape", shape.to_owned()),
            ("first", pieces.start.to_string()),
            ("end", pieces.end.to_string()),
        ];
        self.is_read_whole(&statement).await?;
        let rows = self.select(&statement, &params, &QuerySettings::default())?.collect().await?;
        let size = |row: Vec<Cell>| match row.as_slice() {
            [Cell::Integer(piece), Cell::Integer(rows), Cell::Integer(bytes)] => {
                Ok(StateSize { piece: *piece, rows: rows.unsigned_abs(), bytes: bytes.unsigned_abs() })
            }
            _ => Err(WarehouseError::Protocol(format!("a row of {} cells can't be read", row.len()))),
        };
        rows.into_iter().map(size).collect()
    }

    /// Deletes the app's states of all lives before this one, and returns when they are gone.
    pub async fn delete_states(&self, tenant: &TenantId, app: &AppId, life: i64) -> Result<(), WarehouseError> {
        // Ids are plain words: they need no quoting.
        let which = format!("tenant = '{tenant}' AND app = '{app}' AND life < {life}");
        let any = format!("SELECT 1 FROM {} WHERE {which} LIMIT 1", schema::BUCKET_STATES);
        if self.select(&any, &[], &QuerySettings::default())?.collect().await?.is_empty() {
            return Ok(()); // no part need be looked through
        }
        self.delete(&format!("ALTER TABLE {} DELETE WHERE {which}", schema::BUCKET_STATES)).await
    }
}
