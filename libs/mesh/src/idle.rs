//! Connections on which nothing is asked.
//!
//! HTTP/1.1 bounds the wait for a request's head. An HTTP/2 client that answers pings could keep a connection for ever, and with some
//! thousands of them the room of all others: one without a call is told to go after a while, as a server may tell any client.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

use crate::{
    Response,
    body::{Around, within},
};

/// The calls that are open on a connection.
#[derive(Clone)]
pub(crate) struct Calls(Arc<watch::Sender<usize>>);

/// One of them, until it is dropped.
pub(crate) struct Call(Calls);

impl Calls {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    pub(crate) fn open(&self) -> Call {
        self.0.send_modify(|open| *open += 1);
        Call(self.clone())
    }

    /// Waits until none was open for so long.
    pub(crate) async fn none_for(&self, time: Duration) {
        let mut open = self.0.subscribe();
        loop {
            let _ = open.wait_for(|open| *open == 0).await; // the sender lives as long as this
            if timeout(time, open.changed()).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.0.send_modify(|open| *open -= 1);
    }
}

impl Call {
    /// The call is open until its answer has gone out.
    pub(crate) fn until_answered(self, response: Response) -> Response {
        response.map(|body| within(body, self))
    }
}

impl Around for Call {
    fn around<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        poll()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_once_its_last_call_has_ended_for_so_long() {
        let (calls, began) = (Calls::new(), Instant::now());
        let long = calls.open();
        let story = async {
            sleep(Duration::from_secs(60)).await;
            drop(long);
            sleep(Duration::from_secs(9)).await;
            let short = calls.open();
            drop(short);
        };
        tokio::join!(story, calls.none_for(Duration::from_secs(10)));
        assert_eq!(began.elapsed(), Duration::from_secs(79));
    }
}
