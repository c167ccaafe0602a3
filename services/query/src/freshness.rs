//! How fresh an answer is, and waiting until it is fresh enough.

use std::{ops::Range, sync::Arc, time::Duration};

use api::{convert::time_to_wire, v1};
use mesh::signed::SigningKey;
use model::{AppId, Error, ErrorCode, HOUR_MS, Position, TenantId};
use parking_lot::Mutex;
use storage::{Epochs, Ledger, MetaError, Reached, Topic};
use tokio::time::{Instant, sleep_until};

use crate::reads::Reads;

const DEFAULT_WAIT: Duration = Duration::from_secs(5);
const MAX_WAIT: Duration = Duration::from_secs(30);
/// How often the ledger is asked while anybody waits.
const POLL: Duration = Duration::from_millis(20);

/// Reads how far the pipeline has come.
pub(crate) struct Freshness {
    ledger: Arc<dyn Ledger>,
    topic: Topic,
    /// How many partitions the log has; one that no worker ever claimed isn't in the ledger.
    partitions: u32,
    pub(crate) token_key: SigningKey,
    /// As last read. What is committed stays so: an old state promises less, never something false.
    known: Arc<Mutex<Option<Arc<[Reached]>>>>,
    started: Instant,
    reads: Reads<Option<AppHours>, Result<Seen, Error>>,
}

/// The hours of an app that have to do with these event times, UTC ms.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AppHours {
    pub(crate) tenant: TenantId,
    pub(crate) app: AppId,
    pub(crate) times: Range<i64>,
}

/// Epochs that are not the first ones, by hour.
type Changed = Arc<[(i64, u128)]>;

/// What one read of the ledger found.
#[derive(Clone)]
struct Seen {
    /// When it began.
    at: Instant,
    partitions: Arc<[Reached]>,
    /// Of the hours asked about, the app's mark, and whether it has states; `None` if there were none, or the ledger can't say.
    epochs: Option<(Changed, Option<u128>, bool)>,
}

/// How far the pipeline had come.
#[derive(Clone)]
pub(crate) struct Fresh {
    /// Since when that is known.
    pub(crate) at: Instant,
    pub(crate) reached: Position,
    pub(crate) watermark: v1::Watermark,
}

/// Which hours of an app have ended, and as what they are now, read in one snapshot.
#[derive(Clone)]
pub(crate) struct Ended {
    /// Every hour that ended by then gets a new epoch with whatever is added to it. The start of an hour.
    pub(crate) until_ms: i64,
    pub(crate) epochs: Changed,
    /// Stands until something is committed for the app, of whatever hour.
    pub(crate) mark: Option<u128>,
    /// Whether any states are kept of the app.
    pub(crate) has_states: bool,
}

impl Freshness {
    pub(crate) fn new(ledger: Arc<dyn Ledger>, topic: Topic, partitions: u32, token_key: SigningKey) -> Self {
        let (known, started, reads) = (Arc::default(), Instant::now(), Reads::default());
        Self { ledger, topic, partitions, token_key, known, started, reads }
    }

    /// Which of the hours have ended; `None` while the ledger can't say.
    pub(crate) async fn ended(&self, hours: AppHours) -> Option<Ended> {
        self.see(Some(hours)).await.ok().and_then(|seen| self.ended_by(&seen))
    }

    /// What the token of the options covers, if there is one.
    pub(crate) fn wanted(&self, options: &v1::ReadOptions) -> Result<Option<Position>, Error> {
        Ok(match options.position_token.as_str() {
            "" => None,
            token => Some(self.token_key.open::<Position>(token).ok_or_else(|| {
                let description = "is not a token that this installation gave";
                Error::invalid("options.position_token", "MALFORMED", description)
            })?),
        })
    }

    /// What a watermark of ours says is in the answer.
    pub(crate) fn reached(&self, watermark: &v1::Watermark) -> Position {
        self.token_key.open(&watermark.position_token).unwrap_or_default()
    }

    /// Waits for what is wanted, and returns what held *before* the query runs: so what its watermark promises is in the answer. And which of
    /// the hours had ended then.
    pub(crate) async fn ready(
        &self,
        wanted: Option<&Position>,
        options: &v1::ReadOptions,
        hours: Option<AppHours>,
    ) -> Result<(Fresh, Option<Ended>), Error> {
        let mut seen = self.see(hours.clone()).await?;
        if let Some(wanted) = wanted
            && !self.position(&seen.partitions).covers(wanted)
        {
            let wait = match options.max_wait_ms {
                0 => DEFAULT_WAIT,
                ms => Duration::from_millis(ms.into()).min(MAX_WAIT),
            };
            self.wait_for(wanted, wait).await?;
            seen = self.see(hours).await?;
        }
        Ok((self.fresh(&seen), self.ended_by(&seen)))
    }

    /// Waits until it has come so far. All who wait share their reads: these are about nobody's hours, and at the same moments.
    async fn wait_for(&self, wanted: &Position, wait: Duration) -> Result<(), Error> {
        let until = Instant::now() + wait;
        while !self.position(&self.see(None).await?.partitions).covers(wanted) {
            if Instant::now() >= until {
                let message =
                    format!("the events of the position token are not queryable after {} ms", wait.as_millis());
                return Err(Error { retry_after: Some(wait), ..Error::new(ErrorCode::DeadlineExceeded, message) });
            }
            sleep_until(next_look(self.started, Instant::now()).min(until)).await;
        }
        Ok(())
    }

    /// How far it has come.
    pub(crate) async fn now(&self) -> Result<Fresh, Error> {
        Ok(self.fresh(&self.see(None).await?))
    }

    /// What the ledger says now, or said last if it can't be reached.
    async fn see(&self, hours: Option<AppHours>) -> Result<Seen, Error> {
        let (ledger, topic, known) = (Arc::clone(&self.ledger), self.topic.clone(), Arc::clone(&self.known));
        let read = {
            let hours = hours.clone();
            move || async move {
                let at = Instant::now();
                let read = match &hours {
                    None => ledger.reached(&topic).await.map(|reached| (None, reached)),
                    Some(AppHours { tenant, app, times }) => {
                        let from_ms = times.start.div_euclid(HOUR_MS).saturating_mul(HOUR_MS);
                        let read = ledger.epochs(&topic, tenant, app, from_ms, times.end).await;
                        read.map(|Epochs { hours, mark, reached, has_states }| {
                            (Some((hours.into(), mark, has_states)), reached)
                        })
                    }
                };
                match read {
                    Ok((epochs, reached)) => {
                        let partitions: Arc<[_]> = reached.into();
                        *known.lock() = Some(Arc::clone(&partitions));
                        Ok(Seen { at, partitions, epochs })
                    }
                    Err(error @ MetaError::Unavailable(_)) => {
                        let partitions = known.lock().clone().ok_or(error)?;
                        Ok(Seen { at, partitions, epochs: None })
                    }
                    Err(error) => Err(error.into()),
                }
            }
        };
        self.reads.read(hours, read).await
    }

    fn fresh(&self, seen: &Seen) -> Fresh {
        let reached = self.position(&seen.partitions);
        Fresh { at: seen.at, watermark: self.watermark(&seen.partitions, &reached), reached }
    }

    fn ended_by(&self, seen: &Seen) -> Option<Ended> {
        let frontier_ms = self.frontier_ms(&seen.partitions)?;
        let (epochs, mark, has_states) = seen.epochs.clone()?;
        Some(Ended { until_ms: frontier_ms.div_euclid(HOUR_MS) * HOUR_MS, epochs, mark, has_states })
    }

    fn position(&self, partitions: &[Reached]) -> Position {
        Position::new(self.topic.incarnation, partitions.iter().map(|p| (p.partition, p.committed)).collect())
    }

    /// Up to when nothing is missing; `None` if not every partition has said so.
    fn frontier_ms(&self, partitions: &[Reached]) -> Option<i64> {
        // A partition that isn't in the ledger yet has promised nothing.
        let all_there = partitions.len() >= self.partitions as usize;
        partitions.iter().map(|p| p.frontier_ms).min().filter(|_| all_there)
    }

    fn watermark(&self, partitions: &[Reached], reached: &Position) -> v1::Watermark {
        let frontier_ms = self.frontier_ms(partitions).unwrap_or(0);
        v1::Watermark { complete_until: Some(time_to_wire(frontier_ms)), position_token: self.token_key.sign(reached) }
    }
}

/// When all who wait look again. Were it for each of them so long after its last look, many would read all the time.
fn next_look(started: Instant, now: Instant) -> Instant {
    let since = (now - started).as_nanos() % POLL.as_nanos();
    now + POLL - Duration::from_nanos(since as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_looks_at_the_same_moments_as_the_others() {
        let started = Instant::now();
        let looks = |ms| next_look(started, started + Duration::from_millis(ms)) - started;
        for (ms, next) in [(0, 20), (1, 20), (19, 20), (20, 40), (20 * 60 * 60 * 1000 + 7, 20 * 60 * 60 * 1000 + 20)] {
            assert_eq!(looks(ms), Duration::from_millis(next), "{ms}");
        }
    }
}
