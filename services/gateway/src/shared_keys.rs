//! Keys as gateways read them lately, left for one another in the cache.
//!
//! They are signed with the installation's secret: who can write into the cache can't make a key.

use std::{sync::Arc, time::Duration};

use mesh::signed::SigningKey;
use storage::{Cache, Key};
use tokio::sync::broadcast::Receiver;

pub(crate) struct SharedKeys {
    cache: Arc<dyn Cache>,
    signing_key: SigningKey,
}

impl SharedKeys {
    pub(crate) const fn new(cache: Arc<dyn Cache>, signing_key: SigningKey) -> Self {
        Self { cache, signing_key }
    }

    /// Leaves a key, as the metastore had it at `read_at_ms`, for `ttl`.
    pub(crate) async fn keep(&self, key: &Key, read_at_ms: i64, ttl: Duration) {
        let signed = self.signing_key.sign(&(key, read_at_ms));
        self.cache.set(&Key::cache_name(&key.id), signed.into(), ttl).await;
    }

    /// The key that a gateway left, and when it was read from the metastore.
    pub(crate) async fn find(&self, id: &str) -> Option<(Key, i64)> {
        let signed = self.cache.get(&Key::cache_name(id)).await?;
        let (key, read_at_ms): (Key, i64) = self.signing_key.open(std::str::from_utf8(&signed).ok()?)?;
        (key.id == id).then_some((key, read_at_ms))
    }

    /// The names of what anyone deletes from now on.
    pub(crate) fn deleted(&self) -> Receiver<String> {
        self.cache.deleted()
    }
}
