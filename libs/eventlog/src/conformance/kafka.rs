//! Real brokers for tests, by the script that the stand uses.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use model::Incarnation;
use parking_lot::Mutex;

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};

use super::{Factory, PARTITIONS, PATIENCE};
use crate::{EventLog, Incarnations, LogError, LogOptions};

/// Brokers on loopback that end with this process, or when this is dropped.
#[derive(Debug)]
pub struct KafkaStand {
    dir: PathBuf,
    brokers: u32,
    /// Their addresses, as in `kafka://SERVERS`.
    pub servers: String,
    topics: AtomicU32,
}

impl KafkaStand {
    /// Starts so many brokers. Takes some seconds, and blocks.
    ///
    /// # Panics
    /// With what the script says, if they don't start.
    pub fn start(brokers: u32) -> Self {
        Self::start_with(brokers, &[])
    }

    /// One broker that wants TLS and SASL of its clients.
    pub fn start_secure() -> Self {
        Self::start_with(1, &[("SECURE", "1")])
    }

    /// The properties of a client that it lets in.
    pub fn credentials(&self) -> BTreeMap<String, String> {
        let password = std::fs::read_to_string(self.dir.join("password")).unwrap();
        let properties = [
            ("security.protocol", "SASL_SSL"),
            ("ssl.ca.location", &self.dir.join("authority.pem").display().to_string()),
            ("sasl.mechanisms", "PLAIN"),
            ("sasl.username", "penstock"),
            ("sasl.password", &password),
        ];
        properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    fn start_with(brokers: u32, environment: &[(&str, &str)]) -> Self {
        static STANDS: AtomicU32 = AtomicU32::new(0);
        let number = STANDS.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("penstock-kafka-{}-{number}", std::process::id()));
        let servers = script(&["up", &dir.display().to_string(), &brokers.to_string()], environment);
        Self { dir, brokers, servers, topics: AtomicU32::new(0) }
    }

    /// The URL of a topic that isn't there yet.
    pub fn new_topic(&self) -> String {
        format!("kafka://{}/events-{}", self.servers, self.topics.fetch_add(1, Ordering::Relaxed))
    }

    /// A topic that isn't there yet, for logs with these properties of the client.
    pub fn topic(&self, properties: BTreeMap<String, String>) -> KafkaTopic {
        let (url, mut options) = (self.new_topic(), LogOptions { partitions: PARTITIONS, ..LogOptions::default() });
        options.kafka.group.clone_from(&url);
        options.kafka.properties = properties;
        KafkaTopic { url, options, incarnations: MemoryIncarnations::default() }
    }

    /// What is in a topic now, keys and values, one partition after another. Blocks.
    pub fn messages(&self, topic: &str) -> Vec<(String, String)> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.servers).set("group.id", "messages").set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create().unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
        let mut messages = Vec::new();
        for partition in metadata.topics()[0].partitions() {
            let (begin, end) = consumer.fetch_watermarks(topic, partition.id(), PATIENCE).unwrap();
            let mut place = TopicPartitionList::new();
            place.add_partition_offset(topic, partition.id(), Offset::Offset(begin)).unwrap();
            consumer.assign(&place).unwrap();
            let mut next = begin;
            while next < end {
                let message = consumer.poll(PATIENCE).unwrap().unwrap();
                messages.push((text(message.key()), text(message.payload())));
                next = message.offset() + 1;
            }
        }
        messages
    }

    /// Kills a broker, from 1, as a crash does.
    pub fn kill_broker(&self, number: u32) {
        script(&["kill", &self.dir.display().to_string(), &number.to_string()], &[]);
    }

    /// Starts a killed broker again, at its old address, and waits until it is back.
    pub fn start_broker(&self, number: u32) {
        script(&["start", &self.dir.display().to_string(), &number.to_string()], &[]);
    }
}

/// A topic of its own for each test: makes logs in it, for a group of its own.
#[derive(Debug)]
pub struct KafkaTopic {
    /// `kafka://SERVERS/TOPIC`.
    pub url: String,
    /// [`PARTITIONS`] of them, otherwise the defaults.
    pub options: LogOptions,
    incarnations: MemoryIncarnations,
}

impl KafkaTopic {
    /// Opens a log in the topic.
    ///
    /// # Errors
    /// As [`crate::open`].
    pub async fn open(&self) -> Result<Arc<dyn EventLog>, LogError> {
        crate::open(&self.url, &self.options, Some(&self.incarnations)).await
    }
}

#[async_trait]
impl Factory for KafkaTopic {
    async fn make(&self) -> Arc<dyn EventLog> {
        self.reopen().await
    }

    async fn reopen(&self) -> Arc<dyn EventLog> {
        self.open().await.unwrap()
    }
}

impl Drop for KafkaStand {
    fn drop(&mut self) {
        for number in 1..=self.brokers {
            let dir = self.dir.display().to_string();
            let _ = command().args(["kill", &dir, &number.to_string()]).output(); // it may be dead already
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn command() -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/stand/kafka.sh");
    let mut command = Command::new(script);
    command.env("PARENT", std::process::id().to_string());
    command
}

fn script(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = command().args(arguments).envs(environment.iter().copied()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "deploy/stand/kafka.sh {}: {told}", arguments.join(" "));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Incarnations for as long as the process lives.
#[derive(Debug, Default)]
pub struct MemoryIncarnations(Mutex<BTreeMap<String, Vec<String>>>);

#[async_trait]
impl Incarnations for MemoryIncarnations {
    async fn incarnation(&self, topic: &str, identity: &str) -> Result<Incarnation, LogError> {
        let mut lives = self.0.lock();
        let lives = lives.entry(topic.to_owned()).or_default();
        let index = lives.iter().position(|known| known == identity).unwrap_or_else(|| {
            lives.push(identity.to_owned());
            lives.len() - 1
        });
        Ok(index as Incarnation + 1)
    }
}
