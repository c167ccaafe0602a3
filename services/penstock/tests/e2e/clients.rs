//! Clients of a house: gRPC with a key, and events as both wires take them.

use api::v1::{self, value::Kind};
use serde_json::{Value, json};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Error},
};

use crate::house::House;

/// Shows a key with every call.
#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A channel that shows a key.
pub type Keyed = InterceptedService<Channel, Bearer>;

/// Connects with a key; fails if nobody listens.
pub async fn keyed(address: &str, key: &str) -> Result<Keyed, Error> {
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await?;
    Ok(InterceptedService::new(channel, Bearer(format!("Bearer {key}").parse().unwrap())))
}

impl House {
    /// A channel that shows a key.
    pub async fn keyed(&self, key: &str) -> Keyed {
        keyed(&self.address, key).await.unwrap()
    }
}

/// A value on the wire.
pub fn value(kind: Kind) -> v1::Value {
    v1::Value { kind: Some(kind) }
}

/// An event of now.
pub fn event(event_type: &str, event_id: &str, user_id: &str, properties: &[(&str, Kind)]) -> v1::Event {
    v1::Event {
        event_id: event_id.to_owned(),
        event_type: event_type.to_owned(),
        user_id: user_id.to_owned(),
        properties: properties.iter().map(|(name, kind)| ((*name).to_owned(), value(kind.clone()))).collect(),
        ..v1::Event::default()
    }
}

/// The same event in JSON, as `POST /v1/events` takes it.
pub fn event_json(event: &v1::Event) -> Value {
    let plain = |value: &v1::Value| match value.kind.as_ref().unwrap() {
        Kind::Number(x) => json!(x),
        Kind::Integer(i) => json!(i),
        Kind::String(text) => json!(text),
        Kind::Bool(b) => json!(b),
        other => panic!("no test sends {other:?} in JSON"),
    };
    let properties: serde_json::Map<_, _> = event.properties.iter().map(|(k, v)| (k.clone(), plain(v))).collect();
    let mut json = json!({"event_id": event.event_id, "event_type": event.event_type, "user_id": event.user_id,
        "properties": properties});
    if let Some(time) = &event.timestamp {
        json["timestamp"] = json!(time.seconds * 1000 + i64::from(time.nanos) / 1_000_000);
    }
    json
}
