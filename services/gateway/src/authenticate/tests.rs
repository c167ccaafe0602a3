//! Keys under revocation and outages, on real servers, with a clock that moves only when it is told to.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use async_trait::async_trait;
use mesh::signed::SigningKey;
use model::{AppId, AppSet, Environment, Permission, Priority, Scope, TenantId};
use storage::{
    AllSettings, App, Cache as SharedCache, Layers, Metastore, Places, Setting, Tenant, conformance::stand::Server,
    open_cache,
};

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

pub(crate) fn text() -> KeyText {
    KeyText::from_random(Environment::Live, [1; 12], [2; 32])
}

pub(crate) fn key(text: &KeyText) -> Key {
    let scope = Scope::new(
        TenantId::new("acme").unwrap(),
        AppSet::All,
        [Permission::Query].into_iter().collect(),
        Priority::Interactive,
    );
    Key {
        id: text.id().to_owned(),
        kind: KeyKind::Bearer,
        hash: text.hash(),
        display_name: String::new(),
        environment: text.environment(),
        scope,
        places: Places::default(),
        customer: None,
        rotated_from: None,
        created_at_ms: 0,
        expires_at_ms: None,
        revoked_at_ms: None,
        last_used_at_ms: None,
    }
}

pub(crate) async fn metastore(url: &str) -> Arc<dyn Metastore> {
    let store = storage::open(url).await.unwrap();
    let tenant = Tenant { id: TenantId::new("acme").unwrap(), display_name: String::new(), created_at_ms: 0 };
    store.create_tenant(&tenant).await.unwrap();
    store.create_key(&key(&text())).await.unwrap();
    store
}

fn signing_key() -> SigningKey {
    SigningKey::derive(&[7; 32], "cached API key")
}

fn gateway(store: &Arc<dyn Metastore>, cache: &Arc<dyn SharedCache>, now_ms: fn() -> i64) -> Arc<Authenticator> {
    gateway_over(Arc::clone(store) as _, cache, now_ms)
}

fn gateway_over(
    directory: Arc<dyn Directory>,
    cache: &Arc<dyn SharedCache>,
    now_ms: fn() -> i64,
) -> Arc<Authenticator> {
    let shared = SharedKeys::new(Arc::clone(cache), signing_key());
    Arc::new(Authenticator::new(directory, shared, Unknown::new(20, 2), now_ms))
}

async fn show(gateway: &Arc<Authenticator>, text: &KeyText) -> Result<Arc<Key>, ErrorCode> {
    show_from(gateway, text, "192.0.2.1").await.map_err(|error| error.code)
}

async fn show_from(gateway: &Arc<Authenticator>, text: &KeyText, address: &str) -> Result<Arc<Key>, Error> {
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", text.as_str().parse().unwrap());
    gateway.authenticate(&headers, Whence(Some(address.parse().unwrap()))).await
}

/// As the Admin service does it.
async fn revoke(store: &Arc<dyn Metastore>, cache: &Arc<dyn SharedCache>) {
    store.revoke_key(&TenantId::new("acme").unwrap(), text().id(), 1).await.unwrap();
    cache.delete(&Key::cache_name(text().id())).await;
}

pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
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
        let guess = KeyText::from_random(Environment::Live, [1; 12], [3; 32]); // the right id with another secret
        assert_eq!(show(gateway, &guess).await.unwrap_err(), ErrorCode::Unauthenticated);
    }
    // What was not signed with the installation's secret is no key.
    let stranger = KeyText::from_random(Environment::Live, [4; 12], [5; 32]);
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

/// A directory that counts how often it is asked for a key.
struct Counting {
    store: Arc<dyn Metastore>,
    asked: AtomicUsize,
}

#[async_trait]
impl Directory for Counting {
    async fn key(&self, id: &str) -> Result<Option<Key>, MetaError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.store.key(id).await
    }
    async fn create_tenant(&self, tenant: &Tenant) -> Result<(), MetaError> {
        self.store.create_tenant(tenant).await
    }
    async fn tenants(&self) -> Result<Vec<Tenant>, MetaError> {
        self.store.tenants().await
    }
    async fn create_app(&self, app: &App) -> Result<(), MetaError> {
        self.store.create_app(app).await
    }
    async fn apps(&self, tenant: &TenantId) -> Result<Vec<App>, MetaError> {
        self.store.apps(tenant).await
    }
    async fn app(&self, tenant: &TenantId, app: &AppId) -> Result<Option<App>, MetaError> {
        self.store.app(tenant, app).await
    }
    async fn create_key(&self, key: &Key) -> Result<(), MetaError> {
        self.store.create_key(key).await
    }
    async fn rotate_key(&self, key: &Key, end_ms: i64) -> Result<(), MetaError> {
        self.store.rotate_key(key, end_ms).await
    }
    async fn rotated_key(&self, id: &str) -> Result<Option<Key>, MetaError> {
        self.store.rotated_key(id).await
    }
    async fn note_key_uses(&self, uses: &[(String, i64)]) -> Result<(), MetaError> {
        self.store.note_key_uses(uses).await
    }
    async fn keys(&self, tenant: &TenantId) -> Result<Vec<Key>, MetaError> {
        self.store.keys(tenant).await
    }
    async fn revoke_key(&self, tenant: &TenantId, id: &str, at_ms: i64) -> Result<(), MetaError> {
        self.store.revoke_key(tenant, id, at_ms).await
    }
    async fn set_settings(
        &self,
        tenant: Option<&TenantId>,
        app: Option<&AppId>,
        set: Setting,
        etag: Option<&str>,
    ) -> Result<(), MetaError> {
        self.store.set_settings(tenant, app, set, etag).await
    }
    async fn settings(&self, tenant: Option<&TenantId>, app: Option<&AppId>) -> Result<Layers, MetaError> {
        self.store.settings(tenant, app).await
    }
    async fn all_settings(&self) -> Result<AllSettings, MetaError> {
        self.store.all_settings().await
    }
    async fn secret(&self, name: &str, make: fn() -> [u8; 32]) -> Result<[u8; 32], MetaError> {
        self.store.secret(name, make).await
    }
}

/// Well-formed, with a checksum that fits, and nobody's.
fn made_up(number: u32) -> KeyText {
    let mut id = [7; 12];
    id[..4].copy_from_slice(&number.to_le_bytes().map(|b| b % 62));
    id[4..8].copy_from_slice(&number.to_le_bytes().map(|b| b / 62));
    KeyText::from_random(Environment::Live, id, [8; 32])
}

#[tokio::test]
async fn a_flood_of_unknown_keys_costs_few_look_ups_and_keeps_no_good_key_out() {
    clock!(CLOCK, now_ms);
    let folder = tempfile::tempdir().unwrap();
    let store = metastore(&format!("sqlite:{}", folder.path().join("meta.db").display())).await;
    let counting = Arc::new(Counting { store: Arc::clone(&store), asked: AtomicUsize::new(0) });
    let cache = open_cache("memory:").await.unwrap();
    let gateway = gateway_over(Arc::clone(&counting) as _, &cache, now_ms);
    let asked = || counting.asked.swap(0, Ordering::Relaxed);

    // Known here before the flood; every call of a crowd waits for the one look-up.
    let good = text();
    let crowd = futures::future::join_all((0..100).map(|_| show(&gateway, &good))).await;
    assert!(crowd.iter().all(Result::is_ok));
    assert_eq!(asked(), 1);
    let late = KeyText::from_random(Environment::Test, [2; 12], [2; 32]);
    store.create_key(&key(&late)).await.unwrap();

    let (gateway, started) = (&gateway, Instant::now());
    let flood =
        (0..5_000).map(|number| async move { show_from(gateway, &made_up(number), "192.0.2.1").await.unwrap_err() });
    let refusals = futures::future::join_all(flood).await;
    let looked_up = refusals.iter().filter(|refusal| refusal.code == ErrorCode::Unauthenticated).count();
    // Ten seconds' worth, and what has come while they were shown.
    let room = 20 + 2 * (started.elapsed().as_secs() as usize + 1);
    assert!((20..=room).contains(&looked_up), "{looked_up} of {room}");
    assert_eq!(asked(), looked_up);
    for refusal in refusals.iter().filter(|refusal| refusal.code != ErrorCode::Unauthenticated) {
        assert_eq!((refusal.code, refusal.retry_after.is_some()), (ErrorCode::ResourceExhausted, true), "{refusal}");
    }
    // A key that this gateway has yet to see comes from elsewhere; one that it knows from where the flood comes too, also when it is read anew.
    assert!(show_from(gateway, &late, "192.0.2.2").await.is_ok());
    CLOCK.fetch_add(FRESH_MS, Ordering::Relaxed);
    for good in [&good, &late] {
        assert!(show_from(gateway, good, "192.0.2.1").await.is_ok());
    }
    assert_eq!(asked(), 3);
}
