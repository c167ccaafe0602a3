use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use model::{AppId, HOUR_MS, Incarnation, Offset, PartitionId, TenantId};

use super::{Cell, QuerySettings, Reason, Warehouse, WarehouseError, daily::differences, param, schema};

/// A user who ends at a place in the log: what stands before it is to be erased.
#[derive(Debug, Clone, Copy)]
pub struct ErasedUser<'a> {
    /// Whose user it is.
    pub tenant: &'a TenantId,
    /// The tenant's app.
    pub app: &'a AppId,
    /// The user.
    pub user_id: &'a str,
    /// The life of the log. Of earlier lives everything is the user's.
    pub incarnation: Incarnation,
    /// The user's partition. What the user has in lower ones is of before: a user moves to a higher one if at all.
    pub partition: PartitionId,
    /// The first offset of the user's partition that is a new user's.
    pub end: Offset,
}

/// What a user still has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remains {
    /// Rows by table; every table that can have any is named.
    pub rows: BTreeMap<&'static str, u64>,
    /// Hours with events, UTC ms.
    pub hours: BTreeSet<i64>,
}

/// The tables with rows of users, each row of which came from one record of the log.
const TABLES: [&str; 3] = [schema::EVENTS, schema::USERS, schema::UNCOUNTED];

impl Warehouse {
    /// Looks for what the user still has.
    pub async fn remains(&self, user: &ErasedUser<'_>) -> Result<Remains, WarehouseError> {
        let condition = condition(user);
        let statements = TABLES.map(|table| {
            let hour = match table {
                schema::EVENTS => format!("intDiv(toUnixTimestamp64Milli(ts), {HOUR_MS}) * {HOUR_MS}"),
                _ => "toInt64(0)".to_owned(),
            };
            format!("SELECT '{table}' AS place, {hour} AS hour, toInt64(count()) FROM {table} WHERE {condition} GROUP BY hour")
        });
        let mut stream = self.select(&statements.join(" UNION ALL "), &[], &QuerySettings::default())?;
        let mut remains = Remains { rows: TABLES.map(|table| (table, 0)).into(), ..Remains::default() };
        while let Some(block) = stream.next().await? {
            for row in block.into_rows() {
                let [Cell::String(place), Cell::Integer(hour_ms), Cell::Integer(rows)] = row.as_slice() else {
                    return Err(WarehouseError::Protocol(format!("a row of {} cells can't be read", row.len())));
                };
                if let Some(sum) = TABLES.iter().find(|table| *table == place).and_then(|t| remains.rows.get_mut(t)) {
                    *sum += rows.unsigned_abs();
                }
                if place == schema::EVENTS {
                    remains.hours.insert(*hour_ms);
                }
            }
        }
        Ok(remains)
    }

    /// Puts in the place of each record of these users a row that says nothing of it but that it is erased, so that its offset is still
    /// accounted for when the others are deleted. Done again it adds what was not there; twice at once it may add a row twice.
    pub async fn mark_erased(&self, users: &[ErasedUser<'_>]) -> Result<(), WarehouseError> {
        if users.is_empty() {
            return Ok(());
        }
        let (condition, place) = (any_of(users, condition), "_incarnation, _partition, _offset");
        let rows = TABLES.map(|table| {
            let reason = if table == schema::USERS { Reason::ErasedIdentify } else { Reason::Erased };
            format!(
                "SELECT tenant, app, '{}' AS why, received_at, {place} FROM {table} WHERE {condition}",
                reason.name()
            )
        });
        let apps: BTreeSet<_> = users.iter().map(|user| (user.tenant.as_str(), user.app.as_str())).collect();
        let apps: Vec<_> =
            apps.iter().map(|(t, a)| format!("({}, {})", param::literal(t), param::literal(a))).collect();
        let [erased, identify] = Reason::OF_ERASED.map(Reason::name);
        let statement = format!(
            "INSERT INTO {UNCOUNTED} (tenant, app, reason, received_at, {place}) \
             SELECT tenant, app, why, received_at, {place} FROM ({rows}) \
             WHERE received_at > now() - INTERVAL {UNCOUNTED_DAYS} DAY AND ({place}) NOT IN \
             (SELECT {place} FROM {UNCOUNTED} WHERE (tenant, app) IN ({apps}) AND reason IN ('{erased}', '{identify}'))",
            UNCOUNTED = schema::UNCOUNTED,
            UNCOUNTED_DAYS = schema::UNCOUNTED_DAYS,
            rows = rows.join(" UNION ALL "),
            apps = apps.join(", "),
        );
        // What stands for a record lies on the record's shard. Rows alike are another's, or those that a mutation just deleted: no block of
        // them is a retry.
        let settings: Vec<_> = [("insert_deduplicate", "0")].into_iter().chain(self.insert_quorum()).collect();
        for shard in self.shards() {
            shard.execute(&statement, &settings).await?;
        }
        Ok(())
    }

    /// Deletes all that these users have, from disk too, and returns when it is done on every replica. It may take long: each part that has
    /// such rows is written anew. Inserts that come meanwhile are not waited for.
    pub async fn delete_erased(&self, users: &[ErasedUser<'_>]) -> Result<(), WarehouseError> {
        if users.is_empty() {
            return Ok(());
        }
        let condition = any_of(users, condition);
        for table in TABLES {
            let statement = format!("ALTER TABLE {table} DELETE WHERE {condition}");
            self.delete(&statement).await?;
        }
        Ok(())
    }

    /// How the user's rollup differs from the events, of a new user too: how many events it lacks, and how many it has too many.
    pub async fn erased_daily_users(&self, user: &ErasedUser<'_>) -> Result<(u64, u64), WarehouseError> {
        let differences = daily_differences(user);
        let statement = format!(
            "SELECT toInt64(sumIf(more, more > 0)), toInt64(sumIf(-more, more < 0)) FROM (SELECT sum(more) AS more FROM ({differences}) \
             GROUP BY day, _incarnation, _partition)"
        );
        let rows = self.select(&statement, &[], &QuerySettings::default())?.collect().await?;
        match rows.as_slice() {
            [row] if let [Cell::Integer(lacks), Cell::Integer(surplus)] = row.as_slice() => {
                Ok((lacks.unsigned_abs(), surplus.unsigned_abs()))
            }
            _ => Err(WarehouseError::Protocol(format!("a comparison has {} rows", rows.len()))),
        }
    }

    /// Whether the user has events, of a new user too, that stand in these places of the user's life of the log.
    pub async fn has_events(
        &self,
        user: &ErasedUser<'_>,
        places: &[(PartitionId, Range<Offset>)],
    ) -> Result<bool, WarehouseError> {
        let places = places.iter().map(|(partition, Range { start, end })| {
            format!("(_partition = {partition} AND _offset >= {start} AND _offset < {end})")
        });
        let statement = format!(
            "SELECT toInt64(1) FROM {} WHERE {} AND _incarnation = {} AND ({}) LIMIT 1",
            schema::EVENTS,
            whose(user),
            user.incarnation,
            places.collect::<Vec<_>>().join(" OR ")
        );
        Ok(!self.select(&statement, &[], &QuerySettings::default())?.collect().await?.is_empty())
    }

    /// Deletes these users from the rollup, together with what it has of a new user: that is lacking then.
    pub async fn delete_daily_users(&self, users: &[ErasedUser<'_>]) -> Result<(), WarehouseError> {
        if users.is_empty() {
            return Ok(());
        }
        let any = any_of(users, |user| format!("{} AND _incarnation <= {}", whose(user), user.incarnation));
        let statement = format!("ALTER TABLE {} DELETE WHERE {any}", schema::DAILY_USERS);
        self.delete(&statement).await
    }

    /// Adds to the user's rollup what it lacks. Right only as far as nothing of the user is inserted meanwhile: look again.
    pub async fn fill_daily_users(&self, user: &ErasedUser<'_>) -> Result<(), WarehouseError> {
        self.add_daily_users(&daily_differences(user), "sum(more) > 0").await
    }
}

/// What the events count and, less than nothing, what the rollup counts.
fn daily_differences(user: &ErasedUser<'_>) -> String {
    let whose = format!("{} AND _incarnation <= {}", whose(user), user.incarnation);
    differences(&whose, &whose)
}

fn any_of(users: &[ErasedUser<'_>], condition: impl Fn(&ErasedUser<'_>) -> String) -> String {
    let conditions: Vec<_> = users.iter().map(|user| format!("({})", condition(user))).collect();
    format!("({})", conditions.join(" OR "))
}

fn condition(user: &ErasedUser<'_>) -> String {
    let ErasedUser { incarnation, partition, end, .. } = user;
    format!("{} AND (_incarnation, _partition, _offset) < ({incarnation}, {partition}, {end})", whose(user))
}

/// Not with parameters: a mutation is kept as text, for longer than its statement runs.
fn whose(user: &ErasedUser<'_>) -> String {
    let [tenant, app, user_id] = [user.tenant.as_str(), user.app.as_str(), user.user_id].map(param::literal);
    format!("tenant = {tenant} AND app = {app} AND user = {user_id}")
}
