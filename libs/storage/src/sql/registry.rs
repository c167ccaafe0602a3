//! The property registry.

use model::{AppSchema, Property, PropertyKind};

use super::damaged;
use crate::{MetaError, place};

pub(crate) const PROPERTIES: &str =
    "SELECT name, kind, place FROM properties WHERE tenant = $1 AND app = $2 ORDER BY ordinal";
pub(crate) const INSERT_PROPERTY: &str =
    "INSERT INTO properties (tenant, app, ordinal, name, kind, place) VALUES ($1, $2, $3, $4, $5, $6)";

row! {
    pub(crate) struct PropertyRow {
        name: String,
        kind: String,
        place: String,
    }
}

/// The registry that the rows are.
pub(crate) fn schema(rows: Vec<PropertyRow>) -> Result<AppSchema, MetaError> {
    let properties: Result<Vec<_>, _> = rows.into_iter().map(property).collect();
    Ok(AppSchema::new(properties?))
}

fn property(row: PropertyRow) -> Result<Property, MetaError> {
    let kind = kind_from_name(&row.kind).ok_or_else(|| damaged(format_args!("property kind {:?}", row.kind)))?;
    let slot = place::parse(&row.place).ok_or_else(|| damaged(format_args!("property place {:?}", row.place)))?;
    Ok(Property { name: row.name, kind, slot })
}

fn kind_from_name(name: &str) -> Option<PropertyKind> {
    use PropertyKind::{Bool, Number, String, Time};
    [Number, String, Bool, Time].into_iter().find(|kind| kind.name() == name)
}
