//! Results onto the wire.

use api::{convert::time_to_wire, v1};
use formula::{Accuracy, Column, ColumnKind, Route};
use storage::warehouse::{Cell, RowBlock};

/// A column on the wire.
pub(crate) fn column(column: &Column) -> v1::Column {
    let r#type = match column.kind {
        ColumnKind::Number => v1::ColumnType::Number,
        ColumnKind::Integer => v1::ColumnType::Integer,
        ColumnKind::String => v1::ColumnType::String,
        ColumnKind::Bool => v1::ColumnType::Bool,
        ColumnKind::Time => v1::ColumnType::Time,
    };
    let sketch = match column.accuracy {
        Accuracy::Exact => String::new(),
        Accuracy::Sketch(name) => name.to_owned(),
    };
    v1::Column { name: column.name.clone(), r#type: r#type.into(), unit: column.unit.clone(), sketch }
}

/// Where the rows come from.
pub(crate) fn route(route: &Route) -> v1::Route {
    match route {
        Route::Raw(_) => v1::Route::Raw,
        Route::DailyUsers => v1::Route::Rollup,
        Route::States => v1::Route::States,
    }
}

/// The rows of a block on the wire.
pub(crate) fn rows(block: RowBlock) -> Vec<v1::Row> {
    block.into_rows().map(|cells| v1::Row { values: cells.into_iter().map(value).collect() }).collect()
}

fn value(cell: Cell) -> v1::Value {
    use v1::value::Kind;
    let kind = match cell {
        Cell::Null => Kind::Null(0),
        Cell::Number(x) => Kind::Number(x),
        Cell::Integer(i) => Kind::Integer(i),
        Cell::String(text) => Kind::String(text),
        Cell::Bool(b) => Kind::Bool(b),
        Cell::Time(ms) => Kind::Time(time_to_wire(ms)),
    };
    v1::Value { kind: Some(kind) }
}
