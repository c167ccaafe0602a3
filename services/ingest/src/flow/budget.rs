//! Bytes that are worked on at once, or read: bounded, and shared so that no tenant takes the last of it.
//!
//! A tenant may hold as much as it leaves free ("dynamic thresholds", Choudhury and Hahne 1998): alone half of it, two greedy ones
//! a third each, and there is always room for one more. Who waits is let in when something is given back, the tenants in
//! turn, each one's batches in their order.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::Arc,
};

use model::TenantId;
use parking_lot::Mutex;
use tokio::sync::oneshot;

pub(crate) struct Budget {
    total: usize,
    /// The gauge that shows what is taken.
    shown_as: &'static str,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    free: usize,
    tenants: HashMap<TenantId, Share>,
    /// Tenants with somebody waiting, in turn.
    turn: VecDeque<TenantId>,
}

#[derive(Default)]
struct Share {
    held: usize,
    waiting: VecDeque<(usize, oneshot::Sender<Permit>)>,
}

/// Room for a batch; given back when it is dropped.
pub(crate) struct Permit {
    budget: Arc<Budget>,
    tenant: TenantId,
    bytes: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let bytes = mem::take(&mut self.bytes);
        let Some(granted) = self.budget.give_back(&self.tenant, bytes) else { return };
        for (waiting, permit) in granted {
            // Who no longer waits for it sends it back here, and so to the next.
            let _ = waiting.send(permit);
        }
    }
}

type Granted = Vec<(oneshot::Sender<Permit>, Permit)>;

impl Budget {
    /// So many bytes; without any one batch at a time.
    pub(crate) fn new(total: usize, shown_as: &'static str) -> Arc<Self> {
        let total = total.max(1);
        let state = Mutex::new(State { free: total, ..State::default() });
        Arc::new(Self { total, shown_as, state })
    }

    /// Room for so many bytes, if there is now.
    pub(crate) fn try_take(self: &Arc<Self>, tenant: &TenantId, bytes: usize) -> Option<Permit> {
        let bytes = bytes.min(self.total); // what is larger than everything has to be alone
        let mut state = self.state.lock();
        let taken = state.take(tenant, bytes, true);
        self.show(&state);
        drop(state);
        taken.then(|| Permit { budget: Arc::clone(self), tenant: tenant.clone(), bytes })
    }

    /// Room for so many bytes, as soon as there is.
    pub(crate) async fn take(self: &Arc<Self>, tenant: &TenantId, bytes: usize) -> Permit {
        let waiting = {
            let bytes = bytes.min(self.total);
            let mut state = self.state.lock();
            if state.take(tenant, bytes, true) {
                self.show(&state);
                return Permit { budget: Arc::clone(self), tenant: tenant.clone(), bytes };
            }
            let (sender, waiting) = oneshot::channel();
            state.wait(tenant, bytes, sender);
            waiting
        };
        waiting.await.expect("a waiting batch is only taken off its queue with a permit")
    }

    /// Takes bytes back and says who may have them now; none if nothing was given.
    fn give_back(self: &Arc<Self>, tenant: &TenantId, bytes: usize) -> Option<Granted> {
        let mut state = self.state.lock();
        state.free += bytes;
        if let Some(share) = state.tenants.get_mut(tenant) {
            share.held -= bytes;
            if share.held == 0 && share.waiting.is_empty() {
                state.tenants.remove(tenant);
            }
        }
        let mut granted = Vec::new();
        let mut unasked = state.turn.len();
        while unasked > 0 {
            unasked -= 1;
            let Some(tenant) = state.turn.pop_front() else { break };
            let grant = state.grant(&tenant);
            if state.tenants.get(&tenant).is_some_and(|share| !share.waiting.is_empty()) {
                state.turn.push_back(tenant.clone());
            }
            if let Some((bytes, sender)) = grant {
                unasked = state.turn.len(); // what was refused before may be let in by now: no share is what it was
                granted.push((sender, Permit { budget: Arc::clone(self), tenant, bytes }));
            }
        }
        self.show(&state);
        Some(granted).filter(|granted| !granted.is_empty())
    }

    fn show(&self, state: &State) {
        metrics::gauge!(self.shown_as).set((self.total - state.free) as f64);
    }

    /// Bytes that are taken.
    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> usize {
        self.total - self.state.lock().free
    }
}

impl State {
    /// Takes bytes for a tenant, if it may have them. `new`: a batch that comes after those that wait.
    fn take(&mut self, tenant: &TenantId, bytes: usize, new: bool) -> bool {
        let share = self.tenants.get(tenant);
        let (held, queued) = share.map_or((0, false), |share| (share.held, !share.waiting.is_empty()));
        if bytes > self.free || (new && queued) {
            return false;
        }
        // A batch alone is let in whatever its size: else a large one would wait for an idle house.
        if held > 0 && held + bytes > self.free - bytes {
            return false;
        }
        self.free -= bytes;
        self.tenants.entry(tenant.clone()).or_default().held += bytes;
        true
    }

    fn wait(&mut self, tenant: &TenantId, bytes: usize, sender: oneshot::Sender<Permit>) {
        let share = self.tenants.entry(tenant.clone()).or_default();
        share.waiting.push_back((bytes, sender));
        if share.waiting.len() == 1 {
            self.turn.push_back(tenant.clone());
        }
    }

    /// Lets the tenant's first waiting batch in, if it may.
    fn grant(&mut self, tenant: &TenantId) -> Option<(usize, oneshot::Sender<Permit>)> {
        let share = self.tenants.get_mut(tenant)?;
        while share.waiting.front().is_some_and(|(_, sender)| sender.is_closed()) {
            share.waiting.pop_front();
        }
        let Some(&(bytes, _)) = share.waiting.front() else {
            if share.held == 0 {
                self.tenants.remove(tenant);
            }
            return None;
        };
        if !self.take(tenant, bytes, false) {
            return None;
        }
        self.tenants.get_mut(tenant)?.waiting.pop_front()
    }
}
