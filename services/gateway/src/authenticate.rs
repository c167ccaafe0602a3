//! Which key was shown, and whether it is good.
//!
//! While the metastore answers, a revoked key is refused within a second of its revocation, and at once where the cache's
//! notice of it arrives; what is still being answered to it ends then. While it doesn't, a key is known as some gateway read it within the last minute, and no longer.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, header};
use model::{Error, ErrorCode, KeyText};
use moka::future::Cache;
use parking_lot::Mutex;
use storage::{Directory, Key, MetaError};
use subtle::ConstantTimeEq;
use tokio::sync::broadcast::{Receiver, error::TryRecvError};

use crate::shared_keys::SharedKeys;

/// How long a key is taken from memory: a revoked one is dead everywhere after this.
const FRESH_MS: i64 = 1_000;
/// How long after it was read from the metastore a key is taken, from here or there, while the metastore can't be reached.
const STALE_MS: i64 = 60_000;
/// Keys kept in memory. Ids that don't exist are kept too, so that asking again costs no look-up.
const KEPT: u64 = 100_000;

/// Finds keys: in memory, then in the metastore, and if that can't be reached among those that gateways share.
pub(crate) struct Authenticator {
    directory: Arc<dyn Directory>,
    /// By their names in the shared cache.
    known: Cache<String, Known>,
    shared: SharedKeys,
    deleted: Mutex<Receiver<String>>,
    now_ms: fn() -> i64,
}

#[derive(Clone)]
struct Known {
    key: Option<Arc<Key>>,
    read_at_ms: i64,
}

impl Authenticator {
    pub(crate) fn new(directory: Arc<dyn Directory>, shared: SharedKeys, now_ms: fn() -> i64) -> Self {
        let known = Cache::builder().max_capacity(KEPT).time_to_idle(Duration::from_secs(120)).build();
        let deleted = Mutex::new(shared.deleted());
        Self { directory, known, shared, deleted, now_ms }
    }

    /// The key that the headers show: `authorization: Bearer ...` or `x-api-key: ...`.
    pub(crate) async fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<Key>, Error> {
        let text = shown(headers).ok_or_else(|| {
            unauthenticated("no API key: send it as `authorization: Bearer <key>` or `x-api-key: <key>`")
        })?;
        let key_text = KeyText::parse(text)
            .ok_or_else(|| unauthenticated("the API key is not whole or mistyped: its checksum doesn't fit"))?;
        let key = self.find(key_text.id()).await?;
        let key = key.ok_or_else(refused)?;
        let same = bool::from(key.hash.ct_eq(&key_text.hash()));
        if same && self.is_good(&key) { Ok(key) } else { Err(refused()) }
    }

    /// Waits until the key is no longer good, or can't be known to be, and says so.
    pub(crate) async fn ended(&self, key: &Key) -> Error {
        loop {
            tokio::time::sleep(Duration::from_millis(FRESH_MS.unsigned_abs())).await;
            match self.find(&key.id).await {
                Ok(Some(key)) if self.is_good(&key) => {}
                Ok(_) => return refused(),
                Err(error) => return error,
            }
        }
    }

    fn is_good(&self, key: &Key) -> bool {
        key.revoked_at_ms.is_none() && key.expires_at_ms.is_none_or(|end| (self.now_ms)() < end)
    }

    async fn find(&self, id: &str) -> Result<Option<Arc<Key>>, Error> {
        self.forget_deleted().await;
        let name = Key::cache_name(id);
        let now_ms = (self.now_ms)();
        let known = self.known.get(&name).await;
        if let Some(known) = known.as_ref().filter(|known| now_ms - known.read_at_ms < FRESH_MS) {
            return Ok(known.key.clone());
        }
        match self.directory.key(id).await {
            Ok(found) => {
                let known = Known { key: found.map(Arc::new), read_at_ms: now_ms };
                self.known.insert(name, known.clone()).await;
                if let Some(key) = &known.key {
                    self.shared.keep(key, now_ms, Duration::from_millis(STALE_MS.unsigned_abs())).await;
                }
                Ok(known.key)
            }
            Err(error @ MetaError::Unavailable(_)) => {
                let usable = |known: &Known| now_ms - known.read_at_ms < STALE_MS;
                if let Some(known) = known.filter(usable) {
                    return Ok(known.key);
                }
                let shared = self.shared.find(id).await;
                let shared = shared.map(|(key, read_at_ms)| Known { key: Some(Arc::new(key)), read_at_ms });
                let known = shared.filter(usable).ok_or(error)?;
                self.known.insert(name, known.clone()).await;
                Ok(known.key)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Drops from memory what anyone deleted since the last call. A notice that is lost costs no more than the bounds above.
    async fn forget_deleted(&self) {
        loop {
            let notice = self.deleted.lock().try_recv();
            match notice {
                Ok(name) => self.known.invalidate(&name).await,
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }
}

fn shown(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| {
        let (scheme, key) = v.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    bearer.or_else(|| headers.get("x-api-key").and_then(|v| v.to_str().ok()))
}

/// One text for all, so that a guess learns nothing.
fn refused() -> Error {
    unauthenticated("the API key is unknown, expired or revoked")
}

fn unauthenticated(message: &str) -> Error {
    Error::new(ErrorCode::Unauthenticated, message)
}

#[cfg(test)]
mod tests;
