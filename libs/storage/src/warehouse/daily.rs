//! Users and their events by UTC day, kept beside the events by a materialized view of the server's own.
//!
//! The view adds to the rollup what an insert adds to the events, under the same token. Only where it is unknown what became of
//! an insert can one have it and the other not: a server that dies may have written either first. Then whoever owns the
//! partition asks ([`Warehouse::daily_users_agree`]), and counts the day again ([`Warehouse::rebuild_daily_users`]).

use model::DAY_MS;

use super::{Cell, QuerySettings, Warehouse, WarehouseError, param::instant, schema};

/// The rows of one UTC day that came from one log partition: only its owner adds to them.
#[derive(Debug, Clone, Copy)]
pub struct DayOfPartition {
    /// The start of the day, UTC ms.
    pub day_ms: i64,
    /// The life of the log.
    pub incarnation: u64,
    /// The log partition.
    pub partition: u32,
}

impl DayOfPartition {
    fn of_events(self) -> String {
        let (of_log, from, to) = (self.of_log(), instant(self.day_ms), instant(self.day_ms + DAY_MS));
        format!("{of_log} AND ts >= {from} AND ts < {to}")
    }

    fn of_daily_users(self) -> String {
        format!("{} AND day = {}", self.of_log(), instant(self.day_ms))
    }

    fn of_log(self) -> String {
        format!("_incarnation = {} AND _partition = {}", self.incarnation, self.partition)
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
            self.execute(&schema::daily_users_view(), &[]).await?;
        }
        Ok(())
    }

    /// Whether the rollup counts as many events as there are.
    pub async fn daily_users_agree(&self, rows: DayOfPartition) -> Result<bool, WarehouseError> {
        let statement = format!(
            "SELECT (SELECT count() FROM {} WHERE {}) = (SELECT sum(events) FROM {} WHERE {})",
            schema::EVENTS,
            rows.of_events(),
            schema::DAILY_USERS,
            rows.of_daily_users()
        );
        let rows = self.select(&statement, &[], &QuerySettings::default())?.collect().await?;
        match rows.as_slice() {
            [row] => Ok(row.first() == Some(&Cell::Integer(1))),
            _ => Err(WarehouseError::Protocol(format!("a comparison has {} rows", rows.len()))),
        }
    }

    /// Counts the day again from the events. Nothing may be inserted into these rows meanwhile. Until it is done, readers
    /// may find some of the day's users missing.
    pub async fn rebuild_daily_users(&self, rows: DayOfPartition) -> Result<(), WarehouseError> {
        let delete = format!("ALTER TABLE {} DELETE WHERE {}", schema::DAILY_USERS, rows.of_daily_users());
        let fill = format!(
            "INSERT INTO {} {}",
            schema::DAILY_USERS,
            schema::daily_users_of(&format!("{} WHERE {}", schema::EVENTS, rows.of_events()))
        );
        self.delete(&delete).await?;
        // The same rows under the same token again would be taken for a retry: their first insert was just deleted.
        self.execute(&fill, &[("insert_deduplicate", "0")]).await
    }
}
