//! What the pipeline tells others as it goes: topics that any consumer can read.
//!
//! A block is told after it is in the warehouse and before it is committed: at least once, in the log's order for each key. What
//! is done again after a crash is told again, with the same event ids and positions.

use eventlog::{Keep, LogError, LogOptions, Message, Outlet, Record};
use model::{
    PropertyKind,
    record::{Body, PropertyRef, RecordRef, ValueRef},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    block::Place,
    users::{TraitValue, User},
};

/// Topics that are told of what the pipeline does; empty: not told. They are on the brokers of the event log, and made with as
/// many partitions as it has if they aren't there.
///
/// A user's erasure doesn't reach what they hold already.
///
/// Keys are `TENANT/APP/USER`, or `TENANT/APP/` and the event's id where no user is known. Values are JSON objects, instants RFC 3339.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TeeOptions {
    /// Each event that counts, as an event is sent to `POST /v1/events`, with `tenant_id`, `received_at`, what was known of its
    /// user (`country`, `user_plan`), and its place in the log (`position`).
    pub enriched_events: String,
    /// All that is known of a user after each Identify: `tenant_id`, `app_id`, `user_id`, `traits`, `received_at`, `position`. Compacted:
    /// the topic keeps the latest of each user. A name that came with values of two kinds has the one of the kind that was new last.
    pub users: String,
    /// Each event that was refused and kept, as in `enriched_events`, with the `code` of its rejection.
    pub dead_letters: String,
}

/// The open topics.
#[derive(Default)]
pub struct Tee {
    enriched_events: Option<Outlet>,
    users: Option<Outlet>,
    dead_letters: Option<Outlet>,
}

impl Tee {
    /// Opens the topics that are wanted, on the brokers of the log's URL.
    ///
    /// # Errors
    /// As [`Outlet::open`].
    pub async fn open(log_url: &str, options: &TeeOptions, log: &LogOptions) -> Result<Self, LogError> {
        let open = async |topic: &str, keep| match topic {
            "" => Ok(None),
            topic => Outlet::open(log_url, topic, keep, log).await.map(Some),
        };
        Ok(Self {
            enriched_events: open(&options.enriched_events, Keep::All).await?,
            users: open(&options.users, Keep::Latest).await?,
            dead_letters: open(&options.dead_letters, Keep::All).await?,
        })
    }

    /// Nothing yet, of what is wanted.
    pub(crate) fn empty(&self) -> Told {
        let wanted = |outlet: &Option<Outlet>| outlet.as_ref().map(|_| Vec::new());
        Told {
            enriched_events: wanted(&self.enriched_events),
            users: wanted(&self.users),
            dead_letters: wanted(&self.dead_letters),
        }
    }

    /// Returns when all of it is with the brokers.
    pub(crate) async fn publish(&self, told: &Told) -> Result<(), LogError> {
        for (outlet, messages) in [
            (&self.enriched_events, &told.enriched_events),
            (&self.users, &told.users),
            (&self.dead_letters, &told.dead_letters),
        ] {
            if let (Some(outlet), Some(messages)) = (outlet, messages) {
                let left_out = outlet.publish(messages).await?;
                metrics::counter!("penstock_pipeline_tee_too_large_total").increment(left_out as u64);
            }
        }
        Ok(())
    }
}

/// The messages of a block, of each topic that is wanted.
#[derive(Debug, Default)]
pub(crate) struct Told {
    enriched_events: Option<Vec<Message>>,
    users: Option<Vec<Message>>,
    dead_letters: Option<Vec<Message>>,
}

impl Told {
    pub(crate) fn event(
        &mut self,
        content: &RecordRef<'_>,
        properties: &[PropertyRef<'_>],
        user: Option<&User>,
        place: Place,
        record: &Record,
    ) {
        let Some(messages) = &mut self.enriched_events else { return };
        let mut value = event(content, properties, place, record);
        value.insert("country".to_owned(), user.and_then(User::country).into());
        value.insert("user_plan".to_owned(), user.and_then(User::plan).into());
        messages.push(message(content, value));
    }

    pub(crate) fn dead_letter(
        &mut self,
        content: &RecordRef<'_>,
        properties: &[PropertyRef<'_>],
        place: Place,
        record: &Record,
    ) {
        let Some(messages) = &mut self.dead_letters else { return };
        let mut value = event(content, properties, place, record);
        if let Body::DeadLetter { code, .. } = content.body {
            value.insert("code".to_owned(), code.into());
        }
        messages.push(message(content, value));
    }

    pub(crate) fn user(&mut self, content: &RecordRef<'_>, user: &User, place: Place, record: &Record) {
        let Some(messages) = &mut self.users else { return };
        let mut value = common(content, place, record);
        let traits = user.traits.iter().map(|(name, kind, value)| {
            let value = match value {
                TraitValue::Number(x) => ValueRef::Number(*x),
                TraitValue::Text(text) => ValueRef::Text(text),
            };
            (&**name, *kind, value)
        });
        value.insert("traits".to_owned(), values(traits));
        messages.push(message(content, value));
    }
}

fn message(content: &RecordRef<'_>, value: Map<String, Value>) -> Message {
    let RecordRef { tenant, app, user_id, .. } = content;
    let last = match content.body {
        Body::Event { event_id, .. } | Body::DeadLetter { event_id, .. } if user_id.is_empty() => event_id,
        _ => user_id,
    };
    Message { key: format!("{tenant}/{app}/{last}").into_bytes(), value: Value::Object(value).to_string().into_bytes() }
}

/// What every message says.
fn common(content: &RecordRef<'_>, place: Place, record: &Record) -> Map<String, Value> {
    let Place { incarnation, partition } = place;
    // The incarnation is beyond what a reader in another language takes for a whole number.
    let position = json!({ "incarnation": incarnation.to_string(), "partition": partition, "offset": record.offset });
    Map::from_iter([
        ("tenant_id".to_owned(), content.tenant.into()),
        ("app_id".to_owned(), content.app.into()),
        ("user_id".to_owned(), content.user_id.into()),
        ("received_at".to_owned(), instant(content.received_at_ms)),
        ("position".to_owned(), position),
    ])
}

fn event(content: &RecordRef<'_>, properties: &[PropertyRef<'_>], place: Place, record: &Record) -> Map<String, Value> {
    let mut value = common(content, place, record);
    if let Body::Event { event_id, event_type, timestamp_ms }
    | Body::DeadLetter { event_id, event_type, timestamp_ms, .. } = content.body
    {
        value.insert("event_id".to_owned(), event_id.into());
        value.insert("event_type".to_owned(), event_type.into());
        value.insert("timestamp".to_owned(), instant(timestamp_ms));
    }
    let properties = properties.iter().map(|p| (p.name, p.kind, p.value));
    value.insert("properties".to_owned(), values(properties));
    value
}

/// Properties or traits as they can be sent again.
fn values<'a>(properties: impl Iterator<Item = (&'a str, PropertyKind, ValueRef<'a>)>) -> Value {
    let value = |kind, value| match (kind, value) {
        (_, ValueRef::Text(text)) => text.into(),
        (PropertyKind::Bool, ValueRef::Number(x)) => (x != 0.0).into(),
        (PropertyKind::Time, ValueRef::Number(ms)) => json!({ "time": instant(ms as i64) }),
        (_, ValueRef::Number(x)) => x.into(),
    };
    Value::Object(properties.map(|(name, kind, v)| (name.to_owned(), value(kind, v))).collect())
}

fn instant(ms: i64) -> Value {
    // As text wherever it can be written so; ingest takes ms too.
    jiff::Timestamp::from_millisecond(ms).map_or(ms.into(), |time| time.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_can_not_be_told_is_refused_at_start() {
        let open = async |url, topic: &str| {
            let options = TeeOptions { users: topic.to_owned(), ..TeeOptions::default() };
            Tee::open(url, &options, &LogOptions::default()).await.err().map(|e| e.to_string()).unwrap_or_default()
        };
        assert!(open("embedded:data/log", "users").await.contains("kafka://HOST:PORT"));
        assert!(open("kafka://127.0.0.1:1", "events").await.contains("the event log's own"));
        assert!(open("kafka://127.0.0.1:1", "a/b").await.contains("a/b"));
        assert_eq!(open("embedded:data/log", "").await, "");
    }
}
