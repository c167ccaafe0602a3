//! Functions of the rows around each row of a result: OVER in SQL, and what formulas say of buckets by name.

use super::{Expr, Node, Outcome, Place, Resolver, Rule, Span, Type, ast, fault};
use crate::{
    ast::{Call, Frame, Over},
    functions::{Aggregation, Form, aggregate_named},
    interval::Interval,
    typed::{Arithmetic, Window, WindowFunction, WindowOrder},
};

/// Functions of formulas; each is about the time buckets of the groups that are the same in all else.
pub(crate) const OF_BUCKETS: [&str; 7] =
    ["moving_avg", "cumulative", "change", "percent_change", "share", "rank", "rate"];
/// Functions that need OVER.
pub(crate) const OVER_ROWS: [&str; 5] = ["row_number", "rank", "dense_rank", "lag", "lead"];

/// No more rows before or after are looked at.
const MAX_ROWS: i64 = 100_000;

/// By what groups are told apart: the start of the time bucket, if there are buckets, and everything else.
#[derive(Debug, Clone, Default)]
pub(crate) struct Buckets {
    pub(crate) time: Option<Expr>,
    pub(crate) others: Vec<Expr>,
    /// How long a group's time is, in seconds; absent if it has no beginning.
    pub(crate) seconds: Option<Expr>,
}

impl Resolver<'_> {
    /// `f(...) OVER (...)`
    pub(super) fn window(&mut self, call: &Call, over: &Over, span: Span) -> Outcome<Expr> {
        self.window_may_stand(call, span)?;
        self.inside_window = true;
        let outcome = self.window_inside(call, over, span);
        self.inside_window = false;
        outcome
    }

    fn window_may_stand(&self, call: &Call, span: Span) -> Outcome<()> {
        let shown = call.name.text.to_uppercase();
        if self.inside_aggregate || self.inside_window {
            let message = format!("{shown} over a window can't stand inside an aggregate or another window");
            return fault(span, Rule::NestedAggregate, message);
        }
        if !matches!(self.place, Place::Select | Place::OrderBy | Place::Measure) {
            let message = format!(
                "{shown} over a window can't stand in {}; put the query into a subquery and use the column there",
                self.place.name()
            );
            return fault(span, Rule::AggregateNotAllowed, message);
        }
        Ok(())
    }

    fn window_inside(&mut self, call: &Call, over: &Over, span: Span) -> Outcome<Expr> {
        if call.distinct || call.within.is_some() || call.filter.is_some() {
            let message = "a window takes no DISTINCT, FILTER or WITHIN GROUP; write CASE WHEN in the argument";
            return fault(call.name.span, Rule::NotAvailable, message);
        }
        let (function, args, ty) = self.window_function(call, span)?;
        let partition: Vec<Expr> =
            over.partition_by.iter().map(|expr| self.expr(expr, None)).collect::<Outcome<_>>()?;
        let mut order = Vec::with_capacity(over.order_by.len());
        for item in &over.order_by {
            let nulls_first = item.nulls_first.unwrap_or(item.descending);
            order.push(WindowOrder { by: self.expr(&item.expr, None)?, descending: item.descending, nulls_first });
        }
        let counts = matches!(function, WindowFunction::Aggregate(_));
        if order.is_empty() && (!counts || over.frame.is_some()) {
            let message = format!("{} needs an order, as in OVER (ORDER BY day)", call.name.text.to_uppercase());
            return fault(span, Rule::WrongArguments, message);
        }
        if let Some(frame) = over.frame.filter(|_| !counts) {
            let _ = frame;
            let message = format!("{} takes no frame", call.name.text.to_uppercase());
            return fault(span, Rule::WrongArguments, message);
        }
        if over
            .frame
            .is_some_and(|Frame { first, last }| [first, last].into_iter().flatten().any(|n| n.abs() > MAX_ROWS))
        {
            return fault(span, Rule::TooLarge, format!("a frame goes at most {MAX_ROWS} rows before and after"));
        }
        let window = Window { function, args, partition, order, frame: over.frame };
        Ok(Expr::new(Node::Window(Box::new(window)), ty, span))
    }

    fn window_function(&mut self, call: &Call, span: Span) -> Outcome<(WindowFunction, Vec<Expr>, Type)> {
        let name = call.name.text.to_ascii_lowercase();
        let shown = name.to_uppercase();
        match name.as_str() {
            "row_number" | "rank" | "dense_rank" => {
                if !call.args.is_empty() || call.star {
                    return fault(call.name.span, Rule::WrongArguments, format!("{shown}() takes no arguments"));
                }
                let function = match name.as_str() {
                    "row_number" => WindowFunction::RowNumber,
                    "rank" => WindowFunction::Rank,
                    _ => WindowFunction::DenseRank,
                };
                return Ok((function, Vec::new(), Type::Integer));
            }
            "lag" | "lead" => return self.neighbour(call, span),
            _ => {}
        }
        let aggregation = match aggregate_named(&name).map(|function| function.form) {
            Some(Form::Count) if call.star => {
                return Ok((WindowFunction::Aggregate(Aggregation::Rows), Vec::new(), Type::Integer));
            }
            Some(Form::Count) => Aggregation::Values,
            Some(
                Form::OfNumber(aggregation @ (Aggregation::Sum | Aggregation::Average)) | Form::OfOrdered(aggregation),
            ) => aggregation,
            _ => {
                let message = format!(
                    "{shown} is no function of windows; these are ROW_NUMBER, RANK, DENSE_RANK, LAG, LEAD, COUNT, SUM, \
                     AVG, MIN and MAX"
                );
                return fault(call.name.span, Rule::NotAvailable, message);
            }
        };
        let [arg] = call.args.as_slice() else {
            return fault(call.name.span, Rule::WrongArguments, format!("{shown} takes one value"));
        };
        let arg = match aggregation {
            Aggregation::Sum | Aggregation::Average => self.expr_of(arg, Type::Number)?,
            Aggregation::Values => self.expr(arg, None)?,
            _ => self.ordered(arg, None)?,
        };
        let ty = aggregation.gives(arg.ty);
        Ok((WindowFunction::Aggregate(aggregation), vec![arg], ty))
    }

    /// `LAG(x [, rows])`
    fn neighbour(&mut self, call: &Call, span: Span) -> Outcome<(WindowFunction, Vec<Expr>, Type)> {
        let shown = call.name.text.to_uppercase();
        let (value, rows) = match call.args.as_slice() {
            [value] => (value, 1),
            [value, rows] => (value, whole(rows, &shown)?),
            _ => {
                let message = format!(
                    "{shown} takes a value and how many rows, as in {shown}(n, 1); for another \
                                       value than NULL write COALESCE around it"
                );
                return fault(span, Rule::WrongArguments, message);
            }
        };
        let value = self.expr(value, None)?;
        let function = if shown == "LAG" { WindowFunction::Lag(rows) } else { WindowFunction::Lead(rows) };
        let ty = value.ty;
        Ok((function, vec![value], ty))
    }

    /// The call, if it is a formula's function of buckets.
    pub(super) fn of_buckets(&mut self, call: &Call, span: Span) -> Option<Outcome<Expr>> {
        let name = call.name.text.to_ascii_lowercase();
        OF_BUCKETS.contains(&name.as_str()).then(|| {
            let Some(buckets) = self.buckets.clone() else {
                return fault(call.name.span, Rule::NotAvailable, in_sql(&name));
            };
            self.arguments(call, 1, 2)?;
            self.window_may_stand(call, span)?;
            self.inside_window = true;
            let outcome = self.of_buckets_inside(&name, call, span, buckets);
            self.inside_window = false;
            outcome
        })
    }

    fn of_buckets_inside(&mut self, name: &str, call: &Call, span: Span, buckets: Buckets) -> Outcome<Expr> {
        let shown = name.to_uppercase();
        let value = self.expr_of(&call.args[0], Type::Number)?;
        let buckets_of = |buckets: Buckets| match buckets.time {
            Some(time) => Ok((time, buckets.others)),
            None => {
                let message = format!("{shown} is about time buckets, and the query has none; give it a grain");
                fault(span, Rule::WrongArguments, message)
            }
        };
        if (call.args.len() == 2) != matches!(name, "moving_avg" | "rate") {
            let message = match name {
                "moving_avg" => {
                    "MOVING_AVG takes a value and how many buckets, as in MOVING_AVG(SUM(amount), 7)".into()
                }
                "rate" => "RATE takes a value and a unit of time, as in RATE(COUNT(*), 'minute')".into(),
                _ => format!("{shown} takes one value"),
            };
            return fault(span, Rule::WrongArguments, message);
        }
        let over_time = |function, value: Expr, (time, partition): (Expr, Vec<Expr>), frame| {
            let order = vec![WindowOrder { by: time, descending: false, nulls_first: false }];
            let window = Window { function, args: vec![value], partition, order, frame };
            Expr::new(Node::Window(Box::new(window)), Type::Number, span)
        };
        let (sum, average) = (Aggregation::Sum, Aggregation::Average);
        Ok(match name {
            "moving_avg" => {
                let first = 1 - i64::from(whole(&call.args[1], &shown)?);
                let frame = Some(Frame { first: Some(first), last: Some(0) });
                over_time(WindowFunction::Aggregate(average), value, buckets_of(buckets)?, frame)
            }
            "cumulative" => {
                let frame = Some(Frame { first: None, last: Some(0) });
                over_time(WindowFunction::Aggregate(sum), value, buckets_of(buckets)?, frame)
            }
            "change" | "percent_change" => {
                let before = over_time(WindowFunction::Lag(1), self.copy(&value)?, buckets_of(buckets)?, None);
                let change = arithmetic(Arithmetic::Subtract, value, self.copy(&before)?);
                if name == "change" {
                    return Ok(change);
                }
                let hundred = Expr::new(Node::Number(100.0), Type::Number, span);
                let size = crate::functions::scalars("abs").next().map_or_else(
                    || before.clone(),
                    |abs| Expr::new(Node::Call(abs, vec![before.clone()]), Type::Number, span),
                );
                arithmetic(Arithmetic::Multiply, arithmetic(Arithmetic::Divide, change, size), hundred)
            }
            "rate" => {
                let unit = unit_seconds(&call.args[1])?;
                let Some(seconds) = buckets.seconds else {
                    let message = "RATE is about a length of time, and the query's range has no beginning";
                    return fault(span, Rule::WrongArguments, message);
                };
                let unit = Expr::new(Node::Number(unit), Type::Number, span);
                arithmetic(Arithmetic::Divide, value, arithmetic(Arithmetic::Divide, seconds, unit))
            }
            "share" => {
                // Of the groups of a bucket; of all buckets, where a bucket is one group.
                let partition = buckets.time.filter(|_| !buckets.others.is_empty()).into_iter().collect();
                let (function, args) = (WindowFunction::Aggregate(sum), vec![self.copy(&value)?]);
                let all = Window { function, args, partition, order: Vec::new(), frame: None };
                let all = Expr::new(Node::Window(Box::new(all)), Type::Number, span);
                arithmetic(Arithmetic::Divide, value, all)
            }
            _ => {
                let partition = buckets.time.filter(|_| !buckets.others.is_empty()).into_iter().collect();
                let order = vec![WindowOrder { by: value, descending: true, nulls_first: false }];
                let window = Window { function: WindowFunction::Rank, args: Vec::new(), partition, order, frame: None };
                Expr::new(Node::Window(Box::new(window)), Type::Integer, span)
            }
        })
    }
}

fn arithmetic(op: Arithmetic, left: Expr, right: Expr) -> Expr {
    let span = left.span;
    Expr::new(Node::Arithmetic(op, Box::new(left), Box::new(right)), Type::Number, span)
}

fn whole(expr: &ast::Expr, shown: &str) -> Outcome<u32> {
    match expr.node {
        ast::Node::Integer(rows @ 1..=MAX_ROWS) => Ok(rows as u32),
        _ => fault(expr.span, Rule::WrongArguments, format!("{shown} takes a whole number from 1 to {MAX_ROWS} here")),
    }
}

/// How long a unit of time is, if it is always as long.
fn unit_seconds(expr: &ast::Expr) -> Outcome<f64> {
    let unit = super::literal_text(expr, "the unit")?;
    match Interval::of(1.0, &unit.text) {
        Some(Interval { months: 0, days, ms }) => Ok((days * model::DAY_MS + ms) as f64 / 1_000.0),
        _ => fault(unit.span, Rule::WrongArguments, "the unit is 'second', 'minute', 'hour', 'day' or 'week'"),
    }
}

/// What stands in SQL for a formula's function.
fn in_sql(name: &str) -> &'static str {
    match name {
        "moving_avg" => {
            "MOVING_AVG is for formulas; in SQL write AVG(x) OVER (ORDER BY day ROWS BETWEEN 6 PRECEDING AND CURRENT ROW)"
        }
        "cumulative" => "CUMULATIVE is for formulas; in SQL write SUM(x) OVER (ORDER BY day)",
        "change" | "percent_change" => "this is for formulas; in SQL write x - LAG(x) OVER (ORDER BY day)",
        "rate" => "RATE is for formulas; in SQL divide by the length of time, as in COUNT(*) / 24",
        "share" => "SHARE is for formulas; in SQL write x / SUM(x) OVER ()",
        _ => "RANK needs a window, as in RANK() OVER (ORDER BY n DESC)",
    }
}
