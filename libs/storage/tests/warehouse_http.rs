//! What goes over the wire to the warehouse and how its answers are read, against a server that keeps requests and
//! gives prepared answers. What the engine makes of the blocks is tested where the engine is.

#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use model::DAY_MS;
use storage::warehouse::{
    Cell, EventColumns, EventRow, QuerySettings, Topology, UserColumns, UserRow, Warehouse, WarehouseError,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Mutex, mpsc},
};

const DAY: i64 = 19_675 * DAY_MS;

fn row(offset: u64) -> EventRow<'static> {
    EventRow {
        tenant: "acme",
        app: "web",
        event_type: "buy",
        timestamp_ms: DAY + 1,
        user_id: "u",
        event_id: "e",
        country: None,
        plan: None,
        received_at_ms: DAY + 2,
        incarnation: 1,
        partition: 2,
        offset,
    }
}

/// One request as it came.
#[derive(Debug)]
struct Request {
    head: String,
    body: Vec<u8>,
}

/// Answers each request with the next prepared bytes; with none left it keeps the connection open and silent.
async fn server(answers: Vec<Vec<u8>>) -> (Warehouse, mpsc::UnboundedReceiver<Request>, mpsc::UnboundedReceiver<()>) {
    let (url, requests, hangups) = listening(answers).await;
    (Warehouse::new(&url, "penstock", "writer", Some("hush")).unwrap(), requests, hangups)
}

async fn listening(answers: Vec<Vec<u8>>) -> (String, mpsc::UnboundedReceiver<Request>, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (seen, requests) = mpsc::unbounded_channel();
    let (gone, hangups) = mpsc::unbounded_channel();
    let answers = Arc::new(Mutex::new(answers.into_iter()));
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let (seen, gone, answers) = (seen.clone(), gone.clone(), Arc::clone(&answers));
            tokio::spawn(async move {
                while let Some(request) = read_request(&mut connection).await {
                    let _ = seen.send(request);
                    if let Some(answer) = answers.lock().await.next() {
                        connection.write_all(&answer).await.unwrap();
                    }
                }
                let _ = gone.send(());
            });
        }
    });
    (url, requests, hangups)
}

async fn read_request(connection: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        if connection.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let lower = head.to_ascii_lowercase();
    let length = lower.split("content-length: ").nth(1).map(|rest| rest.split("\r\n").next().unwrap());
    let mut raw = bytes.split_off(head_end);
    let body = match length.map(|digits| digits.parse::<usize>().unwrap()) {
        Some(length) => {
            while raw.len() < length {
                connection.read_buf(&mut raw).await.ok().filter(|read| *read > 0)?;
            }
            raw
        }
        None => {
            while !raw.ends_with(b"0\r\n\r\n") {
                connection.read_buf(&mut raw).await.ok().filter(|read| *read > 0)?;
            }
            unchunk(&raw)
        }
    };
    Some(Request { head, body })
}

fn unchunk(mut raw: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = raw.windows(2).position(|w| w == b"\r\n").unwrap();
        let length = usize::from_str_radix(std::str::from_utf8(&raw[..line]).unwrap(), 16).unwrap();
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&raw[line + 2..line + 2 + length]);
        raw = &raw[line + 4 + length..];
    }
}

fn ok(body: &[u8]) -> Vec<u8> {
    answer("200 OK", body)
}

fn answer(status: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

#[tokio::test]
async fn what_is_written_is_read_back_by_the_client() {
    let mut users = UserColumns::default();
    let names: Vec<String> = (0..70_000).map(|i| format!("user {i}")).collect();
    for (i, name) in names.iter().enumerate() {
        let country = (i % 3 != 0).then_some(if i % 3 == 1 { "DE" } else { "" });
        // As many plans as rows: the widest index.
        let plan = (i % 2 == 0).then_some(name.as_str());
        users.push(&UserRow {
            tenant: "acme",
            app: if i % 2 == 0 { "web" } else { "ios" },
            user_id: name,
            country,
            plan,
            received_at_ms: DAY + i as i64,
            incarnation: 1,
            partition: 7,
            offset: i as u64,
        });
    }
    let (warehouse, ..) = server(vec![ok(&users.to_native())]).await;
    let stream = warehouse.select("SELECT 1", &[], &QuerySettings::default()).unwrap();
    let rows = stream.collect().await.unwrap();
    assert_eq!(rows.len(), names.len());
    for (i, (row, name)) in rows.iter().zip(&names).enumerate() {
        let text = |s: &str| Cell::String(s.to_owned());
        let country = [Cell::Null, text("DE"), text("")][i % 3].clone();
        let plan = if i % 2 == 0 { text(name) } else { Cell::Null };
        let expected = [
            text("acme"),
            text(if i % 2 == 0 { "web" } else { "ios" }),
            text(name),
            country,
            plan,
            Cell::Time(DAY + i as i64),
            Cell::Integer(1),
            Cell::Integer(7),
            Cell::Integer(i as i64),
        ];
        assert_eq!(row[..], expected, "row {i}");
    }
}

#[tokio::test]
async fn an_index_is_as_wide_as_its_dictionary_needs() {
    for distinct in [1, 254, 255, 256, 257, 65_534, 65_535, 65_536, 65_537] {
        let mut users = UserColumns::default();
        let words: Vec<String> = (0..distinct).map(|i| format!("w{i}")).collect();
        for word in &words {
            // `app` has as many keys as words, `plan` one more, for NULL.
            let (tenant, app, user_id, plan, received_at_ms) = ("acme", word.as_str(), "u", Some(word.as_str()), DAY);
            let (country, incarnation, partition, offset) = (None, 1, 0, 0);
            users.push(&UserRow {
                tenant,
                app,
                user_id,
                country,
                plan,
                received_at_ms,
                incarnation,
                partition,
                offset,
            });
        }
        let (warehouse, ..) = server(vec![ok(&users.to_native())]).await;
        let stream = warehouse.select("SELECT 1", &[], &QuerySettings::default()).unwrap();
        let rows = stream.collect().await.unwrap();
        assert_eq!(rows.len(), words.len());
        for (row, word) in rows.iter().zip(&words) {
            let word = Cell::String(word.clone());
            assert_eq!((&row[1], &row[3]), (&word, &word), "{distinct} words");
        }
    }
}

#[tokio::test]
async fn an_insert_is_one_block_under_its_token() {
    let (warehouse, mut requests, _hangups) = server(vec![ok(b"")]).await;
    let mut events = EventColumns::for_day_of(DAY);
    for offset in 0..60_000 {
        events.push(&row(offset)).unwrap(); // several chunks
    }
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let warehouse = warehouse.with_insert_quorum("auto").with_traceparent(traceparent);
    let outcome = warehouse.insert(&events, "events:2:0-59999:19675").await.unwrap();
    let request = requests.recv().await.unwrap();
    assert_eq!(request.body, events.to_native());
    assert_eq!((outcome.rows, outcome.bytes), (60_000, request.body.len()));
    assert!(outcome.bytes > 2 << 20);
    for part in [
        "database=penstock",
        "query=INSERT+INTO+events+FORMAT+Native",
        "insert_deduplication_token=events%3A2%3A0-59999%3A19675",
        "insert_deduplicate=1",
        "deduplicate_blocks_in_dependent_materialized_views=1",
        "async_insert=0",
        "max_insert_block_size=100000000",
        "min_insert_block_size_rows=100000000",
        "min_insert_block_size_bytes=0",
        "insert_quorum=auto",
    ] {
        let query = request.head.split([' ', '?']).nth(2).unwrap();
        assert!(query.split('&').any(|p| p == part), "{part} in {query}");
    }
    assert!(!request.head.contains("decompress"));
    assert!(request.head.contains(&format!("traceparent: {traceparent}")));
}

/// What ClickHouse with Keeper is asked for; that it does so only such a cluster can show (`penstock doctor cluster`).
#[tokio::test]
async fn replicas_are_made_everywhere_and_catch_up_before_they_are_read() {
    let (writer, mut written, _) = listening(vec![ok(b""); 100]).await;
    // It has the tables, and knows one shard: a column `n` of Int64 with the row 1.
    let one = ok(b"\x01\x01\x01n\x05Int64\x01\0\0\0\0\0\0\0");
    let answers = [vec![one; 2], vec![ok(b""); 100]].concat();
    let (reader, mut read, _) = listening(answers).await;
    let topology = Topology {
        name: "all".to_owned(),
        readers: "readers".to_owned(),
        shards: vec![vec![writer]],
        replicas: vec![reader, "http://127.0.0.1:9".to_owned()], // nobody listens at the second
        replicated: true,
        max_staleness: Duration::from_secs(3),
    };
    let warehouse = Warehouse::cluster(topology, "penstock", "reader", None).unwrap().with_insert_quorum("auto");
    warehouse.migrate().await.unwrap();
    let mut ddl = Vec::new();
    while let Ok(request) = written.try_recv() {
        ddl.push(String::from_utf8(request.body).unwrap());
    }
    let is_change = |statement: &&String| !statement.starts_with("SELECT") && !statement.starts_with("EXISTS");
    let changes: Vec<_> = ddl.iter().filter(is_change).collect();
    assert!(changes.iter().all(|statement| statement.contains(" ON CLUSTER all")), "{changes:#?}");
    for part in [
        "CREATE TABLE IF NOT EXISTS events ON CLUSTER all (",
        "ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')",
        "ENGINE = ReplicatedSummingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}', events)",
        "replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800",
        "CREATE MATERIALIZED VIEW IF NOT EXISTS daily_users_view ON CLUSTER all TO daily_users",
        "CREATE TABLE IF NOT EXISTS events ON CLUSTER all AS penstock.events ENGINE = Distributed(readers, penstock, events)",
    ] {
        assert!(changes.iter().any(|statement| statement.contains(part)), "{part}: {changes:#?}");
    }

    let count = "SELECT count() FROM events";
    let mut rows = loop {
        // The one that is away may be asked first, and then not again.
        let mut rows = warehouse.select(count, &[], &QuerySettings::default()).unwrap();
        if rows.next().await.is_ok() {
            break rows;
        }
    };
    assert!(rows.next().await.unwrap().is_none());
    let mut asked = Vec::new();
    while let Ok(request) = read.try_recv() {
        asked.push((request.head, String::from_utf8(request.body).unwrap()));
    }
    let [.., (_, sync), (head, last)] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((sync.as_str(), last.as_str()), ("SYSTEM SYNC REPLICA penstock.events LIGHTWEIGHT", count));
    for part in [
        "database=penstock_all",
        "distributed_product_mode=global",
        "max_replica_delay_for_distributed_queries=3",
        "fallback_to_stale_replicas_for_distributed_queries=0",
    ] {
        assert!(head.contains(part), "{part}: {head}");
    }

    // What is written goes to the shard; a look at what is there first has it fetch what others of it took.
    let shard = warehouse.shard(0).unwrap();
    let mut events = EventColumns::for_day_of(DAY);
    events.push(&row(0)).unwrap();
    shard.insert(&events, "t").await.unwrap();
    let insert = written.recv().await.unwrap().head;
    assert!(insert.contains("insert_quorum=auto") && insert.contains("database=penstock&"), "{insert}");
    drop(shard.select(count, &[], &QuerySettings::default()).unwrap().next().await);
    let sync = written.recv().await.unwrap().body;
    assert_eq!(sync, b"SYSTEM SYNC REPLICA penstock.events LIGHTWEIGHT");
}

#[tokio::test]
async fn what_a_replay_is_made_in_is_on_every_replica_and_fetched_before_it_is_read() {
    // A column `e` of String with one row.
    let engine = "ReplicatedMergeTree('/clickhouse/tables/{shard}/penstock/its', '{replica}') ORDER BY user";
    let told = [b"\x01\x01\x01e\x06String", &[engine.len() as u8][..], engine.as_bytes()].concat();
    let (writer, mut written, _) = listening(vec![[ok(&told), ok(b"")]; 4].concat()).await;
    let topology = Topology {
        name: "all".to_owned(),
        readers: "readers".to_owned(),
        shards: vec![vec![writer]],
        replicas: Vec::new(),
        replicated: true,
        max_staleness: Duration::from_secs(3),
    };
    let warehouse = Warehouse::cluster(topology, "penstock", "default", None).unwrap();
    warehouse.rebuild("a1", 1, &[]).await.unwrap();
    for table in ["events", "users", "uncounted", "daily_users"] {
        let asked = String::from_utf8(written.recv().await.unwrap().body).unwrap();
        let path = format!(r"SELECT replaceOne(engine_full, '/{table}\'', '/{table}_rebuilt_a1\'') FROM system.tables");
        assert!(asked.starts_with(&path) && asked.ends_with(&format!("AND name = '{table}'")), "{asked}");
        let create =
            format!("CREATE TABLE IF NOT EXISTS {table}_rebuilt_a1 ON CLUSTER all AS {table} ENGINE = {engine}");
        assert_eq!(String::from_utf8(written.recv().await.unwrap().body).unwrap(), create);
    }
    let shard = warehouse.shard(0).unwrap();
    drop(shard.select("SELECT 1 FROM users_rebuilt_a1", &[], &QuerySettings::default()).unwrap().next().await);
    let sync = written.recv().await.unwrap().body;
    assert_eq!(sync, b"SYSTEM SYNC REPLICA penstock.users_rebuilt_a1 LIGHTWEIGHT");
}

#[tokio::test]
async fn nothing_is_sent_without_rows_or_token() {
    let (warehouse, mut requests, _hangups) = server(vec![]).await;
    let mut events = EventColumns::for_day_of(DAY);
    assert_eq!(warehouse.insert(&events, "t").await.unwrap().rows, 0);
    events.push(&row(0)).unwrap();
    assert!(matches!(warehouse.insert(&events, "").await, Err(WarehouseError::Protocol(_))));
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn a_query_carries_its_limits_and_binds_its_parameters() {
    let (warehouse, mut requests, _hangups) = server(vec![ok(b"")]).await;
    let settings = QuerySettings {
        query_id: "q-1".into(),
        max_execution_time: Some(Duration::from_millis(1500)),
        max_memory_bytes: Some(1 << 30),
        max_result_rows: Some(10),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        ..QuerySettings::default()
    };
    let params = [("t", "a'b".to_owned())];
    let stream = warehouse.select("SELECT '?' WHERE x = {t: String}", &params, &settings).unwrap();
    assert_eq!(stream.collect().await.unwrap(), Vec::<Vec<Cell>>::new());
    let request = requests.recv().await.unwrap();
    for part in
        ["readonly=2", "query_id=q-1", "max_execution_time=1.500", "max_memory_usage=1073741824", "max_result_rows=10"]
    {
        assert!(request.head.contains(part), "{part} in {}", request.head);
    }
    assert!(request.head.contains("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
    let body = String::from_utf8(request.body).unwrap();
    assert!(
        body.contains("SELECT '?' WHERE x = {t: String}") && body.contains("name=\"param_t\"\r\n\r\na'b\r\n"),
        "{body}"
    );
}

#[tokio::test]
async fn a_dropped_stream_hangs_up() {
    // A first answer that promises more than comes.
    let unfinished = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let (warehouse, mut requests, mut hangups) = server(vec![unfinished]).await;
    let mut stream = warehouse.select("SELECT 1", &[], &QuerySettings::default()).unwrap();
    tokio::select! {
        biased;
        request = requests.recv() => assert!(request.is_some()),
        rows = stream.next() => panic!("{rows:?}"),
    }
    assert!(hangups.try_recv().is_err());
    drop(stream);
    hangups.recv().await.unwrap();
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error() {
    let whole = {
        let mut users = UserColumns::default();
        let (user_id, received_at_ms) = ("u", DAY);
        let (tenant, app, country, plan) = ("acme", "web", None, None);
        users.push(&UserRow {
            tenant,
            app,
            user_id,
            country,
            plan,
            received_at_ms,
            incarnation: 1,
            partition: 0,
            offset: 0,
        });
        users.to_native()
    };
    // The server says that the body is over, inside a block: no row of it may be taken for the result.
    let (warehouse, ..) = server(vec![ok(&whole[..whole.len() - 3])]).await;
    let stream = warehouse.select("SELECT 1", &[], &QuerySettings::default()).unwrap();
    assert!(stream.collect().await.is_err());
}

#[tokio::test]
async fn errors_of_the_server_are_told_apart() {
    let timeout = answer("500 Internal Server Error", b"Code: 159. DB::Exception: Timeout exceeded");
    let syntax = answer("400 Bad Request", b"Code: 62. DB::Exception: Syntax error");
    let (warehouse, ..) = server(vec![timeout, syntax]).await;
    let ask =
        async || warehouse.select("SELECT 1", &[], &QuerySettings::default()).unwrap().collect().await.unwrap_err();
    assert!(matches!(ask().await, WarehouseError::Timeout(_)));
    assert!(matches!(ask().await, WarehouseError::Rejected { code: 62, .. }));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_server_is_bounded() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener); // nobody listens
    let warehouse = Warehouse::new(&url, "penstock", "default", None).unwrap();
    assert!(warehouse.ping().await.unwrap_err().is_unavailable());
    assert!(warehouse.wait_ready(Duration::from_secs(20)).await.unwrap_err().is_unavailable());
}

#[tokio::test]
async fn waiting_ends_with_the_first_good_answer_and_at_a_refusal() {
    let (warehouse, ..) = server(vec![answer("503 Service Unavailable", b""), ok(b"")]).await;
    warehouse.wait_ready(Duration::from_secs(60)).await.unwrap();
    let refusal = answer("403 Forbidden", b"Code: 516. DB::Exception: writer: Authentication failed");
    let (warehouse, ..) = server(vec![refusal]).await;
    let refused = warehouse.wait_ready(Duration::from_secs(60)).await;
    assert!(matches!(refused, Err(WarehouseError::Rejected { code: 516, .. })), "{refused:?}");
}

#[test]
fn an_address_that_cannot_work_is_refused_without_its_password() {
    for (url, database) in [
        ("ftp://u:hush@host:8443", "penstock"),
        ("host:8123", "penstock"),
        ("http://u:hush@host", "a`b"),
        ("http://host", ""),
        ("http://host", "1a"),
    ] {
        let error = Warehouse::new(url, database, "default", Some("hush")).unwrap_err();
        assert!(matches!(error, WarehouseError::Address(_)), "{error:?}");
        assert!(!error.to_string().contains("hush"), "{error}");
    }
    let warehouse = Warehouse::new("http://host:8123", "penstock", "default", Some("hush")).unwrap();
    assert!(!format!("{warehouse:?}").contains("hush"));
}
