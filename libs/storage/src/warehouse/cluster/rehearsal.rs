//! What only a cluster itself can show, shown on it: in a database of its own, which is gone afterwards.

use std::ops::Range;

use clickhouse::Client;
use model::DAY_MS;

use super::{Role, Topology, Warehouse, WarehouseError, alone, knows_shards, over_all, rows};
use crate::{
    LogRange,
    warehouse::{Cell, Columns, EventColumns, EventRow, schema},
};

/// Of a block.
const ROWS: u64 = 1_000;
/// A day like others, UTC ms.
const DAY: i64 = 20_000 * DAY_MS;

/// What was tried, and what came of it: what was seen, or what is wrong.
pub type Finding = (String, Result<String, String>);

/// Tries on a cluster what the program does on it: makes tables, inserts under tokens at every server of each shard, reads by every replica
/// what was inserted just before, and replaces a part of it as a replay does. `scratch` is a database that nobody has.
pub async fn rehearse(
    topology: &Topology,
    scratch: &str,
    user: &str,
    password: Option<&str>,
    quorum: Option<&str>,
) -> Result<Vec<Finding>, WarehouseError> {
    let mut warehouse = Warehouse::cluster(topology.clone(), scratch, user, password)?;
    if let Some(quorum) = quorum {
        warehouse = warehouse.with_insert_quorum(quorum);
    }
    let mut found = vec![said("servers", servers(&warehouse).await)];
    if found.iter().all(|(_, outcome)| outcome.is_ok()) {
        let tables = warehouse.migrate().await.map(|()| "made on every server that is up, and read over all shards");
        found.push(said("tables", tables.map(str::to_owned)));
        for (what, outcome) in [
            ("inserts", inserts(&warehouse).await),
            ("counted once", counted(&warehouse).await),
            ("reads", reads(&warehouse).await),
            ("replaced", replaced(&warehouse).await),
            ("state", state(&warehouse).await),
        ] {
            found.push(said(what, outcome));
        }
        found.push(said("cleaned up", clean_up(&warehouse).await));
    }
    Ok(found)
}

fn said(what: &str, outcome: Result<String, WarehouseError>) -> Finding {
    (what.to_owned(), outcome.map_err(|error| error.to_string()))
}

/// Each by itself.
async fn servers(warehouse: &Warehouse) -> Result<String, WarehouseError> {
    let Role::Cluster(cluster) = &warehouse.role else { return Ok(String::new()) };
    let Topology { name, readers, shards, .. } = &cluster.topology;
    let mut count = 0;
    for server in cluster.each() {
        let server = alone(server, "default");
        for named in [name, readers] {
            knows_shards(&server, named, shards.len()).await?;
        }
        count += 1;
    }
    Ok(format!("{count} answer and know {} shards", shards.len()))
}

fn block(shard: usize, offsets: Range<u64>) -> EventColumns {
    let mut columns = EventColumns::for_day_of(DAY);
    for offset in offsets {
        let row = EventRow {
            tenant: "doctor",
            app: "doctor",
            event_type: "rehearsal",
            timestamp_ms: DAY + offset as i64,
            user_id: &format!("user {}", offset % 10),
            event_id: &offset.to_string(),
            country: None,
            plan: None,
            received_at_ms: DAY,
            incarnation: 1,
            partition: shard as u32,
            offset,
        };
        let _ = columns.push(&row); // all are of the day
    }
    columns
}

/// The same block goes to every server of its shard, as when one is away after it took it.
async fn inserts(warehouse: &Warehouse) -> Result<String, WarehouseError> {
    let Role::Cluster(cluster) = &warehouse.role else { return Ok(String::new()) };
    let mut times = 0;
    for (number, shard) in warehouse.shards().enumerate() {
        for server in cluster.shards[number].servers.each() {
            let one = Warehouse { servers: alone(server, &shard.database).servers, ..shard.clone() };
            for _ in 0..2 {
                one.insert(&block(number, 0..ROWS), &format!("rehearsal:{number}")).await?;
                times += 1;
            }
        }
    }
    Ok(format!("{} blocks, sent {times} times under their tokens", cluster.shards.len()))
}

async fn counted(warehouse: &Warehouse) -> Result<String, WarehouseError> {
    let wanted = u64::from(warehouse.shard_count()) * ROWS;
    expect(warehouse, wanted).await?;
    Ok(format!("{wanted} events, and as many in the rollup"))
}

/// Each replica by itself, each time right after an insert.
async fn reads(warehouse: &Warehouse) -> Result<String, WarehouseError> {
    let Role::Cluster(cluster) = &warehouse.role else { return Ok(String::new()) };
    let (shards, mut blocks) = (cluster.shards.len(), 1);
    for replica in cluster.replicas.each() {
        for (number, shard) in warehouse.shards().enumerate() {
            shard
                .insert(&block(number, blocks * ROWS..(blocks + 1) * ROWS), &format!("rehearsal:{number}:{blocks}"))
                .await?;
        }
        blocks += 1;
        expect_at(replica, warehouse, shards as u64 * blocks * ROWS).await?;
    }
    Ok(format!("{} servers, each with all that was inserted just before", blocks - 1))
}

/// Half of each shard's first block is put in anew, in the place of the whole.
async fn replaced(warehouse: &Warehouse) -> Result<String, WarehouseError> {
    let Role::Cluster(cluster) = &warehouse.role else { return Ok(String::new()) };
    let range = |partition| LogRange { partition, first: 0, end: ROWS };
    let ranges: Vec<_> = (0..warehouse.shard_count()).map(range).collect();
    let mut rebuild = warehouse.rebuild("rehearsal", 1, &ranges).await?;
    for shard in 0..warehouse.shard_count() {
        rebuild.insert(shard, Columns::Events(&block(shard as usize, 0..ROWS / 2))).await?;
    }
    rebuild.check_sent().await?;
    rebuild.replace().await?;
    warehouse.drop_rebuilt().await?;
    let (shards, replicas) = (cluster.shards.len() as u64, cluster.replicas.each().count() as u64);
    let wanted = shards * (replicas * ROWS + ROWS / 2);
    for replica in cluster.replicas.each() {
        expect_at(replica, warehouse, wanted).await?;
    }
    Ok(format!("a day of each shard, read by {replicas} servers"))
}

/// As one replica reads it.
async fn expect_at(replica: &Client, warehouse: &Warehouse, wanted: u64) -> Result<(), WarehouseError> {
    let servers = alone(replica, &warehouse.database).servers;
    expect(&Warehouse { servers, ..warehouse.clone() }, wanted).await
}

async fn expect(warehouse: &Warehouse, wanted: u64) -> Result<(), WarehouseError> {
    let statement = format!(
        "SELECT toInt64(count()), toInt64((SELECT sum(events) FROM {})) FROM {}",
        schema::DAILY_USERS,
        schema::EVENTS
    );
    let wanted = wanted.cast_signed();
    let found = rows(warehouse, &statement).await?;
    match found == [[Cell::Integer(wanted), Cell::Integer(wanted)]] {
        true => Ok(()),
        false => Err(WarehouseError::Cluster(format!(
            "events and those in the rollup: {wanted} of each wanted, {found:?} found"
        ))),
    }
}

/// What ClickHouse says of its replicas.
async fn state(warehouse: &Warehouse) -> Result<String, WarehouseError> {
    let Role::Cluster(cluster) = &warehouse.role else { return Ok(String::new()) };
    if !cluster.topology.replicated {
        return Ok("no replicas: a shard is one server".to_owned());
    }
    for (number, shard) in cluster.shards.iter().enumerate() {
        for server in shard.servers.each() {
            let unwell = "SELECT table, toInt64(is_readonly), toInt64(active_replicas), toInt64(total_replicas) FROM system.replicas \
                WHERE database = currentDatabase() AND (is_readonly OR active_replicas < total_replicas)";
            if let Some(row) = rows(&alone(server, &shard.database), unwell).await?.first() {
                let what = format!("shard {number} (table, whether it is read-only, replicas up, replicas): {row:?}");
                return Err(WarehouseError::Cluster(what));
            }
        }
    }
    Ok("every replica is up and can be written".to_owned())
}

async fn clean_up(warehouse: &Warehouse) -> Result<String, WarehouseError> {
    let Role::Cluster(cluster) = &warehouse.role else { return Ok(String::new()) };
    let (on, database) = (cluster.on(), &cluster.shards[0].database);
    for place in cluster.places() {
        for database in [&over_all(database), database] {
            let place = Warehouse { database: "default".to_owned(), ..place.clone() };
            place.execute(&format!("DROP DATABASE IF EXISTS {database}{on} SYNC"), &[]).await?;
        }
    }
    Ok(format!("{database} is gone"))
}
