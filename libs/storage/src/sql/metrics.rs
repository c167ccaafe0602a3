//! Custom metrics and their history.

use model::{Metric, MetricFilter};

use super::damaged;
use crate::MetaError;

pub(crate) const INSERT_METRIC: &str = "INSERT INTO metric_versions \
     (tenant, app, name, version, display_name, description, formula, filters, unit, created_at_ms, materialize) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
pub(crate) const METRIC_AT: &str = "SELECT name, version, display_name, description, formula, filters, unit, \
     created_at_ms, materialize FROM metric_versions WHERE tenant = $1 AND app = $2 AND name = $3 AND version = $4";
pub(crate) const METRIC_VERSIONS: &str = "SELECT name, version, display_name, description, formula, filters, unit, \
     created_at_ms, materialize FROM metric_versions WHERE tenant = $1 AND app = $2 AND name = $3 ORDER BY version DESC";
pub(crate) const METRIC_NEWEST: &str = "SELECT name, version, display_name, description, formula, filters, unit, \
     created_at_ms, materialize FROM metric_versions WHERE tenant = $1 AND app = $2 AND name = $3 ORDER BY version DESC LIMIT 1";
pub(crate) const METRICS: &str = "SELECT name, version, display_name, description, formula, filters, unit, \
     created_at_ms, materialize FROM metric_versions AS m WHERE tenant = $1 AND app = $2 AND version = (SELECT MAX(n.version) \
     FROM metric_versions AS n WHERE n.tenant = m.tenant AND n.app = m.app AND n.name = m.name) ORDER BY name";
pub(crate) const DELETE_METRIC: &str = "DELETE FROM metric_versions WHERE tenant = $1 AND app = $2 AND name = $3";

row! {
    pub(crate) struct MetricRow {
        name: String,
        version: i64,
        display_name: String,
        description: String,
        formula: String,
        filters: String,
        unit: String,
        created_at_ms: i64,
        materialize: i64,
    }
}

/// The filters as they are stored.
pub(crate) fn filters_text(filters: &[MetricFilter]) -> String {
    serde_json::to_string(filters).expect("filters are plain data")
}

impl TryFrom<MetricRow> for Metric {
    type Error = MetaError;
    fn try_from(row: MetricRow) -> Result<Self, MetaError> {
        Ok(Self {
            filters: serde_json::from_str(&row.filters).map_err(damaged)?,
            version: u32::try_from(row.version).map_err(damaged)?,
            name: row.name,
            display_name: row.display_name,
            description: row.description,
            formula: row.formula,
            unit: row.unit,
            created_at_ms: row.created_at_ms,
            materialize: row.materialize != 0,
        })
    }
}
