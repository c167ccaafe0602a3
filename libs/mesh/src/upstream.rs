//! A role in other processes, as one [`HttpService`]: found, health-checked, balanced, retried where that is safe.
//!
//! The path of a call: [`balance`] picks an endpoint, [`endpoint`] sends it there over the one HTTP/2 connection to it, and
//! what comes back is passed on as it is. A call that certainly never began is sent to another endpoint; one that may have is
//! sent again only if it changes nothing ([`is_read`](Upstream)), and within the budget of [`retry`]. When no endpoint can be
//! reached the call fails at once, in the caller's protocol, with a time to come again; while none is well the [`breaker`] is
//! open, and one call at a time tries.

mod balance;
mod breaker;
mod discovery;
mod endpoint;
mod relay;
mod retry;

use std::{collections::HashSet, net::SocketAddr, sync::Arc, time::Duration};

use model::{Error, ErrorCode};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::{service_fn, util::BoxCloneSyncService};
use tracing::warn;

pub use discovery::{Addresses, AddressesError};

use crate::{Body, HttpService, Request, Response, protocol::Protocol, tls::Tls};
use breaker::Breaker;
use endpoint::{Endpoint, Failure};
use retry::{Budget, Replay};

/// How long whoever is refused for want of an endpoint should wait.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long a call waits at the start of the process until the role's names are resolved.
const FIRST_RESOLVED: Duration = Duration::from_secs(2);
/// How often a call that changes nothing is sent at most.
const MAX_READS: usize = 3;

/// Calls with the same value go to the same endpoint while it can take them: an extension of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Affinity(u64);

impl Affinity {
    /// That of a tenant: what is cached for it, and its queue, are in one place.
    pub fn tenant(tenant: &model::TenantId) -> Self {
        Self(xxhash_rust::xxh3::xxh3_64(tenant.as_str().as_bytes()))
    }
}

/// What an upstream is made of.
pub struct Options {
    /// The role that is called: its name in certificates, metrics and errors.
    pub role: &'static str,
    /// Where its processes are.
    pub addresses: Addresses,
    /// This process's identity; plain connections without.
    pub tls: Option<Tls>,
    /// Whether a call changes nothing, so that it may be sent twice.
    pub is_read: fn(&Request) -> bool,
}

/// The role as a service. Discovery and health checks end with its last clone.
pub fn service(options: Options) -> HttpService {
    let stop = CancellationToken::new();
    let (known, endpoints) = watch::channel(None);
    tokio::spawn(discovery::follow(
        options.addresses,
        discovery::Dns,
        options.role,
        options.tls,
        known,
        stop.child_token(),
    ));
    let upstream = Arc::new(Upstream {
        role: options.role,
        endpoints,
        is_read: options.is_read,
        breaker: Breaker::default(),
        budget: Budget::default(),
        _stop: stop.drop_guard(),
    });
    BoxCloneSyncService::new(service_fn(move |request: Request| {
        let upstream = Arc::clone(&upstream);
        async move { Ok(upstream.call(request).await) }
    }))
}

/// The processes of a role; none before its names were first resolved.
type Endpoints = Option<Arc<[Arc<Endpoint>]>>;

struct Upstream {
    role: &'static str,
    endpoints: watch::Receiver<Endpoints>,
    is_read: fn(&Request) -> bool,
    breaker: Breaker,
    budget: Budget,
    _stop: DropGuard,
}

impl Upstream {
    async fn call(&self, request: Request) -> Response {
        let (protocol, is_read) = (Protocol::of(&request), (self.is_read)(&request));
        let affinity = request.extensions().get::<Affinity>().copied();
        let (head, body) = request.into_parts();
        let body = Replay::new(body);
        let mut tried = HashSet::<SocketAddr>::new();
        self.budget.earn();
        let Some(_pass) = self.breaker.pass(&self.endpoints().await) else {
            return self.unreachable(protocol, "none of its processes is well");
        };
        loop {
            let Some(endpoint) = balance::pick(&self.endpoints().await, affinity.map(|a| a.0), &tried) else {
                return self.unreachable(protocol, "no process of it can be reached");
            };
            tried.insert(endpoint.address);
            let attempt = Request::from_parts(head.clone(), Body::new(body.attempt()));
            let outcome = endpoint.send(attempt, protocol).await;
            let again = match &outcome {
                Err(Failure::Unsent(_)) => true,
                Err(Failure::Broken(_)) => is_read && tried.len() < MAX_READS && self.budget.spend(),
                Ok(answer) => {
                    is_read
                        && is_unavailable(answer)
                        && tried.len() < MAX_READS.min(self.endpoints().await.len())
                        && self.budget.spend()
                }
            };
            if again && body.is_whole() {
                metrics::counter!("penstock_upstream_retries_total", "role" => self.role).increment(1);
                continue;
            }
            match outcome {
                Ok(answer) => return answer,
                Err(failure) => {
                    warn!(role = self.role, address = %endpoint.address, error = %failure, "a call failed");
                    return self.unreachable(protocol, "the process that worked on it can't be reached");
                }
            }
        }
    }

    /// The processes as known now; at the very start, once their names are resolved.
    async fn endpoints(&self) -> Arc<[Arc<Endpoint>]> {
        let mut endpoints = self.endpoints.clone();
        let known = tokio::time::timeout(FIRST_RESOLVED, endpoints.wait_for(Option::is_some)).await;
        known.ok().and_then(Result::ok).and_then(|known| known.clone()).unwrap_or_default()
    }

    fn unreachable(&self, protocol: Protocol, why: &str) -> Response {
        let error = Error::new(ErrorCode::Unavailable, format!("the {} service can't answer now: {why}", self.role));
        protocol.error(&Error { retry_after: Some(RETRY_AFTER), ..error })
    }
}

fn is_unavailable(answer: &Response) -> bool {
    answer.status() == http::StatusCode::SERVICE_UNAVAILABLE
        || answer.headers().get("grpc-status").is_some_and(|code| code.as_bytes() == b"14")
}

#[cfg(test)]
mod tests;
