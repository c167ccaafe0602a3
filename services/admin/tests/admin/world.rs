//! A directory with two tenants, the service over it, and callers with keys of every kind.

use std::{future::Future, sync::Arc};

use admin::{Prices, Terms, service};
use api::v1::admin_service_client::AdminServiceClient;
use mesh::{
    HttpService,
    context::{CONTEXT_HEADER, CallContext},
    signed::SigningKey,
};
use model::{AppId, AppSet, ErrorCode, Permission, Priority, Scope, TenantId};
use storage::{App, Cache, Metastore, Tenant};
use tempfile::TempDir;
use tonic::{Request, Response, Status};

/// The service's clock stands still here.
pub(crate) const NOW_MS: i64 = 1_700_000_000_000;

pub(crate) struct World {
    pub(crate) directory: Arc<dyn Metastore>,
    pub(crate) cache: Arc<dyn Cache>,
    pub(crate) service: HttpService,
    signer: SigningKey,
    _folder: TempDir,
}

impl World {
    /// Tenants `acme` (apps `ios`, `web`) and `beta` (app `web`), and the one that operators' keys belong to, `host`.
    pub(crate) async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite:{}", folder.path().join("meta.db").display());
        let directory = storage::open(&url).await.unwrap();
        for (tenant, apps) in [("acme", &["ios", "web"][..]), ("beta", &["web"]), ("host", &[])] {
            let id = TenantId::new(tenant).unwrap();
            let added = Tenant { id: id.clone(), display_name: tenant.into(), created_at_ms: 1 };
            directory.create_tenant(&added).await.unwrap();
            for app in apps {
                let (tenant, id) = (id.clone(), AppId::new(app).unwrap());
                let (display_name, time_zone) = ((*app).into(), "UTC".into());
                directory.create_app(&App { tenant, id, display_name, time_zone, created_at_ms: 1 }).await.unwrap();
            }
        }
        let signer = SigningKey::derive(&[1; 32], "context");
        let cache = storage::open_cache("memory:").await.unwrap();
        let terms = Terms { retention_days: 400, prices: Prices::default() };
        let service = service(directory.clone(), cache.clone(), None, None, terms, signer.clone(), || NOW_MS);
        Self { directory, cache, service, signer, _folder: folder }
    }

    pub(crate) fn header(&self, caller: &CallContext) -> http::HeaderValue {
        caller.to_header(&self.signer)
    }

    /// Calls a method over gRPC: `world.call(&admin("acme"), ListAppsRequest::default(), |mut c, r| async move { c.list_apps(r).await })`.
    pub(crate) async fn call<Q, A, F>(
        &self,
        caller: &CallContext,
        message: Q,
        method: impl FnOnce(AdminServiceClient<HttpService>, Request<Q>) -> F,
    ) -> Result<A, Status>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let mut request = Request::new(message);
        let header = self.header(caller);
        request.metadata_mut().insert(CONTEXT_HEADER, header.to_str().unwrap().parse().unwrap());
        method(AdminServiceClient::new(self.service.clone()), request).await.map(Response::into_inner)
    }
}

/// Makes a caller of `World::call` out of a method's name.
macro_rules! method {
    ($name:ident) => {
        |mut client, request| async move { client.$name(request).await }
    };
}
pub(crate) use method;

pub(crate) fn caller(tenant: &str, apps: &[&str], permissions: &[Permission]) -> CallContext {
    let apps = match apps {
        [] => AppSet::All,
        apps => AppSet::Only(apps.iter().map(|app| AppId::new(app).unwrap()).collect()),
    };
    let permissions = permissions.iter().copied().collect();
    let scope = Scope::new(TenantId::new(tenant).unwrap(), apps, permissions, Priority::Scheduled);
    CallContext {
        scope,
        priority: Priority::Scheduled,
        key_id: "caller".into(),
        address: "192.0.2.7".into(),
        good_until_ms: NOW_MS + 1,
    }
}

pub(crate) fn admin(tenant: &str) -> CallContext {
    caller(tenant, &[], &[Permission::Admin])
}

pub(crate) fn admin_of(tenant: &str, apps: &[&str]) -> CallContext {
    caller(tenant, apps, &[Permission::Admin])
}

pub(crate) fn operator() -> CallContext {
    caller("host", &[], &[Permission::Operator])
}

/// The code of a refusal.
pub(crate) fn code<T: std::fmt::Debug>(outcome: Result<T, Status>) -> ErrorCode {
    api::status::from_status(&outcome.unwrap_err()).code
}

/// The fields that a refusal names.
pub(crate) fn fields<T: std::fmt::Debug>(outcome: Result<T, Status>) -> Vec<String> {
    let error = api::status::from_status(&outcome.unwrap_err());
    assert_eq!(error.code, ErrorCode::InvalidArgument, "{error}");
    error.violations.into_iter().map(|v| v.field).collect()
}
