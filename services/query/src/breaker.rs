//! Whether the warehouse is there to be asked.
//!
//! A query that fails for want of it, or hears nothing for a while, asks it for a sign of life. Without one the breaker opens: what
//! runs fails, and what comes is refused at once. From then on one small query at a time tries, until one is answered.

use std::{sync::Arc, time::Duration};

use model::Error;
use storage::Warehouse;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::warn;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(250);
/// When who is refused may come again.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(crate) struct Breaker {
    warehouse: Warehouse,
    silence: Duration,
    open: Arc<watch::Sender<bool>>,
}

impl Breaker {
    /// After `silence` the warehouse is asked for a sign of life, for which it has as long.
    pub(crate) fn new(warehouse: Warehouse, silence: Duration) -> Self {
        Self { warehouse, silence, open: Arc::new(watch::Sender::new(false)) }
    }

    /// Refuses while the warehouse is away.
    pub(crate) fn pass(&self) -> Result<(), Error> {
        if *self.open.borrow() { Err(away()) } else { Ok(()) }
    }

    /// Waits for work in the warehouse, as long as that is there.
    pub(crate) async fn watch<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        let mut open = self.open.subscribe();
        let gone = async {
            let mut opened = std::pin::pin!(async { drop(open.wait_for(|open| *open).await) });
            loop {
                tokio::select! {
                    () = &mut opened => return,
                    () = sleep(self.silence) => self.suspect().await,
                }
            }
        };
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = gone => Err(away()),
        }
    }

    /// Opens the breaker unless the warehouse answers.
    pub(crate) async fn suspect(&self) {
        if *self.open.borrow() || answers(&self.warehouse, self.silence).await || self.open.send_replace(true) {
            return;
        }
        warn!("the warehouse is away: queries are refused until it answers");
        metrics::gauge!("penstock_query_warehouse_away").set(1.0);
        let (warehouse, silence, open) = (self.warehouse.clone(), self.silence, Arc::downgrade(&self.open));
        tokio::spawn(async move {
            while !answers(&warehouse, silence).await {
                sleep(PAUSE).await;
                if open.strong_count() == 0 {
                    return; // nobody asks any more
                }
            }
            if let Some(open) = open.upgrade() {
                open.send_replace(false);
                warn!("the warehouse answers again");
                metrics::gauge!("penstock_query_warehouse_away").set(0.0);
            }
        });
    }
}

/// Whether it is there; an answer that refuses comes from someone.
async fn answers(warehouse: &Warehouse, within: Duration) -> bool {
    matches!(timeout(within, warehouse.ping()).await, Ok(answer) if !answer.as_ref().is_err_and(|e| e.is_unavailable()))
}

fn away() -> Error {
    Error::unavailable("the warehouse can't be reached now", RETRY)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::pending;

    use futures::FutureExt;
    use model::ErrorCode;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// A server that answers once it is told to; until then it takes requests and is silent.
    async fn warehouse(answers: watch::Receiver<bool>) -> Warehouse {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut answers = answers.clone();
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    while connection.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                        answers.wait_for(|answers| *answers).await.unwrap();
                        let _ = connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                    }
                });
            }
        });
        Warehouse::new(&url, "penstock", "default", None).unwrap()
    }

    #[tokio::test]
    async fn a_silent_warehouse_ends_what_runs_and_refuses_what_comes_until_it_answers() {
        let (tell, told) = watch::channel(false);
        let breaker = Breaker::new(warehouse(told).await, Duration::from_millis(20));
        breaker.pass().unwrap();
        assert_eq!(breaker.watch(async { 7 }).await.unwrap(), 7);
        let ended = breaker.watch(pending::<()>()).await.unwrap_err();
        assert_eq!((ended.code, ended.retry_after), (ErrorCode::Unavailable, Some(RETRY)));
        assert_eq!(breaker.pass().unwrap_err(), ended);
        assert!(breaker.watch(pending::<()>()).await.is_err());
        tell.send(true).unwrap();
        breaker.open.subscribe().wait_for(|open| !open).await.unwrap();
        breaker.pass().unwrap();
        // Slow, and there: it is waited for.
        let slow = breaker.watch(sleep(Duration::from_millis(200)));
        slow.await.unwrap();
        assert!(breaker.watch(pending::<()>()).now_or_never().is_none());
    }
}
