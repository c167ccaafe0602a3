//! Putting a range of the log into the warehouse anew.
//!
//! New rows are made in tables beside those that are read, and what else lies in the same partitions of the server's is copied there. Then
//! each partition is replaced by its like, atomically, and a reader sees the old rows or the new ones. Of several shards each does so with
//! its own: the old rows go from wherever they are, and the new ones lie where the log's partition belongs now.
//!
//! Each attempt has tables of its own, with names of their own. So whoever comes after one that was cut off drops them, and can be sure
//! of it: nothing that the other has sent, or still sends, reaches the tables that are read.

use std::collections::{BTreeMap, BTreeSet};

use model::{AppId, DAY_MS, Incarnation, Offset, TenantId};

use super::{
    Cell, Columns, QuerySettings, Warehouse, WarehouseError, cluster::ACTIVE, expire::received_before, param, schema,
};
use crate::{LogRange, Rebuilt};

/// The tables whose rows came from one record of the log each, in the order in which they are copied: whoever erases a user puts a row among
/// the uncounted first, and then deletes. So of what is no longer found in the others, that row is found.
const TABLES: [&str; 3] = [schema::EVENTS, schema::USERS, schema::UNCOUNTED];
/// What names the tables of all attempts.
pub(super) const BESIDE: &str = "_rebuilt_";

/// Every replica that is there has the new rows before it counts as done: elsewhere there may be no other.
const SWAP: [(&str, &str); 2] = [("alter_sync", "2"), ("replication_wait_for_inactive_replica_timeout", "0")];

/// A partition of one of a server's tables.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    shard: usize,
    table: &'static str,
    /// As the server names it: `20260131`, or `all` of a table without partitions.
    partition: String,
}

/// One attempt to put ranges of the log into the warehouse anew.
#[derive(Debug)]
pub struct Rebuild {
    all: Warehouse,
    shards: Vec<Warehouse>,
    attempt: String,
    incarnation: Incarnation,
    ranges: Vec<LogRange>,
    /// Rows sent to each table of a shard.
    sent: BTreeMap<(usize, &'static str), u64>,
    /// What may be gone, since it is no longer kept, and stays as it is: by table a condition.
    stays: BTreeMap<&'static str, String>,
}

impl Warehouse {
    /// Drops what earlier attempts left, and returns when nothing can come of it any more.
    pub async fn drop_rebuilt(&self) -> Result<(), WarehouseError> {
        let pattern = format!("%{}%", BESIDE.replace('_', r"\_"));
        let names = format!(
            "SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE {}",
            param::literal(&pattern)
        );
        let mut all = BTreeSet::new();
        for shard in self.shards() {
            for row in rows(&shard, &names).await? {
                let [Cell::String(name)] = row.as_slice() else { return Err(unreadable(&row)) };
                all.insert(name.clone());
            }
        }
        let (places, on) = self.everywhere();
        for place in places {
            for name in &all {
                place.execute(&format!("DROP TABLE IF EXISTS {name}{on} SYNC"), &ACTIVE).await?;
            }
        }
        Ok(())
    }

    /// Makes the tables of an attempt. Its name is a plain word, and no other attempt ever had it.
    pub async fn rebuild(
        &self,
        attempt: &str,
        incarnation: Incarnation,
        ranges: &[LogRange],
    ) -> Result<Rebuild, WarehouseError> {
        let (attempt, ranges) = (attempt.to_owned(), ranges.to_vec());
        let (sent, stays) = (BTreeMap::new(), BTreeMap::new());
        let (all, shards) = (self.clone(), self.shards().collect());
        let rebuild = Rebuild { all, shards, attempt, incarnation, ranges, sent, stays };
        for table in TABLES.into_iter().chain([schema::DAILY_USERS]) {
            self.create_like(table, &rebuild.beside(table)).await?;
        }
        Ok(rebuild)
    }
}

impl Rebuild {
    /// Adds new rows of the ranges, on that shard. Where it is unknown what became of them (`Unavailable`), the attempt is worthless.
    pub async fn insert(&mut self, shard: u32, columns: Columns<'_>) -> Result<(), WarehouseError> {
        let (shard, table, rows) = (shard as usize, columns.table(), columns.len() as u64);
        let Some(warehouse) = self.shards.get(shard) else { return self.all.shard(shard as u32).map(drop) };
        let beside = self.beside(table);
        let sent = self.sent.entry((shard, table)).or_default();
        let token = format!("{}:{sent}", self.attempt); // each insert of some rows has another
        *sent += rows;
        warehouse.insert_into(&beside, columns, &token).await?;
        Ok(())
    }

    /// A table as it is with the new rows so far, and without those that they replace: to read `FROM`. `Unavailable` while a replica may lack some.
    pub async fn renewed(&self, table: &'static str) -> Result<String, WarehouseError> {
        let (new, old) = (self.all.over_all_shards(&self.beside(table)), self.replaced(table));
        let renewed = format!("(SELECT * FROM {table} WHERE NOT ({old}) UNION ALL SELECT * FROM {new})");
        self.all.is_read_whole(&renewed).await?;
        Ok(renewed)
    }

    /// The apps that have rows in the ranges, old or new ones.
    pub async fn apps(&self) -> Result<BTreeSet<(TenantId, AppId)>, WarehouseError> {
        let select = |from: String| format!("SELECT DISTINCT tenant, app FROM {from}");
        let all = TABLES.iter().flat_map(|table| [select(self.old(table)), select(self.beside(table))]);
        let rows = self.rows(&all.collect::<Vec<_>>().join(" UNION DISTINCT ")).await?;
        // What no app can have written can't be asked for either.
        let app = |row: Vec<Cell>| match row.as_slice() {
            [Cell::String(tenant), Cell::String(app)] => Some((TenantId::new(tenant).ok()?, AppId::new(app).ok()?)),
            _ => None,
        };
        Ok(rows.into_iter().filter_map(app).collect())
    }

    /// Makes sure that all rows sent are there. The uncounted may go at any time, by their age.
    pub async fn check_sent(&self) -> Result<(), WarehouseError> {
        for ((shard, table), sent) in self.sent.iter().filter(|((_, table), _)| *table != schema::UNCOUNTED) {
            let count = format!("SELECT toInt64(count()) FROM {}", self.beside(table));
            let rows = rows(&self.shards[*shard], &count).await?;
            if rows != [[Cell::Integer(sent.cast_signed())]] {
                let what = format!("{} has other rows than the {sent} sent there: {rows:?}", self.beside(table));
                return Err(WarehouseError::Protocol(what));
            }
        }
        Ok(())
    }

    /// Takes the new rows of what may be gone since it is no longer kept, and leaves the old ones in their place. `expired`: before which
    /// time events of an app may be gone (UTC ms); of what doesn't count, what was received a day earlier.
    pub async fn leave_expired(&mut self, expired: &[(TenantId, AppId, i64)]) -> Result<(), WarehouseError> {
        if expired.is_empty() {
            return Ok(());
        }
        let happened = |(tenant, app, ms): &(TenantId, AppId, i64)| {
            format!("(tenant = '{tenant}' AND app = '{app}' AND ts < {})", param::instant(*ms))
        };
        let events = expired.iter().map(happened).collect::<Vec<_>>().join(" OR ");
        let earlier: Vec<_> =
            expired.iter().map(|(tenant, app, ms)| (tenant.clone(), app.clone(), ms - DAY_MS)).collect();
        self.stays = [(schema::EVENTS, events), (schema::UNCOUNTED, received_before(&earlier))].into();
        for (table, stays) in &self.stays {
            self.all.delete(&format!("ALTER TABLE {} DELETE WHERE {stays}", self.beside(table))).await?;
        }
        Ok(())
    }

    /// How many rows of the ranges each table has, and has in their place. Before anything is copied.
    pub async fn count(&self) -> Result<BTreeMap<String, Rebuilt>, WarehouseError> {
        let mut counts = BTreeMap::new();
        for table in TABLES {
            let count = |from: String| format!("(SELECT toInt64(count()) FROM {from})");
            let counted = format!("SELECT {}, {}", count(self.old(table)), count(self.beside(table)));
            let mut rows = Rebuilt::default();
            for row in self.rows(&counted).await? {
                let [Cell::Integer(before), Cell::Integer(after)] = row.as_slice() else {
                    return Err(unreadable(&row));
                };
                rows.before += before.unsigned_abs();
                rows.after += after.unsigned_abs();
            }
            counts.insert(table.to_owned(), rows);
        }
        Ok(counts)
    }

    /// The UTC days (their starts, ms) of apps that have events in the ranges, old or new ones. Before anything is copied.
    pub async fn days(&self) -> Result<BTreeSet<(i64, TenantId, AppId)>, WarehouseError> {
        let day = format!("intDiv(toUnixTimestamp64Milli(ts), {DAY_MS}) * {DAY_MS}");
        let select = |from: String| format!("SELECT DISTINCT {day} AS day, tenant, app FROM {from}");
        let statement = [self.old(schema::EVENTS), self.beside(schema::EVENTS)].map(select).join(" UNION DISTINCT ");
        let day = |row: Vec<Cell>| match row.as_slice() {
            [Cell::Integer(day_ms), Cell::String(tenant), Cell::String(app)] => {
                Some((*day_ms, TenantId::new(tenant).ok()?, AppId::new(app).ok()?))
            }
            _ => None,
        };
        Ok(self.rows(&statement).await?.into_iter().filter_map(day).collect())
    }

    /// The partitions in which rows of the ranges lie, old or new ones: those to replace. Before anything is copied.
    pub async fn parts(&self) -> Result<Vec<Part>, WarehouseError> {
        let mut parts = Vec::new();
        for (shard, warehouse) in self.shards.iter().enumerate() {
            for table in TABLES {
                let select = |from: String| format!("SELECT DISTINCT _partition_id FROM {from}");
                let statement = [self.old(table), self.beside(table)].map(select).join(" UNION DISTINCT ");
                for row in rows(warehouse, &statement).await? {
                    let [Cell::String(partition)] = row.as_slice() else { return Err(unreadable(&row)) };
                    parts.push(Part { shard, table, partition: partition.clone() });
                }
            }
        }
        Ok(parts)
    }

    /// Copies what else these partitions have: the rows below `until` (by partition of the log) that weren't below `from`, which is
    /// how far an earlier call came. Without `until` all others. They must be of one shard and table. What is below is committed, so it changes no more.
    pub async fn copy(
        &self,
        parts: &[Part],
        from: Option<&[Offset]>,
        until: Option<&[Offset]>,
    ) -> Result<(), WarehouseError> {
        let Some(Part { shard, table, .. }) = parts.first() else { return Ok(()) };
        let partitions = param::strings(parts.iter().map(|part| part.partition.as_str()));
        let arrived = self.arrived(from, until);
        let statement = format!(
            "INSERT INTO {} SELECT * FROM {table} WHERE _partition_id IN {partitions} AND NOT ({}) AND {arrived}",
            self.beside(table),
            self.replaced(table),
        );
        fill(&self.shards[*shard], &statement).await
    }

    /// Counts the users of the days again, for what was copied and made: in steps as [`Rebuild::copy`], after each of them.
    pub async fn count_users(&self, from: Option<&[Offset]>, until: Option<&[Offset]>) -> Result<(), WarehouseError> {
        let events = format!("{} WHERE {}", self.beside(schema::EVENTS), self.arrived(from, until));
        let daily = self.beside(schema::DAILY_USERS);
        let statement = format!("INSERT INTO {daily} {}", schema::daily_users_of(&events));
        for shard in &self.shards {
            fill(shard, &statement).await?;
        }
        Ok(())
    }

    /// Copies what else there is and puts everything in its place, where nobody writes meanwhile.
    pub(super) async fn replace(&self) -> Result<(), WarehouseError> {
        let all = self.parts().await?;
        for parts in Part::by_table(&all) {
            self.copy(parts, None, None).await?;
        }
        self.count_users(None, None).await?;
        for part in &all {
            self.swap(part).await?;
        }
        Ok(())
    }

    /// Puts the new partition in the place of the old one.
    pub async fn swap(&self, part: &Part) -> Result<(), WarehouseError> {
        let Part { shard, table, partition } = part;
        let (shard, of_events) = (&self.shards[*shard], *table == schema::EVENTS);
        for table in [*table].into_iter().chain(of_events.then_some(schema::DAILY_USERS)) {
            let new = self.beside(table);
            let there = format!("SELECT 1 FROM {new} WHERE _partition_id = {} LIMIT 1", param::literal(partition));
            let mut settings = SWAP.to_vec();
            // Servers of before take an empty one without being told, and don't know the word for it.
            if rows(shard, &there).await?.is_empty() {
                settings.push(("allow_replace_partition_from_empty_source", "1"));
            }
            let replace = format!("ALTER TABLE {table} REPLACE PARTITION ID '{partition}' FROM {new}");
            shard.execute(&replace, &settings).await?;
        }
        Ok(())
    }

    fn beside(&self, table: &str) -> String {
        format!("{table}{BESIDE}{}", self.attempt)
    }

    /// The old rows that new ones replace.
    fn old(&self, table: &'static str) -> String {
        format!("{table} WHERE {}", self.replaced(table))
    }

    fn replaced(&self, table: &'static str) -> String {
        let ranges = self.ranges.iter().map(|LogRange { partition, first, end }| {
            format!("(_partition = {partition} AND _offset >= {first} AND _offset < {end})")
        });
        let stays = self.stays.get(table).map_or(String::new(), |stays| format!(" AND NOT ({stays})"));
        format!("_incarnation = {} AND ({}){stays}", self.incarnation, ranges.collect::<Vec<_>>().join(" OR "))
    }

    /// Each row is in just one step, whatever place it says it has.
    fn arrived(&self, from: Option<&[Offset]>, until: Option<&[Offset]>) -> String {
        let below = |offsets: &[Offset]| {
            let incarnation = self.incarnation;
            // An array's place beyond its end holds 0.
            format!(
                "(_incarnation < {incarnation} OR _incarnation = {incarnation} AND _offset < ({offsets:?} :: Array(UInt64))[_partition + 1])"
            )
        };
        let conditions = until.map(below).into_iter().chain(from.map(|from| format!("NOT {}", below(from))));
        conditions.reduce(|all, one| format!("{all} AND {one}")).unwrap_or_else(|| "1".to_owned())
    }

    /// Of all shards, one after another.
    async fn rows(&self, statement: &str) -> Result<Vec<Vec<Cell>>, WarehouseError> {
        let mut all = Vec::new();
        for shard in &self.shards {
            all.append(&mut rows(shard, statement).await?);
        }
        Ok(all)
    }
}

/// As many days as there are, and no block is taken for a retry of one like it.
async fn fill(shard: &Warehouse, statement: &str) -> Result<(), WarehouseError> {
    let settings = [("max_partitions_per_insert_block", "0"), ("insert_deduplicate", "0")];
    shard.execute(statement, &settings).await
}

async fn rows(shard: &Warehouse, statement: &str) -> Result<Vec<Vec<Cell>>, WarehouseError> {
    shard.select(statement, &[], &QuerySettings::default())?.collect().await
}

impl Part {
    /// Groups parts by their shards' tables.
    pub fn by_table(parts: &[Self]) -> impl Iterator<Item = &[Self]> {
        parts.chunk_by(|a, b| (a.shard, a.table) == (b.shard, b.table))
    }
}

fn unreadable(row: &[Cell]) -> WarehouseError {
    WarehouseError::Protocol(format!("a row of {} cells can't be read", row.len()))
}
