//! What mutations begin with: requests that are right, or nearly.

use std::io::Write;

use api::{convert::time_to_wire, v1};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use rand::RngExt;
use serde_json::json;

use super::{one_in, pick};
use crate::run::Random;

/// When all batches of the in-process part are received, UTC ms.
pub const NOW_MS: i64 = 1_790_000_000_000;

/// Texts that mean something to some field.
const TEXTS: [&str; 24] = [
    "",
    "xyz123",
    "a",
    "purchase",
    "ü\u{1f600}",
    "country",
    "amount",
    "user_id",
    "COUNT(*)",
    "SUM(amount) / COUNT(DISTINCT user_id)",
    "revenue",
    "day",
    "EUR",
    "Europe/Berlin",
    "date_trunc('day', timestamp)",
    "%",
    "a\0b",
    "../../x",
    "a:b",
    "{}",
    "\u{202e}x",
    "SELECT COUNT(*) FROM events WHERE app_id = 'xyz123'",
    "acme",
    "' OR 1=1 --",
];

/// Questions that are right.
pub const QUERIES: [&str; 6] = [
    "SELECT date_trunc('day', timestamp) as date, country, COUNT(DISTINCT user_id) as n FROM events WHERE app_id = 'xyz123' AND timestamp > now() - INTERVAL 30 DAY AND user_plan IN ('pro', 'x') GROUP BY date, country ORDER BY date DESC",
    "SELECT country c, SUM(amount) / COUNT(*) r FROM events WHERE app_id = 'xyz123' GROUP BY c HAVING r > 1 ORDER BY 2 DESC NULLS LAST LIMIT 10 OFFSET 5",
    "SELECT CASE status WHEN 'a' THEN 1 ELSE amount END x, coalesce(status, country, '') y FROM events WHERE status NOT LIKE '%a\\_' ORDER BY round(amount, 2)",
    "SELECT PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY amount) p, COUNT(*) FILTER (WHERE code = 5) q FROM events",
    "SELECT extract(hour from timestamp AT TIME ZONE 'Europe/Berlin') h, MAX(timestamp) FROM events WHERE amount BETWEEN 1 AND 2 OR status IS NULL GROUP BY 1",
    "SUM(amount) FILTER (WHERE status = 'paid') / COUNT(DISTINCT user_id)",
];

/// A batch for one app.
pub fn batch(random: &mut Random) -> v1::PublishRequest {
    let events = (0..random.random_range(1..4)).map(|_| event(random)).collect();
    v1::PublishRequest { app_id: "xyz123".to_owned(), events, ..Default::default() }
}

fn event(random: &mut Random) -> v1::Event {
    let text = |random: &mut Random| pick(random, &TEXTS).to_owned();
    let name = |random: &mut Random| if one_in(random, 4) { text(random) } else { "purchase".to_owned() };
    let timestamp = (!one_in(random, 3)).then(|| time_to_wire(NOW_MS - random.random_range(-400_000..90_000_000)));
    let properties = (0..random.random_range(0..5)).map(|_| (text(random), value(random))).collect();
    v1::Event {
        event_id: text(random),
        event_type: name(random),
        user_id: text(random),
        timestamp,
        properties,
        app_id: String::new(),
    }
}

fn value(random: &mut Random) -> v1::Value {
    use v1::value::Kind;
    let kind = match random.random_range(0..5) {
        0 => Kind::Number(pick(random, &[0.0, -0.0, 1.5, 1e308, -5e-324, 0.1])),
        1 => Kind::Integer(pick(random, &[0, -1, 1 << 53, (1 << 53) + 1, i64::MAX, i64::MIN])),
        2 => Kind::String(pick(random, &TEXTS).to_owned()),
        3 => Kind::Bool(random.random()),
        _ => Kind::Time(time_to_wire(random.random_range(-70_000_000_000_000..300_000_000_000_000))),
    };
    v1::Value { kind: Some(kind) }
}

/// The same batch as `POST /v1/events` takes it: an array, or lines.
pub fn batch_json(batch: &v1::PublishRequest, lines: bool) -> String {
    let events: Vec<String> = batch.events.iter().map(|event| event_json(event).to_string()).collect();
    if lines { events.join("\n") } else { format!("[{}]", events.join(",")) }
}

fn event_json(event: &v1::Event) -> serde_json::Value {
    use v1::value::Kind;
    let ms = |time: &api::convert::WireTime| time.seconds * 1000 + i64::from(time.nanos) / 1_000_000;
    let properties = event.properties.iter().filter_map(|(name, value)| {
        let value = match value.kind.as_ref()? {
            Kind::Null(_) => return None,
            Kind::Number(x) => json!(x),
            Kind::Integer(i) => json!(i),
            Kind::String(text) => json!(text),
            Kind::Bool(b) => json!(b),
            Kind::Time(time) => json!({"time": ms(time)}),
        };
        Some((name.clone(), value))
    });
    let mut json = json!({"event_id": event.event_id, "event_type": event.event_type, "user_id": event.user_id,
        "properties": properties.collect::<serde_json::Map<_, _>>()});
    if let Some(time) = &event.timestamp {
        json["timestamp"] = json!(ms(time));
    }
    json
}

/// A message with some of its fields set to what they might be.
pub fn message(random: &mut Random, of: &MessageDescriptor) -> DynamicMessage {
    let mut message = DynamicMessage::new(of.clone());
    for field in of.fields() {
        if one_in(random, 4) {
            continue;
        }
        let value = if field.is_map() {
            continue;
        } else if field.is_list() {
            Value::List((0..random.random_range(0..3)).map(|_| scalar(random, &field)).collect())
        } else {
            scalar(random, &field)
        };
        message.set_field(&field, value);
    }
    message
}

fn scalar(random: &mut Random, field: &FieldDescriptor) -> Value {
    match field.kind() {
        Kind::String => Value::String(match field.name() {
            "app_id" | "app_ids" if !one_in(random, 4) => "xyz123".to_owned(),
            "tenant_id" if !one_in(random, 4) => "demo".to_owned(),
            "sql" if !one_in(random, 4) => query_text(random),
            "formula" | "expression" if !one_in(random, 3) => {
                pick(random, &["COUNT(*)", "SUM(amount)", "country"]).to_owned()
            }
            _ => pick(random, &TEXTS).to_owned(),
        }),
        Kind::Message(inner) => Value::Message(message(random, &inner)),
        Kind::Enum(values) => Value::EnumNumber(random.random_range(0..values.values().len() as i32 + 1)),
        Kind::Bool => Value::Bool(random.random()),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(pick(random, &[0, 1, 10, 1_000, u32::MAX])),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(pick(random, &[0, 1, u64::MAX])),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            Value::I32(pick(random, &[0, 1, -1, 999_999_999, i32::MAX, i32::MIN]))
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            Value::I64(pick(random, &[0, 1, -1, 1_700_000_000, 253_402_300_800, i64::MAX, i64::MIN]))
        }
        Kind::Float => Value::F32(random.random()),
        Kind::Double => Value::F64(pick(random, &[0.0, -0.0, 1.5, f64::NAN, f64::INFINITY, 1e308])),
        Kind::Bytes => Value::Bytes(vec![0xff; 3].into()),
    }
}

/// A question with some of its words replaced, doubled, moved or left out.
pub fn query_text(random: &mut Random) -> String {
    const WORDS: [&str; 44] = [
        "SELECT",
        "FROM",
        "events",
        "WHERE",
        "GROUP BY",
        "ORDER BY",
        "HAVING",
        "LIMIT",
        "OFFSET",
        "DISTINCT",
        "AS",
        "AND",
        "OR",
        "NOT",
        "IN",
        "BETWEEN",
        "LIKE",
        "IS NULL",
        "CASE",
        "WHEN",
        "END",
        "CAST(",
        "INTERVAL",
        "(",
        ")",
        ",",
        ";",
        "-",
        "/*",
        "--",
        "::",
        "'",
        "\"",
        "0",
        "1e300",
        "99999999999999999999",
        "'2024-01-01'",
        "COUNT(*)",
        "SUM(",
        "now()",
        "UNION",
        "SETTINGS",
        "\u{1f600}",
        "timestamp",
    ];
    let mut words: Vec<String> =
        pick(random, &QUERIES).split_inclusive([' ', '(', ')', ',']).map(str::to_owned).collect();
    for _ in 0..random.random_range(0..5) {
        let (at, other) = (random.random_range(0..words.len()), random.random_range(0..words.len()));
        match random.random_range(0..7) {
            0 => words[at] = format!("{} ", pick(random, &WORDS)),
            1 => words.insert(at, format!("{} ", pick(random, &WORDS))),
            2 if words.len() > 1 => drop(words.remove(at)),
            3 => words.swap(at, other),
            4 => {
                let copy = words[at].clone();
                words.insert(other, copy);
            }
            5 if one_in(random, 20) => {
                let depth = pick(random, &[10, 60, 1_000, 20_000]);
                words[at] = [
                    pick(random, &["(", "NOT ", "- ", "CASE WHEN ", "abs("]).repeat(depth),
                    "1".to_owned(),
                    ")".repeat(depth),
                ]
                .concat();
            }
            _ => words[at].push(random.random()),
        }
    }
    words.concat()
}

/// Compressed, then perhaps cut, doubled or followed by something else; or a bomb. The name of the encoding, and the bytes.
pub fn compressed(random: &mut Random, body: &[u8]) -> (&'static str, Vec<u8>) {
    let gzip = random.random();
    let compress = |bytes: &[u8]| {
        if gzip {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        } else {
            zstd::encode_all(bytes, 1).unwrap()
        }
    };
    let mut bytes = compress(body);
    match random.random_range(0..8) {
        0 => bytes.truncate(random.random_range(0..=bytes.len())),
        1 => bytes.extend(compress(body)),
        2 => bytes.extend(b"and what follows"),
        3 | 4 => super::bytes(random, &mut bytes),
        5 => bytes = compress(&bytes),
        // Says that it can't be read with less than so much memory.
        6 if !gzip && one_in(random, 4) => {
            let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(random.random_range(10..=27)).unwrap();
            encoder.write_all(body).unwrap();
            bytes = encoder.finish().unwrap();
        }
        // 1,000 to 1 and more: one long member, or many short ones.
        6 if one_in(random, 20) => bytes = compress(&vec![b' '; 8 << 20]),
        7 if one_in(random, 20) => bytes = compress(&vec![b'['; 1 << 20]).repeat(64),
        _ => {}
    }
    (if gzip { "gzip" } else { "zstd" }, bytes)
}
