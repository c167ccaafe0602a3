//! Keeping definitions: each change is a new version, and a version never changes.

use api::v1::{
    self, CreateMetricRequest, CreateMetricResponse, DeleteMetricRequest, DeleteMetricResponse, UpdateMetricRequest,
    UpdateMetricResponse, ValidateMetricRequest, ValidateMetricResponse,
};
use model::{Error, ErrorCode, Metric, Permission};
use storage::App;
use tracing::info;

use crate::{
    call::Call,
    definition::{self, Checked, check, metric_name},
    service::{Metrics, stored},
    wire::{column_to_wire, metric_to_wire, problems},
};

impl Metrics {
    pub(crate) async fn create(
        &self,
        call: &Call,
        request: CreateMetricRequest,
    ) -> Result<CreateMetricResponse, Error> {
        let app = self.target(call, Permission::Metrics, &request.app_id).await?;
        let checked = self.checked(&app, request.definition).await?.map_err(definition::one)?;
        let metric = Metric { version: 1, ..checked.metric };
        let metric = self.keep(call, "MetricsService/CreateMetric", &app, metric).await?;
        Ok(CreateMetricResponse { metric: Some(metric_to_wire(metric)) })
    }

    pub(crate) async fn update(
        &self,
        call: &Call,
        request: UpdateMetricRequest,
    ) -> Result<UpdateMetricResponse, Error> {
        let app = self.target(call, Permission::Metrics, &request.app_id).await?;
        let checked = self.checked(&app, request.definition).await?.map_err(definition::one);
        let (checked, version) = match (checked, next_version(request.base_version)) {
            (Ok(checked), Ok(version)) => (checked, version),
            (Err(one), Err(other)) => return Err(one.and(other)),
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        let metric = Metric { version, ..checked.metric };
        let metric = self.keep(call, "MetricsService/UpdateMetric", &app, metric).await?;
        Ok(UpdateMetricResponse { metric: Some(metric_to_wire(metric)) })
    }

    pub(crate) async fn delete(
        &self,
        call: &Call,
        request: &DeleteMetricRequest,
    ) -> Result<DeleteMetricResponse, Error> {
        let app = self.target(call, Permission::Metrics, &request.app_id).await?;
        metric_name("name", &request.name)?;
        let acting = self.store.acting(call.act("MetricsService/DeleteMetric", (self.now_ms)()));
        acting.delete_metric(&app.tenant, &app.id, &request.name).await.map_err(stored)?;
        info!(by = call.context.key_id, tenant = %app.tenant, app = %app.id, metric = request.name, "deleted a metric");
        Ok(DeleteMetricResponse {})
    }

    pub(crate) async fn validate(
        &self,
        call: &Call,
        request: ValidateMetricRequest,
    ) -> Result<ValidateMetricResponse, Error> {
        let app = self.target(call, Permission::Metrics, &request.app_id).await?;
        Ok(match self.checked(&app, request.definition).await? {
            Ok(checked) => {
                ValidateMetricResponse { problems: Vec::new(), column: Some(column_to_wire(checked.column)) }
            }
            Err(faults) => ValidateMetricResponse { problems: problems(faults), column: None },
        })
    }

    /// The definition with the versions of the metrics that it names, or all that is wrong with it.
    pub(crate) async fn checked(
        &self,
        app: &App,
        mut definition: Option<v1::MetricDefinition>,
    ) -> Result<Result<Checked, Vec<Error>>, Error> {
        let schema = self.schema(app).await?;
        let mut on = Vec::new();
        if let Some(definition) = &mut definition {
            match self.rested(app, &definition.name, &definition.formula, "definition.formula").await {
                Ok(rested) => (definition.formula, on) = (rested.formula, rested.on),
                Err(error) if error.code == ErrorCode::InvalidArgument => return Ok(Err(vec![error])),
                Err(error) => return Err(error),
            }
        }
        Ok(check(definition, &on, &self.language(app, &schema)).map(|checked| Checked { on, ..checked }))
    }

    async fn keep(&self, call: &Call, method: &str, app: &App, metric: Metric) -> Result<Metric, Error> {
        let metric = Metric { created_at_ms: (self.now_ms)(), ..metric };
        let acting = self.store.acting(call.act(method, metric.created_at_ms));
        acting.put_metric(&app.tenant, &app.id, &metric).await.map_err(stored)?;
        let (by, name, version) = (&call.context.key_id, &metric.name, metric.version);
        info!(by, tenant = %app.tenant, app = %app.id, metric = name, version, "defined a metric");
        Ok(metric)
    }
}

/// The version after `base`. The metastore refuses it unless `base` is the newest then.
fn next_version(base: u32) -> Result<u32, Error> {
    match base {
        0 => Err(Error::invalid("base_version", "REQUIRED", "must be the version that the change is based on")),
        base => base.checked_add(1).ok_or_else(|| Error::new(ErrorCode::Conflict, "there is no such base version")),
    }
}
