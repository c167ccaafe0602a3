//! Backups of the house, to one point in time.
//!
//! The metastore is copied first: its ledger says what is committed. The warehouse is copied after it and may have a little more,
//! which `penstock restore` takes out again by the ledger; what the log still has comes from there anew. So nothing has to stand still.
//! Of a warehouse of several shards each makes its own part, and the metastore's copy goes with the first.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use api::{
    convert::time_to_wire,
    v1::{Backup, CreateBackupResponse},
};
use jiff::Timestamp;
use model::{Error, ErrorCode, Offset, PartitionId};
use storage::{
    Change, Metastore, Topic,
    warehouse::{BackupManifest, BackupProgress, BackupServer},
};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::{
    caller::Caller,
    service::{Admin, Ground, stored},
};

/// How often is looked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What must be left beside a backup.
const SPARE_BYTES: u64 = 64 << 20;

/// One at a time: of this process's, and one process has the role.
static UNDER_WAY: AtomicBool = AtomicBool::new(false);

struct UnderWay;

impl UnderWay {
    fn begin() -> Result<Self, Error> {
        match UNDER_WAY.swap(true, Ordering::AcqRel) {
            false => Ok(Self),
            true => Err(conflict("another backup is under way")),
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        UNDER_WAY.store(false, Ordering::Release);
    }
}

type Tell = mpsc::Sender<Result<CreateBackupResponse, Error>>;
type Told = mpsc::Receiver<Result<CreateBackupResponse, Error>>;

impl Admin {
    /// Begins a backup, which goes on whether or not anybody listens.
    pub(crate) async fn back_up(&self, caller: &Caller) -> Result<Told, Error> {
        caller.require_operator()?;
        let ground = self.ground()?.clone();
        let under_way = UnderWay::begin()?;
        let before = Before::of(&ground).await?;
        let now_ms = (self.now_ms)();
        let at = Timestamp::from_millisecond(now_ms).unwrap_or_default();
        let id = format!("{}-{:06x}", at.strftime("%Y%m%dT%H%M%SZ"), rand::random::<u32>() >> 8);
        let (tell, told) = mpsc::channel(16);
        let making = Making { meta: Arc::clone(&self.directory), ground, id };
        // Who takes everything out is noted before anything is.
        let change = Change { object: format!("backups/{}", making.id), ..Change::default() };
        let act = caller.act("AdminService/CreateBackup", now_ms);
        self.directory.note(None, &act, &change).await.map_err(stored)?;
        info!(by = caller.key_id(), backup = making.id, "a backup is made");
        tokio::spawn(async move {
            let _under_way = under_way;
            let made = making.make(&before, &tell).await;
            if let Err(error) = made {
                warn!(backup = making.id, %error, "a backup failed: what lies under its name is not whole");
                let _ = tell.send(Err(error)).await; // nobody listens: the log has it
            }
        });
        Ok(told)
    }
}

/// What must not change meanwhile: rows change their places by it.
#[derive(PartialEq)]
struct Before {
    placement: u64,
    replay: Option<String>,
}

impl Before {
    async fn of(ground: &Ground) -> Result<Self, Error> {
        let placement = ground.placement().await?;
        if placement.growing.is_some() {
            return Err(conflict("the topic grows: wait until GetTopic says that it has"));
        }
        if let Some(replay) = ground.replays.open_replay().await.map_err(stored)? {
            return Err(conflict(format!("replay {} is not finished", replay.request.id)));
        }
        let newest = ground.replays.replays(None, 1).await.map_err(stored)?;
        let replay = newest.into_iter().next().map(|replay| replay.request.id);
        Ok(Self { placement: placement.version, replay })
    }
}

struct Making {
    meta: Arc<dyn Metastore>,
    ground: Ground,
    id: String,
}

impl Making {
    async fn make(&self, before: &Before, tell: &Tell) -> Result<(), Error> {
        let servers = self.ground.warehouse.backup_servers();
        let made = self.write(&servers, tell).await;
        let cleared = servers[0].drop_files().await;
        let (reaches_ms, progress) = made?;
        cleared?;
        if Before::of(&self.ground).await? != *before {
            return Err(conflict("rows changed their places meanwhile, by a replay or a growth: make another backup"));
        }
        info!(backup = self.id, bytes = progress.bytes, files = progress.files, "a backup is whole");
        let _ = tell.send(Ok(self.told(reaches_ms, progress))).await; // nobody may listen
        Ok(())
    }

    /// Writes it, and says how far it is until it is whole.
    async fn write(&self, servers: &[BackupServer], tell: &Tell) -> Result<(i64, BackupProgress), Error> {
        let reaches_ms = self.copy_metastore(servers).await?;
        for server in servers {
            server.catch_up().await?; // what the copy says is committed is there
            let Some((needed, left)) = server.room().await? else {
                return Err(conflict("the warehouse has no disk `backups`: see the setting `backup`"));
            };
            // On a disk that takes no more the embedded engine ends at once.
            if left < needed + SPARE_BYTES {
                let what = format!(
                    "the backup has about {needed} bytes, and where it goes are {left}: {SPARE_BYTES} more must be left"
                );
                return Err(Error::new(ErrorCode::ResourceExhausted, what));
            }
        }
        for server in servers {
            server.begin(&self.id).await?;
        }
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let mut progress = BackupProgress { done: true, ..BackupProgress::default() };
            for server in servers {
                let BackupProgress { done, files, bytes } = server.progress(&self.id).await?;
                progress.done &= done;
                progress.files += files;
                progress.bytes += bytes;
            }
            if progress.done {
                return Ok((reaches_ms, progress));
            }
            let _ = tell.try_send(Ok(self.told(reaches_ms, progress))); // who doesn't listen hears of it later
        }
    }

    /// Lays a copy of the metastore beside the warehouse's tables. Returns what it reaches, UTC ms.
    async fn copy_metastore(&self, servers: &[BackupServer]) -> Result<i64, Error> {
        let topic = self.ground.topic();
        // Before the copy, which then has that much and perhaps more.
        let states = self.ground.ledger.partitions(&topic).await.map_err(stored)?;
        let reaches_ms = states.iter().map(|state| state.frontier_ms).min().unwrap_or_default();
        let file = self.ground.scratch.join(format!("metastore-{}.db", self.id));
        let copy = self.copied(&file, &topic).await;
        for suffix in ["", "-wal", "-shm"] {
            let _ = tokio::fs::remove_file(format!("{}{suffix}", file.display())).await; // it may not be there
        }
        let (bytes, ends) = copy?;
        let (version, shards) = (env!("CARGO_PKG_VERSION").to_owned(), self.ground.warehouse.shard_count());
        let manifest = BackupManifest { version, topic, ends, reaches_ms, shards };
        let manifest = manifest.to_json();
        let files = [(BackupManifest::METASTORE, bytes.as_slice()), (BackupManifest::NAME, manifest.as_bytes())];
        servers[0].put_files(&files).await?;
        Ok(reaches_ms)
    }

    /// The copy, and how far each partition is committed by it.
    async fn copied(&self, file: &Path, topic: &Topic) -> Result<(Vec<u8>, Vec<(PartitionId, Offset)>), Error> {
        self.meta.snapshot(file).await.map_err(stored)?;
        // Before it is opened, which may write beside it.
        let bytes = tokio::fs::read(file).await.map_err(|e| Error::internal(format!("a copy can't be read: {e}")))?;
        let copy = storage::open(&format!("sqlite://{}", file.display())).await.map_err(stored)?;
        let states = copy.partitions(topic).await.map_err(stored)?;
        Ok((bytes, states.iter().map(|state| (state.partition, state.committed)).collect()))
    }

    fn told(&self, reaches_ms: i64, progress: BackupProgress) -> CreateBackupResponse {
        let BackupProgress { done, files, bytes } = progress;
        let (files, bytes) = (files.cast_signed(), bytes.cast_signed());
        let reaches = Some(time_to_wire(reaches_ms));
        CreateBackupResponse { backup: Some(Backup { backup_id: self.id.clone(), done, reaches, files, bytes }) }
    }
}

fn conflict(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::Conflict, message)
}
