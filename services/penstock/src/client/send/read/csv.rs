//! Events out of CSV: the header names the columns. Those called as an event's fields are the fields, all others properties.

use std::sync::atomic::Ordering;

use ::csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder, Trim};
use api::{convert::time_to_wire, v1};
use model::Error;

use super::{LINE_BYTES, Line, Lines, Metered, Source, types::Kind};
use crate::{cli::SendArguments, client::ClientError};

/// By so many records it is decided what a column holds.
const SAMPLE: usize = 1_000;
const FIELDS: [&str; 5] = ["event_id", "event_type", "user_id", "timestamp", "app_id"];

/// What a column is for.
enum Column {
    /// The field at this place of [`FIELDS`].
    Field(usize),
    Property(String, Kind),
}

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
    let columns = columns(&header, &sample, &source.arguments)?;
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
        ErrorKind::UnequalLengths { pos, expected_len, len } => ClientError::BadFile {
            line: pos.as_ref().map_or(line, ::csv::Position::line),
            why: format!("has {len} cells, the header has {expected_len}; a cell with a comma stands in quotes"),
        },
        ErrorKind::Io(error) => ClientError::BadFile { line, why: error.to_string() },
        _ => ClientError::BadFile { line, why: error.to_string() },
    }
}

fn columns(header: &ByteRecord, sample: &[ByteRecord], arguments: &SendArguments) -> Result<Vec<Column>, ClientError> {
    let names: Vec<_> = header.iter().map(|name| String::from_utf8_lossy(name.trim_ascii()).into_owned()).collect();
    let said = arguments.columns.iter().map(|(field, column)| (field, column, FIELDS.contains(&field.as_str())));
    for (field, column, is_field) in said.chain(arguments.types.iter().map(|(column, kind)| (kind, column, true))) {
        let why = match names.contains(column) {
            false => format!("has no column {column:?}; its columns are {}", names.join(", ")),
            true if !is_field => {
                format!("can't be read: {field:?} is not a field; the fields are {}", FIELDS.join(", "))
            }
            true => continue,
        };
        return Err(ClientError::BadFile { line: 1, why });
    }
    let column = |(place, name): (usize, &String)| {
        let mapped = arguments.columns.iter().find(|(_, column)| column == name).map(|(field, _)| field);
        let is_taken = || arguments.columns.iter().any(|(field, _)| field == name);
        let field = mapped.or_else(|| Some(name).filter(|_| !is_taken()));
        if let Some(field) = field.and_then(|field| FIELDS.iter().position(|f| f == field)) {
            return Ok(Column::Field(field));
        }
        let kind = match arguments.types.iter().find(|(column, _)| column == name) {
            Some((_, kind)) => Kind::named(kind).ok_or_else(|| ClientError::BadFile {
                line: 1,
                why: format!("can't be read: {kind:?} is not a type; write --type {name}=number, string, bool or time"),
            })?,
            None => Kind::of(sample.iter().filter_map(|record| record.get(place)).filter(|cell| !cell.is_empty())),
        };
        Ok(Column::Property(name.clone(), kind))
    };
    let columns: Vec<_> = names.iter().enumerate().map(column).collect::<Result<_, ClientError>>()?;
    let has_type = columns.iter().any(|column| matches!(column, Column::Field(1)));
    if !has_type && arguments.event_type.is_none() {
        let why = "has no column event_type: give --event-type NAME, or --column event_type=COLUMN".to_owned();
        return Err(ClientError::BadFile { line: 1, why });
    }
    Ok(columns)
}

fn event(record: &ByteRecord, columns: &[Column], arguments: &SendArguments) -> Result<v1::Event, Error> {
    let mut event = v1::Event { event_type: arguments.event_type.clone().unwrap_or_default(), ..v1::Event::default() };
    for (cell, column) in record.iter().zip(columns).filter(|(cell, _)| !cell.is_empty()) {
        let name = match column {
            Column::Field(field) => FIELDS[*field],
            Column::Property(name, _) => name,
        };
        let text = str::from_utf8(cell)
            .map_err(|e| Error::invalid(name, "MALFORMED", format!("is not UTF-8 at byte {}", e.valid_up_to())))?;
        match column {
            Column::Field(0) => text.clone_into(&mut event.event_id),
            Column::Field(1) => text.clone_into(&mut event.event_type),
            Column::Field(2) => text.clone_into(&mut event.user_id),
            Column::Field(3) => event.timestamp = Some(time_to_wire(Kind::instant(name, text)?)),
            Column::Field(_) => text.clone_into(&mut event.app_id),
            Column::Property(name, kind) => {
                event.properties.insert(name.clone(), v1::Value { kind: Some(kind.read(name, text)?) });
            }
        }
    }
    Ok(event)
}
