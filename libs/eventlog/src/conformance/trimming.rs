use std::sync::Arc;

use super::{Factory, Random, assert_consecutive, batch, read_from};
use crate::{EventLog, LogError};

/// The first offset that can still be read.
async fn begin_of(log: &dyn EventLog, partition: u32) -> u64 {
    match log.read(partition, 0, 1, 1).await {
        Err(LogError::Trimmed { partition: named, offset: 0, begin }) => {
            assert_eq!(named, partition);
            begin
        }
        Ok(_) => 0,
        Err(error) => panic!("{error}"),
    }
}

/// Whatever is trimmed, `before` and all after it stay, what is gone is named as such, and all that survives a restart.
pub async fn trimming_lets_go_of_no_record_it_must_keep(factory: &dyn Factory) {
    let mut log = factory.make().await;
    let mut random = Random::new();
    let (mut end, mut before) = (0, 0);
    for _ in 0..6 {
        for _ in 0..5 {
            let records: Vec<_> = (0..1 + random.below(6)).map(|i| (end + i).to_string()).collect();
            end += records.len() as u64;
            log.append(vec![batch(0, records), batch(1, ["other"])]).await.unwrap();
        }
        let point = random.below(end + 1); // also below an earlier one: nothing comes back, nothing more goes
        before = before.max(point);
        let had = begin_of(&*log, 0).await;
        log.trim(0, point).await.unwrap();
        let begin = begin_of(&*log, 0).await;
        assert!(had <= begin && begin <= before, "{had} <= {begin} <= {before}");

        log.close().await.unwrap();
        drop(log);
        log = factory.reopen().await;
        assert_eq!(begin_of(&*log, 0).await, begin);
        let records = read_from(&*log, 0, begin).await;
        assert_consecutive(&records, begin);
        assert_eq!(records.len() as u64, end - begin);
        assert!(records.iter().all(|record| record.payload == record.offset.to_string()));
    }
    assert_eq!(read_from(&*log, 1, 0).await.len(), 30, "the other partition keeps everything");
}

/// After trimming up to the end, and beyond it, the next offset is the one it would have been, over restarts too.
pub async fn trimming_everything_keeps_the_offsets(factory: &dyn Factory) {
    let mut log = factory.make().await;
    let mut promised = i64::MIN;
    for life in 0..3u64 {
        log.append(vec![batch(0, ["a", "b", "c"])]).await.unwrap();
        log.trim(0, if life == 1 { u64::MAX } else { 4 * life + 3 }).await.unwrap();
        let tail = log.tail(0).await.unwrap();
        assert_eq!(tail.end, 4 * life + 3);
        assert!(tail.time_ms >= promised);
        promised = tail.time_ms;
        assert!(log.read(0, tail.end, 10, 10).await.unwrap().is_empty());
        log.close().await.unwrap();
        drop(log);
        log = factory.reopen().await;
        assert_eq!(log.append(vec![batch(0, ["d"])]).await.unwrap().ends, [(0, 4 * life + 4)]);
        let records = log.read(0, 4 * life + 3, 10, 10).await.unwrap();
        assert_eq!(records.len(), 1);
        assert!(records[0].appended_ms >= promised, "the time goes on where it was, even if no record tells it");
    }
}

/// A reader that trims what it has read never misses a record while others append.
pub async fn trimming_goes_on_while_others_append_and_read(factory: &dyn Factory) {
    let log = factory.make().await;
    let writer = Arc::clone(&log);
    let writing = tokio::spawn(async move {
        for turn in 0..150u64 {
            writer.append(vec![batch(0, [(2 * turn).to_string(), (2 * turn + 1).to_string()])]).await.unwrap();
        }
    });
    let mut next = 0;
    while next < 300 {
        log.wait_for(0, next).await.unwrap();
        let records = log.read(0, next, 7, 1000).await.unwrap();
        assert_consecutive(&records, next);
        assert!(records.iter().all(|record| record.payload == record.offset.to_string()));
        next += records.len() as u64;
        log.trim(0, next).await.unwrap();
    }
    writing.await.unwrap();
    assert_eq!(log.tail(0).await.unwrap().end, 300);
}
