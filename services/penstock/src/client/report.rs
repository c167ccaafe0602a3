//! `penstock report`: questions that are asked again and again.

use std::fmt::Write;

use api::{
    convert,
    v1::{
        CreateReportRequest, DeleteReportRequest, GetReportRequest, ListReportRunsRequest, ListReportsRequest, Report,
        ReportQuestion, ReportRun, SqlQuery, report_question::Question,
    },
};

use super::{ClientError, connect, lines};
use crate::cli::{ReportCommand, Server};

pub(crate) async fn report(server: &Server, command: ReportCommand) -> Result<String, ClientError> {
    let mut admin = connect(server).await?;
    match command {
        ReportCommand::Create { sql, app, schedule, time_zone, webhook, name } => {
            let question = Question::Sql(SqlQuery { sql, app_id: String::new() });
            let report = Report {
                display_name: name,
                app_id: app,
                schedule,
                time_zone,
                question: Some(ReportQuestion { question: Some(question) }),
                webhook_url: webhook,
                ..Report::default()
            };
            let made = admin.create_report(CreateReportRequest { report: Some(report) }).await?.into_inner();
            let id = made.report.unwrap_or_default().report_id;
            Ok(lines([[id, made.webhook_secret]].into_iter()))
        }
        ReportCommand::List => {
            let (mut list, mut page_token) = (String::new(), String::new());
            loop {
                let page = admin.list_reports(ListReportsRequest { page_size: 0, page_token }).await?.into_inner();
                list.extend(page.reports.into_iter().map(report_line));
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    return Ok(list);
                }
            }
        }
        ReportCommand::Show { report_id } => {
            let report = admin.get_report(GetReportRequest { report_id }).await?.into_inner().report;
            Ok(report_line(report.unwrap_or_default()))
        }
        ReportCommand::Runs { report_id } => {
            let request = ListReportRunsRequest { report_id, ..ListReportRunsRequest::default() };
            let runs = admin.list_report_runs(request).await?.into_inner().runs;
            Ok(runs.iter().map(run_lines).collect())
        }
        ReportCommand::Delete { report_id } => {
            admin.delete_report(DeleteReportRequest { report_id: report_id.clone() }).await?;
            Ok(format!("{report_id} deleted\n"))
        }
    }
}

fn report_line(report: Report) -> String {
    let next = match report.ended.as_str() {
        "" => format!("next at {}", time(report.next_run_at.as_ref())),
        why => format!("ended: {why}"),
    };
    let schedule = format!("{} {}", report.schedule, report.time_zone);
    lines([[report.report_id, report.app_id, schedule, next, report.display_name]].into_iter())
}

/// The run, and its answer row by row.
fn run_lines(run: &ReportRun) -> String {
    let delivery = match (run.deliveries, &run.delivered_at) {
        (0, _) => String::new(),
        (n, Some(_)) => format!("delivered, sent {n} times"),
        (n, None) => format!("not delivered, sent {n} times: {}", run.delivery_failure),
    };
    let outcome = match (&run.result, run.failure.as_str()) {
        (Some(result), _) => format!("{} rows", result.rows.len()),
        (None, "") => "not yet answered".to_owned(),
        (None, why) => why.to_owned(),
    };
    let mut text = lines([[run.run_id.clone(), time(run.scheduled_at.as_ref()), outcome, delivery]].into_iter());
    for row in run.result.iter().flat_map(|result| &result.rows) {
        let values: Vec<_> = row.values.iter().map(super::watch::text).collect();
        let _ = writeln!(text, "\t{}", values.join("\t")); // a String takes all
    }
    text
}

fn time(time: Option<&convert::WireTime>) -> String {
    let ms = time.and_then(convert::instant);
    let time = ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(String::new, |time| time.to_string())
}
