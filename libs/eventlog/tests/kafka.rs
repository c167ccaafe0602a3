//! The log on a real broker passes the suite, and shares its partitions out.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use eventlog::{
    Keep, LogError, LogOptions, Message, Outlet,
    conformance::{
        Factory, KafkaStand, MemoryIncarnations, PARTITIONS, PATIENCE, batch, is_assigned, read_from, texts,
    },
};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
};
use tokio::time::{sleep, timeout};

/// One broker for all tests of this program, a topic for each.
static STAND: LazyLock<KafkaStand> = LazyLock::new(|| KafkaStand::start(1));

eventlog::conformance_tests!(STAND.topic(BTreeMap::new()));

fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", &STAND.servers).create().unwrap()
}

fn topic_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

async fn make_topic(url: &str, settings: &[(&str, &str)]) {
    let mut topic = NewTopic::new(topic_of(url), 5, TopicReplication::Fixed(1));
    topic.config = settings.to_vec();
    for made in admin().create_topics([&topic], &AdminOptions::new()).await.unwrap() {
        made.unwrap();
    }
}

/// Waits, bounded, until `check` gives something.
async fn eventually<T>(what: &str, check: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} took longer than {PATIENCE:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_grows() {
    eventlog::conformance::a_log_grows(&STAND.topic(BTreeMap::new())).await;
}

#[tokio::test]
async fn a_topic_that_is_there_keeps_its_partitions_and_must_fit() {
    let topic = STAND.topic(BTreeMap::new());
    make_topic(&topic.url, &[("message.timestamp.type", "LogAppendTime"), ("max.message.bytes", "5000")]).await;
    let log = topic.make().await;
    assert_eq!((log.topic(), log.partitions()), (topic_of(&topic.url), 5));
    log.append(vec![batch(4, [vec![b'x'; 4000]])]).await.unwrap();
    let refused = log.append(vec![batch(3, ["good"]), batch(4, [vec![b'x'; 5000]])]).await;
    assert!(matches!(refused, Err(LogError::Invalid(_))), "{refused:?}");
    assert_eq!(log.tail(3).await.unwrap().end, 0, "nothing of a refused call is taken");

    for (settings, told) in [
        (vec![], "--add-config message.timestamp.type=LogAppendTime"),
        (vec![("message.timestamp.type", "LogAppendTime"), ("cleanup.policy", "compact")], "cleanup.policy=delete"),
    ] {
        let topic = STAND.topic(BTreeMap::new());
        make_topic(&topic.url, &settings).await;
        let refused = topic.open().await.err();
        assert!(matches!(&refused, Some(LogError::Config(message)) if message.contains(told)), "{refused:?}");
    }
}

/// What the brokers say of a topic's setting.
async fn setting(topic: &str, name: &str) -> String {
    let described = admin().describe_configs([&ResourceSpecifier::Topic(topic)], &AdminOptions::new()).await.unwrap();
    let [Ok(topic)] = &described[..] else { panic!("{described:?}") };
    topic.get(name).and_then(|entry| entry.value.clone()).unwrap()
}

#[tokio::test]
async fn what_only_the_latest_is_wanted_of_is_compacted_and_the_rest_ends_by_age() {
    let log = STAND.topic(BTreeMap::new());
    log.make().await;
    let options = LogOptions { partitions: 3, ..LogOptions::default() };
    let users = format!("{}-users", topic_of(&log.url));
    let outlet = Outlet::open(&log.url, &users, Keep::Latest, &options).await.unwrap();
    let message = |value: &str| Message { key: b"u1".to_vec(), value: value.into() };
    assert_eq!(outlet.publish(&[message("first"), message("second")]).await.unwrap(), 0);
    assert_eq!(setting(&users, "cleanup.policy").await, "compact");
    let all = format!("{}-all", topic_of(&log.url));
    Outlet::open(&log.url, &all, Keep::All, &options).await.unwrap();
    assert_eq!(setting(&all, "cleanup.policy").await, "delete");
    assert_eq!(setting(&all, "retention.ms").await, options.kafka.retention_ms.to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_make_a_topic_at_once_have_the_same() {
    let topic = STAND.topic(BTreeMap::new());
    let (one, other) = tokio::join!(topic.reopen(), topic.reopen());
    assert_eq!(one.incarnation(), other.incarnation());
    one.append(vec![batch(0, ["a"])]).await.unwrap();
    other.append(vec![batch(0, ["b"])]).await.unwrap();
    assert_eq!(texts(&read_from(&*one, 0, 0).await), ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_anew_is_another_life_and_ends_the_use_of_the_old() {
    let mut topic = STAND.topic(BTreeMap::new());
    topic.options.kafka.check_ms = 100;
    let old = topic.make().await;
    old.append(vec![batch(0, ["old"])]).await.unwrap();
    let waiter = Arc::clone(&old);
    let waiting = tokio::spawn(async move { waiter.wait_for(0, 1000).await });

    for deleted in admin().delete_topics(&[topic_of(&topic.url)], &AdminOptions::new()).await.unwrap() {
        deleted.unwrap();
    }
    let new = eventually("making the topic anew", async || topic.open().await.ok()).await;
    eventually("finding out", async || {
        let refused = old.append(vec![batch(0, ["x"])]).await.err()?.to_string();
        (refused.contains("made anew") && refused.contains("restarted")).then_some(())
    })
    .await;
    assert!(timeout(PATIENCE, waiting).await.unwrap().unwrap().is_err(), "whoever waits is woken");
    assert!(new.incarnation() > old.incarnation(), "{} > {}", new.incarnation(), old.incarnation());
    let end = new.append(vec![batch(0, ["new"])]).await.unwrap().ends[0].1;
    assert_eq!(texts(&new.read(0, end - 1, 1, 1).await.unwrap()), ["new"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_share_the_partitions_and_hand_them_over_when_they_are_let_go() {
    let mut topic = STAND.topic(BTreeMap::new());
    topic.options.kafka.session_timeout_ms = 45_000; // nothing here may wait for it
    let (one, other) = (topic.make().await, topic.reopen().await);
    let first = one.assignment().unwrap();
    let mut of_first = first.partitions();
    is_assigned(&mut of_first, 0..PARTITIONS).await;
    first.working_on((0..PARTITIONS).collect());

    let second = other.assignment().unwrap();
    let mut of_second = second.partitions();
    timeout(PATIENCE, of_first.wait_for(|assigned| assigned.len() < PARTITIONS as usize)).await.unwrap().unwrap();
    let kept = of_first.borrow().clone();
    let given: BTreeSet<_> = (0..PARTITIONS).filter(|partition| !kept.contains(partition)).collect();
    assert!(of_second.borrow().is_empty(), "the worker of {given:?} hasn't stopped yet");
    first.working_on(kept.clone());
    is_assigned(&mut of_second, given.iter().copied()).await;
    second.working_on(given);
    assert_eq!(*of_first.borrow(), kept);

    for end in 1..=3 {
        first.done(*kept.first().unwrap(), end);
    }
    timeout(PATIENCE, first.leave()).await.unwrap();
    timeout(Duration::from_secs(30), is_assigned(&mut of_second, 0..PARTITIONS)).await.unwrap();
    timeout(PATIENCE, second.leave()).await.unwrap();

    // What is done is told to the group, where any tool of Kafka's finds it.
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &STAND.servers)
        .set("group.id", &topic.options.kafka.group)
        .create()
        .unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic_of(&topic.url), *kept.first().unwrap() as i32);
    let committed = consumer.committed_offsets(asked, PATIENCE).unwrap();
    assert_eq!(committed.elements()[0].offset(), Offset::Offset(3));
}

#[tokio::test]
async fn brokers_that_do_not_answer_are_an_error_in_time() {
    let mut options = LogOptions::default();
    options.kafka.timeout_ms = 1_000;
    let started = Instant::now();
    let refused = eventlog::open("kafka://127.0.0.1:1/x", &options, Some(&MemoryIncarnations::default())).await.err();
    assert!(matches!(refused, Some(LogError::Unavailable(_))), "{refused:?}");
    assert!(started.elapsed() < PATIENCE);
}

#[tokio::test]
async fn properties_that_do_not_exist_are_refused_by_name() {
    let mut options = LogOptions::default();
    options.kafka.properties.insert("sasl.pasword".into(), "hunter2".into());
    let refused = eventlog::open("kafka://127.0.0.1:1/x", &options, Some(&MemoryIncarnations::default())).await.err();
    let told = matches!(&refused, Some(LogError::Config(message)) if message.contains("sasl.pasword") && !message.contains("hunter2"));
    assert!(told, "{refused:?}");
}
