//! `penstock demo`: a shop that was open last week, and still is.

use std::{io::Write, time::Duration};

use api::v1::{self, ingest_service_client::IngestServiceClient};
use load::{
    now_ms,
    shop::{Density, Live, Made, Users, Week, wire},
};
use prost::Message;
use tokio::{signal, sync::mpsc, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    ClientError, Keyed, Show, Target, keyed,
    send::{AHEAD, Line, Verdicts, deliver},
    show::Progress,
};
use crate::cli::DemoArguments;

/// Users identified at once.
const IDENTIFY_AT_ONCE: usize = 64;
/// The shop opens so long before it is watched, so that visits of all lengths are under way.
const WARM_MS: i64 = 10 * 60_000;

/// Sends the users, their week, and what they do from now on, until Ctrl-C; a second one doesn't wait for what is under way.
pub(super) async fn demo(target: &Target, arguments: DemoArguments, show: &mut Show) -> Result<(), ClientError> {
    let (stop, end) = (CancellationToken::new(), CancellationToken::new());
    let (stopped, ended) = (stop.clone(), end.clone());
    tokio::spawn(async move {
        for token in [stopped, ended] {
            let _ = signal::ctrl_c().await; // without signals there is nothing to wait for
            token.cancel();
        }
    });
    tokio::select! {
        sent = shop(target, arguments, stop, show) => sent,
        () = end.cancelled() => Err(ClientError::Cancelled),
    }
}

async fn shop(
    target: &Target,
    arguments: DemoArguments,
    stop: CancellationToken,
    show: &mut Show,
) -> Result<(), ClientError> {
    let DemoArguments { app, events, rate, seed } = arguments;
    let channel = keyed(target).await?;
    identify(&channel, &Users::new(seed), &app).await?;
    let (sender, lines) = mpsc::channel(AHEAD);
    tokio::spawn(Shop { users: Users::new(seed), lines: sender, stop: stop.clone() }.week(seed, events));
    let part = move |answered: u64| Some(answered as f64 / events.max(1) as f64);
    deliver(target, channel.clone(), &app, lines, Verdicts::new(None, "event", show)?, part).await?.finish(show)?;
    if rate == 0.0 || stop.is_cancelled() {
        return Ok(());
    }
    if !show.is_json() {
        writeln!(show.out(), "{}", what_to_try(rate))?;
    }
    let (sender, lines) = mpsc::channel(AHEAD);
    tokio::spawn(Shop { users: Users::new(seed), lines: sender, stop }.live(rate));
    deliver(target, channel, &app, lines, Verdicts::new(None, "event", show)?, |_| None).await?.finish(show)
}

/// Makes the users known, so that events carry their country and plan.
async fn identify(channel: &Keyed, users: &Users, app: &str) -> Result<(), ClientError> {
    let all: Vec<_> = users.iter().map(|user| wire::identify(user, app)).collect();
    let mut progress = Progress::new();
    for (known, some) in (0..).step_by(IDENTIFY_AT_ONCE).zip(all.chunks(IDENTIFY_AT_ONCE)) {
        let part = f64::from(known) / all.len() as f64;
        progress.show(Some(part), |_| format!("{known} of {} users are known", all.len()));
        let mut calls = JoinSet::new();
        for request in some.iter().cloned() {
            let mut client = IngestServiceClient::new(channel.clone());
            calls.spawn(async move { client.identify(request).await });
        }
        for answer in calls.join_all().await {
            answer?;
        }
    }
    Ok(())
}

/// Whose events are made until nobody wants them.
struct Shop {
    users: Users,
    lines: mpsc::Sender<Result<Line, ClientError>>,
    stop: CancellationToken,
}

impl Shop {
    async fn week(self, seed: u64, events: u64) {
        let now_ms = now_ms();
        for made in Week::new(seed, &self.users, events, Density::Natural) {
            let id = wire::event_id(seed, made.number);
            if self.stop.is_cancelled() || !self.sent(&made, &id, wire::time_in_last_week(&made, now_ms)).await {
                return;
            }
        }
    }

    async fn live(self, rate: f64) {
        // What happens now never happened before: neither it nor its ids are the last run's.
        let seed = rand::random();
        for made in Live::new(seed, &self.users, rate, now_ms() - WARM_MS) {
            let wait = Duration::from_millis(u64::try_from(made.at_ms - now_ms()).unwrap_or(0));
            let is_open = tokio::select! {
                () = self.stop.cancelled() => false,
                () = sleep(wait) => self.sent(&made, &wire::uuid(seed, made.number), made.at_ms).await,
            };
            if !is_open {
                return;
            }
        }
    }

    /// Whether it is wanted.
    async fn sent(&self, made: &Made, id: &str, at_ms: i64) -> bool {
        let event = wire::event(made, self.users.get(made.user), id, at_ms);
        let event = v1::Event::decode(event.bytes()).unwrap_or_default(); // it was written by the same contract
        self.lines.send(Ok(Line::Event { number: made.number, event })).await.is_ok()
    }
}

fn what_to_try(rate: f64) -> String {
    format!(
        "the shop is open: {rate} events a second, until Ctrl-C\n\
         meanwhile, with the same server and key, or in the console at /console/:\n  \
         penstock tail --type purchase\n  \
         penstock watch \"SELECT country, SUM(purchase_amount) AS revenue FROM events WHERE event_type = 'purchase' \
         AND timestamp > now() - INTERVAL 1 HOUR GROUP BY country ORDER BY revenue DESC\"\n  \
         penstock metric try \"SUM(purchase_amount) / COUNT(DISTINCT user_id)\" --last 7d --grain day"
    )
}
