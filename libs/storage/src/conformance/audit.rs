use std::sync::Arc;

use model::{Act, AppSet, Metric};
use serde_json::{Value, json};

use super::{app, directory::a_key, tenant};
use crate::{
    App, AuditEntry, AuditExpected, AuditFilter, Change, ErasureRequest, Key, LogRange, Metastore, Quota,
    ReplayRequest, Report, ReportTerms, Setting, Tenant, Topic, verify_audit,
};

/// Who changed what, and that it can't be denied. `place` names a new empty metastore by its address.
pub async fn audit(place: impl AsyncFn() -> String) {
    a_change_is_noted_with_what_it_changed(&*open(&place().await).await).await;
    what_changes_nothing_leaves_nothing(&*open(&place().await).await).await;
    what_is_of_no_tenant_has_a_chain_of_its_own(&*open(&place().await).await).await;
    many_processes_make_one_chain(&place().await).await;
    entries_are_listed_from_the_newest_on(&*open(&place().await).await).await;
    a_chain_is_held_against_what_was_kept(&*open(&place().await).await).await;
}

async fn open(url: &str) -> Arc<dyn Metastore> {
    crate::open(url).await.unwrap()
}

fn an_act(method: &str, at_ms: i64) -> Act {
    Act {
        method: method.into(),
        key_id: "k,1:\"ä".into(),
        key_tenant: "host".into(),
        at_ms,
        address: "192.0.2.1".into(),
        trace_id: "ab".repeat(16),
    }
}

fn a_tenant(id: &str) -> Tenant {
    Tenant { id: tenant(id), display_name: format!("{id}, \"Inc\""), created_at_ms: 1 }
}

fn an_app(id: &str) -> App {
    App { tenant: tenant("acme"), id: app(id), display_name: id.into(), time_zone: "UTC".into(), created_at_ms: 1 }
}

async fn with_two_tenants(store: &dyn Metastore) {
    store.create_tenant(&a_tenant("acme")).await.unwrap();
    store.create_tenant(&a_tenant("beta")).await.unwrap();
}

/// All entries of a chain that is whole, in their order.
async fn whole(store: &dyn Metastore, chain: Option<&str>) -> Vec<AuditEntry> {
    let chain = chain.map(tenant);
    let entries = store.audit_chain(chain.as_ref(), 0, 10_000).await.unwrap();
    let verdict = verify_audit(store, chain.as_ref(), &AuditExpected::default()).await.unwrap();
    assert_eq!((verdict.entries, verdict.broken), (entries.len() as u64, None));
    assert_eq!(verdict.last_hash, entries.last().map(|last| last.hash.clone()).unwrap_or_default());
    entries
}

/// What an entry says of its thing: object, app, before, after.
fn told(entry: &AuditEntry) -> (&str, &str, Value, Value) {
    let read = |text: &str| if text.is_empty() { Value::Null } else { serde_json::from_str(text).unwrap() };
    (&entry.object, &entry.app, read(&entry.before), read(&entry.after))
}

async fn a_change_is_noted_with_what_it_changed(store: &dyn Metastore) {
    let (acme, web) = (tenant("acme"), app("web"));
    let by = |at_ms| store.acting(an_act("S/M", at_ms));
    by(1).create_tenant(&a_tenant("acme")).await.unwrap();
    by(2).create_app(&an_app("web")).await.unwrap();
    let quota = Setting::Quota(Quota { events_burst: Some(7), ..Quota::default() });
    by(3).set_settings(Some(&acme), None, quota, None).await.unwrap();
    by(4).set_settings(Some(&acme), Some(&web), Setting::RetentionDays(Some(30)), None).await.unwrap();
    by(5).set_settings(Some(&acme), None, Setting::RetentionDays(Some(9)), None).await.unwrap();
    by(6).set_settings(Some(&acme), None, Setting::RetentionDays(None), None).await.unwrap();
    let mut metric: Metric = serde_json::from_value(json!({
        "name": "n", "display_name": "n", "description": "", "formula": "COUNT(*)", "filters": [], "unit": "",
        "materialize": false, "version": 1, "created_at_ms": 7}))
    .unwrap();
    by(7).put_metric(&acme, &web, &metric).await.unwrap();
    (metric.version, metric.formula) = (2, "SUM(x)".into());
    by(8).put_metric(&acme, &web, &metric).await.unwrap();
    by(9).delete_metric(&acme, &web, "n").await.unwrap();
    by(10).create_key(&a_key("acme", "k1", AppSet::Only(vec![web]), 10)).await.unwrap();
    let rotated = a_key("acme", "k2", AppSet::All, 11);
    by(11).rotate_key(&Key { rotated_from: Some("k1".into()), ..rotated }, 99).await.unwrap();
    by(12).revoke_key(&acme, "k1", 12).await.unwrap();

    let entries = whole(store, Some("acme")).await;
    let places: Vec<_> = entries.iter().map(|entry| (entry.sequence, entry.act.clone())).collect();
    let times = (1..=11).chain([11, 12]);
    assert_eq!(places, (1..).zip(times.map(|at| an_act("S/M", at))).collect::<Vec<_>>());
    let mut told = entries.iter().map(told);
    let mut next = || told.next().unwrap();
    assert_eq!(next(), ("tenants/acme", "", Value::Null, json!({"display_name": "acme, \"Inc\""})));
    assert_eq!(next(), ("apps/web", "web", Value::Null, json!({"display_name": "web", "time_zone": "UTC"})));
    assert_eq!(next(), ("quota", "", json!({"events_burst": null}), json!({"events_burst": 7})));
    assert_eq!(next(), ("retention", "web", json!({"days": null}), json!({"days": 30})));
    assert_eq!(next(), ("retention", "", json!({"days": null}), json!({"days": 9})));
    assert_eq!(next(), ("retention", "", json!({"days": 9}), json!({"days": null})));
    let (object, of, before, after) = next();
    assert_eq!((object, of, before, &after["formula"]), ("apps/web/metrics/n", "web", Value::Null, &json!("COUNT(*)")));
    let (before, after) = (json!({"version": 1, "formula": "COUNT(*)"}), json!({"version": 2, "formula": "SUM(x)"}));
    assert_eq!(next(), ("apps/web/metrics/n", "web", before, after));
    let (object, _, before, after) = next();
    assert_eq!((object, &before["formula"], after), ("apps/web/metrics/n", &json!("SUM(x)"), Value::Null));
    let (object, of, before, after) = next();
    assert_eq!((object, of, before), ("keys/k1", "web", Value::Null));
    let (apps, permissions) = (json!({"only": ["web"]}), json!(["ingest", "query"]));
    assert_eq!((&after["scope"]["apps"], &after["scope"]["permissions"]), (&apps, &permissions));
    assert_eq!(after.get("hash"), None, "what a key is known by is in no entry");
    assert_eq!(next(), ("keys/k1", "web", json!({"expires_at_ms": null}), json!({"expires_at_ms": 99})));
    let (object, of, before, after) = next();
    assert_eq!((object, of, before, &after["rotated_from"]), ("keys/k2", "", Value::Null, &json!("k1")));
    assert_eq!(next(), ("keys/k1", "web", json!({"revoked_at_ms": null}), json!({"revoked_at_ms": 12})));
    assert_eq!(whole(store, None).await, []);
}

async fn what_changes_nothing_leaves_nothing(store: &dyn Metastore) {
    with_two_tenants(store).await;
    let by = store.acting(an_act("S/M", 5));
    assert!(by.create_tenant(&a_tenant("acme")).await.is_err());
    assert!(by.create_app(&App { tenant: tenant("nobody"), ..an_app("web") }).await.is_err());
    assert!(by.revoke_key(&tenant("acme"), "k", 1).await.is_err());
    by.set_settings(Some(&tenant("acme")), None, Setting::Quota(Quota::default()), None).await.unwrap();
    by.set_settings(Some(&tenant("acme")), None, Setting::RetentionDays(None), None).await.unwrap();
    assert!(!by.delete_report(&tenant("acme"), "r").await.unwrap());
    for chain in [None, Some("acme"), Some("beta"), Some("nobody")] {
        assert_eq!(whole(store, chain).await, [], "{chain:?}");
    }
    by.create_app(&an_app("web")).await.unwrap();
    assert_eq!((whole(store, Some("acme")).await.len(), whole(store, Some("beta")).await), (1, vec![]));
}

async fn what_is_of_no_tenant_has_a_chain_of_its_own(store: &dyn Metastore) {
    with_two_tenants(store).await;
    store.create_app(&an_app("web")).await.unwrap();
    let by = store.acting(an_act("S/M", 5));
    let topic = Topic { name: "events".into(), incarnation: 1 };
    store.placement(&topic, 4).await.unwrap();
    by.grow(&topic, 8).await.unwrap();
    by.grow(&topic, 8).await.unwrap(); // again changes nothing
    let ranges = vec![LogRange { partition: 0, first: 3, end: 5 }];
    let request =
        ReplayRequest { id: "r1".into(), topic: topic.clone(), ranges, requested_at_ms: 1, requested_by: "k".into() };
    by.request_replay(request).await.unwrap();
    by.cancel_replay("r1").await.unwrap();
    by.cancel_replay("r1").await.unwrap();
    let entries = whole(store, None).await;
    let replayed = json!({"ranges": [{"partition": 0, "first": 3, "end": 5}]});
    assert_eq!(
        entries.iter().map(told).collect::<Vec<_>>(),
        [
            ("topics/events", "", json!({"partitions": 4}), json!({"partitions": 8})),
            ("replays/r1", "", Value::Null, replayed),
            ("replays/r1", "", json!({"to_cancel": false}), json!({"to_cancel": true})),
        ]
    );

    // What a tenant asks for is its own, and names no user and no way into a receiver.
    let (tenant, app) = (tenant("acme"), app("web"));
    let (user_id, requested_by) = ("a-secret-user".to_owned(), "k".to_owned());
    let request = ErasureRequest {
        id: "e1".into(),
        tenant: tenant.clone(),
        app: app.clone(),
        user_id,
        requested_at_ms: 1,
        requested_by,
    };
    by.request_erasure(request, &topic, 4, 0, 0).await.unwrap();
    let terms = ReportTerms { webhook: "https://hooks.example/way/in".into(), ..ReportTerms::default() };
    let report = Report { id: "p1".into(), tenant: tenant.clone(), app, created_at_ms: 1, next_at_ms: None, terms };
    by.create_report(&report, 9).await.unwrap();
    assert!(by.delete_report(&tenant, "p1").await.unwrap());
    let entries = whole(store, Some("acme")).await;
    let objects: Vec<_> = entries.iter().map(|entry| entry.object.as_str()).collect();
    assert_eq!(objects, ["erasures/e1", "reports/p1", "reports/p1"]);
    assert_eq!((told(&entries[1]).3, told(&entries[2]).2), (told(&entries[2]).2, told(&entries[1]).3));
    assert_eq!(told(&entries[1]).3["webhook"], json!("https://hooks.example"));
    assert!(!format!("{entries:?}").contains("a-secret-user"));
    assert_eq!(whole(store, None).await.len(), 3);
}

/// Each process has connections of its own.
async fn many_processes_make_one_chain(url: &str) {
    let stores = [open(url).await, open(url).await, open(url).await];
    with_two_tenants(&*stores[0]).await;
    let work: Vec<_> = (0..60)
        .map(|i| {
            let store = Arc::clone(&stores[i % stores.len()]);
            tokio::spawn(async move {
                let by = store.acting(an_act("S/M", i as i64));
                match i % 4 {
                    0 => by.create_app(&an_app(&format!("a{i}"))).await.unwrap(),
                    1 => {
                        let quota = Quota { events_burst: Some(i as u64), ..Quota::default() };
                        by.set_settings(Some(&tenant("acme")), None, Setting::Quota(quota), None).await.unwrap();
                    }
                    2 => {
                        let days = Setting::RetentionDays(Some(i as u32));
                        by.set_settings(Some(&tenant("acme")), None, days, None).await.unwrap();
                    }
                    _ => {
                        let change = Change { object: "x".into(), after: json!({"i": i}), ..Change::default() };
                        store.note(Some(&tenant("acme")), &an_act("S/N", 1), &change).await.unwrap();
                    }
                }
            })
        })
        .collect();
    for one in work {
        one.await.unwrap();
    }
    let entries = whole(&*stores[1], Some("acme")).await;
    assert_eq!(entries.len(), 60);
    // Each says that it changed what the one before it left.
    for object in ["quota", "retention"] {
        let of: Vec<_> = entries.iter().filter(|entry| entry.object == object).map(told).collect();
        assert_eq!(of.len(), 15);
        for pair in of.windows(2) {
            assert_eq!(pair[0].3, pair[1].2);
        }
    }
}

async fn entries_are_listed_from_the_newest_on(store: &dyn Metastore) {
    with_two_tenants(store).await;
    let acme = tenant("acme");
    for i in 0..10_i64 {
        let act = Act { key_id: format!("k{}", i % 2), ..an_act(if i < 5 { "S/A" } else { "S/B" }, 100 + i) };
        store.note(Some(&acme), &act, &Change { object: format!("o{i}"), ..Change::default() }).await.unwrap();
    }
    let listed = async |wanted: &AuditFilter, before, most| {
        let entries = store.audit_entries(Some(&acme), wanted, before, most).await.unwrap();
        entries.into_iter().map(|entry| entry.sequence).collect::<Vec<_>>()
    };
    let all = AuditFilter::default();
    assert_eq!(listed(&all, None, 100).await, (1..=10).rev().collect::<Vec<_>>());
    assert_eq!(listed(&all, Some(8), 3).await, [7, 6, 5]);
    assert_eq!(listed(&AuditFilter { from_ms: 102, to_ms: 105, ..all.clone() }, None, 100).await, [5, 4, 3]);
    let (method, key_id) = ("S/A".to_owned(), "k1".to_owned());
    assert_eq!(listed(&AuditFilter { method, key_id, ..all.clone() }, None, 100).await, [4, 2]);
    assert_eq!(store.audit_entries(Some(&tenant("beta")), &all, None, 100).await.unwrap(), []);
    assert_eq!(store.audit_entries(None, &all, None, 100).await.unwrap(), []);
}

async fn a_chain_is_held_against_what_was_kept(store: &dyn Metastore) {
    with_two_tenants(store).await;
    let acme = tenant("acme");
    let note = async |object: &str| {
        let change = Change { object: object.into(), ..Change::default() };
        store.note(Some(&acme), &an_act("S/M", 1), &change).await.unwrap();
    };
    for i in 0..450 {
        note(&format!("o{i}")).await; // more than are read at once
    }
    let verdict = async |entries, hash: &str| {
        let expected = AuditExpected { entries, hash: hash.to_owned() };
        verify_audit(store, Some(&acme), &expected).await.unwrap()
    };
    let kept = verdict(0, "").await;
    assert_eq!((kept.entries, kept.broken, kept.as_expected), (450, None, true));
    note("later").await;
    assert_eq!(verdict(0, "").await.entries, 451);
    assert!(verdict(450, &kept.last_hash).await.as_expected);
    assert!(verdict(0, &kept.last_hash).await.as_expected);
    assert!(verdict(451, "").await.as_expected);
    for (entries, hash) in [(449, &kept.last_hash[..]), (451, &kept.last_hash), (452, ""), (0, "00"), (450, "00")] {
        assert!(!verdict(entries, hash).await.as_expected, "{entries} {hash}");
    }
}
