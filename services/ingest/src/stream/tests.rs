//! Greedy senders against a log that stands still: how much is taken from them, and what others see of it.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use eventlog::{Assignment, Batch, EventLog, LogError, LogOptions, Record, Tail};
use futures::stream;
use mesh::signed::SigningKey;
use model::{AppId, AppSet, Incarnation, Offset, PartitionId, Position, Priority, Scope, TenantId};
use prost::Message;
use storage::{App, Apps, Tenant};
use tempfile::TempDir;
use tokio::sync::watch;

use super::*;
use crate::{FlowOptions, Limits, Parts, QuotaOptions, flow::Flow};

/// A log that takes nothing of the tenants whose names begin with `greedy` while it is shut.
struct Gate {
    log: Arc<dyn EventLog>,
    open: watch::Receiver<bool>,
}

#[async_trait]
impl EventLog for Gate {
    fn topic(&self) -> &str {
        self.log.topic()
    }
    fn incarnation(&self) -> Incarnation {
        self.log.incarnation()
    }
    fn partitions(&self) -> u32 {
        self.log.partitions()
    }
    async fn append(&self, batches: Vec<Batch>) -> Result<Position, LogError> {
        if batches.iter().any(|batch| batch.buffer.windows(6).any(|bytes| bytes == b"greedy")) {
            self.open.clone().wait_for(|open| *open).await.unwrap();
        }
        self.log.append(batches).await
    }
    async fn read(&self, p: PartitionId, from: Offset, records: usize, bytes: usize) -> Result<Vec<Record>, LogError> {
        self.log.read(p, from, records, bytes).await
    }
    async fn wait_for(&self, partition: PartitionId, offset: Offset) -> Result<(), LogError> {
        self.log.wait_for(partition, offset).await
    }
    async fn tail(&self, partition: PartitionId) -> Result<Tail, LogError> {
        self.log.tail(partition).await
    }
    async fn trim(&self, partition: PartitionId, before: Offset) -> Result<(), LogError> {
        self.log.trim(partition, before).await
    }
    fn assignment(&self) -> Result<Box<dyn Assignment>, LogError> {
        self.log.assignment()
    }
    async fn close(&self) -> Result<(), LogError> {
        self.log.close().await
    }
}

struct World {
    publisher: Arc<Publisher>,
    log: Arc<dyn EventLog>,
    open: watch::Sender<bool>,
    _folder: TempDir,
}

const TENANTS: [&str; 4] = ["greedy-a", "greedy-b", "greedy-c", "modest"];

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

impl World {
    async fn new(flow: FlowOptions) -> Self {
        Self::with(Limits { flow, ..Limits::default() }).await
    }

    async fn with(limits: Limits) -> Self {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let meta = storage::open(&format!("sqlite:{}", at("meta.db"))).await.unwrap();
        for name in TENANTS {
            let tenant = TenantId::new(name).unwrap();
            meta.create_tenant(&Tenant { id: tenant.clone(), display_name: name.into(), created_at_ms: 1 })
                .await
                .unwrap();
            let (id, display_name, time_zone) = (AppId::new("web").unwrap(), "web".into(), "UTC".into());
            meta.create_app(&App { tenant, id, display_name, time_zone, created_at_ms: 1 }).await.unwrap();
        }
        let options = LogOptions { partitions: 2, ..LogOptions::default() };
        let log = eventlog::open(&format!("embedded:{}", at("log")), &options, None).await.unwrap();
        let (open, is_open) = watch::channel(false);
        let cache = storage::open_cache("memory:").await.unwrap();
        let tenants = Arc::new(mesh::limits::Limits::new(Arc::clone(&cache), "ingest", 0));
        let flow = Arc::new(Flow::new(limits.flow.clone(), limits.quota.clone(), tenants));
        let parts = Parts {
            retention_days: 0,
            log: Arc::new(Gate { log: Arc::clone(&log), open: is_open }),
            apps: Arc::new(Apps::new(Arc::clone(&meta), now_ms)),
            cache,
            meta,
            limits,
            writer: "this".into(),
            token_key: SigningKey::derive(&[1; 32], "token"),
            context_key: SigningKey::derive(&[1; 32], "context"),
            now_ms,
            stop: CancellationToken::new(),
        };
        Self { publisher: Arc::new(Publisher::new(parts, flow)), log, open, _folder: folder }
    }

    fn context(tenant: &str) -> Arc<CallContext> {
        let permissions = [Permission::Ingest].into_iter().collect();
        let tenant = TenantId::new(tenant).unwrap();
        let scope = Scope::new(tenant, AppSet::All, permissions, Priority::Interactive);
        Arc::new(CallContext {
            scope,
            priority: Priority::Interactive,
            key_id: "k".into(),
            address: String::new(),
            good_until_ms: i64::MAX,
        })
    }
}

fn batch(events: usize) -> v1::PublishRequest {
    let event = |i| v1::Event { event_type: "e".into(), user_id: format!("user-{i:0>100}"), ..v1::Event::default() };
    v1::PublishRequest { app_id: "web".into(), events: (0..events).map(event).collect(), ..Default::default() }
}

/// A sender of so many batches, who counts what is taken from it.
fn sender(batches: u64, taken: Arc<AtomicUsize>) -> impl Stream<Item = Result<Bytes, Status>> + Send + Unpin {
    stream::iter(1..=batches).map(move |sequence| {
        let message = v1::PublishStreamRequest { sequence, batch: Some(batch(100)) }.encode_to_vec();
        taken.fetch_add(message.len(), Ordering::Relaxed);
        Ok(Bytes::from(message))
    })
}

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn greedy_streams_stay_within_the_bound_and_others_do_not_wait_for_them() {
    let message = v1::PublishStreamRequest { sequence: 1, batch: Some(batch(100)) }.encoded_len();
    let (streams, batches) = (60, 40);
    let in_flight_bytes = 64 * message;
    let options = FlowOptions { in_flight_bytes, pause_seconds: 600, ..FlowOptions::default() };
    let world = World::new(options).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let stop = CancellationToken::new();
    let answers: Vec<_> = (0..streams)
        .map(|i| {
            let (context, messages) = (World::context(TENANTS[i % 3]), sender(batches, Arc::clone(&taken)));
            let answers = publish(Arc::clone(&world.publisher), context, messages, stop.clone()).unwrap();
            tokio::spawn(answers.collect::<Vec<_>>())
        })
        .collect();

    // Each greedy tenant has what it may have once it leaves no more than that free.
    let flow = world.publisher.flow();
    let full = async {
        while flow.in_flight() < in_flight_bytes * 5 / 8 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, full).await.expect("the greedy take what they may");
    // However long nothing moves, another tenant's calls and streams go through, every one.
    let modest = World::context("modest");
    for _ in 0..50 {
        let verdict = world.publisher.batch(&modest, &batch(100).encode_to_vec()).await.unwrap();
        assert_eq!(verdict.accepted, 100);
    }
    let messages = sender(50, Arc::default());
    let answered = publish(Arc::clone(&world.publisher), modest, messages, stop.clone()).unwrap();
    let answered: Vec<_> = tokio::time::timeout(PATIENCE, answered.collect()).await.unwrap();
    assert_eq!(answered.iter().filter(|answer| answer.as_ref().unwrap().credits == 16).count(), 50);

    assert!(flow.in_flight() <= in_flight_bytes);
    let bound = in_flight_bytes + streams * message;
    let held = taken.load(Ordering::Relaxed);
    assert!(held <= bound, "{held} bytes were taken, the bound is {bound}");

    world.open.send_replace(true);
    for stream in answers {
        let answers = tokio::time::timeout(PATIENCE, stream).await.unwrap().unwrap();
        let sequences: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().sequence).collect();
        assert_eq!(sequences, (1..=batches).collect::<Vec<_>>(), "all are answered, in order");
    }
    assert_eq!(flow.in_flight(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_no_answers_holds_no_room() {
    let world = World::new(FlowOptions::default()).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let messages = sender(1_000, Arc::clone(&taken));
    let unread =
        publish(Arc::clone(&world.publisher), World::context("modest"), messages, CancellationToken::new()).unwrap();
    let message = v1::PublishStreamRequest { sequence: 1, batch: Some(batch(100)) }.encoded_len();
    let flow = world.publisher.flow();
    let settled = async {
        // The window is full of answers that nobody takes, and what was worked on for them is given back.
        while taken.load(Ordering::Relaxed) < 16 * message || flow.in_flight() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.unwrap();
    assert!(taken.load(Ordering::Relaxed) <= 18 * message, "no more was read than the window and what comes next");
    let answers: Vec<_> = tokio::time::timeout(PATIENCE, unread.collect()).await.unwrap();
    assert_eq!(answers.len(), 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_of_few_credits_lets_few_batches_be_worked_on() {
    let options = FlowOptions { slow_lag_seconds: 10, ..FlowOptions::default() };
    let world = World::new(options).await;
    let flow = world.publisher.flow();
    flow.lag.set(Duration::from_secs(80)); // 2 credits of 16
    let taken = Arc::new(AtomicUsize::new(0));
    let (context, messages) = (World::context("greedy-a"), sender(100, Arc::clone(&taken)));
    let answers = publish(Arc::clone(&world.publisher), context, messages, CancellationToken::new()).unwrap();
    let answers = tokio::spawn(answers.collect::<Vec<_>>());
    let message = v1::PublishStreamRequest { sequence: 1, batch: Some(batch(100)) }.encoded_len();
    let third = async {
        while taken.load(Ordering::Relaxed) < 3 * message {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, third).await.unwrap(); // it waits outside
    assert!(flow.in_flight() <= 2 * message);
    world.open.send_replace(true);
    let answers = tokio::time::timeout(PATIENCE, answers).await.unwrap().unwrap();
    assert_eq!(answers.len(), 100);
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().credits == 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streams_last_token_covers_all_of_it_though_none_was_passed_on() {
    let world = World::new(FlowOptions::default()).await;
    let messages = stream::iter(1..=20).map(|sequence| {
        let mut batch = batch(1);
        batch.events[0].user_id = format!("user-{sequence}");
        Ok(Bytes::from(v1::PublishStreamRequest { sequence, batch: Some(batch) }.encode_to_vec()))
    });
    let context = World::context("modest");
    let answers = publish(Arc::clone(&world.publisher), context, messages, CancellationToken::new()).unwrap();
    let answers: Vec<_> = tokio::time::timeout(PATIENCE, answers.collect()).await.unwrap();
    let last = answers.into_iter().last().unwrap().unwrap().acknowledgement.unwrap().position_token;
    let mut ends = Vec::new();
    for partition in 0..world.log.partitions() {
        ends.push((partition, world.log.tail(partition).await.unwrap().end));
    }
    ends.retain(|(_, end)| *end > 0);
    assert!(ends.len() > 1, "all users are in one partition: the test shows nothing");
    let last = SigningKey::derive(&[1; 32], "token").open::<Position>(&last).unwrap();
    assert!(last.covers(&Position::new(world.log.incarnation(), ends)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_covers_the_one_that_was_passed_on_and_a_foreign_one_is_refused() {
    let world = World::new(FlowOptions::default()).await;
    let modest = World::context("modest");
    let key = SigningKey::derive(&[1; 32], "token");
    let position = |token: &str| key.open::<Position>(token).unwrap();
    let (mut alone, mut passed_on) = (Vec::new(), String::new());
    for user in 0..20 {
        let mut request = batch(1);
        request.events[0].user_id = format!("user-{user}");
        let verdict = world.publisher.batch(&modest, &request.encode_to_vec()).await.unwrap();
        alone.push(position(&verdict.position_token));
        request.position_token = passed_on;
        passed_on = world.publisher.batch(&modest, &request.encode_to_vec()).await.unwrap().position_token;
    }
    let last = position(&passed_on);
    assert!(alone.iter().all(|one| last.covers(one)));
    assert!(!alone.iter().all(|one| alone[19].covers(one)), "all users are in one partition: the test shows nothing");

    // Nothing is accepted here, so it says no more than before.
    let mut request = v1::PublishRequest { position_token: passed_on.clone(), ..batch(1) };
    request.events[0].event_type.clear();
    assert_eq!(world.publisher.batch(&modest, &request.encode_to_vec()).await.unwrap().position_token, passed_on);
    let identify = v1::IdentifyRequest { user_id: "u".into(), app_id: "web".into(), ..Default::default() };
    for foreign in [SigningKey::derive(&[2; 32], "token").sign(&alone[0]), "nonsense".to_owned()] {
        let request = v1::PublishRequest { position_token: foreign.clone(), ..batch(1) };
        let error = world.publisher.batch(&modest, &request.encode_to_vec()).await.unwrap_err();
        assert_eq!(error.violations[0].field, "position_token");
        let request = v1::IdentifyRequest { position_token: foreign, ..identify.clone() };
        let error = world.publisher.identify(&modest, &request.encode_to_vec()).await.unwrap_err();
        assert_eq!(error.violations[0].field, "position_token");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_charged_and_what_the_log_refuses_is_not() {
    // So slow that hardly anything comes back during the test.
    let quota = QuotaOptions { events_per_second: 1, events_burst: 3_000, ..QuotaOptions::default() };
    let world = World::with(Limits { quota, ..Limits::default() }).await;
    let modest = World::context("modest");
    let identify = v1::IdentifyRequest { user_id: "u".into(), app_id: "web".into(), ..v1::IdentifyRequest::default() };
    let identify = identify.encode_to_vec();
    world.publisher.identify(&modest, &identify).await.unwrap();
    world.publisher.batch(&modest, &batch(1_000).encode_to_vec()).await.unwrap();
    let messages = sender(5, Arc::default());
    let stop = CancellationToken::new();
    let answers: Vec<_> =
        publish(Arc::clone(&world.publisher), Arc::clone(&modest), messages, stop).unwrap().collect().await;
    assert!(answers.len() == 5 && answers.iter().all(Result::is_ok));
    let left = Size { events: 3_000 - 1 - 1_000 - 500, bytes: 1 };
    let more = Size { events: left.events + 100, ..left };
    let flow = world.publisher.flow();
    assert!(flow.admit(&modest.scope.tenant, &more.into()).await.is_err(), "all three were charged");

    world.log.close().await.unwrap();
    for _ in 0..10 {
        let error = world.publisher.batch(&modest, &batch(1_000).encode_to_vec()).await.unwrap_err();
        assert_eq!(error.code, model::ErrorCode::Unavailable);
        assert!(world.publisher.identify(&modest, &identify).await.is_err());
    }
    assert!(flow.admit(&modest.scope.tenant, &left.into()).await.is_ok(), "and nothing for what the log refused");
    assert_eq!(flow.in_flight(), 0);
}
