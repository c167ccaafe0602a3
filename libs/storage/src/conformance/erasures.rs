use std::sync::Arc;

use model::{AppId, Offset, TenantId};

use super::{app, tenant};
use crate::{
    App, Commit, Erasure, ErasureRequest, ErasureState, Erasures, MetaError, Metastore, Pending, Progress, Tenant,
    Topic,
};

/// Users to erase: their tombstones, and what is noted of them.
pub async fn erasures(new: impl AsyncFn() -> Arc<dyn Metastore>) {
    let new = async || {
        let store = new().await;
        for (tenant, apps) in [("acme", &["web", "ios"][..]), ("beta", &["web"])] {
            let id = TenantId::new(tenant).unwrap();
            let made = Tenant { id: id.clone(), display_name: tenant.into(), created_at_ms: 1 };
            store.create_tenant(&made).await.unwrap();
            for app in apps {
                let (tenant, id) = (id.clone(), AppId::new(app).unwrap());
                let (display_name, time_zone) = ((*app).into(), "UTC".into());
                store.create_app(&App { tenant, id, display_name, time_zone, created_at_ms: 1 }).await.unwrap();
            }
        }
        store
    };
    a_request_comes_back_as_it_was_made(&*new().await).await;
    a_tombstone_stands_behind_what_is_worked_on(&*new().await).await;
    tombstones_are_those_of_one_partition_in_order(&*new().await).await;
    what_is_noted_stays_once_it_is_done(&*new().await).await;
    a_page_goes_back_in_time(&*new().await).await;
    no_range_misses_a_tombstone_before_its_end(new().await).await;
}

fn topic() -> Topic {
    Topic { name: "events".into(), incarnation: u64::MAX - 1 }
}

fn request(id: &str) -> ErasureRequest {
    ErasureRequest {
        id: id.into(),
        tenant: tenant("acme"),
        app: app("web"),
        user_id: r#"it's "a" \ user 🦀"#.into(),
        requested_at_ms: 5,
        requested_by: "k1".into(),
    }
}

async fn ask(store: &dyn Erasures, request: ErasureRequest, log_end: Offset) -> Erasure {
    store.request_erasure(request, &topic(), 4, 3, log_end).await.unwrap()
}

async fn one(store: &dyn Erasures, id: &str) -> Option<Erasure> {
    store.erasure(&tenant("acme"), id).await.unwrap()
}

async fn a_request_comes_back_as_it_was_made(store: &dyn Metastore) {
    let asked = ask(store, request("e1"), 70).await;
    assert_eq!((&asked.request, &asked.topic, asked.partition, asked.end), (&request("e1"), &topic(), 3, 70));
    assert_eq!((asked.progress.state, asked.progress.finished_at_ms), (ErasureState::Waiting, None));
    assert_eq!(one(store, "e1").await, Some(asked.clone()));
    assert_eq!(store.open_erasures(9).await.unwrap(), [asked]);
    assert_eq!(one(store, "e2").await, None);
    assert_eq!(store.erasure(&tenant("beta"), "e1").await.unwrap(), None, "another tenant's");
    let taken = store.request_erasure(request("e1"), &topic(), 4, 3, 70).await;
    assert!(matches!(taken, Err(MetaError::AlreadyExists(_))), "{taken:?}");
    let nowhere = ErasureRequest { app: app("none"), ..request("e3") };
    let refused = store.request_erasure(nowhere, &topic(), 4, 3, 70).await;
    assert!(matches!(refused, Err(MetaError::NotFound(_))), "{refused:?}");
}

async fn a_tombstone_stands_behind_what_is_worked_on(store: &dyn Metastore) {
    assert_eq!(ask(store, request("before any worker"), 0).await.end, 0);
    let generation = store.claim(&topic(), 3, "w").await.unwrap().generation;
    store.begin(&topic(), 3, generation, Pending { first: 0, last: 9, since_ms: 1 }).await.unwrap();
    assert_eq!(ask(store, request("pending"), 5).await.end, 10);
    assert_eq!(ask(store, request("beyond"), 11).await.end, 11);
    store.commit(&topic(), 3, generation, Commit { end: 10, frontier_ms: 1, hours: vec![] }).await.unwrap();
    assert_eq!(ask(store, request("committed"), 5).await.end, 10);
    let state = &store.partitions(&topic()).await.unwrap()[0];
    assert_eq!((state.generation, state.committed, state.pending), (generation, 10, None), "nothing is changed");
}

async fn tombstones_are_those_of_one_partition_in_order(store: &dyn Metastore) {
    for (i, id) in ["z", "y", "x"].into_iter().enumerate() {
        ask(store, ErasureRequest { user_id: id.into(), ..request(id) }, 10 - i as u64).await;
    }
    let other_life = Topic { incarnation: 1, ..topic() };
    for (id, topic, partition) in [("life", &other_life, 3), ("partition", &topic(), 4)] {
        store.request_erasure(request(id), topic, 4, partition, 1).await.unwrap();
    }
    let all = store.tombstones(&topic(), 3, 0).await.unwrap();
    let shown: Vec<_> = all.iter().map(|t| (t.ordinal, t.user_id.as_str(), t.end)).collect();
    assert_eq!(shown, [(1, "z", 10), (2, "y", 9), (3, "x", 8)]);
    assert_eq!((&all[0].tenant, &all[0].app), (&tenant("acme"), &app("web")));
    assert_eq!(store.tombstones(&topic(), 3, 2).await.unwrap(), all[2..]);
    assert_eq!(store.tombstones(&topic(), 3, 3).await.unwrap(), []);
    assert_eq!(store.tombstones(&other_life, 3, 0).await.unwrap().len(), 1);
}

async fn what_is_noted_stays_once_it_is_done(store: &dyn Metastore) {
    let mut progress = ask(store, request("e1"), 0).await.progress;
    ask(store, request("e2"), 0).await;
    progress.state = ErasureState::Settling;
    progress.look_again_at_ms = Some(77);
    progress.hours = [0, 3_600_000].into();
    let gone = progress.gone.entry("events".into()).or_default();
    gone.look(5);
    gone.look(7);
    gone.look(1);
    assert_eq!((gone.deleted, gone.left), (6, 1));
    store.note_erasure("e1", &progress).await.unwrap();
    assert_eq!(one(store, "e1").await.unwrap().progress, progress);
    let done = Progress { state: ErasureState::Done, finished_at_ms: Some(78), ..progress.clone() };
    store.note_erasure("e1", &done).await.unwrap();
    store.note_erasure("e1", &progress).await.unwrap();
    assert_eq!(one(store, "e1").await.unwrap().progress, done, "who comes late changes nothing");
    let open = store.open_erasures(9).await.unwrap();
    assert_eq!(open.iter().map(|e| e.request.id.as_str()).collect::<Vec<_>>(), ["e2"]);
    assert_eq!(store.tombstones(&topic(), 3, 0).await.unwrap().len(), 2, "tombstones stay");
}

async fn a_page_goes_back_in_time(store: &dyn Metastore) {
    for (id, at_ms) in [("a", 1), ("b", 2), ("c", 2), ("d", 3)] {
        ask(store, ErasureRequest { requested_at_ms: at_ms, ..request(id) }, 0).await;
    }
    for (tenant_id, app_id) in [("acme", "ios"), ("beta", "web")] {
        let (tenant, app) = (tenant(tenant_id), app(app_id));
        ask(store, ErasureRequest { tenant, app, ..request(tenant_id) }, 0).await;
    }
    let page = async |before: Option<(i64, &str)>, most: u32| {
        let page = store.erasures(&tenant("acme"), &app("web"), before, most).await.unwrap();
        page.into_iter().map(|e| e.request.id).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 9).await, ["d", "c", "b", "a"]);
    assert_eq!(page(None, 2).await, ["d", "c"]);
    assert_eq!(page(Some((2, "c")), 9).await, ["b", "a"]);
    assert_eq!(page(Some((1, "a")), 9).await, [""; 0]);
    let open = store.open_erasures(2).await.unwrap();
    assert_eq!(open.iter().map(|e| e.request.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

/// A worker and those who erase, side by side: of each range the worker knows, once it began, all tombstones that don't lie behind it.
async fn no_range_misses_a_tombstone_before_its_end(store: Arc<dyn Metastore>) {
    const RANGES: u64 = 60;
    let asking: Vec<_> = (0..3)
        .map(|who| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for i in 0..20 {
                    ask(&*store, request(&format!("{who}-{i}")), 0).await;
                }
            })
        })
        .collect();
    let generation = store.claim(&topic(), 3, "w").await.unwrap().generation;
    let (mut known, mut missed) = (0, Vec::new());
    for first in (0..RANGES).map(|range| range * 10) {
        let last = first + 9;
        store.begin(&topic(), 3, generation, Pending { first, last, since_ms: 1 }).await.unwrap();
        known += store.tombstones(&topic(), 3, known).await.unwrap().len() as u64;
        let all = store.tombstones(&topic(), 3, 0).await.unwrap();
        missed.push((known, last));
        assert!(all.iter().all(|t| t.ordinal <= known || t.end > last));
        store.commit(&topic(), 3, generation, Commit { end: last + 1, frontier_ms: 1, hours: vec![] }).await.unwrap();
    }
    for task in asking {
        task.await.unwrap();
    }
    let all = store.tombstones(&topic(), 3, 0).await.unwrap();
    assert_eq!(
        all.iter().map(|t| t.ordinal).collect::<Vec<_>>(),
        (1..=60).collect::<Vec<_>>(),
        "none is numbered twice"
    );
    for (known, last) in missed {
        assert!(all.iter().all(|t| t.ordinal <= known || t.end > last), "of {last}, {known} were known");
    }
}
