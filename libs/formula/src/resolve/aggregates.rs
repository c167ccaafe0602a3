//! Aggregates: each becomes a node of the plan, equal ones the same node.

use super::{Expr, Node, Outcome, Resolver, Rule, Span, Type, ast, fault};
use crate::{
    ast::{Call, OrderItem},
    functions::{AggregateFunction, Aggregation, Form, Level},
    typed::Aggregate,
};

/// How many different aggregates a query may have.
const MAX_AGGREGATES: usize = 256;

impl Resolver<'_> {
    pub(super) fn aggregate(
        &mut self,
        function: &AggregateFunction,
        call: &Call,
        span: Span,
        hint: Option<Type>,
    ) -> Outcome<Expr> {
        let shown = call.name.text.to_uppercase();
        if self.inside_aggregate {
            let message = format!("{shown} can't stand inside another aggregate");
            return fault(span, Rule::NestedAggregate, message);
        }
        if !self.place.takes_aggregates() {
            let advice =
                if self.place == super::Place::Where { "; conditions on aggregates stand in HAVING" } else { "" };
            let message = format!("{shown} can't stand in {}{advice}", self.place.name());
            return fault(span, Rule::AggregateNotAllowed, message);
        }
        self.inside_aggregate = true;
        let outcome = self.aggregate_inside(function.form, call, span, hint);
        self.inside_aggregate = false;
        let (aggregate, ty) = outcome?;
        Ok(Expr::new(Node::Aggregate(self.shared(aggregate, span)?), ty, span))
    }

    /// The place of the aggregate among those of the plan.
    fn shared(&mut self, aggregate: Aggregate, span: Span) -> Outcome<usize> {
        if let Some(known) = self.aggregates.iter().position(|known| *known == aggregate) {
            return Ok(known);
        }
        if self.aggregates.len() == MAX_AGGREGATES {
            let message = format!("a query has at most {MAX_AGGREGATES} different aggregates; split it");
            return fault(span, Rule::TooLarge, message);
        }
        self.aggregates.push(aggregate);
        Ok(self.aggregates.len() - 1)
    }

    fn aggregate_inside(
        &mut self,
        form: Form,
        call: &Call,
        span: Span,
        hint: Option<Type>,
    ) -> Outcome<(Aggregate, Type)> {
        misplaced(form, call)?;
        let (aggregation, args, condition) = self.aggregate_arguments(form, call, span, hint)?;
        let mut filters: Vec<Expr> = match self.measure_filter.clone() {
            Some(filter) => vec![self.copy(&filter)?],
            None => Vec::new(),
        };
        filters.extend(condition);
        if let Some(filter) = &call.filter {
            filters.push(self.expr_of(filter, Type::Bool)?);
        }
        let filter = match <[Expr; 1]>::try_from(filters) {
            Ok([one]) => Some(one),
            Err(none) if none.is_empty() => None,
            Err(several) => Some(Expr::new(Node::All(several), Type::Bool, span)),
        };
        let ty = aggregation.gives(args.first().map_or(Type::Null, |arg| arg.ty));
        Ok((Aggregate { aggregation, args, filter }, ty))
    }

    fn aggregate_arguments(
        &mut self,
        form: Form,
        call: &Call,
        span: Span,
        hint: Option<Type>,
    ) -> Outcome<(Aggregation, Vec<Expr>, Option<Expr>)> {
        match form {
            Form::Count if call.star => Ok((Aggregation::Rows, Vec::new(), None)),
            Form::Count if call.distinct => Ok((Aggregation::Distinct, self.values(call, 1, 8)?, None)),
            Form::Count => Ok((Aggregation::Values, self.values(call, 1, 1)?, None)),
            Form::OfAny(aggregation) => Ok((aggregation, self.values(call, 1, 1)?, None)),
            Form::CountIf => {
                let args = counted(call, 1, "a condition")?;
                Ok((Aggregation::Rows, Vec::new(), Some(self.expr_of(&args[0], Type::Bool)?)))
            }
            Form::SumIf => {
                let args = counted(call, 2, "a number and a condition")?;
                let number = self.expr_of(&args[0], Type::Number)?;
                Ok((Aggregation::Sum, vec![number], Some(self.expr_of(&args[1], Type::Bool)?)))
            }
            Form::OfNumber(aggregation) => {
                let args = counted(call, 1, "one number")?;
                Ok((aggregation, vec![self.expr_of(&args[0], Type::Number)?], None))
            }
            Form::OfOrdered(aggregation) => {
                let args = counted(call, 1, "one value")?;
                Ok((aggregation, vec![self.ordered(&args[0], hint)?], None))
            }
            Form::Percentile(make) => {
                let (level, value) = percentile(call, span)?;
                let value = self.expr_of(value, Type::Number)?;
                Ok((make(level), vec![value], None))
            }
            Form::PercentileOfOrdered(make) => {
                let (level, value) = percentile(call, span)?;
                Ok((make(level), vec![self.ordered(value, hint.or(Some(Type::Number)))?], None))
            }
        }
    }

    fn values(&mut self, call: &Call, least: usize, most: usize) -> Outcome<Vec<Expr>> {
        if !(least..=most).contains(&call.args.len()) || call.star {
            let message = format!("{} takes {least} to {most} arguments", call.name.text.to_uppercase());
            return fault(call.name.span, Rule::WrongArguments, message);
        }
        call.args.iter().map(|arg| self.expr(arg, None)).collect()
    }

    /// A value that has an order.
    pub(super) fn ordered(&mut self, arg: &ast::Expr, hint: Option<Type>) -> Outcome<Expr> {
        let value = self.expr(arg, hint)?;
        match value.ty {
            Type::Bool => fault(
                value.span,
                Rule::TypeMismatch,
                "bools have no order; cast them, as in x::number, or use COUNT_IF",
            ),
            Type::Null => Ok(Expr { ty: Type::Number, ..value }),
            _ => Ok(value),
        }
    }
}

/// Parts of a call that this aggregate doesn't take.
fn misplaced(form: Form, call: &Call) -> Outcome<()> {
    let shown = call.name.text.to_uppercase();
    let counts = matches!(form, Form::Count);
    let message = if call.star && !counts {
        format!("{shown}(*) has no meaning; only COUNT takes *")
    } else if call.distinct && !counts {
        format!("{shown}(DISTINCT ...) is not available; only COUNT takes DISTINCT")
    } else if call.within.is_some() && !matches!(form, Form::Percentile(_) | Form::PercentileOfOrdered(_)) {
        format!("{shown} takes no WITHIN GROUP; only PERCENTILE_CONT and PERCENTILE_DISC do")
    } else {
        return Ok(());
    };
    fault(call.name.span, Rule::WrongArguments, message)
}

fn counted<'a>(call: &'a Call, count: usize, what: &str) -> Outcome<&'a [ast::Expr]> {
    if call.args.len() == count {
        return Ok(&call.args);
    }
    let message = format!("{} takes {what}, not {} arguments", call.name.text.to_uppercase(), call.args.len());
    fault(call.name.span, Rule::WrongArguments, message)
}

/// `PERCENTILE(share, x)` or `PERCENTILE_CONT(share) WITHIN GROUP (ORDER BY x)`
fn percentile(call: &Call, span: Span) -> Outcome<(Level, &ast::Expr)> {
    let shown = call.name.text.to_uppercase();
    let (share, value, descending) = match (call.args.as_slice(), call.within.as_deref()) {
        ([share, value], None) => (share, value, false),
        ([share], Some(OrderItem { expr, descending, .. })) => (share, expr, *descending),
        _ => {
            let message = format!("{shown} takes a share between 0 and 1 and a value, as in {shown}(0.95, load_time)");
            return fault(span, Rule::WrongArguments, message);
        }
    };
    if descending {
        let message = "order by the value ascending and give the other share, as in 0.05 for 0.95";
        return fault(span, Rule::NotAvailable, message);
    }
    let level = match share.node {
        ast::Node::Number(x) => Level::new(x),
        ast::Node::Integer(i @ 0..=1) => Level::new(i as f64),
        _ => None,
    };
    match level {
        Some(level) => Ok((level, value)),
        None => {
            let message = format!("the share of {shown} is a number between 0 and 1 with up to 9 decimals, as in 0.95");
            fault(share.span, Rule::WrongArguments, message)
        }
    }
}
