//! The cache in memory and in Redis: every promise of the trait, and Redis killed, restarted, flushed and frozen.

#![allow(clippy::unwrap_used)]

use std::{
    process::Command,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use deadpool_redis::redis::{Client, cmd};
use storage::{
    Ask, Cache, CacheError, Lease,
    conformance::{self, stand::Server},
    open_cache,
};
use tokio::time::timeout;

/// How long a condition may take to become true on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(600);

/// One server for all tests that don't hurt it; each takes a database of its own.
async fn shared() -> [Arc<dyn Cache>; 2] {
    static SERVER: OnceLock<Server> = OnceLock::new();
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let database = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let url = format!("{}/{database}", SERVER.get_or_init(Server::redis).url());
    [open_cache(&url).await.unwrap(), open_cache(&url).await.unwrap()]
}

#[tokio::test(flavor = "multi_thread")]
async fn memory() {
    conformance::cache(async || {
        let cache = open_cache("memory:").await.unwrap();
        [Arc::clone(&cache), cache]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis() {
    conformance::cache(shared).await;
    conformance::claims(shared().await).await;
}

#[tokio::test]
async fn an_address_that_is_no_cache_is_refused_without_its_password() {
    for address in ["memory:x", "memcached://u:hush@c", "redis://u:hush@[c", "redis://:hush@c/x", "hush", ""] {
        let Err(CacheError::Address(what)) = open_cache(address).await else { panic!("{address} was opened") };
        assert!(!what.contains("hush"), "{what}");
    }
}

fn value() -> Bytes {
    Bytes::from_static(b"v")
}

/// Sets until it is kept, as while Redis comes back.
async fn set(cache: &dyn Cache, key: &str) {
    eventually("a value is kept", async || {
        cache.set(key, value(), LONG).await;
        cache.get(key).await == Some(value())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_that_is_not_there_is_a_miss_at_once_and_used_when_it_comes() {
    let server = Server::redis();
    server.kill().await;
    let cache = open_cache(server.url()).await.unwrap();
    // Far more calls than could wait one after another.
    let calls = async {
        for i in 0..10_000 {
            cache.set(&format!("k{i}"), value(), LONG).await;
            assert_eq!(cache.get(&format!("k{i}")).await, None);
        }
        cache.delete("k0").await;
    };
    assert!(timeout(PATIENCE, calls).await.is_ok());
    server.start_again();
    set(&*cache, "k").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redis_is_a_miss_and_its_old_values_are_not_shown_again() {
    let server = Server::redis();
    let (a, b) = (open_cache(server.url()).await.unwrap(), open_cache(server.url()).await.unwrap());
    for _ in 0..3 {
        set(&*a, "k").await;
        set(&*b, "k").await; // in the memory of both
        server.kill().await;
        // The memory tier goes as soon as the connection is seen to be broken.
        eventually("a miss", async || a.get("k").await.is_none() && b.get("k").await.is_none()).await;
        server.start_again();
        // Redis keeps nothing on disk here.
        set(&*a, "other").await;
        assert_eq!((a.get("k").await, b.get("k").await), (None, None));
    }
    set(&*b, "k").await;
    eventually("a deletion is heard of again", async || {
        set(&*b, "k").await;
        a.delete("k").await;
        let gone = async {
            while b.get("k").await.is_some() {
                tokio::task::yield_now().await
            }
        };
        timeout(Duration::from_secs(1), gone).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flushed_redis_has_nothing_and_goes_on() {
    let server = Server::redis();
    let cache = open_cache(server.url()).await.unwrap();
    set(&*cache, "k").await;
    let client = Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let _: () = cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
    // What is in memory is not wrong, and ends soon.
    eventually("a miss", async || cache.get("k").await.is_none()).await;
    set(&*cache, "k").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_redis_costs_little_time() {
    let server = Server::redis();
    let cache = open_cache(server.url()).await.unwrap();
    set(&*cache, "k").await;
    let pid = server.pid();
    let signal = |name: &str| assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    signal("-STOP");
    let asked = Instant::now();
    let calls = async {
        for i in 0..2000 {
            assert_eq!(cache.get(&format!("none{i}")).await, None);
        }
    };
    assert!(timeout(PATIENCE, calls).await.is_ok(), "{:?}", asked.elapsed());
    signal("-CONT");
    set(&*cache, "k2").await;
}

fn ask(owed: u64, least: u64, most: u64) -> Ask {
    Ask { per_second: 1, burst: 100, owed, missed: 0, least, most }
}

/// What is let in at a unit a second: nothing more comes while this test runs, but what a slow machine waits for.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_one_for_all_and_gives_what_it_has() {
    let [a, b] = shared().await;
    let started = Instant::now();
    let units = |lease| match lease {
        Some(Lease::Units(units)) => units,
        other => panic!("{other:?}"),
    };
    assert_eq!(a.lease("t", &ask(0, 10, 40)).await, Some(Lease::Units(40)));
    assert_eq!(b.lease("t", &ask(0, 10, 40)).await, Some(Lease::Units(40)));
    let rest = units(a.lease("t", &ask(0, 10, 40)).await);
    assert!(rest >= 20 && rest <= 20 + started.elapsed().as_secs(), "{rest}");
    assert_eq!(b.lease("other", &ask(0, 100, 100)).await, Some(Lease::Units(100)), "each is its own");
    let later = |lease| match lease {
        Some(Lease::Later(wait)) => wait.as_secs_f64(),
        other => panic!("{other:?}"),
    };
    let about = |wait: f64, wanted: f64| {
        assert!(wait <= wanted && wait >= wanted - 2.0 - started.elapsed().as_secs_f64(), "{wait} of {wanted}")
    };
    about(later(b.lease("t", &ask(0, 50, 60)).await), 50.0);
    about(later(a.lease("t", &ask(1_000, 1, 1)).await), 1_001.0); // what is owed is owed though nothing is given
    about(later(b.lease("t", &ask(0, 1, 1)).await), 1_001.0);
    // What it may know already is taken no further than to its ground.
    let missed = |units| Ask { missed: units, ..ask(0, 1, 1) };
    about(later(b.lease("t", &missed(5_000)).await), 1_001.0);
    about(later(b.lease("new", &missed(5_000)).await), 1.0);
    assert_eq!(b.lease("newer", &missed(98)).await, Some(Lease::Units(1)));
    let fast =
        Ask { per_second: 1_000_000_000_000, burst: 1_000_000_000_000, owed: 0, missed: 0, least: 1, most: 1 << 39 };
    assert_eq!(a.lease("fast", &fast).await, Some(Lease::Units(1 << 39)));

    let memory = open_cache("memory:").await.unwrap();
    assert_eq!((memory.lease("t", &ask(0, 1, 1)).await, memory.present("g", "a").await), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_heard_of_is_not_there() {
    let [a, b] = shared().await;
    assert_eq!(a.present("g", "a").await, Some(1));
    assert_eq!(b.present("g", "b").await, Some(2));
    assert_eq!(b.present("h", "b").await, Some(1), "each group is its own");
    eventually("b is gone", async || a.present("g", "a").await == Some(1)).await;
    assert_eq!(b.present("g", "b").await, Some(2));
}

async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "never: {what}");
}
