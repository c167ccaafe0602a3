//! What a log is: stored when it is made, compared when it is opened. Only its partitions may become more.

use model::Incarnation;

use crate::{LogError, LogOptions};

const VERSION: u8 = 1;
const HEADER: usize = 17;

/// The facts of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) incarnation: Incarnation,
    pub(super) partitions: u32,
    pub(super) topic: String,
}

impl Identity {
    /// Version u8, incarnation u64, partitions u32, CRC-32 of these and the topic u32, the topic; little-endian.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.incarnation.to_le_bytes());
        bytes.extend_from_slice(&self.partitions.to_le_bytes());
        let crc = checksum(&bytes, self.topic.as_bytes());
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(self.topic.as_bytes());
        bytes
    }

    /// `None` if these aren't the bytes of an identity.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, topic) = bytes.split_at_checked(HEADER)?;
        let crc = u32::from_le_bytes(header[13..].try_into().ok()?);
        if header[0] != VERSION || crc != checksum(&header[..13], topic) {
            return None;
        }
        Some(Self {
            incarnation: u64::from_le_bytes(header[1..9].try_into().ok()?),
            partitions: u32::from_le_bytes(header[9..13].try_into().ok()?),
            topic: String::from_utf8(topic.to_vec()).ok()?,
        })
    }

    /// Refuses options that describe another log.
    pub(super) fn check(&self, options: &LogOptions) -> Result<(), LogError> {
        if self.topic != options.topic {
            return Err(LogError::Config(format!(
                "the log's topic is {:?}, not {:?}; the name is fixed when a log is made",
                self.topic, options.topic
            )));
        }
        Ok(())
    }
}

fn checksum(header: &[u8], topic: &[u8]) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(header);
    hash.update(topic);
    hash.finalize()
}
