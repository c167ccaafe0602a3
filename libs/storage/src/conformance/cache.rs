use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{task::yield_now, time::timeout};

use super::{PATIENCE, eventually};
use crate::Cache;

const LONG: Duration = Duration::from_secs(600);

/// The promises of a cache. `new` gives two handles to one empty cache: of two processes if it is shared, else the same twice.
pub async fn cache(new: impl AsyncFn() -> [Arc<dyn Cache>; 2]) {
    a_value_comes_back_everywhere(new().await).await;
    a_value_ends_with_its_time(new().await).await;
    a_deleted_value_is_gone_everywhere(new().await).await;
    everybody_hears_of_deletions(new().await).await;
    nobody_keeps_an_old_value_that_was_being_read_when_it_was_deleted(new().await).await;
}

/// The promises of claims, of two handles to a cache that is shared.
pub async fn claims([a, b]: [Arc<dyn Cache>; 2]) {
    assert!(a.claim("work", "a", LONG).await);
    assert!(!b.claim("work", "b", LONG).await && b.claim("other work", "b", LONG).await);
    assert!(a.claim("work", "a", LONG).await, "who has it goes on having it");
    b.release("work", "b").await;
    assert!(!b.claim("work", "b", LONG).await, "what isn't one's own can't be given back");
    a.release("work", "a").await;
    assert!(b.claim("work", "b", Duration::from_millis(300)).await);
    assert!(!a.claim("work", "a", LONG).await);
    eventually("a claim ends with its time", async || a.claim("work", "a", LONG).await).await;
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn a_value_comes_back_everywhere([a, b]: [Arc<dyn Cache>; 2]) {
    let odd = Bytes::from_static(b"\0\r\n\xff");
    assert_eq!(a.get("k").await, None);
    a.set("k", odd.clone(), LONG).await;
    a.set("empty", Bytes::new(), LONG).await;
    a.set("a key with spaces\r\n", bytes("v"), LONG).await;
    for cache in [&a, &b] {
        for _ in 0..2 {
            assert_eq!(cache.get("k").await, Some(odd.clone()));
            assert_eq!(cache.get("empty").await, Some(Bytes::new()));
            assert_eq!(cache.get("a key with spaces\r\n").await, Some(bytes("v")));
        }
        assert_eq!(cache.get("K").await, None);
    }
    a.set("k", bytes("new"), LONG).await;
    assert_eq!(a.get("k").await, Some(bytes("new")));
    eventually("a new value is read by others", async || b.get("k").await == Some(bytes("new"))).await;
}

async fn a_value_ends_with_its_time([a, b]: [Arc<dyn Cache>; 2]) {
    a.set("never", bytes("v"), Duration::ZERO).await;
    a.set("short", bytes("v"), Duration::from_millis(300)).await;
    a.set("long", bytes("v"), LONG).await;
    for cache in [&a, &b] {
        // Reading it, from wherever, makes it live no longer.
        eventually("a value ends", async || cache.get("short").await.is_none()).await;
        assert_eq!(cache.get("never").await, None);
        assert_eq!(cache.get("long").await, Some(bytes("v")));
    }
}

async fn a_deleted_value_is_gone_everywhere([a, b]: [Arc<dyn Cache>; 2]) {
    for round in 0..20 {
        let value = bytes(&format!("v{round}"));
        a.set("k", value.clone(), LONG).await;
        a.set("other", bytes("o"), LONG).await;
        eventually("a value is read by others", async || b.get("k").await == Some(value.clone())).await;
        a.delete("k").await;
        assert_eq!(a.get("k").await, None);
        eventually("a deleted value is gone for others", async || b.get("k").await.is_none()).await;
        assert_eq!(b.get("other").await, Some(bytes("o")));
    }
    a.delete("what was never there").await;
}

async fn everybody_hears_of_deletions([a, b]: [Arc<dyn Cache>; 2]) {
    let (mut at_a, mut at_b) = (a.deleted(), b.deleted());
    // A handle that was just opened may not listen yet.
    eventually("notices arrive", async || {
        a.delete("warm").await;
        timeout(Duration::from_millis(100), at_b.recv()).await.is_ok()
    })
    .await;
    a.delete("x").await;
    b.delete("y").await;
    for notices in [&mut at_a, &mut at_b] {
        let mut left = HashSet::from(["x".to_owned(), "y".to_owned()]);
        while !left.is_empty() {
            left.remove(&timeout(PATIENCE, notices.recv()).await.expect("a notice was lost").unwrap());
        }
    }
}

async fn nobody_keeps_an_old_value_that_was_being_read_when_it_was_deleted([a, b]: [Arc<dyn Cache>; 2]) {
    for round in 0..50 {
        let key = format!("k{round}");
        a.set(&key, bytes("old"), LONG).await;
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let (b, key) = (Arc::clone(&b), key.clone());
                tokio::spawn(async move {
                    while b.get(&key).await.is_some() {
                        yield_now().await; // what is in memory is there without a wait: others must get to run
                    }
                })
            })
            .collect();
        a.delete(&key).await;
        for reader in readers {
            assert!(timeout(PATIENCE, reader).await.is_ok());
        }
        assert_eq!(b.get(&key).await, None);
    }
}
