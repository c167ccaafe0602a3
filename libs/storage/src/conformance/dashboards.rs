use std::sync::Arc;

use model::Act;
use serde_json::Value;

use super::{app, tenant};
use crate::{App, AuditFilter, Dashboard, Dashboards, MetaError, Metastore, Tenant};

/// Questions side by side, and who may not overwrite whom.
pub async fn dashboards(new: impl AsyncFn() -> Arc<dyn Metastore>) {
    a_dashboard_comes_back_as_it_was_put_to_its_app_alone(&*filled(&new).await).await;
    nobody_overwrites_what_they_have_not_seen(&*filled(&new).await).await;
    of_concurrent_changes_one_wins(filled(&new).await).await;
    an_app_has_so_many_and_no_more(filled(&new).await).await;
    a_change_is_noted_with_what_was(&*filled(&new).await).await;
}

/// The most that an app has here.
const MOST: u32 = 3;

async fn filled(new: &impl AsyncFn() -> Arc<dyn Metastore>) -> Arc<dyn Metastore> {
    let store = new().await;
    for (name, apps) in [("acme", &["shop", "blog"][..]), ("other", &["shop"])] {
        let added = Tenant { id: tenant(name), display_name: String::new(), created_at_ms: 1 };
        store.create_tenant(&added).await.unwrap();
        for id in apps {
            let (display_name, time_zone) = (String::new(), "UTC".to_owned());
            let added = App { tenant: tenant(name), id: app(id), display_name, time_zone, created_at_ms: 1 };
            store.create_app(&added).await.unwrap();
        }
    }
    store
}

fn a_dashboard(id: &str, etag: &str) -> Dashboard {
    Dashboard {
        id: id.into(),
        title: format!("Sales of \"{id}\""),
        description: "line\nbreak, 'quotes' and ünïcode".into(),
        tiles: 2,
        content: format!(r#"{{"title":"{etag}","tiles":[1,"\u0000"]}}"#),
        etag: etag.into(),
        updated_at_ms: 5,
        updated_by: "k1".into(),
    }
}

async fn put(store: &dyn Dashboards, dashboard: &Dashboard, before: &str) -> Result<(), MetaError> {
    store.put_dashboard(&tenant("acme"), &app("shop"), dashboard, before, MOST).await
}

async fn get(store: &dyn Dashboards, id: &str) -> Option<Dashboard> {
    store.dashboard(&tenant("acme"), &app("shop"), id).await.unwrap()
}

async fn a_dashboard_comes_back_as_it_was_put_to_its_app_alone(store: &dyn Metastore) {
    let (b, a) = (a_dashboard("b", "1"), a_dashboard("a", "2"));
    put(store, &b, "").await.unwrap();
    put(store, &a, "").await.unwrap();
    assert_eq!(get(store, "b").await.as_ref(), Some(&b));
    let listed = [a, b].map(|dashboard| Dashboard { content: String::new(), ..dashboard });
    assert_eq!(store.list_dashboards(&tenant("acme"), &app("shop")).await.unwrap(), listed);
    for (of, id) in [("acme", "blog"), ("other", "shop")] {
        let (of, id) = (tenant(of), app(id));
        assert_eq!(store.dashboard(&of, &id, "b").await.unwrap(), None);
        assert_eq!(store.list_dashboards(&of, &id).await.unwrap(), []);
        let refused = store.delete_dashboard(&of, &id, "b", "").await;
        assert!(matches!(refused, Err(MetaError::NotFound(_))), "{refused:?}");
        store.put_dashboard(&of, &id, &a_dashboard("b", "3"), "", MOST).await.unwrap();
    }
    let nowhere = store.put_dashboard(&tenant("acme"), &app("none"), &a_dashboard("b", "3"), "", MOST).await;
    assert!(matches!(nowhere, Err(MetaError::NotFound(_))), "{nowhere:?}");
}

async fn nobody_overwrites_what_they_have_not_seen(store: &dyn Metastore) {
    let early = put(store, &a_dashboard("d", "2"), "1").await;
    assert!(matches!(early, Err(MetaError::NotFound(_))), "{early:?}");
    put(store, &a_dashboard("d", "1"), "").await.unwrap();
    let again = put(store, &a_dashboard("d", "2"), "").await;
    assert!(matches!(again, Err(MetaError::AlreadyExists(_))), "{again:?}");
    put(store, &a_dashboard("d", "2"), "1").await.unwrap();
    let late = put(store, &a_dashboard("d", "3"), "1").await;
    assert!(matches!(late, Err(MetaError::Conflict(_))), "{late:?}");
    let (acme, shop) = (tenant("acme"), app("shop"));
    let late = store.delete_dashboard(&acme, &shop, "d", "1").await;
    assert!(matches!(late, Err(MetaError::Conflict(_))), "{late:?}");
    assert_eq!(get(store, "d").await, Some(a_dashboard("d", "2")));
    store.delete_dashboard(&acme, &shop, "d", "2").await.unwrap();
    assert_eq!(get(store, "d").await, None);
    let gone = store.delete_dashboard(&acme, &shop, "d", "").await;
    assert!(matches!(gone, Err(MetaError::NotFound(_))), "{gone:?}");
    put(store, &a_dashboard("d", "4"), "").await.unwrap();
    store.delete_dashboard(&acme, &shop, "d", "").await.unwrap();
}

async fn of_concurrent_changes_one_wins(store: Arc<dyn Metastore>) {
    put(&*store, &a_dashboard("d", "0"), "").await.unwrap();
    let racing: Vec<_> = (1..=8)
        .map(|etag| {
            let store = store.clone();
            let dashboard = a_dashboard("d", &etag.to_string());
            tokio::spawn(async move { (put(&*store, &dashboard, "0").await, dashboard) })
        })
        .collect();
    let mut winner = None;
    for task in racing {
        match task.await.unwrap() {
            (Ok(()), dashboard) => assert!(winner.replace(dashboard).is_none(), "two changes of one state"),
            (Err(error), _) => assert!(matches!(error, MetaError::Conflict(_)), "{error:?}"),
        }
    }
    assert!(winner.is_some());
    assert_eq!(get(&*store, "d").await, winner);
}

async fn an_app_has_so_many_and_no_more(store: Arc<dyn Metastore>) {
    let racing = (0..2 * MOST).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { put(&*store, &a_dashboard(&format!("d{n}"), "1"), "").await })
    });
    let mut made = 0;
    for task in racing.collect::<Vec<_>>() {
        match task.await.unwrap() {
            Ok(()) => made += 1,
            Err(error) => assert!(matches!(error, MetaError::TooMany(_)), "{error:?}"),
        }
    }
    assert_eq!(made, MOST);
    let listed = store.list_dashboards(&tenant("acme"), &app("shop")).await.unwrap();
    put(&*store, &a_dashboard(&listed[0].id, "2"), "1").await.unwrap();
    store.put_dashboard(&tenant("acme"), &app("blog"), &a_dashboard("d", "1"), "", MOST).await.unwrap();
}

async fn a_change_is_noted_with_what_was(store: &dyn Metastore) {
    let acting = store.acting(Act { method: "DashboardService/PutDashboard".into(), ..Act::default() });
    put(&*acting, &a_dashboard("d", "1"), "").await.unwrap();
    put(&*acting, &a_dashboard("d", "2"), "1").await.unwrap();
    acting.delete_dashboard(&tenant("acme"), &app("shop"), "d", "2").await.unwrap();
    let of = tenant("acme");
    let entries = store.audit_entries(Some(&of), &AuditFilter::default(), None, 10).await.unwrap();
    let noted = entries.iter().map(|entry| {
        assert_eq!((entry.object.as_str(), entry.app.as_str()), ("apps/shop/dashboards/d", "shop"));
        let [before, after] =
            [&entry.before, &entry.after].map(|text| serde_json::from_str(text).unwrap_or(Value::Null));
        [before, after].map(|said| said["title"].as_str().unwrap_or_default().to_owned())
    });
    assert_eq!(noted.collect::<Vec<_>>(), [["2", ""], ["1", "2"], ["", "1"]]);
}
