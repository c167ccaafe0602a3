use std::{collections::VecDeque, sync::Arc};

use model::{Offset, PartitionId};
use parking_lot::Mutex;

use super::chunk::Chunk;

/// The newest chunks, so that a reader that keeps up with the writers doesn't touch the disk.
pub(super) struct Recent {
    state: Mutex<State>,
    max_bytes: usize,
}

struct State {
    /// Of each partition its newest chunks, without a gap, oldest first.
    chunks: Vec<VecDeque<Arc<Chunk>>>,
    /// The partitions of all chunks, oldest first.
    order: VecDeque<PartitionId>,
    bytes: usize,
}

impl Recent {
    pub(super) fn new(partitions: u32, max_bytes: usize) -> Self {
        let chunks = (0..partitions).map(|_| VecDeque::new()).collect();
        Self { state: Mutex::new(State { chunks, order: VecDeque::new(), bytes: 0 }), max_bytes }
    }

    /// Keeps the chunks and lets go of the oldest, whosever they are, beyond the bound.
    pub(super) fn push(&self, chunks: impl IntoIterator<Item = (PartitionId, Arc<Chunk>)>) {
        let mut state = self.state.lock();
        let state = &mut *state;
        for (partition, chunk) in chunks {
            state.bytes += chunk.bytes().len();
            state.order.push_back(partition);
            state.chunks[partition as usize].push_back(chunk);
        }
        while state.bytes > self.max_bytes {
            let oldest = state.order.pop_front().and_then(|partition| state.chunks[partition as usize].pop_front());
            let Some(oldest) = oldest else { break };
            state.bytes -= oldest.bytes().len();
        }
    }

    /// The chunks that hold the records from `from` on, under the limits of [`super::store::Store::scan`]; `None` if
    /// `from` isn't here.
    pub(super) fn scan(
        &self,
        partition: PartitionId,
        from: Offset,
        max_records: usize,
        max_bytes: usize,
    ) -> Option<Vec<Arc<Chunk>>> {
        let state = self.state.lock();
        let chunks = &state.chunks[partition as usize];
        let start = chunks.partition_point(|chunk| chunk.end() <= from);
        if chunks.get(start)?.first() > from {
            return None;
        }
        let (mut found, mut bytes) = (Vec::new(), 0);
        for chunk in chunks.range(start..) {
            bytes += chunk.payload_from(from);
            found.push(Arc::clone(chunk));
            if chunk.end() - from >= max_records as u64 || bytes >= max_bytes {
                break;
            }
        }
        Some(found)
    }

    /// Lets go of everything.
    pub(super) fn clear(&self) {
        let mut state = self.state.lock();
        state.chunks.iter_mut().for_each(VecDeque::clear);
        state.order.clear();
        state.bytes = 0;
    }
}
