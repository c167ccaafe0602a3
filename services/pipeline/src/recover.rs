//! What a new owner of a partition, or a replay, reads back from the warehouse.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use model::{Offset, PartitionId, PropertyKind, identity_hash, partition_of};
use storage::{
    Pending, Placement, Warehouse, WarehouseError,
    warehouse::{Cell, QuerySettings, schema},
};

use crate::{
    PipelineError,
    block::{Memory, Place},
    erased::Erased,
    seen::{Seen, WINDOW_MS},
    users::{TraitValue, User, UserKey, Users},
};

/// What is in a partition below an offset.
const IN_PARTITION: &str =
    "_incarnation = {incarnation:UInt64} AND _partition = {partition:UInt32} AND _offset < {before:UInt64}";
/// What is of the log's lives before this one, in whatever partitions: a log that was lost begins anew, its events and users don't.
const OF_LIVES_BEFORE: &str = "_incarnation < {incarnation:UInt64}";

const SEEN: &str = "tenant, app, user, event_id, toInt64(_offset), toUnixTimestamp64Milli(received_at)";
const SEEN_SINCE: &str = "received_at > fromUnixTimestamp64Milli({since:Int64}, 'UTC')";

/// Of the events that are there, and of days that are named behind it.
const IN_RANGE: &str = "FROM events WHERE _incarnation = {incarnation:UInt64} AND _partition = {partition:UInt32} \
    AND _offset BETWEEN {first:UInt64} AND {last:UInt64} AND";

const UNCOUNTED_THERE: &str = "SELECT 1 FROM uncounted WHERE _incarnation = {incarnation:UInt64} AND _partition = {partition:UInt32} \
    AND _offset BETWEEN {first:UInt64} AND {last:UInt64} AND reason NOT LIKE 'erased%' LIMIT 1";

/// All of them, not some: each try may have had others.
const ERASED_THERE: &str = "SELECT 1 FROM uncounted WHERE _incarnation = {incarnation:UInt64} AND _partition = {partition:UInt32} \
    AND _offset BETWEEN {first:UInt64} AND {last:UInt64} AND reason LIKE 'erased%' HAVING uniqExact(_offset) >= {rows:UInt64}";

const USERS_THERE: &str = "SELECT 1 FROM users WHERE _incarnation = {incarnation:UInt64} AND _partition = {partition:UInt32} \
    AND _offset BETWEEN {first:UInt64} AND {last:UInt64} LIMIT 1";

/// A part of a block that goes in as one: all of its rows or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// The events of the UTC day that begins at this instant, ms.
    Day(i64),
    /// The users.
    Users,
    /// What doesn't count.
    Uncounted,
    /// What stands for the records of erased users, and how many there are. Not atomic with another try's.
    Erased(usize),
}

/// Where the rows are of what came before.
pub(crate) struct Known<'a> {
    pub(crate) warehouse: &'a Warehouse,
    /// The table of events, or what stands in its place.
    pub(crate) events: String,
    /// The same of users.
    pub(crate) users: String,
}

impl<'a> Known<'a> {
    /// As it stands in the warehouse.
    pub(crate) fn of(warehouse: &'a Warehouse) -> Self {
        Self { warehouse, events: schema::EVENTS.to_owned(), users: schema::USERS.to_owned() }
    }
}

/// The memory of whoever goes on at `next`. `received_ms`: when the record there was received, or now if there is none. Of users who
/// are erased it has nothing, whatever the warehouse still has.
pub(crate) async fn memory(
    known: &Known<'_>,
    place: Place,
    placement: Arc<Placement>,
    next: Offset,
    received_ms: i64,
    erased: Erased,
) -> Result<Memory, PipelineError> {
    let ancestors = placement.ancestors(place.partition);
    let mut memory = Memory { placement, seen: Seen::default(), users: Users::default(), erased };
    // In the order in which they were its users': what came later counts.
    let partitions = ancestors.into_iter().rev().chain([(place.partition, next)]).map(Some);
    for partition in [None].into_iter().chain(partitions) {
        let from = From { known, partition, to: place };
        from.seen(received_ms - WINDOW_MS, &mut memory).await?;
        from.users(&mut memory).await?;
    }
    Ok(memory)
}

/// What was read of a partition below an offset, or of the log's lives before, for whoever works on the partition `to`.
struct From<'a> {
    known: &'a Known<'a>,
    partition: Option<(PartitionId, Offset)>,
    to: Place,
}

/// Which of these parts of the range the warehouse has: since each is atomic, some of its rows are all.
pub(crate) async fn those_there(
    warehouse: &Warehouse,
    place: Place,
    parts: &[Part],
    Pending { first, last, .. }: Pending,
) -> Result<HashSet<Part>, WarehouseError> {
    let mut params = params(place);
    params.extend([("first", first.to_string()), ("last", last.to_string())]);
    let mut there = HashSet::new();
    let mut days_ms = Vec::new();
    for part in parts {
        let statement = match part {
            Part::Day(day_ms) => {
                days_ms.push(*day_ms);
                continue;
            }
            Part::Users => USERS_THERE,
            Part::Uncounted => UNCOUNTED_THERE,
            Part::Erased(rows) => {
                params.push(("rows", rows.to_string()));
                ERASED_THERE
            }
        };
        if !warehouse.select(statement, &params, &QuerySettings::default())?.collect().await?.is_empty() {
            there.insert(*part);
        }
    }
    if !days_ms.is_empty() {
        let (day, of_days) = (schema::DAY, schema::of_days("ts", &days_ms));
        let statement = format!("SELECT DISTINCT {day} {IN_RANGE} {of_days}");
        for row in warehouse.select(&statement, &params, &QuerySettings::default())?.collect().await? {
            match row[..] {
                [Cell::Time(day_ms)] => drop(there.insert(Part::Day(day_ms))),
                _ => return Err(WarehouseError::Protocol(format!("a day has {} cells", row.len()))),
            }
        }
    }
    Ok(there)
}

impl From<'_> {
    async fn seen(&self, since_ms: i64, memory: &mut Memory) -> Result<(), PipelineError> {
        let Memory { placement, seen, erased, .. } = memory;
        let statement = format!("SELECT {SEEN} FROM {} WHERE {} AND {SEEN_SINCE}", self.known.events, self.rows());
        self.each_row(&statement, &[("since", since_ms.to_string())], |row| match row {
            [
                Cell::String(tenant),
                Cell::String(app),
                Cell::String(user),
                Cell::String(id),
                Cell::Integer(offset),
                Cell::Integer(ms),
            ] => {
                if self.is_wanted(placement, erased, [tenant, app, user, id], *offset) {
                    let at = self.at(*offset).map_or(0, |at| self.to.order(at));
                    seen.restore(identity_hash(tenant, app, user, id), at, *ms);
                }
                Some(())
            }
            _ => None,
        })
        .await
    }

    async fn users(&self, memory: &mut Memory) -> Result<(), PipelineError> {
        let Memory { placement, users, erased, .. } = memory;
        let (table, rows) = (&self.known.users, self.rows());
        let last = if self.partition.is_some() { "_offset" } else { "(_incarnation, _partition, _offset)" };
        let statement = format!(
            "SELECT tenant, app, user, toJSONString(argMax(n_more, {last})), toJSONString(argMax(s_more, {last})), \
             toInt64(argMax(_incarnation, {last})), toInt64(argMax(_partition, {last})), toInt64(argMax(_offset, {last})) \
             FROM {table} WHERE {rows} GROUP BY tenant, app, user"
        );
        // A partition that moved has left some on another shard.
        let several = self.known.warehouse.shard_count() > 1;
        let mut newest = HashMap::new();
        self.each_row(&statement, &[], |row| match row {
            [
                Cell::String(tenant),
                Cell::String(app),
                Cell::String(user_id),
                Cell::String(numbers),
                Cell::String(texts),
                Cell::Integer(incarnation),
                Cell::Integer(partition),
                Cell::Integer(offset),
            ] => {
                let (key, at) = (UserKey::new(tenant, app, user_id), (*incarnation, *partition, *offset));
                let is_newest = !several || newest.get(&key).is_none_or(|known| *known < at);
                if is_newest && self.is_wanted(placement, erased, [tenant, app, user_id, ""], *offset) {
                    if several {
                        newest.insert(key.clone(), at);
                    }
                    users.restore(key, user(numbers, texts)?);
                }
                Some(())
            }
            _ => None,
        })
        .await
    }

    /// Which rows.
    fn rows(&self) -> &'static str {
        if self.partition.is_some() { IN_PARTITION } else { OF_LIVES_BEFORE }
    }

    /// Where in this life of the log a row is of, if it is.
    fn at(&self, offset: i64) -> Option<(PartitionId, Offset)> {
        self.partition.map(|(partition, _)| (partition, offset.unsigned_abs()))
    }

    /// Whether the user of the row is one of those that the partition began with, and wasn't erased after it.
    fn is_wanted(
        &self,
        placement: &Placement,
        erased: &Erased,
        [tenant, app, user, id]: [&str; 4],
        offset: i64,
    ) -> bool {
        let (at, end, to) = (self.at(offset), erased.end(tenant, app, user), self.to.partition);
        let is_here = at.is_some_and(|(partition, _)| partition == to)
            || partition_of(tenant, app, user, id, placement.since(to)) == to;
        is_here && end.is_none_or(|end| at.is_some_and(|at| at >= end))
    }

    async fn each_row(
        &self,
        statement: &str,
        more: &[(&'static str, String)],
        mut take: impl FnMut(&[Cell]) -> Option<()>,
    ) -> Result<(), PipelineError> {
        let mut params = vec![("incarnation", self.to.incarnation.to_string())];
        if let Some((partition, before)) = self.partition {
            params.extend([("partition", partition.to_string()), ("before", before.to_string())]);
        }
        params.extend_from_slice(more);
        // Each shard by itself, which tells all that it has or fails.
        for shard in self.known.warehouse.shards() {
            let mut rows = shard.select(statement, &params, &QuerySettings::default())?;
            while let Some(block) = rows.next().await? {
                for row in block.into_rows() {
                    take(&row).ok_or_else(|| {
                        PipelineError::Inconsistent(format!("a row of {} cells can't be read", row.len()))
                    })?;
                }
            }
        }
        Ok(())
    }
}

/// A user from the two maps as JSON objects; see `model::Property::map_key` for their keys.
fn user(numbers: &str, texts: &str) -> Option<User> {
    let numbers: serde_json::Map<String, serde_json::Value> = serde_json::from_str(numbers).ok()?;
    let texts: serde_json::Map<String, serde_json::Value> = serde_json::from_str(texts).ok()?;
    let mut user = User::default();
    for (key, value) in numbers {
        let (name, kind) = match key.split_once('\0') {
            Some((name, "bool")) => (name, PropertyKind::Bool),
            Some((name, "time")) => (name, PropertyKind::Time),
            _ => (key.as_str(), PropertyKind::Number),
        };
        user.traits.push((name.into(), kind, TraitValue::Number(value.as_f64()?)));
    }
    for (name, value) in texts {
        user.traits.push((name.as_str().into(), PropertyKind::String, TraitValue::Text(value.as_str()?.into())));
    }
    Some(user)
}

fn params(place: Place) -> Vec<(&'static str, String)> {
    vec![("incarnation", place.incarnation.to_string()), ("partition", place.partition.to_string())]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_user_s_traits_come_back_with_their_kinds() {
        let user =
            user(r#"{"age":42,"vip\u0000bool":1,"since\u0000time":1700000000000}"#, r#"{"country":"DE","plan":"pro"}"#)
                .unwrap();
        assert_eq!((user.country(), user.plan()), (Some("DE"), Some("pro")));
        let kinds: HashSet<_> = user.traits.iter().map(|(name, kind, _)| (&**name, *kind)).collect();
        assert!(kinds.contains(&("vip", PropertyKind::Bool)) && kinds.contains(&("since", PropertyKind::Time)));
        assert!(kinds.contains(&("age", PropertyKind::Number)) && kinds.contains(&("plan", PropertyKind::String)));
    }
}
