//! Redis, with a memory tier in front of it.
//!
//! Deletions are published on a channel. One connection follows it; while it doesn't (at the start, after a break), the memory
//! tier is emptied and not used, since notices may have been missed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use deadpool_redis::{
    Connection, Manager, Pool, PoolError, Runtime,
    redis::{Client, FromRedisValue, IntoConnectionInfo, Pipeline, RedisError, pipe},
};
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::{
    sync::broadcast,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{Ask, Cache, CacheError, Lease, NOTICES, PRESENT, memory::Values};

/// How long a value may take to be read or written: beyond it the source itself would be quicker.
const TIMEOUT: Duration = Duration::from_millis(100);
/// How long a deletion may take, which matters more.
const DELETE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long Redis isn't asked after it failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a value stays in memory before Redis is asked again: the bound on what a lost notice may do.
const NEAR_TTL: Duration = Duration::from_secs(5);
const CONNECTIONS: usize = 8;
/// A connection on which nothing came for this long is asked whether it is there.
const QUIET: Duration = Duration::from_secs(5);
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);

/// Takes units of a bucket, of which only the instant is kept when everything taken is paid for, in µs (the generic cell rate algorithm). The clock
/// is Redis's own, so that nobody else's matters. Answers the units, and if there are none in how many µs the least are there.
const LEASE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local rate, burst, owed, missed, least, most = ARGV[1] / 1e6, ARGV[2] + 0, ARGV[3] + 0, ARGV[4] + 0, ARGV[5] + 0, ARGV[6] + 0
local paid = math.max(redis.call('GET', KEYS[1]) or 0, now)
paid = math.max(paid, math.min(paid + missed / rate, now + burst / rate)) + owed / rate
local room = math.floor((now - paid) * rate + burst + 0.001)
local given = 0
if room >= least then given = math.min(room, most) end
if given > 0 or owed > 0 or missed > 0 then
  paid = paid + given / rate
  redis.call('SET', KEYS[1], string.format('%.3f', paid), 'PX', string.format('%.0f', (paid - now) / 1000 + 1000))
end
return {given, math.max(0, math.ceil((least - room) / rate))}
";

/// Notes when a process was there last, forgets those that aren't any more, and counts.
const PRESENCE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
";

/// Claims what nobody else holds, or goes on holding it.
const CLAIM: &str = r"
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
";

/// Gives back what the holder has.
const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end";

/// A cache that processes share.
pub(super) struct RedisCache {
    shared: Arc<Shared>,
    listener: JoinHandle<()>,
}

struct Shared {
    client: Client,
    pool: Pool,
    prefix: String,
    channel: String,
    near: Values,
    /// Whether notices arrive: only then `near` is used.
    listening: AtomicBool,
    /// Notices and gaps between them so far. A value that was read before one and kept after it might be an old one.
    notices: AtomicU64,
    deleted: broadcast::Sender<String>,
    /// Redis failed, and is asked again from then on.
    paused_until: Mutex<Option<Instant>>,
}

impl RedisCache {
    pub(super) fn open(url: &str) -> Result<Self, CacheError> {
        // The driver's words may repeat the address.
        let wrong = || CacheError::Address("it must be redis://USER:PASSWORD@HOST:PORT/DATABASE".to_owned());
        let info = url.into_connection_info().map_err(|_| wrong())?;
        let database = info.redis_settings().db();
        let client = Client::open(info.clone()).map_err(|_| wrong())?;
        let manager = Manager::new(info).map_err(|_| wrong())?;
        let pool = Pool::builder(manager).max_size(CONNECTIONS).runtime(Runtime::Tokio1).build();
        let shared = Arc::new(Shared {
            client,
            pool: pool.map_err(|_| wrong())?,
            prefix: "penstock:".to_owned(),
            // Channels, unlike keys, belong to all databases of a server.
            channel: format!("penstock:deleted:{database}"),
            near: Values::new(),
            listening: AtomicBool::new(false),
            notices: AtomicU64::new(0),
            deleted: broadcast::Sender::new(NOTICES),
            paused_until: Mutex::new(None),
        });
        let listener = tokio::spawn(listen(Arc::clone(&shared)));
        Ok(Self { shared, listener })
    }
}

impl Drop for RedisCache {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

#[async_trait]
impl Cache for RedisCache {
    async fn get(&self, key: &str) -> Option<Bytes> {
        let shared = &self.shared;
        if shared.listening.load(Ordering::Acquire)
            && let Some(value) = shared.near.get(key).await
        {
            return Some(value);
        }
        let notices = shared.notices.load(Ordering::Acquire);
        let mut read = pipe();
        read.get(shared.stored(key)).pttl(shared.stored(key));
        let (value, ttl_ms): (Option<Vec<u8>>, i64) = shared.ask("get", TIMEOUT, &read).await?;
        let value = Bytes::from(value?);
        // A negative time: it has none (somebody else's) or just ended.
        if let Ok(ttl_ms @ 1..) = u64::try_from(ttl_ms) {
            shared.keep_near(key, value.clone(), Duration::from_millis(ttl_ms), notices).await;
        }
        Some(value)
    }

    async fn set(&self, key: &str, value: Bytes, ttl: Duration) {
        let shared = &self.shared;
        let notices = shared.notices.load(Ordering::Acquire);
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        if ttl_ms == 0 {
            return;
        }
        let mut write = pipe();
        write.pset_ex(shared.stored(key), &value[..], ttl_ms).ignore();
        if shared.ask::<()>("set", TIMEOUT, &write).await.is_some() {
            shared.keep_near(key, value, ttl, notices).await;
        }
    }

    async fn delete(&self, key: &str) {
        let shared = &self.shared;
        shared.forget(key).await;
        let mut delete = pipe();
        delete.atomic().del(shared.stored(key)).ignore().publish(&shared.channel, key).ignore();
        let _: Option<()> = shared.ask("delete", DELETE_TIMEOUT, &delete).await;
    }

    fn deleted(&self) -> broadcast::Receiver<String> {
        self.shared.deleted.subscribe()
    }

    async fn lease(&self, bucket: &str, ask: &Ask) -> Option<Lease> {
        let shared = &self.shared;
        let mut take = pipe();
        take.cmd("EVAL").arg(LEASE).arg(1).arg(shared.stored(&format!("bucket/{bucket}")));
        take.arg(&[ask.per_second.max(1), ask.burst, ask.owed, ask.missed, ask.least, ask.most]);
        let ((units, wait_us),): ((u64, u64),) = shared.ask("lease", TIMEOUT, &take).await?;
        Some(if units > 0 { Lease::Units(units) } else { Lease::Later(Duration::from_micros(wait_us)) })
    }

    async fn present(&self, group: &str, name: &str) -> Option<u64> {
        let shared = &self.shared;
        let mut say = pipe();
        say.cmd("EVAL").arg(PRESENCE).arg(1).arg(shared.stored(&format!("present/{group}")));
        say.arg(name).arg(PRESENT.as_millis() as u64);
        let (there,): (u64,) = shared.ask("present", TIMEOUT, &say).await?;
        Some(there)
    }

    async fn claim(&self, name: &str, holder: &str, ttl: Duration) -> bool {
        let shared = &self.shared;
        let mut claim = pipe();
        claim.cmd("EVAL").arg(CLAIM).arg(1).arg(shared.stored(&format!("claim/{name}")));
        claim.arg(holder).arg(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        shared.ask::<(bool,)>("claim", TIMEOUT, &claim).await.is_none_or(|(held,)| held)
    }

    async fn release(&self, name: &str, holder: &str) {
        let shared = &self.shared;
        let mut release = pipe();
        release.cmd("EVAL").arg(RELEASE).arg(1).arg(shared.stored(&format!("claim/{name}"))).arg(holder).ignore();
        let _: Option<()> = shared.ask("release", TIMEOUT, &release).await;
    }
}

impl Shared {
    fn stored(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    async fn keep_near(&self, key: &str, value: Bytes, ttl: Duration, notices: u64) {
        if !self.listening.load(Ordering::Acquire) {
            return;
        }
        self.near.set(key, value, ttl.min(NEAR_TTL)).await;
        // A notice that came before this line is seen here; one that comes after it finds the value to drop.
        if self.notices.load(Ordering::Acquire) != notices {
            self.near.delete(key).await;
        }
    }

    async fn forget(&self, key: &str) {
        self.notices.fetch_add(1, Ordering::AcqRel);
        self.near.delete(key).await;
        let _ = self.deleted.send(key.to_owned()); // nobody may listen
    }

    /// The answer, or nothing, which is counted.
    async fn ask<T: FromRedisValue>(&self, operation: &'static str, within: Duration, pipe: &Pipeline) -> Option<T> {
        // A deletion is always tried: what it leaves behind is wrong, not slow.
        let outcome = if operation == "delete" || self.may_ask() {
            let outcome = match timeout(within, self.send(pipe)).await {
                Ok(outcome) => outcome.map_err(|error| error.to_string()),
                Err(_) => Err(format!("no answer for {within:?}")),
            };
            self.note(outcome)
        } else {
            None
        };
        if outcome.is_none() {
            metrics::counter!("penstock_cache_failures_total", "operation" => operation).increment(1);
        }
        outcome
    }

    async fn send<T: FromRedisValue>(&self, pipe: &Pipeline) -> Result<T, PoolError> {
        let mut connection: Connection = self.pool.get().await?;
        Ok(pipe.query_async(&mut connection).await?)
    }

    /// Whether Redis is well, or it is this caller's turn to find out.
    fn may_ask(&self) -> bool {
        let mut paused_until = self.paused_until.lock();
        let now = Instant::now();
        match *paused_until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                *paused_until = Some(now + PAUSE);
                true
            }
        }
    }

    fn note<T>(&self, outcome: Result<T, String>) -> Option<T> {
        let mut paused_until = self.paused_until.lock();
        match outcome {
            Ok(answer) => {
                if paused_until.take().is_some() {
                    tracing::info!("the cache is back");
                }
                Some(answer)
            }
            Err(error) => {
                if paused_until.replace(Instant::now() + PAUSE).is_none() {
                    tracing::warn!(error, "the cache can't be reached: answers are slower until it is back");
                }
                None
            }
        }
    }
}

async fn listen(shared: Arc<Shared>) {
    loop {
        if let Err(error) = follow(&shared).await {
            tracing::debug!(%error, "the cache's notices don't arrive");
        }
        shared.listening.store(false, Ordering::Release);
        shared.near.clear();
        sleep(RECONNECT_PAUSE).await;
    }
}

/// Follows the deletions until the connection breaks.
async fn follow(shared: &Shared) -> Result<(), RedisError> {
    let connecting = timeout(DELETE_TIMEOUT, async {
        let mut connection = shared.client.get_async_pubsub().await?;
        connection.subscribe(&shared.channel).await?;
        Ok::<_, RedisError>(connection)
    });
    let (mut asking, mut messages) = connecting.await.map_err(silent)??.split();
    // Before anything is kept: what was read under an older count isn't kept any more.
    shared.notices.fetch_add(1, Ordering::AcqRel);
    shared.near.clear();
    shared.listening.store(true, Ordering::Release);
    loop {
        match timeout(QUIET, messages.next()).await {
            Ok(Some(message)) => shared.forget(&message.get_payload::<String>()?).await,
            Ok(None) => return Ok(()),
            Err(_) => timeout(DELETE_TIMEOUT, asking.ping()).await.map_err(silent)??,
        }
    }
}

fn silent(_: tokio::time::error::Elapsed) -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer").into()
}
