//! Reads that many want at once.
//!
//! Whoever asks is told what was so when it asked, or later: by a read that had not begun by then, and that all share who ask until it
//! begins. It begins when the one before it has ended. So of the same, two reads at a time serve any number who ask.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use futures::{
    FutureExt,
    future::{BoxFuture, WeakShared},
};
use parking_lot::Mutex;

pub(crate) struct Reads<K, V>(Arc<Mutex<HashMap<K, Line<V>>>>);

impl<K, V> Default for Reads<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// The reads of the same.
struct Line<V> {
    /// Whose read is under way.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// What has not begun.
    next: Option<WeakShared<BoxFuture<'static, V>>>,
    /// How many there are, under way or not.
    reads: usize,
}

impl<V> Default for Line<V> {
    fn default() -> Self {
        Self { turn: Arc::default(), next: None, reads: 0 }
    }
}

/// One of the reads, until it ends or nobody waits for it any more.
struct Listed<K: Eq + Hash, V> {
    lines: Arc<Mutex<HashMap<K, Line<V>>>>,
    key: K,
}

impl<K: Eq + Hash, V> Drop for Listed<K, V> {
    fn drop(&mut self) {
        let mut lines = self.lines.lock();
        let Some(line) = lines.get_mut(&self.key) else { return };
        line.reads -= 1;
        if line.reads == 0 {
            lines.remove(&self.key);
        }
    }
}

impl<K, V> Reads<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// What `read` finds, or another's that begins from now on. What they find depends on the key alone.
    pub(crate) async fn read<F>(&self, key: K, read: impl FnOnce() -> F + Send + 'static) -> V
    where
        F: Future<Output = V> + Send + 'static,
    {
        let shared = {
            let mut lines = self.0.lock();
            let line = lines.entry(key.clone()).or_default();
            match line.next.as_ref().and_then(WeakShared::upgrade) {
                Some(next) => next,
                None => {
                    line.reads += 1;
                    let (turn, listed) = (Arc::clone(&line.turn), Listed { lines: Arc::clone(&self.0), key });
                    let next = async move {
                        let listed = listed;
                        let _turn = turn.lock_owned().await;
                        if let Some(line) = listed.lines.lock().get_mut(&listed.key) {
                            line.next = None; // who comes from now on may come after what is found
                        }
                        read().await
                    };
                    let next = next.boxed().shared();
                    line.next = next.downgrade();
                    next
                }
            }
        };
        shared.await
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        time::Duration,
    };

    use futures::future::join_all;
    use tokio::time::{advance, sleep};

    use super::*;

    /// A read takes a second, and finds what the number is when it begins.
    async fn ask(reads: &Reads<u8, u32>, key: u8, number: &Arc<AtomicU32>) -> u32 {
        let number = Arc::clone(number);
        let read = move || async move {
            let found = number.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_secs(1)).await;
            found
        };
        reads.read(key, read).await
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_told_what_was_read_before_it_asked_and_two_reads_serve_all() {
        let (reads, number) = (Reads::default(), Arc::new(AtomicU32::new(0)));
        let late = async {
            sleep(Duration::from_millis(500)).await;
            join_all((0..50).map(|_| ask(&reads, 1, &number))).await
        };
        let first = ask(&reads, 1, &number);
        let second = join_all((0..50).map(|_| ask(&reads, 1, &number)));
        let all = tokio::join!(first, second, late);
        assert_eq!(all, (0, vec![1; 50], vec![1; 50]), "the first began before the others asked");
        assert_eq!(ask(&reads, 1, &number).await, 2);
        assert!(reads.0.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_the_same_is_read_apart() {
        let (reads, number) = (Reads::default(), Arc::new(AtomicU32::new(0)));
        let (one, two) = tokio::join!(ask(&reads, 1, &number), ask(&reads, 2, &number));
        assert_ne!(one, two);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_holds_nobody_up_and_leaves_nothing() {
        let (reads, number) = (Reads::default(), Arc::new(AtomicU32::new(0)));
        {
            let (mut begun, mut waits) = (Box::pin(ask(&reads, 1, &number)), Box::pin(ask(&reads, 1, &number)));
            assert!(futures::poll!(&mut begun).is_pending());
            assert!(futures::poll!(&mut waits).is_pending());
            drop(begun);
            advance(Duration::from_secs(2)).await;
            let waits = tokio::join!(waits, ask(&reads, 1, &number));
            assert_eq!(waits, (1, 2), "the first one's read went with it, the second's began before the third asked");
        }
        let given_up = tokio::time::timeout(Duration::from_millis(1), ask(&reads, 2, &number)).await;
        assert!(given_up.is_err() && reads.0.lock().is_empty());
    }
}
