//! Chunks on disk: one fjall keyspace for each partition, chunks under their first offset, big-endian.
//!
//! A keyspace of its own means that a partition's tables never overlap, so compaction moves them without rewriting.

use std::{path::Path, sync::Arc};

use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode, config::CompressionPolicy};
use model::{Incarnation, Offset, PartitionId};
use parking_lot::Mutex;

use super::{
    chunk::Chunk,
    fault,
    identity::Identity,
    journal,
    layout::{self, Layout},
    slots::SlotFile,
    trimmed::Trimmed,
};
use crate::{LogError, LogOptions};

const IDENTITY: &str = "identity";
/// All partitions' memtables together; a partition gets its share, within bounds that keep tables of a useful size.
const MEMTABLES_BYTES: u64 = 64 << 20;
/// fjall keeps journals until the memtables in them are flushed; more than this forces a flush. Bounds replay at open.
const JOURNALS_BYTES: u64 = 256 << 20;
/// Chunks deleted by one batch of a trim: bounds how long an append waits behind it.
const TRIM_CHUNKS: usize = 256;

/// The open store. Dropping it lets go of the files.
pub(super) struct Store {
    db: Database,
    meta: Keyspace,
    partitions: Vec<Keyspace>,
    /// The acknowledged ends: a second witness beside the journal, whose last write could be torn or damaged and looks
    /// the same. Written after each commit, not fsynced: it may lag behind the journal, and is never ahead of it.
    ends: Mutex<SlotFile>,
    /// Last: the directory stays locked until the files are let go of.
    _layout: Layout,
}

/// What was found when the store was opened.
pub(super) struct Found {
    pub(super) identity: Identity,
    /// For each partition the first offset there and the offset after the last.
    pub(super) bounds: Vec<(Offset, Offset)>,
    /// The highest time of any record ever appended, as far as known.
    pub(super) last_ms: i64,
}

impl Store {
    /// Makes an empty store in an empty directory, durably.
    pub(super) fn create(place: &Path, options: &LogOptions, incarnation: Incarnation) -> Result<(), LogError> {
        let identity = Identity { incarnation, partitions: options.partitions, topic: options.topic.clone() };
        let fail = |error| fault::storage("making the log", error);
        let db = open_database(place).map_err(fail)?;
        for partition in 0..options.partitions {
            open_partition(&db, partition, options.partitions).map_err(fail)?;
        }
        let meta = open_meta(&db).map_err(fail)?;
        meta.insert(IDENTITY, identity.encode()).map_err(fail)?;
        db.persist(PersistMode::SyncAll).map_err(fail)?;
        let ends = encode_ends(std::iter::repeat_n(0, options.partitions as usize));
        SlotFile::create(&place.join("ends"), &ends).map_err(|error| fault::file("making the log", error))
    }

    /// Gives a store that isn't open more partitions, durably. Cut off, it has them or not.
    pub(super) fn grow(place: &Path, partitions: u32) -> Result<(), LogError> {
        let fail = |error| fault::storage("growing the log", error);
        journal::check(&place.join("records"))?;
        let db = open_database(place).map_err(fail)?;
        let meta = open_meta(&db).map_err(fail)?;
        let identity = identity(&meta)?;
        for partition in identity.partitions..partitions {
            open_partition(&db, partition, partitions).map_err(fail)?;
        }
        // First: as long as the identity is the old one, nobody can read them, which is as if they were torn.
        let (path, new) = (place.join("ends"), place.join("ends.new"));
        let replaced = || {
            let (_, ends) = SlotFile::open(&path, 8 * identity.partitions as usize)?;
            let Some(mut ends) = ends else { return Ok(()) };
            ends.resize(8 * partitions as usize, 0);
            if new.try_exists()? {
                std::fs::remove_file(&new)?;
            }
            SlotFile::create(&new, &ends)?;
            std::fs::rename(&new, &path)?;
            layout::sync_dir(place)
        };
        replaced().map_err(|error| fault::file("the acknowledged ends", error))?;
        meta.insert(IDENTITY, Identity { partitions, ..identity }.encode()).map_err(fail)?;
        db.persist(PersistMode::SyncAll).map_err(fail)
    }

    /// Opens what [`Store::create`] made and checks that what was acknowledged is there.
    pub(super) fn open(layout: Layout, place: &Path, options: &LogOptions) -> Result<(Self, Found), LogError> {
        let fail = |error| fault::storage("opening the log", error);
        if !place.join("records").exists() {
            return Err(LogError::Damaged(format!("{} has no records", place.display())));
        }
        journal::check(&place.join("records"))?;
        let db = open_database(place).map_err(fail)?;
        let meta = open_meta(&db).map_err(fail)?;
        let identity = identity(&meta)?;
        identity.check(options)?;

        let count = identity.partitions;
        let (ends, acknowledged) = SlotFile::open(&place.join("ends"), 8 * count as usize)
            .map_err(|error| fault::file("the acknowledged ends", error))?;
        let partitions = (0..count).map(|partition| open_partition(&db, partition, count));
        let partitions = partitions.collect::<Result<Vec<_>, _>>().map_err(fail)?;
        let store = Self { db, meta, partitions, ends: Mutex::new(ends), _layout: layout };

        let mut found = Found { identity, bounds: Vec::new(), last_ms: i64::MIN };
        for partition in 0..count {
            let (begin, end, last_ms) = store.recover(partition)?;
            found.bounds.push((begin, end));
            found.last_ms = found.last_ms.max(last_ms);
        }
        let acknowledged = acknowledged.as_deref().map(decode_ends).unwrap_or_default();
        for (partition, (wanted, (_, end))) in acknowledged.into_iter().zip(&found.bounds).enumerate() {
            if wanted > *end {
                return Err(LogError::Damaged(format!(
                    "partition {partition}: offsets {end} to {} were acknowledged and are gone",
                    wanted - 1
                )));
            }
        }
        Ok((store, found))
    }

    /// Begin, end and last time of a partition.
    fn recover(&self, partition: PartitionId) -> Result<(Offset, Offset, i64), LogError> {
        let place = format!("partition {partition}");
        let fail = |error| fault::storage(&place, error);
        let trimmed = match self.meta.get(Trimmed::key(partition)).map_err(fail)? {
            Some(bytes) => Trimmed::decode(&bytes)
                .ok_or_else(|| LogError::Damaged(format!("{place}: the note of what was trimmed is unreadable")))?,
            None => Trimmed::default(),
        };
        let keyspace = &self.partitions[partition as usize];
        let Some(first) = keyspace.first_key_value() else {
            return Ok((trimmed.begin, trimmed.begin, trimmed.last_ms));
        };
        let first = offset_of(&first.key().map_err(fail)?);
        if first != trimmed.begin {
            return Err(LogError::Damaged(format!("{place}: begins at offset {first} instead of {}", trimmed.begin)));
        }
        let last = keyspace.last_key_value().map(|guard| guard.into_inner()).transpose().map_err(fail)?;
        let (key, value) = last.ok_or_else(|| LogError::Damaged(format!("{place}: the last chunk is gone")))?;
        let last = parse(partition, offset_of(&key), value)?;
        Ok((trimmed.begin, last.end(), last.appended_ms().max(trimmed.last_ms)))
    }

    /// Writes the chunks, fsyncs, and only then makes them visible. All of them or, after a crash, none.
    pub(super) fn commit(&self, chunks: &[(PartitionId, Arc<Chunk>)]) -> fjall::Result<()> {
        // With a durability set, fjall fsyncs the journal between writing it and changing the memtable; without one it
        // would acknowledge what only the page cache has.
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncAll));
        for (partition, chunk) in chunks {
            let key = chunk.first().to_be_bytes();
            batch.insert(&self.partitions[*partition as usize], key, chunk.bytes().clone());
        }
        batch.commit()
    }

    /// Notes the ends that are acknowledged from now on.
    pub(super) fn note_ends(&self, ends: &[Offset]) -> std::io::Result<()> {
        self.ends.lock().write(&encode_ends(ends.iter().copied()))
    }

    /// Makes all that was ever written durable, and notes its ends durably.
    pub(super) fn settle(&self, ends: &[Offset]) -> Result<(), LogError> {
        self.db.persist(PersistMode::SyncAll).map_err(|error| fault::storage("syncing the log", error))?;
        let noted = self.note_ends(ends).and_then(|()| self.ends.lock().sync());
        noted.map_err(|error| fault::file("the acknowledged ends", error))
    }

    /// The chunks that hold the records from `from` up to `end`, in order, until they hold enough: at most
    /// `max_records`, and no further chunk once `max_bytes` are reached. `from < end`.
    pub(super) fn scan(
        &self,
        partition: PartitionId,
        from: Offset,
        end: Offset,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Arc<Chunk>>, LogError> {
        let keyspace = &self.partitions[partition as usize];
        let fail = |at: Offset| move |error| fault::storage(&format!("partition {partition}, offset {at}"), error);
        let start = keyspace.range(..=from.to_be_bytes()).next_back();
        let start = start.map(|guard| guard.key()).transpose().map_err(fail(from))?;
        let mut next = start.map_or(from, |key| offset_of(&key));
        let (mut chunks, mut bytes) = (Vec::new(), 0);
        for guard in keyspace.range(next.to_be_bytes()..end.to_be_bytes()) {
            let (key, value) = guard.into_inner().map_err(fail(next))?;
            let chunk = parse(partition, offset_of(&key), value)?;
            if chunk.first() != next {
                break;
            }
            next = chunk.end();
            bytes += chunk.payload_from(from);
            chunks.push(Arc::new(chunk));
            if next >= end || next.saturating_sub(from) >= max_records as u64 || bytes >= max_bytes {
                return Ok(chunks);
            }
        }
        Err(LogError::Damaged(format!("partition {partition}: offset {} is missing", next.max(from))))
    }

    /// Deletes some of the chunks that end at or below `before`, durably, and returns the new begin; nothing to delete
    /// if that is the old one. `show` is told the new begin before anything is gone. `end` is the durable end, at least
    /// `before`; `last_ms` the highest time so far, to be known when no chunk tells it any more.
    pub(super) fn trim_some(
        &self,
        partition: PartitionId,
        begin: Offset,
        before: Offset,
        end: Offset,
        last_ms: i64,
        show: impl FnOnce(Offset),
    ) -> fjall::Result<Offset> {
        let keyspace = &self.partitions[partition as usize];
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncAll));
        let mut keys = keyspace.range(begin.to_be_bytes()..).map(|guard| guard.key());
        let mut key = keys.next().transpose()?;
        let mut begin = begin;
        while let Some(first) = key.filter(|_| batch.len() < TRIM_CHUNKS) {
            key = keys.next().transpose()?;
            let chunk_end = key.as_deref().map_or(end, offset_of);
            // The last chunk may be newer than `end`; then it begins at or after `before`.
            if chunk_end > before || offset_of(&first) >= before {
                break;
            }
            batch.remove(keyspace, first);
            begin = chunk_end;
        }
        if !batch.is_empty() {
            show(begin);
            batch.insert(&self.meta, Trimmed::key(partition), Trimmed { begin, last_ms }.encode());
            batch.commit()?;
        }
        Ok(begin)
    }

    /// Makes every later commit fail.
    #[cfg(test)]
    pub(super) fn break_down(&self) {
        self.ends.lock().break_down();
    }

    /// Moves a partition's chunks from the journal's memtable into a table, for tests of what lies there.
    #[cfg(test)]
    pub(super) fn flush(&self, partition: PartitionId) {
        self.partitions[partition as usize].rotate_memtable_and_wait().expect("the memtable can be flushed");
    }
}

fn open_database(place: &Path) -> fjall::Result<Database> {
    Database::builder(place.join("records"))
        // `journal` reads it; and what a group commit writes once needn't be small, but quick.
        .journal_compression(CompressionType::None)
        .max_journaling_size(JOURNALS_BYTES)
        .manual_journal_persist(true)
        .open()
}

fn open_meta(db: &Database) -> fjall::Result<Keyspace> {
    db.keyspace("meta", || KeyspaceCreateOptions::default().max_memtable_size(1 << 20).manual_journal_persist(true))
}

fn identity(meta: &Keyspace) -> Result<Identity, LogError> {
    let stored = meta.get(IDENTITY).map_err(|error| fault::storage("the log's identity", error))?;
    let identity = stored.and_then(|bytes| Identity::decode(&bytes));
    identity.ok_or_else(|| LogError::Damaged("the log's identity is missing or unreadable".into()))
}

fn open_partition(db: &Database, partition: PartitionId, partitions: u32) -> fjall::Result<Keyspace> {
    let memtable = (MEMTABLES_BYTES / u64::from(partitions)).clamp(1 << 20, 16 << 20);
    db.keyspace(&format!("p{partition}"), || {
        KeyspaceCreateOptions::default()
            .max_memtable_size(memtable)
            .manual_journal_persist(true)
            .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
    })
}

fn parse(partition: PartitionId, offset: Offset, value: fjall::UserValue) -> Result<Chunk, LogError> {
    let place = |what: &str| LogError::Damaged(format!("partition {partition}, offset {offset}: {what}"));
    let chunk = Chunk::parse(value.into()).map_err(place)?;
    if chunk.first() == offset { Ok(chunk) } else { Err(place("a chunk lies under another's key")) }
}

/// The offset in a key; a key of another length is no offset, and then no chunk's own.
fn offset_of(key: impl AsRef<[u8]>) -> Offset {
    key.as_ref().try_into().map_or(Offset::MAX, Offset::from_be_bytes)
}

fn encode_ends(ends: impl Iterator<Item = Offset>) -> Vec<u8> {
    ends.flat_map(Offset::to_le_bytes).collect()
}

fn decode_ends(bytes: &[u8]) -> Vec<Offset> {
    bytes.as_chunks().0.iter().copied().map(Offset::from_le_bytes).collect()
}
