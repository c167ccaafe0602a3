//! Metrics.

use clap::{Args, Subcommand};

use super::assignment;

#[derive(Debug, Subcommand)]
pub(crate) enum MetricCommand {
    /// List the app's metrics.
    List,
    /// Show all versions of a metric, the newest first.
    Show {
        /// Its name.
        name: String,
    },
    /// Define a metric; one that is there gets a new version.
    Define {
        /// Its name: a-z, 0-9 and _.
        name: String,
        #[command(flatten)]
        definition: Definition,
        /// The name people read.
        #[arg(long = "name", default_value = "", hide_default_value = true)]
        display_name: String,
        /// What it measures.
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
        /// Keep its answers ready.
        #[arg(long)]
        materialize: bool,
    },
    /// Evaluate a formula without keeping it.
    Try {
        #[command(flatten)]
        definition: Definition,
        #[command(flatten)]
        evaluation: EvaluationArguments,
    },
    /// Evaluate a metric.
    Evaluate {
        /// Its name.
        name: String,
        #[command(flatten)]
        evaluation: EvaluationArguments,
    },
    /// Delete a metric with its history.
    Delete {
        /// Its name.
        name: String,
    },
}

/// What a metric is.
#[derive(Debug, Args)]
pub(crate) struct Definition {
    /// The formula, as "SUM(amount) / COUNT(DISTINCT user_id)".
    pub(crate) formula: String,
    /// The unit of its value, as USD.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) unit: String,
    /// The events that count: those in which a field has one of these values, as status=completed,paid. May be given again.
    #[arg(long = "filter", value_name = "FIELD=VALUE,...", value_parser = assignment)]
    pub(crate) filters: Vec<(String, String)>,
}

/// Of which time, and how it is split.
#[derive(Debug, Args)]
pub(crate) struct EvaluationArguments {
    /// The time up to now, as 90m, 24h, 7d or 4w. Default: all.
    #[arg(long, value_parser = seconds)]
    pub(crate) last: Option<u64>,
    /// A row for each minute, hour, day, week, month, quarter or year.
    #[arg(long, value_parser = ["minute", "hour", "day", "week", "month", "quarter", "year"])]
    pub(crate) grain: Option<String>,
    /// A row for each value of a field or property, as country.
    #[arg(long, value_delimiter = ',')]
    pub(crate) by: Vec<String>,
    /// IANA name of the zone in which days begin. Default: the app's.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) time_zone: String,
}

/// `7d`.
fn seconds(text: &str) -> Result<u64, String> {
    let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 604_800)];
    let parsed = units.into_iter().find_map(|(unit, seconds)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(seconds)
    });
    parsed.ok_or_else(|| "must be a number and its unit, as 90m, 24h, 7d or 4w".to_owned())
}
