//! One running engine over one data directory: starting it safely, connections for requests, stopping queries.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::admission::Turns;
use crate::cold;
use crate::config::{ChdbConfig, ChdbError};
use crate::error::QueryError;
use crate::ffi::{Connection, Library};
use crate::guard::Guard;
use crate::merges;

/// Settings of every insert whose data a client streams: one block, so that it is atomic in each partition and a retry
/// under the same deduplication token is cut into the same blocks.
const ONE_BLOCK: &[&str] =
    &["--max_insert_block_size=100000000", "--min_insert_block_size_rows=100000000", "--min_insert_block_size_bytes=0"];
/// What may reach outside the process: every table function until it is known to stay inside, and the functions that ask
/// a language model somewhere.
const OUTER_FUNCTIONS: &str = "SELECT name FROM system.table_functions
    UNION ALL SELECT name FROM system.functions WHERE match(name, '^(ai|AI)[A-Z]')";
const LOCK_POLL: Duration = Duration::from_millis(50);

/// A started engine. Dropping it closes the last connection; the data directory's lock ends after that.
pub(crate) struct Engine {
    library: &'static Library,
    arguments: Vec<String>,
    /// Keeps the engine up between requests.
    parked: Mutex<Option<Connection>>,
    pub(crate) guard: Guard,
    /// As `SELECT version()` and `timezone()` say.
    pub(crate) version: String,
    pub(crate) timezone: String,
    max_query_memory_bytes: u64,
    max_statement_bytes: usize,
    pub(crate) insert_turns: Turns,
    _lock: File,
}

impl Engine {
    /// Takes the data directory's lock, waiting for a dying predecessor, and boots the engine on it. Blocks.
    pub(crate) fn start(config: &ChdbConfig) -> Result<Self, ChdbError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| ChdbError::DataDir { path, source }
        };
        fs::create_dir_all(&config.data_dir).map_err(at(&config.data_dir))?;
        let root = config.data_dir.canonicalize().map_err(at(&config.data_dir))?;
        let lock = lock(&root.join("lock"), config.lock_timeout)?;
        for directory in ["store", "tmp", "user_files", "format_schemas"] {
            fs::create_dir_all(root.join(directory)).map_err(at(&root.join(directory)))?;
        }
        let file = root.join("engine.xml");
        write_private(&file, &engine_xml(config, &root)).map_err(at(&file))?;

        forget_empty_default(&root).map_err(at(&root))?;

        merges::watch();
        let library = Library::load(&config.library)?;
        let mut arguments = vec![
            format!("--config-file={}", file.display()),
            format!("--path={}", root.join("store").display()),
            "--async_insert=0".into(),
        ];
        if config.cold.is_some() || matches!(config.backups, Some(cold::BackupStore::Bucket(_))) {
            arguments.extend(cold::FEW_ATTEMPTS.iter().map(|&a| a.to_owned()));
        }
        let mut parked = library.connect(&arguments)?;
        own_default_database(&mut parked, &root).map_err(ChdbError::Boot)?;
        let mut names = |sql: &str| -> Result<Vec<String>, ChdbError> {
            let output = parked.query(sql, "LineAsString", &[]).map_err(|e| ChdbError::Boot(QueryError::parse(&e)))?;
            Ok(String::from_utf8_lossy(&output.body).lines().map(str::to_owned).collect())
        };
        let functions = names(OUTER_FUNCTIONS)?;
        let engines =
            names("SELECT name FROM system.table_engines UNION ALL SELECT name FROM system.database_engines")?;
        let about = names("SELECT version() UNION ALL SELECT timezone()")?;
        let guard = Guard::new(&functions, &engines, &config.allowed_external);
        let about = |prefix: fn(&String) -> bool| about.iter().find(|l| prefix(l)).cloned().unwrap_or_default();
        let is_version = |line: &String| line.starts_with(|c: char| c.is_ascii_digit());
        let version = about(is_version);
        let timezone = about(|line| !line.starts_with(|c: char| c.is_ascii_digit()));
        tracing::info!(library = library.version(), version, timezone, data_dir = %root.display(), "engine started");
        Ok(Self {
            library,
            arguments,
            parked: Mutex::new(Some(parked)),
            guard,
            version,
            timezone,
            max_query_memory_bytes: config.max_query_memory_bytes,
            max_statement_bytes: config.max_statement_bytes,
            insert_turns: Turns::new(available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))),
            _lock: lock,
        })
    }

    /// A connection for one request, whose statements carry `query_id` as their `log_comment`; with the settings of
    /// streamed inserts if `one_block`. Blocks for well under a millisecond.
    pub(crate) fn connect(&self, query_id: &str, one_block: bool) -> Result<Connection, QueryError> {
        let mut arguments = self.arguments.clone();
        arguments.push(format!("--log_comment={query_id}"));
        arguments.push(format!("--max_memory_usage={}", self.max_query_memory_bytes));
        // Room for the clause that this server adds to a SELECT.
        arguments.push(format!("--max_query_size={}", self.max_statement_bytes + 256));
        if one_block {
            arguments.extend(ONE_BLOCK.iter().map(|&a| a.to_owned()));
        }
        self.library.connect(&arguments).map_err(|e| QueryError::internal(e.to_string()))
    }

    /// Asks the engine to stop the query with this id, if it runs. Blocks for milliseconds; the query ends later.
    pub(crate) fn kill(&self, query_id: &str) -> Result<(), QueryError> {
        let sql = format!("KILL QUERY WHERE Settings['log_comment'] = '{}' ASYNC", escape(query_id));
        // A connection of its own: a kill must not wait behind anything.
        let mut connection = self.library.connect(&self.arguments).map_err(|e| QueryError::internal(e.to_string()))?;
        connection.query(&sql, "Null", &[]).map(drop).map_err(|e| QueryError::parse(&e))
    }

    /// Closes the parked connection; with no other open, this stops the engine. Blocks.
    pub(crate) fn stop(&self) {
        drop(self.parked.lock().take());
    }
}

fn lock(path: &Path, timeout: Duration) -> Result<File, ChdbError> {
    let failed = |source| ChdbError::DataDir { path: path.into(), source };
    let file = File::options().create(true).append(true).open(path).map_err(failed)?;
    let deadline = Instant::now() + timeout;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                return Err(ChdbError::Locked(path.parent().map(PathBuf::from).unwrap_or_default()));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_POLL),
        }
    }
}

/// The engine boots with a `default` database that overlays the file system: `SELECT * FROM '/etc/passwd'` reads the
/// file. An Atomic one takes its place. Only detached, never dropped: dropping it drops the tables beneath.
fn own_default_database(connection: &mut Connection, root: &Path) -> Result<(), QueryError> {
    let mut run = |sql: &str| connection.query(sql, "LineAsString", &[]).map_err(|e| QueryError::parse(&e));
    run("DETACH DATABASE default")?;
    let exists = root.join("store/metadata/default.sql").exists();
    run(if exists { "ATTACH DATABASE default" } else { "CREATE DATABASE default ENGINE = Atomic" })?;
    let engine = run("SELECT engine FROM system.databases WHERE name = 'default'")?;
    match engine.body.as_slice() {
        b"Atomic\n" => Ok(()),
        other => {
            Err(QueryError::internal(format!("database default is {:?}, not Atomic", String::from_utf8_lossy(other))))
        }
    }
}

/// The engine can't attach a database that never held a table: its definition is there, its directory is not. There is
/// nothing in it to lose, so it is created anew.
fn forget_empty_default(root: &Path) -> io::Result<()> {
    let metadata = root.join("store/metadata");
    match fs::symlink_metadata(metadata.join("default")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::remove_file(metadata.join("default.sql")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
        other => other.map(drop),
    }
}

/// It may hold a bucket's secret.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?; // it may have been there
    file.write_all(text.as_bytes())
}

/// A part is merged with a few more at once than by default, so each row is written less often on its way up: with events at full rate
/// the engine takes 30 % less CPU time, and has more parts at a time.
///
/// Merges give way to inserts and queries where there is not enough CPU for all: a late merge costs nobody an answer. How, [`merges`] says.
/// Of the merges the smallest comes first, as what a query costs is the number of parts; by default they go on in turns, and a large one has
/// half of the time while small parts gather.
///
/// By default a merge leaves out the parts at its end that are less than a hundredth of it: where small ones come after a large one, that
/// is nearly all of them, and the large one is written again for each two or three. An insert of 125 events with its merges took 82 ms of
/// CPU after 500 of them, and takes 47.
///
/// Parts that merges left over go two at a time. By default there are 128 threads for it as soon as there are 100 parts, and while those
/// start and delete files, everybody's questions and inserts stand still for 100 to 250 ms.
const MERGES: &str = "<merge_tree><merge_selector_base>12</merge_selector_base>\
    <merge_selector_enable_heuristic_to_remove_small_parts_at_right>0</merge_selector_enable_heuristic_to_remove_small_parts_at_right></merge_tree>\n\
    <max_parts_cleaning_thread_pool_size>2</max_parts_cleaning_thread_pool_size>\n\
    <background_merges_mutations_scheduling_policy>shortest_task_first</background_merges_mutations_scheduling_policy>";

fn engine_xml(config: &ChdbConfig, root: &Path) -> String {
    let directory = |name: &str| cold::escape(&root.join(name).display().to_string());
    let storage = cold::storage_xml(config.cold.as_ref(), config.backups.as_ref(), root);
    format!(
        "<clickhouse>\n<max_server_memory_usage>{}</max_server_memory_usage>\n<tmp_path>{}/</tmp_path>\n\
         <user_files_path>{}/</user_files_path>\n<format_schema_path>{}/</format_schema_path>\n{storage}\n{MERGES}\n\
         <os_threads_nice_value_merge_mutate>{}</os_threads_nice_value_merge_mutate>\n{}\n</clickhouse>\n",
        config.max_server_memory_bytes,
        directory("tmp"),
        directory("user_files"),
        directory("format_schemas"),
        merges::NICE,
        config.engine_config,
    )
}

/// The inside of a single-quoted literal.
pub(crate) fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}

/// Finds an engine for tests and tools: `PENSTOCK_ENGINE`, else `.tools/engine/libchdb.so` in `start` or above it.
pub fn find_library(start: &Path) -> io::Result<PathBuf> {
    let candidate = match std::env::var_os("PENSTOCK_ENGINE") {
        Some(path) => Some(PathBuf::from(path)),
        None => start.ancestors().map(|d| d.join(".tools/engine/libchdb.so")).find(|p| p.exists()),
    };
    candidate
        .filter(|path| path.exists())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no libchdb.so: run `make engine`"))
}
