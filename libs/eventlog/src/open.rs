use std::{path::Path, sync::Arc};

use crate::{EventLog, Incarnations, KafkaLog, KafkaOptions, LogError, embedded::MendingLog, system_clock};

/// What a log is, and how much memory it may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// The topic's name, 1 to 200 bytes. Fixed when the log is made. One in a Kafka URL goes before it.
    pub topic: String,
    /// How many partitions a log has that is made, 1 to 1024. One that is there keeps its own number.
    pub partitions: u32,
    /// Bytes kept in memory for readers. Embedded: of the newest records; Kafka: of those fetched ahead.
    pub cache_bytes: usize,
    /// Payload bytes of waiting appends; further ones wait for room, up to 1 GiB.
    pub queue_bytes: usize,
    /// Embedded: payload bytes after which a group commit takes no further append.
    pub group_bytes: usize,
    /// Kafka: how it is spoken to.
    pub kafka: KafkaOptions,
}

impl Default for LogOptions {
    /// Topic `events`, 4 partitions, 64 MiB of cache, 64 MiB of queue, 8 MiB a group commit.
    fn default() -> Self {
        const MIB: usize = 1 << 20;
        Self {
            topic: "events".to_owned(),
            partitions: 4,
            cache_bytes: 64 * MIB,
            queue_bytes: 64 * MIB,
            group_bytes: 8 * MIB,
            kafka: KafkaOptions::default(),
        }
    }
}

impl LogOptions {
    pub(crate) fn check(&self) -> Result<(), LogError> {
        let fault = if !(1..=200).contains(&self.topic.len()) {
            format!("a topic's name has 1 to 200 bytes, not {}", self.topic.len())
        } else if !(1..=1024).contains(&self.partitions) {
            format!("a log has 1 to 1024 partitions, not {}", self.partitions)
        } else if !(1..=1 << 30).contains(&self.queue_bytes) {
            format!("the queue takes 1 byte to 1 GiB, not {}", self.queue_bytes)
        } else if self.group_bytes == 0 {
            "a group commit takes at least 1 byte".to_owned()
        } else {
            return self.kafka.check();
        };
        Err(LogError::Config(fault))
    }
}

/// Opens the log that the URL names, or makes it if there is none: `embedded:DIR`, or
/// `kafka://HOST:PORT[,HOST:PORT...][/TOPIC]`, which needs `incarnations`.
///
/// # Errors
/// [`LogError::Config`] if the URL or the options are wrong, don't fit the log that is there, or another process has
/// it open; [`LogError::Damaged`] if acknowledged records are missing or unreadable; [`LogError::Unavailable`] if the
/// disk can't be used or the brokers don't answer; those of `incarnations`.
pub async fn open(
    url: &str,
    options: &LogOptions,
    incarnations: Option<&dyn Incarnations>,
) -> Result<Arc<dyn EventLog>, LogError> {
    match (url.split_once(':'), incarnations) {
        (Some(("embedded", dir)), _) if !dir.is_empty() => {
            Ok(Arc::new(MendingLog::open(Path::new(dir), options, system_clock()).await?))
        }
        (Some(("embedded", _)), _) => {
            Err(LogError::Config("embedded: needs a directory, as in embedded:data/log".into()))
        }
        (Some(("kafka", place)), Some(incarnations)) => Ok(KafkaLog::open(place, options, incarnations).await?),
        (Some(("kafka", _)), None) => {
            Err(LogError::Config("a log on Kafka needs a metastore that numbers the topic's lives".into()))
        }
        _ => Err(LogError::Config(format!("{url:?} names no event log; embedded:DIR and kafka://HOST:PORT do"))),
    }
}
