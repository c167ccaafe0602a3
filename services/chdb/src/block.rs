//! ClickHouse's native compression framing (`compress=1`, `decompress=1`): blocks of
//! `checksum (16) | method (1) | compressed size with this header (4) | raw size (4) | data`, integers little-endian,
//! the checksum CityHash128 1.0.2 of all that follows it.

use std::io::{self, Read};

use crate::error::QueryError;

const CHECKSUM_BYTES: usize = 16;
const HEADER_BYTES: usize = 9;
const LZ4: u8 = 0x82;
const ZSTD: u8 = 0x90;
const NONE: u8 = 0x02;
/// ClickHouse's own bound on both sizes.
const MAX_BLOCK_BYTES: usize = 1 << 30;
/// More than LZ4 can reach, so a larger claim is a lie that would only cost memory.
const MAX_RATIO: usize = 256;

/// Appends `data` as one LZ4 block to `out`.
pub(crate) fn write_block(data: &[u8], out: &mut Vec<u8>) {
    let compressed = lz4_flex::block::compress(data);
    let start = out.len();
    out.resize(start + CHECKSUM_BYTES, 0);
    out.push(LZ4);
    out.extend(((compressed.len() + HEADER_BYTES) as u32).to_le_bytes());
    out.extend((data.len() as u32).to_le_bytes());
    out.extend(compressed);
    let checksum = checksum(&out[start + CHECKSUM_BYTES..]);
    out[start..start + CHECKSUM_BYTES].copy_from_slice(&checksum);
}

/// The two halves of the hash, low half first.
fn checksum(data: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = cityhash_rs::cityhash_102_128(data);
    let mut bytes = [0; CHECKSUM_BYTES];
    bytes[..8].copy_from_slice(&((hash >> 64) as u64).to_le_bytes());
    bytes[8..].copy_from_slice(&(hash as u64).to_le_bytes());
    bytes
}

/// The raw bytes of a stream of blocks. Errors carry a [`QueryError`].
pub(crate) struct BlockReader<R> {
    source: R,
    frame: Vec<u8>,
    raw: Vec<u8>,
    position: usize,
}

impl<R: Read> BlockReader<R> {
    pub(crate) fn new(source: R) -> Self {
        Self { source, frame: Vec::new(), raw: Vec::new(), position: 0 }
    }

    /// Reads the next block; `false` at the end of the source.
    fn next_block(&mut self) -> io::Result<bool> {
        self.frame.clear();
        self.read(CHECKSUM_BYTES + HEADER_BYTES)?;
        if self.frame.is_empty() {
            return Ok(false);
        }
        let size = |at: usize| self.frame.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
        let (compressed, raw) = (size(CHECKSUM_BYTES + 1) as usize, size(CHECKSUM_BYTES + 5) as usize);
        if self.frame.len() < CHECKSUM_BYTES + HEADER_BYTES {
            return Err(bad("a block's header is cut off"));
        }
        if !(HEADER_BYTES..=MAX_BLOCK_BYTES).contains(&compressed) || raw > MAX_BLOCK_BYTES {
            return Err(bad("a block's size is out of range"));
        }
        self.read(compressed - HEADER_BYTES)?;
        if self.frame.len() != CHECKSUM_BYTES + compressed {
            return Err(bad("a block is cut off"));
        }
        if self.frame[..CHECKSUM_BYTES] != checksum(&self.frame[CHECKSUM_BYTES..]) {
            return Err(bad("a block's checksum doesn't match"));
        }
        self.decompress(raw)?;
        Ok(true)
    }

    fn read(&mut self, bytes: usize) -> io::Result<()> {
        self.source.by_ref().take(bytes as u64).read_to_end(&mut self.frame).map(drop)
    }

    fn decompress(&mut self, raw: usize) -> io::Result<()> {
        let data = &self.frame[CHECKSUM_BYTES + HEADER_BYTES..];
        self.position = 0;
        self.raw = match self.frame[CHECKSUM_BYTES] {
            NONE => data.to_vec(),
            LZ4 if raw > data.len().saturating_mul(MAX_RATIO) => return Err(bad("a block's raw size is impossible")),
            LZ4 => lz4_flex::block::decompress(data, raw).map_err(|e| bad(&e.to_string()))?,
            ZSTD => {
                let mut out = Vec::new();
                zstd::Decoder::new(data)?.take(raw as u64 + 1).read_to_end(&mut out)?;
                out
            }
            method => {
                let text = format!("Unknown compression method 0x{method:02x}.");
                return Err(io::Error::other(QueryError::unknown_compression(text)));
            }
        };
        if self.raw.len() == raw { Ok(()) } else { Err(bad("a block's raw size doesn't match")) }
    }
}

impl<R: Read> Read for BlockReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.position == self.raw.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let length = buffer.len().min(self.raw.len() - self.position);
        buffer[..length].copy_from_slice(&self.raw[self.position..self.position + length]);
        self.position += length;
        Ok(length)
    }
}

fn bad(reason: &str) -> io::Error {
    io::Error::other(QueryError::decompress(format!("Can't decompress the body: {reason}.")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        BlockReader::new(bytes).read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn blocks_come_back_whole() {
        let data: Vec<u8> = (0..200_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let mut framed = Vec::new();
        for part in data.chunks(70_001) {
            write_block(part, &mut framed);
        }
        write_block(b"", &mut framed);
        assert_eq!(read(&framed).unwrap(), data);
        assert!(read(b"").unwrap().is_empty());
    }

    #[test]
    fn every_flipped_or_missing_byte_is_noticed() {
        let mut framed = Vec::new();
        write_block(b"hello, hello, hello, hello", &mut framed);
        for at in 0..framed.len() {
            let mut broken = framed.clone();
            broken[at] ^= 0x10;
            assert!(read(&broken).is_err(), "byte {at}");
            assert!(at == 0 || read(&framed[..at]).is_err(), "cut at {at}");
        }
    }
}
