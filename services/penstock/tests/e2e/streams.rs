//! Answers of any length; and callers who stop listening, by deadline or by hanging up, whose query then ends.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use api::v1::{
    PublishRequest, SqlRequest, SqlStreamRequest, SqlStreamResponse, ingest_service_client::IngestServiceClient,
    query_service_client::QueryServiceClient, result_part::Part, value::Kind,
};
use serde_json::{Value, json};
use tonic::{Code, Request, Streaming};
use tonic_types::StatusExt;

use crate::{
    clients::{Keyed, event},
    every::answer_of,
    house::{House, PATIENCE},
};

pub const ROWS: usize = 60_000;
const ALL: &str = "SELECT event_id, n FROM events WHERE app_id = 'xyz123'";

/// A house with so many events that an answer comes in many parts.
async fn filled() -> House {
    let house = House::start().await;
    fill(&house).await;
    house
}

/// As many events.
pub async fn fill(house: &House) {
    let mut client = IngestServiceClient::new(house.keyed(&house.demo_key()).await);
    let mut token = String::new();
    for batch in 0..ROWS / 10_000 {
        let of = |i: usize| {
            event(
                "row",
                &format!("id-{batch}-{i}"),
                "u",
                &[("n", Kind::Integer(i as i64)), ("pad", Kind::String("x".repeat(40)))],
            )
        };
        let batch =
            PublishRequest { app_id: "xyz123".to_owned(), events: (0..10_000).map(of).collect(), ..Default::default() };
        token = client.publish(batch).await.unwrap().into_inner().acknowledgement.unwrap().position_token;
    }
    let rows = house
        .sql(&house.demo_key(), "SELECT COUNT(*) FROM events WHERE event_type = 'row' AND app_id = 'xyz123'", &token)
        .await;
    assert_eq!(rows, [[json!(ROWS)]]);
}

pub async fn client(house: &House) -> QueryServiceClient<Keyed> {
    QueryServiceClient::new(house.keyed(&house.demo_key()).await).max_decoding_message_size(64 << 20)
}

pub fn stream_of(sql: &str) -> Request<SqlStreamRequest> {
    Request::new(SqlStreamRequest { sql: sql.to_owned(), ..SqlStreamRequest::default() })
}

#[tokio::test]
async fn a_stream_has_every_row_and_says_that_it_is_whole() {
    let house = filled().await;
    let mut parts = client(&house).await.sql_stream(stream_of(ALL)).await.unwrap().into_inner();
    let (mut ids, mut ended, mut number) = (HashSet::new(), false, 0);
    while let Some(message) = parts.message().await.unwrap() {
        assert!(!ended, "nothing follows the end");
        match message.part.unwrap().part.unwrap() {
            Part::Header(header) => {
                let names: Vec<_> = header.columns.iter().map(|c| c.name.as_str()).collect();
                assert_eq!((number, names, header.rows.len()), (0, vec!["event_id", "n"], 0));
                assert!(header.info.unwrap().watermark.is_some());
            }
            Part::Rows(batch) => {
                assert!((1..=10_000).contains(&batch.rows.len()));
                ids.extend(batch.rows.into_iter().map(|row| format!("{:?}", row.values[0])));
            }
            Part::End(info) => {
                assert!(info.cost.unwrap().elapsed_us > 0 && !info.truncated);
                ended = true;
            }
        }
        number += 1;
    }
    assert_eq!((ids.len(), ended), (ROWS, true));

    let request = house.http.post(format!("http://{}/v1/sql:stream", house.address)).bearer_auth(house.demo_key());
    let answer = request.json(&json!({"sql": ALL})).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let lines: Vec<Value> = answer.text().await.unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let rows = lines.iter().filter_map(|line| line["part"]["rows"]["rows"].as_array());
    assert_eq!(rows.map(Vec::len).sum::<usize>(), ROWS);
    assert!(lines[0]["part"]["header"].is_object() && lines[lines.len() - 1]["part"]["end"]["cost"].is_object());
}

#[tokio::test]
async fn an_answer_that_is_cut_says_so() {
    let house = filled().await;
    let mut client = client(&house).await;
    let mut ask = async |sql: &str| {
        let result = client
            .sql(SqlRequest { sql: sql.to_owned(), ..SqlRequest::default() })
            .await
            .unwrap()
            .into_inner()
            .result
            .unwrap();
        (result.rows.len(), result.info.unwrap().truncated)
    };
    assert_eq!(ask(ALL).await, (10_000, true));
    assert_eq!(ask(&format!("{ALL} LIMIT 10000")).await, (10_000, false));
    assert_eq!(ask(&format!("{ALL} LIMIT 10001")).await, (10_000, true));
    assert_eq!(
        ask("SELECT event_id, COUNT(*) FROM events WHERE app_id = 'xyz123' GROUP BY event_id").await,
        (10_000, true)
    );
    assert_eq!(ask("SELECT n, COUNT(*) FROM events WHERE app_id = 'xyz123' GROUP BY n").await, (10_000, false));
}

/// More than all the buffers between the warehouse and a caller who doesn't read.
pub fn large() -> String {
    let wide = vec!["pad"; 100].join(" || ");
    format!("SELECT event_id, {wide} AS wide FROM events WHERE app_id = 'xyz123'")
}

/// How many of the callers' queries run in the warehouse.
async fn running(house: &House) -> u64 {
    let count =
        "SELECT count() FROM system.processes WHERE query LIKE '%FROM events%' AND query NOT LIKE '%processes%'";
    house.warehouse(count).await.trim().parse().unwrap()
}

/// Waits until so many of them run.
pub async fn until_running(house: &House, wanted: u64) {
    let started = Instant::now();
    while running(house).await != wanted {
        assert!(started.elapsed() < PATIENCE, "{} queries run, not {wanted}", running(house).await);
    }
}

/// Opens a stream and takes its first message: from then on the query runs, and waits for its reader.
pub async fn open(
    client: &mut QueryServiceClient<Keyed>,
    request: Request<SqlStreamRequest>,
) -> Streaming<SqlStreamResponse> {
    let mut parts = client.sql_stream(request).await.unwrap().into_inner();
    parts.message().await.unwrap().unwrap();
    parts
}

#[tokio::test]
async fn a_deadline_ends_the_answer_and_the_query() {
    let house = filled().await;
    let mut client = client(&house).await;
    let mut request = stream_of(&large());
    request.set_timeout(Duration::from_secs(3));
    let mut parts = open(&mut client, request).await;
    until_running(&house, 1).await;
    until_running(&house, 0).await; // nobody read on: the deadline alone ended it
    let status = loop {
        match parts.message().await {
            Ok(Some(message)) => {
                assert!(!matches!(message.part.unwrap().part.unwrap(), Part::End(_)), "it is not whole")
            }
            Ok(None) => panic!("the stream ended as if it were whole"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    let details = status.get_error_details();
    assert_eq!(
        details.error_info().unwrap().reason,
        "DEADLINE_EXCEEDED",
        "told by the server, not by the client's own clock"
    );

    // By hand: tonic's client would end such a call itself.
    let request = house.http.post(format!("http://{}/v1/sql", house.address)).bearer_auth(house.demo_key());
    let request = request.header("grpc-timeout", "20m").json(&json!({"sql": large()}));
    let answer = answer_of(request.send().await.unwrap()).await;
    assert_eq!(answer.code, "DEADLINE_EXCEEDED", "{}", answer.text);
    until_running(&house, 0).await;
}

#[tokio::test]
async fn who_hangs_up_takes_the_query_along() {
    let house = filled().await;
    let mut client = client(&house).await;
    let parts = open(&mut client, stream_of(&large())).await;
    until_running(&house, 1).await;
    drop(parts);
    until_running(&house, 0).await;

    let request = house.http.post(format!("http://{}/v1/sql:stream", house.address)).bearer_auth(house.demo_key());
    let mut answer = request.json(&json!({"sql": large()})).send().await.unwrap();
    answer.chunk().await.unwrap().unwrap();
    until_running(&house, 1).await;
    drop(answer);
    until_running(&house, 0).await;
    assert_eq!(
        house.sql(&house.demo_key(), "SELECT COUNT(*) FROM events WHERE app_id = 'xyz123'", "").await,
        [[json!(ROWS)]]
    );
}
