//! What became of the events.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    time::Instant,
};

use api::{
    convert,
    v1::{self, value::Kind},
};
use serde_json::{Map, Value, json};

use super::{ClientError, Show};
use crate::client::show::{aside, note};

/// Refusals that are said to people; more of them go into a file or are counted. Programs hear of each.
const MOST_SAID: u64 = 20;

/// Counts, and where refusals go.
pub(in crate::client) struct Verdicts {
    accepted: u64,
    refused: BTreeMap<String, u64>,
    /// The last that was given; it covers all before it.
    pub(super) position_token: String,
    file: Option<BufWriter<File>>,
    /// What is counted where events come from: lines, or rows.
    counted: &'static str,
    is_json: bool,
    begun: Instant,
}

impl Verdicts {
    pub(in crate::client) fn new(file: Option<&Path>, counted: &'static str, show: &Show) -> io::Result<Self> {
        let file = file.map(File::create).transpose()?.map(BufWriter::new);
        Ok(Self {
            accepted: 0,
            refused: BTreeMap::new(),
            position_token: String::new(),
            file,
            counted,
            is_json: show.is_json(),
            begun: Instant::now(),
        })
    }

    pub(super) fn accepted(&mut self, count: u64, position_token: String) {
        self.accepted += count;
        self.position_token = position_token;
    }

    /// Notes a refused line: its event, or the text that is none.
    pub(super) fn refused(
        &mut self,
        line: u64,
        code: &str,
        field: &str,
        message: &str,
        what: Result<&v1::Event, &str>,
    ) -> io::Result<()> {
        let count: u64 = self.refused.values().sum();
        *self.refused.entry(code.to_owned()).or_default() += 1;
        let why = json!({(self.counted): line, "code": code, "field": field, "message": message});
        match &mut self.file {
            Some(file) => {
                let mut event = match what {
                    Ok(event) => json_of(event),
                    Err(text) => Map::from_iter([("text".to_owned(), text.into())]),
                };
                event.insert("rejected".to_owned(), why);
                writeln!(file, "{}", Value::from(event))
            }
            None if count < MOST_SAID || self.is_json => {
                let place = if field.is_empty() { String::new() } else { format!("{field}: ") };
                let text = format!("{} {line}: {code}: {place}{message}", self.counted);
                aside(&json!({ "rejected": why }), &text, self.is_json);
                Ok(())
            }
            None if count == MOST_SAID => {
                let text = "more are refused; --rejected FILE keeps all of them, to be mended and sent again";
                note("MORE_REFUSED", text, false);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// How many lines have their verdict.
    pub(super) fn answered(&self) -> u64 {
        self.accepted + self.refused.values().sum::<u64>()
    }

    /// Says it all.
    pub(in crate::client) fn finish(mut self, show: &mut Show) -> Result<(), ClientError> {
        if let Some(file) = &mut self.file {
            file.flush()?;
        }
        let seconds = self.begun.elapsed().as_secs_f64();
        let said = json!({"accepted": self.accepted, "refused": self.refused, "seconds": seconds, "position_token": self.position_token});
        let rate = self.answered() as f64 / seconds.max(0.001);
        show.object(&said, &format!("{self} in {seconds:.1} s, {rate:.0} a second"))?;
        match self.refused.values().sum() {
            0 => Ok(()),
            refused => Err(ClientError::SomeRefused { refused, of: self.answered() }),
        }
    }
}

impl fmt::Display for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} accepted, {} refused", self.accepted, self.refused.values().sum::<u64>())?;
        if self.refused.is_empty() {
            return Ok(());
        }
        let counts: Vec<_> = self.refused.iter().map(|(code, count)| format!("{code} {count}")).collect();
        write!(f, " ({})", counts.join(", "))
    }
}

/// The event as `POST /v1/events` takes it.
fn json_of(event: &v1::Event) -> Map<String, Value> {
    let mut map = Map::new();
    let texts = [("event_id", &event.event_id), ("event_type", &event.event_type), ("user_id", &event.user_id)];
    for (name, text) in texts.into_iter().chain([("app_id", &event.app_id)]) {
        if !text.is_empty() || name == "event_type" {
            map.insert(name.to_owned(), text.as_str().into());
        }
    }
    if let Some(time) = &event.timestamp {
        map.insert("timestamp".to_owned(), convert::instant(time).map(instant).into());
    }
    let properties = event.properties.iter().map(|(name, value)| (name.clone(), json_value(value)));
    map.insert("properties".to_owned(), Value::Object(properties.collect()));
    map
}

fn json_value(value: &v1::Value) -> Value {
    match &value.kind {
        None | Some(Kind::Null(_)) => Value::Null,
        Some(Kind::Number(x)) => json!(x),
        Some(Kind::Integer(i)) => json!(i),
        Some(Kind::String(text)) => json!(text),
        Some(Kind::Bool(b)) => json!(b),
        Some(Kind::Time(time)) => json!({"time": convert::instant(time).map(instant)}),
    }
}

fn instant(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}
