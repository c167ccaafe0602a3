//! A place in a consumer group, for the sake of who works on which partition alone: records come by the reader.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use model::{Offset, PartitionId};
use parking_lot::{Condvar, Mutex};
use rdkafka::{
    ClientConfig, ClientContext, Offset as Place, TopicPartitionList,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance},
    error::{KafkaError, KafkaResult},
};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::{Context, options::bad_config};
use crate::{Assignment, LogError};

/// How long the group's news wait for the thread at most, and it for the order to leave.
const POLL: Duration = Duration::from_millis(100);
/// How often the offsets that are done are committed to the group.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// How often the lag is asked for.
const LAG_EVERY: Duration = Duration::from_secs(10);
/// How long the questions for the lag may take.
const LAG_TIMEOUT: Duration = Duration::from_secs(1);

/// This process's place in the group.
pub(super) struct Member {
    seat: Arc<Seat>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the place's holder and its thread share.
struct Seat {
    topic: String,
    /// How long a partition that was taken away waits for its worker.
    patience: Duration,
    assigned: watch::Sender<BTreeSet<PartitionId>>,
    working: Mutex<BTreeSet<PartitionId>>,
    let_go: Condvar,
    done: Mutex<BTreeMap<PartitionId, Offset>>,
    leaving: AtomicBool,
}

impl Member {
    /// Joins the group as soon as the brokers answer.
    pub(super) fn join(config: ClientConfig, topic: &str, session: Duration) -> Result<Self, LogError> {
        let seat = Arc::new(Seat {
            topic: topic.to_owned(),
            patience: session,
            assigned: watch::Sender::new(BTreeSet::new()),
            working: Mutex::new(BTreeSet::new()),
            let_go: Condvar::new(),
            done: Mutex::new(BTreeMap::new()),
            leaving: AtomicBool::new(false),
        });
        let consumer = Seat::consumer(&seat, &config).map_err(bad_config)?;
        let own = Arc::clone(&seat);
        let thread = thread::Builder::new().name("eventlog-group".into()).spawn(move || own.stay(consumer, &config));
        let thread = thread.map_err(|error| LogError::Unavailable(format!("no thread for the group: {error}")))?;
        Ok(Self { seat, thread: Mutex::new(Some(thread)) })
    }
}

#[async_trait]
impl Assignment for Member {
    fn partitions(&self) -> watch::Receiver<BTreeSet<PartitionId>> {
        self.seat.assigned.subscribe()
    }

    fn working_on(&self, partitions: BTreeSet<PartitionId>) {
        *self.seat.working.lock() = partitions;
        self.seat.let_go.notify_all();
    }

    fn done(&self, partition: PartitionId, end: Offset) {
        self.seat.done.lock().insert(partition, end);
    }

    async fn leave(&self) {
        self.working_on(BTreeSet::new());
        self.seat.leaving.store(true, Ordering::Release);
        let Some(thread) = self.thread.lock().take() else { return };
        let joined = tokio::task::spawn_blocking(move || thread.join().is_ok()).await;
        if !joined.unwrap_or(false) {
            warn!("the group's thread panicked; others take over when the session is over");
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.working_on(BTreeSet::new());
        self.seat.leaving.store(true, Ordering::Release);
    }
}

impl Seat {
    fn consumer(seat: &Arc<Self>, config: &ClientConfig) -> KafkaResult<BaseConsumer<SeatContext>> {
        let consumer = BaseConsumer::from_config_and_context(config, SeatContext(Arc::clone(seat)))?;
        consumer.subscribe(&[&seat.topic])?;
        Ok(consumer)
    }

    fn stay(self: Arc<Self>, mut consumer: BaseConsumer<SeatContext>, config: &ClientConfig) {
        while !self.attend(&consumer) {
            // What can't go on is replaced; dropping it gave up what it had.
            drop(consumer);
            self.assigned.send_replace(BTreeSet::new());
            consumer = loop {
                thread::sleep(COMMIT_EVERY);
                if self.leaving.load(Ordering::Acquire) {
                    return;
                }
                match Self::consumer(&self, config) {
                    Ok(consumer) => break consumer,
                    Err(error) => warn!(%error, "the group can't be joined again"),
                }
            };
        }
        self.commit(&consumer, CommitMode::Sync);
        // Dropped here, the consumer leaves the group in so many words.
    }

    /// Until it is time to leave; `false` if the consumer is of no more use.
    fn attend(&self, consumer: &BaseConsumer<SeatContext>) -> bool {
        let (mut commit_at, mut lag_at) = (Instant::now() + COMMIT_EVERY, Instant::now() + COMMIT_EVERY);
        while !self.leaving.load(Ordering::Acquire) {
            match consumer.poll(POLL) {
                Some(Err(KafkaError::MessageConsumptionFatal(error))) => {
                    warn!(%error, "the group's member is made anew");
                    return false;
                }
                Some(Err(error)) => debug!(%error, "the group's member"),
                Some(Ok(_)) | None => {} // a record that came before the pause is the reader's to read
            }
            let now = Instant::now();
            if now >= commit_at {
                self.commit(consumer, CommitMode::Async);
                commit_at = now + COMMIT_EVERY;
            }
            if now >= lag_at {
                if let Err(error) = self.observe_lag(consumer) {
                    debug!(%error, "the group's lag isn't known");
                }
                lag_at = now + LAG_EVERY;
            }
        }
        true
    }

    fn commit(&self, consumer: &BaseConsumer<SeatContext>, mode: CommitMode) {
        let done = mem::take(&mut *self.done.lock());
        let mut list = TopicPartitionList::new();
        for (partition, end) in done {
            let end = Place::Offset(i64::try_from(end).unwrap_or(i64::MAX));
            if let Err(error) = list.add_partition_offset(&self.topic, partition as i32, end) {
                debug!(%error, "an offset isn't committed to the group");
            }
        }
        if list.count() > 0
            && let Err(error) = consumer.commit(&list, mode)
        {
            debug!(%error, "the group's offsets aren't committed");
        }
    }

    /// What the brokers know of the lag: the end of each partition less what is committed to the group.
    fn observe_lag(&self, consumer: &BaseConsumer<SeatContext>) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        for partition in self.assigned.borrow().iter() {
            list.add_partition(&self.topic, *partition as i32);
        }
        if list.count() == 0 {
            return Ok(());
        }
        for place in consumer.committed_offsets(list, LAG_TIMEOUT)?.elements() {
            let Place::Offset(committed) = place.offset() else { continue };
            let (_, end) = consumer.fetch_watermarks(&self.topic, place.partition(), LAG_TIMEOUT)?;
            set_lag(place.partition(), end.saturating_sub(committed).max(0));
        }
        Ok(())
    }

    fn take_away(&self, gone: &BTreeSet<PartitionId>) {
        self.assigned.send_modify(|assigned| assigned.retain(|partition| !gone.contains(partition)));
        // Whoever gets a partition next fences its worker: let that one finish first.
        let mut working = self.working.lock();
        let late = self.let_go.wait_while_for(&mut working, |working| !working.is_disjoint(gone), self.patience);
        if late.timed_out() {
            let late: BTreeSet<_> = working.intersection(gone).collect();
            warn!(partitions = ?late, "partitions go to another process while they are worked on here");
        }
        gone.iter().for_each(|&partition| set_lag(partition as i32, 0));
    }
}

fn set_lag(partition: i32, lag: i64) {
    metrics::gauge!("penstock_log_group_lag_records", "partition" => partition.to_string()).set(lag as f64);
}

/// Hears what the group decides, on the thread that polls.
struct SeatContext(Arc<Seat>);

impl ClientContext for SeatContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Context.error(error, reason);
    }
}

impl ConsumerContext for SeatContext {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Revoke(gone) => {
                let gone = numbers(gone);
                info!(partitions = ?gone, "the group takes partitions away");
                self.0.take_away(&gone);
            }
            Rebalance::Error(error) => {
                warn!(%error, "the group's rebalance failed");
                let gone = self.0.assigned.borrow().clone();
                self.0.take_away(&gone);
            }
            Rebalance::Assign(_) => {}
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(new) = rebalance {
            if let Err(error) = consumer.pause(new) {
                debug!(%error, "partitions of the group's member aren't paused");
            }
            let new = numbers(new);
            info!(partitions = ?new, "the group gives partitions");
            self.0.assigned.send_modify(|assigned| assigned.extend(new));
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            debug!(%error, "the group's offsets aren't committed");
        }
    }
}

fn numbers(list: &TopicPartitionList) -> BTreeSet<PartitionId> {
    list.elements().iter().map(|place| place.partition().unsigned_abs()).collect()
}
