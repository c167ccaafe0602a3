//! What tenants used, and what it costs by the operator's prices.

use api::{
    convert::{time_from_wire, time_to_wire},
    v1::{GetUsageRequest, GetUsageResponse, Usage},
};
use model::{DAY_MS, Error};
use serde::{Deserialize, Serialize};
use storage::Used;

use crate::{
    caller::{Caller, denied},
    service::{Admin, stored},
};

/// For how many days it is kept what was used.
pub const USAGE_DAYS: i64 = 400;
const USUAL_DAYS: i64 = 30;

/// What an operator asks of tenants for what they use.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prices {
    /// What the prices are in, as `EUR`. Costs are told only where it is said.
    pub currency: String,
    /// Of a million events that were taken.
    pub million_events: f64,
    /// Of a million calls.
    pub million_calls: f64,
    /// Of 1,000,000,000 bytes that came in.
    pub gigabyte_in: f64,
    /// Of 1,000,000,000 bytes that went out.
    pub gigabyte_out: f64,
    /// Of 1,000,000,000 bytes that questions read in the warehouse.
    pub gigabyte_read: f64,
    /// Of an hour that a thread of the roles worked.
    pub role_hour: f64,
    /// Of an hour that a statement ran in the warehouse.
    pub warehouse_hour: f64,
}

impl Prices {
    /// Whether each is a number from 0 on.
    pub fn are_well(&self) -> bool {
        let Self {
            currency: _,
            million_events,
            million_calls,
            gigabyte_in,
            gigabyte_out,
            gigabyte_read,
            role_hour,
            warehouse_hour,
        } = self;
        [million_events, million_calls, gigabyte_in, gigabyte_out, gigabyte_read, role_hour, warehouse_hour]
            .into_iter()
            .all(|price| price.is_finite() && *price >= 0.0)
    }

    fn of(&self, used: &Used) -> f64 {
        if self.currency.is_empty() {
            return 0.0;
        }
        [
            (used.events, 1e6, self.million_events),
            (used.calls, 1e6, self.million_calls),
            (used.bytes_in, 1e9, self.gigabyte_in),
            (used.bytes_out, 1e9, self.gigabyte_out),
            (used.read_bytes, 1e9, self.gigabyte_read),
            (used.work_us, 3.6e9, self.role_hour),
            (used.warehouse_us, 3.6e9, self.warehouse_hour),
        ]
        .into_iter()
        .map(|(amount, unit, price)| amount as f64 / unit * price)
        .sum()
    }
}

impl Admin {
    pub(crate) async fn usage(&self, caller: &Caller, request: &GetUsageRequest) -> Result<GetUsageResponse, Error> {
        let tenant = caller.chain(&request.tenant_id)?;
        let time = |field, time: &Option<_>| time.as_ref().map(|time| time_from_wire(field, time)).transpose();
        let day_of = |ms: i64| ms.div_euclid(DAY_MS) * DAY_MS;
        let last = day_of(time("to", &request.to)?.unwrap_or_else(self.now_ms));
        let first = day_of(time("from", &request.from)?.unwrap_or(last - (USUAL_DAYS - 1) * DAY_MS));
        if first > last {
            return Err(Error::invalid("from", "OUT_OF_RANGE", "must not be after `to`"));
        }
        if last - first >= USAGE_DAYS * DAY_MS {
            let what = format!("must be at most {USAGE_DAYS} days before `to`: they aren't kept for longer");
            return Err(Error::invalid("from", "OUT_OF_RANGE", what));
        }
        if !caller.reaches_all() {
            return Err(denied(
                "this key is limited to some apps, and what is used is counted for all of a tenant's together",
            ));
        }
        let end = last + DAY_MS;
        let usage = match tenant {
            Some(tenant) => {
                let days = self.directory.used_by_day(&tenant, first, end).await.map_err(stored)?;
                if days.is_empty() {
                    self.require_tenant(&tenant).await?;
                }
                days.iter().map(|(day, used)| self.to_wire(tenant.as_str(), Some(*day), used)).collect()
            }
            None => {
                let all = self.directory.used_by_tenant(first, end).await.map_err(stored)?;
                all.iter().map(|(tenant, used)| self.to_wire(tenant, None, used)).collect()
            }
        };
        Ok(GetUsageResponse { usage, currency: self.prices.currency.clone() })
    }

    fn to_wire(&self, tenant: &str, day_ms: Option<i64>, used: &Used) -> Usage {
        let Used { events, calls, bytes_in, bytes_out, log_bytes, queries, read_bytes, work_us, warehouse_us } = *used;
        let [role_seconds, warehouse_seconds] = [work_us, warehouse_us].map(|us| us as f64 / 1e6);
        Usage {
            tenant_id: tenant.to_owned(),
            day: day_ms.map(time_to_wire),
            events,
            calls,
            bytes_in,
            bytes_out,
            log_bytes,
            queries,
            read_bytes,
            role_seconds,
            warehouse_seconds,
            cost: self.prices.of(used),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_amount_has_its_price_and_without_a_currency_none() {
        let used = Used {
            events: 2_000_000,
            calls: 1_000_000,
            bytes_in: 500_000_000,
            bytes_out: 1_000_000_000,
            log_bytes: 9,
            queries: 9,
            read_bytes: 3_000_000_000,
            work_us: 7_200_000_000,
            warehouse_us: 1_800_000_000,
        };
        let none = Prices { currency: "EUR".to_owned(), ..Prices::default() };
        let of = |prices: Prices| prices.of(&used);
        assert_eq!(of(none.clone()), 0.0);
        assert_eq!(of(Prices { million_events: 1.5, ..none.clone() }), 3.0);
        assert_eq!(of(Prices { million_calls: 1.5, gigabyte_in: 1.0, ..none.clone() }), 2.0);
        assert_eq!(of(Prices { gigabyte_out: 0.25, gigabyte_read: 0.25, ..none.clone() }), 1.0);
        assert_eq!(of(Prices { role_hour: 1.0, warehouse_hour: 2.0, ..none.clone() }), 3.0);
        assert!(none.are_well() && !Prices { role_hour: f64::NAN, ..none.clone() }.are_well());
        assert!(!Prices { million_calls: -1.0, ..none }.are_well());
        assert_eq!(of(Prices { role_hour: 1.0, ..Prices::default() }), 0.0);
    }
}
