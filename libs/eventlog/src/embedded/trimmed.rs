use model::{Offset, PartitionId};

/// What is left to know of a partition when its chunks are gone: written in the batch that deletes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trimmed {
    /// The first offset still there; if no chunk is left, the offset that the next record gets.
    pub(super) begin: Offset,
    /// The highest `appended_ms` at that time.
    pub(super) last_ms: i64,
}

impl Default for Trimmed {
    fn default() -> Self {
        Self { begin: 0, last_ms: i64::MIN }
    }
}

impl Trimmed {
    pub(super) fn key(partition: PartitionId) -> String {
        format!("trimmed/{partition}")
    }

    /// Begin u64, last time i64, CRC-32 of these u32; little-endian.
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(20);
        bytes.extend_from_slice(&self.begin.to_le_bytes());
        bytes.extend_from_slice(&self.last_ms.to_le_bytes());
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (fields, crc) = bytes.split_at_checked(16)?;
        if crc32fast::hash(fields) != u32::from_le_bytes(crc.try_into().ok()?) {
            return None;
        }
        Some(Self {
            begin: u64::from_le_bytes(fields[..8].try_into().ok()?),
            last_ms: i64::from_le_bytes(fields[8..].try_into().ok()?),
        })
    }
}
