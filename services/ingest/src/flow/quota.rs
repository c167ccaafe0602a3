//! What each tenant, and each of its apps, may send: events and bytes a second, by the configuration or as it was set.

use std::sync::Arc;

use mesh::{
    limits::{Holder, Limit, Limits, rate},
    rate::{OverRate, Rate},
};
use model::{AppId, Error, TenantId};
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

/// What a batch costs its tenant, and of that its apps: those that have a limit.
#[derive(Debug, Clone)]
pub(crate) struct Sizes {
    pub(crate) whole: Size,
    pub(crate) of_apps: Vec<(AppId, Size)>,
}

impl From<Size> for Sizes {
    fn from(whole: Size) -> Self {
        Self { whole, of_apps: Vec::new() }
    }
}

/// What a batch was charged.
pub(crate) struct Charge {
    parts: Vec<Part>,
    pub(super) size: Size,
}

/// What one holder was charged.
struct Part {
    holder: Holder,
    /// None: no limit.
    events: Option<Rate>,
    bytes: Option<Rate>,
    size: Size,
}

/// Why a batch is over a quota.
#[derive(Debug)]
pub(crate) struct Over {
    holder: Holder,
    unit: Unit,
    units: usize,
    rate: Rate,
    pub(super) why: OverRate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Events,
    Bytes,
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

    /// Whether it matters of which apps a tenant's events are.
    pub(crate) fn are_of_apps(&self, tenant: &TenantId) -> bool {
        self.limits.any_of_apps(tenant)
    }

    /// Charges a batch whole, or not at all.
    pub(crate) async fn charge(&self, tenant: &TenantId, sizes: &Sizes) -> Result<Charge, Over> {
        let o = &self.options;
        let configured = ((o.events_per_second, o.events_burst), (o.bytes_per_second, o.bytes_burst));
        let of_apps = sizes.of_apps.iter().map(|(app, size)| (Holder::app(tenant, app), *size, ((0, 0), (0, 0))));
        let mut charge = Charge { parts: Vec::with_capacity(1 + sizes.of_apps.len()), size: sizes.whole };
        for (holder, size, (events, bytes)) in [(tenant.into(), sizes.whole, configured)].into_iter().chain(of_apps) {
            let quota = self.limits.of(&holder);
            let part = Part {
                events: rate((quota.events_per_second, events.0), (quota.events_burst, events.1)),
                bytes: rate((quota.bytes_per_second, bytes.0), (quota.bytes_burst, bytes.1)),
                holder,
                size,
            };
            if let Err(over) = self.take(&part).await {
                self.give_back(&charge);
                return Err(over);
            }
            charge.parts.push(part);
        }
        Ok(charge)
    }

    pub(crate) fn give_back(&self, charge: &Charge) {
        charge.parts.iter().for_each(|part| {
            self.give_back_of(part, Unit::Events);
            self.give_back_of(part, Unit::Bytes);
        });
    }

    /// The refusal of a batch that is over.
    pub(crate) fn refusal(&self, over: &Over) -> Error {
        let Over { holder, unit, units, rate, why } = over;
        match why {
            OverRate::For(wait) => self.limit(*unit).refusal(holder, *rate, *wait),
            OverRate::Always => {
                let (reason, unit) = match unit {
                    Unit::Events => ("TOO_MANY", "events"),
                    Unit::Bytes => ("TOO_LONG", "bytes"),
                };
                let (kind, burst) = (holder.kind(), rate.burst);
                let what = format!(
                    "the batch has {units} {unit}, and the {kind}'s quota lets {burst} come at once: send smaller batches"
                );
                Error::invalid("events", reason, what)
            }
        }
    }

    fn limit(&self, unit: Unit) -> &Limit {
        match unit {
            Unit::Events => &self.events,
            Unit::Bytes => &self.bytes,
        }
    }

    /// Takes both, or neither.
    async fn take(&self, part: &Part) -> Result<(), Over> {
        let events = self.take_of(part, Unit::Events).await.err();
        let bytes = self.take_of(part, Unit::Bytes).await.err();
        match (&events, &bytes) {
            (None, Some(_)) => self.give_back_of(part, Unit::Events),
            (Some(_), None) => self.give_back_of(part, Unit::Bytes),
            _ => {}
        }
        worse(events, bytes).map_or(Ok(()), Err)
    }

    async fn take_of(&self, part: &Part, unit: Unit) -> Result<(), Over> {
        let (Some(rate), units) = part.of(unit) else { return Ok(()) };
        let taken = self.limit(unit).take(&part.holder, rate, units as u64).await;
        taken.map_err(|why| Over { holder: part.holder.clone(), unit, units, rate, why })
    }

    fn give_back_of(&self, part: &Part, unit: Unit) {
        if let (Some(rate), units) = part.of(unit) {
            self.limit(unit).give_back(&part.holder, rate, units as u64);
        }
    }
}

impl Part {
    fn of(&self, unit: Unit) -> (Option<Rate>, usize) {
        match unit {
            Unit::Events => (self.events, self.size.events),
            Unit::Bytes => (self.bytes, self.size.bytes),
        }
    }
}

/// What can't ever be rather than what can later; of two that can later the later.
fn worse(a: Option<Over>, b: Option<Over>) -> Option<Over> {
    match (a.as_ref().map(|over| &over.why), b.as_ref().map(|over| &over.why)) {
        (Some(OverRate::Always), _) | (_, None) => a,
        (Some(OverRate::For(wait)), Some(OverRate::For(other))) if wait >= other => a,
        _ => b,
    }
}
