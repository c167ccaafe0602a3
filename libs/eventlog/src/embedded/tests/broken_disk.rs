//! A write that fails ends the log's life: nothing more is acknowledged, what was is still read, and reopening heals.

use super::*;
use crate::conformance::{batch, read_from, texts};

#[tokio::test]
async fn after_a_failed_write_nothing_is_acknowledged_until_reopened() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await.unwrap();
    log.append(vec![batch(0, ["kept"])]).await.unwrap();
    log.shared.store.read().as_ref().unwrap().break_down();

    let waiting = log.wait_for(0, 1);
    let (first, second) = tokio::join!(log.append(vec![batch(0, ["a"])]), log.append(vec![batch(1, ["b"])]));
    for refused in [first, second, log.append(vec![batch(0, ["c"])]).await, log.append(vec![]).await] {
        let told = matches!(&refused, Err(LogError::Unavailable(message)) if message.contains("must be reopened"));
        assert!(told, "{refused:?}");
    }
    assert!(matches!(waiting.await, Err(LogError::Unavailable(_))));
    assert_eq!(texts(&read_from(&log, 0, 0).await), ["kept"]);
    assert_eq!(log.tail(0).await.unwrap().end, 1);
    log.close().await.unwrap();

    let log = open(dir.path()).await.unwrap();
    let found = texts(&read_from(&log, 0, 0).await);
    assert_eq!(found[0], "kept");
    let end = log.append(vec![batch(0, ["next"])]).await.unwrap().ends[0].1;
    assert_eq!(texts(&read_from(&log, 0, end - 1).await), ["next"]);
}
