//! One consumer for all partitions, each with a queue of its own that is fetched ahead.
//!
//! Nothing is read by a task of its own: whoever reads or waits takes from the partition's queue, and moves the consumer
//! where the next record isn't the one wanted. The queue says when it is no longer empty.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use model::{Offset, PartitionId};
use rdkafka::{
    ClientConfig, Message, Offset as Place, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer, base_consumer::PartitionQueue},
};
use tokio::sync::{Mutex, watch};
use tracing::debug;

use super::{
    Context,
    brokers::{Brokers, of_leader},
    options::bad_config,
    unavailable,
};
use crate::{LogError, Record, blocking};

/// After how long the brokers are asked for the end all the same, though the fetcher stands at it.
const SAFETY: Duration = Duration::from_secs(5);
/// How often they are asked while the fetcher can't tell.
const ASK: Duration = Duration::from_millis(250);

pub(super) struct Reader {
    topic: Arc<str>,
    partitions: Vec<Partition>,
    brokers: Arc<Brokers>,
    signs: Arc<Signs>,
    consumer: Arc<BaseConsumer<Context>>, // last: the queues end before it
}

struct Partition {
    fetch: Arc<Mutex<Fetch>>,
    /// Changes when the queue is no longer empty.
    news: Arc<watch::Sender<()>>,
}

/// Whether the consumer lives: librdkafka's can stay without a connection for good while the brokers answer everybody else.
struct Signs {
    made: Instant,
    /// When it last brought a record, of whatever partition, in ms since it was made.
    brought_ms: AtomicU64,
    /// Whether a record that was there did not come in time.
    starved: AtomicBool,
}

/// Where the consumer stands in a partition, and what it brought.
struct Fetch {
    signs: Arc<Signs>,
    queue: PartitionQueue<Context>,
    consumer: Arc<BaseConsumer<Context>>,
    topic: Arc<str>,
    partition: PartitionId,
    assigned: bool,
    /// The offset that the queue brings next; unknown before the first seek and after an error.
    next: Option<Offset>,
    /// Whether the queue brought a record since the last seek: what doesn't fit before may be from earlier.
    arrived: bool,
    /// Records taken from the queue and not yet read, up to `next`.
    ahead: VecDeque<Record>,
    ahead_bytes: usize,
    most_bytes: usize,
    /// The highest end known of the partition.
    end: Offset,
    /// When the brokers were asked for it, or the queue brought something.
    confirmed: Instant,
    /// The last record taken: its time is the least for the one after.
    last: Option<(Offset, i64)>,
}

/// Whether a record at an offset or later is there.
enum Look {
    Here,
    /// Not yet; the queue will bring it.
    Coming,
    /// Only the brokers know.
    Unknown,
}

impl Reader {
    pub(super) fn new(
        config: &ClientConfig,
        brokers: Arc<Brokers>,
        topic: &str,
        partitions: u32,
        most_bytes: usize,
    ) -> Result<Self, LogError> {
        let consumer = BaseConsumer::from_config_and_context(config, Context).map_err(bad_config)?;
        let consumer: Arc<BaseConsumer<Context>> = Arc::new(consumer);
        let topic: Arc<str> = topic.into();
        let (brought_ms, starved) = (AtomicU64::new(0), AtomicBool::new(false));
        let signs = Arc::new(Signs { made: Instant::now(), brought_ms, starved });
        let partitions = (0..partitions).map(|partition| {
            let queue = consumer.split_partition_queue(&topic, partition as i32);
            let mut queue =
                queue.ok_or_else(|| LogError::Unavailable(format!("partition {partition} has no queue")))?;
            let news = Arc::new(watch::Sender::new(()));
            let callback = Arc::clone(&news);
            queue.set_nonempty_callback(move || callback.send_modify(|()| ()));
            let fetch = Fetch {
                signs: Arc::clone(&signs),
                queue,
                consumer: Arc::clone(&consumer),
                topic: Arc::clone(&topic),
                partition,
                assigned: false,
                next: None,
                arrived: false,
                ahead: VecDeque::new(),
                ahead_bytes: 0,
                most_bytes,
                end: 0,
                confirmed: Instant::now(),
                last: None,
            };
            Ok(Partition { fetch: Arc::new(Mutex::new(fetch)), news })
        });
        let partitions = partitions.collect::<Result<_, LogError>>()?;
        Ok(Self { topic, partitions, brokers, signs, consumer })
    }

    pub(super) async fn read(
        &self,
        partition: PartitionId,
        from: Offset,
        max_records: usize,
        max_bytes: usize,
        timeout: Duration,
    ) -> Result<Vec<Record>, LogError> {
        let (fetch, brokers) = (Arc::clone(&self.partitions[partition as usize].fetch), Arc::clone(&self.brokers));
        let mut fetch = fetch.lock_owned().await;
        blocking(move || fetch.read(from, max_records, max_bytes, Instant::now() + timeout, &brokers)).await
    }

    /// The first record at this time or later, if there is one. The brokers find it by their index: no record is fetched.
    pub(super) async fn first_since(
        &self,
        partition: PartitionId,
        time_ms: i64,
        timeout: Duration,
    ) -> Result<Option<Offset>, LogError> {
        let consumer = Arc::clone(&self.consumer);
        let topic = Arc::clone(&self.topic);
        blocking(move || {
            let found = of_leader(timeout, |left| {
                let mut times = TopicPartitionList::new();
                times.add_partition_offset(&topic, partition as i32, Place::Offset(time_ms.max(0)))?;
                let found = consumer.offsets_for_times(times, left)?;
                let Some(place) = found.find_partition(&topic, partition as i32) else { return Ok(Place::End) };
                place.error().map(|()| place.offset())
            })
            .map_err(unavailable)?;
            match found {
                Place::Offset(offset) => Ok(Some(offset.unsigned_abs())),
                _ => Ok(None),
            }
        })
        .await
    }

    /// Whether it brings nothing, of any partition, though there are records: another one is to take its place.
    pub(super) fn is_dead(&self, timeout: Duration) -> bool {
        let brought = Duration::from_millis(self.signs.brought_ms.load(Ordering::Relaxed));
        self.signs.starved.load(Ordering::Relaxed) && self.signs.made.elapsed().saturating_sub(brought) >= timeout
    }

    /// Ends when the record is there; not before the brokers are, if they are away. Who gives up and waits anew loses nothing by it.
    pub(super) async fn wait_for(&self, partition: PartitionId, offset: Offset) {
        let place = &self.partitions[partition as usize];
        let mut news = place.news.subscribe();
        loop {
            news.mark_unchanged();
            let mut fetch = Arc::clone(&place.fetch).lock_owned().await;
            let mut look = fetch.look(offset);
            let is_due = fetch.confirmed.elapsed() >= SAFETY;
            if matches!(look, Look::Unknown) || (is_due && matches!(look, Look::Coming)) {
                let brokers = Arc::clone(&self.brokers);
                look = blocking(move || fetch.ask(offset, &brokers)).await.unwrap_or_else(|error| {
                    debug!(partition, %error, "the end isn't known");
                    Look::Unknown
                });
            } else {
                drop(fetch);
            }
            let patience = match look {
                Look::Here => return,
                Look::Coming => SAFETY,
                Look::Unknown => ASK,
            };
            let _ = tokio::time::timeout(patience, news.changed()).await; // either way it is looked again
        }
    }

    /// Forgets what lies below `before`.
    pub(super) async fn trimmed(&self, partition: PartitionId, before: Offset) {
        let mut fetch = self.partitions[partition as usize].fetch.lock().await;
        fetch.skip_to(before);
    }

    /// Serves what isn't about a partition: errors, which the log tells, and librdkafka's own log. Blocks for a moment.
    pub(super) fn attend(&self) {
        if let Some(Err(error)) = self.consumer.poll(Duration::from_millis(10)) {
            debug!(%error, "the Kafka consumer");
        }
    }

    /// Waits for whoever reads.
    pub(super) async fn close(self: Arc<Self>) {
        for partition in &self.partitions {
            partition.fetch.lock().await.next = None;
        }
        tokio::task::spawn_blocking(move || drop(self)); // closing the consumer takes its time
    }
}

impl Fetch {
    fn read(
        &mut self,
        from: Offset,
        max_records: usize,
        max_bytes: usize,
        deadline: Instant,
        brokers: &Brokers,
    ) -> Result<Vec<Record>, LogError> {
        let (mut records, mut bytes, mut end) = (Vec::new(), 0, None);
        self.skip_to(from);
        while records.len() < max_records && (records.is_empty() || bytes < max_bytes) {
            let wanted = from + records.len() as u64;
            if let Some(record) = self.take(wanted) {
                bytes += record.payload.len();
                records.push(record);
                continue;
            }
            let end = match end {
                Some(end) => end,
                None => match brokers.bounds(self.partition) {
                    Ok((begin, _)) if wanted < begin => {
                        let partition = self.partition;
                        return Err(LogError::Trimmed { partition, offset: wanted, begin });
                    }
                    Ok((_, found)) => {
                        self.end = self.end.max(found);
                        *end.insert(found)
                    }
                    Err(_) if !records.is_empty() => break,
                    Err(error) => return Err(error),
                },
            };
            if wanted >= end {
                break;
            }
            // It is there, but not in hand.
            if self.next != Some(wanted) {
                self.seek(wanted)?;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.next = None; // whatever holds it up, the next try begins anew
                if records.is_empty() {
                    self.signs.starved.store(true, Ordering::Relaxed);
                    let what = format!("offset {wanted} of partition {} did not come in time", self.partition);
                    return Err(LogError::Unavailable(what));
                }
                break;
            }
            self.pull(left);
        }
        Ok(records)
    }

    /// The record at `wanted`, if it is in hand.
    fn take(&mut self, wanted: Offset) -> Option<Record> {
        while self.ahead.is_empty() && self.next == Some(wanted) {
            if !self.pull(Duration::ZERO) {
                return None;
            }
        }
        self.ahead
            .pop_front_if(|record| record.offset == wanted)
            .inspect(|record| self.ahead_bytes -= record.payload.len())
    }

    /// Forgets what is before `offset`; and all that is in hand, if `offset` isn't.
    fn skip_to(&mut self, offset: Offset) {
        while self.ahead.front().is_some_and(|record| record.offset != offset) {
            let record = self.ahead.pop_front();
            self.ahead_bytes -= record.map_or(0, |record| record.payload.len());
        }
    }

    fn look(&mut self, offset: Offset) -> Look {
        while self.end <= offset && self.ahead_bytes < self.most_bytes && self.pull(Duration::ZERO) {}
        match self.next {
            _ if self.end > offset => Look::Here,
            Some(next) if next <= offset && self.ahead_bytes < self.most_bytes => Look::Coming,
            _ => Look::Unknown,
        }
    }

    fn ask(&mut self, offset: Offset, brokers: &Brokers) -> Result<Look, LogError> {
        self.confirmed = Instant::now();
        let (_, end) = brokers.bounds(self.partition)?;
        self.end = self.end.max(end);
        if end > offset {
            return Ok(Look::Here);
        }
        if self.next.is_none() {
            self.seek(end)?;
        }
        Ok(if self.ahead_bytes < self.most_bytes { Look::Coming } else { Look::Unknown })
    }

    /// Takes what the queue has next. Whether it had something.
    fn pull(&mut self, timeout: Duration) -> bool {
        let Some(message) = self.queue.poll(timeout) else { return false };
        let (message, next) = match (message, self.next) {
            (Ok(message), Some(next)) => (message, next),
            (Ok(_), None) => return true,
            (Err(error), _) => {
                debug!(partition = self.partition, %error, "the Kafka consumer");
                self.next = None;
                return true;
            }
        };
        let offset = message.offset().unsigned_abs();
        self.confirmed = Instant::now();
        let brought_ms = (self.confirmed - self.signs.made).as_millis() as u64;
        self.signs.brought_ms.store(brought_ms, Ordering::Relaxed);
        self.signs.starved.store(false, Ordering::Relaxed);
        if offset == next {
            let stamped = message.timestamp().to_millis().unwrap_or(0);
            // The time never falls in what is read in a row, even where one leader's clock is behind another's.
            let appended_ms = match self.last {
                Some((last, ms)) if last + 1 == offset => ms.max(stamped),
                _ => stamped,
            };
            let payload = Bytes::copy_from_slice(message.payload().unwrap_or_default());
            self.ahead_bytes += payload.len();
            self.ahead.push_back(Record { offset, appended_ms, payload });
            (self.next, self.arrived, self.last) = (Some(next + 1), true, Some((offset, appended_ms)));
            self.end = self.end.max(next + 1);
        } else if offset > next && self.arrived {
            self.next = None; // a gap: what is between is asked for once more
        }
        true
    }

    /// Has the queue bring the records from `offset` on.
    fn seek(&mut self, offset: Offset) -> Result<(), LogError> {
        let mut place = TopicPartitionList::new();
        let at = Place::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
        place.add_partition_offset(&self.topic, self.partition as i32, at).map_err(unavailable)?;
        (self.next, self.arrived) = (None, false);
        self.ahead.clear();
        self.ahead_bytes = 0;
        if self.assigned {
            self.consumer.incremental_unassign(&place).map_err(unavailable)?;
            self.assigned = false;
        }
        self.consumer.incremental_assign(&place).map_err(unavailable)?;
        (self.next, self.assigned) = (Some(offset), true);
        Ok(())
    }
}
