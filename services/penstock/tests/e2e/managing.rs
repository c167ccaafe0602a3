//! What is managed from a terminal, and events as they arrive: the real binary, its JSON and its words for people.

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::ChildStdout,
    time::timeout,
};

use crate::{
    command_line::{alone, program},
    house::{House, PATIENCE},
};

/// Somebody at a terminal with one key.
struct Person {
    folder: tempfile::TempDir,
    server: String,
    key: String,
}

impl Person {
    fn new(house: &House, key: String) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), server: format!("http://{}", house.address), key }
    }

    async fn run(&self, arguments: &[&str], input: &str) -> (bool, String, String) {
        let all = [arguments, &["--server", &self.server, "--key", &self.key]].concat();
        alone(self.folder.path(), &all, input).await
    }

    /// What a command that does well says.
    async fn says(&self, arguments: &[&str]) -> String {
        let (well, said, complained) = self.run(arguments, "").await;
        assert!(well, "{arguments:?}: {complained}");
        said
    }

    /// The same as objects.
    async fn objects(&self, arguments: &[&str]) -> Vec<Value> {
        let said = self.says(&[arguments, &["--json"]].concat()).await;
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn send(&self, lines: &str) -> String {
        let (well, said, complained) = self.run(&["send", "--json"], lines).await;
        assert!(well, "{complained}");
        serde_json::from_str::<Value>(&said).unwrap()["position_token"].as_str().unwrap().to_owned()
    }

    /// What a command that fails says, and its complaint.
    async fn fails(&self, arguments: &[&str]) -> (String, String) {
        let (well, said, complained) = self.run(arguments, "").await;
        assert!(!well, "{arguments:?}: {said}");
        (said, complained)
    }
}

async fn people(house: &House) -> (Person, Person) {
    let operator = Person::new(house, house.operator_key());
    let can = ["ingest", "query", "metrics", "admin"];
    let admin = Person::new(house, house.tenant("acme", "shop", &can).await);
    (operator, admin)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_followed_until_ctrl_c() {
    let house = House::start().await;
    let (_, admin) = people(&house).await;
    admin.send("{\"event_type\":\"sale\",\"user_id\":\"before\"}\n").await;
    house.until_metric("penstock_pipeline_events_total", |stored| stored >= 1.0).await;
    let mut tail = program(admin.folder.path());
    tail.args(["tail", "--type", "sale", "--json", "--server", &admin.server, "--key", &admin.key]);
    let mut tail = tail.stdin(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    assert_eq!(next(&mut lines).await["user_id"], "before");
    // What comes now follows, once, with its properties as soon as these are known; other types don't.
    admin.send("{\"event_type\":\"view\"}\n{\"event_type\":\"sale\",\"user_id\":\"first\",\"properties\":{\"amount\":4}}\n").await;
    assert_eq!(next(&mut lines).await["user_id"], "first");
    let mut n = 0;
    loop {
        n += 1;
        let user = format!("u{n}");
        admin
            .send(&format!("{{\"event_type\":\"sale\",\"user_id\":\"{user}\",\"properties\":{{\"amount\":{n}}}}}\n"))
            .await;
        let event = next(&mut lines).await;
        assert_eq!(event["user_id"], user, "each once, in its order");
        if event["properties"]["amount"] == f64::from(n) {
            break;
        }
        assert_eq!(event["properties"], json!({}));
    }
    assert!(Command::new("kill").args(["-INT", &tail.id().unwrap().to_string()]).status().unwrap().success());
    let output = timeout(PATIENCE, tail.wait_with_output()).await.unwrap().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");

    let (_, complaint) = admin.fails(&["tail", "--where", "amuont > 1"]).await;
    assert!(complaint.contains("amount"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_watched_pushed_or_asked_again() {
    let house = House::start().await;
    let (_, admin) = people(&house).await;
    let sql = "SELECT COUNT(*) AS n FROM events";
    let with = ["--server", &admin.server, "--key", &admin.key];
    let token = admin.send("{\"event_type\":\"sale\"}\n").await;
    house.sql(&admin.key, sql, &token).await;
    let mut pushed = program(admin.folder.path());
    pushed.args(["watch", sql, "--interval", "0.2", "--json"]).args(with).stdin(Stdio::null());
    let mut asked = program(admin.folder.path());
    asked.args(["sql", "--format", "csv"]).args(with);
    let [mut pushed, mut asked] = [pushed.spawn().unwrap(), asked.spawn().unwrap()];
    let mut shell = asked.stdin.take().unwrap();
    shell.write_all(format!("{sql};\n\\watch 0.1\n").as_bytes()).await.unwrap();
    let mut pushes = BufReader::new(pushed.stdout.take().unwrap()).lines();
    let mut answers = BufReader::new(asked.stdout.take().unwrap()).lines();
    assert_eq!(next(&mut pushes).await, json!({"columns": ["n"]}));
    for n in 1..4 {
        while next(&mut pushes).await["row"] != json!([n]) {}
        let until = n.to_string();
        while line(&mut answers).await.trim() != until {}
        // Asked again though nothing changed.
        assert_eq!((line(&mut answers).await.trim(), line(&mut answers).await.trim()), ("n", &*until));
        admin.send("{\"event_type\":\"sale\"}\n").await;
    }
    assert!(Command::new("kill").args(["-INT", &pushed.id().unwrap().to_string()]).status().unwrap().success());
    assert!(timeout(PATIENCE, pushed.wait()).await.unwrap().unwrap().success());
}

async fn line(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    timeout(PATIENCE, lines.next_line()).await.expect("a line comes").unwrap().expect("it goes on")
}

async fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> Value {
    serde_json::from_str(&line(lines).await).unwrap()
}

#[tokio::test]
async fn dashboards_are_kept_shown_changed_and_deleted() {
    let house = House::start().await;
    let (_, admin) = people(&house).await;
    let token = admin.send("{\"event_type\":\"sale\",\"properties\":{\"amount\":4,\"store\":\"north\"}}\n").await;
    house.sql(&admin.key, "SELECT COUNT(*) FROM events", &token).await;
    let write = |name: &str, dashboard: &Value| {
        let path = admin.folder.path().join(name);
        std::fs::write(&path, dashboard.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let by_store =
        json!({"measures": [{"name": "Revenue", "formula": "SUM(amount)"}], "dimensions": [{"expression": "store"}]});
    let exported = json!({"penstock": "dashboard", "version": 2, "dashboard_id": "sales", "title": "Sales",
        "tiles": [{"id": "a", "title": "By store", "view": "TILE_VIEW_BAR", "query": by_store}]});
    let file = write("sales.json", &exported);
    let of = |words: &[&str]| {
        [&["dashboard"], words, &["--app", "shop"]].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let say = async |words: &[&str]| admin.says(&of(words).iter().map(String::as_str).collect::<Vec<_>>()).await;
    let objects = async |words: &[&str]| admin.objects(&of(words).iter().map(String::as_str).collect::<Vec<_>>()).await;
    let fail = async |words: &[&str]| admin.fails(&of(words).iter().map(String::as_str).collect::<Vec<_>>()).await.1;

    assert_eq!(say(&["put", &file]).await, "sales kept with 1 tile\n");
    let shown = say(&["show", "sales"]).await;
    assert!(shown.contains("By store") && shown.contains("SUM(amount) by store"), "{shown}");
    let listed = objects(&["list"]).await;
    assert_eq!((&listed[0]["dashboard_id"], &listed[0]["tile_count"]), (&json!("sales"), &json!(1)));
    // The file takes the place of what is there; what was read says which state it is.
    let read = objects(&["show", "sales"]).await.remove(0);
    assert_eq!(say(&["put", &file, "--id", "sales"]).await, "sales kept with 1 tile\n");
    let complaint = fail(&["put", &write("read.json", &read)]).await;
    assert!(complaint.contains("CONFLICT"), "{complaint}");
    assert_eq!(say(&["put", &write("read.json", &read), "--id", "copy"]).await, "copy kept with 1 tile\n");

    let mut wrong = exported.clone();
    wrong["tiles"][0]["query"]["measures"][0]["formula"] = json!("SUM(amuont)");
    let complaint = fail(&["put", &write("wrong.json", &wrong)]).await;
    assert!(
        complaint.contains("dashboard.tiles[0].query.measures[0].formula") && complaint.contains("`amount`"),
        "{complaint}"
    );
    let old = json!({"penstock": "dashboard", "version": 1, "id": "sales", "title": "Sales", "tiles": []});
    let complaint = fail(&["put", &write("old.json", &old)]).await;
    assert!(complaint.contains("import it there"), "{complaint}");
    assert_eq!(say(&["delete", "sales"]).await, "sales deleted\n");
    assert!(fail(&["show", "sales"]).await.contains("NOT_FOUND"));
}

#[tokio::test]
async fn metrics_are_tried_defined_changed_and_deleted() {
    let house = House::start().await;
    let (_, admin) = people(&house).await;
    let sale = |user: &str, amount: u32, status: &str| {
        format!(
            "{{\"event_type\":\"sale\",\"user_id\":\"{user}\",\"properties\":{{\"amount\":{amount},\"status\":\"{status}\"}}}}\n"
        )
    };
    let token = admin.send(&[sale("a", 4, "paid"), sale("a", 6, "open"), sale("b", 8, "paid")].concat()).await;
    house.sql(&admin.key, "SELECT COUNT(*) FROM events", &token).await;

    let try_it = ["metric", "try", "SUM(amount)", "--app", "shop", "--by", "user_id", "--last", "1h"];
    assert_eq!(admin.says(&try_it).await, "user_id  value\n-------  -----\na           10\nb            8\n");
    let (_, complaint) = admin.fails(&["metric", "try", "SUM(amuont)", "--app", "shop"]).await;
    assert!(complaint.contains("  SUM(amuont)\n      ^^^^^^ ") && complaint.contains("`amount`"), "{complaint}");
    let (_, complaint) = admin.fails(&["metric", "try", "SUM(amount)", "--app", "shop", "--last", "7"]).await;
    assert!(complaint.contains("7d"), "{complaint}");

    let define = ["metric", "define", "revenue", "SUM(amount)", "--app", "shop", "--unit", "USD"];
    assert_eq!(admin.says(&define).await, "revenue version 1\n");
    assert_eq!(admin.says(&[&define[..], &["--filter", "status=paid"]].concat()).await, "revenue version 2\n");
    let all = admin.objects(&["metric", "show", "revenue", "--app", "shop"]).await;
    assert_eq!((&all[0]["version"], &all[1]["version"]), (&json!(2), &json!(1)));
    assert_eq!(all[0]["definition"]["filters"][0]["values"], json!([{"string": "paid"}]));
    assert!(admin.says(&["metric", "list", "--app", "shop"]).await.contains("status eq paid"));
    assert_eq!(admin.objects(&["metric", "evaluate", "revenue", "--app", "shop"]).await, [json!({"revenue": 12.0})]);
    assert_eq!(admin.says(&["metric", "delete", "revenue", "--app", "shop"]).await, "revenue deleted\n");
    let (_, complaint) = admin.fails(&["metric", "evaluate", "revenue", "--app", "shop"]).await;
    assert!(complaint.contains("NOT_FOUND"), "{complaint}");
}

#[tokio::test]
async fn tenants_are_set_up_and_what_was_done_is_proven() {
    let house = House::start().await;
    let (operator, _) = people(&house).await;
    let acme = ["--tenant", "acme"];
    let made = operator.says(&[&["key", "create", "--can", "ingest,query,admin"][..], &acme].concat()).await;
    let admin = Person::new(&house, made.trim().to_owned());
    let of_acme = |arguments: &[&'static str]| [arguments, &acme].concat();

    // Keys that sign embed tokens; of the one the server has the secret too, of the other the public half alone.
    let signs = ["key", "create", "--can", "query", "--expires", "2100-01-01T00:00:00Z", "--signs"];
    let told = admin.says(&[&signs[..], &["hs256"]].concat()).await;
    let words: Vec<_> = told.split_whitespace().collect();
    assert!(words.len() == 4 && words[0] == "kid" && words[2] == "secret" && words[3].len() == 43, "{told}");
    let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    std::fs::write(house.data().join("public.pem"), pem).unwrap();
    let file = house.data().join("public.pem").display().to_string();
    let told = admin.says(&[&signs[..], &["eddsa", "--public-key", &file]].concat()).await;
    assert!(told.starts_with("kid ") && !told.contains("secret"), "{told}");
    let keys = admin.objects(&["key", "list"]).await;
    let of = |kid: &str| keys.iter().find(|key| key["key_id"] == *kid).unwrap().clone();
    let (hs256, eddsa) = (of(words[1]), of(told.split_whitespace().nth(1).unwrap()));
    assert_eq!((&hs256["kind"], &eddsa["kind"]), (&json!("KEY_KIND_HS256"), &json!("KEY_KIND_EDDSA")));
    assert_eq!(eddsa["expires_at"], "2100-01-01T00:00:00Z");
    std::fs::write(&file, pem.replace("MCow", "MCox")).unwrap();
    let (_, complaint) = admin.fails(&[&signs[..], &["eddsa", "--public-key", &file]].concat()).await;
    assert!(complaint.contains("is no Ed25519 public key"), "{complaint}");

    let quota = of_acme(&["tenant", "quota", "--events-per-second", "100", "--bytes-burst", "5000"]);
    assert_eq!(operator.says(&quota).await, "events_per_second: 100\nbytes_burst: 5000\n");
    assert_eq!(admin.objects(&["tenant", "quota"]).await[0]["events_per_second"], 100);
    assert!(operator.says(&of_acme(&["tenant", "quota", "--default"])).await.starts_with("nothing is set"));
    let (_, complaint) = admin.fails(&["tenant", "quota", "--events-per-second", "100"]).await;
    assert!(complaint.contains("PERMISSION_DENIED"), "{complaint}");

    let days = of_acme(&["tenant", "retention", "--days", "30"]);
    assert_eq!(operator.says(&days).await, "events are kept for 30 days (set here)\n");
    let of_app = ["tenant", "retention", "--app", "shop"];
    assert_eq!(admin.says(&of_app).await, "events are kept for 30 days (not set here)\n");
    assert!(operator.says(&of_acme(&["tenant", "retention", "--default"])).await.contains("for ever"));

    let set = ["tenant", "settings", "--set", "time_zone=Asia/Tokyo", "--set", "allowed_origins=https://a.example"];
    let told = admin.says(&[&set[..], &["--set", "default_priority=scheduled"], &acme].concat()).await;
    for (field, value, from) in [
        ("time_zone", "Asia/Tokyo", "tenant"),
        ("allowed_origins", "https://a.example", "tenant"),
        ("max_priority", "interactive", "server"),
        ("default_priority", "scheduled", "tenant"),
        ("retention_days", "for ever", "server"),
    ] {
        let words: Vec<_> = told.lines().find(|line| line.starts_with(field)).unwrap().splitn(2, ' ').collect();
        assert!(words[1].trim().starts_with(value) && words[1].ends_with(from), "{told}");
    }
    let burst = of_acme(&["tenant", "settings", "--set", "quota.events_burst=7", "--set", "default_priority="]);
    let told = operator.objects(&burst).await;
    assert_eq!(told[0]["settings"]["quota"], json!({"events_burst": 7}));
    assert_eq!(told[0]["settings"]["time_zone"], "Asia/Tokyo", "the rest stays");
    let (_, complaint) = admin.fails(&of_acme(&["tenant", "settings", "--set", "retention_days=1"])).await;
    assert!(complaint.contains("PERMISSION_DENIED"), "{complaint}");
    let back =
        ["tenant", "settings", "--set", "time_zone=", "--set", "allowed_origins=", "--set", "quota.events_burst="];
    operator.says(&[&back[..], &acme].concat()).await;

    let set = ["tenant", "branding", "--set", "product_name=Acme Insights", "--set", "primary_color=#112233"];
    let both = "product_name: Acme Insights\nprimary_color: #112233\n";
    assert_eq!(admin.says(&[&set[..], &acme].concat()).await, both);
    let unset = of_acme(&["tenant", "branding", "--set", "product_name="]);
    assert_eq!(admin.says(&unset).await, "primary_color: #112233\n", "the rest stays");
    let (_, complaint) = admin.fails(&of_acme(&["tenant", "branding", "--set", "nothing=x"])).await;
    assert!(complaint.contains("nothing"), "{complaint}");
    let domains = of_acme(&["tenant", "domains", "--set", "a.example,b.example"]);
    assert_eq!(operator.says(&domains).await, "a.example\nb.example\n");
    assert_eq!(admin.says(&of_acme(&["tenant", "domains"])).await, "a.example\nb.example\n");

    // What came too late is kept, and who asks to be forgotten is.
    let (well, ..) = admin
        .run(&["send", "--app", "shop"], "{\"event_type\":\"old\",\"timestamp\":\"2020-01-01T00:00:00Z\"}\n")
        .await;
    assert!(!well);
    let of_shop = ["--app", "shop"];
    let late = loop {
        if let [late] = admin.objects(&[&["dead-letters"][..], &of_shop].concat()).await.as_slice() {
            break late.clone();
        }
    };
    assert_eq!((&late["code"], &late["event"]["event_type"]), (&json!("TOO_OLD"), &json!("old")));
    // Such an event can be sent again as it is listed, with a key that may send old ones.
    let backfill = operator.says(&[&["key", "create", "--can", "ingest,backfill"][..], &acme].concat()).await;
    let backfill = Person::new(&house, backfill.trim().to_owned());
    backfill.send(&format!("{}\n", late["event"])).await;
    let id = admin.says(&[&["erasure", "start", "u1"][..], &of_shop].concat()).await;
    let erasure = &admin.objects(&["erasure", "show", id.trim()]).await[0];
    assert_eq!((&erasure["user_id"], &erasure["erasure_id"]), (&json!("u1"), &json!(id.trim())));
    assert!(admin.says(&[&["erasure", "list"][..], &of_shop].concat()).await.contains(id.trim()));

    let entries = admin.objects(&["audit", "list"]).await;
    assert_eq!(entries[0]["method"], "AdminService/EraseUser", "the newest first");
    let proof = &admin.objects(&["audit", "verify"]).await[0];
    let (count, hash) = (proof["entries"].to_string(), proof["last_hash"].as_str().unwrap());
    assert!(admin.run(&["audit", "verify", "--entries", &count, "--hash", hash], "").await.0);
    let (_, complaint) = admin.fails(&["audit", "verify", "--entries", "1", "--hash", hash]).await;
    assert!(complaint.contains("no longer in the audit log") && complaint.contains("next: "), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_its_apps_and_its_reports_are_made_and_listed() {
    let house = House::start().await;
    let (operator, _) = people(&house).await;
    operator.says(&["tenant", "create", "beta", "--name", "Beta, Inc"]).await;
    let tenants = operator.objects(&["tenant", "list"]).await;
    let beta = tenants.iter().find(|tenant| tenant["tenant_id"] == "beta").unwrap();
    assert_eq!(beta["display_name"], "Beta, Inc");
    let of_beta = ["--tenant", "beta"];
    let app = ["app", "create", "tv", "--name", "Television", "--time-zone", "Asia/Tokyo"];
    operator.says(&[&app[..], &of_beta].concat()).await;
    let (_, complaint) = operator.fails(&[&app[..], &of_beta].concat()).await;
    assert!(complaint.contains("ALREADY_EXISTS"), "{complaint}");
    let listed = operator.says(&[&["app", "list"][..], &of_beta].concat()).await;
    assert!(["tv", "Television", "Asia/Tokyo"].iter().all(|word| listed.contains(word)), "{listed}");

    let can = ["key", "create", "--can", "ingest,query,admin", "--app", "tv"];
    let admin = Person::new(&house, operator.says(&[&can[..], &of_beta].concat()).await.trim().to_owned());
    let token = admin.send("{\"event_type\":\"sale\"}\n{\"event_type\":\"view\"}\n").await;
    let sql = "SELECT event_type, COUNT(*) AS n FROM events GROUP BY event_type";
    house.sql(&admin.key, sql, &token).await;
    let made =
        admin.says(&["report", "create", sql, "--app", "tv", "--schedule", "* * * * *", "--name", "types"]).await;
    let id = made.split_whitespace().next().unwrap();
    let shown = admin.says(&["report", "show", id]).await;
    assert!(shown.contains("* * * * * Asia/Tokyo") && shown.contains("types"), "by the app's clock: {shown}");
    assert_eq!(admin.objects(&["report", "list"]).await[0]["report_id"], id);
    let started = std::time::Instant::now();
    while !admin.says(&["report", "runs", id]).await.contains("2 rows") {
        assert!(started.elapsed() < 2 * PATIENCE, "it is never answered");
    }
    assert_eq!(admin.says(&["report", "delete", id]).await, format!("{id} deleted\n"));
    let (_, complaint) = admin.fails(&["report", "show", id]).await;
    assert!(complaint.contains("NOT_FOUND"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_read_is_said_to_programs_too() {
    let house = House::start().await;
    let (operator, admin) = people(&house).await;
    let token = admin.send("{\"event_type\":\"sale\",\"properties\":{\"amount\":4}}\n").await;
    house.sql(&admin.key, "SELECT COUNT(*) FROM events", &token).await;
    let read = async |person: &Person, arguments: &[&str]| {
        let (well, said, complained) = person.run(&[arguments, &["--json"]].concat(), "").await;
        assert!(well, "{arguments:?}: {said}{complained}");
        let object = |line| serde_json::from_str(line).ok().filter(Value::is_object);
        let lines = said.lines().chain(complained.lines());
        lines.map(|line| object(line).unwrap_or_else(|| panic!("{arguments:?}: {line}"))).collect::<Vec<Value>>()
    };
    admin.says(&["metric", "define", "revenue", "SUM(amount)", "--app", "shop"]).await;
    admin.says(&["erasure", "start", "nobody", "--app", "shop"]).await;
    for arguments in [
        "whoami",
        "app list",
        "apps list",
        "key list",
        "keys list",
        "metric list --app shop",
        "metrics show revenue --app shop",
        "metrics evaluate revenue --app shop",
        "metric try COUNT(*) --app shop",
        "erasure list --app shop",
        "audit list",
        "audit verify",
        "reconcile --app shop",
        "tenant quota",
        "tenant retention",
        "tenant settings",
        "tenant branding",
        "tenant domains",
    ] {
        let said = read(&admin, &arguments.split(' ').collect::<Vec<_>>()).await;
        assert!(!said.is_empty(), "{arguments}");
    }
    for arguments in ["dashboards list --app shop", "dead-letters --app shop", "reports list"] {
        let said = read(&admin, &arguments.split(' ').collect::<Vec<_>>()).await;
        assert!(said.is_empty(), "{arguments}: {said:?}");
    }
    read(&operator, &["cost", "--ops", &house.ops_address]).await;
    for arguments in ["tenant list", "tenants list", "topic show"] {
        read(&operator, &arguments.split(' ').collect::<Vec<_>>()).await;
    }
    let (until, since) = (jiff::Timestamp::now(), jiff::SignedDuration::from_hours(1));
    let [from, to] = [until - since, until].map(|time| time.to_string());
    let replayed = read(&operator, &["replay", "start", "--from", &from, "--to", &to, "--wait"]).await;
    assert_eq!(replayed[0]["state"], "STATE_DONE", "{replayed:?}");
    assert_eq!(replayed[1]["note"]["code"], "GOES_ON", "{replayed:?}");
    assert_eq!(read(&operator, &["replay", "list"]).await, replayed[..1]);
    // A growth is waited for, and goes on without whoever waits.
    let grown = read(&operator, &["topic", "grow", "--partitions", "8", "--wait"]).await;
    assert_eq!((&grown[0]["partitions"], &grown[0]["state"]), (&json!(8), &json!("STATE_STEADY")), "{grown:?}");
    assert_eq!(grown[1]["note"]["code"], "GOES_ON", "{grown:?}");
}

#[tokio::test]
async fn what_is_missing_is_named_with_the_command_that_brings_it_back() {
    let house = House::start().await;
    let (operator, admin) = people(&house).await;
    let token = admin
        .send("{\"event_type\":\"sale\"}\n{\"event_type\":\"sale\"}\n{\"event_type\":\"view\",\"event_id\":\"lost\"}\n")
        .await;
    house.sql(&admin.key, "SELECT COUNT(*) FROM events", &token).await;
    let reconcile = ["reconcile", "--app", "shop"];
    let said = admin.says(&reconcile).await;
    assert_eq!(said.lines().count(), 4, "one hour, and until when it is settled: {said}");
    house.warehouse("ALTER TABLE events DELETE WHERE event_id = 'lost' SETTINGS mutations_sync = 2").await;
    let (said, complaint) = admin.fails(&reconcile).await;
    assert!(said.contains("missing") && complaint.contains("1 missing in partition "), "{said}{complaint}");
    let next = complaint.lines().find_map(|line| line.strip_prefix("next: penstock ")).unwrap();
    let replay: Vec<_> = next.split_once(" makes ").unwrap().0.split(' ').collect();
    let said = operator.says(&replay).await;
    assert!(said.contains(" done "), "{said}");
    assert!(admin.run(&reconcile, "").await.0, "it is there again");
}
