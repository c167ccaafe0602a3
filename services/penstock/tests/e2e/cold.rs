//! Old events lie in a bucket, and nobody who asks can tell.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use api::{convert::time_to_wire, v1, v1::value::Kind};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    clients::{event, event_json},
    erasure,
    house::{House, PATIENCE, free_address},
    replay,
};

const DAY_MS: i64 = 86_400_000;
const APP: &str = "xyz123";

/// A real server of S3 over a directory.
pub struct Bucket {
    dir: tempfile::TempDir,
    pub address: String,
    server: Option<Child>,
}

impl Bucket {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("events")).unwrap();
        let mut bucket = Self { dir, address: free_address(), server: None };
        bucket.launch().await;
        bucket
    }

    async fn launch(&mut self) {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/versitygw/versitygw");
        let mut command = Command::new(program);
        command.args(["--port", &self.address, "posix"]).arg(self.dir.path());
        command.envs([("ROOT_ACCESS_KEY", "penstock"), ("ROOT_SECRET_KEY", "hush hush")]);
        self.server =
            Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("make backends builds it"));
        let up = async { while tokio::net::TcpStream::connect(&self.address).await.is_err() {} };
        tokio::time::timeout(PATIENCE, up).await.unwrap();
    }

    fn kill(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    pub fn key_file(&self) -> PathBuf {
        self.dir.path().with_extension("key")
    }

    /// The keys of all objects.
    fn objects(&self) -> BTreeSet<String> {
        fn files(dir: &Path, found: &mut Vec<PathBuf>) {
            // What is deleted meanwhile isn't there.
            for path in std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
                if path.is_dir() { files(&path, found) } else { found.push(path) }
            }
        }
        let (root, mut found) = (self.dir.path().join("events"), Vec::new());
        files(&root, &mut found);
        found.iter().map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.kill();
        }
        let _ = std::fs::remove_file(self.key_file());
    }
}

/// Events of today and of 40 days ago; the token that covers both.
async fn publish(house: &House, key: &str) -> String {
    let now_ms = Timestamp::now().as_millisecond();
    let of_day = |days: i64| {
        (0..500).map(move |i| v1::Event {
            timestamp: Some(time_to_wire(now_ms - days * DAY_MS)),
            ..event("visit", &format!("{days}-{i}"), &format!("u{}", i % 9), &[("n", Kind::Integer(days * i))])
        })
    };
    let events: Vec<_> = of_day(0).chain(of_day(40)).map(|event| event_json(&event)).collect();
    let (status, answer) = house.post(key, &format!("/v1/events?app_id={APP}"), &json!(events)).await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(1000)), "{answer}");
    answer["position_token"].as_str().unwrap().to_owned()
}

const ALL: &str = "SELECT date_trunc('day', timestamp) AS day, COUNT(*), COUNT(DISTINCT user_id), SUM(n) FROM events \
    WHERE app_id = 'xyz123' GROUP BY day ORDER BY day";
const HOT: &str = "SELECT COUNT(*), SUM(n) FROM events WHERE app_id = 'xyz123' AND timestamp > now() - INTERVAL 2 DAY";
const COLD: &str =
    "SELECT COUNT(*), SUM(n) FROM events WHERE app_id = 'xyz123' AND timestamp < now() - INTERVAL 30 DAY";

async fn disks(house: &House) -> String {
    let parts = "SELECT disk_name, sum(rows) FROM system.parts WHERE database = 'penstock' AND table = 'events' AND active \
                 GROUP BY disk_name ORDER BY disk_name";
    house.warehouse(parts).await
}

async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let holds = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, holds).await.expect("what was waited for did not come");
}

async fn status(house: &House, key: &str, sql: &str) -> (u16, Value) {
    let (status, answer) = house.post(key, "/v1/sql", &json!({"sql": sql})).await;
    (status, answer["error"]["status"].clone())
}

#[tokio::test]
async fn old_events_move_to_a_bucket_and_answer_as_before() {
    let mut bucket = Bucket::start().await;
    // It kept everything at home first.
    let mut house = House::start().await;
    let key = house.demo_key();
    let token = publish(&house, &key).await;
    let before = house.sql(&key, ALL, &token).await;
    assert_eq!(before.len(), 2, "{before:?}");
    assert_eq!(disks(&house).await, "default\t1000\n");

    let (url, key_file) = (format!("http://{}/events/penstock", bucket.address), bucket.key_file());
    house.configure(&format!(
        "[cold]\nto = {url:?}\nregion = \"us-east-1\"\nkey_file = {key_file:?}\n[retention]\nlook_seconds = 1\n{}",
        erasure::CONFIG
    ));
    std::fs::write(&key_file, "penstock\nwrong\n").unwrap();
    assert!(house.terminate().success());
    house.launch().await;
    house.until(|house| house.log().contains("old events can't move")).await;
    assert_eq!(house.sql(&key, ALL, "").await, before, "a wrong key is said, and nothing else comes of it");
    std::fs::write(&key_file, "penstock\nhush hush\n").unwrap();
    assert!(house.terminate().success());
    house.launch().await;
    eventually(async || disks(&house).await == "cold\t500\ndefault\t500\n").await;
    assert_ne!(bucket.objects(), BTreeSet::new());
    assert_eq!(house.sql(&key, ALL, "").await, before);
    house.kill();
    house.launch().await;
    assert_eq!(house.sql(&key, ALL, "").await, before, "also after a restart");

    // Rows of old days that are made anew lie where old ones do.
    house.warehouse("ALTER TABLE events DELETE WHERE _offset % 3 = 0 SETTINGS mutations_sync = 2").await;
    assert_ne!(house.sql(&key, HOT, "").await[0][0], json!(500));
    replay::done(&house, &replay::start(&house).await).await;
    assert_eq!(house.sql(&key, ALL, "").await, before);
    eventually(async || disks(&house).await == "cold\t500\ndefault\t500\n").await;

    // Without the bucket new events answer, and old ones say that they can't now.
    bucket.kill();
    let hot = house.sql(&key, HOT, "").await;
    assert_eq!(hot[0][0], json!(500));
    assert_eq!(status(&house, &key, COLD).await, (503, json!("UNAVAILABLE")));
    bucket.launch().await;
    assert_eq!(house.sql(&key, COLD, "").await[0][0], json!(500));

    // A warehouse that is started without it waits for it, and has lost nothing.
    bucket.kill();
    house.kill_warehouse();
    house.until(|house| house.log().contains("it ended: exit status")).await;
    bucket.launch().await;
    eventually(async || status(&house, &key, COLD).await.0 == 200).await;
    assert_eq!(house.sql(&key, ALL, "").await, before);

    // Whom it is to forget the bucket forgets too: a part that keeps rows of others is written anew, and files go some time after their part.
    let soon = "ALTER TABLE events MODIFY SETTING old_parts_lifetime = 1, cleanup_delay_period = 1, cleanup_delay_period_random_add = 0, \
        merge_tree_clear_old_parts_interval_seconds = 1";
    house.warehouse(soon).await;
    let theirs = parts(&house, "user = 'u3'").await;
    erasure::done(&house, &key, &erasure::erase_of(&house, &key, APP, "u3").await).await;
    assert_eq!(house.sql(&key, COLD, "").await[0][0], json!(500 - 56), "one in nine");

    // What is no longer kept goes from there too.
    let old = parts(&house, "ts < now() - INTERVAL 30 DAY").await;
    let keep = house.http.put(format!("http://{}/v1/retention", house.address)).bearer_auth(house.operator_key());
    let answer = keep.json(&json!({"tenant_id": "demo", "days": 35})).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    eventually(async || house.sql(&key, COLD, "").await[0][0] == json!(0)).await;
    assert_eq!(house.sql(&key, ALL, "").await.len(), 1);
    until_gone(&house, &bucket, &format!("{theirs}, {old}")).await;
}

/// The parts that have such rows, as a list.
async fn parts(house: &House, rows: &str) -> String {
    let parts = house.warehouse(&format!("SELECT DISTINCT _part FROM events WHERE {rows}")).await;
    assert_ne!(parts, "");
    parts.lines().map(|part| format!("'{part}'")).collect::<Vec<_>>().join(", ")
}

/// Waits until none of the parts is there, active or not, and the bucket has nothing but what the warehouse's parts name.
async fn until_gone(house: &House, bucket: &Bucket, parts: &str) {
    let left = format!("SELECT count() FROM system.parts WHERE table = 'events' AND name IN ({parts})");
    eventually(async || {
        // The engine cleans up behind an insert, and else when it gets around to it.
        let event = json!([{"app_id": APP, "event_type": "later", "user_id": "u0"}]);
        assert_eq!(house.post(&house.demo_key(), "/v1/events", &event).await.0, 200);
        house.warehouse(&left).await == "0\n"
    })
    .await;
    let named = "SELECT DISTINCT remote_path FROM system.remote_data_paths WHERE disk_name = 'cold'";
    eventually(async || {
        let objects = bucket.objects();
        let named: BTreeSet<_> = house.warehouse(named).await.lines().map(str::to_owned).collect();
        objects == named
    })
    .await;
}
