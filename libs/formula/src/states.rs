//! Answers that are put together from states.
//!
//! A plan that gathers events alone has groups of aggregates, and each aggregate has a state that merges: that of a day's events is the
//! merge of its hours' states, whatever else is grouped by. So what is gathered from whole UTC hours and days can be kept as states, and a
//! range that moves on is answered from these and from the events of what is left at its ends, in one query.
//!
//! The *shape* is what the states depend on: the plan's keys, aggregates and conditions, without its range, and without what is done with
//! the groups afterwards (arithmetic, HAVING, order, limit, windows, empty buckets). Keys are computed from the events themselves, so a
//! state of a UTC hour serves every zone.

use std::{
    fmt::{self, Display, Formatter},
    ops::Range,
};

use model::{DAY_MS, Error, HOUR_MS};

use crate::{
    buckets::without_range,
    plan::{Plan, Source},
    route::Route,
    seal::{Param, SealedPlan, Statement},
    sql,
    typed::{Expr, Field, Node},
};

/// Why a plan's answers can't be put together from states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unmergeable {
    /// Single events are asked for.
    Rows,
    /// Other plans or other tables stand in it.
    Plans,
    /// It has no beginning.
    Endless,
    /// It compares times elsewhere than for its range.
    Times,
    /// A rollup has all that is asked for.
    Rollup,
}

impl Display for Unmergeable {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rows => "single events have none",
            Self::Plans => "other queries or what is known of users stand in this one",
            Self::Endless => "the range has no beginning",
            Self::Times => "it compares times not only for its range, as with another period",
            Self::Rollup => "the rollup has all that is asked for",
        })
    }
}

/// How long a bucket is that has a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Length {
    /// A UTC hour.
    Hour,
    /// A UTC day.
    Day,
}

impl Length {
    /// The same in ms.
    pub const fn ms(self) -> i64 {
        match self {
            Self::Hour => HOUR_MS,
            Self::Day => DAY_MS,
        }
    }
}

/// Buckets that follow one another, of which states are computed at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Their event times, UTC ms.
    pub times: Range<i64>,
    /// The length of each.
    pub length: Length,
    /// The number that the first bucket's states are kept under; the next ones follow it.
    pub first_piece: i64,
    /// The life of the app's states.
    pub life: i64,
}

/// What an answer is put together from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pieces {
    /// Which plan's states: as [`SealedPlan::states`] was told.
    pub shape: String,
    /// Event times that hold all buckets, UTC ms.
    pub times: Range<i64>,
    /// The buckets' numbers.
    pub numbers: Vec<i64>,
    /// The event times that are left to the events themselves, UTC ms.
    pub rest: Vec<Range<i64>>,
}

impl SealedPlan {
    /// Why its answers can't be put together from states, if they can't.
    pub fn mergeable(&self) -> Result<(), Unmergeable> {
        if self.route() == Route::DailyUsers {
            return Err(Unmergeable::Rollup);
        }
        self.plan().mergeable()
    }

    /// What computes the states of a run's buckets: a row for each bucket and group, in the columns that [`STATE_COLUMNS`] names.
    /// `InvalidQuery` if it is too large.
    pub fn states(&self, shape: &str, run: &Run) -> Result<Statement, Error> {
        let (text, params) = self.spelled_states(shape, run)?;
        Statement::verified(text, params, Vec::new(), Route::States, self.scope())
    }

    /// The same as a word for the states: of two plans with the same, but for the run and the shape, they are the same. As with
    /// [`SealedPlan::spelled`], nothing may run it.
    pub fn spelled_states(&self, shape: &str, run: &Run) -> Result<(String, Vec<Param>), Error> {
        let plan = self.plan().within(std::slice::from_ref(&run.times));
        sql::emit_states(&plan, self.scope(), shape, run)
    }

    /// The same answer, put together from these states and the events of the times that are left.
    pub fn put_together(&self, pieces: &Pieces) -> Result<Statement, Error> {
        let plan = self.plan().within(&pieces.rest);
        let (text, params) = sql::emit_merged(&plan, self.scope(), pieces)?;
        Statement::verified(text, params, plan.columns().cloned().collect(), Route::States, self.scope())
    }
}

/// The columns of the table of states that [`SealedPlan::states`] gives, in order.
pub const STATE_COLUMNS: [&str; 10] =
    ["tenant", "app", "shape", "piece", "bucket", "numbers", "integers", "texts", "states", "life"];

impl Plan {
    fn mergeable(&self) -> Result<(), Unmergeable> {
        let Some(groups) = &self.groups else { return Err(Unmergeable::Rows) };
        if self.source != Source::Events || !self.nested().is_empty() {
            return Err(Unmergeable::Plans);
        }
        if groups.keys.is_empty() && groups.aggregates.is_empty() {
            return Err(Unmergeable::Rows);
        }
        if self.range().from_ms.is_none() {
            return Err(Unmergeable::Endless);
        }
        let of_aggregates = groups.aggregates.iter().flat_map(|a| a.args.iter().chain(&a.filter));
        let left: Vec<Expr> = self.filters.iter().filter_map(without_range).collect();
        match groups.keys.iter().chain(of_aggregates).chain(&left).any(|expr| expr.any(compares_times)) {
            true => Err(Unmergeable::Times),
            false => Ok(()),
        }
    }
}

/// Whether it holds the time of an event against an instant: what moves with now can't be kept.
fn compares_times(node: &Node) -> bool {
    let is_time = |expr: &Expr| expr.node == Node::Field(Field::Timestamp);
    match node {
        Node::Compare(_, left, right) | Node::IsDistinct(left, right) => is_time(left) || is_time(right),
        Node::In(value, _) => is_time(value),
        _ => false,
    }
}
