//! Who changed what, and who took what out: noted with the change, and not to be denied afterwards.

use std::{collections::BTreeSet, time::Instant};

use serde_json::{Value, json};

use crate::{
    every::Contracts,
    house::{House, PATIENCE},
    oracle::python,
    stand,
};

/// What changes something, or takes answers out. A method that is in neither list fails the test: decide.
const NOTED: &[&str] = &[
    "QueryService/Export",
    "MetricsService/CreateMetric",
    "MetricsService/UpdateMetric",
    "MetricsService/DeleteMetric",
    "DashboardService/PutDashboard",
    "DashboardService/DeleteDashboard",
    "AdminService/CreateTenant",
    "AdminService/CreateApp",
    "AdminService/CreateKey",
    "AdminService/RevokeKey",
    "AdminService/RotateKey",
    "AdminService/SetTenantQuota",
    "AdminService/SetTenantRetention",
    "AdminService/SetSettings",
    "AdminService/SetBranding",
    "AdminService/SetTenantDomains",
    "AdminService/EraseUser",
    "AdminService/StartReplay",
    "AdminService/CancelReplay",
    "AdminService/GrowTopic",
    "AdminService/CreateBackup",
    "AdminService/CreateReport",
    "AdminService/DeleteReport",
];

/// What changes nothing of this kind: events are what the product is about, not what its administrators do.
const NOT_NOTED: &[&str] = &[
    "IngestService/Publish",
    "IngestService/PublishStream",
    "IngestService/Identify",
    "QueryService/Query",
    "QueryService/QueryStream",
    "QueryService/Sql",
    "QueryService/SqlStream",
    "QueryService/Subscribe",
    "QueryService/Explain",
    "QueryService/Describe",
    "MetricsService/ValidateMetric",
    "MetricsService/GetMetric",
    "MetricsService/ListMetrics",
    "MetricsService/ListMetricVersions",
    "MetricsService/PreviewMetric",
    "MetricsService/Evaluate",
    "MetricsService/SubscribeMetric",
    "DashboardService/ListDashboards",
    "DashboardService/GetDashboard",
    "AdminService/ListTenants",
    "AdminService/ListApps",
    "AdminService/ListKeys",
    "AdminService/GetTenantQuota",
    "AdminService/GetTenantRetention",
    "AdminService/GetSettings",
    "AdminService/GetBranding",
    "PublicService/GetHostBranding",
    "AdminService/Reconcile",
    "AdminService/ListDeadLetters",
    "AdminService/GetErasure",
    "AdminService/ListErasures",
    "AdminService/GetReplay",
    "AdminService/ListReplays",
    "AdminService/GetTopic",
    "AdminService/GetHealth",
    "AdminService/GetUsage",
    "AdminService/ListReports",
    "AdminService/GetReport",
    "AdminService/ListReportRuns",
    "AdminService/ListAuditEntries",
    "AdminService/VerifyAudit",
];

const SQL: &str = "SELECT event_id, n FROM events WHERE app_id = 'shop' AND user_id = 'u7'";

/// Calls with a key, and looks what that leaves in the audit log.
struct Auditor<'a> {
    house: &'a House,
    contracts: Contracts,
    noted: BTreeSet<String>,
}

impl<'a> Auditor<'a> {
    fn new(house: &'a House) -> Self {
        Self { house, contracts: Contracts::new(), noted: BTreeSet::new() }
    }

    async fn call(&self, key: &str, method: &str, body: &Value) -> Value {
        let bearer = format!("Bearer {key}");
        let answer = self.contracts.grpc(self.house, &[("authorization", &bearer)], method, body).await;
        assert_eq!(answer.code, "OK", "{method} {body}: {}", answer.text);
        answer.messages.into_iter().next().unwrap_or(Value::Null)
    }

    /// All entries of a chain as the key sees them, the newest first.
    async fn entries(&self, key: &str, tenant: &str) -> Vec<Value> {
        let (mut entries, mut token) = (Vec::new(), String::new());
        loop {
            let body = json!({"tenant_id": tenant, "page_size": 7, "page_token": token});
            let page = self.call(key, "AdminService/ListAuditEntries", &body).await;
            entries.extend(page["entries"].as_array().cloned().unwrap_or_default());
            match page["nextPageToken"].as_str() {
                Some(next) => token = next.to_owned(),
                None => return entries,
            }
        }
    }

    /// Calls, and returns the answer and what the call's one entry says: object, before, after.
    async fn noted(&mut self, key: &str, tenant: &str, method: &str, body: &Value) -> (Value, String, Value, Value) {
        let operator = self.house.operator_key();
        let before = self.entries(&operator, tenant).await.len();
        let answer = self.call(key, method, body).await;
        let entries = self.entries(&operator, tenant).await;
        assert_eq!(entries.len(), before + 1, "{method} {body}: {:?}", entries.first());
        let entry = &entries[0];
        let text = |field: &str| entry[field].as_str().unwrap_or_default();
        assert_eq!((text("method"), text("keyId")), (method, id_of(key)), "{entry}");
        let own = if key == operator { "operator" } else { tenant };
        assert_eq!((text("keyTenantId"), text("tenantId"), text("address")), (own, tenant, "127.0.0.1"), "{entry}");
        assert_eq!((text("sequence").parse(), text("traceId").len()), (Ok(entries.len()), 32), "{entry}");
        self.noted.insert(method.to_owned());
        let json =
            |field| if text(field).is_empty() { Value::Null } else { serde_json::from_str(text(field)).unwrap() };
        (answer, text("object").to_owned(), json("before"), json("after"))
    }

    async fn verify(&self, key: &str, body: &Value) -> Value {
        self.call(key, "AdminService/VerifyAudit", body).await
    }
}

/// The public part of a key.
fn id_of(key: &str) -> &str {
    key.split('_').nth(2).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// An event of the user u7 that is stored.
async fn publish(house: &House, key: &str) {
    let event = json!({"app_id": "shop", "event_type": "buy", "user_id": "u7", "properties": {"n": 1}});
    let (status, answer) = house.post(key, "/v1/events", &event).await;
    assert_eq!(status, 200, "{answer}");
    house.sql(key, SQL, answer["position_token"].as_str().unwrap()).await;
}

/// Makes the tenant acme with an app and an admin's key, whose text it returns.
async fn acme(auditor: &mut Auditor<'_>) -> String {
    let operator = auditor.house.operator_key();
    let tenant = json!({"tenant": {"tenant_id": "acme", "display_name": "Acme"}});
    auditor.call(&operator, "AdminService/CreateTenant", &tenant).await;
    auditor.noted.insert("AdminService/CreateTenant".to_owned());
    let entries = auditor.entries(&operator, "acme").await;
    assert_eq!((entries.len(), &entries[0]["object"]), (1, &json!("tenants/acme")));
    assert_eq!((entries[0].get("before"), &entries[0]["after"]), (None, &json!("{\"display_name\":\"Acme\"}")));
    let app = json!({"tenant_id": "acme", "app": {"app_id": "shop"}});
    let (_, object, before, after) = auditor.noted(&operator, "acme", "AdminService/CreateApp", &app).await;
    let shown = json!({"display_name": "shop", "time_zone": ""});
    assert_eq!((object.as_str(), before, after), ("apps/shop", Value::Null, shown));
    let permissions = ["INGEST", "QUERY", "METRICS", "ADMIN", "EXPORT"].map(|name| format!("PERMISSION_{name}"));
    let key = json!({"tenant_id": "acme", "permissions": permissions, "display_name": "chief"});
    let (answer, object, before, after) = auditor.noted(&operator, "acme", "AdminService/CreateKey", &key).await;
    assert_eq!((object, before), (format!("keys/{}", text(&answer["key"]["keyId"])), Value::Null));
    assert_eq!((&after["display_name"], &after["scope"]["permissions"][3]), (&json!("chief"), &json!("admin")));
    text(&answer["secret"])
}

#[test]
fn every_method_is_noted_or_changes_nothing() {
    for method in Contracts::new().names() {
        let lists = [NOTED, NOT_NOTED].map(|list| list.contains(&method.as_str()));
        assert_ne!(lists[0], lists[1], "is {method} to be noted in the audit log, or not?");
    }
}

#[tokio::test]
async fn every_change_says_who_made_it_and_what_it_was_before() {
    let house = House::start().await;
    let operator = house.operator_key();
    let mut auditor = Auditor::new(&house);
    let chief = acme(&mut auditor).await;

    let quota = |burst: u64| json!({"tenant_id": "acme", "quota": {"events_burst": burst.to_string()}});
    for (burst, before) in [(7, json!(null)), (9, json!(7))] {
        let noted = auditor.noted(&operator, "acme", "AdminService/SetTenantQuota", &quota(burst)).await;
        let (before, after) = (json!({"events_burst": before}), json!({"events_burst": burst}));
        assert_eq!((noted.1.as_str(), noted.2, noted.3), ("quota", before, after));
    }
    let unlimited = json!({"tenant_id": "acme", "quota": {"events_burst": "0"}});
    auditor.noted(&operator, "acme", "AdminService/SetTenantQuota", &unlimited).await;
    let retention = json!({"tenant_id": "acme", "app_id": "shop", "days": 400});
    let noted = auditor.noted(&operator, "acme", "AdminService/SetTenantRetention", &retention).await;
    assert_eq!((noted.1.as_str(), noted.2, noted.3), ("retention", json!({"days": null}), json!({"days": 400})));
    let body = json!({"settings": {"timeZone": "Europe/Berlin"}});
    let noted = auditor.noted(&chief, "acme", "AdminService/SetSettings", &body).await;
    let (before, after) = (json!({}), json!({"time_zone": "Europe/Berlin"}));
    assert_eq!((noted.1.as_str(), noted.2, noted.3), ("settings", before, after));
    let (branding, named) = (json!({"branding": {"productName": "Acme"}}), json!({"product_name": "Acme"}));
    let noted = auditor.noted(&chief, "acme", "AdminService/SetBranding", &branding).await;
    assert_eq!((noted.1.as_str(), noted.2, noted.3), ("branding", json!({}), named));
    let domains = json!({"tenant_id": "acme", "domains": ["acme.example"]});
    let noted = auditor.noted(&operator, "acme", "AdminService/SetTenantDomains", &domains).await;
    assert_eq!(
        (noted.1.as_str(), noted.2, noted.3),
        ("domains", json!({"domains": []}), json!({"domains": ["acme.example"]}))
    );

    let metric = |formula: &str| json!({"name": "buys", "formula": formula});
    let body = json!({"app_id": "shop", "definition": metric("COUNT(*)")});
    let noted = auditor.noted(&chief, "acme", "MetricsService/CreateMetric", &body).await;
    assert_eq!(
        (noted.1.as_str(), noted.2, &noted.3["formula"]),
        ("apps/shop/metrics/buys", json!(null), &json!("COUNT(*)"))
    );
    let body = json!({"app_id": "shop", "definition": metric("COUNT(*) * 2"), "base_version": 1});
    let noted = auditor.noted(&chief, "acme", "MetricsService/UpdateMetric", &body).await;
    assert_eq!((&noted.2["formula"], &noted.3["formula"]), (&json!("COUNT(*)"), &json!("COUNT(*) * 2")));
    let body = json!({"app_id": "shop", "name": "buys"});
    let noted = auditor.noted(&chief, "acme", "MetricsService/DeleteMetric", &body).await;
    assert_eq!((&noted.2["version"], noted.3), (&json!(2), json!(null)));

    let dashboard = |title: &str, etag: &Value| json!({"app_id": "shop", "dashboard": {"dashboard_id": "all", "title": title, "etag": etag}});
    let body = dashboard("All", &json!(""));
    let (kept, object, before, after) = auditor.noted(&chief, "acme", "DashboardService/PutDashboard", &body).await;
    assert_eq!((object.as_str(), before, &after["title"]), ("apps/shop/dashboards/all", json!(null), &json!("All")));
    let body = dashboard("All of it", &kept["dashboard"]["etag"]);
    let noted = auditor.noted(&chief, "acme", "DashboardService/PutDashboard", &body).await;
    assert_eq!((noted.2, noted.3), (json!({"title": "All"}), json!({"title": "All of it"})));
    let body = json!({"app_id": "shop", "dashboard_id": "all"});
    let noted = auditor.noted(&chief, "acme", "DashboardService/DeleteDashboard", &body).await;
    assert_eq!((&noted.2["title"], noted.3), (&json!("All of it"), json!(null)));

    publish(&house, &chief).await;
    let export = json!({"sql": {"sql": SQL, "app_id": "shop"}, "format": "EXPORT_FORMAT_CSV"});
    let (answer, object, before, after) = auditor.noted(&chief, "acme", "QueryService/Export", &export).await;
    assert_eq!((object.as_str(), before, &after["resumed"]), ("apps/shop/export", json!(null), &json!(false)));
    assert!(text(&after["plan"]).contains("u7") && text(&after["content_type"]).starts_with("text/csv"), "{after}");
    let mut resumed = export.clone();
    resumed["resume_token"] = answer["resumeToken"].clone();
    assert_eq!(auditor.noted(&chief, "acme", "QueryService/Export", &resumed).await.3["resumed"], json!(true));

    let question = json!({"sql": {"sql": "SELECT COUNT(*) FROM events"}});
    let report = json!({"report": {"app_id": "shop", "schedule": "0 0 1 1 *", "question": question,
        "webhook_url": "https://hooks.example.com/let/me/in"}});
    let (made, object, before, after) = auditor.noted(&chief, "acme", "AdminService/CreateReport", &report).await;
    let id = text(&made["report"]["reportId"]);
    assert_eq!(
        (object, before, &after["webhook"]),
        (format!("reports/{id}"), json!(null), &json!("https://hooks.example.com"))
    );
    let secret = text(&made["webhookSecret"]);
    let noted = auditor.noted(&chief, "acme", "AdminService/DeleteReport", &json!({ "report_id": id })).await;
    assert_eq!((&noted.2["schedule"], noted.3), (&json!("0 0 1 1 *"), json!(null)));

    // Before an erasure, which it would have to wait for.
    let noted = auditor.noted(&operator, "", "AdminService/CreateBackup", &json!({})).await;
    assert!(noted.1.starts_with("backups/2"), "{noted:?}");

    let erase = json!({"app_id": "shop", "user_id": "a-forgotten-user"});
    let (made, object, ..) = auditor.noted(&chief, "acme", "AdminService/EraseUser", &erase).await;
    assert_eq!(object, format!("erasures/{}", text(&made["erasure"]["erasureId"])));

    let other = json!({"permissions": ["PERMISSION_QUERY"], "app_ids": ["shop"]});
    let (made, ..) = auditor.noted(&chief, "acme", "AdminService/CreateKey", &other).await;
    let rotate = json!({"key_id": made["key"]["keyId"], "overlap": "60s"});
    let made = auditor.call(&chief, "AdminService/RotateKey", &rotate).await;
    auditor.noted.insert("AdminService/RotateKey".to_owned());
    let entries = auditor.entries(&chief, "").await;
    let [new, old] = &entries[..2] else { panic!("{entries:?}") };
    assert!(
        [new, old].iter().all(|entry| entry["method"] == "AdminService/RotateKey" && entry["keyId"] == id_of(&chief))
    );
    assert_eq!(text(&old["object"]), format!("keys/{}", text(&rotate["key_id"])));
    assert_eq!(
        (text(&old["before"]).as_str(), text(&new["object"])),
        ("{\"expires_at_ms\":null}", format!("keys/{}", text(&made["key"]["keyId"])))
    );
    assert!(text(&new["after"]).contains(&text(&rotate["key_id"])), "{new}");
    let revoked = text(&made["secret"]);
    let revoke = json!({"key_id": made["key"]["keyId"]});
    let noted = auditor.noted(&chief, "acme", "AdminService/RevokeKey", &revoke).await;
    assert!(noted.2["revoked_at_ms"].is_null() && noted.3["revoked_at_ms"].is_i64(), "{noted:?}");
    let before = auditor.entries(&chief, "").await;
    auditor.call(&chief, "AdminService/RevokeKey", &revoke).await;
    assert_eq!(auditor.entries(&chief, "").await, before, "again changes nothing");

    // What is about no tenant has a log of its own.
    let grow = json!({"partitions": 8});
    let noted = auditor.noted(&operator, "", "AdminService/GrowTopic", &grow).await;
    assert_eq!((noted.2, noted.3), (json!({"partitions": 4}), json!({"partitions": 8})));
    replay(&mut auditor, &operator).await;

    assert_eq!(auditor.noted, NOTED.iter().map(|method| (*method).to_owned()).collect());
    let whole = auditor.verify(&chief, &json!({})).await;
    assert_eq!(whole["entries"], json!(before.len().to_string()));
    assert_eq!((&whole["lastHash"], whole.get("brokenSequence")), (&before[0]["hash"], None));
    let all = format!("{before:?}{:?}", auditor.entries(&operator, "").await);
    let of_keys = [&chief, &operator, &revoked].map(|text| text.rsplit('_').next().unwrap());
    let of_webhook = secret.split_once('_').map_or(&*secret, |(_, secret)| secret); // which may have more of them
    assert!(of_keys.iter().chain([&of_webhook]).all(|secret| !all.contains(secret)), "a secret is in the audit log");
    assert!(!all.contains("a-forgotten-user") && !all.contains("let/me/in"), "{all}");
    let first = auditor.entries(&operator, "operator").await.pop().unwrap();
    assert_eq!((&first["method"], &first["object"]), (&json!("penstock serve"), &json!("tenants/operator")));
}

/// A replay that is cancelled before it is done, which is soon.
async fn replay(auditor: &mut Auditor<'_>, operator: &str) {
    let started = Instant::now();
    let now = jiff::Timestamp::now();
    let span = json!({"from": (now - jiff::SignedDuration::from_hours(1)).to_string(), "to": now.to_string()});
    loop {
        let (made, object, before, after) = auditor.noted(operator, "", "AdminService/StartReplay", &span).await;
        let id = json!({"replay_id": made["replay"]["replayId"]});
        assert_eq!((&*object, before), (&*format!("replays/{}", text(&id["replay_id"])), json!(null)));
        assert!(after["ranges"][0]["end"].is_u64(), "{after}");
        auditor.call(operator, "AdminService/CancelReplay", &id).await;
        let entry = auditor.entries(operator, "").await.swap_remove(0);
        if entry["method"] == "AdminService/CancelReplay" {
            assert_eq!(
                (&entry["before"], &entry["after"]),
                (&json!("{\"to_cancel\":false}"), &json!("{\"to_cancel\":true}"))
            );
            auditor.noted.insert("AdminService/CancelReplay".to_owned());
            return;
        }
        assert!(started.elapsed() < PATIENCE, "each was done before it was cancelled");
    }
}

#[tokio::test]
async fn a_tenant_sees_its_own_log_and_nothing_of_who_operates_it() {
    let house = House::start().await;
    let operator = house.operator_key();
    let mut auditor = Auditor::new(&house);
    let chief = acme(&mut auditor).await;
    let other = house.tenant("blue", "shop", &["admin"]).await;
    let limited = house.tenant("acme", "lab", &["admin"]).await;

    let own = auditor.entries(&chief, "").await;
    assert_eq!(own, auditor.entries(&chief, "acme").await);
    let shown: Vec<_> = own.iter().rev().map(|entry| text(&entry["method"])).collect();
    let made = ["CreateTenant", "CreateApp", "CreateKey", "CreateApp", "CreateKey"];
    assert_eq!(shown, made.map(|method| format!("AdminService/{method}")));
    assert!(own.iter().all(|entry| entry.get("keyTenantId").is_none() && entry.get("address").is_none()), "{own:?}");
    assert!(own.iter().all(|entry| entry["keyId"] == id_of(&operator)));
    let of_lab = auditor.entries(&limited, "").await;
    assert!(of_lab.len() == 2 && of_lab.iter().all(|entry| entry["appId"] == "lab"), "{of_lab:?}");

    let bearer = format!("Bearer {other}");
    for method in ["AdminService/ListAuditEntries", "AdminService/VerifyAudit"] {
        let body = json!({"tenant_id": "acme"});
        for answer in [
            auditor.contracts.grpc(&house, &[("authorization", &bearer)], method, &body).await,
            auditor.contracts.json(&house, &[("authorization", &bearer)], method, &body).await.unwrap(),
        ] {
            assert_eq!(answer.code, "PERMISSION_DENIED", "{}", answer.text);
        }
    }
    let of_other = format!("{:?}", auditor.entries(&other, "").await);
    assert!(!of_other.contains("acme") && of_other.contains("blue"), "{of_other}");

    // What is looked for, and over JSON.
    let found = async |query: &str| {
        let url = format!("http://{}/v1/audit?{query}", house.address);
        let answer = house.http.get(url).bearer_auth(&chief).send().await.unwrap();
        let (status, body) = (answer.status().as_u16(), answer.json::<Value>().await.unwrap());
        let objects =
            body["entries"].as_array().into_iter().flatten().map(|entry| text(&entry["object"])).collect::<Vec<_>>();
        (status, objects, body)
    };
    assert_eq!(found("method=AdminService/CreateApp").await.1, ["apps/lab", "apps/shop"]);
    assert_eq!(found(&format!("key_id={}&page_size=1", id_of(&operator))).await.1.len(), 1);
    assert_eq!(found("to=2020-01-01T00:00:00Z").await.1, [] as [&str; 0]);
    assert_eq!(found("from=2020-01-01T00:00:00Z").await.1.len(), 5);
    for (query, field) in [
        ("from=2021-01-01T00:00:00Z&to=2020-01-01T00:00:00Z", "to"),
        ("page_size=1001", "page_size"),
        ("page_token=x", "page_token"),
    ] {
        let (status, _, body) = found(query).await;
        assert_eq!(
            (status, &body["error"]["details"][1]["fieldViolations"][0]["field"]),
            (400, &json!(field)),
            "{body}"
        );
    }
}

#[tokio::test]
async fn what_is_changed_or_taken_out_behind_the_product_s_back_is_found() {
    let house = House::start().await;
    let mut auditor = Auditor::new(&house);
    let chief = acme(&mut auditor).await;
    let file = house.data().join("meta.db");
    let sql = |statements: &str| python::run("sqlite.py", &[&file], statements);
    sql(
        "DROP TRIGGER audit_entries_stay; DROP TRIGGER audit_entries_stay_as_they_are; CREATE TABLE saved AS SELECT * FROM audit_entries",
    );
    let again = "DELETE FROM audit_entries; INSERT INTO audit_entries SELECT * FROM saved;";
    let kept = auditor.verify(&chief, &json!({})).await;
    assert_eq!(kept["entries"], json!("3"));
    let expected = json!({"expected_entries": kept["entries"], "expected_hash": kept["lastHash"]});

    for (tampering, broken) in [
        ("UPDATE audit_entries SET after_json = '{}' WHERE chain = 'acme' AND sequence = 2", "2"),
        ("UPDATE audit_entries SET at_ms = at_ms + 1 WHERE chain = 'acme' AND sequence = 1", "1"),
        ("UPDATE audit_entries SET key_id = 'x' WHERE chain = 'acme' AND sequence = 3", "3"),
        ("UPDATE audit_entries SET method = method || object, object = '' WHERE chain = 'acme' AND sequence = 2", "2"),
        ("DELETE FROM audit_entries WHERE chain = 'acme' AND sequence = 2", "2"),
        ("DELETE FROM audit_entries WHERE chain = 'acme' AND sequence = 1", "1"),
        (
            "DELETE FROM audit_entries WHERE chain = 'acme' AND sequence = 2; \
          UPDATE audit_entries SET sequence = 2 WHERE chain = 'acme' AND sequence = 3",
            "2",
        ),
        (
            "DELETE FROM audit_entries WHERE chain = 'acme' AND sequence = 1; INSERT INTO audit_entries SELECT 'acme', sequence, at_ms, \
          method, key_id, key_tenant, object, app, before_json, after_json, address, trace_id, previous_hash, hash FROM saved \
          WHERE chain = 'operator' AND sequence = 1",
            "1",
        ),
    ] {
        sql(tampering);
        let found = auditor.verify(&chief, &expected).await;
        assert_eq!(
            (&found["brokenSequence"], &found["containsExpected"]),
            (&json!(broken), &json!(false)),
            "{tampering}: {found}"
        );
        assert!(!text(&found["brokenReason"]).is_empty());
        sql(again);
    }
    // Only who has kept something sees that the end is another.
    sql("DELETE FROM audit_entries WHERE chain = 'acme' AND sequence = 3");
    let cut = auditor.verify(&chief, &expected).await;
    assert_eq!((cut.get("brokenSequence"), &cut["containsExpected"]), (None, &json!(false)));
    sql(again);
    let key = json!({"permissions": ["PERMISSION_QUERY"]});
    auditor.call(&chief, "AdminService/CreateKey", &key).await;
    let grown = auditor.verify(&chief, &expected).await;
    assert_eq!((&grown["entries"], &grown["containsExpected"]), (&json!("4"), &json!(true)), "{grown}");
}

/// Two gateways, roles of their own, PostgreSQL: an entry still says who and from where, and many at once make one chain.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_one_log() {
    let stand = stand::shared().await;
    let auditor = Auditor::new(&stand);
    let operator = stand.operator_key();
    let tenant = format!("audited{}", rand::random::<u32>());
    stand.tenant(&tenant, "shop", &["query"]).await;
    let gateways = stand.gateways();
    let changes = (0..20).map(|days| {
        let url = format!("http://{}/v1/retention", gateways[days % 2]);
        let request = stand.http.put(url).bearer_auth(&operator).json(&json!({"tenant_id": tenant, "days": days + 1}));
        async move { assert_eq!(request.send().await.unwrap().status(), 200) }
    });
    futures::future::join_all(changes).await;
    let entries = auditor.entries(&operator, &tenant).await;
    assert_eq!(entries.len(), 23);
    assert!(
        entries.iter().all(|entry| entry["address"] == "127.0.0.1" && entry["keyId"] == id_of(&operator)),
        "{entries:?}"
    );
    let whole = auditor.verify(&operator, &json!({ "tenant_id": tenant })).await;
    assert_eq!((&whole["entries"], whole.get("brokenSequence")), (&json!("23"), None), "{whole}");
}
