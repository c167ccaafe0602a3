//! Events out of Parquet: a row each, of columns that hold one value and no list, map or struct.

use std::{fs::File, path::Path, sync::atomic::Ordering};

use api::{convert::time_to_wire, v1};
use model::{DAY_MS, Error};
use parquet::{
    basic::{ConvertedType, LogicalType, TimeUnit, Type},
    errors::ParquetError,
    file::reader::{FileReader, SerializedFileReader},
    record::Field,
    schema::types::ColumnDescriptor,
};

use super::{Line, Lines, Source, columns, types::Kind};
use crate::client::ClientError;

pub(super) fn lines(mut source: Source, path: &Path, lines: &Lines) -> Result<(), ClientError> {
    let name = path.file_name().unwrap_or_default().display().to_string();
    let wrong = |why: String| ClientError::BadFile { place: name.clone(), why };
    let unread = |error: &ParquetError| wrong(format!("can't be read as Parquet: {error}"));
    let file = File::open(path).map_err(|source| ClientError::NoFile { path: path.to_owned(), source })?;
    let reader = SerializedFileReader::new(file).map_err(|error| unread(&error))?;
    let about = reader.metadata().file_metadata();
    let (schema, rows) = (about.schema_descr(), about.num_rows().max(1) as u64);
    for field in schema.root_schema().get_fields() {
        let is_one = field.is_primitive()
            && schema.columns().iter().any(|column| {
                column.path().parts().len() == 1
                    && column.name() == field.name()
                    && column.max_rep_level() == 0
                    && kind(column).is_some()
            });
        if !is_one {
            let column = field.name();
            return Err(wrong(format!(
                "has a column {column:?} of a type that no property has: leave it out, or write it as numbers, texts, bools or times"
            )));
        }
    }
    let names: Vec<_> = schema.columns().iter().map(|column| column.name().to_owned()).collect();
    let kinds: Vec<_> = schema.columns().iter().filter_map(|column| kind(column)).collect();
    let units: Vec<_> = schema.columns().iter().map(|column| unit(column)).collect();
    let columns = columns::of(&names, &source.arguments, |place| kinds[place]).map_err(wrong)?;
    let size = source.size.unwrap_or_default();
    for (number, row) in (1u64..).zip(reader.get_row_iter(None).map_err(|error| unread(&error))?) {
        let row =
            row.map_err(|error| ClientError::BadFile { place: format!("row {number}"), why: error.to_string() })?;
        let mut event =
            v1::Event { event_type: source.arguments.event_type.clone().unwrap_or_default(), ..v1::Event::default() };
        let mut put = Ok(());
        for (((_, field), column), unit) in row.get_column_iter().zip(&columns).zip(&units) {
            source.ids.take(field.to_string().as_bytes());
            put = put.and_then(|()| match value(column.name(), field, *unit)? {
                Some(value) => column.put_value(value, &mut event),
                None => Ok(()),
            });
        }
        let line = match put {
            Ok(()) => {
                source.ids.give(&mut event);
                Line::Event { number, event }
            }
            Err(error) => Line::None { number, text: row.to_string(), error },
        };
        if lines.blocking_send(Ok(line)).is_err() {
            break;
        }
        source.read.0.store((u128::from(size) * u128::from(number) / u128::from(rows)) as u64, Ordering::Relaxed);
    }
    Ok(())
}

/// What a column's values are for us; none of what no property can be.
fn kind(column: &ColumnDescriptor) -> Option<Kind> {
    use ConvertedType as C;
    let logical = column.logical_type_ref();
    match (column.physical_type(), column.converted_type()) {
        _ if matches!(logical, Some(LogicalType::Time(_))) => None,
        _ if unit(column).is_some() => Some(Kind::Time),
        (Type::BOOLEAN, _) => Some(Kind::Bool),
        (Type::INT32, C::DATE) | (Type::INT64, C::TIMESTAMP_MILLIS | C::TIMESTAMP_MICROS) | (Type::INT96, _) => {
            Some(Kind::Time)
        }
        (Type::INT32, C::NONE | C::INT_8 | C::INT_16 | C::INT_32 | C::UINT_8 | C::UINT_16 | C::UINT_32)
        | (Type::INT64, C::NONE | C::INT_64 | C::UINT_64)
        | (Type::FLOAT | Type::DOUBLE, _)
        | (Type::INT32 | Type::INT64 | Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY, C::DECIMAL) => Some(Kind::Number),
        (Type::FIXED_LEN_BYTE_ARRAY, C::NONE) if logical == Some(&LogicalType::Float16) => Some(Kind::Number),
        (Type::BYTE_ARRAY, C::UTF8 | C::ENUM | C::JSON | C::NONE) => Some(Kind::String),
        _ => None,
    }
}

/// How many of what a column counts are a second, if it counts from 1970.
fn unit(column: &ColumnDescriptor) -> Option<i64> {
    match column.logical_type_ref() {
        Some(LogicalType::Timestamp(time)) => Some(match time.unit {
            TimeUnit::MILLIS => 1_000,
            TimeUnit::MICROS => 1_000_000,
            TimeUnit::NANOS => 1_000_000_000,
        }),
        _ => None,
    }
}

/// A cell's value; none of none. Times that say no zone are UTC.
fn value(name: &str, field: &Field, unit: Option<i64>) -> Result<Option<v1::value::Kind>, Error> {
    use v1::value::Kind as Wire;
    let time = |ms| Wire::Time(time_to_wire(ms));
    Ok(Some(match field {
        Field::Null => return Ok(None),
        Field::Bool(b) => Wire::Bool(*b),
        Field::Byte(i) => Wire::Integer((*i).into()),
        Field::Short(i) => Wire::Integer((*i).into()),
        Field::Int(i) => Wire::Integer((*i).into()),
        Field::Long(i) => match unit {
            Some(unit) => time(i.div_euclid(unit / 1_000)),
            None => Wire::Integer(*i),
        },
        Field::UByte(i) => Wire::Integer((*i).into()),
        Field::UShort(i) => Wire::Integer((*i).into()),
        Field::UInt(i) => Wire::Integer((*i).into()),
        Field::ULong(i) => i64::try_from(*i).map_or_else(|_| Wire::String(i.to_string()), Wire::Integer),
        Field::Float16(x) => Wire::Number(x.to_f64()),
        Field::Float(x) => Wire::Number((*x).into()),
        Field::Double(x) => Wire::Number(*x),
        Field::Str(text) => Wire::String(text.clone()),
        Field::Bytes(bytes) => match str::from_utf8(bytes.data()) {
            Ok(text) => Wire::String(text.to_owned()),
            Err(e) => {
                return Err(Error::invalid(name, "MALFORMED", format!("is not UTF-8 at byte {}", e.valid_up_to())));
            }
        },
        Field::Date(days) => time(i64::from(*days) * DAY_MS),
        Field::TimestampMillis(ms) => time(*ms),
        Field::TimestampMicros(us) => time(us.div_euclid(1_000)),
        // Decimals, as they are written; nothing else was let in.
        other => Wire::String(other.to_string()),
    }))
}
