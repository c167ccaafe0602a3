//! What the roles of a process stand on: the event log, the metastore, the warehouse.

use std::{num::NonZero, path::PathBuf, sync::Arc, thread::available_parallelism, time::Duration};

use async_trait::async_trait;
use chdb::{Health, Supervisor};
use eventlog::{EventLog, Incarnations, LogError, LogOptions};
use model::Incarnation;
use storage::{Apps, Leased, Metastore, Topic, Warehouse};
use tracing::warn;

use crate::{
    config::{Config, WarehouseUrl},
    roles::{Role, Roles, WHOLE},
    warehouse,
    wire::{StartError, now_ms},
};

/// How long a warehouse may take to start: a large one loads its parts first.
pub(crate) const WAREHOUSE_START: Duration = Duration::from_secs(120);

/// How often it is said how much the warehouse has.
const SIZE_EVERY: Duration = Duration::from_secs(15);

/// What the roles of this process stand on; what none of them needs is not opened.
pub(crate) struct Stores {
    pub(crate) meta: Option<Arc<dyn Metastore>>,
    pub(crate) log: Option<Arc<dyn EventLog>>,
    pub(crate) apps: Option<Arc<Apps>>,
    pub(crate) warehouse: Option<Warehouse>,
    /// This process among those that write to the log.
    pub(crate) writer: String,
    data: PathBuf,
    supervisor: Option<Supervisor>,
}

impl Stores {
    pub(crate) async fn open(config: &Config, roles: &Roles) -> Result<Self, StartError> {
        std::fs::create_dir_all(&config.data)
            .map_err(|source| StartError::File { path: config.data.clone(), source })?;
        let meta = match roles.any(&WHOLE) {
            true => Some(storage::open(&config.metastore).await?),
            false => None,
        };
        let log = match roles.any(&[Role::Ingest, Role::Pipeline, Role::Query, Role::Admin]) {
            true => {
                let lives = meta.clone().map(Lives);
                Some(eventlog::open(&config.log, &config.log_options(), lives.as_ref().map(|lives| lives as _)).await?)
            }
            false => None,
        };
        // The admin role looks into it now and then: keys can be revoked while it is away.
        let needed = roles.any(&[Role::Warehouse, Role::Pipeline, Role::Query]);
        let (warehouse, supervisor) = match needed || roles.has(Role::Admin) {
            true => open_warehouse(config, needed).await?,
            false => (None, None),
        };
        let apps = meta.as_ref().map(|meta| Arc::new(Apps::new(Arc::clone(meta), now_ms)));
        // An embedded log has one writer, so each takes the place of the one before it.
        let writer = match config.log.starts_with("embedded:") {
            true => "this process".to_owned(),
            false => format!("{}:{:016x}", owner(), rand::random::<u64>()),
        };
        Ok(Self { meta, log, apps, warehouse, writer, data: config.data.clone(), supervisor })
    }

    /// What the pipeline stands on; `None` if not all of it is open.
    pub(crate) async fn pipeline(&self, config: &Config) -> Result<Option<pipeline::Parts>, StartError> {
        let (Some(log), Some(meta), Some(apps), Some(warehouse)) =
            (self.log.clone(), self.meta.clone(), self.apps.clone(), self.warehouse.clone())
        else {
            return Ok(None);
        };
        let options = LogOptions { partitions: log.partitions(), ..config.log_options() };
        let tee = pipeline::Tee::open(&config.log, &config.tee, &options).await?;
        Ok(Some(pipeline::Parts {
            log,
            ledger: Arc::clone(&meta) as _,
            erasures: Arc::clone(&meta) as _,
            replays: Arc::clone(&meta) as _,
            placements: meta,
            apps,
            warehouse,
            tee,
            options: config.pipeline.clone(),
            at_once: match &self.supervisor {
                Some(_) => available_parallelism().map_or(1, NonZero::get),
                None => usize::MAX,
            },
            keep_log_ms: config.keep_log_ms(),
            owner: owner(),
            now_ms,
        }))
    }

    /// What the admin role looks into.
    pub(crate) fn ground(&self) -> Option<admin::Ground> {
        Some(admin::Ground {
            log: self.log.clone()?,
            ledger: self.meta.clone()?,
            erasures: self.meta.clone()?,
            replays: self.meta.clone()?,
            placements: self.meta.clone()?,
            processes: self.meta.clone()?,
            states: self.meta.clone()?,
            warehouse: self.warehouse.clone()?,
            scratch: self.data.clone(),
        })
    }

    /// What gives the log more partitions, in the admin role.
    pub(crate) fn grower(&self) -> Option<admin::Grower> {
        Some(admin::Grower { ground: self.ground()?, leased: self.leased("growth")? })
    }

    /// What erases users, in the admin role.
    pub(crate) fn eraser(&self, config: &Config) -> Option<admin::Eraser> {
        let leased = self.leased("erasures")?;
        Some(admin::Eraser { ground: self.ground()?, options: config.admin.clone(), leased })
    }

    /// What deletes events that are no longer kept.
    pub(crate) fn expiry(&self, config: &Config) -> Option<admin::Expiry> {
        Some(admin::Expiry {
            meta: self.meta.clone()?,
            warehouse: self.warehouse.clone()?,
            options: config.retention.clone(),
            leased: self.leased("retention")?,
        })
    }

    fn leased(&self, name: &str) -> Option<Leased> {
        Some(leased(self.meta.clone()?, name))
    }

    /// Whether the warehouse answers. One that is not ours is its own operator's to watch.
    pub(crate) fn ready(&self) -> Arc<dyn Fn() -> bool + Send + Sync> {
        match &self.supervisor {
            Some(supervisor) => {
                let health = supervisor.health();
                Arc::new(move || matches!(*health.borrow(), Health::Serving { .. }))
            }
            None => Arc::new(|| true),
        }
    }

    /// The process of a warehouse of our own, while there is one.
    pub(crate) fn warehouse_pid(&self) -> Arc<dyn Fn() -> Option<u32> + Send + Sync> {
        let health = self.supervisor.as_ref().map(Supervisor::health);
        Arc::new(move || match *health.as_ref()?.borrow() {
            Health::Starting { pid } | Health::Serving { pid } => Some(pid),
            _ => None,
        })
    }

    /// Says now and again how much the warehouse has.
    pub(crate) fn tell_size(&self) -> Option<impl Future<Output = ()> + Send + use<>> {
        let warehouse = self.warehouse.clone()?;
        Some(async move {
            let mut every = tokio::time::interval(SIZE_EVERY);
            loop {
                every.tick().await;
                // What fails is told by those that need the warehouse.
                if let Ok(size) = warehouse.stored_size().await {
                    metrics::gauge!("penstock_warehouse_stored_events").set(size.events as f64);
                    metrics::gauge!("penstock_warehouse_stored_bytes").set(size.bytes as f64);
                }
            }
        })
    }

    pub(crate) async fn close(self) {
        if let (Some(log), Some(meta)) = (&self.log, &self.meta) {
            let _ = meta.forget_writer(&topic(&**log), &self.writer).await; // a growth waits for who can't say it
        }
        if let Some(Err(error)) = match &self.log {
            Some(log) => Some(log.close().await),
            None => None,
        } {
            warn!(%error, "the event log did not close well; what was acknowledged is on disk");
        }
        if let Some(supervisor) = self.supervisor {
            supervisor.shutdown().await;
        }
    }
}

/// The log's topic, in this life of it.
pub(crate) fn topic(log: &dyn EventLog) -> Topic {
    Topic { name: log.topic().to_owned(), incarnation: log.incarnation() }
}

/// What the ledger calls this process, for people: a generation, not a name, makes an owner the only one.
pub(crate) fn owner() -> String {
    format!("{}:{}", rustix::system::uname().nodename().to_string_lossy(), std::process::id())
}

/// Work of this name, which one of all processes does.
pub(crate) fn leased(ledger: Arc<dyn Metastore>, name: &str) -> Leased {
    Leased { ledger, name: name.to_owned(), holder: owner(), now_ms }
}

/// The lives of topics, numbered by the metastore.
struct Lives(Arc<dyn Metastore>);

#[async_trait]
impl Incarnations for Lives {
    async fn incarnation(&self, topic: &str, identity: &str) -> Result<Incarnation, LogError> {
        let number = self.0.incarnation(topic, identity, now_ms()).await;
        number.map_err(|error| LogError::Unavailable(format!("the topic's life isn't known: {error}")))
    }
}

/// The warehouse that the configuration names, which is not ready yet; one of this process's own with who keeps it running.
pub(crate) fn warehouse(config: &Config) -> Result<(Warehouse, Option<Supervisor>), StartError> {
    let database = storage::warehouse::schema::DEFAULT_DATABASE;
    match config.warehouse_url()? {
        WarehouseUrl::Embedded(dir) => {
            let embedded = warehouse::start(dir, config)?;
            let warehouse = Warehouse::new(&embedded.url, database, "default", Some(&embedded.access_key))?;
            Ok((warehouse, Some(embedded.supervisor)))
        }
        WarehouseUrl::Http(url) => {
            Ok((Warehouse::new(url, database, &config.warehouse_user, config.warehouse_password())?, None))
        }
        WarehouseUrl::Cluster => Ok((config.cluster.warehouse(config, database)?, None)),
    }
}

async fn open_warehouse(config: &Config, needed: bool) -> Result<(Option<Warehouse>, Option<Supervisor>), StartError> {
    let (warehouse, supervisor) = warehouse(config)?;
    if needed {
        warehouse.wait_ready(WAREHOUSE_START).await?;
        warehouse.migrate().await?;
        if let Some(days) = config.cold.days() {
            warehouse.move_to_cold_after(days).await?;
            let warehouse = warehouse.clone();
            tokio::spawn(async move {
                if let Err(error) = warehouse.check_cold().await {
                    warn!(%error, "old events can't move to where `cold` says; they stay until they can");
                }
            });
        }
    }
    Ok((Some(warehouse), supervisor))
}
