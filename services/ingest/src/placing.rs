//! This process as one of the log's writers: where it puts records, and that it stands still while that changes.
//!
//! What is acknowledged lies where the placement of its moment says ([`storage::Placements`]). So a batch goes by what this process knows of
//! the placement, no longer than that holds; while the log grows all of them wait, for moments; and one that was on its way for longer is not
//! acknowledged, wherever it may turn up.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use eventlog::EventLog;
use model::Error;
use storage::{CHANGING_HOLDS, Growing, MetaError, Placement, Placements, Topic, Writer};
use tokio::{
    sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, watch},
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

use crate::publish::RETRY_AFTER;

/// How often the placement is asked for, and how often while it changes.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_OFTEN: Duration = Duration::from_millis(50);
/// How long a batch waits while it changes.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long this process stands still for a growth that nobody goes on with.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Where records go.
pub(crate) struct Placing {
    log: Arc<dyn EventLog>,
    placements: Arc<dyn Placements>,
    topic: Topic,
    name: String,
    holds: Duration,
    now_ms: fn() -> i64,
    /// None before anything was heard.
    known: watch::Sender<Option<Known>>,
    /// Held for reading by each append, for writing while the placement changes.
    gate: Arc<RwLock<()>>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    partitions: u32,
    /// By both clocks: one may stand still while the machine does.
    until: Instant,
    until_ms: i64,
}

/// Records may be put into so many partitions. While it lives, that doesn't change here.
pub(crate) struct Placed<'a> {
    pub(crate) partitions: u32,
    placing: &'a Placing,
    _pass: OwnedRwLockReadGuard<()>,
}

impl Placing {
    pub(crate) fn new(
        log: Arc<dyn EventLog>,
        placements: Arc<dyn Placements>,
        name: String,
        holds: Duration,
        now_ms: fn() -> i64,
    ) -> Self {
        let topic = Topic { name: log.topic().to_owned(), incarnation: log.incarnation() };
        let (known, gate) = (watch::Sender::new(None), Arc::default());
        Self { log, placements, topic, name, holds, now_ms, known, gate }
    }

    /// Where records go now.
    pub(crate) async fn placed(&self) -> Result<Placed<'_>, Error> {
        let entered = timeout(PATIENCE, async {
            let _ = self.known.subscribe().wait_for(Option::is_some).await; // the sender lives as long as this
            Arc::clone(&self.gate).read_owned().await
        });
        let pass = entered.await.map_err(|_| not_now())?;
        let partitions = self.known.borrow().map_or(0, |known| known.partitions);
        let placed = Placed { partitions, placing: self, _pass: pass };
        placed.check()?;
        Ok(placed)
    }

    /// Follows the placement as long as there is somebody to tell.
    pub(crate) async fn follow(placing: Weak<Self>) {
        let mut follower = Follower { confirmed: 0, still: None, failed: false };
        while let Some(placing) = placing.upgrade() {
            let pause = follower.look(&placing).await;
            drop(placing);
            sleep(pause).await;
        }
    }
}

impl Placed<'_> {
    /// Whether what was put there lies where it is to lie.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let known = *self.placing.known.borrow();
        let holds = known.is_some_and(|known| Instant::now() < known.until && (self.placing.now_ms)() < known.until_ms);
        if holds { Ok(()) } else { Err(not_now()) }
    }
}

fn not_now() -> Error {
    Error::unavailable("where events go isn't known for certain now; retry with the same event ids", RETRY_AFTER)
}

struct Follower {
    /// The version that this process acts by.
    confirmed: u64,
    /// While it stands still: since when.
    still: Option<(Instant, OwnedRwLockWriteGuard<()>)>,
    failed: bool,
}

impl Follower {
    /// Says how far this process is and hears what holds. Returns when to look again.
    async fn look(&mut self, placing: &Placing) -> Duration {
        let (asked, asked_ms) = (Instant::now(), (placing.now_ms)());
        let writer = Writer {
            name: placing.name.clone(),
            version: self.confirmed,
            holds_ms: u64::try_from(placing.holds.as_millis()).unwrap_or(u64::MAX),
            heard_ms: asked_ms,
        };
        let heard = async {
            let placement = placing.placements.confirm(&placing.topic, placing.log.partitions(), &writer).await?;
            let version = placement.version;
            let pause = match placement.growing {
                Some(Growing { paused: true, to }) => self.stand_still(placing, to, version).await?,
                growing => {
                    if let Err(error) = placing.log.grow(placement.partitions()).await {
                        warn!(%error, "the log's new partitions can't be used yet");
                        return Ok(LOOK_OFTEN);
                    }
                    let holds = growing.map_or(placing.holds, |_| CHANGING_HOLDS.min(placing.holds));
                    self.go_on(placing, &placement, asked + holds, asked_ms.saturating_add(holds.as_millis() as i64))
                }
            };
            // What changed is said at once.
            Ok::<_, MetaError>(if std::mem::replace(&mut self.confirmed, version) == version {
                pause
            } else {
                Duration::ZERO
            })
        };
        let heard = heard.await;
        if let (Err(error), false) = (&heard, self.failed) {
            warn!(%error, "where events go can't be asked; it is taken to be as it was, for a while");
        }
        self.failed = heard.is_err();
        heard.unwrap_or(LOOK_EVERY)
    }

    async fn stand_still(&mut self, placing: &Placing, to: u32, version: u64) -> Result<Duration, MetaError> {
        let (since, _) = match self.still.take() {
            Some(still) => self.still.insert(still),
            None => {
                let since = Instant::now();
                let gate = Arc::clone(&placing.gate).write_owned().await;
                info!(to, waited = ?since.elapsed(), "events wait: the log gets more partitions");
                self.still.insert((since, gate))
            }
        };
        if since.elapsed() > LONGEST_PAUSE {
            // Nobody acts by the pause any more once this is done; if somebody was quicker, the log has grown.
            match placing.placements.pause(&placing.topic, version, false).await {
                Err(error @ MetaError::Unavailable(_)) => return Err(error),
                _ => return Ok(Duration::ZERO),
            }
        }
        Ok(LOOK_OFTEN)
    }

    fn go_on(&mut self, placing: &Placing, placement: &Placement, until: Instant, until_ms: i64) -> Duration {
        placing.known.send_replace(Some(Known { partitions: placement.partitions(), until, until_ms }));
        self.still = None;
        if placement.growing.is_some() { LOOK_OFTEN } else { LOOK_EVERY }
    }
}
