//! How far the pipeline has come, read again and again for as long as anyone listens, once for all of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::{freshness::Fresh, run::Engine};

/// How often the ledger is asked.
const BEAT: Duration = Duration::from_millis(100);

#[derive(Clone, Default)]
pub(super) struct Pulse(Arc<Inner>);

#[derive(Default)]
struct Inner {
    beats: watch::Sender<Option<Fresh>>,
    /// Whether someone reads the ledger.
    runs: AtomicBool,
}

impl Pulse {
    /// The frontiers from now on; none before the first.
    pub(super) fn listen(&self, engine: &Arc<Engine>) -> watch::Receiver<Option<Fresh>> {
        let beats = self.0.beats.subscribe();
        if !self.0.runs.swap(true, Ordering::SeqCst) {
            tokio::spawn(self.clone().run(Arc::clone(engine)));
        }
        beats
    }

    async fn run(self, engine: Arc<Engine>) {
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Ok(fresh) = engine.freshness.now().await {
                self.0.beats.send_replace(Some(fresh));
            }
            if self.0.beats.receiver_count() > 0 {
                continue;
            }
            self.0.runs.store(false, Ordering::SeqCst);
            // Who came in between found it running.
            if self.0.beats.receiver_count() == 0 || self.0.runs.swap(true, Ordering::SeqCst) {
                return;
            }
        }
    }
}
