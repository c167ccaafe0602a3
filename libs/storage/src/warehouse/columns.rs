//! Columns that are filled row by row and lie ready for the wire: no value has an allocation of its own.
//!
//! A column needs no value for every row. What a row leaves out is the type's default (NULL where it is nullable),
//! filled in when a later row has a value and at the end.

use super::{
    dictionary::Dictionary,
    native::{WireColumn, put_bytes, put_text, put_varuint},
};

/// A column of N-byte little-endian numbers, one in every row.
#[derive(Debug, Default)]
pub(super) struct Fixed<const N: usize>(Vec<u8>);

impl<const N: usize> Fixed<N> {
    pub(super) fn push(&mut self, value: [u8; N]) {
        self.0.extend_from_slice(&value);
    }
}

impl<const N: usize> WireColumn for Fixed<N> {
    fn is_used(&self) -> bool {
        true
    }

    fn wire_bytes(&self, rows: usize) -> usize {
        rows * N
    }

    fn write(&self, _rows: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}

/// String, one in every row.
#[derive(Debug, Default)]
pub(super) struct Texts(Vec<u8>);

impl Texts {
    pub(super) fn push(&mut self, text: &str) {
        put_text(text, &mut self.0);
    }

    /// ClickHouse's strings may be any bytes.
    pub(super) fn push_bytes(&mut self, bytes: &[u8]) {
        put_bytes(bytes, &mut self.0);
    }
}

impl WireColumn for Texts {
    fn is_used(&self) -> bool {
        true
    }

    fn wire_bytes(&self, _rows: usize) -> usize {
        self.0.len()
    }

    fn write(&self, _rows: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}

/// Nullable(Float64).
#[derive(Debug, Default)]
pub(super) struct Numbers {
    nulls: Vec<u8>,
    values: Vec<u8>,
}

impl Numbers {
    /// The value of a row; rows come in order, and of several values for one row the last counts.
    pub(super) fn set(&mut self, row: usize, value: f64) {
        if self.nulls.len() != row {
            self.nulls.resize(row, 1);
            self.values.resize(8 * row, 0);
        }
        self.nulls.push(0);
        self.values.extend_from_slice(&value.to_le_bytes());
    }
}

impl WireColumn for Numbers {
    fn is_used(&self) -> bool {
        !self.nulls.is_empty()
    }

    fn wire_bytes(&self, rows: usize) -> usize {
        9 * rows
    }

    fn write(&self, rows: usize, out: &mut Vec<u8>) {
        let end = out.len() + rows;
        out.extend_from_slice(&self.nulls);
        out.resize(end, 1);
        let end = end + 8 * rows;
        out.extend_from_slice(&self.values);
        out.resize(end, 0);
    }
}

/// LowCardinality: of String, or of Nullable(String), where number 0 stands for NULL.
#[derive(Debug)]
pub(super) struct Words {
    dictionary: Dictionary,
    numbers: Vec<u32>,
    nullable: bool,
}

/// The version of a LowCardinality's serialization: a dictionary in each block.
const SHARED_DICTIONARIES_WITH_ADDITIONAL_KEYS: u64 = 1;
/// The block brings keys, and they are all it needs.
const HAS_ADDITIONAL_KEYS: u64 = 0x200;
const NEEDS_UPDATE_DICTIONARY: u64 = 0x400;

impl Words {
    pub(super) fn required() -> Self {
        Self { dictionary: Dictionary::default(), numbers: Vec::new(), nullable: false }
    }

    pub(super) fn nullable() -> Self {
        Self { nullable: true, ..Self::required() }
    }

    /// Appends a value where every row has one.
    pub(super) fn push(&mut self, text: &str) {
        let number = self.dictionary.number(text) + u32::from(self.nullable);
        self.numbers.push(number);
    }

    /// The value of a row of a nullable column, in the order of the rows; the last for a row counts.
    pub(super) fn set(&mut self, row: usize, text: &str) {
        if self.numbers.len() != row {
            self.numbers.resize(row, 0);
        }
        self.push(text);
    }

    fn write_prefix(out: &mut Vec<u8>) {
        out.extend_from_slice(&SHARED_DICTIONARIES_WITH_ADDITIONAL_KEYS.to_le_bytes());
    }

    /// At least one value.
    fn write_values(&self, rows: usize, out: &mut Vec<u8>) {
        let keys = self.dictionary.len() + usize::from(self.nullable);
        let (width_code, width) = match keys - 1 {
            0..=0xff => (0u64, 1),
            0x100..=0xffff => (1, 2),
            _ => (2, 4),
        };
        let flags = width_code | HAS_ADDITIONAL_KEYS | NEEDS_UPDATE_DICTIONARY;
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&(keys as u64).to_le_bytes());
        if self.nullable {
            put_varuint(0, out); // the key that stands for NULL has no text
        }
        self.dictionary.write(out);
        out.extend_from_slice(&(rows as u64).to_le_bytes());
        let start = out.len();
        out.resize(start + rows * width, 0);
        let places = out[start..].chunks_exact_mut(width);
        for (place, number) in places.zip(&self.numbers) {
            place.copy_from_slice(&number.to_le_bytes()[..width]);
        }
    }
}

impl WireColumn for Words {
    fn is_used(&self) -> bool {
        !self.numbers.is_empty()
    }

    fn wire_bytes(&self, rows: usize) -> usize {
        32 + 4 * rows + self.dictionary.text_bytes() + 3 * self.dictionary.len()
    }

    fn write(&self, rows: usize, out: &mut Vec<u8>) {
        Self::write_prefix(out);
        self.write_values(rows, out);
    }
}

/// Map(LowCardinality(String), V): how many entries each row has, all keys, all values.
#[derive(Debug)]
pub(super) struct Entries<V> {
    ends: Vec<u64>,
    keys: Words,
    values: V,
}

impl<V: Default> Default for Entries<V> {
    fn default() -> Self {
        Self { ends: Vec::new(), keys: Words::required(), values: V::default() }
    }
}

impl<V> Entries<V> {
    /// One more entry of a row, in the order of the rows.
    pub(super) fn add(&mut self, row: usize, key: &str, push: impl FnOnce(&mut V)) {
        let before = self.keys.numbers.len() as u64;
        if self.ends.len() <= row {
            self.ends.resize(row + 1, before);
        }
        self.keys.push(key);
        push(&mut self.values);
        self.ends[row] = before + 1;
    }
}

impl<V: WireColumn> WireColumn for Entries<V> {
    fn is_used(&self) -> bool {
        !self.ends.is_empty()
    }

    fn wire_bytes(&self, rows: usize) -> usize {
        let entries = self.keys.numbers.len();
        8 + 8 * rows + self.keys.wire_bytes(entries) + self.values.wire_bytes(entries)
    }

    fn write(&self, rows: usize, out: &mut Vec<u8>) {
        let entries = self.keys.numbers.len();
        Words::write_prefix(out);
        for end in self.ends.iter().copied().chain(std::iter::repeat(entries as u64)).take(rows) {
            out.extend_from_slice(&end.to_le_bytes());
        }
        if entries > 0 {
            self.keys.write_values(entries, out);
            self.values.write(entries, out);
        }
    }
}
