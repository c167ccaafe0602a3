//! The bytes of a block, and what columns refuse.

#![allow(clippy::unwrap_used)]

use model::{DAY_MS, PropertyKind, Slot, record::ValueRef};
use storage::warehouse::{ColumnsError, EventColumns, EventRow};

const DAY: i64 = 19_675 * DAY_MS;

fn row(offset: u64) -> EventRow<'static> {
    EventRow {
        tenant: "acme",
        app: "web",
        event_type: "buy",
        timestamp_ms: DAY + 1,
        user_id: "u",
        event_id: "e",
        country: None,
        plan: None,
        received_at_ms: DAY + 2,
        incarnation: 1,
        partition: 2,
        offset,
    }
}

#[test]
fn one_event_is_these_bytes() {
    let mut events = EventColumns::for_day_of(DAY + 5);
    events.push(&row(9)).unwrap();
    events.set(Slot::Number(3), "price", PropertyKind::Number, ValueRef::Number(1.5)).unwrap();
    events.set(Slot::NumberMap, "vip", PropertyKind::Bool, ValueRef::Number(1.0)).unwrap();

    let mut expected = vec![12, 1]; // columns that have a value, rows
    let text = |text: &str, out: &mut Vec<u8>| {
        out.push(text.len() as u8);
        out.extend_from_slice(text.as_bytes());
    };
    let head = |name: &str, kind: &str, out: &mut Vec<u8>| {
        text(name, out);
        text(kind, out);
    };
    let number = |n: u64, out: &mut Vec<u8>| out.extend_from_slice(&n.to_le_bytes());
    // LowCardinality: version; flags and index width, number of keys, keys, number of rows, one byte a row.
    for (name, value) in [("tenant", "acme"), ("app", "web"), ("event", "buy")] {
        head(name, "LowCardinality(String)", &mut expected);
        [1, 0x600, 1].into_iter().for_each(|n| number(n, &mut expected));
        text(value, &mut expected);
        number(1, &mut expected);
        expected.push(0);
    }
    head("ts", "DateTime64(3, 'UTC')", &mut expected);
    number(DAY as u64 + 1, &mut expected);
    for (name, value) in [("user", "u"), ("event_id", "e")] {
        head(name, "String", &mut expected);
        text(value, &mut expected);
    }
    head("received_at", "DateTime64(3, 'UTC')", &mut expected);
    number(DAY as u64 + 2, &mut expected);
    head("n_more", "Map(LowCardinality(String), Float64)", &mut expected);
    [1, 1, 0x600, 1].into_iter().for_each(|n| number(n, &mut expected)); // version, end of row 0, then the keys
    text("vip\0bool", &mut expected);
    number(1, &mut expected);
    expected.push(0);
    expected.extend_from_slice(&1f64.to_le_bytes());
    head("_incarnation", "UInt64", &mut expected);
    number(1, &mut expected);
    head("_partition", "UInt32", &mut expected);
    expected.extend_from_slice(&2u32.to_le_bytes());
    head("_offset", "UInt64", &mut expected);
    number(9, &mut expected);
    head("n3", "Nullable(Float64)", &mut expected);
    expected.push(0);
    expected.extend_from_slice(&1.5f64.to_le_bytes());
    assert_eq!(events.to_native(), expected);
}

#[test]
fn gaps_are_null_and_the_last_value_counts() {
    let mut events = EventColumns::for_day_of(DAY);
    for offset in 0..4 {
        events.push(&row(offset)).unwrap();
        if offset == 2 {
            for x in [1.0, 2.0] {
                events.set(Slot::Number(0), "x", PropertyKind::Number, ValueRef::Number(x)).unwrap();
            }
        }
    }
    let block = events.to_native();
    let mut expected = b"\x02n0\x11Nullable(Float64)\x01\x01\x00\x01".to_vec();
    [0.0, 0.0, 2.0, 0.0f64].iter().for_each(|x| expected.extend_from_slice(&x.to_le_bytes()));
    assert!(block.ends_with(&expected));
}

#[test]
fn a_row_of_another_day_and_a_value_in_the_wrong_place_are_refused() {
    let mut events = EventColumns::for_day_of(DAY + 5);
    assert_eq!(events.day_ms(), DAY);
    for timestamp_ms in [DAY - 1, DAY + DAY_MS, i64::MIN, i64::MAX] {
        let other = EventRow { timestamp_ms, ..row(0) };
        assert_eq!(events.push(&other), Err(ColumnsError::OtherDay { timestamp_ms, day_ms: DAY }));
    }
    assert!(events.is_empty());
    events.push(&EventRow { timestamp_ms: DAY, ..row(0) }).unwrap();
    events.push(&EventRow { timestamp_ms: DAY + DAY_MS - 1, ..row(1) }).unwrap();
    let before = events.to_native();
    let (number, text) = (ValueRef::Number(1.0), ValueRef::Text("x"));
    for (slot, value) in [
        (Slot::Number(0), text),
        (Slot::Text(0), number),
        (Slot::NumberMap, text),
        (Slot::TextMap, number),
        (Slot::Number(model::NUMBER_SLOTS), number),
        (Slot::Text(model::TEXT_SLOTS), text),
    ] {
        let refused = events.set(slot, "p", PropertyKind::Number, value);
        assert!(matches!(refused, Err(ColumnsError::WrongSlot { .. })), "{slot:?}");
    }
    assert_eq!(events.to_native(), before);
    assert_eq!(EventColumns::for_day_of(-1).day_ms(), -DAY_MS);
}
