//! UNION: selections of the same shape as one plan.

use super::{Planner, refuse_hidden_order};
use crate::{
    ast::Query,
    diagnostics::{Outcome, Rule, fault},
    plan::{Accuracy, Column, Output, Plan, Source},
    resolve::{Context, Known, Resolver, column_expr},
    time::Zone,
    typed::Expr,
    types::Type,
};

/// The rows of several selections, one after the other.
pub(super) fn plan(query: &Query, context: &Context<'_>, zone: &Zone, known: &Known<'_>) -> Outcome<Plan> {
    let alone = Query { order_by: Vec::new(), limit: None, offset: None, ..query.clone() };
    let mut plans: Vec<Plan> = Vec::with_capacity(query.selects.len());
    for select in &query.selects {
        let resolver = Resolver::within(context, zone.clone(), known.clone());
        plans.push(Planner { resolver, select, query: &alone }.plan(&context.app)?);
    }
    let columns = alike(&mut plans, query, zone)?;
    let mut resolver = Resolver::within(context, zone.clone(), known.clone());
    let exprs: Vec<Expr> = columns.iter().enumerate().map(|(place, column)| column_expr(0, place, column)).collect();
    resolver.columns = columns.iter().map(|column| column.name.clone()).zip(exprs.iter().cloned()).collect();
    let order = Planner { resolver, select: &query.selects[0], query }.order(&exprs)?;
    let names = columns.into_iter().map(|column| column.name);
    let outputs = names.zip(exprs).map(|(name, expr)| Output::new(name, String::new(), expr, &[])).collect();
    let plan = Plan::rows(context.app.clone(), Source::Plans(plans), outputs);
    let (distinct, limit, offset) = (query.union_distinct, query.limit, query.offset.unwrap_or(0));
    let plan = Plan { distinct, order, limit, offset, ..plan };
    refuse_hidden_order(&plan)?;
    Ok(plan)
}

/// Gives the plans' columns the types that they have in common; they are called as in the first.
fn alike(plans: &mut [Plan], query: &Query, zone: &Zone) -> Outcome<Vec<Column>> {
    let width = plans.first().map_or(0, |first| first.outputs.len());
    let mut pairs = plans.iter().zip(&query.selects);
    if let Some((plan, select)) = pairs.find(|(plan, _)| plan.outputs.len() != width) {
        let message = format!("this SELECT has {} columns, the first one {width}", plan.outputs.len());
        return fault(select.items[0].expr.span, Rule::WrongArguments, message);
    }
    let mut columns = Vec::with_capacity(width);
    for place in 0..width {
        let mut ty = Type::Null;
        for (plan, select) in plans.iter().zip(&query.selects) {
            let given = plan.outputs[place].expr.ty;
            let Some(common) = ty.common(given) else {
                let span = select.items.get(place).map_or(query.span, |item| item.expr.span);
                let message = format!("this is {}, in the SELECT before it {}", given.described(), ty.described());
                return fault(span, Rule::TypeMismatch, message);
            };
            ty = common;
        }
        plans.iter_mut().for_each(|plan| plan.outputs[place].become_type(ty, zone));
        let mut given = plans.iter().map(|plan| &plan.outputs[place].column);
        let inexact = given.clone().find(|column| column.accuracy != Accuracy::Exact);
        columns.extend(given.next().map(|first| Column {
            accuracy: inexact.map_or(Accuracy::Exact, |column| column.accuracy),
            ..first.clone()
        }));
    }
    Ok(columns)
}
