//! Several pipelines on one Kafka log, one ledger and one warehouse: whoever works on a partition, each event counts once.
//!
//! The engine needs a process of its own: the test program runs itself again as that.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use eventlog::{
    Batch, EventLog, LogOptions,
    conformance::{KafkaStand, MemoryIncarnations, PATIENCE, Random},
};
use model::{
    AppId, DAY_MS, PropertyKind, TenantId, partition_of,
    record::{self, Body, PropertyRef, RecordRef, ValueRef},
};
use pipeline::{Options, Parts};
use storage::{
    App, Apps, Metastore, PartitionState, Tenant, Topic, Warehouse,
    warehouse::{Cell, QuerySettings},
};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

const PARTITIONS: u32 = 4;
const EVENTS: usize = 4_000;
const ENGINE_DIR: &str = "PIPELINE_TEST_ENGINE_DIR";
const ENGINE_ADDRESS: &str = "PIPELINE_TEST_ENGINE_ADDRESS";

static STAND: LazyLock<KafkaStand> = LazyLock::new(|| KafkaStand::start(1));

fn now_ms() -> i64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64
}

/// The engine's process, if this is to be it; else nothing to test.
#[test]
fn engine_process() {
    let (Some(dir), Ok(address)) = (std::env::var_os(ENGINE_DIR), std::env::var(ENGINE_ADDRESS)) else { return };
    let library = chdb::find_library(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mut config = chdb::ChdbConfig::new(library, dir);
    config.listen = address.parse().unwrap();
    config.exit_with_stdin = true;
    tokio::runtime::Runtime::new().unwrap().block_on(chdb::run(config)).unwrap();
    chdb::exit(0);
}

/// What the pipelines stand on.
struct World {
    url: String,
    incarnations: MemoryIncarnations,
    meta: Arc<dyn Metastore>,
    warehouse: Warehouse,
    engine: Child,
    _dir: TempDir,
}

/// One pipeline, as a process has it.
struct Pipeline {
    log: Arc<dyn EventLog>,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl World {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let engine = Command::new(std::env::current_exe().unwrap())
            .args(["engine_process", "--exact", "--nocapture"])
            .env(ENGINE_DIR, dir.path().join("warehouse"))
            .env(ENGINE_ADDRESS, address.to_string())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let warehouse = Warehouse::new(&format!("http://{address}"), "penstock", "default", None).unwrap();
        warehouse.wait_ready(PATIENCE).await.unwrap();
        warehouse.migrate().await.unwrap();
        let meta = storage::open(&format!("sqlite://{}", dir.path().join("meta.db").display())).await.unwrap();
        let (tenant, app) = (tenant(), app());
        let made = Tenant { id: tenant.clone(), display_name: "Acme".into(), created_at_ms: now_ms() };
        meta.create_tenant(&made).await.unwrap();
        let made =
            App { tenant, id: app, display_name: "Web".into(), time_zone: "UTC".into(), created_at_ms: now_ms() };
        meta.create_app(&made).await.unwrap();
        Self { url: STAND.new_topic(), incarnations: MemoryIncarnations::default(), meta, warehouse, engine, _dir: dir }
    }

    async fn log(&self, group: &str) -> Arc<dyn EventLog> {
        let mut options = LogOptions { partitions: PARTITIONS, ..LogOptions::default() };
        options.kafka.group = format!("{}-{group}", self.url);
        options.kafka.session_timeout_ms = 45_000; // no handover here may need it
        eventlog::open(&self.url, &options, Some(&self.incarnations)).await.unwrap()
    }

    async fn pipeline(&self, owner: &str, group: &str) -> Pipeline {
        let log = self.log(group).await;
        let parts = Parts {
            log: Arc::clone(&log),
            ledger: Arc::clone(&self.meta) as _,
            apps: Arc::new(Apps::new(Arc::clone(&self.meta), now_ms)),
            warehouse: self.warehouse.clone(),
            options: Options { block_records: 100, block_interval_ms: 20, idle_ms: 100, ..Options::default() },
            keep_log_ms: None,
            owner: owner.to_owned(),
            now_ms,
        };
        let stop = CancellationToken::new();
        Pipeline { log, running: tokio::spawn(pipeline::run(parts, stop.clone())), stop }
    }

    async fn states(&self, log: &dyn EventLog) -> Vec<PartitionState> {
        let topic = Topic { name: log.topic().to_owned(), incarnation: log.incarnation() };
        self.meta.partitions(&topic).await.unwrap()
    }

    /// Who owns the partitions, by the ledger.
    async fn owners(&self, log: &dyn EventLog) -> Vec<String> {
        self.states(log).await.into_iter().map(|state| state.owner).collect()
    }

    /// Waits until all that is in the log is committed, and says how many records that are.
    async fn drained(&self, log: &dyn EventLog) -> u64 {
        let mut ends = Vec::new();
        for partition in 0..PARTITIONS {
            ends.push(log.tail(partition).await.unwrap().end);
        }
        eventually("committing everything", async || {
            let states = self.states(log).await;
            let done = |state: &PartitionState| state.committed >= ends[state.partition as usize];
            states.len() == PARTITIONS as usize && states.iter().all(done)
        })
        .await;
        ends.iter().sum()
    }

    async fn stored(&self) -> (i64, i64) {
        let rows = self.warehouse.select(
            "SELECT toInt64(count()), toInt64(uniqExact(event_id)) FROM events",
            &[],
            &QuerySettings::default(),
        );
        let rows = rows.unwrap().collect().await.unwrap();
        match rows[0][..] {
            [Cell::Integer(count), Cell::Integer(distinct)] => (count, distinct),
            ref row => panic!("{row:?}"),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.engine.kill();
        let _ = self.engine.wait();
    }
}

impl Pipeline {
    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.running).await.unwrap().unwrap();
        self.log.close().await.unwrap();
    }
}

fn tenant() -> TenantId {
    TenantId::new("acme").unwrap()
}

fn app() -> AppId {
    AppId::new("web").unwrap()
}

async fn eventually(what: &str, check: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check().await {
        assert!(Instant::now() < deadline, "{what} took longer than {PATIENCE:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Publishes the events with these numbers, and every tenth of them a second time; of two days.
async fn publish(log: &dyn EventLog, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let (event_id, user_id) = (format!("event-{number}"), format!("user-{}", number % 50));
        let event = RecordRef {
            tenant: "acme",
            app: "web",
            user_id: &user_id,
            received_at_ms: now_ms(),
            body: Body::Event {
                event_id: &event_id,
                event_type: "buy",
                timestamp_ms: now_ms() - (number as i64 % 2) * DAY_MS,
            },
        };
        let amount = PropertyRef { name: "amount", kind: PropertyKind::Number, value: ValueRef::Number(number as f64) };
        let partition = partition_of(&tenant(), &app(), &user_id, &event_id, PARTITIONS);
        let (mut buffer, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..1 + usize::from(number % 10 == 0) {
            record::encode(&event, &[amount], None, &mut buffer);
            ends.push(buffer.len() as u32);
        }
        log.append(vec![Batch { partition, buffer: buffer.into(), ends }]).await.unwrap();
    }
}

/// In parallel, as ingest does.
async fn publish_all(log: &Arc<dyn EventLog>, numbers: std::ops::Range<usize>) {
    let step = numbers.len().div_ceil(20);
    let parts = numbers.clone().step_by(step).map(|begin| {
        let (log, range) = (Arc::clone(log), begin..(begin + step).min(numbers.end));
        tokio::spawn(async move { publish(&*log, range).await })
    });
    for part in parts.collect::<Vec<_>>() {
        part.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pipelines_come_and_go_and_each_event_counts_once() {
    let world = World::start().await;
    let ingest = world.log("ingest").await;
    let one = world.pipeline("one", "pipeline").await;
    let publisher = Arc::clone(&ingest);
    let publishing = tokio::spawn(async move { publish_all(&publisher, 0..EVENTS).await });

    eventually("the first one's claim", async || world.owners(&*ingest).await == ["one"; PARTITIONS as usize]).await;
    let two = world.pipeline("two", "pipeline").await;
    eventually("sharing", async || {
        let owners = world.owners(&*ingest).await;
        owners.iter().collect::<BTreeSet<_>>().len() == 2
    })
    .await;
    one.stop().await; // before its session could have ended
    eventually("the second one's claim", async || world.owners(&*ingest).await == ["two"; PARTITIONS as usize]).await;
    publishing.await.unwrap();

    let records = world.drained(&*ingest).await;
    assert_eq!(records, EVENTS as u64 + EVENTS as u64 / 10);
    assert_eq!(world.stored().await, (EVENTS as i64, EVENTS as i64));
    // Each partition was claimed by the first, then by the second: nobody was fenced and claimed again.
    let states = world.states(&*ingest).await;
    assert!(states.iter().all(|state| state.generation <= 2 && state.pending.is_none()), "{states:?}");
    two.stop().await;
    ingest.close().await.unwrap();
}

/// Two groups, so both are assigned everything, as a zombie believes of itself: the ledger alone keeps them apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pipelines_that_fight_for_the_partitions_still_count_once() {
    let world = World::start().await;
    let ingest = world.log("ingest").await;
    let (one, two) = (world.pipeline("one", "one").await, world.pipeline("two", "two").await);
    let mut random = Random::new();
    let mut published = 0;
    while published < EVENTS {
        let next = (published + 1 + random.below(1_000) as usize).min(EVENTS);
        publish_all(&ingest, published..next).await;
        published = next;
        sleep(Duration::from_millis(random.below(1_000))).await; // some of the fights are about an idle partition
    }
    world.drained(&*ingest).await;
    assert_eq!(world.stored().await, (EVENTS as i64, EVENTS as i64));
    let states = world.states(&*ingest).await;
    assert!(states.iter().any(|state| state.generation >= 2), "they did not fight: {states:?}");
    one.stop().await;
    two.stop().await;
    ingest.close().await.unwrap();
}
