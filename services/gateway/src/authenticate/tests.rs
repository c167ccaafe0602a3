//! Keys under revocation and outages, on real servers, with a clock that moves only when it is told to.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicI64, Ordering};

use mesh::signed::SigningKey;
use model::{AppSet, Permission, Priority, Scope, TenantId};
use storage::{Cache as SharedCache, Metastore, Tenant, conformance::stand::Server, open_cache};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// A clock of this test's own.
macro_rules! clock {
    ($name:ident, $now_ms:ident) => {
        static $name: AtomicI64 = AtomicI64::new(1_700_000_000_000);
        fn $now_ms() -> i64 {
            $name.load(Ordering::Relaxed)
        }
    };
}

fn text() -> KeyText {
    KeyText::from_random([1; 12], [2; 32])
}

fn key(text: &KeyText) -> Key {
    let scope = Scope {
        tenant: TenantId::new("acme").unwrap(),
        apps: AppSet::All,
        permissions: [Permission::Query].into_iter().collect(),
        priority: Priority::Interactive,
    };
    Key {
        id: text.id().to_owned(),
        hash: text.hash(),
        display_name: String::new(),
        scope,
        created_at_ms: 0,
        expires_at_ms: None,
        revoked_at_ms: None,
    }
}

async fn metastore(url: &str) -> Arc<dyn Metastore> {
    let store = storage::open(url).await.unwrap();
    let tenant = Tenant { id: TenantId::new("acme").unwrap(), display_name: String::new(), created_at_ms: 0 };
    store.create_tenant(&tenant).await.unwrap();
    store.create_key(&key(&text())).await.unwrap();
    store
}

fn signing_key() -> SigningKey {
    SigningKey::derive(&[7; 32], "cached API key")
}

fn gateway(store: &Arc<dyn Metastore>, cache: &Arc<dyn SharedCache>, now_ms: fn() -> i64) -> Authenticator {
    Authenticator::new(Arc::clone(store) as _, SharedKeys::new(Arc::clone(cache), signing_key()), now_ms)
}

async fn show(gateway: &Authenticator, text: &KeyText) -> Result<Arc<Key>, ErrorCode> {
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", text.as_str().parse().unwrap());
    gateway.authenticate(&headers).await.map_err(|error| error.code)
}

/// As the Admin service does it.
async fn revoke(store: &Arc<dyn Metastore>, cache: &Arc<dyn SharedCache>) {
    store.revoke_key(&TenantId::new("acme").unwrap(), text().id(), 1).await.unwrap();
    cache.delete(&Key::cache_name(text().id())).await;
}

async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "never: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_at_once_by_every_gateway_that_hears_of_it() {
    clock!(CLOCK, now_ms);
    let redis = Server::redis();
    let folder = tempfile::tempdir().unwrap();
    let store = metastore(&format!("sqlite:{}", folder.path().join("meta.db").display())).await;
    let caches = [open_cache(redis.url()).await.unwrap(), open_cache(redis.url()).await.unwrap()];
    let gateways = caches.each_ref().map(|cache| gateway(&store, cache, now_ms));
    let mut listening = caches[1].deleted();
    eventually("notices arrive", async || {
        caches[0].delete("warm").await;
        tokio::time::timeout(Duration::from_millis(100), listening.recv()).await.is_ok()
    })
    .await;
    for gateway in &gateways {
        assert!(show(gateway, &text()).await.is_ok());
    }
    revoke(&store, &caches[0]).await;
    // The clock stands still: no key in memory gets too old.
    assert_eq!(show(&gateways[0], &text()).await.unwrap_err(), ErrorCode::Unauthenticated);
    eventually("the other gateway refuses it", async || show(&gateways[1], &text()).await.is_err()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_within_a_second_if_no_notice_comes() {
    clock!(CLOCK, now_ms);
    let folder = tempfile::tempdir().unwrap();
    let store = metastore(&format!("sqlite:{}", folder.path().join("meta.db").display())).await;
    let (deaf, elsewhere) = (open_cache("memory:").await.unwrap(), open_cache("memory:").await.unwrap());
    let gateway = gateway(&store, &deaf, now_ms);
    assert!(show(&gateway, &text()).await.is_ok());
    revoke(&store, &elsewhere).await;
    CLOCK.fetch_add(FRESH_MS - 1, Ordering::Relaxed);
    assert!(show(&gateway, &text()).await.is_ok());
    CLOCK.fetch_add(1, Ordering::Relaxed);
    assert_eq!(show(&gateway, &text()).await.unwrap_err(), ErrorCode::Unauthenticated);
    // The copy that it had left, good when it was read, is never asked while the metastore answers.
    deaf.delete(&Key::cache_name(text().id())).await;
    assert_eq!(show(&gateway, &text()).await.unwrap_err(), ErrorCode::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_metastore_keys_that_a_gateway_read_are_known_to_all_for_a_minute() {
    clock!(CLOCK, now_ms);
    let (postgres, redis) = (Server::postgres(), Server::redis());
    let store = metastore(postgres.url()).await;
    let cache = open_cache(redis.url()).await.unwrap();
    let reader = gateway(&store, &cache, now_ms);
    assert!(show(&reader, &text()).await.is_ok());
    postgres.kill().await;
    eventually("the metastore is gone", async || store.tenants().await.is_err()).await;

    CLOCK.fetch_add(STALE_MS - 1, Ordering::Relaxed);
    let new = gateway(&store, &open_cache(redis.url()).await.unwrap(), now_ms);
    for gateway in [&reader, &new] {
        assert!(show(gateway, &text()).await.is_ok());
        let guess = KeyText::from_random([1; 12], [3; 32]); // the right id with another secret
        assert_eq!(show(gateway, &guess).await.unwrap_err(), ErrorCode::Unauthenticated);
    }
    // What was not signed with the installation's secret is no key.
    let stranger = KeyText::from_random([4; 12], [5; 32]);
    let forged = SigningKey::derive(&[8; 32], "cached API key").sign(&(key(&stranger), now_ms()));
    let name = Key::cache_name(stranger.id());
    for forgery in [forged, signing_key().sign(&(key(&text()), now_ms())), "nonsense".to_owned()] {
        cache.set(&name, forgery.into(), PATIENCE).await;
        assert_eq!(show(&reader, &stranger).await.unwrap_err(), ErrorCode::Unavailable);
    }
    CLOCK.fetch_add(1, Ordering::Relaxed);
    for gateway in [&reader, &new] {
        assert_eq!(show(gateway, &text()).await.unwrap_err(), ErrorCode::Unavailable);
    }
    postgres.start_again();
    eventually("the metastore is back", async || show(&new, &text()).await.is_ok()).await;
}
