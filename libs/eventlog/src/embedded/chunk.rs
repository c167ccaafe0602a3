//! A chunk: consecutive records of one partition that became durable together, as they lie on disk.
//!
//! Integers are little-endian:
//!
//! ```text
//! version      u8 = 1, then 3 zero bytes
//! crc          u32, CRC-32 of everything after it
//! first        u64, offset of the first record
//! appended_ms  i64, UTC ms, of all records
//! count        u32, at least 1
//! ends         count x u32, where each record ends in the payload
//! payload      the records' bytes, one after another
//! ```

use bytes::Bytes;
use model::Offset;

use crate::{Batch, Record};

const VERSION: u8 = 1;
const CHECKED_FROM: usize = 8;
const HEADER: usize = 28;

/// A chunk whose bytes were checked.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    first: Offset,
    appended_ms: i64,
    count: u32,
    bytes: Bytes,
}

impl Chunk {
    /// Puts the batches one after another. At least one record, at most 4 GiB of payload: the caller sees to it.
    pub(super) fn build(first: Offset, appended_ms: i64, batches: &[Batch]) -> Self {
        let count = batches.iter().map(|batch| batch.ends.len()).sum::<usize>() as u32;
        let payload = batches.iter().map(|batch| batch.buffer.len()).sum::<usize>();
        let mut bytes = Vec::with_capacity(HEADER + 4 * count as usize + payload);
        bytes.extend_from_slice(&[VERSION, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&first.to_le_bytes());
        bytes.extend_from_slice(&appended_ms.to_le_bytes());
        bytes.extend_from_slice(&count.to_le_bytes());
        let mut base = 0u32;
        for batch in batches {
            bytes.extend(batch.ends.iter().flat_map(|end| (base + end).to_le_bytes()));
            base += batch.buffer.len() as u32;
        }
        for batch in batches {
            bytes.extend_from_slice(&batch.buffer);
        }
        let crc = crc32fast::hash(&bytes[CHECKED_FROM..]);
        bytes[4..CHECKED_FROM].copy_from_slice(&crc.to_le_bytes());
        Self { first, appended_ms, count, bytes: bytes.into() }
    }

    /// Checks all of it; the error says what is wrong.
    pub(super) fn parse(bytes: Bytes) -> Result<Self, &'static str> {
        if bytes.len() < HEADER {
            return Err("a chunk is too short");
        }
        if bytes[..4] != [VERSION, 0, 0, 0] {
            return Err("a chunk has an unknown version");
        }
        if crc32fast::hash(&bytes[CHECKED_FROM..]) != u32_at(&bytes, 4) {
            return Err("a chunk's checksum is wrong");
        }
        let chunk =
            Self { first: u64_at(&bytes, 8), appended_ms: u64_at(&bytes, 16) as i64, count: u32_at(&bytes, 24), bytes };
        // A right checksum over wrong ends would be a defect of the writer: refused here, so that slicing can't panic.
        let payload = chunk.bytes.len().checked_sub(HEADER + 4 * chunk.count as usize);
        let payload = payload.filter(|_| chunk.count > 0).ok_or("a chunk's record count is wrong")?;
        let rising = (1..chunk.len()).all(|index| chunk.record_end(index - 1) <= chunk.record_end(index));
        if !rising || chunk.record_end(chunk.len() - 1) != payload {
            return Err("a chunk's record ends are wrong");
        }
        Ok(chunk)
    }

    /// The offset of its first record.
    pub(super) fn first(&self) -> Offset {
        self.first
    }

    /// The offset after its last record.
    pub(super) fn end(&self) -> Offset {
        self.first + u64::from(self.count)
    }

    /// When its records were taken, UTC ms.
    pub(super) fn appended_ms(&self) -> i64 {
        self.appended_ms
    }

    /// How many records it has.
    pub(super) fn len(&self) -> usize {
        self.count as usize
    }

    /// What is stored.
    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The record at `index`, which is below [`Chunk::len`]. Shares the chunk's memory.
    pub(super) fn record(&self, index: usize) -> Record {
        let payload = HEADER + 4 * self.len();
        let start = if index == 0 { 0 } else { self.record_end(index - 1) };
        Record {
            offset: self.first + index as u64,
            appended_ms: self.appended_ms,
            payload: self.bytes.slice(payload + start..payload + self.record_end(index)),
        }
    }

    /// How many bytes of payload its records from offset `from` on have.
    pub(super) fn payload_from(&self, from: Offset) -> usize {
        let skipped = from.saturating_sub(self.first).min(u64::from(self.count)) as usize;
        let start = if skipped == 0 { 0 } else { self.record_end(skipped - 1) };
        self.record_end(self.len() - 1) - start
    }

    fn record_end(&self, index: usize) -> usize {
        u32_at(&self.bytes, HEADER + 4 * index) as usize
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batch(records: &[Vec<u8>]) -> Batch {
        let mut buffer = Vec::new();
        let ends = records.iter().map(|record| {
            buffer.extend_from_slice(record);
            buffer.len() as u32
        });
        let ends = ends.collect();
        Batch { partition: 0, buffer: buffer.into(), ends }
    }

    proptest! {
        #[test]
        fn what_was_built_is_read(
            batches in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 1..9), 1..5),
            first in 0u64..1 << 40,
            appended_ms in any::<i64>(),
        ) {
            let chunk = Chunk::build(first, appended_ms, &batches.iter().map(|b| batch(b)).collect::<Vec<_>>());
            let read = Chunk::parse(chunk.bytes().clone()).unwrap();
            let records: Vec<Record> = (0..read.len()).map(|index| read.record(index)).collect();
            let wanted = batches.concat().into_iter().enumerate();
            let wanted = wanted.map(|(i, p)| Record { offset: first + i as u64, appended_ms, payload: p.into() });
            prop_assert_eq!(records, wanted.collect::<Vec<_>>());
        }

        #[test]
        fn any_flipped_bit_and_any_cut_is_refused(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let bytes = Chunk::build(7, 9, &[batch(&[b"abc".to_vec(), b"".to_vec(), b"de".to_vec()])]).bytes().to_vec();
            let mut flipped = bytes.clone();
            flipped[at.index(bytes.len())] ^= 1 << bit;
            prop_assert!(Chunk::parse(flipped.into()).is_err());
            prop_assert!(Chunk::parse(bytes[..at.index(bytes.len())].to_vec().into()).is_err());
        }
    }
}
