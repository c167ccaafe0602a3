//! One process of a role: the connection to it, the calls under way, and whether it is well.

use std::{
    error::Error as StdError,
    net::SocketAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Uri, Version, uri::PathAndQuery};
use hyper_util::{
    client::legacy::{Client, Error as ClientError, connect},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_util::either::Either;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tower::service_fn;
use tracing::{info, warn};

use super::relay;
use crate::{Body, Request, Response, protocol::Protocol, tls::Tls};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How often a process is asked for its health, and how long it may take to answer.
const CHECK_EVERY: Duration = Duration::from_secs(1);
const CHECK: Duration = Duration::from_secs(2);
/// Failures in a row, of calls or checks, after which a process gets no calls until a check succeeds.
const FAILURES: u32 = 3;
/// A connection on which nothing comes back for this long, pings included, is dead.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// A process of a role.
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    /// The address as text: what is hashed for affinity.
    pub(super) name: String,
    role: &'static str,
    client: Client<Connector, Body>,
    scheme: &'static str,
    under_way: Arc<AtomicUsize>,
    healthy: AtomicBool,
    failures: AtomicU32,
    /// What its checks took of late, ms.
    check_ms: AtomicU32,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The process certainly never saw the call.
    #[error("not sent: {0}")]
    Unsent(String),
    /// It may have worked on it.
    #[error("broken off: {0}")]
    Broken(String),
}

/// A call under way, for as long as its answer is.
pub(super) struct UnderWay(Arc<AtomicUsize>);

impl UnderWay {
    fn begin(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counter))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Endpoint {
    /// An endpoint taken for healthy until a check says otherwise. Its checks end with it.
    pub(super) fn start(address: SocketAddr, role: &'static str, tls: Option<Tls>) -> Arc<Self> {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .http2_only(true)
            .http2_adaptive_window(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(KEEP_ALIVE)
            .build(Connector { address, role, tls });
        let endpoint = Arc::new(Self {
            address,
            name: address.to_string(),
            role,
            client,
            scheme,
            under_way: Arc::default(),
            healthy: AtomicBool::new(true),
            failures: AtomicU32::new(0),
            check_ms: AtomicU32::new(0),
        });
        tokio::spawn(check_health(Arc::downgrade(&endpoint)));
        endpoint
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// What its checks took of late, ms: the same work in every process, so that these can be compared.
    pub(super) fn check_ms(&self) -> u32 {
        self.check_ms.load(Ordering::Relaxed)
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Sends the call; the answer's body ends with UNAVAILABLE if the process goes away amid it.
    pub(super) async fn send(&self, request: Request, protocol: Protocol) -> Result<Response, Failure> {
        let under_way = UnderWay::begin(&self.under_way);
        let answer = self.exchange(request).await;
        match &answer {
            // Out for its failures alone, it is in again; one that drains stays out.
            Ok(_) if self.failures.swap(0, Ordering::Relaxed) >= FAILURES => self.set_healthy(true, &""),
            Ok(_) => {}
            Err(failure) => self.failed(failure),
        }
        Ok(relay::answer(answer?, under_way, protocol))
    }

    async fn exchange(&self, mut request: Request) -> Result<http::Response<hyper::body::Incoming>, Failure> {
        let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let uri = Uri::builder().scheme(self.scheme).authority(self.name.as_str()).path_and_query(path).build();
        *request.uri_mut() = uri.map_err(|e| Failure::Unsent(e.to_string()))?;
        *request.version_mut() = Version::HTTP_2;
        request.headers_mut().remove(http::header::HOST); // the authority stands in its place
        self.client.request(request).await.map_err(|error| {
            let text = chain(&error);
            if never_began(&error) { Failure::Unsent(text) } else { Failure::Broken(text) }
        })
    }

    fn failed(&self, failure: &dyn std::fmt::Display) {
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES {
            self.set_healthy(false, failure);
        }
    }

    fn set_healthy(&self, healthy: bool, why: &dyn std::fmt::Display) {
        if self.healthy.swap(healthy, Ordering::Relaxed) != healthy {
            let (role, address) = (self.role, self.address);
            match healthy {
                true => info!(role, %address, "a process is well again"),
                false => warn!(role, %address, %why, "a process gets no calls until it is well"),
            }
        }
        let gauge = metrics::gauge!("penstock_upstream_healthy", "role" => self.role, "address" => self.name.clone());
        gauge.set(f64::from(u8::from(healthy)));
    }

    async fn check(&self) {
        let via = service_fn(|request: Request| async {
            self.exchange(request).await.map_err(|e| tonic::Status::unavailable(e.to_string()))
        });
        let mut client = HealthClient::new(via);
        let request = HealthCheckRequest { service: String::new() };
        let begun = Instant::now();
        let answer = timeout(CHECK, client.check(request)).await;
        let took_ms = u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX);
        self.check_ms.store(self.check_ms() / 2 + took_ms / 2, Ordering::Relaxed);
        metrics::gauge!("penstock_upstream_check_seconds", "role" => self.role, "address" => self.name.clone())
            .set(f64::from(self.check_ms()) / 1e3);
        match answer {
            Ok(Ok(answer)) if answer.get_ref().status() == ServingStatus::Serving => {
                self.failures.store(0, Ordering::Relaxed);
                self.set_healthy(true, &"");
            }
            // It says so itself: it drains.
            Ok(Ok(_)) => {
                self.failures.store(0, Ordering::Relaxed);
                self.set_healthy(false, &"it is not serving");
            }
            Ok(Err(status)) => self.failed(&status),
            Err(_) => self.failed(&"it does not answer"),
        }
    }
}

async fn check_health(endpoint: Weak<Endpoint>) {
    while let Some(endpoint) = endpoint.upgrade() {
        endpoint.check().await;
        drop(endpoint);
        tokio::time::sleep(CHECK_EVERY).await;
    }
}

/// Whether the call can't have begun: no connection, a connection that closed before it was written, or a refused stream.
fn never_began(error: &ClientError) -> bool {
    if error.is_connect() {
        return true;
    }
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<hyper::Error>()
            && error.is_canceled()
        {
            return true;
        }
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            // Streams above the last one of a GOAWAY were not looked at.
            return error.reason() == Some(h2::Reason::REFUSED_STREAM)
                || (error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR));
        }
        source = error.source();
    }
    false
}

fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

/// Connects to one address, whatever the URI says.
#[derive(Clone)]
struct Connector {
    address: SocketAddr,
    role: &'static str,
    tls: Option<Tls>,
}

type Stream = Either<TcpStream, tokio_rustls::client::TlsStream<TcpStream>>;

impl Connector {
    async fn connect(self) -> std::io::Result<Connection> {
        let socket = timeout(CONNECT, TcpStream::connect(self.address)).await??;
        socket.set_nodelay(true)?;
        let stream = match &self.tls {
            Some(tls) => Either::Right(tls.connect(socket, self.role).await?),
            None => Either::Left(socket),
        };
        Ok(Connection(TokioIo::new(stream)))
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Connection;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, std::io::Result<Connection>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

/// A connection, as the client wants it.
struct Connection(TokioIo<Stream>);

impl connect::Connection for Connection {
    fn connected(&self) -> connect::Connected {
        connect::Connected::new()
    }
}

impl hyper::rt::Read for Connection {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl hyper::rt::Write for Connection {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.0).poll_write_vectored(cx, buffers)
    }
}
