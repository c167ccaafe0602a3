//! Typed queries and metrics -> plan.

use model::{Error, FilterOp, MetricFilter, Value};

use crate::{
    ast::{self, BinaryOp, CompareOp},
    diagnostics::{Diagnostic, Outcome, Rule, Span, excerpt, fault},
    grain::Grain,
    parse,
    plan::{Column, Groups, MAX_COLUMNS, MAX_KEYS, Order, OrderBy, Output, Plan, Source, over_groups},
    resolve::{Buckets, Context, Place, Resolver, no_zone},
    select::context_zone,
    suggest::did_you_mean,
    time::Zone,
    typed::{Expr, Field, Node},
    types::Type,
};

/// The name of the column that holds the start of the time bucket.
pub const TIME_COLUMN: &str = "time";

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
    /// The unit of its values, as in `USD`; may be empty.
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

/// Checks a formula against an app's schema and tells what it gives; the column's name and unit are empty.
///
/// Errors carry the code `InvalidQuery` and one violation of the field `formula`.
pub fn validate_formula(text: &str, context: &Context<'_>) -> Result<Column, Error> {
    let mut resolver = Resolver::new(context, context_zone(context)?);
    // Of a formula alone it isn't known by what it will be split.
    resolver.buckets = Some(Buckets { time: Some(bucket(Grain::Day, &resolver.zone)), others: Vec::new() });
    let keys: Vec<_> = resolver.buckets.iter().flat_map(|buckets| buckets.time.clone()).collect();
    let expr = measure(text, &mut resolver, &keys).map_err(|fault| fault.into_error("formula", text))?;
    Ok(Output::new(String::new(), String::new(), expr, &resolver.aggregates).column)
}

impl TypedQuery {
    /// Resolves the query against an app. Violations name the part, as in `measures[0].formula`.
    pub fn plan(&self, context: &Context<'_>) -> Result<Plan, Error> {
        let zone = self.zone(context)?;
        let mut planner = Planner { query: self, resolver: Resolver::new(context, zone), names: Vec::new() };
        let filters = planner.filters()?;
        let keys = planner.keys()?;
        let measures = planner.measures(&keys)?;
        let having = planner.having(&keys, &measures)?;
        let order = planner.order()?;
        let Planner { resolver, names, .. } = planner;
        let aggregates = resolver.aggregates;
        let units = keys.iter().map(|_| "").chain(self.measures.iter().map(|m| m.unit.as_str()));
        let keyed = keys.iter().enumerate().map(|(i, key)| Expr::new(Node::Key(i), key.ty, key.span));
        let outputs = names
            .into_iter()
            .zip(units)
            .zip(keyed.chain(measures))
            .map(|((name, unit), expr)| Output::new(name, unit.to_owned(), expr, &aggregates))
            .collect();
        Ok(Plan {
            app: context.app.clone(),
            source: Source::Events,
            joins: Vec::new(),
            filters,
            groups: Some(Groups { keys, aggregates, having }),
            outputs,
            distinct: false,
            order,
            limit: self.limit,
            offset: self.offset,
        })
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
    resolver: Resolver<'a>,
    /// Names of the columns so far.
    names: Vec<String>,
}

impl Planner<'_> {
    fn filters(&mut self) -> Result<Vec<Expr>, Error> {
        self.resolver.place = Place::Where;
        let mut conditions = Vec::new();
        for (ms, op, field) in [(self.query.from_ms, CompareOp::Ge, "from"), (self.query.to_ms, CompareOp::Lt, "to")] {
            let Some(ms) = ms else { continue };
            if crate::time::format_utc(ms).is_none() {
                return Err(value_error(field, Rule::InvalidTime, "the time lies outside the years 1900 to 2299"));
            }
            let span = Span::default();
            let timestamp = Box::new(Expr::new(Node::Field(Field::Timestamp), Type::Time, span));
            let bound = Box::new(Expr::new(Node::Time(ms), Type::Time, span));
            conditions.push(Expr::new(Node::Compare(op, timestamp, bound), Type::Bool, span));
        }
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
            keys.push(bucket(grain, &self.resolver.zone));
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

    fn measures(&mut self, keys: &[Expr]) -> Result<Vec<Expr>, Error> {
        let query = self.query;
        if query.measures.is_empty() {
            return Err(value_error("measures", Rule::WrongArguments, "a query has at least one measure"));
        }
        if query.measures.len() + keys.len() > MAX_COLUMNS {
            return Err(value_error("measures", Rule::TooLarge, format!("a result has at most {MAX_COLUMNS} columns")));
        }
        let (time, others) = keys.split_at(usize::from(query.grain.is_some()));
        self.resolver.buckets = Some(Buckets { time: time.first().cloned(), others: others.to_vec() });
        let mut measures = Vec::with_capacity(query.measures.len());
        for (i, asked) in query.measures.iter().enumerate() {
            self.named(&asked.name, &format!("measures[{i}].name"))?;
            self.resolver.place = Place::Where;
            let mut filters = self.conditions(&asked.filters, &format!("measures[{i}].filters"))?;
            self.resolver.measure_filter = match filters.len() {
                0 | 1 => filters.pop(),
                _ => Some(Expr::new(Node::All(filters), Type::Bool, Span::default())),
            };
            let typed = measure(&asked.formula, &mut self.resolver, keys);
            measures.push(typed.map_err(|fault| fault.into_error(&format!("measures[{i}].formula"), &asked.formula))?);
        }
        self.resolver.measure_filter = None;
        Ok(measures)
    }

    fn having(&mut self, keys: &[Expr], measures: &[Expr]) -> Result<Option<Expr>, Error> {
        let Some(text) = &self.query.having else { return Ok(None) };
        self.resolver.place = Place::Having;
        self.resolver.columns = self.names.iter().cloned().zip(keys.iter().chain(measures).cloned()).collect();
        let typed = parse::expression(text)
            .and_then(|e| self.resolver.expr_of(&e, Type::Bool))
            .and_then(|e| over_groups(e, keys));
        typed.map(Some).map_err(|fault| fault.into_error("having", text))
    }

    /// The order asked for; without one, time and dimensions from the least.
    fn order(&self) -> Result<Vec<Order>, Error> {
        let asked = &self.query.order_by;
        if asked.is_empty() {
            let keys = self.names.len() - self.query.measures.len();
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
    let timestamp = Expr::new(Node::Field(Field::Timestamp), Type::Time, Span::default());
    Expr::new(Node::Truncate(grain, zone.clone(), Box::new(timestamp)), Type::Time, Span::default())
}

/// A formula over groups by these keys.
fn measure(text: &str, resolver: &mut Resolver<'_>, keys: &[Expr]) -> Outcome<Expr> {
    resolver.place = Place::Measure;
    let parsed = parse::expression(text)?;
    let typed = resolver.expr(&parsed, None)?;
    over_groups(typed, keys)
}

/// A filter as the expression that says the same.
fn condition(filter: &MetricFilter) -> Outcome<ast::Expr> {
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
