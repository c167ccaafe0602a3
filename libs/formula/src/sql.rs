//! Plan -> ClickHouse SQL. Every byte of the text comes from here or from the schema's slots; every value is bound.
//!
//! Over groups the text has two levels: the inner SELECT gathers (`k0, k1, ... a0, a1, ...`), the outer one does the
//! arithmetic over keys and aggregates, filters groups, orders and cuts (`c0, c1, ...`).

mod aggregate;
mod cast;
mod expr;
mod params;
mod states;
mod time;
mod window;

use model::{Error, ErrorCode, Scope};

use self::params::Params;
use crate::{
    ast::JoinKind,
    grain::Grain,
    plan::{Buckets, ColumnKind, Groups, Order, OrderBy, Output, Plan, Source},
    route::Route,
    seal::Param,
    states::{Pieces, Run},
    time::Zone,
    typed::{Expr, Node},
};

/// The longest text that is written, in bytes: a quarter of what the warehouse takes by default, since the verifier
/// needs about a microsecond a byte.
const MAX_SQL: usize = 64 * 1024;

/// The text of a plan in a scope, perhaps over rollups, and the values bound in it.
pub(crate) fn emit(plan: &Plan, scope: &Scope, rollups: bool) -> Result<(String, Vec<Param>), Error> {
    let mut emitter = Emitter { rollups, ..Emitter::new(scope, plan) };
    emitter.plan(plan);
    emitter.finish()
}

/// The text that computes the states of a run's buckets, and the values bound in it.
pub(crate) fn emit_states(plan: &Plan, scope: &Scope, shape: &str, run: &Run) -> Result<(String, Vec<Param>), Error> {
    let mut emitter = Emitter::new(scope, plan);
    emitter.params.own("shape", shape);
    emitter.states(plan, run);
    emitter.finish()
}

/// The text of a plan whose groups are merged from these pieces and the plan's events, and the values bound in it.
pub(crate) fn emit_merged(plan: &Plan, scope: &Scope, pieces: &Pieces) -> Result<(String, Vec<Param>), Error> {
    let mut emitter = Emitter::new(scope, plan);
    emitter.params.own("shape", &pieces.shape);
    emitter.pieces = Some(pieces.clone());
    emitter.plan(plan);
    emitter.finish()
}

struct Emitter {
    text: String,
    params: Params,
    rollups: bool,
    /// Whether rows are users' days rather than events.
    daily: bool,
    /// The number of the first table of the plan at hand; tables are numbered through the whole text.
    first_table: usize,
    tables: usize,
    /// What the groups of the plan are merged from, if not gathered from rows.
    pieces: Option<Pieces>,
    /// The zone of the plan's first key, if that is a date there: the start of a bucket that may have been made up.
    dated: Option<Zone>,
}

impl Emitter {
    fn new(scope: &Scope, plan: &Plan) -> Self {
        let (text, params) = (String::with_capacity(1024), Params::new(scope, &plan.app));
        Self { text, params, rollups: false, daily: false, first_table: 0, tables: 0, pieces: None, dated: None }
    }

    fn finish(self) -> Result<(String, Vec<Param>), Error> {
        if self.is_full() {
            let message = "the query is too large once it is written out; split it";
            return Err(Error::new(ErrorCode::InvalidQuery, message));
        }
        Ok((self.text, self.params.into_list()))
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Whether the text has outgrown its bound. Expressions then write nothing more, so that an argument that stands
    /// twice in a template can't double the work at each level.
    fn is_full(&self) -> bool {
        self.text.len() > MAX_SQL
    }

    /// Writes items with something between them.
    fn list<T>(&mut self, items: impl IntoIterator<Item = T>, between: &str, mut write: impl FnMut(&mut Self, T)) {
        for (i, item) in items.into_iter().enumerate() {
            if i > 0 {
                self.push(between);
            }
            write(self, item);
        }
    }

    /// A whole query, in which another one may stand.
    fn plan(&mut self, plan: &Plan) {
        if self.is_full() {
            return;
        }
        let dated = plan.groups.as_ref().and_then(|groups| groups.fill.as_ref()).filter(|fill| fill.are_dates());
        let dated = std::mem::replace(&mut self.dated, dated.map(|fill| fill.zone.clone()));
        let outside = (self.daily, self.first_table, dated);
        self.daily = self.rollups && plan.source == Source::Events && plan.own_route() == Route::DailyUsers;
        self.first_table = self.tables;
        self.tables += 1 + plan.joins.len();
        match &plan.groups {
            Some(groups) => self.grouped(plan, groups),
            None => self.rows(plan),
        }
        (self.daily, self.first_table, self.dated) = outside;
    }

    fn rows(&mut self, plan: &Plan) {
        self.select(plan.distinct);
        self.outputs(&plan.outputs);
        self.source(plan);
        self.ending(plan);
    }

    fn grouped(&mut self, plan: &Plan, groups: &Groups) {
        self.select(plan.distinct);
        self.outputs(&plan.outputs);
        self.push(" FROM (");
        match self.pieces.take() {
            Some(pieces) => self.merged(plan, groups, &pieces),
            None => self.inner(plan, groups),
        }
        self.push(")");
        if groups.marks_made_up() {
            self.push(&format!(" WHERE (k{} = 1)", groups.keys.len()));
        }
        if let Some(having) = &groups.having {
            self.push(if groups.marks_made_up() { " AND " } else { " WHERE " });
            self.expr(having);
        }
        self.ending(plan);
    }

    fn inner(&mut self, plan: &Plan, groups: &Groups) {
        self.select(false);
        self.list(groups.keys.iter().enumerate(), ", ", |e, (i, key)| {
            match &groups.fill {
                Some(fill) if i == 0 => e.filled(fill, |e| e.expr(key)),
                _ => e.key(key),
            }
            e.push(&format!(" AS k{i}"));
        });
        if groups.marks_made_up() {
            self.push(&format!(", 1 AS k{}", groups.keys.len()));
        }
        if !groups.keys.is_empty() && !groups.aggregates.is_empty() {
            self.push(", ");
        }
        self.list(groups.aggregates.iter().enumerate(), ", ", |e, (i, aggregate)| {
            e.aggregate(aggregate);
            e.push(&format!(" AS a{i}"));
        });
        if groups.keys.is_empty() && groups.aggregates.is_empty() {
            self.push("count() AS a0"); // one group of all rows, of which nothing is asked
        }
        self.source(plan);
        self.by_keys("k", groups.keys.len() + usize::from(groups.marks_made_up()));
        if let Some(fill) = &groups.fill {
            self.fill(fill, groups.keys.len() + usize::from(groups.marks_made_up()));
        }
    }

    /// Groups by so many columns of this letter.
    fn by_keys(&mut self, letter: &str, keys: usize) {
        self.push(if keys > 0 { " GROUP BY " } else { "" });
        self.list(0..keys, ", ", |e, i| e.push(&format!("{letter}{i}")));
    }

    /// Rows for the buckets that have none, for each value of the other keys.
    fn fill(&mut self, buckets: &Buckets, keys: usize) {
        self.push(" ORDER BY ");
        for i in 1..keys {
            self.push(&format!("k{i} ASC NULLS LAST, "));
        }
        self.push("k0 ASC WITH FILL FROM ");
        self.filled(buckets, |e| e.instant(buckets.from));
        self.push(" TO ");
        self.filled(buckets, |e| e.instant(buckets.to));
        self.push(match buckets.grain {
            Grain::Second => " STEP INTERVAL 1 SECOND",
            Grain::Minute => " STEP INTERVAL 1 MINUTE",
            Grain::Hour => " STEP INTERVAL 1 HOUR",
            Grain::Day => " STEP INTERVAL 1 DAY",
            Grain::Week => " STEP INTERVAL 1 WEEK",
            Grain::Month => " STEP INTERVAL 1 MONTH",
            Grain::Quarter => " STEP INTERVAL 3 MONTH",
            Grain::Year => " STEP INTERVAL 1 YEAR",
        });
    }

    /// The start of a bucket as what follows one another by the clock of the zone. Days are dates: the engine steps from midnight to
    /// midnight, and where a clock change leaves one out, each that follows would be wrong.
    fn filled(&mut self, buckets: &Buckets, start: impl FnOnce(&mut Self)) {
        let are_dates = buckets.are_dates();
        self.push(if are_dates { "toDate32(" } else { "" });
        self.in_zone(&buckets.zone, start);
        self.push(if are_dates { ")" } else { "" });
    }

    /// A key, so that equal values have equal bits: -0 and 0 too.
    fn key(&mut self, key: &Expr) {
        if key.ty == crate::types::Type::Number && !matches!(key.node, Node::Property(_)) {
            self.push("(");
            self.expr(key);
            self.push(" + 0)");
        } else {
            self.expr(key);
        }
    }

    fn select(&mut self, distinct: bool) {
        self.push(if distinct { "SELECT DISTINCT " } else { "SELECT " });
    }

    fn source(&mut self, plan: &Plan) {
        match &plan.source {
            Source::Events => self.push(if self.daily { " FROM daily_users" } else { " FROM events" }),
            Source::Users => self.push(" FROM users"),
            Source::Plans(plans) => {
                self.push(" FROM (");
                self.list(plans, " UNION ALL ", Self::plan);
                self.push(&format!(") AS t{}", self.first_table));
            }
        }
        for (join, at) in plan.joins.iter().zip(self.first_table + 1..) {
            self.push(match join.kind {
                JoinKind::Inner => " INNER JOIN (",
                JoinKind::Left => " LEFT JOIN (",
                JoinKind::Cross => " CROSS JOIN (",
            });
            self.plan(&join.plan);
            self.push(&format!(") AS t{at}"));
            self.push(if join.on.is_empty() { "" } else { " ON " });
            self.list(&join.on, " AND ", |e, (left, right)| {
                e.push("(");
                e.key(left);
                e.push(" = ");
                e.key(right);
                e.push(")");
            });
        }
        let scoped = !matches!(plan.source, Source::Plans(_));
        let is_lock = |filter: &&Expr| matches!(filter.node, Node::Locked(..));
        let (locks, filters): (Vec<_>, Vec<_>) = plan.filters.iter().flat_map(conjuncts).partition(is_lock);
        if scoped {
            self.push(" WHERE tenant = {tenant:String} AND app = {app:String}");
            for lock in locks {
                self.push(" AND ");
                self.expr(lock); // each a term of its own, where the verifier looks for it
            }
        } else if !filters.is_empty() {
            self.push(" WHERE true");
        }
        if filters.len() > expr::FLAT_CHAIN {
            self.push(" AND ");
            self.chain(&filters, " AND ");
        } else {
            for filter in filters {
                self.push(" AND ");
                self.expr(filter);
            }
        }
    }

    /// The columns, each as one of the few types that cross the wire.
    fn outputs(&mut self, outputs: &[Output]) {
        self.list(outputs.iter().enumerate(), ", ", |e, (i, output)| {
            e.output(&output.expr, output.column.kind);
            e.push(&format!(" AS c{i}"));
        });
    }

    fn output(&mut self, expr: &Expr, kind: ColumnKind) {
        self.push("CAST(");
        // Stored numbers are finite; sums and quotients may leave the finite numbers.
        let computed = kind == ColumnKind::Number && !matches!(expr.node, Node::Property(_));
        self.push(if computed { "ifNotFinite(" } else { "" });
        self.expr(expr);
        self.push(if computed { ", NULL) + 0" } else { "" }); // which turns -0 into 0
        self.push(" AS ");
        self.push(kind_name(kind));
        self.push(")");
    }

    fn ending(&mut self, plan: &Plan) {
        if plan.source == Source::Users {
            // Each row holds all that was known after it.
            return self.push(" ORDER BY _incarnation DESC, _partition DESC, _offset DESC LIMIT 1 BY user");
        }
        if !plan.order.is_empty() {
            self.push(" ORDER BY ");
            self.list(&plan.order, ", ", Self::order);
        }
        if let Some(limit) = plan.limit {
            self.push(&format!(" LIMIT {limit}"));
        }
        if plan.offset > 0 {
            self.push(&format!(" OFFSET {}", plan.offset));
        }
    }

    fn order(&mut self, order: &Order) {
        match &order.by {
            OrderBy::Output(i) => self.push(&format!("c{i}")),
            OrderBy::Expr(expr) => self.expr(expr),
        }
        self.direction(order.descending, order.nulls_first);
    }

    fn direction(&mut self, descending: bool, nulls_first: bool) {
        self.push(if descending { " DESC" } else { " ASC" });
        self.push(if nulls_first { " NULLS FIRST" } else { " NULLS LAST" });
    }
}

/// The engine's type of it.
const fn kind_name(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Number => "Nullable(Float64)",
        ColumnKind::Integer => "Nullable(Int64)",
        ColumnKind::String => "Nullable(String)",
        ColumnKind::Bool => "Nullable(Bool)",
        ColumnKind::Time => "Nullable(DateTime64(3, 'UTC'))",
    }
}

/// The terms of a condition that must all hold.
fn conjuncts(condition: &Expr) -> Vec<&Expr> {
    match &condition.node {
        Node::All(terms) => terms.iter().flat_map(conjuncts).collect(),
        _ => vec![condition],
    }
}

#[cfg(test)]
mod tests;
