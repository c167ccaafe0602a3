//! Waiting for what is away.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::PipelineError;

/// Between two tries, growing from the one to the other.
const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Does it again while the log or the metastore is away; not once the worker shall stop.
///
/// `call` may have been carried out although it failed, so it must be one that can be done twice.
pub(crate) async fn patiently<T, E, F>(
    stop: &CancellationToken,
    mut call: impl FnMut() -> F,
) -> Result<T, PipelineError>
where
    E: Into<PipelineError>,
    F: Future<Output = Result<T, E>>,
{
    let mut pause = MIN_PAUSE;
    loop {
        let error = match call().await {
            Ok(done) => return Ok(done),
            Err(error) => error.into(),
        };
        if !error.is_away() || stop.is_cancelled() {
            return Err(error);
        }
        if pause == MIN_PAUSE {
            warn!(%error, "a pipeline worker waits");
        }
        tokio::select! {
            () = stop.cancelled() => {} // one last try: what is under way shall be committed
            () = sleep(pause) => pause = (pause * 2).min(MAX_PAUSE),
        }
    }
}
