//! Events and answers on the command line.

use std::path::PathBuf;

use api::v1::ExportFormat;
use clap::{Args, ValueEnum};

use super::assignment;

/// What is sent.
#[derive(Debug, Clone, Args)]
pub(crate) struct SendArguments {
    /// The file; default standard input.
    pub(crate) file: Option<PathBuf>,
    /// The app of the events that name none; needed unless the key reaches exactly one.
    #[arg(long, env = "PENSTOCK_APP", default_value = "", hide_default_value = true)]
    pub(crate) app: String,
    /// What is in it. Default: CSV or Parquet in a file whose name ends in .csv or .parquet, else NDJSON.
    #[arg(long, value_enum)]
    pub(crate) format: Option<Input>,
    /// The type of the events that say none.
    #[arg(long)]
    pub(crate) event_type: Option<String>,
    /// CSV, Parquet: which column holds event_id, event_type, user_id, timestamp or app_id, as timestamp=created_at. Default: the one of that name.
    #[arg(long = "column", value_name = "FIELD=COLUMN", value_parser = assignment)]
    pub(crate) columns: Vec<(String, String)>,
    /// CSV, Parquet: whether a column holds number, string, bool or time, as zip=string. Default: what the first 1,000 cells of CSV are, what Parquet says.
    #[arg(long = "type", value_name = "COLUMN=TYPE", value_parser = assignment)]
    pub(crate) types: Vec<(String, String)>,
    /// Write the events that are refused, and why, into this file (NDJSON), to be mended and sent again.
    #[arg(long, value_name = "FILE")]
    pub(crate) rejected: Option<PathBuf>,
}

/// What a file of events can be.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Input {
    /// A line of names, and an event a line.
    Csv,
    /// An event a line, as POST /v1/events takes it.
    Ndjson,
    /// An event a row of columns with names; times without a zone are UTC.
    Parquet,
}

/// How much is made up.
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// The app; needed unless the key reaches exactly one.
    #[arg(long, env = "PENSTOCK_APP", default_value = "", hide_default_value = true)]
    pub(crate) app: String,
    /// Events of the past week.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) events: u64,
    /// Events a second from then on, on average; 0 ends after the week.
    #[arg(long, default_value_t = 10.0, value_parser = rate)]
    pub(crate) rate: f64,
    /// The same seed makes the same week, whose events count once within 24 hours; another seed makes another one.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.0..=100_000.0).contains(rate));
    rate.ok_or_else(|| "must be from 0 to 100000".to_owned())
}

/// How much is measured. By default it takes half a minute.
#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    /// The app that gets the events, and is made if it isn't there and the key may: better none that is in use, since they stay in it.
    #[arg(long, default_value = "bench")]
    pub(crate) app: String,
    /// Events that are sent as fast as they are taken.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    pub(crate) events: u64,
    /// Events a second while acknowledgements and freshness are measured.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    pub(crate) rate: u64,
    /// Questions a second while answers are measured.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) queries: u64,
    /// For how long each of both is.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) seconds: u64,
}

/// What is asked.
#[derive(Debug, Args)]
pub(crate) struct SqlArguments {
    /// The SELECT. Default: what standard input says, each up to a `;`; on a terminal, what is typed.
    pub(crate) sql: Option<String>,
    /// The app; needed unless the key reaches exactly one, or the WHERE clause says app_id = '...'.
    #[arg(long, env = "PENSTOCK_APP", default_value = "", hide_default_value = true)]
    pub(crate) app: String,
    /// How the answer is written. Default: table, with --json as JSON.
    #[arg(long, value_enum)]
    pub(crate) format: Option<SqlFormat>,
    /// IANA name of the zone in which days begin. Default: the app's.
    #[arg(long, default_value = "")]
    pub(crate) time_zone: String,
}

/// How an answer can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SqlFormat {
    /// Columns for people.
    Table,
    /// RFC 4180.
    Csv,
    /// An object a line.
    Json,
    /// Arrow's IPC stream.
    Arrow,
}

/// What is watched.
#[derive(Debug, Args)]
pub(crate) struct WatchArguments {
    /// The SELECT.
    pub(crate) sql: String,
    /// The app; needed unless the key reaches exactly one.
    #[arg(long, env = "PENSTOCK_APP", default_value = "", hide_default_value = true)]
    pub(crate) app: String,
    /// The least time between two pushes, 0.2 to 3,600 seconds.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) interval: f64,
}

/// Which events are shown.
#[derive(Debug, Args)]
pub(crate) struct TailArguments {
    /// The app; needed unless the key reaches exactly one.
    #[arg(long, env = "PENSTOCK_APP", default_value = "", hide_default_value = true)]
    pub(crate) app: String,
    /// The types of events; all if none is named.
    #[arg(long = "type", value_name = "EVENT_TYPE", value_delimiter = ',')]
    pub(crate) types: Vec<String>,
    /// A condition as after WHERE, as "amount > 100 AND country = 'DE'".
    #[arg(long = "where", value_name = "CONDITION")]
    pub(crate) condition: Option<String>,
    /// The properties that are shown; all of the app's if none is named.
    #[arg(long = "property", value_delimiter = ',')]
    pub(crate) properties: Vec<String>,
    /// How many of the last hour's events come first.
    #[arg(long, default_value_t = 10)]
    pub(crate) last: usize,
}

/// What is exported.
#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// The SELECT.
    pub(crate) sql: String,
    /// The app; needed unless the key reaches exactly one.
    #[arg(long, env = "PENSTOCK_APP", default_value = "", hide_default_value = true)]
    pub(crate) app: String,
    /// What is written.
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    pub(crate) format: Format,
    /// The file; beside it, while it isn't whole, one of the same name with `.resume`. Default: standard output.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

/// What a file can be.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Format {
    /// Arrow's IPC stream.
    Arrow,
    /// RFC 4180.
    Csv,
    /// An object a line.
    Ndjson,
}

impl Format {
    pub(crate) const fn to_wire(self) -> ExportFormat {
        match self {
            Self::Arrow => ExportFormat::Arrow,
            Self::Csv => ExportFormat::Csv,
            Self::Ndjson => ExportFormat::Ndjson,
        }
    }
}
