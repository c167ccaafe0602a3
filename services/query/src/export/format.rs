//! Rows as bytes of a file.

mod arrow;

use std::{fmt::Write, ops::Range};

use api::v1;
use formula::Column;
use model::Error;
use storage::warehouse::{Cell, RowBlock};

/// Rows that are written at once have about so many bytes at most, if they are more than one.
const CHUNK_BYTES: usize = 512 << 10;

/// What the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The IPC stream: a schema, record batches, an end.
    Arrow,
    /// RFC 4180, with a line of names.
    Csv,
    /// An object a line.
    Ndjson,
}

impl Format {
    pub(super) fn from_wire(number: i32) -> Result<Self, Error> {
        match v1::ExportFormat::try_from(number) {
            Ok(v1::ExportFormat::Arrow | v1::ExportFormat::Unspecified) => Ok(Self::Arrow),
            Ok(v1::ExportFormat::Csv) => Ok(Self::Csv),
            Ok(v1::ExportFormat::Ndjson) => Ok(Self::Ndjson),
            Err(_) => {
                let description = "must be EXPORT_FORMAT_ARROW, EXPORT_FORMAT_CSV or EXPORT_FORMAT_NDJSON";
                Err(Error::invalid("format", "MALFORMED", description))
            }
        }
    }

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Ndjson => "application/x-ndjson",
        }
    }
}

/// Writes the rows of some columns.
#[derive(Debug)]
pub struct Writer {
    format: Format,
    columns: Vec<Column>,
}

impl Writer {
    /// One that writes these columns.
    pub const fn new(format: Format, columns: Vec<Column>) -> Self {
        Self { format, columns }
    }

    /// What stands before all rows.
    pub fn head(&self) -> Vec<u8> {
        match self.format {
            Format::Arrow => arrow::schema(&self.columns),
            Format::Csv => {
                let mut line = String::new();
                for (i, column) in self.columns.iter().enumerate() {
                    line.push_str(if i > 0 { "," } else { "" });
                    quoted(&mut line, &column.name);
                }
                line.push_str("\r\n");
                line.into_bytes()
            }
            Format::Ndjson => Vec::new(),
        }
    }

    /// What stands behind them.
    pub fn tail(&self) -> Vec<u8> {
        if self.format == Format::Arrow { arrow::END.to_vec() } else { Vec::new() }
    }

    /// As many rows of the block, from `from` on, as are written at once.
    pub(super) fn some(&self, block: &RowBlock, from: usize) -> Range<usize> {
        let mut bytes = 0;
        let size = |row: usize| block.columns.iter().map(|column| size(&column.cells[row])).sum::<usize>();
        let fits = |row: &usize| {
            bytes += size(*row);
            *row == from || bytes <= CHUNK_BYTES
        };
        from..from + (from..block.rows).take_while(fits).count()
    }

    /// These rows of the block, of its first columns.
    pub fn rows(&self, block: &RowBlock, rows: Range<usize>) -> Vec<u8> {
        let cells: Vec<_> = block.columns.iter().map(|column| &column.cells[rows.clone()]).collect();
        match self.format {
            Format::Arrow => arrow::batch(&self.columns, &cells, rows.len()),
            Format::Csv => self.lines(&cells, rows.len(), csv_line),
            Format::Ndjson => self.lines(&cells, rows.len(), json_line),
        }
    }

    fn lines(&self, cells: &[&[Cell]], rows: usize, line: fn(&mut String, &[Column], &[&[Cell]], usize)) -> Vec<u8> {
        let mut text = String::new();
        (0..rows).for_each(|row| line(&mut text, &self.columns, cells, row));
        text.into_bytes()
    }
}

fn size(cell: &Cell) -> usize {
    match cell {
        Cell::String(text) => text.len() + 8,
        _ => 16,
    }
}

fn csv_line(text: &mut String, columns: &[Column], cells: &[&[Cell]], row: usize) {
    for (i, (_, cells)) in columns.iter().zip(cells).enumerate() {
        text.push_str(if i > 0 { "," } else { "" });
        match &cells[row] {
            Cell::Null => {}
            Cell::String(value) => quoted(text, value),
            Cell::Time(ms) => text.push_str(&instant(*ms)),
            cell => plain(text, cell),
        }
    }
    text.push_str("\r\n");
}

/// Quoted where it must be, and where it would else be taken for NULL.
fn quoted(text: &mut String, value: &str) {
    if !value.is_empty() && !value.contains(['"', ',', '\r', '\n']) && value.trim() == value {
        text.push_str(value);
        return;
    }
    text.push('"');
    text.push_str(&value.replace('"', "\"\""));
    text.push('"');
}

fn json_line(text: &mut String, columns: &[Column], cells: &[&[Cell]], row: usize) {
    let string = |text: &mut String, value: &str| text.push_str(&serde_json::Value::from(value).to_string());
    for (i, (column, cells)) in columns.iter().zip(cells).enumerate() {
        text.push(if i > 0 { ',' } else { '{' });
        string(text, &column.name);
        text.push(':');
        match &cells[row] {
            Cell::Null => text.push_str("null"),
            Cell::String(value) => string(text, value),
            Cell::Time(ms) => string(text, &instant(*ms)),
            cell => plain(text, cell),
        }
    }
    text.push_str("}\n");
}

/// Numbers as the shortest text that reads as the same.
fn plain(text: &mut String, cell: &Cell) {
    let _ = match cell {
        Cell::Number(x) => write!(text, "{x:?}"),
        Cell::Integer(i) => write!(text, "{i}"),
        Cell::Bool(b) => write!(text, "{b}"),
        Cell::Null | Cell::String(_) | Cell::Time(_) => Ok(()),
    }; // a String takes all
}

/// RFC 3339, in UTC, to the millisecond.
fn instant(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use formula::{Accuracy, ColumnKind};
    use storage::warehouse::ResultColumn;

    use super::*;

    fn column(name: &str, kind: ColumnKind) -> Column {
        Column { name: name.to_owned(), kind, accuracy: Accuracy::Exact, unit: String::new() }
    }

    fn written(format: Format) -> String {
        let columns = [
            (
                column("a \"name\"", ColumnKind::String),
                vec![Cell::String("x,\"y\"\nz".into()), Cell::String(String::new())],
            ),
            (column("t", ColumnKind::Time), vec![Cell::Time(1_769_900_400_000), Cell::Null]),
            (column("n", ColumnKind::Number), vec![Cell::Number(1e21), Cell::Number(-0.5)]),
            (column("i", ColumnKind::Integer), vec![Cell::Integer(i64::MIN), Cell::Null]),
            (column("b", ColumnKind::Bool), vec![Cell::Bool(true), Cell::Bool(false)]),
        ];
        let (names, columns): (Vec<_>, Vec<_>) =
            columns.into_iter().map(|(column, cells)| (column, ResultColumn { name: String::new(), cells })).unzip();
        let (writer, block) = (Writer::new(format, names), RowBlock { rows: 2, columns });
        assert_eq!((writer.some(&block, 0), writer.some(&block, 1)), (0..2, 1..2));
        String::from_utf8([writer.head(), writer.rows(&block, 0..2), writer.tail()].concat()).unwrap()
    }

    #[test]
    fn csv_is_rfc_4180_and_tells_null_from_empty() {
        let expect = "\"a \"\"name\"\"\",t,n,i,b\r\n\
            \"x,\"\"y\"\"\nz\",2026-01-31T23:00:00.000Z,1e21,-9223372036854775808,true\r\n\
            \"\",,-0.5,,false\r\n";
        assert_eq!(written(Format::Csv), expect);
    }

    #[test]
    fn ndjson_is_an_object_a_line() {
        let expect = r#"{"a \"name\"":"x,\"y\"\nz","t":"2026-01-31T23:00:00.000Z","n":1e21,"i":-9223372036854775808,"b":true}
{"a \"name\"":"","t":null,"n":-0.5,"i":null,"b":false}
"#;
        assert_eq!(written(Format::Ndjson), expect);
    }

    #[test]
    fn large_rows_are_written_one_by_one() {
        let cells = vec![Cell::String("x".repeat(CHUNK_BYTES)); 3];
        let block = RowBlock { rows: 3, columns: vec![ResultColumn { name: String::new(), cells }] };
        let writer = Writer::new(Format::Csv, vec![column("s", ColumnKind::String)]);
        assert_eq!((writer.some(&block, 0), writer.some(&block, 2)), (0..1, 2..3));
    }
}
