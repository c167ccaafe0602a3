//! What each process says at its port for operators.

use std::{collections::BTreeMap, io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{DOCS, Round, Verdict};
use crate::client::ClientError;

/// Where a process of this machine has it.
const USUAL: &str = "127.0.0.1:7071";
const PATIENCE: Duration = Duration::from_secs(5);
/// What is read at most of an answer.
const MOST: u64 = 64 << 20;

/// Processes as they were before anything was asked of the server: what fails meanwhile shows.
pub(super) struct Before {
    is_named: bool,
    all: Vec<(String, io::Result<Process>)>,
}

impl Before {
    /// Reads those that are named; else the one of this machine, where the server is there.
    pub(super) async fn read(named: Option<Vec<String>>, host: &str) -> Self {
        let is_named = named.is_some();
        let is_here = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        let usual = || if is_here { vec![USUAL.to_owned()] } else { Vec::new() };
        let mut all = Vec::new();
        for address in named.unwrap_or_else(usual) {
            let address = address.trim_start_matches("http://").trim_end_matches('/').to_owned();
            let process = Process::read(&address).await;
            if is_named || process.is_ok() {
                all.push((address, process));
            }
        }
        Self { is_named, all }
    }

    /// Looks again, and says what each is like.
    pub(super) async fn look(self, round: &mut Round<'_>) -> Result<(), ClientError> {
        if self.all.is_empty() && !self.is_named {
            let next = "say --ops HOST:PORT,... of each process, or keep them in the profile";
            round.say("processes", Verdict::Skip, "none is known by its port for operators", next)?;
        }
        for (address, before) in self.all {
            let name = format!("process {address}");
            match Process::read(&address).await {
                Ok(now) => now.judge(&name, &before.unwrap_or_default(), round)?,
                Err(error) => {
                    let next = format!("is the process there, and is that its ops_listen? see {DOCS}/role-away.md");
                    round.fail(&name, format!("gives no metrics: {error}"), next)?;
                }
            }
        }
        Ok(())
    }
}

/// What a process says.
#[derive(Default)]
struct Process {
    is_ready: bool,
    metrics: Vec<Metric>,
}

struct Metric {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Process {
    async fn read(address: &str) -> io::Result<Self> {
        let (ready, _) = get(address, "/readyz").await?;
        let (status, text) = get(address, "/metrics").await?;
        if status != 200 {
            return Err(io::Error::other(format!("/metrics answers with status {status}")));
        }
        Ok(Self { is_ready: ready == 200, metrics: text.lines().filter_map(metric).collect() })
    }

    fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Metric> {
        self.metrics.iter().filter(move |metric| metric.name == name)
    }

    /// The sum over all labels; none if there is no such metric.
    fn sum(&self, name: &str) -> Option<f64> {
        self.of(name).map(|metric| metric.value).reduce(|a, b| a + b)
    }

    /// Says all that is wrong, or that it is well.
    fn judge(&self, name: &str, before: &Self, round: &mut Round<'_>) -> Result<(), ClientError> {
        let see = |page: &str| format!("see {DOCS}/{page}.md");
        let mut found = Vec::new();
        let mut say = |verdict, why: String, next: String| found.push((verdict, why, next));
        if self.sum("penstock_query_warehouse_away") == Some(1.0) {
            say(Verdict::Fail, "finds no warehouse, and refuses queries".to_owned(), see("warehouse-away"));
        } else if !self.is_ready {
            say(
                Verdict::Fail,
                "is not ready: it starts or ends, or its warehouse doesn't answer".to_owned(),
                see("warehouse-away"),
            );
        }
        let mut healthy = BTreeMap::new();
        for metric in self.of("penstock_upstream_healthy") {
            let counts: &mut (f64, u32) =
                healthy.entry(metric.labels.get("role").cloned().unwrap_or_default()).or_default();
            *counts = (counts.0 + metric.value, counts.1 + 1);
        }
        for (role, (well, of)) in healthy {
            if well < f64::from(of) {
                let verdict = if well == 0.0 { Verdict::Fail } else { Verdict::Warn };
                say(verdict, format!("reaches {well} of {of} processes of the {role} role"), see("role-away"));
            }
        }
        if let (Some(free), Some(size)) = (self.sum("penstock_disk_free_bytes"), self.sum("penstock_disk_size_bytes")) {
            let part = free / size.max(1.0);
            if part < 0.2 {
                let verdict = if part < 0.1 { Verdict::Fail } else { Verdict::Warn };
                say(verdict, format!("has {:.0} % of its disk left", part * 100.0), see("process-full"));
            }
        }
        if let (Some(open), Some(most)) = (self.sum("process_open_fds"), self.sum("process_max_fds"))
            && open > 0.8 * most
        {
            say(Verdict::Warn, format!("has {open} of {most} files open"), see("process-full"));
        }
        let behind = self.sum("penstock_ingest_pipeline_lag_seconds").unwrap_or(0.0);
        if behind > 10.0 {
            let verdict = if behind > 60.0 { Verdict::Fail } else { Verdict::Warn };
            say(verdict, format!("what it took {behind:.0} s ago can't be queried yet"), see("lag"));
        }
        let waiting = self.sum("penstock_pipeline_lag_records").unwrap_or(0.0);
        if waiting > 5_000.0 {
            say(Verdict::Warn, format!("{waiting} records wait for its pipeline"), see("lag"));
        }
        let unreadable =
            ["damaged", "misplaced"].map(|kind| self.sum(&format!("penstock_pipeline_{kind}_records_total")));
        if unreadable.iter().flatten().sum::<f64>() > 0.0 {
            say(Verdict::Fail, "met records in the log that it can't read".to_owned(), see("records-unreadable"));
        }
        for (part, verdict, page) in
            [("metastore", Verdict::Fail, "metastore-failing"), ("cache", Verdict::Warn, "cache-failing")]
        {
            let failures = format!("penstock_{part}_failures_total");
            let [more, there] = [self, before].map(|process| process.sum(&failures).unwrap_or(0.0));
            let more = more - there;
            if more > 0.0 {
                say(verdict, format!("its {part} failed {more} times just now"), see(page));
            }
        }
        let build = self.of("penstock_build_info").next().map(|metric| &metric.labels);
        let label = |name: &str| build.and_then(|labels| labels.get(name)).map_or("unknown", String::as_str);
        let (version, roles) = (label("version"), label("roles"));
        let ours = env!("CARGO_PKG_VERSION");
        if version != ours {
            let next = "use one version everywhere".to_owned();
            say(Verdict::Warn, format!("is version {version}, this command is {ours}"), next);
        }
        if found.is_empty() {
            return round.ok(name, format!("{roles}: ready, version {version}"));
        }
        found.into_iter().try_for_each(|(verdict, why, next)| round.say(name, verdict, format!("{roles}: {why}"), next))
    }
}

/// `name{label="value",...} value`.
fn metric(line: &str) -> Option<Metric> {
    if line.starts_with('#') {
        return None;
    }
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let mut all = BTreeMap::new();
    for label in labels.trim_end_matches('}').split("\",") {
        if let Some((name, value)) = label.split_once("=\"") {
            all.insert(name.to_owned(), value.trim_end_matches('"').to_owned());
        }
    }
    Some(Metric { name: name.to_owned(), labels: all, value: value.parse().ok()? })
}

/// A page by HTTP/1.0, which is whole when the connection ends: its status and text.
async fn get(address: &str, path: &str) -> io::Result<(u16, String)> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n").as_bytes()).await?;
        let mut said = String::new();
        stream.take(MOST).read_to_string(&mut said).await?;
        let status = said.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other("it is no HTTP server"))?;
        let body = said.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
        Ok((status, body))
    };
    timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(io::Error::other("no answer within 5 s")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read_with_their_labels() {
        let read = metric("penstock_build_info{version=\"0.1.0\",roles=\"query,metrics\"} 1").unwrap();
        assert_eq!((read.name.as_str(), read.value), ("penstock_build_info", 1.0));
        assert_eq!((read.labels["version"].as_str(), read.labels["roles"].as_str()), ("0.1.0", "query,metrics"));
        assert_eq!(metric("process_open_fds 39").unwrap().value, 39.0);
        assert!(metric("# TYPE process_open_fds gauge").is_none());
    }
}
