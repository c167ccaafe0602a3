//! The README's commands, run as printed: whoever types them sees what it says.

use std::{
    path::Path,
    process::{Output, Stdio},
};

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::house::{House, PATIENCE, rows};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");

#[tokio::test]
async fn the_first_event_and_the_first_answers_are_as_printed() {
    let house = House::start().await;
    // The README doesn't wait for its event; with one there already, no answer is empty.
    let event = json!({"app_id": "xyz123", "event_type": "purchase", "event_id": "first", "user_id": "u0",
        "properties": {"purchase_amount": 12.5, "status": "completed"}});
    let (_, answer) = house.post(&house.demo_key(), "/v1/events", &event).await;
    let token = answer["position_token"].as_str().unwrap();
    house.sql(&house.demo_key(), "SELECT COUNT(*) FROM events WHERE app_id = 'xyz123'", token).await;

    let text = std::fs::read_to_string(README).unwrap();
    let commands = commands(section(&text, "## A first event, a first answer"));
    assert!(commands.contains("buf curl --http2-prior-knowledge"), "the README no longer shows a gRPC client");
    let output = run(&on(&house, &commands)).await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{errors}", String::from_utf8_lossy(&output.stdout));

    let answers: Vec<Value> =
        serde_json::Deserializer::from_slice(&output.stdout).into_iter().collect::<Result<_, _>>().unwrap();
    let [published, sql, grpc, defined, evaluated] = &answers[..] else { panic!("five answers, not {answers:?}") };
    assert_eq!((&published["accepted"], &published["rejections"]), (&json!(1), &json!([])));
    assert_eq!(rows(&sql["result"])[0][0], "purchase", "{sql}");
    assert_eq!(rows(&grpc["result"])[0][0], "purchase", "{grpc}");
    assert_eq!(defined["metric"]["version"], 1, "{defined}");
    assert_eq!(rows(&evaluated["result"])[0][1], 12.5, "{evaluated}"); // one event a user
}

/// The commands as they are for this house: its address and its directory in place of the README's, nothing else.
fn on(house: &House, commands: &str) -> String {
    let here = commands.replace("http://127.0.0.1:7070", &format!("http://{}", house.address));
    here.replace(".penstock/", &format!("{}/", house.data().display()))
}

/// What stands under a heading, up to the next one.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let (_, after) = text.split_once(heading).unwrap_or_else(|| panic!("the README has no {heading:?}"));
    after.split("\n## ").next().unwrap()
}

/// All its shell blocks, one after another.
fn commands(section: &str) -> String {
    section.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap()).collect()
}

async fn run(script: &str) -> Output {
    let mut bash = tokio::process::Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", script]).current_dir(Path::new(README).parent().unwrap());
    // Under `make test` the inner make would say which directory it enters.
    bash.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").env_remove("MFLAGS");
    let output = bash.stdin(Stdio::null()).kill_on_drop(true).output();
    timeout(PATIENCE, output).await.expect("the commands end").unwrap()
}
