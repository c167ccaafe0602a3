//! A write that fails ends the log's life: nothing more is acknowledged, what was is still read, and reopening heals.

use super::{super::mending::MendingLog, *};
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

#[tokio::test]
async fn a_log_whose_disk_is_well_again_opens_itself() {
    let dir = tempfile::tempdir().unwrap();
    let log = MendingLog::open(dir.path(), &options(), system_clock()).await.unwrap();
    log.append(vec![batch(0, ["kept"])]).await.unwrap();
    for failure in 0..2 {
        log.log().shared.store.read().as_ref().unwrap().break_down();
        let refused = log.append(vec![batch(0, ["lost or not"])]).await;
        assert!(matches!(refused, Err(LogError::Unavailable(_))), "{refused:?}");
        let end = loop {
            match log.append(vec![batch(0, [format!("next {failure}")])]).await {
                Ok(position) => break position.ends[0].1,
                Err(LogError::Unavailable(_)) => tokio::task::yield_now().await,
                Err(other) => panic!("{other}"),
            }
        };
        assert_eq!(texts(&read_from(&log, 0, end - 1).await), [format!("next {failure}")]);
    }
    assert_eq!(texts(&read_from(&log, 0, 0).await)[0], "kept");
    log.close().await.unwrap();
    let closed = log.append(vec![batch(0, ["late"])]).await;
    assert!(matches!(closed, Err(LogError::Unavailable(_))), "{closed:?}");
}
