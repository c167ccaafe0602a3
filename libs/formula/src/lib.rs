//! The language: text -> AST -> typed plan -> sealed plan -> ClickHouse SQL, verified.
//!
//! The path of a query, one module a stage:
//!
//! 1. `token` cuts the text, `parse` builds the `ast`. Sizes and depths are bounded here, so that later stages may
//!    recurse.
//! 2. `resolve` holds the AST against the app's schema ([`Context`]): names become fields and properties, functions come
//!    from the allow list in `functions`, every expression gets a type, constants (and `now()`) are folded. The result
//!    is a `typed` expression.
//! 3. `select` (SQL) and `query` ([`TypedQuery`], metrics) gather typed expressions into one [`Plan`]: filters on events,
//!    group keys, *distinct aggregates*, and the arithmetic over them. In place of the events stand other plans where the text
//!    says so: in FROM and JOIN, in an expression, or made for the greatest values of a dimension and for totals.
//! 4. [`Plan::seal`] binds the plan to a scope; it is refused if the scope doesn't reach the app.
//! 5. `route` chooses the table: the events, or a rollup that has all that the plan speaks of. `buckets` and `states` say which parts of an
//!    answer can be computed apart, and how they come together again.
//! 6. `sql` writes the text: columns come from the schema, every value is a bound parameter, aliases are positions. No
//!    byte of the caller's text is in it.
//! 7. `verify` reads that text again with an independent parser and refuses it unless each table in it, at whatever depth, is the
//!    events, the users or a rollup, under the scope's tenant and app in its own WHERE. Only then is it a [`Statement`].
//!
//! Faults carry a place, a rule and what would be right (`diagnostics`, `suggest`). Nothing here does I/O or reads a clock.

mod ast;
mod buckets;
mod diagnostics;
mod explain;
#[cfg(test)]
mod fixture;
mod functions;
mod grain;
mod interval;
mod parse;
mod pieces;
mod plan;
mod query;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod reference;
mod resolve;
mod route;
mod seal;
mod select;
mod sql;
mod states;
mod suggest;
mod time;
mod token;
mod typed;
mod types;
mod units;
mod verify;

pub use buckets::Buckets;
pub use functions::function_names;
pub use grain::Grain;
pub use pieces::EventPlace;
pub use plan::{Accuracy, Column, ColumnKind, Plan, TimeRange};
pub use query::{
    BEFORE, Comparison, Dimension, Fill, Measure, OrderColumn, Period, TIME_COLUMN, TOTAL_COLUMN, Top, TypedQuery,
    references, validate_formula,
};
pub use resolve::{Context, Formula};
pub use route::{Obstacle, Route};
pub use seal::{Param, SealedPlan, Statement};
pub use select::{SqlQuery, parse_sql};
pub use states::{Length, Pieces, Run, STATE_COLUMNS, Unmergeable};
pub use time::Zone;
pub use verify::{Refusal, verify};
