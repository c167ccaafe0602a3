//! The HTTP server: routes, the life of one query's request, and a stop that leaves nothing behind.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;
use tracing::{Span, field::Empty, info_span};

use crate::admission::Admission;
use crate::body;
use crate::config::{ChdbConfig, ChdbError};
use crate::encoding::Encoding;
use crate::engine::Engine;
use crate::error::QueryError;
use crate::execute::{Done, Job, Started};
use crate::flush::{Connection, Flushes};
use crate::query_log::{Entry, QueryLog};
use crate::request::QueryRequest;
use crate::response::{Flow, Reply, ResponseBody, retry_after, text};
use crate::running::{Running, StopOnDrop, Ticket};
use crate::session::Sessions;

const TEXT: &str = "text/plain; charset=UTF-8";
/// After queries were killed, how long they may take to end.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);
const END_POLL: Duration = Duration::from_millis(10);
/// The longest a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// A started engine and its bound port, ready to serve.
pub struct Server {
    shared: Arc<Shared>,
    listener: TcpListener,
    address: SocketAddr,
}

struct Shared {
    engine: Arc<Engine>,
    config: ChdbConfig,
    admission: Admission,
    running: Arc<Running>,
    sessions: Arc<Sessions>,
    log: Arc<QueryLog>,
}

impl Server {
    /// Boots the engine and binds the port. Answers begin with [`serve`](Self::serve).
    pub async fn start(config: ChdbConfig) -> Result<Self, ChdbError> {
        if !config.listen.ip().is_loopback() {
            return Err(ChdbError::NotLoopback(config.listen));
        }
        let booted = config.clone();
        let engine = tokio::task::spawn_blocking(move || Engine::start(&booted)).await;
        let engine = Arc::new(engine.map_err(|e| ChdbError::Boot(QueryError::internal(e.to_string())))??);
        let failed = |source| ChdbError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Shared {
            engine,
            admission: Admission::new(config.max_concurrent_queries, config.max_waiting_queries, config.max_wait),
            running: Arc::default(),
            sessions: Arc::default(),
            log: Arc::new(QueryLog::new(config.query_log_entries)),
            config,
        };
        Ok(Self { shared: Arc::new(shared), listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is ready; then finishes what runs, within the drain timeout, kills the rest, and closes the
    /// engine. When this returns every acknowledged insert is in the data directory and its lock is free.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let Self { shared, listener, address } = self;
        tracing::info!(%address, "serving ClickHouse's HTTP interface");
        let connections = GracefulShutdown::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            let stream = tokio::select! {
                () = &mut stop => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "can't accept a connection");
                        tokio::time::sleep(END_POLL).await;
                        continue;
                    }
                },
            };
            let _ = stream.set_nodelay(true);
            let stream = Connection::new(stream);
            let (handler, flushes) = (Arc::clone(&shared), stream.flushes());
            let service = service_fn(move |request| {
                let (shared, flushes) = (Arc::clone(&handler), flushes.clone());
                async move { Ok::<_, Infallible>(shared.route(request, flushes).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            let connection = connections.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection ended early");
                }
            });
        }
        drop(listener);
        shared.drain(connections).await;
    }
}

impl Shared {
    async fn drain(self: Arc<Self>, connections: GracefulShutdown) {
        tracing::info!("stopping: no new requests");
        if tokio::time::timeout(self.config.drain_timeout, connections.shutdown()).await.is_err() {
            tracing::warn!("stopping: killing the queries that still run");
        }
        let killed = tokio::time::timeout(KILL_TIMEOUT, async {
            self.running.kill_all(&self.engine).await;
            while !self.running.is_empty() {
                tokio::time::sleep(END_POLL).await;
            }
        });
        if killed.await.is_err() {
            tracing::error!("stopping: a query does not end; leaving it behind");
            return;
        }
        let engine = Arc::clone(&self.engine);
        if tokio::task::spawn_blocking(move || engine.stop()).await.is_err() {
            tracing::error!("stopping: the engine did not close");
        }
        tracing::info!("stopped");
    }

    async fn route(&self, request: Request<Incoming>, flushes: Flushes) -> Response<ResponseBody> {
        let has_query = request.uri().query().is_some_and(|q| q.split('&').any(|pair| pair.starts_with("query=")));
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/ping") => text(StatusCode::OK, TEXT, "Ok.\n".into()),
            (&Method::GET, "/") if !has_query => text(StatusCode::OK, TEXT, "Ok.\n".into()),
            (&Method::GET, "/query_log") => match self.authorize(&request) {
                Ok(()) => text(StatusCode::OK, "application/x-ndjson; charset=UTF-8", self.log.to_ndjson()),
                Err(error) => text(error.status(), TEXT, error.body(&self.engine.version)),
            },
            (&Method::GET | &Method::POST, "/") => self.query(request, flushes).await,
            (_, "/" | "/ping" | "/query_log") => {
                text(StatusCode::METHOD_NOT_ALLOWED, TEXT, "Only GET and POST are served here.\n".into())
            }
            _ => text(StatusCode::NOT_FOUND, TEXT, "There is no handle here. Use / or /ping or /query_log.\n".into()),
        }
    }

    fn authorize(&self, request: &Request<Incoming>) -> Result<(), QueryError> {
        let mut head = Request::new(());
        head.uri_mut().clone_from(request.uri());
        head.headers_mut().clone_from(request.headers());
        self.check_key(&QueryRequest::new(&head.into_parts().0)?)
    }

    fn check_key(&self, request: &QueryRequest) -> Result<(), QueryError> {
        let Some(expected) = &self.config.access_key else { return Ok(()) };
        let given = request.access_key.as_deref().unwrap_or_default();
        // Constant in time for keys of the right length.
        let differ = given.len() ^ expected.len()
            | given.bytes().zip(expected.bytes()).fold(0, |d, (a, b)| d | usize::from(a ^ b));
        match differ {
            0 => Ok(()),
            _ => Err(QueryError::authentication("Authentication failed: the access key is wrong or absent.")),
        }
    }

    async fn query(&self, request: Request<Incoming>, flushes: Flushes) -> Response<ResponseBody> {
        let (parts, incoming) = request.into_parts();
        let mut reply = Reply {
            query_id: String::new(),
            version: self.engine.version.clone(),
            timezone: self.engine.timezone.clone(),
            native: false,
            encoding: Encoding::Identity,
            flushes,
        };
        let request = match QueryRequest::new(&parts) {
            Ok(request) => request,
            Err(error) => return reply.error(&error),
        };
        let query_id = &request.query_id;
        let span = mesh::trace::continued(&parts.headers, || {
            let system = "clickhouse";
            info_span!("clickhouse", otel.kind = "server", db.system.name = system, %query_id, kind = Empty, read_rows = Empty)
        });
        reply.query_id.clone_from(&request.query_id);
        (reply.native, reply.encoding) = (request.native_result, request.result_encoding);
        let held = if request.wait_end { self.config.waited_result_bytes } else { self.config.held_result_bytes };
        match self.begin(request, incoming, span).await {
            Ok(query) => query.answer(reply, held).await,
            Err(error) if error.code == 202 => retry_after(reply.error(&error), self.config.max_wait),
            Err(error) => reply.error(&error),
        }
    }

    /// Admits the query and starts it on a blocking thread.
    async fn begin(&self, request: QueryRequest, incoming: Incoming, span: Span) -> Result<Query, QueryError> {
        self.check_key(&request)?;
        let permit = self.admission.enter().await?;
        let session = request.session.as_ref().map(|s| self.sessions.lease(s, Instant::now())).transpose()?;
        let ticket = self.running.register(&request.query_id)?;
        let stop = ticket.stopper(&self.engine);
        let (started_sender, started) = oneshot::channel();
        let (outcome_sender, outcome) = oneshot::channel();
        let entry = Entry {
            query_id: request.query_id.clone(),
            log_comment: request.log_comment.clone().unwrap_or_default(),
            started_at_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64),
            ..Entry::default()
        };
        let job = Job {
            engine: Arc::clone(&self.engine),
            request,
            body: body::channel(incoming, self.config.receive_timeout),
            session,
            max_statement_bytes: self.config.max_statement_bytes,
            started: started_sender,
        };
        let log = Arc::clone(&self.log);
        tokio::task::spawn_blocking(move || {
            let result = span.in_scope(|| run_logged(job, entry, &log, ticket));
            drop(span);
            drop(permit);
            // The client may be gone; the log has the outcome.
            let _ = outcome_sender.send(result);
        });
        Ok(Query { started, outcome, stop })
    }
}

/// Runs the job, frees its query id and writes its line in the log, in that order: who sees the outcome may reuse the id.
fn run_logged(job: Job, mut entry: Entry, log: &QueryLog, ticket: Ticket) -> Result<Done, QueryError> {
    let began = Instant::now();
    let result = job.run(&mut entry);
    drop(ticket);
    Span::current().record("kind", entry.kind).record("read_rows", entry.read_rows);
    entry.elapsed_ms = began.elapsed().as_millis() as u64;
    if let Err(error) = &result {
        Span::current().record("otel.status_code", "ERROR");
        tracing::debug!(query_id = entry.query_id, %error, "a query failed");
        (entry.error_code, entry.error) = (error.code, error.message.clone());
    }
    log.push(entry);
    result
}

/// A query that has been started.
struct Query {
    started: oneshot::Receiver<Started>,
    outcome: oneshot::Receiver<Result<Done, QueryError>>,
    stop: StopOnDrop,
}

impl Query {
    /// Waits until the answer's head is certain: the query has ended, or `held` bytes of its result are here.
    async fn answer(self, reply: Reply, held: usize) -> Response<ResponseBody> {
        let Self { started, outcome, stop } = self;
        let Ok(started) = started.await else {
            let outcome = outcome.await.unwrap_or_else(|_| Err(QueryError::internal("The query's thread is gone.")));
            drop(stop);
            return match outcome {
                Ok(mut done) => {
                    let body = std::mem::take(&mut done.body);
                    reply.done(&done, body)
                }
                Err(error) => reply.error(&error),
            };
        };
        let pipe = match pipe::Receiver::from_owned_fd(started.pipe) {
            Ok(pipe) => pipe,
            Err(error) => return reply.error(&QueryError::internal(format!("Can't read the result: {error}."))),
        };
        let mut flow = Flow { pipe, outcome, _stop: stop };
        let mut bytes = Vec::new();
        match flow.fill(&mut bytes, held).await {
            Ok(false) => reply.stream(bytes, flow, &started.format),
            Ok(true) => match flow.outcome().await {
                Ok(done) => reply.done(&done, bytes),
                Err(error) => reply.error(&error),
            },
            Err(error) => reply.error(&QueryError::internal(format!("Can't read the result: {error}."))),
        }
    }
}
