//! The queries that run now, and stopping those whose client is gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::engine::Engine;
use crate::error::QueryError;

/// Between two attempts to kill a query that still runs: a kill that comes before the query has begun finds nothing.
const KILL_RETRY: Duration = Duration::from_millis(50);

/// Query ids that are in use, each with a serial that tells a later query of the same id apart.
#[derive(Default)]
pub(crate) struct Running {
    queries: Mutex<Queries>,
}

#[derive(Default)]
struct Queries {
    serials: HashMap<String, u64>,
    last: u64,
}

impl Running {
    /// Claims `id` until the ticket is dropped.
    pub(crate) fn register(self: &Arc<Self>, id: &str) -> Result<Ticket, QueryError> {
        let mut queries = self.queries.lock();
        if queries.serials.contains_key(id) {
            return Err(QueryError::same_id(format!("Query with id = {id} is already running.")));
        }
        queries.last += 1;
        let serial = queries.last;
        queries.serials.insert(id.to_owned(), serial);
        Ok(Ticket { running: Arc::clone(self), id: id.to_owned(), serial })
    }

    fn contains(&self, id: &str, serial: u64) -> bool {
        self.queries.lock().serials.get(id) == Some(&serial)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queries.lock().serials.is_empty()
    }

    /// Asks the engine to stop everything that runs.
    pub(crate) async fn kill_all(self: &Arc<Self>, engine: &Arc<Engine>) {
        let all: Vec<_> = self.queries.lock().serials.iter().map(|(id, serial)| (id.clone(), *serial)).collect();
        for (id, serial) in all {
            kill(Arc::clone(self), Arc::clone(engine), id, serial).await;
        }
    }
}

/// A claim on a query id, held by the thread that runs the query.
pub(crate) struct Ticket {
    running: Arc<Running>,
    id: String,
    serial: u64,
}

impl Ticket {
    /// A guard for the side that answers the client: dropped while the query runs, it stops the query.
    pub(crate) fn stopper(&self, engine: &Arc<Engine>) -> StopOnDrop {
        StopOnDrop {
            running: Arc::clone(&self.running),
            engine: Arc::clone(engine),
            id: self.id.clone(),
            serial: self.serial,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.running.queries.lock().serials.remove(&self.id);
    }
}

/// Stops the query when its client hangs up. Dropped after the query has ended it does nothing.
pub(crate) struct StopOnDrop {
    running: Arc<Running>,
    engine: Arc<Engine>,
    id: String,
    serial: u64,
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if !self.running.contains(&self.id, self.serial) {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            tracing::info!(query_id = self.id, "the client is gone: stopping its query");
            let id = std::mem::take(&mut self.id);
            runtime.spawn(kill(Arc::clone(&self.running), Arc::clone(&self.engine), id, self.serial));
        }
    }
}

/// Kills until the query is gone.
async fn kill(running: Arc<Running>, engine: Arc<Engine>, id: String, serial: u64) {
    while running.contains(&id, serial) {
        let (engine, victim) = (Arc::clone(&engine), id.clone());
        match tokio::task::spawn_blocking(move || engine.kill(&victim)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(query_id = id, %error, "can't kill a query"),
            Err(error) => tracing::warn!(query_id = id, %error, "can't kill a query"),
        }
        tokio::time::sleep(KILL_RETRY).await;
    }
}
