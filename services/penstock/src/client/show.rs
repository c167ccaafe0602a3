//! The one way to write what a command says: columns for people, JSON for programs, and colours on terminals that want them.

mod progress;
mod table;

use std::io::{self, IsTerminal, Stdout, Write};

use mesh::telemetry::wants_colours;
use serde_json::{Value, json};

use progress::FREE_LINE;
pub(crate) use progress::Progress;
pub(super) use table::Table;

use super::{ClientError, Complaint};

/// A column that people see: its name, and what of an object stands in it.
pub(super) type Column = (&'static str, fn(&Value) -> String);

/// Where answers go, and how they are wanted.
pub(crate) struct Show {
    is_json: bool,
    out: Stdout,
}

impl Show {
    pub(crate) fn new(is_json: bool) -> Self {
        Self { is_json, out: io::stdout() }
    }

    pub(super) const fn is_json(&self) -> bool {
        self.is_json
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.out.is_terminal()
    }

    pub(super) fn out(&mut self) -> &mut Stdout {
        &mut self.out
    }

    /// Objects: a line of columns for each, or of JSON.
    pub(super) fn objects(&mut self, objects: &[Value], columns: &[Column]) -> Result<(), ClientError> {
        if self.is_json {
            return objects.iter().try_for_each(|object| self.json(object));
        }
        let cells: Vec<Vec<String>> =
            objects.iter().map(|object| columns.iter().map(|(_, cell)| one_line(&cell(object))).collect()).collect();
        let is_number = |at: usize| !cells.is_empty() && cells.iter().all(|row| row[at].parse::<f64>().is_ok());
        let names = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let mut table = Table::new(names, (0..columns.len()).map(is_number).collect(), self.is_terminal());
        cells.iter().try_for_each(|row| table.row(row.clone(), &mut self.out))?;
        Ok(table.end(&mut self.out)?)
    }

    /// One object: its JSON, or what people read in its place, if anything.
    pub(crate) fn object(&mut self, object: &Value, text: &str) -> Result<(), ClientError> {
        match text {
            _ if self.is_json => self.json(object),
            "" => Ok(()),
            text => Ok(writeln!(self.out, "{text}")?),
        }
    }

    fn json(&mut self, object: &Value) -> Result<(), ClientError> {
        Ok(writeln!(self.out, "{object}")?)
    }
}

/// Says on standard error why a command failed.
pub(crate) fn complain(complaint: &Complaint, is_json: bool) {
    let mut err = io::stderr();
    let text = if is_json {
        json!({ "error": complaint }).to_string()
    } else {
        format!("{}: {complaint}", Colour::Red.paint("penstock", err.is_terminal()))
    };
    let _ = writeln!(err, "{text}"); // there is nowhere else to say it
}

/// Says on standard error what is no part of the answer: to programs as an object, which says by its one name what it is.
pub(super) fn aside(object: &Value, text: &str, is_json: bool) {
    let mut err = io::stderr();
    let said = if is_json { object.to_string() } else { text.to_owned() };
    let free = if err.is_terminal() { FREE_LINE } else { "" }; // of a bar
    let _ = writeln!(err, "{free}{said}"); // there is nowhere else to say it
}

/// A note on an answer, with a word for programs.
pub(super) fn note(code: &str, text: &str, is_json: bool) {
    aside(&json!({"note": {"code": code, "message": text}}), text, is_json);
}

/// What stands out on a terminal.
#[derive(Debug, Clone, Copy)]
pub(super) enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
}

impl Colour {
    /// The text in this colour, where it is wanted.
    pub(super) fn paint(self, text: &str, is_terminal: bool) -> String {
        if wants_colours(is_terminal) { format!("\x1b[{}m{text}\x1b[0m", self as u8) } else { text.to_owned() }
    }
}

/// The text with its control characters spelled out: what others sent forges no line, and tells the terminal nothing.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

/// A field's text; several with commas, none as nothing.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// An enum's word without what the contract puts before it, as `done` of `STATE_DONE`.
pub(super) fn word(value: &Value, prefix: &str) -> String {
    let of = |name: &str| name.trim_start_matches(prefix).to_lowercase();
    text(value).split(',').map(of).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_others_sent_is_obeyed_by_a_terminal() {
        assert_eq!(one_line("M\u{fc}nchen\n\u{1b}[2J"), "M\u{fc}nchen\\n\\u{1b}[2J");
    }

    #[test]
    fn a_field_is_said_in_words() {
        assert_eq!(word(&json!(["PERMISSION_INGEST", "PERMISSION_QUERY"]), "PERMISSION_"), "ingest,query");
        assert_eq!((text(&Value::Null), text(&json!(5))), (String::new(), "5".to_owned()));
    }
}
