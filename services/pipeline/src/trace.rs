//! A block's part in the traces of its events.
//!
//! A block is the work of many calls. It goes on in the trace of the first that is sampled, and is linked to the others.

use eventlog::Record;
use mesh::trace;
use model::record::{self, TraceIds};
use storage::Warehouse;
use tracing::{Span, debug_span};

/// How many other traces a block is linked to.
const MAX_LINKS: usize = 32;

/// The span in which a block is built, inserted and committed; none if no record of it comes from a sampled call.
pub(crate) fn block(records: &[Record]) -> Span {
    let traces = distinct(records);
    let Some((first, others)) = traces.split_first() else { return Span::none() };
    let span = debug_span!("block", otel.kind = "consumer", records = records.len());
    trace::follow(&span, *first, others);
    span
}

/// The span of one insert, and the warehouse that tells the server of it.
pub(crate) fn insert(warehouse: &Warehouse, rows: usize) -> (Span, Warehouse) {
    let span = trace::when_sampled(|| debug_span!("insert", otel.kind = "client", db.system.name = "clickhouse", rows));
    let warehouse = match trace::traceparent(&span) {
        Some(traceparent) => warehouse.clone().with_traceparent(&traceparent),
        None => warehouse.clone(),
    };
    (span, warehouse)
}

/// The first traces of the records, in order. Neighbours mostly come from one call, and most calls aren't sampled.
fn distinct(records: &[Record]) -> Vec<TraceIds> {
    let mut traces = Vec::new();
    for trace in records.iter().filter_map(|record| record::trace_of(&record.payload)) {
        if traces.len() > MAX_LINKS {
            break;
        }
        if !traces.contains(&trace) {
            traces.push(trace);
        }
    }
    traces
}

#[cfg(test)]
mod tests {
    use model::record::{Body, RecordRef};

    use super::*;

    fn record(offset: u64, call: Option<u8>) -> Record {
        let identify = RecordRef { tenant: "acme", app: "app", user_id: "u", received_at_ms: 1, body: Body::Identify };
        let mut bytes = Vec::new();
        record::encode(&identify, &[], call.map(ids), &mut bytes);
        Record { offset, appended_ms: 1, payload: bytes.into() }
    }

    fn ids(call: u8) -> TraceIds {
        TraceIds { trace: [call; 16], span: [call; 8] }
    }

    #[test]
    fn each_call_is_linked_once_and_no_more_than_the_bound() {
        let records: Vec<_> =
            [None, Some(2), Some(2), None, Some(1), Some(2)].into_iter().map(|c| record(0, c)).collect();
        assert_eq!(distinct(&records), [ids(2), ids(1)]);
        let records: Vec<_> = (0..200).map(|call| record(0, Some(call))).collect();
        assert_eq!(distinct(&records).len(), 1 + MAX_LINKS);
        assert!(distinct(&[record(0, None)]).is_empty());
    }
}
