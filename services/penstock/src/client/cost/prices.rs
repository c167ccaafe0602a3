//! What things cost.

use serde::Deserialize;

use super::counts::Used;

/// The table, `deploy/sizing/prices.toml`, which says what each means. In dollars; the sizing of houses needs more of it than this command.
#[derive(Debug, Deserialize)]
pub(super) struct Prices {
    /// Whose prices they are, for people.
    pub(super) source: String,
    roles_node: Node,
    warehouse_node: Node,
    kafka_gb_month: f64,
    disk_gb_month: f64,
    bucket_gb_month: f64,
    between_zones_gb: f64,
    egress_gb: f64,
    million_requests: f64,
    assumed: Assumed,
}

#[derive(Debug, Deserialize)]
struct Node {
    cores: f64,
    hour: f64,
}

#[derive(Debug, Deserialize)]
struct Assumed {
    busy: f64,
    full: f64,
    disk_days: f64,
    bucket_days: f64,
    log_days: f64,
    log_copies: f64,
    warehouse_copies: f64,
    crossings: f64,
}

const MONTH_DAYS: f64 = 30.0;
const GB: f64 = 1e9;

impl Prices {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let prices: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        let Assumed { busy, full, .. } = prices.assumed;
        let divisors = [busy, full, prices.roles_node.cores, prices.warehouse_node.cores];
        match divisors.iter().all(|divisor| *divisor > 0.0) {
            true => Ok(prices),
            false => Err("busy, full and cores must be above 0".to_owned()),
        }
    }

    /// What it costs, by part. What is stored and what is in the log is paid for as long as it will be kept.
    pub(super) fn of(&self, used: &Used) -> [(&'static str, f64); 7] {
        let Assumed { busy, full, disk_days, bucket_days, log_days, log_copies, warehouse_copies, crossings } =
            self.assumed;
        let core_s = |node: &Node| node.hour / node.cores / 3600.0 / busy;
        let disk = disk_days / MONTH_DAYS * warehouse_copies / full * self.disk_gb_month;
        let bucket = bucket_days / MONTH_DAYS * self.bucket_gb_month;
        [
            ("roles", used.roles_core_s * core_s(&self.roles_node)),
            ("warehouse", used.warehouse_core_s * core_s(&self.warehouse_node) * warehouse_copies),
            ("stored", used.stored_bytes / GB * (disk + bucket)),
            ("log", used.log_bytes / GB * log_days / MONTH_DAYS * log_copies / full * self.kafka_gb_month),
            ("between_zones", used.bytes_in / GB * crossings * self.between_zones_gb),
            ("to_customers", used.bytes_out / GB * self.egress_gb),
            ("calls", used.calls / 1e6 * self.million_requests),
        ]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_its_measure_times_its_price() {
        let prices = Prices::read(super::super::PRICES).unwrap();
        let none = Used::default();
        let of = |used: Used| prices.of(&used).map(|(_, dollars)| (dollars * 1e4).round() / 1e4);
        assert_eq!(of(none), [0.0; 7]);
        // An hour of sixteen cores that are seven tenths busy is a node's; a GB is kept for a month on disks and eleven in the bucket.
        let hours = Used { roles_core_s: 3600.0 * 16.0 * 0.7, warehouse_core_s: 3600.0 * 32.0 * 0.7, ..none };
        assert_eq!(of(hours)[..2], [0.8064, 1.6128]);
        let kept = Used { stored_bytes: GB, log_bytes: GB, ..none };
        assert_eq!(of(kept)[2..4], [0.3568, 0.0875]);
        let moved = Used { bytes_in: GB, bytes_out: GB, calls: 1e6, ..none };
        assert_eq!(of(moved)[4..], [0.06, 0.09, 0.6]);
    }

    #[test]
    fn a_table_that_would_divide_by_nothing_is_refused() {
        assert!(Prices::read(&super::super::PRICES.replace("busy = 0.7", "busy = 0")).is_err());
        assert!(Prices::read("source = 'mine'").unwrap_err().contains("roles_node"));
    }
}
