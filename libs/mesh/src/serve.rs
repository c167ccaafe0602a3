//! The server that every role is: HTTP/1.1 and HTTP/2 on one port, bounded, and drained before it ends.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{ServiceExt, service_fn};
use tracing::{debug, info, warn};

use crate::{
    Body, HttpService, Request,
    idle::Calls,
    linger::{Bounds, Lingering},
    opening::Opening,
    tls::{Connection, Edge, Tls},
};

/// The bounds of a server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServeOptions {
    /// Connections open at once; further ones wait in the backlog.
    pub max_connections: usize,
    /// Streams open at once on one HTTP/2 connection.
    pub max_concurrent_streams: u32,
    /// Bytes of a request that are taken from the network before somebody reads them, for each HTTP/2 stream. A stream that nobody
    /// reads from, be it slow or paused, holds so many and takes none from others on its connection.
    pub stream_window_bytes: u32,
    /// How long a drain waits for calls under way before it cuts them, in seconds.
    pub drain_seconds: u64,
    /// How long a client may take to say which HTTP it speaks, and to send its request head over HTTP/1.1, in seconds.
    pub header_read_seconds: u64,
    /// How long an HTTP/2 connection of the public port may be without a call before its client is told to go, in seconds. Clients connect
    /// again by themselves with their next call.
    pub idle_seconds: u64,
    /// Bytes of a refused request's body that are still read, so that its client gets to read the refusal and keeps its connection.
    pub linger_bytes: u64,
    /// How long they are read at most, in seconds.
    pub linger_seconds: u64,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_concurrent_streams: 250,
            stream_window_bytes: 1 << 20,
            drain_seconds: 20,
            header_read_seconds: 10,
            idle_seconds: 300,
            linger_bytes: 16 << 20,
            linger_seconds: 5,
        }
    }
}

/// Who may connect, and how they prove it.
#[derive(Clone)]
pub enum Door {
    /// Whoever reaches the port, in plain text.
    Open,
    /// Whoever reaches the public port.
    Edge(Edge),
    /// Other roles, by mutual TLS.
    Mesh {
        /// This process's identity.
        tls: Tls,
        /// The roles that may call.
        roles: Vec<String>,
    },
}

impl Door {
    /// Takes a connection, and says who is at its other end.
    async fn open(&self, socket: TcpStream, peer: SocketAddr) -> io::Result<(Box<dyn Connection>, SocketAddr)> {
        match self {
            Self::Open => Ok((Box::new(socket), peer)),
            Self::Edge(edge) => edge.open(socket, peer).await,
            Self::Mesh { tls, roles } => Ok((Box::new(tls.accept(socket, roles).await?), peer)),
        }
    }
}

/// The address at the other end of the connection that a request came on, in the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// HTTP/2's own window, and the largest that it allows, in bytes.
const MIN_WINDOW: u32 = (1 << 16) - 1;
const MAX_WINDOW: u32 = (1 << 31) - 1;

/// Bytes that an HTTP/1.1 connection reads ahead, its request head included.
const HTTP1_BUFFER: usize = 64 << 10;

/// Serves until `stop` is cancelled, then takes no new connection, lets calls under way end (within the bound), and returns.
pub async fn serve(
    listener: TcpListener,
    service: HttpService,
    options: &ServeOptions,
    door: Door,
    stop: CancellationToken,
) {
    let bounds = Bounds { bytes: options.linger_bytes, time: Duration::from_secs(options.linger_seconds) };
    let stream_window = options.stream_window_bytes.clamp(MIN_WINDOW, MAX_WINDOW);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.max_concurrent_streams)
        .max_header_list_size(32 * 1024)
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(20))
        .initial_stream_window_size(stream_window)
        .initial_connection_window_size(stream_window.saturating_mul(options.max_concurrent_streams).min(MAX_WINDOW));
    let opening = Duration::from_secs(options.header_read_seconds);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(opening).max_buf_size(HTTP1_BUFFER);
    let idle = match door {
        Door::Mesh { .. } => None, // few, known, and wanted
        Door::Open | Door::Edge(_) => Some(Duration::from_secs(options.idle_seconds)),
    };
    let (door, connections) = (Arc::new(door), TaskTracker::new());
    let room = Arc::new(tokio::sync::Semaphore::new(options.max_connections));

    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((socket, peer, permit)) = accepted else { continue };
        let (service, builder) = (service.clone(), builder.clone());
        let (door, stop) = (Arc::clone(&door), stop.clone());
        connections.spawn(async move {
            let _permit = permit;
            let opened = tokio::select! {
                () = stop.cancelled() => return,
                opened = door.open(socket, peer) => opened,
            };
            let (stream, peer) = match opened {
                Ok(opened) => opened,
                Err(error) => return refused(&door, peer, &error),
            };
            let calls = Calls::new();
            let service = {
                let calls = calls.clone();
                service_fn(move |request| {
                    let call = idle.is_some().then(|| calls.open());
                    let answer = service.clone().oneshot(from_network(request, Peer(peer), bounds));
                    async move {
                        let answer = answer.await?;
                        Ok::<_, Infallible>(match call {
                            Some(call) => call.until_answered(answer),
                            None => answer,
                        })
                    }
                })
            };
            let stream = TokioIo::new(Opening::new(stream, opening));
            let mut connection =
                pin!(builder.serve_connection_with_upgrades(stream, TowerToHyperService::new(service)));
            let none_is_open = async {
                match idle {
                    Some(time) => calls.none_for(time).await,
                    None => std::future::pending().await,
                }
            };
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
                () = none_is_open => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        ended = connection.as_mut() => ended,
                        () = calls.none_for(opening) => return, // it doesn't go when it is told to
                    }
                }
            };
            if let Err(error) = ended {
                debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    info!("draining: no new connections, waiting for calls under way");
    connections.close();
    if tokio::time::timeout(Duration::from_secs(options.drain_seconds), connections.wait()).await.is_err() {
        warn!(seconds = options.drain_seconds, "some calls did not end in time and were cut");
    }
}

/// The public port meets all sorts; in the mesh a stranger is worth a look.
fn refused(door: &Door, peer: SocketAddr, error: &io::Error) {
    match door {
        Door::Open | Door::Edge(_) => debug!(%peer, %error, "a connection is refused"),
        Door::Mesh { .. } => warn!(%peer, %error, "a connection to the mesh is refused"),
    }
}

fn from_network(mut request: http::Request<Incoming>, peer: Peer, bounds: Bounds) -> Request {
    request.extensions_mut().insert(peer);
    body_of(request, bounds)
}

/// Who asks whether to go on (`expect`) has sent nothing: there is no body to read on.
fn body_of(request: http::Request<Incoming>, bounds: Bounds) -> Request {
    if request.headers().contains_key(http::header::EXPECT) {
        return request.map(Body::new);
    }
    request.map(|body| Body::new(Lingering::new(body, bounds)))
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, room: &Arc<tokio::sync::Semaphore>) -> Option<Accepted> {
    let permit = room.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((socket, peer)) => {
            let _ = socket.set_nodelay(true); // a socket that can't is only slower
            Some((socket, peer, permit))
        }
        Err(error) => {
            // Mostly "too many open files": without a pause the loop would spin until some are closed.
            warn!(%error, "can't accept a connection");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tower::util::BoxCloneSyncService;

    use super::*;

    /// A client writes its request to the end before it reads, and then sends another on the same connection.
    #[tokio::test]
    async fn a_refusal_reaches_who_still_writes_and_the_connection_goes_on() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let refuse = BoxCloneSyncService::new(service_fn(|_: Request| async {
            let mut response = crate::Response::new(Body::empty());
            *response.status_mut() = http::StatusCode::FORBIDDEN;
            Ok(response)
        }));
        let stop = CancellationToken::new();
        let options = ServeOptions::default();
        let server = {
            let stop = stop.clone();
            tokio::spawn(async move { serve(listener, refuse, &options, Door::Open, stop).await })
        };
        let mut client = TcpStream::connect(address).await.unwrap();
        for _ in 0..2 {
            let body = vec![b'x'; 8 << 20];
            let head = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
            client.write_all(head.as_bytes()).await.unwrap();
            client.write_all(&body).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                answer.push(client.read_u8().await.unwrap());
            }
            assert!(answer.starts_with(b"HTTP/1.1 403"), "{}", answer.escape_ascii());
        }
        drop(client);
        stop.cancel();
        server.await.unwrap();
    }
}
