//! The Native format, as far as results need it: block after block, as ClickHouse writes it over HTTP.
//!
//! The official client reads it too, but keeps from its callers what the server says of a query's cost.

use bytes::{Buf, Bytes, BytesMut};
use clickhouse::{native::DataTypeNode, query::BytesCursor};

use super::{
    Cell, ResultColumn, RowBlock, WarehouseError,
    cell::{Form, form},
};

/// Values of a block that are believed to be there; more can only be an answer that isn't one.
const MOST_ROWS: u64 = 1 << 32;
/// Of a LowCardinality column: the one version there is, and how each block must say that its keys follow.
const SHARED_DICTIONARY: u64 = 1;
const KEYS_FOLLOW: u64 = 0x600;

/// What a query has read from tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadCost {
    /// Rows.
    pub rows: u64,
    /// Bytes, uncompressed.
    pub bytes: u64,
}

/// An answer as it comes.
pub(super) struct Blocks {
    cursor: BytesCursor,
    /// What has come and isn't read yet.
    chunk: Bytes,
}

impl Blocks {
    pub(super) fn new(cursor: BytesCursor) -> Self {
        Self { cursor, chunk: Bytes::new() }
    }

    /// What the server said of the cost when the answer began; `None` if it was still reading then. An embedded one says of no time then.
    pub(super) fn cost(&self) -> Option<ReadCost> {
        let summary = self.cursor.summary()?;
        let (rows, bytes) = (summary.read_rows()?, summary.read_bytes()?);
        let is_all = summary.elapsed_ns()? > 0 && summary.total_rows_to_read().is_none_or(|all| rows >= all);
        is_all.then_some(ReadCost { rows, bytes })
    }

    /// The next block; none at the end of the answer. Not to be cancelled and called again: what was read is lost.
    pub(super) async fn next(&mut self) -> Result<Option<RowBlock>, WarehouseError> {
        if !self.fill().await? {
            return Ok(None);
        }
        let (columns, rows) = (self.varuint().await?, self.varuint().await?);
        if rows > MOST_ROWS {
            return Err(broken("a block has too many rows"));
        }
        let rows = rows as usize;
        let mut block = RowBlock { rows, columns: Vec::new() };
        for _ in 0..columns {
            let (name, kind) = (self.text().await?, self.text().await?);
            let kind = DataTypeNode::new(&kind).map_err(|error| broken(&error.to_string()))?;
            let form = form(&kind).ok_or_else(|| broken(&format!("a column of type {kind} is none of ours")))?;
            let cells = if rows == 0 { Vec::new() } else { self.cells(&kind, form, rows).await? };
            block.columns.push(ResultColumn { name, cells });
        }
        Ok(Some(block))
    }

    async fn cells(&mut self, kind: &DataTypeNode, form: Form, rows: usize) -> Result<Vec<Cell>, WarehouseError> {
        match kind {
            DataTypeNode::LowCardinality(inner) => {
                self.words(form, matches!(**inner, DataTypeNode::Nullable(_)), rows).await
            }
            DataTypeNode::Nullable(_) => {
                let nulls = self.take(rows).await?;
                let mut cells = self.values(form, rows).await?;
                for (cell, _) in cells.iter_mut().zip(&nulls).filter(|(_, null)| **null != 0) {
                    *cell = Cell::Null;
                }
                Ok(cells)
            }
            _ => self.values(form, rows).await,
        }
    }

    /// Places in a dictionary, which precedes them; of a nullable column its first word is NULL.
    async fn words(&mut self, form: Form, nullable: bool, rows: usize) -> Result<Vec<Cell>, WarehouseError> {
        let (version, flags, keys) = (self.u64().await?, self.u64().await?, self.u64().await?);
        if version != SHARED_DICTIONARY || flags & !0xff != KEYS_FOLLOW || keys > MOST_ROWS {
            return Err(broken("a dictionary is written in an unknown way"));
        }
        let mut words = self.values(form, keys as usize).await?;
        if let (true, Some(first)) = (nullable, words.first_mut()) {
            *first = Cell::Null;
        }
        let (width, count) = (1 << (flags & 3), self.u64().await?);
        if count != rows as u64 {
            return Err(broken("a dictionary is for another number of rows"));
        }
        let places = self.take(rows * width).await?;
        let place = |bytes: &[u8]| bytes.iter().rev().fold(0usize, |n, byte| n << 8 | usize::from(*byte));
        let word = |bytes| words.get(place(bytes)).cloned().ok_or_else(|| broken("a word is not in its dictionary"));
        places.chunks_exact(width).map(word).collect()
    }

    async fn values(&mut self, form: Form, count: usize) -> Result<Vec<Cell>, WarehouseError> {
        let Some(width) = form.width() else {
            let mut texts = Vec::with_capacity(count.min(1 << 16));
            for _ in 0..count {
                texts.push(Cell::String(self.text().await?));
            }
            return Ok(texts);
        };
        let bytes = count.checked_mul(width).ok_or_else(|| broken("a column is too long"))?;
        self.take(bytes).await?.chunks_exact(width).map(|value| form.read(value)).collect()
    }

    /// Makes sure that there is something to read; `false` at the end.
    async fn fill(&mut self) -> Result<bool, WarehouseError> {
        while self.chunk.is_empty() {
            match self.cursor.next().await? {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    async fn take(&mut self, count: usize) -> Result<Bytes, WarehouseError> {
        if count <= self.chunk.len() {
            return Ok(self.chunk.split_to(count));
        }
        let mut taken = BytesMut::new(); // grows with what comes, whatever is promised
        while taken.len() < count {
            if !self.fill().await? {
                return Err(broken("it breaks off"));
            }
            let part = (count - taken.len()).min(self.chunk.len());
            taken.extend_from_slice(&self.chunk.split_to(part));
        }
        Ok(taken.freeze())
    }

    async fn varuint(&mut self) -> Result<u64, WarehouseError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1).await?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(broken("a number has no end"))
    }

    async fn u64(&mut self) -> Result<u64, WarehouseError> {
        Ok(self.take(8).await?.get_u64_le())
    }

    /// Bytes that aren't UTF-8 are replaced.
    async fn text(&mut self) -> Result<String, WarehouseError> {
        let length = usize::try_from(self.varuint().await?).map_err(|_| broken("a text is too long"))?;
        Ok(String::from_utf8_lossy(&self.take(length).await?).into_owned())
    }
}

pub(super) fn broken(what: &str) -> WarehouseError {
    WarehouseError::Protocol(format!("an answer in Native: {what}"))
}
