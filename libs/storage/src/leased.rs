//! Work in the background that one of several processes does.

use std::{fmt::Display, sync::Arc, time::Duration};

use tokio::time::sleep;
use tracing::warn;

use crate::{Ledger, MetaError};

/// For how long one is at it without saying so again, and how often it does.
const LEASE_MS: i64 = 5_000;
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// The lease of such work, and a process that could do it.
///
/// It saves work, and nothing may depend on it: clocks differ, and whoever was stopped for longer than its lease goes on for a moment beside
/// the next. What two may not do at once needs more than that.
pub struct Leased {
    /// Where the lease is.
    pub ledger: Arc<dyn Ledger>,
    /// The work's name among the leases.
    pub name: String,
    /// This process among those that could do it.
    pub holder: String,
    /// UTC ms.
    pub now_ms: fn() -> i64,
}

impl Leased {
    /// Looks now, and again after every such pause, whether there is something to do, until `stop`. Of failures one after the other the
    /// first is logged.
    pub async fn look<F, E>(&self, pause: Duration, stop: impl Future<Output = ()>, look: impl Fn() -> F)
    where
        F: Future<Output = Result<(), E>>,
        E: Display,
    {
        let looking = async {
            let mut failed = false;
            loop {
                let outcome = look().await;
                if let (Err(error), false) = (&outcome, failed) {
                    warn!(work = self.name, %error, "background work can't be done now; it is tried again");
                }
                failed = outcome.is_err();
                sleep(pause).await;
            }
        };
        tokio::select! {
            () = stop => {}
            () = looking => {}
        }
        self.let_go().await;
    }

    /// Does this as long as it holds the lease: `None` if that is another's, or comes to be.
    ///
    /// # Errors
    /// Those of the work, and of the metastore before it has begun.
    pub async fn hold<T, E: From<MetaError>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<Option<T>, E> {
        if !self.lease(LEASE_MS).await? {
            return Ok(None);
        }
        // Side by side: one that stood still while the other is asked could hold what that needs.
        tokio::select! {
            done = work => done.map(Some),
            () = self.lost() => Ok(None),
        }
    }

    /// Lets another process do it at once.
    pub async fn let_go(&self) {
        let _ = self.lease(0).await; // it ends by itself too
    }

    /// Renews the lease; returns when it is another's. While the metastore is away, nobody can take it.
    async fn lost(&self) {
        loop {
            sleep(RENEW_EVERY).await;
            if let Ok(false) = self.lease(LEASE_MS).await {
                return;
            }
        }
    }

    async fn lease(&self, for_ms: i64) -> Result<bool, MetaError> {
        let now_ms = (self.now_ms)();
        self.ledger.lease(&self.name, &self.holder, now_ms, now_ms + for_ms).await
    }
}
