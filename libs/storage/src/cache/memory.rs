use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use moka::{Expiry, future};
use tokio::sync::broadcast;

use super::{Ask, Cache, Lease, NOTICES};

/// Memory that values, keys and their places may take.
const MAX_BYTES: u64 = 64 << 20;
/// What an entry takes beside its key and value, about.
const ENTRY_BYTES: usize = 128;

/// Values in this process, the least useful of which go when there are too many.
pub(super) struct Values(future::Cache<String, Value>);

#[derive(Clone)]
struct Value {
    bytes: Bytes,
    ttl: Duration,
}

struct Ttl;

impl Expiry<String, Value> for Ttl {
    fn expire_after_create(&self, _: &String, value: &Value, _: Instant) -> Option<Duration> {
        Some(value.ttl)
    }

    fn expire_after_update(&self, _: &String, value: &Value, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(value.ttl)
    }
}

impl Values {
    pub(super) fn new() -> Self {
        let bytes = |key: &String, value: &Value| {
            u32::try_from(key.len() + value.bytes.len() + ENTRY_BYTES).unwrap_or(u32::MAX)
        };
        Self(future::Cache::builder().max_capacity(MAX_BYTES).weigher(bytes).expire_after(Ttl).build())
    }

    pub(super) async fn get(&self, key: &str) -> Option<Bytes> {
        self.0.get(key).await.map(|value| value.bytes)
    }

    pub(super) async fn set(&self, key: &str, bytes: Bytes, ttl: Duration) {
        self.0.insert(key.to_owned(), Value { bytes, ttl }).await;
    }

    pub(super) async fn delete(&self, key: &str) {
        self.0.invalidate(key).await;
    }

    pub(super) fn clear(&self) {
        self.0.invalidate_all();
    }
}

/// The cache of one process.
pub(super) struct MemoryCache {
    values: Values,
    deleted: broadcast::Sender<String>,
}

impl MemoryCache {
    pub(super) fn new() -> Self {
        Self { values: Values::new(), deleted: broadcast::Sender::new(NOTICES) }
    }
}

#[async_trait]
impl Cache for MemoryCache {
    async fn get(&self, key: &str) -> Option<Bytes> {
        self.values.get(key).await
    }

    async fn set(&self, key: &str, value: Bytes, ttl: Duration) {
        self.values.set(key, value, ttl).await;
    }

    async fn delete(&self, key: &str) {
        self.values.delete(key).await;
        let _ = self.deleted.send(key.to_owned()); // nobody may listen
    }

    fn deleted(&self) -> broadcast::Receiver<String> {
        self.deleted.subscribe()
    }

    async fn lease(&self, _: &str, _: &Ask) -> Option<Lease> {
        None
    }

    async fn present(&self, _: &str, _: &str) -> Option<u64> {
        None
    }

    async fn claim(&self, _: &str, _: &str, _: Duration) -> bool {
        true
    }

    async fn release(&self, _: &str, _: &str) {}
}
