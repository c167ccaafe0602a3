//! The log on a broker that lets in only whom it knows: over TLS, by SASL. `cargo test -p eventlog --features kafka-tls`.

#![cfg(feature = "kafka-tls")]
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use eventlog::{
    EventLog, LogError, LogOptions,
    conformance::{Factory, KafkaStand, MemoryIncarnations, PARTITIONS},
};

/// One broker for all tests of this program, a topic for each.
static STAND: LazyLock<KafkaStand> = LazyLock::new(KafkaStand::start_secure);

struct Topic {
    url: String,
    options: LogOptions,
    incarnations: MemoryIncarnations,
}

impl Topic {
    fn new() -> Self {
        let mut options = LogOptions { partitions: PARTITIONS, ..LogOptions::default() };
        options.kafka.properties = STAND.credentials();
        let url = STAND.new_topic();
        options.kafka.group.clone_from(&url);
        Self { url, options, incarnations: MemoryIncarnations::default() }
    }

    async fn open(&self) -> Result<Arc<dyn EventLog>, LogError> {
        eventlog::open(&self.url, &self.options, Some(&self.incarnations)).await
    }
}

#[async_trait]
impl Factory for Topic {
    async fn make(&self) -> Arc<dyn EventLog> {
        self.reopen().await
    }

    async fn reopen(&self) -> Arc<dyn EventLog> {
        self.open().await.unwrap()
    }
}

eventlog::conformance_tests!(Topic::new());

#[tokio::test]
async fn whom_the_broker_does_not_know_is_told_what_is_wrong() {
    for (property, value, told) in
        [("sasl.password", Some("wrong"), "uthentication"), ("ssl.ca.location", None, "certificate verify failed")]
    {
        let mut topic = Topic::new();
        topic.options.kafka.timeout_ms = 2_000;
        match value {
            Some(value) => topic.options.kafka.properties.insert(property.to_owned(), value.to_owned()),
            None => topic.options.kafka.properties.remove(property),
        };
        let error = topic.open().await.err().unwrap().to_string();
        assert!(error.contains(told) && !error.contains("wrong"), "{property}: {error}");
    }
}
