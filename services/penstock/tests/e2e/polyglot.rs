//! One story told by plain generated stubs in Go, Python and TypeScript (`deploy/test/polyglot`): the contracts alone are enough.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    house::{House, PATIENCE},
    stand,
};

const LANGUAGES: [&str; 3] = ["go", "python", "typescript"];

#[tokio::test]
async fn plain_stubs_publish_and_query_in_three_languages() {
    in_every_language(&House::start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_so_they_do_on_a_cluster() {
    in_every_language(&*stand::shared().await).await;
}

async fn in_every_language(house: &House) {
    for language in LANGUAGES {
        let key = house.tenant("polyglot", language, &["ingest", "query", "metrics"]).await;
        assert_eq!(told(language, &house.address, &key, language).await, story(), "in {language}");
    }
}

/// A program that sends to Segment sends here instead, by Segment's own library.
#[tokio::test]
async fn segment_s_own_library_sends_without_a_change() {
    let house = House::start().await;
    let key = house.tenant("polyglot", "shop", &["ingest", "query"]).await;
    assert_eq!(ran("segment", segment(), &house.address, &key, "shop").await, json!({"errors": []}));

    let rows = async |sql: &str| json!(house.sql(&key, sql, "").await);
    let by_type =
        "SELECT event_type, COUNT(*) AS c, COUNT(DISTINCT user_id) AS users FROM events GROUP BY 1 ORDER BY 1";
    let wanted =
        json!([["Order Completed", 40, 1], ["alias", 1, 1], ["group", 1, 1], ["page", 1, 1], ["screen", 1, 1]]);
    until_rows(&house, &key, by_type, &wanted).await;
    let orders = "SELECT SUM(total) AS t, MAX(cart_size) AS s, MAX(context_user_agent) AS a, MAX(context_page_path) AS p, \
        MAX(context_library_name) AS l FROM events WHERE event_type = 'Order Completed'";
    assert_eq!(rows(orders).await, json!([[800.0, 39.0, "shop/1.0", "/cart", "@segment/analytics-node"]]));
    let others = "SELECT user_id, name, group_id, traits_seats, previous_id FROM events WHERE event_type <> 'Order Completed' ORDER BY event_type";
    let wanted = json!([
        ["bob", null, null, null, "visitor"],
        ["bob", null, "g1", 12.0, null],
        ["visitor", "Cart", null, null, null],
        ["bob", "Settings", null, null, null]
    ]);
    assert_eq!(rows(others).await, wanted);
    until_rows(
        &house,
        &key,
        "SELECT user_id, country, plan, company FROM users",
        &json!([["ann", "NL", "pro", "Acme"]]),
    )
    .await;
}

/// One call a request, as those write who have no library; and a batch that is wrong in part.
#[tokio::test]
async fn segment_s_paths_answer_one_call_and_tell_what_is_wrong() {
    let house = House::start().await;
    let key = house.tenant("polyglot", "shop", &["ingest", "query"]).await;
    let send = async |path: &str, body: Value| {
        let request = house.http.post(format!("http://{}{path}", house.address)).basic_auth(&key, Some(""));
        let answer = request.json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let done = || (200, json!({"success": true, "accepted": 1, "rejections": []}));
    assert_eq!(send("/v1/track", json!({"event": "seen", "userId": "ann", "messageId": "m1"})).await, done());
    // A retry.
    assert_eq!(send("/v1/track", json!({"event": "seen", "userId": "ann", "messageId": "m1"})).await, done());
    assert_eq!(send("/v1/identify?app_id=shop", json!({"userId": "ann", "traits": {"plan": "pro"}})).await, done());
    let (status, answer) = send(
        "/v1/batch",
        json!({"batch": [
            {"type": "track", "event": "seen", "userId": "bob", "messageId": "m2"},
            {"type": "track", "event": "seen", "messageId": "m3"},
            {"type": "identify", "userId": "bob", "traits": {"plan": 7}, "messageId": "m4"},
            {"type": "track", "event": "seen", "userId": "bob", "messageId": "m5", "timestamp": "2001-01-01T00:00:00Z"},
        ]}),
    )
    .await;
    let told: Vec<_> = answer["rejections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (&r["index"], &r["field"], &r["event_id"], &r["code"]))
        .collect();
    assert_eq!((status, &answer["accepted"]), (200, &json!(1)));
    let wanted = [
        (1, "batch[1].userId", "m3", "REQUIRED"),
        (2, "batch[2].traits.plan", "m4", "MALFORMED"),
        (3, "batch[3].timestamp", "m5", "TOO_OLD"),
    ];
    let wanted = wanted.map(|(index, field, id, code)| (json!(index), json!(field), json!(id), json!(code)));
    assert_eq!(told, wanted.each_ref().map(|(index, field, id, code)| (index, field, id, code)));
    assert_eq!(send("/v1/track", json!({"userId": "ann"})).await.0, 400);
    assert_eq!(send("/v1/batch", json!([])).await.0, 400);
    until_rows(
        &house,
        &key,
        "SELECT user_id, COUNT(*) AS c FROM events GROUP BY 1 ORDER BY 1",
        &json!([["ann", 1], ["bob", 1]]),
    )
    .await;
    until_rows(&house, &key, "SELECT user_id, plan FROM users", &json!([["ann", "pro"]])).await;
    // Ours is as it was.
    let (status, answer) =
        house.post(&key, "/v1/identify", &json!({"user_id": "bob", "traits": {"plan": {"string": "free"}}})).await;
    assert_eq!(status, 200, "{answer}");
    let wrong =
        house.http.post(format!("http://{}/v1/track", house.address)).basic_auth("no-key", Some("")).json(&json!({}));
    assert_eq!(wrong.send().await.unwrap().status(), 401);
}

/// Segment's API gives no token to wait for.
async fn until_rows(house: &House, key: &str, sql: &str, wanted: &Value) {
    let since = Instant::now();
    loop {
        let rows = json!(house.sql(key, sql, "").await);
        if rows == *wanted {
            return;
        }
        assert!(since.elapsed() < PATIENCE, "{sql}: {rows}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn segment() -> Command {
    let mut node = Command::new("node");
    node.arg(tools("polyglot").join("typescript/segment.mjs"));
    node
}

/// The story as told in a language to whoever listens at `address`, in an app without events.
async fn told(language: &str, address: &str, key: &str, app: &str) -> Value {
    ran(language, program(language), address, key, app).await
}

/// What a program prints.
async fn ran(language: &str, program: Command, address: &str, key: &str, app: &str) -> Value {
    let mut command = tokio::process::Command::from(program);
    command.env("PENSTOCK_ADDRESS", address).env("PENSTOCK_KEY", key).env("PENSTOCK_APP", app);
    command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.unwrap_or_else(|_| panic!("{language} does not end"));
    let output = output.unwrap_or_else(|error| panic!("{language} can't be run: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{language} ended with {}:\n{errors}", output.status);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{language} printed no JSON: {error}"))
}

fn program(language: &str) -> Command {
    let clients = tools("polyglot");
    match language {
        "go" => Command::new(clients.join("bin/polyglot-go")),
        "python" => {
            let mut python = Command::new(tools("venv").join("bin/python"));
            python.arg(clients.join("python/main.py"));
            python
        }
        _ => {
            let mut node = Command::new("node");
            node.arg(clients.join("typescript/dist/main.js"));
            node
        }
    }
}

/// What `make stubs` has put into `.tools`, here or above.
fn tools(name: &str) -> PathBuf {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let made = above.map(|dir| dir.join(".tools")).find(|dir| dir.join("polyglot/stubs-of").exists());
    made.expect("there is no .tools/polyglot/stubs-of: run `make stubs`").join(name)
}

/// What every language must have seen.
fn story() -> Value {
    let view = [json!("view"), json!(1), Value::Null, Value::Null];
    json!({
        "published": {
            "accepted": 2,
            "rejections": [{"index": 2, "event_id": "e3", "code": "REQUIRED", "field": "events[2].event_type"}],
        },
        "query": {
            "columns": [["user_id", "COLUMN_TYPE_STRING", ""], ["revenue", "COLUMN_TYPE_NUMBER", "EUR"],
                ["events", "COLUMN_TYPE_INTEGER", ""]],
            "rows": [["u1", 12.5, 1], ["u2", 7.25, 1]],
        },
        "streamed": [[1, 1], [2, 2]],
        "sql": {
            "columns": [["event_type", "COLUMN_TYPE_STRING", ""], ["events", "COLUMN_TYPE_INTEGER", ""],
                ["worth", "COLUMN_TYPE_NUMBER", ""], ["due", "COLUMN_TYPE_TIME", ""]],
            "rows": [["purchase", 3, 77.25, "2027-01-15T08:00:03Z"], view],
        },
        "metric": {
            "created": 1,
            "evaluated": 1,
            "result": {"columns": [["revenue_per_user", "COLUMN_TYPE_NUMBER", "EUR"]], "rows": [[50.25 / 3.0]]},
        },
        "refused": {
            "code": "INVALID_ARGUMENT",
            "reason": "INVALID_QUERY",
            "domain": "penstock",
            "violation": {
                "field": "query.measures[0].formula",
                "reason": "SYNTAX",
                "description": "line 1, column 5: found the end of the text, expected a field, a value or a function",
            },
        },
    })
}
