//! Attacks on the public port while a tenant that does nothing wrong goes on: each is cut or refused, and the neighbour is answered.

use std::{
    io::Write,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures::future::join_all;
use http::HeaderMap;
use http_body_util::{BodyExt, Full};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::body::Body;
use tower::{Service, ServiceExt};

use crate::{
    every::answer_of,
    house::{House, PATIENCE},
    trace::Collector,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PUBLISH: &str = "/penstock.v1.IngestService/Publish";

struct Stand {
    house: House,
    attacker: String,
    neighbour: String,
}

impl Stand {
    async fn new() -> Self {
        Self::with("").await
    }

    /// With more settings of the server.
    async fn with(server: &str) -> Self {
        let mut house = House::start_with(&format!("[server]\nheader_read_seconds = 2\n{server}")).await;
        // A new connection for each call: who can't connect any more must be seen.
        house.http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        let attacker = house.tenant("red", "shop", &["ingest", "query"]).await;
        let neighbour = house.tenant("blue", "shop", &["ingest", "query"]).await;
        Self { house, attacker, neighbour }
    }

    /// One call of each kind by the neighbour.
    async fn neighbour_calls(&self, what: &str) {
        let event = json!([{"event_type": "e", "user_id": "u"}]);
        let question = json!({"sql": "SELECT COUNT(*) FROM events", "app_id": "shop"});
        for (path, body) in [("/v1/events", event), ("/v1/sql", question)] {
            let call = timeout(PATIENCE, self.house.post(&self.neighbour, path, &body)).await;
            let (status, answer) = call.unwrap_or_else(|_| panic!("{what}: the neighbour waits at {path}"));
            assert_eq!(status, 200, "{what}, {path}: {answer}");
        }
    }

    /// Attacks; meanwhile, and while what the attack leaves is held, the neighbour goes on.
    async fn beside<T>(&self, what: &str, attack: impl Future<Output = T>) -> T {
        let over = AtomicBool::new(false);
        let attack = async {
            let left = attack.await;
            over.store(true, Ordering::Relaxed);
            left
        };
        let calls = async {
            while !over.load(Ordering::Relaxed) {
                self.neighbour_calls(what).await;
            }
            self.neighbour_calls(what).await;
        };
        tokio::join!(attack, calls).0
    }

    /// Connections that each send these bytes.
    async fn connections(&self, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
        let mut all = Vec::new();
        for _ in 0..count {
            let mut socket = TcpStream::connect(&self.house.address).await.unwrap();
            socket.write_all(bytes).await.unwrap();
            all.push(socket);
        }
        all
    }

    /// What comes back on a connection that sends these bytes and stays open, until the server closes it.
    async fn until_closed(&self, what: &str, bytes: Vec<u8>) -> Vec<u8> {
        let (mut read, mut write) = TcpStream::connect(&self.house.address).await.unwrap().into_split();
        let sending = tokio::spawn(async move {
            let _ = write.write_all(&bytes).await; // it may be closed amid them
            write
        });
        let answer = closed(&mut read).await.unwrap_or_else(|| panic!("{what}: the connection stays open"));
        sending.abort();
        answer
    }

    /// The status of an answer to a request by HTTP/1.1, written as it stands here.
    async fn status(&self, what: &str, request: &str) -> Option<u16> {
        let answer = self.until_closed(what, request.as_bytes().to_vec()).await;
        String::from_utf8_lossy(&answer).strip_prefix("HTTP/1.1 ").map(|rest| rest[..3].parse().unwrap())
    }
}

/// What comes until the other side closes; none if it doesn't.
async fn closed(socket: &mut (impl AsyncReadExt + Unpin)) -> Option<Vec<u8>> {
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, socket.read_to_end(&mut answer)).await.ok()?; // cut off counts as closed
    Some(answer)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = &(payload.len() as u32).to_be_bytes()[1..];
    [length, &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header as a literal that isn't indexed.
fn header(name: &str, value: &str) -> Vec<u8> {
    [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_frames_end_their_own_connection_and_nobody_else_s() {
    const HEADERS: u8 = 1;
    const RESET: u8 = 3;
    const CONTINUATION: u8 = 9;
    let stand = Stand::new().await;
    let head: Vec<u8> = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", PUBLISH),
        (":authority", "x"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("x-api-key", &stand.attacker),
    ]
    .iter()
    .flat_map(|(name, value)| header(name, value))
    .collect();
    let opened = [PREFACE, &frame(4, 0, 0, &[])].concat();
    let resets = (1..)
        .step_by(2)
        .take(5_000)
        .flat_map(|stream| [frame(HEADERS, 4, stream, &head), frame(RESET, 0, stream, &8u32.to_be_bytes())].concat());
    let large = header("x", &"y".repeat(100));
    let piece = |bytes: &[u8]| frame(CONTINUATION, 0, 1, bytes).repeat(5_000);
    for (what, flood) in [
        ("rapid reset", resets.collect()),
        ("headers that go on", [frame(HEADERS, 0, 1, &head), piece(&large)].concat()),
        ("headers that go on with nothing", [frame(HEADERS, 0, 1, &head), piece(&[])].concat()),
    ] {
        let floods = (0..8).map(|_| stand.until_closed(what, [&opened[..], &flood].concat()));
        stand.beside(what, join_all(floods)).await;
    }
}

/// However often: what it sends of its events after a refusal is no attack.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_before_its_events_have_come_keeps_its_connection() {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const GO_AWAY: u8 = 7;
    const END_STREAM: u8 = 1;
    let house = House::start().await;
    let head = [(":method", "POST"), (":scheme", "http"), (":path", PUBLISH), (":authority", "x")];
    let kind = [("content-type", "application/grpc"), ("te", "trailers")]; // and no key
    let head: Vec<u8> = head.iter().chain(&kind).flat_map(|(name, value)| header(name, value)).collect();
    let mut socket = TcpStream::connect(&house.address).await.unwrap();
    socket.write_all(&[PREFACE, &frame(4, 0, 0, &[])].concat()).await.unwrap();
    let mut streams = (1..).step_by(2);
    for _ in 0..20 {
        let opened: Vec<u32> = streams.by_ref().take(100).collect();
        let send = async |socket: &mut TcpStream, frame: &dyn Fn(u32) -> Vec<u8>| {
            let frames: Vec<_> = opened.iter().flat_map(|&stream| frame(stream)).collect();
            socket.write_all(&frames).await.unwrap();
        };
        send(&mut socket, &|stream| frame(HEADERS, 4, stream, &head)).await;
        let mut refused = 0;
        while refused < opened.len() {
            let (kind, flags) = timeout(PATIENCE, next_frame(&mut socket)).await.unwrap().unwrap();
            assert_ne!(kind, GO_AWAY, "after {} refusals", opened[0] / 2 + refused as u32);
            refused += usize::from(kind == HEADERS && flags & END_STREAM != 0);
        }
        send(&mut socket, &|stream| frame(DATA, END_STREAM, stream, b"events")).await;
    }
}

/// The kind and the flags of the next frame.
async fn next_frame(socket: &mut TcpStream) -> std::io::Result<(u8, u8)> {
    let mut head = [0; 9];
    socket.read_exact(&mut head).await?;
    let [a, b, c, kind, flags, ..] = head;
    socket.read_exact(&mut vec![0; u32::from_be_bytes([0, a, b, c]) as usize]).await?;
    Ok((kind, flags))
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_or_too_slowly_take_no_room_for_long() {
    // A shell's bound may be 1,024; the program raises its own.
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).unwrap();
    let stand = Stand::with("idle_seconds = 2\n").await;
    let silent = stand.beside("5,000 idle connections", stand.connections(5_000, b"")).await;
    stand.neighbour_calls("5,000 idle connections").await;
    let post = format!("POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n", stand.attacker);
    let heads = stand.beside("slow heads", stand.connections(200, post.as_bytes())).await;
    let prefaces = stand.beside("half a preface", stand.connections(200, &PREFACE[..20])).await;
    let idle = [PREFACE, &frame(4, 0, 0, &[])].concat();
    let idle = stand.beside("HTTP/2 without a call", stand.connections(200, &idle)).await;
    let all = silent.into_iter().chain(heads).chain(prefaces).chain(idle);
    let ends = join_all(all.map(|mut socket| async move { closed(&mut socket).await }));
    assert!(stand.beside("waiting for their ends", ends).await.iter().all(Option::is_some), "some stay open");

    let body = format!("{post}content-type: application/json\r\ncontent-length: 1000\r\n\r\n[");
    let mut bodies = stand.beside("slow bodies", stand.connections(200, body.as_bytes())).await;
    for byte in 0..5 {
        let more = async {
            for socket in &mut bodies {
                let _ = socket.write_all(b" ").await; // one that was refused may be closed
            }
            tokio::time::sleep(Duration::from_millis(100)).await; // the attacker's pace
        };
        stand.beside(&format!("slow bodies, byte {byte}"), more).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies_leave_places_to_others() {
    let stand = Stand::with("[gateway]\nmax_calls = 40\n").await;
    let post = format!("POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n", stand.attacker);
    let body = format!("{post}content-type: application/json\r\ncontent-length: 1000\r\n\r\n[");
    let bodies = stand.beside("slow bodies", stand.connections(200, body.as_bytes())).await;
    let question = json!({"sql": "SELECT COUNT(*) FROM events", "app_id": "shop"});
    let started = Instant::now();
    let refusal = loop {
        let (status, answer) = stand.house.post(&stand.attacker, "/v1/sql", &question).await;
        if status == 429 {
            break answer.to_string();
        }
        assert!(started.elapsed() < PATIENCE, "they take no places: {status}, {answer}");
    };
    assert!(refusal.contains("of your calls are under way") && refusal.contains("RetryInfo"), "{refusal}");
    stand.neighbour_calls("while slow bodies have their places").await;
    drop(bodies);
    let started = Instant::now();
    while stand.house.post(&stand.attacker, "/v1/sql", &question).await.0 != 200 {
        assert!(started.elapsed() < PATIENCE, "the places never come free");
    }
}

/// The HTTP status of a call with this body, and what it says of itself as gRPC.
async fn grpc(house: &House, key: &str, kind: &str, encoding: &str, body: Vec<u8>) -> (u16, Option<String>) {
    let request = http::Request::post(format!("http://{}{PUBLISH}", house.address))
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", kind)
        .header("grpc-encoding", encoding)
        .header("te", "trailers");
    let request = request.body(Body::new(Full::new(Bytes::from(body)).map_err(|never| match never {}))).unwrap();
    let mut channel = house.channel().await;
    let (head, body) = channel.ready().await.unwrap().call(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap();
    let of = |headers: &HeaderMap| headers.get("grpc-status").map(|status| status.to_str().unwrap().to_owned());
    let trailers = body.trailers().and_then(of);
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    // grpc-web has its trailers in the body.
    let told = body.split_once("grpc-status:").map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect());
    (head.status.as_u16(), of(&head.headers).or(trailers).or(told))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_swells_or_is_no_message_is_refused_beside_who_goes_on() {
    let stand = Stand::new().await;
    let Stand { house, attacker, .. } = &stand;
    let spaces = vec![b' '; 16 << 20];
    for (encoding, part) in [("gzip", gzip(&spaces)), ("zstd", zstd::encode_all(&spaces[..], 3).unwrap())] {
        let bombs = (0..4).map(|_| async {
            let request = house.http.post(format!("http://{}/v1/events", house.address)).bearer_auth(attacker);
            let request = request.header("content-type", "application/json").header("content-encoding", encoding);
            answer_of(request.body(part.repeat(64)).send().await.unwrap()).await
        });
        for answer in stand.beside(encoding, join_all(bombs)).await {
            assert!(
                answer.code == "INVALID_ARGUMENT" && answer.text.contains("4194304"),
                "{encoding}: {}",
                answer.text
            );
        }
    }

    for (encoding, part) in [("gzip", gzip(&spaces)), ("zstd", zstd::encode_all(&spaces[..], 3).unwrap())] {
        let message = part.repeat(64);
        let frame = [&[1][..], &(message.len() as u32).to_be_bytes(), &message].concat();
        for kind in ["application/grpc", "application/grpc-web+proto"] {
            let bombs = (0..4).map(|_| grpc(house, attacker, kind, encoding, frame.clone()));
            for (status, said) in stand.beside(encoding, join_all(bombs)).await {
                let status = (status == 200).then_some(said).flatten();
                assert!(
                    status.as_deref().is_some_and(|status| ["3", "8", "11"].contains(&status)),
                    "{kind}, {encoding}: {status:?}"
                );
            }
        }
    }

    let web = "application/grpc-web+proto";
    let text = "application/grpc-web-text";
    for (what, kind, body) in [
        ("a frame longer than what comes", web, b"\0\0\0\0\xffabc".to_vec()),
        ("a frame of 4 GiB", web, b"\0\xff\xff\xff\xffabc".to_vec()),
        ("half a frame's head", web, b"\0\0\0".to_vec()),
        ("flags that are none", web, b"\x7f\0\0\0\x01a".to_vec()),
        ("trailers in place of a message", web, b"\x80\0\0\0\x0fgrpc-status:0\r\n".to_vec()),
        ("compressed and not said how", web, b"\x01\0\0\0\x01a".to_vec()),
        ("no protobuf", web, b"\0\0\0\0\x03\xff\xff\xff".to_vec()),
        ("no base64", text, b"!!!!".to_vec()),
        ("half of base64", text, b"AAAAA".to_vec()),
    ] {
        let (status, said) = stand.beside(what, grpc(house, attacker, kind, "identity", body)).await;
        assert!(said.as_deref() != Some("0") && status < 500, "{what}: {status} {said:?}");
    }

    for bytes in [40_000, 1 << 20] {
        let mut channel = house.channel().await;
        let request = http::Request::get(format!("http://{}/v1/describe", house.address));
        let request =
            request.header("authorization", format!("Bearer {attacker}")).header("x-large", "y".repeat(bytes));
        let request = request.body(Body::empty()).unwrap();
        let call = async { channel.ready().await.unwrap().call(request).await };
        if let Ok(answer) = stand.beside("huge headers by HTTP/2", call).await {
            assert_eq!(answer.status(), 431, "{bytes}");
        }
        let request = house.http.get(format!("http://{}/v1/describe", house.address)).bearer_auth(attacker);
        let call = request.header("x-large", "y".repeat(bytes)).send();
        if let Ok(answer) = stand.beside("huge headers", call).await {
            assert!(bytes == 40_000 || answer.status() == 431, "{bytes}: {}", answer.status());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_way_of_writing_a_path_or_a_header_reaches_what_the_key_may_not() {
    let stand = Stand::new().await;
    let (house, key) = (&stand.house, &stand.attacker);
    let get = |path: &str, key: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n")
    };
    assert_eq!(stand.status("who may", &get("/v1/keys", &house.demo_key())).await, Some(200));
    for path in [
        "/v1/keys",
        "//v1/keys",
        "/v1//keys",
        "/v1/./keys",
        "/v1/sql/../keys",
        "/v1/sql/%2e%2e/keys",
        "/v1/sql/..%2fkeys",
        "/v1%2fkeys",
        "/v1/%6beys",
        "/v1/keys/",
        "/v1/keys;a=b",
        "/v1/keys?",
        "/V1/KEYS",
        "/v1/keys%00",
        "\\v1\\keys",
        "http://x/v1/keys",
        "http://127.0.0.1/v1/describe/../keys",
        "/penstock.v1.QueryService/../penstock.v1.AdminService/ListKeys",
    ] {
        let status = stand.beside(path, stand.status(path, &get(path, key))).await;
        assert!(status.is_some_and(|status| (400..500).contains(&status)), "{path}: {status:?}");
    }

    // Below the console there is the console alone: its page, or no such file.
    let page = |answer: &[u8]| {
        let text = String::from_utf8_lossy(answer).into_owned();
        text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}")).1.to_owned()
    };
    let console = page(&stand.until_closed("the console", get("/console/", key).into_bytes()).await);
    for path in ["/console/../v1/keys", "/console/%2e%2e/%2e%2e/demo.key", "/console/../../../etc/passwd"] {
        let answer = stand.beside(path, stand.until_closed(path, get(path, &house.demo_key()).into_bytes())).await;
        let answer = page(&answer);
        assert!(answer == console || answer == "no such file", "{path}: {answer}");
    }

    let body = r#"{"sql": "SELECT COUNT(*) FROM events", "app_id": "shop"}"#;
    let length = body.len();
    let post =
        |headers: &str| format!("POST /v1/sql HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n\r\n{body}");
    let bearer = format!("authorization: Bearer {key}");
    let sound = format!("{bearer}\r\ncontent-length: {length}");
    assert_eq!(stand.status("sound", &post(&sound)).await, Some(200));
    for (what, headers) in [
        ("two lengths", format!("{sound}\r\ncontent-length: 0")),
        ("a list of lengths", format!("{bearer}\r\ncontent-length: {length}, 0")),
        ("a signed length", format!("{bearer}\r\ncontent-length: +{length}")),
        ("chunks that are none", format!("{bearer}\r\ntransfer-encoding: xchunked")),
        ("chunked, and then not", format!("{bearer}\r\ntransfer-encoding: chunked, identity")),
        ("a space before the colon", format!("{sound}\r\nx-a : b")),
        ("a zero byte", format!("{sound}\r\nx-a: b\0c")),
        ("two keys", format!("{sound}\r\nauthorization: Bearer {}", stand.neighbour)),
        ("two keys, under two names", format!("{sound}\r\nx-api-key: {}", stand.neighbour)),
        ("a key for gRPC's metadata", format!("content-length: {length}\r\ngrpc-metadata-{bearer}")),
    ] {
        let status = stand.beside(what, stand.status(what, &post(&headers))).await;
        assert!(status.is_some_and(|status| (400..500).contains(&status)), "{what}: {status:?}");
    }
    let listing =
        format!("{sound}\r\nx-http-method-override: GET\r\nx-original-url: /v1/keys\r\nx-rewrite-url: /v1/keys");
    assert_eq!(stand.status("another path by a header", &post(&listing)).await, Some(200), "the question's own answer");
}

/// Everything that the house wrote, said and counts, after calls that went well and others that did not.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_stands_in_what_the_house_writes_says_or_counts() {
    let collector = Collector::start().await;
    let stand = Stand::with(&collector.configuration(1.0)).await;
    let (house, key) = (&stand.house, &stand.attacker);
    stand.neighbour_calls("as usual").await;
    let wrong = format!("{}{}", &key[..key.len() - 4], "AAAA");
    let mut said = String::new();
    for key in [key, &wrong] {
        for (path, body) in [
            ("/v1/sql", json!({"sql": "SELECT nothing FROM", "app_id": "shop"})),
            ("/v1/keys", json!({})),
            ("/v1/events", json!([{"event_type": 1}])),
            ("/v1/nothing", Value::Null),
        ] {
            said += &house.post(key, path, &body).await.1.to_string();
        }
    }
    let metrics = house.http.get(format!("http://{}/metrics", house.ops_address)).send().await.unwrap();
    said += &metrics.text().await.unwrap();
    let started = Instant::now();
    // Those of the wrong key came last.
    while collector.spans().iter().filter(|span| span.said.contains("UNAUTHENTICATED")).count() < 3 {
        assert!(
            started.elapsed() < PATIENCE,
            "{} spans, and those of the last calls don't come",
            collector.spans().len()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    said += &format!("{:?}", collector.spans());
    let log = house.log();
    assert!(log.len() > 100 && said.contains("penstock_"), "there is something to look at");
    said += &log;
    for key in [key.clone(), wrong, stand.neighbour.clone(), house.operator_key(), house.demo_key()] {
        let secret = key.rsplit('_').next().unwrap();
        let secret = &secret[secret.len() - 20..];
        assert!(!said.contains(secret), "a secret was written");
        // Where the program hands the first keys out, and nowhere else.
        let found = Command::new("grep").args(["-rlaF", "-e", secret]).arg(house.data()).output().unwrap();
        let found = String::from_utf8(found.stdout).unwrap();
        assert!(found.lines().all(|file| file.ends_with(".key")), "a secret stands in {found}");
    }
}
