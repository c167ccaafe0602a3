//! How far something long is, for who waits at a terminal.

use std::{
    io::{self, IsTerminal, Write},
    pin::pin,
    time::{Duration, Instant},
};

use tokio::time::timeout;

/// No faster than eyes.
const PAUSE: Duration = Duration::from_millis(200);
const CELLS: usize = 24;
/// Goes to the line's beginning and takes away what stands in it.
pub(super) const FREE_LINE: &str = "\r\x1b[K";

/// A line on a terminal's standard error, written over itself; nothing where there is no terminal.
pub(crate) struct Progress {
    is_shown: bool,
    begun: Instant,
    last: Option<Instant>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { is_shown: io::stderr().is_terminal(), begun: Instant::now(), last: None }
    }

    /// Since the beginning.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// How much a second, of so much since the beginning.
    pub(in crate::client) fn rate(&self, of: f64) -> f64 {
        of / self.begun.elapsed().as_secs_f64().max(0.001)
    }

    /// Shows how much is done of one, if that is known, and says the rest in words.
    pub(in crate::client) fn show(&mut self, part: Option<f64>, words: impl FnOnce(&Self) -> String) {
        if !self.is_shown || self.last.is_some_and(|last| last.elapsed() < PAUSE) {
            return;
        }
        self.last = Some(Instant::now());
        let bar = part.map_or_else(String::new, |part| format!("{} {:.0} %  ", bar(part), part.min(1.0) * 100.0));
        let _ = write!(io::stderr(), "\r{bar}{}\x1b[K", words(self)); // there is nowhere else to say it
    }

    /// Does the work, and shows meanwhile how far it is.
    pub(crate) async fn during<T>(
        &mut self,
        work: impl Future<Output = T>,
        far: impl Fn(&Self) -> (Option<f64>, String),
    ) -> T {
        if !self.is_shown {
            return work.await;
        }
        let mut work = pin!(work);
        loop {
            let (part, words) = far(self);
            self.show(part, |_| words);
            if let Ok(done) = timeout(PAUSE, &mut work).await {
                return done;
            }
        }
    }

    /// The same, of what is done for so long.
    pub(in crate::client) async fn lasting<T>(
        &mut self,
        long: Duration,
        what: &str,
        work: impl Future<Output = T>,
    ) -> T {
        let far = |progress: &Self| {
            let [elapsed, of] = [progress.elapsed(), long].map(|time| time.as_secs_f64());
            (Some(elapsed / of), format!("{what}: {elapsed:.0} of {of:.0} s"))
        };
        self.during(work, far).await
    }

    /// The same, where nothing tells how far it is but the time that it takes.
    pub(in crate::client) async fn waiting<T>(&mut self, what: &str, work: impl Future<Output = T>) -> T {
        self.during(work, |progress| (None, format!("{what}: {:.0} s", progress.elapsed().as_secs_f64()))).await
    }
}

impl Drop for Progress {
    /// The line is free again.
    fn drop(&mut self) {
        if self.last.is_some() {
            let _ = write!(io::stderr(), "{FREE_LINE}");
        }
    }
}

fn bar(part: f64) -> String {
    let done = (part.clamp(0.0, 1.0) * CELLS as f64).round() as usize;
    "━".repeat(done) + &"─".repeat(CELLS - done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_and_never_overflows() {
        assert_eq!(bar(0.0).matches('━').count(), 0);
        assert_eq!(bar(0.5).matches('━').count(), CELLS / 2);
        assert_eq!((bar(1.7).matches('━').count(), bar(1.7).chars().count()), (CELLS, CELLS));
    }
}
