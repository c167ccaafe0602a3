//! Letting go of what is older than its tenant keeps it.
//!
//! Every day's partition holds the rows of all tenants, so one statement a day and table deletes those of all apps that are due on it,
//! and names them: what comes in for others meanwhile is never touched. A part of which all rows go is dropped without being rewritten.
//! A TTL would need each tenant's days inside the table's definition, and nobody could say when it was done.

use jiff::Timestamp;
use model::{AppId, DAY_MS, TenantId};

use super::{Cell, QuerySettings, Warehouse, WarehouseError, param, schema};

impl Warehouse {
    /// The UTC days that hold events (their starts, ms), the earliest first.
    pub async fn days(&self) -> Result<Vec<i64>, WarehouseError> {
        // Answered from what the engine knows of each part, without reading any.
        let statement =
            format!("SELECT _partition_id, toUnixTimestamp64Milli(min(ts)) FROM {} GROUP BY 1", schema::EVENTS);
        let rows = self.select(&statement, &[], &QuerySettings::default())?.collect().await?;
        let mut days = Vec::with_capacity(rows.len());
        for row in rows {
            match row[..] {
                [_, Cell::Integer(ms)] => days.push(ms.div_euclid(DAY_MS) * DAY_MS),
                _ => return Err(unreadable()),
            }
        }
        days.sort_unstable();
        Ok(days)
    }

    /// Whose events a day holds, of these tenants.
    pub async fn apps_of_day(
        &self,
        day_ms: i64,
        tenants: &[TenantId],
    ) -> Result<Vec<(TenantId, AppId)>, WarehouseError> {
        let mut apps = Vec::new();
        for table in schema::BY_DAY {
            let statement = format!(
                "SELECT DISTINCT tenant, app FROM {table} \
                 WHERE _partition_id = {{day:String}} AND tenant IN {{tenants:Array(String)}}"
            );
            let params =
                [("day", partition(day_ms)?), ("tenants", param::strings(tenants.iter().map(TenantId::as_str)))];
            apps.extend(self.apps(&statement, &params).await?);
        }
        apps.sort_unstable();
        apps.dedup();
        Ok(apps)
    }

    /// Deletes what the apps have on a day, and returns when it is gone.
    pub async fn expire(&self, day_ms: i64, apps: &[(TenantId, AppId)]) -> Result<(), WarehouseError> {
        let day = partition(day_ms)?;
        for table in schema::BY_DAY {
            let statement = format!("ALTER TABLE {table} DELETE IN PARTITION ID '{day}' WHERE {}", one_of(apps));
            self.delete(&statement).await?;
        }
        let (from, to) = (param::instant(day_ms), param::instant(day_ms + DAY_MS));
        let states = schema::BUCKET_STATES;
        self.delete(&format!(
            "ALTER TABLE {states} DELETE WHERE {} AND bucket >= {from} AND bucket < {to}",
            one_of(apps)
        ))
        .await
    }

    /// Which of these apps have anything that doesn't count and was received before the time beside each (UTC ms).
    pub async fn uncounted_before(
        &self,
        apps: &[(TenantId, AppId, i64)],
    ) -> Result<Vec<(TenantId, AppId)>, WarehouseError> {
        if apps.is_empty() {
            return Ok(Vec::new());
        }
        let due = received_before(apps);
        self.apps(&format!("SELECT DISTINCT tenant, app FROM {} WHERE {due}", schema::UNCOUNTED), &[]).await
    }

    /// Deletes that, and returns when it is gone.
    pub async fn expire_uncounted(&self, apps: &[(TenantId, AppId, i64)]) -> Result<(), WarehouseError> {
        if apps.is_empty() {
            return Ok(());
        }
        let statement = format!("ALTER TABLE {} DELETE WHERE {}", schema::UNCOUNTED, received_before(apps));
        self.delete(&statement).await
    }

    async fn apps(&self, statement: &str, params: &[(&str, String)]) -> Result<Vec<(TenantId, AppId)>, WarehouseError> {
        let rows = self.select(statement, params, &QuerySettings::default())?.collect().await?;
        let app = |row: Vec<Cell>| match &row[..] {
            [Cell::String(tenant), Cell::String(app)] => Some((TenantId::new(tenant).ok()?, AppId::new(app).ok()?)),
            _ => None,
        };
        rows.into_iter().map(|row| app(row).ok_or_else(unreadable)).collect()
    }
}

/// The day's partition, as `toYYYYMMDD` names it.
fn partition(day_ms: i64) -> Result<String, WarehouseError> {
    let day = Timestamp::from_millisecond(day_ms).map_err(|e| WarehouseError::Protocol(e.to_string()))?;
    Ok(day.strftime("%Y%m%d").to_string())
}

/// Ids are plain words: they need no quoting.
fn one_of(apps: &[(TenantId, AppId)]) -> String {
    let pairs: Vec<_> = apps.iter().map(|(tenant, app)| format!("('{tenant}', '{app}')")).collect();
    format!("(tenant, app) IN ({})", pairs.join(", "))
}

/// Of each app, what was received before the time beside it (UTC ms).
pub(super) fn received_before(apps: &[(TenantId, AppId, i64)]) -> String {
    let before = |(tenant, app, ms): &(TenantId, AppId, i64)| {
        let time = param::instant(*ms);
        format!("(tenant = '{tenant}' AND app = '{app}' AND received_at < {time})")
    };
    apps.iter().map(before).collect::<Vec<_>>().join(" OR ")
}

fn unreadable() -> WarehouseError {
    WarehouseError::Protocol("a row of the tables that expire can't be read".to_owned())
}
