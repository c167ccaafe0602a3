//! The same rows straight into the engine: what somebody would write who has no Penstock.
//!
//! Both ways write into a copy of Penstock's own table, in blocks of the size of Penstock's largest, uncompressed, since there is no
//! network to save. Neither makes anything durable before the insert, recognises a duplicate, or joins users: what Penstock
//! costs more buys that.

use clickhouse::{Client, Row as ClickHouseRow};
use load::{
    now_ms,
    shop::{Form, KINDS, NUMBERS, TEXTS},
};
use model::{DAY_MS, PropertyKind, Slot, record::ValueRef};
use serde::Serialize;
use storage::warehouse::{EventColumns, EventRow, Warehouse};

use super::rows::{Row, Rows};
use crate::error::LoadError;

/// Rows in a block.
pub(crate) const BLOCK_ROWS: u64 = 50_000;
const TENANT: &str = "demo";
const APP: &str = "xyz123";

/// The row numbers of each block.
fn blocks(count: u64) -> impl Iterator<Item = std::ops::Range<u64>> {
    (0..count.div_ceil(BLOCK_ROWS)).map(move |i| i * BLOCK_ROWS..count.min((i + 1) * BLOCK_ROWS))
}

/// When a row of a block happened: one a ms, all on the day that the block begins on.
fn timestamp_ms(start_ms: i64, i: usize) -> i64 {
    let day_end_ms = (start_ms.div_euclid(DAY_MS) + 1) * DAY_MS;
    (start_ms + i as i64).min(day_end_ms - 1)
}

/// Blocks in the Native format, by the columns that Penstock's pipeline uses.
pub(crate) async fn native(warehouse: &Warehouse, rows: &Rows, count: u64) -> Result<(), LoadError> {
    for block in blocks(count) {
        let (start_ms, first) = (now_ms(), block.start);
        let mut columns = EventColumns::for_day_of(start_ms);
        for (i, number) in block.enumerate() {
            let row = rows.get(number);
            columns.push(&head(&row, timestamp_ms(start_ms, i), number))?;
            fill(&mut columns, &row)?;
        }
        warehouse.insert(&columns, &format!("bench:{first}:{start_ms}")).await?;
    }
    Ok(())
}

fn head<'a>(row: &'a Row<'_>, timestamp_ms: i64, number: u64) -> EventRow<'a> {
    EventRow {
        tenant: TENANT,
        app: APP,
        event_type: row.made.event_type,
        timestamp_ms,
        user_id: &row.user.id,
        event_id: &row.event_id,
        country: Some(row.user.country),
        plan: Some(row.user.plan),
        received_at_ms: timestamp_ms,
        incarnation: 1,
        partition: 0,
        offset: number,
    }
}

fn fill(columns: &mut EventColumns, row: &Row<'_>) -> Result<(), LoadError> {
    for (place, ((name, form), value)) in (0u16..).zip(NUMBERS.iter().zip(row.made.numbers)) {
        let kind = if *form == Form::Bool { PropertyKind::Bool } else { PropertyKind::Number };
        if let Some(x) = value {
            columns.set(Slot::Number(place), name, kind, ValueRef::Number(x))?;
        }
    }
    for (place, (name, value)) in (0u16..).zip(TEXTS.iter().zip(row.made.texts)) {
        if let Some(text) = value {
            columns.set(Slot::Text(place), name, PropertyKind::String, ValueRef::Text(text))?;
        }
    }
    Ok(())
}

/// A row as the `clickhouse` crate writes it.
#[derive(Debug, ClickHouseRow, Serialize)]
struct Flat<'a> {
    tenant: &'a str,
    app: &'a str,
    event: &'a str,
    ts: i64,
    user: &'a str,
    event_id: &'a str,
    country: Option<&'a str>,
    plan: Option<&'a str>,
    received_at: i64,
    n0: Option<f64>,
    n1: Option<f64>,
    n2: Option<f64>,
    n3: Option<f64>,
    n4: Option<f64>,
    n5: Option<f64>,
    n6: Option<f64>,
    n7: Option<f64>,
    n8: Option<f64>,
    n9: Option<f64>,
    s0: Option<&'a str>,
    s1: Option<&'a str>,
    s2: Option<&'a str>,
    s3: Option<&'a str>,
    s4: Option<&'a str>,
    s5: Option<&'a str>,
    s6: Option<&'a str>,
    s7: Option<&'a str>,
    s8: Option<&'a str>,
    s9: Option<&'a str>,
    _incarnation: u64,
    _partition: u32,
    _offset: u64,
}

/// Rows in RowBinary, by the client's ordinary insert.
pub(crate) async fn row_binary(client: &Client, rows: &Rows, count: u64) -> Result<(), LoadError> {
    for block in blocks(count) {
        let start_ms = now_ms();
        let mut insert = client.insert::<Flat<'_>>("events").await?;
        for (i, number) in block.enumerate() {
            let row = rows.get(number);
            insert.write(&flat(&row, timestamp_ms(start_ms, i), number)).await?;
        }
        insert.end().await?;
    }
    Ok(())
}

fn flat<'a>(row: &'a Row<'_>, ms: i64, number: u64) -> Flat<'a> {
    let [n0, n1, n2, n3, n4, n5, n6, n7, n8, n9]: [Option<f64>; KINDS] = row.made.numbers;
    let [s0, s1, s2, s3, s4, s5, s6, s7, s8, s9]: [Option<&str>; KINDS] = row.made.texts;
    Flat {
        tenant: TENANT,
        app: APP,
        event: row.made.event_type,
        ts: ms,
        user: &row.user.id,
        event_id: &row.event_id,
        country: Some(row.user.country),
        plan: Some(row.user.plan),
        received_at: ms,
        n0,
        n1,
        n2,
        n3,
        n4,
        n5,
        n6,
        n7,
        n8,
        n9,
        s0,
        s1,
        s2,
        s3,
        s4,
        s5,
        s6,
        s7,
        s8,
        s9,
        _incarnation: 1,
        _partition: 0,
        _offset: number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_all_rows_once_and_stay_in_one_day() {
        assert_eq!(blocks(0).count(), 0);
        assert_eq!(blocks(120_000).collect::<Vec<_>>(), [0..50_000, 50_000..100_000, 100_000..120_000]);
        let before_midnight = 20_000 * DAY_MS - 3;
        assert_eq!([0, 2, 3, 9].map(|i| timestamp_ms(before_midnight, i) - before_midnight), [0, 2, 2, 2]);
    }
}
