//! The gateway's layers, outermost first. The order is the design: each line says why it stands where it does.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, header};
use mesh::{
    HttpService, Request, Response,
    context::CONTEXT_HEADER,
    limits::{Holder, Limit, Limits, rate},
    protocol::{Protocol, explained},
    rate::{OverRate, Rate},
    signed::SigningKey,
    upstream::Affinity,
    work::Account,
};
use model::{Error, ErrorCode, Network};
use storage::{Cache, Directory};
use tower::{ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_http::cors::{AllowHeaders, AllowOrigin, Any, CorsLayer};

use crate::{
    Options,
    authenticate::Authenticator,
    call,
    call::Urgency,
    console,
    deadline::{self, deadline},
    ending::ending,
    middleware::{Next, Stacked, layer},
    observe::{observe, rescue},
    patience::patience,
    shared_keys::SharedKeys,
    shed::{Load, Shares},
    target::{Target, tell_segment},
    trace::trace,
    unknown::Unknown,
    uses::Uses,
    whence::Whence,
};

/// How long a signed context says who starts a call.
const CONTEXT_GOOD_MS: i64 = 60_000;

/// What the gateway stands on.
pub struct Parts {
    /// Where keys are found.
    pub directory: Arc<dyn Directory>,
    /// Where gateways leave keys for one another, and hear of revoked ones.
    pub cache: Arc<dyn Cache>,
    /// Signs what is left there.
    pub cache_key: SigningKey,
    /// Signs contexts for the services.
    pub context_key: SigningKey,
    /// The name of this process among the gateways.
    pub name: String,
    /// When keys were last used.
    pub uses: Arc<Uses>,
    /// The services behind it.
    pub services: Services,
    /// The bounds.
    pub options: Options,
    /// UTC ms.
    pub now_ms: fn() -> i64,
}

/// The services behind the gateway, each in this process or another.
#[derive(Clone)]
pub struct Services {
    /// Events in.
    pub ingest: HttpService,
    /// Questions.
    pub query: HttpService,
    /// Metrics.
    pub metrics: HttpService,
    /// Tenants, apps, keys.
    pub admin: HttpService,
    /// Health and reflection.
    pub public: HttpService,
}

impl Services {
    fn of(&self, target: Target) -> &HttpService {
        match target {
            Target::Ingest => &self.ingest,
            Target::Query => &self.query,
            Target::Metrics => &self.metrics,
            Target::Admin => &self.admin,
            Target::Public => &self.public,
        }
    }
}

/// The whole stack as a service.
pub fn service(parts: Parts) -> HttpService {
    let Parts { directory, cache, cache_key, context_key, name, uses, services, options, now_ms } = parts;
    let room = Load::new(options.max_calls * 2);
    let load = Shares::new(options.max_calls);
    let limits = Limits::follow(Arc::clone(&cache), Arc::clone(&directory), ("gateway", name), 0);
    let (places, origins) = (Arc::clone(&limits), Arc::clone(&limits));
    let calls = (options.tenant_calls_per_second.into(), options.tenant_burst.into());
    let calls = Arc::new((Limit::new(&limits, "requests_per_second", "requests"), limits, calls));
    let unknown = Unknown::new(options.unknown_keys_per_second, options.address_unknown_keys_per_second);
    let keys = Arc::new(Authenticator::new(directory, SharedKeys::new(cache, cache_key), unknown, now_ms));
    let hops = Arc::new(options.trusted_hops);
    let (public, services) = (services.public.clone(), Arc::new(services));

    let stack = ServiceBuilder::new()
        // Errors of every layer below become responses in the caller's protocol, once.
        .layer(layer(rescue))
        // The path decides the target; what no service has ends here, before it costs anything.
        .layer(layer(target))
        // First of the rest, so that every refusal below has a trace id on its log line.
        .layer(layer(trace))
        // Counts refusals too, so it stands before whatever refuses.
        .layer(layer(observe))
        // Before anything is kept for a call: what doesn't fit into memory is refused while it is still cheap.
        .layer(layer(move |request, next| memory_guard(Arc::clone(&room), request, next)))
        // The caller's time runs from here; waiting for anything below counts.
        .layer(layer(deadline))
        // A message that doesn't come keeps no place, in what is counted above and below.
        .layer(layer(patience))
        // Load balancers ask for health without a key.
        .layer(layer(move |request, next| public_first(public.clone(), request, next)))
        // Where the call comes from, which bounds what keys that nobody knows may cost.
        .layer(layer(move |request, next| whence(Arc::clone(&hops), request, next)))
        // Who calls. From here on a tenant is known, and everything is charged to it. A stream ends with the key.
        .layer(layer(move |request, next| authenticate(Arc::clone(&keys), request, next)))
        // Whether the key may be used from there: one that leaked is of little use elsewhere. And how urgent its calls may be.
        .layer(layer(move |request, next| place(Arc::clone(&uses), Arc::clone(&places), now_ms, request, next)))
        // Whether the key has any business with the service; the service checks each method.
        .layer(layer(scope))
        // The tenant's own limit comes before shedding, so that a noisy tenant never sheds its neighbours.
        .layer(layer(move |request, next| tenant_limit(Arc::clone(&calls), request, next)))
        // What is left may still be too much for this process: the least urgent goes first, and who has many under way.
        .layer(layer(move |request, next| load_shed(Arc::clone(&load), request, next)))
        // Last: the key is taken off, the signed context put on.
        .layer(layer(move |request, next| sign(context_key.clone(), now_ms, request, next)))
        .service(Stacked::new(move |request| route(Arc::clone(&services), request)));

    let answering = service_fn(move |request: Request| {
        let answer = stack.clone().oneshot(request);
        async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|error| Protocol::Json.error(&error))) }
    });
    // grpc-web is only another framing: it becomes gRPC before any layer looks, and CORS answers browsers before that.
    let cors = cors(&options.allowed_origins, origins);
    let web =
        ServiceBuilder::new().layer(cors.clone()).layer(tonic_web::GrpcWebLayer::new()).service(answering.clone());
    let plain = ServiceBuilder::new().layer(cors).service(answering.clone());
    // Shared: a service is cloned for each call.
    let ways = Arc::new((web, plain, answering));
    BoxCloneSyncService::new(service_fn(move |request: Request| {
        let ways = Arc::clone(&ways);
        async move {
            // Files out of the program itself: there is nobody to charge for them, and nothing to refuse.
            if let Some(page) = console::answer(&request) {
                return Ok(page);
            }
            let (web, plain, answering) = &*ways;
            let content_type = request.headers().get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
            // The JSON routes answer JSON, whatever their caller calls its body.
            let framing = content_type.strip_prefix(b"application/grpc").filter(|_| !is_json(request.uri().path()));
            match framing {
                Some(framing) if framing.starts_with(b"-web") => web.clone().oneshot(request).await,
                // No page can call so: browsers don't speak gRPC.
                Some(_) if !request.headers().contains_key(header::ORIGIN) => answering.clone().oneshot(request).await,
                _ => plain.clone().oneshot(request).await,
            }
        }
    }))
}

/// The limit of tenants' calls: itself, what operators set of it, and what the configuration says, a second and at once.
type Calls = (Limit, Arc<Limits>, (u64, u64));

fn is_json(path: &str) -> bool {
    path.starts_with("/v1/")
}

async fn target(mut request: Request, next: Next) -> Result<Response, Error> {
    tell_segment(&mut request);
    let path = request.uri().path();
    let found = Target::of(path);
    let target = found.ok_or_else(|| Error::new(ErrorCode::NotFound, format!("there is no {path}")))?;
    request.extensions_mut().insert(target);
    next.run(request).await
}

async fn memory_guard(room: Arc<Load>, request: Request, next: Next) -> Result<Response, Error> {
    let _inside = room.enter(model::Priority::Interactive)?;
    next.run(request).await
}

async fn public_first(public: HttpService, request: Request, next: Next) -> Result<Response, Error> {
    match call::target(&request)? {
        Target::Public => Ok(explained(public.oneshot(request).await.unwrap_or_else(|never| match never {}))),
        _ => next.run(request).await,
    }
}

async fn whence(hops: Arc<Vec<Network>>, mut request: Request, next: Next) -> Result<Response, Error> {
    let whence = Whence::of(&request, &hops);
    request.extensions_mut().insert(whence);
    next.run(request).await
}

async fn authenticate(keys: Arc<Authenticator>, mut request: Request, next: Next) -> Result<Response, Error> {
    let whence = call::whence(&request)?;
    let key = keys.authenticate(request.headers(), whence).await?;
    if let Some(account) = request.extensions().get::<Account>() {
        account.name(&key.scope.tenant);
    }
    request.extensions_mut().insert(Arc::clone(&key));
    let (protocol, is_stream) = (Protocol::of(&request), api::is_stream(request.uri().path()));
    let response = next.run(request).await?;
    Ok(if is_stream { ending(response, protocol, async move { keys.ended(&key, whence).await }) } else { response })
}

async fn place(
    uses: Arc<Uses>,
    limits: Arc<Limits>,
    now_ms: fn() -> i64,
    mut request: Request,
    next: Next,
) -> Result<Response, Error> {
    let (key, all) = (call::key(&request)?, limits.known_settings().await?);
    let settings = all.at(&key.scope.tenant, key.scope.apps.single());
    call::whence(&request)?.check(&key, settings, request.headers())?;
    uses.note(&key.id, now_ms());
    let urgency = Urgency::of(&key, settings).asked(request.headers())?;
    request.extensions_mut().insert(urgency);
    next.run(request).await
}

async fn scope(request: Request, next: Next) -> Result<Response, Error> {
    let (target, key) = (call::target(&request)?, call::key(&request)?);
    if !call::may_call(target, &key.scope) {
        if key.scope.evaluates.is_some() {
            let message = "this token evaluates metrics and asks nothing else";
            return Err(Error::new(ErrorCode::PermissionDenied, message));
        }
        let given: Vec<_> = key.scope.permissions.iter().map(model::Permission::name).collect();
        let message =
            format!("this key may {} and so has no access to the {} service", given.join(", "), target.name());
        return Err(Error::new(ErrorCode::PermissionDenied, message));
    }
    next.run(request).await
}

async fn tenant_limit(calls: Arc<Calls>, request: Request, next: Next) -> Result<Response, Error> {
    let (limit, limits, configured) = &*calls;
    let key = call::key(&request)?;
    let (tenant, customer) = (&key.scope.tenant, key.customer.as_ref().and_then(|customer| customer.calls.as_ref()));
    let holders = [
        customer.map(|(id, calls_per_second)| (Holder::customer(tenant, id), (*calls_per_second, 0))),
        Some((tenant.into(), *configured)),
        key.scope.apps.single().map(|app| (Holder::app(tenant, app), (0, 0))),
    ];
    let mut taken: [Option<(Holder, Rate)>; 3] = Default::default();
    for (taking, (holder, (per_second, burst))) in holders.into_iter().flatten().enumerate() {
        let quota = limits.of(&holder);
        // The configured burst belongs to the configured rate.
        let burst = if quota.requests_per_second.is_some() { 0 } else { burst };
        let rate = rate((quota.requests_per_second, per_second), (quota.requests_burst, burst));
        let Some(rate) = rate else { continue };
        if let Err(over) = limit.take(&holder, rate, 1).await {
            taken.iter().flatten().for_each(|(holder, rate)| limit.give_back(holder, *rate, 1));
            let wait = match over {
                OverRate::For(wait) => wait,
                OverRate::Always => Duration::from_secs(1), // one call fits into any burst
            };
            return Err(limit.refusal(&holder, rate, wait));
        }
        taken[taking] = Some((holder, rate));
    }
    next.run(request).await
}

async fn load_shed(load: Arc<Shares>, request: Request, next: Next) -> Result<Response, Error> {
    let _underway = load.enter(&call::key(&request)?.scope.tenant, call::urgency(&request)?.default)?;
    next.run(request).await
}

async fn sign(key: SigningKey, now_ms: fn() -> i64, mut request: Request, next: Next) -> Result<Response, Error> {
    let (key_shown, urgency, whence) = (call::key(&request)?, call::urgency(&request)?, call::whence(&request)?);
    let context = call::context(&key_shown, urgency, whence, now_ms() + CONTEXT_GOOD_MS);
    // What is cached for a tenant, and its fair queue, are with one query worker.
    if call::target(&request)? == Target::Query {
        request.extensions_mut().insert(Affinity::tenant(&context.scope.tenant));
    }
    let headers = request.headers_mut();
    headers.remove(header::AUTHORIZATION);
    headers.remove("x-api-key");
    headers.insert(CONTEXT_HEADER, context.to_header(&key));
    deadline::tell_rest(&mut request);
    next.run(request).await
}

async fn route(services: Arc<Services>, request: Request) -> Result<Response, Error> {
    let service = services.of(call::target(&request)?).clone();
    Ok(explained(service.oneshot(request).await.unwrap_or_else(|never: Infallible| match never {})))
}

fn cors(origins: &[String], limits: Arc<Limits>) -> CorsLayer {
    let exposed =
        ["grpc-status", "grpc-message", "grpc-status-details-bin", "retry-after"].map(HeaderName::from_static);
    let layer =
        CorsLayer::new().allow_methods(Any).allow_headers(AllowHeaders::mirror_request()).expose_headers(exposed);
    if origins.iter().any(|origin| origin == "*") {
        return layer.allow_origin(Any);
    }
    let origins: Arc<[String]> = origins.into();
    // Which tenant asks is not known before there is a key: whether its keys may be used by that page is checked with them.
    layer.allow_origin(AllowOrigin::async_predicate(move |origin: HeaderValue, _| async move {
        let listed = origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes());
        listed || limits.known_settings().await.is_ok_and(|all| all.name_origin(origin.as_bytes()))
    }))
}

#[cfg(test)]
mod tests;
