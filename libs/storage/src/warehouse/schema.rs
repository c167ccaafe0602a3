//! The tables: the one place that knows their DDL.

use model::{DAY_MS, NUMBER_SLOTS, Slot, TEXT_SLOTS};

use super::param::instant;
use crate::{STATES_LAST_MS, place};

/// The database that holds the tables, unless the operator names another.
pub const DEFAULT_DATABASE: &str = "penstock";
/// One row for each event that counts.
pub const EVENTS: &str = "events";
/// One row for each Identify, with everything that was known of the user after it.
pub const USERS: &str = "users";
/// One row for each record of the log that is in neither: duplicates, dead letters, and what can't be read. So every offset is
/// in one of the three.
pub const UNCOUNTED: &str = "uncounted";
/// One row for each user, UTC day and log partition, with the number of events: what daily and monthly active users are counted from.
pub const DAILY_USERS: &str = "daily_users";
/// The view that fills it.
pub const DAILY_USERS_VIEW: &str = "daily_users_view";
/// States of aggregates: a row for each bucket and group of what is kept.
pub const BUCKET_STATES: &str = "bucket_states";
/// All tables that hold rows.
pub(super) const TABLES: [&str; 5] = [EVENTS, USERS, UNCOUNTED, DAILY_USERS, BUCKET_STATES];
/// The tables that hold what events say day by day: partitioned by the UTC day, with `tenant` and `app`, so that a day can expire.
pub(super) const BY_DAY: [&str; 2] = [EVENTS, DAILY_USERS];
/// For how many days after its receipt a row stays among the uncounted.
pub const UNCOUNTED_DAYS: i64 = 30;

/// The UTC day of an event.
pub const DAY: &str = "toDateTime64(toDate32(ts, 'UTC'), 3, 'UTC')";

/// Whether a time is of one of these UTC days (ms), as the tables' partitions are named: no other is read.
pub fn of_days(time: &str, days_ms: &[i64]) -> String {
    let days: Vec<_> = days_ms.iter().map(|day_ms| format!("toYYYYMMDD({})", instant(*day_ms))).collect();
    format!("toYYYYMMDD({time}) IN ({})", days.join(", "))
}

/// What the rollup holds, as these events have it: those of a table, or with a condition some of them.
pub(super) fn daily_users_of(events: &str) -> String {
    format!(
        "SELECT tenant, app, {DAY} AS day, user, _incarnation, _partition, \
         count() AS events FROM {events} GROUP BY tenant, app, day, user, _incarnation, _partition"
    )
}

pub(super) const TEXT: &str = "String";
pub(super) const WORD: &str = "LowCardinality(String)";
pub(super) const NULLABLE_WORD: &str = "LowCardinality(Nullable(String))";
pub(super) const NULLABLE_NUMBER: &str = "Nullable(Float64)";
pub(super) const TIME: &str = "DateTime64(3, 'UTC')";
pub(super) const NUMBER_MAP: &str = "Map(LowCardinality(String), Float64)";
pub(super) const TEXT_MAP: &str = "Map(LowCardinality(String), String)";
pub(super) const U64: &str = "UInt64";
pub(super) const U32: &str = "UInt32";

/// The storage policy with which old events can lie elsewhere, and the volume of it where they do. Its first volume is `default`.
pub const COLD_POLICY: &str = "penstock";
/// See [`COLD_POLICY`].
pub const COLD_VOLUME: &str = "cold";

/// How many of the latest blocks are remembered by their tokens. Without a window a retry would insert twice.
const DEDUPLICATION_WINDOW: u32 = 10_000;
/// For how long replicas remember them.
const DEDUPLICATION_SECONDS: u32 = 7 * 86_400;

/// The statements that bring the database up to date, oldest first. A statement changes nothing where it was run before,
/// and none is ever edited: a change of the tables is a new one at the end.
pub(super) fn migrations(layout: &Layout) -> Vec<String> {
    let mut statements = vec![events(layout), users(layout), uncounted(layout)];
    statements.extend([EVENTS, USERS, UNCOUNTED].map(|table| received_index(layout, table)));
    statements.extend([daily_users(layout), codecs(layout), bucket_states(layout), part_format(layout)]);
    statements
}

/// Where a statement of DDL runs, and whether the servers there keep one another's copies.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// ` ON CLUSTER name`, or nothing.
    pub(super) on: String,
    pub(super) replicated: bool,
}

impl Layout {
    /// The engine of the family MergeTree with these arguments of its own.
    fn engine(&self, family: &str, arguments: &[&str]) -> String {
        // Macros of each server's.
        let replica = ["'/clickhouse/tables/{shard}/{database}/{table}'", "'{replica}'"];
        let (prefix, replica) = if self.replicated { ("Replicated", &replica[..]) } else { ("", &[][..]) };
        let arguments = [replica, arguments].concat().join(", ");
        format!("{prefix}{family}({arguments})")
    }

    /// A block that was acknowledged survives a power cut, and one that comes twice counts once.
    fn settings(&self) -> String {
        let window = match self.replicated {
            true => format!(
                "replicated_deduplication_window = {DEDUPLICATION_WINDOW}, replicated_deduplication_window_seconds = {DEDUPLICATION_SECONDS}"
            ),
            false => format!("non_replicated_deduplication_window = {DEDUPLICATION_WINDOW}"),
        };
        format!("{window}, fsync_after_insert = 1, fsync_part_directory = 1")
    }
}

fn events(layout: &Layout) -> String {
    let numbers = (0..NUMBER_SLOTS).map(|i| (place::name(Slot::Number(i)), NULLABLE_NUMBER));
    let texts = (0..TEXT_SLOTS).map(|i| (place::name(Slot::Text(i)), NULLABLE_WORD));
    let slots: String =
        numbers.chain(texts).map(|(name, kind)| format!("    {name} {kind} CODEC(ZSTD(1)),\n")).collect();
    format!(
        "CREATE TABLE IF NOT EXISTS {EVENTS}{on} (\n\
         \x20   tenant {WORD},\n\
         \x20   app {WORD},\n\
         \x20   event {WORD},\n\
         \x20   ts {TIME} CODEC(DoubleDelta, ZSTD(1)),\n\
         \x20   user {TEXT} CODEC(ZSTD(1)),\n\
         \x20   event_id {TEXT} CODEC(ZSTD(1)),\n\
         \x20   country {NULLABLE_WORD},\n\
         \x20   plan {NULLABLE_WORD},\n\
         \x20   received_at {TIME} CODEC(DoubleDelta, ZSTD(1)),\n\
         {slots}\
         \x20   n_more {NUMBER_MAP} CODEC(ZSTD(1)),\n\
         \x20   s_more {TEXT_MAP} CODEC(ZSTD(1)),\n\
         \x20   _incarnation {U64} CODEC(Delta, ZSTD(1)),\n\
         \x20   _partition {U32} CODEC(Delta, ZSTD(1)),\n\
         \x20   _offset {U64} CODEC(Delta, ZSTD(1))\n\
         ) ENGINE = {engine}\n\
         PARTITION BY toYYYYMMDD(ts)\n\
         ORDER BY (tenant, app, event, toStartOfHour(ts), user)\n\
         SETTINGS {settings}",
        on = layout.on,
        engine = layout.engine("MergeTree", &[]),
        settings = layout.settings()
    )
}

fn users(layout: &Layout) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {USERS}{on} (\n\
         \x20   tenant {WORD},\n\
         \x20   app {WORD},\n\
         \x20   user {TEXT} CODEC(ZSTD(1)),\n\
         \x20   country {NULLABLE_WORD},\n\
         \x20   plan {NULLABLE_WORD},\n\
         \x20   n_more {NUMBER_MAP} CODEC(ZSTD(1)),\n\
         \x20   s_more {TEXT_MAP} CODEC(ZSTD(1)),\n\
         \x20   received_at {TIME} CODEC(DoubleDelta, ZSTD(1)),\n\
         \x20   _incarnation {U64} CODEC(Delta, ZSTD(1)),\n\
         \x20   _partition {U32} CODEC(Delta, ZSTD(1)),\n\
         \x20   _offset {U64} CODEC(Delta, ZSTD(1))\n\
         ) ENGINE = {engine}\n\
         ORDER BY (tenant, app, user, _incarnation, _offset)\n\
         SETTINGS {settings}",
        on = layout.on,
        engine = layout.engine("MergeTree", &[]),
        settings = layout.settings()
    )
}

fn uncounted(layout: &Layout) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {UNCOUNTED}{on} (\n\
         \x20   tenant {WORD},\n\
         \x20   app {WORD},\n\
         \x20   reason {WORD},\n\
         \x20   user {TEXT} CODEC(ZSTD(1)),\n\
         \x20   event_id {TEXT} CODEC(ZSTD(1)),\n\
         \x20   received_at {TIME} CODEC(DoubleDelta, ZSTD(1)),\n\
         \x20   record {TEXT} CODEC(ZSTD(1)),\n\
         \x20   _incarnation {U64} CODEC(Delta, ZSTD(1)),\n\
         \x20   _partition {U32} CODEC(Delta, ZSTD(1)),\n\
         \x20   _offset {U64} CODEC(Delta, ZSTD(1))\n\
         ) ENGINE = {engine}\n\
         ORDER BY (tenant, app, reason, received_at, _partition, _offset)\n\
         TTL toDateTime(received_at) + INTERVAL {UNCOUNTED_DAYS} DAY\n\
         SETTINGS {settings}",
        on = layout.on,
        engine = layout.engine("MergeTree", &[]),
        settings = layout.settings()
    )
}

/// The user and not a state of all users: one row can be deleted, a state can't be made to forget.
fn daily_users(layout: &Layout) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {DAILY_USERS}{on} (\n\
         \x20   tenant {WORD},\n\
         \x20   app {WORD},\n\
         \x20   day {TIME} CODEC(ZSTD(1)),\n\
         \x20   user {TEXT} CODEC(ZSTD(1)),\n\
         \x20   _incarnation {U64} CODEC(ZSTD(1)),\n\
         \x20   _partition {U32} CODEC(ZSTD(1)),\n\
         \x20   events {U64} CODEC(T64, ZSTD(1))\n\
         ) ENGINE = {engine}\n\
         PARTITION BY toYYYYMMDD(day)\n\
         ORDER BY (tenant, app, day, user, _incarnation, _partition)\n\
         SETTINGS {settings}",
        on = layout.on,
        engine = layout.engine("SummingMergeTree", &["events"]),
        settings = layout.settings()
    )
}

/// A state lies as the engine's own bytes of it: their types differ from shape to shape. No row is read after [`STATES_LAST_MS`]; a day later
/// it is gone. Few rows are read at a time, and they are large: hence the small granules.
fn bucket_states(layout: &Layout) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {BUCKET_STATES}{on} (\n\
         \x20   tenant {WORD},\n\
         \x20   app {WORD},\n\
         \x20   shape {WORD},\n\
         \x20   bucket {TIME} CODEC(ZSTD(1)),\n\
         \x20   piece Int64 CODEC(ZSTD(1)),\n\
         \x20   life Int64 CODEC(ZSTD(1)),\n\
         \x20   numbers Array({NULLABLE_NUMBER}) CODEC(ZSTD(1)),\n\
         \x20   integers Array(Nullable(Int64)) CODEC(ZSTD(1)),\n\
         \x20   texts Array(Nullable(String)) CODEC(ZSTD(1)),\n\
         \x20   states Array(String) CODEC(ZSTD(1)),\n\
         \x20   made_at DateTime('UTC') DEFAULT now() CODEC(ZSTD(1))\n\
         ) ENGINE = {engine}\n\
         PARTITION BY toYYYYMM(bucket)\n\
         ORDER BY (tenant, app, shape, bucket, piece)\n\
         TTL made_at + INTERVAL {} DAY\n\
         SETTINGS index_granularity = 256, fsync_after_insert = 1, fsync_part_directory = 1",
        STATES_LAST_MS / DAY_MS + 1,
        on = layout.on,
        engine = layout.engine("MergeTree", &[])
    )
}

/// From then on each insert counts in both.
pub(super) fn daily_users_view(layout: &Layout) -> String {
    let on = &layout.on;
    format!(
        "CREATE MATERIALIZED VIEW IF NOT EXISTS {DAILY_USERS_VIEW}{on} TO {DAILY_USERS} AS {}",
        daily_users_of(EVENTS)
    )
}

/// What is asked for by its receipt, as by a worker that takes over a partition, reads no more than that time.
fn received_index(Layout { on, .. }: &Layout, table: &str) -> String {
    format!("ALTER TABLE {table}{on} ADD INDEX IF NOT EXISTS received_at received_at TYPE minmax GRANULARITY 1")
}

/// Measured on events of twenty properties in wide parts, in bytes a row: `ts` 3.97 -> 3.12, `_partition` 0.45 -> 0.19, `country` and
/// `plan` 0.93 -> 0.49. Parts take them on when they are merged.
fn codecs(Layout { on, .. }: &Layout) -> String {
    let times =
        ["ts", "received_at", "_partition", "_offset"].map(|name| format!("MODIFY COLUMN {name} CODEC(T64, ZSTD(1))"));
    let words = ["country", "plan"].map(|name| format!("MODIFY COLUMN {name} CODEC(ZSTD(1))"));
    format!("ALTER TABLE {EVENTS}{on} {}", [&times[..], &words[..]].concat().join(", "))
}

/// Below this the columns of a part lie in one file, beyond it in files of their own. Our fullest blocks, 13 MB, were beyond the engine's
/// 10 MiB: some 350 files, each of them synced. In one, such blocks go in twice as fast (440,000 -> 890,000 rows/s, 20 properties, two
/// cores). Three of them merged are beyond this too, so questions mostly read what they read before.
fn part_format(Layout { on, .. }: &Layout) -> String {
    format!("ALTER TABLE {EVENTS}{on} MODIFY SETTING min_bytes_for_wide_part = {}", 32 << 20)
}
