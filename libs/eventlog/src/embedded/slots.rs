//! A small file of fixed size whose content is replaced whole: two slots, written in turn, each with a checksum, so
//! that a write cut short leaves the content before it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

const HEADER: usize = 12;
/// Slots begin on page bounds, so that writing one can't tear the other.
const PAGE: usize = 4096;

/// The open file.
#[derive(Debug)]
pub(super) struct SlotFile {
    file: File,
    turn: u64,
    slot_bytes: usize,
}

impl SlotFile {
    /// Makes the file, durably, with its first content.
    pub(super) fn create(path: &Path, content: &[u8]) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        let mut slots = Self { file, turn: 0, slot_bytes: slot_bytes(content.len()) };
        slots.file.set_len(2 * slots.slot_bytes as u64)?;
        slots.write(content)?;
        slots.sync()
    }

    /// Opens the file and reads its newest whole content, which has `len` bytes; `None` if neither slot is whole.
    pub(super) fn open(path: &Path, len: usize) -> io::Result<(Self, Option<Vec<u8>>)> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let slot_bytes = slot_bytes(len);
        let mut all = Vec::new();
        file.read_to_end(&mut all)?;
        let slots = all.chunks(slot_bytes).filter_map(|slot| parse(slot.get(..HEADER + len)?));
        let newest = slots.max_by_key(|(turn, _)| *turn);
        let turn = newest.as_ref().map_or(0, |(turn, _)| *turn);
        Ok((Self { file, turn, slot_bytes }, newest.map(|(_, content)| content)))
    }

    /// Replaces the content, of the same length as ever. Survives the process at once, a power cut after a
    /// [`SlotFile::sync`].
    pub(super) fn write(&mut self, content: &[u8]) -> io::Result<()> {
        self.turn += 1;
        let mut slot = Vec::with_capacity(HEADER + content.len());
        slot.extend_from_slice(&self.turn.to_le_bytes());
        slot.extend_from_slice(&checksum(self.turn, content).to_le_bytes());
        slot.extend_from_slice(content);
        self.file.seek(SeekFrom::Start(self.turn % 2 * self.slot_bytes as u64))?;
        self.file.write_all(&slot)
    }

    /// Makes every later write fail, as a broken disk does.
    #[cfg(test)]
    pub(super) fn break_down(&mut self) {
        self.file = File::open("/dev/null").expect("there is a null device");
    }

    /// Makes the content durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

fn slot_bytes(len: usize) -> usize {
    (HEADER + len).next_multiple_of(PAGE)
}

fn checksum(turn: u64, content: &[u8]) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&turn.to_le_bytes());
    hash.update(content);
    hash.finalize()
}

fn parse(slot: &[u8]) -> Option<(u64, Vec<u8>)> {
    let turn = u64::from_le_bytes(slot.get(..8)?.try_into().ok()?);
    let crc = u32::from_le_bytes(slot.get(8..HEADER)?.try_into().ok()?);
    let content = &slot[HEADER..];
    (turn > 0 && crc == checksum(turn, content)).then(|| (turn, content.to_vec()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_write_cut_short_leaves_the_content_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("slots");
        SlotFile::create(&path, b"one").unwrap();
        let (mut slots, content) = SlotFile::open(&path, 3).unwrap();
        assert_eq!(content.unwrap(), b"one");
        slots.write(b"two").unwrap();
        slots.write(b"six").unwrap();
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(SlotFile::open(&path, 3).unwrap().1.unwrap(), b"six");

        let newest = PAGE; // the third write is in the second slot
        for cut in 0..HEADER + 3 {
            let mut torn = whole.clone();
            torn[newest + cut..newest + HEADER + 3].fill(0);
            std::fs::write(&path, torn).unwrap();
            assert_eq!(SlotFile::open(&path, 3).unwrap().1.unwrap(), b"two", "cut at {cut}");
        }
        std::fs::write(&path, b"").unwrap();
        assert!(SlotFile::open(&path, 3).unwrap().1.is_none());
    }
}
