//! Keys through their lives: for which places they are made, when they were used, and how one comes in another's place.

use std::{process::Command, time::Instant};

use serde_json::{Value, json};

use crate::house::{House, PATIENCE};

/// Makes a key of the demo tenant that may query; returns it and its text.
async fn make(house: &House, more: Value) -> (Value, String) {
    let mut body = json!({"permissions": ["PERMISSION_QUERY"]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (status, answer) = house.post(&house.demo_key(), "/v1/keys", &body).await;
    assert_eq!(status, 200, "{answer}");
    (answer["key"].clone(), text(&answer["secret"]))
}

async fn rotate(house: &House, key: &Value, overlap: Value) -> (u16, Value) {
    let path = format!("/v1/keys/{}:rotate", text(&key["key_id"]));
    house.post(&house.demo_key(), &path, &json!({"overlap": overlap})).await
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// A question, with these headers besides: the status and the answer.
async fn ask(house: &House, key: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let request = house.http.post(format!("http://{}/v1/sql", house.address)).bearer_auth(key);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let question = json!({"sql": "SELECT COUNT(*) FROM events", "app_id": "xyz123"});
    let answer = request.json(&question).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn status(house: &House, key: &str) -> u16 {
    ask(house, key, &[]).await.0
}

/// The key as it is listed.
async fn listed(house: &House, key: &Value) -> Value {
    let url = format!("http://{}/v1/keys", house.address);
    let answer: Value = house.http.get(url).bearer_auth(house.demo_key()).send().await.unwrap().json().await.unwrap();
    answer["keys"].as_array().unwrap().iter().find(|listed| listed["key_id"] == key["key_id"]).unwrap().clone()
}

#[tokio::test]
async fn a_rotated_key_is_good_until_the_overlap_ends_and_the_new_one_is_its_like() {
    let mut house = House::start().await;
    let more = json!({
        "display_name": "backend", "environment": "KEY_ENVIRONMENT_TEST", "app_ids": ["xyz123"], "priority": "PRIORITY_SCHEDULED",
        "allowed_cidrs": ["127.0.0.0/8"], "allowed_origins": ["https://dash.example"], "expires_at": "2100-01-01T00:00:00Z",
    });
    let (first_key, first) = make(&house, more).await;
    assert!(first.starts_with("pnsk_test_") && house.demo_key().starts_with("pnsk_live_"));
    assert_eq!(status(&house, &first).await, 200);

    let (code, answer) = rotate(&house, &first_key, Value::Null).await;
    assert_eq!(code, 200, "{answer}");
    let (second_key, second) = (answer["key"].clone(), text(&answer["secret"]));
    let its_own = ["key_id", "created_at", "rotated_from", "last_used_at"];
    for (name, value) in first_key.as_object().unwrap().iter().filter(|(name, _)| !its_own.contains(&name.as_str())) {
        assert_eq!(&second_key[name], value, "{name}");
    }
    assert_eq!((&second_key["rotated_from"], &first_key["rotated_from"]), (&first_key["key_id"], &json!("")));
    assert!(second.starts_with("pnsk_test_") && second != first);
    assert_eq!((status(&house, &first).await, status(&house, &second).await), (200, 200));
    let old = listed(&house, &first_key).await;
    assert_eq!(old["expires_at"], answer["old_key"]["expires_at"]);
    let [made, ends]: [jiff::Timestamp; 2] =
        [&second_key["created_at"], &old["expires_at"]].map(|time| text(time).parse().unwrap());
    assert_eq!(ends.duration_since(made).as_hours(), 24);

    for (key, overlap, code) in [
        (&first_key, json!("60s"), 409),
        (&second_key, json!("-1s"), 400),
        (&second_key, json!("2592001s"), 400),
        (&json!({"key_id": "nobodys"}), json!("60s"), 404),
        (&second_key, json!("0s"), 200),
        (&second_key, json!("0s"), 400),
    ] {
        let (got, answer) = rotate(&house, key, overlap.clone()).await;
        assert_eq!(got, code, "{overlap}: {answer}");
    }
    // A second is how long a key is good from memory, on a busy machine more.
    let started = Instant::now();
    while status(&house, &second).await != 401 {
        assert!(started.elapsed() < PATIENCE, "the key is still good");
    }
    assert_eq!(status(&house, &first).await, 200, "the overlap of the first is a day");
    house.terminate();
    house.launch().await;
    assert_eq!((status(&house, &first).await, status(&house, &second).await), (200, 401));
}

#[tokio::test]
async fn a_key_of_a_network_is_refused_elsewhere_and_forged_headers_change_nothing() {
    let mut house = House::start().await;
    let (_, near) = make(&house, json!({"allowed_cidrs": ["192.0.2.0/24", "127.0.0.0/8"]})).await;
    let (_, far) = make(&house, json!({"allowed_cidrs": ["10.1.0.0/16", "2001:db8::/32"]})).await;
    assert_eq!(status(&house, &near).await, 200);
    let forged = [("x-forwarded-for", "10.1.1.1"), ("forwarded", "for=10.1.1.1"), ("x-real-ip", "10.1.1.1")];
    for headers in [&[][..], &forged] {
        let (status, answer) = ask(&house, &far, headers).await;
        assert_eq!((status, &answer["error"]["status"]), (403, &json!("PERMISSION_DENIED")), "{answer}");
        assert!(answer.to_string().contains("ADDRESS_NOT_ALLOWED") && !answer.to_string().contains("10.1"), "{answer}");
    }

    house.terminate();
    house.configure("[gateway]\ntrusted_hops = [\"127.0.0.0/8\", \"192.0.2.0/24\"]");
    house.launch().await;
    for (forwarded, code) in [
        (&["10.1.1.1"][..], 200),
        (&["2001:db8::1"], 200),
        (&["203.0.113.9, 10.1.1.1, 192.0.2.7"], 200),
        (&["203.0.113.9", "10.1.1.1"], 200),
        (&[], 403),
        (&["203.0.113.9"], 403),
        // What the caller wrote stands left of what the proxy saw.
        (&["10.1.1.1, 203.0.113.9"], 403),
        (&["10.1.1.1", "203.0.113.9"], 403),
        (&["10.1.1.1, unknown"], 403),
    ] {
        let headers: Vec<_> = forwarded.iter().map(|line| ("x-forwarded-for", *line)).collect();
        let (status, answer) = ask(&house, &far, &headers).await;
        assert_eq!(status, code, "{forwarded:?}: {answer}");
    }
}

#[tokio::test]
async fn a_key_of_some_pages_is_refused_to_others() {
    let house = House::start().await;
    let (_, key) = make(&house, json!({"allowed_origins": ["https://dash.example", "http://localhost:8080"]})).await;
    let (_, open) = make(&house, json!({})).await;
    for (key, origins, code) in [
        (&key, &["https://dash.example"][..], 200),
        (&key, &["http://localhost:8080"], 200),
        (&key, &[], 200),
        (&key, &["http://dash.example"], 403),
        (&key, &["https://dash.example:8443"], 403),
        (&key, &["https://dash.example.evil.example"], 403),
        (&key, &["https://DASH.example"], 403),
        (&key, &["null"], 403),
        (&key, &["https://dash.example", "https://evil.example"], 403),
        (&open, &["https://evil.example"], 200),
    ] {
        let headers: Vec<_> = origins.iter().map(|origin| ("origin", *origin)).collect();
        let (status, answer) = ask(&house, key, &headers).await;
        assert_eq!(status, code, "{origins:?}: {answer}");
        if code == 403 {
            assert!(answer.to_string().contains("ORIGIN_NOT_ALLOWED") && !answer.to_string().contains("localhost"));
        }
    }
    for (field, value) in [
        ("allowed_cidrs", json!(["10.0.0.1/8"])),
        ("allowed_cidrs", json!(["10.0.0.0/8", "::1", "nowhere"])),
        ("allowed_cidrs", json!(vec!["10.0.0.0/8"; 33])),
        ("allowed_origins", json!(["https://dash.example/"])),
        ("allowed_origins", json!(["*"])),
        ("environment", json!(7)),
    ] {
        let body = json!({"permissions": ["PERMISSION_QUERY"], field: value});
        let (status, answer) = house.post(&house.demo_key(), "/v1/keys", &body).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer.to_string().contains(&format!("\"{field}")), "{field}: {answer}");
    }
}

#[tokio::test]
async fn when_a_key_was_last_used_is_known_soon_and_after_a_restart() {
    let mut house = House::start_with("[gateway]\nkey_uses_seconds = 1").await;
    let ((used, key), (refused, elsewhere), (idle, _)) = (
        make(&house, json!({})).await,
        make(&house, json!({"allowed_cidrs": ["10.1.0.0/16"]})).await,
        make(&house, json!({})).await,
    );
    let before = jiff::Timestamp::now();
    assert_eq!((status(&house, &key).await, status(&house, &elsewhere).await), (200, 403));
    let last_use = async |house: &House| Some(listed(house, &used).await["last_used_at"].as_str()?.to_owned());
    let started = Instant::now();
    let first = loop {
        match last_use(&house).await {
            Some(time) => break time,
            None => assert!(started.elapsed() < PATIENCE, "the use was not noted"),
        }
    };
    let at: jiff::Timestamp = first.parse().unwrap();
    assert!((before.as_millisecond()..=jiff::Timestamp::now().as_millisecond()).contains(&at.as_millisecond()));
    // What was used last is written down at the end.
    house.terminate();
    house.configure("[gateway]\nkey_uses_seconds = 3600");
    house.launch().await;
    assert_eq!(last_use(&house).await, Some(first.clone()));
    assert_eq!(status(&house, &key).await, 200);
    house.terminate();
    house.launch().await;
    assert!(last_use(&house).await.unwrap() > first);
    for key in [&refused, &idle] {
        assert!(listed(&house, key).await["last_used_at"].is_null());
    }
}

#[tokio::test]
async fn made_up_keys_are_refused_with_a_time_and_known_ones_never() {
    let house = House::start_with("[gateway]\naddress_unknown_keys_per_second = 1").await;
    let (_, good) = make(&house, json!({})).await;
    assert_eq!(status(&house, &good).await, 200);
    let mut told = [0; 2];
    for number in 0..200 {
        let key = model::KeyText::from_random(model::Environment::Live, [number; 12], [1; 32]);
        let request = house.http.post(format!("http://{}/v1/sql", house.address)).bearer_auth(key.as_str());
        let answer = request.json(&json!({"sql": "SELECT 1"})).send().await.unwrap();
        match answer.status().as_u16() {
            401 => told[0] += 1,
            429 => {
                assert!(answer.headers().contains_key("retry-after"));
                told[1] += 1;
            }
            other => panic!("a made up key is answered with {other}"),
        }
        assert_eq!(status(&house, &good).await, 200);
    }
    assert!(told[0] >= 10 && told[1] > 0, "{told:?}");
}

#[tokio::test]
async fn keys_are_managed_from_a_terminal() {
    let house = House::start().await;
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
        let server = format!("http://{}", house.address);
        command.arg("key").args(["--server", &server, "--key", &house.demo_key()]).args(arguments);
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap().trim().to_owned())
    };
    let made = run(&["create", "--can", "query,export", "--test", "--cidr", "127.0.0.1,::1", "--name", "backend"]);
    let first = model::KeyText::parse(&made.1).unwrap();
    let (_, slow) = run(&["--json", "create", "--can", "query", "--priority", "scheduled"]);
    assert!(slow.contains("PRIORITY_SCHEDULED"), "{slow}");
    let (taken, said) = run(&["create", "--can", "query", "--priority", "soon"]);
    assert!(!taken && said.contains("interactive, scheduled or background"), "{said}");
    let (rotated, second) = run(&["rotate", first.id(), "--overlap-hours", "1"]);
    let second = model::KeyText::parse(&second).unwrap();
    assert!(rotated && second.as_str().starts_with("pnsk_test_"));
    assert_eq!((status(&house, first.as_str()).await, status(&house, second.as_str()).await), (200, 200));
    let (again, said) = run(&["rotate", first.id()]);
    assert!(!again && said.contains("ALREADY_EXISTS"), "{said}");
    let (_, list) = run(&["list"]);
    let line = |key: &model::KeyText| list.lines().find(|line| line.starts_with(key.id())).unwrap().to_owned();
    let cells = |key: &model::KeyText| {
        line(key).split("  ").map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect::<Vec<_>>()
    };
    assert!(cells(&first)[3].starts_with("good until 2"), "{list}");
    assert_eq!(cells(&second)[1..4], ["query,export", "all apps", "good"], "{list}");
}
