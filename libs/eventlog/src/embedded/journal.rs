//! What fjall's journals hold, looked at before fjall opens them.
//!
//! fjall can't tell a write that a crash cut short from damage. It cuts the journal at the first entry that it can't
//! read, whatever comes after; and it refuses to open if a power cut kept a write's last page but not one before it.
//! The log can tell: nothing is written behind a write before that is durable. So an unreadable write with a whole one
//! behind it is damage, and the files stay as they are; one with nothing behind it was never acknowledged (or, as the
//! acknowledged ends then say, is damage too) and is cut off.
//!
//! The format is that of fjall's version 3 (`journal/entry.rs`), little-endian:
//!
//! ```text
//! write   1 u8, items u32, sequence number u64, the items, then 3 u8, XXH3-64 of the items' bytes u64, "FJL" 3
//! item    2 u8, kind u8, compression u8, keyspace u64, key length u16, value length u32, stored length u32, key, value
//!    or   4 u8, keyspace u64
//! ```
//!
//! A new file ends in zeros: it was made larger than what it holds.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::Xxh3;

use super::fault;
use crate::LogError;

const WRITE: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: &[u8] = b"FJL\x03";

/// Checks all journals in the directory and cuts off what a crash left at the end of the newest.
pub(super) fn check(records: &Path) -> Result<(), LogError> {
    let fail = |error| fault::file("the journal", error);
    let journals = list(records).map_err(fail)?;
    let newest = journals.last().cloned();
    for journal in journals {
        let bytes = fs::read(&journal).map_err(fail)?;
        let bytes = written(&bytes);
        let whole = whole_writes(bytes);
        let rest = &bytes[whole..];
        if rest.is_empty() {
            continue;
        }
        let damaged = Some(&journal) != newest.as_ref() || (1..rest.len()).any(|at| write_len(&rest[at..]).is_some());
        if damaged {
            return Err(LogError::Damaged(format!("the journal {} is unreadable at byte {whole}", journal.display())));
        }
        tracing::debug!(journal = %journal.display(), whole, "cutting off a write that was cut short");
        cut(&journal, whole as u64).map_err(fail)?;
    }
    Ok(())
}

/// The journals, oldest first.
fn list(records: &Path) -> io::Result<Vec<PathBuf>> {
    let mut journals = Vec::new();
    for entry in fs::read_dir(records)? {
        let path = entry?.path();
        let id = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl")?.parse::<u64>().ok());
        journals.extend(id.map(|id| (id, path)));
    }
    journals.sort_unstable();
    if journals.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "there is none"));
    }
    Ok(journals.into_iter().map(|(_, path)| path).collect())
}

fn cut(journal: &Path, len: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(journal)?;
    file.set_len(len)?;
    file.sync_all()
}

/// All but the zeros at the end, where no write ends. Most of a new file is zeros: a page of them is one comparison.
fn written(bytes: &[u8]) -> &[u8] {
    const ZEROS: [u8; 4096] = [0; 4096];
    let pages = bytes.rchunks(ZEROS.len()).take_while(|page| **page == ZEROS[..page.len()]);
    let bytes = &bytes[..bytes.len() - pages.map(<[u8]>::len).sum::<usize>()];
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &bytes[..end]
}

/// How many bytes whole writes take from the start.
fn whole_writes(bytes: &[u8]) -> usize {
    let mut whole = 0;
    while let Some(len) = write_len(&bytes[whole..]) {
        whole += len;
    }
    whole
}

/// The length of the write that the bytes begin with, if there is one and it is whole.
fn write_len(bytes: &[u8]) -> Option<usize> {
    if *bytes.first()? != WRITE {
        return None;
    }
    let items = u32::from_le_bytes(*bytes.get(1..)?.first_chunk()?);
    let start = 13usize;
    let mut at = start;
    for _ in 0..items {
        at = at.checked_add(item_len(bytes.get(at..)?)?)?;
    }
    let covered = bytes.get(start..at)?;
    let end = bytes.get(at..at + 13)?;
    if end[0] != END || &end[9..] != TRAILER {
        return None;
    }
    let mut hash = Xxh3::new();
    hash.update(covered);
    (end[1..9] == hash.digest().to_le_bytes()).then_some(at + 13)
}

fn item_len(bytes: &[u8]) -> Option<usize> {
    match *bytes.first()? {
        ITEM => {
            let key = u16::from_le_bytes(*bytes.get(11..)?.first_chunk()?);
            let [value, stored] = [13, 17].map(|at| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?)));
            // Nothing is compressed here, so both lengths are one.
            (value? == stored? && bytes[2] == 0).then_some(21 + usize::from(key) + value? as usize)
        }
        CLEAR => Some(9),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn writes(count: u8) -> Vec<Vec<u8>> {
        let write = |i: u8| {
            let mut items = vec![ITEM, 0, 0];
            items.extend_from_slice(&7u64.to_le_bytes());
            items.extend_from_slice(&[1, 0, 3, 0, 0, 0, 3, 0, 0, 0, b'k', i, i, i]);
            let mut hash = Xxh3::new();
            hash.update(&items);
            let mut bytes = vec![WRITE, 1, 0, 0, 0, i, 0, 0, 0, 0, 0, 0, 0];
            bytes.extend_from_slice(&items);
            bytes.push(END);
            bytes.extend_from_slice(&hash.digest().to_le_bytes());
            bytes.extend_from_slice(TRAILER);
            bytes
        };
        (1..=count).map(write).collect()
    }

    fn checked(bytes: &[u8]) -> (Result<(), LogError>, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join("0.jnl");
        fs::write(&journal, bytes).unwrap();
        (check(dir.path()), fs::read(journal).unwrap())
    }

    #[test]
    fn a_whole_journal_is_left_alone() {
        for bytes in [vec![], vec![0; 100], writes(3).concat(), [writes(2).concat(), vec![0; 10_000]].concat()] {
            let (outcome, left) = checked(&bytes);
            outcome.unwrap();
            assert_eq!(left, bytes);
        }
    }

    #[test]
    fn a_torn_last_write_is_cut_off() {
        let writes = writes(3);
        let before = writes[..2].concat();
        for (zeros, byte) in
            [0, 1, 10_000].into_iter().flat_map(|zeros| (0..writes[2].len()).map(move |byte| (zeros, byte)))
        {
            let mut torn = [writes.concat(), vec![0; zeros]].concat();
            torn[before.len() + byte] ^= 0x10;
            let (outcome, left) = checked(&torn);
            outcome.unwrap();
            // The sequence number isn't covered by the checksum.
            assert!(left == before || (5..13).contains(&byte), "byte {byte}, before {zeros} zeros");
        }
    }

    #[test]
    fn an_unreadable_write_before_a_whole_one_is_damage_and_stays() {
        let writes = writes(3);
        for byte in (0..writes[1].len()).filter(|byte| !(5..13).contains(byte)) {
            let mut damaged = writes.concat();
            damaged[writes[0].len() + byte] ^= 0x10;
            let (outcome, left) = checked(&damaged);
            assert!(matches!(outcome, Err(LogError::Damaged(_))), "byte {byte}");
            assert_eq!(left, damaged);
        }
    }

    #[test]
    fn a_journal_that_is_not_the_newest_must_be_whole() {
        let dir = tempfile::tempdir().unwrap();
        let torn = [writes(1).concat(), vec![1]].concat();
        fs::write(dir.path().join("9.jnl"), &torn).unwrap();
        check(dir.path()).unwrap();
        fs::write(dir.path().join("9.jnl"), &torn).unwrap();
        fs::write(dir.path().join("10.jnl"), writes(1).concat()).unwrap();
        assert!(matches!(check(dir.path()), Err(LogError::Damaged(_))));
    }
}
