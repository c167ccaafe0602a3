//! Asks what is due and sends the answers, one process for all, as long as it holds the lease.
//!
//! A report that is due gets a run and its next time in one transaction, so none is lost and none begun twice. A run that was begun is
//! due until it is noted as done: whoever comes after a crash does it again, under the same id. A receiver of answers may so get one again;
//! by its id it can tell.

use std::{sync::Arc, time::Duration};

use api::v1;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use futures::{StreamExt, stream};
use model::{Act, DAY_MS, Error, ErrorCode, Scope};
use prost::Message;
use storage::{Change, Key, Leased, MetaError, Report, ReportRun};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Desk, ask::Asking, run_to_wire, schedule::Schedule, webhook};
use crate::Options;

/// How the audit log calls what is done here.
const SENT: &str = "penstock reports";
/// How often it is looked whether something is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How much is looked at in one round, and done at once.
const BATCH: u32 = 100;
const AT_ONCE: usize = 4;
/// Answers that are kept, in bytes.
const MOST_BYTES: usize = 256 << 10;
/// How often something is tried, and how long it waits between: four times as long each time, up to an hour.
const ATTEMPTS: u32 = 10;
const FIRST_PAUSE_MS: i64 = 1_000;
const LONGEST_PAUSE_MS: i64 = 3_600_000;

/// What asks.
pub struct Reporter {
    /// What it works on.
    pub desk: Arc<Desk>,
    /// What is kept.
    pub options: Options,
    /// Among others, if the lease is its own.
    pub leased: Leased,
}

impl Reporter {
    /// Asks and sends whatever is due, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        self.leased.look(LOOK_EVERY, stop.cancelled(), || self.look()).await;
    }

    fn now_ms(&self) -> i64 {
        (self.leased.now_ms)()
    }

    /// Does what there is to do, if nobody else does.
    async fn look(&self) -> Result<(), MetaError> {
        let (reports, now_ms) = (&self.desk.parts.reports, self.now_ms());
        if !reports.due_reports(now_ms, 1).await?.is_empty() || !reports.due_runs(now_ms, 1).await?.is_empty() {
            self.leased.hold(self.work()).await?;
        }
        Ok(())
    }

    async fn work(&self) -> Result<(), MetaError> {
        let reports = &self.desk.parts.reports;
        for report in reports.due_reports(self.now_ms(), BATCH).await? {
            let schedule = Schedule::parse("schedule", &report.terms.schedule, &report.terms.time_zone).ok();
            // What was missed meanwhile is made up for by this one run.
            let next_at_ms = schedule.and_then(|schedule| schedule.after(self.now_ms()));
            reports.begin_run(&report, &format!("{:032x}", rand::random::<u128>()), next_at_ms).await?;
        }
        let due = reports.due_runs(self.now_ms(), BATCH).await?;
        let done = stream::iter(due).map(|(report, run)| self.step(report, run)).buffer_unordered(AT_ONCE);
        let outcomes: Vec<_> = done.collect().await;
        outcomes.into_iter().collect()
    }

    /// Does the next thing for a run, and notes it.
    async fn step(&self, report: Report, mut run: ReportRun) -> Result<(), MetaError> {
        if run.progress.finished_at_ms.is_none() {
            self.answer(&report, &mut run).await?;
        } else {
            self.deliver(&report, &mut run).await?;
        }
        self.desk.parts.reports.note_run(&run).await?;
        let before_ms = self.now_ms() - i64::from(self.options.report_days) * DAY_MS;
        self.desk.parts.reports.forget_runs(&report.id, self.options.report_runs, before_ms).await
    }

    async fn answer(&self, report: &Report, run: &mut ReportRun) -> Result<(), MetaError> {
        let key = self.key(&report.terms.key_id).await?;
        let answer = match &key {
            None => {
                let why = "the key that made it was revoked or has expired";
                self.desk.parts.reports.end_report(report, why).await?;
                info!(tenant = %report.tenant, report = report.id, "a report has ended with its key");
                Err(Error::new(ErrorCode::PermissionDenied, why))
            }
            Some(key) => self.desk.answer(key, report).await,
        };
        let now_ms = self.now_ms();
        let progress = &mut run.progress;
        progress.attempts += 1;
        match answer {
            Ok(result) if result.encoded_len() <= MOST_BYTES => progress.result = BASE64.encode(result.encode_to_vec()),
            Ok(_) => progress.failure = "the answer is larger than 256 KiB; export it instead".to_owned(),
            Err(error) if is_passing(&error) && progress.attempts < ATTEMPTS => {
                run.due_at_ms = Some(now_ms + pause_ms(progress.attempts));
                return Ok(());
            }
            Err(error) => progress.failure = error.to_string(),
        }
        progress.finished_at_ms = Some(now_ms);
        run.due_at_ms = (!report.terms.webhook.is_empty()).then_some(now_ms);
        Ok(())
    }

    /// The key with this id, or if that is no longer good and was rotated, the one that came in its place.
    async fn key(&self, id: &str) -> Result<Option<Key>, MetaError> {
        let directory = &self.desk.parts.directory;
        let mut key = directory.key(id).await?;
        while let Some(old) = key.take_if(|key| !key.is_good(self.now_ms())) {
            key = directory.rotated_key(&old.id).await?;
        }
        Ok(key)
    }

    async fn deliver(&self, report: &Report, run: &mut ReportRun) -> Result<(), MetaError> {
        if run.progress.deliveries == 0 {
            self.note(report, run).await?;
        }
        run.progress.deliveries += 1;
        let message = v1::ReportRun { delivery_failure: String::new(), ..run_to_wire(report, run) };
        let body = mesh::transcode::message_json(api::DESCRIPTORS, "penstock.v1.ReportRun", &message.encode_to_vec());
        let sent = match body {
            Ok(body) => {
                let secret = self.desk.secret(&report.id);
                let message = webhook::Message {
                    url: &report.terms.webhook,
                    id: &run.id,
                    at_ms: self.now_ms(),
                    body: body.into(),
                    secret: secret.as_bytes(),
                };
                self.desk.webhooks.send(&message).await
            }
            Err(error) => Err(error.message),
        };
        let now_ms = self.now_ms();
        let progress = &mut run.progress;
        (run.due_at_ms, progress.delivery_failure) = match sent {
            Ok(()) => {
                progress.delivered_at_ms = Some(now_ms);
                (None, String::new())
            }
            Err(why) => {
                warn!(tenant = %report.tenant, report = report.id, run = run.id, why, "an answer was not taken");
                ((progress.deliveries < ATTEMPTS).then(|| now_ms + pause_ms(progress.deliveries)), why)
            }
        };
        Ok(())
    }

    /// Notes that an answer goes out, before it does.
    async fn note(&self, report: &Report, run: &ReportRun) -> Result<(), MetaError> {
        let (key_id, key_tenant) = (report.terms.key_id.clone(), report.tenant.to_string());
        let act = Act { method: SENT.to_owned(), key_id, key_tenant, at_ms: self.now_ms(), ..Act::default() };
        let object = format!("reports/{}/runs/{}", report.id, run.id);
        let change = Change { object, app: report.app.to_string(), ..Change::default() };
        self.desk.parts.audit.note(Some(&report.tenant), &act, &change).await
    }
}

impl Desk {
    async fn answer(&self, key: &Key, report: &Report) -> Result<v1::Result, Error> {
        let question = super::question(&report.terms)?;
        let asking = Asking { app: report.app.as_str(), time_zone: &report.terms.time_zone, question: &question };
        let settings = self.parts.directory.settings(Some(&report.tenant), key.scope.apps.single()).await;
        let most = settings?.effective().max_priority.unwrap_or_default();
        let scope = Scope { priority: key.scope.priority.max(most), ..key.scope.clone() };
        self.ask(&self.context(&scope, &key.id), &asking).await
    }
}

fn is_passing(error: &Error) -> bool {
    error.code == ErrorCode::Unavailable || error.retry_after.is_some()
}

/// After so many attempts.
fn pause_ms(attempts: u32) -> i64 {
    FIRST_PAUSE_MS.saturating_mul(4i64.saturating_pow(attempts.saturating_sub(1))).min(LONGEST_PAUSE_MS)
}
