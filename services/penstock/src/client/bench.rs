//! `penstock bench`: how fast a server is, seen from here.
//!
//! First events as fast as they are taken, some calls at once. Then calls at a fixed rate, whether or not the earlier ones are answered, as real
//! clients make them: how long each waits for its acknowledgement, and the next answer for its events. Last questions, at a fixed rate too. What is refused
//! is counted, and is no sample.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use api::{
    raw::{Batch, IngestServiceClient},
    status::from_status,
    v1::{ReadOptions, Route, SqlRequest, query_service_client::QueryServiceClient},
};
use load::{
    Machine, Times, now_ms,
    open_loop::{self, Schedule},
    shop::{Density, Made, Users, Week, wire},
};
use model::ErrorCode;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::Status;

use super::{
    ClientError, Keyed, Link, Show, Target, keyed,
    show::{Column, Progress, text},
};
use crate::cli::BenchArguments;

/// Calls under way at once while events go as fast as they can, and events in each.
const AT_ONCE: usize = 8;
const LARGE_CALL: u64 = 1_000;
/// Events in a call at a fixed rate: what an SDK gathers in a moment.
const CALL: u64 = 100;
/// How often freshness is asked for.
const SAMPLES_PER_SECOND: u64 = 10;
/// Different events; after them they come again under other ids.
const POOL: u64 = 20_000;
/// What is asked, before and after the range.
const QUESTIONS: [(&str, &str); 3] = [
    ("SELECT event_type, COUNT(*) AS events FROM events WHERE", "GROUP BY event_type"),
    ("SELECT page, PERCENTILE(0.95, load_time) AS p95 FROM events WHERE event_type = 'page_view' AND", "GROUP BY page"),
    (
        "SELECT date_trunc('hour', timestamp) AS hour, COUNT(DISTINCT user_id) AS users, SUM(purchase_amount) AS revenue FROM events WHERE",
        "GROUP BY hour",
    ),
];
/// How long events are waited for.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(1);

/// What was seen.
#[derive(Debug, Serialize)]
struct Report {
    server: String,
    app: String,
    version: &'static str,
    /// Where this program ran: the server may be elsewhere.
    machine: Machine,
    taken: Taken,
    at_rate: AtRate,
    answers: Answers,
}

/// As fast as they were taken.
#[derive(Debug, Serialize)]
struct Taken {
    events: u64,
    seconds: f64,
    events_per_second: f64,
    /// From the last acknowledgement until an answer had all of them.
    queryable_after_ms: f64,
    refused_calls: u64,
}

#[derive(Debug, Serialize)]
struct AtRate {
    events_per_second: u64,
    events_in_a_call: u64,
    /// From the time that a call was due to its acknowledgement.
    acknowledge: Times,
    /// From a call's acknowledgement to the first answer that has its events.
    fresh: Times,
    refused_calls: u64,
}

#[derive(Debug, Serialize)]
struct Answers {
    questions_per_second: u64,
    /// From the time that a question was due to its answer.
    answer: Times,
    /// How many were computed from the events, and how many from what is kept.
    raw: usize,
    kept: usize,
    refused: u64,
}

pub(super) async fn bench(target: &Target, arguments: BenchArguments, show: &mut Show) -> Result<(), ClientError> {
    own_app(&mut Link::open(target).await?, &arguments.app).await?;
    let machine = Machine::here(None);
    // Questions go by a connection of their own: an answer shall not wait behind events.
    let bench = Arc::new(Bench::new(&arguments.app, keyed(target).await?, keyed(target).await?));
    let taken = bench.as_fast_as_taken(arguments.events).await?;
    let at_rate = bench.at_rate(arguments.events, arguments.rate, arguments.seconds).await?;
    let answers = bench.answers(arguments.queries, arguments.seconds).await?;
    let report = Report {
        server: target.server.clone(),
        app: arguments.app,
        version: env!("CARGO_PKG_VERSION"),
        machine,
        taken,
        at_rate,
        answers,
    };
    say(&report, show)
}

/// Makes the app, unless it is there.
async fn own_app(link: &mut Link, app: &str) -> Result<(), ClientError> {
    let about = link.call("QueryService.Describe", json!({})).await?;
    if about["apps"].as_array().into_iter().flatten().any(|known| known["app_id"] == app) {
        return Ok(());
    }
    let made = json!({"tenant_id": about["tenant_id"], "app": {"app_id": app, "display_name": "Measurements"}});
    match link.call("AdminService.CreateApp", made).await {
        Err(error) if error.is_denied() => Err(ClientError::Mistake(format!(
            "the key reaches no app {app}, and may not make it: an admin's does, by penstock app create {app}; or say --app APP, in which the events stay"
        ))),
        made => made.map(drop),
    }
}

/// Who sends what, and asks.
struct Bench {
    app: String,
    writer: Keyed,
    reader: Keyed,
    users: Users,
    pool: Vec<Made>,
    /// Ids of an earlier run count no more.
    seed: u64,
}

impl Bench {
    fn new(app: &str, writer: Keyed, reader: Keyed) -> Self {
        let users = Users::new(1);
        let pool = Week::new(1, &users, POOL, Density::Natural).collect();
        Self { app: app.to_owned(), writer, reader, users, pool, seed: rand::random() }
    }

    async fn as_fast_as_taken(self: &Arc<Self>, events: u64) -> Result<Taken, ClientError> {
        let (begun, next, taken) = (Instant::now(), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut senders = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (bench, next, taken) = (Arc::clone(self), Arc::clone(&next), Arc::clone(&taken));
            senders.spawn(async move {
                let (mut token, mut refused) = (String::new(), 0);
                loop {
                    let first = next.fetch_add(LARGE_CALL, Ordering::Relaxed);
                    if first >= events {
                        return Ok::<_, ClientError>((token, refused));
                    }
                    let count = LARGE_CALL.min(events - first);
                    token = loop {
                        match bench.publish(first, count).await {
                            Ok(token) => break token,
                            Err(error) => sleep(after(error)?).await,
                        }
                        refused += 1;
                    };
                    taken.fetch_add(count, Ordering::Relaxed);
                }
            });
        }
        let far = |progress: &Progress| {
            let taken = taken.load(Ordering::Relaxed) as f64;
            (Some(taken / events as f64), format!("{taken} events are taken, {:.0} a second", progress.rate(taken)))
        };
        let (mut tokens, mut refused_calls) = (Vec::new(), 0);
        let done = Progress::new().during(senders.join_all(), far).await;
        for done in done {
            let (token, refused) = done?;
            tokens.push(token);
            refused_calls += refused;
        }
        let (seconds, acknowledged) = (begun.elapsed().as_secs_f64(), Instant::now());
        for token in tokens.iter().filter(|token| !token.is_empty()) {
            self.fresh(token).await?;
        }
        Ok(Taken {
            events,
            seconds,
            events_per_second: events as f64 / seconds,
            queryable_after_ms: acknowledged.elapsed().as_secs_f64() * 1e3,
            refused_calls,
        })
    }

    async fn at_rate(self: &Arc<Self>, first: u64, rate: u64, seconds: u64) -> Result<AtRate, ClientError> {
        let calls = (rate / CALL).max(1);
        let sample_every = (calls / SAMPLES_PER_SECOND).max(1);
        let done = open_loop::run(Schedule::of(calls, seconds), |call| {
            let bench = Arc::clone(self);
            async move {
                let token = bench.publish(first + call * CALL, CALL).await?;
                let acknowledged = Instant::now();
                if call % sample_every != 0 {
                    return Ok::<_, Status>((acknowledged, None));
                }
                bench.fresh(&token).await?;
                Ok((acknowledged, Some(Instant::now())))
            }
        });
        let what = format!("{} events a second", calls * CALL);
        let done = Progress::new().lasting(Duration::from_secs(seconds), &what, done).await;
        let (mut acknowledge, mut fresh, mut refused_calls) = (Vec::new(), Vec::new(), 0);
        for (due, answered) in done.map_err(broken)? {
            match answered {
                Ok((acknowledged, queryable)) => {
                    acknowledge.push(acknowledged - due);
                    fresh.extend(queryable.map(|at: Instant| at - acknowledged));
                }
                Err(error) => {
                    after(error)?;
                    refused_calls += 1;
                }
            }
        }
        let (acknowledge, fresh) = (Times::of(acknowledge), Times::of(fresh));
        Ok(AtRate { events_per_second: calls * CALL, events_in_a_call: CALL, acknowledge, fresh, refused_calls })
    }

    async fn answers(self: &Arc<Self>, rate: u64, seconds: u64) -> Result<Answers, ClientError> {
        let done = open_loop::run(Schedule::of(rate, seconds), |call| {
            let bench = Arc::clone(self);
            // Each is another one: the same would be computed once for all who ask it within a second.
            let (before, after) = QUESTIONS[call as usize % QUESTIONS.len()];
            let sql = format!("{before} timestamp > now() - INTERVAL {} HOUR {after}", 1 + call % 168);
            async move { bench.ask(&sql, ReadOptions::default()).await.map(|route| (Instant::now(), route)) }
        });
        let what = format!("{rate} questions a second");
        let done = Progress::new().lasting(Duration::from_secs(seconds), &what, done).await;
        let (mut answer, mut raw, mut refused) = (Vec::new(), 0, 0);
        for (due, answered) in done.map_err(broken)? {
            match answered {
                Ok((at, route)) => {
                    answer.push(at - due);
                    raw += usize::from(route == Route::Raw);
                }
                Err(status) => {
                    after(status)?;
                    refused += 1;
                }
            }
        }
        let kept = answer.len() - raw;
        Ok(Answers { questions_per_second: rate, answer: Times::of(answer), raw, kept, refused })
    }

    /// Sends so many events from that number on, in one call; the token that covers them.
    async fn publish(&self, first: u64, count: u64) -> Result<String, Status> {
        let mut batch = Batch::new(&self.app);
        for number in first..first + count {
            let made = &self.pool[(number % POOL) as usize];
            let id = wire::event_id(self.seed, number);
            batch.push(&wire::event(made, self.users.get(made.user), &id, now_ms()));
        }
        let answer = IngestServiceClient::new(self.writer.clone()).publish(batch.into_request()).await?.into_inner();
        let verdict = answer.acknowledgement.ok_or_else(|| Status::internal("the answer has no acknowledgement"))?;
        match verdict.rejections.first() {
            None => Ok(verdict.position_token),
            Some(r) => {
                Err(Status::internal(format!("a made event was rejected: {} {}: {}", r.code, r.field, r.message)))
            }
        }
    }

    /// Waits until an answer has what the token covers.
    async fn fresh(&self, token: &str) -> Result<(), Status> {
        let end = Instant::now() + PATIENCE;
        let sql = "SELECT COUNT(*) AS events FROM events WHERE timestamp > now() - INTERVAL 1 MINUTE";
        loop {
            let options = ReadOptions {
                position_token: token.to_owned(),
                max_wait_ms: PATIENCE.as_millis() as u32 / 2,
                ..ReadOptions::default()
            };
            match self.ask(sql, options).await {
                Err(status) if status.code() == tonic::Code::DeadlineExceeded && Instant::now() < end => {}
                answered => return answered.map(drop),
            }
        }
    }

    async fn ask(&self, sql: &str, options: ReadOptions) -> Result<Route, Status> {
        let request = SqlRequest { sql: sql.to_owned(), app_id: self.app.clone(), options: Some(options) };
        let answer = QueryServiceClient::new(self.reader.clone()).sql(request).await?.into_inner();
        Ok(answer.result.unwrap_or_default().info.unwrap_or_default().route())
    }
}

/// In which time who was refused for now may come again; what fails otherwise is the end.
fn after(status: Status) -> Result<Duration, ClientError> {
    let error = from_status(&status);
    match error.code {
        ErrorCode::ResourceExhausted => Ok(error.retry_after.unwrap_or(PAUSE)),
        _ => Err(status.into()),
    }
}

fn broken(error: tokio::task::JoinError) -> ClientError {
    Status::internal(error.to_string()).into()
}

const COLUMNS: [Column; 5] = [
    ("what", |r| text(&r["what"])),
    ("P50 ms", |r| text(&r["p50"])),
    ("P99 ms", |r| text(&r["p99"])),
    ("most", |r| text(&r["max"])),
    ("of", |r| text(&r["of"])),
];

fn say(report: &Report, show: &mut Show) -> Result<(), ClientError> {
    let Report { server, app, machine, taken, at_rate, answers, .. } = report;
    let said = json!(report);
    if show.is_json() {
        return show.object(&said, "");
    }
    let seen = format!(
        "{server}, app {app}, seen from {} cores ({}), {:.0} GiB, Linux {}, load before {}\n\n\
         {} events as fast as they were taken: {:.0} a second acknowledged, all queryable {:.0} ms after the last\n",
        machine.cores,
        machine.cpu,
        machine.memory_bytes as f64 / f64::from(1 << 30),
        machine.kernel,
        machine.load_before,
        taken.events,
        taken.events_per_second,
        taken.queryable_after_ms,
    );
    show.object(&said, &seen)?;
    let rows = [
        (format!("acknowledged, at {} events a second", at_rate.events_per_second), at_rate.acknowledge),
        ("queryable after that".to_owned(), at_rate.fresh),
        (format!("answered, at {} questions a second", answers.questions_per_second), answers.answer),
    ];
    let row = |(what, times): &(String, Times)| {
        let ms = |x: f64| format!("{x:.1}");
        json!({"what": what, "p50": ms(times.p50_ms), "p99": ms(times.p99_ms), "max": ms(times.max_ms), "of": times.samples})
    };
    let rows: Vec<Value> = rows.iter().map(row).collect();
    show.objects(&rows, &COLUMNS)?;
    let refused = taken.refused_calls + at_rate.refused_calls + answers.refused;
    let mut note = format!("\n{} answers from the events, {} from what is kept", answers.raw, answers.kept);
    if refused > 0 {
        note += &format!("; {refused} calls were refused, by limits: those waited, or are no samples");
    }
    note += &format!(
        "\nthe events stay in the app {app}; penstock tenant retention --app {app} --days 1 has them go tomorrow"
    );
    show.object(&said, &note)
}
