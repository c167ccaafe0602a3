//! What a typed query does with its groups: the greatest of them and the others, empty buckets, a row of totals.

use model::Error;

use super::{TypedQuery, value_error};
use crate::{
    ast::CompareOp,
    diagnostics::{Rule, Span, excerpt},
    functions::Aggregation,
    plan::{Order, OrderBy, Output, Plan, Source},
    resolve::{Context, column_expr},
    suggest::did_you_mean,
    time::Zone,
    typed::{Aggregate, Expr, Node},
    types::Type,
};

/// The column that marks the row of totals.
pub const TOTAL_COLUMN: &str = "is_total";

/// What the measures of a bucket without events are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Counts and sums are 0, all else is NULL.
    Zero,
    /// All are NULL.
    Null,
}

/// Of a dimension only the values with the greatest measures.
#[derive(Debug, Clone, Default)]
pub struct Top {
    /// How many values.
    pub n: u32,
    /// The name of the dimension; the first one if empty.
    pub dimension: String,
    /// The name of the measure over the whole range; the first one if empty.
    pub by: String,
    /// What all other values are called together; they are left out if it is empty.
    pub others: String,
}

/// Counts and sums of nothing as [`Fill`] says; the last aggregate counts the rows of the group.
pub(super) fn filled(expr: &mut Expr, fill: Fill, aggregates: &[Aggregate], rows: usize) {
    let Node::Aggregate(i) = expr.node else {
        return expr.children_mut().into_iter().for_each(|child| filled(child, fill, aggregates, rows));
    };
    let sums = aggregates.get(i).is_some_and(|aggregate| aggregate.aggregation == Aggregation::Sum);
    let (ty, span) = (expr.ty, expr.span);
    let nothing = match fill {
        Fill::Zero if sums => Expr::new(Node::Number(0.0), Type::Number, span),
        // Counts are 0 and the rest is NULL already.
        Fill::Zero => return,
        Fill::Null => Expr::new(Node::Null, ty, span),
    };
    let count = Expr::new(Node::Aggregate(rows), Type::Integer, span);
    let zero = Expr::new(Node::Integer(0), Type::Integer, span);
    let empty = Expr::new(Node::Compare(CompareOp::Eq, Box::new(count), Box::new(zero)), Type::Bool, span);
    let value = std::mem::replace(expr, Expr::new(Node::Null, ty, span));
    expr.node = Node::Case { branches: vec![(empty, nothing)], otherwise: Some(Box::new(value)) };
}

impl TypedQuery {
    /// Which dimension only shows its greatest values, and the plan of these.
    pub(super) fn greatest(&self, context: &Context<'_>) -> Result<Option<(usize, Plan)>, Error> {
        let Some(top) = &self.top else { return Ok(None) };
        if !(1..=1_000).contains(&top.n) {
            return Err(value_error("top.n", Rule::InvalidLimit, "this takes 1 to 1000 values"));
        }
        let dimension = named(&top.dimension, self.dimensions.iter().map(|d| d.name.as_str()), "top.dimension")?;
        let by = named(&top.by, self.measures.iter().map(|m| m.name.as_str()), "top.by")?;
        let query = Self {
            measures: vec![self.measures[by].clone()],
            dimensions: vec![self.dimensions[dimension].clone()],
            limit: Some(top.n.into()),
            offset: 0,
            ..self.of_all()
        };
        let mut plan = query.plan(context).map_err(|mut error| {
            // The same parts stand in the query itself, at their own places.
            for violation in &mut error.violations {
                let field = violation.field.replace("measures[0]", &format!("measures[{by}]"));
                violation.field = field.replace("dimensions[0]", &format!("dimensions[{dimension}]"));
            }
            error
        })?;
        if let Some(key) = plan.groups.as_ref().and_then(|groups| groups.keys.first()) {
            // Events without a value are of none of the greatest.
            let null = Expr::new(Node::IsNull(Box::new(key.clone())), Type::Bool, key.span);
            plan.filters.push(Expr::new(Node::Not(Box::new(null)), Type::Bool, key.span));
        }
        let measure = plan.outputs.swap_remove(1).expr;
        plan.outputs.truncate(1); // what the measure was before doesn't count
        let greatest = Order { by: OrderBy::Expr(measure), descending: true, nulls_first: false };
        let alphabet = Order { by: OrderBy::Output(0), descending: false, nulls_first: false };
        plan.order = vec![greatest, alphabet];
        Ok(Some((dimension, plan)))
    }

    /// The same without anything that splits it or looks at its groups.
    fn of_all(&self) -> Self {
        Self {
            dimensions: Vec::new(),
            grain: None,
            having: None,
            order_by: Vec::new(),
            limit: None,
            offset: 0,
            top: None,
            fill: None,
            totals: false,
            ..self.clone()
        }
    }

    /// The plan's rows and after them, marked, the measures of all events.
    pub(super) fn with_totals(&self, mut plan: Plan, context: &Context<'_>, zone: &Zone) -> Result<Plan, Error> {
        let mut totals = self.of_all().plan(context).map_err(|mut error| {
            error.message = format!("totals: {}", error.message);
            error
        })?;
        let keys = plan.outputs.len() - totals.outputs.len();
        let mut row: Vec<Output> = Vec::with_capacity(plan.outputs.len() + 1);
        for output in &plan.outputs[..keys] {
            let null = Expr::new(Node::Null, Type::Null, Span::default());
            let mut key = Output::new(output.column.name.clone(), String::new(), null, &[]);
            key.become_type(output.column.kind.ty(), zone);
            row.push(key);
        }
        row.append(&mut totals.outputs);
        totals.outputs = row;
        for (plan, is_total) in [(&mut plan, false), (&mut totals, true)] {
            let mark = Expr::new(Node::Bool(is_total), Type::Bool, Span::default());
            plan.outputs.push(Output::new(TOTAL_COLUMN.to_owned(), String::new(), mark, &[]));
        }
        let outputs: Vec<Output> = (plan.columns().enumerate())
            .map(|(place, column)| Output { column: column.clone(), expr: column_expr(0, place, column) })
            .collect();
        let mark = Order { by: OrderBy::Output(outputs.len() - 1), descending: false, nulls_first: false };
        let order = std::iter::once(mark).chain(plan.order.iter().cloned()).collect();
        let app = plan.app.clone();
        if plan.limit.is_some() || plan.offset > 0 {
            plan = Plan::rows(app.clone(), Source::Plans(vec![plan]), outputs.clone());
        } else {
            plan.order.clear();
        }
        Ok(Plan { order, ..Plan::rows(app, Source::Plans(vec![plan, totals]), outputs) })
    }
}

/// The place of the name; the first one if it is empty.
fn named<'n>(name: &str, names: impl Iterator<Item = &'n str> + Clone, field: &str) -> Result<usize, Error> {
    let mut all = names.clone();
    let place = if name.is_empty() { all.next().map(|_| 0) } else { all.position(|known| known == name) };
    place.ok_or_else(|| {
        let message = match name {
            "" => "the query has none".to_owned(),
            _ => format!("the query has no `{}`{}", excerpt(name), did_you_mean(name, names)),
        };
        value_error(field, Rule::UnknownName, message)
    })
}
