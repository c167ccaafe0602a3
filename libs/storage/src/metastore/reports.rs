use async_trait::async_trait;
use model::TenantId;
use serde_json::Value;

use super::{SqlMetastore, audit::json};
use crate::{
    Change, MetaError, Report, ReportRun, ReportTerms, Reports, RunProgress,
    sql::{query, reports as sql, taken},
};

const JSON: &str = "numbers and texts";

#[async_trait]
impl Reports for SqlMetastore {
    async fn create_report(&self, report: &Report, most: u32) -> Result<(), MetaError> {
        let mut changing = self.changing(Some(&report.tenant)).await?;
        changing.lock(format!("reports of {}", report.tenant)).await?;
        let count: Option<(i64,)> = changing.fetch_optional(query(sql::COUNT).bind(report.tenant.as_str())).await?;
        if count.is_some_and(|(count,)| count >= i64::from(most)) {
            return Err(MetaError::AlreadyExists(format!("the number of reports that a tenant may have, {most},")));
        }
        let insert = query(sql::INSERT)
            .bind(&report.id)
            .bind(report.tenant.as_str())
            .bind(report.app.as_str())
            .bind(report.created_at_ms)
            .bind(report.next_at_ms)
            .bind(serde_json::to_string(&report.terms).expect(JSON));
        let inserted = changing.execute(insert).await;
        inserted.map_err(|e| taken(e, || MetaError::AlreadyExists(format!("report {}", report.id))))?;
        changing.commit(Change { after: shown(report), ..of(report) }).await
    }

    async fn report(&self, tenant: &TenantId, id: &str) -> Result<Option<Report>, MetaError> {
        let select = query(sql::ONE).bind(tenant.as_str()).bind(id);
        self.database.fetch_optional::<sql::ReportRow>(select).await?.map(Report::try_from).transpose()
    }

    async fn reports(
        &self,
        tenant: &TenantId,
        before: Option<(i64, &str)>,
        most: u32,
    ) -> Result<Vec<Report>, MetaError> {
        let (time_ms, id) = before.unwrap_or((i64::MAX, ""));
        let select = query(sql::PAGE).bind(tenant.as_str()).bind(time_ms).bind(id).bind(i64::from(most));
        self.database.fetch_all::<sql::ReportRow>(select).await?.into_iter().map(Report::try_from).collect()
    }

    async fn delete_report(&self, tenant: &TenantId, id: &str) -> Result<bool, MetaError> {
        let mut changing = self.changing(Some(tenant)).await?;
        let select = query(sql::ONE).bind(tenant.as_str()).bind(id);
        let Some(before) = changing.fetch_optional::<sql::ReportRow>(select).await? else { return Ok(false) };
        let before = Report::try_from(before)?;
        let deleted = changing.execute(query(sql::DELETE).bind(tenant.as_str()).bind(id)).await? > 0;
        if deleted {
            changing.execute(query(sql::DELETE_RUNS).bind(id)).await?;
            changing.commit(Change { before: shown(&before), ..of(&before) }).await?;
        }
        Ok(deleted)
    }

    async fn due_reports(&self, now_ms: i64, most: u32) -> Result<Vec<Report>, MetaError> {
        let select = query(sql::DUE).bind(now_ms).bind(i64::from(most));
        self.database.fetch_all::<sql::ReportRow>(select).await?.into_iter().map(Report::try_from).collect()
    }

    async fn begin_run(&self, report: &Report, run_id: &str, next_at_ms: Option<i64>) -> Result<bool, MetaError> {
        let Some(due_ms) = report.next_at_ms else { return Ok(false) };
        let mut transaction = self.database.write().await?;
        let advance = query(sql::ADVANCE).bind(&report.id).bind(due_ms).bind(next_at_ms);
        if transaction.execute(advance).await? == 0 {
            return Ok(false);
        }
        let progress = serde_json::to_string(&RunProgress::default()).expect(JSON);
        let insert = query(sql::INSERT_RUN).bind(run_id).bind(&report.id).bind(due_ms).bind(progress);
        transaction.execute(insert).await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn end_report(&self, report: &Report, why: &str) -> Result<(), MetaError> {
        let terms = ReportTerms { ended: why.to_owned(), ..report.terms.clone() };
        let terms = serde_json::to_string(&terms).expect(JSON);
        self.database.execute(query(sql::END).bind(&report.id).bind(terms)).await?;
        Ok(())
    }

    async fn due_runs(&self, now_ms: i64, most: u32) -> Result<Vec<(Report, ReportRun)>, MetaError> {
        let select = query(sql::DUE_RUNS).bind(now_ms).bind(i64::from(most));
        self.database.fetch_all::<sql::DueRow>(select).await?.into_iter().map(TryInto::try_into).collect()
    }

    async fn note_run(&self, run: &ReportRun) -> Result<(), MetaError> {
        let progress = serde_json::to_string(&run.progress).expect(JSON);
        self.database.execute(query(sql::NOTE_RUN).bind(&run.id).bind(run.due_at_ms).bind(progress)).await?;
        Ok(())
    }

    async fn report_runs(
        &self,
        report: &str,
        before: Option<(i64, &str)>,
        most: u32,
    ) -> Result<Vec<ReportRun>, MetaError> {
        let (time_ms, id) = before.unwrap_or((i64::MAX, ""));
        let select = query(sql::RUNS).bind(report).bind(time_ms).bind(id).bind(i64::from(most));
        self.database.fetch_all::<sql::RunRow>(select).await?.into_iter().map(ReportRun::try_from).collect()
    }

    async fn forget_runs(&self, report: &str, most: u32, before_ms: i64) -> Result<(), MetaError> {
        let forget = query(sql::FORGET_RUNS).bind(report).bind(i64::from(most)).bind(before_ms);
        self.database.execute(forget).await?;
        Ok(())
    }
}

/// An entry about a report, that says nothing of it yet.
fn of(report: &Report) -> Change {
    Change { object: format!("reports/{}", report.id), app: report.app.to_string(), ..Change::default() }
}

/// What it is, but for the path of its webhook: whoever knows that may be let in by it.
fn shown(report: &Report) -> Value {
    let webhook = report.terms.webhook.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    json(&ReportTerms { webhook, ..report.terms.clone() })
}
