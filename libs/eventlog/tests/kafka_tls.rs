//! The log on a broker that lets in only whom it knows: over TLS, by SASL. `cargo test -p eventlog --features kafka-tls`.

#![cfg(feature = "kafka-tls")]
#![allow(clippy::unwrap_used)]

use std::sync::LazyLock;

use eventlog::conformance::KafkaStand;

/// One broker for all tests of this program, a topic for each.
static STAND: LazyLock<KafkaStand> = LazyLock::new(KafkaStand::start_secure);

eventlog::conformance_tests!(STAND.topic(STAND.credentials()));

#[tokio::test]
async fn whom_the_broker_does_not_know_is_told_what_is_wrong() {
    for (property, value, told) in
        [("sasl.password", Some("wrong"), "uthentication"), ("ssl.ca.location", None, "certificate verify failed")]
    {
        let mut topic = STAND.topic(STAND.credentials());
        topic.options.kafka.timeout_ms = 2_000;
        match value {
            Some(value) => topic.options.kafka.properties.insert(property.to_owned(), value.to_owned()),
            None => topic.options.kafka.properties.remove(property),
        };
        let error = topic.open().await.err().unwrap().to_string();
        assert!(error.contains(told) && !error.contains("wrong"), "{property}: {error}");
    }
}
