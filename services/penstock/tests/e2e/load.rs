//! Load that keeps its books: clients that send until every event is acknowledged, through whatever happens to the server.

use std::{collections::BTreeMap, time::Duration};

use api::{
    convert::time_to_wire,
    v1::{self, PublishRequest, PublishStreamRequest, ingest_service_client::IngestServiceClient, value::Kind},
};
use futures::stream;
use jiff::{SignedDuration, Timestamp};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, timeout},
};
use tonic::Status;
use tonic_types::StatusExt;

use crate::{
    account,
    clients::{Keyed, event, event_json, keyed},
    house::{House, PATIENCE},
};

mod looker;

/// The app that the load goes to.
pub const APP: &str = "xyz123";

/// Where the rollup of users by day doesn't say what the events say.
const DIVERGED: &str = "SELECT tenant, app, user, day, sum(n) AS events, sum(m) AS rolled_up FROM ( \
    SELECT tenant, app, user, toDate(ts) AS day, count() AS n, 0 AS m FROM events GROUP BY ALL \
    UNION ALL SELECT tenant, app, user, toDate(day) AS day, 0 AS n, sum(events) AS m FROM daily_users GROUP BY ALL \
    ) GROUP BY tenant, app, user, day HAVING events != rolled_up LIMIT 10";

/// What the clients and whoever disturbs them share.
#[derive(Clone)]
pub struct Field {
    /// Where the server listens now.
    pub address: watch::Sender<String>,
    /// Batches acknowledged so far, by all clients.
    pub acknowledged: watch::Sender<u64>,
    /// Attempts that took a client not all the way, by all clients.
    pub refused: watch::Sender<u64>,
    /// Whether clients are to send what they have and end.
    pub over: watch::Sender<bool>,
    /// The tenant's key.
    pub key: String,
    /// How many days the events of a batch are of, now and then.
    days: u64,
    /// What the names of this load's clients begin with: a stand has seen others.
    pub run: String,
    /// For who looks at the numbers meanwhile.
    known: looker::Known,
}

impl Field {
    /// A field around the server at `address`.
    pub fn new(address: &str, key: String) -> Self {
        let (address, acknowledged) = (watch::Sender::new(address.to_owned()), watch::Sender::new(0));
        let run = format!("{:08x}", rand::rng().next_u32());
        let (refused, over) = (watch::Sender::new(0), watch::Sender::new(false));
        Self { address, acknowledged, refused, over, key, run, days: DAYS, known: looker::Known::default() }
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
    /// Events and their sum by the plan that their user had when they were sent; "" if none was known.
    pub by_plan: BTreeMap<String, (u64, u64)>,
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
        let by_server = status.get_error_details().error_info().is_some();
        let again = status.code() == tonic::Code::Unavailable && status.get_error_details().retry_info().is_some();
        assert!(!by_server || again, "a server that answers acknowledges, or says when to come again: {status:?}");
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
    /// The plan of each user.
    plans: [String; USERS as usize],
    address: watch::Receiver<String>,
}

impl Client {
    /// The client of that number; what it does depends on the seed alone.
    pub fn new(number: u64, seed: u64, field: &Field) -> Self {
        let client = format!("{}-client-{number}", field.run);
        let books =
            Books { client, events: 0, sum: 0, by_plan: BTreeMap::new(), token: String::new(), failures: Vec::new() };
        let (address, random) = (field.address.subscribe(), StdRng::seed_from_u64(seed ^ (number << 32)));
        let plans = [const { String::new() }; USERS as usize];
        Self { field: field.clone(), random, http: reqwest::Client::new(), books, plans, address }
    }

    /// Sends until it is over, some batches twice, one after the other or at once by two routes; now and then a user's plan changes.
    pub async fn run(mut self) -> Books {
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !*self.field.over.borrow() {
            pace.tick().await;
            let batches: Vec<_> = (0..self.random.random_range(1..=8)).map(|_| self.batch(1..=20)).collect();
            match self.random.random_range(0..40) {
                // More partitions of the warehouse's tables than anything else touches at once.
                0 => {
                    let old = self.batch_of(self.field.days, SignedDuration::from_hours(24));
                    self.deliver(&[batches, vec![old]].concat()).await;
                }
                1..=4 => {
                    let (first, second) = (self.route(), self.route());
                    tokio::join!(self.attempt(first, &batches), self.attempt(second, &batches));
                    self.deliver(&batches).await;
                }
                5..=8 => {
                    self.deliver(&batches).await;
                    self.deliver(&batches).await;
                }
                9..=20 => {
                    self.deliver(&batches).await;
                    self.identify().await;
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
        self.batch_of(size, SignedDuration::ZERO)
    }

    /// Of so many events, each so much older than the one before.
    fn batch_of(&mut self, size: u64, step: SignedDuration) -> PublishRequest {
        let now = Timestamp::now();
        let events = (0..).zip(0..size).map(|(steps, _)| {
            let (n, number) = (self.random.random_range(0..1_000_000), self.books.events);
            (self.books.events, self.books.sum) = (number + 1, self.books.sum + n);
            let of_plan = self.books.by_plan.entry(self.plans[(number % USERS) as usize].clone()).or_default();
            *of_plan = (of_plan.0 + 1, of_plan.1 + n);
            let client = &self.books.client;
            let properties = [("client", Kind::String(client.clone())), ("n", Kind::Integer(n as i64))];
            let event =
                event("load", &format!("{client}-{number}"), &format!("{client}-{}", number % USERS), &properties);
            let timestamp = (!step.is_zero()).then(|| time_to_wire((now - step * steps).as_millisecond()));
            v1::Event { timestamp, ..event }
        });
        let batch = PublishRequest { app_id: APP.to_owned(), events: events.collect(), ..Default::default() };
        self.field.known.sent(&self.books.client, self.books.events);
        batch
    }

    /// Gives a user another plan. What the client sends of the user from then on carries it.
    async fn identify(&mut self) {
        let (user, plan) = (self.random.random_range(0..USERS), format!("p{}", self.random.random_range(0..4)));
        let body = json!({"app_id": APP, "user_id": format!("{}-{user}", self.books.client), "traits": {"plan": {"string": plan}}});
        loop {
            let url = format!("http://{}/v1/identify", &*self.address.borrow());
            let answer = self.http.post(url).bearer_auth(&self.field.key).json(&body).send().await;
            if let Ok(answer) = answer {
                let (status, retry_after) = (answer.status(), answer.headers().contains_key("retry-after"));
                assert!(status == 200 || (status == 503 && retry_after), "a server that answers takes it: {status}");
                if status == 200 && answer.bytes().await.is_ok() {
                    break;
                }
            }
            let _ = timeout(Duration::from_millis(20), self.address.changed()).await;
        }
        self.plans[user as usize] = plan;
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
                self.field.known.acknowledged(&self.books.client, self.books.events);
                return attempt.token;
            }
            self.field.refused.send_modify(|n| *n += 1);
            // Again when the server is back, or soon: a new address may have been missed.
            let _ = timeout(Duration::from_millis(20), self.address.changed()).await;
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
            let retry_after = answer.headers().contains_key("retry-after");
            // A connection that breaks in the middle of an answer is no acknowledgement.
            let Ok(answer) = answer.json::<Value>().await else { break };
            if status == 503 && retry_after {
                break;
            }
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

const CLIENTS: u64 = 6;
/// Days that the events of a batch are of, now and then, unless a test says otherwise. Each is an insert of its own: many take a slow machine minutes.
const DAYS: u64 = 2;
/// Users of each client.
const USERS: u64 = 211;
/// How often each sends at most. The slower the machine, the longer what reads the whole log: it must not also get longer the faster clients are.
const PACE: Duration = Duration::from_millis(500);

/// Clients that send, until they are told to settle, and somebody who looks.
pub struct Load {
    pub field: Field,
    clients: JoinSet<Books>,
    looker: Option<JoinHandle<u64>>,
}

impl Load {
    /// Six clients of the demo tenant, and somebody who gets no answer that isn't what it says of itself.
    pub fn start(house: &House, seed: u64) -> Self {
        Self::of_days(house, seed, DAYS)
    }

    /// The same, with batches now and then whose events are of so many days.
    pub fn of_days(house: &House, seed: u64, days: u64) -> Self {
        let mut load = Self::with(Field { days, ..Field::new(&house.address, house.demo_key()) }, seed);
        load.looker = Some(tokio::spawn(looker::look(load.field.clone())));
        load
    }

    /// The same without who looks, for who makes the numbers wrong behind the product's back.
    pub fn unwatched(house: &House, seed: u64) -> Self {
        Self::with(Field::new(&house.address, house.demo_key()), seed)
    }

    fn with(field: Field, seed: u64) -> Self {
        let clients = (0..CLIENTS).map(|number| Client::new(number, seed, &field).run()).collect();
        Self { field, clients, looker: None }
    }

    /// Waits for progress; a client that failed fails the test here.
    pub async fn progress(&mut self, more: u64) {
        let progress = timeout(PATIENCE, self.field.progress(more));
        tokio::select! {
            progress = progress => progress.expect("the clients get on"),
            Some(ended) = self.clients.join_next() => panic!("a client ended: {ended:?}"),
        }
    }

    /// Waits until a server refuses every client for now.
    pub async fn refused(&mut self) {
        let mut refused = self.field.refused.subscribe();
        let target = *refused.borrow_and_update() + 4 * CLIENTS;
        let refused = timeout(PATIENCE, refused.wait_for(|n| *n >= target));
        tokio::select! {
            refused = refused => drop(refused.expect("the server refuses").unwrap()),
            Some(ended) = self.clients.join_next() => panic!("a client ended: {ended:?}"),
        }
    }

    /// Lets the clients finish, and holds their books against the house's.
    pub async fn settle(self, house: &House) -> Vec<Books> {
        self.field.over.send_replace(true);
        let mut books = timeout(PATIENCE, self.clients.join_all()).await.expect("the clients finish");
        if let Some(looker) = self.looker {
            println!("{} answers claimed to hold what was acknowledged, and did", looker.await.unwrap());
        }
        books.sort_by(|a, b| a.client.cmp(&b.client));
        for one in &books {
            house
                .sql(&house.demo_key(), &format!("SELECT COUNT(*) FROM events WHERE app_id = '{APP}'"), &one.token)
                .await;
        }
        let sql = format!(
            "SELECT client, COUNT(*) AS events, COUNT(DISTINCT event_id) AS ids, SUM(n) AS total FROM events \
             WHERE app_id = '{APP}' AND event_type = 'load' AND client LIKE '{}%' GROUP BY client ORDER BY client",
            self.field.run
        );
        let counted = house.sql(&house.demo_key(), &sql, "").await;
        let sent: Vec<Vec<Value>> = books
            .iter()
            .map(|b| vec![json!(b.client), json!(b.events), json!(b.events), json!(b.sum as f64)])
            .collect();
        let places = "SELECT _partition, count(), uniqExact(_offset), min(_offset), max(_offset), uniqExact(event_id) \
            FROM events WHERE event = 'load' GROUP BY _partition ORDER BY 1";
        assert_eq!(counted, sent, "by partition:\n{}", house.warehouse(places).await);
        let sql = format!(
            "SELECT client, user_plan, COUNT(*), SUM(n) FROM events \
             WHERE app_id = '{APP}' AND event_type = 'load' AND client LIKE '{}%' GROUP BY client, user_plan",
            self.field.run
        );
        let mut joined = house.sql(&house.demo_key(), &sql, "").await;
        for row in &mut joined {
            if row[1].is_null() {
                row[1] = json!("");
            }
        }
        joined.sort_by_key(|row| (row[0].to_string(), row[1].to_string()));
        let of_plans = |b: &Books| {
            let rows = b.by_plan.iter();
            rows.map(|(plan, (events, sum))| vec![json!(b.client), json!(plan), json!(events), json!(*sum as f64)])
                .collect::<Vec<_>>()
        };
        assert_eq!(
            joined,
            books.iter().flat_map(of_plans).collect::<Vec<_>>(),
            "each event carries its user's plan of then"
        );
        let account = account::reconcile(house, &house.demo_key(), APP).await;
        assert_eq!(account.differences, [], "{:?}", account.hours);
        assert_eq!(house.warehouse(DIVERGED).await, "", "user, day, events, the rollup's events");
        books
    }
}

/// Fails unless every call that failed told its client that it may be sent again.
pub fn all_may_be_retried(books: &[Books]) {
    for failure in books.iter().flat_map(|b| &b.failures) {
        // A connection that broke, or was never taken up: the client says so itself, and nothing came from a server.
        let by_client = std::error::Error::source(failure).is_some();
        let again = [tonic::Code::Unavailable, tonic::Code::Cancelled].contains(&failure.code());
        assert!(by_client || again, "a client can't tell that it may retry: {failure:?}");
    }
}

/// How much a test takes on: as this variable of the environment says, or so much.
pub fn scale(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap_or_else(|e| panic!("{variable}={text}: {e}")))
}

/// The seed of this run: `PENSTOCK_SEED`, or a random one. Printed, so that a failure can be run again.
pub fn seed() -> u64 {
    let given = std::env::var("PENSTOCK_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| rand::rng().next_u64());
    println!("PENSTOCK_SEED={seed}");
    seed
}
