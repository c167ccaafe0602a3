//! Gives the log more partitions, as an operator asked for: one process for all, as long as it holds the lease.
//!
//! The steps are those of [`storage::Placements`]. Whatever cuts them off, the next one begins with the first again; writers go on by
//! themselves if nobody goes on with a pause. Who doesn't answer is waited for as long as it goes by what it knows, by this process's own clock
//! from when it looked first, and is then taken for gone.

use std::time::Duration;

use eventlog::LogError;
use storage::{CHANGING_HOLDS, Growing, MetaError, Placement, Writer};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::Ground;

/// The work's name among the leases.
const LEASE: &str = "growth";
/// For how long one is at it without saying so again, and how often it does.
const LEASE_MS: i64 = 5_000;
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether writers have answered.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// What clocks that don't run alike may make of the times in question.
const MARGIN: Duration = Duration::from_secs(1);

/// What gives the log more partitions.
pub struct Grower {
    /// What it works on.
    pub ground: Ground,
    /// This process among those that could do it.
    pub holder: String,
    /// UTC ms.
    pub now_ms: fn() -> i64,
}

#[derive(Debug, thiserror::Error)]
enum GrowerError {
    #[error(transparent)]
    Meta(#[from] MetaError),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Grower {
    /// Does what was asked for, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut failed = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(LOOK_EVERY) => {}
            }
            let outcome = tokio::select! {
                () = stop.cancelled() => return,
                outcome = self.look() => outcome,
            };
            if let (Err(error), false) = (&outcome, failed) {
                warn!(%error, "the log can't be given more partitions now; it is tried again");
            }
            failed = outcome.is_err();
        }
    }

    /// Does what there is to do, if nobody else does.
    async fn look(&self) -> Result<(), GrowerError> {
        let placement = self.placement().await?;
        let Some(growing) = placement.growing else { return Ok(()) };
        if !self.lease().await? {
            return Ok(());
        }
        // Side by side: one that stood still while the other is asked could hold what that needs.
        tokio::select! {
            done = self.grow(placement, growing) => done,
            lost = self.keep_lease() => lost,
        }
    }

    /// Returns when the lease is another's.
    async fn keep_lease(&self) -> Result<(), GrowerError> {
        loop {
            sleep(RENEW_EVERY).await;
            if !self.lease().await? {
                return Ok(());
            }
        }
    }

    async fn lease(&self) -> Result<bool, MetaError> {
        let now_ms = (self.now_ms)();
        self.ground.ledger.lease(LEASE, &self.holder, now_ms, now_ms + LEASE_MS).await
    }

    async fn placement(&self) -> Result<Placement, MetaError> {
        self.ground.placements.placement(&self.ground.topic(), self.ground.log.partitions()).await
    }

    async fn grow(&self, mut placement: Placement, growing: Growing) -> Result<(), GrowerError> {
        let Ground { log, placements, replays, .. } = &self.ground;
        let (topic, to) = (self.ground.topic(), growing.to);
        if growing.paused {
            // Somebody's who is gone.
            placement = placements.pause(&topic, placement.version, false).await?;
        }
        log.grow(to).await?;
        let holds = |writer: &Writer| Duration::from_millis(writer.holds_ms).max(CHANGING_HOLDS);
        self.confirmed(&placement, holds).await?;
        while replays.open_replay().await?.is_some() {
            sleep(LOOK_EVERY).await;
        }
        let paused = placements.pause(&topic, placement.version, true).await?;
        self.confirmed(&paused, |_| CHANGING_HOLDS).await?;
        let mut ends = Vec::new();
        for partition in 0..paused.partitions() {
            ends.push(log.tail(partition).await?.end);
        }
        let cut = placements.cut(&topic, paused.version, &ends).await;
        if cut.is_err() {
            let _ = placements.pause(&topic, paused.version, false).await; // writers do it too, but later
        }
        let partitions = cut?.partitions();
        info!(partitions, ?ends, "the log has more partitions");
        Ok(())
    }

    /// Waits until every writer acts by this placement, or would have had to by now.
    async fn confirmed(&self, placement: &Placement, holds: impl Fn(&Writer) -> Duration) -> Result<(), MetaError> {
        let (topic, since) = (self.ground.topic(), Instant::now());
        loop {
            let mut waits = false;
            for writer in self.ground.placements.writers(&topic).await? {
                if writer.version >= placement.version {
                    continue;
                }
                if since.elapsed() < holds(&writer) + MARGIN {
                    waits = true;
                    continue;
                }
                warn!(writer = writer.name, "a writer of the log doesn't answer and is taken for gone");
                self.ground.placements.forget_writer(&topic, &writer.name).await?;
            }
            if !waits {
                return Ok(());
            }
            sleep(ASK_EVERY).await;
        }
    }
}
