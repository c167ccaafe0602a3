//! Questions that are asked again and again: kept here, and asked by [`Reporter`].

mod ask;
mod runner;
mod schedule;
mod webhook;

use std::sync::Arc;

use api::{
    convert::{app_from_wire, time_to_wire},
    v1::{
        self, CreateReportRequest, CreateReportResponse, DeleteReportRequest, DeleteReportResponse, GetReportRequest,
        GetReportResponse, ListReportRunsRequest, ListReportRunsResponse, ListReportsRequest, ListReportsResponse,
        Report, ReportQuestion, ReportRun, report_question::Question,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use mesh::{HttpService, signed::SigningKey};
use model::{AppId, Error, ErrorCode};
use prost::Message;
use storage::{Audit, Directory, Ledger, ReportTerms, Reports, Settings};
use tracing::info;

pub use runner::Reporter;

use crate::{
    caller::Caller,
    check::{self, before, page_token},
    service::{Admin, stored},
};
use ask::Asking;
use schedule::Schedule;
use webhook::Webhooks;

/// How many reports a tenant may have.
const MOST_REPORTS: u32 = 1_000;
/// How many runs are listed at once: their answers are with them.
const PAGE_RUNS: u32 = 10;

/// What a [`Desk`] is made of.
pub struct DeskParts {
    /// Where reports are kept.
    pub reports: Arc<dyn Reports>,
    /// Whose keys are good.
    pub directory: Arc<dyn Directory>,
    /// Where it is noted to whom answers were sent.
    pub audit: Arc<dyn Audit>,
    /// Says who is at it.
    pub ledger: Arc<dyn Ledger>,
    /// Answers questions.
    pub query: HttpService,
    /// Evaluates metrics.
    pub metrics: HttpService,
    /// Signs contexts.
    pub context_key: SigningKey,
    /// Makes the secrets of webhooks.
    pub webhook_key: SigningKey,
    /// UTC ms.
    pub now_ms: fn() -> i64,
}

/// What reports are kept in and asked of.
pub struct Desk {
    parts: DeskParts,
    webhooks: Webhooks,
}

impl Desk {
    /// With `loopback` answers may be sent to this machine.
    pub fn new(parts: DeskParts, loopback: bool) -> Self {
        Self { parts, webhooks: Webhooks::new(loopback) }
    }

    /// What the deliveries of a report are signed with: nobody but the installation can make it, and it is kept nowhere.
    fn secret(&self, report_id: &str) -> String {
        let signed = self.parts.webhook_key.sign(&report_id);
        format!("whsec_{}", signed.rsplit('.').next().unwrap_or_default())
    }
}

impl Admin {
    pub(crate) async fn add_report(
        &self,
        caller: &Caller,
        request: CreateReportRequest,
    ) -> Result<CreateReportResponse, Error> {
        let tenant = caller.own()?.clone();
        let desk = self.desk()?;
        let report = request.report.ok_or_else(|| Error::invalid("report", "REQUIRED", "must say what is asked"))?;
        if !report.report_id.is_empty() || report.next_run_at.is_some() || !report.created_by.is_empty() {
            return Err(Error::invalid(
                "report.report_id",
                "NOT_ALLOWED",
                "is given by the server, as are times and maker",
            ));
        }
        let app = app_from_wire("report.app_id", &report.app_id);
        let zone = check::zone_if_any("report.time_zone", &report.time_zone);
        let (app, zone) = check::both(app, zone)?;
        // Whatever zone it has, the times of a schedule can be read.
        Schedule::parse("report.schedule", &report.schedule, zone.as_deref().unwrap_or(Settings::TIME_ZONE))?;
        let display_name = check::display_name("report.display_name", report.display_name, "")?;
        if !report.webhook_url.is_empty() {
            desk.webhooks.check("report.webhook_url", &report.webhook_url)?;
        }
        if !caller.reaches(&app) {
            return Err(Error::new(ErrorCode::PermissionDenied, format!("app {app} is out of this key's reach")));
        }
        let zone = match zone {
            Some(zone) => zone,
            None => self.app(&tenant, &app).await?.time_zone,
        };
        let schedule = Schedule::parse("report.schedule", &report.schedule, &zone)?;
        let question = of_app(report.question.unwrap_or_default(), &app)?;
        caller.may_query()?;
        let asking = Asking { app: app.as_str(), time_zone: &zone, question: &question };
        desk.check(&desk.context(caller.scope(), caller.key_id()), &asking).await?;
        let now_ms = (self.now_ms)();
        let report = storage::Report {
            id: format!("{:032x}", rand::random::<u128>()),
            tenant,
            app,
            created_at_ms: now_ms,
            next_at_ms: schedule.after(now_ms),
            terms: ReportTerms {
                display_name,
                schedule: report.schedule,
                time_zone: zone,
                question: BASE64.encode(question.encode_to_vec()),
                webhook: report.webhook_url,
                key_id: caller.key_id().to_owned(),
                ended: String::new(),
            },
        };
        let acting = self.acting(caller, "AdminService/CreateReport");
        acting.create_report(&report, MOST_REPORTS).await.map_err(stored)?;
        info!(by = caller.key_id(), report = report.id, "a report is to be made");
        let webhook_secret = if report.terms.webhook.is_empty() { String::new() } else { desk.secret(&report.id) };
        Ok(CreateReportResponse { report: Some(to_wire(report)?), webhook_secret })
    }

    pub(crate) async fn reports(
        &self,
        caller: &Caller,
        request: &ListReportsRequest,
    ) -> Result<ListReportsResponse, Error> {
        let (tenant, page_size) = (caller.own()?, check::page_size(request.page_size)?);
        let before = before(&request.page_token)?;
        let mut page = self.desk()?.parts.reports.reports(tenant, before, page_size + 1).await.map_err(stored)?;
        let there_is_more = page.len() > page_size as usize;
        page.truncate(page_size as usize);
        let last = page.last().filter(|_| there_is_more);
        let next_page_token = last.map_or_else(String::new, |last| page_token(last.created_at_ms, &last.id));
        let reports = page.into_iter().filter(|report| caller.reaches(&report.app)).map(to_wire);
        Ok(ListReportsResponse { reports: reports.collect::<Result<_, _>>()?, next_page_token })
    }

    pub(crate) async fn report(&self, caller: &Caller, request: &GetReportRequest) -> Result<GetReportResponse, Error> {
        let report = self.known_report(caller, &request.report_id).await?;
        Ok(GetReportResponse { report: Some(to_wire(report)?) })
    }

    pub(crate) async fn forget_report(
        &self,
        caller: &Caller,
        request: &DeleteReportRequest,
    ) -> Result<DeleteReportResponse, Error> {
        let report = self.known_report(caller, &request.report_id).await?;
        let acting = self.acting(caller, "AdminService/DeleteReport");
        acting.delete_report(&report.tenant, &report.id).await.map_err(stored)?;
        info!(by = caller.key_id(), report = report.id, "a report is forgotten");
        Ok(DeleteReportResponse {})
    }

    pub(crate) async fn report_runs(
        &self,
        caller: &Caller,
        request: &ListReportRunsRequest,
    ) -> Result<ListReportRunsResponse, Error> {
        let page_size = match request.page_size {
            0 => PAGE_RUNS,
            size if size <= PAGE_RUNS => size,
            _ => return Err(Error::invalid("page_size", "TOO_MANY", format!("must be at most {PAGE_RUNS}"))),
        };
        let before = before(&request.page_token)?;
        let report = self.known_report(caller, &request.report_id).await?;
        caller.may_query()?;
        let reports = &self.desk()?.parts.reports;
        let mut page = reports.report_runs(&report.id, before, page_size + 1).await.map_err(stored)?;
        let there_is_more = page.len() > page_size as usize;
        page.truncate(page_size as usize);
        let last = page.last().filter(|_| there_is_more);
        let next_page_token = last.map_or_else(String::new, |last| page_token(last.scheduled_at_ms, &last.id));
        Ok(ListReportRunsResponse { runs: page.iter().map(|run| run_to_wire(&report, run)).collect(), next_page_token })
    }

    fn desk(&self) -> Result<&Desk, Error> {
        self.desk.as_deref().ok_or_else(|| Error::internal("this process keeps no reports"))
    }

    /// That of the caller's tenant, if the key reaches its app.
    async fn known_report(&self, caller: &Caller, id: &str) -> Result<storage::Report, Error> {
        let tenant = caller.own()?;
        let id = check::given_id("report_id", id, "CreateReport")?;
        let report = self.desk()?.parts.reports.report(tenant, id).await.map_err(stored)?;
        let report = report.filter(|report| caller.reaches(&report.app));
        report.ok_or_else(|| Error::new(ErrorCode::NotFound, "there is no such report"))
    }
}

/// The question with the report's app in it.
fn of_app(mut question: ReportQuestion, app: &AppId) -> Result<ReportQuestion, Error> {
    let named = match &mut question.question {
        Some(Question::Query(query)) => &mut query.app_id,
        Some(Question::Sql(sql)) => &mut sql.app_id,
        Some(Question::Metric(_)) | None => return Ok(question),
    };
    if !named.is_empty() && *named != app.as_str() {
        return Err(Error::invalid("report.question", "NOT_ALLOWED", "must be about the report's own app"));
    }
    app.as_str().clone_into(named);
    Ok(question)
}

/// What a report asks.
fn question(terms: &ReportTerms) -> Result<ReportQuestion, Error> {
    let bytes = BASE64.decode(&terms.question).ok();
    let question = bytes.and_then(|bytes| ReportQuestion::decode(bytes.as_slice()).ok());
    question.ok_or_else(|| Error::internal("a report's question can't be read"))
}

fn to_wire(report: storage::Report) -> Result<Report, Error> {
    let question = question(&report.terms)?;
    let storage::Report { id, app, created_at_ms, next_at_ms, terms, .. } = report;
    Ok(Report {
        report_id: id,
        display_name: terms.display_name,
        app_id: app.as_str().to_owned(),
        schedule: terms.schedule,
        time_zone: terms.time_zone,
        question: Some(question),
        webhook_url: terms.webhook,
        created_at: Some(time_to_wire(created_at_ms)),
        created_by: terms.key_id,
        next_run_at: next_at_ms.map(time_to_wire),
        ended: terms.ended,
    })
}

fn run_to_wire(report: &storage::Report, run: &storage::ReportRun) -> ReportRun {
    let progress = &run.progress;
    let result = BASE64.decode(&progress.result).ok().filter(|bytes| !bytes.is_empty());
    ReportRun {
        run_id: run.id.clone(),
        report_id: report.id.clone(),
        display_name: report.terms.display_name.clone(),
        scheduled_at: Some(time_to_wire(run.scheduled_at_ms)),
        finished_at: progress.finished_at_ms.map(time_to_wire),
        result: result.and_then(|bytes| v1::Result::decode(bytes.as_slice()).ok()),
        failure: progress.failure.clone(),
        deliveries: progress.deliveries,
        delivered_at: progress.delivered_at_ms.map(time_to_wire),
        delivery_failure: progress.delivery_failure.clone(),
    }
}
