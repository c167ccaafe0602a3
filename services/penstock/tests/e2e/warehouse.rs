//! The embedded engine, as the program runs it, keeps every promise of the warehouse: to one who asks in peace, and to one who
//! writes while it is killed.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use storage::{
    Warehouse, conformance,
    warehouse::{Cell, EventColumns, EventRow, QuerySettings},
};
use tokio::sync::watch;

use crate::{house::House, load::seed};

/// The house's warehouse with a database of its own.
fn warehouse(house: &House, database: &str) -> Warehouse {
    let (address, key) = house.warehouse_address();
    Warehouse::new(&format!("http://{address}"), database, "default", Some(&key)).unwrap()
}

#[tokio::test]
async fn the_embedded_engine_conforms() {
    let house = House::start().await;
    conformance::warehouse(&warehouse(&house, "conformance")).await;
}

/// Rows of a block.
const ROWS: u64 = 20;

/// A block whose rows say which it is.
fn block(name: &str) -> EventColumns {
    let mut events = EventColumns::for_day_of(0);
    for offset in 0..ROWS {
        let row = EventRow {
            tenant: "red",
            app: "shop",
            event_type: name,
            timestamp_ms: offset as i64,
            user_id: "u",
            event_id: "e",
            country: None,
            plan: None,
            received_at_ms: 0,
            incarnation: 1,
            partition: 0,
            offset,
        };
        events.push(&row).unwrap();
    }
    events
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_that_was_taken_is_there_once_though_the_engine_was_killed() {
    let kills: u64 = std::env::var("PENSTOCK_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(8);
    let mut random = StdRng::seed_from_u64(seed());
    let house = House::start().await;
    let warehouse = warehouse(&house, "kills");
    warehouse.migrate().await.unwrap();
    let (taken, over) = (watch::Sender::new(0_u64), AtomicBool::new(false));
    let writer = async |number: u32| {
        let mut names = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let name = format!("{number}-{}", names.len());
            // As the pipeline does: the same block under the same token until the answer is yes.
            while let Err(error) = warehouse.insert_events(&block(&name), &name).await {
                assert!(error.is_unavailable(), "{error}");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            taken.send_modify(|n| *n += 1);
            names.push(name);
        }
        names
    };
    let killer = async {
        for _ in 0..kills {
            let target = *taken.borrow() + random.random_range(1..60);
            taken.subscribe().wait_for(|n| *n >= target).await.unwrap();
            house.kill_warehouse();
        }
        over.store(true, Ordering::Relaxed);
    };
    let (names, ()) = tokio::join!(join_all((0..8).map(writer)), killer);
    let mut wanted: Vec<_> =
        names.into_iter().flatten().map(|name| [Cell::String(name), Cell::Integer(ROWS as i64)]).collect();
    let sql = "SELECT event, count() FROM events GROUP BY event ORDER BY event";
    let rows = warehouse.select(sql, &[], &QuerySettings::default()).unwrap().collect().await.unwrap();
    wanted.sort_by_key(|row| format!("{row:?}"));
    let lost: Vec<_> = wanted.iter().filter(|row| !rows.iter().any(|there| there[..] == row[..])).collect();
    assert!(
        lost.is_empty() && rows.len() == wanted.len(),
        "of {} blocks these are not there once: {lost:?}",
        wanted.len()
    );
}
