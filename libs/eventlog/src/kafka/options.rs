use std::{collections::BTreeMap, fmt};

use rdkafka::{ClientConfig, config::RDKafkaLogLevel, error::KafkaError, types::RDKafkaConfRes};
use serde::{Deserialize, Serialize};

use crate::LogError;

/// How Kafka is spoken to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaOptions {
    /// How long an append, a read or a question may take before it is `Unavailable`, ms, 100 to 300 000.
    pub timeout_ms: u64,
    /// How long a topic that is made here keeps its records, ms; -1 for ever.
    pub retention_ms: i64,
    /// How far this machine's clock may be ahead of a broker's, ms. A tail's time lies this far back, so that records
    /// to come, which the brokers stamp, are not before it.
    pub max_clock_skew_ms: i64,
    /// The consumer group of the processes that share the partitions among them.
    pub group: String,
    /// After how long without a sign of life a process loses its partitions to others, ms.
    pub session_timeout_ms: u64,
    /// How often the topic is checked to be still the same, ms.
    pub check_ms: u64,
    /// Further properties of librdkafka, such as `security.protocol`, `sasl.username`, `sasl.password`, `ssl.ca.location`,
    /// or `linger.ms`. Never logged.
    pub properties: BTreeMap<String, String>,
}

impl Default for KafkaOptions {
    /// 5 s for all calls, 7 days of records, 1 s of skew, group `penstock-pipeline` with 10 s, a check a minute.
    fn default() -> Self {
        Self {
            timeout_ms: 5_000,
            retention_ms: 7 * model::DAY_MS,
            max_clock_skew_ms: 1_000,
            group: "penstock-pipeline".to_owned(),
            session_timeout_ms: 10_000,
            check_ms: 60_000,
            properties: BTreeMap::new(),
        }
    }
}

impl fmt::Debug for KafkaOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { timeout_ms, group, properties, .. } = self;
        let names: Vec<_> = properties.keys().collect(); // a value may be a secret
        f.debug_struct("KafkaOptions")
            .field("timeout_ms", timeout_ms)
            .field("group", group)
            .field("properties", &names)
            .finish_non_exhaustive()
    }
}

/// Properties that the log's promises rest on.
const FIXED: [&str; 20] = [
    "acks",
    "allow.auto.create.topics",
    "auto.offset.reset",
    "bootstrap.servers",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.protocol",
    "message.timeout.ms",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "request.required.acks",
    "session.timeout.ms",
    "transactional.id",
];

/// A record's largest size unless a property says otherwise, bytes: librdkafka's own default.
const MAX_MESSAGE_BYTES: usize = 1_000_000;

impl KafkaOptions {
    pub(crate) fn check(&self) -> Result<(), LogError> {
        let fault = if !(100..=300_000).contains(&self.timeout_ms) {
            format!("timeout_ms is 100 to 300000, not {}", self.timeout_ms)
        } else if self.max_clock_skew_ms < 0 {
            format!("max_clock_skew_ms is 0 or more, not {}", self.max_clock_skew_ms)
        } else if self.group.is_empty() {
            "group needs a name".to_owned()
        } else if !(1_000..=3_600_000).contains(&self.session_timeout_ms) {
            format!("session_timeout_ms is 1000 to 3600000, not {}", self.session_timeout_ms)
        } else if self.check_ms == 0 {
            "check_ms is at least 1".to_owned()
        } else if let Some(fixed) = FIXED.iter().find(|name| self.properties.contains_key(**name)) {
            format!("the property {fixed} is not for setting: the log's promises rest on it")
        } else {
            return Ok(());
        };
        Err(LogError::Config(format!("kafka: {fault}")))
    }

    /// What all clients have in common.
    pub(super) fn client(&self, servers: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set_log_level(RDKafkaLogLevel::Warning)
            .set("client.id", "penstock")
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.timeout.ms", (2 * self.timeout_ms).to_string())
            .set("socket.keepalive.enable", "true");
        config.extend(self.properties.clone());
        config.set("bootstrap.servers", servers).set("allow.auto.create.topics", "false");
        config
    }

    /// The client that appends. What may wait in it is bounded before it gets there.
    pub(super) fn producer(&self, servers: &str) -> ClientConfig {
        let mut config = self.client(servers);
        let given = |name| self.properties.contains_key(name);
        if !given("linger.ms") {
            config.set("linger.ms", "3");
        }
        if !given("compression.type") && !given("compression.codec") {
            config.set("compression.type", "lz4");
        }
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", self.timeout_ms.to_string())
            .set("queue.buffering.max.messages", "0")
            .set("queue.buffering.max.kbytes", i32::MAX.to_string());
        config
    }

    /// The client that reads: `ahead_bytes` are fetched ahead in each partition.
    pub(super) fn consumer(&self, servers: &str, ahead_bytes: usize) -> ClientConfig {
        let mut config = self.client(servers);
        config
            // One fetch is under way per broker: a seek waits for it.
            .set("fetch.wait.max.ms", "100")
            .set("fetch.queue.backoff.ms", "5")
            .set("queued.max.messages.kbytes", (ahead_bytes >> 10).clamp(64, 1 << 20).to_string())
            .set("check.crcs", "true")
            .set("group.id", &self.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error");
        config
    }

    /// The client that is a member of the group and reads nothing.
    pub(super) fn member(&self, servers: &str) -> ClientConfig {
        let mut config = self.client(servers);
        if !self.properties.contains_key("topic.metadata.refresh.interval.ms") {
            config.set("topic.metadata.refresh.interval.ms", "5000"); // new partitions are found by it
        }
        config
            .set("group.id", &self.group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", self.session_timeout_ms.to_string())
            .set("heartbeat.interval.ms", (self.session_timeout_ms / 4).min(3_000).to_string())
            .set("max.poll.interval.ms", self.session_timeout_ms.max(300_000).to_string())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "latest");
        config
    }

    /// The largest record that the client takes, bytes.
    pub(super) fn max_message_bytes(&self) -> usize {
        let given = self.properties.get("message.max.bytes");
        given.and_then(|bytes| bytes.parse().ok()).unwrap_or(MAX_MESSAGE_BYTES)
    }
}

/// Why a client can't be made. Leaves out the value, which may be a secret.
pub(super) fn bad_config(error: KafkaError) -> LogError {
    LogError::Config(match error {
        KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, name, _) => {
            format!("kafka: there is no property {name}, or this build has no use for it")
        }
        KafkaError::ClientConfig(_, _, name, _) => format!("kafka: the property {name} can't have the value given"),
        error => format!("kafka: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let mut options = KafkaOptions::default();
        options.properties.insert("sasl.password".into(), "hunter2".into());
        assert!(format!("{options:?}").contains("sasl.password"));
        assert!(!format!("{options:?}").contains("hunter2"));
        assert!(options.check().is_ok());

        options.properties.insert("socket.timeout.ms".into(), "hunter2".into());
        let error = options.client("127.0.0.1:1").create_native_config().map(|_| ()).map_err(bad_config);
        let error = error.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("socket.timeout.ms") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn what_the_promises_rest_on_is_not_for_setting() {
        let mut options = KafkaOptions::default();
        options.properties.insert("acks".into(), "1".into());
        let error = options.check().err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("acks"), "{error}");
    }
}
