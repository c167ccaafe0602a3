//! `penstock cost`: what each tenant's work costs, by what processes measured and a table of prices.
//!
//! Processes count by tenant ([`counts`]): events, calls, bytes, what is stored, the time that threads and the warehouse worked for it. CPU time is measured of whole
//! processes, and shared out by that time. The table ([`prices`]) makes dollars of it. Each sum over all tenants is made of the totals, not of the rows.

pub(crate) mod counts;
mod prices;

use std::{fs, time::Duration};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    ClientError, Show, Target, ops,
    show::{Progress, text},
};
use crate::cli::CostArguments;
use counts::{Counts, Used};
use prices::Prices;

/// What `penstock cost` knows without being told: the table that the documentation's sums are made with.
const PRICES: &str = include_str!("../../../../deploy/sizing/prices.toml");

pub(super) async fn cost(target: &Target, arguments: CostArguments, show: &mut Show) -> Result<(), ClientError> {
    let prices = match &arguments.prices {
        None => PRICES.to_owned(),
        Some(path) => fs::read_to_string(path).map_err(|source| ClientError::NoFile { path: path.clone(), source })?,
    };
    let prices = Prices::read(&prices).map_err(|why| ClientError::Mistake(format!("--prices: {why}")))?;
    let counts = match (&arguments.prometheus, arguments.range) {
        (Some(prometheus), range) => {
            let range = range.unwrap_or(Duration::from_secs(86_400));
            Counts::of_prometheus(ops::address(prometheus), range).await?
        }
        (None, range) => {
            let usual = || vec![ops::USUAL.to_owned()];
            let named = [arguments.ops, target.ops.clone()].into_iter().find(|ops| !ops.is_empty());
            let processes = named.unwrap_or_else(usual);
            let before = match range {
                Some(range) => {
                    let before = counts::read(&processes).await?;
                    Progress::new().lasting(range, "it is measured", sleep(range)).await;
                    before
                }
                None => Vec::new(),
            };
            Counts::of(&counts::since(before, counts::read(&processes).await?))
        }
    };
    let total = counts.total();
    let rows: Vec<_> = counts.tenants().map(|(tenant, used)| row(tenant, used, &prices)).collect();
    let wanted =
        rows.into_iter().filter(|row| arguments.tenant.as_ref().is_none_or(|wanted| row["tenant"] == **wanted));
    let all: Vec<_> = wanted.chain([row("(all)", &total, &prices)]).collect();
    show.objects(
        &all,
        &[
            ("tenant", |r| text(&r["tenant"])),
            ("events", |r| text(&r["events"])),
            ("calls", |r| text(&r["calls"])),
            ("MB in", |r| mb(&r["body_bytes_in"])),
            ("MB out", |r| mb(&r["body_bytes_out"])),
            ("MB stored", |r| mb(&r["stored_bytes"])),
            ("core s", |r| rounded(&r["roles_core_seconds"])),
            ("warehouse core s", |r| rounded(&r["warehouse_core_seconds"])),
            ("$", |r| dollars(&r["dollars"]["all"])),
            ("$ a million events", |r| dollars(&r["dollars_a_million_events"])),
        ],
    )?;
    show.object(&json!({"prices": prices.source}), &format!("prices: {}", prices.source))
}

fn row(tenant: &str, used: &Used, prices: &Prices) -> Value {
    let dollars = prices.of(used);
    let all: f64 = dollars.iter().map(|(_, dollars)| dollars).sum();
    let parts = dollars.into_iter().chain([("all", all)]).map(|(part, dollars)| (part.to_owned(), json!(dollars)));
    let a_million = (used.events > 0.0).then(|| all / used.events * 1e6);
    json!({
        "tenant": tenant,
        "events": whole(used.events),
        "calls": whole(used.calls),
        "body_bytes_in": whole(used.bytes_in),
        "body_bytes_out": whole(used.bytes_out),
        "stored_bytes": whole(used.stored_bytes),
        "log_bytes": whole(used.log_bytes),
        "roles_core_seconds": used.roles_core_s,
        "warehouse_core_seconds": used.warehouse_core_s,
        "dollars": parts.collect::<serde_json::Map<_, _>>(),
        "dollars_a_million_events": a_million,
    })
}

/// Prometheus makes fractions of counts.
fn whole(count: f64) -> u64 {
    count.round() as u64
}

fn mb(bytes: &Value) -> String {
    format!("{:.1}", bytes.as_f64().unwrap_or_default() / 1e6)
}

fn rounded(number: &Value) -> String {
    format!("{:.2}", number.as_f64().unwrap_or_default())
}

fn dollars(amount: &Value) -> String {
    amount.as_f64().map_or_else(String::new, |amount| format!("{amount:.4}"))
}
