//! Reading definitions.

use api::v1::{
    GetMetricRequest, GetMetricResponse, ListMetricVersionsRequest, ListMetricVersionsResponse, ListMetricsRequest,
    ListMetricsResponse,
};
use model::{Error, ErrorCode, Metric, Permission};
use storage::App;

use crate::{
    call::Call,
    definition::metric_name,
    service::{Metrics, stored},
    wire::metric_to_wire,
};

impl Metrics {
    pub(crate) async fn get(&self, call: &Call, request: &GetMetricRequest) -> Result<GetMetricResponse, Error> {
        let app = self.target(call, Permission::Query, &request.app_id).await?;
        let metric = self.named(&app, &request.name, request.version).await?;
        Ok(GetMetricResponse { metric: Some(metric_to_wire(metric)) })
    }

    pub(crate) async fn list(&self, call: &Call, request: &ListMetricsRequest) -> Result<ListMetricsResponse, Error> {
        let app = self.target(call, Permission::Query, &request.app_id).await?;
        let metrics = self.store.list_metrics(&app.tenant, &app.id).await.map_err(stored)?;
        Ok(ListMetricsResponse { metrics: metrics.into_iter().map(metric_to_wire).collect() })
    }

    pub(crate) async fn versions(
        &self,
        call: &Call,
        request: &ListMetricVersionsRequest,
    ) -> Result<ListMetricVersionsResponse, Error> {
        let app = self.target(call, Permission::Query, &request.app_id).await?;
        metric_name("name", &request.name)?;
        let metrics = self.store.metric_versions(&app.tenant, &app.id, &request.name).await.map_err(stored)?;
        if metrics.is_empty() {
            return Err(missing(&request.name, 0));
        }
        Ok(ListMetricVersionsResponse { metrics: metrics.into_iter().map(metric_to_wire).collect() })
    }

    /// One version of a metric; the newest for version 0.
    pub(crate) async fn named(&self, app: &App, name: &str, version: u32) -> Result<Metric, Error> {
        metric_name("name", name)?;
        let wanted = (version != 0).then_some(version);
        let metric = self.known.metric(&app.tenant, &app.id, name, wanted).await.map_err(stored)?;
        metric.ok_or_else(|| missing(name, version))
    }
}

fn missing(name: &str, version: u32) -> Error {
    let what = if version == 0 { String::new() } else { format!("version {version} of ") };
    Error::new(ErrorCode::NotFound, format!("{what}metric {name} does not exist"))
}
