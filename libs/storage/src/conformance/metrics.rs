use std::sync::Arc;

use model::{FilterOp, Metric, MetricFilter, Value};

use super::{app, tenant};
use crate::{MetaError, Metastore, Metrics};

/// Custom metrics and their versions.
pub async fn metrics(new: impl AsyncFn() -> Arc<dyn Metastore>) {
    a_metric_comes_back_as_it_was_made(&*new().await).await;
    versions_follow_one_another(&*new().await).await;
    metrics_belong_to_one_app(&*new().await).await;
    a_deleted_metric_is_gone_with_its_history(&*new().await).await;
    of_concurrent_changes_one_wins(new().await).await;
}

fn a_metric(name: &str, version: u32) -> Metric {
    Metric {
        name: name.into(),
        display_name: "Revenue per User".into(),
        description: "line\nbreak, 'quotes' and ünïcode".into(),
        formula: format!("SUM(purchase_amount) / {version}"),
        filters: vec![],
        unit: "USD".into(),
        materialize: version == 1,
        version,
        created_at_ms: 1_700_000_000_000 + i64::from(version),
    }
}

async fn put(store: &dyn Metrics, metric: &Metric) -> Result<(), MetaError> {
    store.put_metric(&tenant("acme"), &app("web"), metric).await
}

async fn get(store: &dyn Metrics, name: &str, version: Option<u32>) -> Option<Metric> {
    store.metric(&tenant("acme"), &app("web"), name, version).await.unwrap()
}

async fn a_metric_comes_back_as_it_was_made(store: &dyn Metrics) {
    let filter = |field: &str, op, values| MetricFilter { field: field.into(), op, values };
    let numbers = [0.1 + 0.2, f64::MIN_POSITIVE, 1e300, 123_456_789.012_345_67, -0.0];
    let metric = Metric {
        filters: vec![
            filter("event_type", FilterOp::Eq, vec![Value::String("purchase\0\"".into())]),
            filter("amount", FilterOp::In, numbers.into_iter().map(Value::Number).collect()),
            filter("n", FilterOp::Ge, vec![Value::Integer(-(1 << 53)), Value::Time(i64::MIN), Value::Bool(true)]),
            filter("status", FilterOp::IsNotNull, vec![]),
        ],
        ..a_metric("revenue_per_user", 1)
    };
    put(store, &metric).await.unwrap();
    assert_eq!(get(store, "revenue_per_user", None).await.as_ref(), Some(&metric));
    assert_eq!(get(store, "revenue_per_user", Some(1)).await.as_ref(), Some(&metric));
}

async fn versions_follow_one_another(store: &dyn Metrics) {
    let early = put(store, &a_metric("m", 2)).await;
    assert!(matches!(early, Err(MetaError::NotFound(_))), "{early:?}");
    put(store, &a_metric("m", 1)).await.unwrap();
    let again = put(store, &a_metric("m", 1)).await;
    assert!(matches!(again, Err(MetaError::AlreadyExists(_))), "{again:?}");
    put(store, &a_metric("m", 2)).await.unwrap();
    for wrong in [0, 2, 4] {
        let refused = put(store, &a_metric("m", wrong)).await;
        assert!(matches!(refused, Err(MetaError::Conflict(_))), "{wrong}: {refused:?}");
    }
    put(store, &a_metric("m", 3)).await.unwrap();
    put(store, &a_metric("a", 1)).await.unwrap();
    let (acme, web) = (tenant("acme"), app("web"));
    assert_eq!(store.list_metrics(&acme, &web).await.unwrap(), [a_metric("a", 1), a_metric("m", 3)]);
    let versions = store.metric_versions(&acme, &web, "m").await.unwrap();
    assert_eq!(versions, [a_metric("m", 3), a_metric("m", 2), a_metric("m", 1)]);
    assert_eq!(get(store, "m", None).await, Some(a_metric("m", 3)));
    assert_eq!(get(store, "m", Some(2)).await, Some(a_metric("m", 2)));
    assert_eq!(get(store, "m", Some(4)).await, None);
}

async fn metrics_belong_to_one_app(store: &dyn Metrics) {
    put(store, &a_metric("m", 1)).await.unwrap();
    for (of, id) in [("acme", "ios"), ("beta", "web")] {
        let (of, id) = (tenant(of), app(id));
        assert_eq!(store.metric(&of, &id, "m", None).await.unwrap(), None);
        assert_eq!(store.list_metrics(&of, &id).await.unwrap(), []);
        assert_eq!(store.metric_versions(&of, &id, "m").await.unwrap(), []);
        let refused = store.delete_metric(&of, &id, "m").await;
        assert!(matches!(refused, Err(MetaError::NotFound(_))), "{refused:?}");
        store.put_metric(&of, &id, &a_metric("m", 1)).await.unwrap();
    }
    put(store, &a_metric("m", 2)).await.unwrap();
    assert_eq!(store.metric(&tenant("beta"), &app("web"), "m", None).await.unwrap(), Some(a_metric("m", 1)));
}

async fn a_deleted_metric_is_gone_with_its_history(store: &dyn Metrics) {
    let (acme, web) = (tenant("acme"), app("web"));
    put(store, &a_metric("m", 1)).await.unwrap();
    put(store, &a_metric("m", 2)).await.unwrap();
    store.delete_metric(&acme, &web, "m").await.unwrap();
    assert_eq!(get(store, "m", None).await, None);
    assert_eq!(store.metric_versions(&acme, &web, "m").await.unwrap(), []);
    assert_eq!(store.list_metrics(&acme, &web).await.unwrap(), []);
    let again = store.delete_metric(&acme, &web, "m").await;
    assert!(matches!(again, Err(MetaError::NotFound(_))), "{again:?}");
    put(store, &a_metric("m", 1)).await.unwrap();
}

async fn of_concurrent_changes_one_wins(store: Arc<dyn Metastore>) {
    put(&*store, &a_metric("m", 1)).await.unwrap();
    let racing: Vec<_> = (0..8)
        .map(|i| {
            let store = store.clone();
            let metric = Metric { unit: format!("unit {i}"), ..a_metric("m", 2) };
            tokio::spawn(async move { (put(&*store, &metric).await, metric) })
        })
        .collect();
    let mut winner = None;
    for task in racing {
        match task.await.unwrap() {
            (Ok(()), metric) => assert!(winner.replace(metric).is_none(), "two changes became version 2"),
            (Err(error), _) => assert!(matches!(error, MetaError::Conflict(_)), "{error:?}"),
        }
    }
    assert!(winner.is_some());
    assert_eq!(get(&*store, "m", Some(2)).await, winner);
}
