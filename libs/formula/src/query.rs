//! Typed queries and metrics -> plan.

mod range;
mod shape;

use std::ops::Range;

use model::{Error, FilterOp, MetricFilter, Value};

use crate::{
    ast::{self, BinaryOp, CompareOp},
    diagnostics::{Diagnostic, Outcome, Rule, Span, excerpt, fault},
    functions::{Aggregation, scalars},
    grain::{Grain, Part},
    interval::Interval,
    parse,
    plan::{Column, Groups, MAX_COLUMNS, MAX_KEYS, Order, OrderBy, Output, Plan, Source, about_groups, over_groups},
    resolve::{Buckets as OfBuckets, Context, Formula, Place, Resolver, no_zone},
    select::context_zone,
    suggest::did_you_mean,
    time::{Zone, shift},
    typed::{Aggregate, Arithmetic, Expr, Node},
    types::Type,
    units,
};

/// The name of the column that holds the start of the time bucket.
pub const TIME_COLUMN: &str = "time";

/// What follows a measure's name in that of the column that it is compared with.
pub const BEFORE: &str = "_before";

pub use range::{Comparison, Period};
use range::{Earlier, Times, instant, timestamp};
pub use shape::{Fill, TOTAL_COLUMN, Top};

/// A query in parts: what is measured, by what it is split, over which events.
#[derive(Debug, Clone, Default)]
pub struct TypedQuery {
    /// What is measured; at least one.
    pub measures: Vec<Measure>,
    /// By what it is split, in order.
    pub dimensions: Vec<Dimension>,
    /// Conditions on events, all of which hold.
    pub filters: Vec<MetricFilter>,
    /// The first event time, UTC ms.
    pub from_ms: Option<i64>,
    /// The event time after the last, UTC ms.
    pub to_ms: Option<i64>,
    /// Whole units of the zone's calendar, in place of both.
    pub period: Option<Period>,
    /// Each measure is followed by what it was then, in a column of its name and [`BEFORE`].
    pub comparison: Option<Comparison>,
    /// The width of time buckets; the result then begins with the column [`TIME_COLUMN`].
    pub grain: Option<Grain>,
    /// IANA name of the zone of buckets and dates; that of the context if absent.
    pub time_zone: Option<String>,
    /// A condition on groups, over dimensions, measures and aggregates, as in `revenue > 100`.
    pub having: Option<String>,
    /// By which columns the result is ordered; by time and dimensions if empty.
    pub order_by: Vec<OrderColumn>,
    /// How many groups at most.
    pub limit: Option<u64>,
    /// How many groups are left out before that.
    pub offset: u64,
    /// Formulas that those of the measures may name, as in `{revenue}`.
    pub formulas: Vec<Formula>,
    /// Of one dimension only its greatest values.
    pub top: Option<Top>,
    /// Every bucket of the range has a row, for each combination of the dimensions that has one at all.
    pub fill: Option<Fill>,
    /// After all others comes a row of all events, marked in the column [`TOTAL_COLUMN`].
    pub totals: bool,
}

/// One measure.
#[derive(Debug, Clone, Default)]
pub struct Measure {
    /// The name of its column.
    pub name: String,
    /// The formula, as in `SUM(purchase_amount) / COUNT(DISTINCT user_id)`.
    pub formula: String,
    /// Conditions on the events that this measure alone sees.
    pub filters: Vec<MetricFilter>,
    /// The unit of its values, as in `USD`; if empty, what comes of those of the formulas that it names.
    pub unit: String,
}

/// One dimension.
#[derive(Debug, Clone, Default)]
pub struct Dimension {
    /// The name of its column.
    pub name: String,
    /// A field, property or expression, as in `country` or `lower("utm source")`.
    pub expression: String,
}

/// One column that the result is ordered by.
#[derive(Debug, Clone, Default)]
pub struct OrderColumn {
    /// The name of a dimension or measure, or [`TIME_COLUMN`].
    pub column: String,
    /// The greatest first.
    pub descending: bool,
    /// Where NULL stands; if absent, last for ascending and first for descending order, as in PostgreSQL.
    pub nulls_first: Option<bool>,
}

/// Checks a formula against an app's schema and tells what it gives; the column's name is empty. It may name the others.
///
/// Errors carry the code `InvalidQuery` and one violation of the field `formula`.
pub fn validate_formula(text: &str, formulas: &[Formula], context: &Context<'_>) -> Result<Column, Error> {
    let mut resolver = Resolver::new(context, context_zone(context)?);
    resolver.formulas = formulas;
    // Of a formula alone it isn't known by what it will be split.
    let seconds = Some(Expr::new(Node::Number(86_400.0), Type::Number, Span::default()));
    let time = Some(bucket(Grain::Day, &resolver.zone));
    resolver.buckets = Some(OfBuckets { time, others: Vec::new(), seconds });
    let keys: Vec<_> = resolver.buckets.iter().flat_map(|buckets| buckets.time.clone()).collect();
    let (expr, unit) = measure(text, &mut resolver, &keys).map_err(|fault| fault.into_error("formula", text))?;
    Ok(Output::new(String::new(), unit, expr, &resolver.aggregates).column)
}

/// The metrics that a formula names in braces, as in `revenue` or `revenue@3`, and the bytes of each in the text, braces included.
pub fn references(text: &str) -> Vec<(Range<usize>, &str)> {
    parse::metrics(text).into_iter().map(|(span, name)| (span.start..span.end, name)).collect()
}

impl TypedQuery {
    /// Resolves the query against an app. Violations name the part, as in `measures[0].formula`.
    pub fn plan(&self, context: &Context<'_>) -> Result<Plan, Error> {
        let zone = self.zone(context)?;
        let times = self.times(context.now_ms, &zone)?;
        let earlier = self.earlier(times, context.now_ms, &zone)?;
        let mut planner =
            Planner { query: self, times, earlier, resolver: Resolver::new(context, zone.clone()), names: Vec::new() };
        planner.resolver.formulas = &self.formulas;
        let mut filters = planner.filters()?;
        let mut keys = planner.keys()?;
        if let (Some((dimension, greatest)), Some(top)) = (self.greatest(context)?, &self.top) {
            let key = usize::from(self.grain.is_some()) + dimension;
            planner.top(greatest, &top.others, &mut keys[key], &mut filters);
        }
        let mut measures = planner.measures(&keys)?;
        let mut having = planner.having(&keys, &measures)?;
        let order = planner.order(keys.len())?;
        let fill = self.filled(times, &planner.resolver.zone)?;
        let Planner { resolver, names, .. } = planner;
        let mut aggregates = resolver.aggregates;
        if let Some(fill) = self.fill {
            let every = Aggregate { aggregation: Aggregation::Rows, args: Vec::new(), filter: None };
            let rows = aggregates.iter().position(|known| *known == every).unwrap_or_else(|| {
                aggregates.push(every);
                aggregates.len() - 1
            });
            for expr in measures.iter_mut().map(|(expr, _)| expr).chain(&mut having) {
                shape::filled(expr, fill, &aggregates, rows);
            }
        }
        let keyed = keys.iter().enumerate().map(|(i, key)| (Expr::new(Node::Key(i), key.ty, key.span), String::new()));
        let outputs = names
            .into_iter()
            .zip(keyed.chain(measures))
            .map(|(name, (expr, unit))| Output::new(name, unit, expr, &aggregates))
            .collect();
        let plan = Plan {
            filters,
            groups: Some(Groups { keys, aggregates, having, fill }),
            order,
            limit: self.limit,
            offset: self.offset,
            ..Plan::rows(context.app.clone(), Source::Events, outputs)
        };
        if self.totals { self.with_totals(plan, context, &zone) } else { Ok(plan) }
    }

    fn zone(&self, context: &Context<'_>) -> Result<Zone, Error> {
        let Some(name) = &self.time_zone else { return context_zone(context) };
        Zone::named(name).ok_or_else(|| value_error("time_zone", Rule::InvalidTimeZone, no_zone(name)))
    }
}

fn value_error(field: &str, rule: Rule, message: impl Into<String>) -> Error {
    Diagnostic { rule, span: Span::default(), message: message.into() }.into_value_error(field)
}

struct Planner<'a> {
    query: &'a TypedQuery,
    times: Times,
    earlier: Option<Earlier>,
    resolver: Resolver<'a>,
    /// Names of the columns so far.
    names: Vec<String>,
}

impl<'a> Planner<'a> {
    fn filters(&mut self) -> Result<Vec<Expr>, Error> {
        self.resolver.place = Place::Where;
        let mut conditions = match self.earlier {
            None => self.times.bounds(),
            Some(Earlier { times, .. }) => {
                let hull = Times {
                    from: self.times.from.min(times.from),
                    to: self.times.to.zip(times.to).map(|(own, earlier)| own.max(earlier)),
                };
                let either = Node::Any(vec![self.times.holds(), times.holds()]);
                let mut conditions = hull.bounds();
                conditions.push(Expr::new(either, Type::Bool, Span::default()));
                conditions
            }
        };
        conditions.extend(self.conditions(&self.query.filters, "filters")?);
        Ok(conditions)
    }

    fn conditions(&mut self, filters: &[MetricFilter], field: &str) -> Result<Vec<Expr>, Error> {
        let mut conditions = Vec::with_capacity(filters.len());
        for (i, filter) in filters.iter().enumerate() {
            let typed = condition(filter).and_then(|e| self.resolver.expr_of(&e, Type::Bool));
            conditions.push(typed.map_err(|fault| fault.into_value_error(&format!("{field}[{i}]")))?);
        }
        Ok(conditions)
    }

    fn keys(&mut self) -> Result<Vec<Expr>, Error> {
        self.resolver.place = Place::Dimension;
        let mut keys = Vec::new();
        if self.query.dimensions.len() >= MAX_KEYS {
            return Err(value_error(
                "dimensions",
                Rule::TooLarge,
                format!("a query has fewer than {MAX_KEYS} dimensions"),
            ));
        }
        if let Some(grain) = self.query.grain {
            keys.push(self.bucket(grain));
            self.names.push(TIME_COLUMN.to_owned());
        }
        for (i, dimension) in self.query.dimensions.iter().enumerate() {
            self.named(&dimension.name, &format!("dimensions[{i}].name"))?;
            let text = &dimension.expression;
            let typed = parse::expression(text).and_then(|e| self.resolver.expr(&e, None));
            keys.push(typed.map_err(|fault| fault.into_error(&format!("dimensions[{i}].expression"), text))?);
        }
        Ok(keys)
    }

    /// Gathers all but the greatest values of a dimension under one name, or leaves them out.
    fn top(&self, greatest: Plan, others: &str, key: &mut Expr, filters: &mut Vec<Expr>) {
        let span = key.span;
        let is_one = Expr::new(Node::InPlan(Box::new(key.clone()), Box::new(greatest)), Type::Bool, span);
        if others.is_empty() {
            return filters.push(is_one);
        }
        let cast = |node| {
            let value = Box::new(Expr::new(node, key.ty, span));
            Expr::new(Node::Cast(value, self.resolver.zone.clone()), Type::String, span)
        };
        let zero = Box::new(Expr::new(Node::Number(0.0), Type::Number, span));
        let shown = match key.ty {
            Type::String => key.clone(),
            // -0 is 0 as a key.
            Type::Number => cast(Node::Arithmetic(Arithmetic::Add, Box::new(key.clone()), zero)),
            _ => cast(key.node.clone()),
        };
        let others = Box::new(Expr::new(Node::Text(others.to_owned()), Type::String, span));
        let node = Node::Case { branches: vec![(is_one, shown)], otherwise: Some(others) };
        *key = Expr::new(node, Type::String, span);
    }

    /// The bucket of an event; of an earlier one, that of the time that it is compared with.
    fn bucket(&self, grain: Grain) -> Expr {
        let zone = &self.resolver.zone;
        let own = bucket(grain, zone);
        let Some(Earlier { times, by }) = self.earlier else { return own };
        let moved = Expr::new(Node::Shift(Box::new(timestamp()), by, zone.clone()), Type::Time, Span::default());
        let node = Node::Truncate(grain, zone.clone(), Box::new(moved));
        let branches = vec![(times.holds(), Expr::new(node, Type::Time, Span::default()))];
        let node = Node::Case { branches, otherwise: Some(Box::new(own)) };
        Expr::new(node, Type::Time, Span::default())
    }

    /// How long the time of a group is, in seconds: of its bucket or of these times, as far as it is asked for and over.
    fn seconds(&self, bucket: Option<&Expr>, times: Option<Times>) -> Option<Expr> {
        let now = self.resolver.context.now_ms;
        let (times, now) = match (self.earlier, bucket) {
            // Its buckets are those that it is compared with.
            (Some(earlier), Some(_)) if times == Some(earlier.times) => {
                (self.times, shift(now, earlier.by, &self.resolver.zone)?)
            }
            _ => (times.unwrap_or(self.times), now),
        };
        let (from, to) = (times.from, times.to.map_or(now, |to| to.min(now)));
        let number = |node| Expr::new(node, Type::Number, Span::default());
        let (Some(start), Some(grain)) = (bucket, self.query.grain) else {
            return from.map(|from| number(Node::Number((to - from).max(0) as f64 / 1_000.0)));
        };
        let call = |name, args, ty| Some(Expr::new(Node::Call(scalars(name).next()?, args), ty, Span::default()));
        let zone = &self.resolver.zone;
        let next = Node::Shift(Box::new(start.clone()), Interval::of(1.0, grain.name())?, zone.clone());
        let next = Expr::new(next, Type::Time, Span::default());
        let end = call("least", vec![next, instant(to)], Type::Time)?;
        let begin = match from {
            Some(from) => call("greatest", vec![start.clone(), instant(from)], Type::Time)?,
            None => start.clone(),
        };
        let epoch = |time| Box::new(number(Node::Part(Part::Epoch, zone.clone(), Box::new(time))));
        let length = number(Node::Arithmetic(Arithmetic::Subtract, epoch(end), epoch(begin)));
        call("greatest", vec![length, number(Node::Number(0.0))], Type::Number)
    }

    /// The measures and their units; with a comparison each is followed by what it was.
    fn measures(&mut self, keys: &[Expr]) -> Result<Vec<(Expr, String)>, Error> {
        let query = self.query;
        if query.measures.is_empty() {
            return Err(value_error("measures", Rule::WrongArguments, "a query has at least one measure"));
        }
        let times: Vec<Option<Times>> = match self.earlier {
            None => vec![None],
            Some(earlier) => vec![Some(self.times), Some(earlier.times)],
        };
        if query.measures.len() * times.len() + keys.len() > MAX_COLUMNS {
            return Err(value_error("measures", Rule::TooLarge, format!("a result has at most {MAX_COLUMNS} columns")));
        }
        let (time, others) = keys.split_at(usize::from(query.grain.is_some()));
        let mut measures = Vec::with_capacity(query.measures.len());
        for (i, asked) in query.measures.iter().enumerate() {
            for (times, suffix) in times.iter().zip(["", BEFORE]) {
                self.named(&format!("{}{suffix}", asked.name), &format!("measures[{i}].name"))?;
                let seconds = self.seconds(time.first(), *times);
                let buckets = OfBuckets { time: time.first().cloned(), others: others.to_vec(), seconds };
                self.resolver.buckets = Some(buckets);
                self.resolver.place = Place::Where;
                let mut filters = times.map(Times::bounds).unwrap_or_default();
                filters.extend(self.conditions(&asked.filters, &format!("measures[{i}].filters"))?);
                self.resolver.measure_filter = match filters.len() {
                    0 | 1 => filters.pop(),
                    _ => Some(Expr::new(Node::All(filters), Type::Bool, Span::default())),
                };
                let (typed, unit) = measure(&asked.formula, &mut self.resolver, keys)
                    .map_err(|fault| fault.into_error(&format!("measures[{i}].formula"), &asked.formula))?;
                measures.push((typed, if asked.unit.is_empty() { unit } else { asked.unit.clone() }));
            }
        }
        self.resolver.measure_filter = None;
        Ok(measures)
    }

    fn having(&mut self, keys: &[Expr], measures: &[(Expr, String)]) -> Result<Option<Expr>, Error> {
        let Some(text) = &self.query.having else { return Ok(None) };
        self.resolver.place = Place::Having;
        self.resolver.columns =
            self.names.iter().cloned().zip(keys.iter().chain(measures.iter().map(|(expr, _)| expr)).cloned()).collect();
        let typed = parse::expression(text)
            .and_then(|e| self.resolver.expr_of(&e, Type::Bool))
            .and_then(|e| over_groups(e, keys))
            .and_then(about_groups);
        typed.map(Some).map_err(|fault| fault.into_error("having", text))
    }

    /// The order asked for; without one, time and dimensions from the least.
    fn order(&self, keys: usize) -> Result<Vec<Order>, Error> {
        let asked = &self.query.order_by;
        if asked.is_empty() {
            return Ok((0..keys)
                .map(|i| Order { by: OrderBy::Output(i), descending: false, nulls_first: false })
                .collect());
        }
        let mut order = Vec::with_capacity(asked.len());
        for (i, item) in asked.iter().enumerate() {
            let Some(column) = self.names.iter().position(|name| *name == item.column) else {
                let near = did_you_mean(&item.column, self.names.iter().map(String::as_str));
                let message = format!("the result has no column `{}`{near}", excerpt(&item.column));
                return Err(value_error(&format!("order_by[{i}].column"), Rule::UnknownName, message));
            };
            let nulls_first = item.nulls_first.unwrap_or(item.descending);
            order.push(Order { by: OrderBy::Output(column), descending: item.descending, nulls_first });
        }
        if self.query.limit.is_some() || self.query.offset > 0 {
            // Which rows are cut off must not be left to chance.
            let keys = (0..keys).map(OrderBy::Output).filter(|by| order.iter().all(|known| known.by != *by));
            let keys = keys.collect::<Vec<_>>().into_iter();
            order.extend(keys.map(|by| Order { by, descending: false, nulls_first: false }));
        }
        Ok(order)
    }

    /// Takes a column's name, which must be new.
    fn named(&mut self, name: &str, field: &str) -> Result<(), Error> {
        if name.is_empty() || name.len() > 256 {
            return Err(value_error(field, Rule::UnknownName, "a column's name has 1 to 256 bytes"));
        }
        if self.names.iter().any(|known| known == name) {
            let message = format!("two columns are called `{}`", excerpt(name));
            return Err(value_error(field, Rule::DuplicateName, message));
        }
        self.names.push(name.to_owned());
        Ok(())
    }
}

/// The start of the bucket of an event.
fn bucket(grain: Grain, zone: &Zone) -> Expr {
    Expr::new(Node::Truncate(grain, zone.clone(), Box::new(timestamp())), Type::Time, Span::default())
}

/// A formula over groups by these keys, and the unit of its value.
fn measure(text: &str, resolver: &mut Resolver<'_>, keys: &[Expr]) -> Outcome<(Expr, String)> {
    resolver.place = Place::Measure;
    let parsed = parse::expression(text)?;
    let typed = over_groups(resolver.expr(&parsed, None)?, keys)?;
    Ok((typed, units::unit(&parsed, resolver.formulas)?))
}

/// A filter as the expression that says the same.
pub(crate) fn condition(filter: &MetricFilter) -> Outcome<ast::Expr> {
    let name = ast::Name { qualifier: None, name: filter.field.clone(), quoted: true };
    let field = Box::new(ast::Expr::given(ast::Node::Name(name)));
    let mut values: Vec<_> = filter.values.iter().map(literal).collect::<Outcome<_>>()?;
    let (least, most) = match filter.op {
        FilterOp::IsNull | FilterOp::IsNotNull => (0, 0),
        FilterOp::In | FilterOp::NotIn => (1, 10_000),
        _ => (1, 1),
    };
    if !(least..=most).contains(&values.len()) {
        let wanted = if least == most { least.to_string() } else { format!("{least} to {most}") };
        let message = format!("this condition takes {wanted} values, not {}", values.len());
        return fault(Span::default(), Rule::WrongArguments, message);
    }
    let mut compare = |op| {
        let value = values.pop().unwrap_or_else(|| ast::Expr::given(ast::Node::Null));
        ast::Node::Binary(BinaryOp::Compare(op), field.clone(), Box::new(value))
    };
    let not = |node| ast::Node::Not(Box::new(ast::Expr::given(node)));
    Ok(ast::Expr::given(match filter.op {
        FilterOp::Eq => compare(CompareOp::Eq),
        FilterOp::Ne => compare(CompareOp::Ne),
        FilterOp::Lt => compare(CompareOp::Lt),
        FilterOp::Le => compare(CompareOp::Le),
        FilterOp::Gt => compare(CompareOp::Gt),
        FilterOp::Ge => compare(CompareOp::Ge),
        FilterOp::In => ast::Node::In(field, values),
        FilterOp::NotIn => not(ast::Node::In(field, values)),
        FilterOp::Like => {
            let pattern = Box::new(values.pop().unwrap_or_else(|| ast::Expr::given(ast::Node::Null)));
            ast::Node::Like { text: field, pattern, ignore_case: false }
        }
        FilterOp::IsNull => ast::Node::IsNull(field),
        FilterOp::IsNotNull => not(ast::Node::IsNull(field)),
    }))
}

fn literal(value: &Value) -> Outcome<ast::Expr> {
    let bad = |what: &str| fault(Span::default(), Rule::InvalidNumber, what);
    Ok(ast::Expr::given(match value {
        Value::Number(x) if !x.is_finite() => return bad("a number must be finite"),
        Value::Number(x) => ast::Node::Number(*x),
        Value::Integer(i) if i.unsigned_abs() > model::MAX_EXACT_INTEGER.unsigned_abs() => {
            return bad("a whole number lies within ±2^53; ids are strings");
        }
        Value::Integer(i) => ast::Node::Integer(*i),
        Value::String(text) => ast::Node::Text(text.clone()),
        Value::Bool(b) => ast::Node::Bool(*b),
        Value::Time(ms) if crate::time::format_utc(*ms).is_none() => {
            return bad("a time lies in the years 1900 to 2299");
        }
        Value::Time(ms) => ast::Node::Instant(*ms),
    }))
}
