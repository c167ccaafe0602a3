use std::sync::Arc;

use model::{HOUR_MS, PropertyKind};

use super::{app, tenant};
use crate::{Commit, Metastore, Pending, Tenant, Topic, TouchedHour};

/// What a metastore is to several that open it, at once and one after another. `place` names a new empty one by its address.
pub async fn opening(place: impl AsyncFn() -> String) {
    what_was_written_is_there_when_it_is_opened_again(&place().await).await;
    many_may_open_a_new_one_at_once(&place).await;
    two_that_opened_it_keep_the_ledgers_order(&place().await).await;
}

async fn open(url: &str) -> Arc<dyn Metastore> {
    crate::open(url).await.unwrap()
}

async fn what_was_written_is_there_when_it_is_opened_again(url: &str) {
    let (acme, web) = (tenant("acme"), app("web"));
    let topic = Topic { name: "events".into(), incarnation: 3 };
    let tenant = Tenant { id: acme.clone(), display_name: "Acme".into(), created_at_ms: 1 };

    let store = open(url).await;
    store.create_tenant(&tenant).await.unwrap();
    let secret = store.secret("signing", || [7; 32]).await.unwrap();
    let life = store.incarnation("events", "a", 5).await.unwrap();
    store.register(&acme, &web, &[("price", PropertyKind::Number)], 10).await.unwrap();
    let generation = store.claim(&topic, 0, "w").await.unwrap().generation;
    store.advance(&topic, 0, generation, 0, HOUR_MS).await.unwrap();
    store.begin(&topic, 0, generation, Pending { first: 0, last: 4, since_ms: 9 }).await.unwrap();
    let hours = vec![TouchedHour { tenant: acme.clone(), app: web.clone(), hour_ms: 0 }];
    store.commit(&topic, 0, generation, Commit { end: 5, frontier_ms: 0, hours }).await.unwrap();
    store.begin(&topic, 0, generation, Pending { first: 5, last: 6, since_ms: 10 }).await.unwrap();
    let before = store.epochs(&topic, &acme, &web, 0, HOUR_MS).await.unwrap();
    assert_eq!(before.hours.len(), 1);
    drop(store); // not closed: as after a crash

    let store = open(url).await;
    assert_eq!(store.tenants().await.unwrap(), [tenant]);
    assert_eq!(store.secret("signing", || [8; 32]).await.unwrap(), secret);
    assert_eq!(store.incarnation("events", "a", 99).await.unwrap(), life);
    assert!(store.schema(&acme, &web).await.unwrap().slot("price", PropertyKind::Number).is_some());
    assert_eq!(store.epochs(&topic, &acme, &web, 0, HOUR_MS).await.unwrap(), before);
    assert!(store.claim(&topic, 0, "w").await.unwrap().generation > generation);
}

async fn many_may_open_a_new_one_at_once(place: &impl AsyncFn() -> String) {
    for _ in 0..5 {
        let url = place().await;
        let opening: Vec<_> = (0..6)
            .map(|_| {
                let url = url.clone();
                tokio::spawn(async move { open(&url).await })
            })
            .collect();
        let mut stores = Vec::new();
        for task in opening {
            stores.push(task.await.unwrap());
        }
        let tenant = Tenant { id: tenant("acme"), display_name: String::new(), created_at_ms: 0 };
        stores[0].create_tenant(&tenant).await.unwrap();
        for store in &stores {
            assert_eq!(store.tenants().await.unwrap(), std::slice::from_ref(&tenant));
        }
    }
}

async fn two_that_opened_it_keep_the_ledgers_order(url: &str) {
    let stores = [open(url).await, open(url).await];
    let topic = Topic { name: "events".into(), incarnation: 0 };
    // Two pools as two processes: each takes the partition from the other and goes on where the other stopped.
    for at in 0..20u64 {
        let store = &stores[at as usize % 2];
        let state = store.claim(&topic, 0, "w").await.unwrap();
        assert_eq!(state.committed, at);
        store.begin(&topic, 0, state.generation, Pending { first: at, last: at, since_ms: 0 }).await.unwrap();
        let commit = Commit { end: at + 1, frontier_ms: 0, hours: vec![] };
        store.commit(&topic, 0, state.generation, commit).await.unwrap();
    }
}
