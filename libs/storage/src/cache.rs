//! Copies of what can be had elsewhere.

mod memory;
mod redis;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::broadcast;

/// Bytes by key, for a while. A cache may lose anything at any time, so its methods can't fail: what can't be read is a miss,
/// what can't be written is dropped, both counted in `penstock_cache_failures_total`.
///
/// A value never outlives its `ttl`. After `delete` nobody gets the old value: at once where notices arrive, 5 s later at most
/// where one was lost; but a `delete` that doesn't reach a shared cache is lost, and then the `ttl` is the bound. After `set`
/// other processes may get the value before it for up to 5 s, so give a new value a new key, or delete the old one.
#[async_trait]
pub trait Cache: Send + Sync + 'static {
    /// The value, if it is there.
    async fn get(&self, key: &str) -> Option<Bytes>;

    /// Keeps a value for `ttl`, in place of the one that was there.
    async fn set(&self, key: &str, value: Bytes, ttl: Duration);

    /// Forgets a value, and tells every process that shares the cache.
    async fn delete(&self, key: &str);

    /// The keys that anyone deletes from now on, some perhaps more than once. Who keeps copies of its own drops them; since a
    /// notice can be lost with the connection that it came on, such copies must have an age.
    fn deleted(&self) -> broadcast::Receiver<String>;

    /// Takes units out of a bucket that all processes with this cache share, in one step. `None`: nobody shares it, or it can't be
    /// reached now, and whether they were taken is unknown. A bucket that nobody knows is full.
    async fn lease(&self, bucket: &str, ask: &Ask) -> Option<Lease>;

    /// Says that process `name` of a group is there, for the next [`PRESENT`]; tells how many are. `None` as for a lease.
    async fn present(&self, group: &str, name: &str) -> Option<u64>;

    /// Claims something for `ttl`, or goes on holding it: whether it is this holder's now, and no other's of all who share the cache. Where nobody
    /// does, or it can't be reached, everybody has everything.
    async fn claim(&self, name: &str, holder: &str, ttl: Duration) -> bool;

    /// Gives back what this holder claimed.
    async fn release(&self, name: &str, holder: &str);
}

/// For how long a process counts that isn't heard of.
pub const PRESENT: Duration = Duration::from_secs(5);

/// What is asked of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Units a second that it fills by; at least 1.
    pub per_second: u64,
    /// Units that it holds when it is full.
    pub burst: u64,
    /// Units that were used already without being asked for: they are taken first, also those that aren't there yet.
    pub owed: u64,
    /// Units that were used while the bucket couldn't be asked, which it may know of all the same: they are taken as far as they are there.
    pub missed: u64,
    /// At least so many, or none; at most `burst`.
    pub least: u64,
    /// At most so many.
    pub most: u64,
}

/// What a bucket gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// So many units.
    Units(u64),
    /// None now; the least that was asked for is there after this time if nobody takes any meanwhile.
    Later(Duration),
}

/// Why a cache can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The address names no cache that this build knows.
    #[error("the cache's address: {0}")]
    Address(String),
}

/// Deletions that a slow reader of [`Cache::deleted`] may lag behind before it misses some.
const NOTICES: usize = 1024;

/// Opens the cache at `url`: `memory:` is this process's own, `redis://USER:PASSWORD@HOST:PORT/DATABASE` (or `rediss://`, with
/// TLS) is shared. Redis need not be there, now or later. `Address` for anything else, without what may be a password.
/// Call it within a Tokio runtime: a task listens to Redis until the cache is dropped.
pub async fn open_cache(url: &str) -> Result<Arc<dyn Cache>, CacheError> {
    match url.split_once(':') {
        Some(("memory", "")) => Ok(Arc::new(memory::MemoryCache::new())),
        Some(("redis" | "rediss", _)) => Ok(Arc::new(redis::RedisCache::open(url)?)),
        other => {
            let scheme = other.map_or("", |(scheme, _)| scheme);
            Err(CacheError::Address(format!("unknown kind of cache {scheme:?}; use memory: or redis://...")))
        }
    }
}
