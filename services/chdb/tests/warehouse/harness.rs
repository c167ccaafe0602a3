//! A warehouse of its own for each test, and ways to talk to it.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chdb::{Supervisor, SupervisorConfig};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

/// Nothing here takes that long; a condition that never comes true fails the test instead of hanging it.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Warehouse {
    pub(crate) supervisor: Supervisor,
    pub(crate) address: SocketAddr,
    directory: tempfile::TempDir,
}

impl Warehouse {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With further arguments of the program.
    pub(crate) async fn with(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = free_address();
        let mut all = program_arguments(&directory.path().join("data"), address);
        all.extend(arguments.iter().map(|&a| a.to_owned()));
        let config = SupervisorConfig::new(program(), all.into_iter().map(Into::into).collect(), address);
        let supervisor = Supervisor::start(config);
        tokio::time::timeout(PATIENCE, supervisor.ready()).await.expect("the warehouse starts");
        Self { supervisor, address, directory }
    }

    /// A directory that the test may use.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The official client with its defaults: validation, LZ4.
    pub(crate) fn client(&self) -> clickhouse::Client {
        clickhouse::Client::default().with_url(self.url())
    }

    pub(crate) async fn post(&self, query: &str, body: impl Into<Bytes>) -> Answer {
        self.send(Method::POST, query, &[], body.into()).await
    }

    /// The text of a statement's answer; panics if it failed.
    pub(crate) async fn run(&self, sql: &str) -> String {
        let answer = self.post("", sql.to_owned()).await;
        assert_eq!(answer.status, StatusCode::OK, "{sql}: {}", answer.text());
        answer.text()
    }

    pub(crate) async fn send(&self, method: Method, query: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("/?{query}")).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.exchange(request.body(Full::new(body)).unwrap()).await
    }

    pub(crate) async fn exchange(&self, request: Request<Full<Bytes>>) -> Answer {
        let (parts, mut incoming) = self.begin(request).await.into_parts();
        let (mut body, mut broken) = (Vec::new(), false);
        while let Some(frame) = incoming.frame().await {
            match frame {
                Ok(frame) => body.extend(frame.into_data().unwrap_or_default()),
                Err(_) => {
                    broken = true;
                    break;
                }
            }
        }
        Answer { status: parts.status, headers: parts.headers, body, broken }
    }

    /// Waits for an answer's head only: the query runs until the result is dropped.
    pub(crate) async fn hold(&self, sql: &str) -> http::Response<Incoming> {
        let request = Request::post("/").header("host", "localhost").body(Full::new(sql.to_owned().into()));
        let answer = self.begin(request.unwrap()).await;
        assert_eq!(answer.status(), StatusCode::OK, "{sql}");
        answer
    }

    async fn begin(&self, request: Request<Full<Bytes>>) -> http::Response<Incoming> {
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    }

    /// The ids of the running queries, but for the one that asks.
    pub(crate) async fn running(&self) -> Vec<String> {
        static OBSERVERS: AtomicU64 = AtomicU64::new(0);
        let sql = "SELECT Settings['log_comment'] AS id FROM system.processes WHERE NOT startsWith(id, 'observer-') FORMAT TSVRaw";
        let query = format!("query_id=observer-{}", OBSERVERS.fetch_add(1, Ordering::Relaxed));
        let answer = self.post(&query, sql).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.text().lines().map(str::to_owned).collect()
    }

    pub(crate) async fn wait_running(&self, id: &str, expected: bool) {
        wait_for(&format!("running({id}) is {expected}"), || async {
            self.running().await.iter().any(|running| running == id) == expected
        })
        .await;
    }

    /// `kill -9`, and waits until its successor serves.
    pub(crate) async fn crash(&self) {
        let mut health = self.supervisor.health();
        let pid = self.supervisor.pid().unwrap();
        kill(pid, rustix::process::Signal::KILL);
        tokio::time::timeout(PATIENCE, health.wait_for(|_| self.supervisor.pid() != Some(pid))).await.unwrap().unwrap();
        tokio::time::timeout(PATIENCE, self.supervisor.ready()).await.expect("the warehouse is back");
    }
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Whether the body ended before its end.
    pub(crate) broken: bool,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// ClickHouse's error code; 0 if there is none.
    pub(crate) fn code(&self) -> u32 {
        self.headers.get("x-clickhouse-exception-code").map_or(0, |c| c.to_str().unwrap().parse().unwrap())
    }
}

pub(crate) fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_penstock-chdb"))
}

pub(crate) fn program_arguments(data_dir: &Path, address: SocketAddr) -> Vec<String> {
    let engine = chdb::find_library(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap_or_else(|e| panic!("{e}"));
    vec![
        format!("--engine={}", engine.display()),
        format!("--data-dir={}", data_dir.display()),
        format!("--listen={address}"),
        "--exit-with-stdin".to_owned(),
    ]
}

pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub(crate) fn kill(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Asks until `condition` holds.
pub(crate) async fn wait_for<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never came true: {what}"));
}

/// SplitMix64: enough randomness for a test, and a seed to repeat it.
pub(crate) struct Random(u64);

impl Random {
    /// From `PENSTOCK_SEED`, else from the clock; prints it.
    pub(crate) fn new() -> Self {
        let clock = || std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        let seed = std::env::var("PENSTOCK_SEED").map_or_else(|_| clock(), |seed| seed.parse().unwrap());
        println!("PENSTOCK_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    pub(crate) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}
