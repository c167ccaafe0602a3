//! The log on the local disk: one writer thread that commits in groups, chunks in an LSM tree, the newest in memory.
//!
//! An append goes through the queue to [`writer`], which assigns offsets and a time ([`timeline`]), builds a [`chunk`]
//! for each partition, makes them durable ([`store`]), keeps them for readers ([`recent`]) and answers.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
};

use async_trait::async_trait;
use model::{Incarnation, Offset, PartitionId, Position};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::{Assignment, Batch, EventLog, LogError, LogOptions, Record, Tail, assignment::Everything, blocking};

mod chunk;
mod fault;
mod identity;
mod journal;
mod layout;
mod mending;
mod recent;
mod slots;
mod store;
#[cfg(test)]
mod tests;
mod timeline;
mod trimmed;
mod writer;

use chunk::Chunk;
use layout::Layout;
pub(crate) use mending::MendingLog;
use recent::Recent;
use store::Store;
use timeline::Timeline;
pub use timeline::{Clock, system_clock};
use writer::{Command, Pending, Writer};

const CLOSED: &str = "the log is closed";
/// One batch's payload; offsets in a chunk are 32 bits wide, and a chunk is built in memory.
const MAX_BATCH_BYTES: usize = 1 << 28;
/// What an append costs the queue beside its payload.
const PENDING_BYTES: usize = 256;

/// A log in a directory of the local disk. Records of one batch get consecutive offsets.
///
/// Dropped without [`EventLog::close`] it still finishes what was taken, and blocks as long as that takes.
pub struct EmbeddedLog {
    topic: String,
    shared: Arc<Shared>,
    queue_bytes: usize,
    room: Arc<Semaphore>,
    commands: mpsc::UnboundedSender<Command>,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// What readers and the writer share.
struct Shared {
    incarnation: Incarnation,
    timeline: Timeline,
    recent: Recent,
    /// `None` once closed. Held for reading while the disk is used, so that closing waits for whoever reads.
    store: RwLock<Option<Store>>,
    /// One trim at a time.
    trimming: Mutex<()>,
    stopped: watch::Sender<Option<Stop>>,
}

/// Why no more can be appended.
#[derive(Debug, Clone)]
enum Stop {
    Closed,
    Poisoned(Arc<str>),
}

impl EmbeddedLog {
    /// Opens the log in `dir`, or makes it.
    ///
    /// # Errors
    /// As [`crate::open`].
    pub async fn open(dir: &Path, options: &LogOptions, clock: Clock) -> Result<Self, LogError> {
        options.check()?;
        let (dir, options) = (PathBuf::from(dir), options.clone());
        blocking(move || Self::open_blocking(&dir, &options, clock)).await
    }

    fn open_blocking(dir: &Path, options: &LogOptions, clock: Clock) -> Result<Self, LogError> {
        let layout = Layout::lock(dir)?;
        let place = layout.find_or_make(|place| {
            Store::create(place, options, Incarnation::try_from(clock()).unwrap_or(0))?;
            Timeline::create(place)
        })?;
        let (store, found) = Store::open(layout, &place, options)?;
        let timeline = Timeline::open(&place, clock, &found.bounds, found.last_ms)?;
        // What was found may have been written by a process that died before its fsync. From here on it is shown.
        store.settle(&timeline.ends())?;
        let shared = Arc::new(Shared {
            incarnation: found.identity.incarnation,
            timeline,
            recent: Recent::new(found.identity.partitions, options.cache_bytes),
            store: RwLock::new(Some(store)),
            trimming: Mutex::new(()),
            stopped: watch::Sender::new(None),
        });
        let (commands, taken) = mpsc::unbounded_channel();
        let writer = Writer::new(Arc::clone(&shared), options.group_bytes);
        let writer = std::thread::Builder::new().name("eventlog-writer".into()).spawn(move || writer.run(taken));
        let writer = writer.map_err(|error| LogError::Unavailable(format!("no thread for the log: {error}")))?;
        tracing::debug!(dir = %dir.display(), bounds = ?found.bounds, "opened");
        Ok(Self {
            topic: options.topic.clone(),
            shared,
            queue_bytes: options.queue_bytes,
            room: Arc::new(Semaphore::new(options.queue_bytes)),
            commands,
            writer: Arc::new(Mutex::new(Some(writer))),
        })
    }

    /// Gives the log in `dir`, which nobody has open, more partitions.
    async fn grow_closed(dir: &Path, partitions: u32) -> Result<(), LogError> {
        let dir = PathBuf::from(dir);
        blocking(move || {
            let layout = Layout::lock(&dir)?;
            let place = layout.find_or_make(|_| Err(LogError::Damaged("there is no log any more".into())))?;
            Store::grow(&place, partitions)
        })
        .await
    }

    /// Whether it takes nothing any more.
    fn has_stopped(&self) -> bool {
        self.shared.stopped.borrow().is_some()
    }

    fn check_partition(&self, partition: PartitionId) -> Result<(), LogError> {
        let partitions = self.shared.timeline.partitions();
        if partition < partitions { Ok(()) } else { Err(LogError::NoSuchPartition { partition, partitions }) }
    }

    fn check_batch(&self, batch: &Batch) -> Result<(), LogError> {
        self.check_partition(batch.partition)?;
        if batch.buffer.len() > MAX_BATCH_BYTES {
            let len = batch.buffer.len();
            return Err(LogError::Invalid(format!("a batch has at most {MAX_BATCH_BYTES} bytes, not {len}")));
        }
        batch.check()
    }
}

#[async_trait]
impl EventLog for EmbeddedLog {
    fn topic(&self) -> &str {
        &self.topic
    }

    fn incarnation(&self) -> Incarnation {
        self.shared.incarnation
    }

    fn partitions(&self) -> u32 {
        self.shared.timeline.partitions()
    }

    async fn append(&self, batches: Vec<Batch>) -> Result<Position, LogError> {
        for batch in &batches {
            self.check_batch(batch)?;
        }
        let bytes =
            batches.iter().map(|batch| batch.buffer.len() + 4 * batch.ends.len()).sum::<usize>() + PENDING_BYTES;
        // One larger than the queue is let in alone.
        let room = Arc::clone(&self.room).acquire_many_owned(bytes.min(self.queue_bytes) as u32).await;
        let closed = || LogError::Unavailable(CLOSED.into());
        let room = room.map_err(|_| closed())?;
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Append(Pending { batches, reply, room })).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    async fn read(
        &self,
        partition: PartitionId,
        from: Offset,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, LogError> {
        self.check_partition(partition)?;
        self.shared.check_open()?;
        let (begin, end) = self.shared.timeline.bounds(partition);
        if from < begin {
            return Err(LogError::Trimmed { partition, offset: from, begin });
        }
        if from >= end || max_records == 0 {
            return Ok(Vec::new());
        }
        let chunks = match self.shared.recent.scan(partition, from, max_records, max_bytes) {
            Some(chunks) => chunks,
            None => {
                let shared = Arc::clone(&self.shared);
                blocking(move || shared.scan(partition, from, end, max_records, max_bytes)).await?
            }
        };
        Ok(records(&chunks, from, end, max_records, max_bytes))
    }

    async fn wait_for(&self, partition: PartitionId, offset: Offset) -> Result<(), LogError> {
        self.check_partition(partition)?;
        let mut end = self.shared.timeline.follow(partition);
        let mut stopped = self.shared.stopped.subscribe();
        self.shared.check_open()?;
        let stop = tokio::select! {
            biased;
            _ = end.wait_for(|end| *end > offset) => return Ok(()),
            stop = stopped.wait_for(Option::is_some) => stop.ok().and_then(|stop| stop.clone()),
        };
        Err(LogError::Unavailable(match stop {
            Some(Stop::Poisoned(reason)) => reason.to_string(),
            _ => CLOSED.into(),
        }))
    }

    async fn tail(&self, partition: PartitionId) -> Result<Tail, LogError> {
        self.check_partition(partition)?;
        loop {
            self.shared.check_open()?;
            if let Some(tail) = self.shared.timeline.tail(partition) {
                return Ok(tail);
            }
            let shared = Arc::clone(&self.shared);
            blocking(move || shared.extend_lease()).await?;
        }
    }

    async fn trim(&self, partition: PartitionId, before: Offset) -> Result<(), LogError> {
        self.check_partition(partition)?;
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.trim(partition, before)).await
    }

    fn assignment(&self) -> Result<Box<dyn Assignment>, LogError> {
        self.shared.check_open()?;
        Ok(Box::new(Everything::of(self.partitions())))
    }

    async fn close(&self) -> Result<(), LogError> {
        self.room.close();
        // The writer is gone if the log was closed before; then there is nothing to say to it.
        let _ = self.commands.send(Command::Close);
        let (shared, writer) = (Arc::clone(&self.shared), Arc::clone(&self.writer));
        blocking(move || {
            // Held until all is done, so that a second close waits for the first.
            let mut writer = writer.lock();
            let Some(thread) = writer.take() else { return Ok(()) };
            let written = thread.join().map_err(|_| LogError::Unavailable("the log's writer panicked".into()));
            written.and(shared.shut())
        })
        .await
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        let Some(mut writer) = self.writer.try_lock() else { return }; // a close is under way, which does the same
        let Some(thread) = writer.take() else { return };
        let _ = self.commands.send(Command::Close);
        if thread.join().is_err() || self.shared.shut().is_err() {
            tracing::debug!("the log was dropped and couldn't be shut cleanly");
        }
    }
}

impl Shared {
    fn check_open(&self) -> Result<(), LogError> {
        match &*self.stopped.borrow() {
            Some(Stop::Closed) => Err(LogError::Unavailable(CLOSED.into())),
            _ => Ok(()), // a poisoned log still reads: what is published is durable
        }
    }

    fn poison(&self) -> Option<Arc<str>> {
        match &*self.stopped.borrow() {
            Some(Stop::Poisoned(reason)) => Some(Arc::clone(reason)),
            _ => None,
        }
    }

    fn poison_with(&self, reason: &str) {
        self.stopped.send_if_modified(|stop| {
            let first = stop.is_none();
            if first {
                *stop = Some(Stop::Poisoned(reason.into()));
            }
            first
        });
    }

    fn scan(
        &self,
        partition: PartitionId,
        from: Offset,
        end: Offset,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Arc<Chunk>>, LogError> {
        let store = self.store.read();
        let store = store.as_ref().ok_or_else(|| LogError::Unavailable(CLOSED.into()))?;
        store.scan(partition, from, end, max_records, max_bytes).map_err(|error| {
            // It may have been trimmed away since the bounds were read.
            let (begin, _) = self.timeline.bounds(partition);
            if from < begin { LogError::Trimmed { partition, offset: from, begin } } else { error }
        })
    }

    fn extend_lease(&self) -> Result<(), LogError> {
        // Closing ends the lease under the other side of this lock.
        let store = self.store.read();
        if store.is_none() {
            return Err(LogError::Unavailable(CLOSED.into()));
        }
        self.timeline.extend_lease()
    }

    fn trim(&self, partition: PartitionId, before: Offset) -> Result<(), LogError> {
        let _one = self.trimming.lock();
        loop {
            let store = self.store.read();
            let store = store.as_ref().ok_or_else(|| LogError::Unavailable(CLOSED.into()))?;
            let (begin, end) = self.timeline.bounds(partition);
            let last_ms = self.timeline.floor_ms();
            // Readers must see the new begin before the chunks are gone.
            let show = |begin| self.timeline.begin_at(partition, begin);
            let trimmed = store.trim_some(partition, begin, before.min(end), end, last_ms, show);
            let reached = trimmed.map_err(|error| {
                let reason = format!("trimming failed, the log must be reopened: {error}");
                self.poison_with(&reason);
                LogError::Unavailable(reason)
            })?;
            if reached == begin {
                return Ok(());
            }
        }
    }

    /// After the writer has ended: makes the rest durable and lets go of the files.
    fn shut(&self) -> Result<(), LogError> {
        let poisoned = self.poison().is_some();
        self.stopped.send_replace(Some(Stop::Closed));
        let store = self.store.write().take();
        let Some(store) = store.filter(|_| !poisoned) else { return Ok(()) };
        self.recent.clear();
        self.timeline.end_lease()?;
        store.settle(&self.timeline.ends())
    }
}

/// Cuts the records out of their chunks, under the limits of [`EventLog::read`].
fn records(chunks: &[Arc<Chunk>], from: Offset, end: Offset, max_records: usize, max_bytes: usize) -> Vec<Record> {
    let (mut records, mut bytes) = (Vec::new(), 0);
    for chunk in chunks {
        let skipped = from.saturating_sub(chunk.first()) as usize;
        for index in skipped..chunk.len() {
            let offset = chunk.first() + index as u64;
            if offset >= end || records.len() >= max_records || (bytes >= max_bytes && !records.is_empty()) {
                return records;
            }
            let record = chunk.record(index);
            bytes += record.payload.len();
            records.push(record);
        }
    }
    records
}
