//! AST -> typed expressions: names become columns, operators get types, constants are folded.

mod aggregates;
mod calendar;
mod calls;
mod casts;
mod compare;
mod metrics;
mod names;
mod operators;
mod tables;
pub(crate) mod windows;

use std::{cell::Cell, rc::Rc};

pub use metrics::Formula;
use model::{AppId, AppSchema};
pub(crate) use names::{field, has_aggregate};
pub(crate) use tables::{Known, Rows, Table, column_expr};
pub(crate) use windows::Buckets;

use crate::{
    ast::{self, Word},
    diagnostics::{Outcome, Rule, Span, fault},
    time::{self, Zone},
    typed::{Aggregate, Expr, Node},
    types::Type,
};

/// What a text is read against.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// The app's registered properties.
    pub schema: &'a AppSchema,
    /// The one app that the query is about.
    pub app: AppId,
    /// What `now()` is, UTC ms.
    pub now_ms: i64,
    /// IANA name of the zone in which days begin and times without an offset are read.
    pub time_zone: &'a str,
}

/// Which clause an expression stands in; it decides what the expression may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Where,
    On,
    GroupBy,
    Select,
    Having,
    OrderBy,
    Dimension,
    Measure,
}

impl Place {
    const fn name(self) -> &'static str {
        match self {
            Self::Where => "WHERE",
            Self::On => "ON",
            Self::GroupBy => "GROUP BY",
            Self::Select => "SELECT",
            Self::Having => "HAVING",
            Self::OrderBy => "ORDER BY",
            Self::Dimension => "a dimension",
            Self::Measure => "a measure",
        }
    }

    const fn takes_aggregates(self) -> bool {
        matches!(self, Self::Select | Self::Having | Self::OrderBy | Self::Measure)
    }

    /// Whether the names given to result columns can be used.
    const fn sees_columns(self) -> bool {
        matches!(self, Self::GroupBy | Self::Having | Self::OrderBy)
    }
}

/// How many nodes may come from writing names out: a text is small, what it stands for must be too.
const MAX_COPIES: usize = 40_000;

pub(crate) struct Resolver<'c> {
    pub(crate) context: &'c Context<'c>,
    pub(crate) zone: Zone,
    pub(crate) place: Place,
    /// The tables of the query, in order.
    pub(crate) tables: Vec<Table>,
    /// Names that the tables share by USING: the first table's is meant.
    pub(crate) using: Vec<String>,
    /// What queries in this one may name, and the text that they stand in.
    pub(crate) known: Known<'c>,
    /// Result columns by name, for the clauses that may use them.
    pub(crate) columns: Vec<(String, Expr)>,
    /// Every aggregate met so far, each once.
    pub(crate) aggregates: Vec<Aggregate>,
    /// What all aggregates of the measure at hand are filtered by.
    pub(crate) measure_filter: Option<Expr>,
    /// By what a formula's windows are cut and ordered; absent in SQL, where they say so themselves.
    pub(crate) buckets: Option<Buckets>,
    /// Formulas that others may name.
    pub(crate) formulas: &'c [Formula],
    /// The names of those that are open here.
    open: Vec<String>,
    inside_aggregate: bool,
    inside_window: bool,
}

impl<'c> Resolver<'c> {
    /// For what is asked about the events alone.
    pub(crate) fn new(context: &'c Context<'c>, zone: Zone) -> Self {
        let known = Known { text: "", plans: Vec::new(), copies: Rc::new(Cell::new(0)) };
        Self { tables: vec![Table::events()], ..Self::within(context, zone, known) }
    }

    /// For a query without any tables yet, among what is known already.
    pub(crate) fn within(context: &'c Context<'c>, zone: Zone, known: Known<'c>) -> Self {
        Self {
            context,
            zone,
            place: Place::Select,
            tables: Vec::new(),
            using: Vec::new(),
            known,
            columns: Vec::new(),
            aggregates: Vec::new(),
            measure_filter: None,
            buckets: None,
            inside_aggregate: false,
            formulas: &[],
            open: Vec::new(),
            inside_window: false,
        }
    }

    /// The typed expression; `hint` chooses among the kinds of a property that has several.
    pub(crate) fn expr(&mut self, expr: &ast::Expr, hint: Option<Type>) -> Outcome<Expr> {
        let span = expr.span;
        let constant = |node, ty| Ok(Expr::new(node, ty, span));
        match &expr.node {
            ast::Node::Null => constant(Node::Null, Type::Null),
            ast::Node::Bool(b) => constant(Node::Bool(*b), Type::Bool),
            ast::Node::Integer(i) => constant(Node::Integer(*i), Type::Integer),
            ast::Node::Number(x) => constant(Node::Number(*x), Type::Number),
            ast::Node::Text(text) => constant(Node::Text(text.clone()), Type::String),
            ast::Node::Instant(ms) => constant(Node::Time(*ms), Type::Time),
            ast::Node::TimeLiteral(text) => self.time_literal(text, span, &self.zone),
            ast::Node::Name(name) => self.name(name, span, hint),
            ast::Node::Interval(_) => fault(
                span,
                Rule::TypeMismatch,
                "an INTERVAL is added to or subtracted from a time, as in now() - INTERVAL 30 DAY",
            ),
            ast::Node::Negate(inner) => self.negate(inner, span),
            ast::Node::Binary(op, left, right) => self.binary(*op, left, right, span),
            ast::Node::Case { operand, branches, otherwise } => {
                self.case(operand.as_deref(), branches, otherwise.as_deref(), span, hint)
            }
            ast::Node::Cast { value, to } => self.cast(value, to, span),
            ast::Node::AtTimeZone(time, zone) => self.at_time_zone(time, zone, span),
            ast::Node::Extract(part, time) => self.extract(part, time, span),
            ast::Node::Call(call) => self.call(call, span, hint),
            ast::Node::Subquery(query) => self.scalar(query, span),
            ast::Node::Metric(name) => self.metric(name, span),
            ast::Node::Star => fault(span, Rule::NotAvailable, "`*` stands alone in SELECT, or in COUNT(*)"),
            _ => self.condition(expr),
        }
    }

    /// The expression as a value of this type.
    pub(crate) fn expr_of(&mut self, expr: &ast::Expr, wanted: Type) -> Outcome<Expr> {
        let typed = self.expr(expr, Some(wanted))?;
        self.coerce(typed, wanted)
    }

    /// The value as one of the wanted type; a literal text takes the type that its place needs.
    fn coerce(&self, expr: Expr, wanted: Type) -> Outcome<Expr> {
        let expr = self.literal_as(expr, wanted, &self.zone)?;
        if expr.ty.fits(wanted) {
            return Ok(expr.into_type(wanted, &self.zone));
        }
        let message = format!(
            "this is {}, but {} is needed here{}",
            expr.ty.described(),
            wanted.described(),
            conversion(expr.ty, wanted)
        );
        fault(expr.span, Rule::TypeMismatch, message)
    }

    /// A literal text where a time, number or bool is needed is read as one.
    fn literal_as(&self, expr: Expr, wanted: Type, zone: &Zone) -> Outcome<Expr> {
        let Node::Text(text) = &expr.node else { return Ok(expr) };
        let node = match wanted {
            Type::Time => return self.time_literal(text, expr.span, zone),
            Type::Number | Type::Integer => match (text.trim().parse::<i64>(), text.trim().parse::<f64>()) {
                (Ok(i), _) if i.abs() <= model::MAX_EXACT_INTEGER => {
                    return Ok(Expr::new(Node::Integer(i), Type::Integer, expr.span));
                }
                (_, Ok(x)) if x.is_finite() => return Ok(Expr::new(Node::Number(x), Type::Number, expr.span)),
                _ => None,
            },
            Type::Bool if text.eq_ignore_ascii_case("true") => Some(Node::Bool(true)),
            Type::Bool if text.eq_ignore_ascii_case("false") => Some(Node::Bool(false)),
            Type::Bool => None,
            Type::String | Type::Null => return Ok(expr),
        };
        match node {
            Some(node) => Ok(Expr::new(node, wanted, expr.span)),
            None => fault(
                expr.span,
                Rule::TypeMismatch,
                format!("this text stands for {}, but can't be read as one", wanted.described()),
            ),
        }
    }

    fn time_literal(&self, text: &str, span: Span, zone: &Zone) -> Outcome<Expr> {
        match time::parse(text, zone) {
            Some(ms) => Ok(Expr::new(Node::Time(ms), Type::Time, span)),
            None => fault(
                span,
                Rule::InvalidTime,
                "this is no time between 1900 and 2299; write '2024-01-31' or '2024-01-31 12:00:00', with an offset if \
                 it isn't local",
            ),
        }
    }

    /// Two values as values of one type.
    pub(crate) fn meet(&self, left: Expr, right: Expr) -> Outcome<(Expr, Expr)> {
        let (left_zone, right_zone) = (self.zone_of(&left), self.zone_of(&right));
        let (left_type, right_type) = (left.ty, right.ty);
        let left = self.literal_as(left, right_type, &right_zone)?;
        let right = self.literal_as(right, left_type, &left_zone)?;
        let Some(ty) = left.ty.common(right.ty) else {
            let hint = conversion(right.ty, left.ty);
            let message = format!("{} and {} don't go together{hint}", left.ty.described(), right.ty.described());
            return fault(left.span.to(right.span), Rule::TypeMismatch, message);
        };
        Ok((left.into_type(ty, &self.zone), right.into_type(ty, &self.zone)))
    }

    /// Resolves two operands; one that can be of several kinds is read as the other is.
    fn operands(&mut self, left: &ast::Expr, right: &ast::Expr) -> Outcome<(Expr, Expr)> {
        if self.has_several_kinds(left) {
            let right = self.expr(right, None)?;
            Ok((self.expr(left, Some(right.ty))?, right))
        } else {
            let left = self.expr(left, None)?;
            let right = self.expr(right, Some(left.ty))?;
            Ok((left, right))
        }
    }

    /// A copy, as long as all copies together stay within bounds.
    fn copy(&mut self, expr: &Expr) -> Outcome<Expr> {
        self.charge(expr)?;
        Ok(expr.clone())
    }

    /// Counts an expression that the text holds once and the plan twice; without a bound, nesting would double it
    /// at each level.
    fn charge(&mut self, expr: &Expr) -> Outcome<()> {
        self.known.charge(expr.size(), expr.span)
    }

    /// The zone of that name.
    fn named_zone(&self, name: &str, span: Span) -> Outcome<Zone> {
        match Zone::named(name) {
            Some(zone) => Ok(zone),
            None => fault(span, Rule::InvalidTimeZone, no_zone(name)),
        }
    }

    /// The zone in which a time is read: its own, or that of the context.
    fn zone_of(&self, expr: &Expr) -> Zone {
        match &expr.node {
            Node::InZone(_, zone) | Node::Truncate(_, zone, _) | Node::Shift(_, _, zone) => zone.clone(),
            _ => self.zone.clone(),
        }
    }
}

/// What to say about a zone that doesn't exist.
pub(crate) fn no_zone(name: &str) -> String {
    format!(
        "there is no time zone {:?}; write an IANA name, as in 'Europe/Berlin' or 'UTC'",
        crate::diagnostics::excerpt(name)
    )
}

/// How to turn one type into the other, if a cast does.
fn conversion(from: Type, to: Type) -> String {
    if from == Type::Null || to == Type::Null || !casts::allowed(from, to) {
        return String::new();
    }
    format!("; a cast makes one, as in x::{to}")
}

/// The literal text of an argument that must be one, and what it is for.
fn literal_text(expr: &ast::Expr, what: &str) -> Outcome<Word> {
    match &expr.node {
        ast::Node::Text(text) => Ok(Word { text: text.clone(), span: expr.span }),
        _ => fault(expr.span, Rule::WrongArguments, format!("{what} must be a text in quotes")),
    }
}

#[cfg(test)]
mod tests;
