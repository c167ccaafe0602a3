//! A warehouse of several servers: the one place that knows how they share it.
//!
//! Each shard has the tables, with the rows of the log partitions that are its own, once on each of its replicas. A second database has
//! tables of the same names that hold nothing and read all shards (`Distributed`). What is written goes straight to a server of the shard;
//! what is asked goes to the second database of a read replica, or else of any server.

mod rehearsal;
mod staleness;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use clickhouse::Client;
use futures::future::join_all;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{
    Cell, QuerySettings, Role, Warehouse, WarehouseError, client, is_plain, param,
    schema::{self, Layout},
    servers::{Server, Servers},
};

pub use rehearsal::{Finding, rehearse};
pub(super) use staleness::CatchUp;

/// How long a replica of a shard may take to fetch what is to be read there.
const SHARD_PATIENCE: Duration = Duration::from_secs(30);
/// DDL waits for the servers that are up; the others do it when they are.
pub(super) const ACTIVE: [(&str, &str); 1] = [("distributed_ddl_output_mode", "throw_only_active")];

/// The servers of a cluster, by addresses as of [`Warehouse::new`].
#[derive(Debug, Clone)]
pub struct Topology {
    /// The name under which every server's `remote_servers` has all servers.
    pub name: String,
    /// The name under which it has those that are read: one or more of each shard.
    pub readers: String,
    /// The servers of each shard that take its inserts, the first before the others. Shards are known by their places: a new one is the last.
    pub shards: Vec<Vec<String>>,
    /// The servers that are read. None: those that take inserts.
    pub replicas: Vec<String>,
    /// Whether there are replicas, kept alike by ClickHouse Keeper. Without it a shard is one server.
    pub replicated: bool,
    /// How much later than its shard a replica may be that is read.
    pub max_staleness: Duration,
}

/// Its servers, as they are spoken to.
pub(super) struct Cluster {
    topology: Topology,
    shards: Vec<Warehouse>,
    /// Those that are read.
    replicas: Arc<Servers>,
    /// Of each of those whether it didn't manage, or didn't answer, when it was last told to fetch.
    away: Vec<AtomicBool>,
    /// By table when the last request to all replicas began that has ended.
    caught_up: BTreeMap<&'static str, Mutex<Option<Instant>>>,
}

impl Warehouse {
    /// Names a cluster. Nothing is sent yet. Errors as of [`Warehouse::new`], and `Cluster` for one that can't be.
    pub fn cluster(
        topology: Topology,
        database: &str,
        user: &str,
        password: Option<&str>,
    ) -> Result<Self, WarehouseError> {
        let cannot = |what: &str| Err(WarehouseError::Cluster(what.to_owned()));
        let Topology { name, readers, shards, replicas, replicated, .. } = &topology;
        if ![name.as_str(), readers, database].iter().all(|name| is_plain(name)) {
            return cannot("a name is a plain word: A-Z a-z 0-9 _, no digit first");
        }
        if shards.is_empty() || shards.iter().any(Vec::is_empty) {
            return cannot("each shard needs a server");
        }
        if !replicated && shards.iter().any(|servers| servers.len() > 1) {
            return cannot("several servers of a shard need ClickHouse Keeper");
        }
        let clients = |urls: &mut dyn Iterator<Item = &String>| {
            urls.map(|url| client(url, user, password)).collect::<Result<Vec<_>, _>>().map(Servers::new)
        };
        let role = Role::Shard { replicated: *replicated };
        let shard = |urls: &Vec<String>| Ok(Self::of(clients(&mut urls.iter())?, database, role.clone()));
        let shards = shards.iter().map(shard).collect::<Result<Vec<_>, WarehouseError>>()?;
        let read: &mut dyn Iterator<Item = _> =
            if replicas.is_empty() { &mut topology.shards.iter().flatten() } else { &mut replicas.iter() };
        let servers = Arc::new(clients(read)?.beginning_at(anywhere()));
        let caught_up = schema::TABLES.map(|table| (table, Mutex::new(None))).into();
        let away = servers.each().map(|_| AtomicBool::new(false)).collect();
        let cluster = Arc::new(Cluster { replicas: Arc::clone(&servers), topology, shards, away, caught_up });
        let role = Role::Cluster(cluster);
        Ok(Self::of(servers, &over_all(database), role))
    }

    /// How many shards there are.
    pub fn shard_count(&self) -> u32 {
        match &self.role {
            Role::Cluster(cluster) => cluster.shards.len() as u32,
            _ => 1,
        }
    }

    /// The shard where a log partition's rows belong. However many partitions there are, no shard has more than one more than another; and
    /// with one shard more, most stay where they are.
    pub fn shard_of(&self, partition: u32) -> u32 {
        let partition = partition as usize;
        placed(partition + 1, self.shard_count() as usize)[partition] as u32
    }

    /// A shard by itself: what is inserted there, and what it has. `Cluster` if there is none of that number.
    pub fn shard(&self, number: u32) -> Result<Self, WarehouseError> {
        let shard = self.shards().nth(number as usize);
        shard.ok_or_else(|| WarehouseError::Cluster(format!("the ledger knows shard {number}, which isn't there")))
    }

    /// Every shard; itself if it is one. What is read there is complete, or an error.
    pub fn shards(&self) -> impl Iterator<Item = Self> {
        let of = match &self.role {
            Role::Cluster(cluster) => cluster.shards.as_slice(),
            _ => std::slice::from_ref(self),
        };
        of.iter().map(|shard| {
            let Self { compress, quorum, traceparent, .. } = self.clone();
            Self { compress, quorum, traceparent, ..shard.clone() }
        })
    }

    /// Where DDL is to run so that all servers have it, and what then stands behind a table's name.
    pub(super) fn everywhere(&self) -> (Vec<Self>, String) {
        match &self.role {
            Role::Cluster(cluster) => (cluster.places(), cluster.on()),
            _ => (vec![self.clone()], String::new()),
        }
    }

    /// Makes a table like another on every server.
    pub(super) async fn create_like(&self, table: &str, name: &str) -> Result<(), WarehouseError> {
        let (places, on) = self.everywhere();
        for place in places {
            let mut create = format!("CREATE TABLE IF NOT EXISTS {name}{on} AS {table}");
            if !on.is_empty() {
                // Replicas know one another by a path in Keeper, which the other table has.
                let engine = format!(
                    "SELECT replaceOne(engine_full, '/{table}\\'', '/{name}\\'') FROM system.tables \
                     WHERE database = currentDatabase() AND name = '{table}'"
                );
                let found = rows(&place, &engine).await?;
                let Some([Cell::String(engine)]) = found.first().map(Vec::as_slice) else {
                    return Err(WarehouseError::Protocol(format!("a server has no table {table}")));
                };
                create = format!("{create} ENGINE = {engine}");
            }
            place.execute(&create, &ACTIVE).await?;
        }
        Ok(())
    }

    /// A server of each shard by itself: the one that is asked now.
    pub(super) fn one_of_each(&self) -> impl Iterator<Item = Self> {
        self.shards().map(|shard| Self { servers: Arc::new(Servers::new(vec![shard.servers.now().client])), ..shard })
    }

    /// Every server by itself.
    pub(super) fn every_server(&self) -> Vec<Self> {
        match &self.role {
            Role::Cluster(cluster) => cluster.each().map(|server| alone(server, &cluster.shards[0].database)).collect(),
            _ => vec![self.clone()],
        }
    }

    /// Drops the database everywhere, and the one that reads all shards.
    pub(super) async fn drop_databases(&self) -> Result<(), WarehouseError> {
        let servers = self.every_server();
        for server in servers {
            let over_all = matches!(self.role, Role::Cluster(_)).then(|| over_all(&server.database));
            for database in over_all.into_iter().chain([server.database.clone()]) {
                let anywhere = Self { database: "default".to_owned(), ..server.clone() };
                anywhere.execute(&format!("DROP DATABASE IF EXISTS {database} SYNC"), &[]).await?;
            }
        }
        Ok(())
    }

    /// A table that only the shards have, to read `FROM`.
    pub(super) fn over_all_shards(&self, table: &str) -> String {
        match &self.role {
            Role::Cluster(cluster) => {
                format!("cluster('{}', '{}', '{table}')", cluster.topology.readers, cluster.shards[0].database)
            }
            _ => table.to_owned(),
        }
    }

    /// Where states are kept, which come of all shards and are few: on the first. The table's name is whole.
    pub(super) fn keeps_states(&self) -> (Server, String) {
        match &self.role {
            Role::Cluster(cluster) => {
                let first = &cluster.shards[0];
                (first.in_database(&self.database), format!("{}.{}", first.database, schema::BUCKET_STATES))
            }
            _ => (self.server(), schema::BUCKET_STATES.to_owned()),
        }
    }

    /// What of a cluster a statement that reads it is told beside its own settings.
    pub(super) fn read_settings(&self) -> Vec<(String, String)> {
        let Role::Cluster(cluster) = &self.role else { return Vec::new() };
        let staleness = cluster.topology.max_staleness.as_secs().max(1).to_string();
        let mut settings = vec![
            // A table within another's condition is that of all shards as well.
            ("distributed_product_mode", "global".to_owned()),
            ("skip_unavailable_shards", "0".to_owned()),
            // Else a branch that is never taken (`CASE WHEN FALSE`) has another name on a shard than here, and the query fails (26.7).
            ("optimize_multiif_to_if", "0".to_owned()),
        ];
        if cluster.topology.replicated {
            settings.push(("max_replica_delay_for_distributed_queries", staleness));
            settings.push(("fallback_to_stale_replicas_for_distributed_queries", "0".to_owned()));
        }
        settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl Cluster {
    /// Makes the databases and tables of all servers, unless each that answers has them. What runs `ON CLUSTER` waits for those that are up; the
    /// others do it when they are.
    pub(super) async fn migrate(&self) -> Result<(), WarehouseError> {
        let Topology { readers, replicated, .. } = &self.topology;
        let layout = Layout { on: self.on(), replicated: *replicated };
        let on = &layout.on;
        let tables: Vec<_> =
            schema::migrations(&layout).into_iter().chain([schema::daily_users_view(&layout)]).collect();
        let database = &self.shards[0].database;
        let all = over_all(database);
        let mut of_all = schema::TABLES.map(|table| {
            format!(
                "CREATE TABLE IF NOT EXISTS {table}{on} AS {database}.{table} ENGINE = Distributed({readers}, {database}, {table})"
            )
        })
        .to_vec();
        // Made last, and only for its name: many processes start, and each statement takes all servers.
        let made = format!("tables_of_{}", tables.len() + of_all.len());
        of_all.push(format!("CREATE TABLE IF NOT EXISTS {made}{on} (n UInt8) ENGINE = Null"));
        if self.all_have(&made).await {
            return self.check().await;
        }
        for place in self.places() {
            let over_all = Warehouse { database: all.clone(), ..place.clone() };
            for (place, statements) in [(&place, &tables[..]), (&over_all, &of_all[..])] {
                place.create_database(on, &ACTIVE).await?;
                for statement in statements {
                    place.execute(statement, &ACTIVE).await?;
                }
            }
        }
        self.check().await
    }

    /// Whether every server that answers has that table.
    async fn all_have(&self, table: &str) -> bool {
        let there = format!("EXISTS {}.{table}", over_all(&self.shards[0].database));
        let answers = join_all(self.each().map(async |server| {
            let server = alone(server, "default");
            match timeout(SHARD_PATIENCE, rows(&server, &there)).await.ok()? {
                Err(error) if error.is_unavailable() => None,
                outcome => Some(outcome.unwrap_or_default()),
            }
        }))
        .await;
        let mut answers = answers.iter().flatten().peekable();
        answers.peek().is_some() && answers.all(|rows| *rows == [[Cell::Integer(1)]])
    }

    /// All servers; one that takes inserts and is read comes twice.
    fn each(&self) -> impl Iterator<Item = &Client> {
        self.shards.iter().flat_map(|shard| shard.servers.each()).chain(self.replicas.each())
    }

    fn on(&self) -> String {
        let Topology { name, replicated, .. } = &self.topology;
        if *replicated { format!(" ON CLUSTER {name}") } else { String::new() }
    }

    /// Where DDL is to run so that all servers have it.
    fn places(&self) -> Vec<Warehouse> {
        if self.topology.replicated {
            // One tells the others, by Keeper.
            return vec![Warehouse { role: Role::Alone, ..self.shards[0].clone() }];
        }
        self.each().map(|server| alone(server, &self.shards[0].database)).collect()
    }

    /// Whether it is what the configuration says.
    async fn check(&self) -> Result<(), WarehouseError> {
        for server in self.replicas.each() {
            // What lies on a shard that they don't know would be missing in answers.
            match knows_shards(&alone(server, "default"), &self.topology.readers, self.shards.len()).await {
                Err(error) if error.is_unavailable() => {}
                known => known?,
            }
        }
        self.check_engines().await
    }

    /// Tables of before the cluster may be on one server only, and replicas know one another by a path in Keeper: a shard has one.
    async fn check_engines(&self) -> Result<(), WarehouseError> {
        if !self.topology.replicated {
            return Ok(());
        }
        let (tables, database) = (param::strings(schema::TABLES), param::literal(&self.shards[0].database));
        let alone_there = format!(
            "SELECT name FROM system.tables WHERE database = {database} AND name IN {tables} AND engine NOT LIKE 'Replicated%'"
        );
        let of_keeper = format!("SELECT table, zookeeper_path FROM system.replicas WHERE database = {database}");
        let mut paths: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for server in self.each() {
            let server = alone(server, "default");
            let found = match rows(&server, &alone_there).await {
                Err(error) if error.is_unavailable() => continue,
                found => found?,
            };
            if let Some([Cell::String(table), ..]) = found.first().map(Vec::as_slice) {
                let what = format!("{table} of a server is not replicated: see docs/production.md");
                return Err(WarehouseError::Cluster(what));
            }
            for row in rows(&server, &of_keeper).await? {
                let [Cell::String(table), Cell::String(path)] = row.as_slice() else { continue };
                paths.entry(table.clone()).or_default().insert(path.clone());
            }
        }
        match paths.iter().find(|(_, paths)| paths.len() > self.shards.len()) {
            Some((table, paths)) => Err(WarehouseError::Cluster(format!(
                "{table} has more paths in Keeper than there are shards, so that replicas don't know one another: {paths:?}"
            ))),
            None => Ok(()),
        }
    }
}

/// The shards of the first partitions: consistent hashing with bounded loads. Shards are added one after another, and a partition stays where it
/// is unless that one is full by then; else it goes to the new one, or to the emptiest if that is full, too.
fn placed(partitions: usize, shards: usize) -> Vec<usize> {
    let mut all = vec![0; partitions];
    for shards in 2..=shards {
        let mut loads = vec![0; shards];
        for (partition, shard) in all.iter_mut().enumerate() {
            let most = partition / shards + 1;
            if loads[*shard] >= most {
                let newest = shards - 1;
                let emptiest = || (0..shards).min_by_key(|shard| loads[*shard]).unwrap_or(newest);
                *shard = if loads[newest] < most { newest } else { emptiest() };
            }
            loads[*shard] += 1;
        }
    }
    all
}

/// The database whose tables read all shards.
fn over_all(database: &str) -> String {
    format!("{database}_all")
}

/// Whether a server's own list of that name has as many shards.
async fn knows_shards(server: &Warehouse, cluster: &str, shards: usize) -> Result<(), WarehouseError> {
    let cluster_name = param::literal(cluster);
    let count = format!("SELECT toInt64(uniqExact(shard_num)) FROM system.clusters WHERE cluster = {cluster_name}");
    let known = rows(server, &count).await?;
    if known != [[Cell::Integer(shards as i64)]] {
        let what = format!("the configuration has {shards} shards, a server's `{cluster}` in remote_servers {known:?}");
        return Err(WarehouseError::Cluster(what));
    }
    Ok(())
}

/// One server by itself, whatever else it belongs to.
fn alone(server: &Client, database: &str) -> Warehouse {
    Warehouse::of(Servers::new(vec![server.clone()]), database, Role::Alone)
}

async fn rows(server: &Warehouse, statement: &str) -> Result<Vec<Vec<Cell>>, WarehouseError> {
    server.select(statement, &[], &QuerySettings::default())?.collect().await
}

/// Another number in each process.
fn anywhere() -> usize {
    uuid::Uuid::new_v4().as_u128() as usize
}
