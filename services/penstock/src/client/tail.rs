//! `penstock tail`: events as they arrive, the newest at the end.

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    io::{self, Write},
    time::Duration,
};

use api::v1::{Row, SqlQuery, SubscribeRequest, subscribe_request::Question, subscribe_response::Push};
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::{
    ClientError, Link, Show, Target,
    show::{note, one_line, text},
    watch::{plain, pushes},
};
use crate::cli::TailArguments;

/// The newest events that one look sees; of more that came since the look before, the others are missed.
const MOST: usize = 1_000;
/// What every event has, and stands before its properties.
const FIELDS: [&str; 5] = ["received_at", "event_type", "user_id", "country", "event_id"];

/// How often it is asked whether there are properties that there weren't before.
const LOOK: Duration = Duration::from_secs(5);

/// Writes events until Ctrl-C.
pub(super) async fn tail(target: &Target, arguments: TailArguments, show: &mut Show) -> Result<(), ClientError> {
    let is_named = !arguments.properties.is_empty();
    let properties = match is_named {
        true => arguments.properties.clone(),
        false => properties(&mut Link::open(target).await?, &arguments.app).await?,
    };
    let mut tail = Tail { properties, first: Some(arguments.last), seen: HashSet::new(), order: VecDeque::new() };
    loop {
        let now = tail.properties.clone();
        let question = SqlQuery { sql: sql(&arguments, &now), app_id: arguments.app.clone() };
        let request = SubscribeRequest {
            question: Some(Question::Sql(question)),
            min_interval: prost_types::Duration::try_from(Duration::from_millis(500)).ok(),
            ..SubscribeRequest::default()
        };
        let followed = pushes(target, request, |push| match push {
            Push::State(state) => tail.rows(state.result.unwrap_or_default().rows, show),
            Push::Change(change) => tail.rows(change.upserted, show),
            Push::Heartbeat(_) => Ok(()),
        });
        let more = tokio::select! {
            ended = followed => return ended,
            more = more(target, &arguments.app, &now), if !is_named => more,
        };
        tail.properties = more;
    }
}

/// The names of the properties that the app's events have.
async fn properties(link: &mut Link, app: &str) -> Result<Vec<String>, ClientError> {
    let about = link.call("QueryService.Describe", json!({"app_id": app})).await?;
    let names = about["properties"].as_array().into_iter().flatten().map(|property| text(&property["name"]));
    Ok(names.collect::<BTreeSet<_>>().into_iter().collect())
}

/// They, once they are others than these. Where it can't be asked, it isn't known.
async fn more(target: &Target, app: &str, these: &[String]) -> Vec<String> {
    loop {
        sleep(LOOK).await;
        let Ok(mut link) = Link::open(target).await else { continue };
        match properties(&mut link, app).await {
            Ok(now) if now != these => return now,
            _ => {}
        }
    }
}

fn sql(arguments: &TailArguments, properties: &[String]) -> String {
    let names = properties.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\"")));
    let columns: Vec<_> = FIELDS.map(str::to_owned).into_iter().chain(names).collect();
    let mut conditions = vec!["received_at > now() - INTERVAL 1 HOUR".to_owned()];
    if !arguments.types.is_empty() {
        let types: Vec<_> = arguments.types.iter().map(|name| format!("'{}'", name.replace('\'', "''"))).collect();
        conditions.push(format!("event_type IN ({})", types.join(", ")));
    }
    conditions.extend(arguments.condition.iter().map(|condition| format!("({condition})")));
    let (columns, conditions) = (columns.join(", "), conditions.join(" AND "));
    format!("SELECT {columns} FROM events WHERE {conditions} ORDER BY received_at DESC LIMIT {MOST}")
}

/// What was written already.
struct Tail {
    properties: Vec<String>,
    /// How many of the events that are there at first are wanted; none once they were written.
    first: Option<usize>,
    /// By their ids, as many as a later push may name again.
    seen: HashSet<String>,
    order: VecDeque<String>,
}

impl Tail {
    /// Writes what is new, the oldest first.
    fn rows(&mut self, rows: Vec<Row>, show: &mut Show) -> io::Result<()> {
        let mut new: Vec<Vec<Value>> = rows.iter().map(|row| row.values.iter().map(plain).collect()).collect();
        new.retain(|event| self.is_new(event));
        new.sort_by_key(|event| text(&event[0]).parse::<jiff::Timestamp>().ok());
        match self.first.take() {
            Some(wanted) => drop(new.drain(..new.len().saturating_sub(wanted))),
            None if new.len() >= MOST => {
                note("LEFT_OUT", "more came than can be shown: some are left out", show.is_json());
            }
            None => {}
        }
        for event in new {
            let line = if show.is_json() { self.json(&event).to_string() } else { self.line(&event) };
            writeln!(show.out(), "{line}")?;
        }
        show.out().flush()
    }

    fn is_new(&mut self, event: &[Value]) -> bool {
        let id = text(&event[FIELDS.len() - 1]);
        if !self.seen.insert(id.clone()) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > 4 * MOST
            && let Some(old) = self.order.pop_front()
        {
            self.seen.remove(&old);
        }
        true
    }

    fn json(&self, event: &[Value]) -> Value {
        let fields = FIELDS.iter().zip(event).map(|(name, value)| ((*name).to_owned(), value.clone()));
        let properties: Map<_, _> = self.had(event).map(|(name, value)| (name.clone(), value.clone())).collect();
        let fields: Map<_, _> = fields.chain([("properties".to_owned(), Value::Object(properties))]).collect();
        Value::Object(fields)
    }

    fn line(&self, event: &[Value]) -> String {
        let [at, kind, user] = [0, 1, 2].map(|i| text(&event[i]));
        let properties: Vec<_> = self.had(event).map(|(name, value)| format!("{name}={}", text(value))).collect();
        one_line(&format!("{at}  {kind}  {}  {}", if user.is_empty() { "-" } else { &user }, properties.join(" ")))
    }

    fn had<'a>(&'a self, event: &'a [Value]) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.properties.iter().zip(&event[FIELDS.len()..]).filter(|(_, value)| !value.is_null())
    }
}
