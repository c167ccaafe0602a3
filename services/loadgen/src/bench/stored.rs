//! What events take on disk, against the JSON that they came as.
//!
//! A day's events, all different and with UUIDs for ids as most clients make them, go through Penstock; then each of the day's parts
//! is merged. The JSON is what `POST /v1/events` takes, one event a line and nothing that could be left out.

use std::collections::BTreeMap;

use jiff::Timestamp;
use load::{
    now_ms,
    shop::{Density, Form, Made, NUMBERS, TEXTS, User, Users, Week, wire},
};
use model::DAY_MS;
use serde::Serialize;
use serde_json::json;
use storage::warehouse::{Cell, QuerySettings};

use super::{house::House, write};
use crate::{connection::Connection, error::LoadError};

/// What was stored, in bytes.
#[derive(Debug, Serialize)]
pub(crate) struct Stored {
    pub(crate) events: u64,
    pub(crate) json_bytes: u64,
    /// All files of the table: indexes and marks too.
    pub(crate) disk_bytes: u64,
    /// Compressed, by column.
    pub(crate) columns: BTreeMap<String, u64>,
}

impl Stored {
    pub(crate) fn ratio(&self) -> f64 {
        self.json_bytes as f64 / (self.disk_bytes as f64).max(1.0)
    }
}

/// Publishes the events into a house that has none yet.
pub(crate) async fn measure(
    house: &House,
    connection: &Connection,
    users: &Users,
    seed: u64,
    events: u64,
) -> Result<Stored, LoadError> {
    let yesterday_ms = (now_ms().div_euclid(DAY_MS) - 1) * DAY_MS;
    let mut json_bytes = 0;
    // A week in which Tuesday has enough.
    let day = Week::new(seed, users, 7 * events, Density::Full).filter(|made| made.at_ms / DAY_MS == 1);
    let made = day.take(events as usize).map(|made| {
        let (user, id) = (users.get(made.user), wire::uuid(seed, made.number));
        let at_ms = yesterday_ms + made.at_ms % DAY_MS;
        json_bytes += json(&made, user, &id, at_ms).len() as u64 + 1;
        wire::event(&made, user, &id, at_ms)
    });
    let counted = write::load(connection, made).await?;
    write::check(events, counted)?;
    house
        .clickhouse(storage::warehouse::schema::DEFAULT_DATABASE)
        .query("OPTIMIZE TABLE events FINAL")
        .execute()
        .await?;
    let parts = "SELECT toInt64(sum(bytes_on_disk)) FROM system.parts WHERE database = currentDatabase() AND table = 'events' AND active";
    let disk_bytes = match numbers(house, &format!("SELECT '', ({parts})")).await?.pop_first() {
        Some((_, bytes)) => bytes,
        None => return Err(LoadError::Incomplete("size")),
    };
    let columns = "SELECT column, toInt64(sum(column_data_compressed_bytes)) FROM system.parts_columns \
         WHERE database = currentDatabase() AND table = 'events' AND active GROUP BY column";
    Ok(Stored { events, json_bytes, disk_bytes, columns: numbers(house, columns).await? })
}

async fn numbers(house: &House, statement: &str) -> Result<BTreeMap<String, u64>, LoadError> {
    let rows = house.own_warehouse()?.select(statement, &[], &QuerySettings::default())?.collect().await?;
    let number = |row: Vec<Cell>| match &row[..] {
        [Cell::String(name), Cell::Integer(n)] => Ok((name.clone(), n.unsigned_abs())),
        _ => Err(LoadError::Incomplete("size")),
    };
    rows.into_iter().map(number).collect()
}

fn json(made: &Made, user: &User, id: &str, at_ms: i64) -> String {
    let number = |form: Form, x: f64| match form {
        Form::Bool => json!(x != 0.0),
        // As JavaScript writes it: without `.0`.
        _ if x.fract() == 0.0 => json!(x as i64),
        _ => json!(x),
    };
    let numbers = NUMBERS.iter().zip(made.numbers).filter_map(|((name, form), x)| Some((*name, number(*form, x?))));
    let texts = TEXTS.iter().zip(made.texts).filter_map(|(name, text)| Some((*name, json!(text?))));
    json!({
        "event_id": id,
        "event_type": made.event_type,
        "user_id": user.id,
        "timestamp": Timestamp::from_millisecond(at_ms).unwrap_or_default(),
        "properties": numbers.chain(texts).collect::<BTreeMap<_, _>>(),
    })
    .to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_everything_and_nothing_twice() {
        let users = Users::new(1);
        let made = Week::new(1, &users, 1, Density::Full).next().unwrap();
        let text = json(&made, users.get(made.user), &wire::uuid(1, 7), 1_790_000_000_123);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["properties"].as_object().unwrap().len(), NUMBERS.len() + TEXTS.len());
        assert_eq!(value["timestamp"], "2026-09-21T14:13:20.123Z");
        assert_eq!(value["event_id"].as_str().unwrap().len(), 36);
        assert!((400..700).contains(&text.len()) && !text.contains(": "), "{text}");
    }
}
