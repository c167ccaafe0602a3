//! What was sent, what came of it, and what went wrong.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use crate::run::Plan;

/// What an input came to, when nothing went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    /// With this code.
    Refused(String),
}

/// Failures after which a run ends: more tell nothing new.
const ENOUGH: usize = 8;

/// Characters of a failure and of its input that are printed.
const SHOWN: usize = 1_500;

#[derive(Default)]
pub struct Report(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    kinds: BTreeMap<&'static str, Kind>,
    failures: Vec<String>,
}

#[derive(Default)]
struct Kind {
    requests: u64,
    accepted: u64,
    refused: BTreeMap<String, u64>,
    failed: u64,
}

impl Report {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn verdict(&self, kind: &'static str, verdict: Verdict) {
        let mut inner = self.inner();
        let kind = inner.kinds.entry(kind).or_default();
        kind.requests += 1;
        match verdict {
            Verdict::Accepted => kind.accepted += 1,
            Verdict::Refused(code) => *kind.refused.entry(code).or_default() += 1,
        }
    }

    /// `input`: shrunk as far as it still fails, and readable.
    pub fn failure(&self, kind: &'static str, index: u64, why: &str, input: &str) {
        let mut inner = self.inner();
        let counts = inner.kinds.entry(kind).or_default();
        counts.requests += 1;
        counts.failed += 1;
        let short = |text: &str| text.chars().take(SHOWN).collect::<String>();
        inner.failures.push(format!("{kind}:{index}: {}\n    {}", short(why), short(input)));
    }

    pub fn is_full(&self) -> bool {
        self.inner().failures.len() >= ENOUGH
    }

    /// Prints the table; panics if anything failed, fewer requests were sent than `least`, or more memory was used than `limit_bytes`.
    pub fn conclude(&self, what: &str, Plan { seed, least, .. }: &Plan, peak_bytes: u64, limit_bytes: u64) {
        let inner = self.inner();
        let mib = |bytes: u64| bytes >> 20;
        let mut total = 0;
        println!("{:<14} {:>9} {:>9} {:>7}  refused", what, "requests", "accepted", "failed");
        for (name, kind) in &inner.kinds {
            total += kind.requests;
            let codes: Vec<_> = kind.refused.iter().map(|(code, count)| format!("{code} {count}")).collect();
            println!("{name:<14} {:>9} {:>9} {:>7}  {}", kind.requests, kind.accepted, kind.failed, codes.join(", "));
        }
        println!("{:<14} {total:>9} requests, peak memory {} MiB of {}", "all", mib(peak_bytes), mib(limit_bytes));
        let again = format!("PENSTOCK_FUZZ_SEED={seed} PENSTOCK_FUZZ_ONLY=KIND:NUMBER make fuzz");
        assert!(inner.failures.is_empty(), "{}\n  again: {again}", inner.failures.join("\n  "));
        assert!(
            total >= *least,
            "{total} requests in this time, {least} were wanted: PENSTOCK_FUZZ_SECONDS gives more"
        );
        assert!(peak_bytes <= limit_bytes, "{} MiB of memory, the bound is {}", mib(peak_bytes), mib(limit_bytes));
    }
}

/// The most memory that a process has had resident.
pub fn peak_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
