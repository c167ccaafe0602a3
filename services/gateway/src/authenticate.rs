//! Which key was shown, and whether it is good.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, header};
use model::{Error, ErrorCode, KeyText};
use moka::future::Cache;
use sha2::{Digest, Sha256};
use storage::{Directory, Key, MetaError};
use subtle::ConstantTimeEq;

/// How long a key is taken from memory: a revoked one is dead everywhere after this.
const FRESH_MS: i64 = 1_000;
/// How long it is taken from memory while the metastore can't be reached.
const STALE_MS: i64 = 60_000;
/// Keys kept in memory. Ids that don't exist are kept too, so that asking again costs no look-up.
const KEPT: u64 = 100_000;

/// What is stored of a key: SHA-256 of its whole text. The text has 188 random bits, so a slow hash would protect nothing more.
fn hash_key(key: &KeyText) -> [u8; 32] {
    Sha256::digest(key.as_str().as_bytes()).into()
}

/// Finds keys, in memory first.
pub(crate) struct Authenticator {
    directory: Arc<dyn Directory>,
    known: Cache<String, Known>,
    now_ms: fn() -> i64,
}

#[derive(Clone)]
struct Known {
    key: Option<Arc<Key>>,
    read_at_ms: i64,
}

impl Authenticator {
    pub(crate) fn new(directory: Arc<dyn Directory>, now_ms: fn() -> i64) -> Self {
        let known = Cache::builder().max_capacity(KEPT).time_to_idle(Duration::from_secs(120)).build();
        Self { directory, known, now_ms }
    }

    /// The key that the headers show: `authorization: Bearer ...` or `x-api-key: ...`.
    pub(crate) async fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<Key>, Error> {
        let text = shown(headers).ok_or_else(|| {
            unauthenticated("no API key: send it as `authorization: Bearer <key>` or `x-api-key: <key>`")
        })?;
        let key_text = KeyText::parse(text)
            .ok_or_else(|| unauthenticated("the API key is not whole or mistyped: its checksum doesn't fit"))?;
        let key = self.find(key_text.id()).await?;
        // One text for all three, so that a guess learns nothing.
        let refused = || unauthenticated("the API key is unknown, expired or revoked");
        let key = key.ok_or_else(refused)?;
        let same = bool::from(key.hash.ct_eq(&hash_key(&key_text)));
        let now_ms = (self.now_ms)();
        let good = key.revoked_at_ms.is_none() && key.expires_at_ms.is_none_or(|end| now_ms < end);
        if same && good { Ok(key) } else { Err(refused()) }
    }

    async fn find(&self, id: &str) -> Result<Option<Arc<Key>>, Error> {
        let now_ms = (self.now_ms)();
        let known = self.known.get(id).await;
        if let Some(known) = known.as_ref().filter(|known| now_ms - known.read_at_ms < FRESH_MS) {
            return Ok(known.key.clone());
        }
        match self.directory.key(id).await {
            Ok(found) => {
                let key = found.map(Arc::new);
                self.known.insert(id.to_owned(), Known { key: key.clone(), read_at_ms: now_ms }).await;
                Ok(key)
            }
            Err(error @ MetaError::Unavailable(_)) => match known {
                Some(known) if now_ms - known.read_at_ms < STALE_MS => Ok(known.key),
                _ => Err(error.into()),
            },
            Err(error) => Err(error.into()),
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

fn unauthenticated(message: &str) -> Error {
    Error::new(ErrorCode::Unauthenticated, message)
}
