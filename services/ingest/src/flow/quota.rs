//! What each tenant may send: events and bytes a second, by the configuration or as an operator set it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use mesh::rate::{Meter, OverRate, Rate};
use model::{Error, ErrorCode, TenantId};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use storage::{MetaError, Metastore, Quota, Topic, Writer};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Flow, keep_looking};

/// After how long a process that is no longer heard of takes no part of a quota.
pub(super) const GONE: Duration = Duration::from_secs(5);
/// A burst that isn't set: what comes in so many seconds.
const BURST_SECONDS: u64 = 10;

/// What a tenant may send whose quota an operator didn't set (`SetTenantQuota`). 0: no limit, which is the default: what a
/// machine can take depends on the machine, and greedy tenants are kept apart without it. At most 1e12.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuotaOptions {
    /// Events a second, sustained.
    pub events_per_second: u64,
    /// Events that may come at once after a pause. 0: what comes in ten seconds.
    pub events_burst: u64,
    /// Bytes a second, sustained: of messages and bodies as sent, after decompression.
    pub bytes_per_second: u64,
    /// Bytes that may come at once after a pause. 0: what comes in ten seconds.
    pub bytes_burst: u64,
    /// Processes with the ingest role, among which calls are spread evenly. Each meters by itself, and lets an equal part of a
    /// tenant's events and bytes a second in, and its whole burst. 0: as many as are heard of in the metastore; one that comes or goes counts
    /// within 6 seconds.
    pub processes: u64,
}

/// What a batch costs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

/// What a batch was charged.
pub(crate) struct Charge {
    tenant: TenantId,
    rates: Rates,
    pub(super) size: Size,
}

/// Why a batch is over its tenant's quota.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// It fits after this time.
    For { wait: Duration, unit: &'static str, per_second: u64 },
    /// It never fits.
    Burst { unit: &'static str, has: usize, burst: u64 },
}

/// None: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rates {
    events: Option<Rate>,
    bytes: Option<Rate>,
}

#[derive(Default)]
struct Meters {
    events: Meter,
    bytes: Meter,
}

pub(crate) struct Quotas {
    options: QuotaOptions,
    /// As operators set them.
    set: Mutex<Arc<HashMap<TenantId, Quota>>>,
    meters: Mutex<HashMap<TenantId, Meters>>,
    processes: Mutex<Processes>,
}

/// The processes that let events in: by name what each said last, and when that was new.
#[derive(Default)]
struct Processes {
    said: HashMap<String, (i64, Instant)>,
    live: u64,
}

impl Quotas {
    pub(crate) fn new(options: QuotaOptions) -> Self {
        Self { options, set: Mutex::default(), meters: Mutex::default(), processes: Mutex::default() }
    }

    /// Charges a batch whole, or not at all.
    pub(crate) fn charge(&self, tenant: &TenantId, size: Size, now: Instant) -> Result<Charge, Over> {
        let rates = self.rates(tenant);
        if rates.events.is_some() || rates.bytes.is_some() {
            let mut all = self.meters.lock();
            let meters = all.entry(tenant.clone()).or_default();
            let events = over(meters.events, rates.events, size.events, "events", now);
            let bytes = over(meters.bytes, rates.bytes, size.bytes, "bytes", now);
            if let Some(over) = worse(events, bytes) {
                return Err(over);
            }
            if let Some(rate) = rates.events {
                meters.events.charge(rate, size.events as u64, now);
            }
            if let Some(rate) = rates.bytes {
                meters.bytes.charge(rate, size.bytes as u64, now);
            }
        }
        Ok(Charge { tenant: tenant.clone(), rates, size })
    }

    pub(crate) fn give_back(&self, charge: &Charge) {
        let mut all = self.meters.lock();
        let Some(meters) = all.get_mut(&charge.tenant) else { return };
        if let Some(rate) = charge.rates.events {
            meters.events.give_back(rate, charge.size.events as u64);
        }
        if let Some(rate) = charge.rates.bytes {
            meters.bytes.give_back(rate, charge.size.bytes as u64);
        }
    }

    /// Takes what operators have set now, and forgets meters that say nothing.
    pub(crate) fn set(&self, quotas: Vec<(TenantId, Quota)>, now: Instant) {
        *self.set.lock() = Arc::new(quotas.into_iter().collect());
        self.meters.lock().retain(|_, meters| !(meters.events.is_idle(now) && meters.bytes.is_idle(now)));
    }

    /// Takes who is there: among so many a tenant's quota is shared. Whose own clock says what doesn't matter, only that it goes on.
    pub(crate) fn hear(&self, writers: Vec<Writer>, now: Instant) {
        let mut processes = self.processes.lock();
        let mut said = std::mem::take(&mut processes.said);
        for Writer { name, heard_ms, .. } in writers {
            let known = said.remove(&name).filter(|(known_ms, _)| *known_ms == heard_ms);
            processes.said.insert(name, known.unwrap_or((heard_ms, now)));
        }
        processes.live = processes.said.values().filter(|(_, new)| now.duration_since(*new) <= GONE).count() as u64;
    }

    /// Among how many processes a quota is shared.
    pub(super) fn processes(&self) -> u64 {
        let set = Some(self.options.processes).filter(|processes| *processes > 0);
        set.unwrap_or_else(|| self.processes.lock().live).max(1)
    }

    fn rates(&self, tenant: &TenantId) -> Rates {
        let set = Arc::clone(&*self.set.lock());
        let quota = set.get(tenant).copied().unwrap_or_default();
        let o = &self.options;
        Rates {
            events: self.rate((quota.events_per_second, o.events_per_second), (quota.events_burst, o.events_burst)),
            bytes: self.rate((quota.bytes_per_second, o.bytes_per_second), (quota.bytes_burst, o.bytes_burst)),
        }
    }

    /// Of each: what was set, and what the configuration says.
    fn rate(&self, per_second: (Option<u64>, u64), burst: (Option<u64>, u64)) -> Option<Rate> {
        let per_second = Some(per_second.0.unwrap_or(per_second.1)).filter(|rate| *rate > 0)?;
        let burst = Some(burst.0.unwrap_or(burst.1)).filter(|burst| *burst > 0);
        let burst = burst.unwrap_or(per_second.saturating_mul(BURST_SECONDS));
        Some(Rate { per_second: per_second.div_ceil(self.processes()), burst })
    }
}

fn over(meter: Meter, rate: Option<Rate>, units: usize, unit: &'static str, now: Instant) -> Option<Over> {
    let rate = rate?;
    match meter.check(rate, units as u64, now) {
        Ok(()) => None,
        Err(OverRate::For(wait)) => Some(Over::For { wait, unit, per_second: rate.per_second }),
        Err(OverRate::Always) => Some(Over::Burst { unit, has: units, burst: rate.burst }),
    }
}

/// What can't ever be rather than what can later; of two that can later the later.
fn worse(a: Option<Over>, b: Option<Over>) -> Option<Over> {
    match (&a, &b) {
        (Some(Over::Burst { .. }), _) | (_, None) => a,
        (Some(Over::For { wait, .. }), Some(Over::For { wait: other, .. })) if wait >= other => a,
        _ => b,
    }
}

impl Over {
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::For { wait, unit, per_second } => {
                // Not a moment early: what a clock in milliseconds rounds down would be refused again.
                let wait = Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1));
                let what = format!(
                    "the tenant's {per_second} {unit} a second are used up; this batch fits in {:.3} s",
                    wait.as_secs_f64()
                );
                Error { retry_after: Some(wait), ..Error::new(ErrorCode::ResourceExhausted, what) }
            }
            Self::Burst { unit, has, burst } => {
                let reason = if unit == "events" { "TOO_MANY" } else { "TOO_LONG" };
                let what = format!(
                    "the batch has {has} {unit}, and the tenant's quota lets {burst} come at once: send smaller batches"
                );
                Error::invalid("events", reason, what)
            }
        }
    }
}

/// Reads what operators set and who lets events into the topic, again and again until `stop`. While the metastore is away the quotas stay as they were.
pub(crate) async fn follow(flow: Arc<Flow>, meta: Arc<dyn Metastore>, topic: Topic, stop: CancellationToken) {
    keep_looking(&stop, "quotas can't be read; they stay as they were", || async {
        flow.quotas.set(meta.quotas().await?, Instant::now());
        flow.quotas.hear(meta.writers(&topic).await?, Instant::now());
        Ok::<_, MetaError>(())
    })
    .await;
}
