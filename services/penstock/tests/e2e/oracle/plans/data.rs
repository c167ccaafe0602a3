//! Made events and users: values that are missing, equal, huge, tiny, in any script; times around every change of a clock.

use std::{collections::HashMap, fmt::Write};

use api::{
    convert::time_to_wire,
    v1::{Event, IdentifyRequest, Value, value::Kind},
};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use serde_json::json;

use super::APP;

/// The zones of the questions: some change their clocks, at midnight or by half an hour too.
pub const ZONES: [&str; 8] = [
    "UTC",
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Asia/Kolkata",
    "America/Santiago",
    "Africa/Cairo",
    "Australia/Lord_Howe",
];
/// The days of the events: ends of months and years, and those on which the clocks of a zone change. Each is a part of its own in the
/// warehouse, so they are few.
pub const DAYS: [(i16, i8, i8); 24] = [
    (2023, 2, 28),
    (2023, 3, 12),
    (2023, 10, 29),
    (2023, 11, 5),
    (2023, 12, 31),
    (2024, 1, 1),
    (2024, 2, 29),
    (2024, 3, 1),
    (2024, 3, 10),
    (2024, 3, 11),
    (2024, 3, 31),
    (2024, 4, 1),
    (2024, 4, 6),
    (2024, 4, 7),
    (2024, 4, 26),
    (2024, 6, 15),
    (2024, 9, 8),
    (2024, 10, 5),
    (2024, 10, 6),
    (2024, 10, 27),
    (2024, 10, 31),
    (2024, 11, 1),
    (2024, 11, 3),
    (2024, 12, 31),
];
const HOUR_MS: i64 = 3_600_000;

pub const TYPES: [&str; 4] = ["view", "purchase", "señal", "sign up"];
pub const STATUSES: [&str; 7] = ["paid", "open", "", "it's", "100%_\\", "ÉTÉ", "été"];
const CITIES: [&str; 7] = ["Zürich", "zürich", "São Paulo", "東京", "👩‍👩‍👧 a", " New  York ", "tab\there\nand \\N"];
const CODES: [&str; 5] = ["7", "1.5", "x", "", "-0"];
const COUNTRIES: [&str; 4] = ["DE", "US", "Côte d'Ivoire", "日本"];
const PLANS: [&str; 3] = ["free", "pro", "Enterprise"];
/// So many names of each kind, more than there are columns for.
const EXTRAS: usize = 20;

/// What is sent, in this order.
#[derive(Default)]
pub struct Data {
    pub users: Vec<IdentifyRequest>,
    pub events: Vec<Event>,
}

/// All that was made so far, for the other engine.
#[derive(Default)]
pub struct Known {
    users: HashMap<String, serde_json::Map<String, serde_json::Value>>,
    events: String,
    made: usize,
    /// So much later than on one of the days the events are: whole days.
    pub later_ms: i64,
}

impl Known {
    /// As if the last of the days had been the day before yesterday.
    pub fn of_last_year() -> Self {
        let (year, month, day) = DAYS[DAYS.len() - 1];
        let last = Date::new(year, month, day).unwrap();
        let today = TimeZone::UTC.to_datetime(Timestamp::now()).date();
        let days = i64::from((today - last).get_days()) - 2;
        Self { later_ms: days * 24 * HOUR_MS, ..Self::default() }
    }

    /// Makes so many events more, after some users have changed.
    pub fn more(&mut self, random: &mut StdRng, events: usize) -> Data {
        let mut data = Data::default();
        for _ in 0..40 {
            let user = user(random);
            let texts = [("country", *COUNTRIES.choose(random).unwrap()), ("plan", *PLANS.choose(random).unwrap())];
            let mut traits: HashMap<_, _> =
                texts.map(|(name, text)| (name.to_owned(), value(Kind::String(text.to_owned())))).into();
            traits.insert("age".to_owned(), value(Kind::Integer(random.random_range(18..30))));
            traits.insert("member".to_owned(), value(Kind::Bool(random.random())));
            let known = traits.iter().map(|(name, value)| (name.clone(), plain(value))).collect();
            self.users.insert(user.clone(), known);
            data.users.push(IdentifyRequest { app_id: APP.to_owned(), user_id: user, traits, ..Default::default() });
        }
        data.events = (0..events).map(|_| self.event(random)).collect();
        data
    }

    fn event(&mut self, random: &mut StdRng) -> Event {
        let at_ms = time(random) + self.later_ms;
        let properties = properties(random, at_ms);
        let user_id = if random.random_bool(0.15) { String::new() } else { user(random) };
        let event_type = (*TYPES.choose(random).unwrap()).to_owned();
        let event_id = format!("e{:05}", self.made);
        self.made += 1;
        let mut line = json!({"event_id": event_id, "timestamp": at_ms, "event_type": event_type});
        if !user_id.is_empty() {
            line["user_id"] = json!(user_id);
        }
        if let Some(known) = self.users.get(&user_id) {
            line["country"] = known["country"].clone();
            line["user_plan"] = known["plan"].clone();
        }
        for (name, value) in &properties {
            let column = match (name.as_str(), &value.kind) {
                ("code", Some(Kind::String(_))) => "code_text",
                (name, _) => name,
            };
            line[column] = plain(value);
        }
        writeln!(self.events, "{line}").unwrap();
        let timestamp = Some(time_to_wire(at_ms));
        Event { event_id, user_id, event_type, timestamp, properties, app_id: String::new() }
    }

    /// The statements that make the tables of it; the files lie in the directory.
    pub fn tables(&self, dir: &std::path::Path) -> Vec<String> {
        let mut users = String::new();
        for (id, traits) in &self.users {
            let mut line = json!(traits);
            line["user_id"] = json!(id);
            writeln!(users, "{line}").unwrap();
        }
        let (events_file, users_file) = (dir.join("events.json"), dir.join("users.json"));
        std::fs::write(&events_file, &self.events).unwrap();
        std::fs::write(&users_file, users).unwrap();
        let mut columns = "event_id: 'VARCHAR', timestamp: 'BIGINT', event_type: 'VARCHAR', user_id: 'VARCHAR', \
            country: 'VARCHAR', user_plan: 'VARCHAR', amount: 'DOUBLE', quantity: 'DOUBLE', score: 'DOUBLE', huge: \
            'DOUBLE', tiny: 'DOUBLE', status: 'VARCHAR', city: 'VARCHAR', vip: 'BOOLEAN', due: 'BIGINT', code: \
            'DOUBLE', code_text: 'VARCHAR'"
            .to_owned();
        for i in 0..EXTRAS {
            write!(columns, ", number_{i}: 'DOUBLE', text_{i}: 'VARCHAR'").unwrap();
        }
        let table = |name: &str, columns: &str, times: &str, file: &std::path::Path| {
            let file = file.display();
            format!(
                "CREATE TABLE {name} AS SELECT * REPLACE ({times}) FROM read_json('{file}', format = \
                 'newline_delimited', columns = {{{columns}}})"
            )
        };
        let instant = |name: &str| format!("make_timestamp_ms({name}) AT TIME ZONE 'UTC' AS {name}");
        let times = format!("{}, {}", instant("timestamp"), instant("due"));
        let traits = "user_id: 'VARCHAR', country: 'VARCHAR', plan: 'VARCHAR', age: 'DOUBLE', member: 'BOOLEAN'";
        vec![table("events", &columns, &times, &events_file), table("users", traits, "user_id AS user_id", &users_file)]
    }
}

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn plain(value: &Value) -> serde_json::Value {
    match value.kind.as_ref().unwrap() {
        Kind::Number(x) => json!(x),
        Kind::Integer(i) => json!(i),
        Kind::String(text) => json!(text),
        Kind::Bool(b) => json!(b),
        Kind::Time(t) => json!(api::convert::time_from_wire("", t).unwrap()),
        Kind::Null(_) => serde_json::Value::Null,
    }
}

fn user(random: &mut StdRng) -> String {
    match random.random_range(0..60) {
        0 => "ü ser 'x'".to_owned(),
        i => format!("u{i}"),
    }
}

/// The first instant of one of the days, in UTC, ms.
pub fn day_ms(random: &mut StdRng) -> i64 {
    let (year, month, day) = *DAYS.choose(random).unwrap();
    let midnight = Date::new(year, month, day).unwrap().to_zoned_datetime(TimeZone::UTC).unwrap();
    midnight.timestamp().as_millisecond()
}

/// Anywhere in a day, at the turn of a day of some zone, or while its clocks change.
fn time(random: &mut StdRng) -> i64 {
    let midnight = day_ms(random);
    let at_ms = midnight + random.random_range(0..24 * HOUR_MS);
    let zone = TimeZone::get(ZONES.choose(random).unwrap()).unwrap();
    let at = Timestamp::from_millisecond(at_ms).unwrap();
    let near = match random.random_range(0..10) {
        0..6 => return at_ms,
        6 | 7 => {
            at.to_zoned_datetime(zone).start_of_day().unwrap().timestamp().as_millisecond()
                + random.random_range(-1..=1)
        }
        _ => match zone.following(Timestamp::from_millisecond(midnight).unwrap()).next() {
            Some(change) => change.timestamp().as_millisecond() + random.random_range(-2 * HOUR_MS..2 * HOUR_MS),
            None => at_ms,
        },
    };
    near.clamp(midnight, midnight + 24 * HOUR_MS - 1)
}

fn properties(random: &mut StdRng, at_ms: i64) -> HashMap<String, Value> {
    let mut properties = HashMap::new();
    let mut maybe = |random: &mut StdRng, share: f64, name: &str, kind: fn(&mut StdRng, i64) -> Kind| {
        if random.random_bool(share) {
            properties.insert(name.to_owned(), value(kind(random, at_ms)));
        }
    };
    maybe(random, 0.85, "amount", |random, _| match random.random_range(0..12) {
        0 => Kind::Number(0.0),
        1 => Kind::Number(-0.0),
        _ => Kind::Number(f64::from(random.random_range(-2_000..4_000)) / 4.0),
    });
    maybe(random, 0.9, "quantity", |random, _| Kind::Integer(random.random_range(0..12)));
    maybe(random, 0.8, "score", |random, _| Kind::Number(random.random_range(0.0..100.0)));
    maybe(random, 0.1, "huge", |random, _| {
        Kind::Number(random.random_range(-9.0..9.0) * 10f64.powi(random.random_range(15..290)))
    });
    maybe(random, 0.1, "tiny", |random, _| {
        Kind::Number(random.random_range(0.0..9.0) * 10f64.powi(random.random_range(-300..-5)))
    });
    maybe(random, 0.8, "status", |random, _| Kind::String((*STATUSES.choose(random).unwrap()).to_owned()));
    maybe(random, 0.7, "city", |random, _| Kind::String((*CITIES.choose(random).unwrap()).to_owned()));
    maybe(random, 0.7, "vip", |random, _| Kind::Bool(random.random()));
    maybe(random, 0.5, "due", |random, at_ms| {
        Kind::Time(time_to_wire(at_ms + random.random_range(-960 * HOUR_MS..960 * HOUR_MS)))
    });
    maybe(random, 0.6, "code", |random, _| match random.random() {
        true => Kind::Integer(random.random_range(0..5)),
        false => Kind::String((*CODES.choose(random).unwrap()).to_owned()),
    });
    for _ in 0..2 {
        let name = format!("number_{}", random.random_range(0..EXTRAS));
        properties.insert(name, value(Kind::Number(f64::from(random.random_range(0..40)) / 2.0)));
        let name = format!("text_{}", random.random_range(0..EXTRAS));
        properties.insert(name, value(Kind::String((*TYPES.choose(random).unwrap()).to_owned())));
    }
    properties
}
