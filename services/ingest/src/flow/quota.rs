//! What each tenant may send: events and bytes a second, by the configuration or as an operator set it.

use std::{sync::Arc, time::Duration};

use mesh::{
    limits::{Limit, Limits, rate},
    rate::{OverRate, Rate},
};
use model::{Error, TenantId};
use serde::{Deserialize, Serialize};

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
    /// Processes with the ingest role, each of which lets an equal part of a tenant's events and bytes in while the cache that they share is away. 0: as
    /// many as were there when it was last heard.
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
    /// None: no limit.
    events: Option<Rate>,
    bytes: Option<Rate>,
    pub(super) size: Size,
}

/// Why a batch is over its tenant's quota.
#[derive(Debug)]
pub(crate) enum Over {
    /// It fits after this time.
    For { wait: Duration, unit: &'static str, rate: Rate },
    /// It never fits.
    Always { unit: &'static str, units: usize, burst: u64 },
}

pub(crate) struct Quotas {
    options: QuotaOptions,
    pub(super) limits: Arc<Limits>,
    events: Limit,
    bytes: Limit,
}

impl Quotas {
    pub(crate) fn new(options: QuotaOptions, limits: Arc<Limits>) -> Self {
        let events = Limit::new(&limits, "events_per_second", "events");
        let bytes = Limit::new(&limits, "bytes_per_second", "bytes");
        Self { options, limits, events, bytes }
    }

    /// Charges a batch whole, or not at all.
    pub(crate) async fn charge(&self, tenant: &TenantId, size: Size) -> Result<Charge, Over> {
        let (quota, o) = (self.limits.of(tenant), &self.options);
        let charge = Charge {
            tenant: tenant.clone(),
            events: rate((quota.events_per_second, o.events_per_second), (quota.events_burst, o.events_burst)),
            bytes: rate((quota.bytes_per_second, o.bytes_per_second), (quota.bytes_burst, o.bytes_burst)),
            size,
        };
        let events = take(&self.events, tenant, charge.events, size.events, "events").await;
        let bytes = take(&self.bytes, tenant, charge.bytes, size.bytes, "bytes").await;
        let (events, bytes) = (events.err(), bytes.err());
        match (&events, &bytes) {
            (None, Some(_)) => give_back(&self.events, tenant, charge.events, size.events),
            (Some(_), None) => give_back(&self.bytes, tenant, charge.bytes, size.bytes),
            _ => {}
        }
        worse(events, bytes).map_or(Ok(charge), Err)
    }

    pub(crate) fn give_back(&self, charge: &Charge) {
        give_back(&self.events, &charge.tenant, charge.events, charge.size.events);
        give_back(&self.bytes, &charge.tenant, charge.bytes, charge.size.bytes);
    }

    /// The refusal of a batch that is over.
    pub(crate) fn refusal(&self, tenant: &TenantId, over: Over) -> Error {
        match over {
            Over::For { wait, unit: "events", rate } => self.events.refusal(tenant, rate, wait),
            Over::For { wait, rate, .. } => self.bytes.refusal(tenant, rate, wait),
            Over::Always { unit, units, burst } => {
                let reason = if unit == "events" { "TOO_MANY" } else { "TOO_LONG" };
                let what = format!(
                    "the batch has {units} {unit}, and the tenant's quota lets {burst} come at once: send smaller batches"
                );
                Error::invalid("events", reason, what)
            }
        }
    }
}

fn give_back(limit: &Limit, tenant: &TenantId, rate: Option<Rate>, units: usize) {
    if let Some(rate) = rate {
        limit.give_back(tenant, rate, units as u64);
    }
}

async fn take(
    limit: &Limit,
    tenant: &TenantId,
    rate: Option<Rate>,
    units: usize,
    unit: &'static str,
) -> Result<(), Over> {
    let Some(rate) = rate else { return Ok(()) };
    limit.take(tenant, rate, units as u64).await.map_err(|over| match over {
        OverRate::For(wait) => Over::For { wait, unit, rate },
        OverRate::Always => Over::Always { unit, units, burst: rate.burst },
    })
}

/// What can't ever be rather than what can later; of two that can later the later.
fn worse(a: Option<Over>, b: Option<Over>) -> Option<Over> {
    match (&a, &b) {
        (Some(Over::Always { .. }), _) | (_, None) => a,
        (Some(Over::For { wait, .. }), Some(Over::For { wait: other, .. })) if wait >= other => a,
        _ => b,
    }
}
