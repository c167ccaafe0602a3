//! Events out of CSV: the header names the columns. Those called as an event's fields are the fields, all others properties.

use std::sync::atomic::Ordering;

use ::csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder, Trim};
use api::v1;
use model::Error;

use super::{
    LINE_BYTES, Line, Lines, Metered, Source,
    columns::{self, Column},
    types::Kind,
};
use crate::{cli::SendArguments, client::ClientError};

/// By so many records it is decided what a column holds.
const SAMPLE: usize = 1_000;

pub(super) fn lines(mut source: Source, lines: &Lines) -> Result<(), ClientError> {
    let (allowed, read) = (source.input.allowed.clone(), source.read.clone());
    let more = || allowed.0.store(read.so_far() + LINE_BYTES, Ordering::Relaxed);
    more();
    let mut reader = ReaderBuilder::new().has_headers(true).trim(Trim::Headers).from_reader(source.input);
    let header = reader.byte_headers().map_err(|error| bad(&error, 1))?.clone();
    source.ids.take(header.as_slice());
    let mut sample = Vec::new();
    while sample.len() < SAMPLE {
        more();
        match next(&mut reader)? {
            Some(record) => sample.push(record),
            None => break,
        }
    }
    let names: Vec<_> = header.iter().map(|name| String::from_utf8_lossy(name.trim_ascii()).into_owned()).collect();
    let cells = |place| sample.iter().filter_map(move |record| record.get(place)).filter(|cell| !cell.is_empty());
    let columns = columns::of(&names, &source.arguments, |place| Kind::of(cells(place)));
    let columns = columns.map_err(|why| ClientError::bad_line(1, why))?;
    let mut sample = sample.into_iter();
    loop {
        more();
        let record = match sample.next() {
            Some(record) => record,
            None => match next(&mut reader)? {
                Some(record) => record,
                None => return Ok(()),
            },
        };
        let number = record.position().map_or(0, ::csv::Position::line);
        record.iter().for_each(|cell| source.ids.take(cell));
        let line = match event(&record, &columns, &source.arguments) {
            Ok(mut event) => {
                source.ids.give(&mut event);
                Line::Event { number, event }
            }
            Err(error) => {
                let cells: Vec<_> = record.iter().map(String::from_utf8_lossy).collect();
                Line::None { number, text: cells.join(","), error }
            }
        };
        if lines.blocking_send(Ok(line)).is_err() {
            return Ok(());
        }
    }
}

fn next(reader: &mut Reader<Metered>) -> Result<Option<ByteRecord>, ClientError> {
    let mut record = ByteRecord::new();
    let line = reader.position().line();
    Ok(reader.read_byte_record(&mut record).map_err(|error| bad(&error, line))?.then_some(record))
}

fn bad(error: &::csv::Error, line: u64) -> ClientError {
    match error.kind() {
        ErrorKind::UnequalLengths { pos, expected_len, len } => ClientError::bad_line(
            pos.as_ref().map_or(line, ::csv::Position::line),
            format!("has {len} cells, the header has {expected_len}; a cell with a comma stands in quotes"),
        ),
        ErrorKind::Io(error) => ClientError::bad_line(line, error.to_string()),
        _ => ClientError::bad_line(line, error.to_string()),
    }
}

fn event(record: &ByteRecord, columns: &[Column], arguments: &SendArguments) -> Result<v1::Event, Error> {
    let mut event = v1::Event { event_type: arguments.event_type.clone().unwrap_or_default(), ..v1::Event::default() };
    for (cell, column) in record.iter().zip(columns).filter(|(cell, _)| !cell.is_empty()) {
        let text = str::from_utf8(cell).map_err(|e| {
            Error::invalid(column.name(), "MALFORMED", format!("is not UTF-8 at byte {}", e.valid_up_to()))
        })?;
        column.put(text, &mut event)?;
    }
    Ok(event)
}
