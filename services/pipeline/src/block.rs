//! Records into columns: what a range of the log adds to the warehouse.
//!
//! Building is a function of the records, of what was committed before them and of who was erased, so the same range gives the
//! same block again, unless a tombstone came in between: see [`crate::erased`].

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use eventlog::Record;
use model::{
    AppId, AppSchema, DAY_MS, HOUR_MS, Offset, PartitionId, Slot, TenantId, identity_hash, partition_of,
    record::{self, Body, PropertyRef, RecordRef, ValueRef},
};
use storage::{
    AppInfo, Apps, MetaError, Placement, RegistryError, TouchedHour,
    warehouse::{EventColumns, EventRow, Reason, UncountedColumns, UncountedRow, UserColumns, UserRow},
};
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    PipelineError,
    erased::Erased,
    patience::patiently,
    seen::Seen,
    shares::Shares,
    tee::Told,
    users::{TraitValue, User, Users},
};

/// After so many records, about a millisecond, others get their turn on the thread: no worker's claim waits behind another's block.
const YIELD_EVERY: usize = 256;

/// What a range of records comes to.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// Events that count, by UTC day.
    pub(crate) days: BTreeMap<i64, EventColumns>,
    /// Users after each Identify.
    pub(crate) users: UserColumns,
    /// The records that are neither.
    pub(crate) uncounted: UncountedColumns,
    /// Of those of erased users, that there was one.
    pub(crate) erased: UncountedColumns,
    /// Hours of apps that got events.
    pub(crate) hours: BTreeSet<TouchedHour>,
    /// Events that count.
    pub(crate) stored: u64,
    /// Events that were seen before.
    pub(crate) duplicates: u64,
    /// Events that ingest refused and kept.
    pub(crate) dead_letters: u64,
    /// What of it is whose.
    pub(crate) shares: Shares,
    /// What others are told of it.
    pub(crate) told: Told,
}

/// What a worker remembers of its partition up to the committed offset.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) placement: Arc<Placement>,
    pub(crate) seen: Seen,
    pub(crate) users: Users,
    pub(crate) erased: Erased,
}

/// Where the records come from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) incarnation: u64,
    pub(crate) partition: PartitionId,
}

impl Place {
    /// A place in the log as it counts in this partition: those in partitions that its users came from are before all its own, those in
    /// partitions that its users went to after them. For one user the order is that of the log.
    pub(crate) fn order(self, (partition, offset): (PartitionId, Offset)) -> u64 {
        match partition.cmp(&self.partition) {
            Ordering::Less => 0,
            Ordering::Equal => offset + 1,
            Ordering::Greater => u64::MAX,
        }
    }
}

/// Builds the block of these records; `told` says what others want to be told of it. `memory` is then that of the range's end: on an error it is worthless.
pub(crate) async fn build(
    records: &[Record],
    place: Place,
    memory: &mut Memory,
    apps: &Apps,
    told: Told,
    stop: &CancellationToken,
) -> Result<Block, PipelineError> {
    let mut block = Block { told, ..Block::default() };
    let mut schemas = Schemas { apps, stop, known: Vec::new(), last: 0 };
    let mut hour = HourCursor::default();
    let (mut properties, mut slots) = (Vec::new(), Vec::new());
    for (done, record) in records.iter().enumerate() {
        if done % YIELD_EVERY == YIELD_EVERY - 1 {
            yield_now().await;
        }
        let content = match record::decode(&record.payload, &mut properties) {
            Ok(content) => content,
            // Only a defect of ours gets here. The record is kept where it can be looked at.
            Err(error) => {
                metrics::counter!("penstock_pipeline_damaged_records_total").increment(1);
                error!(partition = place.partition, offset = record.offset, %error, "a record is passed over");
                block.add_damaged(record, place);
                continue;
            }
        };
        let bytes = record.payload.len();
        block.shares.add(content.tenant, bytes);
        if !is_in_place(&memory.placement, place, record.offset, &content) {
            metrics::counter!("penstock_pipeline_misplaced_records_total").increment(1);
            block.add_uncounted(&content, Reason::Misplaced, "", &[], place, record.offset);
            continue;
        }
        let (at, end) =
            ((place.partition, record.offset), memory.erased.end(content.tenant, content.app, content.user_id));
        if end.is_some_and(|end| at < end) {
            block.add_erased(&content, place, record.offset);
            continue;
        }
        match content.body {
            Body::Identify => {
                let user = memory.users.identify(content.tenant, content.app, content.user_id, &properties);
                block.add_user(&content, &user, place, record.offset);
                block.told.user(&content, &user, place, record);
            }
            Body::Event { event_id, timestamp_ms, .. } => {
                let identity = identity_hash(content.tenant, content.app, content.user_id, event_id);
                let since = end.map_or(0, |end| place.order(end));
                if memory.seen.is_duplicate(identity, place.order(at), content.received_at_ms, since) {
                    block.duplicates += 1;
                    block.add_uncounted(&content, Reason::Duplicate, event_id, &[], place, record.offset);
                    continue;
                }
                schemas.slots(content.tenant, content.app, &properties, &mut slots).await?;
                let user = memory.users.get(content.tenant, content.app, content.user_id);
                block.add_event(&content, properties.iter().zip(&slots), user.as_deref(), place, record.offset);
                block.shares.store(content.tenant, bytes);
                block.told.event(&content, &properties, user.as_deref(), place, record);
                hour.touch(&mut block.hours, &content, timestamp_ms);
            }
            Body::DeadLetter { event_id, .. } => {
                block.dead_letters += 1;
                block.add_uncounted(&content, Reason::DeadLetter, event_id, &record.payload, place, record.offset);
                block.told.dead_letter(&content, &properties, place, record);
            }
        }
    }
    Ok(block)
}

/// Whether the record is where it was to be put.
fn is_in_place(placement: &Placement, place: Place, offset: Offset, content: &RecordRef<'_>) -> bool {
    let Some(partitions) = placement.partitions_at(place.partition, offset) else { return true };
    let event_id = match content.body {
        Body::Event { event_id, .. } | Body::DeadLetter { event_id, .. } => event_id,
        Body::Identify => "",
    };
    partition_of(content.tenant, content.app, content.user_id, event_id, partitions) == place.partition
}

impl Block {
    fn add_event<'a>(
        &mut self,
        content: &RecordRef<'_>,
        properties: impl Iterator<Item = (&'a PropertyRef<'a>, &'a Slot)>,
        user: Option<&User>,
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
        for (PropertyRef { name, kind, value }, slot) in properties {
            columns.set(*slot, name, *kind, *value).expect("the registry gives a slot that fits the kind");
        }
        self.stored += 1;
    }

    fn add_uncounted(
        &mut self,
        content: &RecordRef<'_>,
        reason: Reason,
        event_id: &str,
        record: &[u8],
        place: Place,
        offset: u64,
    ) {
        self.uncounted.push(&UncountedRow {
            tenant: content.tenant,
            app: content.app,
            reason,
            user_id: content.user_id,
            event_id,
            received_at_ms: content.received_at_ms,
            record,
            incarnation: place.incarnation,
            partition: place.partition,
            offset,
        });
    }

    /// Nothing of the record, but that it was there: so every offset has its row.
    fn add_erased(&mut self, content: &RecordRef<'_>, place: Place, offset: u64) {
        self.erased.push(&UncountedRow {
            tenant: content.tenant,
            app: content.app,
            reason: if content.body == Body::Identify { Reason::ErasedIdentify } else { Reason::Erased },
            user_id: "",
            event_id: "",
            received_at_ms: content.received_at_ms,
            record: &[],
            incarnation: place.incarnation,
            partition: place.partition,
            offset,
        });
    }

    fn add_damaged(&mut self, record: &Record, place: Place) {
        self.uncounted.push(&UncountedRow {
            tenant: "",
            app: "",
            reason: Reason::Damaged,
            user_id: "",
            event_id: "",
            received_at_ms: record.appended_ms,
            record: &record.payload,
            incarnation: place.incarnation,
            partition: place.partition,
            offset: record.offset,
        });
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

/// The registries that a block needs.
struct Schemas<'a> {
    apps: &'a Apps,
    stop: &'a CancellationToken,
    known: Vec<Arc<AppInfo>>,
    /// The one asked last: neighbours mostly are of one app.
    last: usize,
}

impl Schemas<'_> {
    /// Puts into `slots` where each property of an event lies.
    async fn slots(
        &mut self,
        tenant: &str,
        app: &str,
        properties: &[PropertyRef<'_>],
        slots: &mut Vec<Slot>,
    ) -> Result<(), PipelineError> {
        let is_it = |info: &AppInfo| info.app.id.as_str() == app && info.app.tenant.as_str() == tenant;
        if !self.known.get(self.last).is_some_and(|info| is_it(info)) {
            self.last = match self.known.iter().position(|info| is_it(info)) {
                Some(known) => known,
                None => {
                    self.known.push(patiently(self.stop, || look_up(tenant, app, self.apps)).await?);
                    self.known.len() - 1
                }
            };
        }
        if !resolve(&self.known[self.last].schema, properties, slots) {
            // Ingest registers before it appends, so what is missing here is only newer than our copy, or the metastore was
            // put back to an older state: then it is registered again.
            let info = Arc::clone(&self.known[self.last]);
            let grown = patiently(self.stop, || register(&info, properties, self.apps)).await?;
            if !resolve(&grown.schema, properties, slots) {
                return Err(PipelineError::Inconsistent("what was registered isn't in the registry".to_owned()));
            }
            self.known[self.last] = grown;
        }
        Ok(())
    }
}

/// Whether the schema has all of them.
fn resolve(schema: &AppSchema, properties: &[PropertyRef<'_>], slots: &mut Vec<Slot>) -> bool {
    let mut known = schema.slots();
    slots.clear();
    slots.extend(properties.iter().map_while(|property| known.of(property.name, property.kind)));
    slots.len() == properties.len()
}

async fn register(info: &AppInfo, properties: &[PropertyRef<'_>], apps: &Apps) -> Result<Arc<AppInfo>, PipelineError> {
    let properties: Vec<_> = properties.iter().map(|property| (property.name, property.kind)).collect();
    apps.register(info, &properties, usize::MAX).await.map_err(|e| match e {
        RegistryError::Meta(error) => PipelineError::Meta(error),
        RegistryError::Full { .. } => PipelineError::Inconsistent(e.to_string()),
    })
}

async fn look_up(tenant: &str, app: &str, apps: &Apps) -> Result<Arc<AppInfo>, PipelineError> {
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
