//! Sends events to Penstock and asks it questions.
//!
//! ```no_run
//! use penstock_client::{Client, Event};
//!
//! #[derive(Debug, serde::Deserialize)]
//! struct ByCountry {
//!     country: Option<String>,
//!     revenue: f64,
//! }
//!
//! # async fn first() -> Result<(), penstock_client::Error> {
//! let client = Client::connect("127.0.0.1:7070", "pk_...").await?;
//! client.track(Event::new("purchase").user("u1").property("amount", 12.5)).await?;
//! let done = client.flush().await?;
//! let answer = client.sql("SELECT country, SUM(amount) AS revenue FROM events GROUP BY country").after(&done).await?;
//! for row in answer.rows::<ByCountry>()? {
//!     println!("{row:?}");
//! }
//! client.close().await
//! # }
//! ```
//!
//! What is tracked is queued at once, in memory or on disk ([`Builder::directory`]), and a task sends it in batches. Every event has its id
//! from then on, and the server counts an id once within 24 hours: so what fails on its way is sent again until it is acknowledged. Events
//! arrive in the order in which they were tracked.
//!
//! A [`Client`] is cheap to clone, and all its clones share one queue. It lives in the Tokio runtime in which it was connected.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod client;
mod errors;
mod events;
mod files;
mod live;
mod questions;
mod reading;
mod rows;
mod sender;
mod store;
mod values;

pub use client::{Builder, Client};
pub use errors::{Error, Failure, Violation};
pub use events::{Event, Flushed, Identity, Rejection};
pub use live::Update;
pub use questions::{Metric, Query, Question, Range};
pub use reading::Ask;
pub use rows::{Answer, Info, Row};
pub use tonic::Code;
pub use v1::{Column, ColumnType, Earlier, ExportFormat as Format, Fill, FilterOp as Op, Grain, Priority, Route, Top};
pub use values::Value;

/// The contracts.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
mod v1 {
    tonic::include_proto!("penstock.v1");
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
