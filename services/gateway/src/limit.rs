//! A rate limit for each tenant.

use std::{collections::HashMap, time::Duration};

use mesh::rate::{Meter, OverRate, Rate};
use model::TenantId;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Calls a second, with a burst after a pause.
pub(crate) struct RateLimit {
    rate: Rate,
    meters: Mutex<HashMap<TenantId, Meter>>,
}

impl RateLimit {
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        Self { rate: Rate { per_second: per_second.into(), burst: burst.into() }, meters: Mutex::default() }
    }

    /// Takes one call, or says when the next may come.
    pub(crate) fn take(&self, tenant: &TenantId, now: Instant) -> Result<(), Duration> {
        let mut meters = self.meters.lock();
        let meter = meters.entry(tenant.clone()).or_default();
        meter.take(self.rate, 1, now).map_err(|over| match over {
            OverRate::For(wait) => wait,
            OverRate::Always => Duration::from_secs(1), // one call fits into any burst
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_then_the_rate_and_no_tenant_pays_for_another() {
        let (limit, a, b) = (RateLimit::new(10, 5), TenantId::new("a").unwrap(), TenantId::new("b").unwrap());
        for _ in 0..5 {
            limit.take(&a, Instant::now()).unwrap();
        }
        assert_eq!(limit.take(&a, Instant::now()), Err(Duration::from_millis(100)));
        limit.take(&b, Instant::now()).unwrap();
        tokio::time::advance(Duration::from_millis(100)).await;
        limit.take(&a, Instant::now()).unwrap();
    }
}
