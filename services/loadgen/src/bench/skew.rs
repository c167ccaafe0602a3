//! One tenant that is far larger than the others: what the others notice of it, and how evenly it lies.

use std::time::Duration;

use api::v1::{self, admin_service_client::AdminServiceClient};
use futures::TryFutureExt;
use load::{
    Times,
    open_loop::{self, Schedule},
};
use serde::Serialize;
use storage::warehouse::{Cell, QuerySettings};

use super::{
    TURNS,
    house::{APP, House},
    latency::{self, SAMPLE_EVERY},
    rows::Rows,
};
use crate::{connection::Connection, error::LoadError, publish};

/// Tenants beside the large one.
const OTHERS: u64 = 200;
const LARGE: &str = "large";
/// Calls of each of them in a second: a client's library sends what came in 200 ms.
const CALLS: u64 = 5;
/// Events in a call of the large one: as where the highest rate was measured.
const LARGE_BATCH: u64 = publish::BATCH_EVENTS as u64;
/// Of the highest sustained rate.
const SHARE_OF_LARGE: f64 = 0.4;
const SHARE_OF_OTHERS: f64 = 0.2;

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Skew {
    pub(crate) others_events_per_second: u64,
    pub(crate) large_events_per_second: u64,
    pub(crate) events: u64,
    /// The others' wait from acknowledgement to the first answer with the events.
    pub(crate) fresh_alone: Times,
    pub(crate) fresh_beside_large: Times,
    /// The large tenant's events in its fullest partition, against the mean of all.
    pub(crate) max_to_mean: f64,
}

/// Publishes rows numbered from `first` on: the others by themselves for `seconds`, then beside the large tenant, and so on in turns.
pub(crate) async fn measure(
    house: &House,
    rows: &'static Rows,
    first: u64,
    sustained_per_second: f64,
    seconds: u64,
) -> Result<Skew, LoadError> {
    let connection = house.connect().await?;
    let operator = connection.with_key(&house.operator_key()?)?;
    let mut others = Vec::new();
    for number in 0..OTHERS {
        others.push(connection.with_key(&tenant(&operator, &format!("other-{number}")).await?)?);
    }
    let large = house.connect().await?.with_key(&tenant(&operator, LARGE).await?)?;

    let calls = |share: f64, batch: u64| ((sustained_per_second * share) as u64 / batch).max(1);
    let batch = calls(SHARE_OF_OTHERS, OTHERS * CALLS);
    let of_others = OTHERS * CALLS * batch;
    let of_large = calls(SHARE_OF_LARGE, LARGE_BATCH) * LARGE_BATCH;
    let steady = |first| fresh(rows, (first, batch), &others, Schedule::of(OTHERS * CALLS, seconds));
    let (mut alone, mut beside, mut next) = (Vec::new(), Vec::new(), first);
    for _ in 0..TURNS {
        alone.extend(steady(next).await?);
        next += of_others * seconds;
        house.settle().await?;

        let load = Schedule::of(of_large / LARGE_BATCH, seconds);
        let large_first = next + of_others * seconds;
        let large_load = open_loop::run(load, |call| {
            let first = large_first + call * LARGE_BATCH;
            latency::publish(rows, first, LARGE_BATCH, large.clone(), None)
        });
        let (waits, large_load) = tokio::try_join!(steady(next), large_load.err_into())?;
        for (_, answered) in large_load {
            answered?;
        }
        beside.extend(waits);
        next = large_first + of_large * seconds;
        house.settle().await?;
    }
    Ok(Skew {
        others_events_per_second: of_others,
        large_events_per_second: of_large,
        events: next - first,
        fresh_alone: Times::of(alone),
        fresh_beside_large: Times::of(beside),
        max_to_mean: max_to_mean(house).await?,
    })
}

/// Each call is another tenant's; some of them ask for their events.
async fn fresh(
    rows: &'static Rows,
    (first, batch): (u64, u64),
    tenants: &[Connection],
    schedule: Schedule,
) -> Result<Vec<Duration>, LoadError> {
    let sample_every = (schedule.calls * SAMPLE_EVERY.as_millis() as u64 / schedule.span.as_millis() as u64).max(1);
    let done = open_loop::run(schedule, |call| {
        let tenant = tenants[(call % tenants.len() as u64) as usize].clone();
        // An odd step, so that samples come from all of the tenants, who are an even number.
        let sampled = (call % (sample_every | 1) == 0).then(|| tenant.clone());
        latency::publish(rows, first + call * batch, batch, tenant, sampled)
    });
    let mut waits: Vec<Duration> = Vec::new();
    for (_, answered) in done.await? {
        let answered = answered?;
        waits.extend(answered.fresh.map(|at| at - answered.acknowledged));
    }
    Ok(waits)
}

/// Makes a tenant with the app; returns its key.
pub(crate) async fn tenant(operator: &Connection, id: &str) -> Result<String, LoadError> {
    let mut admin = AdminServiceClient::new(operator.service());
    let tenant = v1::Tenant { tenant_id: id.to_owned(), ..Default::default() };
    admin.create_tenant(v1::CreateTenantRequest { tenant: Some(tenant) }).await?;
    let app = v1::App { app_id: APP.to_owned(), ..Default::default() };
    admin.create_app(v1::CreateAppRequest { tenant_id: id.to_owned(), app: Some(app) }).await?;
    let permissions = [v1::Permission::Ingest, v1::Permission::Backfill, v1::Permission::Query].map(i32::from).to_vec();
    let request = v1::CreateKeyRequest { tenant_id: id.to_owned(), permissions, ..Default::default() };
    Ok(admin.create_key(request).await?.into_inner().secret)
}

async fn max_to_mean(house: &House) -> Result<f64, LoadError> {
    let statement = format!(
        "SELECT max(n) / avg(n) FROM (SELECT count() AS n FROM events WHERE tenant = '{LARGE}' GROUP BY _partition)"
    );
    let rows = house.own_warehouse()?.select(&statement, &[], &QuerySettings::default())?.collect().await?;
    match rows.first().and_then(|row| row.first()) {
        Some(Cell::Number(ratio)) => Ok(*ratio),
        _ => Err(LoadError::Incomplete("ratio")),
    }
}
