use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;

use super::{Factory, PARTITIONS, Random, assert_consecutive, batch, read_from, texts};
use crate::{Batch, EventLog, LogError};

/// Of concurrent appenders, each one's records are all there once and in its order, and each is told truly where its
/// last one is.
pub async fn each_appender_sees_its_order(factory: &dyn Factory) {
    let log = factory.make().await;
    let mut random = Random::new();
    let mut appenders = Vec::new();
    for appender in 0..8 {
        let (log, mut random) = (Arc::clone(&log), random.fork());
        appenders.push(tokio::spawn(async move {
            let mut appended = Vec::new(); // (partition, end, texts)
            for turn in 0..30 {
                let partition = random.below(u64::from(PARTITIONS)) as u32;
                let records: Vec<_> = (0..random.below(5)).map(|i| format!("{appender:02}/{turn:03}/{i}")).collect();
                let position = log.append(vec![batch(partition, &records)]).await.unwrap();
                let [(named, end)] = position.ends[..] else { panic!("{position:?}") };
                assert_eq!(named, partition);
                appended.push((partition, end, records));
            }
            appended
        }));
    }
    let mut found = vec![Vec::new(); PARTITIONS as usize];
    for (number, appender) in appenders.into_iter().enumerate() {
        let appended = appender.await.unwrap();
        for partition in 0..PARTITIONS {
            let records = read_from(&*log, partition, 0).await;
            assert_consecutive(&records, 0);
            let calls = || appended.iter().filter(|(of, ..)| *of == partition);
            for (_, end, texts) in calls() {
                if let Some(last) = texts.last() {
                    assert_eq!(records[*end as usize - 1].payload, *last, "the end that the caller was told");
                }
            }
            let wanted: Vec<_> = calls().flat_map(|(.., texts)| texts.clone()).collect();
            let all = texts(&records);
            let own = all.iter().filter(|text| text.starts_with(&format!("{number:02}/")));
            assert_eq!(own.cloned().collect::<Vec<_>>(), wanted, "appender {number} in partition {partition}");
            found[partition as usize] = all;
        }
    }
    let total: usize = found.iter().map(Vec::len).sum();
    let distinct: BTreeSet<_> = found.iter().flatten().collect();
    assert_eq!(distinct.len(), total, "no record is there twice");
}

/// One call may name several partitions, and one of them twice; the position names each once.
pub async fn one_call_reaches_several_partitions(factory: &dyn Factory) {
    let log = factory.make().await;
    let batches = vec![batch(2, ["a", "b"]), batch(0, ["c"]), batch(2, ["d"])];
    let position = log.append(batches).await.unwrap();
    assert_eq!(position.incarnation, log.incarnation());
    assert_eq!(position.ends, [(0, 1), (2, 3)]);
    assert_eq!(texts(&read_from(&*log, 0, 0).await), ["c"]);
    assert!(read_from(&*log, 1, 0).await.is_empty());
    assert_eq!(texts(&read_from(&*log, 2, 0).await), ["a", "b", "d"]);
}

/// Batches without records are fine and change nothing; records without bytes are records.
pub async fn empty_batches_take_no_offset(factory: &dyn Factory) {
    let log = factory.make().await;
    assert_eq!(log.append(vec![]).await.unwrap().ends, []);
    assert_eq!(log.append(vec![batch::<&str>(1, [])]).await.unwrap().ends, [(1, 0)]);
    assert_eq!(log.append(vec![batch(1, ["", "x", ""])]).await.unwrap().ends, [(1, 3)]);
    assert_eq!(log.append(vec![batch::<&str>(1, [])]).await.unwrap().ends, [(1, 3)]);
    assert_eq!(texts(&read_from(&*log, 1, 0).await), ["", "x", ""]);
}

/// Ends that don't cut the buffer are an error, and nothing of the call is appended.
pub async fn invalid_batches_are_refused(factory: &dyn Factory) {
    let log = factory.make().await;
    let bad_ends: [&[u32]; 5] = [&[2, 1, 3], &[1, 2], &[4], &[], &[1, 3, u32::MAX]];
    for ends in bad_ends {
        let bad = Batch { partition: 0, buffer: Bytes::from_static(b"abc"), ends: ends.to_vec() };
        let refused = log.append(vec![batch(0, ["good"]), bad]).await;
        assert!(matches!(refused, Err(LogError::Invalid(_))), "{ends:?}: {refused:?}");
    }
    assert_eq!(log.tail(0).await.unwrap().end, 0);
}

/// A partition that isn't there is an error that says which are, in every call.
pub async fn unknown_partitions_are_refused(factory: &dyn Factory) {
    let log = factory.make().await;
    assert_eq!(log.partitions(), PARTITIONS);
    let refused = [
        log.append(vec![batch(0, ["x"]), batch(PARTITIONS, ["x"])]).await.err(),
        log.read(PARTITIONS, 0, 1, 1).await.err(),
        log.wait_for(PARTITIONS, 0).await.err(),
        log.tail(PARTITIONS).await.err(),
        log.trim(PARTITIONS, 0).await.err(),
    ];
    for error in refused {
        let named = matches!(error, Some(LogError::NoSuchPartition { partition: PARTITIONS, partitions: PARTITIONS }));
        assert!(named, "{error:?}");
    }
    assert_eq!(log.tail(0).await.unwrap().end, 0, "the good batch beside a bad one is not taken");
}

/// Records of a megabyte come back byte for byte, also after reopening.
pub async fn large_records_come_back_whole(factory: &dyn Factory) {
    let log = factory.make().await;
    let mut random = Random::new();
    let mut wanted = Vec::new();
    for size in [1, 300_000, 900_000, 70_000] {
        let record: Vec<u8> = (0..size).map(|_| random.below(256) as u8).collect();
        log.append(vec![batch(0, [&record])]).await.unwrap();
        wanted.push(record);
    }
    let payloads = |records: Vec<crate::Record>| records.into_iter().map(|record| record.payload).collect::<Vec<_>>();
    assert_eq!(payloads(read_from(&*log, 0, 0).await), wanted);
    log.close().await.unwrap();
    drop(log);
    let log: Arc<dyn EventLog> = factory.reopen().await;
    assert_eq!(payloads(read_from(&*log, 0, 0).await), wanted);
}
