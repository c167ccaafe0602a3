#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashSet};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::*;

const MIB: i64 = 1 << 20;
const LARGE: i64 = SMALL_BYTES as i64 + 1;

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn ask(name: &str, class: Priority, bytes: i64) -> Ask {
    Ask { tenant: tenant(name), class, bytes }
}

fn bounds(places: usize, tenant_places: usize) -> Bounds {
    let background_places = places.div_ceil(2);
    let (shared_tenant_places, waiting, tenant_waiting) = (tenant_places, 1_000, 500);
    Bounds { places, tenant_places, shared_tenant_places, background_places, waiting, tenant_waiting }
}

/// Who starts now, all at once.
fn started(fair: &mut Fair<&'static str>) -> String {
    std::iter::from_fn(|| fair.start(true)).map(|(_, name)| name).collect()
}

/// Lets one after the other run, each to its end.
fn order(fair: &mut Fair<&'static str>) -> Vec<&'static str> {
    std::iter::from_fn(|| {
        let (ask, name) = fair.start(true)?;
        fair.finish(&ask, None);
        Some(name)
    })
    .collect()
}

#[test]
fn tenants_take_turns_by_what_they_read_not_by_how_much_they_ask() {
    let mut fair = Fair::new(bounds(1, 1));
    for _ in 0..20 {
        fair.wait(&ask("large", Priority::Interactive, 4 * QUANTUM), "L").unwrap();
    }
    for _ in 0..80 {
        fair.wait(&ask("small", Priority::Interactive, QUANTUM), "s").unwrap();
    }
    let order = order(&mut fair);
    for (started, window) in order.chunks(10).enumerate() {
        let large = window.iter().filter(|name| **name == "L").count();
        assert!(
            (1..=3).contains(&large),
            "of ten starts two are for a tenant that reads four times as much: {started}"
        );
    }
}

#[test]
fn what_was_read_in_truth_is_charged() {
    let mut fair = Fair::new(bounds(1, 1));
    let says = QUANTUM / 2;
    for _ in 0..60 {
        fair.wait(&ask("honest", Priority::Interactive, says), "h").unwrap();
        fair.wait(&ask("sly", Priority::Interactive, says), "s").unwrap();
    }
    let mut started = BTreeMap::<_, i64>::new();
    for _ in 0..55 {
        let (ask, name) = fair.start(true).unwrap();
        *started.entry(name).or_default() += 1;
        fair.finish(&ask, Some(if name == "s" { 10 * says } else { says }));
    }
    assert!((40..=52).contains(&started["h"]), "ten for one: {started:?}");
}

#[test]
fn who_owes_and_comes_back_alone_starts_at_once() {
    let mut fair = Fair::new(bounds(1, 1));
    for _ in 0..3 {
        fair.wait(&ask("a", Priority::Interactive, MIB), "a").unwrap();
        let (ask, _) = fair.start(true).unwrap();
        fair.finish(&ask, Some(100 * QUANTUM));
    }
}

#[test]
fn the_urgent_start_first_and_nobody_starves() {
    let mut fair = Fair::new(bounds(1, 1));
    for _ in 0..30 {
        fair.wait(&ask("a", Priority::Interactive, MIB), "i").unwrap();
        fair.wait(&ask("b", Priority::Scheduled, MIB), "s").unwrap();
        fair.wait(&ask("c", Priority::Background, MIB), "b").unwrap();
    }
    let order = order(&mut fair);
    let patience = PATIENCE as usize;
    assert_eq!(order[..patience], vec!["i"; patience]);
    for window in order[..30].windows(2 * (patience + 1)) {
        assert!(window.contains(&"s") && window.contains(&"b"), "{window:?}");
        assert!(window.iter().filter(|name| **name == "i").count() >= patience + 3);
    }
}

#[test]
fn the_less_urgent_leave_places() {
    let mut fair = Fair::new(bounds(8, 8));
    for _ in 0..10 {
        fair.wait(&ask("a", Priority::Background, MIB), "b").unwrap();
        fair.wait(&ask("b", Priority::Scheduled, MIB), "s").unwrap();
    }
    assert_eq!(std::iter::from_fn(|| fair.start(false)).filter(|(_, name)| *name == "s").count(), 6);
    assert_eq!(std::iter::from_fn(|| fair.start(true)).filter(|(_, name)| *name == "b").count(), 2);
    let mut alone = Fair::new(bounds(8, 8));
    for _ in 0..10 {
        alone.wait(&ask("a", Priority::Background, MIB), "b").unwrap();
    }
    assert!(alone.start(false).is_none());
    assert_eq!(std::iter::from_fn(|| alone.start(true)).count(), 4);
}

#[test]
fn a_tenant_has_many_places_alone_and_few_while_others_ask_too() {
    let mut fair = Fair::new(Bounds { shared_tenant_places: 1, ..bounds(16, 4) });
    let (noisy, small) = (ask("noisy", Priority::Interactive, LARGE), ask("small", Priority::Interactive, MIB));
    for _ in 0..100 {
        fair.wait(&noisy, "n").unwrap();
    }
    assert_eq!(started(&mut fair), "nnnn");
    fair.wait(&small, "s").unwrap();
    assert_eq!(started(&mut fair), "s", "it need not wait for any of them");
    fair.finish(&small, None);
    for _ in 0..3 {
        fair.finish(&noisy, None);
        assert_eq!(started(&mut fair), "", "it has more than it may by now");
    }
    assert!(fair.standing(&noisy.tenant, Priority::Interactive, None).tenant_full);
    // The other one asks no more, and after a while that counts.
    for _ in 0..RECENT - 1 {
        fair.finish(&noisy, None);
        assert_eq!(started(&mut fair), "n");
    }
    fair.finish(&noisy, None);
    assert_eq!(started(&mut fair), "nnnn");
}

#[test]
fn a_small_query_takes_a_core_that_is_idle() {
    let mut fair = Fair::new(Bounds { shared_tenant_places: 1, ..bounds(16, 4) });
    let small = |name| ask(name, Priority::Interactive, MIB);
    let large = ask("a", Priority::Interactive, LARGE);
    for who in ["a", "b"] {
        fair.wait(&small(who), who).unwrap();
    }
    assert_eq!(started(&mut fair), "ab");
    for (ask, name) in [(small("a"), "a"), (large.clone(), "A"), (small("b"), "b")] {
        fair.wait(&ask, name).unwrap();
    }
    assert_eq!(started(&mut fair), "", "both cores are taken, and so is the place of each");
    fair.finish(&small("b"), None);
    assert_eq!(started(&mut fair), "b", "whose place it is comes first");
    fair.finish(&small("b"), None);
    assert_eq!(started(&mut fair), "a", "of two that a has at once, one is small");
    fair.finish(&small("a"), None);
    assert_eq!(started(&mut fair), "", "a large query isn't for an idle core: it may take both, and for long");
    fair.finish(&small("a"), None);
    assert_eq!(started(&mut fair), "A");
    fair.wait(&small("b"), "b").unwrap();
    assert_eq!(started(&mut fair), "b", "its own place is free whatever runs");
}

#[test]
fn the_queue_is_bounded_for_each_and_for_all() {
    let mut fair = Fair::new(Bounds { waiting: 3, tenant_waiting: 2, ..bounds(1, 1) });
    let (a, b) = (ask("a", Priority::Interactive, MIB), ask("b", Priority::Interactive, MIB));
    fair.wait(&a, ()).unwrap();
    let last = fair.wait(&a, ()).unwrap();
    assert_eq!(fair.wait(&ask("a", Priority::Background, MIB), ()), Err(Full::Tenant));
    fair.wait(&b, ()).unwrap();
    assert_eq!(fair.wait(&b, ()), Err(Full::House));
    fair.cancel(&a, last);
    fair.wait(&b, ()).unwrap();
}

#[test]
fn a_standing_counts_who_starts_before() {
    let mut fair = Fair::new(bounds(1, 1));
    for _ in 0..5 {
        fair.wait(&ask("a", Priority::Interactive, MIB), ()).unwrap();
    }
    let number = fair.wait(&ask("b", Priority::Interactive, MIB), ()).unwrap();
    let standing = fair.standing(&tenant("b"), Priority::Interactive, Some(number));
    assert_eq!((standing.before, standing.own_before), (1, 0), "the others' second come after b's first");
    assert_eq!(fair.standing(&tenant("a"), Priority::Interactive, None).before, 6);
    assert_eq!(fair.standing(&tenant("c"), Priority::Scheduled, None).before, 6);
}

/// What the queue says of itself against what a book says that knows nothing of turns.
#[test]
fn random_crowds_are_served_fairly_and_leave_no_trace() {
    let seed = std::env::var("PENSTOCK_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("PENSTOCK_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..200 {
        crowd(&mut random);
    }
}

fn crowd(random: &mut StdRng) {
    let names = ["a", "b", "c", "d"];
    let (places, tenant_places) = (random.random_range(1..6), random.random_range(1..6));
    let most = random.random_range(1..4) * QUANTUM;
    let mut fair = Fair::new(bounds(places, tenant_places));
    // Whoever waits, by the name that it is told by.
    let mut waiting: BTreeMap<usize, (Ask, u64)> = BTreeMap::new();
    let mut running: Vec<(Ask, i64)> = Vec::new();
    // What each was charged since all of those in `rivals` have waited without a break, in one class, below their own bound.
    let mut charged = BTreeMap::<&str, i64>::new();
    let mut rivals: HashSet<&str> = HashSet::new();
    for step in 0..2_000 {
        match random.random_range(0..10) {
            0..5 => {
                let class = if random.random_range(0..8) == 0 { Priority::Scheduled } else { Priority::Interactive };
                let ask = ask(names.choose(random).unwrap(), class, random.random_range(1..=most));
                if let Ok(number) = fair.wait(&ask, step) {
                    waiting.insert(step, (ask, number));
                }
            }
            5 if !waiting.is_empty() => {
                let name = *waiting.keys().nth(random.random_range(0..waiting.len())).unwrap();
                let (ask, number) = waiting.remove(&name).unwrap();
                fair.cancel(&ask, number);
                fair.cancel(&ask, number); // again changes nothing
            }
            6..9 if !running.is_empty() => {
                let (ask, read) = running.swap_remove(random.random_range(0..running.len()));
                let told = random.random::<bool>().then_some(read);
                fair.finish(&ask, told);
                let name = names.into_iter().find(|name| *name == ask.tenant.as_str()).unwrap();
                if let (Some(read), Priority::Interactive) = (told, ask.class) {
                    *charged.entry(name).or_default() += read - ask.bytes;
                }
            }
            _ => {
                let Some((ask, told)) = fair.start(random.random()) else { continue };
                let (waiter, _) = waiting.remove(&told).expect("only who waits may start");
                assert_eq!(ask, waiter, "each is told of its own start");
                let name = names.into_iter().find(|name| *name == ask.tenant.as_str()).unwrap();
                if ask.class == Priority::Interactive {
                    *charged.entry(name).or_default() += ask.bytes;
                }
                let read = random.random_range(1..=most);
                running.push((ask, read));
            }
        }
        assert_eq!((fair.running(), fair.waiting()), (running.len(), waiting.len()));
        assert!(running.len() <= places, "no more run than there are places");
        let of = |name: &str| running.iter().filter(|(ask, _)| ask.tenant.as_str() == name).count();
        assert!(names.iter().all(|name| of(name) <= tenant_places), "nor of one tenant");
        let queued = |name: &str| {
            waiting.values().any(|(ask, _)| ask.tenant.as_str() == name && ask.class == Priority::Interactive)
        };
        let now: HashSet<_> = names.into_iter().filter(|name| queued(name) && of(name) < tenant_places).collect();
        if now != rivals {
            (rivals, charged) = (now, BTreeMap::new());
        }
        // Deficit round robin's own bound; and for each place, of both tenants, what a query was corrected by just before they
        // began to wait, and what one that ran then will be.
        let bound = 2 * (QUANTUM + most) + 4 * places as i64 * most;
        let of = |name: &str| charged.get(name).copied().unwrap_or(0);
        for one in &rivals {
            for other in &rivals {
                assert!(of(one) - of(other) <= bound, "{one} got {} more than {other}", of(one) - of(other));
            }
        }
    }
    for (ask, number) in waiting.into_values() {
        fair.cancel(&ask, number);
    }
    for (ask, read) in running {
        fair.finish(&ask, Some(read));
    }
    assert_eq!((fair.running(), fair.waiting(), fair.tenants.len()), (0, 0, 0));
    assert!(fair.lanes.iter().all(|lane| lane.ring.is_empty()));
    // Debts alone are kept, and go as others are served.
    for _ in 0..200 {
        for class in [Priority::Interactive, Priority::Scheduled] {
            let one = ask("z", class, 10 * most);
            fair.wait(&one, 0).unwrap();
            let (started, _) = fair.start(true).unwrap();
            fair.finish(&started, None);
        }
    }
    assert!(fair.lanes.iter().all(|lane| lane.lines.is_empty()), "{:?}", fair.lanes);
}
