//! Records into columns: what a range of the log adds to the warehouse.
//!
//! Building is a function of the records and of what was committed before them, so the same range gives the same block again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ahash::HashMap;
use eventlog::Record;
use model::{
    AppId, AppSchema, DAY_MS, HOUR_MS, PartitionId, PropertyKind, TenantId, identity_hash,
    record::{self, Body, Properties, RecordRef, ValueRef},
};
use storage::{
    AppInfo, Apps, MetaError, RegistryError, TouchedHour,
    warehouse::{EventColumns, EventRow, UserColumns, UserRow},
};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    PipelineError,
    patience::patiently,
    seen::Seen,
    users::{TraitValue, User, Users},
};

/// What a range of records comes to.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// Events that count, by UTC day.
    pub(crate) days: BTreeMap<i64, EventColumns>,
    /// Users after each Identify.
    pub(crate) users: UserColumns,
    /// Hours of apps that got events.
    pub(crate) hours: BTreeSet<TouchedHour>,
    /// Events that count.
    pub(crate) stored: u64,
    /// Events that were seen before.
    pub(crate) duplicates: u64,
}

/// What a worker remembers of its partition up to the committed offset.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) seen: Seen,
    pub(crate) users: Users,
}

/// Where the records come from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) incarnation: u64,
    pub(crate) partition: PartitionId,
}

/// Builds the block of these records. `memory` is then that of the range's end: on an error it is worthless.
pub(crate) async fn build(
    records: &[Record],
    place: Place,
    memory: &mut Memory,
    apps: &Apps,
    stop: &CancellationToken,
) -> Result<Block, PipelineError> {
    let mut decoded = Vec::with_capacity(records.len());
    for record in records {
        match record::decode(&record.payload) {
            Ok(content) => decoded.push((record.offset, content)),
            // Only a defect of ours gets here. The record stays in the log, where it can be looked at.
            Err(error) => {
                metrics::counter!("penstock_pipeline_damaged_records_total").increment(1);
                error!(partition = place.partition, offset = record.offset, %error, "a record is passed over");
            }
        }
    }
    let schemas = patiently(stop, || Schemas::of(&decoded, apps)).await?;
    let mut block = Block::default();
    let mut hour = HourCursor::default();
    for (offset, content) in &decoded {
        match content.body {
            Body::Identify => {
                let user = memory.users.identify(content.tenant, content.app, content.user_id, &content.properties);
                block.add_user(content, &user, place, *offset);
            }
            Body::Event { event_id, timestamp_ms, .. } => {
                let identity = identity_hash(content.tenant, content.app, content.user_id, event_id);
                if memory.seen.is_duplicate(identity, *offset, content.received_at_ms) {
                    block.duplicates += 1;
                    continue;
                }
                let user = memory.users.get(content.tenant, content.app, content.user_id);
                let schema = schemas.get(content.tenant, content.app);
                block.add_event(content, user.as_deref(), schema, place, *offset);
                hour.touch(&mut block.hours, content, timestamp_ms);
            }
        }
    }
    Ok(block)
}

impl Block {
    fn add_event(
        &mut self,
        content: &RecordRef<'_>,
        user: Option<&User>,
        schema: &AppSchema,
        place: Place,
        offset: u64,
    ) {
        let Body::Event { event_id, event_type, timestamp_ms } = content.body else { return };
        let day_ms = timestamp_ms.div_euclid(DAY_MS) * DAY_MS;
        let columns = self.days.entry(day_ms).or_insert_with(|| EventColumns::for_day_of(day_ms));
        let row = EventRow {
            tenant: content.tenant,
            app: content.app,
            event_type,
            timestamp_ms,
            user_id: content.user_id,
            event_id,
            country: user.and_then(User::country),
            plan: user.and_then(User::plan),
            received_at_ms: content.received_at_ms,
            incarnation: place.incarnation,
            partition: place.partition,
            offset,
        };
        columns.push(&row).expect("the columns are those of the event's day");
        for (name, kind, value) in content.properties.iter() {
            let slot = schema.slot(name, kind).expect("every property of the block was looked up before");
            columns.set(slot, name, kind, value).expect("the registry gives a slot that fits the kind");
        }
        self.stored += 1;
    }

    fn add_user(&mut self, content: &RecordRef<'_>, user: &User, place: Place, offset: u64) {
        self.users.push(&UserRow {
            tenant: content.tenant,
            app: content.app,
            user_id: content.user_id,
            country: user.country(),
            plan: user.plan(),
            received_at_ms: content.received_at_ms,
            incarnation: place.incarnation,
            partition: place.partition,
            offset,
        });
        for (name, kind, value) in &user.traits {
            let value = match value {
                TraitValue::Number(x) => ValueRef::Number(*x),
                TraitValue::Text(text) => ValueRef::Text(text),
            };
            self.users.set(name, *kind, value);
        }
    }
}

/// The registries that a block needs, complete for its properties.
struct Schemas<'a> {
    by_app: HashMap<(&'a str, &'a str), Arc<AppInfo>>,
}

impl<'a> Schemas<'a> {
    async fn of(decoded: &[(u64, RecordRef<'a>)], apps: &Apps) -> Result<Self, PipelineError> {
        let mut by_app: HashMap<(&str, &str), Arc<AppInfo>> = HashMap::default();
        let mut missing: BTreeMap<(&str, &str), BTreeSet<(&str, PropertyKind)>> = BTreeMap::new();
        for (_, content) in decoded.iter().filter(|(_, content)| content.body != Body::Identify) {
            let key = (content.tenant, content.app);
            let info = match by_app.get(&key) {
                Some(info) => info,
                None => {
                    let info = look_up(key, apps).await?;
                    by_app.entry(key).or_insert(info)
                }
            };
            let unknown = unknown(&info.schema, &content.properties);
            for property in unknown {
                missing.entry(key).or_default().insert(property);
            }
        }
        // Ingest registers before it appends, so what is missing here is only newer than our copy, or the metastore was
        // put back to an older state: then it is registered again.
        for (key, properties) in missing {
            let properties: Vec<_> = properties.into_iter().collect();
            let info =
                by_app.get(&key).ok_or_else(|| PipelineError::Inconsistent("an app without events".to_owned()))?;
            let info = apps.register(info, &properties, usize::MAX).await.map_err(|e| match e {
                RegistryError::Meta(error) => PipelineError::Meta(error),
                RegistryError::Full { .. } => PipelineError::Inconsistent(e.to_string()),
            })?;
            by_app.insert(key, info);
        }
        Ok(Self { by_app })
    }

    fn get(&self, tenant: &'a str, app: &'a str) -> &AppSchema {
        &self.by_app.get(&(tenant, app)).expect("every app of the block was looked up before").schema
    }
}

fn unknown<'a>(schema: &AppSchema, properties: &Properties<'a>) -> impl Iterator<Item = (&'a str, PropertyKind)> {
    properties.iter().map(|(name, kind, _)| (name, kind)).filter(|(name, kind)| schema.slot(name, *kind).is_none())
}

async fn look_up((tenant, app): (&str, &str), apps: &Apps) -> Result<Arc<AppInfo>, PipelineError> {
    let ids = TenantId::new(tenant).and_then(|tenant| Ok((tenant, AppId::new(app)?)));
    let (tenant, app) = ids.map_err(|e| PipelineError::Inconsistent(e.to_string()))?;
    match apps.get(&tenant, &app).await {
        Err(MetaError::NotFound(what)) => {
            Err(PipelineError::Inconsistent(format!("{what} of the log is not in the metastore")))
        }
        found => Ok(found?),
    }
}

/// Touched hours, without a set look-up for each event: neighbours are mostly of one app and hour.
#[derive(Default)]
struct HourCursor<'a> {
    last: Option<(&'a str, &'a str, i64)>,
}

impl<'a> HourCursor<'a> {
    fn touch(&mut self, hours: &mut BTreeSet<TouchedHour>, content: &RecordRef<'a>, timestamp_ms: i64) {
        let hour_ms = timestamp_ms.div_euclid(HOUR_MS) * HOUR_MS;
        let this = (content.tenant, content.app, hour_ms);
        if self.last == Some(this) {
            return;
        }
        self.last = Some(this);
        if let (Ok(tenant), Ok(app)) = (TenantId::new(content.tenant), AppId::new(content.app)) {
            hours.insert(TouchedHour { tenant, app, hour_ms });
        }
    }
}
