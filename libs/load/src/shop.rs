//! Made events: what a web shop with subscriptions would send, in a [`Week`] or [`Live`].
//!
//! A [`Made`] event is neutral: [`wire`] turns it into a message for Penstock, the benchmark also into rows for the raw engine, so
//! that both sides get the same. An event of a week is a function of the seed and its number alone; only the date
//! comes from the clock.

mod live;
mod users;
mod visits;
mod week;
pub mod wire;

pub use live::Live;
pub use users::{User, Users};
pub use week::Week;

/// How many properties that are numbers, and how many that are texts.
pub const KINDS: usize = 10;

/// How a numeric property is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A number.
    Float,
    /// A whole number.
    Integer,
    /// Yes or no.
    Bool,
}

/// The numeric properties.
pub const NUMBERS: [(&str, Form); KINDS] = [
    ("load_time", Form::Float),
    ("scroll_depth", Form::Float),
    ("session_duration", Form::Float),
    ("pages_viewed", Form::Integer),
    ("purchase_amount", Form::Float),
    ("quantity", Form::Integer),
    ("discount", Form::Float),
    ("screen_width", Form::Integer),
    ("network_rtt_ms", Form::Integer),
    ("returning", Form::Bool),
];

/// The texts.
pub const TEXTS: [&str; KINDS] =
    ["page", "referrer", "browser", "os", "device", "language", "app_version", "campaign", "currency", "status"];

/// Places in [`NUMBERS`].
#[allow(missing_docs)] // the names say it
pub mod number {
    pub const LOAD_TIME: usize = 0;
    pub const SCROLL_DEPTH: usize = 1;
    pub const SESSION_DURATION: usize = 2;
    pub const PAGES_VIEWED: usize = 3;
    pub const PURCHASE_AMOUNT: usize = 4;
    pub const QUANTITY: usize = 5;
    pub const DISCOUNT: usize = 6;
    pub const SCREEN_WIDTH: usize = 7;
    pub const NETWORK_RTT_MS: usize = 8;
    pub const RETURNING: usize = 9;
}

/// Places in [`TEXTS`].
#[allow(missing_docs)] // the names say it
pub mod text {
    pub const PAGE: usize = 0;
    pub const REFERRER: usize = 1;
    pub const BROWSER: usize = 2;
    pub const OS: usize = 3;
    pub const DEVICE: usize = 4;
    pub const LANGUAGE: usize = 5;
    pub const APP_VERSION: usize = 6;
    pub const CAMPAIGN: usize = 7;
    pub const CURRENCY: usize = 8;
    pub const STATUS: usize = 9;
}

/// Which properties an event has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Density {
    /// Those that belong to its type.
    Natural,
    /// All twenty.
    Full,
}

/// One made event.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// From 0.
    pub number: u64,
    /// What happened.
    pub event_type: &'static str,
    /// The user's place in [`Users`].
    pub user: usize,
    /// When: of a [`Week`] in ms since its Monday, 0:00 UTC; of [`Live`] UTC ms.
    pub at_ms: i64,
    /// Values by the places of [`NUMBERS`]. A bool is 0 or 1.
    pub numbers: [Option<f64>; KINDS],
    /// Values by the places of [`TEXTS`].
    pub texts: [Option<&'static str>; KINDS],
}
