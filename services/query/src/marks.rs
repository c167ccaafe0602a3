//! Which apps have marks.
//!
//! Nobody writes down every commit of every app: a mark is made of those that are asked about, and whoever commits something for
//! one takes it away. So an app that rests has one from the second question on. One that doesn't would get a new one with
//! every question: it is tried more and more rarely.

use std::{collections::HashMap, sync::Arc, time::Duration};

use model::{AppId, TenantId};
use parking_lot::Mutex;
use storage::Ledger;
use tokio::time::Instant;
use tracing::debug;

/// Between two marks of an app that rests.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// Between two marks of an app that never does.
const MOST_PAUSE: Duration = Duration::from_secs(60);
/// Apps that are remembered.
const MOST_APPS: usize = 10_000;

pub(crate) struct Marks {
    ledger: Arc<dyn Ledger>,
    now_ms: fn() -> i64,
    made: LastMade,
}

#[derive(Default)]
struct LastMade(Mutex<HashMap<(TenantId, AppId), Made>>);

/// The last mark of an app.
struct Made {
    at: Instant,
    /// How long no other is made.
    pause: Duration,
}

impl Made {
    fn is_due(&self, now: Instant) -> bool {
        now >= self.at + self.pause
    }
}

impl Marks {
    pub(crate) fn new(ledger: Arc<dyn Ledger>, now_ms: fn() -> i64) -> Self {
        Self { ledger, now_ms, made: LastMade::default() }
    }

    /// Has one made of an app that was seen without, unless too many were lately. Nobody waits for it.
    pub(crate) fn want(&self, tenant: &TenantId, app: &AppId) {
        if !self.made.anew(tenant, app) {
            return;
        }
        let (ledger, tenant, app) = (Arc::clone(&self.ledger), tenant.clone(), app.clone());
        let now_ms = (self.now_ms)();
        tokio::spawn(async move {
            if let Err(error) = ledger.mark(&tenant, &app, now_ms).await {
                debug!(%error, %tenant, %app, "an app gets no mark");
            }
        });
    }
}

impl LastMade {
    /// Whether another is to be made, which then is the last.
    fn anew(&self, tenant: &TenantId, app: &AppId) -> bool {
        let now = Instant::now();
        let mut made = self.0.lock();
        let of = (tenant.clone(), app.clone());
        if made.len() >= MOST_APPS && !made.contains_key(&of) {
            made.retain(|_, made| !made.is_due(now));
            if made.len() >= MOST_APPS {
                return false;
            }
        }
        let pause = match made.get(&of) {
            Some(last) if !last.is_due(now) => return false,
            // It stood at most that long, and went: if for not much longer than it had to, then the app is busy.
            Some(last) if now < last.at + 2 * last.pause => (2 * last.pause).min(MOST_PAUSE),
            _ => LEAST_PAUSE,
        };
        made.insert(of, Made { at: now, pause });
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_app_that_never_rests_is_marked_more_and_more_rarely_until_it_does() {
        let marks = LastMade::default();
        let (acme, web, ios) = (TenantId::new("acme").unwrap(), AppId::new("web").unwrap(), AppId::new("ios").unwrap());
        let mut made = Vec::new();
        for second in 0..300 {
            if marks.anew(&acme, &web) {
                made.push(second);
            }
            advance(Duration::from_secs(1)).await;
        }
        assert_eq!(made, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
        assert!(marks.anew(&acme, &ios), "another one is another matter");
        advance(2 * MOST_PAUSE).await;
        assert!(marks.anew(&acme, &web));
        assert!(!marks.anew(&acme, &web));
        advance(LEAST_PAUSE).await;
        assert!(marks.anew(&acme, &web), "it rested");
    }
}
