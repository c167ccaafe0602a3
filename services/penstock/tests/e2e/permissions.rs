//! What a key may do, method by method, and when it no longer may.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::{
    every::{Answer, Contracts},
    house::House,
};

/// Which permission each method asks for. A method that is not here fails the test: decide.
const NEEDED: &[(&str, &[&str])] = &[
    ("IngestService/Publish", &["ingest"]),
    ("IngestService/PublishStream", &["ingest"]),
    ("IngestService/Identify", &["ingest"]),
    ("QueryService/Query", &["query"]),
    ("QueryService/QueryStream", &["query"]),
    ("QueryService/Sql", &["query"]),
    ("QueryService/SqlStream", &["query"]),
    ("QueryService/Subscribe", &["query"]),
    ("QueryService/Export", &["export"]),
    ("QueryService/Explain", &["query"]),
    ("QueryService/Describe", &["query"]),
    ("MetricsService/CreateMetric", &["metrics"]),
    ("MetricsService/UpdateMetric", &["metrics"]),
    ("MetricsService/DeleteMetric", &["metrics"]),
    ("MetricsService/ValidateMetric", &["metrics"]),
    ("MetricsService/GetMetric", &["query"]),
    ("MetricsService/ListMetrics", &["query"]),
    ("MetricsService/ListMetricVersions", &["query"]),
    ("MetricsService/PreviewMetric", &["query"]),
    ("MetricsService/Evaluate", &["query"]),
    ("MetricsService/SubscribeMetric", &["query"]),
    ("DashboardService/ListDashboards", &["query"]),
    ("DashboardService/GetDashboard", &["query"]),
    ("DashboardService/PutDashboard", &["metrics"]),
    ("DashboardService/DeleteDashboard", &["metrics"]),
    ("AdminService/CreateTenant", &["operator"]),
    ("AdminService/ListTenants", &["operator"]),
    ("AdminService/CreateApp", &["admin", "operator"]),
    ("AdminService/ListApps", &["admin", "operator"]),
    ("AdminService/CreateKey", &["admin", "operator"]),
    ("AdminService/ListKeys", &["admin", "operator"]),
    ("AdminService/RevokeKey", &["admin", "operator"]),
    ("AdminService/RotateKey", &["admin", "operator"]),
    ("AdminService/SetTenantQuota", &["operator"]),
    ("AdminService/GetTenantQuota", &["admin", "operator"]),
    ("AdminService/SetTenantRetention", &["operator"]),
    ("AdminService/GetTenantRetention", &["admin", "operator"]),
    ("AdminService/SetSettings", &["admin", "operator"]),
    ("AdminService/GetSettings", &["admin", "operator"]),
    ("AdminService/SetBranding", &["admin", "operator"]),
    ("AdminService/GetBranding", &["admin", "operator"]),
    ("AdminService/SetTenantDomains", &["operator"]),
    ("AdminService/Reconcile", &["admin", "operator"]),
    ("AdminService/ListDeadLetters", &["admin", "operator"]),
    ("AdminService/EraseUser", &["admin", "operator"]),
    ("AdminService/GetErasure", &["admin", "operator"]),
    ("AdminService/ListErasures", &["admin", "operator"]),
    ("AdminService/StartReplay", &["operator"]),
    ("AdminService/GetReplay", &["operator"]),
    ("AdminService/ListReplays", &["operator"]),
    ("AdminService/CancelReplay", &["operator"]),
    ("AdminService/GetTopic", &["operator"]),
    ("AdminService/GetHealth", &["operator"]),
    ("AdminService/GetUsage", &["admin", "operator"]),
    ("AdminService/GrowTopic", &["operator"]),
    ("AdminService/CreateBackup", &["operator"]),
    ("AdminService/CreateReport", &["admin", "operator"]),
    ("AdminService/ListReports", &["admin", "operator"]),
    ("AdminService/GetReport", &["admin", "operator"]),
    ("AdminService/DeleteReport", &["admin", "operator"]),
    ("AdminService/ListReportRuns", &["admin", "operator"]),
    ("AdminService/ListAuditEntries", &["admin", "operator"]),
    ("AdminService/VerifyAudit", &["admin", "operator"]),
];

/// By gRPC, and by JSON where there is a mapping.
async fn call(house: &House, contracts: &Contracts, key: &str, method: &str) -> Vec<Answer> {
    let body = match method.split_once('/').unwrap() {
        ("MetricsService" | "DashboardService", _) => json!({"app_id": "shop"}),
        // What these keys may not know, who are limited to an app, is refused after what can't be.
        (_, "GetUsage") => json!({"from": "1970-01-01T00:00:00Z"}),
        _ => json!({}),
    };
    let bearer = format!("Bearer {key}");
    let headers: &[(&str, &str)] = if key.is_empty() { &[] } else { &[("authorization", &bearer)] };
    let mut answers = vec![contracts.grpc(house, headers, method, &body).await];
    answers.extend(contracts.json(house, headers, method, &body).await);
    answers
}

/// The methods that ask for a key.
fn keyed(contracts: &Contracts) -> impl Iterator<Item = String> {
    contracts.names().into_iter().filter(|method| !method.starts_with("PublicService/"))
}

#[tokio::test]
async fn a_key_may_do_what_it_was_given_and_nothing_else() {
    let (house, contracts) = (House::start().await, Contracts::new());
    let mut keys = vec![(&["operator"][..], house.operator_key())];
    for given in [&["ingest"][..], &["query"], &["query", "export"], &["metrics"], &["admin"]] {
        keys.push((given, house.tenant("red", "shop", given).await));
    }
    for method in keyed(&contracts) {
        let needed = NEEDED.iter().find(|(name, _)| *name == method).map(|(_, needed)| *needed);
        let needed = needed.unwrap_or_else(|| panic!("{method} has no permission in this test"));
        for (given, key) in &keys {
            for Answer { code, text, .. } in call(&house, &contracts, key, &method).await {
                let may = needed.iter().any(|permission| given.contains(permission));
                assert_eq!(code == "PERMISSION_DENIED", !may, "{method} with {given:?}: {code} {text}");
                assert_ne!(code, "UNAUTHENTICATED", "{method} with {given:?}");
            }
        }
    }
}

#[tokio::test]
async fn without_a_good_key_no_method_answers() {
    let (house, contracts) = (House::start().await, Contracts::new());
    let good = house.demo_key();
    let (mistyped, unknown) =
        (good.replace(&good[30..31], if &good[30..31] == "x" { "y" } else { "x" }), unknown_key());
    for method in keyed(&contracts) {
        for key in ["", "x", &mistyped, &unknown, &format!("{good} {good}"), &good[..good.len() - 1]] {
            for answer in call(&house, &contracts, key, &method).await {
                assert_eq!(answer.code, "UNAUTHENTICATED", "{method} with {key:?}: {}", answer.text);
            }
        }
    }
    let log = house.log();
    let secret = &good[good.rfind('_').unwrap() + 1..];
    assert!(
        !log.contains(secret) && !log.contains(house.operator_key().rsplit('_').next().unwrap()),
        "a secret is in the log"
    );
}

/// Well-formed, but nobody's.
fn unknown_key() -> String {
    model::KeyText::from_random(model::Environment::Live, [1; 12], [2; 32]).as_str().to_owned()
}

/// Makes a key of the demo tenant that may query; returns its id and its text.
async fn make_key(house: &House, expires_at: Value) -> (String, String) {
    let body = json!({"permissions": ["PERMISSION_QUERY"], "expires_at": expires_at});
    let (status, answer) = house.post(&house.demo_key(), "/v1/keys", &body).await;
    assert_eq!(status, 200, "{answer}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&answer["key"]["key_id"]), text(&answer["secret"]))
}

async fn ask(house: &House, key: &str) -> u16 {
    house.post(key, "/v1/sql", &json!({"sql": "SELECT COUNT(*) FROM events", "app_id": "xyz123"})).await.0
}

/// Asks until the key is refused. A key is good from memory for a second; the rest is room for a busy machine.
async fn until_refused(house: &House, key: &str) {
    let started = Instant::now();
    loop {
        match ask(house, key).await {
            401 => return,
            status => assert_eq!(status, 200),
        }
        assert!(started.elapsed() < Duration::from_secs(10), "the key is still good");
    }
}

#[tokio::test]
async fn a_revoked_key_is_soon_refused_and_no_other() {
    let house = House::start().await;
    let ((id, key), (_, other)) = (make_key(&house, Value::Null).await, make_key(&house, Value::Null).await);
    assert_eq!((ask(&house, &key).await, ask(&house, &other).await), (200, 200));
    let url = format!("http://{}/v1/keys/{id}", house.address);
    for _ in 0..2 {
        let answer = house.http.delete(&url).bearer_auth(house.demo_key()).send().await.unwrap();
        assert_eq!(answer.status(), 200, "revoking again changes nothing");
    }
    until_refused(&house, &key).await;
    assert_eq!(ask(&house, &other).await, 200);
}

#[tokio::test]
async fn a_key_ends_when_it_was_to_end() {
    let mut house = House::start().await;
    let in_seconds = |seconds: u64| {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(seconds);
        jiff::Timestamp::from_millisecond(at.as_millis() as i64).unwrap().to_string()
    };
    let (_, short) = make_key(&house, json!(in_seconds(2))).await;
    let (_, long) = make_key(&house, json!(in_seconds(3600))).await;
    until_refused(&house, &short).await;
    assert_eq!(ask(&house, &long).await, 200);
    house.terminate();
    house.launch().await;
    assert_eq!((ask(&house, &short).await, ask(&house, &long).await), (401, 200));
}

#[tokio::test]
async fn nobody_gives_what_they_do_not_have() {
    let house = House::start().await;
    let limited = house.tenant("red", "shop", &["admin"]).await;
    for (body, status) in [
        (json!({"permissions": ["PERMISSION_QUERY"], "app_ids": ["shop"]}), 200),
        (json!({"permissions": ["PERMISSION_QUERY"]}), 403),
        (json!({"permissions": ["PERMISSION_QUERY"], "app_ids": ["shop", "lab"]}), 403),
        (json!({"permissions": ["PERMISSION_OPERATOR"]}), 403),
        (json!({"permissions": ["PERMISSION_QUERY"], "app_ids": ["shop"], "tenant_id": "demo"}), 403),
        (json!({"permissions": ["PERMISSION_BACKFILL"], "app_ids": ["shop"]}), 400),
        (json!({"permissions": ["PERMISSION_EXPORT"], "app_ids": ["shop"]}), 400),
        (json!({"permissions": [], "app_ids": ["shop"]}), 400),
        (json!({"permissions": ["PERMISSION_QUERY"], "app_ids": ["shop"], "expires_at": "2020-01-01T00:00:00Z"}), 400),
    ] {
        let (got, answer) = house.post(&limited, "/v1/keys", &body).await;
        assert_eq!(got, status, "{body}: {answer}");
        assert_eq!(answer["secret"].is_string(), status == 200);
    }
}
