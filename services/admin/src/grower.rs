//! Gives the log more partitions, as an operator asked for: one process for all, as long as it holds the lease.
//!
//! The steps are those of [`storage::Placements`]. Whatever cuts them off, the next one begins with the first again; writers go on by
//! themselves if nobody goes on with a pause. Who doesn't answer is waited for as long as it goes by what it knows, by this process's own clock
//! from when it looked first, and is then taken for gone.

use std::time::Duration;

use eventlog::LogError;
use storage::{CHANGING_HOLDS, Growing, Leased, MetaError, Placement, Writer};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::Ground;

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
    /// Among others, if the lease is its own.
    pub leased: Leased,
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
        self.leased.look(LOOK_EVERY, stop.cancelled(), || self.look()).await;
    }

    /// Does what there is to do, if nobody else does.
    async fn look(&self) -> Result<(), GrowerError> {
        let placement = self.placement().await?;
        if let Some(growing) = placement.growing {
            self.leased.hold(self.grow(placement, growing)).await?;
        }
        Ok(())
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
