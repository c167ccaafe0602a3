//! The log in a topic of Apache Kafka: one message a record, appended by an idempotent producer to all replicas in sync.
//!
//! Of its clients ([`brokers`] asks, [`writer`] appends, [`reader`] reads, [`group`] shares the partitions out) a process
//! makes those that it uses. Offsets are Kafka's own. A record's time is the one at which its partition's leader
//! appended it (`LogAppendTime`). In what one process reads in a row it never falls; where a new leader's clock is
//! behind the old one's, two reads may see it fall by as much. The time of a [`Tail`] is this machine's, less
//! [`KafkaOptions::max_clock_skew_ms`]: its promise holds as long as no two clocks of the cluster differ by more.
//!
//! A topic's life is known by its id. Each gets the number that [`Incarnations`] keeps for it; a process that finds the
//! topic made anew stops using it, since nothing that it knows of it is true any more.

use std::{
    collections::btree_map::Entry,
    sync::{
        Arc, Weak,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use model::{Incarnation, Offset, PartitionId, Position};
use parking_lot::{Mutex, RwLock};
use rdkafka::{ClientContext, config::RDKafkaLogLevel, consumer::ConsumerContext, error::KafkaError};
use tokio::{sync::watch, time::sleep};
use tracing::{debug, error, warn};

use crate::{Assignment, Batch, Clock, EventLog, LogError, LogOptions, Record, Tail, blocking, system_clock};

mod brokers;
mod describe;
mod group;
mod options;
mod outlet;
mod reader;
mod writer;

use brokers::Brokers;
use group::Member;
pub use options::KafkaOptions;
pub use outlet::{Keep, Message, Outlet};
use reader::Reader;
use writer::Writer;

const CLOSED: &str = "the log is closed";
/// What a record takes of a message's largest size beside its payload, at most: the batch it is alone in, bytes.
const MESSAGE_OVERHEAD: usize = 512;
/// How often the reader's own events are served.
const ATTEND_EVERY: Duration = Duration::from_secs(1);

/// Numbers the lives of topics. Kept outside of the log: a topic can't tell how many were there before it.
#[async_trait]
pub trait Incarnations: Send + Sync {
    /// The number of the life of `topic` that has this identity: always the same for one identity, and higher than all
    /// before for one that is new.
    async fn incarnation(&self, topic: &str, identity: &str) -> Result<Incarnation, LogError>;
}

/// A log in a topic of Kafka.
pub struct KafkaLog {
    servers: String,
    topic: String,
    identity: String,
    incarnation: Incarnation,
    options: LogOptions,
    brokers: Arc<Brokers>,
    writer: Writer,
    /// Made when it is first used.
    reader: Mutex<Option<Arc<Reader>>>,
    /// The highest time told of each partition's tail.
    tails: RwLock<Vec<AtomicI64>>,
    clock: Clock,
    stopped: watch::Sender<Option<Arc<str>>>,
}

/// What all clients tell: into the log of this program.
#[derive(Debug, Clone, Copy)]
struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            // A broker that is away is told once by whoever needs it.
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                warn!(target: "librdkafka", facility, "{message}");
            }
            _ => debug!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(target: "librdkafka", %error, reason);
    }
}

impl ConsumerContext for Context {}

fn unavailable(error: KafkaError) -> LogError {
    LogError::Unavailable(format!("Kafka: {error}"))
}

impl KafkaLog {
    /// Opens the topic, or makes it. `place` is what follows `kafka:` in a URL.
    ///
    /// # Errors
    /// As [`crate::open`].
    pub async fn open(
        place: &str,
        options: &LogOptions,
        incarnations: &dyn Incarnations,
    ) -> Result<Arc<Self>, LogError> {
        let (servers, topic) = parse(place, &options.topic)?;
        let options = LogOptions { topic: topic.clone(), ..options.clone() };
        options.check()?;
        let kafka = &options.kafka;
        let timeout = Duration::from_millis(kafka.timeout_ms);
        let config = kafka.client(&servers);
        let own_topic = topic.clone();
        let brokers = Arc::new(blocking(move || Brokers::new(&config, &own_topic, timeout)).await?);
        let found = brokers.prepare(&options).await?;
        let incarnation = incarnations.incarnation(&topic, &found.id).await?;
        let max_record_bytes = kafka.max_message_bytes().min(found.max_message_bytes).saturating_sub(MESSAGE_OVERHEAD);
        let writer = Writer::new(kafka.producer(&servers), &topic, timeout, max_record_bytes, options.queue_bytes);
        let log = Arc::new(Self {
            servers,
            topic,
            identity: found.id,
            incarnation,
            brokers,
            writer,
            reader: Mutex::new(None),
            tails: RwLock::new((0..found.partitions).map(|_| AtomicI64::new(i64::MIN)).collect()),
            clock: system_clock(),
            stopped: watch::Sender::new(None),
            options,
        });
        debug!(topic = log.topic, identity = log.identity, incarnation, partitions = found.partitions, "opened");
        tokio::spawn(attend(Arc::downgrade(&log), log.stopped.subscribe()));
        Ok(log)
    }

    fn check(&self, partition: PartitionId) -> Result<(), LogError> {
        let partitions = self.partitions();
        if partition < partitions { Ok(()) } else { Err(LogError::NoSuchPartition { partition, partitions }) }
    }

    fn check_open(&self) -> Result<(), LogError> {
        self.stopped.borrow().as_ref().map_or(Ok(()), |reason| Err(LogError::Unavailable(reason.to_string())))
    }

    /// The reader. Closing takes it away under the same lock, so none is made after that.
    fn reader(&self) -> Result<Arc<Reader>, LogError> {
        let mut reader = self.reader.lock();
        self.check_open()?;
        if let Some(reader) = &*reader {
            return Ok(Arc::clone(reader));
        }
        let partitions = self.partitions();
        let ahead_bytes = self.options.cache_bytes / partitions as usize;
        let config = self.options.kafka.consumer(&self.servers, ahead_bytes);
        let made = Reader::new(&config, Arc::clone(&self.brokers), &self.topic, partitions, ahead_bytes.max(1 << 16))?;
        Ok(Arc::clone(reader.insert(Arc::new(made))))
    }

    /// Has the next who reads do so with another reader; `false` if that is so already.
    fn is_done_with(&self, reader: Arc<Reader>) -> bool {
        let done = self.reader.lock().take_if(|now| Arc::ptr_eq(now, &reader)).is_some();
        tokio::task::spawn_blocking(move || drop(reader));
        done
    }

    async fn bounds(&self, partition: PartitionId) -> Result<(Offset, Offset), LogError> {
        self.check_open()?;
        let brokers = Arc::clone(&self.brokers);
        let bounds = blocking(move || brokers.bounds(partition)).await;
        self.check_open()?; // no answer of another life of the topic
        bounds
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.options.kafka.timeout_ms)
    }

    /// Stops for good; the first reason stays.
    fn stop(&self, reason: &str) {
        self.stopped.send_if_modified(|stop| {
            let first = stop.is_none();
            stop.get_or_insert_with(|| reason.into());
            first
        });
    }

    /// Whether the topic is still the one that was opened. What can't be found out now is asked again later.
    async fn check_identity(&self) {
        match self.brokers.describe().await {
            Ok(Some(found)) if found.id != self.identity => {
                let reason = format!(
                    "the topic {} was deleted and made anew; this process must be restarted to use the new one",
                    self.topic
                );
                error!("{reason}");
                self.stop(&reason);
            }
            Ok(Some(_)) => {}
            Ok(None) => warn!(topic = self.topic, "the topic isn't there"),
            Err(error) => debug!(%error, "the topic's identity isn't known"),
        }
    }
}

/// Serves the log until it stops.
async fn attend(log: Weak<KafkaLog>, mut stopped: watch::Receiver<Option<Arc<str>>>) {
    let mut checked = Instant::now();
    loop {
        let Some(log) = log.upgrade() else { return };
        let check_every = Duration::from_millis(log.options.kafka.check_ms);
        if checked.elapsed() >= check_every {
            log.check_identity().await;
            checked = Instant::now();
        }
        let reader = log.reader.lock().clone();
        drop(log);
        if let Some(reader) = reader {
            let _ = tokio::task::spawn_blocking(move || reader.attend()).await; // nothing to tell if it panicked
        }
        tokio::select! {
            _ = stopped.wait_for(Option::is_some) => return,
            () = sleep(ATTEND_EVERY.min(check_every)) => {}
        }
    }
}

/// The servers and the topic of `//HOST:PORT[,HOST:PORT...][/TOPIC]`.
fn parse(place: &str, default_topic: &str) -> Result<(String, String), LogError> {
    let bad = |what: &str| {
        LogError::Config(format!("kafka:{place} {what}; it should look like kafka://HOST:PORT,HOST:PORT/TOPIC"))
    };
    let rest = place.strip_prefix("//").ok_or_else(|| bad("names no brokers"))?;
    let (servers, topic) = rest.split_once('/').unwrap_or((rest, ""));
    let topic = if topic.is_empty() { default_topic } else { topic };
    for server in servers.split(',') {
        let (host, port) = server.rsplit_once(':').ok_or_else(|| bad("has a broker without a port"))?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(bad("has a broker that is not HOST:PORT"));
        }
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !topic.chars().all(legal) || topic == "." || topic == ".." {
        return Err(bad("has a topic with other than letters, digits, '.', '_' and '-'"));
    }
    Ok((servers.to_owned(), topic.to_owned()))
}

#[async_trait]
impl EventLog for KafkaLog {
    fn topic(&self) -> &str {
        &self.topic
    }

    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn partitions(&self) -> u32 {
        self.tails.read().len() as u32
    }

    async fn grow(&self, partitions: u32) -> Result<(), LogError> {
        if partitions <= self.partitions() {
            return Ok(());
        }
        LogOptions { partitions, ..self.options.clone() }.check()?;
        self.check_open()?;
        let found = self.brokers.grow(partitions).await?;
        if found.id != self.identity {
            self.check_identity().await;
            return self.check_open();
        }
        {
            let mut tails = self.tails.write();
            let more = (found.partitions as usize).saturating_sub(tails.len());
            tails.extend((0..more).map(|_| AtomicI64::new(i64::MIN)));
        }
        // Who still reads with the old one may go on: it has what was there.
        let reader = self.reader.lock().take();
        tokio::task::spawn_blocking(move || drop(reader));
        self.writer.retire();
        Ok(())
    }

    async fn append(&self, batches: Vec<Batch>) -> Result<Position, LogError> {
        for batch in &batches {
            self.check(batch.partition)?;
            batch.check()?;
        }
        self.check_open()?;
        let mut ends = self.writer.append(&batches).await?;
        for batch in &batches {
            if let Entry::Vacant(end) = ends.entry(batch.partition) {
                end.insert(self.bounds(batch.partition).await?.1);
            }
        }
        match &*self.stopped.borrow() {
            Some(reason) if **reason != *CLOSED => return Err(LogError::Unavailable(reason.to_string())),
            _ => {} // what was taken before the end is in the log
        }
        Ok(Position::new(self.incarnation, ends.into_iter().collect()))
    }

    async fn read(
        &self,
        partition: PartitionId,
        from: Offset,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, LogError> {
        self.check(partition)?;
        let (reader, timeout) = (self.reader()?, self.timeout());
        let records = reader.read(partition, from, max_records, max_bytes, timeout).await;
        self.check_open()?;
        if reader.is_dead(timeout) && self.is_done_with(reader) {
            warn!(partition, "the Kafka consumer brings nothing of what there is; another one takes its place");
        }
        records
    }

    async fn wait_for(&self, partition: PartitionId, offset: Offset) -> Result<(), LogError> {
        self.check(partition)?;
        let mut stopped = self.stopped.subscribe();
        let reader = self.reader()?;
        tokio::select! {
            biased;
            _ = stopped.wait_for(Option::is_some) => {}
            () = reader.wait_for(partition, offset) => {}
        }
        self.check_open()
    }

    async fn tail(&self, partition: PartitionId) -> Result<Tail, LogError> {
        self.check(partition)?;
        let asked_ms = (self.clock)() - self.options.kafka.max_clock_skew_ms;
        let (_, end) = self.bounds(partition).await?;
        // What was true of an earlier end is of a later one.
        let told_ms = self.tails.read()[partition as usize].fetch_max(asked_ms, Ordering::Relaxed);
        Ok(Tail { end, time_ms: asked_ms.max(told_ms) })
    }

    async fn first_since(&self, partition: PartitionId, time_ms: i64) -> Result<Offset, LogError> {
        self.check(partition)?;
        let reader = self.reader()?;
        let found = reader.first_since(partition, time_ms, self.timeout()).await;
        if found.is_err() {
            self.is_done_with(reader); // it may be its memory of the partitions that is wrong, as with bounds
        }
        match found? {
            Some(offset) => Ok(offset),
            None => Ok(self.bounds(partition).await?.1),
        }
    }

    async fn trim(&self, partition: PartitionId, before: Offset) -> Result<(), LogError> {
        self.check(partition)?;
        let (begin, end) = self.bounds(partition).await?;
        let before = before.min(end);
        if before > begin {
            self.brokers.delete(partition, before).await?;
            let reader = self.reader.lock().clone();
            if let Some(reader) = reader {
                reader.trimmed(partition, before).await;
            }
        }
        Ok(())
    }

    fn assignment(&self) -> Result<Box<dyn Assignment>, LogError> {
        self.check_open()?;
        let kafka = &self.options.kafka;
        let session = Duration::from_millis(kafka.session_timeout_ms);
        Ok(Box::new(Member::join(kafka.member(&self.servers), &self.topic, session)?))
    }

    async fn close(&self) -> Result<(), LogError> {
        self.stop(CLOSED);
        let reader = self.reader.lock().take();
        let flushed = self.writer.close().await;
        if let Some(reader) = reader {
            reader.close().await;
        }
        flushed
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let parsed = |place| parse(place, "events").map(|(servers, topic)| format!("{servers} {topic}"));
        assert_eq!(parsed("//a:1").unwrap(), "a:1 events");
        assert_eq!(parsed("//a:1,[::1]:2/").unwrap(), "a:1,[::1]:2 events");
        assert_eq!(parsed("//a:1,b:2/x-y_z.1").unwrap(), "a:1,b:2 x-y_z.1");
        for bad in ["", "a:1", "//", "//a", "//a:1,", "//:1", "//a:x", "//a:1/x/y", "//a:1/x?y=1"] {
            let error = parsed(bad).unwrap_err().to_string();
            assert!(error.contains("kafka://HOST:PORT"), "{bad}: {error}");
        }
    }
}
