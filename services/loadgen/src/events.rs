//! Made events: what a web shop with subscriptions would send.
//!
//! A [`Made`] event is neutral: [`wire`] turns it into a message for Penstock, the benchmark also into rows for the raw engine, so
//! that both sides get the same. It is a function of the seed and its number alone; only the date comes from the clock.

mod users;
mod week;
pub(crate) mod wire;

pub(crate) use users::{User, Users};
pub(crate) use week::Week;

/// How many properties that are numbers, and how many that are texts.
pub(crate) const KINDS: usize = 10;

/// How a numeric property is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Float,
    Integer,
    Bool,
}

/// The numeric properties.
pub(crate) const NUMBERS: [(&str, Form); KINDS] = [
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
pub(crate) const TEXTS: [&str; KINDS] =
    ["page", "referrer", "browser", "os", "device", "language", "app_version", "campaign", "currency", "status"];

/// Places in [`NUMBERS`].
pub(crate) mod number {
    pub(crate) const LOAD_TIME: usize = 0;
    pub(crate) const SCROLL_DEPTH: usize = 1;
    pub(crate) const SESSION_DURATION: usize = 2;
    pub(crate) const PAGES_VIEWED: usize = 3;
    pub(crate) const PURCHASE_AMOUNT: usize = 4;
    pub(crate) const QUANTITY: usize = 5;
    pub(crate) const DISCOUNT: usize = 6;
    pub(crate) const SCREEN_WIDTH: usize = 7;
    pub(crate) const NETWORK_RTT_MS: usize = 8;
    pub(crate) const RETURNING: usize = 9;
}

/// Places in [`TEXTS`].
pub(crate) mod text {
    pub(crate) const PAGE: usize = 0;
    pub(crate) const REFERRER: usize = 1;
    pub(crate) const BROWSER: usize = 2;
    pub(crate) const OS: usize = 3;
    pub(crate) const DEVICE: usize = 4;
    pub(crate) const LANGUAGE: usize = 5;
    pub(crate) const APP_VERSION: usize = 6;
    pub(crate) const CAMPAIGN: usize = 7;
    pub(crate) const CURRENCY: usize = 8;
    pub(crate) const STATUS: usize = 9;
}

/// Which properties an event has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Density {
    /// Those that belong to its type.
    Natural,
    /// All twenty.
    Full,
}

/// One made event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Made {
    /// From 0.
    pub(crate) number: u64,
    pub(crate) event_type: &'static str,
    /// The user's place in [`Users`].
    pub(crate) user: usize,
    /// When, in ms since the week's Monday, 0:00 UTC.
    pub(crate) at_ms: i64,
    /// Values by the places of [`NUMBERS`]. A bool is 0 or 1.
    pub(crate) numbers: [Option<f64>; KINDS],
    /// Values by the places of [`TEXTS`].
    pub(crate) texts: [Option<&'static str>; KINDS],
}
