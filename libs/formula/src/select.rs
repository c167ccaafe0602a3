//! SQL -> plan.

use model::{AppId, Error};

use crate::{
    ast::{self, BinaryOp, CompareOp, Select},
    diagnostics::{Diagnostic, Outcome, Rule, Span, excerpt, fault},
    parse,
    plan::{Groups, MAX_COLUMNS, MAX_KEYS, Order, OrderBy, Output, Plan, over_groups},
    resolve::{Context, Place, Resolver, field, no_zone},
    time::Zone,
    typed::{Aggregate, Expr, Field, Node},
    types::Type,
};

/// A `SELECT` that has been read, but not yet held against an app's schema.
#[derive(Debug, Clone)]
pub struct SqlQuery {
    text: String,
    select: Select,
}

/// Reads a `SELECT` of the dialect. Errors carry the code `InvalidQuery` and one violation of the field `sql`.
pub fn parse_sql(text: &str) -> Result<SqlQuery, Error> {
    let select = parse::select(text).map_err(|fault| fault.into_error("sql", text))?;
    Ok(SqlQuery { text: text.to_owned(), select })
}

impl SqlQuery {
    /// The app that the query names: the literal of a condition `app_id = '...'` that must hold.
    pub fn app(&self) -> Option<&str> {
        self.select.filter.iter().find_map(app_named).map(|(app, _)| app)
    }

    /// Resolves the query against an app. Refused if it names another app than the context's.
    pub fn plan(&self, context: &Context<'_>) -> Result<Plan, Error> {
        let zone = context_zone(context)?;
        let outcome = Planner { resolver: Resolver::new(context, zone), select: &self.select, text: &self.text };
        outcome.plan(&context.app).map_err(|fault| fault.into_error("sql", &self.text))
    }
}

/// The zone of the context, or an error of the field `time_zone`.
pub(crate) fn context_zone(context: &Context<'_>) -> Result<Zone, Error> {
    let name = context.time_zone;
    Zone::named(name).ok_or_else(|| {
        let fault = Diagnostic { rule: Rule::InvalidTimeZone, span: Span::default(), message: no_zone(name) };
        fault.into_value_error("time_zone")
    })
}

/// The app and its place in `app_id = 'app'`, `'app' = app_id` or `app_id IN ('app')`.
fn app_named(condition: &ast::Expr) -> Option<(&str, Span)> {
    let is_app = |e: &ast::Expr| matches!(&e.node, ast::Node::Name(name) if field(name) == Some(Field::AppId));
    let (name, value) = match &condition.node {
        ast::Node::Binary(BinaryOp::Compare(CompareOp::Eq), left, right) => (&**left, &**right),
        ast::Node::In(name, list) if list.len() == 1 => (&**name, &list[0]),
        _ => return None,
    };
    match (&name.node, &value.node) {
        (_, ast::Node::Text(app)) if is_app(name) => Some((app, value.span)),
        (ast::Node::Text(app), _) if is_app(value) => Some((app, name.span)),
        _ => None,
    }
}

struct Planner<'a> {
    resolver: Resolver<'a>,
    select: &'a Select,
    text: &'a str,
}

impl Planner<'_> {
    fn plan(mut self, app: &AppId) -> Outcome<Plan> {
        self.resolver.table_alias = self.select.table_alias.clone();
        // What SELECT names can be used by WHERE only to tell that it can't.
        let filters = self.filters(app)?;
        self.resolver.place = Place::Select;
        let (names, exprs) = self.items()?;
        self.resolver.columns = names.iter().cloned().zip(exprs.iter().cloned()).collect();
        let keys = self.keys(&exprs)?;
        self.resolver.place = Place::Having;
        let having = self.select.having.as_ref().map(|e| self.resolver.expr_of(e, Type::Bool)).transpose()?;
        let order = self.order(&exprs)?;
        let aggregates = std::mem::take(&mut self.resolver.aggregates);
        let grouped = !keys.is_empty() || !aggregates.is_empty() || having.is_some();
        let parts = Parts { names, exprs, keys, having, order, aggregates };
        let (groups, outputs, order) = if grouped { parts.grouped()? } else { parts.rows() };
        let plan = Plan {
            app: app.clone(),
            filters,
            limit: self.select.limit,
            groups,
            outputs,
            distinct: self.select.distinct,
            order,
            offset: self.select.offset.unwrap_or(0),
        };
        refuse_hidden_order(&plan)?;
        Ok(plan)
    }

    /// The conditions of WHERE less that on the app, which the scope's own condition stands for.
    fn filters(&mut self, app: &AppId) -> Outcome<Vec<Expr>> {
        self.resolver.place = Place::Where;
        let aliases = self.select.items.iter().filter_map(|item| item.alias.as_ref());
        self.resolver.columns = aliases.map(|a| (a.text.clone(), Expr::new(Node::Null, Type::Null, a.span))).collect();
        let mut filters = Vec::with_capacity(self.select.filter.len());
        for condition in &self.select.filter {
            match app_named(condition) {
                Some((named, _)) if named == app.as_str() => {}
                Some((named, span)) => {
                    let message =
                        format!("the query is about the app `{app}`, not `{}`; a query reads one app", excerpt(named));
                    return fault(span, Rule::OtherApp, message);
                }
                None => filters.push(self.resolver.expr_of(condition, Type::Bool)?),
            }
        }
        Ok(filters)
    }

    /// Names and expressions of the columns.
    fn items(&mut self) -> Outcome<(Vec<String>, Vec<Expr>)> {
        self.resolver.columns.clear();
        let items = &self.select.items;
        if items.len() > MAX_COLUMNS {
            return fault(
                items[MAX_COLUMNS].expr.span,
                Rule::TooLarge,
                format!("a result has at most {MAX_COLUMNS} columns"),
            );
        }
        let mut names: Vec<String> = Vec::with_capacity(items.len());
        let mut exprs = Vec::with_capacity(items.len());
        for item in items {
            exprs.push(self.resolver.expr(&item.expr, None)?);
            let name = match (&item.alias, &item.expr.node) {
                (Some(alias), _) => alias.text.clone(),
                (None, ast::Node::Name(name)) => name.name.clone(),
                (None, _) => excerpt(self.text.get(item.expr.span.start..item.expr.span.end).unwrap_or_default()),
            };
            if names.contains(&name) {
                let span = item.alias.as_ref().map_or(item.expr.span, |alias| alias.span);
                let message = format!("two columns are called `{}`; give one another name with AS", excerpt(&name));
                return fault(span, Rule::DuplicateName, message);
            }
            names.push(name);
        }
        Ok((names, exprs))
    }

    fn keys(&mut self, exprs: &[Expr]) -> Outcome<Vec<Expr>> {
        self.resolver.place = Place::GroupBy;
        let mut keys: Vec<Expr> = Vec::new();
        for key in &self.select.group_by {
            if keys.len() == MAX_KEYS {
                return fault(key.span, Rule::TooLarge, format!("a query groups by at most {MAX_KEYS} keys"));
            }
            let typed = match position(key, exprs.len())? {
                Some(i) if has_aggregate(&exprs[i]) => {
                    let message = format!("column {} holds an aggregate, so nothing can be grouped by it", i + 1);
                    return fault(key.span, Rule::AggregateNotAllowed, message);
                }
                Some(i) => exprs[i].clone(),
                None => self.resolver.expr(key, None)?,
            };
            if !keys.contains(&typed) {
                keys.push(typed);
            }
        }
        Ok(keys)
    }

    fn order(&mut self, exprs: &[Expr]) -> Outcome<Vec<Order>> {
        self.resolver.place = Place::OrderBy;
        let mut order = Vec::new();
        for item in &self.select.order_by {
            let by = match position(&item.expr, exprs.len())? {
                Some(i) => OrderBy::Output(i),
                None => {
                    let typed = self.resolver.expr(&item.expr, None)?;
                    exprs.iter().position(|e| *e == typed).map_or(OrderBy::Expr(typed), OrderBy::Output)
                }
            };
            order.push(Order {
                by,
                descending: item.descending,
                nulls_first: item.nulls_first.unwrap_or(item.descending),
            });
        }
        Ok(order)
    }
}

/// A whole number alone is the position of a column, from 1.
fn position(expr: &ast::Expr, columns: usize) -> Outcome<Option<usize>> {
    let ast::Node::Integer(i) = expr.node else { return Ok(None) };
    match usize::try_from(i) {
        Ok(i) if (1..=columns).contains(&i) => Ok(Some(i - 1)),
        _ => fault(expr.span, Rule::UnknownName, format!("there is no column {i}; the result has {columns}")),
    }
}

fn has_aggregate(expr: &Expr) -> bool {
    matches!(expr.node, Node::Aggregate(_)) || expr.children().into_iter().any(has_aggregate)
}

/// The resolved clauses, not yet known to be about rows or groups.
struct Parts {
    names: Vec<String>,
    exprs: Vec<Expr>,
    keys: Vec<Expr>,
    having: Option<Expr>,
    order: Vec<Order>,
    aggregates: Vec<Aggregate>,
}

impl Parts {
    fn rows(self) -> (Option<Groups>, Vec<Output>, Vec<Order>) {
        let outputs = self.names.into_iter().zip(self.exprs);
        (None, outputs.map(|(name, expr)| Output::new(name, String::new(), expr, &[])).collect(), self.order)
    }

    fn grouped(self) -> Outcome<(Option<Groups>, Vec<Output>, Vec<Order>)> {
        let Self { names, exprs, keys, having, order, aggregates } = self;
        let mut outputs = Vec::with_capacity(exprs.len());
        for (name, expr) in names.into_iter().zip(exprs) {
            outputs.push(Output::new(name, String::new(), over_groups(expr, &keys)?, &aggregates));
        }
        let having = having.map(|having| over_groups(having, &keys)).transpose()?;
        let mut ordered = Vec::with_capacity(order.len());
        for item in order {
            let by = match item.by {
                OrderBy::Expr(expr) => OrderBy::Expr(over_groups(expr, &keys)?),
                output @ OrderBy::Output(_) => output,
            };
            ordered.push(Order { by, ..item });
        }
        Ok((Some(Groups { keys, aggregates, having }), outputs, ordered))
    }
}

/// Among distinct rows only what they show can order them.
fn refuse_hidden_order(plan: &Plan) -> Outcome<()> {
    for item in plan.order.iter().filter(|_| plan.distinct) {
        if let OrderBy::Expr(expr) = &item.by {
            let message = "with SELECT DISTINCT only columns of the result can stand in ORDER BY";
            return fault(expr.span, Rule::UnknownName, message);
        }
    }
    Ok(())
}
