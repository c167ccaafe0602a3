//! Keeping dashboards: the whole of one at a time, and only in place of what its writer has seen.

use api::{
    convert::time_to_wire,
    v1::{
        self, DashboardSummary, DeleteDashboardRequest, DeleteDashboardResponse, GetDashboardRequest,
        GetDashboardResponse, ListDashboardsRequest, ListDashboardsResponse, PutDashboardRequest, PutDashboardResponse,
        dashboard_service_server::DashboardService,
    },
};
use model::{Error, ErrorCode, Permission};
use storage::{App, Dashboard, MetaError};
use tonic::{Request, Response, Status};
use tracing::info;

use crate::{
    call::Call,
    service::{Metrics, answer, stored, take},
    tiles::{checked, dashboard_id},
};

/// The most that an app has.
const MOST: u32 = 100;
/// The largest one, in bytes of JSON.
const MOST_BYTES: usize = 64 << 10;
/// Its message in the contracts.
const NAME: &str = "Dashboard";

#[tonic::async_trait]
impl DashboardService for Metrics {
    async fn list_dashboards(
        &self,
        request: Request<ListDashboardsRequest>,
    ) -> Result<Response<ListDashboardsResponse>, Status> {
        let (call, message) = take(request)?;
        answer(self.dashboards(&call, &message).await)
    }

    async fn get_dashboard(
        &self,
        request: Request<GetDashboardRequest>,
    ) -> Result<Response<GetDashboardResponse>, Status> {
        let (call, message) = take(request)?;
        answer(self.dashboard(&call, &message).await)
    }

    async fn put_dashboard(
        &self,
        request: Request<PutDashboardRequest>,
    ) -> Result<Response<PutDashboardResponse>, Status> {
        let (call, message) = take(request)?;
        answer(self.keep_dashboard(&call, message).await)
    }

    async fn delete_dashboard(
        &self,
        request: Request<DeleteDashboardRequest>,
    ) -> Result<Response<DeleteDashboardResponse>, Status> {
        let (call, message) = take(request)?;
        answer(self.drop_dashboard(&call, &message).await)
    }
}

impl Metrics {
    async fn dashboards(&self, call: &Call, request: &ListDashboardsRequest) -> Result<ListDashboardsResponse, Error> {
        let app = self.app_of(call, Permission::Query, &request.app_id).await?;
        let kept = self.store.list_dashboards(&app.tenant, &app.id).await.map_err(stored)?;
        let shown = kept.into_iter().filter(|dashboard| call.context.scope.shows(&dashboard.id));
        Ok(ListDashboardsResponse { dashboards: shown.map(summary).collect() })
    }

    async fn dashboard(&self, call: &Call, request: &GetDashboardRequest) -> Result<GetDashboardResponse, Error> {
        let app = self.app_of(call, Permission::Query, &request.app_id).await?;
        let id = &request.dashboard_id;
        dashboard_id("dashboard_id", id)?;
        if !call.context.scope.shows(id) {
            let message = format!("this token doesn't show dashboard {id}: its claim `dashboards` has to name it");
            return Err(Error::new(ErrorCode::PermissionDenied, message));
        }
        let kept = self.store.dashboard(&app.tenant, &app.id, id).await.map_err(stored)?;
        let kept = kept.ok_or_else(|| Error::new(ErrorCode::NotFound, format!("dashboard {id} does not exist")))?;
        Ok(GetDashboardResponse { dashboard: Some(to_wire(&kept)?) })
    }

    async fn keep_dashboard(&self, call: &Call, request: PutDashboardRequest) -> Result<PutDashboardResponse, Error> {
        let app = self.app_of(call, Permission::Metrics, &request.app_id).await?;
        let Some(given) = request.dashboard else {
            return Err(Error::invalid("dashboard", "REQUIRED", "must be all of the dashboard"));
        };
        let before = given.etag.clone();
        // What the server gives is no part of it.
        let plain = v1::Dashboard { etag: String::new(), updated_at: None, updated_by: String::new(), ..given };
        let dashboard = checked(plain, &app)?;
        let content = api::to_text(NAME, &dashboard)
            .map_err(|error| Error::invalid("dashboard", "MALFORMED", format!("has what can't be kept: {error}")))?;
        if content.len() > MOST_BYTES {
            let description = format!("must have at most {MOST_BYTES} bytes as JSON, not {}", content.len());
            return Err(Error::invalid("dashboard", "TOO_LARGE", description));
        }
        let was = self.store.dashboard(&app.tenant, &app.id, &dashboard.dashboard_id).await.map_err(stored)?;
        let was = was.as_ref().map(to_wire).transpose()?.unwrap_or_default();
        self.try_tiles(call, &app, &dashboard, &was).await?;
        let kept = Dashboard {
            id: dashboard.dashboard_id,
            title: dashboard.title,
            description: dashboard.description,
            tiles: dashboard.tiles.len() as u32,
            content,
            etag: format!("{:016x}", rand::random::<u64>()),
            updated_at_ms: (self.now_ms)(),
            updated_by: call.context.key_id.clone(),
        };
        let acting = self.store.acting(call.act("DashboardService/PutDashboard", kept.updated_at_ms));
        let put = acting.put_dashboard(&app.tenant, &app.id, &kept, &before, MOST).await;
        put.map_err(|error| full(&app, error))?;
        info!(by = kept.updated_by, tenant = %app.tenant, app = %app.id, dashboard = kept.id, "kept a dashboard");
        Ok(PutDashboardResponse { dashboard: Some(to_wire(&kept)?) })
    }

    async fn drop_dashboard(
        &self,
        call: &Call,
        request: &DeleteDashboardRequest,
    ) -> Result<DeleteDashboardResponse, Error> {
        let app = self.app_of(call, Permission::Metrics, &request.app_id).await?;
        let DeleteDashboardRequest { dashboard_id: id, etag, .. } = request;
        dashboard_id("dashboard_id", id)?;
        let acting = self.store.acting(call.act("DashboardService/DeleteDashboard", (self.now_ms)()));
        acting.delete_dashboard(&app.tenant, &app.id, id, etag).await.map_err(stored)?;
        info!(by = call.context.key_id, tenant = %app.tenant, app = %app.id, dashboard = id, "deleted a dashboard");
        Ok(DeleteDashboardResponse {})
    }
}

fn full(app: &App, error: MetaError) -> Error {
    if !matches!(error, MetaError::TooMany(_)) {
        return stored(error);
    }
    let description = format!("app {} has {MOST} dashboards, which is the most: delete one first", app.id);
    Error::invalid("dashboard", "TOO_MANY", description)
}

fn summary(kept: Dashboard) -> DashboardSummary {
    DashboardSummary {
        dashboard_id: kept.id,
        title: kept.title,
        description: kept.description,
        tile_count: kept.tiles,
        etag: kept.etag,
        updated_at: Some(time_to_wire(kept.updated_at_ms)),
        updated_by: kept.updated_by,
    }
}

fn to_wire(kept: &Dashboard) -> Result<v1::Dashboard, Error> {
    let dashboard = api::of_text::<v1::Dashboard>(NAME, &kept.content);
    let dashboard = dashboard.map_err(|error| Error::internal(format!("a dashboard can't be read: {error:.200}")))?;
    Ok(v1::Dashboard {
        etag: kept.etag.clone(),
        updated_at: Some(time_to_wire(kept.updated_at_ms)),
        updated_by: kept.updated_by.clone(),
        ..dashboard
    })
}
