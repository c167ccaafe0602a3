//! The warehouse process as its users see it: over HTTP, with the official clients, through crashes and hang-ups.
//!
//! Needs the engine (`PENSTOCK_ENGINE`, or `.tools/engine/libchdb.so` here or above; `make engine`), and for the Python
//! client a virtual environment (`.tools/venv` here or above).
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

mod bounds;
mod harness;
mod inserts;
mod lifecycle;
mod python;
mod reads;
mod refusals;
