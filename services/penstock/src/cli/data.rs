//! Events and answers on the command line.

use std::path::PathBuf;

use api::v1::ExportFormat;
use clap::{Args, ValueEnum};

/// What is sent.
#[derive(Debug, Clone, Args)]
pub(crate) struct SendArguments {
    /// The file; default standard input.
    pub(crate) file: Option<PathBuf>,
    /// The app of the events that name none; needed unless the key reaches exactly one.
    #[arg(long, env = "PENSTOCK_APP", default_value = "", hide_default_value = true)]
    pub(crate) app: String,
    /// What is in it. Default: CSV in a file whose name ends in .csv, else NDJSON.
    #[arg(long, value_enum)]
    pub(crate) format: Option<Input>,
    /// The type of the events that say none.
    #[arg(long)]
    pub(crate) event_type: Option<String>,
    /// CSV: which column holds event_id, event_type, user_id, timestamp or app_id, as timestamp=created_at. Default: the one of that name.
    #[arg(long = "column", value_name = "FIELD=COLUMN", value_parser = pair)]
    pub(crate) columns: Vec<(String, String)>,
    /// CSV: whether a column holds number, string, bool or time, as zip=string. Default: what its first 1,000 cells are.
    #[arg(long = "type", value_name = "COLUMN=TYPE", value_parser = pair)]
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
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(left, right)| !left.is_empty() && !right.is_empty());
    pair.map(|(left, right)| (left.to_owned(), right.to_owned())).ok_or_else(|| "must be NAME=VALUE".to_owned())
}

/// What is asked.
#[derive(Debug, Args)]
pub(crate) struct SqlArguments {
    /// The SELECT. Default: what standard input says, each up to a `;`; on a terminal, what is typed.
    pub(crate) sql: Option<String>,
    /// The app; needed unless the key reaches exactly one, or the WHERE clause says app_id = '...'.
    #[arg(long, env = "PENSTOCK_APP", default_value = "", hide_default_value = true)]
    pub(crate) app: String,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t = SqlFormat::Table)]
    pub(crate) format: SqlFormat,
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
    /// The least time between two pushes, in seconds.
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
