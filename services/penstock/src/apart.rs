//! Work on threads of its own.

use std::io;

use tokio::{
    runtime::{Builder, Runtime},
    task::{JoinError, JoinHandle},
};

/// Work that doesn't share its threads with calls: each of those is short, so there is always one whose turn is next, and where both run in one
/// house, work that gives way between its steps would fall behind as soon as the house is busy. Whether calls or work come first is then
/// up to the system, which gives both their part.
///
/// Dropped, it ends where it is.
pub(crate) struct Apart {
    work: JoinHandle<()>,
    /// Taken when it is dropped.
    threads: Option<Runtime>,
}

impl Apart {
    /// Starts it, on as many threads as there are cores.
    pub(crate) fn start(name: &str, work: impl Future<Output = ()> + Send + 'static) -> io::Result<Self> {
        let threads = Builder::new_multi_thread().thread_name(name).enable_all().build()?;
        Ok(Self { work: threads.spawn(work), threads: Some(threads) })
    }

    /// Waits for its end. Its threads stay, for what it left behind there.
    pub(crate) async fn end(&mut self) -> Result<(), JoinError> {
        (&mut self.work).await
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background(); // this may be a thread that must not wait
        }
    }
}
