//! What is sent, and what became of it.

use std::{collections::HashMap, time::SystemTime};

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use uuid::Uuid;

use crate::{
    Error, Value, v1,
    values::{of_wires, wires},
};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Event {
    /// What happened, as in `purchase`. Required.
    pub event_type: String,
    /// Who did it; empty if nobody is known.
    pub user_id: String,
    /// Values by name; those that are null are left out.
    pub properties: HashMap<String, Value>,
    /// When it happened. Default: when it is tracked.
    pub timestamp: Option<SystemTime>,
    /// Told apart by the server for 24 hours. Default: a new UUIDv7.
    pub id: Option<String>,
    /// Its app. Default: the client's.
    pub app: String,
}

impl Event {
    /// One of this type.
    pub fn new(event_type: impl Into<String>) -> Self {
        Self { event_type: event_type.into(), ..Self::default() }
    }

    /// Says who did it.
    #[must_use]
    pub fn user(mut self, id: impl Into<String>) -> Self {
        self.user_id = id.into();
        self
    }

    /// Adds a value.
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.properties.insert(name.into(), value.into());
        self
    }

    /// Says when it happened.
    #[must_use]
    pub fn at(mut self, timestamp: SystemTime) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// Gives it an id of the caller's.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Says which app it is of.
    #[must_use]
    pub fn app(mut self, id: impl Into<String>) -> Self {
        self.app = id.into();
        self
    }

    /// Its id, and the record of it.
    pub(crate) fn encoded(self) -> Result<(String, Bytes), Error> {
        let id = self.id.unwrap_or_else(|| Uuid::now_v7().to_string());
        let message = v1::Event {
            event_id: id.clone(),
            event_type: self.event_type,
            user_id: self.user_id,
            timestamp: Some(self.timestamp.unwrap_or_else(SystemTime::now).into()), // however late it is sent
            properties: wires(self.properties, "properties")?,
            app_id: self.app,
        };
        Ok((id, record(EVENT, &message)))
    }
}

/// What is known of a user.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Identity {
    /// The user. Required.
    pub user_id: String,
    /// Values by name; one that isn't named keeps its value. `country` and `plan` become columns of the user's later events.
    pub traits: HashMap<String, Value>,
    /// The user's app. Default: the client's.
    pub app: String,
}

impl Identity {
    /// One of this user.
    pub fn new(user_id: impl Into<String>) -> Self {
        Self { user_id: user_id.into(), ..Self::default() }
    }

    /// Adds a value, named `trait` elsewhere.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.traits.insert(name.into(), value.into());
        self
    }

    /// Says which app the user is of.
    #[must_use]
    pub fn app(mut self, id: impl Into<String>) -> Self {
        self.app = id.into();
        self
    }

    pub(crate) fn encoded(self) -> Result<Bytes, Error> {
        let message = v1::IdentifyRequest {
            user_id: self.user_id,
            traits: wires(self.traits, "traits")?,
            app_id: self.app,
            ..Default::default()
        };
        Ok(record(IDENTITY, &message))
    }
}

/// Why something that was queued was not accepted.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Rejection {
    /// The rule that it breaks, as in `TOO_OLD`, `REQUIRED` or `PROPERTY_LIMIT`; or `NOT_SENT`, if the client was closed before it could be sent.
    pub code: String,
    /// The path of the field at fault, as in `properties.price`.
    pub field: String,
    /// What is wrong and what would be right.
    pub description: String,
    /// What was refused, unless it was an identity.
    pub event: Option<Event>,
    /// What was refused, unless it was an event.
    pub identity: Option<Identity>,
}

/// What became of what was queued.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Flushed {
    /// How many events were accepted since the last flush returned: durable, and counted once each.
    pub accepted: u64,
    /// How many events and identities were not; each was given to [`Builder::on_rejected`](crate::Builder::on_rejected).
    pub rejected: u64,
    /// Covers all that this client ever sent: see [`Ask::after`](crate::Ask::after). Empty if nothing was accepted yet.
    pub token: String,
}

// A record is one byte, what it is, and then a message of the contracts. The clients in other languages keep the same form.
const EVENT: u8 = 0;
const IDENTITY: u8 = 1;

fn record(kind: u8, message: &impl Message) -> Bytes {
    let mut record = BytesMut::with_capacity(1 + message.encoded_len());
    record.put_u8(kind);
    record.put(message.encode_to_vec().as_slice());
    record.freeze()
}

/// A record read again.
#[derive(Debug)]
pub(crate) enum Queued {
    Event(v1::Event),
    Identity(v1::IdentifyRequest),
}

impl Queued {
    /// `None` if it is no record of this form.
    pub(crate) fn read(record: &[u8]) -> Option<Self> {
        let (kind, message) = record.split_first()?;
        match *kind {
            EVENT => v1::Event::decode(message).ok().map(Self::Event),
            IDENTITY => v1::IdentifyRequest::decode(message).ok().map(Self::Identity),
            _ => None,
        }
    }

    /// As its user gave it.
    pub(crate) fn given(self) -> (Option<Event>, Option<Identity>) {
        match self {
            Self::Event(event) => {
                let given = Event {
                    event_type: event.event_type,
                    user_id: event.user_id,
                    properties: of_wires(event.properties),
                    timestamp: event.timestamp.and_then(|at| at.try_into().ok()),
                    id: Some(event.event_id),
                    app: event.app_id,
                };
                (Some(given), None)
            }
            Self::Identity(user) => {
                (None, Some(Identity { user_id: user.user_id, traits: of_wires(user.traits), app: user.app_id }))
            }
        }
    }
}
