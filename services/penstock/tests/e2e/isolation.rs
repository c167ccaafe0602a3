//! Two tenants with apps and users of the same names, and a second app: nobody sees what isn't theirs, however they ask.

use std::collections::BTreeSet;

use api::v1::{PublishRequest, ingest_service_client::IngestServiceClient, value::Kind};
use serde_json::{Value, json};

use crate::{
    attacks::{self, Attack},
    clients::event,
    every::{Answer, Contracts},
    house::House,
};

const ALL: &[&str] = &["ingest", "query", "metrics", "admin", "export"];
/// `n` of the victims' events: no sum of the attacker's own comes near.
const LARGE: i64 = 7_770_001;

/// Red's key reaches `shop` alone; the victims are red's `lab` and blue's `shop`.
struct World {
    house: House,
    contracts: Contracts,
    red: String,
    lab: String,
    blue: String,
    /// Tokens of the last acknowledgement of each.
    red_token: String,
    blue_token: String,
}

impl World {
    async fn new() -> Self {
        // When the owners' keys were last used, which they are between two looks, is not written down here.
        let house = House::start_with("[gateway]\nkey_uses_seconds = 3600").await;
        let red = house.tenant("red", "shop", ALL).await;
        let lab = house.tenant("red", "lab", ALL).await;
        let blue = house.tenant("blue", "shop", ALL).await;
        let red_token = fill(&house, &red, "mine-red-shop", "mine", 3, 1).await;
        fill(&house, &lab, "canary-red-lab", "canary_lab_prop", 70, LARGE).await;
        let blue_token = fill(&house, &blue, "canary-blue", "canary_blue_prop", 50, LARGE).await;
        for (key, app, name) in [(&lab, "lab", "lab_only"), (&blue, "shop", "blue_only"), (&blue, "shop", "revenue")] {
            let definition = json!({"name": name, "formula": "SUM(n)", "description": "canary-blue or canary-red-lab"});
            let (status, answer) =
                house.post(key, &format!("/v1/apps/{app}/metrics"), &json!({"definition": definition})).await;
            assert_eq!(status, 200, "{answer}");
        }
        for (key, app, id) in
            [(&lab, "lab", "lab_only"), (&blue, "shop", "blue_only"), (&blue, "shop", "sales"), (&red, "shop", "sales")]
        {
            let title = if key == &red { "mine" } else { "canary-blue or canary-red-lab" };
            let sql = json!({"sql": "SELECT SUM(n) AS n FROM events"});
            let body = json!({"dashboard": {"title": title, "tiles": [{"id": "t", "sql": sql}]}});
            let url = format!("http://{}/v1/apps/{app}/dashboards/{id}", house.address);
            let answer = house.http.put(url).bearer_auth(key).json(&body).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
        }
        let definition = json!({"name": "revenue", "formula": "SUM(n)"});
        let (status, answer) = house.post(&red, "/v1/apps/shop/metrics", &json!({"definition": definition})).await;
        assert_eq!(status, 200, "{answer}");
        Self { house, contracts: Contracts::new(), red, lab, blue, red_token, blue_token }
    }

    /// The call by gRPC, and by JSON where there is a mapping.
    async fn by_every_route(&self, headers: &[(&str, &str)], (method, body): &Attack) -> Vec<Answer> {
        let mut answers = vec![self.contracts.grpc(&self.house, headers, method, body).await];
        answers.extend(self.contracts.json(&self.house, headers, method, body).await);
        answers
    }

    async fn as_red(&self, attack: &Attack) -> Vec<Answer> {
        self.by_every_route(&[("authorization", &format!("Bearer {}", self.red))], attack).await
    }

    /// The public part of a key that is its tenant's only one.
    async fn key_id(&self, key: &str) -> String {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str())];
        let keys = self.contracts.grpc(&self.house, &headers, "AdminService/ListKeys", &json!({})).await;
        keys.messages[0]["keys"][0]["keyId"].as_str().unwrap().to_owned()
    }

    /// All that an owner has, to be compared before and after.
    async fn belongings(&self, key: &str, app: &str) -> String {
        let sql = "SELECT COUNT(*) AS events, SUM(n) AS n, MIN(event_type) AS a, MAX(country) AS c FROM events";
        let asked = [
            ("QueryService/Sql", json!({"sql": sql, "app_id": app})),
            ("MetricsService/ListMetrics", json!({"app_id": app})),
            ("DashboardService/ListDashboards", json!({"app_id": app})),
            ("AdminService/ListApps", json!({})),
            ("AdminService/ListKeys", json!({})),
            ("AdminService/GetTenantQuota", json!({})),
            ("AdminService/GetTenantRetention", json!({"app_id": app})),
            ("AdminService/GetSettings", json!({"app_id": app})),
            ("AdminService/GetBranding", json!({"app_id": app})),
        ];
        let mut all = String::new();
        for (method, body) in asked {
            let bearer = format!("Bearer {key}");
            let answer = self.contracts.grpc(&self.house, &[("authorization", &bearer)], method, &body).await;
            assert_eq!(answer.code, "OK", "{}", answer.text);
            all += &match answer.messages[0].pointer("/result/rows") {
                Some(rows) => rows.to_string(),
                None => answer.messages[0].to_string(),
            };
        }
        all
    }
}

/// Events and users of an app: the same ids everywhere, the values of this one.
async fn fill(house: &House, key: &str, canary: &str, property: &str, events: usize, n: i64) -> String {
    let mut client = IngestServiceClient::new(house.keyed(key).await);
    for user in ["u1", "u2", "u3"] {
        let body = json!({"user_id": user, "traits": {"country": {"string": canary}, "plan": {"string": canary}}});
        let (status, answer) = house.post(key, "/v1/identify", &body).await;
        assert_eq!(status, 200, "{answer}");
    }
    let of = |i: usize| {
        let text = Kind::String(format!("{canary}-{i}"));
        let properties = [("secret", text.clone()), (property, text), ("n", Kind::Integer(n))];
        event(canary, &format!("e{i}"), &format!("u{}", i % 3 + 1), &properties)
    };
    let batch = PublishRequest { events: (0..events).map(of).collect(), ..PublishRequest::default() };
    let verdict = client.publish(batch).await.unwrap().into_inner().acknowledgement.unwrap();
    assert_eq!(verdict.accepted as usize, events);
    house.sql(key, "SELECT COUNT(*) FROM events", &verdict.position_token).await;
    verdict.position_token
}

/// Nothing of the victims is in what the attacker sees.
fn assert_clean(attack: &Attack, answer: &Answer) {
    let (method, body) = attack;
    for canary in ["canary-blue", "canary-red-lab", "canary_blue_prop", "canary_lab_prop"] {
        assert!(!answer.text.contains(canary), "{canary} leaks by {method} {body}: {}", answer.text);
    }
    let mut numbers = Vec::new();
    answer.messages.iter().for_each(|message| numbers_of(message, &mut numbers));
    // The attacker has 3 events whose n is 1.
    assert!(numbers.iter().all(|n| n.abs() <= 6.0), "{numbers:?} leak by {method} {body}: {}", answer.text);
}

/// The numbers among a result's values.
fn numbers_of(message: &Value, numbers: &mut Vec<f64>) {
    match message {
        Value::Object(fields) => {
            for (name, value) in fields {
                match name.as_str() {
                    "number" => numbers.extend(value.as_f64()),
                    "integer" => numbers.extend(value.as_f64().or_else(|| value.as_str()?.parse().ok())),
                    _ => numbers_of(value, numbers),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| numbers_of(item, numbers)),
        _ => {}
    }
}

#[tokio::test]
async fn no_method_shows_or_changes_what_is_another_s() {
    let world = World::new().await;
    let before = (world.belongings(&world.blue, "shop").await, world.belongings(&world.lab, "lab").await);
    assert!(before.0.contains("canary-blue") && before.1.contains("canary-red-lab"), "the owners see theirs");

    let mut attacks = attacks::all();
    let blue_key_id = world.key_id(&world.blue).await;
    for tenant in ["", "red", "blue"] {
        for method in ["RevokeKey", "RotateKey"] {
            let body = json!({"tenant_id": tenant, "key_id": blue_key_id});
            attacks.push((format!("AdminService/{method}"), body));
        }
    }
    let attacked: BTreeSet<&str> = attacks.iter().map(|(method, _)| method.as_str()).collect();
    for method in world.contracts.names() {
        assert!(attacked.contains(method.as_str()), "{method} is not attacked");
    }
    let mut answered = 0;
    for attack in &attacks {
        for answer in world.as_red(attack).await {
            assert_clean(attack, &answer);
            assert_ne!(answer.code, "INTERNAL", "{attack:?}: {}", answer.text);
            answered += usize::from(answer.code == "OK");
        }
    }
    assert!(answered > 100, "only {answered} of {} attempts had an answer that could leak", attacks.len());
    assert_eq!(before, (world.belongings(&world.blue, "shop").await, world.belongings(&world.lab, "lab").await));
    let log = world.house.log();
    for canary in ["canary-blue", "canary-red-lab", "canary_blue_prop", "canary_lab_prop", "mine-red"] {
        let line = log.lines().find(|line| line.contains(canary));
        assert_eq!(line, None, "tenants' data has no place in the log");
    }
    assert!(!std::path::Path::new("/tmp/penstock-attack").exists());
}

#[tokio::test]
async fn names_of_others_answer_as_names_that_do_not_exist() {
    let world = World::new().await;
    let said = async |method: &str, body: Value, name: &str| {
        let answers = world.as_red(&(method.to_owned(), body)).await;
        answers
            .into_iter()
            .map(|a| (a.code, a.messages.iter().map(|m| m.to_string().replace(name, "?")).collect::<String>()))
            .collect::<Vec<_>>()
    };
    let of_metrics = ["GetMetric", "Evaluate", "SubscribeMetric", "ListMetricVersions", "DeleteMetric"];
    let of_metrics = of_metrics.map(|method| (format!("MetricsService/{method}"), "name"));
    let of_dashboards = ["GetDashboard", "DeleteDashboard"];
    let of_dashboards = of_dashboards.map(|method| (format!("DashboardService/{method}"), "dashboard_id"));
    for (method, field) in of_metrics.into_iter().chain(of_dashboards) {
        let method = method.as_str();
        for (app, theirs) in [("shop", "blue_only"), ("lab", "lab_only")] {
            let there = said(method, json!({"app_id": app, field: theirs}), theirs).await;
            assert_eq!(
                there,
                said(method, json!({"app_id": app, field: "nothing"}), "nothing").await,
                "{method} {app}"
            );
        }
        let (there, not) = (json!({"app_id": "lab", field: "m"}), json!({"app_id": "no-app", field: "m"}));
        assert_eq!(said(method, there, "lab").await, said(method, not, "no-app").await, "{method}");
    }
}

#[tokio::test]
async fn a_context_can_not_be_forged() {
    let world = World::new().await;
    let sql = ("QueryService/Sql".to_owned(), json!({"sql": "SELECT secret, n FROM events", "app_id": "shop"}));
    let scope = json!({"scope": {"tenant": "blue", "apps": "all", "permissions": 126, "priority": "interactive"},
        "priority": "interactive", "key_id": "x", "good_until_ms": 99_999_999_999_999_u64});
    let encoded = encode(scope.to_string().as_bytes());
    let bearer = format!("Bearer {}", world.red);
    for forged in [format!("{encoded}.{}", encode(&[0; 32])), format!("{encoded}."), encoded.clone(), scope.to_string()]
    {
        for answer in world.by_every_route(&[("x-penstock-context", &forged)], &sql).await {
            assert_eq!(answer.code, "UNAUTHENTICATED", "{}", answer.text);
        }
        let both =
            [("x-penstock-context", forged.as_str()), ("authorization", &bearer), ("x-penstock-context", &forged)];
        for answer in world.by_every_route(&both, &sql).await {
            assert_eq!(answer.code, "OK", "{}", answer.text);
            assert!(answer.text.contains("mine-red-shop"), "the key decides");
            assert_clean(&sql, &answer);
        }
    }
    let named = [("authorization", bearer.as_str()), ("x-tenant-id", "blue"), ("x-penstock-tenant", "blue")];
    for answer in world.by_every_route(&named, &sql).await {
        assert!(answer.text.contains("mine-red-shop"));
        assert_clean(&sql, &answer);
    }
}

#[tokio::test]
async fn position_tokens_give_time_not_access() {
    let world = World::new().await;
    let ask = async |token: &str| {
        let body =
            json!({"sql": "SELECT secret, n FROM events", "app_id": "shop", "options": {"position_token": token}});
        let attack = ("QueryService/Sql".to_owned(), body);
        let answers = world.as_red(&attack).await;
        answers.iter().for_each(|answer| assert_clean(&attack, answer));
        answers.into_iter().map(|answer| answer.code).collect::<Vec<_>>()
    };
    for token in [&world.red_token, &world.blue_token] {
        assert_eq!(ask(token).await, ["OK", "OK"]);
    }
    let (payload, signature) = world.blue_token.split_once('.').unwrap();
    let later = encode(br#"{"incarnation":1,"ends":[[0,0]]}"#);
    for forged in
        ["x", ".", payload, &format!("{later}.{signature}"), &format!("{payload}.{}", encode(&[0; 32])), &world.blue]
    {
        assert_eq!(ask(forged).await, ["INVALID_ARGUMENT"; 2], "{forged}");
    }
}

/// base64url without padding.
fn encode(bytes: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.encode(bytes)
}
