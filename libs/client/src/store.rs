//! A queue of records, first in first out.

use std::{collections::VecDeque, io};

use bytes::Bytes;

/// What a record takes in memory beside its bytes, about.
pub(crate) const OVERHEAD: usize = 96;

pub(crate) trait Store: Send {
    /// How many records there are.
    fn records(&self) -> usize;
    /// What they take, in bytes.
    fn size(&self) -> usize;
    /// Puts a record at the end. With an error it isn't queued.
    fn add(&mut self, record: Bytes) -> io::Result<()>;
    /// The first records, at least one if there are any.
    fn first(&mut self, most: usize, most_bytes: usize) -> io::Result<Vec<Bytes>>;
    /// Forgets the first records: they are acknowledged.
    fn forget(&mut self, count: usize) -> io::Result<()>;
}

/// Records in memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    queue: VecDeque<Bytes>,
    bytes: usize,
}

impl Store for Memory {
    fn records(&self) -> usize {
        self.queue.len()
    }

    fn size(&self) -> usize {
        self.bytes
    }

    fn add(&mut self, record: Bytes) -> io::Result<()> {
        self.bytes += record.len() + OVERHEAD;
        self.queue.push_back(record);
        Ok(())
    }

    fn first(&mut self, most: usize, most_bytes: usize) -> io::Result<Vec<Bytes>> {
        let count = fit(self.queue.iter().take(most).map(Bytes::len), most_bytes);
        Ok(self.queue.iter().take(count).cloned().collect())
    }

    fn forget(&mut self, count: usize) -> io::Result<()> {
        for record in self.queue.drain(..count.min(self.queue.len())) {
            self.bytes -= record.len() + OVERHEAD;
        }
        Ok(())
    }
}

/// How many of the sizes fit into so many bytes: at least one, if there is one.
pub(crate) fn fit(sizes: impl Iterator<Item = usize>, most_bytes: usize) -> usize {
    let mut total = 0;
    let fitting = sizes.enumerate().take_while(|(i, size)| {
        total += size;
        *i == 0 || total <= most_bytes
    });
    fitting.count()
}
