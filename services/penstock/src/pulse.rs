//! Each process says now and again that it is there, and how its calls went: [`v1::GetHealthResponse`](api::v1::GetHealthResponse) shows it.

use std::{sync::Arc, time::Duration};

use mesh::lately::{self, Calls};
use storage::{Metastore, Process, ProcessCalls};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::{stores::owner, wire::now_ms};

const EVERY: Duration = Duration::from_secs(10);
/// Who said nothing for so long is forgotten: a clock that is off by less tells nobody off.
const FORGET_MS: i64 = 600_000;
/// An end waits no longer for a metastore that is away: within a minute nobody is shown that says nothing.
const FAREWELL: Duration = Duration::from_secs(1);

/// Says it until `stop`, and then that it is gone.
pub(crate) async fn run(meta: Arc<dyn Metastore>, roles: String, stop: CancellationToken) {
    let (name, started_at_ms) = (owner(), now_ms());
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let seen_at_ms = now_ms();
        let process = Process {
            name: name.clone(),
            roles: roles.split(',').map(str::to_owned).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at_ms,
            seen_at_ms,
            calls: lately::calls().into_iter().map(of_service).collect(),
        };
        // A metastore that is away is told by those that need it.
        let _ = stop.run_until_cancelled(meta.put_process(&process, seen_at_ms - FORGET_MS)).await;
    }
    let _ = timeout(FAREWELL, meta.forget_process(&name)).await;
}

fn of_service((service, calls): (&str, Calls)) -> ProcessCalls {
    let Calls { calls, failed, p50_seconds, p99_seconds } = calls;
    ProcessCalls { service: service.to_owned(), calls, failed, p50_seconds, p99_seconds }
}
