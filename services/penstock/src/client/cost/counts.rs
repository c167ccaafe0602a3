//! What processes counted, and the part of each tenant in it.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use crate::client::{
    ClientError,
    ops::{self, Metric},
};

pub(crate) const WORK: &str = "penstock_tenant_work_nanoseconds_total";
pub(crate) const INSERT: &str = "penstock_tenant_insert_nanoseconds_total";
pub(crate) const QUERY: &str = "penstock_tenant_query_seconds_sum";
pub(crate) const EVENTS: &str = "penstock_tenant_events_total";
pub(crate) const CALLS: &str = "penstock_tenant_calls_total";
pub(crate) const BYTES: &str = "penstock_tenant_body_bytes_total";
const STORED: &str = "penstock_tenant_stored_events_total";
pub(crate) const RECORDS: &str = "penstock_tenant_stored_record_bytes_total";
/// Counted for each tenant, with the one label beside its name that matters.
const OF_TENANTS: [(&str, &str); 8] = [
    (WORK, ""),
    (INSERT, ""),
    (QUERY, ""),
    (EVENTS, "verdict"),
    (CALLS, ""),
    (BYTES, "direction"),
    (STORED, ""),
    (RECORDS, ""),
];
const CPU: &str = "process_cpu_seconds_total";
/// Of the embedded warehouse, and of a ClickHouse server as it says it.
const WAREHOUSE_CPU: [(&str, f64); 2] = [
    ("penstock_warehouse_cpu_milliseconds_total", 1e-3),
    ("ClickHouseProfileEvents_OSCPUVirtualTimeMicroseconds", 1e-6),
];
/// What the warehouse has now: the same by whoever says it.
const HAS: [&str; 2] = ["penstock_warehouse_stored_events", "penstock_warehouse_stored_bytes"];
/// In the place of a tenant, for what was worked and for nobody.
const NOBODY: &str = "(nobody)";

/// What was used.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Used {
    /// Accepted.
    pub(super) events: f64,
    pub(super) calls: f64,
    /// Of bodies.
    pub(super) bytes_in: f64,
    pub(super) bytes_out: f64,
    /// As they lie in the warehouse.
    pub(super) stored_bytes: f64,
    /// As they lie in the log, once.
    pub(super) log_bytes: f64,
    pub(super) roles_core_s: f64,
    pub(super) warehouse_core_s: f64,
}

/// All that was used, and by whom.
#[derive(Debug)]
pub(super) struct Counts {
    total: Used,
    tenants: BTreeMap<String, Used>,
}

/// What the processes say now.
pub(super) async fn read(processes: &[String]) -> Result<Vec<Metric>, ClientError> {
    let mut all = Vec::new();
    for process in processes {
        let address = ops::address(process);
        let metrics = ops::metrics(address).await.map_err(|e| unread(address, &e.to_string()))?;
        all.extend(metrics.into_iter().map(|metric| {
            // Series of different processes stay apart.
            let mut labels = metric.labels;
            labels.insert("process".to_owned(), address.to_owned());
            Metric { labels, ..metric }
        }));
    }
    Ok(all)
}

fn unread(address: &str, why: &str) -> ClientError {
    ClientError::Unheard {
        server: address.to_owned(),
        why: why.to_owned(),
        next: "say --ops HOST:PORT,... of each process (the setting ops_listen), or --prometheus http://HOST:PORT"
            .to_owned(),
    }
}

/// What was counted between two looks; a process that was started in between counts from its start.
pub(super) fn since(before: Vec<Metric>, now: Vec<Metric>) -> Vec<Metric> {
    let before: BTreeMap<_, _> = before.into_iter().map(|m| ((m.name, m.labels), m.value)).collect();
    let counted = now.into_iter().map(|metric| {
        let key = (metric.name, metric.labels);
        let earlier = before.get(&key).copied().filter(|earlier| *earlier <= metric.value);
        let (name, labels) = key;
        let earlier = if HAS.contains(&name.as_str()) { 0.0 } else { earlier.unwrap_or(0.0) };
        Metric { name, labels, value: metric.value - earlier }
    });
    counted.collect()
}

impl Counts {
    /// What a Prometheus server has of the last `range`.
    pub(super) async fn of_prometheus(address: &str, range: Duration) -> Result<Self, ClientError> {
        let seconds = range.as_secs().max(1);
        let increase = |name: &str| format!("increase({name}[{seconds}s])");
        // Other programs have that metric too.
        let ours = format!("and on (instance) last_over_time(penstock_build_info[{seconds}s])");
        let mut questions: Vec<_> = OF_TENANTS
            .iter()
            .map(|(name, label)| {
                let by = if label.is_empty() { "tenant".to_owned() } else { format!("tenant,{label}") };
                (*name, format!("sum by ({by}) ({})", increase(name)))
            })
            .collect();
        questions.push((CPU, format!("sum({} {ours})", increase(CPU))));
        questions.extend(WAREHOUSE_CPU.map(|(name, _)| (name, format!("sum({})", increase(name)))));
        questions.extend(HAS.map(|name| (name, format!("max({name})"))));
        let mut metrics = Vec::new();
        for (name, question) in questions {
            metrics.extend(answer(address, name, &question).await?);
        }
        Ok(Self::of(&metrics))
    }

    pub(super) fn of(metrics: &[Metric]) -> Self {
        let of = |wanted: &'static str| metrics.iter().filter(move |metric| metric.name == wanted);
        let sum = |wanted: &'static str| of(wanted).map(|metric| metric.value).sum::<f64>();
        let has = HAS.map(|name| of(name).map(|metric| metric.value).fold(0.0, f64::max));
        let mut tenants: BTreeMap<String, Used> = BTreeMap::new();
        let (mut work, mut engine) = (BTreeMap::new(), BTreeMap::new());
        for metric in metrics {
            let Some(tenant) = metric.labels.get("tenant") else { continue };
            let label = |name: &str, wanted: &str| metric.labels.get(name).is_some_and(|value| value == wanted);
            let used = tenants.entry(tenant.clone()).or_default();
            match metric.name.as_str() {
                WORK => *work.entry(tenant.clone()).or_default() += metric.value,
                INSERT => *engine.entry(tenant.clone()).or_default() += metric.value / 1e9,
                QUERY => *engine.entry(tenant.clone()).or_default() += metric.value,
                EVENTS if label("verdict", "accepted") => used.events += metric.value,
                CALLS => used.calls += metric.value,
                BYTES if label("direction", "in") => used.bytes_in += metric.value,
                BYTES => used.bytes_out += metric.value,
                RECORDS => used.log_bytes += metric.value,
                _ => {}
            }
        }
        let mut total = tenants.values().fold(Used::default(), |sum, one| Used {
            events: sum.events + one.events,
            calls: sum.calls + one.calls,
            bytes_in: sum.bytes_in + one.bytes_in,
            bytes_out: sum.bytes_out + one.bytes_out,
            log_bytes: sum.log_bytes + one.log_bytes,
            ..sum
        });
        total.roles_core_s = sum(CPU);
        total.warehouse_core_s = WAREHOUSE_CPU.iter().map(|(name, seconds)| sum(name) * seconds).sum();
        // What an event takes on disk is measured of all that there is.
        total.stored_bytes = if has[0] > 0.0 { has[1] / has[0] * sum(STORED) } else { 0.0 };
        // Of two tenants' records the larger takes as much more.
        let log = tenants.iter().map(|(tenant, used)| (tenant.clone(), used.log_bytes)).collect();
        share_out(total.roles_core_s, &work, &mut tenants, |used| &mut used.roles_core_s);
        share_out(total.warehouse_core_s, &engine, &mut tenants, |used| &mut used.warehouse_core_s);
        share_out(total.stored_bytes, &log, &mut tenants, |used| &mut used.stored_bytes);
        tenants.retain(|_, used| *used != Used::default());
        Self { total, tenants }
    }

    pub(super) fn total(&self) -> Used {
        self.total
    }

    pub(super) fn tenants(&self) -> impl Iterator<Item = (&str, &Used)> {
        self.tenants.iter().map(|(tenant, used)| (tenant.as_str(), used))
    }
}

/// Gives each its part of the whole by its weight; without weights it is nobody's.
fn share_out(
    whole: f64,
    weights: &BTreeMap<String, f64>,
    tenants: &mut BTreeMap<String, Used>,
    part: fn(&mut Used) -> &mut f64,
) {
    let all: f64 = weights.values().sum();
    if all <= 0.0 {
        *part(tenants.entry(NOBODY.to_owned()).or_default()) += whole;
        return;
    }
    for (tenant, weight) in weights {
        *part(tenants.entry(tenant.clone()).or_default()) += whole * weight / all;
    }
}

/// An answer of Prometheus as metrics of that name.
async fn answer(address: &str, name: &str, question: &str) -> Result<Vec<Metric>, ClientError> {
    let query: String = question.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let said = ops::get(address, &format!("/api/v1/query?query={query}")).await;
    let (status, text) = said.map_err(|e| unread(address, &e.to_string()))?;
    let answer: Value = serde_json::from_str(&text).unwrap_or_default();
    if status != 200 || answer["status"] != "success" {
        let why = answer["error"].as_str().unwrap_or("it doesn't answer as a Prometheus server");
        return Err(unread(address, why));
    }
    let results = answer["data"]["result"].as_array().cloned().unwrap_or_default();
    let metric = |result: &Value| {
        let labels = result["metric"].as_object()?.iter();
        let labels = labels.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
        Some(Metric { name: name.to_owned(), labels, value: result["value"][1].as_str()?.parse().ok()? })
    };
    Ok(results.iter().filter_map(metric).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SAID: &str = "process_cpu_seconds_total 30
penstock_warehouse_cpu_milliseconds_total 8000
penstock_warehouse_stored_events 1000
penstock_warehouse_stored_bytes 40000
penstock_tenant_work_nanoseconds_total{tenant=\"red\"} 3000
penstock_tenant_work_nanoseconds_total{tenant=\"blue\"} 1000
penstock_tenant_insert_nanoseconds_total{tenant=\"red\"} 1000000000
penstock_tenant_query_seconds_sum{tenant=\"blue\"} 3
penstock_tenant_events_total{tenant=\"red\",verdict=\"accepted\"} 100
penstock_tenant_events_total{tenant=\"red\",verdict=\"rejected\"} 7
penstock_tenant_stored_events_total{tenant=\"red\"} 100
penstock_tenant_stored_record_bytes_total{tenant=\"red\"} 9000
penstock_tenant_body_bytes_total{tenant=\"blue\",direction=\"out\"} 5";

    #[test]
    fn what_is_measured_of_all_is_shared_out_by_what_is_measured_of_each() {
        let counts = Counts::of(&ops::parsed(SAID));
        let of = |tenant: &str| counts.tenants[tenant];
        let (red, blue) = (of("red"), of("blue"));
        assert_eq!((red.roles_core_s, blue.roles_core_s), (22.5, 7.5));
        assert_eq!((red.warehouse_core_s, blue.warehouse_core_s), (2.0, 6.0));
        assert_eq!((red.events, red.stored_bytes, red.log_bytes, blue.bytes_out), (100.0, 4000.0, 9000.0, 5.0));
        assert_eq!((counts.total.roles_core_s, counts.total.stored_bytes), (30.0, 4000.0));
    }

    #[test]
    fn what_nobody_asked_for_is_nobodys() {
        let counts = Counts::of(&ops::parsed("process_cpu_seconds_total 2"));
        assert_eq!((counts.tenants.len(), counts.tenants[NOBODY].roles_core_s), (1, 2.0));
    }

    #[test]
    fn counts_between_two_looks_are_differences_and_what_there_is_stays() {
        let before = "a_total{x=\"1\"} 5\nb_total 9\npenstock_warehouse_stored_events 10";
        let now = "a_total{x=\"1\"} 7\na_total{x=\"2\"} 3\nb_total 2\npenstock_warehouse_stored_events 12";
        let values: Vec<_> = since(ops::parsed(before), ops::parsed(now)).iter().map(|m| m.value).collect();
        assert_eq!(values, [2.0, 3.0, 2.0, 12.0]);
    }
}
