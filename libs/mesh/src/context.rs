//! Who is calling, from the gateway to the services: one signed header.
//!
//! The gateway strips the header from what comes in and adds its own; a service accepts a call only with it.

use std::{sync::Arc, task::Poll, time::Duration};

use futures::future::{BoxFuture, Either};
use http::HeaderValue;
use model::{Act, Error, ErrorCode, Permission, Priority, Scope};
use serde::{Deserialize, Serialize};
use tower::{Layer, Service};

use crate::{Request, Response, protocol::Protocol, signed::SigningKey, work::Account};

/// The header's name.
pub const CONTEXT_HEADER: &str = "x-penstock-context";

/// When a call may be sent again that met a process with another time.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the gateway found out about a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallContext {
    /// What the caller may reach.
    pub scope: Scope,
    /// In which queue the call waits if it doesn't say; never above what the scope allows.
    pub priority: Priority,
    /// The key that was shown, for audit.
    pub key_id: String,
    /// The address that the call came from; empty if it isn't known.
    #[serde(default)]
    pub address: String,
    /// Until when the header is good, UTC ms: it says who starts a call, not how long the call lasts.
    pub good_until_ms: i64,
}

impl CallContext {
    /// Refuses the call unless its scope has the permission.
    pub fn require(&self, permission: Permission) -> Result<(), Error> {
        if self.scope.allows(permission) {
            return Ok(());
        }
        let message = format!("this key lacks the `{}` permission", permission.name());
        Err(Error::new(ErrorCode::PermissionDenied, message))
    }

    /// The call as the audit log tells of it; `traceparent` is its header of that name.
    pub fn act(&self, method: &str, traceparent: Option<&str>, at_ms: i64) -> Act {
        Act {
            method: method.to_owned(),
            key_id: self.key_id.clone(),
            key_tenant: self.scope.tenant.to_string(),
            at_ms,
            address: self.address.clone(),
            trace_id: traceparent.and_then(|header| header.split('-').nth(1)).unwrap_or_default().to_owned(),
        }
    }

    /// The header that carries this context.
    pub fn to_header(&self, key: &SigningKey) -> HeaderValue {
        HeaderValue::try_from(key.sign(self)).expect("base64url is a header value")
    }
}

/// Lets through only calls with a context signed by the gateway, and puts it into the request's extensions. The work on a call is charged to its
/// tenant, unless a gateway in this process does that already.
#[derive(Clone)]
pub struct RequireContext {
    key: SigningKey,
    now_ms: fn() -> i64,
}

impl RequireContext {
    /// Accepts what this key signed.
    pub fn new(key: SigningKey, now_ms: fn() -> i64) -> Self {
        Self { key, now_ms }
    }

    fn check(&self, request: &mut Request) -> Result<Arc<CallContext>, Error> {
        let header = request.headers_mut().remove(CONTEXT_HEADER);
        let context = header.as_ref().and_then(|h| h.to_str().ok()).and_then(|text| self.key.open::<CallContext>(text));
        match context {
            Some(context) if context.good_until_ms > (self.now_ms)() => {
                let context = Arc::new(context);
                request.extensions_mut().insert(Arc::clone(&context));
                Ok(context)
            }
            // The caller has done nothing wrong, and another process may have the time.
            Some(_) => Err(Error::unavailable(
                "this process takes the call for one of long ago: its clock is ahead of the gateway's",
                RETRY_AFTER,
            )),
            None => Err(Error::new(ErrorCode::Unauthenticated, "this service takes calls through a gateway only")),
        }
    }
}

/// The context that [`RequireContext`] put there.
pub fn of(extensions: &http::Extensions) -> Result<Arc<CallContext>, Error> {
    extensions.get::<Arc<CallContext>>().cloned().ok_or_else(|| Error::internal("a call came in without its context"))
}

/// The same of a tonic request.
pub fn of_grpc<T>(request: &tonic::Request<T>) -> Result<Arc<CallContext>, tonic::Status> {
    let context = request.extensions().get::<Arc<CallContext>>().cloned();
    context.ok_or_else(|| api::status::to_status(&Error::internal("a call came in without its context")))
}

impl<S> Layer<S> for RequireContext {
    type Service = ContextRequired<S>;
    fn layer(&self, inner: S) -> Self::Service {
        ContextRequired { inner, require: self.clone() }
    }
}

/// A service behind [`RequireContext`].
#[derive(Clone)]
pub struct ContextRequired<S> {
    inner: S,
    require: RequireContext,
}

impl<S> Service<Request> for ContextRequired<S>
where
    S: Service<Request, Response = Response>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let context = match self.require.check(&mut request) {
            Ok(context) => context,
            Err(error) => {
                let response = Protocol::of(&request).error(&error);
                return Either::Right(Box::pin(std::future::ready(Ok(response))));
            }
        };
        if request.extensions().get::<Account>().is_some() {
            return Either::Left(self.inner.call(request));
        }
        let account = Account::of(&context.scope.tenant);
        let answer = self.inner.call(request.map(|body| account.charged_body(body)));
        Either::Right(Box::pin(async move {
            let response = account.charged(answer).await?;
            Ok(response.map(|body| account.charged_body(body)))
        }))
    }
}
