//! Where backups are, and how a house is made of one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use chdb::BackupStore;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use storage::{
    Warehouse,
    warehouse::{BackupManifest, BackupServer},
};

use crate::{
    client::Progress,
    cold::bucket,
    config::{Config, ConfigError},
    stores::{WAREHOUSE_START, warehouse},
    wire::StartError,
};

/// Where backups go.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BackupOptions {
    /// Of an embedded warehouse: a directory, by default `DATA/backups`, which survives nothing that DATA doesn't; or the URL of a bucket
    /// that speaks S3, or of a folder in one, as `https://HOST/BUCKET/FOLDER/`. A ClickHouse server writes to its own disk `backups`, which
    /// its setting `backups.allowed_disk` must allow; of a cluster one of each shard.
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

/// The metastore's copy while it is read.
const COPY: &str = "metastore.restored";

/// Makes a house of the backup of that name, where the configuration says and nothing is yet but perhaps the event log. Returns what
/// there is to say.
pub(crate) async fn restore(config: &Config, id: &str) -> Result<String, StartError> {
    let refuse = |what: String| Err(StartError::Restore(what));
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if id.is_empty() || !id.chars().all(plain) {
        return refuse(format!("{id:?} is no backup's name: CreateBackup tells it, as 20260131T235959Z-0a1b2c"));
    }
    let file = config.metastore.strip_prefix("sqlite:").map(|path| Path::new(path.strip_prefix("//").unwrap_or(path)));
    let there = match file {
        // One that isn't there is not made before there is something to put into it.
        Some(file) => file.exists().then(|| format!("{} exists; move it away, or name another --data", file.display())),
        None => {
            let empty = storage::open(&config.metastore).await?.is_empty().await?;
            (!empty).then(|| "the metastore keeps one; name an empty database".to_owned())
        }
    };
    if let Some(what) = there {
        return refuse(format!("there is a house already: {what}"));
    }
    fs::create_dir_all(&config.data).map_err(|source| StartError::File { path: config.data.clone(), source })?;
    let (warehouse, supervisor) = warehouse(config)?;
    let mut progress = Progress::new();
    let done = async {
        progress.during(warehouse.wait_ready(WAREHOUSE_START), step(0, "the warehouse starts")).await?;
        if warehouse.is_there().await? {
            return refuse("the warehouse has events already: move them away".to_owned());
        }
        let servers = warehouse.backup_servers();
        let tables = warehouse.restore(id, &servers);
        let manifest = progress.during(tables, step(1, "its tables are copied")).await?.ok_or_else(missing)?;
        let copy = config.data.join(COPY);
        let done = refill(config, &warehouse, &servers[0], manifest, &copy, &mut progress).await;
        let _ = fs::remove_file(&copy); // it may not be there yet
        done
    };
    let done = done.await;
    if let Some(supervisor) = supervisor {
        supervisor.shutdown().await;
    }
    done
}

fn missing() -> StartError {
    StartError::Restore("the backup has no copy of the metastore: it is not whole".to_owned())
}

/// How far a restore is in the last of its steps that began.
fn step(number: u32, what: &str) -> impl Fn(&Progress) -> (Option<f64>, String) {
    move |progress| (Some(f64::from(number) / 4.0), format!("{what}: {:.0} s", progress.elapsed().as_secs_f64()))
}

/// The metastore out of the warehouse that was restored, and the warehouse as that one says.
async fn refill(
    config: &Config,
    warehouse: &Warehouse,
    first: &BackupServer,
    manifest: BackupManifest,
    file: &Path,
    progress: &mut Progress,
) -> Result<String, StartError> {
    let copy = first.file(BackupManifest::METASTORE).await?.ok_or_else(missing)?;
    fs::write(file, &copy).map_err(|source| StartError::File { path: file.to_owned(), source })?;
    let BackupManifest { version, topic, ends, reaches_ms, .. } = manifest;
    let cut = warehouse.cut(topic.incarnation, &ends);
    let cut = progress.during(cut, step(2, "rows that came after the metastore's copy are taken out")).await?;
    first.drop_files().await?;
    // Last, and all at once: whoever begins again finds no house.
    let metastore = storage::open(&config.metastore).await?;
    progress.during(metastore.fill(file), step(3, "the metastore is filled")).await?;
    let reaches = Timestamp::from_millisecond(reaches_ms).unwrap_or_default();
    Ok(format!(
        "Restored what version {version} backed up: everything that was received before {reaches}.\n\
         {cut} rows that the metastore did not know yet were taken out; what the event log has comes again from there.\n\
         Erasures that were asked for later must be asked for again. Start it with this configuration: penstock serve\n"
    ))
}
