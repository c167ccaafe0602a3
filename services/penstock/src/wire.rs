//! The composition root: every part is built here from the configuration and handed down. No part looks for another.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chdb::{Health, Supervisor};
use eventlog::{EventLog, LogOptions};
use mesh::{HttpService, serve::serve as serve_http, signed::SigningKey, telemetry};
use storage::{Apps, Ledger, Metastore, Topic, Warehouse};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::server::HealthReporter;
use tower::util::BoxCloneSyncService;
use tracing::{info, warn};

use crate::{
    bootstrap,
    config::{Config, ConfigError, WarehouseUrl},
    ops, warehouse,
};

/// Why the product can't start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Telemetry(#[from] telemetry::TelemetryError),
    #[error("the event log: {0}")]
    Log(#[from] eventlog::LogError),
    #[error(transparent)]
    Meta(#[from] storage::MetaError),
    #[error("the warehouse: {0}")]
    Warehouse(String),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("can't listen on {address}: {source}")]
    Listen { address: String, source: std::io::Error },
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

impl From<storage::WarehouseError> for StartError {
    fn from(error: storage::WarehouseError) -> Self {
        Self::Warehouse(error.to_string())
    }
}

/// How long a warehouse may take to start: a large one loads its parts first.
const WAREHOUSE_START: Duration = Duration::from_secs(120);

/// UTC ms. Time is an argument everywhere else.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

/// Runs every role in this process until `stop`, then drains: first no new calls, then what was accepted, then the stores.
pub(crate) async fn serve(
    config: &Config,
    demo: bool,
    stop: CancellationToken,
) -> Result<Arc<telemetry::Telemetry>, StartError> {
    let telemetry = Arc::new(telemetry::init("penstock", &config.telemetry)?);
    let listener = listen(&config.listen).await?;
    let ops_listener = listen(&config.ops_listen).await?;
    let stores = Stores::open(config).await?;
    let operator_key = bootstrap::operator(&*stores.meta, &config.data, now_ms()).await?;

    let pipeline_stop = CancellationToken::new();
    let pipeline = tokio::spawn(pipeline::run(stores.pipeline(config), pipeline_stop.clone()));
    let (health, public) = public()?;
    let gateway = gateway::service(stores.gateway(config, public, stop.clone()).await?);
    let ops = ops::service(Arc::clone(&telemetry), stores.ready());
    let ops_stop = CancellationToken::new();
    let ops = tokio::spawn(serve_in_background(ops_listener, ops, config.server.clone(), ops_stop.clone()));
    report(&health, true).await;
    say_what_to_try(config, &operator_key, demo.then_some(&*stores.meta)).await?;

    let drain = stop.clone();
    let told = tokio::spawn(async move {
        drain.cancelled().await;
        report(&health, false).await; // balancers look elsewhere before the door closes
    });
    serve_http(listener, gateway, &config.server, stop).await;
    let _ = told.await;
    pipeline_stop.cancel();
    if let Err(error) = pipeline.await {
        warn!(%error, "the pipeline did not end well; what it had not committed is replayed at the next start");
    }
    stores.close().await;
    ops_stop.cancel();
    let _ = ops.await;
    info!("stopped");
    Ok(telemetry)
}

async fn listen(address: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address: address.to_owned(), source })
}

async fn serve_in_background(
    listener: TcpListener,
    service: HttpService,
    options: mesh::serve::ServeOptions,
    stop: CancellationToken,
) {
    serve_http(listener, service, &options, stop).await;
}

/// What the roles stand on.
struct Stores {
    log: Arc<dyn EventLog>,
    meta: Arc<dyn Metastore>,
    apps: Arc<Apps>,
    warehouse: Warehouse,
    supervisor: Option<Supervisor>,
}

impl Stores {
    async fn open(config: &Config) -> Result<Self, StartError> {
        std::fs::create_dir_all(&config.data)
            .map_err(|source| StartError::File { path: config.data.clone(), source })?;
        let meta = storage::open(&config.metastore).await?;
        let options = LogOptions { partitions: config.log_partitions, ..LogOptions::default() };
        let log = eventlog::open(&config.log, &options).await?;
        let (warehouse, supervisor) = match config.warehouse_url()? {
            WarehouseUrl::Embedded(dir) => {
                let embedded = warehouse::start(dir, &config.engine)?;
                let warehouse = Warehouse::new(
                    &embedded.url,
                    storage::warehouse::schema::DEFAULT_DATABASE,
                    "default",
                    Some(&embedded.access_key),
                )?;
                (warehouse, Some(embedded.supervisor))
            }
            WarehouseUrl::Http(url) => {
                let password = Some(config.warehouse_password.as_str()).filter(|p| !p.is_empty());
                let database = storage::warehouse::schema::DEFAULT_DATABASE;
                (Warehouse::new(url, database, &config.warehouse_user, password)?, None)
            }
        };
        warehouse.wait_ready(WAREHOUSE_START).await?;
        warehouse.migrate().await?;
        let apps = Arc::new(Apps::new(Arc::clone(&meta), now_ms));
        Ok(Self { log, meta, apps, warehouse, supervisor })
    }

    fn pipeline(&self, config: &Config) -> pipeline::Parts {
        pipeline::Parts {
            log: Arc::clone(&self.log),
            ledger: self.ledger(),
            apps: Arc::clone(&self.apps),
            warehouse: self.warehouse.clone(),
            options: config.pipeline.clone(),
            owner: format!("penstock-{}", std::process::id()),
            now_ms,
        }
    }

    fn ledger(&self) -> Arc<dyn Ledger> {
        Arc::clone(&self.meta) as Arc<dyn Ledger>
    }

    async fn gateway(
        &self,
        config: &Config,
        public: HttpService,
        stop: CancellationToken,
    ) -> Result<gateway::Parts, StartError> {
        let secret = self.meta.secret("signing", rand::random).await?;
        let context_key = SigningKey::derive(&secret, "call context");
        let token_key = SigningKey::derive(&secret, "position token");
        let ingest = ingest::service(ingest::Parts {
            log: Arc::clone(&self.log),
            apps: Arc::clone(&self.apps),
            limits: config.ingest.clone(),
            token_key: token_key.clone(),
            context_key: context_key.clone(),
            now_ms,
            stop,
        });
        let query = query::service(query::Parts {
            apps: Arc::clone(&self.apps),
            ledger: self.ledger(),
            topic: Topic { name: self.log.topic().to_owned(), incarnation: self.log.incarnation() },
            partitions: self.log.partitions(),
            warehouse: self.warehouse.clone(),
            options: config.query.clone(),
            token_key,
            context_key: context_key.clone(),
            now_ms,
        });
        let metrics = metrics_service::service(Arc::clone(&self.meta), query.clone(), context_key.clone(), now_ms);
        let admin = admin::service(Arc::clone(&self.meta) as _, context_key.clone(), now_ms);
        Ok(gateway::Parts {
            directory: Arc::clone(&self.meta) as _,
            context_key,
            services: gateway::Services { ingest, query, metrics, admin, public },
            options: config.gateway.clone(),
            now_ms,
        })
    }

    /// Whether the warehouse answers. One that is not ours is its own operator's to watch.
    fn ready(&self) -> Arc<dyn Fn() -> bool + Send + Sync> {
        match &self.supervisor {
            Some(supervisor) => {
                let health = supervisor.health();
                Arc::new(move || matches!(*health.borrow(), Health::Serving { .. }))
            }
            None => Arc::new(|| true),
        }
    }

    async fn close(self) {
        if let Err(error) = self.log.close().await {
            warn!(%error, "the event log did not close well; what was acknowledged is on disk");
        }
        if let Some(supervisor) = self.supervisor {
            supervisor.shutdown().await;
        }
    }
}

const SERVICES: [&str; 4] =
    ["penstock.v1.IngestService", "penstock.v1.QueryService", "penstock.v1.MetricsService", "penstock.v1.AdminService"];

/// Health and reflection.
fn public() -> Result<(HealthReporter, HttpService), StartError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let descriptors = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(api::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let routes = Routes::new(health).add_service(descriptors().build_v1()?).add_service(descriptors().build_v1alpha()?);
    Ok((reporter, BoxCloneSyncService::new(routes.prepare())))
}

async fn report(health: &HealthReporter, serving: bool) {
    use tonic_health::ServingStatus::{NotServing, Serving};
    let status = if serving { Serving } else { NotServing };
    for service in std::iter::once("").chain(SERVICES) {
        health.set_service_status(service, status).await;
    }
}

async fn say_what_to_try(config: &Config, operator_key: &Path, demo: Option<&dyn Metastore>) -> Result<(), StartError> {
    let mut text = format!(
        "\nPenstock serves gRPC, grpc-web and JSON on http://{}, metrics on http://{}/metrics\n\
         The operator's key: {}\n",
        config.listen,
        config.ops_listen,
        operator_key.display()
    );
    if let Some(meta) = demo {
        let key = bootstrap::demo(meta, &config.data, now_ms()).await?;
        let (url, key) = (&config.listen, key.display());
        text += &format!(
            "\nTry it, in another terminal:\n\n\
             curl http://{url}/v1/events -H \"authorization: Bearer $(cat {key})\" -d '{{\"app_id\": \"xyz123\", \
             \"event_type\": \"purchase\", \"user_id\": \"u1\", \"properties\": {{\"purchase_amount\": 12.5, \"status\": \"completed\"}}}}'\n\n\
             curl http://{url}/v1/sql -H \"authorization: Bearer $(cat {key})\" -d '{{\"sql\": \
             \"SELECT event_type, COUNT(*) AS events, SUM(purchase_amount) AS revenue FROM events WHERE app_id = '\"'\"'xyz123'\"'\"' GROUP BY event_type\"}}'\n\n\
             More in the README.\n"
        );
    }
    // A closed standard output is no reason not to serve.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}
