//! What work is done for whom: the measure by which the CPU time of a process is shared out among tenants.
//!
//! Measured is the time that threads spend in the polls of a tenant's calls, streams and blocks. It isn't CPU time itself, whose clock costs a system call a
//! poll: a thread that is put aside in between counts on. Over many calls that is so for all alike, and only shares are made of it.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc, LazyLock, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use metrics::{Counter, counter};
use model::TenantId;

use crate::{
    Body,
    body::{Around, within},
    per_tenant::PerTenant,
};

static OF_TENANTS: LazyLock<PerTenant<Counter>> =
    LazyLock::new(|| PerTenant::new(|tenant| counter!("penstock_tenant_work_nanoseconds_total", "tenant" => tenant)));

thread_local! {
    /// Whether this thread is in a poll that is measured: what is polled within is part of it.
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}

/// Whom work is charged to. It may be known only after the work began.
#[derive(Debug, Clone, Default)]
pub struct Account(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    tenant: OnceLock<(TenantId, Arc<Counter>)>,
    /// What was done before that was known.
    nanoseconds: AtomicU64,
}

impl Account {
    /// That of a tenant.
    pub fn of(tenant: &TenantId) -> Self {
        let account = Self::default();
        account.name(tenant);
        account
    }

    /// Says whose it is, once; and charges what was done so far.
    pub fn name(&self, tenant: &TenantId) {
        let (_, counter) = self.0.tenant.get_or_init(|| (tenant.clone(), OF_TENANTS.of(tenant)));
        counter.increment(self.0.nanoseconds.swap(0, Ordering::Relaxed));
    }

    /// Whose it is, if that is known.
    pub fn tenant(&self) -> Option<&TenantId> {
        self.0.tenant.get().map(|(tenant, _)| tenant)
    }

    /// Charges several tenants by their shares for what was done under nobody's name, and forgets it.
    pub fn share_out<'a>(&self, shares: impl Iterator<Item = (&'a TenantId, f64)>) {
        let nanoseconds = self.0.nanoseconds.swap(0, Ordering::Relaxed) as f64;
        for (tenant, share) in shares {
            OF_TENANTS.of(tenant).increment((nanoseconds * share) as u64);
        }
    }

    /// The future, whose polls are charged.
    pub async fn charged<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| self.measure(|| future.as_mut().poll(cx))).await
    }

    /// The body, whose frames are charged as they are made or taken.
    pub fn charged_body(&self, body: Body) -> Body {
        within(body, self.clone())
    }

    fn measure<T>(&self, poll: impl FnOnce() -> T) -> T {
        if AT_WORK.replace(true) {
            return poll();
        }
        let _measured = Measured { account: self, since: Instant::now() };
        poll()
    }
}

/// A poll under way; it may end by a panic.
struct Measured<'a> {
    account: &'a Account,
    since: Instant,
}

impl Drop for Measured<'_> {
    fn drop(&mut self) {
        AT_WORK.set(false);
        let nanoseconds = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        match self.account.0.tenant.get() {
            Some((_, counter)) => counter.increment(nanoseconds),
            None => drop(self.account.0.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed)),
        }
    }
}

impl Around for Account {
    fn around<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        self.measure(poll)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn spin() {
        let since = Instant::now();
        while since.elapsed() < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
    }

    fn kept(account: &Account) -> u64 {
        account.0.nanoseconds.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn work_within_work_counts_once_and_waiting_not_at_all() {
        let (outer, inner) = (Account::default(), Account::default());
        let work = async {
            spin();
            tokio::time::sleep(Duration::from_millis(300)).await;
            inner.charged(async { spin() }).await;
        };
        outer.charged(work).await;
        assert_eq!(kept(&inner), 0);
        assert!((4_000_000..300_000_000).contains(&kept(&outer)), "{}", kept(&outer));
        inner.charged(async { spin() }).await;
        assert!(kept(&inner) >= 2_000_000);
    }

    #[tokio::test]
    async fn what_was_done_before_it_is_known_for_whom_is_charged_once_it_is() {
        let account = Account::default();
        account.charged(async { spin() }).await;
        assert!(account.tenant().is_none() && kept(&account) > 0);
        account.name(&TenantId::new("red").unwrap());
        account.name(&TenantId::new("blue").unwrap());
        assert_eq!((account.tenant().unwrap().as_str(), kept(&account)), ("red", 0));
    }
}
