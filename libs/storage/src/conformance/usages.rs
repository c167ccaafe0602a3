use std::sync::Arc;

use futures::future::join_all;
use model::{DAY_MS, TenantId};

use crate::{Metastore, Used};

/// What several say at once is added up, by day and by tenant, and old days are forgotten.
pub async fn usages(new: impl AsyncFn() -> Arc<dyn Metastore>) {
    let store = new().await;
    let used = |n: u64| Used {
        events: n,
        calls: 2 * n,
        bytes_in: 3 * n,
        bytes_out: 4 * n,
        log_bytes: 5 * n,
        queries: 6 * n,
        read_bytes: 7 * n,
        work_us: 8 * n,
        warehouse_us: 9 * n,
    };
    let [red, blue] = ["red", "blue"].map(|name| TenantId::new(name).unwrap());
    let of = |name: &str, n| (name.to_owned(), used(n));
    // In either order: nobody waits for somebody who waits for him.
    let both = [[of("red", 1), of("blue", 10)], [of("blue", 10), of("red", 1)]];
    let told = (0..20).map(|i| store.add_used(5 * DAY_MS, &both[i % 2], 0));
    assert!(join_all(told).await.into_iter().all(|told| told.is_ok()));
    store.add_used(6 * DAY_MS, &[of("red", 100), of("(others)", 7)], 0).await.unwrap();

    let days = store.used_by_day(&red, 0, 7 * DAY_MS).await.unwrap();
    assert_eq!(days, [(5 * DAY_MS, used(20)), (6 * DAY_MS, used(100))]);
    assert_eq!(store.used_by_day(&red, 6 * DAY_MS, 7 * DAY_MS).await.unwrap(), days[1..]);
    assert_eq!(store.used_by_day(&blue, 0, 6 * DAY_MS).await.unwrap(), [(5 * DAY_MS, used(200))]);
    assert_eq!(store.used_by_day(&blue, 6 * DAY_MS, 7 * DAY_MS).await.unwrap(), []);
    let all = store.used_by_tenant(0, 7 * DAY_MS).await.unwrap();
    assert_eq!(all, [of("(others)", 7), of("blue", 200), of("red", 120)]);

    store.add_used(7 * DAY_MS, &[of("red", 1)], 6 * DAY_MS).await.unwrap();
    let left = store.used_by_tenant(0, 8 * DAY_MS).await.unwrap();
    assert_eq!(left, [of("(others)", 7), of("red", 101)]);
}
