//! The web console in a real browser: what people see, and that everybody can. The stories themselves are in `services/console/browser`.
//!
//! `PENSTOCK_SCREENSHOTS`: a directory for pictures of all that they show, for people to look at. Default: none are taken.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::house::{House, PATIENCE};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Tells a story in a browser on the house; what it saw.
pub async fn told(house: &House, story: &str, with: &[(&str, &str)]) -> Value {
    let console = Path::new(ROOT).join("services/console");
    assert!(console.join("node_modules/playwright-core").exists(), "the console isn't built: run `make console`");
    let mut command = tokio::process::Command::from(Command::new("node"));
    command.arg(console.join("browser").join(format!("{story}.mjs"))).envs(with.iter().copied());
    command.env("PENSTOCK_ADDRESS", &house.address).env("CHROMIUM", chromium());
    command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let output =
        timeout(2 * PATIENCE, command.output()).await.unwrap_or_else(|_| panic!("{story} does not end")).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{story} ended with {}:\n{errors}", output.status);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["complaints"], json!([]), "the browser complains in {story}");
    assert_eq!(told["violations"], json!([]), "not everybody can use what {story} shows");
    told["seen"].clone()
}

fn chromium() -> String {
    let output =
        Command::new(Path::new(ROOT).join("deploy/tools/chromium.sh")).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "there is no browser: run `make chromium`");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Eight sales, and a refund that isn't one.
async fn sell(house: &House) {
    let sale = |n: u32, status: &str, amount: f64| {
        json!({"app_id": "xyz123", "event_type": "sale", "user_id": format!("u{}", n % 3),
        "properties": {"amount": amount, "status": status}})
    };
    let mut events: Vec<_> = (1..=5).map(|n| sale(n, "paid", 12.5)).collect();
    events.extend((6..=8).map(|n| sale(n, "open", 30.0)));
    events
        .push(json!({"app_id": "xyz123", "event_type": "refund", "properties": {"amount": 1_000.0, "status": "paid"}}));
    publish(house, &events).await;
}

/// Sends events of the demo tenant, and waits until they count.
async fn publish(house: &House, events: &[Value]) {
    let (status, answer) = house.post(&house.demo_key(), "/v1/events", &json!(events)).await;
    assert_eq!(status, 200, "{answer}");
    let token = answer["position_token"].as_str().unwrap();
    house.sql(&house.demo_key(), "SELECT COUNT(*) FROM events WHERE app_id = 'xyz123'", token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_signs_in_and_asks() {
    let house = House::start().await;
    sell(&house).await;
    let seen = told(&house, "explore", &[("PENSTOCK_KEY", &house.demo_key())]).await;
    assert_eq!(seen["address"], "/console/");
    let bytes = seen["first"]["bytes"].as_u64().unwrap();
    assert!(bytes > 0 && bytes < 300 * 1024, "{bytes} bytes until the first answer");
    println!("{bytes} bytes until the first answer");
    assert!(seen["refused"].as_str().unwrap().contains("key"), "{}", seen["refused"]);
    assert_eq!(seen["waiting"], "Asking…", "while there is no answer yet");
    assert!(seen["may"].as_array().unwrap().contains(&json!("define metrics and dashboards")), "{}", seen["may"]);
    assert_eq!(seen["bars"], json!({"total": "152.5", "rows": [["open", "90"], ["paid", "62.5"]]}));
    assert_eq!(seen["again"], "152.5");
    assert_eq!(seen["mistake"]["at"], "amuont");
    assert!(seen["mistake"]["message"].as_str().unwrap().contains("amount"), "{}", seen["mistake"]);
    assert_eq!(seen["isLazy"], true);
    assert!(seen["completed"].as_str().unwrap().contains("number"), "{}", seen["completed"]);
    assert_eq!(seen["underlinedText"], "amuont");
    assert_eq!(seen["sql"], json!([["open", "3", "90"], ["paid", "5", "62.5"]]));
    assert_eq!(seen["stages"], json!(["Read", "Keep", "Group by", "Give", "Order by"]));
    assert_eq!(seen["kept"], Value::Null, "a key that was signed out is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_over_time_is_compared_and_cut_by_the_clock_that_is_asked_for() {
    let house = House::start().await;
    let sale = |time: &str, store: &str, amount: u32| {
        json!({"app_id": "xyz123", "event_type": "sale", "user_id": "u1", "timestamp": format!("2024-01-{time}:00Z"),
        "properties": {"store": store, "amount": amount}})
    };
    // The last one is of the next day, and month, in Berlin.
    let times = ["30T10:00", "30T12:00", "31T10:00", "31T12:00", "31T23:30"];
    let sales = [("north", 10), ("south", 30), ("north", 20), ("south", 180), ("north", 40)];
    let events: Vec<_> =
        times.into_iter().zip(sales).map(|(time, (store, amount))| sale(time, store, amount)).collect();
    publish(&house, &events).await;
    let seen = told(&house, "times", &[("PENSTOCK_KEY", &house.demo_key())]).await;
    let compared = json!([["south", "180", "30"], ["north", "60", "10"]]);
    let total = json!(["240", "+500 % from 40"]);
    assert_eq!(seen["compared"], json!({"rows": compared, "total": total, "bars": [100, 17, 33, 6]}));
    assert_eq!(seen["utc"], json!([["Tue 30 Jan", "40"], ["Wed 31 Jan", "240"], ["Thu 1 Feb", "0"]]));
    assert_eq!(seen["berlin"], json!([["Tue 30 Jan", "40"], ["Wed 31 Jan", "200"], ["Thu 1 Feb", "40"]]));
    assert_eq!(seen["months"], json!([["Jan 2024", "240"], ["Feb 2024", "40"]]));
    assert_eq!(seen["all"], json!([["280"]]));
    let shares = json!([["south", "180", "75.0 %"], ["north", "60", "25.0 %"]]);
    assert_eq!(seen["shares"], json!({"of": "Wed 31 Jan", "rows": shares}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_follows_the_events() {
    let house = House::start().await;
    sell(&house).await;
    let seen = told(&house, "follow", &[("PENSTOCK_KEY", &house.demo_key())]).await;
    assert_eq!(seen["live"], "ping");
    assert_eq!(seen["filtered"], json!({"types": ["ping"], "rate": "1", "all": ["ping", "refund", "sale"]}));
    let paused = json!({"says": "paused", "elsewhere": 1, "here": 0, "kept": 10, "later": 1});
    assert_eq!(seen["paused"], paused, "it stays as it is until it is to go on");
    assert_eq!(
        (&seen["before"], &seen["after"], &seen["imported"]),
        (&json!("1,152.5"), &json!("1,452.5"), &json!("1,452.5"))
    );
    let legend = json!(["paid", "paid, before", "open", "open, before"]);
    assert_eq!(seen["legend"], legend, "what has no status sold nothing");
    assert_eq!(seen["read"], json!(["1,452.5", 0]), "another key sees it, and may not change it");
    assert!(seen["conflict"].as_str().unwrap().contains("not saved"), "{}", seen["conflict"]);
    let asked = json!([{"sort": "sum", "field": "amount", "formula": "", "name": "Sales"}]);
    assert_eq!((&seen["reopened"]["measures"], &seen["reopened"]["compare"]), (&asked, &json!("previous")));
    assert_eq!(seen["reopened"]["grain"], Value::Null, "as the explorer chooses it");
    assert_eq!(seen["moved"], json!([0, null]), "what lay in the browser is the server's");
    assert_eq!(seen["file"], json!(["dashboard", 2, 1]));
    assert!(seen["refused"].as_str().unwrap().contains("no dashboard"), "{}", seen["refused"]);
    assert_eq!((&seen["underlined"], &seen["isRefused"]), (&json!("amuont"), &json!(true)));
    assert_eq!(seen["metric"], json!(["average_sale", "SUM(amount) / COUNT(*)"]));
    assert!(seen["tried"].as_str().unwrap().contains("`amount`"), "{}", seen["tried"]);
    assert_eq!(seen["board"], json!([1, 1, 1]), "what it is about, its range, a SELECT");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_shows_countries_and_lists_what_is_none() {
    let house = House::start().await;
    let visit =
        |land: &str| json!({"app_id": "xyz123", "event_type": "visit", "user_id": "u1", "properties": {"land": land}});
    let lands = ["DE", "DE", "DE", "US", "US", "fr", "Ivory Coast", "GI", "Atlantis"];
    let mut events: Vec<_> = lands.into_iter().map(visit).collect();
    events.push(json!({"app_id": "xyz123", "event_type": "visit", "user_id": "u1"}));
    publish(&house, &events).await;
    let seen = told(&house, "map", &[("PENSTOCK_KEY", &house.demo_key())]).await;
    assert_eq!(seen["isLazy"], true, "the shapes come with the first map");
    let mut rows: Vec<_> = seen["rows"].as_array().unwrap().iter().map(ToString::to_string).collect();
    rows[2..].sort();
    let expected = [
        r#"["Germany","3"]"#,
        r#"["United States","2"]"#,
        r#"["(none)","1"]"#,
        r#"["Atlantis","1"]"#,
        r#"["Côte d’Ivoire","1"]"#,
        r#"["France","1"]"#,
        r#"["Gibraltar","1"]"#,
    ];
    assert_eq!(rows, expected, "by code and by name; what has no shape is there too");
    let note = seen["note"].as_str().unwrap();
    assert!(["(none)", "Atlantis", "Gibraltar"].iter().all(|name| note.contains(name)), "{note}");
    assert_eq!(seen["legend"], json!(["1 – 2", "2 – 3", "3 and more", "no data"]));
    assert_eq!((&seen["first"], &seen["second"]), (&json!("Germany 3"), &json!("United States 2")), "by arrows");
    assert!(seen["last"].as_str().unwrap().ends_with(": 1"), "{}", seen["last"]);
    assert_eq!(seen["fills"], 3, "a shade for each value");
    assert_eq!(seen["kept"], "Germany: 4", "what is focused stays so while the map follows its events");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_of_its_own_has_its_name_and_colours_that_can_be_read() {
    let house = House::start().await;
    // A yellow that nobody could read on white.
    let branding = json!({"product_name": "Acme Insights", "primary_color": "#ffd400", "support_url": "mailto:help@acme.example",
        "docs_url": "https://docs.acme.example"});
    let request = house.http.put(format!("http://{}/v1/branding", house.address)).bearer_auth(house.operator_key());
    assert_eq!(request.json(&json!({ "branding": branding })).send().await.unwrap().status(), 200);
    let seen = told(&house, "brand", &[("PENSTOCK_KEY", &house.demo_key())]).await;
    for theme in ["light", "dark"] {
        let seen = &seen[theme];
        assert_eq!((&seen["title"], &seen["isNamed"]), (&json!("Acme Insights"), &json!(vec![false; 5])), "{seen}");
        assert!(seen["titleInside"].as_str().unwrap().ends_with(" · Acme Insights"), "{seen}");
        assert!(seen["accent"].as_str().unwrap().starts_with("rgb("), "{seen}");
    }
    assert_ne!(seen["light"]["accent"], seen["dark"]["accent"]);
    assert_eq!(seen["dark"]["accent"], "rgb(255 212 0)", "on dark ground it is as it was chosen");
}

/// One sale to Ann, two to Bob.
async fn sell_to_ann_and_bob(house: &House) {
    let sale = |customer: &str, store: &str, amount: u32| {
        json!({"app_id": "xyz123", "event_type": "sale", "user_id": customer,
        "properties": {"customer": customer, "store": store, "amount": amount, "land": if customer == "ann" { "DE" } else { "US" }}})
    };
    publish(house, &[sale("ann", "north", 10), sale("bob", "east", 70), sale("bob", "west", 30)]).await;
}

/// Two customers of a product, Ann and Bob, and a key with which it signs what each may see; tells the story on them.
async fn told_to_customers(story: &str) -> Value {
    let house = House::start().await;
    let key = house.demo_key();
    let signing = json!({"permissions": ["PERMISSION_QUERY"], "app_ids": ["xyz123"], "kind": "KEY_KIND_HS256"});
    let (status, made) = house.post(&key, "/v1/keys", &signing).await;
    assert_eq!(status, 200, "{made}");
    sell_to_ann_and_bob(&house).await;
    let [id, secret] = [&made["key"]["key_id"], &made["secret"]].map(|text| text.as_str().unwrap());
    let with = [("PENSTOCK_KEY", &*key), ("KEY_ID", id), ("KEY_SECRET", secret), ("APP", "xyz123")];
    told(&house, story, &with).await
}

#[tokio::test(flavor = "multi_thread")]
async fn customers_of_a_product_see_their_own_numbers_on_its_page() {
    let seen = told_to_customers("embed").await;
    let own = |revenue: &str, sales: &str, stores: Value, country: &str, customer: &str| {
        let dashboard = json!({"totals": [format!("Revenue{revenue}"), format!("Sales{sales}new")], "stores": stores,
            "countries": [[country, revenue]], "buyers": [[customer, revenue]]});
        json!({"total": revenue, "stores": stores, "dashboard": dashboard})
    };
    assert_eq!(seen["ann"], own("10", "1", json!([["north", "", "10"]]), "Germany", "ann"));
    assert_eq!(seen["bob"], own("100", "2", json!([["east", "", "70"], ["west", "", "30"]]), "United States", "bob"));
    assert_eq!(
        (&seen["ann under the pointer"], &seen["bob under the pointer"]),
        (&json!("Revenue 10"), &json!("Revenue 100"))
    );
    assert_eq!(seen["grounds"], json!(["rgb(255, 255, 255)", "rgb(22, 30, 37)"]), "light, and dark by its attribute");
    assert_eq!(seen["pointed"], "Revenue 15", "which the pointer still shows");
    assert_eq!((&seen["later"], &seen["expired"]), (&json!("15"), &json!("told")));
    assert_eq!(seen["dashboardExpired"], "penstock-dashboard", "which is the one that needs a token");
    assert!(seen["mistake"].as_str().unwrap().contains("did you mean `store`"), "{}", seen["mistake"]);
    assert!(seen["none"].as_str().unwrap().contains("Export"), "{}", seen["none"]);
    let kept = json!([[["ann", "15"]], [["ann", "2"]], [["ann", "", "15"]]]);
    assert_eq!(seen["kept"], kept, "of one that the server keeps, each its own numbers");
    let all = |ann: &str, bob: &str| json!([["ann", ann], ["bob", bob]]);
    assert_eq!((&seen["inside"][0], &seen["inside"][1]), (&all("15", "100"), &all("2", "2")));
    assert_eq!(seen["inside"][2].as_array().map(Vec::len), Some(2), "{}", seen["inside"]);
    assert!(seen["unnamed"].as_str().unwrap().contains("has to name it"), "{}", seen["unnamed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_in_react_gets_its_tokens_by_itself() {
    let seen = told_to_customers("react").await;
    let (north, east_west) = (json!([["north", "", "10"]]), json!([["east", "", "70"], ["west", "", "30"]]));
    assert_eq!(seen["ann"], json!({"total": "10", "chart": north, "tile": north}));
    assert_eq!(seen["bob"], json!({"total": "100", "chart": east_west, "tile": east_west}));
    assert_eq!(seen["renewed"], 1, "a token that is over is got anew, once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_alone_reaches_everything_and_single_keys_can_be_switched_off() {
    let house = House::start().await;
    let seen = told(&house, "keyboard", &[("PENSTOCK_KEY", &house.demo_key())]).await;
    assert_eq!(seen["skipped"], json!(["Skip to content", "main"]));
    let (on, off) = (json!({"page": "/console/sql", "help": 1}), json!({"page": "/console/explore", "help": 0}));
    assert_eq!((&seen["on"], &seen["off"], &seen["onAgain"]), (&on, &off, &on));
    assert_eq!(seen["kept"], json!([false, true, "main"]), "in this browser; all else works without single keys");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dashboard_is_shared_and_its_preview_shows_what_the_customer_will_see() {
    let house = House::start().await;
    sell_to_ann_and_bob(&house).await;
    let seen = told(&house, "share", &[("PENSTOCK_KEY", &house.demo_key())]).await;
    assert_eq!(seen["all"], json!([["ann", "10"], ["bob", "100"]]), "without a filter");
    assert_eq!(seen["isOpen"], true, "Escape closes the choices alone");
    assert_eq!(seen["hidden"], 0, "while a filter has no value yet");
    assert_eq!(seen["own"], json!([["ann", "10"]]));
    assert_eq!(
        seen["result"],
        json!([{"values": [{"string": "ann"}, {"number": 10}]}]),
        "by a token that the shown code signed"
    );
    let element = r#"<penstock-dashboard app="xyz123" dashboard="sales" token="...">"#;
    assert_eq!((&seen["element"], &seen["python"]), (&json!(element), &json!(true)));
    let shared = json!({"before": [["ann", "10"]], "after": [["ann", "15"]], "hasOthers": false});
    assert_eq!(seen["shared"], shared, "in a page of the tenant's, where it follows the customer's own events");
    assert_eq!(seen["isSecretKept"], false);
    assert_eq!(seen["listed"], json!(["embedded dashboards (..., HS256)"]));
    assert_eq!(seen["later"], json!([0, 0]), "its secret was shown once, and without it nothing can be signed here");
    assert_eq!(seen["named"], 1, "by the id of a key that an admin made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_as_narrow_as_it_should_be_and_rotated() {
    let house = House::start().await;
    sell(&house).await;
    let seen = told(&house, "keys", &[("PENSTOCK_KEY", &house.demo_key())]).await;
    assert_eq!(seen["isHalf"], true, "a filter without a value filters nothing, so no key is made with it");
    assert_eq!(seen["paid"], json!([6, "query", "xyz123events with status paid", "until 2099-01-31 12:00"]));
    let asked = "Make a new key in the place of what was paid? The old one is good for 24 hours more.";
    let rotated = json!({"asked": asked, "isNew": true, "counts": [6, 6], "again": 1, "ends": 1});
    assert_eq!(seen["rotated"], rotated, "both are good, the new one can be rotated, the old one ends sooner");
    let faults = json!([
        "10.0.0.1/8 has bits behind its prefix: the network is 10.0.0.0/8",
        "https://dash.example/ must be as browsers send it: \"https://dash.example\" or \"http://localhost:8080\", in lower case, without the \
         scheme's own port, a path or a slash at the end"
    ]);
    let reach = "xyz123from 10.0.0.0/8, 127.0.0.1/32in pages of https://dash.example";
    let says = json!(["querybackground at most", reach]);
    let counts = json!([9, 9, "this key may not be used by pages of this origin"]);
    let narrow = json!({"faults": faults, "left": 0, "says": says, "counts": counts});
    assert_eq!(seen["narrow"], narrow, "each fault at its field until it is written anew, then what it is made for");
    let may = json!(["ask questions and evaluate metrics", "take answers of any length away"]);
    let portal = json!({"may": may, "wrong": 1, "count": 3, "says": "signs embed tokens", "rotates": 0});
    assert_eq!(seen["portal"], portal, "whose private key never left");
    assert_eq!(seen["bytes"], 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_manages_and_others_do_not_see_it() {
    let house = House::start_with("[prices]\ncurrency = \"EUR\"\nmillion_events = 1000.0\n").await;
    sell(&house).await;
    let (key, operator) = (house.demo_key(), house.operator_key());
    let seen = told(&house, "manage", &[("PENSTOCK_KEY", &key), ("PENSTOCK_OPERATOR_KEY", &operator)]).await;
    assert_eq!(
        seen["pages"],
        json!(["Penstock", "Explorer", "SQL", "Live", "Dashboards", "Metrics"]),
        "of a key that may query"
    );
    assert_eq!(seen["refused"], "There is nothing here");
    let (light, dark) = ("rgb(244, 246, 247)", "rgb(15, 21, 26)");
    let themes = json!(["light", light, "dark", dark, "dark", "light"]);
    assert_eq!(seen["themes"], themes, "as the browser prefers until somebody chooses, then so after a reload too");
    assert_eq!(seen["made"], "shop", "by the first admin of a new tenant");
    assert_eq!(seen["counts"], json!(["9", "9", "0", "0", "0", "0"]), "taken and counted, nothing missing");
    assert!(seen["wrong"].as_str().unwrap().contains("five fields"), "{}", seen["wrong"]);
    let unset = "as the server is configured";
    assert_eq!(seen["limits"], json!([unset, unset, "100 a second", "4.0 GB a second", "for ever"]));
    assert!(seen["meanwhile"].as_str().unwrap().contains("changed meanwhile"), "{}", seen["meanwhile"]);
    assert_eq!(seen["isTheirs"], 0, "only operators set what a tenant may, its admins share it out");
    assert_eq!(seen["isDown"], 0, "the metastore, the log and the warehouse answer");
    assert!(is_duration(&seen["p99"]), "{}", seen["p99"]);
    let cost = json!({"day": "0.009", "all": "0.009 EUR in all, by the installation's prices."});
    assert_eq!(seen["cost"], cost, "of nine events");
    assert!(seen["backwards"].as_str().unwrap().contains("after"), "{}", seen["backwards"]);
    assert_eq!(seen["done"], json!(["CreateReport", "SetBranding", "SetSettings", "SetSettings"]));
    assert!(seen["misnamed"].as_str().unwrap().contains("must be a host"), "{}", seen["misnamed"]);
    assert!(seen["miscoloured"].as_str().unwrap().contains("must be a colour"), "{}", seen["miscoloured"]);
    assert_eq!(seen["verdict"], "All 13 entries hold together");
}

/// Whether a text is one as people read it, and not nothing: "12 ms", "1.50 s".
fn is_duration(text: &Value) -> bool {
    let Some((number, unit)) = text.as_str().and_then(|text| text.split_once(' ')) else { return false };
    number.parse::<f64>().is_ok_and(|number| number > 0.0) && ["ms", "s"].contains(&unit)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_answered_while_somebody_waits_for_it() {
    let house = House::start().await;
    sell(&house).await;
    let seen = told(&house, "report", &[("PENSTOCK_KEY", &house.demo_key())]).await;
    assert_eq!(seen["rows"], json!([["open", "90"], ["paid", "62.5"]]));
    assert!(seen["due"].as_str().unwrap().starts_with("due 20"), "{}", seen["due"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_is_said_so_and_asked_again() {
    let house = House::start().await;
    sell(&house).await;
    let (key, operator) = (house.demo_key(), house.operator_key());
    let seen = told(&house, "away", &[("PENSTOCK_KEY", &key), ("PENSTOCK_OPERATOR_KEY", &operator)]).await;
    let system = &seen["system"];
    assert_eq!((&system["records"], &system["notStored"], &system["isOfWorst"]), (&json!(9), &json!(0), &json!(true)));
    assert!(system["behind"].as_f64().unwrap() < 60.0, "seconds: {system}");
    assert!(is_duration(&system["p99"]), "{system}");
    assert_eq!(
        seen["away"],
        json!(["There is no answer", "The server can't be reached. Check that it runs, then try again."])
    );
    assert_eq!((&seen["pulse"], &seen["kept"]), (&json!("behind"), &json!(9)), "what came before stays in sight");
    assert_eq!(seen["healthy"], "Try again");
    assert_eq!((&seen["before"], &seen["after"], &seen["left"]), (&json!("9"), &json!("9"), &json!(0)));
}

#[tokio::test]
async fn its_files_are_kept_by_browsers_and_framed_by_nobody() {
    let house = House::start().await;
    let get = async |path: &str, headers: &[(&str, &str)]| {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let mut request = client.get(format!("http://{}{path}", house.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    };
    let page = get("/console/explore", &[]).await;
    assert_eq!(page.status(), 200, "the console isn't built in: run `make console`");
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(
        (&page.headers()["x-content-type-options"], &page.headers()["cache-control"]),
        (&"nosniff".parse().unwrap(), &"no-cache".parse().unwrap())
    );
    let tag = page.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(get("/console/", &[("if-none-match", &tag)]).await.status(), 304);
    let html = page.text().await.unwrap();
    assert!(!html.contains("<script>") && !html.contains("style="), "nothing is inline");

    let script = html.split('"').find(|text| text.starts_with("/console/assets/") && text.ends_with(".js")).unwrap();
    for encoding in ["br", "gzip"] {
        let packed = get(script, &[("accept-encoding", encoding)]).await;
        assert_eq!(packed.headers()["content-encoding"], encoding);
        assert!(packed.headers()["cache-control"].to_str().unwrap().contains("immutable"));
    }
    assert!(get(script, &[]).await.headers().get("content-encoding").is_none());
    assert_eq!(get("/", &[("accept", "text/html")]).await.headers()["location"], "/console/");
    assert_eq!(get("/", &[]).await.status(), 404);
}
