//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Made events for Penstock: the benchmark.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a Penstock of its own and measure it beside the raw engine.
    Bench(BenchArguments),
    /// Start a Penstock of its own, send and ask for long, and fail if memory or lag climb.
    Soak(SoakArguments),
}

/// How long and how fast.
#[derive(Debug, Args)]
pub(crate) struct SoakArguments {
    /// The CSV file to write. The data lie in a directory beside it while it runs.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// For how long, in minutes.
    #[arg(long, env = "PENSTOCK_SOAK_MINUTES", default_value_t = 30.0)]
    pub(crate) minutes: f64,
    /// Events a second.
    #[arg(long, env = "PENSTOCK_SOAK_RATE", default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(500..))]
    pub(crate) rate: u64,
    /// Seconds from line to line.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) every: u64,
}

/// How much is measured. The defaults take about ten minutes on two cores.
#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    /// The JSON file to write. The benchmark's data lie in a directory beside it while it runs: on the disk that is measured.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// How long each fixed rate is kept up, in seconds.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) seconds: u64,
    /// How many rows each way of writing gets.
    #[arg(long, default_value_t = 600_000, value_parser = clap::value_parser!(u64).range(1_000..=1_000_000_000))]
    pub(crate) rows: u64,
    /// How many events the dashboards are asked of.
    #[arg(long, default_value_t = 20_000_000, value_parser = clap::value_parser!(u64).range(1_000_000..=1_000_000_000))]
    pub(crate) dashboard_events: u64,
    /// The seed of the made events.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Take this for the highest sustained rate, of which a large tenant and the others have their shares, in events a second: so that two builds are compared under
    /// one load. Default: what was measured.
    #[arg(long)]
    pub(crate) sustained: Option<f64>,
    /// Measure these parts alone, after writing and what they need.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
}

/// A part of the benchmark. Writing is always measured: what others are held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Questions through Penstock and around it.
    Questions,
    /// How long events wait at a fixed rate.
    Waiting,
    /// One large tenant among many.
    Skew,
    /// One within its limits beside one at ten times its quota.
    Victim,
    /// Dashboards of a month.
    Dashboards,
    /// Many who ask at once.
    Crowd,
}

impl BenchArguments {
    pub(crate) fn measures(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}
