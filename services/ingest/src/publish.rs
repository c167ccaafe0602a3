//! One batch: judge each event, register new properties, append, acknowledge.

use std::{
    mem,
    ops::Range,
    sync::{Arc, LazyLock},
    time::Duration,
};

use api::v1;
use bytes::Bytes;
use eventlog::{Batch, EventLog, LogError};
use mesh::{context::CallContext, per_tenant::PerTenant, signed::SigningKey, trace};
use metrics::{Counter, counter};
use model::{
    AppId, Error, PartitionId, Permission, Position, PropertyKind, Scope, partition_of,
    record::{self, Body, PropertyRef, RecordRef, TraceIds},
};
use storage::{AppInfo, Apps, RegistryError};
use tracing::{Instrument, debug_span, warn};

use crate::{
    Limits, Parts,
    apps::{AppError, AppsOfBatch},
    flow::{Admission, Flow, Size, Sizes},
    placing::Placing,
    validate::{self, Good, Judge},
    wire,
};

/// Takes batches from every route.
pub struct Publisher {
    log: Arc<dyn EventLog>,
    placing: Arc<Placing>,
    apps: Arc<Apps>,
    flow: Arc<Flow>,
    limits: Limits,
    retention_days: u32,
    token_key: SigningKey,
    now_ms: fn() -> i64,
}

/// What becomes of a batch.
struct Verdict<'a> {
    received_at_ms: i64,
    /// What goes to the log: the accepted events, and among them those that are refused and kept as dead letters.
    kept: Vec<Kept<'a>>,
    /// Of all kept events, one after another.
    properties: Vec<PropertyRef<'a>>,
    rejections: Vec<v1::Rejection>,
    /// Every app that an event named, as known when it was first looked up.
    apps: Vec<Arc<AppInfo>>,
}

struct Kept<'a> {
    /// In the batch.
    index: usize,
    /// In the verdict's apps.
    app: usize,
    event: Good<'a>,
    /// In the verdict's properties.
    properties: Range<usize>,
    /// Whether a property isn't in the app's registry.
    any_new: bool,
}

/// What one tenant sent.
struct OfTenant {
    accepted: Counter,
    rejected: Counter,
    bytes: Counter,
}

static OF_TENANTS: LazyLock<PerTenant<OfTenant>> = LazyLock::new(|| {
    PerTenant::new(|tenant| {
        let verdict =
            |verdict| counter!("penstock_tenant_events_total", "tenant" => tenant.clone(), "verdict" => verdict);
        let (accepted, rejected) = (verdict("accepted"), verdict("rejected"));
        OfTenant { accepted, rejected, bytes: counter!("penstock_tenant_event_bytes_total", "tenant" => tenant) }
    })
});

impl Publisher {
    /// Publishes to the parts' log what `flow` lets in. To be called within a runtime, which follows where records go as long as this lives.
    pub(crate) fn new(parts: Parts, flow: Arc<Flow>) -> Self {
        let Parts { log, apps, meta, limits, retention_days, token_key, now_ms, writer, .. } = parts;
        let away = Duration::from_secs(limits.away_seconds.max(1));
        let placing = Arc::new(Placing::new(Arc::clone(&log), meta, writer, away, now_ms));
        tokio::spawn(Placing::follow(Arc::downgrade(&placing)));
        Self { log, placing, apps, flow, limits, retention_days, token_key, now_ms }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn now_ms(&self) -> i64 {
        (self.now_ms)()
    }

    pub(crate) fn flow(&self) -> &Flow {
        &self.flow
    }

    /// Publishes a batch off the wire.
    pub(crate) async fn batch(&self, context: &CallContext, message: &[u8]) -> Result<v1::Acknowledgement, Error> {
        self.check_bytes(message)?;
        self.events(context, wire::Batch::read(message)?, message.len()).await
    }

    /// Publishes events, some of which the route may have refused already. They came in so many bytes.
    pub(crate) async fn events(
        &self,
        context: &CallContext,
        batch: wire::Batch<'_>,
        bytes: usize,
    ) -> Result<v1::Acknowledgement, Error> {
        context.require(Permission::Ingest)?;
        self.check_events(batch.events.len())?;
        let sizes = self.sizes(&context.scope, &batch, bytes);
        let admission = self.flow.admit(&context.scope.tenant, &sizes).await?;
        self.publish(context, batch, admission).await
    }

    /// Publishes a batch off the wire that was let in already.
    pub(crate) async fn admitted(
        &self,
        context: &CallContext,
        message: &[u8],
        admission: Admission,
    ) -> Result<v1::Acknowledgement, Error> {
        let read = wire::Batch::read(message).and_then(|batch| {
            self.check_events(batch.events.len())?;
            Ok(batch)
        });
        match read {
            Ok(batch) => self.publish(context, batch, admission).await,
            Err(error) => {
                self.flow.give_back(&admission);
                Err(error)
            }
        }
    }

    /// What a batch costs that came in so many bytes; each app has a part of them by its events.
    pub(crate) fn sizes(&self, scope: &Scope, batch: &wire::Batch<'_>, bytes: usize) -> Sizes {
        let whole = Size { events: batch.events.len(), bytes };
        if !self.flow.quotas.are_of_apps(&scope.tenant) {
            return whole.into();
        }
        let mut apps = Vec::<(&str, usize)>::new();
        for event in &batch.events {
            let own = event.as_ref().map_or("", |event| event.app_id);
            let usual = || scope.apps.single().map_or("", AppId::as_str);
            let name = [own, batch.app_id].into_iter().find(|name| !name.is_empty()).unwrap_or_else(usual);
            match apps.iter_mut().find(|(app, _)| *app == name) {
                Some((_, events)) => *events += 1,
                None => apps.push((name, 1)),
            }
        }
        // What is no app's name is refused as such, event by event.
        let size = |(app, events)| Some((AppId::new(app).ok()?, Size { events, bytes: bytes * events / whole.events }));
        Sizes { whole, of_apps: apps.into_iter().filter_map(size).collect() }
    }

    /// Refuses a batch off the wire that is too long.
    pub(crate) fn check_bytes(&self, message: &[u8]) -> Result<(), Error> {
        if message.len() <= self.limits.batch_bytes {
            return Ok(());
        }
        let description = format!("the batch has {} bytes, the limit is {}", message.len(), self.limits.batch_bytes);
        Err(Error::invalid("events", "TOO_LONG", description))
    }

    fn check_events(&self, events: usize) -> Result<(), Error> {
        if events <= self.limits.batch_events {
            return Ok(());
        }
        let description = format!("the batch has {events} events, the limit is {}", self.limits.batch_events);
        Err(Error::invalid("events", "TOO_MANY", description))
    }

    async fn publish(
        &self,
        context: &CallContext,
        batch: wire::Batch<'_>,
        admission: Admission,
    ) -> Result<v1::Acknowledgement, Error> {
        let published = async {
            let before = self.position(batch.position_token)?;
            let mut verdict = self.judge(context, batch).await?;
            self.register(&mut verdict).await?;
            self.acknowledge(verdict, before).await
        };
        let acknowledgement = published.await.inspect_err(|_| self.flow.give_back(&admission))?;
        let of_tenant = OF_TENANTS.of(&context.scope.tenant);
        let (accepted, rejected) = (u64::from(acknowledgement.accepted), acknowledgement.rejections.len() as u64);
        counter!("penstock_ingest_events_total", "verdict" => "accepted").increment(accepted);
        counter!("penstock_ingest_events_total", "verdict" => "rejected").increment(rejected);
        of_tenant.accepted.increment(accepted);
        of_tenant.rejected.increment(rejected);
        of_tenant.bytes.increment(admission.bytes());
        Ok(acknowledgement)
    }

    async fn judge<'a>(&self, context: &CallContext, batch: wire::Batch<'a>) -> Result<Verdict<'a>, Error> {
        let wire::Batch { app_id, events, properties: given, .. } = batch;
        let judge = Judge {
            limits: &self.limits,
            received_at_ms: (self.now_ms)(),
            backfill: context.scope.allows(Permission::Backfill),
        };
        let mut apps = AppsOfBatch::new(&self.apps, context, app_id);
        let mut kept = Vec::with_capacity(events.len());
        let (mut properties, mut rejections) = (Vec::with_capacity(given.len()), Vec::new());
        for (index, event) in events.into_iter().enumerate() {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    rejections.push(rejection(index, "", error));
                    continue;
                }
            };
            let start = properties.len();
            let judged = match apps.find(event.app_id, || format!("events[{index}].app_id")).await {
                Err(AppError::Batch(error)) => return Err(error),
                Err(AppError::Event(error)) => Err(error),
                Ok(app) => judge.event(index, &event).and_then(|good| {
                    judge.kept(index, &good, apps.known(app).retention_days.unwrap_or(self.retention_days))?;
                    let (given, at) = (&given[event.properties.clone()], || format!("events[{index}].properties"));
                    let any_new = judge.properties(at, given, &apps.known(app).schema, &mut properties)?;
                    Ok(Kept { index, app, event: good, properties: start..properties.len(), any_new })
                }),
            };
            match judged {
                Ok(Kept { event: Good { dead: Some(error), .. }, .. }) if !self.limits.keep_dead_letters => {
                    properties.truncate(start);
                    rejections.push(rejection(index, event.event_id, error));
                }
                Ok(event) => {
                    if let Some(error) = &event.event.dead {
                        rejections.push(rejection(index, &event.event.event_id, error.clone()));
                    }
                    kept.push(event);
                }
                Err(error) => {
                    properties.truncate(start);
                    rejections.push(rejection(index, event.event_id, error));
                }
            }
        }
        let (received_at_ms, apps) = (judge.received_at_ms, apps.into_known());
        Ok(Verdict { received_at_ms, kept, properties, rejections, apps })
    }

    /// Takes what is known of a user.
    pub(crate) async fn identify(&self, context: &CallContext, message: &[u8]) -> Result<String, Error> {
        let wire::Identify { app_id, user_id, traits, position_token } = wire::Identify::read(message)?;
        let before = self.position(position_token)?;
        let appended = self.known(context, (app_id, user_id), &traits, message.len()).await?;
        Ok(self.token(before, Some(appended)))
    }

    /// The same, of what another route has read. It came in so many bytes.
    pub(crate) async fn known(
        &self,
        context: &CallContext,
        (app_id, user_id): (&str, &str),
        traits: &[(&str, wire::Value<'_>)],
        bytes: usize,
    ) -> Result<Position, Error> {
        context.require(Permission::Ingest)?;
        let judge = Judge { limits: &self.limits, received_at_ms: (self.now_ms)(), backfill: false };
        validate::name(user_id, self.limits.user_bytes, || "user_id".to_owned())?;
        let mut apps = AppsOfBatch::new(&self.apps, context, app_id);
        let app = apps.find("", || "app_id".to_owned()).await.map_err(AppError::into_inner)?;
        let mut good = Vec::with_capacity(traits.len());
        // Traits have no registry: every name is looked at.
        judge.properties(|| "traits".to_owned(), traits, &model::AppSchema::default(), &mut good)?;
        for PropertyRef { name, kind, .. } in &good {
            if matches!(*name, "country" | "plan") && *kind != PropertyKind::String {
                return Err(Error::invalid(format!("traits.{name}"), "MALFORMED", "must be a string"));
            }
        }
        let app = &apps.known(app).app;
        let record = RecordRef {
            tenant: app.tenant.as_str(),
            app: app.id.as_str(),
            user_id,
            received_at_ms: judge.received_at_ms,
            body: Body::Identify,
        };
        let batches = |partitions, trace| {
            let partition = partition_of(app.tenant.as_str(), app.id.as_str(), user_id, "", partitions);
            let mut buffer = Vec::new();
            record::encode(&record, &good, trace, &mut buffer);
            let ends = vec![buffer.len() as u32];
            vec![Batch { partition, buffer: Bytes::from(buffer), ends }]
        };
        let whole = Size { events: 1, bytes };
        let sizes = Sizes { whole, of_apps: vec![(app.id.clone(), whole)] };
        let admission = self.flow.admit(&context.scope.tenant, &sizes).await?;
        self.append(1, batches).await.inspect_err(|_| self.flow.give_back(&admission))
    }

    /// Registers what the batch brings for the first time. An event whose properties find no more room is rejected alone.
    async fn register(&self, verdict: &mut Verdict<'_>) -> Result<(), Error> {
        if !verdict.accepted().any(|event| event.any_new) {
            return Ok(());
        }
        for app in 0..verdict.apps.len() {
            let info = &verdict.apps[app];
            let of_app = verdict.accepted().filter(|event| event.app == app);
            let mut new: Vec<_> = of_app.flat_map(|event| verdict.unknown(event, info)).collect();
            if new.is_empty() {
                continue;
            }
            new.sort_unstable();
            new.dedup();
            match self.apps.register(info, &new, self.limits.app_properties).await {
                Ok(_) => {}
                Err(RegistryError::Full { .. }) => self.register_one_by_one(verdict, app).await?,
                Err(RegistryError::Meta(error)) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn register_one_by_one(&self, verdict: &mut Verdict<'_>, app: usize) -> Result<(), Error> {
        let mut info = Arc::clone(&verdict.apps[app]);
        let all = mem::take(&mut verdict.kept);
        for event in all {
            let counts = event.app == app && event.event.dead.is_none();
            let new: Vec<_> = if counts { verdict.unknown(&event, &info).collect() } else { Vec::new() };
            if new.is_empty() {
                verdict.kept.push(event);
                continue;
            }
            match self.apps.register(&info, &new, self.limits.app_properties).await {
                Ok(grown) => {
                    info = grown;
                    verdict.kept.push(event);
                }
                Err(RegistryError::Full { registered, limit }) => {
                    let field = format!("events[{}].properties.{}", event.index, new[0].0);
                    let description =
                        format!("is new, and the app has {registered} properties of the {limit} it may have");
                    let error = Error::invalid(field, "PROPERTY_LIMIT", description);
                    verdict.rejections.push(rejection(event.index, &event.event.event_id, error));
                }
                Err(RegistryError::Meta(error)) => return Err(error.into()),
            }
        }
        verdict.rejections.sort_by_key(|r| r.index);
        Ok(())
    }

    /// What a sender's token covers; `None` if it passed none.
    fn position(&self, token: &str) -> Result<Option<Position>, Error> {
        let foreign = || Error::invalid("position_token", "MALFORMED", "is not a token that this installation gave");
        (!token.is_empty()).then(|| self.token_key.open(token).ok_or_else(foreign)).transpose()
    }

    /// A token that covers both; empty if there is nothing to cover.
    fn token(&self, before: Option<Position>, appended: Option<Position>) -> String {
        let both = before.into_iter().chain(appended).reduce(Position::join);
        both.map_or_else(String::new, |position| self.token_key.sign(&position))
    }

    /// Makes a token cover what was covered before too.
    pub(crate) fn cover(&self, covered: &mut Option<Position>, token: &mut String) -> Result<(), Error> {
        let before = covered.take();
        *covered = before.clone().into_iter().chain(self.position(token)?).reduce(Position::join);
        if before.is_some() {
            *token = self.token(None, covered.clone());
        }
        Ok(())
    }

    async fn acknowledge(
        &self,
        mut verdict: Verdict<'_>,
        before: Option<Position>,
    ) -> Result<v1::Acknowledgement, Error> {
        let rejections = mem::take(&mut verdict.rejections);
        let (kept, accepted) = (verdict.kept.len() as u32, verdict.accepted().count() as u32);
        let mut appended = None;
        if kept > 0 {
            let position = self.append(kept, |partitions, trace| verdict.records(partitions, trace)).await?;
            appended = Some(position).filter(|_| accepted > 0);
        }
        Ok(v1::Acknowledgement { accepted, rejections, position_token: self.token(before, appended) })
    }

    /// Appends records, which carry the trace of the append if the call is sampled.
    async fn append(
        &self,
        records: u32,
        batches: impl FnOnce(u32, Option<TraceIds>) -> Vec<Batch>,
    ) -> Result<Position, Error> {
        let placed = self.placing.placed().await?;
        let span = trace::when_sampled(|| debug_span!("append", otel.kind = "producer", records));
        let append = async { self.log.append(batches(placed.partitions, trace::current())).await.map_err(log_error) };
        let position = append.instrument(span).await?;
        placed.check()?;
        Ok(position)
    }
}

impl<'a> Verdict<'a> {
    /// The event's properties that the app's registry doesn't have.
    fn unknown(&self, event: &Kept<'a>, info: &AppInfo) -> impl Iterator<Item = (&'a str, PropertyKind)> {
        let properties = self.properties[event.properties.clone()].iter();
        properties.map(|p| (p.name, p.kind)).filter(|(name, kind)| info.schema.slot(name, *kind).is_none())
    }

    /// Those that count.
    fn accepted(&self) -> impl Iterator<Item = &Kept<'a>> {
        self.kept.iter().filter(|event| event.event.dead.is_none())
    }

    /// The kept events as records, each in its user's partition.
    fn records(&self, partitions: u32, trace: Option<TraceIds>) -> Vec<Batch> {
        let mut batches: Vec<(Vec<u8>, Vec<u32>)> = vec![Default::default(); partitions as usize];
        for Kept { app, event, properties, .. } in &self.kept {
            let app = &self.apps[*app].app;
            let (tenant, app_id) = (app.tenant.as_str(), app.id.as_str());
            let partition = partition_of(tenant, app_id, event.user_id, &event.event_id, partitions);
            let (buffer, ends) = &mut batches[partition as usize];
            let record = RecordRef {
                tenant,
                app: app_id,
                user_id: event.user_id,
                received_at_ms: self.received_at_ms,
                body: event.body(),
            };
            record::encode(&record, &self.properties[properties.clone()], trace, buffer);
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
}

/// The refusal of the event at `index`, by the first rule that it breaks.
pub(crate) fn rejection(index: usize, event_id: &str, error: Error) -> v1::Rejection {
    let violation = error.violations.into_iter().next();
    let (code, field, message) = match violation {
        Some(v) => (v.reason.into_owned(), v.field, v.description),
        None => (error.code.reason().to_owned(), format!("events[{index}]"), error.message),
    };
    v1::Rejection { index: index as u32, event_id: event_id.to_owned(), code, field, message }
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

/// When a part that is away may be back.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);
