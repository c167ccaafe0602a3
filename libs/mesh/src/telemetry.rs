//! Logs, traces and metrics, set up once for the process.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    env,
    io::{IsTerminal, stderr},
    panic::{self, PanicHookInfo},
    time::Duration,
};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
#[cfg(target_os = "linux")]
use metrics_process::Collector;
use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};
use sentry_tracing::ErrorLayer;
use serde::{Deserialize, Serialize};
use tokio::{task::JoinSet, time::interval};
use tracing::{Level, Metadata, error, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, FilterFn, filter_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::{error_reports::ErrorReports, exemplar};

/// What is observed and where it goes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryOptions {
    /// Which log records are written, as in `info` or `info,pipeline=debug`.
    pub log: String,
    /// How log records are written.
    pub log_format: LogFormat,
    /// Where traces go by OTLP over gRPC, as in `http://localhost:4317`; nowhere if unset.
    pub otlp_endpoint: Option<String>,
    /// Where errors and panics are reported by Sentry's protocol: a DSN, as in `https://KEY@sentry.example.com/1`; nowhere if unset.
    pub sentry_dsn: Option<String>,
    /// What reports call this installation.
    pub sentry_environment: String,
    /// Which part of the calls is traced whose callers don't say, from 0 to 1. Who calls with a `traceparent` has decided.
    pub trace_sample_ratio: f64,
}

/// How log records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// For people.
    Text,
}

impl Default for TelemetryOptions {
    fn default() -> Self {
        Self {
            log: "info,fjall=warn,lsm_tree=warn,sqlx=warn,hyper=warn,h2=warn".to_owned(),
            log_format: LogFormat::Json,
            otlp_endpoint: None,
            sentry_dsn: None,
            sentry_environment: "production".to_owned(),
            trace_sample_ratio: 0.01,
        }
    }
}

/// Why telemetry can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log setting is no filter.
    #[error("telemetry.log: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The endpoint can't be used.
    #[error("telemetry.otlp_endpoint: {0}")]
    Otlp(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Errors can't be reported there.
    #[error("telemetry.sentry_dsn: {0}")]
    Reports(String),
    /// The ratio is none.
    #[error("telemetry.trace_sample_ratio: must be from 0 to 1, not {0}")]
    Ratio(f64),
    /// Something else is set up already, or a bucket list is wrong.
    #[error("telemetry: {0}")]
    SetUp(String),
}

/// What is set up; dropping it flushes the traces.
pub struct Telemetry {
    prometheus: PrometheusHandle,
    #[cfg(target_os = "linux")]
    process: Collector,
    tracer: Option<SdkTracerProvider>,
    _reports: Option<ErrorReports>,
    /// Ends with this.
    _upkeep: JoinSet<()>,
}

impl Telemetry {
    /// The metrics in Prometheus' text format, or with exemplars in that of OpenMetrics.
    pub fn render(&self, is_open: bool) -> String {
        #[cfg(target_os = "linux")]
        self.process.collect();
        let text = self.prometheus.render();
        if is_open { exemplar::open_metrics(&text) } else { text }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(tracer) = self.tracer.take() {
            let _ = tracer.shutdown(); // the process ends: an unreachable collector must not hold it
        }
    }
}

/// How often histograms are put in order.
const UPKEEP: Duration = Duration::from_secs(5);

/// Seconds: from half a millisecond to half a minute, the range of what callers wait for.
pub(crate) const SECONDS: [f64; 15] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// Of each tenant only what the objectives ask: there are hundreds of them.
const FEW_SECONDS: [f64; 3] = [0.2, 0.5, 2.0];

/// Sets up the process's logs (to standard error), traces, metrics and error reports. Call it once, inside the async runtime.
pub fn init(service_name: &str, options: &TelemetryOptions) -> Result<Telemetry, TelemetryError> {
    let setup = |e: &dyn std::fmt::Display| TelemetryError::SetUp(e.to_string());
    let prometheus = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Prefix("penstock_tenant_".to_owned()), &FEW_SECONDS)
        })
        .map_err(|e| setup(&e))?
        .install_recorder()
        .map_err(|e| setup(&e))?;

    let filter = EnvFilter::try_new(&options.log)?;
    let writer = tracing_subscriber::fmt::layer().with_writer(stderr);
    let logs = match options.log_format {
        LogFormat::Json => writer.json().flatten_event(true).with_current_span(false).boxed(),
        LogFormat::Text => writer.compact().with_ansi(wants_colours(stderr().is_terminal())).boxed(),
    };
    let tracer = tracer(service_name, options)?;
    let traces = tracer.as_ref().map(|provider| {
        let steps = filter_fn(is_step).with_max_level_hint(LevelFilter::DEBUG);
        tracing_opentelemetry::layer().with_tracer(provider.tracer("penstock")).with_filter(steps)
    });
    let report =
        |dsn| ErrorReports::open(dsn, &options.sentry_environment, service_name).map_err(TelemetryError::Reports);
    let _reports = options.sentry_dsn.as_deref().map(report).transpose()?;
    let errors = _reports.as_ref().map(|_| ErrorLayer::new().with_filter(LevelFilter::ERROR));
    tracing_subscriber::registry()
        .with(logs.with_filter(filter.or(trace_ids())))
        .with(traces)
        .with(errors)
        .try_init()
        .map_err(|e| setup(&e))?;
    panic::set_hook(Box::new(log_panic));
    let _upkeep = JoinSet::from_iter([upkeep(prometheus.clone())]);
    Ok(Telemetry {
        prometheus,
        #[cfg(target_os = "linux")]
        process: Collector::default(),
        tracer,
        _reports,
        _upkeep,
    })
}

/// A panic is an error as any other in the log, and in reports.
fn log_panic(info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture(); // as RUST_BACKTRACE says
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    let what = info.payload_as_str().unwrap_or("no text");
    error!(thread = thread.name(), location, panic = what, backtrace, "a thread panicked");
}

/// Puts what histograms were told into their buckets. Until then each value is kept, so this must go on in a house that nobody watches.
async fn upkeep(prometheus: PrometheusHandle) {
    let mut ticks = interval(UPKEEP);
    loop {
        ticks.tick().await;
        prometheus.run_upkeep();
    }
}

/// A span that names its trace is on every log line written in it, whichever lines are asked for.
fn trace_ids() -> FilterFn {
    let names_its_trace = |metadata: &Metadata<'_>| metadata.is_span() && metadata.fields().field("trace_id").is_some();
    filter_fn(names_its_trace as fn(&Metadata<'_>) -> bool).with_max_level_hint(LevelFilter::INFO)
}

/// Whether colours are wanted: on a terminal that has them, and not against <https://no-color.org>.
pub fn wants_colours(is_terminal: bool) -> bool {
    let [unwanted, term] = ["NO_COLOR", "TERM"].map(|name| env::var(name).unwrap_or_default());
    wanted(is_terminal, &unwanted, &term)
}

fn wanted(is_terminal: bool, no_color: &str, term: &str) -> bool {
    is_terminal && no_color.is_empty() && term != "dumb"
}

/// The steps of a trace are our spans that say their kind, and what went wrong in them; no library's, least of all the exporter's own.
fn is_step(metadata: &Metadata<'_>) -> bool {
    let own = metadata.fields().field("otel.kind").is_some() && !metadata.target().starts_with("clickhouse");
    if metadata.is_span() { own } else { *metadata.level() <= Level::WARN }
}

fn tracer(service_name: &str, options: &TelemetryOptions) -> Result<Option<SdkTracerProvider>, TelemetryError> {
    let ratio = options.trace_sample_ratio;
    if !(0.0..=1.0).contains(&ratio) {
        return Err(TelemetryError::Ratio(ratio));
    }
    let Some(endpoint) = &options.otlp_endpoint else { return Ok(None) };
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    let resource = Resource::builder()
        .with_service_name(service_name.to_owned())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)));
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource);
    Ok(Some(provider.with_sampler(sampler).build()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_that_want_them() {
        assert!(wanted(true, "", "xterm"));
        assert!(!wanted(false, "", "xterm") && !wanted(true, "1", "xterm") && !wanted(true, "", "dumb"));
    }
}
