use std::{collections::BTreeMap, sync::Arc, time::Duration};

use model::{Offset, PartitionId};
use parking_lot::Mutex;
use rdkafka::{
    ClientConfig, Message,
    config::FromClientConfigAndContext,
    error::{KafkaError, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::{BaseRecord, NoCustomPartitioner, Producer, ProducerContext, ThreadedProducer},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::warn;

use super::{CLOSED, Context, options::bad_config, unavailable};
use crate::{Batch, LogError, blocking};

/// What a record costs the queue beside its payload.
const RECORD_BYTES: usize = 256;

/// The idempotent producer, and how much may wait in it.
pub(super) struct Writer {
    config: ClientConfig,
    topic: String,
    timeout: Duration,
    max_record_bytes: usize,
    queue_bytes: usize,
    room: Arc<Semaphore>,
    /// Made when it is first used: most processes only read or only append.
    producer: Mutex<Option<Arc<ThreadedProducer<Context>>>>,
}

/// One message on its way.
pub(super) struct Item<'a> {
    pub(super) place: Place<'a>,
    pub(super) payload: &'a [u8],
}

impl Item<'_> {
    /// Of the key and the payload.
    pub(super) fn bytes(&self) -> usize {
        let Place::Key(key) = self.place else { return self.payload.len() };
        key.len() + self.payload.len()
    }

    pub(super) fn key(&self) -> std::borrow::Cow<'_, str> {
        let Place::Key(key) = self.place else { return "".into() };
        String::from_utf8_lossy(key)
    }
}

/// Where a message is to lie.
pub(super) enum Place<'a> {
    Partition(PartitionId),
    /// Wherever the key leads.
    Key(&'a [u8]),
}

/// One append: what becomes of its records, counted as they are delivered.
pub(super) struct Call(Mutex<Outcome>);

struct Outcome {
    left: usize,
    ends: BTreeMap<PartitionId, Offset>,
    failure: Option<KafkaError>,
    reply: Option<oneshot::Sender<Result<BTreeMap<PartitionId, Offset>, KafkaError>>>,
    /// Kept until the last record is out of the queue, whoever still waits for that.
    room: Option<OwnedSemaphorePermit>,
}

impl Call {
    fn settle(&self, records: usize, result: Result<(PartitionId, Offset), KafkaError>) {
        let mut outcome = self.0.lock();
        match result {
            Ok((partition, end)) => {
                let known = outcome.ends.entry(partition).or_default();
                *known = end.max(*known);
            }
            Err(error) => outcome.failure = Some(error),
        }
        outcome.left -= records;
        if outcome.left == 0 {
            outcome.room = None;
            let ends = std::mem::take(&mut outcome.ends);
            let result = outcome.failure.take().map_or(Ok(ends), Err);
            if let Some(reply) = outcome.reply.take() {
                let _ = reply.send(result); // the caller may be gone
            }
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Arc<Call>;

    fn delivery(&self, result: &DeliveryResult<'_>, call: Arc<Call>) {
        call.settle(
            1,
            match result {
                Ok(message) => Ok((message.partition().unsigned_abs(), message.offset().unsigned_abs() + 1)),
                Err((error, _)) => Err(error.clone()),
            },
        );
    }
}

impl Writer {
    pub(super) fn new(
        config: ClientConfig,
        topic: &str,
        timeout: Duration,
        max_record_bytes: usize,
        queue_bytes: usize,
    ) -> Self {
        let room = Arc::new(Semaphore::new(queue_bytes));
        let producer = Mutex::new(None);
        Self { config, topic: topic.to_owned(), timeout, max_record_bytes, queue_bytes, room, producer }
    }

    /// Appends, and returns for each partition that got a record the offset after its last of this call.
    pub(super) async fn append(&self, batches: &[Batch]) -> Result<BTreeMap<PartitionId, Offset>, LogError> {
        let mut items = Vec::with_capacity(batches.iter().map(|batch| batch.ends.len()).sum());
        for batch in batches {
            items.extend(payloads(batch).map(|payload| Item { place: Place::Partition(batch.partition), payload }));
        }
        self.send(&items).await
    }

    /// Sends, and returns for each partition that got one the offset after the last.
    pub(super) async fn send(&self, items: &[Item<'_>]) -> Result<BTreeMap<PartitionId, Offset>, LogError> {
        let records = items.len();
        if records == 0 {
            return Ok(BTreeMap::new());
        }
        let bytes = items.iter().map(Item::bytes).sum::<usize>();
        let largest = items.iter().map(Item::bytes).max().unwrap_or(0);
        if largest > self.max_record_bytes {
            let most = self.max_record_bytes;
            return Err(LogError::Invalid(format!("a record has at most {most} bytes here, not {largest}")));
        }
        let room = self.room(bytes + RECORD_BYTES * records).await?;
        let producer = self.producer()?;
        let (reply, answer) = oneshot::channel();
        let outcome =
            Outcome { left: records, ends: BTreeMap::new(), failure: None, reply: Some(reply), room: Some(room) };
        let call = Arc::new(Call(Mutex::new(outcome)));
        for (index, Item { place, payload }) in items.iter().enumerate() {
            let record = BaseRecord::<[u8], [u8], _>::with_opaque_to(&self.topic, Arc::clone(&call)).payload(*payload);
            let record = match place {
                Place::Partition(partition) => record.partition(*partition as i32),
                Place::Key(key) => record.key(key),
            };
            if let Err((error, _)) = producer.send(record) {
                call.settle(records - index, Err(error));
                break;
            }
        }
        let result = answer.await.map_err(|_| LogError::Unavailable(CLOSED.into()))?;
        if let Err(error) = &result {
            // One that doesn't know of new partitions yet would learn of them late.
            match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::UnknownPartition) => self.retire(),
                _ => self.renew(producer),
            }
        }
        result.map_err(|error| match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => LogError::Invalid(format!("a record is too large: {error}")),
            _ => unavailable(error),
        })
    }

    /// Waits for room in the queue. A call larger than all of it is let in alone.
    async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, LogError> {
        let room = Arc::clone(&self.room).acquire_many_owned(bytes.min(self.queue_bytes) as u32);
        match tokio::time::timeout(self.timeout, room).await {
            Ok(room) => room.map_err(|_| LogError::Unavailable(CLOSED.into())),
            Err(_) => {
                let bytes = self.queue_bytes;
                Err(LogError::Unavailable(format!("{bytes} bytes wait for the brokers already")))
            }
        }
    }

    fn producer(&self) -> Result<Arc<ThreadedProducer<Context>>, LogError> {
        let mut producer = self.producer.lock();
        if self.room.is_closed() {
            return Err(LogError::Unavailable(CLOSED.into()));
        }
        if let Some(producer) = &*producer {
            return Ok(Arc::clone(producer));
        }
        let made: ThreadedProducer<Context, NoCustomPartitioner> =
            ThreadedProducer::from_config_and_context(&self.config, Context).map_err(bad_config)?;
        Ok(Arc::clone(producer.insert(Arc::new(made))))
    }

    /// An idempotent producer that lost count is of no more use: the next append makes another.
    fn renew(&self, failed: Arc<ThreadedProducer<Context>>) {
        let Some((code, reason)) = failed.client().fatal_error() else { return };
        let mut producer = self.producer.lock();
        if producer.as_ref().is_some_and(|current| Arc::ptr_eq(current, &failed)) {
            warn!(%code, reason, "the Kafka producer is made anew");
            *producer = None;
        }
        drop(producer);
        tokio::task::spawn_blocking(move || drop(failed)); // it joins its thread
    }

    /// The next append makes another producer, which learns anew how many partitions there are; this one finishes what it has.
    pub(super) fn retire(&self) {
        let Some(old) = self.producer.lock().take() else { return };
        let timeout = self.timeout;
        tokio::task::spawn_blocking(move || {
            if let Err(error) = old.flush(timeout) {
                warn!(%error, "a Kafka producer ended with records on their way");
            }
        });
    }

    /// Finishes what was taken.
    pub(super) async fn close(&self) -> Result<(), LogError> {
        self.room.close();
        let Some(producer) = self.producer.lock().take() else { return Ok(()) };
        let timeout = self.timeout + Duration::from_secs(1); // by then each record is delivered or given up
        blocking(move || producer.flush(timeout).map_err(unavailable)).await
    }
}

fn payloads(batch: &Batch) -> impl Iterator<Item = &[u8]> {
    let begins = std::iter::once(0).chain(batch.ends.iter().copied());
    begins.zip(&batch.ends).map(|(begin, &end)| &batch.buffer[begin as usize..end as usize])
}
