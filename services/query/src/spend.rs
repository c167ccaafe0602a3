//! What each tenant's queries may read a second, in bytes.
//!
//! How much a query reads is known when it has ended. So it starts while what was read before is paid for, with a part of what it is expected to read
//! put aside, and is charged in the end with what it read, be it more than there is: then the next one waits for that.

use std::sync::Arc;

use mesh::{
    limits::{Limit, Limits, rate},
    rate::{OverRate, Rate},
};
use model::{Error, TenantId};
use std::time::Duration;

use crate::Options;

/// No query puts more aside than such a part of a burst, so that several can start at once.
const PARTS: u64 = 8;

pub(crate) struct Reading {
    limits: Arc<Limits>,
    limit: Limit,
    /// A second and at once, where nothing was set.
    default: (u64, u64),
}

/// What a query may read; it is charged when this is dropped.
pub(crate) struct Spending {
    reading: Arc<Reading>,
    tenant: TenantId,
    /// None: there is no limit.
    rate: Option<Rate>,
    aside: u64,
    read: u64,
}

impl Reading {
    pub(crate) fn new(limits: Arc<Limits>, options: &Options) -> Self {
        let limit = Limit::new(&limits, "query_bytes_per_second", "bytes read by queries");
        Self { limits, limit, default: (options.tenant_bytes_per_second, options.tenant_bytes_burst) }
    }

    /// Lets a query start that is expected to read so much, or says when it may.
    pub(crate) async fn begin(self: &Arc<Self>, tenant: &TenantId, expected: u64) -> Result<Spending, Error> {
        let (quota, default) = (self.limits.of(tenant), self.default);
        let rate = rate((quota.query_bytes_per_second, default.0), (quota.query_bytes_burst, default.1));
        let aside = rate.map_or(0, |rate| expected.min(rate.burst / PARTS).max(1));
        if let Some(rate) = rate {
            self.limit.take(tenant, rate, aside).await.map_err(|over| {
                let wait = match over {
                    OverRate::For(wait) => wait,
                    OverRate::Always => Duration::from_secs(1), // what is put aside fits into any burst
                };
                self.limit.refusal(tenant, rate, wait)
            })?;
        }
        Ok(Spending { reading: Arc::clone(self), tenant: tenant.clone(), rate, aside, read: 0 })
    }
}

impl Spending {
    /// The query runs: it is charged what was put aside unless it turns out what it read.
    pub(crate) fn start(&mut self) {
        self.read = self.aside;
    }

    /// What it read.
    pub(crate) fn read(&mut self, bytes: u64) {
        self.read = bytes;
    }
}

impl Drop for Spending {
    fn drop(&mut self) {
        let Some(rate) = self.rate else { return };
        let limit = &self.reading.limit;
        match self.read.checked_sub(self.aside) {
            Some(0) => {}
            Some(more) => limit.owe(&self.tenant, rate, more),
            None => limit.give_back(&self.tenant, rate, self.aside - self.read),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use model::ErrorCode;

    use super::*;

    const MB: u64 = 1_000_000;

    async fn reading() -> Arc<Reading> {
        let cache = storage::open_cache("memory:").await.unwrap();
        let options = Options { tenant_bytes_per_second: MB, tenant_bytes_burst: 8 * MB, ..Options::default() };
        Arc::new(Reading::new(Arc::new(Limits::new(cache, "query", 0)), &options))
    }

    async fn reads(reading: &Arc<Reading>, tenant: &str, bytes: u64) -> Result<(), Error> {
        let mut spending = reading.begin(&TenantId::new(tenant).unwrap(), 16 * MB).await?;
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
        let a = TenantId::new("a").unwrap();
        for _ in 0..100 {
            reads(&reading, "a", 10_000).await.unwrap();
            drop(reading.begin(&a, 16 * MB).await.unwrap()); // it never ran
        }
        let running = futures::future::join_all((0..8).map(|_| reading.begin(&a, MB))).await;
        assert_eq!(running.iter().filter(|begun| begun.is_ok()).count(), 7, "of the burst a million is read");
    }
}
