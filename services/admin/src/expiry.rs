//! Deletes what is older than its tenant keeps it.
//!
//! Days go whole ([`storage::kept_from_ms`]). The ledger records first which days of which apps are to go, and, with the change of their
//! hours' epochs, that they are gone: whoever is stopped in between, the next look ends it. Looking again finds what came in late.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use model::{AppId, TenantId};
use storage::{
    AllSettings, ExpiringDay, Leased, MetaError, Metastore, Settings, Warehouse, WarehouseError, kept_from_ms,
    warehouse::schema::UNCOUNTED_DAYS,
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::RetentionOptions;

/// What expiry stands on.
pub struct Expiry {
    /// Who keeps what, and what is to go.
    pub meta: Arc<dyn Metastore>,
    /// Where events lie.
    pub warehouse: Warehouse,
    /// For how long.
    pub options: RetentionOptions,
    /// Among others, if the lease is its own. Two at once only work twice.
    pub leased: Leased,
}

#[derive(Debug, thiserror::Error)]
enum ExpiryError {
    #[error(transparent)]
    Meta(#[from] MetaError),
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
}

/// For how many days each keeps events.
struct Kept {
    default: u32,
    set: AllSettings,
    tenants: Vec<TenantId>,
}

impl Expiry {
    /// Looks now and again for what is older, until `stop`. Of several processes one does.
    pub async fn run(self, stop: CancellationToken) {
        let pause = Duration::from_secs(self.options.look_seconds.max(1));
        self.leased.look(pause, stop.cancelled(), || self.look()).await; // what is recorded the next look ends
    }

    async fn look(&self) -> Result<(), ExpiryError> {
        match self.leased.hold(self.look_between_replays()).await {
            // UNKNOWN_TABLE, UNKNOWN_DATABASE: nobody has stored anything yet.
            Err(ExpiryError::Warehouse(WarehouseError::Rejected { code: 60 | 81, .. })) => Ok(()),
            looked => looked.map(drop),
        }
    }

    /// A replay copies rows, and a copy that it made before a deletion may come after it: during one nothing goes, and what went when one
    /// began is looked for again.
    async fn look_between_replays(&self) -> Result<(), ExpiryError> {
        loop {
            let clock = self.meta.replay_clock().await?;
            if clock.running {
                return Ok(());
            }
            self.look_alone().await?;
            if self.meta.replay_clock().await? == clock {
                return Ok(());
            }
        }
    }

    async fn look_alone(&self) -> Result<(), ExpiryError> {
        let mut left: BTreeMap<i64, Vec<ExpiringDay>> = BTreeMap::new();
        for day in self.meta.expiring().await? {
            left.entry(day.day_ms).or_default().push(day);
        }
        for (day_ms, apps) in left {
            self.delete(day_ms, &apps).await?;
        }
        let kept = Kept::of(&*self.meta, self.options.days).await?;
        for day_ms in self.warehouse.days().await? {
            let tenants = kept.due(day_ms, (self.leased.now_ms)());
            if tenants.is_empty() {
                continue;
            }
            let there = self.warehouse.apps_of_day(day_ms, &tenants).await?;
            let due = there.into_iter().filter(|(tenant, app)| {
                kept.since_ms(tenant, app, (self.leased.now_ms)()).is_some_and(|from_ms| day_ms < from_ms)
            });
            let due: Vec<_> = due.map(|(tenant, app)| ExpiringDay { day_ms, tenant, app }).collect();
            if !due.is_empty() {
                self.meta.expire(&due).await?;
                self.delete(day_ms, &due).await?;
            }
        }
        self.delete_uncounted(&kept).await
    }

    /// Deletes what is recorded.
    async fn delete(&self, day_ms: i64, days: &[ExpiringDay]) -> Result<(), ExpiryError> {
        let apps: Vec<_> = days.iter().map(|day| (day.tenant.clone(), day.app.clone())).collect();
        self.warehouse.expire(day_ms, &apps).await?;
        self.meta.expired(days).await?;
        info!(day_ms, apps = apps.len(), "deleted the events of a day that is no longer kept");
        Ok(())
    }

    /// Dead letters are events too. They go by when they were received: later than they happened but for the difference of clocks, for
    /// which a day more is given, so that all of it happened before the day that the ledger then records. The table itself keeps none
    /// for longer than [`UNCOUNTED_DAYS`].
    async fn delete_uncounted(&self, kept: &Kept) -> Result<(), ExpiryError> {
        let mut due = Vec::new();
        for tenant in
            kept.tenants.iter().filter(|tenant| kept.least(tenant).is_some_and(|days| i64::from(days) < UNCOUNTED_DAYS))
        {
            for app in self.meta.apps(tenant).await? {
                let before_ms = kept.since_ms(tenant, &app.id, (self.leased.now_ms)());
                due.extend(before_ms.map(|before_ms| (tenant.clone(), app.id, before_ms - model::DAY_MS)));
            }
        }
        let there = self.warehouse.uncounted_before(&due).await?;
        due.retain(|(tenant, app, _)| there.iter().any(|(of, id)| (of, id) == (tenant, app)));
        let days: Vec<_> = due
            .iter()
            .map(|(tenant, app, before_ms)| ExpiringDay {
                day_ms: *before_ms,
                tenant: tenant.clone(),
                app: app.clone(),
            })
            .collect();
        self.meta.expire(&days).await?;
        self.warehouse.expire_uncounted(&due).await?;
        Ok(self.meta.expired(&days).await?)
    }
}

impl Kept {
    async fn of(meta: &dyn Metastore, default: u32) -> Result<Self, MetaError> {
        let set = meta.all_settings().await?;
        let tenants = meta.tenants().await?.into_iter().map(|tenant| tenant.id).collect();
        Ok(Self { default, set, tenants })
    }

    fn days(&self, settings: &Settings) -> u32 {
        settings.retention_days.unwrap_or(self.default)
    }

    /// The start of the first day that is kept.
    fn since_ms(&self, tenant: &TenantId, app: &AppId, now_ms: i64) -> Option<i64> {
        kept_from_ms(self.days(self.set.at(tenant, Some(app))), now_ms)
    }

    /// The shortest time for which any app of the tenant keeps events, in days; none if all keep them for ever.
    fn least(&self, tenant: &TenantId) -> Option<u32> {
        let all = self.set.of_apps(tenant).chain([self.set.at(tenant, None)]);
        all.map(|settings| self.days(settings)).filter(|days| *days > 0).min()
    }

    /// The tenants of which some app keeps the day no longer.
    fn due(&self, day_ms: i64, now_ms: i64) -> Vec<TenantId> {
        let is_due = |tenant: &&TenantId| {
            self.least(tenant).and_then(|days| kept_from_ms(days, now_ms)).is_some_and(|from_ms| day_ms < from_ms)
        };
        self.tenants.iter().filter(is_due).cloned().collect()
    }
}
