//! SQL -> plan.

mod union;

use std::rc::Rc;

use model::{AppId, Error};

use crate::{
    ast::{self, BinaryOp, CompareOp, JoinKind, On, Query, Select, TableKind},
    diagnostics::{Diagnostic, Outcome, Rule, Span, excerpt, fault},
    parse,
    plan::{
        Groups, MAX_COLUMNS, MAX_KEYS, MAX_LEVELS, Order, OrderBy, Output, Pairs, Plan, Source, about_groups,
        over_groups,
    },
    resolve::{Context, Known, Place, Resolver, Rows, Table, field, has_aggregate, no_zone},
    suggest::did_you_mean,
    time::Zone,
    typed::{Aggregate, Expr, Field, Node},
    types::Type,
};

/// A query that has been read, but not yet held against an app's schema.
#[derive(Debug, Clone)]
pub struct SqlQuery {
    text: String,
    query: Query,
}

/// Reads a query of the dialect. Errors carry the code `InvalidQuery` and one violation of the field `sql`.
pub fn parse_sql(text: &str) -> Result<SqlQuery, Error> {
    let query = parse::query(text).map_err(|fault| fault.into_error("sql", text))?;
    Ok(SqlQuery { text: text.to_owned(), query })
}

impl SqlQuery {
    /// The app that the query names: the literal of the first condition `app_id = '...'` that must hold.
    pub fn app(&self) -> Option<&str> {
        app_of(&self.query)
    }

    /// Resolves the query against an app. Refused if it names another app than the context's.
    pub fn plan(&self, context: &Context<'_>) -> Result<Plan, Error> {
        let zone = context_zone(context)?;
        let known = Known { text: &self.text, plans: Vec::new(), copies: Rc::default() };
        plan(&self.query, context, &zone, &known).map_err(|fault| fault.into_error("sql", &self.text))
    }
}

fn app_of(query: &Query) -> Option<&str> {
    fn of_table(table: &ast::Table) -> Option<&str> {
        match &table.what {
            TableKind::Query(query) => app_of(query),
            TableKind::Named(_) => None,
        }
    }
    let own = query.selects.iter().flat_map(|select| &select.filter).find_map(app_named).map(|(app, _)| app);
    let tables = || {
        query.selects.iter().find_map(|select| {
            of_table(&select.from).or_else(|| select.joins.iter().find_map(|join| of_table(&join.table)))
        })
    };
    own.or_else(tables).or_else(|| query.with.iter().find_map(|(_, query)| app_of(query)))
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

/// How many tables may join the first.
const MAX_JOINS: usize = 8;

/// The plan of a query among what is known already.
pub(crate) fn plan(query: &Query, context: &Context<'_>, zone: &Zone, known: &Known<'_>) -> Outcome<Plan> {
    let mut known = known.clone();
    for (name, query) in &query.with {
        let taken = ["events", "users"].iter().any(|table| table.eq_ignore_ascii_case(&name.text));
        if taken {
            let message = format!("`{}` is a table already; give the query another name", excerpt(&name.text));
            return fault(name.span, Rule::DuplicateName, message);
        }
        let named = plan(query, context, zone, &known)?;
        known.plans.push((name.text.clone(), Rc::new(named)));
    }
    let planned = match query.selects.as_slice() {
        [select] => {
            let resolver = Resolver::within(context, zone.clone(), known);
            Planner { resolver, select, query }.plan(&context.app)?
        }
        _ => union::plan(query, context, zone, &known)?,
    };
    if planned.levels() > MAX_LEVELS {
        let message = format!("queries stand more than {MAX_LEVELS} deep in one another; split it");
        return fault(query.span, Rule::TooLarge, message);
    }
    Ok(planned)
}

struct Planner<'a> {
    resolver: Resolver<'a>,
    select: &'a Select,
    /// Its order and limits.
    query: &'a Query,
}

impl Planner<'_> {
    fn plan(mut self, app: &AppId) -> Outcome<Plan> {
        let joined = self.tables()?;
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
        let (source, joins) = self.resolver.take_tables(joined).unwrap_or((Source::Events, Vec::new()));
        let plan = Plan {
            app: app.clone(),
            source,
            joins,
            filters,
            limit: self.query.limit,
            groups,
            outputs,
            distinct: self.select.distinct,
            order,
            offset: self.query.offset.unwrap_or(0),
        };
        refuse_hidden_order(&plan)?;
        Ok(plan)
    }

    /// Makes the tables known, and tells how those after the first join.
    fn tables(&mut self) -> Outcome<Vec<(JoinKind, Pairs)>> {
        let select = self.select;
        let first = self.table(&select.from)?;
        self.resolver.tables.push(first);
        let mut joined = Vec::with_capacity(select.joins.len());
        for join in &select.joins {
            let table = self.table(&join.table)?;
            if joined.len() == MAX_JOINS {
                return fault(join.table.span, Rule::TooLarge, format!("a query has at most {MAX_JOINS} joins"));
            }
            if matches!(table.rows, Rows::Events) {
                let message = "`events` stands first in FROM; exchange the tables, or join a subquery of it, as in \
                               JOIN (SELECT user_id, COUNT(*) AS n FROM events GROUP BY user_id) AS e USING (user_id)";
                return fault(join.table.span, Rule::NotAvailable, message);
            }
            joined.push((join.kind, self.on(join, table)?));
        }
        Ok(joined)
    }

    fn table(&mut self, table: &ast::Table) -> Outcome<Table> {
        let alias = table.alias.as_ref().map(|alias| alias.text.as_str());
        let (name, rows) = match &table.what {
            TableKind::Query(query) => {
                let Resolver { zone, known, .. } = &self.resolver;
                (None, Rows::Plan(Rc::new(plan(query, self.resolver.context, zone, known)?)))
            }
            TableKind::Named(name) => (Some(name.as_str()), self.named(name, table.span)?),
        };
        if let Some(called) = alias.or(name)
            && self.resolver.tables.iter().any(|known| known.is_called(called))
        {
            let message = format!("two tables are called `{}`; give one another name with AS", excerpt(called));
            return fault(table.span, Rule::DuplicateName, message);
        }
        Ok(Table::new(name, alias, rows))
    }

    fn named(&self, name: &str, span: Span) -> Outcome<Rows> {
        let plans = &self.resolver.known.plans;
        if let Some((_, plan)) = plans.iter().rev().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            self.resolver.known.charge(plan.size(), span)?;
            return Ok(Rows::Plan(Rc::clone(plan)));
        }
        match name.to_ascii_lowercase().as_str() {
            "events" => Ok(Rows::Events),
            "users" => Ok(Rows::Users(Vec::new())),
            _ => {
                let known = plans.iter().map(|(name, _)| name.as_str()).chain(["events", "users"]);
                let message = format!(
                    "there is no table `{}`; the tables are `events` and `users`{}",
                    excerpt(name),
                    did_you_mean(name, known)
                );
                fault(span, Rule::UnknownTable, message)
            }
        }
    }

    /// What is equal between the tables so far and this one, which is known from now on.
    fn on(&mut self, join: &ast::Join, table: Table) -> Outcome<Pairs> {
        self.resolver.place = Place::On;
        let at = self.resolver.tables.len();
        let mut pairs = Vec::new();
        match &join.on {
            On::Using(names) => {
                let named = |word: &ast::Word| ast::Name { qualifier: None, name: word.text.clone(), quoted: false };
                let mut lefts = Vec::with_capacity(names.len());
                for word in names {
                    let name = ast::Expr { node: ast::Node::Name(named(word)), span: word.span, depth: 1 };
                    lefts.push(self.resolver.expr(&name, None)?);
                }
                self.resolver.tables.push(table);
                for (left, word) in lefts.into_iter().zip(names) {
                    let right = self.resolver.of_table(at, &named(word), word.span, Some(left.ty))?;
                    pairs.push(self.resolver.meet(left, right)?);
                    self.resolver.using.push(word.text.clone());
                }
            }
            On::Condition(terms) => {
                let one_row = matches!(&table.rows, Rows::Plan(plan) if plan.has_one_row());
                if join.kind == JoinKind::Cross && !(one_row && terms.is_empty()) {
                    let message = "CROSS JOIN takes a subquery of one row, as one that gathers all, and no ON";
                    return fault(join.table.span, Rule::NotAvailable, message);
                }
                self.resolver.tables.push(table);
                for term in terms {
                    pairs.push(self.equal(term, at)?);
                }
            }
        }
        Ok(pairs)
    }

    fn equal(&mut self, term: &ast::Expr, at: usize) -> Outcome<(Expr, Expr)> {
        let typed = self.resolver.expr_of(term, Type::Bool)?;
        if let Node::Compare(CompareOp::Eq, left, right) = typed.node {
            match (tables_of(&left).as_slice(), tables_of(&right).as_slice()) {
                ([first, ..], [last]) if *last == at && *first != at && !tables_of(&left).contains(&at) => {
                    return Ok((*left, *right));
                }
                ([last], [first, ..]) if *last == at && *first != at && !tables_of(&right).contains(&at) => {
                    return Ok((*right, *left));
                }
                _ => {}
            }
        }
        let message = "ON takes terms that are equal between the tables, as in events.user_id = users.user_id, joined by \
                       AND; other conditions stand in WHERE, or in a subquery in place of the table";
        fault(term.span, Rule::NotAvailable, message)
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
            if item.expr.node == ast::Node::Star {
                let Some(columns) = self.resolver.all_columns() else {
                    let message =
                        "`SELECT *` is not available; name the columns, as in SELECT timestamp, event_type, user_id";
                    return fault(item.expr.span, Rule::NotAvailable, message);
                };
                for (name, expr) in columns {
                    if names.contains(&name) || names.len() == MAX_COLUMNS {
                        let message = format!("`*` gives two columns of the name `{}`; name them", excerpt(&name));
                        return fault(item.expr.span, Rule::DuplicateName, message);
                    }
                    names.push(name);
                    exprs.push(expr);
                }
                continue;
            }
            exprs.push(self.resolver.expr(&item.expr, None)?);
            let name = match (&item.alias, &item.expr.node) {
                (Some(alias), _) => alias.text.clone(),
                (None, ast::Node::Name(name)) => name.name.clone(),
                (None, _) => {
                    excerpt(self.resolver.known.text.get(item.expr.span.start..item.expr.span.end).unwrap_or_default())
                }
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
        for item in &self.query.order_by {
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

/// The tables that an expression is about, each once.
fn tables_of(expr: &Expr) -> Vec<usize> {
    let mut tables = Vec::new();
    let mut exprs = vec![expr];
    while let Some(expr) = exprs.pop() {
        match &expr.node {
            Node::Field(_) | Node::Property(_) => tables.push(0), // the events come first
            Node::Column(column) => tables.push(column.table),
            _ => exprs.extend(expr.children()),
        }
    }
    tables.sort_unstable();
    tables.dedup();
    tables
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
        let having = having.map(|having| over_groups(having, &keys).and_then(about_groups)).transpose()?;
        let mut ordered = Vec::with_capacity(order.len());
        for item in order {
            let by = match item.by {
                OrderBy::Expr(expr) => OrderBy::Expr(over_groups(expr, &keys)?),
                output @ OrderBy::Output(_) => output,
            };
            ordered.push(Order { by, ..item });
        }
        Ok((Some(Groups { keys, aggregates, having, fill: None }), outputs, ordered))
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
