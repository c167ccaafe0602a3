//! Load that keeps its books: clients that send until every event is acknowledged, through whatever happens to the server.

use std::time::Duration;

use api::v1::{PublishRequest, PublishStreamRequest, ingest_service_client::IngestServiceClient, value::Kind};
use futures::stream;
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::json;
use tokio::sync::watch;
use tonic::Status;
use tonic_types::StatusExt;

use crate::clients::{Keyed, event, event_json, keyed};

/// The app that the load goes to.
pub const APP: &str = "xyz123";

/// What the clients and whoever disturbs them share.
#[derive(Clone)]
pub struct Field {
    /// Where the server listens now.
    pub address: watch::Sender<String>,
    /// Batches acknowledged so far, by all clients.
    pub acknowledged: watch::Sender<u64>,
    /// Whether clients are to send what they have and end.
    pub over: watch::Sender<bool>,
    /// The tenant's key.
    pub key: String,
}

impl Field {
    /// A field around the server at `address`.
    pub fn new(address: &str, key: String) -> Self {
        let (address, acknowledged) = (watch::Sender::new(address.to_owned()), watch::Sender::new(0));
        Self { address, acknowledged, over: watch::Sender::new(false), key }
    }

    /// Waits until `more` further batches are acknowledged.
    pub async fn progress(&self, more: u64) {
        let mut acknowledged = self.acknowledged.subscribe();
        let target = *acknowledged.borrow() + more;
        acknowledged.wait_for(|n| *n >= target).await.unwrap();
    }
}

/// What one client sent, all of it acknowledged.
#[derive(Debug, Clone)]
pub struct Books {
    pub client: String,
    pub events: u64,
    pub sum: u64,
    /// Covers everything that the client sent.
    pub token: String,
    /// How calls that were not acknowledged ended, but for refused connections.
    pub failures: Vec<Status>,
}

#[derive(Debug, Clone, Copy)]
enum Route {
    Unary,
    Stream,
    Rest,
}

/// How far an attempt came: a prefix of its batches is acknowledged, the last of them with this token.
#[derive(Default)]
struct Attempt {
    acknowledged: usize,
    token: String,
    failure: Option<Status>,
}

impl Attempt {
    fn failed(mut self, status: Status) -> Self {
        let by_server = status.get_error_details().error_info().cloned();
        assert!(by_server.is_none(), "a server that answers acknowledges: {status:?}");
        self.failure = Some(status);
        self
    }

    /// An acknowledgement takes the whole batch: every event of it is good.
    fn took(&mut self, accepted: u64, sent: &PublishRequest, token: String) {
        assert_eq!(accepted, sent.events.len() as u64, "a half acknowledgement");
        (self.acknowledged, self.token) = (self.acknowledged + 1, token);
    }
}

/// One client.
pub struct Client {
    field: Field,
    random: StdRng,
    http: reqwest::Client,
    books: Books,
    address: watch::Receiver<String>,
}

impl Client {
    /// The client of that number; what it does depends on the seed alone.
    pub fn new(number: u64, seed: u64, field: &Field) -> Self {
        let books =
            Books { client: format!("client-{number}"), events: 0, sum: 0, token: String::new(), failures: Vec::new() };
        let (address, random) = (field.address.subscribe(), StdRng::seed_from_u64(seed ^ (number << 32)));
        Self { field: field.clone(), random, http: reqwest::Client::new(), books, address }
    }

    /// Sends until it is over, some batches twice, one after the other or at once by two routes.
    pub async fn run(mut self) -> Books {
        while !*self.field.over.borrow() {
            let batches: Vec<_> = (0..self.random.random_range(1..=8)).map(|_| self.batch(1..=20)).collect();
            match self.random.random_range(0..10) {
                0 => {
                    let (first, second) = (self.route(), self.route());
                    tokio::join!(self.attempt(first, &batches), self.attempt(second, &batches));
                    self.deliver(&batches).await;
                }
                1 => {
                    self.deliver(&batches).await;
                    self.deliver(&batches).await;
                }
                _ => drop(self.deliver(&batches).await),
            }
        }
        // So many users have events in every partition: this token is beyond everything sent before.
        let last = self.batch(200..=200);
        self.books.token = self.deliver(&[last]).await;
        self.books
    }

    fn batch(&mut self, sizes: std::ops::RangeInclusive<u64>) -> PublishRequest {
        let size = self.random.random_range(sizes);
        let events = (0..size).map(|_| {
            let (n, number) = (self.random.random_range(0..1_000_000), self.books.events);
            (self.books.events, self.books.sum) = (number + 1, self.books.sum + n);
            let client = &self.books.client;
            let properties = [("client", Kind::String(client.clone())), ("n", Kind::Integer(n as i64))];
            event("load", &format!("{client}-{number}"), &format!("{client}-{}", number % 211), &properties)
        });
        PublishRequest { app_id: APP.to_owned(), events: events.collect() }
    }

    fn route(&mut self) -> Route {
        *[Route::Unary, Route::Stream, Route::Rest].choose(&mut self.random).unwrap()
    }

    /// Attempts until all batches are acknowledged; returns the last token.
    async fn deliver(&mut self, batches: &[PublishRequest]) -> String {
        let mut left = batches;
        loop {
            let route = self.route();
            let attempt = self.attempt(route, left).await;
            left = &left[attempt.acknowledged..];
            self.field.acknowledged.send_modify(|n| *n += attempt.acknowledged as u64);
            self.books.failures.extend(attempt.failure);
            if left.is_empty() {
                return attempt.token;
            }
            // Again when the server is back, or soon: a new address may have been missed.
            let _ = tokio::time::timeout(Duration::from_millis(20), self.address.changed()).await;
        }
    }

    async fn attempt(&self, route: Route, batches: &[PublishRequest]) -> Attempt {
        let address = self.field.address.borrow().clone();
        if let Route::Rest = route {
            return self.rest(&address, batches).await;
        }
        let Ok(channel) = keyed(&address, &self.field.key).await else { return Attempt::default() };
        match route {
            Route::Stream => stream_all(channel, batches).await,
            _ => unary(channel, batches).await,
        }
    }

    async fn rest(&self, address: &str, batches: &[PublishRequest]) -> Attempt {
        let mut attempt = Attempt::default();
        for batch in batches {
            let body = json!(batch.events.iter().map(event_json).collect::<Vec<_>>());
            let url = format!("http://{address}/v1/events?app_id={APP}");
            let Ok(answer) = self.http.post(url).bearer_auth(&self.field.key).json(&body).send().await else { break };
            let status = answer.status();
            // A connection that breaks in the middle of an answer is no acknowledgement.
            let Ok(answer) = answer.json::<serde_json::Value>().await else { break };
            assert_eq!(status, 200, "a server that answers acknowledges: {answer}");
            let token = answer["position_token"].as_str().unwrap().to_owned();
            attempt.took(answer["accepted"].as_u64().unwrap(), batch, token);
        }
        attempt
    }
}

async fn unary(channel: Keyed, batches: &[PublishRequest]) -> Attempt {
    let (mut client, mut attempt) = (IngestServiceClient::new(channel), Attempt::default());
    for batch in batches {
        match client.publish(batch.clone()).await {
            Ok(answer) => {
                let verdict = answer.into_inner().acknowledgement.unwrap();
                attempt.took(verdict.accepted.into(), batch, verdict.position_token);
            }
            Err(status) => return attempt.failed(status),
        }
    }
    attempt
}

async fn stream_all(channel: Keyed, batches: &[PublishRequest]) -> Attempt {
    let (mut client, mut attempt) = (IngestServiceClient::new(channel), Attempt::default());
    let numbered = (7..).zip(batches.to_vec());
    let messages = numbered.map(|(sequence, batch)| PublishStreamRequest { sequence, batch: Some(batch) });
    let mut answers = match client.publish_stream(stream::iter(messages)).await {
        Ok(answers) => answers.into_inner(),
        Err(status) => return attempt.failed(status),
    };
    loop {
        match answers.message().await {
            Ok(Some(answer)) => {
                assert_eq!(answer.sequence, 7 + attempt.acknowledged as u64, "acknowledgements come in order");
                let verdict = answer.acknowledgement.unwrap();
                attempt.took(verdict.accepted.into(), &batches[attempt.acknowledged], verdict.position_token);
            }
            Ok(None) => return attempt,
            Err(status) => return attempt.failed(status),
        }
    }
}

/// The seed of this run: `PENSTOCK_SEED`, or a random one. Printed, so that a failure can be run again.
pub fn seed() -> u64 {
    let given = std::env::var("PENSTOCK_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| rand::rng().next_u64());
    println!("PENSTOCK_SEED={seed}");
    seed
}
