//! `penstock doctor` where something is really broken: it names it, says what to do, and fails; and is content again once it is mended.

use std::{
    collections::BTreeMap,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    command_line::alone,
    house::{House, PATIENCE},
    stand,
};

/// What it says: by check, all of its lines.
struct Said {
    is_well: bool,
    checks: BTreeMap<String, Vec<Value>>,
}

impl Said {
    async fn of(house: &House, key: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = format!("http://{}", house.address);
        let mut all = vec!["doctor", "--json", "--key", key];
        if !arguments.contains(&"--server") {
            all.extend(["--server", &server]);
        }
        all.extend(arguments);
        let (is_well, said, complained) = alone(folder.path(), &all, "").await;
        let mut checks: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for line in said.lines() {
            let check: Value = serde_json::from_str(line).unwrap();
            checks.entry(check["check"].as_str().unwrap().to_owned()).or_default().push(check);
        }
        let has_failed = checks.values().flatten().any(|check| check["verdict"] == "fail");
        assert_eq!(is_well, !has_failed, "{said}{complained}");
        assert_eq!(complained.contains("\"code\":\"UNWELL\""), has_failed, "{complained}");
        Self { is_well, checks }
    }

    /// The verdict on a check: the worst if it has several.
    fn verdict(&self, check: &str) -> &str {
        let all: Vec<_> = self.lines(check).iter().map(|line| line["verdict"].as_str().unwrap()).collect();
        ["fail", "warn", "skip", "ok"].into_iter().find(|verdict| all.contains(verdict)).unwrap()
    }

    fn lines(&self, check: &str) -> &[Value] {
        self.checks.get(check).unwrap_or_else(|| panic!("{check} is missing: {:?}", self.checks))
    }

    /// Whether a check fails for this reason, and says to do this.
    fn fails(&self, check: &str, why: &str, next: &str) -> bool {
        let has = |line: &Value, field: &str, text: &str| line[field].as_str().unwrap().contains(text);
        self.lines(check).iter().any(|l| l["verdict"] == "fail" && has(l, "why", why) && has(l, "next", next))
    }

    /// What fails, but for the disk, which is this machine's.
    fn failures(&self) -> Vec<&Value> {
        let all = self.checks.values().flatten().filter(|check| check["verdict"] == "fail");
        all.filter(|check| !check["why"].as_str().unwrap().contains("of its disk left")).collect()
    }
}

/// Asks again until it says so.
async fn until(house: &House, key: &str, arguments: &[&str], holds: impl Fn(&Said) -> bool) -> Said {
    let started = Instant::now();
    loop {
        let said = Said::of(house, key, arguments).await;
        if holds(&said) {
            return said;
        }
        assert!(started.elapsed() < PATIENCE, "it never says so: {:?}", said.checks);
        tokio::time::sleep(Duration::from_millis(200)).await; // a look costs more than what it waits for
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_house_is_well_or_the_doctor_says_what_is_not() {
    let house = House::start().await;
    let (key, ops) = (house.demo_key(), house.ops_address.clone());
    let process = format!("process {ops}");
    let said = until(&house, &key, &["--ops", &ops], |said| said.failures().is_empty()).await;
    for check in ["server", "health", "clock", "key", "ingest", "query", "metrics", "warehouse", "lag", "dead letters"]
    {
        assert_eq!(said.verdict(check), "ok", "{check}: {:?}", said.checks);
    }
    assert!(said.lines(&process)[0]["why"].as_str().unwrap().starts_with("gateway,ingest,"), "{:?}", said.checks);
    // An operator is told of the log, and not asked for what an operator can't do.
    let said = Said::of(&house, &house.operator_key(), &["--tenant", "demo", "--app", "xyz123"]).await;
    assert_eq!((said.verdict("event log"), said.verdict("query")), ("ok", "skip"));
    assert!(said.is_well);

    let said = Said::of(&house, "pnsk_live_nothing", &[]).await;
    assert!(said.fails("key", "--key", "penstock login"), "{:?}", said.checks);
    let said = Said::of(&house, &key, &["--server", &format!("http://{ops}")]).await;
    assert!(said.fails("server", "operators' port", "`listen`"), "{:?}", said.checks);
    let said = Said::of(&house, &key, &["--server", "http://127.0.0.1:1", "--ops", "127.0.0.1:2"]).await;
    assert!(said.fails("server", "nothing listens", "penstock serve"), "{:?}", said.checks);
    assert!(said.fails("process 127.0.0.1:2", "no metrics", "ops_listen"), "{:?}", said.checks);

    // A key that ends, and an event that came too late, are worth a word.
    let soon = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string();
    let request = json!({"permissions": ["PERMISSION_QUERY", "PERMISSION_INGEST", "PERMISSION_ADMIN"], "app_ids": ["xyz123"], "expires_at": soon});
    let (_, made) = house.post(&key, "/v1/keys", &request).await;
    let ending = made["secret"].as_str().unwrap();
    let late = json!({"app_id": "xyz123", "event_type": "sale", "timestamp": "2020-01-01T00:00:00Z"});
    assert_eq!(house.post(ending, "/v1/events", &late).await.0, 400);
    let said = until(&house, ending, &[], |said| said.verdict("dead letters") == "warn").await;
    assert_eq!((said.verdict("key's end"), said.is_well), ("warn", true), "{:?}", said.checks);

    // The warehouse stands still: nothing answers there, and nothing refuses.
    let signal = |signal: &str, pid: u32| {
        assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
    };
    let warehouse = house.warehouse_pid().unwrap();
    signal("-STOP", warehouse);
    let said = until(&house, &key, &["--ops", &ops], |said| said.fails(&process, "warehouse", "warehouse-away")).await;
    assert!(said.fails("warehouse", "a SELECT fails", "warehouse-away"), "{:?}", said.checks);
    assert_eq!(said.verdict("key"), "ok");
    signal("-CONT", warehouse);
    until(&house, &key, &["--ops", &ops], |said| said.failures().is_empty()).await;
}

mod alone {
    use super::*;
    use crate::erasure::get;

    const ROLES: [&str; 6] = ["admin", "gateway", "ingest", "metrics", "pipeline", "query"];

    /// Waits until exactly these of what a house stands on don't answer its operator, and, where the metastore does, until a process of each
    /// role said that it is there: after an outage each does so within seconds. Returns how it is then.
    async fn until_away(house: &House, away: &[&str]) -> Value {
        let started = Instant::now();
        loop {
            let (status, health) = get(house, &house.operator_key(), "/v1/health").await;
            assert!(started.elapsed() < PATIENCE, "{away:?}: {health}");
            if status == 200 {
                let all = health["dependencies"].as_array().unwrap();
                let silent = all.iter().filter(|one| one["answers"] != true);
                assert!(
                    silent.clone().all(|one| one["error"].as_str().is_some_and(|said| !said.is_empty())),
                    "{health}"
                );
                let roles = health["processes"].as_array().into_iter().flatten();
                let roles = roles.flat_map(|one| one["roles"].as_array().unwrap()).map(|role| role.as_str().unwrap());
                let are_there =
                    away.contains(&"metastore") || ROLES.iter().all(|role| roles.clone().any(|r| r == *role));
                if are_there && silent.map(|one| one["name"].as_str().unwrap()).eq(away.iter().copied()) {
                    return health;
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_a_stand_the_doctor_names_the_part_that_is_away() {
        let stand = stand::alone().await;
        let key = stand.demo_key();
        let ops = |name: &str| std::fs::read_to_string(stand.data().join(name).join("ops")).unwrap().trim().to_owned();
        let [gateway, query, metrics] = ["gateway-1", "query-1", "metrics-1"].map(ops);
        let [of_gateway, of_query, of_metrics] =
            [&gateway, &query, &metrics].map(|address| format!("process {address}"));
        let arguments = ["--ops".to_owned(), [gateway, query, metrics].join(",")];
        let arguments = arguments.each_ref().map(String::as_str);
        until(&stand, &key, &arguments, |said| said.failures().is_empty()).await;
        let health = until_away(&stand, &[]).await;
        assert!(!health["partitions"].as_array().unwrap().is_empty(), "{health}");

        stand.kill("metrics-1");
        let is_missed =
            |said: &Said| said.fails(&of_gateway, "reaches 0 of 1 processes of the metrics role", "role-away");
        let said = until(&stand, &key, &arguments, is_missed).await;
        assert!(said.fails("metrics", "UNAVAILABLE", "role-away"), "{:?}", said.checks);
        assert!(said.fails(&of_metrics, "gives no metrics", "role-away"), "{:?}", said.checks);
        assert_eq!((said.verdict("query"), said.verdict("warehouse")), ("ok", "ok"), "the others are well");
        stand.start_again("metrics-1");

        stand.kill("warehouse");
        let is_away = |said: &Said| said.fails("warehouse", "a SELECT fails", "warehouse-away");
        let said = until(&stand, &key, &arguments, |said| is_away(said) && said.verdict(&of_query) == "fail").await;
        assert_eq!(said.verdict("key"), "ok");
        until_away(&stand, &["warehouse"]).await;
        stand.start_again("warehouse");

        // What is known of keys lasts a while; the process that asks the metastore says that it fails.
        stand.part("postgres", &["down"]);
        let admin = ops("admin-1");
        let of_admin = format!("process {admin}");
        let with_admin = ["--ops", &admin];
        let is_failing = |said: &Said| said.fails(&of_admin, "its metastore failed", "metastore-failing");
        let said = until(&stand, &key, &with_admin, is_failing).await;
        assert!(said.fails("admin and metastore", "UNAVAILABLE", "metastore-failing"), "{:?}", said.checks);
        until_away(&stand, &["metastore"]).await;
        stand.part("postgres", &["up"]);
        // Without an answer to a SELECT there is no lag to be told.
        until(&stand, &key, &arguments, |said| said.failures().is_empty()).await;

        // Without the log nothing is read any more, and answers fall behind.
        stand.part("kafka", &["kill", "1"]);
        let said = until(&stand, &key, &arguments, |said| said.verdict("lag") == "fail").await;
        assert!(said.fails("lag", "acknowledged until", "pipeline-stopped"), "{:?}", said.checks);
        assert_eq!(said.verdict("warehouse"), "ok", "{:?}", said.checks);
        let health = until_away(&stand, &["log"]).await;
        assert!(health.get("partitions").is_none_or(|none| none == &json!([])), "{health}");
        stand.part("kafka", &["start", "1"]);
        until(&stand, &key, &arguments, |said| said.failures().is_empty()).await;
    }
}
