//! Which key was shown, and whether it is good.
//!
//! While the metastore answers, a revoked key is refused within a second of its revocation, and at once where the cache's
//! notice of it arrives; what is still being answered to it ends then. While it doesn't, a key is known as some gateway read it within the last minute, and no longer.
//! Keys that a gateway doesn't know are looked up within a budget ([`Unknown`]).

use std::{borrow::Cow, collections::HashMap, sync::Arc, time::Duration};

use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use http::{HeaderMap, header};
use model::{Error, ErrorCode, KeyKind, KeyText};
use moka::future::Cache;
use parking_lot::Mutex;
use storage::{Directory, Key, MetaError};
use subtle::ConstantTimeEq;
use tokio::{
    sync::broadcast::{Receiver, error::TryRecvError},
    time::Instant,
};

use crate::{embed::Token, shared_keys::SharedKeys, unknown::Unknown, whence::Whence};

/// How long a key is taken from memory: a revoked one is dead everywhere after this.
const FRESH_MS: i64 = 1_000;
/// How long after it was read from the metastore a key is taken, from here or there, while the metastore can't be reached.
const STALE_MS: i64 = 60_000;
/// Keys kept in memory, and ids that don't exist, so that asking again costs no look-up. Apart, so that none of these pushes out a key.
const KEPT: u64 = 100_000;
/// How long a key that nobody shows is known here, and so is looked up whatever else is.
const KNOWN: Duration = Duration::from_secs(86_400);

/// With padding or without: both are sent.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Finds keys: in memory, then in the metastore, and if that can't be reached among those that gateways share.
pub(crate) struct Authenticator {
    directory: Arc<dyn Directory>,
    /// By their names in the shared cache.
    known: Cache<String, Known>,
    /// Ids that weren't there, and when.
    missing: Cache<String, i64>,
    /// Look-ups under way by id: who asks for the same key waits for the same answer.
    looking: Mutex<HashMap<String, Looking>>,
    unknown: Unknown,
    shared: SharedKeys,
    deleted: Mutex<Receiver<String>>,
    now_ms: fn() -> i64,
}

#[derive(Clone)]
struct Known {
    key: Arc<Key>,
    /// 0 if it is to be read again before it counts.
    read_at_ms: i64,
}

type Found = Result<Option<Arc<Key>>, Error>;

struct Looking {
    since_ms: i64,
    found: Shared<BoxFuture<'static, Found>>,
}

impl Authenticator {
    pub(crate) fn new(
        directory: Arc<dyn Directory>,
        shared: SharedKeys,
        unknown: Unknown,
        now_ms: fn() -> i64,
    ) -> Self {
        let known = Cache::builder().max_capacity(KEPT).time_to_idle(KNOWN).build();
        let missing = Cache::builder().max_capacity(KEPT).time_to_idle(Duration::from_secs(120)).build();
        let deleted = Mutex::new(shared.deleted());
        let looking = Mutex::default();
        Self { directory, known, missing, looking, unknown, shared, deleted, now_ms }
    }

    /// The key that the headers show: `authorization: Bearer ...`, `x-api-key: ...`, or as the name of `authorization: Basic ...`, as Segment's
    /// libraries do.
    pub(crate) async fn authenticate(self: &Arc<Self>, headers: &HeaderMap, whence: Whence) -> Result<Arc<Key>, Error> {
        let text = shown(headers)?;
        let text = &*text;
        if let Some(token) = Token::of(text) {
            let token = token?;
            let key = self.find(token.key_id(), whence).await?.ok_or_else(refused)?;
            let now_ms = (self.now_ms)();
            let narrowed = token.narrow(&key, now_ms)?;
            return if key.is_good(now_ms) { Ok(Arc::new(narrowed)) } else { Err(refused()) };
        }
        let key_text = KeyText::parse(text)
            .ok_or_else(|| unauthenticated("the API key is not whole or mistyped: its checksum doesn't fit"))?;
        let key = self.find(key_text.id(), whence).await?;
        let key = key.ok_or_else(refused)?;
        let same = bool::from(key.hash.ct_eq(&key_text.hash())) && key.kind == KeyKind::Bearer;
        if same && key.is_good((self.now_ms)()) { Ok(key) } else { Err(refused()) }
    }

    /// Waits until the key is no longer good, or can't be known to be, and says so.
    pub(crate) async fn ended(self: &Arc<Self>, key: &Key, whence: Whence) -> Error {
        loop {
            tokio::time::sleep(Duration::from_millis(FRESH_MS.unsigned_abs())).await;
            match self.find(&key.id, whence).await {
                // A token may end before its key does.
                Ok(Some(found)) if [&found, key].iter().all(|key| key.is_good((self.now_ms)())) => {}
                Ok(_) => return refused(),
                Err(error) => return error,
            }
        }
    }

    async fn find(self: &Arc<Self>, id: &str, whence: Whence) -> Found {
        self.forget_deleted().await;
        let now_ms = (self.now_ms)();
        let known = self.known.get(&Key::cache_name(id)).await;
        if let Some(known) = known.as_ref().filter(|known| now_ms - known.read_at_ms < FRESH_MS) {
            return Ok(Some(Arc::clone(&known.key)));
        }
        if known.is_none() && self.missing.get(id).await.is_some_and(|at_ms| now_ms - at_ms < FRESH_MS) {
            return Ok(None);
        }
        let found = {
            let mut looking = self.looking.lock();
            match looking.get(id).filter(|looking| now_ms - looking.since_ms < FRESH_MS) {
                Some(looking) => looking.found.clone(),
                None => {
                    let charged = known.is_none().then_some(whence);
                    if let Some(whence) = charged {
                        self.unknown.take(whence, Instant::now()).map_err(too_many)?;
                    }
                    // A task of its own: it ends, and is gone from here, also if nobody waits for it any more.
                    let task = tokio::spawn(Arc::clone(self).look_up(id.to_owned(), known, charged, now_ms));
                    let ended = |task: Result<Found, _>| task.unwrap_or_else(|_| Err(Error::internal("no look-up")));
                    let found = task.map(ended).boxed().shared();
                    looking.insert(id.to_owned(), Looking { since_ms: now_ms, found: found.clone() });
                    found
                }
            }
        };
        found.await
    }

    async fn look_up(self: Arc<Self>, id: String, known: Option<Known>, charged: Option<Whence>, now_ms: i64) -> Found {
        let found = self.read(&id, known, now_ms).await;
        if let (Ok(Some(_)), Some(whence)) = (&found, charged) {
            self.unknown.give_back(whence);
        }
        let mut looking = self.looking.lock();
        if looking.get(&id).is_some_and(|looking| looking.since_ms == now_ms) {
            looking.remove(&id);
        }
        found
    }

    async fn read(&self, id: &str, known: Option<Known>, now_ms: i64) -> Found {
        match self.directory.key(id).await {
            Ok(Some(key)) => {
                self.shared.keep(&key, now_ms, Duration::from_millis(STALE_MS.unsigned_abs())).await;
                Ok(Some(self.know(key, now_ms).await))
            }
            Ok(None) => {
                self.missing.insert(id.to_owned(), now_ms).await;
                Ok(None)
            }
            Err(error @ MetaError::Unavailable(_)) => {
                let usable = |read_at_ms: i64| now_ms - read_at_ms < STALE_MS;
                if let Some(known) = known.filter(|known| usable(known.read_at_ms)) {
                    return Ok(Some(known.key));
                }
                let shared = self.shared.find(id).await.filter(|(_, read_at_ms)| usable(*read_at_ms));
                let (key, read_at_ms) = shared.ok_or(error)?;
                Ok(Some(self.know(key, read_at_ms).await))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn know(&self, key: Key, read_at_ms: i64) -> Arc<Key> {
        let (name, key) = (Key::cache_name(&key.id), Arc::new(key));
        self.known.insert(name, Known { key: Arc::clone(&key), read_at_ms }).await;
        key
    }

    /// Has what anyone deleted since the last call read again. A notice that is lost costs no more than the bounds above.
    async fn forget_deleted(&self) {
        loop {
            let notice = self.deleted.lock().try_recv();
            match notice {
                Ok(name) => {
                    if let Some(known) = self.known.get(&name).await {
                        self.known.insert(name, Known { read_at_ms: 0, ..known }).await;
                    }
                }
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }
}

fn too_many(wait: Duration) -> Error {
    let message = "too many API keys that don't exist were shown of late; a key that this gateway doesn't know yet can be looked up again \
         after the given time";
    Error { retry_after: Some(wait.max(Duration::from_millis(1))), ..Error::new(ErrorCode::ResourceExhausted, message) }
}

/// The one key of all headers that could hold one: of two, whoever stands between the caller and us may have looked at the other.
fn shown(headers: &HeaderMap) -> Result<Cow<'_, str>, Error> {
    let authorization = headers.get_all(header::AUTHORIZATION).iter().filter_map(|v| {
        let (scheme, key) = v.to_str().ok()?.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") { Some(key.trim().into()) } else { basic(scheme, key).map(Cow::from) }
    });
    let named = headers.get_all("x-api-key").iter().filter_map(|v| v.to_str().ok().map(Cow::from));
    let mut keys = authorization.chain(named);
    let key = keys
        .next()
        .ok_or_else(|| unauthenticated("no API key: send it as `authorization: Bearer <key>` or `x-api-key: <key>`"))?;
    if keys.any(|other| other != key) {
        return Err(unauthenticated(
            "more than one API key: send one, as `authorization: Bearer <key>` or `x-api-key: <key>`",
        ));
    }
    Ok(key)
}

/// Who calls by HTTP's basic authentication, whose password is not looked at.
fn basic(scheme: &str, credentials: &str) -> Option<String> {
    let text = scheme.eq_ignore_ascii_case("basic").then(|| BASE64.decode(credentials.trim()))?.ok()?;
    let text = String::from_utf8(text).ok()?;
    Some(text.split_once(':').map_or(text.as_str(), |(name, _)| name).to_owned())
}

/// One text for all, so that a guess learns nothing.
fn refused() -> Error {
    unauthenticated("the API key is unknown, expired or revoked")
}

fn unauthenticated(message: &str) -> Error {
    Error::new(ErrorCode::Unauthenticated, message)
}

#[cfg(test)]
pub(crate) mod tests;
