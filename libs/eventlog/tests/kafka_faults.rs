//! Brokers that die and come back: what was acknowledged is there, and nobody has to be started again.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use eventlog::{
    EventLog, LogError, LogOptions,
    conformance::{
        KafkaStand, MemoryIncarnations, PATIENCE, Random, assert_consecutive, batch, is_assigned, read_from, texts,
    },
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{sleep, timeout},
};

const PARTITIONS: u32 = 3;
const TIMEOUT: Duration = Duration::from_secs(2);

async fn open(stand: &KafkaStand, options: &LogOptions) -> Arc<dyn EventLog> {
    eventlog::open(&stand.new_topic(), options, Some(&MemoryIncarnations::default())).await.unwrap()
}

fn options() -> LogOptions {
    let mut options = LogOptions { partitions: PARTITIONS, queue_bytes: 1 << 20, ..LogOptions::default() };
    options.kafka.timeout_ms = TIMEOUT.as_millis() as u64;
    options
}

/// Appends until it is acknowledged; how often it wasn't.
async fn append_stubbornly(log: &dyn EventLog, partition: u32, text: &str) -> u32 {
    let deadline = Instant::now() + PATIENCE;
    for refused in 0.. {
        match log.append(vec![batch(partition, [text])]).await {
            Ok(_) => return refused,
            Err(LogError::Unavailable(_)) if Instant::now() < deadline => sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_gone_is_told_in_time_and_its_return_needs_nothing() {
    let stand = KafkaStand::start(1);
    let log = open(&stand, &options()).await;
    log.append(vec![batch(0, ["a", "b"])]).await.unwrap();
    assert_eq!(texts(&log.read(0, 0, 1, 1).await.unwrap()), ["a"]);
    let waiter = Arc::clone(&log);
    let waiting = tokio::spawn(async move { waiter.wait_for(0, 2).await });

    stand.kill_broker(1);
    for _ in 0..2 {
        let started = Instant::now();
        let refused = log.append(vec![batch(0, ["lost?"])]).await;
        assert!(matches!(refused, Err(LogError::Unavailable(_))), "{refused:?}");
        assert!(started.elapsed() < 5 * TIMEOUT, "{:?}", started.elapsed());
    }
    assert!(matches!(log.tail(0).await, Err(LogError::Unavailable(_))));
    assert!(matches!(log.read(1, 0, 1, 1).await, Err(LogError::Unavailable(_))));
    assert!(!waiting.is_finished());

    // Far more than the queue takes: nobody waits for long.
    let many = (0..20).map(|_| {
        let log = Arc::clone(&log);
        tokio::spawn(async move { log.append(vec![batch(1, [vec![b'x'; 400_000]])]).await })
    });
    for refused in many.collect::<Vec<_>>() {
        let refused = timeout(10 * TIMEOUT, refused).await.unwrap().unwrap();
        assert!(matches!(refused, Err(LogError::Unavailable(_))), "{refused:?}");
    }

    stand.start_broker(1);
    append_stubbornly(&*log, 0, "c").await;
    timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap();
    let found = timeout(PATIENCE, async {
        loop {
            // A read may come upon a connection that isn't there yet.
            match log.read(0, 0, 100, 1 << 20).await {
                Ok(records) if records.iter().any(|record| record.payload == "c") => return records,
                Ok(_) | Err(LogError::Unavailable(_)) => sleep(Duration::from_millis(50)).await,
                Err(error) => panic!("{error}"),
            }
        }
    });
    let found = texts(&found.await.unwrap());
    assert_eq!(found[..2], ["a", "b"]);

    // The end doesn't wait for a broker that is gone.
    let assignment = log.assignment().unwrap();
    is_assigned(&mut assignment.partitions(), 0..PARTITIONS).await;
    assignment.working_on((0..PARTITIONS).collect());
    stand.kill_broker(1);
    assignment.done(0, 2);
    timeout(PATIENCE, assignment.leave()).await.unwrap();
    timeout(PATIENCE, log.close()).await.unwrap().unwrap();
}

/// Under load, one of three brokers after another dies and comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_brokers_may_die() {
    let stand = KafkaStand::start(3);
    let log = open(&stand, &options()).await;
    let mut random = Random::new();
    let done = Arc::new(AtomicBool::new(false));
    let appenders: Vec<_> = (0..3)
        .map(|appender| {
            let (log, done, mut random) = (Arc::clone(&log), Arc::clone(&done), random.fork());
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                while !done.load(Ordering::Acquire) {
                    let partition = random.below(u64::from(PARTITIONS)) as u32;
                    let text = format!("{appender}/{}", acknowledged.len());
                    append_stubbornly(&*log, partition, &text).await;
                    acknowledged.push((partition, text));
                }
                acknowledged
            })
        })
        .collect();
    let reader = Arc::clone(&log);
    let own_done = Arc::clone(&done);
    let reading = tokio::spawn(async move {
        let mut records = Vec::new();
        while !own_done.load(Ordering::Acquire) {
            let wait = reader.wait_for(0, records.len() as u64);
            if timeout(Duration::from_millis(100), wait).await.is_ok()
                && let Ok(more) = reader.read(0, records.len() as u64, 100, 1 << 20).await
            {
                records.extend(more);
            }
        }
        records
    });

    let first = random.below(3) as u32;
    for turn in 0..2 {
        let broker = 1 + (first + turn) % 3;
        stand.kill_broker(broker);
        // Every partition is led again, and takes records, while the broker is away.
        for partition in 0..PARTITIONS {
            append_stubbornly(&*log, partition, &format!("without {broker}")).await;
        }
        stand.start_broker(broker);
    }
    done.store(true, Ordering::Release);
    let read = reading.await.unwrap();
    assert_consecutive(&read, 0);

    let mut found = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let records = read_from(&*log, partition, 0).await;
        assert_consecutive(&records, 0);
        found.insert(partition, texts(&records));
    }
    assert_eq!(texts(&read), found[&0][..read.len()], "what was read while brokers died is what is there");
    for appender in appenders {
        for (partition, text) in appender.await.unwrap() {
            assert!(found[&partition].contains(&text), "{text} was acknowledged and is not in partition {partition}");
        }
    }
    log.close().await.unwrap();
}

/// Where brokers are found first. New connections are passed on, or taken and never answered.
struct Door {
    address: String,
    silent: Arc<AtomicBool>,
    /// How many were taken so.
    taken: watch::Receiver<usize>,
}

impl Door {
    async fn before(broker: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (silent, taken) = (Arc::new(AtomicBool::new(false)), watch::Sender::new(0));
        let door = Self { address, silent: Arc::clone(&silent), taken: taken.subscribe() };
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((mut client, _)) = listener.accept().await {
                if silent.load(Ordering::SeqCst) {
                    kept.push(client);
                    taken.send_replace(kept.len());
                    continue;
                }
                let broker = broker.clone();
                tokio::spawn(async move {
                    let mut broker = TcpStream::connect(broker).await.unwrap();
                    let _ = copy_bidirectional(&mut client, &mut broker).await;
                });
            }
        });
        door
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_hears_nothing_while_others_do_is_replaced() {
    let (stand, mut options) = (KafkaStand::start(1), options());
    // It would wait for longer than this test does.
    for wait in ["socket.timeout.ms", "api.version.request.timeout.ms"] {
        options.kafka.properties.insert(wait.to_owned(), "300000".to_owned());
    }
    let topic = stand.new_topic();
    let (broker, name) = topic.strip_prefix("kafka://").unwrap().split_once('/').unwrap();
    let mut door = Door::before(broker.to_owned()).await;
    let topic = format!("kafka://{}/{name}", door.address);
    let log = eventlog::open(&topic, &options, Some(&MemoryIncarnations::default())).await.unwrap();
    log.append(vec![batch(0, ["a", "b"])]).await.unwrap();

    door.silent.store(true, Ordering::SeqCst);
    let refused = log.read(0, 0, 1, 1).await;
    assert!(matches!(refused, Err(LogError::Unavailable(_))), "{refused:?}");
    assert_eq!(*door.taken.borrow_and_update(), 1, "the consumer is made by whoever reads first");
    door.silent.store(false, Ordering::SeqCst);
    let deadline = Instant::now() + PATIENCE;
    let read = loop {
        match log.read(0, 0, 2, 100).await {
            Ok(records) => break records,
            Err(LogError::Unavailable(_)) if Instant::now() < deadline => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(texts(&read), ["a", "b"]);
    log.close().await.unwrap();
}
