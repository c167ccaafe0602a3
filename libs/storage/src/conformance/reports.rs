use std::sync::Arc;

use super::{app, tenant};
use crate::{App, MetaError, Metastore, Report, ReportRun, ReportTerms, Reports, RunProgress, Tenant};

/// Questions that are asked again and again: when they are due, and that each time is begun once.
pub async fn reports(new: impl AsyncFn() -> Arc<dyn Metastore>) {
    a_report_comes_back_as_it_was_made_to_its_tenant_alone(&*filled(&new).await).await;
    a_tenant_has_so_many_and_no_more(&*filled(&new).await).await;
    each_time_is_begun_once(filled(&new).await).await;
    what_is_noted_of_a_run_says_when_more_is_to_be_done(&*filled(&new).await).await;
    what_is_deleted_is_gone_with_its_runs(&*filled(&new).await).await;
    the_latest_runs_are_kept(&*filled(&new).await).await;
}

async fn filled(new: &impl AsyncFn() -> Arc<dyn Metastore>) -> Arc<dyn Metastore> {
    let store = new().await;
    for name in ["acme", "other"] {
        let added = Tenant { id: tenant(name), display_name: String::new(), created_at_ms: 1 };
        store.create_tenant(&added).await.unwrap();
        let (display_name, time_zone) = (String::new(), "UTC".to_owned());
        let added = App { tenant: tenant(name), id: app("shop"), display_name, time_zone, created_at_ms: 1 };
        store.create_app(&added).await.unwrap();
    }
    store
}

fn report(id: &str, next_at_ms: i64) -> Report {
    let terms = ReportTerms {
        display_name: "Every \"day\"".into(),
        schedule: "0 6 * * *".into(),
        time_zone: "UTC".into(),
        question: "AAE=".into(),
        webhook: "https://example.com/".into(),
        key_id: "k1".into(),
        ended: String::new(),
    };
    let next_at_ms = Some(next_at_ms);
    Report { id: id.into(), tenant: tenant("acme"), app: app("shop"), created_at_ms: 5, next_at_ms, terms }
}

async fn made(store: &dyn Reports, id: &str, next_at_ms: i64) -> Report {
    let report = report(id, next_at_ms);
    store.create_report(&report, 100).await.unwrap();
    report
}

async fn a_report_comes_back_as_it_was_made_to_its_tenant_alone(store: &dyn Metastore) {
    let made = made(store, "r1", 10).await;
    assert_eq!(store.report(&tenant("acme"), "r1").await.unwrap(), Some(made.clone()));
    assert_eq!(store.report(&tenant("other"), "r1").await.unwrap(), None);
    assert_eq!(store.reports(&tenant("acme"), None, 10).await.unwrap(), std::slice::from_ref(&made));
    assert_eq!(store.reports(&tenant("other"), None, 10).await.unwrap(), []);
    assert_eq!(store.reports(&tenant("acme"), Some((5, "r1")), 10).await.unwrap(), []);
    let taken = store.create_report(&made, 100).await;
    assert!(matches!(taken, Err(MetaError::AlreadyExists(_))), "{taken:?}");
    store.end_report(&made, "for a reason").await.unwrap();
    let ended = store.report(&tenant("acme"), "r1").await.unwrap().unwrap();
    assert_eq!((ended.next_at_ms, ended.terms.ended.as_str()), (None, "for a reason"));
    assert_eq!(store.due_reports(i64::MAX, 10).await.unwrap(), []);
}

async fn a_tenant_has_so_many_and_no_more(store: &dyn Metastore) {
    for id in ["r1", "r2"] {
        store.create_report(&report(id, 1), 2).await.unwrap();
    }
    let refused = store.create_report(&report("r3", 1), 2).await;
    assert!(matches!(refused, Err(MetaError::AlreadyExists(_))), "{refused:?}");
    let of_another = Report { tenant: tenant("other"), ..report("r3", 1) };
    store.create_report(&of_another, 2).await.unwrap();
}

async fn each_time_is_begun_once(store: Arc<dyn Metastore>) {
    made(&*store, "r1", 20).await;
    made(&*store, "r2", 10).await;
    assert_eq!(store.due_reports(9, 10).await.unwrap(), []);
    let due = store.due_reports(20, 10).await.unwrap();
    assert_eq!(due.iter().map(|report| report.id.as_str()).collect::<Vec<_>>(), ["r2", "r1"]);
    let begin = |id: &'static str| {
        let (store, report) = (Arc::clone(&store), due[1].clone());
        tokio::spawn(async move { store.begin_run(&report, id, Some(80)).await.unwrap() })
    };
    let begun = [begin("a"), begin("b"), begin("c")];
    let mut times = 0;
    for begun in begun {
        times += usize::from(begun.await.unwrap());
    }
    assert_eq!(times, 1);
    assert_eq!(store.report(&tenant("acme"), "r1").await.unwrap().unwrap().next_at_ms, Some(80));
    let runs = store.due_runs(20, 10).await.unwrap();
    assert_eq!((runs.len(), runs[0].0.id.as_str(), runs[0].1.scheduled_at_ms), (1, "r1", 20));
}

async fn what_is_noted_of_a_run_says_when_more_is_to_be_done(store: &dyn Metastore) {
    let report = made(store, "r1", 10).await;
    assert!(store.begin_run(&report, "a", Some(100)).await.unwrap());
    let (of, mut run) = store.due_runs(10, 10).await.unwrap().remove(0);
    let begun = Report { next_at_ms: Some(100), ..report };
    assert_eq!((of, &run.progress, run.due_at_ms), (begun.clone(), &RunProgress::default(), Some(10)));
    run.progress = RunProgress {
        attempts: 1,
        finished_at_ms: Some(11),
        failure: "ü\n".into(),
        result: "AAE=".into(),
        deliveries: 2,
        delivered_at_ms: Some(12),
        delivery_failure: "no".into(),
    };
    for (due_at_ms, due) in
        [(Some(50), vec![(begun.clone(), ReportRun { due_at_ms: Some(50), ..run.clone() })]), (None, vec![])]
    {
        run.due_at_ms = due_at_ms;
        store.note_run(&run).await.unwrap();
        assert_eq!(store.due_runs(49, 10).await.unwrap(), []);
        assert_eq!(store.due_runs(50, 10).await.unwrap(), due);
    }
    assert_eq!(store.report_runs("r1", None, 10).await.unwrap(), [run]);
}

async fn what_is_deleted_is_gone_with_its_runs(store: &dyn Metastore) {
    let report = made(store, "r1", 10).await;
    assert!(store.begin_run(&report, "a", Some(100)).await.unwrap());
    let (_, run) = store.due_runs(10, 10).await.unwrap().remove(0);
    assert!(!store.delete_report(&tenant("other"), "r1").await.unwrap());
    assert!(store.delete_report(&tenant("acme"), "r1").await.unwrap());
    assert!(!store.delete_report(&tenant("acme"), "r1").await.unwrap());
    store.note_run(&run).await.unwrap();
    assert!(!store.begin_run(&report, "b", None).await.unwrap());
    assert_eq!(store.due_runs(i64::MAX, 10).await.unwrap(), []);
    assert_eq!(store.report_runs("r1", None, 10).await.unwrap(), []);
}

async fn the_latest_runs_are_kept(store: &dyn Metastore) {
    let mut report = made(store, "r1", 10).await;
    for at in [10, 20, 30, 40] {
        report.next_at_ms = Some(at);
        assert!(store.begin_run(&report, &format!("run{at}"), Some(at + 10)).await.unwrap());
    }
    let times = async || {
        let runs = store.report_runs("r1", None, 10).await.unwrap();
        runs.iter().map(|run| run.scheduled_at_ms).collect::<Vec<_>>()
    };
    store.forget_runs("r1", 1, 100).await.unwrap();
    assert_eq!(times().await, [40, 30, 20, 10], "those for which something is to be done stay");
    for (_, run) in store.due_runs(100, 10).await.unwrap() {
        store.note_run(&ReportRun { due_at_ms: None, ..run }).await.unwrap();
    }
    store.forget_runs("r1", 3, 0).await.unwrap();
    assert_eq!(times().await, [40, 30, 20]);
    store.forget_runs("r1", 3, 30).await.unwrap();
    assert_eq!(times().await, [40, 30]);
    let page = store.report_runs("r1", Some((40, "run40")), 1).await.unwrap();
    assert_eq!(page.iter().map(|run| run.scheduled_at_ms).collect::<Vec<_>>(), [30]);
}
