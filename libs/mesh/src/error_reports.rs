//! Error reports, by Sentry's protocol: what the log tells as an error, panics too, goes to a server that groups it and tells people.
//!
//! A thread of its own posts them, so that they arrive also while the process's work stands still, and that work never waits for them. What can't be sent soon is
//! dropped, and counted.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use sentry_core::{Client, ClientOptions, Envelope, Hub, Transport, types::Dsn};
use tokio::{runtime, time::timeout};

/// More wait for the server only in a storm of errors, of which the first say enough.
const MOST_WAITING: usize = 100;
/// How long a report may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// For how long nothing is sent when the server has too much and doesn't say when it won't.
const PAUSE: Duration = Duration::from_secs(60);
/// How long the end of the process waits for the last ones.
const AT_END: Duration = Duration::from_secs(2);
/// As whom the server sees it.
const AGENT: &str = concat!("penstock/", env!("CARGO_PKG_VERSION"));

/// Where errors are reported; dropping it sends the last ones.
pub(crate) struct ErrorReports(Arc<Client>);

impl ErrorReports {
    /// Reports to the project that the DSN names, from now on, by [`sentry_tracing::ErrorLayer`].
    pub(crate) fn open(dsn: &str, environment: &str, process: &str) -> Result<Self, String> {
        let parsed: Dsn = dsn.trim().parse().map_err(|_| {
            "must be as the server shows it, https://KEY@HOST/PROJECT".to_owned() // the rest of the text is a secret
        })?;
        let connector = HttpsConnectorBuilder::new().with_native_roots().map_err(|e| e.to_string())?;
        let client = HttpClient::builder(TokioExecutor::new()).build(connector.https_or_http().enable_http1().build());
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        let (queue, waiting) = sync_channel(MOST_WAITING);
        let address = parsed.envelope_api_url().to_string();
        let postman = Postman { address, authorization: parsed.to_auth(Some(AGENT)).to_string(), client };
        let thread = thread::Builder::new().name("error-reports".to_owned());
        thread.spawn(move || runtime.block_on(postman.work(&waiting))).map_err(|e| e.to_string())?;
        let options = ClientOptions::new()
            .dsn(dsn.trim())
            .release(concat!("penstock@", env!("CARGO_PKG_VERSION")))
            .environment(environment.to_owned())
            .server_name(process.to_owned())
            .max_breadcrumbs(0)
            .send_default_pii(false)
            .default_integrations(false)
            .transport(Arc::new(Post(queue)));
        let client = Arc::new(Client::from_config(options));
        // Every thread's own is made after this one.
        Hub::main().bind_client(Some(Arc::clone(&client)));
        Ok(Self(client))
    }
}

impl Drop for ErrorReports {
    fn drop(&mut self) {
        self.0.close(Some(AT_END));
    }
}

enum Item {
    Report(Box<Envelope>),
    /// Answered once all before it are sent.
    Flush(SyncSender<()>),
}

struct Post(SyncSender<Item>);

impl Transport for Post {
    fn send_envelope(&self, envelope: Envelope) {
        if let Err(TrySendError::Full(_)) = self.0.try_send(Item::Report(Box::new(envelope))) {
            count("dropped");
        }
    }

    fn flush(&self, within: Duration) -> bool {
        let (done, is_done) = sync_channel(1);
        self.0.try_send(Item::Flush(done)).is_ok() && is_done.recv_timeout(within).is_ok()
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("penstock_error_reports_total", "outcome" => outcome).increment(1);
}

/// Who brings reports to the server.
struct Postman {
    address: String,
    authorization: String,
    client: HttpClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Postman {
    /// One after the other, until nobody can send any more.
    async fn work(&self, waiting: &Receiver<Item>) {
        let mut silent_until = Instant::now();
        while let Ok(item) = waiting.recv() {
            match item {
                Item::Report(_) if Instant::now() < silent_until => count("dropped"),
                Item::Report(envelope) => {
                    let outcome = timeout(PATIENCE, self.post(&envelope)).await.ok().flatten();
                    count(if matches!(outcome, Some(Outcome::Taken)) { "sent" } else { "failed" });
                    if let Some(Outcome::TooMany { pause }) = outcome {
                        silent_until = Instant::now() + pause;
                    }
                }
                Item::Flush(done) => drop(done.try_send(())),
            }
        }
    }

    /// What the server says to it, if it answers.
    async fn post(&self, envelope: &Envelope) -> Option<Outcome> {
        let mut body = Vec::new();
        envelope.to_writer(&mut body).ok()?;
        let request = Request::post(&self.address)
            .header(header::CONTENT_TYPE, "application/x-sentry-envelope")
            .header(header::USER_AGENT, AGENT)
            .header("x-sentry-auth", &self.authorization)
            .body(Full::new(Bytes::from(body)))
            .ok()?;
        let answer = self.client.request(request).await.ok()?;
        match answer.status() {
            status if status.is_success() => Some(Outcome::Taken),
            StatusCode::TOO_MANY_REQUESTS => {
                let after = answer.headers().get(header::RETRY_AFTER);
                let seconds = after.and_then(|value| value.to_str().ok()?.parse().ok());
                Some(Outcome::TooMany { pause: seconds.map_or(PAUSE, Duration::from_secs) })
            }
            _ => Some(Outcome::Refused),
        }
    }
}

/// What the server says to a report.
enum Outcome {
    Taken,
    /// It wants none for so long.
    TooMany {
        pause: Duration,
    },
    Refused,
}
