//! Aggregates over the events of a group. Over no values all but counts are NULL, so arguments are made nullable.

use super::Emitter;
use crate::{
    functions::{Aggregation, Level},
    typed::{Aggregate, Expr, Field, Node},
    types::Type,
};

impl Emitter {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) {
        let Aggregate { aggregation, args, filter } = aggregate;
        let filter = filter.as_ref();
        match (aggregation, args.as_slice()) {
            (Aggregation::Rows, _) => match filter {
                Some(filter) => self.around(self.count_if(), filter, ")"),
                None if self.daily => self.push("sum(events)"),
                None => self.push("count()"),
            },
            // An event without a user holds the empty text; a condition is cheaper than a nullable copy of the column.
            (Aggregation::Values, [user]) if is_user(user) => self.over_users(self.count_if(), filter),
            (Aggregation::Distinct, [user]) if is_user(user) => self.over_users("uniqExactIf(user, ", filter),
            (Aggregation::Discrete(level), [value]) => self.discrete(*level, value, filter),
            _ => {
                self.push(&spelling(*aggregation));
                self.list(args, ", ", |e, arg| e.seen(*aggregation, arg, filter));
                self.push(")");
            }
        }
        self.push(match aggregation {
            Aggregation::Deviation | Aggregation::Variance => ", NULL)",
            Aggregation::ApproximateDistinct => ", 0)",
            _ => "",
        });
    }

    /// The number of events that meet the condition.
    const fn count_if(&self) -> &'static str {
        if self.daily { "sumIf(events, " } else { "countIf(" }
    }

    fn over_users(&mut self, function: &str, filter: Option<&Expr>) {
        self.push(function);
        self.push("user != ''");
        if let Some(filter) = filter {
            self.around(" AND ", filter, "");
        }
        self.push(")");
    }

    /// The argument where the filter holds, else NULL, which no aggregate sees.
    pub(super) fn seen(&mut self, aggregation: Aggregation, arg: &Expr, filter: Option<&Expr>) {
        // Equal numbers must have equal bits to be counted once: -0 and 0 too.
        let plus_zero = is_distinct(aggregation) && arg.ty == Type::Number && !matches!(arg.node, Node::Property(_));
        let before = if plus_zero { "(" } else { "" };
        let after = if plus_zero { " + 0)" } else { "" };
        match filter {
            Some(filter) => {
                self.around("if(", filter, ", ");
                self.around(before, arg, after);
                self.push(", NULL)");
            }
            None if aggregation == Aggregation::Values || is_distinct(aggregation) || is_nullable(arg) => {
                self.around(before, arg, after);
            }
            None => self.around("toNullable(", arg, ")"),
        }
    }

    /// The least value that at least the given share of the values doesn't exceed, in whole numbers throughout, so that
    /// no rounding moves it.
    fn discrete(&mut self, level: Level, value: &Expr, filter: Option<&Expr>) {
        let above = Level::ONE - level.billionths();
        self.push("arrayElementOrNull(arraySort(groupArray(");
        self.seen(Aggregation::Discrete(level), value, filter);
        self.push(")), toInt64(greatest(1, count(");
        self.seen(Aggregation::Values, value, filter);
        self.push(") - intDiv(count(");
        self.seen(Aggregation::Values, value, filter);
        self.push(&format!(") * {above}, {}))))", Level::ONE));
    }
}

/// The function and its opening bracket. Parameters of the engine's aggregates can't be bound; they are numbers.
pub(super) fn spelling(aggregation: Aggregation) -> String {
    let share = |level: Level| f64::from(level.billionths()) / f64::from(Level::ONE);
    match aggregation {
        Aggregation::Rows | Aggregation::Values => "count(".to_owned(),
        Aggregation::Distinct => "uniqExact(".to_owned(),
        // Unlike other counts it is NULL of no values.
        Aggregation::ApproximateDistinct => "ifNull(uniqCombined64(".to_owned(),
        Aggregation::Sum => "sum(".to_owned(),
        Aggregation::Average => "avg(".to_owned(),
        Aggregation::Minimum => "min(".to_owned(),
        Aggregation::Maximum => "max(".to_owned(),
        Aggregation::Sketch(level) => format!("quantileTDigest({})(", share(level)),
        Aggregation::Continuous(level) | Aggregation::Discrete(level) => {
            format!("quantileExactInclusive({})(", share(level))
        }
        // Of one value they are infinite in the engine, undefined in statistics: NULL.
        Aggregation::Deviation => "ifNotFinite(stddevSampStable(".to_owned(),
        Aggregation::Variance => "ifNotFinite(varSampStable(".to_owned(),
    }
}

fn is_user(expr: &Expr) -> bool {
    expr.node == Node::Field(Field::UserId)
}

const fn is_distinct(aggregation: Aggregation) -> bool {
    matches!(aggregation, Aggregation::Distinct | Aggregation::ApproximateDistinct)
}

/// Whether the engine's type of the expression is nullable for certain.
fn is_nullable(expr: &Expr) -> bool {
    matches!(expr.node, Node::Property(_) | Node::Field(Field::UserId | Field::Country | Field::UserPlan))
}
