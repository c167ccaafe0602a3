//! One batch: judge each event, register new properties, append, acknowledge.

use std::{collections::HashMap, sync::Arc};

use api::{convert, v1};
use bytes::Bytes;
use eventlog::{Batch, EventLog, LogError};
use mesh::{context::CallContext, signed::SigningKey, trace};
use model::{
    AppId, Error, ErrorCode, Event, Identify, PartitionId, Permission, Position, PropertyKind, Value, partition_of,
    record::{self, TraceIds},
};
use prost::Message;
use storage::{AppInfo, Apps, RegistryError};
use tracing::{Instrument, debug_span, warn};

use crate::{
    Limits, Parts,
    validate::{self, Judge},
};

/// Takes batches from every route.
pub struct Publisher {
    log: Arc<dyn EventLog>,
    apps: Arc<Apps>,
    limits: Limits,
    token_key: SigningKey,
    now_ms: fn() -> i64,
}

/// An event of a batch that wasn't accepted before: its place, and the event or why not.
pub(crate) type Judged = Result<v1::Event, Error>;

impl Publisher {
    /// Publishes to the parts' log.
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { log, apps, limits, token_key, now_ms, .. } = parts;
        Self { log, apps, limits, token_key, now_ms }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Publishes a batch off the wire.
    pub(crate) async fn batch(
        &self,
        context: &CallContext,
        batch: v1::PublishRequest,
    ) -> Result<v1::Acknowledgement, Error> {
        let bytes = batch.encoded_len();
        if bytes > self.limits.batch_bytes {
            let description = format!("the batch has {bytes} bytes, the limit is {}", self.limits.batch_bytes);
            return Err(Error::invalid("events", "TOO_LONG", description));
        }
        self.events(context, &batch.app_id, batch.events.into_iter().map(Ok).collect()).await
    }

    /// Publishes events, some of which the route may have refused already.
    pub(crate) async fn events(
        &self,
        context: &CallContext,
        default_app: &str,
        events: Vec<Judged>,
    ) -> Result<v1::Acknowledgement, Error> {
        context.require(Permission::Ingest)?;
        if events.len() > self.limits.batch_events {
            let description =
                format!("the batch has {} events, the limit is {}", events.len(), self.limits.batch_events);
            return Err(Error::invalid("events", "TOO_MANY", description));
        }
        let judge = Judge {
            limits: &self.limits,
            tenant: &context.scope.tenant,
            received_at_ms: (self.now_ms)(),
            backfill: context.scope.allows(Permission::Backfill),
        };
        let mut rejections = Vec::new();
        let mut accepted: Vec<(u32, Event)> = Vec::with_capacity(events.len());
        let mut apps = AppsOfBatch { publisher: self, context, default_app, known: HashMap::new() };
        for (index, event) in events.into_iter().enumerate() {
            let (index, at) = (index as u32, format!("events[{index}]"));
            let event_id = event.as_ref().map_or_else(|_| String::new(), |e| e.event_id.clone());
            let judged = match event {
                Ok(event) => match apps.app(&at, &event.app_id).await {
                    Ok(app) => judge.event(&at, event, app),
                    Err(AppError::Event(error)) => Err(error),
                    Err(AppError::Batch(error)) => return Err(error),
                },
                Err(error) => Err(error),
            };
            match judged {
                Ok(event) => accepted.push((index, event)),
                Err(error) => rejections.push(rejection(index, event_id, error)),
            }
        }
        let known = apps.known;
        self.register(&known, &mut accepted, &mut rejections).await?;
        let acknowledgement = self.acknowledge(accepted, rejections).await?;
        metrics::counter!("penstock_ingest_events_total", "verdict" => "accepted")
            .increment(u64::from(acknowledgement.accepted));
        metrics::counter!("penstock_ingest_events_total", "verdict" => "rejected")
            .increment(acknowledgement.rejections.len() as u64);
        Ok(acknowledgement)
    }

    /// Takes what is known of a user.
    pub(crate) async fn identify(&self, context: &CallContext, request: v1::IdentifyRequest) -> Result<String, Error> {
        context.require(Permission::Ingest)?;
        let judge = Judge {
            limits: &self.limits,
            tenant: &context.scope.tenant,
            received_at_ms: (self.now_ms)(),
            backfill: false,
        };
        validate::name("user_id", &request.user_id, self.limits.user_bytes)?;
        let mut apps = AppsOfBatch { publisher: self, context, default_app: "", known: HashMap::new() };
        let app = apps.app("", &request.app_id).await.map_err(AppError::into_inner)?;
        let traits = judge.properties("traits", request.traits)?;
        for (name, value) in &traits {
            if matches!(name.as_str(), "country" | "plan") && value.kind() != PropertyKind::String {
                return Err(Error::invalid(format!("traits.{name}"), "MALFORMED", "must be a string"));
            }
        }
        let identify = Identify {
            tenant: context.scope.tenant.clone(),
            app,
            user_id: request.user_id,
            received_at_ms: judge.received_at_ms,
            traits,
        };
        let partition = partition_of(&identify.tenant, &identify.app, &identify.user_id, "", self.log.partitions());
        let batches = |trace| {
            let mut buffer = Vec::new();
            record::encode_identify(&identify, trace, &mut buffer);
            let ends = vec![buffer.len() as u32];
            vec![Batch { partition, buffer: Bytes::from(buffer), ends }]
        };
        Ok(self.token_key.sign(&self.append(1, batches).await?))
    }

    /// Registers what the batch brings for the first time. An event whose properties find no more room is rejected alone.
    async fn register(
        &self,
        apps: &HashMap<AppId, Arc<AppInfo>>,
        accepted: &mut Vec<(u32, Event)>,
        rejections: &mut Vec<v1::Rejection>,
    ) -> Result<(), Error> {
        for info in apps.values() {
            let of_app = || accepted.iter().filter(|(_, event)| event.app == info.app.id);
            let mut new: Vec<(&str, PropertyKind)> = of_app().flat_map(|(_, event)| unknown(info, event)).collect();
            if new.is_empty() {
                continue;
            }
            new.sort_unstable();
            new.dedup();
            let limit = self.limits.app_properties;
            match self.apps.register(info, &new, limit).await {
                Ok(_) => {}
                Err(RegistryError::Full { .. }) => self.register_one_by_one(info, accepted, rejections).await?,
                Err(RegistryError::Meta(error)) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn register_one_by_one(
        &self,
        info: &Arc<AppInfo>,
        accepted: &mut Vec<(u32, Event)>,
        rejections: &mut Vec<v1::Rejection>,
    ) -> Result<(), Error> {
        let (mut info, mut kept) = (Arc::clone(info), Vec::with_capacity(accepted.len()));
        for (index, event) in accepted.drain(..) {
            let new: Vec<_> = unknown(&info, &event).collect();
            if event.app != info.app.id || new.is_empty() {
                kept.push((index, event));
                continue;
            }
            match self.apps.register(&info, &new, self.limits.app_properties).await {
                Ok(grown) => {
                    info = grown;
                    kept.push((index, event));
                }
                Err(RegistryError::Full { registered, limit }) => {
                    let field = format!("events[{index}].properties.{}", new[0].0);
                    let description =
                        format!("is new, and the app has {registered} properties of the {limit} it may have");
                    rejections.push(rejection(
                        index,
                        event.event_id.clone(),
                        Error::invalid(field, "PROPERTY_LIMIT", description),
                    ));
                }
                Err(RegistryError::Meta(error)) => return Err(error.into()),
            }
        }
        *accepted = kept;
        rejections.sort_by_key(|r| r.index);
        Ok(())
    }

    async fn acknowledge(
        &self,
        accepted: Vec<(u32, Event)>,
        rejections: Vec<v1::Rejection>,
    ) -> Result<v1::Acknowledgement, Error> {
        let count = accepted.len() as u32;
        if count == 0 {
            return Ok(v1::Acknowledgement { accepted: 0, rejections, position_token: String::new() });
        }
        let partitions = self.log.partitions();
        let position = self.append(count, |trace| batches(&accepted, partitions, trace)).await?;
        Ok(v1::Acknowledgement { accepted: count, rejections, position_token: self.token_key.sign(&position) })
    }

    /// Appends records, which carry the trace of the append if the call is sampled.
    async fn append(
        &self,
        records: u32,
        batches: impl FnOnce(Option<TraceIds>) -> Vec<Batch>,
    ) -> Result<Position, Error> {
        let span = trace::when_sampled(|| debug_span!("append", otel.kind = "producer", records));
        async { self.log.append(batches(trace::current())).await.map_err(log_error) }.instrument(span).await
    }
}

fn batches(accepted: &[(u32, Event)], partitions: u32, trace: Option<TraceIds>) -> Vec<Batch> {
    let mut batches: Vec<(Vec<u8>, Vec<u32>)> = vec![Default::default(); partitions as usize];
    for (_, event) in accepted {
        let partition = partition_of(&event.tenant, &event.app, &event.user_id, &event.event_id, partitions);
        let (buffer, ends) = &mut batches[partition as usize];
        record::encode_event(event, trace, buffer);
        ends.push(buffer.len() as u32);
    }
    let batches = batches.into_iter().enumerate().filter(|(_, (_, ends))| !ends.is_empty());
    batches
        .map(|(partition, (buffer, ends))| Batch {
            partition: partition as PartitionId,
            buffer: Bytes::from(buffer),
            ends,
        })
        .collect()
}

fn unknown<'a>(info: &AppInfo, event: &'a Event) -> impl Iterator<Item = (&'a str, PropertyKind)> {
    let schema = Arc::clone(&info.schema);
    let pairs = event.properties.iter().map(|(name, value): &(String, Value)| (name.as_str(), value.kind()));
    pairs.filter(move |(name, kind)| schema.slot(name, *kind).is_none())
}

fn rejection(index: u32, event_id: String, error: Error) -> v1::Rejection {
    let violation = error.violations.into_iter().next();
    let (code, field, message) = match violation {
        Some(v) => (v.reason.into_owned(), v.field, v.description),
        None => (error.code.reason().to_owned(), format!("events[{index}]"), error.message),
    };
    v1::Rejection { index, event_id, code, field, message }
}

fn log_error(error: LogError) -> Error {
    warn!(%error, "the event log refused an append");
    match error {
        LogError::Unavailable(_) => {
            Error::unavailable("the event log can't take events now; retry with the same event ids", RETRY_AFTER)
        }
        _ => Error::internal("the event log refused the batch"),
    }
}

const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

enum AppError {
    /// The event names an app out of reach.
    Event(Error),
    /// Nothing can be judged now.
    Batch(Error),
}

impl AppError {
    fn into_inner(self) -> Error {
        match self {
            Self::Event(error) | Self::Batch(error) => error,
        }
    }
}

/// The apps that a batch speaks of, each looked up once.
struct AppsOfBatch<'a> {
    publisher: &'a Publisher,
    context: &'a CallContext,
    default_app: &'a str,
    known: HashMap<AppId, Arc<AppInfo>>,
}

impl AppsOfBatch<'_> {
    async fn app(&mut self, at: &str, named: &str) -> Result<AppId, AppError> {
        let scope = &self.context.scope;
        let field = || if at.is_empty() { "app_id".to_owned() } else { format!("{at}.app_id") };
        let name = if named.is_empty() { self.default_app } else { named };
        let app = if name.is_empty() {
            scope.apps.single().cloned().ok_or_else(|| {
                let description = "is needed, in the event or the request: this key reaches more than one app";
                AppError::Event(Error::invalid(field(), "REQUIRED", description))
            })?
        } else {
            convert::app_from_wire(&field(), name).map_err(AppError::Event)?
        };
        if self.known.contains_key(&app) {
            return Ok(app);
        }
        let refused = |description: String| {
            let mut error = Error::invalid(field(), "NOT_ALLOWED", description);
            error.code = ErrorCode::PermissionDenied;
            AppError::Event(error)
        };
        if !scope.reaches(&app) {
            return Err(refused(format!("app {app} is out of this key's reach")));
        }
        match self.publisher.apps.get(&scope.tenant, &app).await {
            Ok(info) => {
                self.known.insert(app.clone(), info);
                Ok(app)
            }
            Err(storage::MetaError::NotFound(_)) => Err(refused(format!("there is no app {app}"))),
            Err(error) => Err(AppError::Batch(error.into())),
        }
    }
}
