//! Percentiles of what was measured.

use std::time::Duration;

use serde::Serialize;

/// What many times come to, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Times {
    /// How many there were.
    pub samples: usize,
    /// Half of them took no longer.
    pub p50_ms: f64,
    /// 99 in a hundred took no longer.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Times {
    /// Of all samples, in any order.
    pub fn of(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        let ms = |q| percentile(&samples, q).unwrap_or_default().as_nanos() as f64 / 1e6;
        Self { samples: samples.len(), p50_ms: ms(0.5), p99_ms: ms(0.99), max_ms: ms(1.0) }
    }
}

/// The smallest sample that at least the share `q` of all samples is not above (nearest rank); none of none. `sorted` is ascending.
fn percentile(sorted: &[Duration], q: f64) -> Option<Duration> {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_sample_by_its_rank() {
        let ms = Duration::from_millis;
        let hundred: Vec<_> = (1..=100).map(ms).collect();
        for (q, want) in [(0.0, 1), (0.001, 1), (0.5, 50), (0.501, 51), (0.99, 99), (0.991, 100), (1.0, 100)] {
            assert_eq!(percentile(&hundred, q), Some(ms(want)), "{q}");
        }
        assert_eq!(percentile(&[ms(7)], 0.99), Some(ms(7)));
        assert_eq!(percentile(&[ms(1), ms(2)], 0.5), Some(ms(1)));
        assert_eq!(percentile(&[ms(1), ms(2), ms(3)], 0.5), Some(ms(2)));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn times_come_in_any_order() {
        let times = Times::of([30, 10, 20].map(Duration::from_micros).to_vec());
        assert_eq!(times, Times { samples: 3, p50_ms: 0.02, p99_ms: 0.03, max_ms: 0.03 });
    }
}
