//! Users and their events by UTC day, kept beside the events by a materialized view of the server's own.
//!
//! The view adds to the rollup what an insert adds to the events, under the same token. Only where it is unknown what became of
//! an insert can one have it and the other not: a server that dies may have written either first. Then whoever owns the
//! partition asks ([`Warehouse::daily_users_differ`]), and mends it ([`Warehouse::settle_daily_users`]).

use super::{
    Cell, QuerySettings, Warehouse, WarehouseError,
    schema::{self, Layout},
};

/// The rows of some UTC days that came from one log partition: only its owner adds to them.
#[derive(Debug, Clone)]
pub struct DaysOfPartition {
    /// The starts of the days, UTC ms.
    pub days_ms: Vec<i64>,
    /// The life of the log.
    pub incarnation: u64,
    /// The log partition.
    pub partition: u32,
}

impl DaysOfPartition {
    fn of_events(&self) -> String {
        self.rows("ts")
    }

    fn of_daily_users(&self) -> String {
        self.rows("day")
    }

    fn rows(&self, time: &str) -> String {
        let Self { days_ms, incarnation, partition } = self;
        format!("_incarnation = {incarnation} AND _partition = {partition} AND {}", schema::of_days(time, days_ms))
    }
}

impl Warehouse {
    /// Makes the view. Events that are there already, of a program that had none, are counted first: no such program may
    /// insert meanwhile.
    pub(super) async fn view_daily_users(&self) -> Result<(), WarehouseError> {
        let exists = format!("EXISTS {}", schema::DAILY_USERS_VIEW);
        let exists = self.select(&exists, &[], &QuerySettings::default())?.collect().await?;
        if exists != [[Cell::Integer(1)]] {
            let daily = schema::DAILY_USERS;
            let events = format!("{} WHERE (SELECT count() FROM {daily}) = 0", schema::EVENTS);
            let fill = format!("INSERT INTO {daily} {}", schema::daily_users_of(&events));
            // As many days as there are; and once, should two processes start together.
            let settings =
                [("max_partitions_per_insert_block", "0"), ("insert_deduplication_token", "before the view")];
            self.execute(&fill, &settings).await?;
            self.execute(&schema::daily_users_view(&Layout::default()), &[]).await?;
        }
        Ok(())
    }

    /// The days of these of which the rollup doesn't count as many events as there are.
    pub async fn daily_users_differ(&self, rows: &DaysOfPartition) -> Result<Vec<i64>, WarehouseError> {
        let statement = format!(
            "SELECT day FROM (SELECT {} AS day, toInt64(count()) AS more FROM {} WHERE {} GROUP BY day \
             UNION ALL SELECT day, -toInt64(sum(events)) AS more FROM {} WHERE {} GROUP BY day) \
             GROUP BY day HAVING sum(more) != 0 ORDER BY day",
            schema::DAY,
            schema::EVENTS,
            rows.of_events(),
            schema::DAILY_USERS,
            rows.of_daily_users()
        );
        self.times(&statement).await
    }

    async fn times(&self, statement: &str) -> Result<Vec<i64>, WarehouseError> {
        let rows = self.select(statement, &[], &QuerySettings::default())?.collect().await?;
        let time = |row: &Vec<Cell>| match row[..] {
            [Cell::Time(ms)] => Ok(ms),
            _ => Err(WarehouseError::Protocol(format!("a time has {} cells", row.len()))),
        };
        rows.iter().map(time).collect()
    }

    /// Makes the rollup count what the events are. Nothing may be inserted into these rows meanwhile.
    ///
    /// What differs is added, less than nothing included: a deletion waits for merges, and a busy server has time for those last. Only
    /// what the rollup has of users without any event is deleted, and with it the days: until all is done, readers may find some missing.
    pub async fn settle_daily_users(&self, rows: &DaysOfPartition) -> Result<(), WarehouseError> {
        let (events, daily) = (rows.of_events(), rows.of_daily_users());
        let nobody = format!(
            "SELECT DISTINCT day FROM {} WHERE {daily} AND (tenant, app, day, user) NOT IN \
             (SELECT tenant, app, {} AS day, user FROM {} WHERE {events})",
            schema::DAILY_USERS,
            schema::DAY,
            schema::EVENTS
        );
        let days_ms = self.times(&nobody).await?;
        if !days_ms.is_empty() {
            let of_nobody = DaysOfPartition { days_ms, ..*rows }.of_daily_users();
            self.delete(&format!("ALTER TABLE {} DELETE WHERE {of_nobody}", schema::DAILY_USERS)).await?;
        }
        self.add_daily_users(&differences(&events, &daily), "sum(more) != 0").await
    }

    /// Adds these differences, of those sums of which this holds.
    pub(super) async fn add_daily_users(&self, differences: &str, which: &str) -> Result<(), WarehouseError> {
        let statement = format!(
            "INSERT INTO {} SELECT {COLUMNS}, toUInt64(sum(more)) FROM ({differences}) GROUP BY {COLUMNS} HAVING {which}",
            schema::DAILY_USERS
        );
        // As many days as there are. And rows alike are no retry: they may have been there before they were deleted.
        let settings = [("max_partitions_per_insert_block", "0"), ("insert_deduplicate", "0")];
        let settings: Vec<_> = settings.into_iter().chain(self.insert_quorum()).collect();
        for shard in self.shards() {
            shard.execute(&statement, &settings).await?;
        }
        Ok(())
    }
}

/// What the rollup counts by.
const COLUMNS: &str = "tenant, app, day, user, _incarnation, _partition";

/// What some events count and, less than nothing, what some of the rollup counts: `more`.
pub(super) fn differences(of_events: &str, of_daily_users: &str) -> String {
    format!(
        "SELECT {COLUMNS}, toInt64(events) AS more FROM ({}) UNION ALL \
         SELECT {COLUMNS}, -toInt64(events) AS more FROM {} WHERE {of_daily_users}",
        schema::daily_users_of(&format!("{} WHERE {of_events}", schema::EVENTS)),
        schema::DAILY_USERS
    )
}
