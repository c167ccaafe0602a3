use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::time::timeout;

use super::{Factory, PARTITIONS, PATIENCE, assert_consecutive, batch, is_assigned, read_from, texts};
use crate::LogError;

/// A log gets more partitions while others append: what was there is there, the new ones are empty and work, also after reopening.
/// Not for a log of fixed size, so no part of the suite.
pub async fn a_log_grows(factory: &dyn Factory) {
    const MORE: u32 = 2 * PARTITIONS;
    let log = factory.make().await;
    let assignment = log.assignment().unwrap();
    is_assigned(&mut assignment.partitions(), 0..PARTITIONS).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let appender = tokio::spawn({
        let (log, is_over) = (Arc::clone(&log), Arc::clone(&is_over));
        async move {
            let mut appended = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let record = format!("{}", appended.len());
                log.append(vec![batch(1, [&record])]).await.unwrap();
                appended.push(record);
            }
            appended
        }
    });
    timeout(PATIENCE, log.wait_for(1, 0)).await.unwrap().unwrap();
    log.grow(PARTITIONS - 1).await.unwrap(); // it has more
    assert_eq!(log.partitions(), PARTITIONS);
    assert!(matches!(log.append(vec![batch(MORE - 1, ["x"])]).await, Err(LogError::NoSuchPartition { .. })));
    for _ in 0..2 {
        log.grow(MORE).await.unwrap();
        assert_eq!(log.partitions(), MORE);
    }
    assert!(log.grow(5_000).await.is_err());
    is_assigned(&mut assignment.partitions(), 0..MORE).await;
    assert_eq!(log.tail(MORE - 1).await.unwrap().end, 0);
    let end = log.tail(1).await.unwrap().end;
    let position = log.append(vec![batch(MORE - 1, ["new", "er"])]).await.unwrap();
    assert_eq!(position.ends, [(MORE - 1, 2)]);
    timeout(PATIENCE, log.wait_for(1, end)).await.unwrap().unwrap(); // the appender goes on
    is_over.store(true, Ordering::Relaxed);
    let appended = timeout(PATIENCE, appender).await.unwrap().unwrap();
    timeout(PATIENCE, assignment.leave()).await.unwrap();
    log.close().await.unwrap();
    drop(log);

    let log = factory.reopen().await;
    assert_eq!(log.partitions(), MORE);
    let found = read_from(&*log, 1, 0).await;
    assert_consecutive(&found, 0);
    assert_eq!(texts(&found), appended);
    assert_eq!(texts(&read_from(&*log, MORE - 1, 0).await), ["new", "er"]);
}
