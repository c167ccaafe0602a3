//! What tenants and their apps may take a second, of all processes of a role together.
//!
//! A holder's limit is a bucket in the cache that the processes share. A process leases units of it, what is needed and a tenth of a second's beside,
//! at most an eighth of a burst, and spends them without asking anybody; so a call waits for the cache a few times a second at most, and not at all while its holder
//! is over the limit. While the cache is away each process lets its part in, by as many processes as were there when it was last heard; what it let in meanwhile
//! it owes the bucket when the cache is back. Over any time t the processes together let in at most burst + rate × t, a lease for each process more, and a
//! burst more for each time the cache goes away or comes back.
//!
//! A cache in memory is nobody else's: the process's part is the whole, and exact.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use model::{AppId, Error, ErrorCode, Exceeded, TenantId};
use parking_lot::Mutex;
use storage::{AllSettings, Ask, Cache, Directory, Lease, Quota};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tracing::warn;

use crate::rate::{Meter, OverRate, Rate};

/// How often is looked at what operators set, and which processes are there.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long calls wait for the first of it at the start of a process.
const FIRST_READ: Duration = Duration::from_secs(5);
/// For how long nothing is leased of a bucket that was found empty.
const BREATH: Duration = Duration::from_millis(10);
/// A burst that isn't set: what comes in so many seconds.
const BURST_SECONDS: u64 = 10;

/// Customers of tenants are many: when so many holders are known, those customers are forgotten that do nothing right now. What one had leased
/// is lost to it.
const MOST_HOLDERS: usize = 100_000;

/// Who has a limit: a tenant, or beside that and within it a part.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The tenant.
    pub tenant: TenantId,
    /// None: the tenant itself.
    pub part: Option<Part>,
}

/// A part of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// One of its apps.
    App(AppId),
    /// One of its own customers, as its tokens call it.
    Customer(String),
}

impl From<&TenantId> for Holder {
    fn from(tenant: &TenantId) -> Self {
        Self { tenant: tenant.clone(), part: None }
    }
}

impl Holder {
    /// The tenant's app.
    pub fn app(tenant: &TenantId, app: &AppId) -> Self {
        Self { tenant: tenant.clone(), part: Some(Part::App(app.clone())) }
    }

    /// The tenant's customer.
    pub fn customer(tenant: &TenantId, customer: &str) -> Self {
        Self { tenant: tenant.clone(), part: Some(Part::Customer(customer.to_owned())) }
    }

    /// Of which kind it is.
    pub fn kind(&self) -> &'static str {
        match self.part {
            None => "tenant",
            Some(Part::App(_)) => "app",
            Some(Part::Customer(_)) => "customer",
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.part {
            Some(Part::App(app)) => write!(f, "{}/apps/{app}", self.tenant),
            Some(Part::Customer(customer)) => write!(f, "{}/customers/{customer}", self.tenant),
            None => write!(f, "{}", self.tenant),
        }
    }
}

/// What operators set, and with whom it is shared.
pub struct Limits {
    cache: Arc<dyn Cache>,
    /// The processes that share: those of a role.
    group: &'static str,
    /// As configured; 0: as many as are heard of.
    processes: u64,
    known: AtomicU64,
    is_shared: AtomicBool,
    /// How many times the cache went away; it is away in the beginning.
    lost: AtomicU64,
    /// What is set; none before it was read for the first time.
    set: watch::Sender<Option<Arc<AllSettings>>>,
}

impl Limits {
    /// The limits of the processes of a group, of which this one is called `name`. Follows what operators set until it is dropped. To be called within a runtime.
    pub fn follow(
        cache: Arc<dyn Cache>,
        directory: Arc<dyn Directory>,
        (group, name): (&'static str, String),
        processes: u64,
    ) -> Arc<Self> {
        let limits = Arc::new(Self::new(cache, group, processes));
        tokio::spawn(look(Arc::downgrade(&limits), directory, name));
        limits
    }

    /// Limits that nobody sets, and that are not shared until [`Self::hear`].
    pub fn new(cache: Arc<dyn Cache>, group: &'static str, processes: u64) -> Self {
        Self {
            cache,
            group,
            processes,
            known: AtomicU64::new(1),
            is_shared: AtomicBool::new(false),
            lost: AtomicU64::new(1),
            set: watch::Sender::default(),
        }
    }

    /// What is set for it, where it isn't as the configuration says; of an app what is its own.
    pub fn of(&self, holder: &Holder) -> Quota {
        let (all, Holder { tenant, part }) = (self.settings(), holder);
        match part {
            None => all.at(tenant, None).quota,
            Some(Part::App(app)) => all.quotas(tenant).and_then(|quotas| quotas.get(app)).copied().unwrap_or_default(),
            Some(Part::Customer(_)) => Quota::default(), // the token says it
        }
    }

    /// Whether any app of the tenant has a quota of its own.
    pub fn any_of_apps(&self, tenant: &TenantId) -> bool {
        self.settings().quotas(tenant).is_some()
    }

    /// What holds everywhere, as it was seen last; nothing is set before that.
    pub fn settings(&self) -> Arc<AllSettings> {
        self.set.borrow().clone().unwrap_or_default()
    }

    /// The same, once it was read; an error if that takes long.
    pub async fn known_settings(&self) -> Result<Arc<AllSettings>, Error> {
        if let Some(known) = &*self.set.borrow() {
            return Ok(Arc::clone(known));
        }
        let mut set = self.set.subscribe();
        let known = timeout(FIRST_READ, set.wait_for(Option::is_some)).await;
        let known = known.ok().and_then(Result::ok).and_then(|known| known.clone());
        known.ok_or_else(|| Error::unavailable("what tenants may do can't be read yet", LOOK_EVERY))
    }

    /// Takes what is set now.
    pub fn set(&self, settings: AllSettings) {
        self.set.send_replace(Some(Arc::new(settings)));
    }

    /// Says that this process is there, and hears who else is.
    pub async fn hear(&self, name: &str) {
        match self.cache.present(self.group, name).await {
            Some(present) => {
                self.known.store(present.max(1), Ordering::Relaxed);
                self.is_shared.store(true, Ordering::Release);
            }
            None => self.lose(),
        }
    }

    /// How many processes of the group there are, as last heard: among so many a limit is shared while the cache is away.
    pub fn processes(&self) -> u64 {
        if self.processes > 0 { self.processes } else { self.known.load(Ordering::Relaxed) }
    }

    fn lose(&self) {
        if self.is_shared.swap(false, Ordering::AcqRel) {
            self.lost.fetch_add(1, Ordering::AcqRel);
        }
    }
}

async fn look(limits: Weak<Limits>, directory: Arc<dyn Directory>, name: String) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = true;
    loop {
        ticks.tick().await;
        let Some(limits) = limits.upgrade() else { return };
        limits.hear(&name).await;
        match directory.all_settings().await {
            Ok(settings) => {
                limits.set(settings);
                known = true;
            }
            Err(error) => {
                if std::mem::take(&mut known) {
                    warn!(%error, "settings can't be read; they stay as they were");
                }
            }
        }
    }
}

/// The rate that holds: of each what was set, and else what the configuration says. None: no limit.
pub fn rate(per_second: (Option<u64>, u64), burst: (Option<u64>, u64)) -> Option<Rate> {
    let per_second = Some(per_second.0.unwrap_or(per_second.1)).filter(|rate| *rate > 0)?;
    let burst = Some(burst.0.unwrap_or(burst.1)).filter(|burst| *burst > 0);
    Some(Rate { per_second, burst: burst.unwrap_or(per_second.saturating_mul(BURST_SECONDS)) })
}

/// One limit of every holder.
pub struct Limit {
    limits: Arc<Limits>,
    /// As quotas call it.
    name: &'static str,
    unit: &'static str,
    buckets: Mutex<HashMap<Holder, Arc<Bucket>>>,
}

/// What this process has of a holder's bucket.
#[derive(Default)]
struct Bucket {
    state: Mutex<State>,
    /// One asks for all who need some.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// Of which everything below is.
    rate: Option<Rate>,
    /// Leased, not spent.
    held: u64,
    /// Spent, not leased.
    owed: u64,
    /// Spent while the cache was away.
    missed: u64,
    /// Until when so many units beside those that are held can't be had, nor more.
    none: Option<(Instant, u64)>,
    /// How many times the cache was lost of which this knows.
    lost: u64,
    /// What went through this process, against its part: what holds while the cache is away.
    meter: Meter,
    /// That part, a second.
    part: u64,
}

impl State {
    /// Notes what went through by the leave of all: of it a process is never more than a burst ahead by itself.
    fn pass(&mut self, part: Rate, units: u64, now: Instant) {
        self.meter.charge(part, units, now);
        self.meter.forgive(part, now);
    }
}

enum Step {
    Done(Result<(), OverRate>),
    /// And how much of what is needed was held.
    Ask(Ask, u64),
}

impl Limit {
    /// The limit called `name` in units called `unit`.
    pub fn new(limits: &Arc<Limits>, name: &'static str, unit: &'static str) -> Self {
        Self { limits: Arc::clone(limits), name, unit, buckets: Mutex::default() }
    }

    /// Takes so many units, or none.
    pub async fn take(&self, holder: &Holder, rate: Rate, units: u64) -> Result<(), OverRate> {
        if units > rate.burst.max(1) {
            return Err(OverRate::Always);
        }
        let bucket = self.bucket(holder);
        if let Step::Done(outcome) = self.step(&bucket, rate, units) {
            return outcome;
        }
        let _asking = bucket.asking.lock().await;
        let (ask, held) = match self.step(&bucket, rate, units) {
            Step::Done(outcome) => return outcome,
            Step::Ask(ask, held) => (ask, held),
        };
        let name = format!("{}/{}/{holder}/{}-{}", self.limits.group, self.name, rate.per_second, rate.burst);
        let lease = self.limits.cache.lease(&name, &ask).await;
        let now = Instant::now();
        let outcome = match lease {
            Some(Lease::Units(_)) => "given",
            Some(Lease::Later(_)) => "later",
            None => "away",
        };
        metrics::counter!("penstock_limit_leases_total", "limit" => self.name, "outcome" => outcome).increment(1);
        let mut state = bucket.state.lock();
        if let Some(lease) = lease {
            state.owed = state.owed.saturating_sub(ask.owed);
            state.missed = 0;
            return match lease {
                Lease::Units(given) => {
                    state.held += (held + given).saturating_sub(units);
                    if given < ask.most {
                        state.none = Some((now + rate.time_of(1).max(BREATH), 1));
                    }
                    state.pass(self.part(rate, units), units, now);
                    Ok(())
                }
                Lease::Later(wait) => {
                    let wait = wait.max(BREATH);
                    state.held += held;
                    state.none = Some((now + wait, ask.least));
                    Err(OverRate::For(wait))
                }
            };
        }
        self.limits.lose();
        state.meter.take(self.part(rate, units), units, now)
    }

    /// Gives back units that were taken.
    pub fn give_back(&self, holder: &Holder, rate: Rate, units: u64) {
        let bucket = self.bucket(holder);
        let mut state = bucket.state.lock();
        state.meter.give_back(self.part(rate, units), units);
        if self.limits.is_shared.load(Ordering::Acquire) {
            state.held = (state.held + units).min(rate.burst);
            state.none = None;
        }
    }

    /// Charges units that were used without being asked for, also those that aren't there yet.
    pub fn owe(&self, holder: &Holder, rate: Rate, units: u64) {
        let bucket = self.bucket(holder);
        let mut state = bucket.state.lock();
        let (part, now) = (self.part(rate, units), Instant::now());
        if self.limits.is_shared.load(Ordering::Acquire) {
            let paid = units.min(state.held);
            state.held -= paid;
            state.owed += units - paid;
            state.pass(part, units, now);
        } else {
            state.meter.charge(part, units, now);
        }
    }

    /// The refusal of who is over the rate.
    pub fn refusal(&self, holder: &Holder, rate: Rate, wait: Duration) -> Error {
        metrics::counter!("penstock_limit_refused_total", "limit" => self.name).increment(1);
        // Not a moment early: what a clock in milliseconds rounds down would be refused again.
        let wait = Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1));
        let (value, unit) = (rate.per_second, self.unit);
        let (kind, seconds) = (holder.kind(), wait.as_secs_f64());
        let what = format!("the {kind}'s {value} {unit} a second are used up; come again in {seconds:.3} s");
        let limit = Exceeded { subject: format!("tenants/{holder}"), name: self.name.into(), value, unit: unit.into() };
        let error = Error::new(ErrorCode::ResourceExhausted, what);
        Error { retry_after: Some(wait), limit: Some(Box::new(limit)), ..error }
    }

    fn bucket(&self, holder: &Holder) -> Arc<Bucket> {
        let mut buckets = self.buckets.lock();
        match buckets.get(holder) {
            Some(bucket) => Arc::clone(bucket),
            None => {
                if buckets.len() >= MOST_HOLDERS {
                    let is_customer = |holder: &Holder| matches!(holder.part, Some(Part::Customer(_)));
                    buckets.retain(|holder, bucket| !is_customer(holder) || Arc::strong_count(bucket) > 1);
                }
                Arc::clone(buckets.entry(holder.clone()).or_default())
            }
        }
    }

    /// Takes what can be taken without asking, or says what is to be asked for.
    fn step(&self, bucket: &Bucket, rate: Rate, units: u64) -> Step {
        let (now, part) = (Instant::now(), self.part(rate, units));
        let mut state = bucket.state.lock();
        if state.rate != Some(rate) {
            let State { meter, lost, part, .. } = *state;
            *state = State { rate: Some(rate), meter, lost, part, ..State::default() };
        }
        if state.part != part.per_second {
            state.part = part.per_second;
            state.meter.forgive(part, now);
        }
        if !self.limits.is_shared.load(Ordering::Acquire) {
            return Step::Done(state.meter.take(part, units, now));
        }
        let lost = self.limits.lost.load(Ordering::Acquire);
        if state.lost != lost {
            // The bucket may be gone with all that was taken of it, and knows nothing of what was taken since.
            let missed = state.meter.units_ahead(part, now);
            *state = State { lost, held: 0, missed, none: None, ..*state };
        }
        if state.owed + state.missed == 0 && state.held >= units {
            state.held -= units;
            state.pass(part, units, now);
            return Step::Done(Ok(()));
        }
        let least = units.saturating_sub(state.held);
        if let Some((until, none)) = state.none
            && now < until
            && least >= none
        {
            return Step::Done(Err(OverRate::For(until - now + rate.time_of(least - none))));
        }
        let Rate { per_second, burst } = rate;
        let (held, least) = (std::mem::take(&mut state.held), least.max(1));
        let most = least + (per_second / 10).min(burst / 8);
        Step::Ask(Ask { per_second, burst, owed: state.owed, missed: state.missed, least, most }, held)
    }

    /// This process's part of a rate, which lets so many units in at once however many processes there are.
    fn part(&self, rate: Rate, units: u64) -> Rate {
        let processes = self.limits.processes();
        Rate { per_second: rate.per_second.div_ceil(processes), burst: rate.burst.div_ceil(processes).max(units) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
