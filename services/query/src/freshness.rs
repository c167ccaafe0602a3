//! How fresh an answer is, and waiting until it is fresh enough.

use std::{ops::Range, sync::Arc, time::Duration};

use api::{convert::time_to_wire, v1};
use mesh::signed::SigningKey;
use model::{AppId, Error, ErrorCode, HOUR_MS, Position, TenantId};
use parking_lot::Mutex;
use storage::{Ledger, MetaError, PartitionState, Topic};
use tokio::time::{Instant, sleep_until};

const DEFAULT_WAIT: Duration = Duration::from_secs(5);
const MAX_WAIT: Duration = Duration::from_secs(30);
/// How often the ledger is asked while waiting.
const POLL: Duration = Duration::from_millis(20);

/// Reads how far the pipeline has come.
pub(crate) struct Freshness {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) topic: Topic,
    /// How many partitions the log has; one that no worker ever claimed isn't in the ledger.
    pub(crate) partitions: u32,
    pub(crate) token_key: SigningKey,
    /// As last read. What is committed stays so: an old state promises less, never something false.
    pub(crate) known: Mutex<Option<Vec<PartitionState>>>,
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
pub(crate) struct Ended {
    /// Every hour that ended by then gets a new epoch with whatever is added to it. The start of an hour.
    pub(crate) until_ms: i64,
    /// The epochs that are not the first ones, by hour.
    pub(crate) epochs: Vec<(i64, u128)>,
}

impl Freshness {
    /// The ended hours in this time; `None` while the ledger can't say.
    pub(crate) async fn ended(&self, tenant: &TenantId, app: &AppId, times: Range<i64>) -> Option<Ended> {
        let from_ms = times.start.div_euclid(HOUR_MS).saturating_mul(HOUR_MS);
        let (epochs, partitions) = self.ledger.epochs(&self.topic, tenant, app, from_ms, times.end).await.ok()?;
        let frontier_ms = self.frontier_ms(&partitions)?;
        Some(Ended { until_ms: frontier_ms.div_euclid(HOUR_MS) * HOUR_MS, epochs })
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

    /// Waits for what is wanted, and returns what held *before* the query runs: so what its watermark promises is in the answer.
    pub(crate) async fn ready(&self, wanted: Option<&Position>, options: &v1::ReadOptions) -> Result<Fresh, Error> {
        let wait = match options.max_wait_ms {
            0 => DEFAULT_WAIT,
            ms => Duration::from_millis(ms.into()).min(MAX_WAIT),
        };
        let until = Instant::now() + wait;
        loop {
            let fresh = self.now().await?;
            if wanted.is_none_or(|wanted| fresh.reached.covers(wanted)) {
                return Ok(fresh);
            }
            if Instant::now() >= until {
                let message =
                    format!("the events of the position token are not queryable after {} ms", wait.as_millis());
                return Err(Error { retry_after: Some(wait), ..Error::new(ErrorCode::DeadlineExceeded, message) });
            }
            sleep_until((Instant::now() + POLL).min(until)).await;
        }
    }

    /// How far it has come.
    pub(crate) async fn now(&self) -> Result<Fresh, Error> {
        let at = Instant::now();
        let partitions = self.partitions().await?;
        let reached = self.position(&partitions);
        Ok(Fresh { at, watermark: self.watermark(&partitions, &reached), reached })
    }

    /// What the ledger says, or said last if it can't be reached.
    async fn partitions(&self) -> Result<Vec<PartitionState>, MetaError> {
        match self.ledger.partitions(&self.topic).await {
            Ok(partitions) => {
                *self.known.lock() = Some(partitions.clone());
                Ok(partitions)
            }
            Err(error @ MetaError::Unavailable(_)) => self.known.lock().clone().ok_or(error),
            Err(error) => Err(error),
        }
    }

    fn position(&self, partitions: &[PartitionState]) -> Position {
        Position::new(self.topic.incarnation, partitions.iter().map(|p| (p.partition, p.committed)).collect())
    }

    /// Up to when nothing is missing; `None` if not every partition has said so.
    fn frontier_ms(&self, partitions: &[PartitionState]) -> Option<i64> {
        // A partition that isn't in the ledger yet has promised nothing.
        let all_there = partitions.len() >= self.partitions as usize;
        partitions.iter().map(|p| p.frontier_ms).min().filter(|_| all_there)
    }

    fn watermark(&self, partitions: &[PartitionState], reached: &Position) -> v1::Watermark {
        let frontier_ms = self.frontier_ms(partitions).unwrap_or(0);
        v1::Watermark { complete_until: Some(time_to_wire(frontier_ms)), position_token: self.token_key.sign(reached) }
    }
}
