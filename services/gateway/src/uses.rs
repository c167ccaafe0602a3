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

/// Keys whose uses are kept between two writings; uses of more are missed.
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use storage::conformance::stand::Server;

    use super::*;
    use crate::authenticate::tests::{eventually, metastore, text};

    #[tokio::test(flavor = "multi_thread")]
    async fn what_can_not_be_written_stays_and_the_latest_use_wins() {
        let postgres = Server::postgres();
        let store = metastore(postgres.url()).await;
        let uses = Uses::new(Arc::clone(&store) as _);
        let (used, id) =
            (async || store.key(text().id()).await.unwrap().unwrap().last_used_at_ms, text().id().to_owned());
        uses.note(&id, 5);
        uses.note("nobody's", 5);
        uses.write().await;
        assert_eq!(used().await, Some(5));
        uses.write().await;

        postgres.kill().await;
        eventually("the metastore is gone", async || store.tenants().await.is_err()).await;
        uses.note(&id, 7);
        uses.write().await;
        assert_eq!(uses.last_ms.lock().get(&id), Some(&7));
        uses.keep([(id.clone(), 6)].iter());
        assert_eq!(uses.last_ms.lock().get(&id), Some(&7), "used again while it could not be written");
        postgres.start_again();
        eventually("the metastore is back", async || store.tenants().await.is_ok()).await;
        uses.write().await;
        assert_eq!(used().await, Some(7));
        assert!(uses.last_ms.lock().is_empty());
    }

    #[tokio::test]
    async fn memory_is_bounded_and_keys_that_are_kept_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let uses = Uses::new(metastore(&format!("sqlite:{}", folder.path().join("meta.db").display())).await as _);
        for number in 0..MOST + 10 {
            uses.note(&number.to_string(), 1);
        }
        uses.note("0", 2);
        let last_ms = uses.last_ms.lock();
        assert_eq!((last_ms.len(), last_ms["0"]), (MOST, 2));
    }
}
