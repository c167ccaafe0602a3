//! `penstock sql`: questions in SQL and their answers, one or many, from a terminal or a pipe.
//!
//! [`shell`] reads what is asked; here it is asked, and the answer written as it comes: as a table for people, else by what writes exports.

mod mistake;
mod shell;

use std::{
    io::Write,
    time::{Duration, Instant},
};

use api::{
    convert,
    v1::{
        self, Column, ColumnType, ReadOptions, ResultInfo, Row, SqlStreamRequest,
        query_service_client::QueryServiceClient, result_part::Part, value::Kind,
    },
};
use formula::{Accuracy, ColumnKind};
use query::{Format, Writer};
use serde_json::{Value, json};
use storage::warehouse::{Cell, ResultColumn, RowBlock};

use super::{
    ClientError, Keyed, Show, Target, keyed,
    show::{Table, aside, note},
    watch,
};
use crate::cli::{SqlArguments, SqlFormat};

/// Asks what the arguments say, or all that standard input says.
pub(super) async fn sql(target: &Target, mut arguments: SqlArguments, show: &mut Show) -> Result<(), ClientError> {
    let statement = arguments.sql.take();
    let client = QueryServiceClient::new(keyed(target).await?).max_decoding_message_size(usize::MAX);
    let format = arguments.format.unwrap_or_else(|| usual(show));
    let (is_json, is_terminal) = (show.is_json(), show.is_terminal());
    let mut session = Session { client, arguments, format, is_json, is_terminal, is_timed: false };
    let out = show.out();
    match statement {
        Some(sql) => session.ask(sql.trim_end_matches([';', ' ', '\n']), out).await.map(drop),
        None => shell::run(session, out).await,
    }
}

/// How answers are written where nobody said it.
fn usual(show: &Show) -> SqlFormat {
    if show.is_json() { SqlFormat::Json } else { SqlFormat::Table }
}

/// The refusal with its fault underlined in the text, if it has a place there.
pub(super) fn underlined(text: &str, error: ClientError) -> ClientError {
    match error {
        ClientError::Refused(status) => mistake::of(text, *status),
        other => other,
    }
}

/// Writes an answer that is whole.
pub(super) fn whole(result: v1::Result, show: &mut Show) -> Result<(), ClientError> {
    let mut answer = Answer::begin(usual(show), result.columns, show.is_terminal(), show.out())?;
    answer.rows(result.rows, show.out())?;
    if result.info.is_some_and(|info| info.truncated) {
        note("CUT_OFF", "there are more rows: these are cut off; ask for less, or with a limit", show.is_json());
    }
    answer.end(show.out())
}

/// Who asks, and how the answers are wanted.
struct Session {
    client: QueryServiceClient<Keyed>,
    arguments: SqlArguments,
    format: SqlFormat,
    /// Whether what is said beside answers is for programs.
    is_json: bool,
    /// Whether a person reads along.
    is_terminal: bool,
    is_timed: bool,
}

impl Session {
    /// Asks, and writes the answer as it comes. Dropped, it is cancelled.
    async fn ask(&mut self, sql: &str, out: &mut impl Write) -> Result<(), ClientError> {
        let request =
            SqlStreamRequest { sql: sql.to_owned(), app_id: self.arguments.app.clone(), options: Some(self.options()) };
        let begun = Instant::now();
        let mut parts = self.client.sql_stream(request).await.map_err(|status| mistake::of(sql, status))?.into_inner();
        let mut answer = None;
        let (mut rows, mut end) = (0, None);
        while let Some(message) = parts.message().await.map_err(|status| mistake::of(sql, status))? {
            match message.part.and_then(|part| part.part) {
                Some(Part::Header(header)) => {
                    answer = Some(Answer::begin(self.format, header.columns, self.is_terminal, out)?);
                }
                Some(Part::Rows(batch)) => {
                    rows += batch.rows.len();
                    if let Some(answer) = &mut answer {
                        answer.rows(batch.rows, out)?;
                    }
                }
                Some(Part::End(info)) => end = Some(info),
                None => {}
            }
        }
        let (Some(answer), Some(end)) = (answer, end) else {
            return Err(ClientError::NotWhole);
        };
        answer.end(out)?;
        if self.format == SqlFormat::Table {
            let more = if end.truncated { format!(", and more {LEFT_OUT}") } else { String::new() };
            writeln!(out, "({rows} {}{more})", if rows == 1 { "row" } else { "rows" })?;
        } else if end.truncated {
            note("CUT_OFF", &format!("there are more rows {LEFT_OUT}"), self.is_json);
        }
        if self.is_timed {
            let (object, text) = cost(begun.elapsed(), &end);
            aside(&json!({ "timing": object }), &text, self.is_json);
        }
        Ok(out.flush()?)
    }

    fn options(&self) -> ReadOptions {
        ReadOptions { time_zone: self.arguments.time_zone.clone(), ..ReadOptions::default() }
    }
}

const LEFT_OUT: &str = "that were left out: the limit of rows was reached; say LIMIT, or use penstock export";

/// What an answer took: for programs, and for people.
fn cost(elapsed: Duration, info: &ResultInfo) -> (Value, String) {
    let cost = info.cost.unwrap_or_default();
    let route = info.route().as_str_name().trim_start_matches("ROUTE_").to_lowercase();
    let (ms, served) = (elapsed.as_secs_f64() * 1e3, cost.elapsed_us as f64 / 1e3);
    let (rows, bytes) = (cost.read_rows, cost.read_bytes);
    let text =
        format!("Time: {ms:.1} ms, {served:.1} of them in the service; {rows} rows read, {bytes} bytes; route {route}");
    let object = json!({"elapsed_ms": ms, "served_ms": served, "read_rows": rows, "read_bytes": bytes, "route": route});
    (object, text)
}

/// An answer on its way out.
enum Answer {
    Table(Table),
    File { writer: Writer, kinds: usize },
}

impl Answer {
    fn begin(
        format: SqlFormat,
        columns: Vec<Column>,
        is_terminal: bool,
        out: &mut impl Write,
    ) -> Result<Self, ClientError> {
        let format = match format {
            SqlFormat::Table => return Ok(Self::Table(table(&columns, is_terminal))),
            SqlFormat::Csv => Format::Csv,
            SqlFormat::Json => Format::Ndjson,
            SqlFormat::Arrow => Format::Arrow,
        };
        let kinds = columns.len();
        let writer = Writer::new(format, columns.into_iter().map(column).collect());
        out.write_all(&writer.head())?;
        Ok(Self::File { writer, kinds })
    }

    fn rows(&mut self, rows: Vec<Row>, out: &mut impl Write) -> Result<(), ClientError> {
        match self {
            Self::Table(table) => {
                for row in rows {
                    table.row(row.values.iter().map(watch::text).collect(), out)?;
                }
            }
            Self::File { writer, kinds } => {
                let block = block(*kinds, rows);
                out.write_all(&writer.rows(&block, 0..block.rows))?;
            }
        }
        Ok(())
    }

    fn end(self, out: &mut impl Write) -> Result<(), ClientError> {
        match self {
            Self::Table(table) => table.end(out)?,
            Self::File { writer, .. } => out.write_all(&writer.tail())?,
        }
        Ok(())
    }
}

fn table(columns: &[Column], is_terminal: bool) -> Table {
    let name = |column: &Column| match column.unit.as_str() {
        "" => column.name.clone(),
        unit => format!("{} [{unit}]", column.name),
    };
    let is_number = |column: &Column| matches!(column.r#type(), ColumnType::Number | ColumnType::Integer);
    Table::new(columns.iter().map(name).collect(), columns.iter().map(is_number).collect(), is_terminal)
}

fn column(column: Column) -> formula::Column {
    let kind = match column.r#type() {
        ColumnType::Number => ColumnKind::Number,
        ColumnType::Integer => ColumnKind::Integer,
        ColumnType::Bool => ColumnKind::Bool,
        ColumnType::Time => ColumnKind::Time,
        ColumnType::String | ColumnType::Unspecified => ColumnKind::String,
    };
    formula::Column { name: column.name, kind, accuracy: Accuracy::Exact, unit: column.unit }
}

fn block(columns: usize, rows: Vec<Row>) -> RowBlock {
    let count = rows.len();
    let mut cells: Vec<Vec<Cell>> = (0..columns).map(|_| Vec::with_capacity(count)).collect();
    for row in rows {
        let values = row.values.into_iter().map(cell).chain(std::iter::repeat(Cell::Null));
        cells.iter_mut().zip(values).for_each(|(cells, cell)| cells.push(cell));
    }
    let columns = cells.into_iter().map(|cells| ResultColumn { name: String::new(), cells }).collect();
    RowBlock { rows: count, columns }
}

fn cell(value: v1::Value) -> Cell {
    match value.kind {
        None | Some(Kind::Null(_)) => Cell::Null,
        Some(Kind::Number(x)) => Cell::Number(x),
        Some(Kind::Integer(i)) => Cell::Integer(i),
        Some(Kind::String(text)) => Cell::String(text),
        Some(Kind::Bool(b)) => Cell::Bool(b),
        Some(Kind::Time(time)) => convert::instant(&time).map_or(Cell::Null, Cell::Time),
    }
}
