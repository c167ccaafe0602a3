//! The one thread that writes: it takes all appends that wait, makes them durable together, and answers them.

use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use model::{Offset, PartitionId, Position};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{Shared, chunk::Chunk};
use crate::{Batch, LogError};

/// A chunk takes no further batch beyond this, so that a small read needn't load a large chunk.
const CHUNK_BYTES: usize = 1 << 20;

/// Making durable costs the same for one append and for many. So the next group begins no sooner after the beginning of this one than so long for
/// each of its appends but the first, up to a bound: at more appends than one in that time the groups grow, at fewer nobody waits.
const FOR_EACH: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(5);

/// What the writer is asked.
pub(super) enum Command {
    /// To append.
    Append(Pending),
    /// To stop after what came before, with all of it durable.
    Close,
}

/// An append that waits.
pub(super) struct Pending {
    pub(super) batches: Vec<Batch>,
    pub(super) reply: oneshot::Sender<Result<Position, LogError>>,
    /// Its room in the queue, given back with the answer.
    pub(super) room: OwnedSemaphorePermit,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    /// The offset that each partition's next record gets.
    next: Vec<Offset>,
    group_bytes: usize,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, group_bytes: usize) -> Self {
        Self { next: shared.timeline.ends(), shared, group_bytes }
    }

    /// Works until it is told to close or nobody can ask any more.
    pub(super) fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let (mut open, mut next_group) = (true, Instant::now());
        while open {
            let Some(first) = commands.blocking_recv() else { break };
            thread::sleep(next_group.saturating_duration_since(Instant::now()));
            let began = Instant::now();
            let (mut group, mut bytes, mut command) = (Vec::new(), 0, Some(first));
            while let Some(next) = command.take() {
                match next {
                    Command::Append(pending) => {
                        bytes += pending.batches.iter().map(|batch| batch.buffer.len()).sum::<usize>();
                        group.push(pending);
                    }
                    Command::Close => open = false,
                }
                if open && bytes < self.group_bytes {
                    command = commands.try_recv().ok();
                }
            }
            let others = u32::try_from(group.len()).unwrap_or(u32::MAX).saturating_sub(1);
            next_group = began + FOR_EACH.saturating_mul(others).min(LONGEST);
            self.commit(group);
        }
    }

    /// Makes the group durable and answers each of its appends.
    fn commit(&mut self, group: Vec<Pending>) {
        let (mut waiting, mut batches) = (Vec::new(), BTreeMap::<PartitionId, Vec<Batch>>::new());
        let mut next = self.next.clone();
        for pending in group {
            let mut ends = Vec::with_capacity(pending.batches.len());
            for batch in pending.batches {
                let end = &mut next[batch.partition as usize];
                *end += batch.ends.len() as u64;
                ends.push((batch.partition, *end));
                if !batch.ends.is_empty() {
                    batches.entry(batch.partition).or_default().push(batch);
                }
            }
            waiting.push((ends, pending.reply, pending.room));
        }
        let outcome = self.write(batches, &next);
        for (ends, reply, room) in waiting {
            let answer = match &outcome {
                Ok(()) => Ok(Position::new(self.shared.incarnation, ends)),
                Err(reason) => Err(LogError::Unavailable(reason.clone())),
            };
            drop(room);
            // Whoever dropped the future doesn't want the answer.
            let _ = reply.send(answer);
        }
    }

    fn write(&mut self, batches: BTreeMap<PartitionId, Vec<Batch>>, next: &[Offset]) -> Result<(), String> {
        if let Some(reason) = self.shared.poison() {
            return Err(reason.to_string());
        }
        if batches.is_empty() {
            return Ok(());
        }
        let ends: Vec<_> = batches.keys().map(|&partition| (partition, next[partition as usize])).collect();
        let time_ms = self.shared.timeline.assign(batches.keys().copied());
        let mut chunks = Vec::new();
        for (partition, batches) in batches {
            let mut first = self.next[partition as usize];
            for batches in cut(batches) {
                let chunk = Chunk::build(first, time_ms, &batches);
                first = chunk.end();
                chunks.push((partition, Arc::new(chunk)));
            }
        }
        self.store(&chunks, next).inspect_err(|reason| self.shared.poison_with(reason))?;
        self.next.copy_from_slice(next);
        tracing::debug!(chunks = chunks.len(), time_ms, "committed");
        self.shared.recent.push(chunks);
        self.shared.timeline.publish(&ends);
        Ok(())
    }

    /// Any error is final for this life of the log. After a failed fsync the kernel may have dropped the dirty pages
    /// and marked them clean: the next fsync would succeed without them, so a retry would acknowledge what is not on
    /// disk. Only reopening, which reads and checks the files again, tells what is there.
    fn store(&self, chunks: &[(PartitionId, Arc<Chunk>)], ends: &[Offset]) -> Result<(), String> {
        let store = self.shared.store.read();
        let store = store.as_ref().ok_or("the log is closed")?;
        store.commit(chunks).map_err(|error| format!("writing failed, the log must be reopened: {error}"))?;
        store.note_ends(ends).map_err(|error| format!("writing failed, the log must be reopened: {error}"))
    }
}

/// Cuts a partition's batches into chunks.
fn cut(batches: Vec<Batch>) -> Vec<Vec<Batch>> {
    let mut chunks: Vec<Vec<Batch>> = Vec::new();
    let mut bytes = 0;
    for batch in batches {
        let len = batch.buffer.len();
        match chunks.last_mut() {
            Some(chunk) if bytes + len <= CHUNK_BYTES => chunk.push(batch),
            _ => {
                chunks.push(vec![batch]);
                bytes = 0;
            }
        }
        bytes += len;
    }
    chunks
}
