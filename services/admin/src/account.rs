//! What the warehouse has of the log, by offset: the statements behind reconciliation and dead letters.

use std::{ops::Range, time::Duration};

use model::{AppId, Offset, PartitionId, TenantId};
use storage::{
    Warehouse, WarehouseError,
    warehouse::{
        Cell, QuerySettings, Reason, param,
        schema::{EVENTS, UNCOUNTED, USERS},
    },
};

/// So many offsets are counted as one: of those that are all there, nothing more is asked.
pub(crate) const BUCKET: u64 = 1 << 16;

/// How long one of these statements may run.
const LONGEST: Duration = Duration::from_secs(30);

/// Rows of an app by the hour of their receipt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Count {
    /// The hour's start, UTC ms.
    pub(crate) hour_ms: i64,
    /// Why they don't count; `None` of events that do.
    pub(crate) reason: Option<Reason>,
    pub(crate) rows: u64,
}

/// What the tables together have of the offsets of a bucket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    pub(crate) partition: PartitionId,
    /// The first offset over [`BUCKET`].
    pub(crate) number: u64,
    pub(crate) rows: u64,
    /// Different ones.
    pub(crate) offsets: u64,
}

/// An offset that an app's rows have more than once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Double {
    pub(crate) offset: Offset,
    /// When the event was received, UTC ms.
    pub(crate) received_ms: i64,
    /// Rows beyond the first.
    pub(crate) more: u64,
}

/// The warehouse as seen from one life of the log.
pub(crate) struct Account<'a> {
    pub(crate) warehouse: &'a Warehouse,
    pub(crate) incarnation: u64,
    /// When rows were received that the answers rest on, UTC ms.
    pub(crate) received: Range<i64>,
}

const RECEIVED: &str = "received_at >= fromUnixTimestamp64Milli({from:Int64}, 'UTC') AND received_at < fromUnixTimestamp64Milli({to:Int64}, 'UTC')";
const OF_APP: &str = "tenant = {tenant:String} AND app = {app:String}";
const OF_LOG: &str = "_incarnation = {incarnation:UInt64}";

impl Account<'_> {
    /// Counts an app's rows below `ends` (by partition; all rows of earlier lives of the log).
    pub(crate) async fn counts(
        &self,
        tenant: &TenantId,
        app: &AppId,
        ends: &[Offset],
    ) -> Result<Vec<Count>, WarehouseError> {
        let rows =
            format!("{OF_APP} AND {RECEIVED} AND NOT ({OF_LOG} AND _offset >= {{ends:Array(UInt64)}}[_partition + 1])");
        // What is erased is that, whether its own row still is there or not, and once, whoever said so how often.
        let (place, of_erased) = ("_incarnation, _partition, _offset", of_erased());
        let erased = format!("SELECT {place} FROM {UNCOUNTED} WHERE {OF_APP} AND {RECEIVED} AND {of_erased}");
        let others = format!("{rows} AND ({place}) NOT IN ({erased})");
        let statement = format!(
            "SELECT intDiv(toUnixTimestamp64Milli(received_at), 3600000) * 3600000 AS hour, why, toInt64(count()) FROM (\
             SELECT received_at, '' AS why FROM {EVENTS} WHERE {others} UNION ALL \
             SELECT received_at, toString(reason) AS why FROM {UNCOUNTED} WHERE {others} UNION ALL \
             SELECT received_at, why FROM (SELECT DISTINCT received_at, toString(reason) AS why, {place} FROM {UNCOUNTED} \
             WHERE {rows} AND {of_erased})) GROUP BY hour, why"
        );
        let params =
            [("tenant", param::string(tenant.as_str())), ("app", param::string(app.as_str())), ("ends", array(ends))];
        self.rows(&statement, &params, |row| match row {
            [Cell::Integer(hour_ms), Cell::String(why), Cell::Integer(rows)] => {
                let reason = Reason::ALL.into_iter().find(|reason| reason.name() == why);
                (reason.is_some() || why.is_empty()).then_some(Count {
                    hour_ms: *hour_ms,
                    reason,
                    rows: rows.unsigned_abs(),
                })
            }
            _ => None,
        })
        .await
    }

    /// Counts the rows of all tenants by buckets of offsets: `ranges` says which, by partition. A bucket without rows isn't there.
    pub(crate) async fn buckets(&self, ranges: &[Range<Offset>]) -> Result<Vec<Bucket>, WarehouseError> {
        let inside =
            "_offset >= {firsts:Array(UInt64)}[_partition + 1] AND _offset < {ends:Array(UInt64)}[_partition + 1]";
        let statement = format!(
            "SELECT toInt64(_partition), toInt64(intDiv(_offset, {BUCKET})) AS bucket, toInt64(count()), toInt64(groupBitmap(_offset)) FROM ({}) \
             GROUP BY _partition, bucket",
            everywhere("_partition, _offset", inside)
        );
        let (firsts, ends): (Vec<_>, Vec<_>) = ranges.iter().map(|range| (range.start, range.end)).unzip();
        let params = [("firsts", array(&firsts)), ("ends", array(&ends))];
        self.rows(&statement, &params, |row| match row {
            [Cell::Integer(partition), Cell::Integer(number), Cell::Integer(rows), Cell::Integer(offsets)] => {
                Some(Bucket {
                    partition: u32::try_from(*partition).ok()?,
                    number: number.unsigned_abs(),
                    rows: rows.unsigned_abs(),
                    offsets: offsets.unsigned_abs(),
                })
            }
            _ => None,
        })
        .await
    }

    /// The different offsets that the rows of all tenants have within a range, in order.
    pub(crate) async fn offsets(
        &self,
        partition: PartitionId,
        range: &Range<Offset>,
    ) -> Result<Vec<Offset>, WarehouseError> {
        let inside = "_partition = {partition:UInt32} AND _offset >= {first:UInt64} AND _offset < {end:UInt64}";
        let statement =
            format!("SELECT DISTINCT toInt64(_offset) AS o FROM ({}) ORDER BY o", everywhere("_offset", inside));
        self.rows(&statement, &of_range(partition, range), |row| match row {
            [Cell::Integer(offset)] => Some(offset.unsigned_abs()),
            _ => None,
        })
        .await
    }

    /// The offsets within a range that an app's rows have more than once. One that is erased may, for a while.
    pub(crate) async fn doubles(
        &self,
        tenant: &TenantId,
        app: &AppId,
        partition: PartitionId,
        range: &Range<Offset>,
    ) -> Result<Vec<Double>, WarehouseError> {
        let inside = format!(
            "{OF_APP} AND _partition = {{partition:UInt32}} AND _offset >= {{first:UInt64}} AND _offset < {{end:UInt64}}"
        );
        let statement = format!(
            "SELECT toInt64(_offset), toUnixTimestamp64Milli(min(received_at)), toInt64(count()) FROM ({}) \
             GROUP BY _offset HAVING count() > 1 AND _offset NOT IN \
             (SELECT _offset FROM {UNCOUNTED} WHERE {OF_LOG} AND {RECEIVED} AND {inside} AND {}) ORDER BY _offset",
            everywhere("_offset, received_at", &inside),
            of_erased()
        );
        let mut params = of_range(partition, range);
        params.extend([("tenant", param::string(tenant.as_str())), ("app", param::string(app.as_str()))]);
        self.rows(&statement, &params, |row| match row {
            [Cell::Integer(offset), Cell::Integer(received_ms), Cell::Integer(rows)] => {
                Some(Double { offset: offset.unsigned_abs(), received_ms: *received_ms, more: rows.unsigned_abs() - 1 })
            }
            _ => None,
        })
        .await
    }

    async fn rows<T>(
        &self,
        statement: &str,
        params: &[(&'static str, String)],
        read: impl Fn(&[Cell]) -> Option<T>,
    ) -> Result<Vec<T>, WarehouseError> {
        let mut all = vec![
            ("incarnation", self.incarnation.to_string()),
            ("from", self.received.start.to_string()),
            ("to", self.received.end.to_string()),
        ];
        all.extend_from_slice(params);
        rows(self.warehouse, statement, &all, read).await
    }
}

/// Reads a result row by row as `read` does; a row that it can't is a defect.
pub(crate) async fn rows<T>(
    warehouse: &Warehouse,
    statement: &str,
    params: &[(&str, String)],
    read: impl Fn(&[Cell]) -> Option<T>,
) -> Result<Vec<T>, WarehouseError> {
    // A warehouse that stands still is not waited for without end.
    let settings = QuerySettings { max_execution_time: Some(LONGEST), ..QuerySettings::default() };
    let mut stream = warehouse.select(statement, params, &settings)?;
    let mut out = Vec::new();
    while let Some(block) = stream.next().await? {
        for row in block.into_rows() {
            let row = read(&row)
                .ok_or_else(|| WarehouseError::Protocol(format!("a row of {} cells can't be read", row.len())))?;
            out.push(row);
        }
    }
    Ok(out)
}

/// The rows of this life of the log in all tables that hold any.
fn everywhere(columns: &str, inside: &str) -> String {
    [EVENTS, USERS, UNCOUNTED]
        .map(|table| format!("SELECT {columns} FROM {table} WHERE {OF_LOG} AND {RECEIVED} AND {inside}"))
        .join(" UNION ALL ")
}

fn of_erased() -> String {
    let [event, identify] = Reason::OF_ERASED.map(Reason::name);
    format!("reason IN ('{event}', '{identify}')")
}

fn of_range(partition: PartitionId, range: &Range<Offset>) -> Vec<(&'static str, String)> {
    vec![("partition", partition.to_string()), ("first", range.start.to_string()), ("end", range.end.to_string())]
}

fn array(numbers: &[u64]) -> String {
    format!("{numbers:?}")
}
