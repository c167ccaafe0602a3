use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use model::{Offset, PartitionId};
use parking_lot::Mutex;
use rdkafka::{
    ClientConfig, Offset as Place, TopicPartitionList,
    admin::{AdminClient, AdminOptions, ConfigResource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication},
    config::FromClientConfigAndContext,
    error::{KafkaResult, RDKafkaErrorCode},
};
use tracing::{info, warn};

use super::{
    Context,
    describe::{Description, describe, last_failure},
    options::bad_config,
    unavailable,
};
use crate::{LogError, LogOptions, blocking};

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// What is asked of the brokers, beside appending and reading. Each call takes `timeout` at most.
pub(super) struct Brokers {
    config: ClientConfig,
    admin: Mutex<Arc<AdminClient<Context>>>,
    topic: String,
    timeout: Duration,
}

/// The topic as it was found or made.
pub(super) struct Topic {
    /// See [`Description::id`].
    pub(super) id: String,
    pub(super) partitions: u32,
    /// The largest message that the topic takes, bytes.
    pub(super) max_message_bytes: usize,
}

impl Brokers {
    pub(super) fn new(config: &ClientConfig, topic: &str, timeout: Duration) -> Result<Self, LogError> {
        let admin = Mutex::new(Arc::new(client(config)?));
        Ok(Self { config: config.clone(), admin, topic: topic.to_owned(), timeout })
    }

    fn admin(&self) -> Arc<AdminClient<Context>> {
        Arc::clone(&self.admin.lock())
    }

    /// Another client in the place of this one, if it still is in use. Blocks.
    fn replace(&self, admin: &Arc<AdminClient<Context>>) {
        match client(&self.config) {
            Ok(new) => {
                let old = {
                    let mut now = self.admin.lock();
                    Arc::ptr_eq(&now, admin).then(|| std::mem::replace(&mut *now, Arc::new(new)))
                };
                drop(old); // it ends with whoever used it last, which takes its time
            }
            Err(error) => warn!(%error, "there is no other Kafka client"),
        }
    }

    /// Finds the topic, or makes it, and checks that it is one that the log can live in. Two may do so at once.
    pub(super) async fn prepare(self: &Arc<Self>, options: &LogOptions) -> Result<Topic, LogError> {
        let topic = &self.topic;
        let retention_ms = options.kafka.retention_ms.to_string();
        let settings = [
            ("message.timestamp.type", "LogAppendTime"),
            ("cleanup.policy", "delete"),
            ("retention.ms", retention_ms.as_str()),
        ];
        let found = self.find(options.partitions, &settings).await?;
        let config = self.suitable_config().await?;
        let get = |name| config.get(name).and_then(|entry| entry.value.as_deref()).unwrap_or_default();
        let insync = get("min.insync.replicas");
        if found.replicas < 2 || insync == "1" {
            warn!(
                topic,
                replicas = found.replicas,
                insync,
                "what this topic acknowledges can be lost with one broker; 3 replicas with min.insync.replicas=2 outlive it"
            );
        }
        Ok(Topic { id: found.id, partitions: found.partitions, max_message_bytes: max_message_bytes(&config) })
    }

    /// The topic, made with these settings if it isn't there.
    pub(super) async fn find(
        self: &Arc<Self>,
        partitions: u32,
        settings: &[(&str, &str)],
    ) -> Result<Description, LogError> {
        if let Some(found) = self.describe().await? {
            return Ok(found);
        }
        self.create(partitions, settings).await?;
        self.created().await
    }

    /// What the topic is now; `None` if there is none.
    pub(super) async fn describe(self: &Arc<Self>) -> Result<Option<Description>, LogError> {
        let brokers = Arc::clone(self);
        blocking(move || {
            let admin = brokers.admin();
            let client = admin.inner();
            last_failure(client); // before this call
            let described = describe(client, &brokers.topic, brokers.timeout);
            described.map_err(|error| match (error, last_failure(client)) {
                (LogError::Unavailable(error), Some(why)) => LogError::Unavailable(format!("{error}: {why}")),
                (error, _) => error,
            })
        })
        .await
    }

    /// Replicated as far as there are brokers, up to 3 times.
    async fn create(self: &Arc<Self>, partitions: u32, settings: &[(&str, &str)]) -> Result<(), LogError> {
        let brokers = Arc::clone(self);
        let count = blocking(move || {
            let cluster = brokers.admin().inner().fetch_metadata(None, brokers.timeout).map_err(unavailable)?;
            Ok(cluster.brokers().len())
        });
        let replicas = count.await?.clamp(1, 3) as i32;
        let topic = NewTopic::new(&self.topic, partitions as i32, TopicReplication::Fixed(replicas))
            .set("min.insync.replicas", if replicas == 3 { "2" } else { "1" });
        let topic = settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
        let made = self.admin().create_topics([&topic], &self.limits()).await.map_err(unavailable)?;
        for result in made {
            match result {
                Ok(topic) => info!(topic, partitions, replicas, "made the topic"),
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {} // another process was quicker
                Err((topic, error)) => {
                    return Err(LogError::Unavailable(format!("the topic {topic} can't be made: {error}")));
                }
            }
        }
        Ok(())
    }

    /// Waits until the new topic is known to the brokers and led.
    async fn created(self: &Arc<Self>) -> Result<Description, LogError> {
        let deadline = Instant::now() + self.timeout;
        loop {
            match self.describe().await? {
                Some(found) if found.led => return Ok(found),
                _ if Instant::now() > deadline => {
                    let what =
                        format!("the topic {} was made, but not all of its partitions have a leader", self.topic);
                    return Err(LogError::Unavailable(what));
                }
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// The topic as it is when it has so many partitions, which it gets if need be. Several may do so at once.
    pub(super) async fn grow(self: &Arc<Self>, partitions: u32) -> Result<Description, LogError> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let found = self.describe().await?;
            let found = found.ok_or_else(|| LogError::Unavailable(format!("the topic {} isn't there", self.topic)))?;
            if found.partitions < partitions {
                self.add(partitions).await?;
            } else if found.led {
                return Ok(found);
            }
            if Instant::now() > deadline {
                let what = format!("the topic {} has not {partitions} partitions with a leader each", self.topic);
                return Err(LogError::Unavailable(what));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn add(&self, partitions: u32) -> Result<(), LogError> {
        let wanted = NewPartitions::new(&self.topic, partitions as usize);
        let made = self.admin().create_partitions([&wanted], &self.limits()).await.map_err(unavailable)?;
        for result in made {
            match result {
                Ok(topic) => info!(topic, partitions, "the topic has more partitions"),
                Err((_, RDKafkaErrorCode::InvalidPartitions)) => {} // another process was quicker
                Err((topic, error)) => {
                    return Err(LogError::Unavailable(format!("the topic {topic} gets no more partitions: {error}")));
                }
            }
        }
        Ok(())
    }

    /// The topic's configuration, if the log can live with it. A broker that doesn't know yet of a topic just made tells the
    /// defaults, so it is asked again before the topic is refused.
    async fn suitable_config(&self) -> Result<ConfigResource, LogError> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let config = self.config().await?;
            match unsuitable(&self.topic, &config) {
                None => return Ok(config),
                Some(why) if Instant::now() > deadline => return Err(LogError::Config(why)),
                Some(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// The largest message that the topic takes, bytes.
    pub(super) async fn max_message_bytes(&self) -> Result<usize, LogError> {
        self.config().await.map(|config| max_message_bytes(&config))
    }

    async fn config(&self) -> Result<ConfigResource, LogError> {
        let topic = [ResourceSpecifier::Topic(&self.topic)];
        let described = self.admin().describe_configs(&topic, &self.limits()).await.map_err(unavailable)?;
        let config = described.into_iter().next();
        let config = config.ok_or_else(|| LogError::Unavailable("no broker told the topic's configuration".into()))?;
        config.map_err(|code| LogError::Unavailable(format!("the topic's configuration can't be read: {code}")))
    }

    /// The first offset of the partition and the one after its last. Blocks.
    pub(super) fn bounds(&self, partition: PartitionId) -> Result<(Offset, Offset), LogError> {
        let admin = self.admin();
        let found = of_leader(self.timeout, |left| admin.inner().fetch_watermarks(&self.topic, partition as i32, left));
        let (begin, end) = found.map_err(|error| {
            // librdkafka's memory of the partitions may be wrong, as after a broker that was away for some seconds, and it isn't refreshed by
            // asking: for a quarter of an hour the client would say so.
            if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownPartition) {
                warn!(
                    partition,
                    "a Kafka client takes a partition for one that isn't there; another one takes its place"
                );
                self.replace(&admin);
            }
            unavailable(error)
        })?;
        Ok((begin.unsigned_abs(), end.unsigned_abs()))
    }

    /// Lets go of what is below `before`, which is no further than the end.
    pub(super) async fn delete(&self, partition: PartitionId, before: Offset) -> Result<(), LogError> {
        let mut records = TopicPartitionList::new();
        let before = Place::Offset(i64::try_from(before).unwrap_or(i64::MAX));
        records.add_partition_offset(&self.topic, partition as i32, before).map_err(unavailable)?;
        let deleted = self.admin().delete_records(&records, &self.limits()).await.map_err(unavailable)?;
        deleted.elements().iter().try_for_each(|place| place.error().map_err(unavailable))
    }

    fn limits(&self) -> AdminOptions {
        AdminOptions::new().request_timeout(Some(self.timeout)).operation_timeout(Some(self.timeout))
    }
}

fn client(config: &ClientConfig) -> Result<AdminClient<Context>, LogError> {
    AdminClient::from_config_and_context(config, Context).map_err(bad_config)
}

/// What a partition's leader answers, asked again while that is another one by now, or about to be elected. `ask` takes the time that
/// is left. Blocks.
pub(super) fn of_leader<T>(timeout: Duration, ask: impl Fn(Duration) -> KafkaResult<T>) -> KafkaResult<T> {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match ask(left) {
            Ok(answer) => return Ok(answer),
            Err(error) if left < 2 * PAUSE => return Err(error),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

fn max_message_bytes(config: &ConfigResource) -> usize {
    let given = config.get("max.message.bytes").and_then(|entry| entry.value.as_deref());
    given.and_then(|bytes| bytes.parse().ok()).unwrap_or(usize::MAX)
}

/// Why the log can't live in a topic with this configuration, and what would make it fit.
fn unsuitable(topic: &str, config: &ConfigResource) -> Option<String> {
    let is = |name, value| config.get(name).is_some_and(|entry| entry.value.as_deref() == Some(value));
    let (why, setting) = if !is("message.timestamp.type", "LogAppendTime") {
        let why = "keeps the time that its producers claim; the log needs the brokers' own";
        (why, "message.timestamp.type=LogAppendTime")
    } else if !is("cleanup.policy", "delete") {
        ("is compacted, which loses events", "cleanup.policy=delete")
    } else {
        return None;
    };
    let alter = "kafka-configs.sh --alter --entity-type topics --entity-name";
    Some(format!("the topic {topic} {why}: {alter} {topic} --add-config {setting}"))
}
