//! States of aggregates, and what is merged from them.
//!
//! Each state has one type, whatever rows it comes from: every argument is cast to one of the few types that cross the wire. In the
//! table it lies as the engine's own bytes of it, since columns of states differ from shape to shape; keys lie in arrays, one for each
//! kind that keeps their values as they are.

use super::{Emitter, aggregate::spelling, kind_name};
use crate::{
    functions::{Aggregation, Level},
    grain::Grain,
    plan::{ColumnKind, Groups, Plan},
    states::{Length, Pieces, Run},
    time::Zone,
    typed::{Aggregate, Expr, Field, Node},
    types::Type,
};

impl Emitter {
    /// A row for each bucket and group, in the order of [`STATE_COLUMNS`](crate::STATE_COLUMNS).
    pub(super) fn states(&mut self, plan: &Plan, run: &Run) {
        let Some(groups) = &plan.groups else { return };
        let first = run.times.start;
        self.push("SELECT {tenant:String} AS c0, {app:String} AS c1, {shape:String} AS c2, (");
        self.bound("Int64", run.first_piece.to_string());
        self.push(" + intDiv(toUnixTimestamp64Milli(k0) - ");
        self.bound("Int64", first.to_string());
        self.push(&format!(", {})) AS c3, k0 AS c4", run.length.ms()));
        for (place, array) in [Array::Numbers, Array::Integers, Array::Texts].into_iter().enumerate() {
            self.push(", array(");
            let keys = groups.keys.iter().enumerate().filter(|(_, key)| Array::of(kind(key)) == array);
            self.list(keys, ", ", |e, (i, key)| match kind(key) {
                ColumnKind::Bool => e.push(&format!("CAST(k{} AS Nullable(Int64))", i + 1)),
                ColumnKind::Time => e.push(&format!("toUnixTimestamp64Milli(k{})", i + 1)),
                _ => e.push(&format!("k{}", i + 1)),
            });
            self.push(&format!(") AS c{}", 5 + place));
        }
        self.push(", array(");
        self.list(0..groups.aggregates.len(), ", ", |e, i| e.push(&format!("toString(a{i})")));
        self.push(") AS c8, ");
        self.bound("Int64", run.life.to_string());
        self.push(" AS c9 FROM (SELECT ");
        let grain = match run.length {
            Length::Hour => Grain::Hour,
            Length::Day => Grain::Day,
        };
        self.bucket(grain);
        self.push(" AS k0");
        for (i, key) in groups.keys.iter().enumerate() {
            self.push(", ");
            self.plain_key(key);
            self.push(&format!(" AS k{}", i + 1));
        }
        for (i, aggregate) in groups.aggregates.iter().enumerate() {
            self.push(", ");
            self.state(aggregate);
            self.push(&format!(" AS a{i}"));
        }
        self.source(plan);
        self.by_keys("k", 1 + groups.keys.len());
        self.push(")");
    }

    /// In the place of what is gathered from rows: `k0, k1, ... a0, a1, ...`, merged from the pieces and the plan's events.
    pub(super) fn merged(&mut self, plan: &Plan, groups: &Groups, pieces: &Pieces) {
        let keys = groups.keys.len();
        self.push("SELECT ");
        self.list(0..keys, ", ", |e, i| {
            match &groups.fill {
                Some(fill) if i == 0 => e.filled(fill, |e| e.push("c0")),
                _ => e.push(&format!("c{i}")),
            }
            e.push(&format!(" AS k{i}"));
        });
        let marks = groups.marks_made_up();
        if marks {
            self.push(&format!(", 1 AS k{keys}"));
        }
        self.push(if keys == 0 || groups.aggregates.is_empty() { "" } else { ", " });
        self.list(groups.aggregates.iter().enumerate(), ", ", |e, (i, aggregate)| {
            e.merge(aggregate.aggregation, &format!("c{}", keys + i));
            e.push(&format!(" AS a{i}"));
        });
        self.push(" FROM (");
        self.kept(groups, pieces);
        if !pieces.rest.is_empty() {
            self.push(" UNION ALL SELECT ");
            self.list(groups.keys.iter().enumerate(), ", ", |e, (i, key)| {
                e.plain_key(key);
                e.push(&format!(" AS c{i}"));
            });
            self.push(if keys == 0 || groups.aggregates.is_empty() { "" } else { ", " });
            self.list(groups.aggregates.iter().enumerate(), ", ", |e, (i, aggregate)| {
                e.state(aggregate);
                e.push(&format!(" AS c{}", keys + i));
            });
            self.source(plan);
            self.by_keys("c", keys);
        }
        self.push(")");
        self.by_keys("k", keys + usize::from(marks));
        if let Some(fill) = &groups.fill {
            self.fill(fill, keys + usize::from(marks));
        }
    }

    /// The states that are kept, each of the type that it was made with.
    fn kept(&mut self, groups: &Groups, pieces: &Pieces) {
        let Pieces { times, numbers, .. } = pieces;
        self.push("SELECT ");
        let mut places = [0usize; 3];
        self.list(groups.keys.iter().enumerate(), ", ", |e, (i, key)| {
            let (kind, array) = (kind(key), Array::of(kind(key)));
            let place = &mut places[array as usize];
            *place += 1;
            let element = format!("arrayElement({}, {place})", array.column());
            match kind {
                ColumnKind::Bool => e.push(&format!("CAST({element} AS Nullable(Bool))")),
                ColumnKind::Time => e.push(&format!("fromUnixTimestamp64Milli({element}, 'UTC')")),
                _ => e.push(&element),
            }
            e.push(&format!(" AS c{i}"));
        });
        let keys = groups.keys.len();
        self.push(if keys == 0 || groups.aggregates.is_empty() { "" } else { ", " });
        self.list(groups.aggregates.iter().enumerate(), ", ", |e, (i, aggregate)| {
            let state = state_type(aggregate);
            e.push(&format!("CAST(arrayElement(states, {}) AS {state}) AS c{}", i + 1, keys + i));
        });
        self.push(
            " FROM bucket_states WHERE tenant = {tenant:String} AND app = {app:String} AND shape = {shape:String}",
        );
        for (op, ms) in [(">=", times.start), ("<", times.end)] {
            self.push(&format!(" AND (bucket {op} "));
            self.instant(ms);
            self.push(")");
        }
        let numbers: Vec<_> = numbers.iter().map(i64::to_string).collect();
        self.push(" AND (piece IN (");
        self.bound("Array(Int64)", format!("[{}]", numbers.join(",")));
        self.push("))");
    }

    /// The start of the UTC bucket of an event.
    fn bucket(&mut self, grain: Grain) {
        let Some(utc) = Zone::named("UTC") else { return };
        let timestamp = Expr::new(Node::Field(Field::Timestamp), Type::Time, Default::default());
        self.calendar(&Node::Truncate(grain, utc, Box::new(timestamp)));
    }

    /// A key as one of the types that cross the wire, whatever column it comes from.
    fn plain_key(&mut self, key: &Expr) {
        self.push("CAST(");
        self.key(key);
        self.push(&format!(" AS {})", kind_name(kind(key))));
    }

    /// The state of [`state_type`].
    fn state(&mut self, aggregate: &Aggregate) {
        let Aggregate { aggregation, args, filter } = aggregate;
        let (name, level) = function(*aggregation);
        self.push(&format!("{name}State{level}("));
        match (aggregation, filter) {
            (Aggregation::Rows, None) => {}
            (Aggregation::Rows, Some(filter)) => self.around("CAST(if(", filter, ", 1, NULL) AS Nullable(Int64))"),
            _ => self.list(args, ", ", |e, arg| {
                e.push("CAST(");
                e.seen(*aggregation, arg, filter.as_ref());
                e.push(&format!(" AS {})", kind_name(kind(arg))));
            }),
        }
        self.push(")");
    }

    /// What the states of a column come to.
    fn merge(&mut self, aggregation: Aggregation, column: &str) {
        let (name, level) = function(aggregation);
        let merge = format!("{name}Merge{level}({column})");
        match aggregation {
            // Of one value they are infinite in the engine, undefined in statistics: NULL.
            Aggregation::Deviation | Aggregation::Variance => self.push(&format!("ifNotFinite({merge}, NULL)")),
            // Unlike other counts it is NULL of no values.
            Aggregation::ApproximateDistinct => self.push(&format!("ifNull({merge}, 0)")),
            Aggregation::Discrete(level) => {
                let above = Level::ONE - level.billionths();
                self.push(&format!(
                    "arrayElementOrNull(arraySort({merge}), toInt64(greatest(1, length({merge}) - \
                     intDiv(length({merge}) * {above}, {}))))",
                    Level::ONE
                ));
            }
            _ => self.push(&merge),
        }
    }
}

/// Where keys of a kind lie.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Array {
    Numbers,
    Integers,
    Texts,
}

impl Array {
    const fn of(kind: ColumnKind) -> Self {
        match kind {
            ColumnKind::Number => Self::Numbers,
            ColumnKind::Integer | ColumnKind::Bool | ColumnKind::Time => Self::Integers,
            ColumnKind::String => Self::Texts,
        }
    }

    const fn column(self) -> &'static str {
        match self {
            Self::Numbers => "numbers",
            Self::Integers => "integers",
            Self::Texts => "texts",
        }
    }
}

const fn kind(expr: &Expr) -> ColumnKind {
    ColumnKind::of(expr.ty)
}

/// The engine's type of an aggregate's state.
fn state_type(aggregate: &Aggregate) -> String {
    let Aggregate { aggregation, args, filter } = aggregate;
    let (name, level) = function(*aggregation);
    let kinds: Vec<_> = match (aggregation, filter) {
        (Aggregation::Rows, None) => Vec::new(),
        (Aggregation::Rows, Some(_)) => vec![kind_name(ColumnKind::Integer)],
        _ => args.iter().map(|arg| kind_name(kind(arg))).collect(),
    };
    let kinds: String = kinds.into_iter().map(|kind| format!(", {kind}")).collect();
    format!("AggregateFunction({name}{level}{kinds})")
}

/// The function's name, and its parameter in brackets if it has one.
fn function(aggregation: Aggregation) -> (String, String) {
    let spelled = match aggregation {
        Aggregation::ApproximateDistinct => "uniqCombined64(".to_owned(),
        Aggregation::Discrete(_) => "groupArray(".to_owned(),
        Aggregation::Deviation => "stddevSampStable(".to_owned(),
        Aggregation::Variance => "varSampStable(".to_owned(),
        _ => spelling(aggregation),
    };
    let spelled = spelled.trim_end_matches('(');
    let (name, level) = spelled.split_at(spelled.find('(').unwrap_or(spelled.len()));
    (name.to_owned(), level.to_owned())
}
