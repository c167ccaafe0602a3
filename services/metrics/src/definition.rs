//! What a definition must be: each rule a refusal that names the field, all of them told at once.

use api::{convert::filter_from_wire, v1};
use formula::{Context, Formula, Measure, TIME_COLUMN, TypedQuery, validate_formula};
use model::{Error, Metric, MetricFilter};

const MAX_NAME_BYTES: usize = 64;
const MAX_DISPLAY_NAME_BYTES: usize = 128;
const MAX_DESCRIPTION_BYTES: usize = 4096;
const MAX_UNIT_BYTES: usize = 32;
const MAX_FILTERS: usize = 64;

/// A definition that can be evaluated.
pub(crate) struct Checked {
    /// The metric, as version 0, made never: who keeps it says which version it is and when it was made.
    pub(crate) metric: Metric,
    /// The column of its values.
    pub(crate) column: formula::Column,
    /// The metrics that its formula rests on.
    pub(crate) on: Vec<Formula>,
}

/// Holds a definition against an app's properties and the other metrics that its formula rests on. The refusals are never empty.
pub(crate) fn check(
    definition: Option<v1::MetricDefinition>,
    on: &[Formula],
    language: &Context<'_>,
) -> Result<Checked, Vec<Error>> {
    let Some(definition) = definition else {
        return Err(vec![Error::invalid("definition", "REQUIRED", "must say what the metric is")]);
    };
    let mut faults = Vec::new();
    faults.extend(metric_name("definition.name", &definition.name).err());
    if definition.name == TIME_COLUMN {
        let description = format!("must not be `{TIME_COLUMN}`: the column of time buckets is called that");
        faults.push(Error::invalid("definition.name", "NOT_ALLOWED", description));
    }
    for (field, text, max_bytes) in [
        ("definition.display_name", &definition.display_name, MAX_DISPLAY_NAME_BYTES),
        ("definition.description", &definition.description, MAX_DESCRIPTION_BYTES),
        ("definition.unit", &definition.unit, MAX_UNIT_BYTES),
    ] {
        if text.len() > max_bytes {
            let description = format!("must have at most {max_bytes} bytes, not {}", text.len());
            faults.push(Error::invalid(field, "TOO_LONG", description));
        }
    }
    for (field, text) in [
        ("definition.display_name", &definition.display_name),
        ("definition.description", &definition.description),
        ("definition.unit", &definition.unit),
        ("definition.formula", &definition.formula),
    ] {
        // PostgreSQL's texts can't have it.
        if text.contains('\0') {
            faults.push(Error::invalid(field, "MALFORMED", "must not have the character U+0000"));
        }
    }
    let column = formula_column(&definition, on, language).map_err(|fault| faults.push(fault)).ok();
    let filters = filters(definition.filters, language, &mut faults);
    let (Some(column), true) = (column, faults.is_empty()) else { return Err(faults) };
    let display_name = if definition.display_name.is_empty() { &definition.name } else { &definition.display_name };
    let metric = Metric {
        display_name: display_name.clone(),
        name: definition.name,
        description: definition.description,
        formula: definition.formula,
        filters,
        unit: definition.unit,
        materialize: definition.materialize,
        version: 0,
        created_at_ms: 0,
    };
    Ok(Checked { metric, column, on: Vec::new() })
}

/// All refusals as one.
pub(crate) fn one(faults: Vec<Error>) -> Error {
    faults
        .into_iter()
        .reduce(Error::and)
        .unwrap_or_else(|| Error::internal("a definition was refused without a reason"))
}

/// Refuses what can't be a metric's name.
pub(crate) fn metric_name(field: &str, name: &str) -> Result<(), Error> {
    let first_is_letter = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let fits =
        name.len() <= MAX_NAME_BYTES && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if first_is_letter && fits {
        return Ok(());
    }
    let rule = if name.is_empty() { "REQUIRED" } else { "MALFORMED" };
    let description = format!("must be 1 to {MAX_NAME_BYTES} characters out of a-z 0-9 _, the first a letter");
    Err(Error::invalid(field, rule, description))
}

fn formula_column(
    definition: &v1::MetricDefinition,
    on: &[Formula],
    language: &Context<'_>,
) -> Result<formula::Column, Error> {
    if definition.formula.trim().is_empty() {
        let description = "must be a formula, as in \"SUM(purchase_amount) / COUNT(DISTINCT user_id)\"";
        return Err(Error::invalid("definition.formula", "REQUIRED", description));
    }
    let column =
        validate_formula(&definition.formula, on, language).map_err(|fault| placed("definition.formula", fault))?;
    let unit = if definition.unit.is_empty() { column.unit } else { definition.unit.clone() };
    Ok(formula::Column { name: definition.name.clone(), unit, ..column })
}

fn filters(given: Vec<v1::Filter>, language: &Context<'_>, faults: &mut Vec<Error>) -> Vec<MetricFilter> {
    if given.len() > MAX_FILTERS {
        let description = format!("must have at most {MAX_FILTERS} conditions, not {}", given.len());
        faults.push(Error::invalid("definition.filters", "TOO_MANY", description));
        return Vec::new();
    }
    let mut filters = Vec::with_capacity(given.len());
    for (i, filter) in given.into_iter().enumerate() {
        let field = format!("definition.filters[{i}]");
        match filter_from_wire(&field, filter).and_then(|filter| resolve(&field, filter, language)) {
            Ok(filter) => filters.push(filter),
            Err(fault) => faults.push(fault),
        }
    }
    filters
}

/// The filter, if a query with it alone has a plan.
fn resolve(field: &str, filter: MetricFilter, language: &Context<'_>) -> Result<MetricFilter, Error> {
    let measures = vec![Measure { name: "events".into(), formula: "COUNT(*)".into(), ..Measure::default() }];
    let query = TypedQuery { measures, filters: vec![filter], ..TypedQuery::default() };
    query.plan(language).map_err(|fault| placed(field, fault))?;
    let mut filters = query.filters;
    filters.pop().ok_or_else(|| Error::internal("a query lost its filter"))
}

/// The refusal of a part by itself, as that of the field that held the part.
fn placed(field: &str, mut fault: Error) -> Error {
    for violation in &mut fault.violations {
        violation.field = field.to_owned();
    }
    if let Some(first) = fault.violations.first() {
        fault.message = format!("{field}: {}", first.description);
    }
    fault
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_plain_word() {
        for good in ["a", "revenue_per_user", "d7", &"x".repeat(64)] {
            assert!(metric_name("name", good).is_ok(), "{good}");
        }
        for bad in ["", "_a", "7d", "Revenue", "a b", "a-b", "é", "a\0", &"x".repeat(65)] {
            assert!(metric_name("name", bad).is_err(), "{bad:?}");
        }
    }
}
