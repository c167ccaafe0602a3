//! Whose query starts next: the state of the queue alone, without time and without waiting.
//!
//! Each class has a line for every tenant that waits, and these take turns by deficit round robin: a turn is worth [`QUANTUM`]
//! bytes, a query starts when its tenant's turns have paid for what it is expected to read, and what it read more or less in
//! truth is charged afterwards. A tenant with nothing to start saves nothing up; what it owes is forgiven as others get theirs.
//!
//! A tenant alone may have many places. While others ask too it has few: whatever runs shares the cores, so that eight queries of one tenant would
//! make another's nine times as slow. A small query may start beyond them while a core is idle and nobody
//! waits whose place it would be: it is over before it is in anyone's way.
//!
//! The more urgent class starts first, and no class starves: one that could start and was passed over [`PATIENCE`] times is next.
//! Of the places scheduled queries take three quarters at most and background ones half or fewer, so that a person finds a place.

use std::collections::{HashMap, VecDeque};

use model::{Priority, TenantId};

use super::SMALL_BYTES;

/// What a turn is worth, in bytes: the least that a query is taken for, so that small ones of all tenants alternate.
pub(super) const QUANTUM: i64 = 1 << 20;
/// How many queries of more urgent classes may start before one that waits.
pub(super) const PATIENCE: u32 = 7;

/// Others ask too if one of so many queries that started last was another tenant's.
const RECENT: usize = 32;

pub(super) const CLASSES: [Priority; 3] = [Priority::Interactive, Priority::Scheduled, Priority::Background];

/// How many may run and wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) places: usize,
    /// Of one tenant, as long as nobody else asks.
    pub(super) tenant_places: usize,
    /// Of one tenant while others ask too.
    pub(super) shared_tenant_places: usize,
    pub(super) background_places: usize,
    pub(super) waiting: usize,
    pub(super) tenant_waiting: usize,
}

/// Who waits or runs, and for how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) tenant: TenantId,
    pub(super) class: Priority,
    /// What it is expected to read.
    pub(super) bytes: i64,
}

/// Why nobody else may be put into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The tenant's own share of the queue.
    Tenant,
    /// The whole queue.
    House,
}

/// Where someone stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// How many start before.
    pub(super) before: usize,
    /// How many of them are the same tenant's.
    pub(super) own_before: usize,
    /// How many places the tenant may have.
    pub(super) tenant_places: usize,
    /// Whether it has them all.
    pub(super) tenant_full: bool,
}

/// The queue; a waiter is known by its number and carries a `W`, by which it is told.
#[derive(Debug)]
pub(super) struct Fair<W> {
    bounds: Bounds,
    lanes: [Lane<W>; 3],
    /// Places in use, by class and by tenant.
    running: [usize; 3],
    tenants: HashMap<TenantId, usize>,
    /// Whose queries started last.
    recent: VecDeque<TenantId>,
    last_number: u64,
}

#[derive(Debug)]
struct Lane<W> {
    lines: HashMap<TenantId, Line<W>>,
    /// The tenants that wait, whose turn it is first.
    ring: VecDeque<TenantId>,
    waiting: usize,
    /// What each of those who waited was given so far, in bytes: by this an absent tenant's debt is forgiven.
    share: i64,
    passed_over: u32,
}

#[derive(Debug)]
struct Line<W> {
    waiters: VecDeque<Waiter<W>>,
    /// What is left of its turns; below zero what it owes.
    deficit: i64,
    /// Whether it was given this turn's worth.
    in_turn: bool,
    /// The lane's share when its last waiter left.
    left_at: i64,
}

#[derive(Debug)]
struct Waiter<W> {
    number: u64,
    bytes: i64,
    tell: W,
}

impl<W> Fair<W> {
    pub(super) fn new(bounds: Bounds) -> Self {
        let lane = || Lane { lines: HashMap::new(), ring: VecDeque::new(), waiting: 0, share: 0, passed_over: 0 };
        let lanes = [lane(), lane(), lane()];
        Self { bounds, lanes, running: [0; 3], tenants: HashMap::new(), recent: VecDeque::new(), last_number: 0 }
    }

    /// Puts someone into the queue; the number is for [`Self::cancel`].
    pub(super) fn wait(&mut self, ask: &Ask, tell: W) -> Result<u64, Full> {
        if self.waiting() >= self.bounds.waiting {
            return Err(Full::House);
        }
        if self.waiting_of(&ask.tenant) >= self.bounds.tenant_waiting {
            return Err(Full::Tenant);
        }
        self.last_number += 1;
        let waiter = Waiter { number: self.last_number, bytes: ask.bytes, tell };
        self.lanes[ask.class as usize].push(&ask.tenant, waiter);
        Ok(self.last_number)
    }

    /// Takes someone out who waits no longer.
    pub(super) fn cancel(&mut self, ask: &Ask, number: u64) {
        self.lanes[ask.class as usize].cancel(&ask.tenant, number);
    }

    /// Who starts now, if anyone may: it has a place until [`Self::finish`].
    pub(super) fn start(&mut self, background_open: bool) -> Option<(Ask, W)> {
        if self.running.iter().sum::<usize>() >= self.bounds.places {
            return None;
        }
        let able: Vec<_> = CLASSES.into_iter().filter(|class| self.may_start(*class, background_open)).collect();
        let overdue = able.iter().find(|class| self.lanes[**class as usize].passed_over >= PATIENCE);
        let class = *overdue.or(able.first())?;
        for passed in able.into_iter().filter(|other| *other > class) {
            self.lanes[passed as usize].passed_over += 1;
        }
        let room = self.room(class);
        let (tenants, lane) = (&self.tenants, &mut self.lanes[class as usize]);
        lane.passed_over = 0;
        let (tenant, waiter) =
            lane.start(|tenant, next| room.is_for(next, tenants.get(tenant).copied().unwrap_or(0)))?;
        self.recent.push_back(tenant.clone());
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        self.running[class as usize] += 1;
        *self.tenants.entry(tenant.clone()).or_default() += 1;
        Some((Ask { tenant, class, bytes: waiter.bytes }, waiter.tell))
    }

    /// Gives the place back, and charges what was read in truth.
    pub(super) fn finish(&mut self, ask: &Ask, read_bytes: Option<i64>) {
        self.running[ask.class as usize] -= 1;
        if let Some(running) = self.tenants.get_mut(&ask.tenant) {
            *running -= 1;
            if *running == 0 {
                self.tenants.remove(&ask.tenant);
            }
        }
        let less = read_bytes.map_or(0, |read| ask.bytes.saturating_sub(read));
        self.lanes[ask.class as usize].charge_back(&ask.tenant, less);
    }

    /// How many of the class wait, and how many run.
    pub(super) fn numbers(&self, class: Priority) -> (usize, usize) {
        (self.lanes[class as usize].waiting, self.running[class as usize])
    }

    /// How many places are in use.
    pub(super) fn running(&self) -> usize {
        self.running.iter().sum()
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.lanes.iter().map(|lane| lane.waiting).sum()
    }

    /// Where the waiter of that number stands; or, without one, where whoever came now would.
    pub(super) fn standing(&self, tenant: &TenantId, class: Priority, number: Option<u64>) -> Standing {
        let lane = &self.lanes[class as usize];
        let own = lane.lines.get(tenant).map_or(0, |line| {
            let before = |waiter: &&Waiter<W>| number.is_none_or(|number| waiter.number < number);
            line.waiters.iter().filter(before).count()
        });
        let others = lane.lines.iter().filter(|(other, _)| *other != tenant);
        let others: usize = others.map(|(_, line)| line.waiters.len().min(own + 1)).sum();
        let urgent: usize = self.lanes[..class as usize].iter().map(|lane| lane.waiting).sum();
        let tenant_places = self.places_of(tenant);
        let tenant_full = self.running_of(tenant) >= tenant_places;
        Standing { before: urgent + own + others, own_before: own, tenant_places, tenant_full }
    }

    fn waiting_of(&self, tenant: &TenantId) -> usize {
        self.lanes.iter().filter_map(|lane| lane.lines.get(tenant)).map(|line| line.waiters.len()).sum()
    }

    /// How much room each has that waits in the class: the same for all, as each is among those who ask.
    fn room(&self, class: Priority) -> Room {
        let ring = &self.lanes[class as usize].ring;
        let tenant_places = ring.front().map_or(0, |tenant| self.places_of(tenant));
        // A share is one place for each two cores.
        let core_is_idle = self.running() < 2 * self.bounds.shared_tenant_places;
        let all_have_theirs = ring.iter().all(|tenant| self.running_of(tenant) >= tenant_places);
        Room {
            tenant_places,
            if_small: if core_is_idle && all_have_theirs { self.bounds.tenant_places } else { tenant_places },
        }
    }

    fn running_of(&self, tenant: &TenantId) -> usize {
        self.tenants.get(tenant).copied().unwrap_or(0)
    }

    fn places_of(&self, tenant: &TenantId) -> usize {
        let wait = || self.lanes.iter().any(|lane| lane.ring.iter().any(|other| other != tenant));
        let others = self.recent.iter().any(|other| other != tenant) || wait();
        if others { self.bounds.shared_tenant_places.min(self.bounds.tenant_places) } else { self.bounds.tenant_places }
    }

    fn may_start(&self, class: Priority, background_open: bool) -> bool {
        let places = self.bounds.places;
        let most = match class {
            Priority::Interactive => places,
            Priority::Scheduled => (places * 3).div_ceil(4),
            Priority::Background if background_open => self.bounds.background_places.clamp(1, places.div_ceil(2)),
            Priority::Background => 0,
        };
        let lane = &self.lanes[class as usize];
        let room = self.room(class);
        let has_place = |tenant| lane.next(tenant).is_some_and(|next| room.is_for(next, self.running_of(tenant)));
        self.running[class as usize] < most && lane.ring.iter().any(has_place)
    }
}

/// How many queries a tenant may have running.
#[derive(Debug, Clone, Copy)]
struct Room {
    tenant_places: usize,
    /// As many if the next one is small.
    if_small: usize,
}

impl Room {
    fn is_for<W>(self, next: &Waiter<W>, running: usize) -> bool {
        running < if next.bytes <= SMALL_BYTES as i64 { self.if_small } else { self.tenant_places }
    }
}

impl<W> Lane<W> {
    fn push(&mut self, tenant: &TenantId, waiter: Waiter<W>) {
        let share = self.share;
        let line = self.lines.entry(tenant.clone()).or_insert_with(|| Line::new(share));
        if line.waiters.is_empty() {
            line.deficit = line.forgiven(share);
            self.ring.push_back(tenant.clone());
        }
        line.waiters.push_back(waiter);
        self.waiting += 1;
    }

    fn cancel(&mut self, tenant: &TenantId, number: u64) {
        let Some(line) = self.lines.get_mut(tenant) else { return };
        let Some(at) = line.waiters.iter().position(|waiter| waiter.number == number) else { return };
        line.waiters.remove(at);
        self.waiting -= 1;
        if line.waiters.is_empty() {
            self.leave(tenant);
        }
    }

    fn next(&self, tenant: &TenantId) -> Option<&Waiter<W>> {
        self.lines.get(tenant)?.waiters.front()
    }

    /// The first who `may` start and whose tenant has paid for it.
    fn start(&mut self, may: impl Fn(&TenantId, &Waiter<W>) -> bool) -> Option<(TenantId, Waiter<W>)> {
        let may = |lane: &Self, tenant: &TenantId| lane.next(tenant).is_some_and(|next| may(tenant, next));
        if !self.ring.iter().any(|tenant| may(self, tenant)) {
            return None;
        }
        self.skip_idle_rounds(may);
        loop {
            let tenant = self.ring.front()?.clone();
            let may_start = may(self, &tenant);
            let line = self.lines.get_mut(&tenant)?;
            if may_start {
                if !line.in_turn {
                    (line.in_turn, line.deficit) = (true, line.deficit + QUANTUM);
                }
                if let Some(waiter) = line.waiters.pop_front_if(|waiter| waiter.bytes <= line.deficit) {
                    line.deficit -= waiter.bytes;
                    self.waiting -= 1;
                    self.share += waiter.bytes / self.ring.len() as i64;
                    if line.waiters.is_empty() {
                        self.leave(&tenant);
                    }
                    return Some((tenant, waiter));
                }
            }
            line.in_turn = false;
            self.ring.rotate_left(1);
        }
    }

    /// Gives at once the turns of the rounds in which nobody could start anything.
    fn skip_idle_rounds(&mut self, may: impl Fn(&Self, &TenantId) -> bool) {
        let able: Vec<_> = self.ring.iter().filter(|tenant| may(self, tenant)).cloned().collect();
        let short = |line: &Line<W>| line.waiters.front().map_or(0, |waiter| waiter.bytes - line.deficit);
        let least = able.iter().filter_map(|tenant| self.lines.get(tenant)).map(short).min().unwrap_or(0);
        let rounds = (least - 1).max(0) / QUANTUM;
        for tenant in &able {
            if let Some(line) = self.lines.get_mut(tenant) {
                line.deficit += rounds * QUANTUM;
            }
        }
    }

    /// The tenant's last waiter is gone: it saves nothing up, but owes what it owes.
    fn leave(&mut self, tenant: &TenantId) {
        self.ring.retain(|other| other != tenant);
        if self.ring.is_empty() {
            self.passed_over = 0;
        }
        let share = self.share;
        if let Some(line) = self.lines.get_mut(tenant) {
            (line.deficit, line.in_turn, line.left_at) = (line.deficit.min(0), false, share);
        }
        self.forget();
    }

    fn charge_back(&mut self, tenant: &TenantId, less: i64) {
        let share = self.share;
        let line = self.lines.entry(tenant.clone()).or_insert_with(|| Line::new(share));
        if line.waiters.is_empty() {
            (line.deficit, line.left_at) = ((line.forgiven(share) + less).min(0), share);
            self.forget();
        } else {
            line.deficit += less;
        }
    }

    /// Drops those who neither wait nor owe.
    fn forget(&mut self) {
        let share = self.share;
        self.lines.retain(|_, line| !line.waiters.is_empty() || line.forgiven(share) < 0);
    }
}

impl<W> Line<W> {
    fn new(share: i64) -> Self {
        Self { waiters: VecDeque::new(), deficit: 0, in_turn: false, left_at: share }
    }

    /// What is owed once others have had `share`.
    fn forgiven(&self, share: i64) -> i64 {
        (self.deficit + (share - self.left_at)).min(0)
    }
}

#[cfg(test)]
mod tests;
