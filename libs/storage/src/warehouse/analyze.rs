//! How the engine worked at a statement, as it says itself (`EXPLAIN ANALYZE`, from ClickHouse 26.7 on).

use std::time::Duration;

use super::{Cell, RowBlock};

/// The statement that runs this one and tells, instead of its rows, how it went.
pub fn analyzing(statement: &str) -> String {
    format!("EXPLAIN ANALYZE {statement}")
}

/// How long threads worked, in all steps that this part of what it tells is about; `None` if it can't be read.
pub fn worked(told: &RowBlock) -> Option<Duration> {
    let cells = told.columns.iter().flat_map(|column| &column.cells);
    let lines = cells.filter_map(|cell| if let Cell::String(line) = cell { Some(line) } else { None });
    lines.filter_map(|line| line.split_once(THREADS)).map(|(time, threads)| of_step(time, threads)).sum()
}

/// Between how long any thread worked at a step, or at a stage of one, and how many did on average, of how many:
/// `time 63.53 ms (11.0%) · parallelism 1.15/2`.
const THREADS: &str = " · parallelism ";

fn of_step(time: &str, threads: &str) -> Option<Duration> {
    let (_, time) = time.rsplit_once("time ")?;
    let mut words = time.split(' ');
    let (time, unit) = (words.next()?.parse::<f64>().ok()?, words.next()?);
    let seconds = match unit {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        _ => return None,
    };
    let (threads, _) = threads.split_once('/')?;
    Duration::try_from_secs_f64(time * seconds * threads.parse::<f64>().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::warehouse::ResultColumn;

    fn told(lines: &[&str]) -> Option<Duration> {
        let cells = lines.iter().map(|line| Cell::String((*line).to_owned())).collect();
        let columns = vec![ResultColumn { name: "explain".to_owned(), cells }];
        worked(&RowBlock { rows: lines.len(), columns })
    }

    #[test]
    fn the_work_of_all_steps_is_added_up() {
        let lines = [
            "  Time:        591.00 ms (planning 11.47 ms · execution 579.53 ms)",
            "└──Aggregating",
            "   │    Stage (partial aggregation): time 60.00 ms (11.0%) · parallelism 1.50/2",
            "   │    Stage (final aggregation): time 500.00 us (0.0%) · parallelism 1.00/2",
            "      │    time 1.20 s (97.3%) · parallelism 2.00/2",
        ];
        assert_eq!(told(&lines), Some(Duration::from_micros(90_000 + 500 + 2_400_000)));
        assert_eq!(told(&lines[..2]), Some(Duration::ZERO));
        assert_eq!(told(&["time 3 fortnights (1%) · parallelism 1.00/2"]), None);
    }
}
