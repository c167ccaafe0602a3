//! The tables of a query, and queries that stand in it.

use std::{cell::Cell, rc::Rc, sync::Arc};

use model::{Property, PropertyKind, Slot};

use super::{Expr, MAX_COPIES, Node, Outcome, Resolver, Rule, Span, Type, ast, fault};
use crate::{
    diagnostics::excerpt,
    plan::{Column, Join, Output, Pairs, Plan, Source},
    select,
    suggest::did_you_mean,
    typed::{ColumnOf, Field},
};

/// What a query may name beside the app's tables, and the text that it stands in.
#[derive(Debug, Clone)]
pub(crate) struct Known<'t> {
    pub(crate) text: &'t str,
    /// The plans that WITH named, the latest last.
    pub(crate) plans: Vec<(String, Rc<Plan>)>,
    /// Nodes that the text holds once and the plan more than once; counted for the text as a whole.
    pub(crate) copies: Rc<Cell<usize>>,
}

impl Known<'_> {
    pub(crate) fn charge(&self, size: usize, span: Span) -> Outcome<()> {
        self.copies.set(self.copies.get().saturating_add(size));
        if self.copies.get() > MAX_COPIES {
            return fault(span, Rule::TooLarge, "the query is too large once its names are written out; split it");
        }
        Ok(())
    }
}

/// A table of a query.
#[derive(Debug)]
pub(crate) struct Table {
    /// What the query calls it; the empty text is no name.
    names: Vec<String>,
    pub(crate) rows: Rows,
}

#[derive(Debug)]
pub(crate) enum Rows {
    Events,
    /// What is known of each user, as far as the query names it.
    Users(Vec<(String, Expr)>),
    Plan(Rc<Plan>),
}

/// What `users` has beside traits.
const USER_FIELDS: [(&str, Field); 4] = [
    ("user_id", Field::UserId),
    ("country", Field::Country),
    ("plan", Field::UserPlan),
    ("user_plan", Field::UserPlan),
];

impl Table {
    /// `events` by its own name.
    pub(crate) fn events() -> Self {
        Self { names: vec!["events".to_owned()], rows: Rows::Events }
    }

    pub(crate) fn new(name: Option<&str>, alias: Option<&str>, rows: Rows) -> Self {
        Self { names: name.into_iter().chain(alias).map(str::to_owned).collect(), rows }
    }

    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.names.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    fn name(&self) -> &str {
        self.names.last().map_or("", String::as_str)
    }

    /// The plan of its rows; the events stand by themselves.
    fn into_plan(self, app: &model::AppId) -> Option<Plan> {
        match self.rows {
            Rows::Events => None,
            Rows::Plan(plan) => Some(Rc::unwrap_or_clone(plan)),
            Rows::Users(wanted) => {
                let wanted = if wanted.is_empty() { vec![user_field(Field::UserId)] } else { wanted };
                let output = |(name, expr)| Output::new(name, String::new(), expr, &[]);
                Some(Plan::rows(app.clone(), Source::Users, wanted.into_iter().map(output).collect()))
            }
        }
    }
}

fn user_field(field: Field) -> (String, Expr) {
    let name = USER_FIELDS.iter().find(|(_, known)| *known == field).map_or("", |(name, _)| name);
    (name.to_owned(), Expr::new(Node::Field(field), field.ty(), Span::default()))
}

/// A column by its name, bare ones in any case.
fn column<'p>(plan: &'p Plan, name: &ast::Name) -> Option<(usize, &'p Column)> {
    let exact = plan.columns().position(|column| column.name == name.name);
    let near = || plan.columns().position(|column| !name.quoted && column.name.eq_ignore_ascii_case(&name.name));
    let place = exact.or_else(near)?;
    plan.columns().nth(place).map(|column| (place, column))
}

impl Resolver<'_> {
    /// What the tables are, once all names are known: the first one, and those that join it.
    pub(crate) fn take_tables(&mut self, joined: Vec<(ast::JoinKind, Pairs)>) -> Option<(Source, Vec<Join>)> {
        let mut tables = std::mem::take(&mut self.tables).into_iter();
        let app = &self.context.app;
        let source = tables.next()?.into_plan(app).map_or(Source::Events, |plan| Source::Plans(vec![plan]));
        let mut joins = Vec::new();
        for (table, (kind, on)) in tables.zip(joined) {
            joins.push(Join { kind, plan: table.into_plan(app)?, on });
        }
        Some((source, joins))
    }

    /// The names of all columns, if every table says which it has.
    pub(crate) fn all_columns(&self) -> Option<Vec<(String, Expr)>> {
        let mut columns = Vec::new();
        for (table, at) in self.tables.iter().zip(0..) {
            let Rows::Plan(plan) = &table.rows else { return None };
            let named = plan.columns().enumerate().map(|(place, c)| (c.name.clone(), column_expr(at, place, c)));
            columns.extend(
                named.filter(|(name, _)| at == 0 || !self.using.iter().any(|shared| shared.eq_ignore_ascii_case(name))),
            );
        }
        Some(columns)
    }

    /// A name that stands behind that of the table.
    pub(crate) fn of_table(&mut self, at: usize, name: &ast::Name, span: Span, hint: Option<Type>) -> Outcome<Expr> {
        match &self.tables[at].rows {
            Rows::Events => self.field_or_property(name, span, hint),
            Rows::Users(_) => Ok(self.of_user(at, name, span, hint)),
            Rows::Plan(plan) => match column(plan, name) {
                Some((place, column)) => Ok(Expr { span, ..column_expr(at, place, column) }),
                None => {
                    let near = did_you_mean(&name.name, plan.columns().map(|column| column.name.as_str()));
                    let (table, shown) = (excerpt(self.tables[at].name()), excerpt(&name.name));
                    let table = if table.is_empty() { "the subquery" } else { &format!("`{table}`") };
                    fault(span, Rule::UnknownField, format!("{table} has no column `{shown}`{near}"))
                }
            },
        }
    }

    /// The tables that have something of this name for certain; of users only what every user may have.
    pub(super) fn tables_with(&self, name: &ast::Name) -> Vec<usize> {
        let has = |table: &Table| match &table.rows {
            Rows::Events => super::field(name).is_some() || !self.context.schema.named(&name.name).is_empty(),
            Rows::Users(wanted) => {
                user_field_named(name).is_some() || wanted.iter().any(|(known, _)| *known == name.name)
            }
            Rows::Plan(plan) => column(plan, name).is_some(),
        };
        (0..self.tables.len()).filter(|at| has(&self.tables[*at])).collect()
    }

    pub(super) fn is_events(&self, name: &str) -> bool {
        self.tables.iter().any(|table| table.is_called(name) && matches!(table.rows, Rows::Events))
    }

    /// The users' table, if the expression names a trait, whose kind only its place can decide.
    pub(super) fn names_trait(&self, expr: &ast::Expr) -> Option<usize> {
        let ast::Node::Name(name) = &expr.node else { return None };
        if user_field_named(name).is_some() {
            return None;
        }
        let at = match &name.qualifier {
            Some(qualifier) => self.tables.iter().position(|table| table.is_called(&qualifier.text))?,
            None if self.tables.len() == 1 => 0,
            None => return None,
        };
        matches!(self.tables[at].rows, Rows::Users(_)).then_some(at)
    }

    /// A field or trait of the user; traits have no registry, so one that nobody has is NULL.
    pub(super) fn of_user(&mut self, at: usize, name: &ast::Name, span: Span, kind: Option<Type>) -> Expr {
        let wanted = match user_field_named(name) {
            Some(field) => user_field(field),
            None => {
                let (kind, slot) = match kind {
                    Some(Type::Number | Type::Integer) => (PropertyKind::Number, Slot::NumberMap),
                    Some(Type::Bool) => (PropertyKind::Bool, Slot::NumberMap),
                    Some(Type::Time) => (PropertyKind::Time, Slot::NumberMap),
                    _ => (PropertyKind::String, Slot::TextMap),
                };
                let property = Property { name: name.name.as_str().into(), kind, slot };
                (name.name.clone(), super::names::property_expr(&property, span))
            }
        };
        let (ty, called) = (wanted.1.ty, Arc::from(wanted.0.as_str()));
        let Rows::Users(known) = &mut self.tables[at].rows else { return wanted.1 };
        let place = known.iter().position(|(_, expr)| *expr == wanted.1).unwrap_or_else(|| {
            known.push(wanted);
            known.len() - 1
        });
        Expr::new(Node::Column(ColumnOf { table: at, place, name: called, sketch: None }), ty, span)
    }

    /// `(SELECT ...)` as a value.
    pub(super) fn scalar(&mut self, query: &ast::Query, span: Span) -> Outcome<Expr> {
        let plan = self.one_column(query, span)?;
        if !plan.has_one_row() {
            let message = "this query may give many rows where one value is needed; gather them by an aggregate, or end \
                           it with LIMIT 1";
            return fault(span, Rule::WrongArguments, message);
        }
        let ty = plan.columns().next().map_or(Type::Null, |column| column.kind.ty());
        Ok(Expr::new(Node::Scalar(Box::new(plan)), ty, span))
    }

    /// `x IN (SELECT ...)`; a NULL that the query gives is equal to nothing.
    pub(super) fn in_query(&mut self, value: &ast::Expr, query: &ast::Query, span: Span) -> Outcome<Expr> {
        let mut plan = self.one_column(query, span)?;
        let [output] = plan.outputs.as_mut_slice() else {
            return fault(span, Rule::Syntax, "this query has no column");
        };
        let value = self.expr(value, Some(output.column.kind.ty()))?;
        let value = self.literal_as(value, output.column.kind.ty(), &self.zone.clone())?;
        let Some(ty) = value.ty.common(output.column.kind.ty()) else {
            let message =
                format!("{} is not among what the query gives: {}", value.ty.described(), output.expr.ty.described());
            return fault(span, Rule::TypeMismatch, message);
        };
        output.become_type(ty, &self.zone);
        let value = Box::new(value.into_type(ty, &self.zone));
        Ok(Expr::new(Node::InPlan(value, Box::new(plan)), Type::Bool, span))
    }

    fn one_column(&mut self, query: &ast::Query, span: Span) -> Outcome<Plan> {
        let plan = select::plan(query, self.context, &self.zone, &self.known)?;
        let columns = plan.columns().len();
        if columns != 1 {
            return fault(span, Rule::WrongArguments, format!("this query has {columns} columns where one is needed"));
        }
        Ok(plan)
    }
}

pub(crate) fn column_expr(table: usize, place: usize, column: &Column) -> Expr {
    let name = Arc::from(column.name.as_str());
    let of = ColumnOf { table, place, name, sketch: column.accuracy.sketch() };
    Expr::new(Node::Column(of), column.kind.ty(), Span::default())
}

fn user_field_named(name: &ast::Name) -> Option<Field> {
    let same = |known: &str| known == name.name || (!name.quoted && known.eq_ignore_ascii_case(&name.name));
    USER_FIELDS.iter().find(|(known, _)| same(known)).map(|(_, field)| *field)
}
