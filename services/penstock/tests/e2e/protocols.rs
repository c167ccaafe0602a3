//! One port, every protocol: health, reflection, grpc-web, CORS, and how what is not there is answered.

use std::time::{Duration, Instant};

use api::v1::{
    SqlQuery, SqlRequest, SqlResponse, SqlStreamRequest, SqlStreamResponse, SubscribeRequest,
    query_service_client::QueryServiceClient, result_part::Part, subscribe_request::Question,
};
use http::Method;
use prost::Message;
use serde_json::{Value, json};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::{
    every::{Contracts, answer_of},
    house::{House, PATIENCE},
    oracle::python,
    replay::number,
};

#[tokio::test]
async fn health_and_reflection_answer_without_a_key() {
    let house = House::start().await;
    let mut health = HealthClient::new(house.channel().await);
    for service in [
        "",
        "penstock.v1.IngestService",
        "penstock.v1.QueryService",
        "penstock.v1.MetricsService",
        "penstock.v1.DashboardService",
        "penstock.v1.AdminService",
    ] {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let unknown = health.check(HealthCheckRequest { service: "nothing".to_owned() }).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);

    let asked = |request| ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let requests = [
        asked(MessageRequest::ListServices(String::new())),
        asked(MessageRequest::FileContainingSymbol("penstock.v1.QueryService".to_owned())),
    ];
    let mut client = ServerReflectionClient::new(house.channel().await);
    let mut answers = client.server_reflection_info(futures::stream::iter(requests)).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) = answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list of services");
    };
    let names: Vec<_> = list.service.iter().map(|s| s.name.as_str()).collect();
    assert!(names.contains(&"penstock.v1.AdminService") && names.contains(&"grpc.health.v1.Health"), "{names:?}");
    let Some(MessageResponse::FileDescriptorResponse(files)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no file of the symbol");
    };
    assert!(
        files
            .file_descriptor_proto
            .iter()
            .any(|file| String::from_utf8_lossy(file).contains("penstock/v1/query.proto"))
    );
}

#[tokio::test]
async fn the_openapi_document_says_what_the_json_api_answers() {
    let house = House::start().await;
    let key = house.demo_key();
    let url = |path: &str| format!("http://{}{path}", house.address);
    let document = house.http.get(url("/openapi.json")).send().await.unwrap();
    assert_eq!(
        (document.status().as_u16(), &document.headers()["content-type"]),
        (200, &"application/json".parse().unwrap())
    );
    let document: Value = document.json().await.unwrap();
    // Every unary method has a path; Publish has one of its own, for events as people write them.
    let paths = document["paths"].as_object().unwrap();
    let operations: Vec<_> = paths.values().flat_map(|item| item.as_object().unwrap().values()).collect();
    let told: Vec<_> = operations.iter().map(|operation| operation["operationId"].as_str().unwrap()).collect();
    for name in Contracts::new().names() {
        let (_, method) = name.split_once('/').unwrap();
        assert!(told.contains(&method) || method.starts_with("Publish"), "{name}");
    }

    let mut answers = Vec::new();
    for (method, path, body) in [
        (
            "post",
            "/v1/events",
            json!({"app_id": "xyz123", "event_type": "view", "user_id": "u1", "properties": {"n": 1}}),
        ),
        ("post", "/v1/events", json!({"app_id": "xyz123", "event_type": ""})),
        (
            "post",
            "/v1/sql",
            json!({"sql": "SELECT event_type, COUNT(*), MAX(timestamp) FROM events GROUP BY 1", "app_id": "xyz123"}),
        ),
        ("post", "/v1/sql", json!({"sql": "SELECT nothing FROM nowhere", "app_id": "xyz123"})),
        ("post", "/v1/explain", json!({"sql": {"sql": "SELECT COUNT(*) FROM events", "app_id": "xyz123"}})),
        ("get", "/v1/keys", Value::Null),
        ("get", "/v1/apps", Value::Null),
        ("get", "/v1/quota", Value::Null),
        ("get", "/v1/tenants", Value::Null),
        ("get", "/v1/reports", Value::Null),
    ] {
        let request = match method {
            "get" => house.http.get(url(path)),
            _ => house.http.post(url(path)).json(&body),
        };
        let answer = request.bearer_auth(&key).send().await.unwrap();
        let (status, body) = (answer.status().as_u16(), answer.json::<Value>().await.unwrap());
        answers.push(json!({"method": method, "path": path, "status": status, "body": body}));
    }
    let statuses: Vec<_> = answers.iter().map(|answer| answer["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 400, 200, 400, 200, 200, 200, 200, 403, 200], "{answers:?}");
    python::run("openapi.py", &[], &json!({"document": document, "answers": answers}).to_string());
}

/// A grpc-web call by hand: the messages of the answer, and its trailers.
async fn grpc_web(house: &House, key: &str, path: &str, message: Vec<u8>) -> (Vec<Vec<u8>>, String) {
    let frame = [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat();
    let request = house.http.post(format!("http://{}{path}", house.address)).body(frame);
    let request = request.header("content-type", "application/grpc-web+proto").header("x-grpc-web", "1");
    let answer = request.bearer_auth(key).header("origin", "https://dash.example").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/grpc-web+proto");
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    let exposed = answer.headers()["access-control-expose-headers"].to_str().unwrap().to_owned();
    assert!(["grpc-status", "grpc-message", "grpc-status-details-bin"].iter().all(|name| exposed.contains(name)));
    // An error without messages may stand in the headers alone.
    let in_headers = ["grpc-status", "grpc-message", "grpc-status-details-bin"]
        .iter()
        .filter_map(|name| Some(format!("{name}:{}\r\n", answer.headers().get(*name)?.to_str().unwrap())));
    let (mut trailers, mut messages): (String, _) = (in_headers.collect(), Vec::new());
    let body = answer.bytes().await.unwrap();
    let mut rest = &body[..];
    while let [flags, a, b, c, d, after @ ..] = rest {
        let (payload, next) = after.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
        match flags {
            0x80 => trailers += std::str::from_utf8(payload).unwrap(),
            0 => messages.push(payload.to_vec()),
            other => panic!("a frame with flags {other:#x}"),
        }
        rest = next;
    }
    assert!(rest.is_empty());
    (messages, trailers)
}

#[tokio::test]
async fn a_browser_speaks_grpc_web() {
    let house = House::start().await;
    let key = house.demo_key();
    let event = json!({"app_id": "xyz123", "event_type": "web", "properties": {"n": 7}});
    let (_, answer) = house.post(&key, "/v1/events", &event).await;
    house
        .sql(&key, "SELECT COUNT(*) FROM events WHERE app_id = 'xyz123'", answer["position_token"].as_str().unwrap())
        .await;

    let sql = "SELECT SUM(n) AS n FROM events WHERE app_id = 'xyz123'".to_owned();
    let request = SqlRequest { sql: sql.clone(), ..SqlRequest::default() };
    let (messages, trailers) = grpc_web(&house, &key, "/penstock.v1.QueryService/Sql", request.encode_to_vec()).await;
    assert!(trailers.contains("grpc-status:0"), "{trailers}");
    let result = SqlResponse::decode(&*messages[0]).unwrap().result.unwrap();
    assert_eq!((messages.len(), result.rows.len(), result.columns[0].name.as_str()), (1, 1, "n"));

    let request = SqlStreamRequest { sql, ..SqlStreamRequest::default() };
    let (messages, _) = grpc_web(&house, &key, "/penstock.v1.QueryService/SqlStream", request.encode_to_vec()).await;
    let last = SqlStreamResponse::decode(&**messages.last().unwrap()).unwrap().part.unwrap().part.unwrap();
    assert!(matches!(last, Part::End(_)) && messages.len() == 3);

    let request = SqlRequest { sql: "SELECT nothing FROM nowhere".to_owned(), ..SqlRequest::default() };
    let (messages, trailers) = grpc_web(&house, &key, "/penstock.v1.QueryService/Sql", request.encode_to_vec()).await;
    assert!(messages.is_empty() && trailers.contains("grpc-status:3"), "{trailers}");
    assert!(trailers.contains("grpc-message:") && trailers.contains("grpc-status-details-bin:"), "{trailers}");
    let (_, trailers) = grpc_web(&house, "no-key", "/penstock.v1.QueryService/Sql", request.encode_to_vec()).await;
    assert!(trailers.contains("grpc-status:16"), "{trailers}");

    // What a key is limited to holds here as anywhere.
    let request = SqlRequest {
        sql: "SELECT COUNT(*) FROM events".to_owned(),
        app_id: "xyz123".to_owned(),
        ..SqlRequest::default()
    };
    for (network, page, status) in [("127.0.0.0/8", "dash", 0), ("10.0.0.0/8", "dash", 7), ("127.0.0.0/8", "other", 7)]
    {
        let origin = format!("https://{page}.example");
        let wanted =
            json!({"permissions": ["PERMISSION_QUERY"], "allowed_cidrs": [network], "allowed_origins": [origin]});
        let (_, made) = house.post(&key, "/v1/keys", &wanted).await;
        let limited = made["secret"].as_str().unwrap();
        let (_, trailers) = grpc_web(&house, limited, "/penstock.v1.QueryService/Sql", request.encode_to_vec()).await;
        assert!(trailers.contains(&format!("grpc-status:{status}")), "{network} {page}: {trailers}");
    }
}

#[tokio::test]
async fn a_browser_may_ask_before_it_calls() {
    let house = House::start().await;
    for (path, header) in
        [("/v1/sql", "authorization,content-type"), ("/penstock.v1.QueryService/Sql", "x-grpc-web,x-api-key")]
    {
        let request = house.http.request(Method::OPTIONS, format!("http://{}{path}", house.address));
        let request = request.header("origin", "https://dash.example").header("access-control-request-method", "POST");
        let answer = request.header("access-control-request-headers", header).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
        let allowed = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(allowed("access-control-allow-origin"), "*");
        assert_eq!(allowed("access-control-allow-headers"), header);
        assert!(["*", "POST"].iter().any(|method| allowed("access-control-allow-methods").contains(method)));
        assert!(!answer.headers().contains_key("access-control-allow-credentials"), "calls carry no cookies");
    }
    let closed = House::start_with("[gateway]\nallowed_origins = [\"https://dash.example\"]\n").await;
    for (origin, allowed) in [("https://dash.example", true), ("https://evil.example", false)] {
        let request = closed.http.get(format!("http://{}/v1/apps", closed.address)).header("origin", origin);
        let answer = request.bearer_auth(closed.demo_key()).send().await.unwrap();
        assert_eq!(answer.headers().contains_key("access-control-allow-origin"), allowed, "{origin}");
    }
    // A tenant's own pages are asked about before its key comes.
    closed.tenant("acme", "shop", &["query"]).await;
    let body = json!({"tenant_id": "acme", "settings": {"allowed_origins": ["https://acme.example"]}});
    let set = closed.http.put(format!("http://{}/v1/settings", closed.address)).bearer_auth(closed.operator_key());
    assert_eq!(set.json(&body).send().await.unwrap().status(), 200);
    let may = async |origin: &str| {
        let asked = closed.http.request(Method::OPTIONS, format!("http://{}/v1/sql", closed.address));
        let asked = asked.header("origin", origin).header("access-control-request-method", "POST");
        asked.send().await.unwrap().headers().contains_key("access-control-allow-origin")
    };
    let started = Instant::now();
    while !may("https://acme.example").await {
        assert!(started.elapsed() < PATIENCE, "its pages may not call");
    }
    assert!(may("https://dash.example").await && !may("https://evil.example").await);
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_meant_so_is_said_plainly() {
    let house = House::start().await;
    let key = house.demo_key();
    let ask = async |method: Method, path: &str, content_type: &str| {
        let request = house.http.request(method, format!("http://{}{path}", house.address));
        let answer = request.bearer_auth(&key).header("content-type", content_type).body("").send().await.unwrap();
        let status = answer.status().as_u16();
        (
            status,
            answer.headers().get("grpc-status").map(|v| v.to_str().unwrap().to_owned()),
            answer_of(answer).await.code,
        )
    };
    let json = "application/json";
    for path in
        ["/", "/v1", "/v1/nothing", "/v2/sql", "/v1/sql/more", "/v1/sqlx", "/v1/apps/xyz123/metrics:nothing", "/v1/%00"]
    {
        assert_eq!(ask(Method::POST, path, json).await, (404, None, "NOT_FOUND".to_owned()), "{path}");
    }
    for (method, path) in [
        (Method::GET, "/v1/events"),
        (Method::GET, "/v1/sql"),
        (Method::PUT, "/v1/identify"),
        (Method::POST, "/v1/keys/x"),
    ] {
        let (status, _, code) = ask(method.clone(), path, json).await;
        assert!(matches!(status, 400 | 405), "{method} {path}: {status}");
        assert_eq!(code, "INVALID_ARGUMENT", "{method} {path}");
    }
    for (path, code) in
        [("/penstock.v1.QueryService/Nothing", "12"), ("/penstock.v1.Nothing/Sql", "5"), ("/nothing", "5")]
    {
        let (status, grpc, _) = ask(Method::POST, path, "application/grpc").await;
        assert_eq!((status, grpc.as_deref()), (200, Some(code)), "{path}");
    }
}

#[tokio::test]
async fn the_operators_port_counts() {
    let house = House::start().await;
    let key = house.demo_key();
    let event = json!({"app_id": "xyz123", "event_type": "count", "event_id": "same"});
    let (_, answer) =
        house.post(&key, "/v1/events", &json!([event, event, {"app_id": "xyz123", "event_type": ""}])).await;
    house
        .sql(&key, "SELECT COUNT(*) FROM events WHERE app_id = 'xyz123'", answer["position_token"].as_str().unwrap())
        .await;
    house.post("no-key", "/v1/sql", &json!({})).await;
    // By gRPC the outcome stands at the end of the answer; who leaves before has cancelled the call.
    let mut client = QueryServiceClient::new(house.keyed(&key).await);
    let sql = |sql: &str| SqlRequest { sql: sql.to_owned(), app_id: "xyz123".to_owned(), ..SqlRequest::default() };
    client.sql(sql("SELECT COUNT(*) FROM events")).await.unwrap();
    client.sql(sql("SELECT nothing FROM events")).await.unwrap_err();
    let question = SqlQuery { sql: "SELECT COUNT(*) FROM events".to_owned(), app_id: "xyz123".to_owned() };
    let question = Some(Question::Sql(question));
    let live = client.subscribe(SubscribeRequest { question, ..SubscribeRequest::default() }).await;
    let mut live = live.unwrap().into_inner();
    live.message().await.unwrap().unwrap();
    drop((live, client));
    let metrics = async || {
        let url = format!("http://{}/metrics", house.ops_address);
        house.http.get(url).send().await.unwrap().text().await.unwrap()
    };
    let left = "penstock_calls_total{target=\"query\",code=\"CANCELLED\"} 1";
    while !metrics().await.lines().any(|line| line == left) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let find_query = |health: &Value| {
        let calls = health["processes"][0]["calls"].as_array()?;
        calls.iter().find(|calls| calls["service"] == "query").cloned()
    };
    // Operators without a Prometheus see it too, ten seconds later.
    let health = loop {
        let (status, health) = crate::erasure::get(&house, &house.operator_key(), "/v1/health").await;
        assert_eq!(status, 200, "{health}");
        if find_query(&health).is_some() {
            break health;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let of_query = find_query(&health).unwrap();
    assert_eq!((number(&of_query["calls"]), number(&of_query["failed"])), (5, 0), "{of_query}");
    let of = |field: &str| of_query[field].as_f64().unwrap();
    assert!(0.0 < of("p50_seconds") && of("p50_seconds") <= of("p99_seconds"), "{of_query}");
    let stored: u64 = health["partitions"].as_array().unwrap().iter().map(|one| number(&one["committed"])).sum();
    assert_eq!((stored, health["partitions"].as_array().unwrap().len()), (2, 4), "{health}");
    let text = metrics().await;
    for line in [
        "penstock_ingest_events_total{verdict=\"accepted\"} 2",
        "penstock_ingest_events_total{verdict=\"rejected\"} 1",
        "penstock_pipeline_events_total{outcome=\"stored\"} 1",
        "penstock_pipeline_events_total{outcome=\"duplicate\"} 1",
        "penstock_calls_total{target=\"ingest\",code=\"OK\"} 1",
        "penstock_calls_total{target=\"query\",code=\"OK\"} 2",
        "penstock_calls_total{target=\"query\",code=\"INVALID_ARGUMENT\"} 1",
        "penstock_tenant_calls_total{tenant=\"demo\",outcome=\"ok\"} 3",
        "penstock_tenant_calls_total{tenant=\"demo\",outcome=\"refused\"} 2",
        "penstock_tenant_events_total{tenant=\"demo\",verdict=\"accepted\"} 2",
        "penstock_tenant_events_total{tenant=\"demo\",verdict=\"rejected\"} 1",
        "penstock_query_waiting{class=\"interactive\"} 0",
        "penstock_query_running{class=\"interactive\"} 0",
        "penstock_calls_total{target=\"query\",code=\"UNAUTHENTICATED\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    for name in [
        "penstock_call_seconds",
        "penstock_query_seconds",
        "penstock_query_wait_seconds",
        "penstock_tenant_call_seconds",
        "penstock_tenant_query_seconds",
        "penstock_tenant_query_read_bytes_total",
        "penstock_tenant_event_bytes_total",
        "penstock_pipeline_delay_seconds",
        "penstock_pipeline_lag_records",
        "penstock_disk_free_bytes",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(text.contains(&format!("# TYPE {name}")), "{name} is not in\n{text}");
    }
}
