use std::{
    collections::HashMap,
    path::Path,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use tokio::{io::AsyncReadExt, net::TcpListener, task::JoinHandle};
use tower::ServiceExt;

use super::*;
use crate::{
    serve::{Door, ServeOptions, serve},
    tls::{TlsOptions, role_name},
};

/// Nothing here takes that long; what never comes true fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process of the role: says its name and the body that it got, and is asked for its health like any other.
struct Process {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    stop: CancellationToken,
    /// What it takes for anything, ms.
    breath: Arc<AtomicU64>,
    health: tonic_health::server::HealthReporter,
    server: JoinHandle<()>,
}

impl Process {
    async fn start(name: &'static str, tls: Option<Tls>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, name, tls)
    }

    fn on(listener: TcpListener, name: &'static str, tls: Option<Tls>) -> Self {
        let (address, calls, stop) =
            (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default(), CancellationToken::new());
        let (health, service) = tonic_health::server::health_reporter();
        let health_service = BoxCloneSyncService::new(tonic::service::Routes::new(service).prepare());
        let (counted, breath) = (Arc::clone(&calls), Arc::<AtomicU64>::default());
        let takes = Arc::clone(&breath);
        let service: HttpService = BoxCloneSyncService::new(service_fn(move |request: Request| {
            let (calls, health, takes) = (Arc::clone(&counted), health_service.clone(), takes.load(Ordering::SeqCst));
            async move {
                tokio::time::sleep(Duration::from_millis(takes)).await;
                if request.uri().path().starts_with("/grpc.health") {
                    return health.oneshot(request).await;
                }
                calls.fetch_add(1, Ordering::SeqCst);
                if request.uri().path() == "/hang" {
                    std::future::pending::<()>().await;
                }
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let said = [name.as_bytes(), b" ", &body].concat();
                Ok(Response::new(Body::new(Full::from(said))))
            }
        }));
        let options = ServeOptions { drain_seconds: 5, ..ServeOptions::default() };
        let door = tls.map_or(Door::Open, |tls| Door::Mesh { tls, roles: vec!["gateway".to_owned()] });
        let stopped = stop.clone();
        let server = tokio::spawn(async move { serve(listener, service, &options, door, stopped).await });
        Self { address, calls, stop, breath, health, server }
    }

    async fn drain(self) {
        self.stop.cancel();
        self.server.await.unwrap();
    }
}

fn upstream(addresses: &[SocketAddr], tls: Option<Tls>) -> HttpService {
    let list: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
    let is_read = |request: &Request| request.method() == http::Method::GET;
    service(Options { role: "query", addresses: list.join(",").parse().unwrap(), tls, is_read })
}

async fn send(upstream: &HttpService, request: Request) -> (http::StatusCode, String) {
    let answer = tokio::time::timeout(PATIENCE, upstream.clone().oneshot(request)).await.unwrap().unwrap();
    let status = answer.status();
    (status, String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

fn post(path: &str, body: &'static str) -> Request {
    http::Request::post(path).body(Body::new(Full::new(Bytes::from_static(body.as_bytes())))).unwrap()
}

fn get(path: &str) -> Request {
    http::Request::get(path).body(Body::empty()).unwrap()
}

/// Asks until there is such an answer: what an upstream knows of its processes comes with time.
async fn until(upstream: &HttpService, request: impl Fn() -> Request, wanted: &str) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while send(upstream, request()).await.1 != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never came: {wanted}"));
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn calls_are_spread_and_one_that_can_not_begin_goes_elsewhere() {
    let (a, b) = (Process::start("a", None).await, Process::start("b", None).await);
    let upstream = upstream(&[a.address, nobody().await, b.address], None);
    until(&upstream, || post("/", "first"), "a first").await;
    let mut seen = HashMap::<String, u32>::new();
    for _ in 0..100 {
        let (status, said) = send(&upstream, post("/", "x")).await;
        assert_eq!(status, 200);
        *seen.entry(said).or_default() += 1;
    }
    assert!(seen["a x"] > 10 && seen["b x"] > 10 && seen.len() == 2, "{seen:?}");
}

#[tokio::test]
async fn calls_that_nobody_reads_from_take_no_window_from_others() {
    const CALLS: usize = 20;
    let process = Process::start("a", None).await;
    let upstream = upstream(&[process.address], None);
    until(&upstream, || post("/", "x"), "a x").await;
    let sent = Arc::new(AtomicUsize::new(0));
    let hanging: Vec<_> = (0..CALLS)
        .map(|_| {
            let (upstream, sent) = (upstream.clone(), Arc::clone(&sent));
            let endless = futures::stream::repeat_with(move || {
                sent.fetch_add(1 << 14, Ordering::SeqCst);
                Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from_static(&[0; 1 << 14])))
            });
            let body = Body::new(http_body_util::StreamBody::new(endless));
            tokio::spawn(upstream.oneshot(http::Request::post("/hang").body(body).unwrap()))
        })
        .collect();
    let window = ServeOptions::default().stream_window_bytes as usize;
    let full = tokio::time::timeout(PATIENCE, async {
        while sent.load(Ordering::SeqCst) < CALLS * window {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    full.await.expect("each has a window of its own");
    assert_eq!(send(&upstream, post("/", "x")).await.1, "a x", "by the same connection");
    hanging.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn a_tenant_stays_where_it_is_until_its_process_goes() {
    let processes = [Process::start("a", None).await, Process::start("b", None).await, Process::start("c", None).await];
    let addresses: Vec<_> = processes.iter().map(|p| p.address).collect();
    let upstream = upstream(&addresses, None);
    let of_tenant = |n: u64| {
        let mut request = get("/");
        request.extensions_mut().insert(Affinity(n));
        request
    };
    until(&upstream, || get("/"), "c ").await; // all three are known
    let mut homes = HashMap::new();
    for tenant in 0..60 {
        homes.insert(tenant, send(&upstream, of_tenant(tenant)).await.1);
        assert_eq!(send(&upstream, of_tenant(tenant)).await.1, homes[&tenant]);
    }
    let [a, b, c] = processes;
    for name in ["a ", "b ", "c "] {
        assert!(homes.values().filter(|home| *home == name).count() > 5, "{homes:?}");
    }
    c.drain().await;
    for (tenant, home) in &homes {
        let now = send(&upstream, of_tenant(*tenant)).await.1;
        assert!(if home == "c " { now != *home } else { now == *home }, "tenant {tenant} was at {home}, is at {now}");
    }
    drop((a, b));
}

#[tokio::test]
async fn an_affinity_gives_way_to_load() {
    let (a, b) = (Process::start("a", None).await, Process::start("b", None).await);
    let upstream = upstream(&[a.address, b.address], None);
    until(&upstream, || get("/"), "b ").await;
    until(&upstream, || get("/"), "a ").await;
    let before = (a.calls.load(Ordering::SeqCst), b.calls.load(Ordering::SeqCst));
    let hanging: Vec<_> = (0..20)
        .map(|_| {
            let mut request = post("/hang", "");
            request.extensions_mut().insert(Affinity(7));
            tokio::spawn(upstream.clone().oneshot(request))
        })
        .collect();
    let arrived = || (a.calls.load(Ordering::SeqCst) - before.0, b.calls.load(Ordering::SeqCst) - before.1);
    let waited = tokio::time::timeout(PATIENCE, async {
        while arrived().0 + arrived().1 < 20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap();
    let (at_a, at_b) = arrived();
    assert!(at_a.max(at_b) <= 13 && at_a.min(at_b) >= 7, "{at_a} and {at_b}: 125 % of 10 at most");
    hanging.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn one_that_is_slow_rather_than_dead_gets_no_calls_until_it_has_breath_again() {
    let (a, b) = (Process::start("a", None).await, Process::start("b", None).await);
    let upstream = upstream(&[a.address, b.address], None);
    let of_tenant = || {
        let mut request = get("/");
        request.extensions_mut().insert(Affinity(7));
        request
    };
    until(&upstream, || get("/"), "b ").await;
    until(&upstream, || get("/"), "a ").await;
    let (home, other) = if send(&upstream, of_tenant()).await.1 == "a " { (&a, "b ") } else { (&b, "a ") };
    home.breath.store(800, Ordering::SeqCst);
    until(&upstream, of_tenant, other).await;
    let before = home.calls.load(Ordering::SeqCst);
    for _ in 0..20 {
        assert_eq!(send(&upstream, of_tenant()).await.1, other);
        assert_eq!(send(&upstream, post("/", "")).await.1, other);
    }
    assert_eq!(home.calls.load(Ordering::SeqCst), before);
    home.breath.store(0, Ordering::SeqCst);
    let again = if other == "a " { "b " } else { "a " };
    until(&upstream, of_tenant, again).await;
}

#[tokio::test]
async fn a_drain_fails_no_call_and_new_ones_go_elsewhere() {
    let (a, b) = (Process::start("a", None).await, Process::start("b", None).await);
    let upstream = upstream(&[a.address, b.address], None);
    until(&upstream, || post("/", ""), "a ").await;
    let calling = {
        let upstream = upstream.clone();
        tokio::spawn(async move {
            let mut failed = Vec::new();
            for _ in 0..2_000 {
                let (status, said) = send(&upstream, post("/", "x")).await;
                if status != 200 {
                    failed.push(said);
                }
            }
            failed
        })
    };
    a.drain().await;
    assert_eq!(calling.await.unwrap(), Vec::<String>::new());
    assert_eq!(send(&upstream, post("/", "x")).await.1, "b x");
}

/// Takes a connection, reads what comes and hangs up: a process that dies with the call in its hands.
async fn dies_amid_calls(calls: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(socket).await.unwrap();
            // Health checks share the connection; what matters is the first call.
            while let Some(Ok((call, _))) = connection.accept().await {
                if !call.uri().path().starts_with("/grpc.health") {
                    calls.fetch_add(1, Ordering::SeqCst);
                    break;
                }
            }
        }
    });
    address
}

#[tokio::test]
async fn a_call_that_broke_off_is_sent_again_only_if_it_changes_nothing() {
    let (good, broken) = (Process::start("a", None).await, Arc::<AtomicUsize>::default());
    let dying = dies_amid_calls(Arc::clone(&broken)).await;
    let (status, said) = send(&upstream(&[dying], None), post("/", "")).await;
    assert!(status == 503 && said.contains("the process that worked on it can't be reached"), "{status} {said}");
    assert_eq!(broken.load(Ordering::SeqCst), 1, "sent once");

    let upstream = upstream(&[dying, good.address], None);
    until(&upstream, || get("/"), "a ").await;
    for _ in 0..50 {
        assert_eq!(send(&upstream, get("/")).await, (http::StatusCode::OK, "a ".to_owned()));
    }
}

#[tokio::test]
async fn a_process_that_says_it_drains_gets_no_calls_and_without_any_the_answer_is_unavailable() {
    let (a, b) = (Process::start("a", None).await, Process::start("b", None).await);
    let upstream = upstream(&[a.address, b.address], None);
    until(&upstream, || get("/"), "a ").await;
    a.health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            let before = a.calls.load(Ordering::SeqCst);
            for _ in 0..40 {
                send(&upstream, get("/")).await;
            }
            if a.calls.load(Ordering::SeqCst) == before {
                break;
            }
        }
    });
    waited.await.unwrap();
    a.drain().await;
    b.drain().await;
    let (status, said) = send(&upstream, get("/")).await;
    assert_eq!(status, 503, "{said}");
    assert!(said.contains("RetryInfo") && said.contains("the query service can't answer now"), "{said}");
}

/// An authority, and identities that it gives out.
struct Authority(rcgen::Certificate, rcgen::KeyPair);

impl Authority {
    fn new() -> Self {
        let mut parameters = rcgen::CertificateParams::new(vec![]).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        Self(parameters.self_signed(&key).unwrap(), key)
    }

    fn identity(&self, dir: &Path, role: &str) -> TlsOptions {
        std::fs::write(dir.join(format!("{role}.ca")), self.0.pem()).unwrap();
        self.certify(dir, role);
        let path = |name: &str| dir.join(format!("{role}.{name}"));
        TlsOptions { authority: path("ca"), certificate: path("pem"), key: path("key") }
    }

    /// Writes a new certificate and its key.
    fn certify(&self, dir: &Path, role: &str) {
        let mut parameters = rcgen::CertificateParams::new(vec![]).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = rcgen::Issuer::new(parameters, &self.1);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate =
            rcgen::CertificateParams::new(vec![role_name(role)]).unwrap().signed_by(&key, &issuer).unwrap();
        std::fs::write(dir.join(format!("{role}.pem")), certificate.pem()).unwrap();
        std::fs::write(dir.join(format!("{role}.key")), key.serialize_pem()).unwrap();
    }
}

#[tokio::test]
async fn only_the_right_roles_of_the_right_authority_meet() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (authority, other) = (Authority::new(), Authority::new());
    let tls = |options: TlsOptions| Tls::load(&options).unwrap();
    let secured = |role| Some(tls(authority.identity(dir.path(), role)));
    let query = Process::start("query", secured("query")).await;
    let ingest = Process::start("ingest", secured("ingest")).await;

    let gateway = tls(authority.identity(dir.path(), "gateway"));
    until(&upstream(&[query.address], Some(gateway.clone())), || get("/"), "query ").await;

    let status = |upstream: HttpService| async move { send(&upstream, get("/")).await.0 };
    let refused = [
        ("another role's server", upstream(&[ingest.address], Some(gateway.clone()))),
        ("a role that may not call", upstream(&[query.address], Some(tls(authority.identity(dir.path(), "pipeline"))))),
        (
            "another authority's gateway",
            upstream(&[query.address], Some(tls(other.identity(other_dir.path(), "gateway")))),
        ),
        ("a caller without TLS", upstream(&[query.address], None)),
    ];
    for (who, upstream) in refused {
        assert_eq!(status(upstream).await, 503, "{who}");
    }
    assert_eq!((query.calls.load(Ordering::SeqCst), ingest.calls.load(Ordering::SeqCst)), (1, 0));

    // What is not TLS gets no answer at all.
    let mut plain = tokio::net::TcpStream::connect(query.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut plain, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn new_certificates_are_used_without_a_restart_and_bad_ones_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new(), Authority::new());
    let server = Tls::load(&old.identity(dir.path(), "query")).unwrap();
    let stop = CancellationToken::new();
    let following = tokio::spawn(server.clone().follow(stop.clone()));
    let process = Process::start("query", Some(server)).await;
    let gateway = |authority: &Authority| Tls::load(&authority.identity(dir.path(), "gateway")).unwrap();
    let old_gateway = gateway(&old);
    until(&upstream(&[process.address], Some(old_gateway.clone())), || get("/"), "query ").await;

    std::fs::write(dir.path().join("query.pem"), "not a certificate").unwrap();
    until(&upstream(&[process.address], Some(old_gateway.clone())), || get("/"), "query ").await;

    new.identity(dir.path(), "query");
    let new_gateway = gateway(&new);
    let waited = tokio::time::timeout(PATIENCE, async {
        while send(&upstream(&[process.address], Some(new_gateway.clone())), get("/")).await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    waited.await.expect("the new authority is trusted");
    assert_eq!(send(&upstream(&[process.address], Some(old_gateway)), get("/")).await.0, 503);
    stop.cancel();
    following.await.unwrap();
}

/// Both ends get certificates of another authority, as an installation would do it: first both trust both, then both are certified anew, then
/// the old one is trusted no more.
#[tokio::test]
async fn certificates_rotate_and_no_call_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new(), Authority::new());
    let [server, client] = ["query", "gateway"].map(|role| Tls::load(&old.identity(dir.path(), role)).unwrap());
    let stop = CancellationToken::new();
    let following = [&server, &client].map(|tls| tokio::spawn(tls.clone().follow(stop.clone())));
    let process = Process::start("query", Some(server)).await;
    let lasting = upstream(&[process.address], Some(client.clone()));
    until(&lasting, || get("/"), "query ").await;

    let (over, calls) = (CancellationToken::new(), Arc::<AtomicUsize>::default());
    let (ended, made) = (over.clone(), Arc::clone(&calls));
    let (address, by) = (process.address, client.clone());
    let calling = tokio::spawn(async move {
        while !ended.is_cancelled() {
            assert_eq!(
                send(&lasting, get("/")).await,
                (http::StatusCode::OK, "query ".to_owned()),
                "on a connection that is there"
            );
            let anew = upstream(&[address], Some(by.clone()));
            assert_eq!(send(&anew, get("/")).await.0, 200, "by a handshake of now");
            made.fetch_add(1, Ordering::SeqCst);
        }
    });
    // What is written is used once a process with these certificates, and none but these, is let in or finds the server.
    let outsider = |authority: &Authority, trusted: &str, to: &str| {
        let other = tempfile::tempdir().unwrap();
        let options = authority.identity(other.path(), to);
        std::fs::write(&options.authority, trusted).unwrap();
        Tls::load(&options).unwrap()
    };
    let (both, roles) = (format!("{}{}", old.0.pem(), new.0.pem()), ["query", "gateway"]);
    for role in roles {
        std::fs::write(dir.path().join(format!("{role}.ca")), &both).unwrap();
    }
    until(&upstream(&[address], Some(outsider(&new, &both, "gateway"))), || get("/"), "query ").await;
    let of_new = Process::start("query", Some(outsider(&new, &both, "query"))).await;
    until(&upstream(&[of_new.address], Some(client.clone())), || get("/"), "query ").await;

    roles.iter().for_each(|role| new.certify(dir.path(), role));
    until(&upstream(&[address], Some(outsider(&new, &new.0.pem(), "gateway"))), || get("/"), "query ").await;
    let trusts_new = Process::start("query", Some(outsider(&new, &new.0.pem(), "query"))).await;
    until(&upstream(&[trusts_new.address], Some(client)), || get("/"), "query ").await;

    for role in roles {
        std::fs::write(dir.path().join(format!("{role}.ca")), new.0.pem()).unwrap();
    }
    let stranger = outsider(&old, &both, "gateway");
    let refused = tokio::time::timeout(PATIENCE, async {
        while send(&upstream(&[address], Some(stranger.clone())), get("/")).await.0 == 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    refused.await.expect("the old authority is trusted no more");
    let before = calls.load(Ordering::SeqCst);
    let more = tokio::time::timeout(PATIENCE, async {
        while calls.load(Ordering::SeqCst) < before + 20 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    more.await.expect("calls go on");
    over.cancel();
    calling.await.unwrap();
    stop.cancel();
    for following in following {
        following.await.unwrap();
    }
}
