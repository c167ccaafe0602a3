//! Why a run ends without its result.

use std::path::PathBuf;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("the key's file {path}: {source}")]
    KeyFile { path: PathBuf, source: std::io::Error },
    #[error("the key is not printable text")]
    BadKey,
    #[error("can't reach {server}: {source}")]
    Connect { server: String, source: tonic::transport::Error },
    #[error("the server refused: {}", refusal(.0))]
    Refused(Box<tonic::Status>),
    #[error("the server closed the stream before it acknowledged everything")]
    Closed,
    #[error("{count} events were rejected, the first with: {first}")]
    Rejected { count: u64, first: String },
    #[error("{accepted} events were accepted and {counted} are counted")]
    Miscounted { accepted: u64, counted: u64 },
    #[error("the server's answer has no {0}")]
    Incomplete(&'static str),
    #[error("it did not go on as it began")]
    NotFlat,
    #[error("the server did not come up: {0}")]
    NotUp(String),
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error("/proc of process {pid} can't be read: {what}")]
    Process { pid: u32, what: String },
    #[error("the warehouse: {0}")]
    Warehouse(#[from] storage::WarehouseError),
    #[error("the warehouse's columns: {0}")]
    Columns(#[from] storage::warehouse::ColumnsError),
    #[error("the clickhouse client: {0}")]
    ClickHouse(#[from] clickhouse::error::Error),
    #[error("a task of the load generator failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl LoadError {
    /// For `map_err`: what was being done when the system refused.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

impl From<tonic::Status> for LoadError {
    fn from(status: tonic::Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

fn refusal(status: &tonic::Status) -> String {
    let error = api::status::from_status(status);
    let fields = error.violations.iter().map(|v| format!("; {}: {}", v.field, v.description));
    format!("{}: {}{}", error.code.reason(), error.message, fields.collect::<String>())
}
