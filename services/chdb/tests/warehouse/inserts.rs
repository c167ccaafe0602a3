use std::io::{Read, Write};

use bytes::Bytes;
use clickhouse::Row;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::harness::{Warehouse, wait_for};

#[derive(Row, Serialize, Deserialize, Debug, PartialEq, Clone)]
struct Event {
    id: u64,
    name: String,
    value: Option<f64>,
}

const TABLE: &str =
    "CREATE TABLE events (id UInt64, name String, value Nullable(Float64)) ENGINE = MergeTree ORDER BY id
                     SETTINGS non_replicated_deduplication_window = 100, fsync_after_insert = 1";

fn events(n: u64) -> Vec<Event> {
    (0..n).map(|id| Event { id, name: format!("e\0{id}\n"), value: (id % 2 == 0).then_some(0.5) }).collect()
}

async fn insert(client: &clickhouse::Client, rows: &[Event]) -> clickhouse::error::Result<()> {
    let mut insert = client.insert::<Event>("events").await?;
    for row in rows {
        insert.write(row).await?;
    }
    insert.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_writes_and_reads_back() {
    let warehouse = Warehouse::start().await;
    warehouse.client().query(TABLE).execute().await.unwrap();
    let rows = events(10_000);
    for (round, compression) in [clickhouse::Compression::None, clickhouse::Compression::Lz4].into_iter().enumerate() {
        let token = format!("{compression:?}");
        let client = warehouse.client().with_compression(compression).with_setting("insert_deduplication_token", token);
        insert(&client, &rows).await.unwrap();
        let read = client.query("SELECT ?fields FROM events ORDER BY id, name").fetch_all::<Event>().await.unwrap();
        assert_eq!(read.len(), rows.len() * (round + 1));
        assert!(rows.iter().all(|row| read.contains(row) || row.id > 100), "{compression:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn native_blocks_of_columns_built_at_run_time_are_written() {
    let warehouse = Warehouse::start().await;
    let client = warehouse.client();
    client.query(TABLE).execute().await.unwrap();
    client.query("CREATE TABLE copy AS events ENGINE = MergeTree ORDER BY id").execute().await.unwrap();
    insert(&client, &events(50_000)).await.unwrap();
    let mut source = client.query("SELECT * FROM events ORDER BY id").fetch_native().unwrap();
    let mut target = client.insert_native("copy");
    while let Some(block) = source.next().await.unwrap() {
        target.write(&block).await.unwrap();
    }
    target.end().await.unwrap();
    let differ = "SELECT count() FROM (SELECT * FROM events EXCEPT SELECT * FROM copy)";
    assert_eq!(client.query(differ).fetch_one::<u64>().await.unwrap(), 0);
    assert_eq!(client.query("SELECT count() FROM copy").fetch_one::<u64>().await.unwrap(), 50_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_engine_refuses_reaches_the_writer() {
    let warehouse = Warehouse::start().await;
    warehouse.run(TABLE).await;
    let missing = warehouse.client().insert::<Event>("nope").await.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(missing.contains("UNKNOWN_TABLE"), "{missing}");
    let answer = warehouse.post("query=INSERT+INTO+events+FORMAT+CSV", "1,a,2\nx,b,3\n").await;
    assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, 27), "{}", answer.text());
    let answer = warehouse.post("query=INSERT+INTO+events+FORMAT+Nope", "x").await;
    assert_eq!((answer.status, answer.code()), (StatusCode::NOT_FOUND, 73), "{}", answer.text());
    let large = vec![b'1'; 12 << 20]; // within what the server reads on for
    let answer = warehouse.post("query=INSERT+INTO+nope+FORMAT+CSV", large).await;
    assert_eq!(answer.code(), 60, "the writer of a large body gets to read why");
    assert_eq!(warehouse.run("SELECT count() FROM events").await, "0\n", "a failed insert leaves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn statement_and_data_come_by_url_and_body() {
    let warehouse = Warehouse::start().await;
    warehouse.run("CREATE TABLE t (a UInt32, s String) ENGINE = Memory").await;
    for (query, body) in [
        ("query=INSERT+INTO+t+FORMAT+CSV", "1,x\n"),
        ("query=INSERT+INTO+t+FORMAT+CSV%0A2,x", "3,x\n"),
        ("query=INSERT+INTO+t+VALUES", "(4, 'x'), (5, 'FORMAT CSV')"),
        ("", "INSERT INTO t (a, s) SETTINGS max_threads = 1 FORMAT TSV\n6\tx\n"),
        ("", "INSERT INTO t VALUES (7, 'a;b'), (8, 'it''s\n\nDROP TABLE t');"),
        ("", "INSERT INTO t FORMAT JSONEachRow {\"a\": 9, \"s\": \"x\"}"),
        ("query=INSERT+INTO+t+SELECT+10,'x'", ""),
        ("query=INSERT+INTO+t", "SELECT 11, 'x'"),
        ("param_t=t", "INSERT INTO {t:Identifier} VALUES (12, 'x')"),
    ] {
        let answer = warehouse.post(query, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{query} {body}: {}", answer.text());
    }
    assert_eq!(
        warehouse.run("SELECT groupArray(a) FROM (SELECT a FROM t ORDER BY a)").await,
        "[1,2,3,4,5,6,7,8,9,10,11,12]\n"
    );
    assert_eq!(warehouse.run("SELECT s FROM t WHERE a = 8").await, "it\\'s\\n\\nDROP TABLE t\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_decoded_whatever_their_encoding() {
    let warehouse = Warehouse::start().await;
    warehouse.run("CREATE TABLE t (a UInt32) ENGINE = Memory").await;
    let rows: String = (0..100_000).map(|n| format!("{n}\n")).collect();
    for encoding in ["gzip", "deflate", "zstd", "lz4"] {
        let whole = encode(encoding, format!("INSERT INTO t FORMAT TSV\n{rows}").as_bytes());
        let headers = [("content-encoding", encoding)];
        let answer = warehouse.send(Method::POST, "", &headers, whole.into()).await;
        assert_eq!(answer.status, StatusCode::OK, "{encoding}: {}", answer.text());
        let cut = encode(encoding, rows.as_bytes());
        let cut = Bytes::copy_from_slice(&cut[..cut.len() / 2]);
        let answer = warehouse.send(Method::POST, "query=INSERT+INTO+t+FORMAT+TSV", &headers, cut).await;
        assert_eq!(answer.code(), 271, "{encoding}: {}", answer.text());
    }
    assert_eq!(warehouse.run("SELECT count(), sum(a) FROM t").await, "400000\t19999800000\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_is_one_block_however_it_arrives() {
    let warehouse = Warehouse::start().await;
    warehouse.run("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a").await;
    warehouse.run("SYSTEM STOP MERGES t").await;
    let body: Vec<u8> = (0..3_000_000_u64).flat_map(u64::to_le_bytes).collect();
    let answer = warehouse.post("query=INSERT+INTO+t+FORMAT+RowBinary", body).await;
    let summary: serde_json::Value = serde_json::from_str(answer.header("x-clickhouse-summary")).unwrap();
    assert_eq!(summary["written_rows"].as_str(), Some("3000000"), "{}", answer.text());
    assert_eq!(
        warehouse.run("SELECT count(), sum(rows) FROM system.parts WHERE table = 't' AND active").await,
        "1\t3000000\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_that_breaks_off_commits_nothing() {
    let warehouse = Warehouse::start().await;
    warehouse.run(TABLE).await;
    let client = warehouse.client().with_setting("query_id", "broken-off");
    let mut insert = client.insert::<Event>("events").await.unwrap();
    for row in events(200_000) {
        insert.write(&row).await.unwrap();
    }
    warehouse.wait_running("broken-off", true).await;
    drop(insert);
    wait_for("the insert is in the log", || async {
        crate::bounds::query_log(&warehouse).await.contains("\"query_id\":\"broken-off\"")
    })
    .await;
    warehouse.wait_running("broken-off", false).await;
    assert_eq!(warehouse.run("SELECT count() FROM events").await, "0\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_token_counts_once_even_after_a_crash() {
    let warehouse = Warehouse::start().await;
    warehouse.run(TABLE).await;
    let client = warehouse.client().with_setting("insert_deduplication_token", "topic:0:0-999:2024-01-01");
    insert(&client, &events(1000)).await.unwrap();
    insert(&client, &events(1000)).await.unwrap();
    assert_eq!(warehouse.run("SELECT count() FROM events").await, "1000\n");
    warehouse.crash().await;
    // The client's pooled connections died with the process.
    let client = warehouse.client().with_setting("insert_deduplication_token", "topic:0:0-999:2024-01-01");
    insert(&client, &events(1000)).await.unwrap();
    assert_eq!(warehouse.run("SELECT count() FROM events").await, "1000\n", "acknowledged, kept, and not doubled");
    let other = warehouse.client().with_setting("insert_deduplication_token", "another");
    insert(&other, &events(1000)).await.unwrap();
    assert_eq!(warehouse.run("SELECT count() FROM events").await, "2000\n");
}

fn encode(encoding: &str, data: &[u8]) -> Vec<u8> {
    match encoding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::encode_all(data, 1).unwrap(),
        "lz4" => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        other => panic!("{other}"),
    }
}

pub(crate) fn decode(encoding: &str, data: &[u8]) -> Vec<u8> {
    let mut raw = Vec::new();
    match encoding {
        "gzip" => flate2::read::GzDecoder::new(data).read_to_end(&mut raw).unwrap(),
        "deflate" => flate2::read::ZlibDecoder::new(data).read_to_end(&mut raw).unwrap(),
        "zstd" => zstd::Decoder::new(data).unwrap().read_to_end(&mut raw).unwrap(),
        "lz4" => lz4_flex::frame::FrameDecoder::new(data).read_to_end(&mut raw).unwrap(),
        other => panic!("{other}"),
    };
    raw
}
