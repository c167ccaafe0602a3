//! A rate limit for each tenant: the generic cell rate algorithm, one number a tenant.

use std::{collections::HashMap, time::Duration};

use model::TenantId;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Calls a second, with a burst after a pause.
pub(crate) struct RateLimit {
    /// Time that one call takes up.
    cell: Duration,
    /// How far ahead of now a tenant's calls may reach.
    burst: Duration,
    /// When each tenant's calls are all paid for.
    paid_until: Mutex<HashMap<TenantId, Instant>>,
}

impl RateLimit {
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let cell = Duration::from_secs(1) / per_second.max(1);
        Self { cell, burst: cell * burst.max(1), paid_until: Mutex::default() }
    }

    /// Takes one call, or says when the next may come.
    pub(crate) fn take(&self, tenant: &TenantId, now: Instant) -> Result<(), Duration> {
        let mut paid_until = self.paid_until.lock();
        let paid = paid_until.entry(tenant.clone()).or_insert(now);
        let after = (*paid).max(now) + self.cell;
        let ahead = after - now;
        if ahead > self.burst {
            return Err(ahead - self.burst);
        }
        *paid = after;
        Ok(())
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
        assert!(limit.take(&a, Instant::now()).is_err());
        tokio::time::advance(Duration::from_secs(60)).await;
        let taken = (0..9).filter(|_| limit.take(&a, Instant::now()).is_ok()).count();
        assert_eq!(taken, 5, "a long pause saves up one burst, no more");
    }
}
