//! Events that ingest refused and kept.

use std::collections::HashSet;

use api::{
    convert::time_to_wire,
    v1::{DeadLetter, Event, ListDeadLettersRequest, ListDeadLettersResponse, Value, value::Kind},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use model::{
    AppId, Error, PropertyKind, TenantId,
    record::{self, Body, PropertyRef, ValueRef},
};
use storage::{
    Warehouse, WarehouseError,
    warehouse::{
        Cell, Reason, param,
        schema::{EVENTS, UNCOUNTED},
    },
};

use crate::{MAX_ANSWER_BYTES, account, caller::Caller, check, service::Admin, wire::app_of};

/// Bytes of records in one answer, leaving room for what an answer adds to them.
const PAGE_BYTES: usize = MAX_ANSWER_BYTES / 2;

/// Where a dead letter stands in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    received_ms: i64,
    partition: u32,
    offset: u64,
    incarnation: u64,
}

/// A row of the table.
struct Row {
    place: Place,
    record: Vec<u8>,
}

impl Admin {
    pub(crate) async fn dead_letters(
        &self,
        caller: &Caller,
        request: &ListDeadLettersRequest,
    ) -> Result<ListDeadLettersResponse, Error> {
        let tenant = caller.tenant(&request.tenant_id)?;
        let app = app_of(caller, &request.app_id)?;
        let page_size = check::page_size(request.page_size)?;
        let after = Place::after(&request.page_token)?;
        self.require_app(&tenant, &app).await?;
        let warehouse = &self.ground()?.warehouse;
        let mut rows = page(warehouse, &tenant, &app, after.as_ref(), page_size + 1).await?;
        let mut bytes = 0;
        let fits = |row: &Row| {
            bytes += row.record.len();
            bytes <= PAGE_BYTES
        };
        let fitting = rows.iter().map(fits).take_while(|fits| *fits).count();
        let there_is_more = rows.len() > fitting.min(page_size as usize);
        rows.truncate(fitting.min(page_size as usize));
        let next_page_token = match rows.last() {
            Some(last) if there_is_more => last.place.to_token(),
            _ => String::new(),
        };
        let mut letters: Vec<_> = rows.iter().filter_map(letter).collect();
        let stored = stored_since(warehouse, &tenant, &app, &letters, rows.first()).await?;
        for letter in &mut letters {
            let event = letter.event.as_ref();
            letter.stored_since =
                event.is_some_and(|event| stored.contains(&(event.user_id.clone(), event.event_id.clone())));
        }
        Ok(ListDeadLettersResponse { dead_letters: letters, next_page_token })
    }
}

impl Place {
    fn to_token(&self) -> String {
        let Self { received_ms, partition, offset, incarnation } = self;
        format!("{received_ms}-{partition}-{offset}-{incarnation}")
    }

    fn after(token: &str) -> Result<Option<Self>, Error> {
        if token.is_empty() {
            return Ok(None);
        }
        let parsed = || {
            let mut parts = token.split('-');
            let place = Self {
                received_ms: parts.next()?.parse().ok()?,
                partition: parts.next()?.parse().ok()?,
                offset: parts.next()?.parse().ok()?,
                incarnation: parts.next()?.parse().ok()?,
            };
            parts.next().is_none().then_some(place)
        };
        let place = parsed().ok_or_else(|| {
            Error::invalid("page_token", "MALFORMED", "must be the `next_page_token` of an earlier answer")
        })?;
        Ok(Some(place))
    }
}

async fn page(
    warehouse: &Warehouse,
    tenant: &TenantId,
    app: &AppId,
    after: Option<&Place>,
    most: u32,
) -> Result<Vec<Row>, WarehouseError> {
    let order = "received_at, _partition, _offset, _incarnation";
    let beyond = match after {
        Some(_) => {
            "AND (received_at, _partition, _offset, _incarnation) > (fromUnixTimestamp64Milli({received:Int64}, 'UTC'), \
             {partition:UInt32}, {offset:UInt64}, {incarnation:UInt64})"
        }
        None => "",
    };
    let statement = format!(
        "SELECT toUnixTimestamp64Milli(received_at), toInt64(_partition), toInt64(_offset), toString(_incarnation), \
         base64Encode(record) FROM {UNCOUNTED} WHERE tenant = {{tenant:String}} AND app = {{app:String}} \
         AND reason = {{reason:String}} {beyond} ORDER BY {order} LIMIT {most}"
    );
    let mut params = of_app(tenant, app);
    params.push(("reason", param::string(Reason::DeadLetter.name())));
    if let Some(Place { received_ms, partition, offset, incarnation }) = after {
        params.extend([
            ("received", received_ms.to_string()),
            ("partition", partition.to_string()),
            ("offset", offset.to_string()),
            ("incarnation", incarnation.to_string()),
        ]);
    }
    account::rows(warehouse, &statement, &params, |row| match row {
        [
            Cell::Integer(received_ms),
            Cell::Integer(partition),
            Cell::Integer(offset),
            Cell::String(incarnation),
            Cell::String(record),
        ] => {
            let place = Place {
                received_ms: *received_ms,
                partition: u32::try_from(*partition).ok()?,
                offset: offset.unsigned_abs(),
                incarnation: incarnation.parse().ok()?,
            };
            Some(Row { place, record: BASE64_STANDARD.decode(record).ok()? })
        }
        _ => None,
    })
    .await
}

/// Which of the letters' events, as user and id, count that were received since the first of them.
async fn stored_since(
    warehouse: &Warehouse,
    tenant: &TenantId,
    app: &AppId,
    letters: &[DeadLetter],
    first: Option<&Row>,
) -> Result<HashSet<(String, String)>, WarehouseError> {
    let Some(first) = first else { return Ok(HashSet::new()) };
    let statement = format!(
        "SELECT DISTINCT user, event_id FROM {EVENTS} WHERE tenant = {{tenant:String}} AND app = {{app:String}} \
         AND received_at >= fromUnixTimestamp64Milli({{since:Int64}}, 'UTC') AND event_id IN {{ids:Array(String)}}"
    );
    let ids = letters.iter().filter_map(|letter| letter.event.as_ref()).map(|event| event.event_id.as_str());
    let mut params = of_app(tenant, app);
    params.extend([("since", first.place.received_ms.to_string()), ("ids", param::strings(ids))]);
    let pairs = account::rows(warehouse, &statement, &params, |row| match row {
        [Cell::String(user), Cell::String(id)] => Some((user.clone(), id.clone())),
        _ => None,
    });
    Ok(pairs.await?.into_iter().collect())
}

fn of_app(tenant: &TenantId, app: &AppId) -> Vec<(&'static str, String)> {
    vec![("tenant", param::string(tenant.as_str())), ("app", param::string(app.as_str()))]
}

/// The event as it was sent.
fn letter(row: &Row) -> Option<DeadLetter> {
    let mut properties = Vec::new();
    let content = record::decode(&row.record, &mut properties).ok()?;
    let Body::DeadLetter { event_id, event_type, timestamp_ms, code } = content.body else { return None };
    Some(DeadLetter {
        event: Some(Event {
            event_id: event_id.to_owned(),
            event_type: event_type.to_owned(),
            user_id: content.user_id.to_owned(),
            timestamp: Some(time_to_wire(timestamp_ms)),
            properties: properties.iter().map(|p| (p.name.to_owned(), value(p))).collect(),
            app_id: content.app.to_owned(),
        }),
        code: code.to_owned(),
        received_at: Some(time_to_wire(content.received_at_ms)),
        stored_since: false,
    })
}

fn value(property: &PropertyRef<'_>) -> Value {
    let kind = match (property.kind, property.value) {
        (_, ValueRef::Text(text)) => Kind::String(text.to_owned()),
        (PropertyKind::Bool, ValueRef::Number(x)) => Kind::Bool(x != 0.0),
        (PropertyKind::Time, ValueRef::Number(ms)) => Kind::Time(time_to_wire(ms as i64)),
        (_, ValueRef::Number(x)) => Kind::Number(x),
    };
    Value { kind: Some(kind) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_on_and_nothing_else_is_one() {
        let place = Place { received_ms: 1_700_000_000_000, partition: 3, offset: 9, incarnation: u64::MAX };
        assert_eq!(Place::after(&place.to_token()).unwrap(), Some(place));
        assert_eq!(Place::after("").unwrap(), None);
        for bad in ["x", "1-2-3", "1-2-3-4-5", "1-2-3-x"] {
            assert_eq!(Place::after(bad).unwrap_err().violations[0].field, "page_token");
        }
    }
}
