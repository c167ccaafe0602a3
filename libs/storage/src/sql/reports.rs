//! Reports and their runs.

use model::{AppId, TenantId};
use sqlx::{Error, FromRow, Row};

use super::damaged;
use crate::{MetaError, Report, ReportRun};

macro_rules! columns {
    () => {
        "reports.id, reports.tenant, reports.app, reports.created_at_ms, reports.next_at_ms, reports.terms"
    };
}
macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT ", columns!(), " FROM reports WHERE ", $rest)
    };
}

/// $1 id, $2 tenant, $3 app, $4 time, $5 next, $6 terms.
pub(crate) const INSERT: &str = "INSERT INTO reports (id, tenant, app, created_at_ms, next_at_ms, terms) \
     VALUES ($1, $2, $3, $4, $5, $6)";
/// $1 tenant.
pub(crate) const COUNT: &str = "SELECT CAST(COUNT(*) AS BIGINT) FROM reports WHERE tenant = $1";
/// $1 tenant, $2 id.
pub(crate) const ONE: &str = select!("tenant = $1 AND id = $2");
/// $1 tenant, $2 time, $3 id, $4 how many.
pub(crate) const PAGE: &str = select!(
    "tenant = $1 AND (created_at_ms < $2 OR created_at_ms = $2 AND id < $3) ORDER BY created_at_ms DESC, id DESC LIMIT $4"
);
/// $1 now, $2 how many.
pub(crate) const DUE: &str = select!("next_at_ms <= $1 ORDER BY next_at_ms, id LIMIT $2");
/// $1 tenant, $2 id.
pub(crate) const DELETE: &str = "DELETE FROM reports WHERE tenant = $1 AND id = $2";
/// $1 id.
pub(crate) const DELETE_RUNS: &str = "DELETE FROM report_runs WHERE report = $1";
/// $1 id, $2 the time that it was due, $3 the next.
pub(crate) const ADVANCE: &str = "UPDATE reports SET next_at_ms = $3 WHERE id = $1 AND next_at_ms = $2";
/// $1 id, $2 terms.
pub(crate) const END: &str = "UPDATE reports SET next_at_ms = NULL, terms = $2 WHERE id = $1";

/// $1 id, $2 report, $3 the time that it was due, $4 progress.
pub(crate) const INSERT_RUN: &str =
    "INSERT INTO report_runs (id, report, scheduled_at_ms, due_at_ms, progress) VALUES ($1, $2, $3, $3, $4)";
/// $1 id, $2 due, $3 progress.
pub(crate) const NOTE_RUN: &str = "UPDATE report_runs SET due_at_ms = $2, progress = $3 WHERE id = $1";
/// $1 report, $2 time, $3 id, $4 how many.
pub(crate) const RUNS: &str = "SELECT id AS run_id, report, scheduled_at_ms, due_at_ms, progress FROM report_runs \
     WHERE report = $1 AND (scheduled_at_ms < $2 OR scheduled_at_ms = $2 AND id < $3) \
     ORDER BY scheduled_at_ms DESC, id DESC LIMIT $4";
/// $1 now, $2 how many.
pub(crate) const DUE_RUNS: &str = concat!(
    "SELECT ",
    columns!(),
    ", report_runs.id AS run_id, report, scheduled_at_ms, due_at_ms, progress \
     FROM report_runs JOIN reports ON reports.id = report_runs.report \
     WHERE due_at_ms <= $1 ORDER BY due_at_ms, report_runs.id LIMIT $2"
);
/// $1 report, $2 how many are kept, $3 time.
pub(crate) const FORGET_RUNS: &str = "DELETE FROM report_runs WHERE report = $1 AND due_at_ms IS NULL AND (scheduled_at_ms < $3 \
     OR id NOT IN (SELECT id FROM report_runs WHERE report = $1 ORDER BY scheduled_at_ms DESC, id DESC LIMIT $2))";

row! {
    pub(crate) struct ReportRow {
        id: String,
        tenant: String,
        app: String,
        created_at_ms: i64,
        next_at_ms: Option<i64>,
        terms: String,
    }
}

row! {
    pub(crate) struct RunRow {
        run_id: String,
        report: String,
        scheduled_at_ms: i64,
        due_at_ms: Option<i64>,
        progress: String,
    }
}

pub(crate) struct DueRow {
    report: ReportRow,
    run: RunRow,
}

impl<'r, R: Row> FromRow<'r, R> for DueRow
where
    ReportRow: FromRow<'r, R>,
    RunRow: FromRow<'r, R>,
{
    fn from_row(row: &'r R) -> Result<Self, Error> {
        Ok(Self { report: ReportRow::from_row(row)?, run: RunRow::from_row(row)? })
    }
}

impl TryFrom<ReportRow> for Report {
    type Error = MetaError;
    fn try_from(row: ReportRow) -> Result<Self, MetaError> {
        Ok(Self {
            id: row.id,
            tenant: TenantId::new(&row.tenant).map_err(damaged)?,
            app: AppId::new(&row.app).map_err(damaged)?,
            created_at_ms: row.created_at_ms,
            next_at_ms: row.next_at_ms,
            terms: serde_json::from_str(&row.terms).map_err(damaged)?,
        })
    }
}

impl TryFrom<RunRow> for ReportRun {
    type Error = MetaError;
    fn try_from(row: RunRow) -> Result<Self, MetaError> {
        Ok(Self {
            id: row.run_id,
            report: row.report,
            scheduled_at_ms: row.scheduled_at_ms,
            due_at_ms: row.due_at_ms,
            progress: serde_json::from_str(&row.progress).map_err(damaged)?,
        })
    }
}

impl TryFrom<DueRow> for (Report, ReportRun) {
    type Error = MetaError;
    fn try_from(row: DueRow) -> Result<Self, MetaError> {
        Ok((row.report.try_into()?, row.run.try_into()?))
    }
}
