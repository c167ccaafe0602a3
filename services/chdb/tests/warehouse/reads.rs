use clickhouse::Row;
use futures::StreamExt;
use http::StatusCode;
use serde::Deserialize;

use crate::harness::Warehouse;

#[derive(Row, Deserialize, Debug, PartialEq)]
struct Point {
    number: u64,
    name: String,
    maybe: Option<i32>,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_reads_rows_with_parameters() {
    let warehouse = Warehouse::start().await;
    let sql = "SELECT number, {name:String} AS name, if(number = 1, NULL, toInt32(-5)) AS maybe
               FROM numbers({n:UInt64}) WHERE number IN {few:Array(UInt64)}";
    for compression in [clickhouse::Compression::None, clickhouse::Compression::Lz4] {
        let client = warehouse.client().with_compression(compression);
        let query = client.query(sql).param("name", "tab\tquote'\\ é\nline").param("n", 10).param("few", vec![1, 2]);
        let rows = query.fetch_all::<Point>().await.unwrap();
        let name = "tab\tquote'\\ é\nline".to_owned();
        assert_eq!(
            rows,
            [Point { number: 1, name: name.clone(), maybe: None }, Point { number: 2, name, maybe: Some(-5) },]
        );
    }
    let none = warehouse.client().query(sql).param("name", "").param("n", 0).param("few", vec![1_u64]);
    assert!(none.fetch_all::<Point>().await.unwrap().is_empty(), "an empty result still has its columns");
}

#[tokio::test(flavor = "multi_thread")]
async fn native_blocks_of_unknown_columns_are_read() {
    let warehouse = Warehouse::start().await;
    let mut cursor = warehouse
        .client()
        .query("SELECT number AS n, toString(number) AS s FROM numbers(200000)")
        .fetch_native()
        .unwrap();
    let mut rows = 0;
    while let Some(block) = cursor.next().await.unwrap() {
        assert_eq!(block.columns().len(), 2);
        rows += block.num_rows();
    }
    assert_eq!(rows, 200_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_is_one_document_however_large() {
    let warehouse = Warehouse::start().await;
    let csv = warehouse.run("SELECT number AS n FROM numbers(1000000) FORMAT CSVWithNames").await;
    assert_eq!(csv.lines().count(), 1_000_001);
    assert_eq!(csv.matches("\"n\"").count(), 1);
    let json = warehouse.run("SELECT number AS n FROM numbers(300000) FORMAT JSON -- the last word").await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((json["rows"].as_u64(), json["data"].as_array().map(Vec::len)), (Some(300_000), Some(300_000)));
    let parquet = warehouse.post("default_format=Parquet", "SELECT number FROM numbers(1000000);").await;
    assert!(parquet.body.starts_with(b"PAR1") && parquet.body.ends_with(b"PAR1"));
    assert_eq!(parquet.header("x-clickhouse-format"), "Parquet");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_tell_what_clients_ask_for() {
    let warehouse = Warehouse::start().await;
    let answer = warehouse.post("query_id=mine", "SELECT number FROM numbers(1000) FORMAT TSV").await;
    assert_eq!(answer.header("x-clickhouse-query-id"), "mine");
    assert_eq!(answer.header("x-clickhouse-format"), "TSV");
    assert_eq!(answer.header("x-clickhouse-timezone"), warehouse.run("SELECT timezone()").await.trim());
    let summary: serde_json::Value = serde_json::from_str(answer.header("x-clickhouse-summary")).unwrap();
    assert_eq!((summary["read_rows"].as_str(), summary["result_rows"].as_str()), (Some("1000"), Some("1000")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_before_the_result_has_its_status_and_code() {
    let warehouse = Warehouse::start().await;
    for (sql, status, code, name) in [
        ("SELECT * FROM nope", StatusCode::NOT_FOUND, 60, "UNKNOWN_TABLE"),
        ("SELEC 1", StatusCode::BAD_REQUEST, 62, "SYNTAX_ERROR"),
        ("SELECT nope(1)", StatusCode::NOT_FOUND, 46, "UNKNOWN_FUNCTION"),
        ("SELECT throwIf(number = 3) FROM numbers(9)", StatusCode::INTERNAL_SERVER_ERROR, 395, "FUNCTION_THROW_IF"),
        ("SELECT sleep(3) SETTINGS max_execution_time = 0.1", StatusCode::REQUEST_TIMEOUT, 159, "TIMEOUT_EXCEEDED"),
    ] {
        let answer = warehouse.post("", sql).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{sql}: {}", answer.text());
        assert!(answer.text().starts_with(&format!("Code: {code}. DB::Exception: ")) && answer.text().contains(name));
        assert!(answer.text().contains("(version 2"), "{}", answer.text());
    }
    let error = warehouse.client().query("SELECT * FROM nope").fetch_one::<u8>().await.unwrap_err();
    assert!(error.to_string().contains("UNKNOWN_TABLE"), "{error}");
}

const FAILS_LATE: &str = "SELECT number, toString(throwIf(number = 3000000)) AS name, NULL::Nullable(Int32) AS maybe
                          FROM numbers(4000000) SETTINGS max_block_size = 10000";

#[tokio::test(flavor = "multi_thread")]
async fn an_error_amid_the_result_is_never_a_short_answer() {
    let warehouse = Warehouse::start().await;
    for compression in [clickhouse::Compression::None, clickhouse::Compression::Lz4] {
        let client = warehouse.client().with_compression(compression);
        let mut cursor = client.query(FAILS_LATE).fetch::<Point>().unwrap();
        let (mut rows, error) = loop_rows(&mut cursor).await;
        assert!(error.contains("FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"), "{compression:?}: {error}");
        assert!(rows > 0 && rows <= 3_000_000);
        let mut bytes = client.query(FAILS_LATE).fetch_bytes("TSV").unwrap();
        rows = 0;
        let error = loop {
            match bytes.next().await {
                Ok(Some(chunk)) => rows += chunk.len() as u64,
                Ok(None) => panic!("{compression:?}: a short answer"),
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains("FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"), "{compression:?}: {error}");
        assert!(rows > 0);
    }
    let raw = warehouse.post("", format!("{FAILS_LATE} FORMAT TSV")).await;
    let tag = raw.header("x-clickhouse-exception-tag").to_owned();
    assert!(raw.broken && raw.text().ends_with(&format!(" {tag}\r\n__exception__\r\n")));
}

async fn loop_rows(cursor: &mut clickhouse::query::RowCursor<Point>) -> (u64, String) {
    let mut rows = 0;
    loop {
        match cursor.next().await {
            Ok(Some(_)) => rows += 1,
            Ok(None) => panic!("a short answer"),
            Err(error) => return (rows, error.to_string()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_stops_its_query() {
    let warehouse = Warehouse::start().await;
    // One that flows, one that thinks, one that waits for its reader.
    for (id, sql) in [
        ("flows", "SELECT number, '' AS name, NULL::Nullable(Int32) AS maybe FROM numbers(100000000000)"),
        (
            "thinks",
            "SELECT max(sipHash64(number)) AS number, '' AS name, NULL::Nullable(Int32) AS maybe FROM numbers(1000000000000)",
        ),
    ] {
        let mut cursor = warehouse.client().query(sql).with_setting("query_id", id).fetch::<Point>().unwrap();
        {
            let next = cursor.next();
            let running = warehouse.wait_running(id, true);
            futures::future::select(Box::pin(next), Box::pin(running)).await;
        }
        warehouse.wait_running(id, true).await;
        drop(cursor);
        warehouse.wait_running(id, false).await;
    }
    assert!(warehouse.running().await.is_empty());
    let log = crate::bounds::query_log(&warehouse).await;
    let line = log.lines().find(|l| l.contains("\"query_id\":\"thinks\"")).unwrap();
    assert!(line.contains("\"error_code\":394"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_query_finds_a_query_by_the_clients_id() {
    let warehouse = Warehouse::start().await;
    let sql = "SELECT max(sipHash64(number)) FROM numbers(1000000000000)";
    let victim = warehouse.client().query(sql).with_setting("query_id", "it's mine");
    let kill = async {
        warehouse.wait_running("it's mine", true).await;
        warehouse.run("KILL QUERY WHERE query_id = 'it\\'s mine' SYNC").await
    };
    let (victim, _killed) = tokio::join!(victim.fetch_one::<u64>(), kill);
    let error = victim.unwrap_err().to_string();
    assert!(error.contains("QUERY_WAS_CANCELLED"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_result_flows_in_bounded_memory() {
    let warehouse = Warehouse::start().await;
    let mut cursor = warehouse
        .client()
        .with_compression(clickhouse::Compression::None)
        .query("SELECT number FROM numbers(200000000)")
        .fetch_bytes("RowBinary")
        .unwrap();
    let mut bytes = 0_u64;
    while let Some(chunk) = cursor.next().await.unwrap() {
        bytes += chunk.len() as u64;
    }
    assert_eq!(bytes, 1_600_000_000);
    let status = std::fs::read_to_string(format!("/proc/{}/status", warehouse.supervisor.pid().unwrap())).unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib < 800 << 10, "peak {peak_kib} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_encoded_as_asked() {
    let warehouse = Warehouse::start().await;
    let sql = "SELECT toString(number) FROM numbers(100000)";
    let plain = warehouse.run(sql).await;
    for encoding in ["gzip", "deflate", "zstd", "lz4"] {
        let headers = [("accept-encoding", encoding)];
        let answer = warehouse.send(http::Method::POST, "", &headers, sql.into()).await;
        assert_eq!(answer.header("content-encoding"), encoding);
        assert!(answer.body.len() < plain.len());
        assert_eq!(crate::inserts::decode(encoding, &answer.body), plain.as_bytes(), "{encoding}");
        let off = warehouse.send(http::Method::POST, "enable_http_compression=0", &headers, sql.into()).await;
        assert_eq!((off.header("content-encoding"), off.text()), ("", plain.clone()));
    }
    let many = futures::stream::iter(0..8).map(|_| warehouse.run(sql)).buffer_unordered(8).collect::<Vec<_>>().await;
    assert!(many.iter().all(|text| *text == plain), "answers of simultaneous queries don't mix");
}
