use async_trait::async_trait;
use model::{AppId, TenantId};
use serde::{Deserialize, Serialize};

use crate::MetaError;

/// A question that is asked again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its id; unique.
    pub id: String,
    /// Whose it is.
    pub tenant: TenantId,
    /// The app that it asks about.
    pub app: AppId,
    /// When it was made, UTC ms.
    pub created_at_ms: i64,
    /// When it is due, UTC ms; `None` once it has ended.
    pub next_at_ms: Option<i64>,
    /// What it is.
    pub terms: ReportTerms,
}

/// What a report is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReportTerms {
    /// What people call it.
    pub display_name: String,
    /// When: a cron expression.
    pub schedule: String,
    /// The zone whose clock that means.
    pub time_zone: String,
    /// What is asked, as the contract encodes it, in base64.
    pub question: String,
    /// Where answers are sent; empty: nowhere.
    pub webhook: String,
    /// The public part of the key that made it, and under which it asks.
    pub key_id: String,
    /// Why it has ended; empty as long as it hasn't.
    pub ended: String,
}

/// One time that a report was due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportRun {
    /// Its id; unique.
    pub id: String,
    /// The report's.
    pub report: String,
    /// When it was due, UTC ms.
    pub scheduled_at_ms: i64,
    /// When something is to be done for it, UTC ms; `None` once nothing more is.
    pub due_at_ms: Option<i64>,
    /// How far it came.
    pub progress: RunProgress,
}

/// How far a run came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunProgress {
    /// How often it was asked.
    pub attempts: u32,
    /// When it was answered or given up, UTC ms.
    pub finished_at_ms: Option<i64>,
    /// Why it could not be answered; empty if it was.
    pub failure: String,
    /// The answer as the contract encodes it, in base64.
    pub result: String,
    /// How often the answer was sent.
    pub deliveries: u32,
    /// When it was taken, UTC ms.
    pub delivered_at_ms: Option<i64>,
    /// What became of the latest time that it was sent; empty if it was taken.
    pub delivery_failure: String,
}

/// Reports, and what became of them.
#[async_trait]
pub trait Reports: Send + Sync + 'static {
    /// Keeps a new report. `AlreadyExists` if the id is taken, or if the tenant has `most` already.
    async fn create_report(&self, report: &Report, most: u32) -> Result<(), MetaError>;

    /// The tenant's report of this id.
    async fn report(&self, tenant: &TenantId, id: &str) -> Result<Option<Report>, MetaError>;

    /// The tenant's reports, the newest first: at most `most` of those older than the one of `before`, its time (UTC ms) and id.
    async fn reports(
        &self,
        tenant: &TenantId,
        before: Option<(i64, &str)>,
        most: u32,
    ) -> Result<Vec<Report>, MetaError>;

    /// Forgets a report and its runs. Returns whether it was there.
    async fn delete_report(&self, tenant: &TenantId, id: &str) -> Result<bool, MetaError>;

    /// Reports that are due, of any tenant, the longest first.
    async fn due_reports(&self, now_ms: i64, most: u32) -> Result<Vec<Report>, MetaError>;

    /// Adds the run of a report that is due, and says when it is due next. Returns whether it did: not if another did before.
    async fn begin_run(&self, report: &Report, run_id: &str, next_at_ms: Option<i64>) -> Result<bool, MetaError>;

    /// Ends a report: it is never due again.
    async fn end_report(&self, report: &Report, why: &str) -> Result<(), MetaError>;

    /// Runs for which something is to be done, with their reports, the longest due first.
    async fn due_runs(&self, now_ms: i64, most: u32) -> Result<Vec<(Report, ReportRun)>, MetaError>;

    /// Notes how far a run came, and when more is to be done for it. Of one that is forgotten nothing is noted.
    async fn note_run(&self, run: &ReportRun) -> Result<(), MetaError>;

    /// The report's runs, the latest first: at most `most` of those before the one of `before`, its time (UTC ms) and id.
    async fn report_runs(
        &self,
        report: &str,
        before: Option<(i64, &str)>,
        most: u32,
    ) -> Result<Vec<ReportRun>, MetaError>;

    /// Forgets the report's runs but for the `most` latest, and those that were due before this instant, UTC ms.
    async fn forget_runs(&self, report: &str, most: u32, before_ms: i64) -> Result<(), MetaError>;
}
