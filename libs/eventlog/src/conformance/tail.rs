use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{Factory, PARTITIONS, Random, assert_consecutive, batch, read_from};
use crate::Tail;

/// Under load: of every tail taken, all records from its end on are at least as late as its time; what it says is
/// readable is; and tails of one reader never go back.
pub async fn a_tail_holds_for_all_later_records(factory: &dyn Factory) {
    let log = factory.make().await;
    let mut random = Random::new();
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2 * PARTITIONS)
        .map(|reader| {
            let (log, done) = (Arc::clone(&log), Arc::clone(&done));
            tokio::spawn(async move {
                let partition = reader % PARTITIONS;
                let mut tails: Vec<Tail> = Vec::new();
                while !done.load(Ordering::Acquire) {
                    tails.push(log.tail(partition).await.unwrap());
                    tokio::task::yield_now().await;
                }
                (partition, tails)
            })
        })
        .collect();
    let appenders: Vec<_> = (0..4)
        .map(|_| {
            let (log, mut random) = (Arc::clone(&log), random.fork());
            tokio::spawn(async move {
                for _ in 0..60 {
                    let partition = random.below(u64::from(PARTITIONS)) as u32;
                    let records = vec!["x"; random.below(20) as usize];
                    log.append(vec![batch(partition, records)]).await.unwrap();
                }
            })
        })
        .collect();
    for appender in appenders {
        appender.await.unwrap();
    }
    done.store(true, Ordering::Release);
    for reader in readers {
        let (partition, tails) = reader.await.unwrap();
        let records = read_from(&*log, partition, 0).await;
        assert!(tails.is_sorted_by_key(|tail| tail.end), "ends must not go back");
        for tail in tails {
            assert!(tail.end <= records.len() as u64, "{tail:?} is beyond the end");
            // Times never fall, so the first record from the end on speaks for all.
            if let Some(record) = records.get(tail.end as usize) {
                assert!(
                    record.appended_ms >= tail.time_ms,
                    "{tail:?}, but offset {} at {}",
                    record.offset,
                    record.appended_ms
                );
            }
        }
    }
}

/// Neither records nor tails are earlier than a tail taken before, from one append to the next and over a restart.
pub async fn times_never_fall(factory: &dyn Factory) {
    let mut log = factory.make().await;
    let mut promised = log.tail(0).await.unwrap().time_ms;
    for life in 0..3 {
        for turn in 0..10 {
            let end = log.append(vec![batch(0, ["x"])]).await.unwrap().ends[0].1;
            let records = log.read(0, end - 1, 1, 1).await.unwrap();
            assert!(records[0].appended_ms >= promised, "life {life}, turn {turn}");
            let tail = log.tail(0).await.unwrap();
            assert!(tail.time_ms >= promised);
            assert_eq!(tail.end, end);
            promised = tail.time_ms;
        }
        log.close().await.unwrap();
        drop(log);
        log = factory.reopen().await;
    }
    assert_consecutive(&read_from(&*log, 0, 0).await, 0);
}
