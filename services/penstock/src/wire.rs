//! The composition root: every part is built here from the configuration and handed down. No part looks for another.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mesh::{
    HttpService,
    serve::{Door, ServeOptions, serve as serve_http},
    telemetry,
    tls::{Edge, Tls},
};
use model::Act;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    apart::Apart,
    bootstrap,
    config::{Config, ConfigError},
    ops, pulse,
    roles::{CALLED, CALLERS, Role, Roles},
    services::{Services, report},
    stores::Stores,
    usage::Teller,
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
    Tls(#[from] mesh::tls::TlsError),
    #[error(transparent)]
    Meta(#[from] storage::MetaError),
    #[error(transparent)]
    Cache(#[from] storage::CacheError),
    #[error("the warehouse: {0}")]
    Warehouse(String),
    #[error("{0}")]
    Restore(String),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("can't listen on {address}: {source}")]
    Listen { address: String, source: std::io::Error },
    #[error("can't start threads: {0}")]
    Threads(std::io::Error),
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

impl From<storage::WarehouseError> for StartError {
    fn from(error: storage::WarehouseError) -> Self {
        Self::Warehouse(error.to_string())
    }
}

/// UTC ms. Time is an argument everywhere else.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

/// Runs the roles of this process until `stop`, then drains: first no new calls, then what was accepted, then the stores.
pub(crate) async fn serve(
    config: &Config,
    demo: bool,
    stop: CancellationToken,
) -> Result<Arc<telemetry::Telemetry>, StartError> {
    let roles = config.roles();
    let telemetry = Arc::new(telemetry::init(&roles.service_name(), &config.telemetry)?);
    let doors = Doors::open(config, &roles).await?;
    let tls = match config.mesh_tls.authority.as_os_str().is_empty() {
        true => None,
        false => Some(Tls::load(&config.mesh_tls)?),
    };
    if let Some(tls) = &tls {
        tokio::spawn(tls.clone().follow(stop.clone()));
    }
    let edge = Edge::load(&config.edge)?;
    tokio::spawn(edge.clone().follow(stop.clone()));
    let stores = Stores::open(config, &roles).await?;
    let ops_stop = CancellationToken::new();
    // Ready from when everything is served, the keys of a new house included, until the drain begins.
    let serving = Arc::new(AtomicBool::new(false));
    let (now, stored) = (Arc::clone(&serving), stores.ready());
    let ready = Arc::new(move || now.load(Ordering::Acquire) && stored());
    let ops = ops::service(Arc::clone(&telemetry), config.data.clone(), stores.warehouse_pid(), ready);
    let ops = serve_in_background(doors.ops, ops, &config.server, Door::Open, &ops_stop);

    let services = match &stores.meta {
        Some(meta) => Some(Services::build(config, &roles, &stores, meta, tls.clone(), &stop).await?),
        None => None,
    };
    let pipeline_stop = CancellationToken::new();
    let mut pipeline = None;
    if roles.has(Role::Pipeline)
        && let Some(parts) = stores.pipeline(config).await?
    {
        let work = pipeline::run(parts, pipeline_stop.clone());
        pipeline = Some(Apart::start("pipeline", work).map_err(StartError::Threads)?);
    }
    if let (Some(expiry), true) = (stores.expiry(config), roles.has(Role::Admin)) {
        tokio::spawn(expiry.run(stop.clone()));
    }
    if let (Some(tell), true) = (stores.tell_size(), roles.has(Role::Admin)) {
        let stop = stop.clone();
        tokio::spawn(async move { stop.run_until_cancelled(tell).await });
    }
    if let (Some(grower), true) = (stores.grower(), roles.has(Role::Admin)) {
        tokio::spawn(grower.run(stop.clone()));
    }
    if let Some(reporter) = services.as_ref().and_then(|services| services.reporter(config)) {
        tokio::spawn(reporter.run(stop.clone()));
    }
    let eraser_stop = CancellationToken::new();
    let eraser = match stores.eraser(config) {
        Some(eraser) if roles.has(Role::Admin) => Some(tokio::spawn(eraser.run(eraser_stop.clone()))),
        _ => None,
    };
    let mut servers = Vec::new();
    if let (Some(services), Some(listener)) = (&services, doors.mesh) {
        let roles = CALLERS.map(|role| role.name().to_owned()).into();
        let door = tls.map_or(Door::Open, |tls| Door::Mesh { tls, roles });
        let many = ServeOptions { max_concurrent_streams: MESH_STREAMS, ..config.server.clone() };
        servers.push(serve_in_background(listener, services.inner(), &many, door, &stop));
    }
    let mut uses = None;
    if let (Some(services), Some(listener)) = (&services, doors.public) {
        let parts = services.gateway(config);
        uses = Some(Arc::clone(&parts.uses));
        let every = Duration::from_secs(config.gateway.key_uses_seconds.max(1));
        tokio::spawn(Arc::clone(&parts.uses).run(every, stop.clone()));
        let gateway = gateway::service(parts);
        servers.push(serve_in_background(listener, gateway, &config.server, Door::Edge(edge), &stop));
    }
    if let (Some(meta), true) = (&stores.meta, roles.has(Role::Admin)) {
        let first = meta.acting(Act { method: "penstock serve".to_owned(), at_ms: now_ms(), ..Act::default() });
        let operator_key = bootstrap::operator(&*first, &config.data, now_ms()).await?;
        let demo_key = match demo {
            true => Some(bootstrap::demo(&*first, &config.data, now_ms()).await?),
            false => None,
        };
        say_what_to_try(config, &operator_key, demo_key.as_deref());
    }
    metrics::gauge!("penstock_build_info", "version" => env!("CARGO_PKG_VERSION"), "roles" => roles.names()).set(1.0);
    let pulse = stores.meta.clone().map(|meta| tokio::spawn(pulse::run(meta, roles.names(), stop.clone())));
    let usage =
        stores.meta.clone().map(|meta| tokio::spawn(Teller::new(meta, Arc::clone(&telemetry)).run(stop.clone())));
    info!(roles = roles.names(), "serving");
    serving.store(true, Ordering::Release);
    if let Some(services) = &services {
        report(&services.health, true).await;
    }
    stop.cancelled().await;
    serving.store(false, Ordering::Release);
    if let Some(services) = &services {
        report(&services.health, false).await; // balancers look elsewhere from now on
    }
    for server in servers {
        let _ = server.await;
    }
    if let Some(pulse) = pulse {
        let _ = pulse.await;
    }
    if let Some(uses) = uses {
        uses.write().await; // those of the calls that ended last
    }
    drop(services);
    eraser_stop.cancel();
    if let Some(Err(error)) = match eraser {
        Some(eraser) => Some(eraser.await),
        None => None,
    } {
        warn!(%error, "the eraser did not end well; it goes on at the next start");
    }
    pipeline_stop.cancel();
    if let Some(Err(error)) = match &mut pipeline {
        Some(pipeline) => Some(pipeline.end().await),
        None => None,
    } {
        warn!(%error, "the pipeline did not end well; what it had not committed is replayed at the next start");
    }
    if let Some(usage) = usage
        && let Ok(teller) = usage.await
    {
        teller.end().await;
    }
    stores.close().await;
    ops_stop.cancel();
    let _ = ops.await;
    info!("stopped");
    Ok(telemetry)
}

/// Streams open at once on one connection of the mesh: it carries the calls of a whole gateway.
const MESH_STREAMS: u32 = 10_000;

/// The listening sockets, taken before anything slow, so that a port in use is said at once.
struct Doors {
    ops: TcpListener,
    public: Option<TcpListener>,
    mesh: Option<TcpListener>,
}

impl Doors {
    async fn open(config: &Config, roles: &Roles) -> Result<Self, StartError> {
        let public = roles.has(Role::Gateway).then_some(&config.listen);
        let mesh = Some(&config.mesh_listen).filter(|address| !address.is_empty() && roles.any(&CALLED));
        Ok(Self {
            ops: listen(&config.ops_listen).await?,
            public: listen_if(public).await?,
            mesh: listen_if(mesh).await?,
        })
    }
}

async fn listen_if(address: Option<&String>) -> Result<Option<TcpListener>, StartError> {
    match address {
        Some(address) => Ok(Some(listen(address).await?)),
        None => Ok(None),
    }
}

async fn listen(address: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address: address.to_owned(), source })
}

fn serve_in_background(
    listener: TcpListener,
    service: HttpService,
    options: &ServeOptions,
    door: Door,
    stop: &CancellationToken,
) -> JoinHandle<()> {
    let (options, stop) = (options.clone(), stop.clone());
    tokio::spawn(async move { serve_http(listener, service, &options, door, stop).await })
}

fn say_what_to_try(config: &Config, operator_key: &Path, demo_key: Option<&Path>) {
    let scheme = if config.edge.certificates.is_empty() { "http" } else { "https" };
    let mut text = format!(
        "\nPenstock serves gRPC, grpc-web and JSON on {scheme}://{0}, metrics on http://{1}/metrics\n\
         The console: {scheme}://{0}/console/\n\
         The operator's key: {2}\n",
        config.listen,
        config.ops_listen,
        operator_key.display()
    );
    if let Some(key) = demo_key {
        let (url, key) = (&config.listen, key.display());
        text += &format!(
            "\nSign in to the console with the demo tenant's key: {key}\n\
             \nTry it, in another terminal:\n\n\
             curl {scheme}://{url}/v1/events -H \"authorization: Bearer $(cat {key})\" -d '{{\"app_id\": \"xyz123\", \
             \"event_type\": \"purchase\", \"user_id\": \"u1\", \"properties\": {{\"purchase_amount\": 12.5, \"status\": \"completed\"}}}}'\n\n\
             curl {scheme}://{url}/v1/sql -H \"authorization: Bearer $(cat {key})\" -d '{{\"sql\": \
             \"SELECT event_type, COUNT(*) AS events, SUM(purchase_amount) AS revenue FROM events WHERE app_id = '\"'\"'xyz123'\"'\"' GROUP BY event_type\"}}'\n\n\
             More in the README.\n"
        );
    }
    // A closed standard output is no reason not to serve.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
