//! From a slow bucket of a histogram to the trace of a call in it: exemplars, as OpenMetrics has them and Prometheus keeps them.
//!
//! The metrics of [`metrics`] know no exemplars. The last sampled call of each bucket is kept here, and is put beside its bucket when a scraper asks for
//! OpenMetrics. Calls that nobody samples cost nothing more than their histogram.

use std::{
    collections::HashMap,
    sync::LazyLock,
    time::{SystemTime, UNIX_EPOCH},
};

use metrics::histogram;
use parking_lot::Mutex;

use crate::{telemetry::SECONDS, trace};

/// By the bucket as it is rendered, as `penstock_call_seconds_bucket{target="query",le="0.01"}`. Labels come from the source: there are few.
static LAST: LazyLock<Mutex<HashMap<String, String>>> = LazyLock::new(Mutex::default);

/// Records what a call took in a histogram of seconds with one label, and the call's trace if it is sampled.
pub fn record(name: &'static str, (label, value): (&'static str, &'static str), seconds: f64) {
    histogram!(name, label => value).record(seconds);
    let Some(ids) = trace::current() else { return };
    let trace = u128::from_be_bytes(ids.trace);
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let exemplar = format!("{{trace_id=\"{trace:032x}\"}} {seconds} {at:.3}");
    LAST.lock().insert(bucket(name, (label, value), seconds), exemplar);
}

fn bucket(name: &str, (label, value): (&str, &str), seconds: f64) -> String {
    let le = SECONDS.iter().find(|le| seconds <= **le).map_or_else(|| "+Inf".to_owned(), f64::to_string);
    format!("{name}_bucket{{{label}=\"{value}\",le=\"{le}\"}}")
}

/// Prometheus' text as OpenMetrics, with exemplars.
pub(crate) fn open_metrics(text: &str) -> String {
    with(text, &LAST.lock())
}

fn with(text: &str, exemplars: &HashMap<String, String>) -> String {
    let mut open = String::with_capacity(text.len() + 64 * exemplars.len() + 8);
    for line in text.lines().filter(|line| !line.is_empty()) {
        // A family is called without the ending that its samples have.
        match line.strip_suffix("_total counter") {
            Some(family) => open.extend([family, " counter"]),
            None => open.push_str(line),
        }
        if let Some(exemplar) = line.rsplit_once(' ').and_then(|(bucket, _)| exemplars.get(bucket)) {
            open.extend([" # ", exemplar]);
        }
        open.push('\n');
    }
    open + "# EOF\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_shows_the_trace_of_a_call_in_it() {
        let of = |seconds| bucket("penstock_call_seconds", ("target", "query"), seconds);
        let exemplars = HashMap::from([
            (of(0.002), "{trace_id=\"a\"} 0.002 1.500".to_owned()),
            (of(31.0), "{trace_id=\"b\"} 31 2.500".to_owned()),
        ]);
        let text = "# TYPE penstock_calls_total counter\npenstock_calls_total{target=\"query\"} 2\n\n\
                    # TYPE penstock_call_seconds histogram\n\
                    penstock_call_seconds_bucket{target=\"query\",le=\"0.001\"} 0\n\
                    penstock_call_seconds_bucket{target=\"query\",le=\"0.002\"} 1\n\
                    penstock_call_seconds_bucket{target=\"query\",le=\"1\"} 1\n\
                    penstock_call_seconds_bucket{target=\"query\",le=\"+Inf\"} 2\n\
                    penstock_call_seconds_bucket{target=\"admin\",le=\"+Inf\"} 2\n\
                    penstock_call_seconds_count{target=\"query\"} 2\n\n";
        let wanted = "# TYPE penstock_calls counter\npenstock_calls_total{target=\"query\"} 2\n\
                      # TYPE penstock_call_seconds histogram\n\
                      penstock_call_seconds_bucket{target=\"query\",le=\"0.001\"} 0\n\
                      penstock_call_seconds_bucket{target=\"query\",le=\"0.002\"} 1 # {trace_id=\"a\"} 0.002 1.500\n\
                      penstock_call_seconds_bucket{target=\"query\",le=\"1\"} 1\n\
                      penstock_call_seconds_bucket{target=\"query\",le=\"+Inf\"} 2 # {trace_id=\"b\"} 31 2.500\n\
                      penstock_call_seconds_bucket{target=\"admin\",le=\"+Inf\"} 2\n\
                      penstock_call_seconds_count{target=\"query\"} 2\n# EOF\n";
        assert_eq!(with(text, &exemplars), wanted);
        assert!(of(1.0).ends_with("le=\"1\"}") && of(0.0005).ends_with("le=\"0.0005\"}"));
    }
}
