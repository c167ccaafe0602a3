//! The C interface of `libchdb.so`.
//!
//! What makes it sound, in one place:
//! - The library is loaded once and never unloaded ([`Library`] is leaked): its threads outlive any handle.
//! - A [`Connection`] may move between threads (`Send`) because the engine runs every statement on its own thread and
//!   keeps no thread-local state for the caller; it is not `Sync`, and every statement takes `&mut self`, because a
//!   connection runs one statement at a time.
//! - An [`InsertStream`] borrows its connection mutably, so nothing else can run on it and it can't outlive it.
//! - Results are copied out and destroyed before a call returns; no pointer of the engine escapes this file.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::ptr;

/// Why the engine could not be used at all; what goes wrong inside a statement is a plain message instead.
#[derive(Debug, thiserror::Error)]
pub enum FfiError {
    /// The shared library is absent or is not libchdb.
    #[error("can't load the engine from {path}: {reason}; run `make engine`")]
    Load {
        /// Where it was looked for.
        path: PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// `chdb_connect` returned NULL: wrong arguments or a data directory in use.
    #[error("the engine refused the connection (wrong configuration, or the data directory is in use)")]
    Connect,
    /// An argument holds a NUL byte, which the C interface can't carry.
    #[error("a connection argument contains a NUL byte")]
    Nul,
}

type Handle = *mut c_void;

/// `chdb_query_analysis_v1`.
#[repr(C)]
struct RawAnalysis {
    struct_size: u32,
    statement_count: u32,
    flags: u32,
    query_class: u32,
}

type Strings = *const *const c_char;
type Sizes = *const usize;
type QueryFn = unsafe extern "C" fn(
    Handle,
    *const c_char,
    usize,
    *const c_char,
    usize,
    Strings,
    Sizes,
    Strings,
    Sizes,
    usize,
) -> Handle;
type CountFn = unsafe extern "C" fn(Handle) -> u64;
type TextFn = unsafe extern "C" fn(Handle) -> *const c_char;
type DropFn = unsafe extern "C" fn(Handle);

/// The symbols of one loaded `libchdb.so`.
pub(crate) struct Library {
    version: unsafe extern "C" fn() -> *const c_char,
    connect: unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut Handle,
    close: unsafe extern "C" fn(*mut Handle),
    query: QueryFn,
    classify: unsafe extern "C" fn(Handle, *const c_char, usize, *const c_char, usize, *mut RawAnalysis) -> c_int,
    insert: QueryFn,
    append: unsafe extern "C" fn(Handle, *const c_void, usize) -> c_int,
    done: unsafe extern "C" fn(Handle) -> Handle,
    insert_error: TextFn,
    destroy_insert: DropFn,
    result_error: TextFn,
    result_buffer: TextFn,
    result_length: unsafe extern "C" fn(Handle) -> usize,
    result_elapsed: unsafe extern "C" fn(Handle) -> f64,
    rows_read: CountFn,
    bytes_read: CountFn,
    storage_rows_read: CountFn,
    storage_bytes_read: CountFn,
    rows_written: CountFn,
    bytes_written: CountFn,
    destroy_result: DropFn,
}

impl Library {
    /// Loads the engine and keeps it for the life of the process. The engine's signal handlers stay off: the process
    /// that embeds it owns its signals.
    pub(crate) fn load(path: &Path) -> Result<&'static Self, FfiError> {
        let failed = |e: libloading::Error| FfiError::Load { path: path.into(), reason: e.to_string() };
        // SAFETY: running the library's initialisers is what loading it means; the path is the operator's.
        let library = unsafe { libloading::Library::new(path) }.map_err(failed)?;
        let library: &'static libloading::Library = Box::leak(Box::new(library));
        macro_rules! symbol {
            ($name:literal) => {
                // SAFETY: the field's type is the signature that chdb.h 26.7 declares for this name.
                *unsafe { library.get($name) }.map_err(failed)?
            };
        }
        let set_signal_handlers: unsafe extern "C" fn(c_int) = symbol!(b"chdb_set_signal_handlers_enabled\0");
        // SAFETY: called before the first connection, as the header asks.
        unsafe { set_signal_handlers(0) };
        Ok(Box::leak(Box::new(Self {
            version: symbol!(b"chdb_version\0"),
            connect: symbol!(b"chdb_connect\0"),
            close: symbol!(b"chdb_close_conn\0"),
            query: symbol!(b"chdb_query_with_params_n\0"),
            classify: symbol!(b"chdb_classify_query_n\0"),
            insert: symbol!(b"chdb_stream_insert_with_params_n\0"),
            append: symbol!(b"chdb_stream_append\0"),
            done: symbol!(b"chdb_stream_done\0"),
            insert_error: symbol!(b"chdb_stream_insert_error\0"),
            destroy_insert: symbol!(b"chdb_destroy_insert_stream\0"),
            result_error: symbol!(b"chdb_result_error\0"),
            result_buffer: symbol!(b"chdb_result_buffer\0"),
            result_length: symbol!(b"chdb_result_length\0"),
            result_elapsed: symbol!(b"chdb_result_elapsed\0"),
            rows_read: symbol!(b"chdb_result_rows_read\0"),
            bytes_read: symbol!(b"chdb_result_bytes_read\0"),
            storage_rows_read: symbol!(b"chdb_result_storage_rows_read\0"),
            storage_bytes_read: symbol!(b"chdb_result_storage_bytes_read\0"),
            rows_written: symbol!(b"chdb_result_rows_written\0"),
            bytes_written: symbol!(b"chdb_result_bytes_written\0"),
            destroy_result: symbol!(b"chdb_destroy_query_result\0"),
        })))
    }

    /// The library's release, such as `26.7.3`.
    pub(crate) fn version(&self) -> String {
        // SAFETY: returns a static NUL-terminated string.
        unsafe { text((self.version)()) }.unwrap_or_default()
    }

    /// Opens a connection with `--name=value` arguments; the first one of the process boots the engine.
    pub(crate) fn connect(&'static self, arguments: &[String]) -> Result<Connection, FfiError> {
        let program = CString::new("chdb").expect("no NUL in a literal");
        let mut owned = vec![program];
        for argument in arguments {
            owned.push(CString::new(argument.as_str()).map_err(|_| FfiError::Nul)?);
        }
        let mut pointers: Vec<*mut c_char> = owned.iter().map(|a| a.as_ptr().cast_mut()).collect();
        pointers.push(ptr::null_mut());
        // SAFETY: argc strings that live through the call, and a NULL after them as argv has.
        let handle = unsafe { (self.connect)(owned.len() as c_int, pointers.as_mut_ptr()) };
        if handle.is_null() { Err(FfiError::Connect) } else { Ok(Connection { library: self, handle }) }
    }

    /// Copies a result out and destroys it.
    ///
    /// # Safety
    /// `result` is NULL or a live `chdb_result*` that nobody else destroys.
    unsafe fn take(&self, result: Handle) -> Result<Output, String> {
        if result.is_null() {
            return Err("the engine returned no result".into());
        }
        // SAFETY: a live result; the buffer is valid for `length` bytes until it is destroyed below.
        unsafe {
            let error = text((self.result_error)(result));
            let length = (self.result_length)(result);
            let buffer = (self.result_buffer)(result).cast::<u8>();
            let body = if length == 0 || buffer.is_null() {
                Vec::new()
            } else {
                std::slice::from_raw_parts(buffer, length).to_vec()
            };
            let stats = Stats {
                elapsed_ns: ((self.result_elapsed)(result).max(0.0) * 1e9) as u64,
                result_rows: (self.rows_read)(result),
                result_bytes: (self.bytes_read)(result),
                read_rows: (self.storage_rows_read)(result),
                read_bytes: (self.storage_bytes_read)(result),
                written_rows: (self.rows_written)(result),
                written_bytes: (self.bytes_written)(result),
            };
            (self.destroy_result)(result);
            error.map_or(Ok(Output { body, stats }), Err)
        }
    }
}

/// # Safety
/// `pointer` is NULL or a NUL-terminated string that lives through the call.
unsafe fn text(pointer: *const c_char) -> Option<String> {
    // SAFETY: as promised by the caller.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned())
}

/// What a statement did, in the engine's own counters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stats {
    pub(crate) elapsed_ns: u64,
    pub(crate) result_rows: u64,
    pub(crate) result_bytes: u64,
    pub(crate) read_rows: u64,
    pub(crate) read_bytes: u64,
    /// Includes rows that materialized views wrote.
    pub(crate) written_rows: u64,
    pub(crate) written_bytes: u64,
}

/// A finished statement: its formatted result, whole in memory, and its counters.
pub(crate) struct Output {
    pub(crate) body: Vec<u8>,
    pub(crate) stats: Stats,
}

/// What the engine's parser says of a text without running it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Analysis {
    /// Executable statements in the text; 0 if it is empty or does not parse.
    pub(crate) statements: u32,
    /// Whether it changes nothing that outlives it (SELECT, SHOW, DESCRIBE, EXPLAIN, EXISTS, CHECK).
    pub(crate) read_only: bool,
}

/// Query parameters in the shape of the C interface: parallel arrays of pointers and lengths, borrowed.
struct Params<'a> {
    names: Vec<*const c_char>,
    name_sizes: Vec<usize>,
    values: Vec<*const c_char>,
    value_sizes: Vec<usize>,
    borrowed: PhantomData<&'a [(String, String)]>,
}

impl<'a> Params<'a> {
    fn new(pairs: &'a [(String, String)]) -> Self {
        Self {
            names: pairs.iter().map(|(name, _)| name.as_ptr().cast()).collect(),
            name_sizes: pairs.iter().map(|(name, _)| name.len()).collect(),
            values: pairs.iter().map(|(_, value)| value.as_ptr().cast()).collect(),
            value_sizes: pairs.iter().map(|(_, value)| value.len()).collect(),
            borrowed: PhantomData,
        }
    }

    fn call(&self, function: QueryFn, connection: Handle, sql: &str, format: &str) -> Handle {
        // SAFETY: every pointer comes with its length and lives through the call; the engine copies what it keeps.
        unsafe {
            function(
                connection,
                sql.as_ptr().cast(),
                sql.len(),
                format.as_ptr().cast(),
                format.len(),
                self.names.as_ptr(),
                self.name_sizes.as_ptr(),
                self.values.as_ptr(),
                self.value_sizes.as_ptr(),
                self.names.len(),
            )
        }
    }
}

/// One engine connection; closed when dropped, which waits for its running statement.
pub(crate) struct Connection {
    library: &'static Library,
    /// The engine's `chdb_connection*`: the handle of the statement calls is what it points to.
    handle: *mut Handle,
}

// SAFETY: the engine documents its calls as thread-safe and runs statements on threads of its own; `&mut self` on every
// statement keeps two threads from using one connection at once.
unsafe impl Send for Connection {}

impl Connection {
    fn raw(&self) -> Handle {
        // SAFETY: not NULL since `connect`, and valid until `close` in `drop`.
        unsafe { *self.handle }
    }

    /// Runs `sql` to its end and returns its whole result in `format`; the error is the engine's message.
    ///
    /// Runs *every* statement of the text: callers [`classify`](Self::classify) what came from a client first.
    pub(crate) fn query(&mut self, sql: &str, format: &str, params: &[(String, String)]) -> Result<Output, String> {
        let result = Params::new(params).call(self.library.query, self.raw(), sql, format);
        // SAFETY: a result of this library, owned here.
        unsafe { self.library.take(result) }
    }

    /// Parses `sql` without running it.
    pub(crate) fn classify(&mut self, sql: &str) -> Analysis {
        let mut raw =
            RawAnalysis { struct_size: size_of::<RawAnalysis>() as u32, statement_count: 0, flags: 0, query_class: 4 };
        // SAFETY: `raw` carries its size; the text carries its length; no target database is given.
        let state = unsafe {
            (self.library.classify)(self.raw(), sql.as_ptr().cast(), sql.len(), ptr::null(), 0, &raw mut raw)
        };
        let statements = if state == 0 { raw.statement_count } else { 0 };
        Analysis { statements, read_only: statements == 1 && raw.query_class == 0 }
    }

    /// Opens an insert: `head` is the INSERT without its FORMAT clause or data, `format` the format of what is appended.
    pub(crate) fn insert(
        &mut self,
        head: &str,
        format: &str,
        params: &[(String, String)],
    ) -> Result<InsertStream<'_>, String> {
        let stream = Params::new(params).call(self.library.insert, self.raw(), head, format);
        if stream.is_null() {
            return Err("the engine opened no insert stream".into());
        }
        let stream = InsertStream { library: self.library, stream, connection: PhantomData };
        stream.error().map_or(Ok(stream), Err)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: opened by `connect` and closed once.
        unsafe { (self.library.close)(self.handle) };
    }
}

/// An open INSERT. Dropped without [`finish`](Self::finish) it is cancelled and the open block is not committed.
pub(crate) struct InsertStream<'a> {
    library: &'static Library,
    stream: Handle,
    connection: PhantomData<&'a mut Connection>,
}

impl InsertStream<'_> {
    fn error(&self) -> Option<String> {
        // SAFETY: a live stream; the text lives as long as it.
        unsafe { text((self.library.insert_error)(self.stream)) }
    }

    /// Hands over formatted bytes, cut anywhere; blocks while the engine is behind.
    pub(crate) fn append(&mut self, data: &[u8]) -> Result<(), String> {
        // SAFETY: the engine copies `data` before it returns.
        match unsafe { (self.library.append)(self.stream, data.as_ptr().cast(), data.len()) } {
            0 => Ok(()),
            _ => Err(self.error().unwrap_or_else(|| "the insert stream is closed".into())),
        }
    }

    /// Commits what was appended; also where a kill or a late parse error is reported.
    pub(crate) fn finish(self) -> Result<Stats, String> {
        // SAFETY: a live stream; its result is owned here; the stream itself is destroyed by `drop`.
        unsafe { self.library.take((self.library.done)(self.stream)) }.map(|output| output.stats)
    }
}

impl Drop for InsertStream<'_> {
    fn drop(&mut self) {
        // SAFETY: required once for every stream; cancels it first if it was not finished.
        unsafe { (self.library.destroy_insert)(self.stream) };
    }
}

/// Ends the process at once, without the global destructors that abort while engine threads still run.
pub(crate) fn exit_now(status: i32) -> ! {
    unsafe extern "C" {
        fn _exit(status: c_int) -> !;
    }
    // SAFETY: the POSIX function; it never returns and touches no memory of ours.
    unsafe { _exit(status) }
}
