//! What a statement found, and what may be said of it.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use api::v1;
use formula::SealedPlan;
use parking_lot::Mutex;
use storage::warehouse::ReadCost;
use tokio::time::Instant;

use super::{columns, statement::cost};
use crate::{elsewhere::Claim, freshness::Fresh};

/// What a query found, for all who wait for it.
pub(super) struct Computed {
    pub(super) rows: Vec<v1::Row>,
    pub(super) truncated: bool,
    pub(super) route: v1::Route,
    pub(super) fresh: Fresh,
    pub(super) read: Option<ReadCost>,
    pub(super) queued: Duration,
    /// Whether one of them has seen to what is kept of it, or nothing is to be.
    pub(super) is_kept: AtomicBool,
    /// Until that is done: other processes wait for it.
    pub(super) claim: Mutex<Option<Claim>>,
}

impl Computed {
    /// Of what needs no query.
    pub(super) fn nothing(fresh: &Fresh) -> Self {
        let (rows, route, read) = (Vec::new(), v1::Route::Cache, None);
        let (fresh, queued, is_kept) = (fresh.clone(), Duration::ZERO, AtomicBool::new(false));
        Self { rows, truncated: false, route, fresh, read, queued, is_kept, claim: Mutex::default() }
    }

    /// Of what another process computed and kept.
    pub(super) fn elsewhere(rows: Vec<v1::Row>, fresh: &Fresh) -> Self {
        Self { rows, is_kept: AtomicBool::new(true), ..Self::nothing(fresh) }
    }

    /// What an answer may promise that is made of this and of what was kept as of then: what others computed is perhaps of a moment
    /// before.
    pub(super) fn oldest<'a>(&'a self, then: &'a Fresh) -> &'a Fresh {
        if self.fresh.reached.covers(&then.reached) { then } else { &self.fresh }
    }

    /// What it may promise by itself: states are as of before the query began, all else is as of when it did.
    pub(super) fn promised<'a>(&'a self, then: &'a Fresh) -> &'a Fresh {
        if self.route == v1::Route::States { self.oldest(then) } else { &self.fresh }
    }

    pub(super) fn info(&self, fresh: &Fresh, started: Instant) -> v1::ResultInfo {
        let (watermark, cost) = (Some(fresh.watermark.clone()), Some(cost(started, self.queued, self.read)));
        v1::ResultInfo { watermark, route: self.route.into(), cost, truncated: self.truncated, stale: false }
    }

    /// All of the answer, to one who asked as of then.
    pub(super) fn result(self: Arc<Self>, plan: &SealedPlan, then: &Fresh, started: Instant) -> v1::Result {
        let info = Some(self.info(self.promised(then), started));
        v1::Result { columns: columns(plan), rows: rows(self), info }
    }
}

/// Those that were computed; nobody else may wait for them.
pub(super) fn rows(computed: Arc<Computed>) -> Vec<v1::Row> {
    Arc::try_unwrap(computed).map_or_else(|shared| shared.rows.clone(), |own| own.rows)
}
