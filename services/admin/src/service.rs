//! The contract's methods: each takes a call's caller and message apart and says the outcome as gRPC.

use std::{path::PathBuf, pin::Pin, sync::Arc};

use api::{
    status::to_status,
    v1::{
        CancelReplayRequest, CancelReplayResponse, CreateAppRequest, CreateAppResponse, CreateBackupRequest,
        CreateBackupResponse, CreateKeyRequest, CreateKeyResponse, CreateReportRequest, CreateReportResponse,
        CreateTenantRequest, CreateTenantResponse, DeleteReportRequest, DeleteReportResponse, EraseUserRequest,
        EraseUserResponse, GetBrandingRequest, GetBrandingResponse, GetErasureRequest, GetErasureResponse,
        GetHealthRequest, GetHealthResponse, GetReplayRequest, GetReplayResponse, GetReportRequest, GetReportResponse,
        GetSettingsRequest, GetSettingsResponse, GetTenantQuotaRequest, GetTenantQuotaResponse,
        GetTenantRetentionRequest, GetTenantRetentionResponse, GetTopicRequest, GetTopicResponse, GetUsageRequest,
        GetUsageResponse, GrowTopicRequest, GrowTopicResponse, ListAppsRequest, ListAppsResponse,
        ListAuditEntriesRequest, ListAuditEntriesResponse, ListDeadLettersRequest, ListDeadLettersResponse,
        ListErasuresRequest, ListErasuresResponse, ListKeysRequest, ListKeysResponse, ListReplaysRequest,
        ListReplaysResponse, ListReportRunsRequest, ListReportRunsResponse, ListReportsRequest, ListReportsResponse,
        ListTenantsRequest, ListTenantsResponse, ReconcileRequest, ReconcileResponse, RevokeKeyRequest,
        RevokeKeyResponse, RotateKeyRequest, RotateKeyResponse, SetBrandingRequest, SetBrandingResponse,
        SetSettingsRequest, SetSettingsResponse, SetTenantDomainsRequest, SetTenantDomainsResponse,
        SetTenantQuotaRequest, SetTenantQuotaResponse, SetTenantRetentionRequest, SetTenantRetentionResponse,
        StartReplayRequest, StartReplayResponse, VerifyAuditRequest, VerifyAuditResponse,
        admin_service_server::AdminService,
    },
};
use eventlog::EventLog;
use futures::{Stream, StreamExt, stream};
use model::Error;
use storage::{
    Cache, Erasures, Ledger, MetaError, Metastore, Placement, Placements, Processes, Replays, States, Topic, Warehouse,
};
use tonic::{Request, Response, Status};
use tracing::warn;

use crate::{caller::Caller, reconcile::unreadable, reports::Desk, usage::Prices};

/// What every method works on.
pub(crate) struct Admin {
    pub(crate) directory: Arc<dyn Metastore>,
    pub(crate) cache: Arc<dyn Cache>,
    pub(crate) ground: Option<Ground>,
    pub(crate) desk: Option<Arc<Desk>>,
    pub(crate) retention_days: u32,
    pub(crate) prices: Prices,
    pub(crate) now_ms: fn() -> i64,
}

/// What holds in the house unless it was said otherwise of a tenant.
#[derive(Debug, Clone)]
pub struct Terms {
    /// For how many days events are kept; 0 is for ever.
    pub retention_days: u32,
    /// What tenants are asked for.
    pub prices: Prices,
}

/// What events are kept in, on their way and at its end.
#[derive(Clone)]
pub struct Ground {
    /// Where they are first.
    pub log: Arc<dyn EventLog>,
    /// How far they came.
    pub ledger: Arc<dyn Ledger>,
    /// Whose are to be erased.
    pub erasures: Arc<dyn Erasures>,
    /// Which are to be put there anew.
    pub replays: Arc<dyn Replays>,
    /// Where in the log they are.
    pub placements: Arc<dyn Placements>,
    /// What brings them.
    pub processes: Arc<dyn Processes>,
    /// What is kept of their states.
    pub states: Arc<dyn States>,
    /// Where they end.
    pub warehouse: Warehouse,
    /// Directory for what is needed for a moment.
    pub scratch: PathBuf,
}

impl Ground {
    /// The log's topic, in this life of it.
    pub(crate) fn topic(&self) -> Topic {
        Topic { name: self.log.topic().to_owned(), incarnation: self.log.incarnation() }
    }

    /// Where events are now. The log has as many partitions then.
    pub(crate) async fn placement(&self) -> Result<Placement, Error> {
        let placement = self.placements.placement(&self.topic(), self.log.partitions()).await.map_err(stored)?;
        self.log.grow(placement.partitions()).await.map_err(unreadable)?;
        Ok(placement)
    }
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn create_tenant(
        &self,
        request: Request<CreateTenantRequest>,
    ) -> Result<Response<CreateTenantResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.add_tenant(&caller, message).await)
    }

    async fn list_tenants(
        &self,
        request: Request<ListTenantsRequest>,
    ) -> Result<Response<ListTenantsResponse>, Status> {
        let (caller, ListTenantsRequest {}) = take(request)?;
        answer(self.tenants(&caller).await)
    }

    async fn create_app(&self, request: Request<CreateAppRequest>) -> Result<Response<CreateAppResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.add_app(&caller, message).await)
    }

    async fn list_apps(&self, request: Request<ListAppsRequest>) -> Result<Response<ListAppsResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.apps(&caller, &message).await)
    }

    async fn create_key(&self, request: Request<CreateKeyRequest>) -> Result<Response<CreateKeyResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.make_key(&caller, message).await)
    }

    async fn list_keys(&self, request: Request<ListKeysRequest>) -> Result<Response<ListKeysResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.keys(&caller, &message).await)
    }

    async fn revoke_key(&self, request: Request<RevokeKeyRequest>) -> Result<Response<RevokeKeyResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.revoke(&caller, &message).await)
    }

    async fn rotate_key(&self, request: Request<RotateKeyRequest>) -> Result<Response<RotateKeyResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.rotate(&caller, &message).await)
    }

    async fn set_tenant_quota(
        &self,
        request: Request<SetTenantQuotaRequest>,
    ) -> Result<Response<SetTenantQuotaResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.set_quota(&caller, &message).await)
    }

    async fn get_tenant_quota(
        &self,
        request: Request<GetTenantQuotaRequest>,
    ) -> Result<Response<GetTenantQuotaResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.quota(&caller, &message).await)
    }

    async fn set_tenant_retention(
        &self,
        request: Request<SetTenantRetentionRequest>,
    ) -> Result<Response<SetTenantRetentionResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.set_retention(&caller, &message).await)
    }

    async fn set_settings(
        &self,
        request: Request<SetSettingsRequest>,
    ) -> Result<Response<SetSettingsResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.set_settings(&caller, message).await)
    }

    async fn get_settings(
        &self,
        request: Request<GetSettingsRequest>,
    ) -> Result<Response<GetSettingsResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.settings(&caller, &message).await)
    }

    async fn set_branding(
        &self,
        request: Request<SetBrandingRequest>,
    ) -> Result<Response<SetBrandingResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.set_branding(&caller, message).await)
    }

    async fn get_branding(
        &self,
        request: Request<GetBrandingRequest>,
    ) -> Result<Response<GetBrandingResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.branding(&caller, &message).await)
    }

    async fn set_tenant_domains(
        &self,
        request: Request<SetTenantDomainsRequest>,
    ) -> Result<Response<SetTenantDomainsResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.set_domains(&caller, &message).await)
    }

    async fn get_tenant_retention(
        &self,
        request: Request<GetTenantRetentionRequest>,
    ) -> Result<Response<GetTenantRetentionResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.retention(&caller, &message).await)
    }

    async fn reconcile(&self, request: Request<ReconcileRequest>) -> Result<Response<ReconcileResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.reconciliation(&caller, &message).await)
    }

    async fn list_dead_letters(
        &self,
        request: Request<ListDeadLettersRequest>,
    ) -> Result<Response<ListDeadLettersResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.dead_letters(&caller, &message).await)
    }

    async fn erase_user(&self, request: Request<EraseUserRequest>) -> Result<Response<EraseUserResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.erase(&caller, message).await)
    }

    async fn get_erasure(&self, request: Request<GetErasureRequest>) -> Result<Response<GetErasureResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.erasure(&caller, &message).await)
    }

    async fn list_erasures(
        &self,
        request: Request<ListErasuresRequest>,
    ) -> Result<Response<ListErasuresResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.erasures(&caller, &message).await)
    }

    async fn start_replay(
        &self,
        request: Request<StartReplayRequest>,
    ) -> Result<Response<StartReplayResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.ask_replay(&caller, &message).await)
    }

    async fn get_replay(&self, request: Request<GetReplayRequest>) -> Result<Response<GetReplayResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.replay(&caller, &message).await)
    }

    async fn list_replays(
        &self,
        request: Request<ListReplaysRequest>,
    ) -> Result<Response<ListReplaysResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.replays(&caller, &message).await)
    }

    async fn cancel_replay(
        &self,
        request: Request<CancelReplayRequest>,
    ) -> Result<Response<CancelReplayResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.stop_replay(&caller, &message).await)
    }

    async fn get_usage(&self, request: Request<GetUsageRequest>) -> Result<Response<GetUsageResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.usage(&caller, &message).await)
    }

    async fn get_health(&self, request: Request<GetHealthRequest>) -> Result<Response<GetHealthResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.health(&caller, &message).await)
    }

    async fn get_topic(&self, request: Request<GetTopicRequest>) -> Result<Response<GetTopicResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.topic(&caller, &message).await)
    }

    async fn grow_topic(&self, request: Request<GrowTopicRequest>) -> Result<Response<GrowTopicResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.grow_topic(&caller, &message).await)
    }

    type CreateBackupStream = Pin<Box<dyn Stream<Item = Result<CreateBackupResponse, Status>> + Send>>;

    async fn create_backup(
        &self,
        request: Request<CreateBackupRequest>,
    ) -> Result<Response<Self::CreateBackupStream>, Status> {
        let (caller, CreateBackupRequest {}) = take(request)?;
        let told = self.back_up(&caller).await.map_err(|error| to_status(&error))?;
        let told = stream::unfold(told, async |mut told| told.recv().await.map(|progress| (progress, told)));
        Ok(Response::new(Box::pin(told.map(|progress| progress.map_err(|error| to_status(&error))))))
    }

    async fn create_report(
        &self,
        request: Request<CreateReportRequest>,
    ) -> Result<Response<CreateReportResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.add_report(&caller, message).await)
    }

    async fn list_reports(
        &self,
        request: Request<ListReportsRequest>,
    ) -> Result<Response<ListReportsResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.reports(&caller, &message).await)
    }

    async fn get_report(&self, request: Request<GetReportRequest>) -> Result<Response<GetReportResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.report(&caller, &message).await)
    }

    async fn delete_report(
        &self,
        request: Request<DeleteReportRequest>,
    ) -> Result<Response<DeleteReportResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.forget_report(&caller, &message).await)
    }

    async fn list_report_runs(
        &self,
        request: Request<ListReportRunsRequest>,
    ) -> Result<Response<ListReportRunsResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.report_runs(&caller, &message).await)
    }

    async fn list_audit_entries(
        &self,
        request: Request<ListAuditEntriesRequest>,
    ) -> Result<Response<ListAuditEntriesResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.audit_entries(&caller, &message).await)
    }

    async fn verify_audit(
        &self,
        request: Request<VerifyAuditRequest>,
    ) -> Result<Response<VerifyAuditResponse>, Status> {
        let (caller, message) = take(request)?;
        answer(self.verified_audit(&caller, message).await)
    }
}

impl Admin {
    /// The metastore, where what this call changes is noted in the audit log: every change of a method goes through it.
    pub(crate) fn acting(&self, caller: &Caller, method: &str) -> Arc<dyn Metastore> {
        self.directory.acting(caller.act(method, (self.now_ms)()))
    }

    /// What events are kept in; a directory alone has none.
    pub(crate) fn ground(&self) -> Result<&Ground, Error> {
        self.ground.as_ref().ok_or_else(|| Error::internal("this process doesn't reach the event log"))
    }
}

fn take<T>(request: Request<T>) -> Result<(Caller, T), Status> {
    let caller = Caller::of(&request).map_err(|e| to_status(&e))?;
    Ok((caller, request.into_inner()))
}

fn answer<T>(outcome: Result<T, Error>) -> Result<Response<T>, Status> {
    outcome.map(Response::new).map_err(|e| to_status(&e))
}

/// The directory's error for the caller. What only we may know of it goes to the log.
pub(crate) fn stored(error: MetaError) -> Error {
    if matches!(error, MetaError::Unavailable(_) | MetaError::Address(_) | MetaError::Inconsistent(_)) {
        warn!(%error, "the directory failed");
    }
    error.into()
}
