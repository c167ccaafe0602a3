//! The services: those of this process, the way to those of others, and health and reflection.

use std::{collections::BTreeMap, sync::Arc};

use gateway::target::{OPENAPI_PATH, Target};
use http::StatusCode;
use mesh::{
    HttpService,
    protocol::{Protocol, json_response},
    signed::SigningKey,
    tls::Tls,
    upstream,
};
use model::{Error, ErrorCode};
use storage::{Cache, Metastore};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::server::HealthReporter;
use tower::{ServiceExt, service_fn, util::BoxCloneSyncService};

use crate::{
    config::Config,
    roles::{Role, Roles},
    stores::{Stores, leased, topic},
    wire::{StartError, now_ms},
};

/// The services, each here or in other processes, and what the gateway needs besides.
pub(crate) struct Services {
    meta: Arc<dyn Metastore>,
    cache: Arc<dyn Cache>,
    cache_key: SigningKey,
    context_key: SigningKey,
    here: BTreeMap<Role, HttpService>,
    services: gateway::Services,
    desk: Option<Arc<admin::Desk>>,
    /// This process's, among those of its roles.
    name: String,
    pub(crate) health: HealthReporter,
}

impl Services {
    pub(crate) async fn build(
        config: &Config,
        roles: &Roles,
        stores: &Stores,
        meta: &Arc<dyn Metastore>,
        tls: Option<Tls>,
        stop: &CancellationToken,
    ) -> Result<Self, StartError> {
        let secret = meta.secret("signing", rand::random).await?;
        let context_key = SigningKey::derive(&secret, "call context");
        let token_key = SigningKey::derive(&secret, "position token");
        let cache_key = SigningKey::derive(&secret, "cached API key");
        let cache = storage::open_cache(&config.cache).await?;
        let (health, public) = public(meta)?;
        let elsewhere = |role: Role| {
            if !roles.calls(role) {
                return nowhere(role);
            }
            let addresses = config.upstreams.of(role).clone();
            upstream::service(upstream::Options {
                role: role.name(),
                addresses,
                tls: tls.clone(),
                is_read: gateway::target::is_read,
            })
        };
        let mut here = BTreeMap::new();
        if let (true, Some(log), Some(apps)) = (roles.has(Role::Ingest), &stores.log, &stores.apps) {
            let ingest = ingest::service(ingest::Parts {
                log: Arc::clone(log),
                apps: Arc::clone(apps),
                cache: Arc::clone(&cache),
                meta: Arc::clone(meta),
                limits: config.ingest.clone(),
                writer: stores.writer.clone(),
                retention_days: config.retention.days,
                token_key: token_key.clone(),
                context_key: context_key.clone(),
                now_ms,
                stop: stop.clone(),
            });
            here.insert(Role::Ingest, ingest);
        }
        if let (true, Some(log), Some(apps), Some(warehouse)) =
            (roles.has(Role::Query), &stores.log, &stores.apps, &stores.warehouse)
        {
            let topic = topic(&**log);
            let partitions = meta.placement(&topic, log.partitions()).await?.partitions();
            let query = query::service(query::Parts {
                apps: Arc::clone(apps),
                ledger: Arc::clone(meta) as _,
                directory: Arc::clone(meta) as _,
                name: stores.writer.clone(),
                audit: Arc::clone(meta) as _,
                brandings: Arc::clone(meta) as _,
                states: Arc::clone(meta) as _,
                topic,
                partitions,
                warehouse: warehouse.clone(),
                cache: Arc::clone(&cache),
                options: config.query.clone(),
                token_key,
                context_key: context_key.clone(),
                now_ms,
                stop: stop.clone(),
            });
            here.insert(Role::Query, query);
        }
        let query = here.get(&Role::Query).cloned().unwrap_or_else(|| elsewhere(Role::Query));
        if roles.has(Role::Metrics) {
            let (meta, key) = (Arc::clone(meta), context_key.clone());
            let metrics = metrics_service::service(meta, query.clone(), key, now_ms, stop.clone());
            here.insert(Role::Metrics, metrics);
        }
        let mut desk = None;
        if roles.has(Role::Admin) {
            let parts = admin::DeskParts {
                reports: Arc::clone(meta) as _,
                directory: Arc::clone(meta) as _,
                audit: Arc::clone(meta) as _,
                ledger: Arc::clone(meta) as _,
                query: query.clone(),
                metrics: here.get(&Role::Metrics).cloned().unwrap_or_else(|| elsewhere(Role::Metrics)),
                context_key: context_key.clone(),
                webhook_key: SigningKey::derive(&secret, "report webhook"),
                now_ms,
            };
            desk = Some(Arc::new(admin::Desk::new(parts, config.admin.webhooks_to_loopback)));
            let terms = admin::Terms { retention_days: config.retention.days, prices: config.prices.clone() };
            let ground = stores.ground();
            let (meta, key) = (Arc::clone(meta), context_key.clone());
            let admin = admin::service(meta, Arc::clone(&cache), ground, desk.clone(), terms, key, now_ms);
            here.insert(Role::Admin, admin);
        }
        let service = |role: Role| here.get(&role).cloned().unwrap_or_else(|| elsewhere(role));
        let services = gateway::Services {
            ingest: service(Role::Ingest),
            query,
            metrics: service(Role::Metrics),
            admin: service(Role::Admin),
            public,
        };
        let (meta, name) = (Arc::clone(meta), stores.writer.clone());
        Ok(Self { meta, cache, cache_key, context_key, here, services, desk, name, health })
    }

    /// What asks reports, in the admin role.
    pub(crate) fn reporter(&self, config: &Config) -> Option<admin::Reporter> {
        let leased = leased(Arc::clone(&self.meta), "reports");
        Some(admin::Reporter { desk: self.desk.clone()?, options: config.admin.clone(), leased })
    }

    pub(crate) fn gateway(&self, config: &Config) -> gateway::Parts {
        gateway::Parts {
            directory: Arc::clone(&self.meta) as _,
            cache: Arc::clone(&self.cache),
            cache_key: self.cache_key.clone(),
            context_key: self.context_key.clone(),
            name: self.name.clone(),
            uses: Arc::new(gateway::Uses::new(Arc::clone(&self.meta) as _)),
            services: self.services.clone(),
            options: config.gateway.clone(),
            now_ms,
        }
    }

    /// What other roles call: the services that are here, and health and reflection.
    pub(crate) fn inner(&self) -> HttpService {
        let (here, public) = (Arc::new(self.here.clone()), self.services.public.clone());
        BoxCloneSyncService::new(service_fn(move |request: mesh::Request| {
            let service = match Target::of(request.uri().path()) {
                Some(Target::Ingest) => here.get(&Role::Ingest),
                Some(Target::Query) => here.get(&Role::Query),
                Some(Target::Metrics) => here.get(&Role::Metrics),
                Some(Target::Admin) => here.get(&Role::Admin),
                Some(Target::Public) => Some(&public),
                None => None,
            };
            let service = service.cloned();
            async move {
                match service {
                    Some(service) => service.oneshot(request).await,
                    None => {
                        let what = format!("this process has no {}", request.uri().path());
                        Ok(Protocol::of(&request).error(&Error::new(ErrorCode::Unavailable, what)))
                    }
                }
            }
        }))
    }
}

/// In the place of a service that this process never calls.
fn nowhere(role: Role) -> HttpService {
    BoxCloneSyncService::new(service_fn(move |request: mesh::Request| async move {
        let what = format!("this process doesn't call the {} role", role.name());
        Ok(Protocol::of(&request).error(&Error::internal(what)))
    }))
}

const SERVICES: [&str; 6] = [
    "penstock.v1.IngestService",
    "penstock.v1.QueryService",
    "penstock.v1.MetricsService",
    "penstock.v1.DashboardService",
    "penstock.v1.AdminService",
    "penstock.v1.PublicService",
];

/// What needs no key: health, reflection, the JSON API as an OpenAPI document, and the host's branding.
fn public(meta: &Arc<dyn Metastore>) -> Result<(HealthReporter, HttpService), StartError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let descriptors = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(api::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let routes = Routes::new(health).add_service(descriptors().build_v1()?).add_service(descriptors().build_v1alpha()?);
    let routes = routes.prepare();
    let document = mesh::openapi::document(api::DESCRIPTORS, &SERVICES, &[("/v1/events", ingest::openapi())]);
    // Shared: the service is cloned for each call, and the document is a megabyte.
    let document = Arc::new(document);
    let others = BoxCloneSyncService::new(routes);
    let ours = gateway::public(Arc::clone(meta) as _);
    let service = service_fn(move |request: mesh::Request| {
        let path = request.uri().path();
        let document = (path == OPENAPI_PATH).then(|| json_response(StatusCode::OK, &document));
        let is_ours = path.starts_with("/v1/") || path.starts_with("/penstock.v1.");
        let service = if is_ours { ours.clone() } else { others.clone() };
        async move {
            match document {
                Some(document) => Ok(document),
                None => service.oneshot(request).await,
            }
        }
    });
    Ok((reporter, BoxCloneSyncService::new(service)))
}

pub(crate) async fn report(health: &HealthReporter, serving: bool) {
    use tonic_health::ServingStatus::{NotServing, Serving};
    let status = if serving { Serving } else { NotServing };
    for service in std::iter::once("").chain(SERVICES) {
        health.set_service_status(service, status).await;
    }
}
