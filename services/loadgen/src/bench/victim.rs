//! A tenant within its limits beside one that sends and asks ten times what its quota lets it.

use std::time::Duration;

use api::v1::{self, admin_service_client::AdminServiceClient};
use futures::TryFutureExt;
use load::{Times, open_loop};
use serde::Serialize;
use storage::warehouse::schema::{DAILY_USERS, DEFAULT_DATABASE};
use tonic::Code;

use super::{
    TURNS,
    house::{APP, House},
    latency,
    rows::Rows,
    skew,
};
use crate::{connection::Connection, error::LoadError};

/// Calls of the victim a second; every second one publishes, the others ask.
const CALLS: u64 = 50;
/// What the noisy tenant may call a second, of both kinds: as much as the other does call.
const QUOTA: u64 = CALLS;
/// So many times that the noisy tenant calls.
const TIMES: u64 = 10;
const BATCH_EVENTS: u64 = 20;
/// More than a tenant sends in a round: nothing is sent twice.
const ROUND_EVENTS: u64 = 1_000_000;

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Victim {
    pub(crate) calls_per_second: u64,
    pub(crate) alone: Waits,
    /// Beside as much as the noisy tenant's quota lets in: that costs what it costs.
    pub(crate) within_quota: Waits,
    /// Beside ten times that: more than before is what refusing costs.
    pub(crate) beside: Waits,
    pub(crate) noisy_calls_per_second: u64,
    pub(crate) noisy_quota_per_second: u64,
    /// What of the noisy tenant's calls was let in, a second: its quota, and a burst in the beginning.
    pub(crate) noisy_let_in_per_second: f64,
}

/// Of the victim's calls, each from the time that it was due.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Waits {
    /// To the acknowledgement.
    pub(crate) acknowledge: Times,
    /// To the answer to a question that nobody asked before.
    pub(crate) answer: Times,
}

/// Publishes rows numbered from `first` on, each time for `seconds`, in turns.
pub(crate) async fn measure(house: &House, rows: &'static Rows, first: u64, seconds: u64) -> Result<Victim, LoadError> {
    let operator = house.connect().await?.with_key(&house.operator_key()?)?;
    // Each on a connection of its own, as customers are.
    let victim = house.connect().await?.with_key(&skew::tenant(&operator, "victim").await?)?;
    let noisy = house.connect().await?.with_key(&skew::tenant(&operator, "noisy").await?)?;
    let quota = v1::TenantQuota {
        requests_per_second: Some(QUOTA),
        requests_burst: Some(QUOTA),
        events_per_second: Some(QUOTA / 2 * BATCH_EVENTS),
        events_burst: Some(QUOTA / 2 * BATCH_EVENTS),
        ..Default::default()
    };
    let request = v1::SetTenantQuotaRequest { tenant_id: "noisy".to_owned(), quota: Some(quota) };
    AdminServiceClient::new(operator.service()).set_tenant_quota(request).await?;
    // Its first calls tell the processes nothing of the quota, which they hear of within two seconds; the connections get warm.
    let (warmed, _) = tokio::join!(waits(rows, first, &victim, 3, 0), waits(rows, first, &noisy, 3, 0));
    warmed?;
    // Parts are merged as they age: those of the week that has just been written are eight a day.
    let merged = format!("OPTIMIZE TABLE {DAILY_USERS} FINAL");
    house.clickhouse(DEFAULT_DATABASE).query(&merged).execute().await?;
    house.settle().await?;

    let noise = |rate, round| {
        let noisy = noisy.clone();
        open_loop::run_at(open_loop::independent(rate, seconds, round), move |number| {
            let noisy = noisy.clone();
            async move { let_in(call(rows, first, noisy, number, round).await) }
        })
    };
    let (mut alone, mut within_quota, mut beside, mut let_in) = (Seen::default(), Seen::default(), Seen::default(), 0);
    // Each has a number of its own, so that nothing is asked twice.
    for round in (1..).step_by(5).take(TURNS) {
        alone.add(waits(rows, first, &victim, seconds, round).await?);
        house.settle().await?;
        // A little less than the quota: calls come unevenly.
        let within = noise(QUOTA * 9 / 10, round + 1);
        let (waited, _) = tokio::try_join!(waits(rows, first, &victim, seconds, round + 2), within.err_into())?;
        within_quota.add(waited);
        house.settle().await?;
        let loud = noise(QUOTA * TIMES, round + 3);
        let (waited, noise) = tokio::try_join!(waits(rows, first, &victim, seconds, round + 4), loud.err_into())?;
        beside.add(waited);
        house.settle().await?;
        for (_, passed) in noise {
            let_in += u64::from(passed?);
        }
    }
    Ok(Victim {
        calls_per_second: CALLS,
        alone: alone.into(),
        within_quota: within_quota.into(),
        beside: beside.into(),
        noisy_calls_per_second: QUOTA * TIMES,
        noisy_quota_per_second: QUOTA,
        noisy_let_in_per_second: let_in as f64 / (TURNS as u64 * seconds) as f64,
    })
}

/// How long each of the victim's calls took: those that publish, and those that ask.
#[derive(Default)]
struct Seen([Vec<Duration>; 2]);

impl Seen {
    fn add(&mut self, Self(more): Self) {
        self.0.iter_mut().zip(more).for_each(|(times, more)| times.extend(more));
    }
}

impl From<Seen> for Waits {
    fn from(Seen(times): Seen) -> Self {
        let [acknowledge, answer] = times.map(Times::of);
        Self { acknowledge, answer }
    }
}

async fn waits(
    rows: &'static Rows,
    first: u64,
    tenant: &Connection,
    seconds: u64,
    round: u64,
) -> Result<Seen, LoadError> {
    let done = open_loop::run_at(open_loop::independent(CALLS, seconds, round), |number| {
        let tenant = tenant.clone();
        async move {
            call(rows, first, tenant, number, round).await?;
            Ok::<_, LoadError>((number, tokio::time::Instant::now()))
        }
    });
    let mut seen = Seen::default();
    for (due, ended) in done.await? {
        let (number, at) = ended?;
        seen.0[(number % 2) as usize].push(at - due);
    }
    Ok(seen)
}

/// One call: an even number publishes, an odd one asks.
async fn call(rows: &'static Rows, first: u64, tenant: Connection, number: u64, round: u64) -> Result<(), LoadError> {
    if number.is_multiple_of(2) {
        latency::publish(rows, first + round * ROUND_EVENTS + number * BATCH_EVENTS, BATCH_EVENTS, tenant, None)
            .await?;
        return Ok(());
    }
    let sql = format!("SELECT COUNT(*) AS events FROM events WHERE user_id <> '{round}-{number}'");
    let request = v1::SqlRequest { sql, app_id: APP.to_owned(), options: None };
    tenant.query().sql(request).await?;
    Ok(())
}

/// Whether a call was let in; what is no refusal for want of quota ends the run.
fn let_in(outcome: Result<(), LoadError>) -> Result<bool, LoadError> {
    match outcome {
        Ok(()) => Ok(true),
        Err(LoadError::Refused(status)) if status.code() == Code::ResourceExhausted => Ok(false),
        Err(error) => Err(error),
    }
}
