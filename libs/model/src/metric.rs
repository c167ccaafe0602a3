use serde::{Deserialize, Serialize};

use crate::Value;

/// A tenant's custom metric, at one version. Definitions are immutable; a change is a new version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// The name clients evaluate it by, unique within (tenant, app): `revenue_per_user`.
    pub name: String,
    /// The name people read, as in `Revenue per User`.
    pub display_name: String,
    /// What it measures, in a sentence or more.
    pub description: String,
    /// The formula, as in `SUM(purchase_amount) / COUNT(DISTINCT user_id)`.
    pub formula: String,
    /// Conditions that every event counted meets; all of them.
    pub filters: Vec<MetricFilter>,
    /// The unit of the value, as in `USD`; empty for a plain number.
    pub unit: String,
    /// Whether the states of its answers are kept from the first time on that it is evaluated.
    pub materialize: bool,
    /// From 1, one higher with each change.
    pub version: u32,
    /// When this version was made, UTC ms.
    pub created_at_ms: i64,
}

/// One condition on a field or property.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricFilter {
    /// A field (`event_type`) or property (`status`).
    pub field: String,
    /// How it is compared.
    pub op: FilterOp,
    /// With what: one value, or for [`FilterOp::In`] and [`FilterOp::NotIn`] one or more, or none for the null tests.
    pub values: Vec<Value>,
}

/// How a filter compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilterOp {
    /// equal
    Eq,
    /// not equal
    Ne,
    /// less
    Lt,
    /// less or equal
    Le,
    /// greater
    Gt,
    /// greater or equal
    Ge,
    /// one of
    In,
    /// none of
    NotIn,
    /// matches a pattern in which `%` is any text and `_` any character
    Like,
    /// has no value
    IsNull,
    /// has a value
    IsNotNull,
}
