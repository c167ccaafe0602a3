//! What the queries of each tenant, and of each of its apps, may read a second, in bytes.
//!
//! How much a query reads is known when it has ended. So it starts while what was read before is paid for, with a part of what it is expected to read
//! put aside, and is charged in the end with what it read, be it more than there is: then the next one waits for that.

use std::sync::Arc;

use mesh::{
    limits::{Holder, Limit, Limits, rate},
    rate::{OverRate, Rate},
};
use model::{AppId, Error, TenantId};
use std::time::Duration;

use crate::Options;

/// No query puts more aside than such a part of a burst, so that several can start at once.
const PARTS: u64 = 8;

pub(crate) struct Reading {
    limits: Arc<Limits>,
    limit: Limit,
    /// A second and at once, of a tenant for which nothing was set.
    default: (u64, u64),
}

/// What a query may read; it is charged when this is dropped.
pub(crate) struct Spending {
    reading: Arc<Reading>,
    /// Who has a limit, of which so much was put aside.
    aside: Vec<(Holder, Rate, u64)>,
    /// What it read; none, what was put aside.
    read: Option<u64>,
}

impl Reading {
    pub(crate) fn new(limits: Arc<Limits>, options: &Options) -> Self {
        let limit = Limit::new(&limits, "query_bytes_per_second", "bytes read by queries");
        Self { limits, limit, default: (options.tenant_bytes_per_second, options.tenant_bytes_burst) }
    }

    /// Lets a query of an app start that is expected to read so much, or says when it may.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        tenant: &TenantId,
        app: &AppId,
        expected: u64,
    ) -> Result<Spending, Error> {
        let mut spending = Spending { reading: Arc::clone(self), aside: Vec::new(), read: Some(0) };
        for (holder, default) in [(tenant.into(), self.default), (Holder::app(tenant, app), (0, 0))] {
            let quota = self.limits.of(&holder);
            let rate = rate((quota.query_bytes_per_second, default.0), (quota.query_bytes_burst, default.1));
            let Some(rate) = rate else { continue };
            let aside = expected.min(rate.burst / PARTS).max(1);
            self.limit.take(&holder, rate, aside).await.map_err(|over| {
                let wait = match over {
                    OverRate::For(wait) => wait,
                    OverRate::Always => Duration::from_secs(1), // what is put aside fits into any burst
                };
                self.limit.refusal(&holder, rate, wait)
            })?;
            spending.aside.push((holder, rate, aside));
        }
        Ok(spending)
    }
}

impl Spending {
    /// The query runs: it is charged what was put aside unless it turns out what it read.
    pub(crate) fn start(&mut self) {
        self.read = None;
    }

    /// What it read.
    pub(crate) fn read(&mut self, bytes: u64) {
        self.read = Some(bytes);
    }
}

impl Drop for Spending {
    fn drop(&mut self) {
        let (limit, Some(read)) = (&self.reading.limit, self.read) else { return };
        for (holder, rate, aside) in &self.aside {
            match read.checked_sub(*aside) {
                Some(0) => {}
                Some(more) => limit.owe(holder, *rate, more),
                None => limit.give_back(holder, *rate, aside - read),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use model::ErrorCode;
    use storage::{AllSettings, Quota, Settings};

    use super::*;

    const MB: u64 = 1_000_000;

    async fn reading() -> Arc<Reading> {
        let cache = storage::open_cache("memory:").await.unwrap();
        let options = Options { tenant_bytes_per_second: MB, tenant_bytes_burst: 8 * MB, ..Options::default() };
        Arc::new(Reading::new(Arc::new(Limits::new(cache, "query", 0)), &options))
    }

    async fn reads(reading: &Arc<Reading>, tenant: &str, bytes: u64) -> Result<(), Error> {
        let (tenant, app) = (TenantId::new(tenant).unwrap(), AppId::new("shop").unwrap());
        let mut spending = reading.begin(&tenant, &app, 16 * MB).await?;
        spending.start();
        spending.read(bytes);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_read_its_burst_and_more_waits_until_it_is_paid() {
        let reading = reading().await;
        reads(&reading, "a", 7 * MB).await.unwrap();
        reads(&reading, "a", 21 * MB).await.unwrap(); // it can't be known before
        let refused = reads(&reading, "a", 1).await.unwrap_err();
        let limit = refused.limit.unwrap();
        assert_eq!(
            (refused.code, &*limit.name, limit.value),
            (ErrorCode::ResourceExhausted, "query_bytes_per_second", MB)
        );
        let wait = refused.retry_after.unwrap();
        assert_eq!(wait, Duration::from_millis(21_001), "20 MB too much, and 1 MB to put aside");
        reads(&reading, "b", 1).await.unwrap();
        tokio::time::advance(wait - Duration::from_millis(2)).await;
        reads(&reading, "a", 1).await.unwrap_err();
        tokio::time::advance(Duration::from_millis(2)).await;
        reads(&reading, "a", 1).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_put_aside_and_not_read_is_there_again() {
        let reading = reading().await;
        let (a, app) = (TenantId::new("a").unwrap(), AppId::new("shop").unwrap());
        for _ in 0..100 {
            reads(&reading, "a", 10_000).await.unwrap();
            drop(reading.begin(&a, &app, 16 * MB).await.unwrap()); // it never ran
        }
        let running = futures::future::join_all((0..8).map(|_| reading.begin(&a, &app, MB))).await;
        assert_eq!(running.iter().filter(|begun| begun.is_ok()).count(), 7, "of the burst a million is read");
    }

    #[tokio::test(start_paused = true)]
    async fn an_app_that_has_read_its_own_waits_and_its_tenant_s_others_go_on() {
        let reading = reading().await;
        let (a, shop, blog) = (TenantId::new("a").unwrap(), AppId::new("shop").unwrap(), AppId::new("blog").unwrap());
        let quota = Quota { query_bytes_per_second: Some(MB / 100), ..Quota::default() };
        let settings = Settings { quota, ..Settings::default() };
        reading.limits.set(AllSettings::of([(Some(a.clone()), Some(shop.clone()), settings)]));
        reads(&reading, "a", MB).await.unwrap();
        let refused = reading.begin(&a, &shop, 1).await.err().unwrap();
        assert_eq!(&*refused.limit.unwrap().subject, "tenants/a/apps/shop");
        assert!(refused.message.contains("the app's 10000 bytes"), "{}", refused.message);
        reading.begin(&a, &blog, MB).await.unwrap();
        let running = futures::future::join_all((0..8).map(|_| reading.begin(&a, &blog, MB))).await;
        assert_eq!(running.iter().filter(|begun| begun.is_ok()).count(), 7, "and who was refused was charged nothing");
    }
}
