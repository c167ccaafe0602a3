//! Parts of an answer that can be computed apart.
//!
//! Where a plan groups events by a time bucket and returns it, each row of its answer is computed from that bucket's events alone. So
//! the buckets can be answered apart, at different times, and put together: whatever the aggregates are, and whatever else is
//! grouped by. Only what looks across buckets forbids it: a limit, DISTINCT, an order by anything else first. Any other answer is
//! of one part, its whole range: that of all events in it, where plans stand in one another. What is known of users has no time, so
//! an answer with it is of no part at all.

use std::ops::Range;

use crate::{
    ast::CompareOp,
    grain::Grain,
    plan::{Order, OrderBy, Plan},
    seal::SealedPlan,
    time::{Zone, bucket_start, next_bucket},
    typed::{Expr, Field, Node},
    types::Type,
};

/// How the rows of a plan lie in time.
#[derive(Debug, Clone, PartialEq)]
pub struct Buckets {
    /// The column of the result that holds the start of a row's bucket; `None` if the answer is one part.
    pub column: Option<usize>,
    /// Whether rows come from the latest bucket to the earliest; `None` if their order doesn't matter.
    pub descending: Option<bool>,
    /// The event times that the plan asks for, UTC ms; a bound that isn't set lies beyond every event.
    pub range: Range<i64>,
    grain: Option<(Grain, Zone)>,
}

impl Buckets {
    /// The buckets that lie in the plan's range as a whole and end by `until_ms`, from the earliest on. `None` if they are more than
    /// `most`, or the range has no beginning.
    pub fn whole(&self, until_ms: i64, most: usize) -> Option<Vec<Range<i64>>> {
        let Range { start, end } = self.range;
        let mut buckets = Vec::new();
        if start == i64::MIN {
            return None;
        }
        let Some((grain, zone)) = &self.grain else {
            buckets.extend(Some(start..end).filter(|range| !range.is_empty() && end <= until_ms));
            return Some(buckets);
        };
        let end = end.min(until_ms);
        if start >= end {
            return Some(buckets);
        }
        let mut next = bucket_start(start, *grain, zone)?;
        if next < start {
            next = next_bucket(start, *grain, zone)?;
        }
        loop {
            let after = next_bucket(next, *grain, zone)?;
            if after > end {
                return Some(buckets);
            }
            if buckets.len() == most {
                return None;
            }
            buckets.push(next..after);
            next = after;
        }
    }
}

impl SealedPlan {
    /// How its rows lie in time.
    pub fn buckets(&self) -> Buckets {
        self.plan().buckets()
    }

    /// The same question about the events of these times alone, UTC ms, in place of the plan's own range. With no times at all it is the
    /// question without a range.
    pub fn over(&self, times: &[Range<i64>]) -> Self {
        self.with_plan(self.plan().over(times))
    }
}

impl Plan {
    fn buckets(&self) -> Buckets {
        let range = if self.reads_users() { Default::default() } else { self.range() };
        let range = range.from_ms.unwrap_or(i64::MIN)..range.to_ms.unwrap_or(i64::MAX);
        let (column, descending, grain) = match self.by_bucket() {
            Some((column, descending, grain)) => (Some(column), descending, Some(grain)),
            None => (None, None, None),
        };
        Buckets { column, descending, range, grain }
    }

    /// The bucket's column, its order, and what a bucket is, if each row is of one.
    fn by_bucket(&self) -> Option<(usize, Option<bool>, (Grain, Zone))> {
        let groups = self.groups.as_ref().filter(|_| self.is_plain())?;
        if self.distinct || self.limit.is_some() || self.offset > 0 {
            return None;
        }
        let (column, key) = self.outputs.iter().enumerate().find_map(|(column, output)| match output.expr.node {
            Node::Key(key) => Some((column, key)).filter(|_| is_bucket(&groups.keys[key])),
            _ => None,
        })?;
        let Node::Truncate(grain, zone, _) = &groups.keys[key].node else { return None };
        let by_bucket = |by: &OrderBy| match by {
            OrderBy::Output(output) => self.outputs[*output].expr.node == Node::Key(key),
            OrderBy::Expr(expr) => expr.node == Node::Key(key),
        };
        let descending = match self.order.first() {
            None => None,
            Some(Order { by, descending, .. }) if by_bucket(by) => Some(*descending),
            Some(_) => return None,
        };
        Some((column, descending, (*grain, zone.clone())))
    }

    fn over(&self, times: &[Range<i64>]) -> Self {
        if !self.is_plain() {
            return self.clone(); // it has no one range; its only part is the whole
        }
        self.within(times)
    }

    /// The same of the events of these times, in place of those of its range.
    pub(crate) fn within(&self, times: &[Range<i64>]) -> Self {
        let mut plan = self.clone();
        plan.filters = self.filters.iter().filter_map(without_range).collect();
        if !times.is_empty() {
            let times = times.iter().map(holds).collect();
            plan.filters.push(bool(Node::Any(times)));
        }
        plan
    }
}

fn is_bucket(key: &Expr) -> bool {
    matches!(&key.node, Node::Truncate(_, _, inner) if inner.node == Node::Field(Field::Timestamp))
}

/// What is left of a condition without its bounds on time, if anything is.
pub(crate) fn without_range(condition: &Expr) -> Option<Expr> {
    match &condition.node {
        Node::All(terms) => {
            let left: Vec<_> = terms.iter().filter_map(without_range).collect();
            (!left.is_empty()).then(|| bool(Node::All(left)))
        }
        Node::Compare(op, left, right) => {
            let bounds = *op != CompareOp::Ne
                && left.node == Node::Field(Field::Timestamp)
                && matches!(right.node, Node::Time(_));
            (!bounds).then(|| condition.clone())
        }
        _ => Some(condition.clone()),
    }
}

fn holds(times: &Range<i64>) -> Expr {
    let bound = |op, ms| {
        let timestamp = Expr::new(Node::Field(Field::Timestamp), Type::Time, Default::default());
        let time = Expr::new(Node::Time(ms), Type::Time, Default::default());
        bool(Node::Compare(op, Box::new(timestamp), Box::new(time)))
    };
    let from = (times.start > i64::MIN).then(|| bound(CompareOp::Ge, times.start));
    let to = (times.end < i64::MAX).then(|| bound(CompareOp::Lt, times.end));
    bool(Node::All(from.into_iter().chain(to).collect()))
}

fn bool(node: Node) -> Expr {
    Expr::new(node, Type::Bool, Default::default())
}
