//! What Segment's libraries send, by its HTTP API: `POST /v1/batch` and a path for each kind of call. Its terms become ours here, then
//! every event goes the way of all events.
//!
//! | theirs | ours |
//! |---|---|
//! | `messageId` | `event_id` |
//! | `userId`, else `anonymousId` | `user_id`; with both, the property `anonymous_id` too |
//! | `event` of a track call; `page`, `screen`, `group`, `alias` | `event_type` |
//! | `timestamp` | `timestamp`, put right if the sender's clock is wrong (`sentAt`) |
//! | `properties` | properties; what is nested has its path joined by `_`, a list is its JSON |
//! | `name`, `category`, `groupId`, `previousId`; a group's `traits` | properties `name`, `category`, `group_id`, `previous_id`, `traits_...` |
//! | `context` | properties `context_...`, as Segment's warehouses spell them: `context_user_agent` |
//! | identify: `userId`, else `anonymousId`; `traits` | what is known of that user |
//!
//! Other fields at the top (`integrations`, `_metadata`, ...) say how Segment is to pass the call on, and are not looked at.

use std::collections::HashMap;

use api::{convert::time_to_wire, v1};
use futures::future::try_join_all;
use http::StatusCode;
use mesh::{Request, Response, context::CallContext, protocol::json_response};
use model::Error;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json, value::RawValue};

use crate::{
    Publisher,
    json::{JsonTime, Read, malformed, property, time},
    publish::rejection,
    rest::{self, Received},
    wire::Batch,
};

/// A sender's clock that is off by more is not believed: below, the way here explains it.
const CLOCK_MS: u64 = 60_000;
/// Where an identify call is taken whatever its key comes in; at `/v1/identify` it is ours unless the key comes as Segment's do.
const IDENTIFY: &str = "/v1/identify:segment";

/// The kind of the calls that come to a path; `Some(None)` if each says its own.
pub(crate) fn kind_of(path: &str) -> Option<Option<&'static str>> {
    Some(match path {
        "/v1/batch" | "/v1/import" => None,
        "/v1/track" => Some("track"),
        "/v1/page" => Some("page"),
        "/v1/screen" => Some("screen"),
        "/v1/group" => Some("group"),
        "/v1/alias" => Some("alias"),
        IDENTIFY => Some("identify"),
        _ => return None,
    })
}

#[derive(Deserialize)]
struct JsonBatch<'a> {
    #[serde(borrow)]
    batch: Vec<&'a RawValue>,
    #[serde(default, rename = "sentAt")]
    sent_at: Option<JsonTime>,
    /// Of all calls, where they don't say it themselves.
    #[serde(default)]
    context: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Call {
    r#type: Option<String>,
    event: Option<String>,
    name: Option<String>,
    category: Option<String>,
    #[serde(default, deserialize_with = "id")]
    user_id: String,
    #[serde(default, deserialize_with = "id")]
    anonymous_id: String,
    #[serde(default, deserialize_with = "id")]
    group_id: String,
    #[serde(default, deserialize_with = "id")]
    previous_id: String,
    #[serde(default)]
    message_id: Option<String>,
    timestamp: Option<JsonTime>,
    original_timestamp: Option<JsonTime>,
    sent_at: Option<JsonTime>,
    properties: Option<Map<String, Value>>,
    traits: Option<Map<String, Value>>,
    context: Option<Map<String, Value>>,
}

/// Some send numbers.
fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(String::new()),
        Value::String(id) => Ok(id),
        Value::Number(id) => Ok(id.to_string()),
        other => Err(serde::de::Error::custom(format!("an id must be a text or a number, not {other}"))),
    }
}

/// The calls of a request, each with its place there.
#[derive(Default)]
struct Calls {
    events: Vec<Read>,
    event_places: Vec<usize>,
    users: Vec<(usize, User)>,
    rejections: Vec<v1::Rejection>,
}

struct User {
    id: String,
    message_id: String,
    traits: Vec<(String, v1::Value)>,
    /// How long the call is on the wire.
    bytes: usize,
}

/// Takes the calls of a request whose path says that they are of this `kind`.
pub(crate) async fn post(
    publisher: &Publisher,
    request: Request,
    kind: Option<&'static str>,
) -> Result<Response, Error> {
    let Received { context, app, body, .. } = rest::receive(publisher, request).await?;
    let Calls { events, event_places, users, mut rejections } = Calls::read(&body, kind, publisher.now_ms())?;
    let sent = events.len() + users.len() + rejections.len();
    if !events.is_empty() {
        let verdict = publisher.events(&context, Batch::of(&app, &events), body.len()).await?;
        rejections.extend(verdict.rejections.into_iter().map(|rejection| placed(rejection, &event_places)));
    }
    rejections.extend(identify(publisher, &context, &app, &users).await?);
    rejections.sort_by_key(|rejection| rejection.index);
    let none_accepted = sent > 0 && rejections.len() == sent;
    let status = if none_accepted { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let accepted = sent - rejections.len();
    let rejections: Vec<_> = rejections.iter().map(rest::rejection).collect();
    Ok(json_response(status, &json!({"success": !none_accepted, "accepted": accepted, "rejections": rejections})))
}

/// What is known of the users; those that are refused. Sent again, it says the same again.
async fn identify(
    publisher: &Publisher,
    context: &CallContext,
    app: &str,
    users: &[(usize, User)],
) -> Result<Vec<v1::Rejection>, Error> {
    let known = users.iter().map(async |(place, user)| {
        let traits: Vec<_> = user.traits.iter().map(|(name, value)| (name.as_str(), value.into())).collect();
        match publisher.known(context, (app, &user.id), &traits, user.bytes).await {
            Ok(_) => Ok(None),
            Err(error) if error.violations.is_empty() => Err(error),
            Err(error) if error.violations[0].field == "app_id" => Err(error),
            Err(error) => Ok(Some(refused(*place, &user.message_id, error))),
        }
    });
    Ok(try_join_all(known).await?.into_iter().flatten().collect())
}

/// The refusal of the event at an index of ours, as one of the call in the request.
fn placed(rejection: v1::Rejection, places: &[usize]) -> v1::Rejection {
    let v1::Rejection { index, event_id, code, field, message } = rejection;
    let place = places.get(index as usize).copied().unwrap_or_default();
    let field = match field.strip_prefix(&format!("events[{index}]")) {
        Some(rest) => format!("batch[{place}]{rest}"),
        None => field,
    };
    v1::Rejection { index: place as u32, event_id, code, field, message }
}

fn refused(place: usize, message_id: &str, mut error: Error) -> v1::Rejection {
    for violation in &mut error.violations {
        if !violation.field.starts_with("batch[") {
            violation.field = format!("batch[{place}].{}", violation.field);
        }
    }
    rejection(place, message_id, error)
}

impl Calls {
    fn read(body: &[u8], kind: Option<&str>, now_ms: i64) -> Result<Self, Error> {
        let mut calls = Self::default();
        if kind.is_some() {
            let whole: &RawValue =
                serde_json::from_slice(body).map_err(|e| malformed("body", format!("is not JSON: {e}")))?;
            calls.add(0, whole, kind, None, None, now_ms);
            return Ok(calls);
        }
        let JsonBatch { batch, sent_at, context } = serde_json::from_slice(body)
            .map_err(|e| malformed("body", format!("is not a batch of Segment's, {{\"batch\": [...]}}: {e}")))?;
        let sent_at = sent_at.map(|sent_at| time("sentAt", sent_at)).transpose()?;
        for (place, call) in batch.into_iter().enumerate() {
            calls.add(place, call, None, sent_at, context.as_ref(), now_ms);
        }
        Ok(calls)
    }

    fn add(
        &mut self,
        place: usize,
        call: &RawValue,
        kind: Option<&str>,
        sent_at: Option<i64>,
        context: Option<&Map<String, Value>>,
        now_ms: i64,
    ) {
        let (at, bytes) = (format!("batch[{place}]"), call.get().len());
        let mut call: Call = match serde_json::from_str(call.get()) {
            Ok(call) => call,
            Err(error) => {
                let error = malformed(&at, format!("is not a call of Segment's: {error}"));
                return self.rejections.push(refused(place, "", error));
            }
        };
        let message_id = call.message_id.clone().unwrap_or_default();
        let own_kind = call.r#type.take();
        let read = match kind.or(own_kind.as_deref()) {
            Some("identify") => call.user(&at, bytes).map(|user| self.users.push((place, user))),
            Some(kind) => call.event(&at, kind, sent_at, context, now_ms).map(|event| {
                self.events.push(Ok(event));
                self.event_places.push(place);
            }),
            None => Err(Error::invalid(format!("{at}.type"), "REQUIRED", TYPES)),
        };
        if let Err(error) = read {
            self.rejections.push(refused(place, &message_id, error));
        }
    }
}

const TYPES: &str = "must be track, page, screen, group, alias or identify";

impl Call {
    fn user(self, at: &str, bytes: usize) -> Result<User, Error> {
        let id = who(at, self.user_id, &self.anonymous_id)?;
        let mut traits = HashMap::new();
        flatten(&format!("{at}.traits"), "", self.traits.unwrap_or_default(), str::to_owned, &mut traits)?;
        let mut traits: Vec<_> = traits.into_iter().collect();
        traits.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(User { id, message_id: self.message_id.unwrap_or_default(), traits, bytes })
    }

    fn event(
        self,
        at: &str,
        kind: &str,
        sent_at: Option<i64>,
        context: Option<&Map<String, Value>>,
        now_ms: i64,
    ) -> Result<v1::Event, Error> {
        let event_type = match (kind, self.event) {
            ("track", Some(event)) if !event.is_empty() => event,
            ("track", _) => {
                return Err(Error::invalid(format!("{at}.event"), "REQUIRED", "a track call names its event"));
            }
            ("page" | "screen" | "group" | "alias", _) => kind.to_owned(),
            _ => return Err(Error::invalid(format!("{at}.type"), "MALFORMED", TYPES)),
        };
        let own_sent_at = self.sent_at.map(|sent_at| time(&format!("{at}.sentAt"), sent_at)).transpose()?;
        let happened = self.original_timestamp.or(self.timestamp);
        let happened = happened.map(|happened| time(&format!("{at}.timestamp"), happened)).transpose()?;
        let timestamp = happened.map(|happened| put_right(happened, own_sent_at.or(sent_at), now_ms));

        let mut properties = HashMap::new();
        let given = self.properties.unwrap_or_default();
        flatten(&format!("{at}.properties"), "", given, str::to_owned, &mut properties)?;
        let traits = self.traits.unwrap_or_default();
        flatten(&format!("{at}.traits"), "traits", traits, str::to_owned, &mut properties)?;
        let context = self.context.or_else(|| context.cloned()).unwrap_or_default();
        flatten(&format!("{at}.context"), "context", context, snake, &mut properties)?;
        let anonymous = if self.user_id.is_empty() { String::new() } else { self.anonymous_id.clone() };
        for (name, text) in [
            ("name", self.name.unwrap_or_default()),
            ("category", self.category.unwrap_or_default()),
            ("group_id", self.group_id),
            ("previous_id", self.previous_id),
            ("anonymous_id", anonymous),
        ] {
            if !text.is_empty() {
                properties
                    .entry(name.to_owned())
                    .or_insert_with(|| v1::Value { kind: Some(v1::value::Kind::String(text)) });
            }
        }
        Ok(v1::Event {
            event_id: self.message_id.unwrap_or_default(),
            event_type,
            user_id: who(at, self.user_id, &self.anonymous_id)?,
            timestamp: timestamp.map(time_to_wire),
            properties,
            app_id: String::new(),
        })
    }
}

fn who(at: &str, user_id: String, anonymous_id: &str) -> Result<String, Error> {
    match (user_id.as_str(), anonymous_id) {
        ("", "") => Err(Error::invalid(format!("{at}.userId"), "REQUIRED", "a call has a userId or an anonymousId")),
        ("", anonymous_id) => Ok(anonymous_id.to_owned()),
        _ => Ok(user_id),
    }
}

/// When it happened by our clock: what was sent at a time that isn't now happened as much before or after.
fn put_right(happened_ms: i64, sent_ms: Option<i64>, now_ms: i64) -> i64 {
    match sent_ms {
        Some(sent_ms) if now_ms.abs_diff(sent_ms) > CLOCK_MS => {
            happened_ms.saturating_add(now_ms.saturating_sub(sent_ms))
        }
        _ => happened_ms,
    }
}

/// Puts what an object has into `into`, under names that start with `prefix`.
fn flatten(
    field: &str,
    prefix: &str,
    object: Map<String, Value>,
    spelled: fn(&str) -> String,
    into: &mut HashMap<String, v1::Value>,
) -> Result<(), Error> {
    for (key, value) in object {
        let field = format!("{field}.{key}");
        let key = spelled(&key);
        let name = if prefix.is_empty() { key } else { format!("{prefix}_{key}") };
        let value = match value {
            Value::Null => continue,
            Value::Object(inner) => {
                flatten(&field, &name, inner, spelled, into)?;
                continue;
            }
            Value::Array(list) => Value::String(Value::Array(list).to_string()),
            value => value,
        };
        let kind = Some(property(&field, value)?);
        into.insert(name, v1::Value { kind });
    }
    Ok(())
}

/// `userAgent` as `user_agent`.
fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for (i, c) in name.chars().enumerate() {
        if c.is_ascii_uppercase() && i > 0 && !snake.ends_with('_') {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use v1::value::Kind;

    use super::*;

    const NOW_MS: i64 = 1_800_000_000_000;

    fn read(kind: Option<&str>, body: &Value) -> Calls {
        Calls::read(body.to_string().as_bytes(), kind, NOW_MS).unwrap()
    }

    #[test]
    fn a_call_becomes_an_event_with_all_that_it_says() {
        let call = json!({"type": "track", "event": "Order Completed", "messageId": "m1", "userId": 7, "anonymousId": "a",
            "timestamp": "2027-01-15T07:59:00Z", "integrations": {"All": true},
            "properties": {"total": 12.5, "ok": true, "none": null, "cart": {"size": 2, "items": ["x", {"y": 1}]}},
            "context": {"userAgent": "curl", "page": {"url": "https://x/"}, "library": {"name": "analytics-node"}}});
        let calls = read(None, &json!({"batch": [call], "sentAt": "2027-01-15T08:00:00Z"}));
        let event = calls.events[0].clone().unwrap();
        assert_eq!(
            (event.event_id.as_str(), event.event_type.as_str(), event.user_id.as_str()),
            ("m1", "Order Completed", "7")
        );
        assert_eq!(event.timestamp, Some(time_to_wire(NOW_MS - 60_000)));
        let mut properties: Vec<_> =
            event.properties.into_iter().map(|(name, value)| (name, value.kind.unwrap())).collect();
        properties.sort_by(|a, b| a.0.cmp(&b.0));
        let text = |text: &str| Kind::String(text.to_owned());
        let wanted = [
            ("anonymous_id", text("a")),
            ("cart_items", text(r#"["x",{"y":1}]"#)),
            ("cart_size", Kind::Integer(2)),
            ("context_library_name", text("analytics-node")),
            ("context_page_url", text("https://x/")),
            ("context_user_agent", text("curl")),
            ("ok", Kind::Bool(true)),
            ("total", Kind::Number(12.5)),
        ];
        assert_eq!(properties, wanted.map(|(name, kind)| (name.to_owned(), kind)));
    }

    #[test]
    fn a_wrong_clock_is_put_right_and_a_right_one_left_alone() {
        let day = model::DAY_MS;
        assert_eq!(put_right(NOW_MS - 5_000, Some(NOW_MS - 900), NOW_MS), NOW_MS - 5_000);
        assert_eq!(put_right(NOW_MS - day - 5_000, Some(NOW_MS - day), NOW_MS), NOW_MS - 5_000);
        assert_eq!(put_right(NOW_MS + day, Some(NOW_MS + day + 5_000), NOW_MS), NOW_MS - 5_000);
        assert_eq!(put_right(7, None, NOW_MS), 7);
    }

    #[test]
    fn what_is_wrong_is_told_by_its_place_and_sinks_nothing_else() {
        let batch = json!({"batch": [
            {"type": "track", "userId": "u", "messageId": "m0"},
            {"type": "identify", "userId": "u", "traits": {"plan": "pro"}},
            {"type": "track", "event": "e", "messageId": "m2"},
            7,
            {"event": "e", "userId": "u"},
            {"type": "page", "anonymousId": "a", "name": "Home"},
            {"type": "track", "event": "e", "userId": "u", "timestamp": "yesterday"},
        ]});
        let calls = read(None, &batch);
        let fields: Vec<_> =
            calls.rejections.iter().map(|r| (r.index, r.field.as_str(), r.event_id.as_str())).collect();
        let wanted = [
            (0, "batch[0].event", "m0"),
            (2, "batch[2].userId", "m2"),
            (3, "batch[3]", ""),
            (4, "batch[4].type", ""),
            (6, "batch[6].timestamp", ""),
        ];
        assert_eq!(fields, wanted);
        assert_eq!((calls.users.len(), calls.users[0].0, calls.event_places.as_slice()), (1, 1, [5].as_slice()));
        assert_eq!(calls.events[0].as_ref().unwrap().event_type, "page");
        let of_event = v1::Rejection { field: "events[0].properties.x".to_owned(), ..v1::Rejection::default() };
        assert_eq!(placed(of_event, &calls.event_places).field, "batch[5].properties.x");
        assert!(Calls::read(b"{\"batch\": 7}", None, NOW_MS).is_err());
    }
}
