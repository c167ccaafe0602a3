//! Following a metric as its events arrive: the query service's pushes, passed on.

use std::time::Duration;

use api::v1::{
    Evaluation, SubscribeMetricRequest, SubscribeMetricResponse, SubscribeRequest, SubscribeResponse,
    subscribe_metric_response::Push, subscribe_request::Question, subscribe_response,
};
use futures::{Stream, stream};
use model::{Error, ErrorCode, Metric};
use storage::App;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tonic::Streaming;

use crate::{call::Call, origin::Origin, service::Metrics, upstream::refused};

/// How often is looked whether the newest version is still the one that is followed.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long whoever is sent away as the process ends should wait.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Metrics {
    /// The pushes, from the whole answer on. What the metric or its evaluation is refused for is told here.
    pub(crate) async fn subscribe(
        &self,
        call: Call,
        request: SubscribeMetricRequest,
    ) -> Result<impl Stream<Item = Result<SubscribeMetricResponse, Error>> + Send + use<>, Error> {
        let evaluation = request.evaluation.clone().unwrap_or_default();
        let app = self.target_of_evaluation(&call, &request.app_id, &request.name, &evaluation).await?;
        let metric = self.named(&app, &request.name, request.version).await?;
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look.reset();
        let asker = Asker { metrics: self.clone(), call, app, evaluation, request };
        let pushes = asker.begin(metric).await?;
        let following = Following { asker, pushes: Some(pushes), look };
        Ok(stream::try_unfold(following, |mut following| async move {
            let push = following.next().await?;
            Ok(push.map(|push| (push, following)))
        }))
    }
}

/// Who asked for what.
struct Asker {
    metrics: Metrics,
    call: Call,
    app: App,
    evaluation: Evaluation,
    request: SubscribeMetricRequest,
}

/// The pushes of one version.
struct Pushes {
    version: u32,
    origin: Origin,
    pushes: Streaming<SubscribeResponse>,
}

struct Following {
    asker: Asker,
    /// None for the moment from one version to the next: both together could be one subscription too many.
    pushes: Option<Pushes>,
    look: Interval,
}

impl Asker {
    async fn begin(&self, metric: Metric) -> Result<Pushes, Error> {
        let version = metric.version;
        let (query, origin) = self.metrics.query_of(&self.app, metric, self.evaluation.clone()).await?;
        let SubscribeMetricRequest { options, min_interval, .. } = &self.request;
        let (options, min_interval) = (options.clone(), *min_interval);
        let request = SubscribeRequest { question: Some(Question::Query(query)), options, min_interval };
        let pushes = self.metrics.upstream.subscribe(&self.call, request).await.map_err(|error| origin.told(error))?;
        Ok(Pushes { version, origin, pushes })
    }

    /// The newest version if it is another than that; none as well while it can't be read.
    async fn newer(&self, than: u32) -> Result<Option<Metric>, Error> {
        match self.metrics.named(&self.app, &self.request.name, 0).await {
            Ok(metric) => Ok(Some(metric).filter(|metric| metric.version != than)),
            Err(error) if error.code == ErrorCode::Unavailable => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Following {
    async fn next(&mut self) -> Result<Option<SubscribeMetricResponse>, Error> {
        let is_newest = self.asker.request.version == 0;
        loop {
            let Some(Pushes { version, origin, pushes }) = &mut self.pushes else { return Ok(None) };
            tokio::select! {
                biased;
                () = self.asker.metrics.stop.cancelled() => {
                    return Err(Error::unavailable("this process ends; subscribe again", RETRY_AFTER));
                }
                push = pushes.message() => {
                    let push = push.map_err(|status| origin.told(refused(&status)))?;
                    return Ok(push.map(|push| SubscribeMetricResponse { push: push.push.map(passed), version: *version }));
                }
                _ = self.look.tick(), if is_newest => {
                    if let Some(newer) = self.asker.newer(*version).await? {
                        self.pushes = None;
                        self.pushes = Some(self.asker.begin(newer).await?);
                    }
                }
            }
        }
    }
}

fn passed(push: subscribe_response::Push) -> Push {
    match push {
        subscribe_response::Push::State(state) => Push::State(state),
        subscribe_response::Push::Change(change) => Push::Change(change),
        subscribe_response::Push::Heartbeat(heartbeat) => Push::Heartbeat(heartbeat),
    }
}
