//! Topics that others read: what goes out of the house.

use std::{sync::Arc, time::Duration};

use tracing::error;

use super::{
    MESSAGE_OVERHEAD,
    brokers::Brokers,
    parse,
    writer::{Item, Place, Writer},
};
use crate::{LogError, LogOptions, blocking};

/// A message for whoever reads the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Messages of one key come in order, in one partition.
    pub key: Vec<u8>,
    /// What it says.
    pub value: Vec<u8>,
}

/// What a topic that is made here keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Every message, for the time that the log keeps its records ([`crate::KafkaOptions::retention_ms`]).
    All,
    /// The latest of each key.
    Latest,
}

/// A topic of Kafka that is only written to.
pub struct Outlet {
    writer: Writer,
    topic: String,
    /// Of a message's key and value.
    max_bytes: usize,
}

impl Outlet {
    /// Opens the topic on the brokers of the log's URL, or makes it with as many partitions as `options` say. One that is there keeps
    /// its own settings.
    ///
    /// # Errors
    /// [`LogError::Config`] if the log isn't on Kafka, or the topic is the log's own or no topic's name;
    /// [`LogError::Unavailable`] if the brokers don't answer.
    pub async fn open(log_url: &str, topic: &str, keep: Keep, options: &LogOptions) -> Result<Self, LogError> {
        let Some(place) = log_url.strip_prefix("kafka:") else {
            return Err(LogError::Config(format!("the topic {topic} needs a log on Kafka, as in kafka://HOST:PORT")));
        };
        let (servers, of_log) = parse(place, &options.topic)?;
        if topic == of_log {
            return Err(LogError::Config(format!("the topic {topic} is the event log's own")));
        }
        let (_, topic) = parse(&format!("//{servers}/{topic}"), "")?;
        let options = LogOptions { topic: topic.clone(), ..options.clone() };
        options.check()?;
        let kafka = &options.kafka;
        let timeout = Duration::from_millis(kafka.timeout_ms);
        let (config, own_topic) = (kafka.client(&servers), topic.clone());
        let brokers = Arc::new(blocking(move || Brokers::new(&config, &own_topic, timeout)).await?);
        let retention_ms = kafka.retention_ms.to_string();
        match keep {
            Keep::All => brokers.find(options.partitions, &[("retention.ms", &retention_ms)]).await?,
            Keep::Latest => brokers.find(options.partitions, &[("cleanup.policy", "compact")]).await?,
        };
        let max_bytes = brokers.max_message_bytes().await?.min(kafka.max_message_bytes());
        let max_bytes = max_bytes.saturating_sub(MESSAGE_OVERHEAD);
        let mut producer = kafka.producer(&servers);
        producer.set("partitioner", "murmur2_random"); // as Java's clients place keys
        let writer = Writer::new(producer, &topic, timeout, max_bytes, options.queue_bytes);
        Ok(Self { writer, topic, max_bytes })
    }

    /// Publishes, and returns when all replicas in sync have every message. On `Err` some of them may be there.
    ///
    /// What is too large for the topic is left out and told of in the log, since it would hold up all that comes after it;
    /// returns how many these are.
    pub async fn publish(&self, messages: &[Message]) -> Result<usize, LogError> {
        let items = messages.iter().map(|Message { key, value }| Item { place: Place::Key(key), payload: value });
        let (items, too_large): (Vec<_>, Vec<_>) = items.partition(|item| item.bytes() <= self.max_bytes);
        for item in &too_large {
            let (topic, bytes, most) = (&self.topic, item.bytes(), self.max_bytes);
            error!(topic, key = %item.key(), bytes, most, "a message is too large for its topic and is left out");
        }
        self.writer.send(&items).await?;
        Ok(too_large.len())
    }
}
