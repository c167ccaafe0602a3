//! The last queries, in memory: the embedded engine has no `system.query_log`.

use std::collections::VecDeque;

use parking_lot::Mutex;
use serde::Serialize;

use crate::ffi::Stats;

/// The beginning of a statement that is kept, in bytes.
const MAX_QUERY_BYTES: usize = 1024;

/// One finished query; a line of `GET /query_log`.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Entry {
    pub(crate) query_id: String,
    /// `Select`, `Insert`, `Kill`, `Session`, `Other`; empty if the statement could not be read.
    pub(crate) kind: &'static str,
    /// The statement's beginning, without an insert's data.
    pub(crate) query: String,
    /// The client's `log_comment`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) log_comment: String,
    /// Unix time in milliseconds at which it was admitted.
    pub(crate) started_at_ms: u64,
    pub(crate) elapsed_ms: u64,
    pub(crate) read_rows: u64,
    pub(crate) read_bytes: u64,
    pub(crate) written_rows: u64,
    pub(crate) written_bytes: u64,
    pub(crate) result_rows: u64,
    pub(crate) result_bytes: u64,
    /// ClickHouse's code; 0 if it succeeded.
    pub(crate) error_code: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) error: String,
}

impl Entry {
    pub(crate) fn set_query(&mut self, text: &str) {
        let end = (0..=text.len().min(MAX_QUERY_BYTES)).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        self.query = text[..end].to_owned();
    }

    pub(crate) fn set_stats(&mut self, stats: &Stats) {
        self.read_rows = stats.read_rows;
        self.read_bytes = stats.read_bytes;
        self.written_rows = stats.written_rows;
        self.written_bytes = stats.written_bytes;
        self.result_rows = stats.result_rows;
        self.result_bytes = stats.result_bytes;
    }
}

/// A ring of entries.
pub(crate) struct QueryLog {
    entries: Mutex<VecDeque<Entry>>,
    capacity: usize,
}

impl QueryLog {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: Mutex::new(VecDeque::new()), capacity }
    }

    pub(crate) fn push(&self, entry: Entry) {
        let mut entries = self.entries.lock();
        while entries.len() >= self.capacity.max(1) {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    /// Oldest first, one JSON object a line.
    pub(crate) fn to_ndjson(&self) -> String {
        let entries: Vec<Entry> = self.entries.lock().iter().cloned().collect();
        let line = |entry: &Entry| serde_json::to_string(entry).map(|line| line + "\n").unwrap_or_default();
        entries.iter().map(line).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entries_go_first() {
        let log = QueryLog::new(2);
        for id in ["a", "b", "c"] {
            log.push(Entry { query_id: id.into(), ..Entry::default() });
        }
        let text = log.to_ndjson();
        assert_eq!(text.lines().count(), 2);
        assert!(text.starts_with("{\"query_id\":\"b\"") && text.contains("\"c\""));
    }

    #[test]
    fn a_long_query_is_cut_between_characters() {
        let mut entry = Entry::default();
        entry.set_query(&"é".repeat(2000));
        assert_eq!(entry.query, "é".repeat(MAX_QUERY_BYTES / 2));
        entry.set_query(&format!("a{}", "é".repeat(2000)));
        assert_eq!(entry.query.len(), MAX_QUERY_BYTES - 1);
    }
}
