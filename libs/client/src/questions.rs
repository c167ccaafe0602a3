//! Questions: SQL as text, a typed query, or a metric by its name.

use std::time::{Duration, SystemTime};

use crate::{
    Error, Value,
    v1::{self, Earlier, Fill, FilterOp as Op, Grain, Top},
};

/// SQL as text, or a [`Query`]. Made of either by `into()`.
#[derive(Debug, Clone)]
pub struct Question(pub(crate) Asked);

#[derive(Debug, Clone)]
pub(crate) enum Asked {
    Sql(String),
    Query(Box<Query>),
}

impl From<&str> for Question {
    fn from(sql: &str) -> Self {
        Self(Asked::Sql(sql.to_owned()))
    }
}

impl From<String> for Question {
    fn from(sql: String) -> Self {
        Self(Asked::Sql(sql))
    }
}

impl From<Query> for Question {
    fn from(query: Query) -> Self {
        Self(Asked::Query(Box::new(query)))
    }
}

/// A metric by its name, as the app defines it.
#[derive(Debug, Clone)]
pub struct Metric {
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) shape: Query,
}

impl Metric {
    /// The newest version of the metric.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), version: 0, shape: Query::default() }
    }

    /// Takes a version that isn't the newest.
    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// By what it is split, and of what: a query without measures.
    #[must_use]
    pub fn shape(mut self, shape: Query) -> Self {
        self.shape = shape;
        self
    }

    pub(crate) fn wire(self) -> Result<v1::Evaluation, Error> {
        let shape = self.shape.wire(String::new())?;
        if !shape.measures.is_empty() || shape.offset != 0 {
            return Err(Error::Invalid("a metric takes no measures and no offset: leave them out".to_owned()));
        }
        Ok(v1::Evaluation {
            dimensions: shape.dimensions,
            filters: shape.filters,
            range: shape.range,
            grain: shape.grain,
            order_by: shape.order_by,
            limit: shape.limit,
            having: shape.having,
            comparison: shape.comparison,
            fill: shape.fill,
            top: shape.top,
            totals: shape.totals,
        })
    }
}

impl<T: Into<String>> From<T> for Metric {
    fn from(name: T) -> Self {
        Self::new(name)
    }
}

/// A range of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// From an instant up to another, excluded.
    Between(SystemTime, SystemTime),
    /// From an instant on.
    From(SystemTime),
    /// Up to an instant, excluded.
    To(SystemTime),
    /// The last so long.
    Last(Duration),
    /// Whole units of the calendar in the query's zone: `unit: Grain::Month, ago: 0, count: 1` is this month, `Grain::Day, 1, 1` yesterday.
    Period {
        /// The unit.
        unit: Grain,
        /// How many units the last of them lies back.
        ago: u32,
        /// How many units.
        count: u32,
    },
}

impl Range {
    fn wire(self) -> Result<v1::TimeRange, Error> {
        let none = v1::TimeRange::default();
        Ok(match self {
            Self::Between(from, to) => v1::TimeRange { from: Some(from.into()), to: Some(to.into()), ..none },
            Self::From(from) => v1::TimeRange { from: Some(from.into()), ..none },
            Self::To(to) => v1::TimeRange { to: Some(to.into()), ..none },
            Self::Last(last) => v1::TimeRange { last: Some(duration(last)?), ..none },
            Self::Period { unit, ago, count } => {
                v1::TimeRange { period: Some(v1::Period { unit: unit.into(), ago, count }), ..none }
            }
        })
    }
}

pub(crate) fn duration(duration: Duration) -> Result<prost_types::Duration, Error> {
    duration.try_into().map_err(|_| Error::Invalid(format!("{duration:?} is too long")))
}

/// A typed query, or the shape of a metric's answer.
///
/// ```
/// use penstock_client::{Grain, Op, Query, Range};
/// use std::time::Duration;
///
/// let revenue = Query::new()
///     .measure("revenue", "SUM(amount)")
///     .by("country")
///     .filter("status", Op::In, ["done", "sent"])
///     .range(Range::Last(Duration::from_secs(7 * 86_400)))
///     .grain(Grain::Day)
///     .order_by("-revenue");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Query {
    wire: v1::TypedQuery,
    filters: Vec<(String, Op, Vec<Value>)>,
    range: Option<Range>,
}

impl Query {
    /// One that has nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, change: impl FnOnce(&mut v1::TypedQuery)) -> Self {
        change(&mut self.wire);
        self
    }

    /// Computes a formula, as in `SUM(amount) / COUNT(DISTINCT user_id)`, into the column of this name.
    #[must_use]
    pub fn measure(self, name: impl Into<String>, formula: impl Into<String>) -> Self {
        self.measure_in(name, formula, "")
    }

    /// The same with the unit of its values, as in `USD`.
    #[must_use]
    pub fn measure_in(self, name: impl Into<String>, formula: impl Into<String>, unit: impl Into<String>) -> Self {
        let measure = v1::Measure { name: name.into(), formula: formula.into(), unit: unit.into() };
        self.with(|wire| wire.measures.push(measure))
    }

    /// Groups by an expression, which is the column's name too.
    #[must_use]
    pub fn by(self, expression: impl Into<String>) -> Self {
        self.by_as("", expression)
    }

    /// Groups by an expression, in the column of this name.
    #[must_use]
    pub fn by_as(self, name: impl Into<String>, expression: impl Into<String>) -> Self {
        let dimension = v1::Dimension { name: name.into(), expression: expression.into() };
        self.with(|wire| wire.dimensions.push(dimension))
    }

    /// Lets only through what meets a condition on a field or property; several are all to be met. One value; several for [`Op::In`] and
    /// [`Op::NotIn`]; none for [`Op::IsNull`] and [`Op::IsNotNull`].
    #[must_use]
    pub fn filter<V: Into<Value>>(
        mut self,
        field: impl Into<String>,
        op: Op,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        self.filters.push((field.into(), op, values.into_iter().map(Into::into).collect()));
        self
    }

    /// Takes a range of time. Default: all time.
    #[must_use]
    pub fn range(mut self, range: Range) -> Self {
        self.range = Some(range);
        self
    }

    /// Makes time buckets; their start becomes the first column, `time`.
    #[must_use]
    pub fn grain(self, grain: Grain) -> Self {
        self.with(|wire| wire.set_grain(grain))
    }

    /// Sorts by a column; `-revenue` sorts by it descending.
    #[must_use]
    pub fn order_by(self, column: &str) -> Self {
        let name = column.strip_prefix('-');
        let order = v1::OrderBy { column: name.unwrap_or(column).to_owned(), descending: name.is_some() };
        self.with(|wire| wire.order_by.push(order))
    }

    /// Takes so many rows at most.
    #[must_use]
    pub fn limit(self, rows: u32) -> Self {
        self.with(|wire| wire.limit = rows)
    }

    /// Passes over so many rows first.
    #[must_use]
    pub fn offset(self, rows: u32) -> Self {
        self.with(|wire| wire.offset = rows)
    }

    /// Keeps rows that meet a condition, as in `revenue > 100`.
    #[must_use]
    pub fn having(self, condition: impl Into<String>) -> Self {
        self.with(|wire| wire.having = condition.into())
    }

    /// Compares with a time before: each measure's column is followed by one with `_before` at its end.
    #[must_use]
    pub fn compare(self, with: Earlier) -> Self {
        let to = Some(v1::comparison::To::Earlier(with.into()));
        self.with(|wire| wire.comparison = Some(v1::Comparison { to }))
    }

    /// Makes rows for buckets without events.
    #[must_use]
    pub fn fill(self, fill: Fill) -> Self {
        self.with(|wire| wire.set_fill(fill))
    }

    /// Keeps the greatest values of a dimension.
    #[must_use]
    pub fn top(self, top: Top) -> Self {
        self.with(|wire| wire.top = Some(top))
    }

    /// Adds a last row for all events, marked in the column `is_total`.
    #[must_use]
    pub fn totals(self) -> Self {
        self.with(|wire| wire.totals = true)
    }

    pub(crate) fn wire(self, app_id: String) -> Result<v1::TypedQuery, Error> {
        let mut filters = Vec::with_capacity(self.filters.len());
        for (field, op, values) in self.filters {
            let place = || format!("the filter on {field}");
            let values = values.into_iter().map(|value| value.wire(place)).collect::<Result<_, _>>()?;
            filters.push(v1::Filter { field, op: op.into(), values });
        }
        let range = self.range.map(Range::wire).transpose()?;
        Ok(v1::TypedQuery { app_id, filters, range, ..self.wire })
    }
}
