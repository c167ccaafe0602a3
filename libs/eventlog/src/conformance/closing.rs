use std::{pin::pin, sync::Arc};

use super::{Factory, batch, reading::is_pending, texts};
use crate::LogError;

/// Closing finishes what was taken, wakes who waits, and every later call is refused.
pub async fn a_closed_log_refuses(factory: &dyn Factory) {
    let log = factory.make().await;
    log.append(vec![batch(0, ["a"])]).await.unwrap();
    let appenders: Vec<_> = (0..20)
        .map(|_| {
            let log = Arc::clone(&log);
            tokio::spawn(async move { log.append(vec![batch(1, ["x"])]).await })
        })
        .collect();
    {
        let mut waiting = pin!(log.wait_for(0, 1));
        assert!(is_pending(waiting.as_mut()).await);
        log.close().await.unwrap();
        assert!(matches!(waiting.await, Err(LogError::Unavailable(_))));
    }

    let mut acknowledged = 0;
    for appender in appenders {
        match appender.await.unwrap() {
            Ok(position) => acknowledged = acknowledged.max(position.ends[0].1),
            Err(error) => assert!(matches!(error, LogError::Unavailable(_)), "{error:?}"),
        }
    }
    let refused = [
        log.append(vec![batch(0, ["late"])]).await.err(),
        log.read(0, 0, 1, 1).await.err(),
        log.wait_for(0, 0).await.err(),
        log.tail(0).await.err(),
        log.trim(0, 1).await.err(),
        log.assignment().err(),
    ];
    for error in refused {
        assert!(matches!(error, Some(LogError::Unavailable(_))), "{error:?}");
    }
    log.close().await.unwrap();
    drop(log);

    let log = factory.reopen().await;
    assert_eq!(texts(&log.read(0, 0, 10, 10).await.unwrap()), ["a"]);
    assert!(log.tail(1).await.unwrap().end >= acknowledged);
}
