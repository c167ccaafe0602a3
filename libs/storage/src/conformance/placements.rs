use std::sync::Arc;

use super::{app, tenant};
use crate::{
    App, ErasureRequest, Growing, Grown, LogRange, MetaError, Metastore, Pending, Placement, ReplayProgress,
    ReplayRequest, ReplayState, Tenant, Topic, Writer,
};

/// Where records are placed: how a topic grows, who writes to it, and that nobody acts by an older placement unheard.
pub async fn placements(new: impl AsyncFn() -> Arc<dyn Metastore>) {
    a_topic_begins_as_it_is_found(&*new().await).await;
    writers_are_known_until_they_are_forgotten(&*new().await).await;
    a_topic_grows_step_by_step(&*new().await).await;
    new_partitions_are_complete_as_far_as_those_before(&*new().await).await;
    a_cut_lies_behind_what_is_worked_on(&*new().await).await;
    nothing_is_cut_during_a_replay(&*new().await).await;
    an_erasure_is_put_where_the_user_is_now(&*new().await).await;
    no_range_begins_between_a_cut_and_what_it_reads(new().await).await;
}

fn topic() -> Topic {
    Topic { name: "events".into(), incarnation: u64::MAX - 1 }
}

fn writer(name: &str, version: u64) -> Writer {
    Writer { name: name.into(), version, holds_ms: 60_000, heard_ms: 5 }
}

#[track_caller]
fn assert_conflict<T: std::fmt::Debug>(outcome: Result<T, MetaError>) {
    assert!(matches!(outcome, Err(MetaError::Conflict(_))), "{outcome:?}");
}

/// Grows the topic from `from` partitions to `to`, cut at these ends.
async fn grow(store: &dyn Metastore, from: u32, to: u32, ends: &[u64]) -> Placement {
    store.placement(&topic(), from).await.unwrap();
    let announced = store.grow(&topic(), to).await.unwrap();
    let paused = store.pause(&topic(), announced.version, true).await.unwrap();
    store.cut(&topic(), paused.version, ends).await.unwrap()
}

async fn a_topic_begins_as_it_is_found(store: &dyn Metastore) {
    assert!(matches!(store.grow(&topic(), 8).await, Err(MetaError::NotFound(_))));
    assert_eq!(store.placement(&topic(), 4).await.unwrap(), Placement::new(4));
    assert_eq!(store.placement(&topic(), 8).await.unwrap(), Placement::new(4), "whatever it is taken for later");
    let other = Topic { incarnation: 3, ..topic() };
    assert_eq!(store.confirm(&other, 2, &writer("a", 0)).await.unwrap(), Placement::new(2));
}

async fn writers_are_known_until_they_are_forgotten(store: &dyn Metastore) {
    for (name, version) in [("b", 0), ("a", 0), ("b", 7)] {
        store.confirm(&topic(), 4, &writer(name, version)).await.unwrap();
    }
    assert_eq!(store.writers(&topic()).await.unwrap(), [writer("a", 0), writer("b", 7)]);
    let other = Topic { incarnation: 3, ..topic() };
    store.forget_writer(&other, "b").await.unwrap();
    for _ in 0..2 {
        store.forget_writer(&topic(), "a").await.unwrap();
    }
    assert_eq!(store.writers(&topic()).await.unwrap(), [writer("b", 7)]);
}

async fn a_topic_grows_step_by_step(store: &dyn Metastore) {
    store.placement(&topic(), 2).await.unwrap();
    for wrong in [0, 1, 3, 5] {
        assert_conflict(store.grow(&topic(), wrong).await);
    }
    assert_eq!(store.grow(&topic(), 2).await.unwrap(), Placement::new(2), "it is as large as that");
    let announced = store.grow(&topic(), 4).await.unwrap();
    assert_eq!((announced.growing, announced.partitions()), (Some(Growing { to: 4, paused: false }), 2));
    assert_eq!(store.grow(&topic(), 4).await.unwrap(), announced);
    assert_conflict(store.grow(&topic(), 8).await);
    assert_conflict(store.cut(&topic(), announced.version, &[1, 2]).await); // not paused
    assert_conflict(store.pause(&topic(), announced.version - 1, true).await);

    let paused = store.pause(&topic(), announced.version, true).await.unwrap();
    assert!(paused.version > announced.version && paused.growing == Some(Growing { to: 4, paused: true }));
    assert_conflict(store.pause(&topic(), paused.version, true).await);
    let resumed = store.pause(&topic(), paused.version, false).await.unwrap();
    assert_eq!(resumed.growing, Some(Growing { to: 4, paused: false }));
    assert_conflict(store.cut(&topic(), paused.version, &[1, 2]).await); // writers go on
    let paused = store.pause(&topic(), resumed.version, true).await.unwrap();
    assert_conflict(store.cut(&topic(), paused.version, &[1, 2, 3]).await); // it has two partitions
    assert_eq!(store.placement(&topic(), 2).await.unwrap(), paused);

    let grown = store.cut(&topic(), paused.version, &[10, 20]).await.unwrap();
    assert_conflict(store.cut(&topic(), paused.version, &[11, 21]).await);
    assert_eq!((grown.growing, grown.version), (None, paused.version + 1));
    assert_eq!(grown.grown, [Grown { to: 4, ends: vec![10, 20] }]);
    assert_eq!(store.confirm(&topic(), 2, &writer("a", 0)).await.unwrap(), grown);
    let twice = grow(store, 4, 12, &[11, 21, 3, u64::MAX >> 1]).await;
    assert_eq!((twice.first, twice.partitions()), (2, 12));
    assert_eq!(twice.ancestors(11), [(3, u64::MAX >> 1), (1, 20)]);
}

async fn new_partitions_are_complete_as_far_as_those_before(store: &dyn Metastore) {
    let generation = store.claim(&topic(), 0, "w").await.unwrap().generation;
    store.advance(&topic(), 0, generation, 0, 500).await.unwrap();
    grow(store, 2, 4, &[0, 0]).await;
    let states = store.partitions(&topic()).await.unwrap();
    let found: Vec<_> = states.iter().map(|s| (s.partition, s.committed, s.frontier_ms, s.held)).collect();
    // Nobody ever claimed partition 1: it has promised nothing.
    assert_eq!(found, [(0, 0, 500, false), (1, 0, 0, false), (2, 0, 500, false), (3, 0, 0, false)]);
    assert_eq!(store.claim(&topic(), 2, "w").await.unwrap().frontier_ms, 500);
}

async fn a_cut_lies_behind_what_is_worked_on(store: &dyn Metastore) {
    let generation = store.claim(&topic(), 1, "w").await.unwrap().generation;
    let pending = Pending { first: 0, last: 41, since_ms: 1 };
    store.begin(&topic(), 1, generation, pending).await.unwrap();
    let grown = grow(store, 2, 4, &[7, 40]).await;
    assert_eq!(grown.grown[0].ends, [7, 42]);
    let state = &store.partitions(&topic()).await.unwrap()[1];
    assert_eq!((state.generation, state.pending), (generation, Some(pending)), "the worker goes on");
}

async fn nothing_is_cut_during_a_replay(store: &dyn Metastore) {
    store.placement(&topic(), 2).await.unwrap();
    let announced = store.grow(&topic(), 4).await.unwrap();
    let paused = store.pause(&topic(), announced.version, true).await.unwrap();
    let ranges = vec![LogRange { partition: 0, first: 0, end: 1 }];
    let request =
        ReplayRequest { id: "r".into(), topic: topic(), ranges, requested_at_ms: 1, requested_by: "k".into() };
    store.request_replay(request).await.unwrap();
    assert_conflict(store.cut(&topic(), paused.version, &[1, 2]).await);
    let attempt = store.begin_replay("r").await.unwrap().attempt;
    store.finish_replay("r", attempt, ReplayState::Done, &ReplayProgress::default(), 2).await.unwrap();
    store.cut(&topic(), paused.version, &[1, 2]).await.unwrap();
}

async fn an_erasure_is_put_where_the_user_is_now(store: &dyn Metastore) {
    let (tenant, app) = (tenant("acme"), app("web"));
    store.create_tenant(&Tenant { id: tenant.clone(), display_name: String::new(), created_at_ms: 1 }).await.unwrap();
    let (display_name, time_zone) = (String::new(), "UTC".into());
    let (of, id) = (tenant.clone(), app.clone());
    store.create_app(&App { tenant: of, id, display_name, time_zone, created_at_ms: 1 }).await.unwrap();
    let request = |id: &str| ErasureRequest {
        id: id.into(),
        tenant: tenant.clone(),
        app: app.clone(),
        user_id: "ada".into(),
        requested_at_ms: 1,
        requested_by: "k".into(),
    };
    store.request_erasure(request("e1"), &topic(), 2, 1, 5).await.unwrap();
    grow(store, 2, 4, &[7, 40]).await;
    assert_conflict(store.request_erasure(request("e2"), &topic(), 2, 1, 40).await);
    assert!(store.erasure(&tenant, "e2").await.unwrap().is_none());
    store.request_erasure(request("e2"), &topic(), 4, 3, 0).await.unwrap();
    assert_eq!(store.tombstones(&topic(), 3, 0).await.unwrap().len(), 1);
}

/// A worker that begins a range and then asks for the placement misses no cut before the range's end.
async fn no_range_begins_between_a_cut_and_what_it_reads(store: Arc<dyn Metastore>) {
    let generation = store.claim(&topic(), 0, "w").await.unwrap().generation;
    store.placement(&topic(), 1).await.unwrap();
    let worker = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for end in 1..200 {
                let pending = Pending { first: end - 1, last: end - 1, since_ms: 1 };
                store.begin(&topic(), 0, generation, pending).await.unwrap();
                let placement = store.placement(&topic(), 1).await.unwrap();
                if let Some(grown) = placement.grown.first() {
                    return (end, Some(grown.ends[0]));
                }
                let commit = crate::Commit { end, frontier_ms: 0, hours: Vec::new() };
                store.commit(&topic(), 0, generation, commit).await.unwrap();
            }
            (200, None)
        }
    });
    let cut = grow(&*store, 1, 2, &[0]).await.grown[0].ends[0];
    let (end, seen) = worker.await.unwrap();
    assert!(seen.is_none_or(|seen| seen == cut), "{seen:?} {cut}");
    // What it began without having seen the cut lies before it.
    assert!(end - 1 <= cut, "ranges up to {end} were begun, the cut is at {cut}");
}
