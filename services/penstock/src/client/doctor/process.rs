//! What each process says at its port for operators.

use std::{collections::BTreeMap, io};

use super::{DOCS, Round, Verdict};
use crate::client::{
    ClientError,
    ops::{self, Metric, USUAL},
};

/// What a process may take for its health as its callers see it, in seconds. Beyond that they go elsewhere if others are quicker.
const SLOW_CHECK_S: f64 = 0.25;

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
            let address = ops::address(&address).to_owned();
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
                // One that couldn't be read before has nothing to be held against.
                Ok(now) => now.judge(&name, before.as_ref().unwrap_or(&now), round)?,
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
struct Process {
    is_ready: bool,
    metrics: Vec<Metric>,
}

impl Process {
    async fn read(address: &str) -> io::Result<Self> {
        let (ready, _) = ops::get(address, "/readyz").await?;
        Ok(Self { is_ready: ready == 200, metrics: ops::metrics(address).await? })
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
        let build = self.of("penstock_build_info").next().map(|metric| &metric.labels);
        let label = |name: &str| build.and_then(|labels| labels.get(name)).map_or("unknown", String::as_str);
        let (version, roles) = (label("version"), label("roles"));
        let found = self.findings(before);
        let ours = env!("CARGO_PKG_VERSION");
        if version != ours {
            let why = format!("is version {version}, this command is {ours}");
            round.say(name, Verdict::Warn, why, "use one version everywhere")?;
        }
        if found.is_empty() {
            return round.ok(name, format!("{roles}: ready, version {version}"));
        }
        found.into_iter().try_for_each(|(verdict, why, page)| {
            round.say(name, verdict, format!("{roles}: {why}"), format!("see {DOCS}/{page}.md"))
        })
    }

    /// What is wrong by its metrics; `before` has the counts of a while ago.
    fn findings(&self, before: &Self) -> Vec<Finding> {
        let stands = [self.warehouse(), self.disk(), self.files(), self.late(), self.waiting(), self.unreadable()];
        let failures = [
            self.failures(before, "metastore", Verdict::Fail, "metastore-failing"),
            self.failures(before, "cache", Verdict::Warn, "cache-failing"),
        ];
        stands.into_iter().flatten().chain(self.reach()).chain(failures.into_iter().flatten()).collect()
    }

    fn warehouse(&self) -> Option<Finding> {
        let why = match self.sum("penstock_query_warehouse_away") {
            Some(1.0) => "finds no warehouse, and refuses queries",
            _ if !self.is_ready => "is not ready: it starts or ends, or its warehouse doesn't answer",
            _ => return None,
        };
        Some((Verdict::Fail, why.to_owned(), "warehouse-away"))
    }

    fn disk(&self) -> Option<Finding> {
        let part = self.sum("penstock_disk_free_bytes")? / self.sum("penstock_disk_size_bytes")?.max(1.0);
        let why = format!("has {:.0} % of its disk left", part * 100.0);
        worse(1.0 - part, (0.8, 0.9)).map(|verdict| (verdict, why, "process-full"))
    }

    fn files(&self) -> Option<Finding> {
        let (open, most) = (self.sum("process_open_fds")?, self.sum("process_max_fds")?);
        let why = format!("has {open} of {most} files open");
        worse(open / most.max(1.0), (0.8, 0.95)).map(|verdict| (verdict, why, "process-full"))
    }

    fn late(&self) -> Option<Finding> {
        let seconds = self.sum("penstock_ingest_pipeline_lag_seconds")?;
        let why = format!("what it took {seconds:.0} s ago can't be queried yet");
        worse(seconds, (10.0, 60.0)).map(|verdict| (verdict, why, "lag"))
    }

    fn waiting(&self) -> Option<Finding> {
        let records = self.sum("penstock_pipeline_lag_records")?;
        worse(records, (5_000.0, f64::INFINITY))
            .map(|verdict| (verdict, format!("{records} records wait for its pipeline"), "lag"))
    }

    fn unreadable(&self) -> Option<Finding> {
        let of = |kind| self.sum(&format!("penstock_pipeline_{kind}_records_total")).unwrap_or(0.0);
        let why = "met records in the log that it can't read".to_owned();
        (of("damaged") + of("misplaced") > 0.0).then_some((Verdict::Fail, why, "records-unreadable"))
    }

    /// The roles in other processes, of which it reaches some or none.
    fn reach(&self) -> Vec<Finding> {
        let mut roles: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for metric in self.of("penstock_upstream_healthy") {
            let (well, of) = roles.entry(metric.labels.get("role").map_or("", String::as_str)).or_default();
            *well += metric.value;
            *of += 1.0;
        }
        let away = roles.into_iter().filter(|(_, (well, of))| well < of);
        let finding = |(role, (well, of))| {
            let verdict = if well == 0.0 { Verdict::Fail } else { Verdict::Warn };
            (verdict, format!("reaches {well} of {of} processes of the {role} role"), "role-away")
        };
        let slow = self.of("penstock_upstream_check_seconds").filter(|metric| metric.value > SLOW_CHECK_S);
        let out_of_breath = |metric: &Metric| {
            let of = |label| metric.labels.get(label).map_or("", String::as_str);
            let why = format!("waits {:.1} s for the health of {} at {}", metric.value, of("role"), of("address"));
            (Verdict::Warn, why, "role-away")
        };
        away.map(finding).chain(slow.map(out_of_breath)).collect()
    }

    fn failures(&self, before: &Self, part: &str, verdict: Verdict, page: &'static str) -> Option<Finding> {
        let name = format!("penstock_{part}_failures_total");
        let more = self.sum(&name)? - before.sum(&name).unwrap_or(0.0);
        (more > 0.0).then_some((verdict, format!("its {part} failed {more} times just now"), page))
    }
}

/// What is wrong with a process, and the page that says what to do.
type Finding = (Verdict, String, &'static str);

/// A warning beyond the first bound, a failure beyond the second.
fn worse(measure: f64, (warn, fail): (f64, f64)) -> Option<Verdict> {
    match measure {
        m if m > fail => Some(Verdict::Fail),
        m if m > warn => Some(Verdict::Warn),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn process(text: &str) -> Process {
        Process { is_ready: true, metrics: ops::parsed(text) }
    }

    #[test]
    fn what_is_wrong_is_found_in_the_metrics() {
        let well = process(
            "penstock_disk_free_bytes 50\npenstock_disk_size_bytes 100\npenstock_upstream_healthy{role=\"query\"} 1\n",
        );
        assert_eq!(well.findings(&well), []);
        let before = process("penstock_metastore_failures_total 4");
        for (text, verdict, page) in [
            ("penstock_query_warehouse_away 1", Verdict::Fail, "warehouse-away"),
            ("penstock_disk_free_bytes 15\npenstock_disk_size_bytes 100", Verdict::Warn, "process-full"),
            ("penstock_disk_free_bytes 5\npenstock_disk_size_bytes 100", Verdict::Fail, "process-full"),
            ("process_open_fds 90\nprocess_max_fds 100", Verdict::Warn, "process-full"),
            ("penstock_ingest_pipeline_lag_seconds 61", Verdict::Fail, "lag"),
            (
                "penstock_pipeline_lag_records{partition=\"1\"} 3000\npenstock_pipeline_lag_records{partition=\"2\"} 3000",
                Verdict::Warn,
                "lag",
            ),
            ("penstock_pipeline_damaged_records_total 1", Verdict::Fail, "records-unreadable"),
            (
                "penstock_upstream_healthy{role=\"query\",address=\"a\"} 0\npenstock_upstream_healthy{role=\"query\",address=\"b\"} 1",
                Verdict::Warn,
                "role-away",
            ),
            ("penstock_upstream_healthy{role=\"query\",address=\"a\"} 0", Verdict::Fail, "role-away"),
            ("penstock_upstream_check_seconds{role=\"query\",address=\"a\"} 0.8", Verdict::Warn, "role-away"),
            ("penstock_metastore_failures_total 5", Verdict::Fail, "metastore-failing"),
            ("penstock_cache_failures_total 1", Verdict::Warn, "cache-failing"),
        ] {
            let found: Vec<_> =
                process(text).findings(&before).into_iter().map(|(verdict, _, page)| (verdict, page)).collect();
            assert_eq!(found, [(verdict, page)], "{text}");
        }
        assert_eq!(process("penstock_metastore_failures_total 4").findings(&before), [], "not lately");
    }
}
