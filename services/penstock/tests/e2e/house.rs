//! The real program in a directory of its own: started, killed, started again.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rand::RngExt;
use serde_json::{Value, json};
use storage::conformance::stand::ClickHouse;
use tempfile::TempDir;
use tokio::time::sleep;
use tonic::transport::Channel;

/// How long a condition may take before the test fails. Generous: it bounds a hang, it measures nothing.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// A running Penstock with the demo tenant (`demo`, app `xyz123`).
pub struct House {
    dir: PathBuf,
    /// Deleted at the end; none if the directory is a stand's.
    _scratch: Option<TempDir>,
    config: String,
    /// The ClickHouse servers that are its warehouse, each a shard; none if it has one of its own.
    shards: Vec<String>,
    child: Option<Child>,
    pub address: String,
    pub ops_address: String,
    pub http: reqwest::Client,
}

impl House {
    /// A house with the default configuration.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// A house whose configuration file has this text.
    pub async fn start_with(config: &str) -> Self {
        let mut house = Self::prepared(config);
        house.launch().await;
        house
    }

    /// One that was not launched yet.
    pub fn prepared(config: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        Self {
            dir: scratch.path().to_owned(),
            _scratch: Some(scratch),
            config: config.to_owned(),
            shards: Vec::new(),
            child: None,
            address: String::new(),
            ops_address: String::new(),
            http: reqwest::Client::new(),
        }
    }

    /// One whose warehouse is a cluster of these servers, with more tables of settings.
    pub async fn on_shards(servers: &ClickHouse, config: &str) -> Self {
        let mut house = Self::prepared(&on_shards(servers.urls(), config));
        house.shards = servers.urls().to_vec();
        house.launch().await;
        house
    }

    /// What a stand in `dir` is to its customers, by the gateway at `address`.
    pub fn of_stand(dir: PathBuf, address: String) -> Self {
        let (config, ops_address) = (String::new(), String::new());
        // No connection outlives the test that made it, and with it the runtime that it needs.
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Self { dir, _scratch: None, config, shards: Vec::new(), child: None, address, ops_address, http }
    }

    /// Gives a house that stands still these shards.
    pub fn configure_shards(&mut self, urls: &[String], config: &str) {
        self.configure(&on_shards(urls, config));
    }

    /// Gives a house that stands still another configuration.
    pub fn configure(&mut self, config: &str) {
        self.config = config.to_owned();
        self.write_config();
    }

    fn write_config(&self) -> PathBuf {
        let file = self.dir.join("penstock.toml");
        std::fs::write(&file, &self.config).unwrap();
        file
    }

    /// Starts the program again on the same data, on new ports, and waits until it is ready.
    pub async fn launch(&mut self) {
        self.spawn();
        self.ready().await;
    }

    /// Starts the program without waiting for it.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "the house runs already");
        (self.address, self.ops_address) = (free_address(), free_address());
        let config = self.write_config();
        let errors = std::fs::File::options().create(true).append(true).open(self.log_path()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_penstock"))
            .arg("serve")
            .args(["--demo", "--listen", &self.address, "--ops-listen", &self.ops_address])
            .arg("--config")
            .arg(config)
            .arg("--data")
            .arg(self.data())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// Waits until the program says that it is ready.
    pub async fn ready(&mut self) {
        let ready = format!("http://{}/readyz", self.ops_address);
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                panic!("the program ended with {status} instead of starting:\n{}", self.log());
            }
            let keys = self.data().join("operator.key").exists() && self.data().join("demo.key").exists();
            match self.http.get(&ready).send().await {
                Ok(answer) if answer.status().is_success() && keys => return,
                _ => assert!(started.elapsed() < PATIENCE, "not ready:\n{}", self.log()),
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until something holds of the house.
    pub async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !holds(self) {
            assert!(started.elapsed() < PATIENCE, "what was waited for did not come");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// kill -9 of the server. Its warehouse process goes with it by itself.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the house runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Server and warehouse stand still.
    pub fn freeze(&self) {
        let pids = [Some(self.pid()), self.warehouse_pid()].into_iter().flatten().map(|pid| pid.to_string());
        assert!(Command::new("kill").arg("-STOP").args(pids).status().unwrap().success());
    }

    /// SIGTERM, and waits for the orderly end.
    pub fn terminate(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the house runs");
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
        child.wait().unwrap()
    }

    /// The process id of the server; on a stand, of the warehouse role.
    pub fn pid(&self) -> u32 {
        match &self.child {
            Some(child) => child.id(),
            None => read(&self.dir.join("warehouse/pid")).parse().unwrap(),
        }
    }

    /// The warehouse's process id: the server's child.
    pub fn warehouse_pid(&self) -> Option<u32> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).ok()?;
        // A child is its thread's; that may have ended between two looks.
        let children = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
        children.flat_map(|pids| pids.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).next()
    }

    /// kill -9 of the warehouse process.
    pub fn kill_warehouse(&self) {
        let pid = self.warehouse_pid().expect("the warehouse runs");
        assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    }

    /// Where the warehouse listens, and the key that it wants. Only what runs on this machine can know.
    pub fn warehouse_address(&self) -> (String, String) {
        let pid = self.warehouse_pid().expect("the warehouse runs");
        let arguments = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        let address = arguments.split('\0').skip_while(|argument| *argument != "--listen").nth(1).unwrap();
        (address.to_owned(), read(&self.data().join("warehouse/access.key")))
    }

    /// Has every server of the warehouse do something, past the product.
    pub async fn each_warehouse(&self, statement: &str) {
        if self.shards.is_empty() {
            self.warehouse(statement).await;
        }
        for url in &self.shards {
            let request = self.http.post(format!("{url}/?database=penstock")).body(statement.to_owned());
            request.send().await.unwrap().error_for_status().unwrap();
        }
    }

    /// From here on a retry comes after the engine has forgotten the tokens, as after an outage longer than its window.
    pub async fn forget_tokens(&self) {
        for table in ["events", "users", "uncounted", "daily_users"] {
            let forget = format!("ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 1");
            self.each_warehouse(&forget).await;
        }
    }

    /// Asks the warehouse itself, past the product: its answer as text.
    pub async fn warehouse(&self, statement: &str) -> String {
        if let Some(url) = self.shards.first() {
            let request = self.http.post(format!("{url}/?database=penstock_all&distributed_product_mode=global"));
            let answer = request.body(statement.to_owned()).send().await.unwrap();
            return answer.error_for_status().unwrap().text().await.unwrap();
        }
        let (address, key) = self.warehouse_address();
        let request = self.http.post(format!("http://{address}/?database=penstock")).header("x-clickhouse-key", key);
        request.body(statement.to_owned()).send().await.unwrap().error_for_status().unwrap().text().await.unwrap()
    }

    /// What the warehouse has done of late, a query each.
    pub async fn warehouse_log(&self) -> Vec<Value> {
        let (address, key) = self.warehouse_address();
        let request = self.http.get(format!("http://{address}/query_log")).header("x-clickhouse-key", key);
        let lines = request.send().await.unwrap().error_for_status().unwrap().text().await.unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// A metric of the house; 0 before it was first counted.
    pub async fn metric(&self, name: &str) -> f64 {
        let text =
            self.http.get(format!("http://{}/metrics", self.ops_address)).send().await.unwrap().text().await.unwrap();
        let of = |line: &str| line.split([' ', '{']).next() == Some(name);
        text.lines().filter(|line| of(line)).map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// Waits until a metric is as wanted.
    pub async fn until_metric(&self, name: &str, wanted: impl Fn(f64) -> bool) {
        let started = Instant::now();
        loop {
            let value = self.metric(name).await;
            if wanted(value) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{name} is {value}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Everything that the house keeps.
    pub fn data(&self) -> PathBuf {
        if self._scratch.is_some() { self.dir.join("data") } else { self.dir.clone() }
    }

    /// The key of the tenant `demo`: all its apps; may ingest, query, define metrics, administer, backfill, export.
    pub fn demo_key(&self) -> String {
        read(&self.data().join("demo.key"))
    }

    /// The operator's key.
    pub fn operator_key(&self) -> String {
        read(&self.data().join("operator.key"))
    }

    /// The log lines so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("log.jsonl")
    }

    /// A call by JSON: the status and the body (null if it isn't JSON).
    pub async fn post(&self, key: &str, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("http://{}{path}", self.address);
        let answer = self.http.post(url).bearer_auth(key).json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    /// The rows of a SELECT, which must succeed, as plain values.
    pub async fn sql(&self, key: &str, sql: &str, position_token: &str) -> Vec<Vec<Value>> {
        let options = json!({"position_token": position_token, "max_wait_ms": 30_000});
        rows(&self.answer(key, &json!({"sql": sql, "options": options})).await["result"])
    }

    /// The answer to a SELECT, which must succeed.
    pub async fn answer(&self, key: &str, question: &Value) -> Value {
        self.patient(key, "/v1/sql", question).await
    }

    /// Sends events, which must be taken: each with an id, so that none counts twice.
    pub async fn publish(&self, key: &str, events: &[Value]) -> Value {
        self.patient(key, "/v1/events", &json!(events)).await
    }

    /// A call of one who comes again when told so: a part is away for a moment, or what the token covers isn't there yet. On a machine that
    /// stands still now and then, either may be.
    async fn patient(&self, key: &str, path: &str, body: &Value) -> Value {
        let asked = Instant::now();
        loop {
            let (status, answer) = self.post(key, path, body).await;
            if ![503, 504].contains(&status) || asked.elapsed() > PATIENCE {
                assert_eq!(status, 200, "{path} {body}: {answer}");
                return answer;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// A gRPC channel.
    pub async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    /// Makes a tenant with an app and a key, as an operator does; returns the key. Whoever is told to come again does.
    pub async fn tenant(&self, tenant: &str, app: &str, permissions: &[&str]) -> String {
        let operator = self.operator_key();
        let make = async |path, body| {
            let started = Instant::now();
            loop {
                match self.post(&operator, path, &body).await {
                    (200 | 409, answer) => return answer,
                    (503, _) if started.elapsed() < PATIENCE => sleep(Duration::from_millis(200)).await,
                    (status, answer) => panic!("{path}: {status} {answer}"),
                }
            }
        };
        make("/v1/tenants", json!({"tenant": {"tenant_id": tenant}})).await;
        make("/v1/apps", json!({"tenant_id": tenant, "app": {"app_id": app}})).await;
        let permissions: Vec<_> = permissions.iter().map(|p| format!("PERMISSION_{}", p.to_uppercase())).collect();
        let key = json!({"tenant_id": tenant, "permissions": permissions, "app_ids": [app]});
        make("/v1/keys", key).await["secret"].as_str().unwrap().to_owned()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(40).collect();
            eprintln!("the end of the house's log:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
    }
}

/// The rows of a result in proto JSON, each value without its tag.
pub fn rows(result: &Value) -> Vec<Vec<Value>> {
    let untag =
        |value: &Value| value.as_object().and_then(|tagged| tagged.values().next().cloned()).unwrap_or(Value::Null);
    let rows = result["rows"].as_array().cloned().unwrap_or_default();
    rows.iter().map(|row| row["values"].as_array().map(|v| v.iter().map(untag).collect()).unwrap_or_default()).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

/// Below the ports that the system gives to clients and those of a stand, so that nobody takes it before its owner does.
pub fn free_address() -> String {
    static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let port = rand::rng().random_range(10_000..20_000);
        if TAKEN.lock().insert(port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return format!("127.0.0.1:{port}");
        }
    }
}

fn on_shards(urls: &[String], config: &str) -> String {
    format!("warehouse = \"cluster:\"\n[cluster]\nkeeper = false\nshards = {urls:?}\n{config}")
}
