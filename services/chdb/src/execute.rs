//! Runs one request's statement, from its first byte to its last, on a blocking thread of its own.

use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use rustix::pipe::PipeFlags;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::block::BlockReader;
use crate::body::{BodyReader, body_error};
use crate::engine::{Engine, escape};
use crate::error::QueryError;
use crate::ffi::{Connection, Stats};
use crate::guard::check_setting;
use crate::multipart;
use crate::query_log::Entry;
use crate::request::QueryRequest;
use crate::session::Lease;
use crate::statement::Statement;

/// The format of results where neither statement nor request names one.
const DEFAULT_FORMAT: &str = "TabSeparated";
const PIPE_BYTES: usize = 1 << 20;
const APPEND_BYTES: usize = 1 << 20;

/// Everything a statement needs to run.
pub(crate) struct Job {
    pub(crate) engine: Arc<Engine>,
    pub(crate) request: QueryRequest,
    pub(crate) body: BodyReader,
    pub(crate) session: Option<Lease>,
    pub(crate) max_statement_bytes: usize,
    /// Told once if the result is streamed.
    pub(crate) started: oneshot::Sender<Started>,
}

/// A result that has begun to flow out of `pipe`; the pipe ends with the query.
pub(crate) struct Started {
    pub(crate) pipe: OwnedFd,
    pub(crate) format: String,
}

/// How a statement ended well.
pub(crate) struct Done {
    pub(crate) stats: Stats,
    /// The result, if it was not streamed.
    pub(crate) body: Vec<u8>,
    pub(crate) format: String,
}

/// A request's decoded body.
type Source = Box<dyn Read + Send>;

impl Job {
    /// Runs the statement and notes what it was and did in `entry`.
    pub(crate) fn run(mut self, entry: &mut Entry) -> Result<Done, QueryError> {
        let body = std::mem::replace(&mut self.body, BodyReader::empty());
        let mut source: Source = self.request.body_encoding.decoder(body).map_err(body_error)?;
        if self.request.native_body {
            source = Box::new(BlockReader::new(source));
        }
        if let Some(boundary) = self.request.boundary.take() {
            let (whole, more) = read_up_to(&mut source, self.max_statement_bytes)?;
            (!more).then_some(()).ok_or_else(|| too_long(self.max_statement_bytes))?;
            self.request.add_fields(multipart::fields(&whole, &boundary)?)?;
            source = Box::new(std::io::empty());
        }
        let text = self.statement_text(&mut source)?;
        entry.set_query(&text.sql);
        let statement = Statement::parse(&text.sql)?;
        entry.kind = statement.kind();
        let done = self.run_statement(statement, text, source, entry)?;
        entry.set_stats(&done.stats);
        Ok(done)
    }

    /// The statement, from the URL, the body or both; of an insert at least its head.
    fn statement_text(&self, source: &mut Source) -> Result<Text, QueryError> {
        let mut sql = self.request.query.clone().unwrap_or_default();
        if let Ok(Statement::Insert { data_start, .. }) = Statement::parse(sql.trim_end()) {
            sql.truncate(sql.trim_end().len());
            if data_start < sql.len() {
                sql.push('\n');
            }
            return Ok(Text { sql, rest: Vec::new() });
        }
        let (bytes, more) = read_up_to(source, self.max_statement_bytes)?;
        if !sql.is_empty() && !bytes.is_empty() {
            sql.push('\n');
        }
        // An insert's data need not be text; only what is before them must be.
        let valid = match std::str::from_utf8(&bytes) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        sql.push_str(std::str::from_utf8(&bytes[..valid]).unwrap_or_default());
        let rest = bytes[valid..].to_vec();
        if (more || !rest.is_empty()) && !matches!(Statement::parse(&sql), Ok(Statement::Insert { .. })) {
            return Err(if more {
                too_long(self.max_statement_bytes)
            } else {
                QueryError::syntax("The statement is not UTF-8.")
            });
        }
        Ok(Text { sql, rest })
    }

    fn run_statement(
        mut self,
        statement: Statement,
        text: Text,
        source: Source,
        entry: &mut Entry,
    ) -> Result<Done, QueryError> {
        let one_block = matches!(statement, Statement::Insert { .. });
        let mut connection = self.engine.connect(&self.request.query_id, one_block)?;
        self.prepare(&mut connection)?;
        if let Statement::Insert { head, format, data_start } = statement {
            entry.set_query(&format!("{head}FORMAT {format}"));
            self.engine.guard.check(&head)?;
            let inline = text.data(data_start);
            return self.insert(&mut connection, &head, &format, inline, source);
        }
        let analysis = connection.classify(&text.sql);
        match analysis.statements {
            1 => {}
            0 => return Err(syntax_error(&mut connection, &text.sql)),
            _ => return Err(QueryError::syntax("Syntax error (Multi-statements are not allowed).")),
        }
        self.engine.guard.check(&text.sql)?;
        if self.request.read_only && !analysis.read_only {
            return Err(QueryError::readonly("Cannot execute query in readonly mode: GET only reads, use POST."));
        }
        let default = self.request.format.as_deref().unwrap_or(DEFAULT_FORMAT).to_owned();
        match statement {
            Statement::Select { body, format, tail } if analysis.read_only => {
                self.select(&mut connection, &body, format.unwrap_or(default), &tail)
            }
            Statement::Kill { text } => self.plain(&mut connection, &text, default),
            Statement::Session { text } => {
                let done = self.plain(&mut connection, &text, default)?;
                if let Some(session) = &mut self.session {
                    session.remember(text)?;
                }
                Ok(done)
            }
            Statement::Other { text, format } => self.plain(&mut connection, &text, format.unwrap_or(default)),
            Statement::Select { format, .. } => self.plain(&mut connection, &text.sql, format.unwrap_or(default)),
            Statement::Insert { .. } => unreachable!("handled above"),
        }
    }

    /// Database, session and settings of the request, on its connection.
    fn prepare(&self, connection: &mut Connection) -> Result<(), QueryError> {
        let mut run = |sql: &str| connection.query(sql, "Null", &[]).map(drop).map_err(|e| QueryError::parse(&e));
        for statement in self.session.iter().flat_map(|s| &s.statements) {
            run(statement)?;
        }
        if let Some(database) = self.request.database.as_deref().filter(|name| !name.is_empty()) {
            run(&format!("USE `{}`", database.replace('\\', "\\\\").replace('`', "\\`")))?;
        }
        if self.request.settings.is_empty() {
            return Ok(());
        }
        // `readonly` last: after it nothing may be set.
        let mut settings: Vec<_> = self.request.settings.iter().collect();
        settings.sort_by_key(|(name, _)| name == "readonly");
        let mut assignments = Vec::with_capacity(settings.len());
        for (name, value) in settings {
            check_setting(name)?;
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(QueryError::unknown_setting(format!("Unknown setting '{name}'.")));
            }
            assignments.push(format!("{name} = '{}'", escape(value)));
        }
        run(&format!("SET {}", assignments.join(", ")))
    }

    /// Streams a SELECT into a pipe: every format comes out byte for byte as the engine writes a file, memory stays
    /// bounded and a slow reader slows the query. If nobody reads, the engine's write fails and the query with it.
    fn select(self, connection: &mut Connection, body: &str, format: String, tail: &str) -> Result<Done, QueryError> {
        check_format(&format)?;
        let failed = |e: rustix::io::Errno| QueryError::internal(format!("Can't make a pipe: {e}."));
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
        // A larger pipe is only faster; the system may refuse it.
        let _ = rustix::pipe::fcntl_setpipe_size(&write, PIPE_BYTES);
        let descriptor = write.as_raw_fd();
        let sql = format!("{body}\nINTO OUTFILE '/proc/self/fd/{descriptor}' APPEND FORMAT {format} {tail}");
        if self.started.send(Started { pipe: read, format: format.clone() }).is_err() {
            return Err(QueryError::shutting_down("The client is gone."));
        }
        let output = connection.query(&sql, &format, &self.request.params).map_err(|e| QueryError::parse(&e))?;
        drop(write);
        Ok(Done { stats: output.stats, body: output.body, format })
    }

    /// Runs a statement whose result is small.
    fn plain(&self, connection: &mut Connection, sql: &str, format: String) -> Result<Done, QueryError> {
        let output = connection.query(sql, &format, &self.request.params).map_err(|e| QueryError::parse(&e))?;
        Ok(Done { stats: output.stats, body: output.body, format })
    }

    /// Feeds the data behind an insert's head to the engine as they arrive. A body that breaks off commits nothing of
    /// the open block.
    fn insert(
        self,
        connection: &mut Connection,
        head: &str,
        format: &str,
        inline: Vec<u8>,
        mut source: Source,
    ) -> Result<Done, QueryError> {
        if self.request.read_only {
            return Err(QueryError::readonly("Cannot execute query in readonly mode: GET only reads, use POST."));
        }
        check_format(format)?;
        let failed = |e: String| QueryError::parse(&e);
        let mut buffer = vec![0; APPEND_BYTES];
        let mut filled = fill(&mut source, &mut buffer)?;
        let small = filled < buffer.len();
        let _turn = small.then(|| Handle::current().block_on(self.engine.insert_turns.take()));
        let mut stream = connection.insert(&format!("{head}\n"), format, &self.request.params).map_err(failed)?;
        stream.append(&inline).map_err(failed)?;
        while filled > 0 {
            stream.append(&buffer[..filled]).map_err(failed)?;
            filled = if filled < buffer.len() { 0 } else { fill(&mut source, &mut buffer)? };
        }
        let stats = stream.finish().map_err(failed)?;
        Ok(Done { stats, body: Vec::new(), format: format.to_owned() })
    }
}

/// A statement's text and what of the body was read behind its valid UTF-8.
struct Text {
    sql: String,
    rest: Vec<u8>,
}

impl Text {
    /// The data of an insert that were read with its head.
    fn data(self, start: usize) -> Vec<u8> {
        let mut data = self.sql.into_bytes().split_off(start);
        data.extend(self.rest);
        data
    }
}

/// What the engine's parser says of a text that does not parse. The text is not run: its first statement might be fine.
fn syntax_error(connection: &mut Connection, sql: &str) -> QueryError {
    let check = format!("SELECT formatQuery('{}')", escape(sql));
    match connection.query(&check, "Null", &[]) {
        Err(message) => {
            let mut error = QueryError::parse(&message);
            if let Some(at) = error.message.find(": In scope SELECT formatQuery(") {
                error.message.truncate(at);
            }
            error
        }
        Ok(_) => QueryError::syntax("Syntax error: this is no statement that can run here."),
    }
}

/// Reads `source` to its end, or to `limit` bytes and whether there is more.
fn read_up_to(source: &mut Source, limit: usize) -> Result<(Vec<u8>, bool), QueryError> {
    let mut bytes = Vec::new();
    source.by_ref().take(limit as u64 + 1).read_to_end(&mut bytes).map_err(body_error)?;
    let more = bytes.len() > limit;
    Ok((bytes, more))
}

/// Fills `buffer` unless `source` ends first.
fn fill(source: &mut Source, buffer: &mut [u8]) -> Result<usize, QueryError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]).map_err(body_error)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// A format's name goes into the statement, so it must be a word.
fn check_format(format: &str) -> Result<(), QueryError> {
    let word = !format.is_empty() && format.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    word.then_some(()).ok_or_else(|| QueryError::unknown_format(format!("Unknown format {format}.")))
}

fn too_long(limit: usize) -> QueryError {
    QueryError::too_large(format!("The statement is longer than {limit} bytes."))
}
