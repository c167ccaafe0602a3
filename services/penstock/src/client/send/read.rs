//! Events out of lines.

mod columns;
mod csv;
mod parquet;
mod types;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use api::v1;
use model::Error;
use tokio::sync::mpsc;
use xxhash_rust::xxh3::Xxh3;

use super::ClientError;
use crate::cli::{Input, SendArguments};

/// What a line, or a record of CSV, may have at most.
const LINE_BYTES: u64 = 512 << 10;

/// What a line says.
pub(in crate::client) enum Line {
    /// An event, with an id.
    Event { number: u64, event: v1::Event },
    /// Something else.
    None { number: u64, text: String, error: Error },
}

type Lines = mpsc::Sender<Result<Line, ClientError>>;

/// How many bytes have been read, for whoever wants to know.
#[derive(Debug, Clone, Default)]
pub(super) struct Count(Arc<AtomicU64>);

impl Count {
    pub(super) fn so_far(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Where the events come from.
pub(super) struct Source {
    input: Metered,
    /// The file's size in bytes; none of standard input.
    pub(super) size: Option<u64>,
    pub(super) read: Count,
    arguments: SendArguments,
    format: Input,
    ids: Ids,
}

impl Source {
    pub(super) fn open(arguments: &SendArguments) -> Result<Self, ClientError> {
        let path = arguments.file.as_deref().filter(|path| *path != Path::new("-"));
        let (input, size): (Box<dyn Read + Send>, _) = match path {
            None => (Box::new(io::stdin()), None),
            Some(path) => {
                let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
                let (size, file) = opened.map_err(|source| ClientError::NoFile { path: path.to_owned(), source })?;
                (Box::new(file), Some(size))
            }
        };
        let extension = path.and_then(Path::extension);
        let by_name = match extension {
            Some(e) if e.eq_ignore_ascii_case("csv") => Input::Csv,
            Some(e) if e.eq_ignore_ascii_case("parquet") => Input::Parquet,
            _ => Input::Ndjson,
        };
        let format = arguments.format.unwrap_or(by_name);
        if matches!(format, Input::Parquet) && path.is_none() {
            let what = "Parquet is read from its end, and so from a file: penstock send FILE.parquet";
            return Err(ClientError::Mistake(what.to_owned()));
        }
        let read = Count::default();
        // What comes by standard input a second time is new; a file is the same file.
        let mut ids = Ids(Xxh3::with_seed(if path.is_some() { 0 } else { rand::random() }));
        if let Some(name) = path.and_then(Path::file_name) {
            ids.take(name.as_encoded_bytes());
        }
        Ok(Self {
            input: Metered { input, read: read.clone(), allowed: Count::default() },
            size,
            read,
            arguments: arguments.clone(),
            format,
            ids,
        })
    }

    /// What its events are counted by.
    pub(super) fn counted(&self) -> &'static str {
        if matches!(self.format, Input::Parquet) { "row" } else { "line" }
    }

    /// Reads until the end, or until nobody listens.
    pub(super) fn lines(self, lines: &Lines) {
        let sent = match self.format {
            Input::Csv => csv::lines(self, lines),
            Input::Ndjson => ndjson(self, lines),
            Input::Parquet => {
                let path = self.arguments.file.clone().unwrap_or_default();
                parquet::lines(self, &path, lines)
            }
        };
        if let Err(error) = sent {
            let _ = lines.blocking_send(Err(error)); // nobody listens any more
        }
    }
}

fn ndjson(mut source: Source, lines: &Lines) -> Result<(), ClientError> {
    let allowed = source.input.allowed.clone();
    let mut input = BufReader::new(source.input);
    let mut text = Vec::new();
    for number in 1.. {
        text.clear();
        allowed.0.store(source.read.so_far() + LINE_BYTES, Ordering::Relaxed);
        let read = input.read_until(b'\n', &mut text);
        if read.map_err(|error| ClientError::bad_line(number, error.to_string()))? == 0 {
            break;
        }
        source.ids.take(&text);
        let text = text.trim_ascii();
        if text.is_empty() {
            continue;
        }
        let line = match event(text, &source.arguments) {
            Ok(mut event) => {
                source.ids.give(&mut event);
                Line::Event { number, event }
            }
            Err(error) => Line::None { number, text: String::from_utf8_lossy(text).into_owned(), error },
        };
        if lines.blocking_send(Ok(line)).is_err() {
            break;
        }
    }
    Ok(())
}

/// An event as `POST /v1/events` takes it, maybe with the `rejected` that an earlier sending wrote beside it.
fn event(text: &[u8], arguments: &SendArguments) -> Result<v1::Event, Error> {
    let malformed = |what: String| Error::invalid("events[0]", "MALFORMED", what);
    let text = str::from_utf8(text).map_err(|e| malformed(format!("is not UTF-8 at byte {}", e.valid_up_to())))?;
    if arguments.event_type.is_none() && !text.contains("\"rejected\"") {
        return ingest::event_from_json(0, text);
    }
    let mut map: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|e| malformed(format!("is not a JSON object: {e}")))?;
    map.remove("rejected");
    if let Some(name) = &arguments.event_type {
        map.entry("event_type").or_insert_with(|| name.as_str().into());
    }
    ingest::event_from_json(0, &serde_json::Value::Object(map).to_string())
}

/// Ids of events that have none: of the file's name and all that stands in it up to there. So a file that is sent again, or has grown, counts once, and
/// two files that begin alike count both.
struct Ids(Xxh3);

impl Ids {
    fn take(&mut self, text: &[u8]) {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text);
    }

    fn give(&self, event: &mut v1::Event) {
        if event.event_id.is_empty() {
            event.event_id = format!("{:032x}", self.0.digest128());
        }
    }
}

/// Counts what is read, and reads no further than is allowed: a quote that isn't closed, or no line ends at all, would fill the memory.
struct Metered {
    input: Box<dyn Read + Send>,
    read: Count,
    allowed: Count,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read.so_far() > self.allowed.so_far() {
            let what = format!("has more than {} KiB; is a quote not closed?", LINE_BYTES >> 10);
            return Err(io::Error::other(what));
        }
        let read = self.input.read(buffer)?;
        self.read.0.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
