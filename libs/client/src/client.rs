//! The client, and how it is made.

use std::{env, path::PathBuf, sync::Arc, time::Duration};

use tokio::time::timeout;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::{
    Ask, Error, Event, Flushed, Identity, Metric, Question, Rejection,
    files::Files,
    sender::{Limits, OnRejected, Sender, Wire},
    store::{Memory, Store},
    v1::{
        self, ingest_service_client::IngestServiceClient, metrics_service_client::MetricsServiceClient,
        query_service_client::QueryServiceClient,
    },
};

const LONGEST_MESSAGE: usize = 64 << 20;

/// Where the server is, and how the client behaves. What isn't said has its default.
///
/// ```no_run
/// # async fn made() -> Result<(), penstock_client::Error> {
/// use penstock_client::Client;
///
/// let client = Client::builder() // PENSTOCK_ADDRESS, PENSTOCK_KEY and PENSTOCK_APP say where
///     .directory("/var/lib/shop/penstock")
///     .read_your_writes(true)
///     .on_rejected(|rejection| eprintln!("{}: {}", rejection.code, rejection.description))
///     .connect()
///     .await?;
/// # Ok(()) }
/// ```
#[must_use]
pub struct Builder {
    address: Option<String>,
    key: Option<String>,
    app: Option<String>,
    timeout: Duration,
    #[cfg(feature = "tls")]
    tls: tonic::transport::ClientTlsConfig,
    read_your_writes: bool,
    limits: Limits,
    directory: Option<PathBuf>,
    on_rejected: OnRejected,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            address: None,
            key: None,
            app: None,
            timeout: Duration::from_secs(30),
            #[cfg(feature = "tls")]
            tls: tonic::transport::ClientTlsConfig::new().with_native_roots(),
            read_your_writes: false,
            limits: Limits {
                batch_events: 500,
                batch_bytes: 512 << 10,
                batch_time: Duration::from_millis(200),
                queue_bytes: 32 << 20,
            },
            directory: None,
            on_rejected: Box::new(log),
        }
    }
}

fn log(rejection: Rejection) {
    let Rejection { code, field, description, event, identity } = rejection;
    tracing::warn!(code, field, description, ?event, ?identity, "rejected");
}

impl Builder {
    /// `HOST:PORT`, `http://HOST:PORT` or `https://HOST`. Default: `PENSTOCK_ADDRESS`, or `127.0.0.1:7070`.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// The API key, or an embed token. Default: `PENSTOCK_KEY`.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The app of events and questions that name none. Default: `PENSTOCK_APP`; not needed if the key reaches one app alone.
    pub fn app(mut self, id: impl Into<String>) -> Self {
        self.app = Some(id.into());
        self
    }

    /// How long a call may take that says nothing itself. Default: 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Trusts an authority, as PEM, beside the system's.
    #[cfg(feature = "tls")]
    pub fn ca_certificate(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.tls = self.tls.ca_certificate(tonic::transport::Certificate::from_pem(pem));
        self
    }

    /// Has each answer include all that this client had flushed before it asked. Default: no.
    pub fn read_your_writes(mut self, on: bool) -> Self {
        self.read_your_writes = on;
        self
    }

    /// Sends a batch when it has so many events. Default: 500.
    pub fn batch_events(mut self, events: usize) -> Self {
        self.limits.batch_events = events.max(1);
        self
    }

    /// Sends a batch when it has so many bytes. Default: 512 KiB.
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.limits.batch_bytes = bytes;
        self
    }

    /// Sends a batch when its first event has waited for so long. Default: 200 ms.
    pub fn batch_time(mut self, time: Duration) -> Self {
        self.limits.batch_time = time;
        self
    }

    /// How many bytes may be queued, in memory or on disk. Default: 32 MiB.
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.limits.queue_bytes = bytes;
        self
    }

    /// Where the queue lies on disk. What is queued there survives the process, however it ends, and is sent by the next client that has the
    /// directory, in whatever language; one client has it at a time. Default: it is in memory.
    ///
    /// An event is written to its file when [`Client::track`] returns, and nothing is synced to the disk: a power cut may take the last ones.
    pub fn directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.directory = Some(path.into());
        self
    }

    /// Is called with each event and identity that was refused, in the sending task: it should not block. Default: it is logged as a warning.
    pub fn on_rejected(mut self, called: impl Fn(Rejection) + Send + Sync + 'static) -> Self {
        self.on_rejected = Box::new(called);
        self
    }

    /// Makes the client. It doesn't wait for the server: what is tracked is queued until the server is there.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no key or the address is none; [`Error::Disk`] if the directory can't be opened or another client has it.
    // Async, since a client lives in a runtime.
    #[allow(clippy::unused_async)]
    pub async fn connect(self) -> Result<Client, Error> {
        let set = |given: Option<String>, name: &str| given.or_else(|| env::var(name).ok()).unwrap_or_default();
        let key = set(self.key, "PENSTOCK_KEY");
        let key = key.trim(); // what comes out of a file ends with its line
        if key.is_empty() {
            return Err(Error::Invalid("a key is needed: Builder::key, or PENSTOCK_KEY".to_owned()));
        }
        let other = "the key has a character that none has: give what was shown when it was made, and nothing else";
        let bearer = Some(format!("Bearer {key}")).filter(|_| key.bytes().all(|byte| byte.is_ascii_graphic()));
        let bearer = bearer.and_then(|bearer| bearer.parse().ok()).ok_or_else(|| Error::Invalid(other.to_owned()))?;
        let mut address = set(self.address, "PENSTOCK_ADDRESS");
        if address.is_empty() {
            "127.0.0.1:7070".clone_into(&mut address);
        }
        let none =
            || Error::Invalid(format!("the address {address:?} is none: HOST:PORT, http://HOST:PORT or https://HOST"));
        let uri = if address.contains("://") { address.clone() } else { format!("http://{address}") };
        let endpoint = Endpoint::from_shared(uri).map_err(|_| none())?.connect_timeout(Duration::from_secs(5));
        let endpoint = match endpoint.uri().scheme_str() {
            Some("http") => endpoint,
            #[cfg(feature = "tls")]
            Some("https") => endpoint.tls_config(self.tls).map_err(|error| Error::Invalid(format!("TLS: {error}")))?,
            _ => return Err(none()),
        };
        let door = InterceptedService::new(endpoint.connect_lazy(), Bearer(bearer));
        let app = set(self.app, "PENSTOCK_APP");
        let kept = self.directory.is_some();
        let store: Box<dyn Store> = match self.directory {
            Some(directory) => Box::new(Files::open(&directory)?),
            None => Box::new(Memory::default()),
        };
        let wire = Ingest { client: IngestServiceClient::new(door.clone()), timeout: self.timeout };
        let sender = Sender::new(store, kept, wire, app.clone(), self.limits, self.on_rejected);
        let query = QueryServiceClient::new(door.clone()).max_decoding_message_size(LONGEST_MESSAGE);
        let metrics = MetricsServiceClient::new(door).max_decoding_message_size(LONGEST_MESSAGE);
        let (timeout, read_your_writes) = (self.timeout, self.read_your_writes);
        Ok(Client(Arc::new(Inner { sender, query, metrics, app, timeout, read_your_writes })))
    }
}

/// Sends events and asks questions. Clones share one queue.
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    sender: Sender<Ingest>,
    pub(crate) query: QueryServiceClient<Door>,
    pub(crate) metrics: MetricsServiceClient<Door>,
    pub(crate) app: String,
    pub(crate) timeout: Duration,
    pub(crate) read_your_writes: bool,
}

impl Client {
    /// A client with this address and key, and otherwise the defaults: see [`Builder::connect`].
    ///
    /// # Errors
    /// As [`Builder::connect`].
    pub async fn connect(address: impl Into<String>, key: impl Into<String>) -> Result<Self, Error> {
        Self::builder().address(address).key(key).connect().await
    }

    /// Says more of the client to be.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Queues an event and returns its id; waits while the queue is full, and never for the network otherwise. The server counts an id once
    /// within 24 hours, however often it is sent.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what can't be sent, [`Error::Disk`] if the queue can't be written, [`Error::Closed`]; and, while the queue is full,
    /// what keeps it from being sent, such as a key that is revoked.
    pub async fn track(&self, event: Event) -> Result<String, Error> {
        let (id, record) = event.encoded()?;
        self.0.sender.put(record).await?;
        Ok(id)
    }

    /// Queues an event and returns its id, at once.
    ///
    /// # Errors
    /// As [`Self::track`]; and [`Error::QueueFull`].
    pub fn try_track(&self, event: Event) -> Result<String, Error> {
        let (id, record) = event.encoded()?;
        self.0.sender.try_put(&record)?;
        Ok(id)
    }

    /// Queues what is known of a user: the user's events that are tracked from here on carry it. Waits while the queue is full.
    ///
    /// # Errors
    /// As [`Self::track`].
    pub async fn identify(&self, identity: Identity) -> Result<(), Error> {
        self.0.sender.put(identity.encoded()?).await
    }

    /// Queues what is known of a user, at once.
    ///
    /// # Errors
    /// As [`Self::try_track`].
    pub fn try_identify(&self, identity: Identity) -> Result<(), Error> {
        self.0.sender.try_put(&identity.encoded()?)
    }

    /// Sends at once what is queued, and returns when each event that was tracked before is accepted or rejected.
    ///
    /// # Errors
    /// What keeps the queue from being sent, such as a key that is revoked. What is queued stays queued; the next flush tries again. It waits for a
    /// server that is away for as long as it takes: give it a limit with [`tokio::time::timeout`].
    pub async fn flush(&self) -> Result<Flushed, Error> {
        self.0.sender.flush().await
    }

    /// Closes within 10 seconds: see [`Self::close_within`].
    ///
    /// # Errors
    /// Why not all was sent.
    pub async fn close(&self) -> Result<(), Error> {
        self.close_within(Duration::from_secs(10)).await
    }

    /// Sends what is queued, for so long, and ends the client and all its clones. What isn't sent by then goes to [`Builder::on_rejected`] with the
    /// code `NOT_SENT`, or stays in the directory for the next client. A client that is dropped without it loses what it has in memory.
    ///
    /// # Errors
    /// Why not all was sent.
    pub async fn close_within(&self, limit: Duration) -> Result<(), Error> {
        let flushed = timeout(limit, self.flush()).await;
        self.0.sender.close().await;
        match flushed {
            Ok(Ok(_) | Err(Error::Closed)) => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::late()),
        }
    }

    /// How many events and identities are queued or under way.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.0.sender.pending()
    }

    /// Asks a SELECT over the tables `events` and `users`, or a typed [`Query`](crate::Query). Awaited it gives an [`Answer`](crate::Answer) of up
    /// to 10,000 rows; [`Ask::stream`], [`Ask::subscribe`] and [`Ask::export`] give more.
    pub fn ask(&self, question: impl Into<Question>) -> Ask<Question> {
        Ask::new(self.clone(), question.into())
    }

    /// [`Self::ask`] in SQL.
    pub fn sql(&self, text: impl Into<String>) -> Ask<Question> {
        self.ask(text.into())
    }

    /// [`Self::ask`] with a typed query.
    pub fn query(&self, query: crate::Query) -> Ask<Question> {
        self.ask(query)
    }

    /// Evaluates a metric by its name, or one with a [`Metric::shape`].
    pub fn evaluate(&self, metric: impl Into<Metric>) -> Ask<Metric> {
        Ask::new(self.clone(), metric.into())
    }

    pub(crate) fn token(&self) -> String {
        self.0.sender.token()
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("app", &self.0.app).field("pending", &self.pending()).finish_non_exhaustive()
    }
}

pub(crate) type Door = InterceptedService<Channel, Bearer>;

/// Shows the key.
#[derive(Clone)]
pub(crate) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

struct Ingest {
    client: IngestServiceClient<Door>,
    timeout: Duration,
}

impl Wire for Ingest {
    async fn publish(&self, request: v1::PublishRequest) -> Result<v1::Acknowledgement, Error> {
        let mut client = self.client.clone();
        let answer = within(self.timeout, client.publish(limited(request, self.timeout))).await?;
        answer.acknowledgement.ok_or_else(|| Error::local(Code::Unknown, "an answer without a verdict"))
    }

    async fn identify(&self, request: v1::IdentifyRequest) -> Result<String, Error> {
        let mut client = self.client.clone();
        Ok(within(self.timeout, client.identify(limited(request, self.timeout))).await?.position_token)
    }
}

/// A request that tells the server how long it may take.
pub(crate) fn limited<T>(request: T, limit: Duration) -> Request<T> {
    let mut request = Request::new(request);
    request.set_timeout(limit);
    request
}

pub(crate) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Error> {
    match timeout(limit, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(Error::late()),
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;
    use crate::Query;

    const SHORT: Duration = Duration::from_millis(100);
    /// Less than a call takes that nothing is said of, and far more than `SHORT`.
    const PATIENCE: Duration = Duration::from_secs(20);
    /// The first word of HTTP/2.
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

    #[tokio::test]
    async fn a_key_out_of_a_file_is_good_and_what_no_call_could_carry_is_refused_at_once() {
        let connect = |key: &str| Client::builder().address("127.0.0.1:1").key(key).connect();
        assert!(connect(" pnsk_live_x\r\n").await.is_ok());
        for wrong in ["", " \n", "a b", "a\nb", "pnsk_l\u{ef}ve", "a\0"] {
            assert!(matches!(connect(wrong).await, Err(Error::Invalid(_))), "{wrong:?}");
        }
    }

    /// The address of a server that says its first word, and then nothing.
    async fn mute(first_word: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut connection, _)) = listener.accept().await {
                connection.write_all(first_word).await.unwrap();
                open.push(connection);
            }
        });
        address
    }

    #[tokio::test]
    async fn a_call_to_a_server_that_never_answers_ends_when_its_time_is_over() {
        for first_word in [SETTINGS, &[]] {
            let builder = Client::builder().address(mute(first_word).await).key("k").timeout(SHORT);
            let client = builder.on_rejected(|_| ()).connect().await.unwrap();
            let sql = || client.sql("SELECT COUNT(*) FROM events");
            let calls = async {
                let mut ended = vec![
                    ("sql", sql().await.err()),
                    ("query", client.query(Query::new().measure("events", "COUNT(*)")).await.err()),
                    ("evaluate", client.evaluate("buyers").await.err()),
                    ("stream", sql().stream().next().await.and_then(Result::err)),
                ];
                client.track(Event::new("e")).await.unwrap();
                ended.push(("close", client.close_within(SHORT).await.err()));
                ended
            };
            let ended = timeout(PATIENCE, calls).await.expect("each call ends");
            for (call, error) in ended {
                let code = error.as_ref().and_then(Error::code);
                assert_eq!(code, Some(Code::DeadlineExceeded), "{call} ended with {error:?}");
            }
        }
    }
}
