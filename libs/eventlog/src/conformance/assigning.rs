use std::collections::BTreeSet;

use tokio::{sync::watch, time::timeout};

use super::{Factory, PARTITIONS, PATIENCE};

/// Waits until these are the partitions to work on.
pub async fn is_assigned(partitions: &mut watch::Receiver<BTreeSet<u32>>, wanted: impl IntoIterator<Item = u32>) {
    let wanted: BTreeSet<u32> = wanted.into_iter().collect();
    let assigned = timeout(PATIENCE, partitions.wait_for(|assigned| *assigned == wanted)).await.map(|_| ());
    assert!(assigned.is_ok(), "{wanted:?} are to be assigned, {:?} are", *partitions.borrow());
}

/// A process that is alone works on everything, again after it left.
pub async fn one_process_gets_all_partitions(factory: &dyn Factory) {
    let log = factory.make().await;
    for _ in 0..2 {
        let assignment = log.assignment().unwrap();
        is_assigned(&mut assignment.partitions(), 0..PARTITIONS).await;
        assignment.working_on((0..PARTITIONS).collect());
        assignment.done(0, 0);
        timeout(PATIENCE, assignment.leave()).await.unwrap();
    }
}
