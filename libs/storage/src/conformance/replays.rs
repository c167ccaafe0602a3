use std::sync::Arc;

use super::{app, tenant};
use crate::{
    Commit, LedgerError, LogRange, MetaError, Metastore, Pending, Rebuilt, Replay, ReplayClock, ReplayProgress,
    ReplayRequest, ReplayState, Replays, Topic,
};

/// Ranges of the log to replay: who is at it, what is noted, and that the pipeline stands still for it.
pub async fn replays(new: impl AsyncFn() -> Arc<dyn Metastore>) {
    a_request_comes_back_as_it_was_made_and_is_the_only_one(&*new().await).await;
    a_new_attempt_fences_the_one_before(&*new().await).await;
    what_is_finished_stays_so(&*new().await).await;
    a_page_goes_back_in_time(&*new().await).await;
    nothing_new_begins_under_a_hold(&*new().await).await;
    a_hold_outlives_its_attempt_until_it_is_let_go(&*new().await).await;
    no_range_begins_between_a_hold_and_what_it_reads(new().await).await;
}

fn topic() -> Topic {
    Topic { name: "events".into(), incarnation: u64::MAX - 1 }
}

fn request(id: &str) -> ReplayRequest {
    ReplayRequest {
        id: id.into(),
        topic: topic(),
        ranges: vec![LogRange { partition: 3, first: 7, end: 70 }, LogRange { partition: 0, first: 0, end: 1 }],
        requested_at_ms: 5,
        requested_by: "k1".into(),
    }
}

async fn ask(store: &dyn Replays, id: &str) -> Replay {
    store.request_replay(request(id)).await.unwrap()
}

fn pending(first: u64, last: u64) -> Pending {
    Pending { first, last, since_ms: 1 }
}

#[track_caller]
fn assert_fenced<T: std::fmt::Debug>(outcome: Result<T, MetaError>) {
    assert!(matches!(outcome, Err(MetaError::Conflict(_))), "{outcome:?}");
}

#[track_caller]
fn assert_held(outcome: Result<(), LedgerError>) {
    assert!(matches!(outcome, Err(LedgerError::Held { .. })), "{outcome:?}");
}

async fn a_request_comes_back_as_it_was_made_and_is_the_only_one(store: &dyn Metastore) {
    assert_eq!((store.open_replay().await.unwrap(), store.replay("r1").await.unwrap()), (None, None));
    let asked = ask(store, "r1").await;
    assert_eq!((&asked.request, asked.state, asked.attempt), (&request("r1"), ReplayState::Waiting, 0));
    assert_eq!(store.replay("r1").await.unwrap(), Some(asked.clone()));
    assert_eq!(store.open_replay().await.unwrap(), Some(asked));
    for id in ["r1", "r2"] {
        let refused = store.request_replay(request(id)).await;
        assert!(matches!(refused, Err(MetaError::AlreadyExists(_))), "{refused:?}");
    }
    let attempt = store.begin_replay("r1").await.unwrap().attempt;
    store.finish_replay("r1", attempt, ReplayState::Done, &ReplayProgress::default(), 6).await.unwrap();
    assert_eq!(store.open_replay().await.unwrap(), None);
    ask(store, "r2").await;
    let taken = store.request_replay(request("r1")).await;
    assert!(matches!(taken, Err(MetaError::AlreadyExists(_))), "{taken:?}");
}

async fn a_new_attempt_fences_the_one_before(store: &dyn Metastore) {
    assert_eq!(store.replay_clock().await.unwrap(), ReplayClock { attempts: 0, running: false });
    ask(store, "r1").await;
    assert_eq!(store.replay_clock().await.unwrap(), ReplayClock { attempts: 0, running: false });
    let old = store.begin_replay("r1").await.unwrap();
    assert_eq!((old.state, old.attempt), (ReplayState::Building, 1));
    assert_eq!(store.replay_clock().await.unwrap(), ReplayClock { attempts: 1, running: true });
    let mut progress = ReplayProgress { records: 9, message: "it's \"so\"".into(), ..ReplayProgress::default() };
    progress.rows.insert("events".into(), Rebuilt { before: 1, after: 2 });
    progress.touched.insert((86_400_000, tenant("acme"), app("web")));
    store.note_replay("r1", 1, &progress).await.unwrap();
    let new = store.begin_replay("r1").await.unwrap();
    assert_eq!((new.attempt, &new.progress), (2, &progress), "what was noted is known to who goes on");
    assert_fenced(store.note_replay("r1", 1, &ReplayProgress::default()).await);
    assert_fenced(store.hold("r1", 1, 4).await);
    assert_fenced(store.let_go("r1", 1).await);
    assert_fenced(store.finish_replay("r1", 1, ReplayState::Done, &progress, 6).await);
    assert_eq!(store.replay("r1").await.unwrap(), Some(new));
}

async fn what_is_finished_stays_so(store: &dyn Metastore) {
    ask(store, "r1").await;
    assert!(!store.begin_replay("r1").await.unwrap().to_cancel);
    assert!(store.cancel_replay("r1").await.unwrap().to_cancel);
    let progress = ReplayProgress { records: 3, ..ReplayProgress::default() };
    store.finish_replay("r1", 1, ReplayState::Cancelled, &progress, 77).await.unwrap();
    let finished = store.replay("r1").await.unwrap().unwrap();
    assert_eq!((finished.state, finished.finished_at_ms), (ReplayState::Cancelled, Some(77)));
    assert_eq!(finished.progress, progress);
    assert_fenced(store.begin_replay("r1").await);
    assert_fenced(store.cancel_replay("r1").await);
    assert_fenced(store.cancel_replay("never asked for").await);
    assert_fenced(store.note_replay("r1", 1, &ReplayProgress::default()).await);
    assert_fenced(store.finish_replay("r1", 1, ReplayState::Done, &progress, 78).await);
    assert_eq!(store.replay("r1").await.unwrap(), Some(finished));
    assert_eq!(store.replay_clock().await.unwrap(), ReplayClock { attempts: 1, running: false });
}

async fn a_page_goes_back_in_time(store: &dyn Metastore) {
    for (id, at_ms) in [("a", 1), ("b", 2), ("c", 2), ("d", 3)] {
        store.request_replay(ReplayRequest { requested_at_ms: at_ms, ..request(id) }).await.unwrap();
        store.begin_replay(id).await.unwrap();
        store.finish_replay(id, 1, ReplayState::Failed, &ReplayProgress::default(), 9).await.unwrap();
    }
    let page = async |before: Option<(i64, &str)>, most: u32| {
        let page = store.replays(before, most).await.unwrap();
        page.into_iter().map(|replay| replay.request.id).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 9).await, ["d", "c", "b", "a"]);
    assert_eq!(page(None, 2).await, ["d", "c"]);
    assert_eq!(page(Some((2, "c")), 9).await, ["b", "a"]);
    assert_eq!(page(Some((1, "a")), 9).await, [""; 0]);
}

async fn nothing_new_begins_under_a_hold(store: &dyn Metastore) {
    let busy = store.claim(&topic(), 0, "w").await.unwrap().generation;
    let idle = store.claim(&topic(), 1, "w").await.unwrap().generation;
    let other_life = Topic { incarnation: 1, ..topic() };
    let elsewhere = store.claim(&other_life, 0, "w").await.unwrap().generation;
    store.begin(&topic(), 0, busy, pending(0, 9)).await.unwrap();
    ask(store, "r1").await;
    store.begin_replay("r1").await.unwrap();
    store.hold("r1", 1, 3).await.unwrap();
    assert_eq!(store.replay("r1").await.unwrap().unwrap().state, ReplayState::Swapping);
    let states = store.partitions(&topic()).await.unwrap();
    assert_eq!(states.iter().map(|state| state.held).collect::<Vec<_>>(), [true; 3], "one that nobody claimed too");
    assert_held(store.begin(&topic(), 1, idle, pending(0, 4)).await);
    store.advance(&topic(), 1, idle, 0, 44).await.unwrap();
    store.begin(&other_life, 0, elsewhere, pending(0, 4)).await.unwrap();

    // What was pending is ended, by whoever owns it then.
    let taken_over = store.claim(&topic(), 0, "w2").await.unwrap();
    assert!(taken_over.held && taken_over.pending == Some(pending(0, 9)));
    let late = store.begin(&topic(), 0, busy, pending(0, 9)).await;
    assert!(matches!(late, Err(LedgerError::Fenced { .. })), "{late:?}");
    store.begin(&topic(), 0, taken_over.generation, pending(0, 9)).await.unwrap();
    let other = store.begin(&topic(), 0, taken_over.generation, pending(0, 8)).await;
    assert!(matches!(other, Err(LedgerError::OutOfOrder { .. })), "{other:?}");
    let commit = Commit { end: 10, frontier_ms: 1, hours: vec![] };
    store.commit(&topic(), 0, taken_over.generation, commit).await.unwrap();
    assert_held(store.begin(&topic(), 0, taken_over.generation, pending(10, 12)).await);
    let first_owner = store.claim(&topic(), 2, "w").await.unwrap().generation;
    assert_held(store.begin(&topic(), 2, first_owner, pending(0, 1)).await);

    store.let_go("r1", 1).await.unwrap();
    assert_eq!(store.replay("r1").await.unwrap().unwrap().state, ReplayState::Building);
    store.begin(&topic(), 0, taken_over.generation, pending(10, 12)).await.unwrap();
    store.begin(&topic(), 1, idle, pending(0, 4)).await.unwrap();
    assert!(store.partitions(&topic()).await.unwrap().iter().all(|state| !state.held));
}

async fn a_hold_outlives_its_attempt_until_it_is_let_go(store: &dyn Metastore) {
    let generation = store.claim(&topic(), 0, "w").await.unwrap().generation;
    ask(store, "r1").await;
    store.begin_replay("r1").await.unwrap();
    store.hold("r1", 1, 1).await.unwrap();
    store.begin_replay("r1").await.unwrap();
    assert_held(store.begin(&topic(), 0, generation, pending(0, 4)).await);
    assert_fenced(store.let_go("r1", 1).await);
    assert_held(store.begin(&topic(), 0, generation, pending(0, 4)).await);
    store.let_go("r1", 2).await.unwrap();
    store.begin(&topic(), 0, generation, pending(0, 4)).await.unwrap();
    store.hold("r1", 2, 1).await.unwrap();
    store.finish_replay("r1", 2, ReplayState::Failed, &ReplayProgress::default(), 6).await.unwrap();
    store.commit(&topic(), 0, generation, Commit { end: 5, frontier_ms: 1, hours: vec![] }).await.unwrap();
    store.begin(&topic(), 0, generation, pending(5, 6)).await.unwrap();
}

/// A worker and one who replays, side by side: once nothing is pending under a hold, nothing becomes so.
async fn no_range_begins_between_a_hold_and_what_it_reads(store: Arc<dyn Metastore>) {
    const HOLDS: usize = 20;
    let generation = store.claim(&topic(), 0, "w").await.unwrap().generation;
    let worker = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut first = 0;
            while !store.replay("r1").await.unwrap().is_some_and(|replay| replay.state.is_final()) {
                match store.begin(&topic(), 0, generation, pending(first, first)).await {
                    Ok(()) => first += 1,
                    Err(LedgerError::Held { .. }) => continue,
                    Err(error) => panic!("{error}"),
                }
                let commit = Commit { end: first, frontier_ms: 1, hours: vec![] };
                store.commit(&topic(), 0, generation, commit).await.unwrap();
            }
        })
    };
    ask(&*store, "r1").await;
    store.begin_replay("r1").await.unwrap();
    for _ in 0..HOLDS {
        store.hold("r1", 1, 1).await.unwrap();
        let mut still = store.partitions(&topic()).await.unwrap().remove(0);
        while still.pending.is_some() {
            still = store.partitions(&topic()).await.unwrap().remove(0);
        }
        for _ in 0..5 {
            assert_eq!(store.partitions(&topic()).await.unwrap()[0], still);
        }
        store.let_go("r1", 1).await.unwrap();
    }
    store.finish_replay("r1", 1, ReplayState::Done, &ReplayProgress::default(), 6).await.unwrap();
    worker.await.unwrap();
}
