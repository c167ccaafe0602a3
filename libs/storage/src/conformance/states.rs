use std::sync::Arc;

use model::HOUR_MS;

use super::{app, tenant};
use crate::{BucketState, Metastore, STATES_LAST_MS, Topic};

/// What is known of states of buckets.
pub async fn states(new: impl AsyncFn() -> Arc<dyn Metastore>) {
    what_is_kept_comes_back_until_it_is_old(&*new().await).await;
    the_ledger_says_whether_an_app_has_any(&*new().await).await;
    nothing_outlives_its_life(&*new().await).await;
}

const NOW_MS: i64 = 1_000 * HOUR_MS;

fn state(hour: i64, epochs: &str, piece: i64) -> BucketState {
    BucketState { bucket_ms: hour * HOUR_MS, length_ms: HOUR_MS, epochs: epochs.into(), piece }
}

async fn kept(store: &dyn Metastore, shape: &str, hours: (i64, i64)) -> Vec<BucketState> {
    let times = (hours.0 * HOUR_MS, hours.1 * HOUR_MS);
    let (acme, web) = (tenant("acme"), app("web"));
    store.states(&acme, &web, shape, times, NOW_MS - STATES_LAST_MS).await.unwrap().1
}

async fn what_is_kept_comes_back_until_it_is_old(store: &dyn Metastore) {
    let (acme, web) = (tenant("acme"), app("web"));
    let all = [state(1, "a", 1), state(2, "b", i64::MAX), BucketState { length_ms: 24 * HOUR_MS, ..state(2, "c", 3) }];
    assert!(store.keep_states(&acme, &web, "s", 0, NOW_MS, &all).await.unwrap());
    assert_eq!(kept(store, "s", (1, 3)).await, all);
    assert_eq!(kept(store, "s", (1, 2)).await, all[..1]);
    assert_eq!((kept(store, "s", (3, 9)).await, kept(store, "other", (0, 9)).await), (vec![], vec![]));
    for (tenant, app) in [(tenant("beta"), web.clone()), (acme.clone(), app("ios"))] {
        let others = store.states(&tenant, &app, "s", (0, i64::MAX), 0).await.unwrap();
        assert_eq!(others, (0, vec![]), "each has its own");
    }
    // The newest of a bucket counts; what was kept too long ago does not, and goes with the next that is kept.
    assert!(store.keep_states(&acme, &web, "s", 0, NOW_MS - STATES_LAST_MS, &[state(7, "x", 7)]).await.unwrap());
    assert_eq!(kept(store, "s", (7, 8)).await, [state(7, "x", 7)]);
    assert!(store.keep_states(&acme, &web, "s", 0, NOW_MS + 1, &[state(1, "d", 9)]).await.unwrap());
    assert_eq!(kept(store, "s", (1, 2)).await, [state(1, "d", 9)]);
    let ever = store.states(&acme, &web, "s", (0, i64::MAX), i64::MIN).await.unwrap().1;
    assert_eq!(ever.len(), 3, "{ever:?}");
}

async fn the_ledger_says_whether_an_app_has_any(store: &dyn Metastore) {
    let topic = Topic { name: "raw-events".into(), incarnation: 1 };
    let has = async |tenant, app| store.epochs(&topic, &tenant, &app, 0, 0).await.unwrap().has_states;
    let each = async || [has(tenant("acme"), app("web")).await, has(tenant("acme"), app("ios")).await];
    assert_eq!(each().await, [false; 2]);
    assert!(store.keep_states(&tenant("acme"), &app("web"), "s", 0, NOW_MS, &[state(1, "a", 1)]).await.unwrap());
    assert_eq!(each().await, [true, false]);
    store.end_states(&tenant("acme"), &app("web")).await.unwrap();
    assert_eq!(each().await, [false; 2]);
}

async fn nothing_outlives_its_life(store: &dyn Metastore) {
    let (acme, web) = (tenant("acme"), app("web"));
    assert_eq!(store.states_life(&acme, &web).await.unwrap(), 0);
    assert!(store.keep_states(&acme, &web, "s", 0, NOW_MS, &[state(1, "a", 1)]).await.unwrap());
    assert_eq!(store.end_states(&acme, &web).await.unwrap(), 1);
    assert_eq!(kept(store, "s", (0, 9)).await, []);
    assert!(!store.keep_states(&acme, &web, "s", 0, NOW_MS, &[state(2, "a", 2)]).await.unwrap());
    assert!(store.keep_states(&acme, &web, "s", 1, NOW_MS, &[state(3, "a", 3)]).await.unwrap());
    assert_eq!(store.states(&acme, &web, "s", (0, i64::MAX), 0).await.unwrap(), (1, vec![state(3, "a", 3)]));
    assert_eq!(
        (store.states_life(&acme, &web).await.unwrap(), store.states_life(&acme, &app("ios")).await.unwrap()),
        (1, 0)
    );
    assert_eq!(store.end_states(&acme, &web).await.unwrap(), 2);
}
