//! The promises of the metastore's traits and of the cache as checks that every backend must pass, and those of the
//! warehouse as checks for every engine behind it.
//!
//! A metastore's suite takes a function that makes an empty one; each suite panics at the first broken promise. [`stand`] starts
//! the servers that some backends need.

#![allow(clippy::unwrap_used)] // a failed step of a check is a failed check

mod audit;
mod brandings;
mod cache;
mod dashboards;
mod directory;
mod erasures;
mod ledger;
mod ledger_history;
mod metrics;
mod opening;
mod placements;
mod processes;
mod registry;
mod replays;
mod reports;
mod settings;
mod snapshots;
pub mod stand;
mod states;
mod usages;
mod warehouse;

pub use audit::audit;
pub use brandings::brandings;
pub use cache::{cache, claims};
pub use dashboards::dashboards;
pub use directory::directory;
pub use erasures::erasures;
pub use ledger::ledger;
pub use ledger_history::ledger_history;
pub use metrics::metrics;
pub use opening::opening;
pub use placements::placements;
pub use processes::processes;
pub use registry::registry;
pub use replays::replays;
pub use reports::reports;
pub use snapshots::snapshots;
pub use states::states;
pub use usages::usages;
pub use warehouse::warehouse;

use std::time::Duration;

use model::{AppId, TenantId};

/// How long a condition may take to become true on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until the condition is true.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "never: {what}");
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn app(name: &str) -> AppId {
    AppId::new(name).unwrap()
}

/// Random numbers that a seed repeats (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Whether one of `n` throws hits.
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
