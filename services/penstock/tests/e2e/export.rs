//! Exports: many events, broken off and gone on with, read by readers that are not ours.

use std::{fs, io::Write, path::Path, process::Command, time::Instant};

use api::v1::{
    ExportFormat, ExportRequest, ExportResponse, PublishRequest, SqlQuery, export_request::Question,
    ingest_service_client::IngestServiceClient, query_service_client::QueryServiceClient, value::Kind,
};
use serde_json::{Value, json};
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

use crate::{
    clients::event,
    house::{House, PATIENCE},
    load::scale,
    oracle::python,
};

/// So many events, unless `PENSTOCK_ROWS` says otherwise: more than a few calls' pieces.
const ROWS: usize = 300_000;
/// Enough for more than one piece.
const SOME: u64 = 100_000;
const EVENTS: &str = "SELECT event_id, timestamp, n, word, even FROM events WHERE event_type = 'row'";

/// Registers the properties by an event of its own, and has the warehouse itself make the rows: in spans of time that are empty, thin and
/// dense. Returns the columns of `n`, `word` and `even`.
async fn fill(house: &House, count: u64) -> [String; 3] {
    let key = house.demo_key();
    let mut client = IngestServiceClient::new(house.keyed(&key).await);
    let properties = [("n", Kind::Number(0.5)), ("word", Kind::String("x".into())), ("even", Kind::Bool(true))];
    let batch = PublishRequest {
        app_id: "xyz123".into(),
        events: vec![event("first", "first", "u", &properties)],
        ..Default::default()
    };
    let token = client.publish(batch).await.unwrap().into_inner().acknowledgement.unwrap().position_token;
    house.sql(&key, "SELECT COUNT(*) FROM events WHERE app_id = 'xyz123'", &token).await;
    let place = async |property: &str| {
        let body = json!({"sql": {"sql": format!("SELECT {property} FROM events"), "app_id": "xyz123"}});
        let (_, explained) = house.post(&key, "/v1/explain", &body).await;
        let sql = explained["sql"].as_str().unwrap().to_owned();
        let start = sql.find(|c: char| c.is_ascii_digit()).unwrap() - 1;
        sql[start..].chars().take_while(char::is_ascii_alphanumeric).collect::<String>()
    };
    let (n, word, even) = (place("n").await, place("word").await, place("even").await);
    let rows = format!(
        "INSERT INTO events (tenant, app, event, ts, user, event_id, received_at, {n}, {word}, {even}, _incarnation, _partition, _offset) \
         SELECT 'demo', 'xyz123', 'row', \
         toDateTime64('2026-03-01 00:00:00', 3, 'UTC') + toIntervalMillisecond(if(number < 1000, number * 60000, 5 * 86400000 + intDiv(number, 7))), \
         concat('u', toString(number % 1000)), concat('id-', toString(number)), toDateTime64('2026-03-08 00:00:00', 3, 'UTC'), \
         if(number % 10 = 0, NULL, number / 4), \
         multiIf(number % 5 = 0, NULL, number % 5 = 1, '', number % 5 = 2, 'a, \"b\"', concat('w', toString(number % 100))), \
         number % 2, 0, number % 4, intDiv(number, 4) FROM numbers({count})"
    );
    house.warehouse(&rows).await;
    [n, word, even]
}

async fn open(
    house: &House,
    sql: &str,
    format: ExportFormat,
    token: &str,
) -> Result<Streaming<ExportResponse>, Status> {
    let mut client = QueryServiceClient::new(house.keyed(&house.demo_key()).await);
    let question = Some(Question::Sql(SqlQuery { sql: sql.to_owned(), app_id: "xyz123".to_owned() }));
    let request =
        ExportRequest { question, format: format.into(), resume_token: token.to_owned(), ..Default::default() };
    Ok(client.export(request).await?.into_inner())
}

/// What came, and with which token.
#[derive(Default)]
struct Received {
    bytes: Vec<u8>,
    rows: u64,
    token: String,
    whole: bool,
}

impl Received {
    fn take(&mut self, piece: ExportResponse) {
        assert!(!self.whole, "nothing follows the last piece");
        self.bytes.extend(piece.data);
        assert!(piece.rows >= self.rows);
        assert_eq!(piece.bytes, self.bytes.len() as u64);
        (self.rows, self.token, self.whole) = (piece.rows, piece.resume_token, piece.last);
    }

    /// Takes so many pieces, or all that come, and hangs up.
    async fn some(&mut self, house: &House, sql: &str, format: ExportFormat, most: usize) -> Result<(), Status> {
        let mut pieces = open(house, sql, format, &self.token).await?;
        for _ in 0..most {
            match pieces.message().await? {
                Some(piece) => self.take(piece),
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_broken_off_and_gone_on_with_are_there_once_each() {
    let mut house = House::start().await;
    let rows = scale("PENSTOCK_ROWS", ROWS) as u64;
    let [n, word, even] = fill(&house, rows).await;
    let folder = tempfile::tempdir().unwrap();
    for (format, name) in [
        (ExportFormat::Arrow, "events.arrow"),
        (ExportFormat::Csv, "events.csv"),
        (ExportFormat::Ndjson, "events.ndjson"),
    ] {
        let mut received = Received::default();
        for most in [1, 2, 1, 9] {
            received.some(&house, EVENTS, format, most).await.unwrap();
        }
        assert!(received.rows > 0 && !received.whole);
        if format == ExportFormat::Csv {
            // Later than the export, and early by its own time.
            house.warehouse(
                "INSERT INTO events (tenant, app, event, ts, user, event_id, received_at, _incarnation, _partition, _offset) SELECT 'demo', \
                 'xyz123', 'row', ts, 'late', 'late', now64(3), _incarnation, _partition, _offset + 1000000 FROM events WHERE event = 'first'",
            ).await;
            let mut pieces = open(&house, EVENTS, format, &received.token).await.unwrap();
            received.take(pieces.message().await.unwrap().unwrap());
            house.kill();
            while let Ok(Some(piece)) = pieces.message().await {
                received.take(piece);
            }
            house.launch().await;
        }
        received.some(&house, EVENTS, format, usize::MAX).await.unwrap();
        assert!(received.whole && received.rows == rows, "{} rows", received.rows);
        fs::write(folder.path().join(name), &received.bytes).unwrap();
    }
    let read: Value = serde_json::from_str(&python::run("exported.py", &[folder.path()], "")).unwrap();
    let schema = json!({"event_id": "string", "timestamp": "timestamp[ms, tz=UTC]", "n": "double", "word": "string", "even": "bool"});
    assert_eq!((&read["schema"], &read["different"], &read["unordered"]), (&schema, &json!(0), &json!(0)), "{read}");
    let of_engine = format!(
        "SELECT toFloat64(arrayJoin([count(), uniqExact(event_id), sum({n}), countIf({word} IS NULL), countIf({word} = ''), \
         toUnixTimestamp64Milli(min(ts)), toUnixTimestamp64Milli(max(ts)), sum({even})])) \
         FROM events WHERE event = 'row' AND user != 'late'"
    );
    let of_engine = house.warehouse(&of_engine).await;
    let of_engine: Vec<f64> = of_engine.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(read["summary"], json!(of_engine));
}

#[tokio::test(flavor = "multi_thread")]
async fn any_answer_is_exported_and_only_as_it_was_begun() {
    let house = House::start().await;
    let [_, word, _] = fill(&house, SOME).await;
    let grouped = "SELECT word, even, COUNT(*) AS c, SUM(n) AS s FROM events WHERE event_type = 'row' GROUP BY word, even ORDER BY even DESC";
    let users = "SELECT DISTINCT user_id FROM events";
    for sql in [grouped, users] {
        let mut whole = Received::default();
        whole.some(&house, sql, ExportFormat::Csv, usize::MAX).await.unwrap();
        let mut parts = Received::default();
        while !parts.whole {
            parts.some(&house, sql, ExportFormat::Csv, 1).await.unwrap();
        }
        assert_eq!(String::from_utf8_lossy(&whole.bytes), String::from_utf8_lossy(&parts.bytes));
        assert!(whole.rows > 10);
    }
    let mut begun = Received::default();
    begun.some(&house, grouped, ExportFormat::Csv, 2).await.unwrap();
    let refused = async |sql: &str, format, token: &str| {
        let status = open(&house, sql, format, token).await.err().unwrap();
        (status.code(), status.get_error_details().bad_request().map(|bad| bad.field_violations[0].field.clone()))
    };
    let field = |name: &str| (Code::InvalidArgument, Some(name.to_owned()));
    assert_eq!(refused(users, ExportFormat::Csv, &begun.token).await, field("resume_token"));
    assert_eq!(refused(grouped, ExportFormat::Arrow, &begun.token).await, field("resume_token"));
    assert_eq!(refused(grouped, ExportFormat::Csv, "x").await, field("resume_token"));
    // What was sent before is another now.
    house
        .warehouse(&format!(
            "ALTER TABLE events DELETE WHERE event = 'row' AND {word} = '' SETTINGS mutations_sync = 2"
        ))
        .await;
    assert_eq!(refused(grouped, ExportFormat::Csv, &begun.token).await.0, Code::Aborted);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_the_answer_is_the_file() {
    let house = House::start().await;
    fill(&house, SOME).await;
    let sql = format!("{EVENTS} AND n < 1");
    let body = |format: &str| json!({"sql": {"sql": sql, "app_id": "xyz123"}, "format": format});
    let ask = async |accept: &str, body: &Value| {
        let request = house.http.post(format!("http://{}/v1/export", house.address)).bearer_auth(house.demo_key());
        let answer = request.header("accept", accept).json(body).send().await.unwrap();
        let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
        (answer.status().as_u16(), content_type, answer.text().await.unwrap())
    };
    let (status, content_type, csv) = ask("*/*", &body("EXPORT_FORMAT_CSV")).await;
    assert_eq!((status, content_type.as_str()), (200, "text/csv; charset=utf-8; header=present"));
    let first = "event_id,timestamp,n,word,even\r\nid-1,2026-03-01T00:01:00.000Z,0.25,\"\",true\r\n";
    assert!(csv.starts_with(first) && csv.lines().count() == 4, "{csv}");
    let (_, content_type, lines) = ask("*/*", &body("EXPORT_FORMAT_NDJSON")).await;
    assert_eq!((content_type.as_str(), lines.lines().count()), ("application/x-ndjson", 3));
    let (_, content_type, pieces) = ask("application/json", &body("EXPORT_FORMAT_CSV")).await;
    let last: Value = serde_json::from_str(pieces.lines().last().unwrap()).unwrap();
    assert_eq!(
        (content_type.as_str(), &last["last"], &last["rows"]),
        ("application/x-ndjson", &json!(true), &json!(3))
    );
    let (status, _, refusal) =
        ask("*/*", &json!({"sql": {"sql": "SELECT nothing FROM events", "app_id": "xyz123"}})).await;
    assert_eq!(status, 400, "{refusal}");
    assert!(refusal.contains("INVALID_QUERY"), "{refusal}");
}

/// Runs `penstock export` into a file; kills it at its first bytes if it is told to.
fn command(house: &House, out: &Path, kill: bool) -> bool {
    let mut child = Command::new(env!("CARGO_BIN_EXE_penstock"))
        .args(["export", "--server", &format!("http://{}", house.address), "--key", &house.demo_key()])
        .args(["--app", "xyz123", "--format", "csv", EVENTS, "--out"])
        .arg(out)
        .spawn()
        .unwrap();
    let started = Instant::now();
    while kill && fs::metadata(out).map_or(0, |file| file.len()) < 1 << 19 {
        assert!(started.elapsed() < PATIENCE && child.try_wait().unwrap().is_none(), "it never wrote half a mebibyte");
        std::thread::yield_now();
    }
    if kill {
        child.kill().unwrap();
    }
    child.wait().unwrap().success()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_goes_on_where_it_was_killed() {
    let house = House::start().await;
    fill(&house, SOME).await;
    let folder = tempfile::tempdir().unwrap();
    let (broken, whole) = (folder.path().join("broken.csv"), folder.path().join("whole.csv"));
    assert!(!command(&house, &broken, true));
    let notes = folder.path().join("broken.csv.resume");
    assert!(notes.exists());
    // What came after the last note comes again.
    fs::OpenOptions::new().append(true).open(&broken).unwrap().write_all(b"half a li").unwrap();
    assert!(command(&house, &broken, false) && command(&house, &whole, false));
    assert!(!notes.exists());
    assert!(fs::read(&broken).unwrap() == fs::read(&whole).unwrap(), "the files differ");
    assert_eq!(fs::read_to_string(&whole).unwrap().lines().count() as u64, SOME + 1);
}
