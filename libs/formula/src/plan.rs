//! The plan: what is computed over which events, independent of how it was asked and of how it will be run.

use std::ops::Range;

use model::AppId;

use crate::{
    ast::JoinKind,
    diagnostics::{Outcome, Rule, Span, fault},
    grain::Grain,
    time::Zone,
    typed::{Aggregate, Expr, FIELDS, Field, Node},
    types::Type,
};

/// How many columns a result may have.
pub(crate) const MAX_COLUMNS: usize = 500;
/// How deep plans may stand in one another.
pub(crate) const MAX_LEVELS: usize = 16;
/// How many keys a query may group by.
pub(crate) const MAX_KEYS: usize = 64;

/// What a column of a result holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnKind {
    /// Nullable(Float64), never NaN or infinite.
    Number,
    /// Nullable(Int64).
    Integer,
    /// Nullable(String).
    String,
    /// Nullable(Bool).
    Bool,
    /// Nullable(DateTime64(3, 'UTC')): an instant.
    Time,
}

/// How true a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Accuracy {
    /// The value itself, within the rounding of 64-bit floats.
    Exact,
    /// An estimate by the sketch of this name.
    Sketch(&'static str),
}

impl Accuracy {
    pub(crate) const fn sketch(self) -> Option<&'static str> {
        match self {
            Self::Exact => None,
            Self::Sketch(name) => Some(name),
        }
    }
}

/// One column of a result.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Column {
    /// The name that the query gave, unique in the result.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
    /// How true it is.
    pub accuracy: Accuracy,
    /// The unit of a measure, as in `USD`; empty for a plain value.
    pub unit: String,
}

/// Event times that can meet the plan's conditions, UTC ms, half open; an end that is not there is not bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeRange {
    /// The first instant.
    pub from_ms: Option<i64>,
    /// The instant after the last.
    pub to_ms: Option<i64>,
}

/// What to compute: the one form that SQL, typed queries and metrics become. It reaches data only once it is
/// [sealed](Plan::seal).
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub(crate) app: AppId,
    pub(crate) source: Source,
    pub(crate) joins: Vec<Join>,
    /// Conditions on single events, all of which hold.
    pub(crate) filters: Vec<Expr>,
    /// Absent for a selection of plain rows.
    pub(crate) groups: Option<Groups>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) distinct: bool,
    pub(crate) order: Vec<Order>,
    pub(crate) limit: Option<u64>,
    pub(crate) offset: u64,
}

/// What the rows of a plan are made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Source {
    /// The app's events.
    Events,
    /// The latest that is known of each of the app's users.
    Users,
    /// What other plans give, one after the other; all have columns of the same types.
    Plans(Vec<Plan>),
}

/// A further table, beside those before it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Join {
    pub(crate) kind: JoinKind,
    pub(crate) plan: Plan,
    /// None for CROSS JOIN, where the further table has one row.
    pub(crate) on: Pairs,
}

/// Pairs that are equal; the second is of the further table.
pub(crate) type Pairs = Vec<(Expr, Expr)>;

/// How events are gathered: the expressions of outputs, order and `having` are then over keys and aggregates.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Groups {
    pub(crate) keys: Vec<Expr>,
    /// Each different aggregate once.
    pub(crate) aggregates: Vec<Aggregate>,
    pub(crate) having: Option<Expr>,
    /// The buckets of the first key that have a group, events or not; absent if only those with events do.
    pub(crate) fill: Option<Buckets>,
}

/// Time buckets from the first instant to that after the last, UTC ms.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Buckets {
    pub(crate) grain: Grain,
    pub(crate) zone: Zone,
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl Buckets {
    /// Whether they begin with a day of the zone.
    pub(crate) fn are_dates(&self) -> bool {
        self.grain >= Grain::Day
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Output {
    pub(crate) column: Column,
    pub(crate) expr: Expr,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order {
    pub(crate) by: OrderBy,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum OrderBy {
    Output(usize),
    Expr(Expr),
}

impl Groups {
    /// Whether a further key, which is 1, tells groups of other keys that exist from those that filling makes up where there are none at
    /// all.
    pub(crate) fn marks_made_up(&self) -> bool {
        self.fill.is_some() && self.keys.len() > 1
    }
}

impl Plan {
    /// A selection of these columns of all rows.
    pub(crate) fn rows(app: AppId, source: Source, outputs: Vec<Output>) -> Self {
        Self {
            app,
            source,
            joins: Vec::new(),
            filters: Vec::new(),
            groups: None,
            outputs,
            distinct: false,
            order: Vec::new(),
            limit: None,
            offset: 0,
        }
    }

    /// The one app that the plan reads.
    pub fn app(&self) -> &AppId {
        &self.app
    }

    /// The columns of the result, in order.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = &Column> {
        self.outputs.iter().map(|output| &output.column)
    }

    /// Whether the result is over groups of events; if not, it is a selection of plain rows.
    pub fn is_aggregate(&self) -> bool {
        self.groups.is_some()
    }

    /// How many different aggregates the plan computes; a measure is arithmetic over them.
    pub fn aggregate_count(&self) -> usize {
        self.groups.as_ref().map_or(0, |groups| groups.aggregates.len())
    }

    /// The places of the plan's columns that are group keys themselves.
    pub fn key_columns(&self) -> impl Iterator<Item = usize> {
        let is_key = |output: &Output| matches!(output.expr.node, Node::Key(_));
        self.outputs.iter().enumerate().filter(move |(_, output)| is_key(output)).map(|(i, _)| i)
    }

    /// The places of the columns whose values tell the rows of the result apart: those of all group keys. Empty if a key has no column,
    /// or there are none: then only all columns together do.
    pub fn row_key(&self) -> Vec<usize> {
        let place = |key| self.outputs.iter().position(|output| output.expr.node == Node::Key(key));
        let keys = self.groups.as_ref().map_or(0, |groups| groups.keys.len());
        (0..keys).map(place).collect::<Option<_>>().unwrap_or_default()
    }

    /// The width and zone of the time buckets that the result is grouped by, the first if there are several.
    pub fn grain(&self) -> Option<(Grain, &Zone)> {
        self.groups.as_ref()?.keys.iter().find_map(|key| match &key.node {
            Node::Truncate(grain, zone, inner) if inner.node == Node::Field(Field::Timestamp) => Some((*grain, zone)),
            _ => None,
        })
    }

    /// The event times that the conditions leave; with other plans in it, the hull of theirs too.
    pub fn range(&self) -> TimeRange {
        let mut range = TimeRange::default();
        for filter in self.filters.iter().filter(|_| self.source == Source::Events) {
            range.narrow(filter);
        }
        let of_events = (self.source == Source::Events).then_some(range);
        let nested = self.nested();
        of_events.into_iter().chain(nested.into_iter().map(Self::range)).reduce(TimeRange::hull).unwrap_or_default()
    }

    /// Whether it gathers events alone, each row on its own: no other plans, and nothing across rows.
    pub(crate) fn is_plain(&self) -> bool {
        let across = |expr: &Expr| expr.any(|node| matches!(node, Node::Window(_)));
        let filled = self.groups.as_ref().is_some_and(|groups| groups.fill.is_some());
        !filled && self.source == Source::Events && self.nested().is_empty() && !self.exprs().into_iter().any(across)
    }

    /// Whether it reads what is known of users, which has no time.
    pub(crate) fn reads_users(&self) -> bool {
        self.source == Source::Users || self.nested().into_iter().any(Self::reads_users)
    }

    /// The plans right in this one.
    pub(crate) fn nested(&self) -> Vec<&Self> {
        let mut plans: Vec<&Self> = match &self.source {
            Source::Plans(plans) => plans.iter().collect(),
            Source::Events | Source::Users => Vec::new(),
        };
        plans.extend(self.joins.iter().map(|join| &join.plan));
        let mut exprs = self.exprs();
        while let Some(expr) = exprs.pop() {
            plans.extend(expr.plan());
            exprs.extend(expr.children());
        }
        plans
    }

    /// This plan and all in it, however deep.
    pub(crate) fn each(&mut self, change: &mut impl FnMut(&mut Self)) {
        change(self);
        if let Source::Plans(plans) = &mut self.source {
            plans.iter_mut().for_each(|plan| plan.each(change));
        }
        let Self { joins, filters, outputs, groups, order, .. } = self;
        let mut exprs: Vec<&mut Expr> = filters.iter_mut().chain(outputs.iter_mut().map(|o| &mut o.expr)).collect();
        for Join { plan, on, .. } in joins {
            plan.each(change);
            exprs.extend(on.iter_mut().flat_map(|(left, right)| [left, right]));
        }
        if let Some(Groups { keys, aggregates, having, .. }) = groups {
            exprs.extend(keys.iter_mut().chain(having));
            exprs.extend(aggregates.iter_mut().flat_map(|a| a.args.iter_mut().chain(&mut a.filter)));
        }
        exprs.extend(order.iter_mut().filter_map(|order| match &mut order.by {
            OrderBy::Expr(expr) => Some(expr),
            OrderBy::Output(_) => None,
        }));
        while let Some(expr) = exprs.pop() {
            if let Node::InPlan(_, plan) | Node::Scalar(plan) = &mut expr.node {
                plan.each(change);
            }
            exprs.extend(expr.children_mut());
        }
    }

    /// All expressions of this plan itself.
    fn exprs(&self) -> Vec<&Expr> {
        let mut exprs: Vec<&Expr> = self.filters.iter().chain(self.outputs.iter().map(|output| &output.expr)).collect();
        exprs.extend(self.joins.iter().flat_map(|join| &join.on).flat_map(|(left, right)| [left, right]));
        if let Some(Groups { keys, aggregates, having, .. }) = &self.groups {
            exprs.extend(keys.iter().chain(having));
            exprs.extend(aggregates.iter().flat_map(|aggregate| aggregate.args.iter().chain(&aggregate.filter)));
        }
        exprs.extend(self.order.iter().filter_map(|order| match &order.by {
            OrderBy::Expr(expr) => Some(expr),
            OrderBy::Output(_) => None,
        }));
        exprs
    }

    /// How many nodes its expressions have, those of the plans in it included.
    pub(crate) fn size(&self) -> usize {
        let own: usize = self.exprs().into_iter().map(Expr::size).sum();
        let tables = match &self.source {
            Source::Plans(plans) => plans.iter().map(Self::size).sum(),
            Source::Events | Source::Users => 0,
        };
        1 + own + tables + self.joins.iter().map(|join| join.plan.size()).sum::<usize>()
    }

    /// How deep plans stand in one another.
    pub(crate) fn levels(&self) -> usize {
        1 + self.nested().into_iter().map(Self::levels).max().unwrap_or(0)
    }

    /// Whether it can't give more than one row.
    pub(crate) fn has_one_row(&self) -> bool {
        let one_group = self.groups.as_ref().is_some_and(|groups| groups.keys.is_empty());
        one_group || self.limit.is_some_and(|limit| limit <= 1)
    }

    /// How many rows the result has at most, if that is bounded.
    pub fn limit(&self) -> Option<u64> {
        self.limit
    }
}

impl TimeRange {
    /// The least range that holds both.
    fn hull(self, other: Self) -> Self {
        Self {
            from_ms: self.from_ms.zip(other.from_ms).map(|(a, b)| a.min(b)),
            to_ms: self.to_ms.zip(other.to_ms).map(|(a, b)| a.max(b)),
        }
    }

    /// Takes the bound that a condition sets, if it sets one.
    fn narrow(&mut self, condition: &Expr) {
        use crate::ast::CompareOp::{Eq, Ge, Gt, Le, Lt};
        match &condition.node {
            Node::All(terms) => terms.iter().for_each(|term| self.narrow(term)),
            Node::Compare(op, left, right) if left.node == Node::Field(Field::Timestamp) => {
                let Node::Time(ms) = right.node else { return };
                let Range { start, end } = match op {
                    Gt => ms + 1..i64::MAX,
                    Ge => ms..i64::MAX,
                    Lt => i64::MIN..ms,
                    Le => i64::MIN..ms + 1,
                    Eq => ms..ms + 1,
                    _ => return,
                };
                if start > i64::MIN {
                    self.from_ms = Some(self.from_ms.map_or(start, |from| from.max(start)));
                }
                if end < i64::MAX {
                    self.to_ms = Some(self.to_ms.map_or(end, |to| to.min(end)));
                }
            }
            _ => {}
        }
    }
}

impl ColumnKind {
    pub(crate) const fn of(ty: Type) -> Self {
        match ty {
            Type::Number => Self::Number,
            Type::Integer => Self::Integer,
            Type::String | Type::Null => Self::String,
            Type::Bool => Self::Bool,
            Type::Time => Self::Time,
        }
    }

    pub(crate) const fn ty(self) -> Type {
        match self {
            Self::Number => Type::Number,
            Self::Integer => Type::Integer,
            Self::String => Type::String,
            Self::Bool => Type::Bool,
            Self::Time => Type::Time,
        }
    }
}

impl Output {
    pub(crate) fn new(name: String, unit: String, expr: Expr, aggregates: &[Aggregate]) -> Self {
        let kind = ColumnKind::of(expr.ty);
        let accuracy = sketch(&expr, aggregates).map_or(Accuracy::Exact, Accuracy::Sketch);
        Self { column: Column { name, kind, accuracy, unit }, expr }
    }

    /// The column as one of a type that it fits.
    pub(crate) fn become_type(&mut self, ty: Type, zone: &Zone) {
        let expr = std::mem::replace(&mut self.expr, Expr::new(Node::Null, Type::Null, Span::default()));
        let fitted = if expr.ty == Type::Null { Expr { ty, ..expr } } else { expr.into_type(ty, zone) };
        let Column { name, unit, accuracy, .. } = self.column.clone();
        *self = Self::new(name, unit, fitted, &[]);
        self.column.accuracy = accuracy;
    }
}

/// The first sketch that an expression over groups rests on.
fn sketch(expr: &Expr, aggregates: &[Aggregate]) -> Option<&'static str> {
    match &expr.node {
        Node::Aggregate(i) => {
            let Aggregate { aggregation, args, .. } = aggregates.get(*i)?;
            aggregation.sketch().or_else(|| args.iter().find_map(|arg| sketch(arg, aggregates)))
        }
        Node::Column(column) => column.sketch,
        Node::Scalar(plan) => plan.outputs.first().and_then(|output| output.column.accuracy.sketch()),
        _ => expr.children().into_iter().find_map(|child| sketch(child, aggregates)),
    }
}

/// The expression over groups: every part of it is a key, an aggregate or a constant.
pub(crate) fn over_groups(mut expr: Expr, keys: &[Expr]) -> Outcome<Expr> {
    rewrite(&mut expr, keys)?;
    Ok(expr)
}

/// The condition on groups, unless it looks at others around them.
pub(crate) fn about_groups(condition: Expr) -> Outcome<Expr> {
    if condition.any(|node| matches!(node, Node::Window(_))) {
        let message =
            "a condition on groups can't see other groups; put the SELECT into a subquery and filter its rows";
        return fault(condition.span, Rule::AggregateNotAllowed, message);
    }
    Ok(condition)
}

fn rewrite(expr: &mut Expr, keys: &[Expr]) -> Outcome<()> {
    if let Some(key) = keys.iter().position(|key| key == expr) {
        expr.node = Node::Key(key);
        return Ok(());
    }
    let name = match &expr.node {
        Node::Field(field) => FIELDS.iter().find(|(_, known)| known == field).map_or("", |(name, _)| name),
        Node::Property(property) => &property.name,
        Node::Column(column) => &*column.name,
        _ => return expr.children_mut().into_iter().try_for_each(|child| rewrite(child, keys)),
    };
    ungrouped(name, expr.span)
}

fn ungrouped(name: &str, span: Span) -> Outcome<()> {
    let message = format!(
        "`{}` has many values in a group; put it into GROUP BY or into an aggregate, as in MIN({0})",
        crate::diagnostics::excerpt(name)
    );
    fault(span, Rule::NotGrouped, message)
}
