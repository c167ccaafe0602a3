//! A log that opens itself again once its disk takes writes again.
//!
//! After a write that failed, as on a full disk, nobody knows how much of it is there: the log takes no more until it is opened
//! again, which reads what there is. That need not wait for somebody who restarts the process.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use model::{Incarnation, Offset, PartitionId, Position};
use parking_lot::{Mutex, RwLock};
use tracing::{info, warn};

use super::{Clock, EmbeddedLog};
use crate::{Assignment, Batch, EventLog, LogError, LogOptions, Record, Tail, assignment::Everything, blocking};

/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);
/// What the disk must take before the log is closed to be opened again: until then what is there can at least be read.
const PROBE_BYTES: usize = 4 << 20;

/// An [`EmbeddedLog`], and after it failed the next one.
pub(crate) struct MendingLog {
    topic: String,
    incarnation: Incarnation,
    assigned: Everything,
    place: Arc<Place>,
}

struct Place {
    dir: PathBuf,
    options: LogOptions,
    clock: Clock,
    log: RwLock<Arc<EmbeddedLog>>,
    /// When it was tried last.
    tried: Mutex<Option<Instant>>,
    mending: tokio::sync::Mutex<()>,
    /// Held for reading by whoever appends: they wait while the log grows.
    appending: tokio::sync::RwLock<()>,
    is_closed: AtomicBool,
}

impl MendingLog {
    /// As [`EmbeddedLog::open`].
    pub(crate) async fn open(dir: &Path, options: &LogOptions, clock: Clock) -> Result<Self, LogError> {
        let log = EmbeddedLog::open(dir, options, Arc::clone(&clock)).await?;
        Ok(Self {
            topic: log.topic().to_owned(),
            incarnation: log.incarnation(),
            assigned: Everything::of(log.partitions()),
            place: Arc::new(Place {
                dir: dir.to_owned(),
                options: options.clone(),
                clock,
                log: RwLock::new(Arc::new(log)),
                tried: Mutex::new(None),
                mending: tokio::sync::Mutex::new(()),
                appending: tokio::sync::RwLock::new(()),
                is_closed: AtomicBool::new(false),
            }),
        })
    }

    pub(super) fn log(&self) -> Arc<EmbeddedLog> {
        Arc::clone(&self.place.log.read())
    }

    /// Passes the outcome on. After a failure the log is opened again behind the caller's back, if need be.
    fn outcome<T>(&self, outcome: Result<T, LogError>) -> Result<T, LogError> {
        if matches!(outcome, Err(LogError::Unavailable(_))) && self.place.is_due() {
            let place = Arc::clone(&self.place);
            tokio::spawn(async move {
                if let Err(error) = place.mend().await {
                    warn!(%error, "the log can't be opened again yet");
                }
            });
        }
        outcome
    }
}

impl Place {
    /// Whether the log has failed, and a try is due. It is whoever asks that makes it.
    fn is_due(&self) -> bool {
        if self.is_closed.load(Ordering::Acquire) || !self.log.read().has_stopped() {
            return false;
        }
        let mut tried = self.tried.lock();
        let due = tried.is_none_or(|at| at.elapsed() >= PAUSE);
        if due {
            *tried = Some(Instant::now());
        }
        due
    }

    async fn mend(self: Arc<Self>) -> Result<(), LogError> {
        let _one = self.mending.lock().await;
        let failed = Arc::clone(&self.log.read());
        if self.is_closed.load(Ordering::Acquire) || !failed.has_stopped() {
            return Ok(());
        }
        let probe = self.dir.join("probe");
        blocking(move || {
            let probed = File::create(&probe).and_then(|file| take(file, PROBE_BYTES));
            std::fs::remove_file(&probe).and(probed).map_err(|error| LogError::Unavailable(error.to_string()))
        })
        .await?;
        // What it says of its end was said when it failed.
        let _ = failed.close().await;
        self.open_again().await?;
        info!("the log is open again");
        Ok(())
    }

    async fn open_again(&self) -> Result<(), LogError> {
        let log = EmbeddedLog::open(&self.dir, &self.options, Arc::clone(&self.clock)).await?;
        *self.log.write() = Arc::new(log);
        Ok(())
    }
}

fn take(mut file: File, bytes: usize) -> io::Result<()> {
    file.write_all(&vec![0; bytes])?;
    file.sync_all()
}

#[async_trait]
impl EventLog for MendingLog {
    fn topic(&self) -> &str {
        &self.topic
    }

    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn partitions(&self) -> u32 {
        self.log().partitions()
    }

    async fn grow(&self, partitions: u32) -> Result<(), LogError> {
        let place = &self.place;
        let _one = place.mending.lock().await;
        if partitions <= self.partitions() || place.is_closed.load(Ordering::Acquire) {
            return Ok(()); // who goes on with a closed log is told so
        }
        LogOptions { partitions, ..place.options.clone() }.check()?;
        let _nobody = place.appending.write().await;
        self.log().close().await?;
        let grown = EmbeddedLog::grow_closed(&place.dir, partitions).await;
        place.open_again().await?;
        self.assigned.grow(self.partitions());
        grown
    }

    async fn append(&self, batches: Vec<Batch>) -> Result<Position, LogError> {
        let _appending = self.place.appending.read().await;
        self.outcome(self.log().append(batches).await)
    }

    async fn read(
        &self,
        partition: PartitionId,
        from: Offset,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, LogError> {
        self.outcome(self.log().read(partition, from, max_records, max_bytes).await)
    }

    async fn wait_for(&self, partition: PartitionId, offset: Offset) -> Result<(), LogError> {
        self.outcome(self.log().wait_for(partition, offset).await)
    }

    async fn tail(&self, partition: PartitionId) -> Result<Tail, LogError> {
        self.outcome(self.log().tail(partition).await)
    }

    async fn trim(&self, partition: PartitionId, before: Offset) -> Result<(), LogError> {
        self.outcome(self.log().trim(partition, before).await)
    }

    fn assignment(&self) -> Result<Box<dyn Assignment>, LogError> {
        Ok(Box::new(self.assigned.clone()))
    }

    async fn close(&self) -> Result<(), LogError> {
        self.place.is_closed.store(true, Ordering::Release);
        let _one = self.place.mending.lock().await;
        self.log().close().await
    }
}
