//! What this process counted by tenant, told to the metastore now and again: `GetUsage` adds up what all processes told.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use admin::USAGE_DAYS;
use mesh::telemetry::Telemetry;
use model::DAY_MS;
use storage::{MetaError, Metastore, Used};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    client::{
        cost::counts::{BYTES, CALLS, EVENTS, INSERT, QUERY, RECORDS, WORK},
        ops,
    },
    wire::now_ms,
};

const QUERIES: &str = "penstock_tenant_query_seconds_count";
const READ_BYTES: &str = "penstock_tenant_query_read_bytes_total";
const EVERY: Duration = Duration::from_secs(60);
/// For how long an end waits for the metastore.
const LAST: Duration = Duration::from_secs(2);

/// Tells what was counted since it was told last.
pub(crate) struct Teller {
    meta: Arc<dyn Metastore>,
    telemetry: Arc<Telemetry>,
    /// What the counters said by tenant that was told.
    told: BTreeMap<String, Used>,
}

impl Teller {
    pub(crate) fn new(meta: Arc<dyn Metastore>, telemetry: Arc<Telemetry>) -> Self {
        Self { meta, telemetry, told: BTreeMap::new() }
    }

    /// Tells it once a minute, until `stop`. What a metastore that is away didn't take is told with what comes after.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Self {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let _ = self.tell().await; // that it is away is said by those who need it
        }
        self
    }

    /// Tells the rest, when nothing more is to come.
    pub(crate) async fn end(mut self) {
        if !matches!(timeout(LAST, self.tell()).await, Ok(Ok(()))) {
            tracing::warn!("what tenants used in the last minute isn't noted: the metastore doesn't answer");
        }
    }

    async fn tell(&mut self) -> Result<(), MetaError> {
        let counted = counted(&self.telemetry.render(false));
        let since = |(tenant, now): (&String, &Used)| {
            let more = less(now, self.told.get(tenant).unwrap_or(&Used::default()));
            (more != Used::default()).then(|| (tenant.clone(), more))
        };
        let used: Vec<_> = counted.iter().filter_map(since).collect();
        if !used.is_empty() {
            let day_ms = now_ms().div_euclid(DAY_MS) * DAY_MS;
            self.meta.add_used(day_ms, &used, day_ms - USAGE_DAYS * DAY_MS).await?;
        }
        self.told = counted;
        Ok(())
    }
}

/// What `/metrics` says of each tenant.
fn counted(metrics: &str) -> BTreeMap<String, Used> {
    let mut all: BTreeMap<String, Used> = BTreeMap::new();
    for metric in metrics.lines().filter(|line| line.starts_with("penstock_tenant_")).filter_map(ops::metric) {
        let Some(tenant) = metric.labels.get("tenant") else { continue };
        let is = |label: &str, wanted: &str| metric.labels.get(label).is_some_and(|value| value == wanted);
        let used = all.entry(tenant.clone()).or_default();
        let (amount, count) = match metric.name.as_str() {
            EVENTS if is("verdict", "accepted") => (&mut used.events, metric.value),
            CALLS => (&mut used.calls, metric.value),
            BYTES if is("direction", "in") => (&mut used.bytes_in, metric.value),
            BYTES => (&mut used.bytes_out, metric.value),
            RECORDS => (&mut used.log_bytes, metric.value),
            QUERIES => (&mut used.queries, metric.value),
            READ_BYTES => (&mut used.read_bytes, metric.value),
            WORK => (&mut used.work_us, metric.value / 1e3),
            INSERT => (&mut used.warehouse_us, metric.value / 1e3),
            QUERY => (&mut used.warehouse_us, metric.value * 1e6),
            _ => continue,
        };
        *amount += count as u64;
    }
    all
}

fn less(now: &Used, told: &Used) -> Used {
    Used {
        events: now.events.saturating_sub(told.events),
        calls: now.calls.saturating_sub(told.calls),
        bytes_in: now.bytes_in.saturating_sub(told.bytes_in),
        bytes_out: now.bytes_out.saturating_sub(told.bytes_out),
        log_bytes: now.log_bytes.saturating_sub(told.log_bytes),
        queries: now.queries.saturating_sub(told.queries),
        read_bytes: now.read_bytes.saturating_sub(told.read_bytes),
        work_us: now.work_us.saturating_sub(told.work_us),
        warehouse_us: now.warehouse_us.saturating_sub(told.warehouse_us),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "# TYPE penstock_tenant_events_total counter
penstock_tenant_events_total{tenant=\"red\",verdict=\"accepted\"} 100
penstock_tenant_events_total{tenant=\"red\",verdict=\"rejected\"} 7
penstock_tenant_calls_total{tenant=\"red\",outcome=\"ok\"} 3
penstock_tenant_calls_total{tenant=\"red\",outcome=\"refused\"} 2
penstock_tenant_body_bytes_total{tenant=\"red\",direction=\"in\"} 11
penstock_tenant_body_bytes_total{tenant=\"red\",direction=\"out\"} 12
penstock_tenant_stored_record_bytes_total{tenant=\"red\"} 9000
penstock_tenant_work_nanoseconds_total{tenant=\"red\"} 5000
penstock_tenant_insert_nanoseconds_total{tenant=\"red\"} 4000000
penstock_tenant_query_seconds_bucket{tenant=\"red\",le=\"0.1\"} 4
penstock_tenant_query_seconds_sum{tenant=\"red\"} 0.5
penstock_tenant_query_seconds_count{tenant=\"red\"} 4
penstock_tenant_query_read_bytes_total{tenant=\"blue\"} 77
penstock_calls_total{target=\"query\",code=\"OK\"} 9
";

    #[test]
    fn each_counter_is_found_and_what_was_told_is_not_told_again() {
        let counted = counted(SAID);
        let red = Used {
            events: 100,
            calls: 5,
            bytes_in: 11,
            bytes_out: 12,
            log_bytes: 9000,
            queries: 4,
            read_bytes: 0,
            work_us: 5,
            warehouse_us: 504_000,
        };
        let blue = Used { read_bytes: 77, ..Used::default() };
        assert_eq!(counted, BTreeMap::from([("red".to_owned(), red), ("blue".to_owned(), blue)]));
        assert_eq!(less(&red, &red), Used::default());
        assert_eq!(less(&red, &Used { calls: 2, ..Used::default() }).calls, 3);
    }
}
