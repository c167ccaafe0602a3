//! Formulas in formulas: `{revenue} / {buyers}`.

use model::MetricFilter;

use super::{Expr, Node, Outcome, Place, Resolver, Rule, Span, Type, fault};
use crate::{diagnostics::excerpt, parse, query, suggest::did_you_mean};

/// No chain of formulas is longer.
const MAX_OPEN: usize = 16;

/// A formula that others can name.
#[derive(Debug, Clone, Default)]
pub struct Formula {
    /// What stands between the braces.
    pub name: String,
    /// Its text.
    pub formula: String,
    /// Conditions on the events that it sees.
    pub filters: Vec<MetricFilter>,
    /// The unit of its value, as in `USD`; if empty, what comes of those that it names.
    pub unit: String,
}

impl Resolver<'_> {
    /// The formula of that name, which sees its own events of those that this one sees.
    pub(super) fn metric(&mut self, name: &str, span: Span) -> Outcome<Expr> {
        if self.inside_aggregate {
            let message = format!("`{{{name}}}` is a value of a group; it can't stand inside an aggregate");
            return fault(span, Rule::NestedAggregate, message);
        }
        if self.place != Place::Measure {
            let message = format!("`{{{name}}}` can't stand in {}; it is for formulas", self.place.name());
            return fault(span, Rule::AggregateNotAllowed, message);
        }
        let formulas = self.formulas;
        let Some(formula) = formulas.iter().find(|formula| formula.name == name) else {
            let near = did_you_mean(name, formulas.iter().map(|formula| formula.name.as_str()));
            return fault(span, Rule::UnknownName, format!("there is no metric `{name}`{near}"));
        };
        if self.open.iter().any(|open| open == name) {
            let path = self.open.iter().map(String::as_str).skip_while(|open| *open != name).chain([name]);
            let path = path.collect::<Vec<_>>().join(" -> ");
            return fault(span, Rule::UnknownName, format!("the metric `{name}` is defined by itself: {path}"));
        }
        if self.open.len() == MAX_OPEN {
            return fault(span, Rule::TooLarge, format!("metrics name one another more than {MAX_OPEN} deep"));
        }
        self.open.push(name.to_owned());
        let outside = self.measure_filter.clone();
        let typed = self.of_formula(formula);
        self.measure_filter = outside;
        self.open.pop();
        match typed {
            Ok(typed) => Ok(Expr { span, ..self.copy(&typed)? }),
            Err(inner) => fault(span, inner.rule, format!("in `{{{}}}`: {}", excerpt(name), inner.message)),
        }
    }

    fn of_formula(&mut self, formula: &Formula) -> Outcome<Expr> {
        let place = std::mem::replace(&mut self.place, Place::Where);
        let mut filters: Vec<Expr> = self.measure_filter.take().into_iter().collect();
        for filter in &formula.filters {
            let typed = query::condition(filter).and_then(|condition| self.expr_of(&condition, Type::Bool));
            match typed {
                Ok(typed) => filters.push(typed),
                Err(fault) => {
                    self.place = place;
                    return Err(fault);
                }
            }
        }
        self.place = place;
        self.measure_filter = match filters.len() {
            0 | 1 => filters.pop(),
            _ => Some(Expr::new(Node::All(filters), Type::Bool, Span::default())),
        };
        parse::expression(&formula.formula).and_then(|expr| self.expr(&expr, None))
    }
}
