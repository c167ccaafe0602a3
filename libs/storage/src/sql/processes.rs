//! Processes. What one says is for people, and read whole.

pub(crate) const PUT: &str = "INSERT INTO processes (name, seen_at_ms, said) VALUES ($1, $2, $3) \
     ON CONFLICT (name) DO UPDATE SET seen_at_ms = excluded.seen_at_ms, said = excluded.said";
pub(crate) const FORGET_OLD: &str = "DELETE FROM processes WHERE seen_at_ms < $1";
pub(crate) const LIST: &str = "SELECT said FROM processes WHERE seen_at_ms >= $1 ORDER BY name";
pub(crate) const FORGET: &str = "DELETE FROM processes WHERE name = $1";
