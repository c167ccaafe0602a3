//! Which shapes are asked for often enough that their states are kept.
//!
//! A shape is wanted from the third time within ten minutes on that one process has to compute something of it, until nobody has asked
//! for an hour; one of a metric that is to be materialized, from the first time on, until nobody has for a week.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use formula::SealedPlan;
use model::TenantId;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::Count;

/// How often within which time.
const OFTEN: usize = 3;
const WITHIN: Duration = Duration::from_secs(10 * 60);
/// For how long after the last time what is asked for often is kept up, and what is to be materialized.
const OFTEN_LASTS: Duration = Duration::from_secs(3_600);
const MATERIALIZED_LASTS: Duration = Duration::from_secs(7 * 24 * 3_600);
/// For how long a shape of too many groups is left alone.
const TOO_MANY_LASTS: Duration = Duration::from_secs(24 * 3_600);
/// Shapes that are counted at once, of all tenants.
const MOST_SHAPES: usize = 10_000;
/// How far back states go, in ms.
pub(super) const FURTHEST_MS: i64 = 400 * model::DAY_MS;

/// What was asked of late, by tenant and shape.
pub(super) struct Asked {
    shapes: Mutex<HashMap<(TenantId, String), Shape>>,
    /// Of one tenant that are wanted at once.
    most_wanted: usize,
    /// Told when a shape comes to be wanted.
    pub(super) news: Notify,
}

struct Shape {
    /// One of its questions.
    plan: SealedPlan,
    times: VecDeque<Instant>,
    is_often: bool,
    is_materialized: bool,
    /// From now back to the earliest time that was asked for, in ms.
    reach_ms: i64,
    too_many_groups: Option<Instant>,
}

/// A shape whose states are wanted.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) shape: String,
    pub(super) plan: SealedPlan,
    pub(super) reach_ms: i64,
}

/// What is known of a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// So often of late.
    Rare(usize),
    /// Its states are wanted, and will be there.
    Wanted,
    /// The tenant has as many already.
    Full(usize),
    /// Its buckets have too many groups.
    TooManyGroups,
}

impl Shape {
    fn new(plan: SealedPlan) -> Self {
        let (times, too_many_groups) = (VecDeque::with_capacity(OFTEN), None);
        Self { plan, times, is_often: false, is_materialized: false, reach_ms: 0, too_many_groups }
    }

    fn last(&self) -> Option<Instant> {
        self.times.back().copied()
    }

    fn is_wanted(&self) -> bool {
        let lasts = if self.is_materialized { MATERIALIZED_LASTS } else { OFTEN_LASTS };
        (self.is_often || self.is_materialized) && self.last().is_some_and(|last| last.elapsed() < lasts)
    }

    fn is_too_large(&self) -> bool {
        self.too_many_groups.is_some_and(|since| since.elapsed() < TOO_MANY_LASTS)
    }

    fn is_over(&self) -> bool {
        !self.is_wanted() && self.last().is_none_or(|last| last.elapsed() >= WITHIN) && !self.is_too_large()
    }

    fn standing(&self) -> Standing {
        match self.is_wanted() {
            _ if self.is_too_large() => Standing::TooManyGroups,
            true => Standing::Wanted,
            false => Standing::Rare(self.times.iter().filter(|time| time.elapsed() < WITHIN).count()),
        }
    }
}

/// How many shapes of the tenant are wanted.
fn wanted_of(shapes: &HashMap<(TenantId, String), Shape>, tenant: &TenantId) -> usize {
    shapes.iter().filter(|((of, _), shape)| of == tenant && shape.is_wanted()).count()
}

impl Asked {
    pub(super) fn new(options: &crate::Options) -> Self {
        Self { shapes: Mutex::default(), most_wanted: options.states.shapes, news: Notify::new() }
    }

    /// Notes that something of the shape has to be computed, so many ms back.
    pub(super) fn count(&self, plan: &SealedPlan, shape: &str, reach_ms: i64, count: Count) -> Standing {
        let key = (plan.tenant().clone(), shape.to_owned());
        let mut shapes = self.shapes.lock();
        if shapes.len() >= MOST_SHAPES && !shapes.contains_key(&key) {
            shapes.retain(|_, shape| !shape.is_over());
            if shapes.len() >= MOST_SHAPES {
                return Standing::Rare(1);
            }
        }
        let new = || Shape::new(plan.clone());
        let mut shape = shapes.entry(key.clone()).or_insert_with(new);
        let was_wanted = shape.is_wanted();
        if shape.times.len() == OFTEN {
            shape.times.pop_front();
        }
        shape.times.push_back(Instant::now());
        let reach_ms = reach_ms.min(FURTHEST_MS);
        let further = reach_ms > shape.reach_ms;
        shape.reach_ms = shape.reach_ms.max(reach_ms);
        if !was_wanted {
            let often = shape.times.len() == OFTEN && shape.times.iter().all(|time| time.elapsed() < WITHIN);
            // None that was wanted once comes to be so again beside as many as there may be.
            (shape.is_often, shape.is_materialized) = (false, false);
            let is_due = often || count == Count::Materialize;
            if is_due && wanted_of(&shapes, plan.tenant()) >= self.most_wanted {
                return Standing::Full(self.most_wanted);
            }
            shape = shapes.entry(key).or_insert_with(new);
            shape.is_often = often;
        }
        shape.is_materialized |= count == Count::Materialize;
        if shape.is_wanted() && (!was_wanted || further) {
            self.news.notify_one();
        }
        shape.standing()
    }

    /// What is known of the shape.
    pub(super) fn standing(&self, tenant: &TenantId, shape: &str) -> Standing {
        let shapes = self.shapes.lock();
        shapes.get(&(tenant.clone(), shape.to_owned())).map_or(Standing::Rare(0), Shape::standing)
    }

    /// Leaves the shape alone for a while.
    pub(super) fn is_too_large(&self, tenant: &TenantId, shape: &str) {
        if let Some(shape) = self.shapes.lock().get_mut(&(tenant.clone(), shape.to_owned())) {
            shape.too_many_groups = Some(Instant::now());
        }
    }

    /// The shapes whose states are wanted, those asked for last first.
    pub(super) fn wanted(&self) -> Vec<Wanted> {
        let mut shapes = self.shapes.lock();
        shapes.retain(|_, shape| !shape.is_over());
        let wanted = shapes.iter().filter(|(_, shape)| shape.is_wanted() && !shape.is_too_large());
        let mut wanted: Vec<_> = wanted.map(|((_, word), shape)| (word, shape)).collect();
        wanted.sort_by_key(|(_, shape)| std::cmp::Reverse(shape.last()));
        let each = |(word, shape): (&String, &Shape)| Wanted {
            shape: word.clone(),
            plan: shape.plan.clone(),
            reach_ms: shape.reach_ms,
        };
        wanted.into_iter().map(each).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use formula::{Context, parse_sql};
    use model::{AppId, AppSchema, AppSet, Permission, Permissions, Priority, Scope};
    use tokio::time::advance;

    use super::*;
    use crate::{Options, StateOptions};

    fn plan() -> SealedPlan {
        let schema = AppSchema::new([]);
        let context = Context { schema: &schema, app: AppId::new("shop").unwrap(), now_ms: 0, time_zone: "UTC" };
        let plan = parse_sql("SELECT COUNT(*) AS n FROM events WHERE app_id = 'shop'").unwrap().plan(&context).unwrap();
        let (tenant, apps) = (TenantId::new("acme").unwrap(), AppSet::Only(vec![AppId::new("shop").unwrap()]));
        let scope = Scope::new(tenant, apps, Permissions::from_iter([Permission::Query]), Priority::Interactive);
        plan.seal(&scope, &schema).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_wanted_once_is_not_again_beside_as_many_as_may_be() {
        let states = StateOptions { shapes: 1, ..StateOptions::default() };
        let asked = Asked::new(&Options { states, ..Options::default() });
        let (plan, of) = (plan(), TenantId::new("acme").unwrap());
        let materialize = |shape: &str| asked.count(&plan, shape, 0, Count::Materialize);
        assert_eq!(materialize("first"), Standing::Wanted);
        advance(MATERIALIZED_LASTS).await;
        assert_eq!(materialize("second"), Standing::Wanted);
        assert_eq!(materialize("first"), Standing::Full(1));
        assert_eq!(asked.standing(&of, "first"), Standing::Rare(1));
        let wanted: Vec<_> = asked.wanted().into_iter().map(|wanted| wanted.shape).collect();
        assert_eq!(wanted, ["second"]);
    }
}
