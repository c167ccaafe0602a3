//! Faults that the query service finds in the query made here, told by the fields of the request that it was made of.

use model::{Error, Violation};

/// The evaluation's own parts, which stand in the query under the same names.
const EVALUATION: [&str; 9] =
    ["dimensions", "range", "grain", "order_by", "limit", "having", "comparison", "fill", "top"];

/// Where the query's parts came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    definition: Definition,
    /// How many of the query's filters, the first ones, are the definition's.
    filters: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Definition {
    Request,
    Store,
}

impl Origin {
    /// The definition stood in the request, with so many filters.
    pub(crate) fn request(filters: usize) -> Self {
        Self { definition: Definition::Request, filters }
    }

    /// The request named a stored definition, with so many filters.
    pub(crate) fn store(filters: usize) -> Self {
        Self { definition: Definition::Store, filters }
    }

    /// The refusal with its fields as the caller knows them.
    pub(crate) fn told(self, mut refusal: Error) -> Error {
        for violation in &mut refusal.violations {
            self.rename(violation);
        }
        if let Some(first) = refusal.violations.first() {
            refusal.message = format!("{}: {}", first.field, first.description);
        }
        refusal
    }

    fn rename(self, violation: &mut Violation) {
        let part = violation.field.strip_prefix("query.").unwrap_or(&violation.field);
        if let Some(of_measure) = part.strip_prefix("measures[0].") {
            let part = of_measure.to_owned();
            return self.rename_definition(violation, &part);
        }
        if part.starts_with("formulas[") {
            let part = part.to_owned();
            return self.rename_definition(violation, &part);
        }
        if let Some((index, rest)) = filter_index(part) {
            if index < self.filters {
                let part = format!("filters[{index}]{rest}");
                return self.rename_definition(violation, &part);
            }
            violation.field = format!("evaluation.filters[{}]{rest}", index - self.filters);
            return;
        }
        let head = part.split(['.', '[']).next().unwrap_or(part);
        if EVALUATION.contains(&head) {
            violation.field = format!("evaluation.{part}");
        }
    }

    /// A stored definition was right when it was made, but the app's properties have grown since: the name is what the caller gave.
    fn rename_definition(self, violation: &mut Violation, part: &str) {
        match self.definition {
            Definition::Request => violation.field = format!("definition.{part}"),
            Definition::Store => {
                violation.field = "name".to_owned();
                violation.description = format!("in the metric's {part}: {}", violation.description);
            }
        }
    }
}

/// `filters[3].values` -> 3 and `.values`.
fn filter_index(part: &str) -> Option<(usize, &str)> {
    let (index, rest) = part.strip_prefix("filters[")?.split_once(']')?;
    Some((index.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(origin: Origin, field: &str, told: &str) {
        let refusal = origin.told(Error::invalid(field, "R", "is wrong"));
        assert_eq!(refusal.message, told);
        assert_eq!(refusal.violations[0].field, told.split(": ").next().unwrap_or_default());
    }

    #[test]
    fn a_fault_is_told_by_the_caller_s_own_fields() {
        let request = Origin::request(2);
        check(request, "measures[0].formula", "definition.formula: is wrong");
        check(request, "query.measures[0].name", "definition.name: is wrong");
        check(request, "query.filters[1].values[0]", "definition.filters[1].values[0]: is wrong");
        check(request, "filters[2]", "evaluation.filters[0]: is wrong");
        check(request, "query.range.from", "evaluation.range.from: is wrong");
        check(request, "order_by[1].column", "evaluation.order_by[1].column: is wrong");
        check(request, "options.time_zone", "options.time_zone: is wrong");
        check(request, "filters", "filters: is wrong");
    }

    #[test]
    fn a_fault_of_a_stored_definition_is_that_of_its_name() {
        let store = Origin::store(1);
        check(store, "query.measures[0].formula", "name: in the metric's formula: is wrong");
        check(store, "query.filters[0]", "name: in the metric's filters[0]: is wrong");
        check(store, "query.filters[1]", "evaluation.filters[0]: is wrong");
    }

    #[test]
    fn a_refusal_without_fields_stays_as_it_is() {
        let refusal = Error::internal("no");
        assert_eq!(Origin::store(0).told(refusal.clone()), refusal);
    }
}
