//! The Arrow IPC stream, as far as results need it: five types, every column nullable, nothing compressed.
//!
//! By the [specification](https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc): each
//! message is a flatbuffer of `Message.fbs` behind its length, and a body of buffers at multiples of 8 bytes.

use flatbuffers::{FlatBufferBuilder, TableFinishedWIPOffset, UnionWIPOffset, WIPOffset};
use formula::{Column, ColumnKind};
use storage::warehouse::Cell;

/// Ends a stream.
pub(super) const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
const CONTINUES: [u8; 4] = [0xff; 4];
const ALIGN: usize = 8;

/// Version 5 of the metadata.
const V5: i16 = 4;
/// What a message holds.
const SCHEMA: u8 = 1;
const RECORD_BATCH: u8 = 3;

type Builder = FlatBufferBuilder<'static>;
type Table = WIPOffset<TableFinishedWIPOffset>;

/// The place of a table's n-th field.
const fn slot(field: u16) -> u16 {
    4 + 2 * field
}

/// The message that says the columns.
pub(super) fn schema(columns: &[Column]) -> Vec<u8> {
    let mut b = Builder::new();
    let fields: Vec<_> = columns.iter().map(|column| field(&mut b, column)).collect();
    let fields = b.create_vector(&fields);
    let table = b.start_table();
    b.push_slot_always(slot(1), fields);
    let table = b.end_table(table);
    message(b, SCHEMA, table, &[])
}

fn field(b: &mut Builder, column: &Column) -> Table {
    let name = b.create_string(&column.name);
    let (tag, kind) = kind(b, column.kind);
    let children = b.create_vector::<WIPOffset<UnionWIPOffset>>(&[]);
    let table = b.start_table();
    b.push_slot_always(slot(0), name);
    b.push_slot_always(slot(1), true); // nullable
    b.push_slot_always(slot(2), tag);
    b.push_slot_always(slot(3), kind);
    b.push_slot_always(slot(5), children);
    b.end_table(table)
}

/// The type: its number among the types, and its table.
fn kind(b: &mut Builder, kind: ColumnKind) -> (u8, Table) {
    let utc = (kind == ColumnKind::Time).then(|| b.create_string("UTC"));
    let table = b.start_table();
    let tag = match kind {
        ColumnKind::Integer => {
            b.push_slot_always(slot(0), 64i32);
            b.push_slot_always(slot(1), true); // signed
            2
        }
        ColumnKind::Number => {
            b.push_slot_always(slot(0), 2i16); // double
            3
        }
        ColumnKind::String => 5,
        ColumnKind::Bool => 6,
        ColumnKind::Time => {
            b.push_slot_always(slot(0), 1i16); // milliseconds
            10
        }
    };
    if let Some(utc) = utc {
        b.push_slot_always(slot(1), utc);
    }
    (tag, b.end_table(table))
}

/// The message with some rows: the cells of each column.
pub(super) fn batch(columns: &[Column], cells: &[&[Cell]], rows: usize) -> Vec<u8> {
    let (mut nodes, mut buffers, mut body) = (Vec::new(), Vec::new(), Vec::new());
    let mut put = |bytes: &[u8]| {
        buffers.extend([body.len() as i64, bytes.len() as i64]);
        body.extend_from_slice(bytes);
        body.resize(body.len().next_multiple_of(ALIGN), 0);
    };
    for (column, cells) in columns.iter().zip(cells) {
        let nulls = cells.iter().filter(|cell| **cell == Cell::Null).count();
        nodes.extend([rows as i64, nulls as i64]);
        put(&bits(cells.iter().map(|cell| *cell != Cell::Null)));
        match column.kind {
            ColumnKind::Bool => put(&bits(cells.iter().map(|cell| *cell == Cell::Bool(true)))),
            ColumnKind::String => {
                let (mut ends, mut text) = (vec![0; 4], Vec::new());
                for cell in *cells {
                    if let Cell::String(value) = cell {
                        text.extend_from_slice(value.as_bytes());
                    }
                    ends.extend((text.len() as i32).to_le_bytes());
                }
                put(&ends);
                put(&text);
            }
            ColumnKind::Number | ColumnKind::Integer | ColumnKind::Time => {
                put(&cells.iter().flat_map(word).collect::<Vec<_>>());
            }
        }
    }
    let mut b = Builder::new();
    let (nodes, buffers) = (pairs(&mut b, &nodes), pairs(&mut b, &buffers));
    let table = b.start_table();
    b.push_slot_always(slot(0), rows as i64);
    b.push_slot_always(slot(1), nodes);
    b.push_slot_always(slot(2), buffers);
    let table = b.end_table(table);
    message(b, RECORD_BATCH, table, &body)
}

fn word(cell: &Cell) -> [u8; 8] {
    match cell {
        Cell::Number(x) => x.to_le_bytes(),
        Cell::Integer(i) | Cell::Time(i) => i.to_le_bytes(),
        Cell::Null | Cell::String(_) | Cell::Bool(_) => [0; 8],
    }
}

/// A bit each, the lowest first.
fn bits(set: impl ExactSizeIterator<Item = bool>) -> Vec<u8> {
    let mut bytes = vec![0; set.len().div_ceil(8)];
    set.enumerate().filter(|(_, set)| *set).for_each(|(i, _)| bytes[i / 8] |= 1 << (i % 8));
    bytes
}

/// A vector of structs of two numbers each.
fn pairs(b: &mut Builder, numbers: &[i64]) -> WIPOffset<flatbuffers::Vector<'static, i64>> {
    b.start_vector::<i64>(numbers.len());
    numbers.iter().rev().for_each(|number| {
        b.push(*number);
    });
    b.end_vector(numbers.len() / 2)
}

fn message(mut b: Builder, kind: u8, header: Table, body: &[u8]) -> Vec<u8> {
    let table = b.start_table();
    b.push_slot_always(slot(3), body.len() as i64);
    b.push_slot_always(slot(2), header);
    b.push_slot_always(slot(0), V5);
    b.push_slot_always(slot(1), kind);
    let table = b.end_table(table);
    b.finish_minimal(table);
    let metadata = b.finished_data();
    let length = (CONTINUES.len() + 4 + metadata.len()).next_multiple_of(ALIGN);
    let mut bytes = Vec::with_capacity(length + body.len());
    bytes.extend(CONTINUES);
    bytes.extend(((length - CONTINUES.len() - 4) as i32).to_le_bytes());
    bytes.extend_from_slice(metadata);
    bytes.resize(length, 0);
    bytes.extend_from_slice(body);
    bytes
}
