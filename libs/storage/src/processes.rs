use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::MetaError;

/// A process of the house, as it says itself that it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Its host and number.
    pub name: String,
    /// What it does.
    pub roles: Vec<String>,
    /// Which release it is of.
    pub version: String,
    /// Since when it serves, UTC ms.
    pub started_at_ms: i64,
    /// When it said this, UTC ms.
    pub seen_at_ms: i64,
    /// The calls that it answered of late.
    #[serde(default)]
    pub calls: Vec<ProcessCalls>,
}

/// Calls of one service that a process answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessCalls {
    /// The service.
    pub service: String,
    /// How many.
    pub calls: u64,
    /// How many of them failed by no fault of the caller.
    pub failed: u64,
    /// Seconds that half of them took at most.
    pub p50_seconds: f64,
    /// The same of 99 %.
    pub p99_seconds: f64,
}

/// Which processes there are: for people who look. Nothing depends on it.
#[async_trait]
pub trait Processes: Send + Sync {
    /// Keeps what a process says in the place of what it said before, and forgets those that said nothing since `since_ms`.
    async fn put_process(&self, process: &Process, since_ms: i64) -> Result<(), MetaError>;

    /// Those that said something since then, by name.
    async fn processes(&self, since_ms: i64) -> Result<Vec<Process>, MetaError>;

    /// Forgets a process that ends.
    async fn forget_process(&self, name: &str) -> Result<(), MetaError>;
}
