//! Servers of which each does what is asked.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use clickhouse::Client;

use super::WarehouseError;

/// Servers, and which of them is asked: until it is away, then the next. A shard's inserts so go to one of its replicas.
pub(super) struct Servers {
    clients: Vec<Client>,
    now: AtomicUsize,
}

/// One of them, for one request.
pub(super) struct Server {
    pub(super) client: Client,
    at: usize,
    of: Arc<Servers>,
}

impl Servers {
    /// At least one.
    pub(super) fn new(clients: Vec<Client>) -> Self {
        Self { clients, now: AtomicUsize::new(0) }
    }

    /// Begins with another, so that many processes don't begin with the same.
    pub(super) fn beginning_at(self, which: usize) -> Self {
        Self { now: AtomicUsize::new(which % self.clients.len()), ..self }
    }

    pub(super) fn now(self: &Arc<Self>) -> Server {
        let at = self.now.load(Ordering::Relaxed);
        Server { client: self.clients[at].clone(), at, of: Arc::clone(self) }
    }

    pub(super) fn each(&self) -> impl Iterator<Item = &Client> {
        self.clients.iter()
    }
}

impl Server {
    /// What came of the request: after a failure that another server might not have, the next is asked from now on.
    pub(super) fn heard<T>(&self, outcome: Result<T, WarehouseError>) -> Result<T, WarehouseError> {
        if let Err(error) = &outcome
            && error.is_unavailable()
        {
            let next = (self.at + 1) % self.of.clients.len();
            // Of several that failed there, one turns away from it.
            let _ = self.of.now.compare_exchange(self.at, next, Ordering::Relaxed, Ordering::Relaxed);
        }
        outcome
    }
}
