//! What a log knows after it was killed, and what it refuses when it is opened.

use super::{super::timeline::LEASE_MS, *};
use crate::conformance::{batch, read_from};

#[tokio::test]
async fn a_tail_holds_over_a_kill_even_if_the_clock_falls() {
    let dir = tempfile::tempdir().unwrap();
    let (live, killed) = (dir.path().join("live"), dir.path().join("killed"));
    let time_ms = Arc::new(AtomicI64::new(1_000_000));
    let log = EmbeddedLog::open(&live, &options(), set_clock(&time_ms)).await.unwrap();
    log.append(vec![batch(0, ["x"])]).await.unwrap();
    time_ms.store(5_000_000, Ordering::Relaxed);
    let tail = log.tail(0).await.unwrap();
    assert_eq!((tail.end, tail.time_ms), (1, 5_000_000));
    copy(&live, &killed);

    time_ms.store(1_000, Ordering::Relaxed);
    let log = EmbeddedLog::open(&killed, &options(), set_clock(&time_ms)).await.unwrap();
    log.append(vec![batch(0, ["y"])]).await.unwrap();
    let later = read_from(&log, 0, 1).await[0].appended_ms;
    assert!((tail.time_ms..=tail.time_ms + LEASE_MS).contains(&later), "{later}");
}

#[tokio::test]
async fn a_killed_log_is_not_ahead_of_the_clock() {
    let dir = tempfile::tempdir().unwrap();
    let (live, killed) = (dir.path().join("live"), dir.path().join("killed"));
    let log = EmbeddedLog::open(&live, &options(), system_clock()).await.unwrap();
    let told = log.tail(0).await.unwrap().time_ms;
    copy(&live, &killed);
    let log = EmbeddedLog::open(&killed, &options(), system_clock()).await.unwrap();
    log.append(vec![batch(0, ["y"])]).await.unwrap();
    let (appended_ms, now_ms) = (read_from(&log, 0, 0).await[0].appended_ms, system_clock()());
    assert!(told <= appended_ms && appended_ms <= now_ms, "{told}, {appended_ms}, {now_ms}");
}

#[tokio::test]
async fn a_log_killed_with_everything_trimmed_knows_its_end_and_time() {
    let dir = tempfile::tempdir().unwrap();
    let (live, killed) = (dir.path().join("live"), dir.path().join("killed"));
    let time_ms = Arc::new(AtomicI64::new(5_000_000));
    let log = EmbeddedLog::open(&live, &options(), set_clock(&time_ms)).await.unwrap();
    log.append(vec![batch(0, ["x", "y"])]).await.unwrap();
    log.trim(0, 2).await.unwrap();
    copy(&live, &killed);

    time_ms.store(1_000, Ordering::Relaxed);
    let log = EmbeddedLog::open(&killed, &options(), set_clock(&time_ms)).await.unwrap();
    assert!(matches!(log.read(0, 1, 1, 1).await, Err(LogError::Trimmed { begin: 2, .. })));
    assert_eq!(log.append(vec![batch(0, ["z"])]).await.unwrap().ends, [(0, 3)]);
    assert_eq!(read_from(&log, 0, 2).await[0].appended_ms, 5_000_000);
}

#[tokio::test]
async fn a_closed_log_goes_on_from_its_last_time_and_not_ahead_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let time_ms = Arc::new(AtomicI64::new(1_000_000));
    let log = EmbeddedLog::open(dir.path(), &options(), set_clock(&time_ms)).await.unwrap();
    assert_eq!(log.incarnation(), 1_000_000, "the clock when it was made");
    assert_eq!(log.tail(0).await.unwrap().time_ms, 1_000_000);
    log.close().await.unwrap();
    time_ms.store(999_000, Ordering::Relaxed);
    let log = EmbeddedLog::open(dir.path(), &options(), set_clock(&time_ms)).await.unwrap();
    log.append(vec![batch(1, ["x"])]).await.unwrap();
    assert_eq!(read_from(&log, 1, 0).await[0].appended_ms, 1_000_000);
    assert_eq!(log.incarnation(), 1_000_000);
}

#[tokio::test]
async fn a_dropped_log_can_be_opened_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for end in 1..4 {
        let log = open(dir.path()).await.unwrap();
        assert_eq!(log.append(vec![batch(0, ["x"])]).await.unwrap().ends, [(0, end)]);
    }
}

#[tokio::test]
async fn a_second_open_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await.unwrap();
    let refused = open(dir.path()).await.err();
    assert!(matches!(&refused, Some(LogError::Config(message)) if message.contains("open already")), "{refused:?}");
    log.append(vec![batch(0, ["x"])]).await.unwrap();
    log.close().await.unwrap();
    open(dir.path()).await.unwrap();
}

#[tokio::test]
async fn options_that_describe_another_log_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).await.unwrap());
    for (options, told) in [
        (LogOptions { topic: "others".into(), ..options() }, r#"topic is "events", not "others""#),
        (LogOptions { partitions: 0, ..options() }, "1 to 1024 partitions"),
        (LogOptions { topic: String::new(), ..options() }, "1 to 200 bytes"),
    ] {
        let refused = EmbeddedLog::open(dir.path(), &options, system_clock()).await.err();
        assert!(matches!(&refused, Some(LogError::Config(message)) if message.contains(told)), "{refused:?}");
    }
    open(dir.path()).await.unwrap();
}

#[tokio::test]
async fn a_url_names_the_log_or_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("embedded:{}", dir.path().join("log").display());
    let log = crate::open(&url, &options(), None).await.unwrap();
    assert_eq!((log.topic(), log.partitions()), ("events", 2));
    for (url, told) in [("kafka://host:9092", "needs a metastore"), ("embedded:", "directory"), ("s3://x", "s3://x")] {
        let refused = crate::open(url, &options(), None).await.err();
        assert!(matches!(&refused, Some(LogError::Config(message)) if message.contains(told)), "{refused:?}");
    }
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = crate::open(&format!("embedded:{}", file.display()), &options(), None).await.err();
    assert!(matches!(refused, Some(LogError::Config(_))), "{refused:?}");
}

#[tokio::test]
async fn a_log_larger_than_memory_and_journal_reopens_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (live, killed) = (dir.path().join("live"), dir.path().join("killed"));
    let log = open(&live).await.unwrap();
    let record = |offset: u64| vec![offset as u8; 1 << 20];
    for offset in 0..50 {
        log.append(vec![batch(0, [record(offset)])]).await.unwrap();
    }
    log.trim(0, 3).await.unwrap();
    // At rest, so that the copy is one moment's: tables are made in the background.
    log.shared.store.read().as_ref().unwrap().flush(0);
    log.append(vec![batch(0, [record(50)])]).await.unwrap();
    copy(&live, &killed);
    for place in [&live, &killed] {
        if place == &live {
            log.close().await.unwrap();
        }
        let log = open(place).await.unwrap();
        let records = read_from(&log, 0, 3).await;
        assert_eq!(records.len(), 48);
        assert!(records.iter().all(|found| found.payload == record(found.offset)));
        assert!(matches!(log.read(0, 2, 1, 1).await, Err(LogError::Trimmed { begin: 3, .. })));
    }
}

#[tokio::test]
async fn a_log_half_made_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).await.unwrap());
    fs::rename(dir.path().join("v1"), dir.path().join("making")).unwrap();
    fs::remove_file(dir.path().join("making/floor")).unwrap();
    let log = open(dir.path()).await.unwrap();
    log.append(vec![batch(0, ["x"])]).await.unwrap();
    assert!(!dir.path().join("making").exists());
}
