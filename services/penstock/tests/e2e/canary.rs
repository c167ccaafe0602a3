//! Nine tenants whose apps, users, events and metrics have the same names, at once and at random in one process: what only one of
//! them has is in no other's answer, whoever asked the same before, and in no log line.
//!
//! - `PENSTOCK_CANARIES`: how many requests there are.
//! - `PENSTOCK_SEED`: what they are made from.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use api::{
    convert::time_to_wire,
    v1::{PublishRequest, ingest_service_client::IngestServiceClient, value::Kind},
};
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

use crate::{
    attacks::{self, Attack},
    clients::event,
    every::{Answer, Contracts},
    house::House,
    load::{scale, seed},
};

const TENANTS: usize = 9;
const AT_ONCE: usize = 12;
const EVENTS: usize = 24;
const HOUR_MS: i64 = 3_600_000;
/// What each event of the first tenant counts; those of the next ones so many times as much.
const LARGE: i64 = 1_000_003;
/// What queries may write into the log is looked at, too.
const LOG: &str =
    "[telemetry]\nlog = \"info,query=debug,metrics=debug,gateway=debug,mesh=debug,storage=debug,admin=debug\"\n";

struct Tenant {
    /// Stands in its values and in no request of another's.
    canary: String,
    /// The number that its events count.
    n: i64,
    /// May do all that a tenant may in its app.
    key: String,
    /// May query alone.
    reader: String,
    position_token: String,
}

struct World {
    house: House,
    contracts: Contracts,
    tenants: Vec<Tenant>,
    attacks: Vec<Attack>,
    /// What continues an answer: the request that gave it, with its token.
    pages: Mutex<Vec<Value>>,
    told: Mutex<BTreeMap<String, usize>>,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_canary_flies_to_another_tenant() {
    let (seed, requests) = (seed(), requests());
    let world = World::new().await;
    let next = AtomicUsize::new(0);
    let callers = (0..AT_ONCE).map(|_| async {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= requests {
                return;
            }
            world.call(&mut StdRng::seed_from_u64(seed ^ (number as u64) << 20)).await;
        }
    });
    futures::future::join_all(callers).await;
    let log = world.house.log();
    let line = log.lines().find(|line| line.contains("canary"));
    assert_eq!(line, None, "tenants' data has no place in the log");
    let told = world.told.lock();
    println!("{requests} requests: {told:?}");
    for (what, share) in
        [("OK", 4), ("ROUTE_CACHE", 100), ("mine", 20), ("PERMISSION_DENIED", 200), ("INVALID_QUERY", 50)]
    {
        let times = told.get(what).copied().unwrap_or(0);
        assert!(times * share >= requests, "{what} {times} times in {requests} requests");
    }
}

fn requests() -> usize {
    scale("PENSTOCK_CANARIES", 1_500)
}

impl World {
    async fn new() -> Self {
        let house = House::start_with(LOG).await;
        let mut tenants = Vec::new();
        for i in 0..TENANTS {
            let name = format!("tenant{i}");
            let key = house.tenant(&name, "shop", &["ingest", "backfill", "query", "export", "metrics", "admin"]).await;
            let reader = house.tenant(&name, "shop", &["query"]).await;
            let (canary, n) = (format!("canary-{i}-"), LARGE * (i as i64 + 1));
            let position_token = fill(&house, &key, &canary, n).await;
            tenants.push(Tenant { canary, n, key, reader, position_token });
        }
        // Of tenants and apps that aren't there: red and blue, lab.
        let attacks = attacks::all().into_iter().filter(|(method, _)| !method.ends_with("/EraseUser")).collect();
        let (contracts, pages, told) = (Contracts::new(), Mutex::default(), Mutex::default());
        Self { house, contracts, tenants, attacks, pages, told }
    }

    async fn call(&self, random: &mut StdRng) {
        let at = random.random_range(0..TENANTS);
        let tenant = &self.tenants[at];
        let key = if random.random_bool(0.3) { &tenant.reader } else { &tenant.key };
        let (method, mut body) = self.request(random, at);
        let takes_options = !["QueryService/Explain", "QueryService/Describe"].contains(&method.as_str());
        if method.starts_with("QueryService") && takes_options && random.random_bool(0.2) {
            body["options"]["position_token"] = json!(self.tenants.choose(random).unwrap().position_token);
        }
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str())];
        let json = if random.random_bool(0.8) {
            self.contracts.json(&self.house, &headers, &method, &body).await
        } else {
            None
        };
        let answer = match json {
            Some(answer) => answer,
            None => self.contracts.grpc(&self.house, &headers, &method, &body).await,
        };
        self.judge(tenant, &method, &body, &answer);
    }

    /// Nothing of another tenant's is in it.
    fn judge(&self, tenant: &Tenant, method: &str, body: &Value, answer: &Answer) {
        let own = &tenant.canary;
        for other in self.tenants.iter().filter(|other| other.canary != *own) {
            let leaks = answer.text.contains(&other.canary);
            assert!(!leaks, "{} flies to {own} by {method} {body}: {}", other.canary, answer.text);
        }
        assert_ne!(answer.code, "INTERNAL", "{method} {body}: {}", answer.text);
        let mut told = self.told.lock();
        let mut count = |what: &str| *told.entry(what.to_owned()).or_default() += 1;
        count(&answer.code);
        if answer.text.contains(own.as_str()) {
            count("mine");
        }
        let Some(message) = answer.messages.first() else { return };
        if message["result"]["info"]["route"] == "ROUTE_CACHE" {
            count("ROUTE_CACHE");
        }
        if body["sql"] == EXACT && answer.code == "OK" {
            let values = &message["result"]["rows"][0]["values"];
            // By gRPC whole numbers are texts in this form.
            let (count, sum) = (values[0]["integer"].to_string(), values[1]["number"].as_f64());
            let right = (EVENTS.to_string(), Some((tenant.n * EVENTS as i64) as f64));
            assert_eq!((count.trim_matches('"').to_owned(), sum), right, "{own} {}", answer.text);
        }
        let token = message["nextPageToken"].as_str().or(message["next_page_token"].as_str()).unwrap_or_default();
        if !token.is_empty() {
            let mut page = body.clone();
            page["page_token"] = json!(token);
            let mut pages = self.pages.lock();
            if pages.len() < 500 {
                pages.push(page);
            }
        }
    }

    fn request(&self, random: &mut StdRng, tenant: usize) -> Attack {
        let method = |method: &str, body: Value| (method.to_owned(), body);
        let name = format!("m{}", random.random_range(0..3));
        let definition = || {
            let text = format!("{}metric", self.tenants[tenant].canary);
            json!({"name": name, "formula": "SUM(n) + COUNT(*)", "description": text, "unit": "USD", "filters": [
                {"field": "secret", "op": "FILTER_OP_LIKE", "values": [{"string": format!("{}%", self.tenants[tenant].canary)}]}]})
        };
        match random.random_range(0..20) {
            0..5 => self.attacks.choose(random).cloned().unwrap(),
            5 | 6 => method("QueryService/Sql", json!({"sql": EXACT, "app_id": "shop"})),
            7 | 8 => method("QueryService/Sql", json!({"sql": SQL.choose(random).unwrap(), "app_id": "shop"})),
            9 => method("QueryService/SqlStream", json!({"sql": SQL.choose(random).unwrap(), "app_id": "shop"})),
            10 => {
                method("QueryService/Explain", json!({"sql": {"sql": SQL.choose(random).unwrap(), "app_id": "shop"}}))
            }
            11 => method("QueryService/Query", json!({"query": query(random)})),
            12 => method("QueryService/Query", json!({"query": query(random), "page_size": random.random_range(1..4)})),
            13 => {
                let page = self.pages.lock().choose(random).cloned();
                method("QueryService/Query", page.unwrap_or_else(|| json!({"query": query(random), "page_size": 2})))
            }
            14 => method("MetricsService/CreateMetric", json!({"app_id": "shop", "definition": definition()})),
            15 => {
                let base = random.random_range(1..4);
                method(
                    "MetricsService/UpdateMetric",
                    json!({"app_id": "shop", "definition": definition(), "base_version": base}),
                )
            }
            16 => {
                let evaluation = json!({"dimensions": [{"expression": "secret"}], "limit": 5});
                let ways = ["Evaluate", "SubscribeMetric"].choose(random).unwrap();
                method(
                    &format!("MetricsService/{ways}"),
                    json!({"app_id": "shop", "name": name, "evaluation": evaluation}),
                )
            }
            17 => {
                let reads = ["GetMetric", "ListMetricVersions", "DeleteMetric"].choose(random).unwrap();
                method(&format!("MetricsService/{reads}"), json!({"app_id": "shop", "name": name}))
            }
            18 => method("MetricsService/ListMetrics", json!({"app_id": "shop"})),
            _ => {
                let other = format!("tenant{}", random.random_range(0..TENANTS));
                let reads = ["ListApps", "ListKeys", "GetTenantQuota", "ListDeadLetters"].choose(random).unwrap();
                let body = match *reads {
                    "ListDeadLetters" => json!({"tenant_id": other, "app_id": "shop"}),
                    _ => json!({"tenant_id": other}),
                };
                method(&format!("AdminService/{reads}"), body)
            }
        }
    }
}

/// Everybody's own number.
const EXACT: &str =
    "SELECT COUNT(*) AS c, SUM(n) AS n FROM events WHERE timestamp >= '2024-01-01' AND timestamp < '2024-02-01'";

const SQL: [&str; 10] = [
    "SELECT secret, n FROM events ORDER BY secret LIMIT 3",
    "SELECT secret, COUNT(*) AS c FROM events WHERE timestamp >= '2024-01-01' AND timestamp < '2024-02-01' GROUP BY 1 ORDER BY 1",
    "SELECT date_trunc('hour', timestamp) AS t, MAX(secret) AS s, SUM(n) AS n FROM events WHERE timestamp >= '2024-01-01' AND \
     timestamp < '2024-01-03' GROUP BY 1 ORDER BY 1",
    "SELECT date_trunc('day', timestamp) AS t, COUNT(DISTINCT user_id) AS users FROM events WHERE timestamp >= '2024-01-01' AND \
     timestamp < '2024-02-01' GROUP BY 1 ORDER BY 1",
    "SELECT e.user_id, u.country, u.note, COUNT(*) AS c FROM events AS e LEFT JOIN users AS u ON e.user_id = u.user_id GROUP BY 1, 2, 3",
    "SELECT country, MAX(plan) AS plan, COUNT(*) AS c FROM users GROUP BY country ORDER BY country",
    "SELECT secret FROM events WHERE user_id IN (SELECT user_id FROM users WHERE note IS NOT NULL) ORDER BY secret LIMIT 2",
    "WITH a AS (SELECT secret, SUM(n) AS n FROM events GROUP BY 1) SELECT MAX(secret) AS s, SUM(n) AS n FROM a",
    "SELECT MAX(secre) FROM events",
    "SELECT secret + n AS x, canar FROM events",
];

fn query(random: &mut StdRng) -> Value {
    let mut query = json!({"app_id": "shop", "measures": [{"name": "n", "formula": "SUM(n)"}, {"name": "s", "formula": "MAX(secret)"}],
        "range": {"from": "2024-01-01T00:00:00Z", "to": "2024-01-03T00:00:00Z"}});
    if random.random() {
        let by = ["secret", "country", "user_id"].choose(random).unwrap();
        query["dimensions"] = json!([{"name": "d", "expression": by}]);
    }
    if random.random() {
        let grain = ["GRAIN_HOUR", "GRAIN_DAY"].choose(random).unwrap();
        query["grain"] = json!(grain);
    }
    if random.random_bool(0.2) {
        query["totals"] = json!(true);
    }
    query
}

/// Users and events of hours that ended long ago: the same ids everywhere, the values of this tenant.
async fn fill(house: &House, key: &str, canary: &str, n: i64) -> String {
    for user in ["u1", "u2", "u3"] {
        let text = json!({"string": format!("{canary}{user}")});
        let body = json!({"user_id": user, "traits": {"country": text, "plan": text, "note": text}});
        let (status, answer) = house.post(key, "/v1/identify", &body).await;
        assert_eq!(status, 200, "{answer}");
    }
    let of = |i: usize| {
        let text = Kind::String(format!("{canary}{i}"));
        let property = format!("{canary}property");
        let properties = [("secret", text.clone()), (&property, text), ("n", Kind::Integer(n))];
        let mut event = event(&format!("{canary}type"), &format!("e{i}"), &format!("u{}", i % 3 + 1), &properties);
        event.timestamp = Some(time_to_wire(1_704_067_200_000 + i as i64 * HOUR_MS));
        event
    };
    let batch = PublishRequest { events: (0..EVENTS).map(of).collect(), ..PublishRequest::default() };
    let mut client = IngestServiceClient::new(house.keyed(key).await);
    let verdict = client.publish(batch).await.unwrap().into_inner().acknowledgement.unwrap();
    assert_eq!(verdict.accepted as usize, EVENTS);
    house.sql(key, "SELECT COUNT(*) FROM events", &verdict.position_token).await;
    verdict.position_token
}
