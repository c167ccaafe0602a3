//! Functions of the rows around each row of a result.

use super::Emitter;
use crate::{
    ast::Frame,
    functions::Aggregation,
    typed::{Window, WindowFunction},
};

const WHOLE: Frame = Frame { first: None, last: None };

impl Emitter {
    pub(super) fn window(&mut self, window: &Window) {
        let Window { function, args, partition, order, frame } = window;
        let (name, after) = match *function {
            WindowFunction::RowNumber => ("row_number(", String::new()),
            WindowFunction::Rank => ("rank(", String::new()),
            WindowFunction::DenseRank => ("dense_rank(", String::new()),
            WindowFunction::Lag(rows) => ("lagInFrame(", format!(", {rows}")),
            WindowFunction::Lead(rows) => ("leadInFrame(", format!(", {rows}")),
            WindowFunction::Aggregate(aggregation) => (spelling(aggregation), String::new()),
        };
        self.push(name);
        // Over no values all but counts are NULL, and so is a row that isn't there.
        self.list(args, ", ", |e, arg| e.around("toNullable(", arg, ")"));
        self.push(&after);
        self.push(") OVER (");
        if !partition.is_empty() {
            self.push("PARTITION BY ");
            self.list(partition, ", ", Self::expr);
        }
        if !order.is_empty() {
            self.push(if partition.is_empty() { "ORDER BY " } else { " ORDER BY " });
            self.list(order, ", ", |e, order| {
                e.expr(&order.by);
                e.direction(order.descending, order.nulls_first);
            });
        }
        let neighbour = matches!(function, WindowFunction::Lag(_) | WindowFunction::Lead(_)).then_some(WHOLE);
        if let Some(Frame { first, last }) = frame.or(neighbour) {
            let first = first.map_or_else(|| "UNBOUNDED PRECEDING".to_owned(), end);
            let last = last.map_or_else(|| "UNBOUNDED FOLLOWING".to_owned(), end);
            self.push(&format!(" ROWS BETWEEN {first} AND {last}"));
        }
        self.push(")");
    }
}

fn end(rows: i64) -> String {
    match rows {
        0 => "CURRENT ROW".to_owned(),
        1.. => format!("{rows} FOLLOWING"),
        _ => format!("{} PRECEDING", -rows),
    }
}

const fn spelling(aggregation: Aggregation) -> &'static str {
    match aggregation {
        Aggregation::Sum => "sum(",
        Aggregation::Average => "avg(",
        Aggregation::Minimum => "min(",
        Aggregation::Maximum => "max(",
        _ => "count(",
    }
}
