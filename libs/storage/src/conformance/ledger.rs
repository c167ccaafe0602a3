use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use model::{AppId, DAY_MS, HOUR_MS, TenantId};

use super::{app, tenant};
use crate::{
    Commit, Epochs, ExpiringDay, Ledger, LedgerError, MetaError, Metastore, PartitionState, Pending, Reached, Topic,
    TouchedHour,
};

/// The ledger's protocol, rule by rule.
pub async fn ledger(new: impl AsyncFn() -> Arc<dyn Metastore>) {
    a_claim_starts_at_zero_and_raises_the_generation(&*new().await).await;
    topics_and_their_lives_are_apart(&*new().await).await;
    a_partition_s_shard_changes_only_with_nothing_pending(&*new().await).await;
    a_range_is_pending_until_it_is_committed(&*new().await).await;
    beginning_the_same_range_again_changes_nothing(&*new().await).await;
    what_does_not_fit_is_refused(&*new().await).await;
    a_fenced_worker_changes_nothing(&*new().await).await;
    only_hours_that_had_ended_get_a_new_epoch(&*new().await).await;
    epochs_change_when_asked_to(&*new().await).await;
    a_mark_stands_until_something_comes_for_its_app(&*new().await).await;
    the_frontier_never_falls(&*new().await).await;
    only_an_idle_partition_advances(&*new().await).await;
    epochs_are_listed_for_one_app_and_range(&*new().await).await;
    readers_see_one_snapshot(new().await).await;
    of_racing_claims_each_gets_its_own_generation(new().await).await;
    of_racing_owners_only_the_last_commits(new().await).await;
    a_topics_lives_are_numbered(&*new().await).await;
    racing_callers_agree_on_a_topics_lives(new().await).await;
    a_day_expires_with_the_epochs_of_its_hours(&*new().await).await;
    one_has_a_lease_until_its_time_is_over(&*new().await).await;
}

fn topic() -> Topic {
    Topic { name: "events".into(), incarnation: u64::MAX - 1 }
}

fn pending(first: u64, last: u64) -> Pending {
    Pending { first, last, since_ms: 5 }
}

fn hour(number: i64) -> TouchedHour {
    TouchedHour { tenant: tenant("acme"), app: app("web"), hour_ms: number * HOUR_MS }
}

fn commit(end: u64, frontier_ms: i64, hours: &[i64]) -> Commit {
    Commit { end, frontier_ms, hours: hours.iter().copied().map(hour).collect() }
}

async fn state(store: &dyn Ledger) -> PartitionState {
    let mut all = store.partitions(&topic()).await.unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

async fn epochs(store: &dyn Ledger) -> HashMap<i64, u128> {
    let all = i64::MIN..i64::MAX;
    let epochs = store.epochs(&topic(), &tenant("acme"), &app("web"), all.start, all.end).await.unwrap();
    let Epochs { hours, reached, .. } = epochs;
    let states: Vec<_> = store.partitions(&topic()).await.unwrap().iter().map(Reached::from).collect();
    assert_eq!((&reached, &store.reached(&topic()).await.unwrap()), (&states, &states));
    assert!(hours.is_sorted_by(|a, b| a.0 < b.0));
    hours.into_iter().map(|(hour_ms, epoch)| (hour_ms / HOUR_MS, epoch)).collect()
}

#[track_caller]
fn assert_out_of_order(outcome: Result<(), LedgerError>) {
    assert!(matches!(outcome, Err(LedgerError::OutOfOrder { partition: 0, .. })), "{outcome:?}");
}

async fn a_claim_starts_at_zero_and_raises_the_generation(store: &dyn Ledger) {
    assert_eq!(store.partitions(&topic()).await.unwrap(), []);
    let first = store.claim(&topic(), 0, "a").await.unwrap();
    assert_eq!((first.committed, first.pending, first.frontier_ms), (0, None, 0));
    assert_eq!(first.owner, "a");
    store.begin(&topic(), 0, first.generation, pending(0, 9)).await.unwrap();
    let second = store.claim(&topic(), 0, "b").await.unwrap();
    assert!(second.generation > first.generation);
    assert_eq!((second.owner.as_str(), second.pending), ("b", Some(pending(0, 9))));
    assert_eq!(state(store).await, second);
}

async fn topics_and_their_lives_are_apart(store: &dyn Ledger) {
    let other_life = Topic { incarnation: 1, ..topic() };
    let other_name = Topic { name: "users".into(), ..topic() };
    for partition in [2, 0, 1] {
        store.claim(&topic(), partition, "a").await.unwrap();
    }
    let own = store.claim(&topic(), 0, "a").await.unwrap();
    store.begin(&topic(), 0, own.generation, pending(0, 0)).await.unwrap();
    for other in [other_life, other_name] {
        assert_eq!(store.partitions(&other).await.unwrap(), []);
        let new = store.claim(&other, 0, "b").await.unwrap();
        assert_eq!((new.committed, new.pending), (0, None));
    }
    let numbers: Vec<_> = store.partitions(&topic()).await.unwrap().iter().map(|p| p.partition).collect();
    assert_eq!(numbers, [0, 1, 2]);
    let all = store.partitions(&topic()).await.unwrap();
    assert_eq!(store.reached(&topic()).await.unwrap(), all.iter().map(Reached::from).collect::<Vec<_>>());
}

async fn a_partition_s_shard_changes_only_with_nothing_pending(store: &dyn Ledger) {
    let generation = store.claim(&topic(), 0, "a").await.unwrap().generation;
    assert_eq!(state(store).await.shard, 0);
    store.place(&topic(), 0, generation, 2).await.unwrap();
    store.begin(&topic(), 0, generation, pending(0, 9)).await.unwrap();
    assert_out_of_order(store.place(&topic(), 0, generation, 1).await);
    let heir = store.claim(&topic(), 0, "b").await.unwrap();
    assert_eq!(heir.shard, 2);
    store.commit(&topic(), 0, heir.generation, commit(10, 7, &[])).await.unwrap();
    let zombie = store.place(&topic(), 0, generation, 1).await;
    assert!(matches!(zombie, Err(LedgerError::Fenced { .. })), "{zombie:?}");
    assert_eq!(state(store).await.shard, 2);
    store.place(&topic(), 0, heir.generation, 1).await.unwrap();
    assert_eq!(state(store).await.shard, 1);
}

async fn a_range_is_pending_until_it_is_committed(store: &dyn Ledger) {
    let generation = store.claim(&topic(), 0, "a").await.unwrap().generation;
    store.begin(&topic(), 0, generation, pending(0, 9)).await.unwrap();
    assert_eq!(state(store).await.pending, Some(pending(0, 9)));
    store.commit(&topic(), 0, generation, commit(10, 7, &[])).await.unwrap();
    let after = state(store).await;
    assert_eq!((after.committed, after.pending, after.frontier_ms), (10, None, 7));
    store.begin(&topic(), 0, generation, pending(10, 10)).await.unwrap();
    store.commit(&topic(), 0, generation, commit(11, 8, &[])).await.unwrap();
    assert_eq!(state(store).await.committed, 11);
}

async fn beginning_the_same_range_again_changes_nothing(store: &dyn Ledger) {
    let generation = store.claim(&topic(), 0, "a").await.unwrap().generation;
    store.begin(&topic(), 0, generation, pending(0, 9)).await.unwrap();
    let later = Pending { since_ms: 500, ..pending(0, 9) };
    store.begin(&topic(), 0, generation, later).await.unwrap();
    assert_eq!(state(store).await.pending, Some(pending(0, 9)));
    let heir = store.claim(&topic(), 0, "b").await.unwrap().generation;
    store.begin(&topic(), 0, heir, later).await.unwrap();
    assert_eq!(state(store).await.pending, Some(pending(0, 9)));
}

async fn what_does_not_fit_is_refused(store: &dyn Ledger) {
    let generation = store.claim(&topic(), 0, "a").await.unwrap().generation;
    let idle = state(store).await;
    assert_out_of_order(store.begin(&topic(), 0, generation, pending(1, 9)).await);
    assert_out_of_order(store.begin(&topic(), 0, generation, Pending { first: 1, last: 0, since_ms: 0 }).await);
    assert_out_of_order(store.begin(&topic(), 0, generation, pending(0, u64::MAX)).await);
    for end in [0, 1, u64::MAX] {
        assert_out_of_order(store.commit(&topic(), 0, generation, commit(end, 9, &[])).await);
    }
    assert_eq!(state(store).await, idle);

    store.begin(&topic(), 0, generation, pending(0, 9)).await.unwrap();
    let busy = state(store).await;
    for last in [8, 10] {
        assert_out_of_order(store.begin(&topic(), 0, generation, pending(0, last)).await);
    }
    for end in [0, 9, 11] {
        assert_out_of_order(store.commit(&topic(), 0, generation, commit(end, 9, &[])).await);
    }
    let crooked = TouchedHour { hour_ms: HOUR_MS + 1, ..hour(0) };
    let crooked = Commit { hours: vec![hour(0), crooked], ..commit(10, 9, &[]) };
    assert_out_of_order(store.commit(&topic(), 0, generation, crooked).await);
    assert_eq!(state(store).await, busy);

    store.commit(&topic(), 0, generation, commit(10, 9, &[])).await.unwrap();
    assert_out_of_order(store.commit(&topic(), 0, generation, commit(10, 9, &[])).await);
    assert_out_of_order(store.begin(&topic(), 0, generation, pending(0, 9)).await);
    let unknown = store.begin(&topic(), 7, 1, pending(0, 9)).await;
    assert!(matches!(unknown, Err(LedgerError::Meta(MetaError::NotFound(_)))), "{unknown:?}");
}

async fn a_fenced_worker_changes_nothing(store: &dyn Ledger) {
    let zombie = store.claim(&topic(), 0, "a").await.unwrap().generation;
    store.advance(&topic(), 0, zombie, 0, HOUR_MS).await.unwrap();
    let heir = store.claim(&topic(), 0, "b").await.unwrap().generation;
    let fenced = |outcome: Result<(), LedgerError>| match outcome {
        Err(LedgerError::Fenced { partition: 0, held, current }) => assert_eq!((held, current), (zombie, heir)),
        outcome => panic!("{outcome:?}"),
    };
    let before = state(store).await;
    fenced(store.begin(&topic(), 0, zombie, pending(0, 9)).await);
    fenced(store.advance(&topic(), 0, zombie, 0, 2 * HOUR_MS).await);
    assert_eq!(state(store).await, before);
    store.begin(&topic(), 0, heir, pending(0, 9)).await.unwrap();
    let before = state(store).await;
    fenced(store.begin(&topic(), 0, zombie, pending(0, 9)).await);
    fenced(store.commit(&topic(), 0, zombie, commit(10, 2 * HOUR_MS, &[0])).await);
    assert_eq!(state(store).await, before);
    assert!(epochs(store).await.is_empty());
}

async fn only_hours_that_had_ended_get_a_new_epoch(store: &dyn Ledger) {
    let generation = store.claim(&topic(), 0, "a").await.unwrap().generation;
    // An hour ends at its start of the next; the frontier that counts is the one stored before the commit. Before the first there is none.
    let steps = [
        (HOUR_MS - 1, vec![0, 1, 2, 3]),
        (HOUR_MS, vec![]),
        (3 * HOUR_MS - 1, vec![-5, 0]),
        (3 * HOUR_MS, vec![-5, 0, 1]),
        (9 * HOUR_MS, vec![-5, 0, 1, 2]),
    ];
    let mut before = HashMap::new();
    let mut seen = HashSet::new();
    for (at, (frontier_ms, changed)) in (0u64..).zip(steps) {
        store.begin(&topic(), 0, generation, pending(at, at)).await.unwrap();
        let mut touched = commit(at + 1, frontier_ms, &[2, 0, 1, 3, 0]);
        if at >= 2 {
            touched.hours.push(hour(-5));
        }
        store.commit(&topic(), 0, generation, touched).await.unwrap();
        let after = epochs(store).await;
        let mut differing: Vec<i64> =
            after.iter().filter(|(hour, epoch)| before.get(*hour) != Some(*epoch)).map(|(hour, _)| *hour).collect();
        differing.sort_unstable();
        assert_eq!(differing, changed, "frontier {frontier_ms}");
        assert!(changed.iter().all(|hour| seen.insert(after[hour])), "an epoch id came twice");
        before = after;
    }
}

async fn epochs_change_when_asked_to(store: &dyn Ledger) {
    store.change_epochs(vec![]).await.unwrap();
    assert_eq!(epochs(store).await.len(), 0);
    store.change_epochs(vec![hour(5), hour(1_000_000), hour(5)]).await.unwrap();
    let first = epochs(store).await;
    assert_eq!(first.keys().copied().collect::<HashSet<_>>(), HashSet::from([5, 1_000_000]), "ended or not");
    store.change_epochs(vec![hour(5)]).await.unwrap();
    let second = epochs(store).await;
    assert!(second[&5] != first[&5] && second[&1_000_000] == first[&1_000_000]);
}

async fn a_mark_stands_until_something_comes_for_its_app(store: &dyn Ledger) {
    let (acme, beta, web, ios) = (tenant("acme"), tenant("beta"), app("web"), app("ios"));
    let marks = async || {
        let mark = async |of: &TenantId, app: &AppId| store.epochs(&topic(), of, app, 0, 0).await.unwrap().mark;
        [mark(&acme, &web).await, mark(&acme, &ios).await, mark(&beta, &web).await]
    };
    assert_eq!(marks().await, [None; 3]);
    for (of, app) in [(&acme, &web), (&acme, &ios), (&beta, &web), (&acme, &web)] {
        store.mark(of, app, 7).await.unwrap();
    }
    let first = marks().await;
    assert_eq!(first.iter().flatten().collect::<HashSet<_>>().len(), 3);
    store.mark(&acme, &web, 9).await.unwrap();
    let generation = store.claim(&topic(), 0, "a").await.unwrap().generation;
    store.advance(&topic(), 0, generation, 0, 100 * HOUR_MS).await.unwrap();
    store.begin(&topic(), 0, generation, pending(0, 9)).await.unwrap();
    store.change_epochs(vec![hour(3)]).await.unwrap();
    assert_eq!(marks().await, first, "it is nothing of these that they tell of");
    store.commit(&topic(), 0, generation, commit(10, 0, &[])).await.unwrap();
    assert_eq!(marks().await, first, "nothing was for them");
    // Of an hour that ended, of one that didn't, and of both.
    for (at, (hours, app)) in (10u64..).zip([(&[3][..], &web), (&[1_000], &ios), (&[3, 1_000], &web)]) {
        store.mark(&acme, app, 7).await.unwrap();
        let before = marks().await;
        store.begin(&topic(), 0, generation, pending(at, at)).await.unwrap();
        assert_eq!(marks().await, before);
        let mut touched = commit(at + 1, 0, hours);
        touched.hours.iter_mut().for_each(|hour| hour.app = app.clone());
        store.commit(&topic(), 0, generation, touched).await.unwrap();
        let lost = usize::from(*app == ios);
        let after = marks().await;
        assert_eq!(after[lost], None);
        assert!((0..3).filter(|mark| *mark != lost).all(|mark| after[mark] == before[mark]));
    }
    store.mark(&acme, &web, 2 * HOUR_MS).await.unwrap();
    let again = marks().await;
    assert!(again[0].is_some() && again[0] != first[0] && again[2] == first[2]);
    store.begin(&topic(), 0, generation, pending(13, 13)).await.unwrap();
    let mut others = commit(14, 2 * HOUR_MS, &[1_000]);
    others.hours[0].app = ios.clone();
    store.commit(&topic(), 0, generation, others).await.unwrap();
    assert_eq!(marks().await, [again[0], None, None], "an old one goes");
}

async fn the_frontier_never_falls(store: &dyn Ledger) {
    let generation = store.claim(&topic(), 0, "a").await.unwrap().generation;
    store.advance(&topic(), 0, generation, 0, 100).await.unwrap();
    store.advance(&topic(), 0, generation, 0, 99).await.unwrap();
    assert_eq!(state(store).await.frontier_ms, 100);
    store.begin(&topic(), 0, generation, pending(0, 0)).await.unwrap();
    store.commit(&topic(), 0, generation, commit(1, 50, &[])).await.unwrap();
    assert_eq!(state(store).await.frontier_ms, 100);
    assert_eq!(store.claim(&topic(), 0, "b").await.unwrap().frontier_ms, 100);
}

async fn only_an_idle_partition_advances(store: &dyn Ledger) {
    let generation = store.claim(&topic(), 0, "a").await.unwrap().generation;
    assert_out_of_order(store.advance(&topic(), 0, generation, 1, 100).await);
    store.begin(&topic(), 0, generation, pending(0, 3)).await.unwrap();
    for committed in [0, 4] {
        assert_out_of_order(store.advance(&topic(), 0, generation, committed, 100).await);
    }
    assert_eq!(state(store).await.frontier_ms, 0);
    store.commit(&topic(), 0, generation, commit(4, 0, &[])).await.unwrap();
    assert_out_of_order(store.advance(&topic(), 0, generation, 0, 100).await);
    store.advance(&topic(), 0, generation, 4, 100).await.unwrap();
    let after = state(store).await;
    assert_eq!((after.frontier_ms, after.committed, after.pending), (100, 4, None));
}

async fn epochs_are_listed_for_one_app_and_range(store: &dyn Ledger) {
    let generation = store.claim(&topic(), 0, "a").await.unwrap().generation;
    store.advance(&topic(), 0, generation, 0, 100 * HOUR_MS).await.unwrap();
    store.begin(&topic(), 0, generation, pending(0, 0)).await.unwrap();
    let mut touched = commit(1, 0, &[1, 2, 3, 4]);
    touched.hours.push(TouchedHour { app: app("ios"), ..hour(2) });
    touched.hours.push(TouchedHour { tenant: tenant("beta"), ..hour(2) });
    store.commit(&topic(), 0, generation, touched).await.unwrap();
    let hours = async |of: &str, id: &str, from: i64, to: i64| {
        let (of, id) = (tenant(of), app(id));
        let epochs = store.epochs(&topic(), &of, &id, from, to).await.unwrap();
        epochs.hours.iter().map(|(hour_ms, _)| hour_ms / HOUR_MS).collect::<Vec<_>>()
    };
    assert_eq!(hours("acme", "web", 2 * HOUR_MS, 4 * HOUR_MS).await, [2, 3]);
    assert_eq!(hours("acme", "web", 2 * HOUR_MS + 1, 4 * HOUR_MS + 1).await, [3, 4]);
    assert_eq!(hours("acme", "ios", 0, 9 * HOUR_MS).await, [2]);
    assert_eq!(hours("beta", "web", 0, 9 * HOUR_MS).await, [2]);
    assert_eq!(hours("beta", "ios", 0, 9 * HOUR_MS).await, [0; 0]);
    // What is known of an hour outlives the topic's life.
    let next_life = Topic { incarnation: 0, ..topic() };
    let kept = store.epochs(&next_life, &tenant("acme"), &app("ios"), 0, 9 * HOUR_MS).await.unwrap();
    assert_eq!((kept.hours.len(), kept.reached.len()), (1, 0));
}

async fn readers_see_one_snapshot(store: Arc<dyn Metastore>) {
    const COMMITS: u64 = 60;
    let generation = store.claim(&topic(), 0, "a").await.unwrap().generation;
    store.advance(&topic(), 0, generation, 0, 100 * HOUR_MS).await.unwrap();
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                loop {
                    let (topic, acme, web) = (topic(), tenant("acme"), app("web"));
                    let Epochs { hours, reached, .. } = store.epochs(&topic, &acme, &web, 0, HOUR_MS).await.unwrap();
                    seen.push((reached[0].committed, hours.first().map(|(_, epoch)| *epoch)));
                    if reached[0].committed == COMMITS {
                        return seen;
                    }
                }
            })
        })
        .collect();
    for at in 0..COMMITS {
        store.begin(&topic(), 0, generation, pending(at, at)).await.unwrap();
        store.commit(&topic(), 0, generation, commit(at + 1, 0, &[0])).await.unwrap();
    }
    // Each commit changes the hour's epoch: every committed offset goes with exactly one.
    let mut epoch_at = HashMap::new();
    for reader in readers {
        for (committed, epoch) in reader.await.unwrap() {
            assert_eq!(*epoch_at.entry(committed).or_insert(epoch), epoch, "at offset {committed}");
            assert_eq!(epoch.is_none(), committed == 0);
        }
    }
    assert_eq!(epoch_at.values().collect::<HashSet<_>>().len(), epoch_at.len());
}

async fn of_racing_claims_each_gets_its_own_generation(store: Arc<dyn Metastore>) {
    let racing: Vec<_> = (0..12)
        .map(|i| {
            let store = store.clone();
            tokio::spawn(async move { store.claim(&topic(), 0, &format!("w{i}")).await.unwrap() })
        })
        .collect();
    let mut claims = Vec::new();
    for task in racing {
        claims.push(task.await.unwrap());
    }
    assert_eq!(claims.iter().map(|claim| claim.generation).collect::<HashSet<_>>().len(), claims.len());
    let newest = claims.iter().max_by_key(|claim| claim.generation).unwrap();
    assert_eq!(state(&*store).await, *newest);
}

/// Eight that take the partition from one another while they work: whoever lost it changes nothing any more.
async fn of_racing_owners_only_the_last_commits(store: Arc<dyn Metastore>) {
    let start = Arc::new(tokio::sync::Barrier::new(8));
    let racing: Vec<_> = (0..8)
        .map(|i| {
            let (store, start) = (Arc::clone(&store), Arc::clone(&start));
            tokio::spawn(async move {
                let mut done = Vec::new();
                let mut last = 0;
                start.wait().await;
                for _ in 0..12 {
                    let claimed = store.claim(&topic(), 0, &format!("w{i}")).await.unwrap();
                    assert!(claimed.generation > last, "generations grow");
                    last = claimed.generation;
                    let range = claimed.pending.unwrap_or(pending(claimed.committed, claimed.committed));
                    let begun = store.begin(&topic(), 0, last, range).await;
                    let committed = match begun {
                        Ok(()) => store.commit(&topic(), 0, last, commit(range.last + 1, 0, &[])).await,
                        refused => refused,
                    };
                    match committed {
                        Ok(()) => done.push((last, range.last)),
                        Err(LedgerError::Fenced { held, current, .. }) => assert!(held == last && current > held),
                        Err(error) => panic!("{error}"),
                    }
                }
                (last, done)
            })
        })
        .collect();
    let (mut newest, mut done) = (0, Vec::new());
    for task in racing {
        let (last, of_task) = task.await.unwrap();
        newest = newest.max(last);
        done.extend(of_task);
    }
    // In the order of the generations the offsets follow one another: no two committed the same, none was passed over.
    done.sort_unstable();
    assert!(done.iter().map(|(_, offset)| *offset).eq(0..done.len() as u64), "{done:?}");
    let end = state(&*store).await;
    assert_eq!((end.generation, end.committed), (newest, done.len() as u64));
}

async fn a_topics_lives_are_numbered(store: &dyn Ledger) {
    let first = store.incarnation("events", "a", 1000).await.unwrap();
    assert_eq!(first, 1000);
    let second = store.incarnation("events", "b", 1000).await.unwrap();
    assert_eq!(second, 1001);
    assert_eq!(store.incarnation("events", "c", 5).await.unwrap(), 1002, "the clock fell");
    assert_eq!(store.incarnation("events", "d", 5000).await.unwrap(), 5000);
    assert_eq!(store.incarnation("events", "a", 9000).await.unwrap(), first);
    assert_eq!(store.incarnation("events", "b", 0).await.unwrap(), second);
    assert_eq!(store.incarnation("users", "a", 7).await.unwrap(), 7, "topics are apart");
    assert_eq!(store.incarnation("old", "a", -7).await.unwrap(), 0, "a clock before 1970");
    // A life that another kind of log numbered counts too.
    store.claim(&Topic { name: "moved".into(), incarnation: 8000 }, 0, "w").await.unwrap();
    assert_eq!(store.incarnation("moved", "a", 10).await.unwrap(), 8001);
}

async fn racing_callers_agree_on_a_topics_lives(store: Arc<dyn Metastore>) {
    let racing: Vec<_> = (0..16)
        .map(|i| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let identity = format!("life {}", i % 4);
                (store.incarnation("events", &identity, 1000).await.unwrap(), identity)
            })
        })
        .collect();
    let mut lives = HashMap::new();
    for task in racing {
        let (incarnation, identity) = task.await.unwrap();
        assert_eq!(*lives.entry(identity).or_insert(incarnation), incarnation);
    }
    let mut numbers: Vec<_> = lives.into_values().collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1000, 1001, 1002, 1003]);
}

async fn a_day_expires_with_the_epochs_of_its_hours(store: &dyn Ledger) {
    let day = |number: i64, id: &str| ExpiringDay { day_ms: number * DAY_MS, tenant: tenant("acme"), app: app(id) };
    let before = async |id: &str| store.expired_before(&tenant("acme"), &app(id)).await.unwrap();
    assert_eq!((before("web").await, store.expiring().await.unwrap()), (None, vec![]));
    for days in [vec![day(3, "web"), day(2, "web"), day(2, "ios")], vec![day(2, "web")], vec![]] {
        store.expire(&days).await.unwrap();
    }
    assert_eq!(store.expiring().await.unwrap(), [day(2, "ios"), day(2, "web"), day(3, "web")]);
    assert_eq!(
        (before("web").await, before("ios").await, before("tv").await),
        (Some(4 * DAY_MS), Some(3 * DAY_MS), None)
    );
    assert!(epochs(store).await.is_empty(), "nothing is gone yet");
    store.expired(&[day(2, "web"), day(2, "ios")]).await.unwrap();
    assert_eq!(store.expiring().await.unwrap(), [day(3, "web")]);
    let first = epochs(store).await;
    let mut hours: Vec<_> = first.keys().copied().collect();
    hours.sort_unstable();
    assert!(hours.into_iter().eq(48..72), "all hours of the day and no other");
    store.expired(&[day(2, "web")]).await.unwrap();
    assert!(epochs(store).await.iter().all(|(hour, epoch)| first[hour] != *epoch), "each time a new one");
    assert_eq!(before("web").await, Some(4 * DAY_MS), "it never falls");
}

async fn one_has_a_lease_until_its_time_is_over(store: &dyn Ledger) {
    let lease = async |owner: &str, now_ms| store.lease("sweep", owner, now_ms, now_ms + 10).await.unwrap();
    assert!(lease("a", 0).await && lease("a", 5).await);
    assert!(!lease("b", 14).await);
    assert!(lease("b", 15).await && !lease("a", 24).await);
    assert!(store.lease("other", "a", 15, 25).await.unwrap(), "names are apart");
}
