//! Who may send how much, now: what a batch passes before anything is done for it.
//!
//! Three things are asked, and a batch that is refused by one of them has been charged nothing:
//!
//! - [`lag`]: whether the pipeline keeps up, so that the log doesn't outgrow its retention;
//! - [`quota`]: whether the events and bytes a second of the tenant and its apps let the batch in;
//! - [`budget`]: whether there is room for it among what this process works on, of which a tenant never holds more than is left.
//!
//! A single call that doesn't pass is refused, with the time after which it would. A stream waits instead, unread, which slows its
//! sender (see [`crate::stream`]).
//!
//! **Memory.** Bytes of batches that are worked on: at most `in_flight_bytes`, of which the process needs about three times as
//! much for messages, records and the log's own copy. Beside it each open stream has at most one batch that waits (`batch_bytes`),
//! one that is being received, and one window of HTTP/2 (`server.stream_window_bytes`); of streams at most `streams` are open. Single calls
//! that are being read or answered: at most `receiving_bytes` ([`crate::receiving`]), and what their connections hold unread.

mod budget;
mod lag;
mod quota;

use std::{collections::HashMap, fmt::Display, sync::Arc, time::Duration};

use mesh::{limits::Limits, rate::OverRate};
use model::{Error, ErrorCode, TenantId};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub(crate) use budget::Permit as Room;
pub(crate) use lag::follow as follow_lag;
pub use quota::QuotaOptions;
pub(crate) use quota::{Size, Sizes};

use budget::{Budget, Permit};
use lag::Lag;
use quota::{Charge, Quotas};

/// How much may be under way, and how far behind the pipeline may be.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowOptions {
    /// Bytes of batches that this process works on at once, of all tenants. One tenant never holds more than is left for others:
    /// alone at most half of it, and with n others as greedy a part in n + 2.
    pub in_flight_bytes: usize,
    /// Bytes of single calls that this process reads, or has read and not answered, at once, of all tenants: as their senders declare them, and of
    /// compressed ones also what they may come to. Shared among tenants in the same way. Others wait unread, and are refused after 5 seconds.
    pub receiving_bytes: usize,
    /// Streams open at once in this process, of all tenants.
    pub streams: usize,
    /// Streams of one tenant open at once in this process.
    pub tenant_streams: usize,
    /// How long a stream waits for its quota, for room or for the pipeline before it is refused, in seconds.
    pub pause_seconds: u64,
    /// From which lag of the pipeline on streams get fewer credits, in seconds: half as many at twice the lag. The lag is the age
    /// of the oldest event in the log that can't be queried yet.
    pub slow_lag_seconds: u64,
    /// At which lag of the pipeline no more events are taken, in seconds. Keep it well below the log's retention.
    pub max_lag_seconds: u64,
}

impl Default for FlowOptions {
    fn default() -> Self {
        Self {
            in_flight_bytes: 128 << 20,
            receiving_bytes: 128 << 20,
            streams: 1_000,
            tenant_streams: 100,
            pause_seconds: 30,
            slow_lag_seconds: 300,
            max_lag_seconds: 12 * 3_600,
        }
    }
}

/// How long a call waits for room before it is read. That frees up as fast as others are read.
const RECEIVING_PATIENCE: Duration = Duration::from_secs(5);

/// How often is looked at what lies elsewhere: no batch waits for the metastore or the log.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks again and again until `stop`. That it `failed` is said once, until it goes well again.
async fn keep_looking<E: Display, F: Future<Output = Result<(), E>>>(
    stop: &CancellationToken,
    failed: &str,
    mut look: impl FnMut() -> F,
) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = true;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let looked = look().await;
        if let (Err(error), true) = (&looked, known) {
            warn!(%error, "{failed}");
        }
        known = looked.is_ok();
    }
}

/// What batches pass.
pub(crate) struct Flow {
    options: FlowOptions,
    pub(crate) quotas: Quotas,
    budget: Arc<Budget>,
    receiving: Arc<Budget>,
    pub(crate) lag: Lag,
    streams: Arc<Mutex<HashMap<TenantId, usize>>>,
}

/// A batch that was let in. Its room is free again when this is dropped.
pub(crate) struct Admission {
    charge: Charge,
    _room: Permit,
}

impl Admission {
    /// How long it is on the wire.
    pub(crate) fn bytes(&self) -> u64 {
        self.charge.size.bytes as u64
    }
}

/// A stream that is open; it counts until it is dropped.
pub(crate) struct OpenStream {
    streams: Arc<Mutex<HashMap<TenantId, usize>>>,
    tenant: TenantId,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut streams = self.streams.lock();
        if let Some(open) = streams.get_mut(&self.tenant) {
            *open -= 1;
            if *open == 0 {
                streams.remove(&self.tenant);
            }
        }
    }
}

/// When to come again where nobody can know better.
const LATER: Duration = Duration::from_secs(1);

impl Flow {
    pub(crate) fn new(options: FlowOptions, quota: QuotaOptions, limits: Arc<Limits>) -> Self {
        Self {
            quotas: Quotas::new(quota, limits),
            budget: Budget::new(options.in_flight_bytes, "penstock_ingest_in_flight_bytes"),
            receiving: Budget::new(options.receiving_bytes, "penstock_ingest_receiving_bytes"),
            lag: Lag::new(&options),
            streams: Arc::default(),
            options,
        }
    }

    /// Room for a call that is still to be read, as soon as there is.
    pub(crate) async fn receive(&self, tenant: &TenantId, bytes: usize) -> Result<Room, Error> {
        let room = timeout(RECEIVING_PATIENCE, self.receiving.take(tenant, bytes)).await;
        room.map_err(|_| counted("receiving")(no_room()))
    }

    /// Lets a batch in now, or refuses it.
    pub(crate) async fn admit(&self, tenant: &TenantId, sizes: &Sizes) -> Result<Admission, Error> {
        self.lag.check().map_err(counted("pipeline"))?;
        let room = self.budget.try_take(tenant, sizes.whole.bytes).ok_or_else(no_room).map_err(counted("room"))?;
        let charge = self.quotas.charge(tenant, sizes).await.map_err(|over| self.quotas.refusal(&over));
        Ok(Admission { charge: charge.map_err(counted("quota"))?, _room: room })
    }

    /// Lets a batch in once it passes, or refuses it when it has waited for too long. While it waits it holds nothing that
    /// others could use.
    pub(crate) async fn admit_in_time(&self, tenant: &TenantId, sizes: &Sizes) -> Result<Admission, Error> {
        let deadline = Instant::now() + Duration::from_secs(self.options.pause_seconds);
        self.lag.wait(deadline).await.map_err(counted("pipeline"))?;
        let charge = loop {
            match self.quotas.charge(tenant, sizes).await {
                Ok(charge) => break charge,
                Err(over) => match over.why {
                    OverRate::For(wait) if Instant::now() + wait <= deadline => sleep(wait).await,
                    _ => return Err(counted("quota")(self.quotas.refusal(&over))),
                },
            }
        };
        match timeout_at(deadline, self.budget.take(tenant, sizes.whole.bytes)).await {
            Ok(room) => Ok(Admission { charge, _room: room }),
            Err(_) => {
                self.quotas.give_back(&charge);
                Err(counted("room")(no_room()))
            }
        }
    }

    /// Gives back what the batch was charged: nothing came of it.
    pub(crate) fn give_back(&self, admission: &Admission) {
        self.quotas.give_back(&admission.charge);
    }

    /// Counts a stream that is to be opened, or refuses it.
    pub(crate) fn open_stream(&self, tenant: &TenantId) -> Result<OpenStream, Error> {
        let mut streams = self.streams.lock();
        let (own, all) = (streams.get(tenant).copied().unwrap_or(0), streams.values().sum::<usize>());
        let refused = |what: String| {
            let error = Error::new(ErrorCode::ResourceExhausted, what);
            Err(counted("streams")(Error { retry_after: Some(LATER), ..error }))
        };
        if own >= self.options.tenant_streams {
            return refused(format!("the tenant has {own} streams open, which is all that it may have at once"));
        }
        if all >= self.options.streams {
            return refused("as many streams are open as this process may have at once".to_owned());
        }
        *streams.entry(tenant.clone()).or_default() += 1;
        Ok(OpenStream { streams: Arc::clone(&self.streams), tenant: tenant.clone() })
    }

    /// How many batches of a stream are worked on at once now, at most `full`.
    pub(crate) fn credits(&self, full: usize) -> usize {
        full.max(1) / self.places(full)
    }

    /// How many places of a window of `full` a batch takes, so that there is room for as many as there are credits.
    pub(crate) fn places(&self, full: usize) -> usize {
        self.lag.places(full)
    }

    /// Bytes that are worked on.
    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> usize {
        self.budget.in_flight()
    }
}

fn no_room() -> Error {
    let what = "the tenant has as many bytes under way as there is room for; send fewer batches at once";
    Error { retry_after: Some(LATER), ..Error::new(ErrorCode::ResourceExhausted, what) }
}

/// Counts a refusal by what refused.
fn counted(by: &'static str) -> impl Fn(Error) -> Error {
    move |error| {
        metrics::counter!("penstock_ingest_refused_total", "by" => by).increment(1);
        error
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
