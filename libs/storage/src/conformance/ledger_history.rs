use std::{collections::HashMap, sync::Arc};

use model::HOUR_MS;

use super::{Random, app, tenant};
use crate::{Commit, Ledger, LedgerError, Metastore, Pending, Topic, TouchedHour};

const PARTITIONS: u64 = 2;
const APPS: [&str; 2] = ["web", "ios"];

/// Random operations of two owners on two partitions, `steps` of them, against the simplest ledger that could be.
/// The seed decides everything but the epochs' ids.
pub async fn ledger_history(new: impl AsyncFn() -> Arc<dyn Metastore>, seed: u64, steps: usize) {
    let store = new().await;
    let topic = Topic { name: "events".into(), incarnation: seed };
    let mut random = Random(seed);
    let mut model = Model::default();
    for partition in 0..PARTITIONS {
        let state = store.claim(&topic, partition as u32, "a").await.unwrap();
        model.partitions.push(Partition {
            generation: state.generation,
            held: [state.generation; 2],
            ..Partition::default()
        });
    }
    for step in 0..steps {
        let op = Op::random(&mut random, &model);
        let expected = model.apply(&op);
        let outcome = perform(&*store, &topic, &op, &mut model).await;
        assert_eq!(outcome, expected, "seed {seed}, step {step}: {op:?}");
        compare(&*store, &topic, &mut model, &format!("seed {seed}, step {step}: {op:?}")).await;
    }
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Done,
    Fenced(u64),
    OutOfOrder,
}

#[derive(Debug)]
struct Op {
    partition: usize,
    owner: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    Claim,
    Begin { first: u64, last: u64, since_ms: i64 },
    Commit { end: u64, frontier_ms: i64, hours: Vec<(usize, i64)> },
    Advance { committed: u64, frontier_ms: i64 },
}

impl Op {
    /// Mostly what a worker would do next, at times something else.
    fn random(random: &mut Random, model: &Model) -> Self {
        let partition = random.below(PARTITIONS) as usize;
        let state = &model.partitions[partition];
        let stray = |random: &mut Random, right: u64| if random.one_in(6) { random.below(20) } else { right };
        // The frontier creeps: on, just before and just after the end of an hour are the places where mistakes live.
        let now_hour = state.frontier_ms.div_euclid(HOUR_MS);
        let frontier_ms = (now_hour + random.below(2) as i64) * HOUR_MS + random.below(3) as i64 - 1;
        let what = match random.below(10) {
            0 => What::Claim,
            1 | 2 => What::Advance { committed: stray(random, state.committed), frontier_ms },
            3..=5 => {
                let first = stray(random, state.committed);
                let right = state.pending.map_or(first + random.below(3), |(last, _)| last);
                What::Begin { first, last: stray(random, right), since_ms: random.below(1000) as i64 }
            }
            _ => {
                let right = state.pending.map_or(state.committed + 1, |(last, _)| last + 1);
                let hours = (0..random.below(4)).map(|_| {
                    let hour_ms = (now_hour + random.below(4) as i64 - 2) * HOUR_MS;
                    (random.below(APPS.len() as u64) as usize, hour_ms)
                });
                let hours = hours.collect();
                What::Commit { end: stray(random, right), frontier_ms, hours }
            }
        };
        Self { partition, owner: random.below(2) as usize, what }
    }
}

#[derive(Debug, Default)]
struct Partition {
    generation: u64,
    /// What each owner believes its generation to be.
    held: [u64; 2],
    committed: u64,
    pending: Option<(u64, i64)>,
    frontier_ms: i64,
}

#[derive(Default)]
struct Model {
    partitions: Vec<Partition>,
    epochs: HashMap<(usize, i64), u128>,
    /// Hours whose epochs the last operation must have changed.
    changed: Vec<(usize, i64)>,
}

impl Model {
    fn apply(&mut self, op: &Op) -> Outcome {
        self.changed.clear();
        let state = &mut self.partitions[op.partition];
        let fenced = state.held[op.owner] != state.generation;
        match &op.what {
            What::Claim => {}
            What::Begin { first, last, .. } if last < first => return Outcome::OutOfOrder,
            _ if fenced => return Outcome::Fenced(state.generation),
            What::Begin { first, last, since_ms } => {
                if *first != state.committed || state.pending.is_some_and(|(pending, _)| pending != *last) {
                    return Outcome::OutOfOrder;
                }
                state.pending.get_or_insert((*last, *since_ms));
            }
            What::Commit { end, frontier_ms, hours } => {
                if state.pending.is_none_or(|(last, _)| last + 1 != *end) {
                    return Outcome::OutOfOrder;
                }
                let ended = |hour_ms: i64| state.frontier_ms == 0 || hour_ms + HOUR_MS <= state.frontier_ms;
                self.changed.extend(hours.iter().copied().filter(|(_, hour_ms)| ended(*hour_ms)));
                state.committed = *end;
                state.pending = None;
                state.frontier_ms = state.frontier_ms.max(*frontier_ms);
            }
            What::Advance { committed, frontier_ms } => {
                if state.pending.is_some() || *committed != state.committed {
                    return Outcome::OutOfOrder;
                }
                state.frontier_ms = state.frontier_ms.max(*frontier_ms);
            }
        }
        Outcome::Done
    }
}

async fn perform(store: &dyn Ledger, topic: &Topic, op: &Op, model: &mut Model) -> Outcome {
    let state = &mut model.partitions[op.partition];
    let (partition, generation) = (op.partition as u32, state.held[op.owner]);
    let outcome = match &op.what {
        What::Claim => {
            let claimed = store.claim(topic, partition, ["a", "b"][op.owner]).await.unwrap();
            assert!(claimed.generation > state.generation);
            state.generation = claimed.generation;
            state.held[op.owner] = claimed.generation;
            return Outcome::Done;
        }
        What::Begin { first, last, since_ms } => {
            let pending = Pending { first: *first, last: *last, since_ms: *since_ms };
            store.begin(topic, partition, generation, pending).await
        }
        What::Commit { end, frontier_ms, hours } => {
            let hours = hours.iter().map(|(of, hour_ms)| TouchedHour {
                tenant: tenant("acme"),
                app: app(APPS[*of]),
                hour_ms: *hour_ms,
            });
            let commit = Commit { end: *end, frontier_ms: *frontier_ms, hours: hours.collect() };
            store.commit(topic, partition, generation, commit).await
        }
        What::Advance { committed, frontier_ms } => {
            store.advance(topic, partition, generation, *committed, *frontier_ms).await
        }
    };
    match outcome {
        Ok(()) => Outcome::Done,
        Err(LedgerError::Fenced { current, .. }) => Outcome::Fenced(current),
        Err(LedgerError::OutOfOrder { .. }) => Outcome::OutOfOrder,
        Err(error @ (LedgerError::Held { .. } | LedgerError::Meta(_))) => panic!("{error}"),
    }
}

/// Whether the store is where the model is, and exactly the expected epochs changed.
async fn compare(store: &dyn Ledger, topic: &Topic, model: &mut Model, context: &str) {
    for (stored, expected) in store.partitions(topic).await.unwrap().iter().zip(&model.partitions) {
        let pending = expected.pending.map(|(last, since_ms)| Pending { first: expected.committed, last, since_ms });
        let expected = (expected.generation, expected.committed, pending, expected.frontier_ms);
        assert_eq!((stored.generation, stored.committed, stored.pending, stored.frontier_ms), expected, "{context}");
    }
    let mut stored = HashMap::new();
    for (of, name) in APPS.iter().enumerate() {
        let epochs = store.epochs(topic, &tenant("acme"), &app(name), i64::MIN, i64::MAX).await.unwrap();
        stored.extend(epochs.hours.into_iter().map(|(hour_ms, epoch)| ((of, hour_ms), epoch)));
    }
    for (hour, epoch) in &stored {
        let same = model.epochs.get(hour) == Some(epoch);
        assert_eq!(same, !model.changed.contains(hour), "{context}: epoch of {hour:?}");
    }
    assert!(model.changed.iter().all(|hour| stored.contains_key(hour)), "{context}");
    assert!(model.epochs.keys().all(|hour| stored.contains_key(hour)), "{context}");
    model.epochs = stored;
}
