//! Where backups are, and how a house is made of one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use chdb::BackupStore;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use storage::{Warehouse, warehouse::BackupManifest};

use crate::{
    cold::bucket,
    config::{Config, ConfigError, WarehouseUrl},
    stores::{WAREHOUSE_START, embedded_warehouse},
    wire::StartError,
};

/// Where backups go.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BackupOptions {
    /// Of an embedded warehouse: a directory, by default `DATA/backups`, which survives nothing that DATA doesn't; or the URL of a bucket
    /// that speaks S3, or of a folder in one, as `https://HOST/BUCKET/FOLDER/`. A ClickHouse server writes to its own disk `backups`, which
    /// its setting `backups.allowed_disk` must allow.
    pub(crate) to: String,
    /// The bucket's region, where its host doesn't say it.
    pub(crate) region: String,
    /// File with the id of the bucket's access key and, on a second line, its secret. If none is named, the environment of the
    /// warehouse process says them (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), or the machine's role.
    pub(crate) key_file: PathBuf,
}

impl BackupOptions {
    /// Refuses what can't be.
    pub(crate) fn check(&self, embedded: bool) -> Result<(), ConfigError> {
        if embedded || self.to.is_empty() {
            return Ok(());
        }
        let what = "must be empty with a ClickHouse server: its operator configures its disk `backups`".to_owned();
        Err(ConfigError::Value { setting: "backup.to", what })
    }

    /// The disk of an embedded warehouse; its directory is made.
    pub(crate) fn store(&self) -> Result<Option<BackupStore>, String> {
        if self.to.is_empty() {
            return Ok(None);
        }
        if self.to.contains("://") {
            return bucket("backup", &self.to, &self.region, &self.key_file)
                .map(|store| Some(BackupStore::Bucket(store)));
        }
        let made = fs::create_dir_all(&self.to).and_then(|()| Path::new(&self.to).canonicalize());
        made.map(|dir| Some(BackupStore::Dir(dir))).map_err(|error| format!("backup.to: {}: {error}", self.to))
    }
}

/// The metastore while it is written.
const HALF: &str = "meta.db.restored";

/// Makes a house of the backup of that name, where the configuration says and nothing is yet but perhaps the event log. Returns what
/// there is to say.
pub(crate) async fn restore(config: &Config, id: &str) -> Result<String, StartError> {
    let refuse = |what: String| Err(StartError::Restore(what));
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if id.is_empty() || !id.chars().all(plain) {
        return refuse(format!("{id:?} is no backup's name: CreateBackup tells it, as 20260131T235959Z-0a1b2c"));
    }
    let (Some(metastore), WarehouseUrl::Embedded(dir)) =
        (config.metastore.strip_prefix("sqlite://"), config.warehouse_url()?)
    else {
        return refuse("it restores a house of its own, with SQLite and the embedded warehouse; for servers see docs/operations.md".to_owned());
    };
    let metastore = Path::new(metastore);
    if metastore.exists() {
        return refuse(format!(
            "there is a house already: {} exists; move it away, or name another --data",
            metastore.display()
        ));
    }
    let file = |source, path: &Path| StartError::File { path: path.to_owned(), source };
    fs::create_dir_all(&config.data).map_err(|e| file(e, &config.data))?;
    let (warehouse, supervisor) = embedded_warehouse(dir, config)?;
    let done = async {
        warehouse.wait_ready(WAREHOUSE_START).await?;
        if warehouse.is_there().await? {
            return refuse(format!("{} has events already: move it away", dir.display()));
        }
        warehouse.restore(id).await?;
        refill(config, &warehouse, metastore).await
    };
    let done = done.await;
    supervisor.shutdown().await;
    done
}

/// The metastore out of the warehouse that was restored, and the warehouse as that one says.
async fn refill(config: &Config, warehouse: &Warehouse, metastore: &Path) -> Result<String, StartError> {
    let missing = || StartError::Restore("the backup has no copy of the metastore: it is not whole".to_owned());
    let manifest = warehouse.backup_file(BackupManifest::NAME).await?.ok_or_else(missing)?;
    let manifest = BackupManifest::from_json(&manifest).ok_or_else(missing)?;
    let copy = warehouse.backup_file(BackupManifest::METASTORE).await?.ok_or_else(missing)?;
    warehouse.migrate().await?;
    // Under another name until all is right: whoever begins again finds no house.
    let half = config.data.join(HALF);
    let file = |source, path: &Path| StartError::File { path: path.to_owned(), source };
    fs::write(&half, &copy).map_err(|e| file(e, &half))?;
    let BackupManifest { version, topic, ends, reaches_ms } = manifest;
    let cut = warehouse.cut(topic.incarnation, &ends).await?;
    warehouse.drop_backup_files().await?;
    fs::rename(&half, metastore).map_err(|e| file(e, metastore))?;
    let synced = fs::File::open(metastore).and_then(|file| file.sync_all());
    synced.and_then(|()| fs::File::open(&config.data)?.sync_all()).map_err(|e| file(e, metastore))?;
    let reaches = Timestamp::from_millisecond(reaches_ms).unwrap_or_default();
    Ok(format!(
        "Restored what version {version} backed up: everything that was received before {reaches}.\n\
         {cut} rows that the metastore did not know yet were taken out; what the event log has comes again from there.\n\
         Erasures that were asked for later must be asked for again. Start it: penstock serve --data {}\n",
        config.data.display()
    ))
}
