//! What the gateway's whole stack adds to a unary call: the same small gRPC method, bare and behind the stack, in this one process.
//!
//! `cargo bench -p gateway` prints the time and the allocations of a call that is handed to the service directly, and the calls a
//! second and times that a client sees over loopback, where the bare method is served by tonic's own server. Ways take turns, so
//! that whatever else the machine does meets both.

#![allow(clippy::unwrap_used, clippy::print_stdout, unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use api::v1;
use gateway::{Options, Parts, Services, Uses};
use http_body_util::BodyExt;
use mesh::{
    Body, HttpService, Request,
    serve::{Door, ServeOptions, serve},
    signed::SigningKey,
};
use model::{AppSet, Environment, KeyText, Permission, Priority, Scope, TenantId};
use storage::{Key, Tenant};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::{
    Response, Status,
    body::Body as TonicBody,
    codegen::Service,
    metadata::{Ascii, MetadataValue},
    server::{Grpc, NamedService, UnaryService},
    transport::{Channel, Server},
};
use tonic_prost::ProstCodec;
use tower::{ServiceExt, util::BoxCloneSyncService};

const PATH: &str = "/penstock.v1.QueryService/Describe";
/// Calls handed to a service directly, and rounds of calls over the network.
const DIRECT: usize = 100_000;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
const CONNECTIONS: usize = 4;
const IN_FLIGHT: usize = 64;

/// Counts what each thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: everything is handed to mimalloc as it came, which is what the program allocates with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1)); // a thread that ends counts no more
        unsafe { mimalloc::MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        unsafe { mimalloc::MiMalloc.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
        unsafe { mimalloc::MiMalloc.realloc(place, layout, size) }
    }
}

/// The method.
#[derive(Clone)]
struct Describe;

impl UnaryService<v1::DescribeRequest> for Describe {
    type Response = v1::DescribeResponse;
    type Future = Ready<Result<Response<v1::DescribeResponse>, Status>>;

    fn call(&mut self, request: tonic::Request<v1::DescribeRequest>) -> Self::Future {
        let tenant_id = request.into_inner().app_id;
        ready(Ok(Response::new(v1::DescribeResponse { tenant_id, ..Default::default() })))
    }
}

/// Its service.
#[derive(Clone)]
struct Bare;

impl NamedService for Bare {
    const NAME: &'static str = "penstock.v1.QueryService";
}

impl Service<http::Request<TonicBody>> for Bare {
    type Response = http::Response<TonicBody>;
    type Error = Infallible;
    type Future = futures::future::BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<TonicBody>) -> Self::Future {
        let codec = ProstCodec::<v1::DescribeResponse, v1::DescribeRequest>::default();
        Box::pin(async move { Ok(Grpc::new(codec).unary(Describe, request).await) })
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (dir, bare) = (tempfile::tempdir().unwrap(), BoxCloneSyncService::new(Bare));
        let (stack, key) = stack(&dir, bare.clone()).await;
        println!("a unary call           {:>12} {:>12} {:>12}", "P50 us", "P99 us", "allocations");
        let (mut without, mut with) = (Direct::default(), Direct::default());
        for _ in 0..DIRECT / 1_000 {
            without.calls(&bare, &key, 1_000).await;
            with.calls(&stack, &key, 1_000).await;
        }
        without.print("bare");
        with.print("behind the stack");

        let stop = CancellationToken::new();
        let bare = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
            tokio::spawn(Server::builder().add_service(Bare).serve_with_incoming(incoming));
            url
        };
        let stack = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let stop = stop.clone();
            tokio::spawn(async move { serve(listener, stack, &ServeOptions::default(), Door::Open, stop).await });
            url
        };
        println!("\nover loopback          {:>12} {:>12} {:>12}", "P50 us", "P99 us", "calls/s");
        let (mut without, mut with) = (Network::default(), Network::default());
        for _ in 0..ROUNDS {
            without.round(&bare, &key).await;
            with.round(&stack, &key).await;
        }
        without.print("bare tonic");
        with.print("behind the stack");
        println!("\ncalls/s behind the stack, of those of bare tonic: {:.2}", with.rate() / without.rate());
        stop.cancel();
    });
}

/// The gateway's stack before that service, and a key that may call it.
async fn stack(dir: &tempfile::TempDir, query: HttpService) -> (HttpService, String) {
    let meta = storage::open(&format!("sqlite://{}", dir.path().join("meta.db").display())).await.unwrap();
    let tenant = TenantId::new("acme").unwrap();
    let made = Tenant { id: tenant.clone(), display_name: String::new(), created_at_ms: now_ms() };
    meta.create_tenant(&made).await.unwrap();
    let text = KeyText::from_random(Environment::Live, rand::random(), rand::random());
    let permissions = [Permission::Query].into_iter().collect();
    let key = Key {
        id: text.id().to_owned(),
        kind: Default::default(),
        hash: text.hash(),
        display_name: String::new(),
        environment: Environment::Live,
        scope: Scope::new(tenant, AppSet::All, permissions, Priority::Interactive),
        places: Default::default(),
        customer: None,
        rotated_from: None,
        created_at_ms: now_ms(),
        expires_at_ms: None,
        revoked_at_ms: None,
        last_used_at_ms: None,
    };
    meta.create_key(&key).await.unwrap();
    let secret = meta.secret("signing", rand::random).await.unwrap();
    let (directory, other) = (Arc::clone(&meta) as Arc<dyn storage::Directory>, query.clone());
    let service = gateway::service(Parts {
        directory: Arc::clone(&directory),
        cache: storage::open_cache("memory:").await.unwrap(),
        cache_key: SigningKey::derive(&secret, "cached API key"),
        context_key: SigningKey::derive(&secret, "call context"),
        name: "this".to_owned(),
        uses: Arc::new(Uses::new(directory)),
        services: Services {
            ingest: other.clone(),
            query,
            metrics: other.clone(),
            admin: other.clone(),
            public: other,
        },
        options: Options { tenant_calls_per_second: 1_000_000, tenant_burst: 1_000_000, ..Options::default() },
        now_ms,
    });
    (service, text.as_str().to_owned())
}

fn now_ms() -> i64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64
}

/// Calls that are handed to a service.
#[derive(Default)]
struct Direct {
    times: Vec<Duration>,
    allocations: u64,
}

impl Direct {
    async fn calls(&mut self, service: &HttpService, key: &str, calls: usize) {
        for _ in 0..calls {
            let request: Request = http::Request::post(PATH)
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .header("authorization", format!("Bearer {key}"))
                .body(Body::new(http_body_util::Full::new(bytes::Bytes::from_static(b"\0\0\0\0\x06\x0a\x04acme"))))
                .unwrap();
            let (before, started) = (ALLOCATIONS.get(), Instant::now());
            let answer = service.clone().oneshot(request).await.unwrap();
            let body = answer.into_body().collect().await.unwrap();
            self.times.push(started.elapsed());
            self.allocations += ALLOCATIONS.get().saturating_sub(before);
            assert_eq!(body.trailers().map(|trailers| &trailers["grpc-status"]).unwrap(), "0");
        }
    }

    fn print(&mut self, name: &str) {
        let allocations = self.allocations as f64 / self.times.len() as f64;
        print(name, &mut self.times, &format!("{allocations:.1}"));
    }
}

/// Calls over the network: one after the other, then as fast as they come.
#[derive(Default)]
struct Network {
    times: Vec<Duration>,
    calls: u64,
    spent: Duration,
}

impl Network {
    async fn round(&mut self, url: &str, key: &str) {
        let mut channels = Vec::new();
        for _ in 0..CONNECTIONS {
            channels.push(Channel::from_shared(url.to_owned()).unwrap().tcp_nodelay(true).connect().await.unwrap());
        }
        let bearer: MetadataValue<Ascii> = format!("Bearer {key}").parse().unwrap();
        let started = Instant::now();
        while started.elapsed() < ROUND / 2 {
            let began = Instant::now();
            call(&channels[0], &bearer).await;
            self.times.push(began.elapsed());
        }
        let (started, mut callers) = (Instant::now(), JoinSet::new());
        for caller in 0..IN_FLIGHT {
            let (channel, bearer) = (channels[caller % CONNECTIONS].clone(), bearer.clone());
            callers.spawn(async move {
                let mut calls = 0;
                while started.elapsed() < ROUND {
                    call(&channel, &bearer).await;
                    calls += 1;
                }
                calls
            });
        }
        self.calls += callers.join_all().await.into_iter().sum::<u64>();
        self.spent += started.elapsed();
    }

    fn rate(&self) -> f64 {
        self.calls as f64 / self.spent.as_secs_f64()
    }

    fn print(&mut self, name: &str) {
        let rate = format!("{:.0}", self.rate());
        print(name, &mut self.times, &rate);
    }
}

async fn call(channel: &Channel, bearer: &MetadataValue<Ascii>) {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let mut request = tonic::Request::new(v1::DescribeRequest { app_id: "acme".to_owned() });
    request.metadata_mut().insert("authorization", bearer.clone());
    let codec = ProstCodec::<v1::DescribeRequest, v1::DescribeResponse>::default();
    let answer = client.unary(request, http::uri::PathAndQuery::from_static(PATH), codec).await.unwrap();
    assert_eq!(answer.into_inner().tenant_id, "acme");
}

fn print(name: &str, times: &mut [Duration], last: &str) {
    times.sort_unstable();
    let us = |q: f64| times[((times.len() - 1) as f64 * q) as usize].as_nanos() as f64 / 1e3;
    println!("  {name:<20} {:>12.1} {:>12.1} {last:>12}", us(0.5), us(0.99));
}
