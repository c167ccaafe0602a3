//! Made load, and what it took: what the load generator and the command line's `demo` and `bench` stand on.
//!
//! [`shop`] makes events that look like a web shop's, [`open_loop`] makes calls at a fixed rate, [`Times`] are what many of them took, and
//! [`Machine`] is where.
#![forbid(unsafe_code)]

mod machine;
pub mod open_loop;
pub mod shop;
mod stats;

pub use machine::Machine;
pub use stats::Times;

/// UTC ms.
pub fn now_ms() -> i64 {
    use std::time::{SystemTime, UNIX_EPOCH};
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}
