use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};

use super::{Factory, PARTITIONS, Random, assert_consecutive, batch, read_from, texts};
use crate::EventLog;

/// Everything acknowledged is there after reopening, under its offset and with its time, and appending goes on.
pub async fn what_was_acknowledged_survives(factory: &dyn Factory) {
    let mut log = factory.make().await;
    let mut random = Random::new();
    let mut wanted: Vec<Vec<crate::Record>> = vec![Vec::new(); PARTITIONS as usize];
    for life in 0..3 {
        for turn in 0..20 {
            let partition = random.below(u64::from(PARTITIONS)) as u32;
            let records = (0..random.below(4)).map(|i| format!("{life}/{turn}/{i}"));
            log.append(vec![batch(partition, records)]).await.unwrap();
        }
        for partition in 0..PARTITIONS {
            let known = &mut wanted[partition as usize];
            let more = read_from(&*log, partition, known.len() as u64).await;
            known.extend(more);
        }
        log.close().await.unwrap();
        drop(log);
        log = factory.reopen().await;
        for partition in 0..PARTITIONS {
            let records = read_from(&*log, partition, 0).await;
            assert_consecutive(&records, 0);
            assert_eq!(records, wanted[partition as usize]);
            assert_eq!(log.tail(partition).await.unwrap().end, records.len() as u64);
        }
    }
}

/// Topic, incarnation and partitions are the same after reopening.
pub async fn identity_survives(factory: &dyn Factory) {
    let log = factory.make().await;
    let identity = |log: &dyn EventLog| (log.topic().to_owned(), log.incarnation(), log.partitions());
    let before = identity(&*log);
    log.close().await.unwrap();
    drop(log);
    assert_eq!(identity(&*factory.reopen().await), before);
}

/// A read gives at most so many records, and no further one once it has so many bytes.
pub async fn read_limits_hold(factory: &dyn Factory) {
    let log = factory.make().await;
    log.append(vec![batch(0, ["aaaa", "bb", "cccc"])]).await.unwrap();
    log.append(vec![batch(0, ["d", "eeee"])]).await.unwrap();
    let read = async |from, max_records, max_bytes| texts(&log.read(0, from, max_records, max_bytes).await.unwrap());
    assert_eq!(read(0, 2, usize::MAX).await, ["aaaa", "bb"]);
    assert_eq!(read(1, 3, usize::MAX).await, ["bb", "cccc", "d"]);
    assert_eq!(read(0, usize::MAX, 4).await, ["aaaa"]);
    assert_eq!(read(0, usize::MAX, 5).await, ["aaaa", "bb"]);
    assert_eq!(read(1, usize::MAX, 7).await, ["bb", "cccc", "d"]);
    assert_eq!(read(2, usize::MAX, 0).await, ["cccc"], "one record at least, or a reader would never get on");
    assert_eq!(read(4, usize::MAX, usize::MAX).await, ["eeee"]);
    let nothing: [&str; 0] = [];
    assert_eq!(read(0, 0, usize::MAX).await, nothing);
    assert_eq!(read(5, usize::MAX, usize::MAX).await, nothing);
    assert_eq!(read(500, usize::MAX, usize::MAX).await, nothing, "beyond the end there is nothing yet");
}

/// Whatever offset a read begins at, and however small its steps, it leaves nothing out; also after reopening.
pub async fn reads_have_no_gaps_wherever_they_begin(factory: &dyn Factory) {
    let mut log = factory.make().await;
    let mut random = Random::new();
    let mut count = 0;
    while count < 300 {
        let records: Vec<_> = (0..1 + random.below(20)).map(|i| format!("{}", count + i)).collect();
        count += records.len() as u64;
        log.append(vec![batch(1, records)]).await.unwrap();
    }
    for _ in 0..2 {
        for _ in 0..60 {
            let mut next = random.below(count);
            let step = 1 + random.below(40) as usize;
            while next < count {
                let records = log.read(1, next, step, 1 + random.below(60) as usize).await.unwrap();
                assert!(!records.is_empty(), "nothing at {next} of {count}");
                assert_consecutive(&records, next);
                for record in &records {
                    assert_eq!(record.payload, record.offset.to_string());
                }
                next += records.len() as u64;
            }
        }
        log.close().await.unwrap();
        drop(log);
        log = factory.reopen().await;
    }
}

/// A time leads to the first record that is not before it, whatever was let go of; one that no record has reached, to the end.
pub async fn a_time_leads_to_its_first_record(factory: &dyn Factory) {
    let log = factory.make().await;
    assert_eq!(log.first_since(0, 0).await.unwrap(), 0, "an empty partition ends where it begins");
    for turn in 0..12 {
        log.append(vec![batch(0, (0..=turn % 3).map(|i| format!("{turn}/{i}")))]).await.unwrap();
    }
    for begin in [0, 10] {
        log.trim(0, begin).await.unwrap();
        let records = read_from(&*log, 0, begin).await;
        let end = records.last().unwrap().offset + 1;
        for time in records.iter().flat_map(|record| [-1, 0, 1].map(|step| record.appended_ms + step)) {
            let first = records.iter().find(|record| record.appended_ms >= time).map_or(end, |record| record.offset);
            let found = log.first_since(0, time).await.unwrap();
            assert!(found == first || (found < begin && first == begin), "{time} leads to {found}, not {first}");
        }
        assert_eq!(log.first_since(0, records.last().unwrap().appended_ms + 3_600_000).await.unwrap(), end);
    }
}

/// Waiting for an offset ends at once if it is there, else with the append that brings it, and not before.
pub async fn waiting_ends_when_the_record_is_there(factory: &dyn Factory) {
    let log = factory.make().await;
    log.append(vec![batch(0, ["a"])]).await.unwrap();
    log.wait_for(0, 0).await.unwrap();
    {
        let mut waiting = pin!(log.wait_for(0, 2));
        assert!(is_pending(waiting.as_mut()).await);
        log.append(vec![batch(0, ["b"]), batch(1, ["x", "y", "z"])]).await.unwrap();
        assert!(is_pending(waiting.as_mut()).await, "offset 2 is the record after the next");
        log.append(vec![batch(0, ["c"])]).await.unwrap();
        waiting.await.unwrap();
    }
    assert_eq!(texts(&log.read(0, 2, 1, 1).await.unwrap()), ["c"], "what was waited for can be read");

    // A reader that only waits and reads comes to everything that others append meanwhile.
    let writer = Arc::clone(&log);
    let writing = tokio::spawn(async move {
        for turn in 0..50 {
            writer.append(vec![batch(2, [turn.to_string()])]).await.unwrap();
        }
    });
    for offset in 0..50 {
        log.wait_for(2, offset).await.unwrap();
        assert_eq!(texts(&log.read(2, offset, 1, 1).await.unwrap()), [offset.to_string()]);
    }
    writing.await.unwrap();
}

/// Whether the future, asked once, is not done.
pub(super) async fn is_pending<F: Future>(mut future: Pin<&mut F>) -> bool {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
}
