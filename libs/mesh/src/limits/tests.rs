use async_trait::async_trait;
use bytes::Bytes;
use storage::Quota;
use tokio::{sync::broadcast, time::advance};

use super::*;

/// A bucket as Redis keeps it, and its processes; it can be away, and forget.
#[derive(Default)]
struct Shared {
    /// When everything that was taken is paid for, in seconds after the start.
    paid: Mutex<HashMap<String, f64>>,
    start: Mutex<Option<Instant>>,
    names: Mutex<std::collections::BTreeSet<String>>,
    is_away: AtomicBool,
    leases: AtomicU64,
}

#[async_trait]
impl Cache for Shared {
    async fn get(&self, _: &str) -> Option<Bytes> {
        None
    }
    async fn set(&self, _: &str, _: Bytes, _: Duration) {}
    async fn delete(&self, _: &str) {}
    fn deleted(&self) -> broadcast::Receiver<String> {
        broadcast::channel(1).1
    }
    async fn lease(&self, bucket: &str, ask: &Ask) -> Option<Lease> {
        tokio::task::yield_now().await; // others get to run, as while Redis is asked
        if self.is_away.load(Ordering::Relaxed) {
            return None;
        }
        self.leases.fetch_add(1, Ordering::Relaxed);
        let now = self.start.lock().get_or_insert_with(Instant::now).elapsed().as_secs_f64();
        let mut all = self.paid.lock();
        let (paid, rate, burst) = (all.entry(bucket.to_owned()).or_default(), ask.per_second as f64, ask.burst as f64);
        *paid = paid.max(now);
        *paid = paid.max((*paid + ask.missed as f64 / rate).min(now + burst / rate)) + ask.owed as f64 / rate;
        let room = ((now - *paid) * rate + burst + 0.001).floor();
        if room < ask.least as f64 {
            return Some(Lease::Later(Duration::from_secs_f64((ask.least as f64 - room) / rate)));
        }
        let given = room.min(ask.most as f64);
        *paid += given / rate;
        Some(Lease::Units(given as u64))
    }
    async fn present(&self, _: &str, name: &str) -> Option<u64> {
        if self.is_away.load(Ordering::Relaxed) {
            return None;
        }
        self.names.lock().insert(name.to_owned());
        Some(self.names.lock().len() as u64)
    }
    async fn claim(&self, _: &str, _: &str, _: Duration) -> bool {
        true
    }
    async fn release(&self, _: &str, _: &str) {}
}

const RATE: Rate = Rate { per_second: 100, burst: 200 };

fn tenant() -> Holder {
    (&TenantId::new("a").unwrap()).into()
}

/// Processes that share.
async fn processes(cache: &Arc<Shared>, many: usize) -> Vec<(Arc<Limits>, Limit)> {
    let new = |_| {
        let limits = Arc::new(Limits::new(Arc::clone(cache) as _, "test", 0));
        let limit = Limit::new(&limits, "units_per_second", "units");
        (limits, limit)
    };
    let all: Vec<_> = (0..many).map(new).collect();
    hear(&all).await;
    all
}

async fn hear(all: &[(Arc<Limits>, Limit)]) {
    // Twice: the first knows of the last only then.
    for (i, (limits, _)) in all.iter().enumerate().chain(all.iter().enumerate()) {
        limits.hear(&i.to_string()).await;
    }
}

/// What all let in within so many seconds, asked for units of this size every ms and process.
async fn let_in(all: &[(Arc<Limits>, Limit)], size: u64, seconds: u64) -> Vec<u64> {
    let mut let_in = vec![0; all.len()];
    for _ in 0..seconds * 1_000 {
        for (i, (_, limit)) in all.iter().enumerate() {
            if limit.take(&tenant(), RATE, size).await.is_ok() {
                let_in[i] += size;
            }
        }
        advance(Duration::from_millis(1)).await;
    }
    let_in
}

#[tokio::test(start_paused = true)]
async fn processes_let_one_burst_in_together_and_then_the_rate() {
    for size in [1, 3, 50] {
        let cache = Arc::<Shared>::default();
        let all = processes(&cache, 3).await;
        let sum: u64 = let_in(&all, size, 10).await.iter().sum();
        // Not less than a lease for each process that isn't spent, and what didn't fit.
        assert!((1_200 - 3 * 12 - size..=1_200).contains(&sum), "{sum} of 1200 in units of {size}");
        // Not one for each call: of 30,000.
        let leases = cache.leases.load(Ordering::Relaxed);
        assert!(leases < 3 * 10 * 110, "{leases} leases");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_within_its_limit_asks_ten_times_a_second_at_most() {
    let cache = Arc::<Shared>::default();
    let all = processes(&cache, 1).await;
    let rate = Rate { per_second: 2_000, burst: 4_000 };
    for _ in 0..10_000 {
        all[0].1.take(&tenant(), rate, 1).await.unwrap();
        advance(Duration::from_millis(1)).await;
    }
    let leases = cache.leases.load(Ordering::Relaxed);
    assert!(leases <= 51, "{leases} leases for 10000 calls in 10 s");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_when_and_it_is_so_for_any_size() {
    let cache = Arc::<Shared>::default();
    let all = processes(&cache, 2).await;
    let (a, b) = (&all[0].1, &all[1].1);
    let (t, other) = (tenant(), Holder::from(&TenantId::new("b").unwrap()));
    a.take(&t, RATE, 200).await.unwrap();
    assert_eq!(b.take(&t, RATE, 50).await, Err(OverRate::For(Duration::from_millis(500))));
    let before = cache.leases.load(Ordering::Relaxed);
    assert_eq!(b.take(&t, RATE, 100).await, Err(OverRate::For(Duration::from_secs(1))));
    assert_eq!(cache.leases.load(Ordering::Relaxed), before, "it is known without asking");
    assert_eq!(b.take(&t, RATE, 201).await, Err(OverRate::Always));
    b.take(&other, RATE, 200).await.unwrap();
    advance(Duration::from_millis(500)).await;
    b.take(&t, RATE, 50).await.unwrap();

    let refused = b.refusal(&t, RATE, Duration::from_millis(500));
    let limit = refused.limit.unwrap();
    assert_eq!((&*limit.subject, &*limit.name, limit.value), ("tenants/a", "units_per_second", 100));
    assert_eq!((&*limit.unit, refused.retry_after), ("units", Some(Duration::from_millis(501))));
}

#[tokio::test(start_paused = true)]
async fn while_the_cache_is_away_each_lets_its_part_in_and_owes_it_afterwards() {
    let cache = Arc::<Shared>::default();
    let all = processes(&cache, 2).await;
    assert!(let_in(&all, 1, 10).await.iter().sum::<u64>() <= 1_200);
    cache.is_away.store(true, Ordering::Relaxed);
    let away = let_in(&all, 1, 10).await;
    // A burst more at most: a process that had let less in than its part still may.
    assert!(away.iter().all(|units| (490..=600).contains(units)), "{away:?} of 500 each");
    // It comes back and knows nothing.
    cache.is_away.store(false, Ordering::Relaxed);
    cache.paid.lock().clear();
    hear(&all).await;
    let back: u64 = let_in(&all, 1, 10).await.iter().sum();
    assert!((970..=1_030).contains(&back), "{back}: no second burst");
}

#[tokio::test(start_paused = true)]
async fn a_short_absence_of_a_cache_that_forgets_nothing_costs_nobody_anything() {
    let cache = Arc::<Shared>::default();
    let all = processes(&cache, 2).await;
    let_in(&all, 1, 10).await;
    cache.is_away.store(true, Ordering::Relaxed);
    assert!(let_in(&all, 1, 1).await.iter().sum::<u64>() >= 90);
    cache.is_away.store(false, Ordering::Relaxed);
    hear(&all).await;
    let back: u64 = let_in(&all, 1, 10).await.iter().sum();
    assert!((970..=1_030).contains(&back), "{back}");
}

#[tokio::test(start_paused = true)]
async fn what_was_used_beyond_the_burst_is_paid_before_anything_else_by_all() {
    let cache = Arc::<Shared>::default();
    let all = processes(&cache, 2).await;
    let (a, b) = (&all[0].1, &all[1].1);
    a.take(&tenant(), RATE, 10).await.unwrap();
    a.owe(&tenant(), RATE, 190 + 100);
    // What it had leased beside the ten pays a part of it.
    let Err(OverRate::For(wait)) = a.take(&tenant(), RATE, 10).await else { panic!("it is in debt") };
    assert!((1_000..=1_110).contains(&wait.as_millis()), "{wait:?}");
    assert!(b.take(&tenant(), RATE, 1).await.is_err(), "nobody else is asked in vain");
    advance(wait).await;
    a.take(&tenant(), RATE, 10).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_given_back_can_be_taken_again_and_a_changed_rate_works_at_once() {
    for many in [0, 1] {
        let cache = Arc::<Shared>::default();
        let all = processes(&cache, 1).await;
        all[0].0.is_shared.store(many > 0, Ordering::Relaxed);
        let limit = &all[0].1;
        limit.take(&tenant(), RATE, 200).await.unwrap();
        assert!(limit.take(&tenant(), RATE, 20).await.is_err());
        limit.give_back(&tenant(), RATE, 20);
        limit.take(&tenant(), RATE, 20).await.unwrap();
        let raised = Rate { per_second: 1_000, burst: 300 };
        assert!(limit.take(&tenant(), RATE, 1).await.is_err());
        let _ = limit.take(&tenant(), raised, 1).await;
        advance(Duration::from_millis(90)).await;
        limit.take(&tenant(), raised, 90).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn alone_with_a_cache_in_memory_the_whole_is_let_in_to_the_unit() {
    let limits = Arc::new(Limits::new(storage::open_cache("memory:").await.unwrap(), "test", 0));
    limits.hear("this").await;
    let all = [(Arc::clone(&limits), Limit::new(&limits, "units_per_second", "units"))];
    assert_eq!(let_in(&all, 1, 10).await, [1_199], "the last call came a millisecond before ten seconds had passed");
}

#[test]
fn each_field_by_itself_is_what_was_set_or_configured() {
    let set = Quota { events_per_second: Some(5), bytes_per_second: Some(0), ..Quota::default() };
    assert_eq!(rate((set.events_per_second, 1), (set.events_burst, 7)), Some(Rate { per_second: 5, burst: 7 }));
    assert_eq!(rate((set.events_per_second, 1), (None, 0)), Some(Rate { per_second: 5, burst: 50 }));
    assert_eq!(rate((set.bytes_per_second, 9), (None, 7)), None);
    assert_eq!(rate((None, 9), (Some(3), 7)), Some(Rate { per_second: 9, burst: 3 }));
}
