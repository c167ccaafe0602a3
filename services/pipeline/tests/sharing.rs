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
use pipeline::{Options, Parts, Tee, TeeOptions};
use serde_json::{Value, json};
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

    fn log_options(&self, group: &str) -> LogOptions {
        let mut options = LogOptions { partitions: PARTITIONS, ..LogOptions::default() };
        options.kafka.group = format!("{}-{group}", self.url);
        options.kafka.session_timeout_ms = 45_000; // no handover here may need it
        options
    }

    async fn log(&self, group: &str) -> Arc<dyn EventLog> {
        eventlog::open(&self.url, &self.log_options(group), Some(&self.incarnations)).await.unwrap()
    }

    /// Topics beside the log's.
    fn tee(&self) -> TeeOptions {
        let topic = |name: &str| format!("{}-{name}", self.url.rsplit('/').next().unwrap());
        TeeOptions { enriched_events: topic("enriched"), users: topic("users"), dead_letters: topic("dead") }
    }

    /// What others were told in a topic.
    fn told(&self, topic: &str) -> Vec<(String, Value)> {
        let messages = tokio::task::block_in_place(|| STAND.messages(topic));
        messages.into_iter().map(|(key, value)| (key, serde_json::from_str(&value).unwrap())).collect()
    }

    async fn pipeline(&self, owner: &str, group: &str) -> Pipeline {
        let log = self.log(group).await;
        let parts = Parts {
            log: Arc::clone(&log),
            ledger: Arc::clone(&self.meta) as _,
            erasures: Arc::clone(&self.meta) as _,
            replays: Arc::clone(&self.meta) as _,
            placements: Arc::clone(&self.meta) as _,
            apps: Arc::new(Apps::new(Arc::clone(&self.meta), now_ms)),
            warehouse: self.warehouse.clone(),
            options: Options { block_records: 100, block_interval_ms: 20, idle_ms: 100, ..Options::default() },
            tee: Tee::open(&self.url, &self.tee(), &self.log_options(group)).await.unwrap(),
            at_once: 1, // they wait for one another, whatever happens meanwhile
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
        let partition = partition_of(tenant().as_str(), app().as_str(), &user_id, &event_id, PARTITIONS);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn others_are_told_of_events_users_and_dead_letters() {
    let world = World::start().await;
    let log = world.log("ingest").await;
    let pipeline = world.pipeline("one", "pipeline").await;
    let at = 1_767_225_600_000; // 2026-01-01
    let text =
        |name: &'static str, value| PropertyRef { name, kind: PropertyKind::String, value: ValueRef::Text(value) };
    let number = |name: &'static str, kind, x| PropertyRef { name, kind, value: ValueRef::Number(x) };
    let event = |event_id| Body::Event { event_id, event_type: "buy", timestamp_ms: at };
    let record = |user_id, body| RecordRef { tenant: "acme", app: "web", user_id, received_at_ms: at + 1, body };
    let refused = Body::DeadLetter { event_id: "e3", event_type: "buy", timestamp_ms: at, code: "TOO_OLD" };
    let properties = [
        text("status", "done"),
        number("amount", PropertyKind::Number, 1.5),
        number("paid", PropertyKind::Bool, 1.0),
        number("due", PropertyKind::Time, at as f64),
    ];
    let (mut buffer, mut ends) = (Vec::new(), Vec::new());
    for (record, properties) in [
        (record("u1", Body::Identify), &[text("plan", "pro"), text("country", "DE")][..]),
        (record("u1", event("e1")), &properties),
        (record("u1", event("e1")), &properties), // the second of one id
        (record("", event("e2")), &[]),
        (record("u1", refused), &properties),
        (record("u1", Body::Identify), &[text("plan", "free")]),
    ] {
        record::encode(&record, properties, None, &mut buffer);
        ends.push(buffer.len() as u32);
    }
    log.append(vec![Batch { partition: 1, buffer: buffer.into(), ends }]).await.unwrap();
    world.drained(&*log).await;

    let (of, received) = (|user: &str| format!("acme/web/{user}"), "2026-01-01T00:00:00.001Z");
    let incarnation = log.incarnation().to_string();
    let position = |offset: u64| json!({"incarnation": incarnation, "partition": 1, "offset": offset});
    let properties = json!({"status": "done", "amount": 1.5, "paid": true, "due": {"time": "2026-01-01T00:00:00Z"}});
    let event = |id, user, properties, offset| {
        json!({"tenant_id": "acme", "app_id": "web", "event_id": id, "event_type": "buy", "user_id": user,
            "timestamp": "2026-01-01T00:00:00Z", "received_at": received, "properties": properties,
            "position": position(offset)})
    };
    let with = |mut value: Value, more: Value| {
        value.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
        value
    };
    let mut told = world.told(&world.tee().enriched_events);
    told.sort_by_key(|(_, event)| event["event_id"].to_string());
    let known = json!({"country": "DE", "user_plan": "pro"});
    let unknown = json!({"country": null, "user_plan": null});
    let first = (of("u1"), with(event("e1", "u1", properties.clone(), 1), known));
    assert_eq!(told, [first, (of("e2"), with(event("e2", "", json!({}), 3), unknown))]);
    let refused = with(event("e3", "u1", properties, 4), json!({"code": "TOO_OLD"}));
    assert_eq!(world.told(&world.tee().dead_letters), [(of("u1"), refused)]);
    let user = |plan: &str, offset| {
        let traits = json!({"plan": plan, "country": "DE"});
        let user = json!({"tenant_id": "acme", "app_id": "web", "user_id": "u1", "traits": traits,
            "received_at": received, "position": position(offset)});
        (of("u1"), user)
    };
    assert_eq!(world.told(&world.tee().users), [user("pro", 0), user("free", 5)]);
    pipeline.stop().await;
    log.close().await.unwrap();
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
    let told = world.told(&world.tee().enriched_events);
    let ids: BTreeSet<_> = told.iter().map(|(_, event)| event["event_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, (0..EVENTS).map(|number| format!("event-{number}")).collect(), "each at least once");
    one.stop().await;
    two.stop().await;
    ingest.close().await.unwrap();
}
