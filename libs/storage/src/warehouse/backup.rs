//! The whole database as a backup elsewhere, on the server's disk `backups`, and from there again: of several shards one server each, under
//! a name of its own.
//!
//! What else belongs to it, as a copy of the metastore, goes along as a table of the first shard.

use std::fmt::Write;

use futures::future::try_join_all;
use model::{Incarnation, Offset, PartitionId};
use serde_json::json;

use super::{Cell, QuerySettings, Warehouse, WarehouseError, param, schema};
use crate::{LogRange, Topic};

/// The table of the files that go along.
const FILES: &str = "backup_files";
/// Of a file in one statement, which has two digits for each, and of which a server takes 256 KiB.
const PIECE_BYTES: usize = 96 << 10;

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupManifest {
    /// Of the program that made it.
    pub version: String,
    /// The log that its ledger speaks of.
    pub topic: Topic,
    /// How far each partition is committed by that ledger.
    pub ends: Vec<(PartitionId, Offset)>,
    /// What was received before is in it, UTC ms.
    pub reaches_ms: i64,
    /// Of how many shards the warehouse was.
    pub shards: u32,
}

impl BackupManifest {
    /// Its name among a backup's files.
    pub const NAME: &str = "manifest.json";
    /// The name of the metastore's copy there.
    pub const METASTORE: &str = "metastore.db";

    /// As a text.
    pub fn to_json(&self) -> String {
        let Self { version, topic: Topic { name, incarnation }, ends, reaches_ms, shards } = self;
        json!({"version": version, "topic": name, "incarnation": incarnation, "ends": ends, "reaches_ms": reaches_ms, "shards": shards})
            .to_string()
    }

    /// From its text.
    pub fn from_json(text: &[u8]) -> Option<Self> {
        let json: serde_json::Value = serde_json::from_slice(text).ok()?;
        let text = |name: &str| Some(json[name].as_str()?.to_owned());
        let topic = Topic { name: text("topic")?, incarnation: json["incarnation"].as_u64()? };
        let ends = serde_json::from_value(json["ends"].clone()).ok()?;
        let shards = json["shards"].as_u64().unwrap_or(1); // of before there was more than one
        let shards = u32::try_from(shards).ok()?;
        Some(Self { version: text("version")?, topic, ends, reaches_ms: json["reaches_ms"].as_i64()?, shards })
    }
}

/// How far a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BackupProgress {
    /// Whether it is whole.
    pub done: bool,
    /// Files in it.
    pub files: u64,
    /// Bytes in it, as they lie there.
    pub bytes: u64,
}

/// A server that makes or takes a shard's part of a backup, whatever becomes of the shard's others.
#[derive(Debug, Clone)]
pub struct BackupServer {
    server: Warehouse,
    /// What stands behind a backup's name.
    suffix: String,
}

impl Warehouse {
    /// One server of each shard, the first first.
    pub fn backup_servers(&self) -> Vec<BackupServer> {
        let suffix = |shard| if shard == 0 { String::new() } else { format!("-{shard}") };
        self.one_of_each().enumerate().map(|(shard, server)| BackupServer { server, suffix: suffix(shard) }).collect()
    }

    /// Whether a server has the database.
    pub async fn is_there(&self) -> Result<bool, WarehouseError> {
        for server in self.every_server() {
            let database = param::literal(&server.database);
            let tables = format!("SELECT toInt64(count()) FROM system.tables WHERE database = {database}");
            let anywhere = Self { database: "default".to_owned(), ..server };
            let rows = anywhere.select(&tables, &[], &QuerySettings::default())?.collect().await?;
            if rows != [[Cell::Integer(0)]] {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes the warehouse what it was in that backup, and brings it up to date. It must not be there. `None` if the backup isn't whole, `Cluster` if it
    /// is of other than so many shards.
    pub async fn restore(
        &self,
        name: &str,
        servers: &[BackupServer],
    ) -> Result<Option<BackupManifest>, WarehouseError> {
        // An engine may have made the empty database at its start.
        self.drop_databases().await?;
        let Some((first, others)) = servers.split_first() else { return Ok(None) };
        first.restore(name).await?;
        let manifest = first.file(BackupManifest::NAME).await?;
        let Some(manifest) = manifest.and_then(|text| BackupManifest::from_json(&text)) else { return Ok(None) };
        if manifest.shards as usize != servers.len() {
            self.drop_databases().await?;
            let what = format!("the backup is of {} shards, and this is one of {}", manifest.shards, servers.len());
            return Err(WarehouseError::Cluster(what));
        }
        try_join_all(others.iter().map(|server| server.restore(name))).await?;
        self.migrate().await?;
        Ok(Some(manifest))
    }

    /// Takes out what came from the log's records at `ends` and later, and all states: a backup of the warehouse is a little younger than the one
    /// of the metastore beside it, which says what is committed. Nobody else may write meanwhile. Returns how many rows were taken out.
    pub async fn cut(&self, incarnation: Incarnation, ends: &[(PartitionId, Offset)]) -> Result<u64, WarehouseError> {
        for shard in self.shards() {
            shard.execute(&format!("TRUNCATE TABLE {} SYNC", schema::BUCKET_STATES), &[]).await?;
        }
        self.drop_rebuilt().await?;
        if ends.is_empty() {
            return Ok(0);
        }
        let range = |&(partition, first)| LogRange { partition, first, end: Offset::MAX };
        let ranges: Vec<_> = ends.iter().map(range).collect();
        // A replay without anything new.
        let rebuild = self.rebuild("cut", incarnation, &ranges).await?;
        let rows = rebuild.count().await?.values().map(|rows| rows.before).sum();
        rebuild.replace().await?;
        self.drop_rebuilt().await?;
        Ok(rows)
    }
}

impl BackupServer {
    /// Has the server fetch what its shard has by now: only then it has all that is committed.
    pub async fn catch_up(&self) -> Result<(), WarehouseError> {
        self.server.fetch_all().await
    }

    /// Lays files beside the tables, in the place of those of before: the next backup takes them along.
    pub async fn put_files(&self, files: &[(&str, &[u8])]) -> Result<(), WarehouseError> {
        self.drop_files().await?;
        let create = format!(
            "CREATE TABLE {FILES} (name String, piece UInt64, bytes String CODEC(ZSTD(1))) ENGINE = MergeTree ORDER BY (name, piece)"
        );
        self.server.execute(&create, &[]).await?;
        for (name, bytes) in files {
            for (piece, bytes) in bytes.chunks(PIECE_BYTES).enumerate() {
                let mut digits = String::with_capacity(2 * bytes.len());
                for byte in bytes {
                    let _ = write!(digits, "{byte:02x}"); // into memory
                }
                let name = param::literal(name);
                self.server
                    .execute(&format!("INSERT INTO {FILES} SELECT {name}, {piece}, unhex('{digits}')"), &[])
                    .await?;
            }
        }
        Ok(())
    }

    /// Takes them away again.
    pub async fn drop_files(&self) -> Result<(), WarehouseError> {
        self.server.execute(&format!("DROP TABLE IF EXISTS {FILES} SYNC"), &[]).await
    }

    /// A file that went along with a backup which was restored; `None` if there is none of that name.
    pub async fn file(&self, name: &str) -> Result<Option<Vec<u8>>, WarehouseError> {
        let name = param::literal(name);
        let statement = format!("SELECT hex(bytes) FROM {FILES} WHERE name = {name} ORDER BY piece");
        let mut file = None;
        for row in self.server.select(&statement, &[], &QuerySettings::default())?.collect().await? {
            let [Cell::String(digits)] = row.as_slice() else { return Err(unreadable("a backup's file")) };
            let file = file.get_or_insert_with(Vec::new);
            for pair in digits.as_bytes().chunks(2) {
                let byte = std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
                file.push(byte.ok_or_else(|| unreadable("a backup's file"))?);
            }
        }
        Ok(file)
    }

    /// How many bytes a backup will have about, and how many its disk has left; `None` if there is no such disk.
    pub async fn room(&self) -> Result<Option<(u64, u64)>, WarehouseError> {
        let clamped = |bytes: &str| format!("toInt64(least({bytes}, {}))", i64::MAX);
        let statement = format!(
            "SELECT (SELECT {} FROM system.parts WHERE active AND database = currentDatabase()), \
             (SELECT {} FROM system.disks WHERE name = 'backups'), \
             (SELECT toInt64(count()) FROM system.disks WHERE name = 'backups')",
            clamped("sum(bytes_on_disk)"),
            clamped("any(unreserved_space)"),
        );
        let rows = self.server.select(&statement, &[], &QuerySettings::default())?.collect().await?;
        match rows.first().map(Vec::as_slice) {
            Some([Cell::Integer(needed), Cell::Integer(left), Cell::Integer(disks)]) => {
                Ok((*disks > 0).then_some((needed.unsigned_abs(), left.unsigned_abs())))
            }
            _ => Err(unreadable("system.disks")),
        }
    }

    /// Begins a backup under a name that none had: letters, digits, `-` and `_`. It goes on by itself.
    pub async fn begin(&self, name: &str) -> Result<(), WarehouseError> {
        let Self { server, suffix } = self;
        let (database, name) = (&server.database, format!("{name}{suffix}"));
        let backup = format!("BACKUP DATABASE {database} TO Disk('backups', '{name}') SETTINGS id = '{name}' ASYNC");
        server.execute(&backup, &[]).await
    }

    /// How far the backup of that name is. An error if it failed, or if the server has begun anew since it began.
    pub async fn progress(&self, name: &str) -> Result<BackupProgress, WarehouseError> {
        let statement = format!(
            "SELECT toString(status), error, toInt64(num_files), toInt64(compressed_size) FROM system.backups WHERE id = {}",
            param::literal(&format!("{name}{}", self.suffix))
        );
        let rows = self.server.select(&statement, &[], &QuerySettings::default())?.collect().await?;
        let Some(row) = rows.first() else {
            return Err(WarehouseError::Unavailable(
                "the warehouse knows nothing of the backup: it was restarted".to_owned(),
            ));
        };
        let [Cell::String(status), Cell::String(error), Cell::Integer(files), Cell::Integer(bytes)] = row.as_slice()
        else {
            return Err(unreadable("system.backups"));
        };
        let (files, bytes) = (files.unsigned_abs(), bytes.unsigned_abs());
        match status.as_str() {
            "CREATING_BACKUP" => Ok(BackupProgress { done: false, files, bytes }),
            "BACKUP_CREATED" => Ok(BackupProgress { done: true, files, bytes }),
            _ => Err(WarehouseError::Unavailable(format!("the backup ended as {status}: {error}"))),
        }
    }

    async fn restore(&self, name: &str) -> Result<(), WarehouseError> {
        let Self { server, suffix } = self;
        let database = &server.database;
        let anywhere = Warehouse { database: "default".to_owned(), ..server.clone() };
        anywhere.execute(&format!("RESTORE DATABASE {database} FROM Disk('backups', '{name}{suffix}')"), &[]).await
    }
}

fn unreadable(what: &str) -> WarehouseError {
    WarehouseError::Protocol(format!("{what} can't be read"))
}
