//! How much is sent, and how an input is made from the seed.

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use rand::{SeedableRng, rngs::StdRng};

use crate::report::Report;

/// What of one input's life decides everything about it.
pub type Random = StdRng;

pub struct Plan {
    pub seed: u64,
    pub budget: Budget,
    pub threads: usize,
    /// Fewer requests than these show too little.
    pub least: u64,
}

pub enum Budget {
    /// So many requests.
    Requests(u64),
    /// As many as the time allows.
    Time(Duration),
    /// One, of this kind and number.
    Only(String, u64),
}

impl Plan {
    /// As the environment says: this part's share of the seconds, in fifths, or so many requests; and what `least` names.
    pub fn from_environment(fifths: u64, requests: u64, threads: usize, least: &str) -> Self {
        let number =
            |name: &str| env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")));
        let budget = match (env::var("PENSTOCK_FUZZ_ONLY").ok(), number("PENSTOCK_FUZZ_SECONDS")) {
            (Some(only), _) => {
                let (kind, index) = only.rsplit_once(':').expect("PENSTOCK_FUZZ_ONLY is KIND:NUMBER");
                Budget::Only(kind.to_owned(), index.parse().unwrap())
            }
            (None, Some(seconds)) => Budget::Time(Duration::from_millis(seconds * 200 * fifths)),
            (None, None) => Budget::Requests(requests),
        };
        let seed = number("PENSTOCK_FUZZ_SEED").unwrap_or_else(rand::random);
        println!("PENSTOCK_FUZZ_SEED={seed}");
        let least = match budget {
            Budget::Requests(requests) => requests,
            Budget::Time(_) => number(least).unwrap_or(0),
            Budget::Only(..) => 0,
        };
        Self { seed, budget, threads, least }
    }

    /// The randomness of one input.
    pub fn random(&self, kind: &str, index: u64) -> Random {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&index.to_le_bytes());
        let len = kind.len().min(16);
        seed[16..16 + len].copy_from_slice(&kind.as_bytes()[..len]);
        StdRng::from_seed(seed)
    }

    /// Calls `send` for one number after another, on several threads, until the budget is spent. The kind of a number is
    /// `kinds[number % kinds.len()]`; `worker` makes what a thread keeps.
    pub fn work<W>(
        &self,
        kinds: &[&'static str],
        report: &Report,
        worker: impl Fn() -> W + Sync,
        send: impl Fn(&mut W, &'static str, u64) + Sync,
    ) {
        if let Budget::Only(kind, index) = &self.budget {
            let kind = kinds.iter().find(|known| *known == kind);
            return kind.map_or((), |kind| send(&mut worker(), kind, *index));
        }
        let (next, started) = (AtomicU64::new(0), Instant::now());
        std::thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(|| {
                    let mut own = worker();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let more = match self.budget {
                            Budget::Requests(requests) => number < requests,
                            Budget::Time(time) => started.elapsed() < time,
                            Budget::Only(..) => false,
                        };
                        if !more || report.is_full() {
                            break;
                        }
                        send(&mut own, kinds[number as usize % kinds.len()], number);
                    }
                });
            }
        });
    }
}
