//! When keys were last used, written down from time to time and never while a call waits.

use std::{
    collections::{HashMap, hash_map::Entry},
    mem,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use storage::Directory;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Keys whose uses are kept between two writings. Of more, which no gateway has seen yet, the last use is missed.
const MOST: usize = 100_000;
/// Keys that are written in one transaction, so that nobody else waits long for theirs.
const BATCH: usize = 500;

/// The uses that aren't written down yet.
pub struct Uses {
    directory: Arc<dyn Directory>,
    last_ms: Mutex<HashMap<String, i64>>,
}

impl Uses {
    /// None so far; they are written into this directory.
    pub fn new(directory: Arc<dyn Directory>) -> Self {
        Self { directory, last_ms: Mutex::default() }
    }

    /// A call with this key was let in.
    pub(crate) fn note(&self, id: &str, now_ms: i64) {
        let mut last_ms = self.last_ms.lock();
        if let Some(last_ms) = last_ms.get_mut(id) {
            *last_ms = now_ms;
        } else if last_ms.len() < MOST {
            last_ms.insert(id.to_owned(), now_ms);
        }
    }

    /// Writes them down again and again, until `stop`. What comes later is for who calls [`Self::write`] at the end.
    pub async fn run(self: Arc<Self>, every: Duration, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
            self.write().await;
        }
    }

    /// Writes down what there is. What can't be written now stays for the next time.
    pub async fn write(&self) {
        let uses: Vec<_> = mem::take(&mut *self.last_ms.lock()).into_iter().collect();
        let mut batches = uses.chunks(BATCH);
        while let Some(batch) = batches.next() {
            if let Err(error) = self.directory.note_key_uses(batch).await {
                warn!(%error, "when keys were last used can't be written down now");
                self.keep(batch.iter().chain(batches.flatten()));
                return;
            }
        }
    }

    fn keep<'a>(&self, uses: impl Iterator<Item = &'a (String, i64)>) {
        let mut last_ms = self.last_ms.lock();
        let room = MOST.saturating_sub(last_ms.len());
        for (id, at_ms) in uses.take(room) {
            if let Entry::Vacant(entry) = last_ms.entry(id.clone()) {
                entry.insert(*at_ms); // else it was used again meanwhile
            }
        }
    }
}
