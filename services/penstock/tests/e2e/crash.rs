//! Whatever dies, and whenever: what was acknowledged is counted once, what was never sent is not there.

use api::v1::{
    PublishRequest, PublishStreamRequest, PublishStreamResponse, ingest_service_client::IngestServiceClient,
};
use futures::channel::mpsc;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::timeout;
use tonic::Streaming;

use crate::{
    clients::event,
    house::{House, PATIENCE},
    load::{self, APP, Load, seed},
};

/// kill -9 of the server and of the warehouse in turn, so many times each, unless `PENSTOCK_KILLS` says otherwise.
const KILLS: usize = 10;
/// kill -9 of a server that has just begun to recover.
const KILLS_AT_START: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_counts_once_through_kills_of_server_and_warehouse() {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let mut house = House::start().await;
    let kills = load::scale("PENSTOCK_KILLS", KILLS);
    // Each day of a batch is an insert of its own: so many where there is time for it.
    let mut load = Load::of_days(&house, seed, if kills > KILLS { 200 } else { 4 });
    for kill in 0..kills {
        if kill == kills / 2 {
            house.forget_tokens().await;
        }
        load.progress(random.random_range(0..80)).await;
        house.kill_warehouse();
        load.progress(random.random_range(0..80)).await;
        house.kill();
        house.launch().await;
        load.field.address.send_replace(house.address.clone());
    }
    for _ in 0..KILLS_AT_START {
        load.progress(random.random_range(1..80)).await;
        house.kill();
        let claims = house.log().matches("partition claimed").count();
        house.spawn();
        let wanted = claims + random.random_range(0..=4);
        house.until(|house| house.log().matches("partition claimed").count() >= wanted).await;
        house.kill();
        house.launch().await;
        load.field.address.send_replace(house.address.clone());
    }
    let books = load.settle(&house).await;
    let [replays, mended] = ["replaying", "daily users are mended"].map(|words| house.log().matches(words).count());
    let events = books.iter().map(|b| b.events).sum::<u64>();
    println!("{events} events, {replays} pending ranges replayed, the daily users mended {mended} times");
    assert!(replays > 0, "no kill hit a block under way: the test shows nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_ends_well_and_loses_nothing() {
    let mut house = House::start().await;
    let mut load = Load::start(&house, seed());
    let key = house.demo_key();
    let mut held = Held::open(&house, &key).await;
    load.progress(100).await;
    held.acknowledged_one().await;

    let (status, told) = tokio::join!(async { tokio::task::block_in_place(|| house.terminate()) }, async {
        timeout(PATIENCE, held.end()).await.expect("a drain ends open streams")
    });
    assert!(status.success(), "{status}\n{}", house.log());
    assert!(told >= 1, "what came in before the drain is acknowledged");
    house.launch().await;
    load.field.address.send_replace(house.address.clone());
    load.progress(20).await;
    let books = load.settle(&house).await;
    load::all_may_be_retried(&books);
    let sql = format!("SELECT COUNT(*) FROM events WHERE app_id = '{APP}' AND event_type = 'held'");
    let held = house.sql(&key, &sql, "").await[0][0].as_u64().unwrap();
    assert!(held >= told, "{told} acknowledged, {held} counted");
}

/// A stream that is open when the drain begins, with one batch of one event under way at a time.
struct Held {
    batches: mpsc::UnboundedSender<PublishStreamRequest>,
    answers: Streaming<PublishStreamResponse>,
    acknowledged: u64,
}

impl Held {
    async fn open(house: &House, key: &str) -> Self {
        let (batches, messages) = mpsc::unbounded();
        let mut client = IngestServiceClient::new(house.keyed(key).await);
        let answers = client.publish_stream(messages).await.unwrap().into_inner();
        Self { batches, answers, acknowledged: 0 }
    }

    /// Sends a batch and waits for its acknowledgement; `false` if the stream ended well instead.
    async fn acknowledged_one(&mut self) -> bool {
        let sequence = self.acknowledged;
        let batch = PublishRequest {
            app_id: APP.to_owned(),
            events: vec![event("held", &format!("held-{sequence}"), "held", &[])],
            ..Default::default()
        };
        let _ = self.batches.unbounded_send(PublishStreamRequest { sequence, batch: Some(batch) });
        match self.answers.message().await.expect("a drain is no failure") {
            Some(answer) => assert_eq!((answer.sequence, answer.acknowledgement.unwrap().accepted), (sequence, 1)),
            None => return false,
        }
        self.acknowledged += 1;
        true
    }

    /// Goes on until the server ends the stream; returns how many events were acknowledged.
    async fn end(mut self) -> u64 {
        while self.acknowledged_one().await {}
        self.acknowledged
    }
}
