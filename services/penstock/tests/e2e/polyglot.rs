//! One story told by plain generated stubs in Go, Python and TypeScript (`deploy/test/polyglot`): the contracts alone are enough.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
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

/// The story as told in a language to whoever listens at `address`, in an app without events.
async fn told(language: &str, address: &str, key: &str, app: &str) -> Value {
    let mut command = tokio::process::Command::from(program(language));
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
