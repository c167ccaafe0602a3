//! The model's and the language's types as messages.

use api::{
    convert::{filter_to_wire, time_to_wire},
    v1,
};
use formula::{Accuracy, ColumnKind};
use model::{Error, Metric, MetricFilter};

pub(crate) fn metric_to_wire(metric: Metric) -> v1::Metric {
    let definition = v1::MetricDefinition {
        filters: filters_to_wire(&metric.filters).collect(),
        name: metric.name,
        display_name: metric.display_name,
        description: metric.description,
        formula: metric.formula,
        unit: metric.unit,
        materialize: metric.materialize,
    };
    let created_at = Some(time_to_wire(metric.created_at_ms));
    v1::Metric { definition: Some(definition), version: metric.version, created_at }
}

pub(crate) fn filters_to_wire(filters: &[MetricFilter]) -> impl Iterator<Item = v1::Filter> {
    filters.iter().map(filter_to_wire)
}

pub(crate) fn column_to_wire(column: formula::Column) -> v1::Column {
    let r#type = match column.kind {
        ColumnKind::Number => v1::ColumnType::Number,
        ColumnKind::Integer => v1::ColumnType::Integer,
        ColumnKind::String => v1::ColumnType::String,
        ColumnKind::Bool => v1::ColumnType::Bool,
        ColumnKind::Time => v1::ColumnType::Time,
    };
    let sketch = match column.accuracy {
        Accuracy::Exact => "",
        Accuracy::Sketch(name) => name,
    };
    v1::Column { name: column.name, r#type: r#type.into(), unit: column.unit, sketch: sketch.to_owned() }
}

/// A definition's refusals, one problem for each broken rule.
pub(crate) fn problems(faults: Vec<Error>) -> Vec<v1::Problem> {
    let violations = faults.into_iter().flat_map(|fault| fault.violations);
    let problems = violations.map(|violation| {
        let (start, end) = violation.span.unwrap_or_default();
        v1::Problem { field: violation.field, message: violation.description, start: start as u32, end: end as u32 }
    });
    problems.collect()
}
