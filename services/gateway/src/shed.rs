//! Calls under way, bounded; the less urgent are turned away first, and so is who has many already.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use model::{Error, ErrorCode, Priority, TenantId};
use parking_lot::Mutex;

/// A tenant may have as many calls under way as so many times the places that are free, so there are always some: one tenant alone has up to four
/// fifths of all, two have four ninths each.
///
/// Source: Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998.
const TIMES_FREE: usize = 4;

/// Counts calls under way.
pub(crate) struct Load {
    under_way: AtomicUsize,
    max: usize,
}

/// One call under way; counted until it is dropped.
pub(crate) struct Underway(Arc<Load>);

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Load {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { under_way: AtomicUsize::new(0), max })
    }

    /// Lets a call in, unless so many are under way that only more urgent ones are: background up to half of the room,
    /// scheduled up to three quarters, interactive up to all of it.
    pub(crate) fn enter(self: &Arc<Self>, priority: Priority) -> Result<Underway, Error> {
        let room = match priority {
            Priority::Interactive => self.max,
            Priority::Scheduled => self.max / 4 * 3,
            Priority::Background => self.max / 2,
        };
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        let call = Underway(Arc::clone(self));
        if before < room {
            return Ok(call);
        }
        Err(later(format!("{before} calls are under way, and {priority:?} calls are let in up to {room}")))
    }

    fn free(&self) -> usize {
        self.max.saturating_sub(self.under_way.load(Ordering::Relaxed))
    }
}

fn later(message: String) -> Error {
    Error { retry_after: Some(Duration::from_millis(500)), ..Error::new(ErrorCode::ResourceExhausted, message) }
}

/// The same, tenant by tenant.
pub(crate) struct Shares {
    load: Arc<Load>,
    tenants: Mutex<HashMap<TenantId, usize>>,
}

/// One call of a tenant under way; counted until it is dropped.
pub(crate) struct OfTenant {
    shares: Arc<Shares>,
    tenant: TenantId,
    _call: Underway,
}

impl Drop for OfTenant {
    fn drop(&mut self) {
        let mut tenants = self.shares.tenants.lock();
        if let Some(calls) = tenants.get_mut(&self.tenant) {
            *calls -= 1;
            if *calls == 0 {
                tenants.remove(&self.tenant);
            }
        }
    }
}

impl Shares {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { load: Load::new(max), tenants: Mutex::default() })
    }

    /// As [`Load::enter`], and unless the tenant has its share already.
    pub(crate) fn enter(self: &Arc<Self>, tenant: &TenantId, priority: Priority) -> Result<OfTenant, Error> {
        let call = self.load.enter(priority)?;
        let share = (self.load.free() + 1) * TIMES_FREE; // as it was free before
        let mut tenants = self.tenants.lock();
        let calls = tenants.get(tenant).copied().unwrap_or_default();
        if calls >= share {
            drop(tenants);
            return Err(later(format!(
                "{calls} of your calls are under way, and others need the places that are left"
            )));
        }
        tenants.insert(tenant.clone(), calls + 1);
        drop(tenants);
        Ok(OfTenant { shares: Arc::clone(self), tenant: tenant.clone(), _call: call })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_less_urgent_are_turned_away_first_and_room_comes_back() {
        let load = Load::new(4);
        let mut inside: Vec<_> = (0..2).map(|_| load.enter(Priority::Background).unwrap()).collect();
        let refused = load.enter(Priority::Background).err().unwrap();
        assert_eq!((refused.code, refused.retry_after.is_some()), (ErrorCode::ResourceExhausted, true));
        inside.push(load.enter(Priority::Scheduled).unwrap());
        assert!(load.enter(Priority::Scheduled).is_err());
        inside.push(load.enter(Priority::Interactive).unwrap());
        assert!(load.enter(Priority::Interactive).is_err());
        drop(inside);
        assert!(load.enter(Priority::Background).is_ok());
    }

    #[test]
    fn however_many_calls_some_have_under_way_there_is_room_for_the_next_tenant() {
        let shares = Shares::new(1_000);
        let mut inside = Vec::new();
        let mut fill = |name: &str| {
            let (tenant, before) = (TenantId::new(name).unwrap(), inside.len());
            let error = loop {
                match shares.enter(&tenant, Priority::Interactive) {
                    Ok(call) => inside.push(call),
                    Err(error) => break error,
                }
            };
            assert_eq!((error.code, error.retry_after.is_some()), (ErrorCode::ResourceExhausted, true));
            inside.len() - before
        };
        assert_eq!(["a", "b", "c"].map(&mut fill), [800, 160, 32], "four times what it leaves free");
        assert_eq!(fill("a"), 0, "who has the most gets no more");
        drop(inside);
        assert!(shares.tenants.lock().is_empty());
        assert_eq!(shares.load.free(), 1_000);
    }
}
