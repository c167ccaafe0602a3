//! A metastore with two tenants, the service over it, and callers.

use std::{future::Future, sync::Arc};

use api::v1::{Filter, FilterOp, MetricDefinition, Value, metrics_service_client::MetricsServiceClient, value::Kind};
use mesh::{
    HttpService,
    context::{CONTEXT_HEADER, CallContext},
    signed::SigningKey,
};
use model::{AppId, AppSet, Error, ErrorCode, Permission, Priority, PropertyKind, Scope, TenantId};
use storage::{App, Metastore, Tenant};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::query::Recorder;

/// The service's clock stands still here.
pub(crate) const NOW_MS: i64 = 1_700_000_000_000;

pub(crate) struct World {
    pub(crate) store: Arc<dyn Metastore>,
    pub(crate) query: Recorder,
    pub(crate) service: HttpService,
    pub(crate) stop: CancellationToken,
    signer: SigningKey,
    _folder: TempDir,
}

impl World {
    /// Tenants `acme` (apps `shop` and `blog`) and `beta` (app `shop`); `acme`'s shop has sent purchases.
    pub(crate) async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite:{}", folder.path().join("meta.db").display());
        let store = storage::open(&url).await.unwrap();
        for (tenant, apps) in [("acme", &["blog", "shop"][..]), ("beta", &["shop"])] {
            let id = TenantId::new(tenant).unwrap();
            store
                .create_tenant(&Tenant { id: id.clone(), display_name: tenant.into(), created_at_ms: 1 })
                .await
                .unwrap();
            for app in apps {
                let (tenant, id) = (id.clone(), AppId::new(app).unwrap());
                let (display_name, time_zone) = ((*app).into(), "Europe/Berlin".into());
                store.create_app(&App { tenant, id, display_name, time_zone, created_at_ms: 1 }).await.unwrap();
            }
        }
        let signer = SigningKey::derive(&[1; 32], "context");
        let query = Recorder::new();
        let asked = query.service(signer.clone(), || NOW_MS);
        let stop = CancellationToken::new();
        let service = metrics_service::service(store.clone(), asked, signer.clone(), || NOW_MS, stop.clone());
        let world = Self { store, query, service, stop, signer, _folder: folder };
        let sent =
            [("purchase_amount", PropertyKind::Number), ("status", PropertyKind::String), ("gift", PropertyKind::Bool)];
        world.register(&sent).await;
        world
    }

    /// Makes more properties known of `acme`'s shop.
    pub(crate) async fn register(&self, properties: &[(&str, PropertyKind)]) {
        let (tenant, app) = (TenantId::new("acme").unwrap(), AppId::new("shop").unwrap());
        self.store.register(&tenant, &app, properties, 100).await.unwrap();
    }

    pub(crate) fn header(&self, caller: &CallContext) -> http::HeaderValue {
        caller.to_header(&self.signer)
    }

    /// Calls a method over gRPC.
    pub(crate) async fn call<Q, A, F>(
        &self,
        caller: &CallContext,
        message: Q,
        method: impl FnOnce(MetricsServiceClient<HttpService>, Request<Q>) -> F,
    ) -> Result<A, Status>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.send(caller, message, |service, request| method(MetricsServiceClient::new(service), request)).await
    }

    /// Calls a method of any of the service's contracts.
    pub(crate) async fn send<Q, A, F>(
        &self,
        caller: &CallContext,
        message: Q,
        method: impl FnOnce(HttpService, Request<Q>) -> F,
    ) -> Result<A, Status>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let mut request = Request::new(message);
        for (name, value) in [("grpc-timeout", "750m"), ("traceparent", TRACE)] {
            request.metadata_mut().insert(name, value.parse().unwrap());
        }
        let header = self.header(caller);
        request.metadata_mut().insert(CONTEXT_HEADER, header.to_str().unwrap().parse().unwrap());
        method(self.service.clone(), request).await.map(Response::into_inner)
    }
}

/// The trace that every call is part of.
pub(crate) const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

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
    let scope = Scope::new(TenantId::new(tenant).unwrap(), apps, permissions, Priority::Interactive);
    CallContext {
        scope,
        priority: Priority::Scheduled,
        key_id: "caller".into(),
        address: "192.0.2.7".into(),
        good_until_ms: NOW_MS + 1,
    }
}

/// One of `acme`'s who may do everything with metrics.
pub(crate) fn analyst() -> CallContext {
    caller("acme", &[], &[Permission::Metrics, Permission::Query])
}

/// The metric of the seed.
pub(crate) fn revenue() -> MetricDefinition {
    MetricDefinition {
        name: "revenue_per_user".into(),
        display_name: "Revenue per User".into(),
        description: "What a buyer spends.".into(),
        formula: "SUM(purchase_amount) / COUNT(DISTINCT user_id)".into(),
        filters: vec![equals("event_type", "purchase"), equals("status", "completed")],
        unit: "USD".into(),
        materialize: false,
    }
}

pub(crate) fn equals(field: &str, text: &str) -> Filter {
    filter(field, FilterOp::Eq, &[Kind::String(text.into())])
}

pub(crate) fn filter(field: &str, op: FilterOp, values: &[Kind]) -> Filter {
    let values = values.iter().map(|kind| Value { kind: Some(kind.clone()) }).collect();
    Filter { field: field.into(), op: op.into(), values }
}

/// A refusal.
pub(crate) fn refusal<T: std::fmt::Debug>(outcome: Result<T, Status>) -> Error {
    api::status::from_status(&outcome.unwrap_err())
}

/// The code of a refusal.
pub(crate) fn code<T: std::fmt::Debug>(outcome: Result<T, Status>) -> ErrorCode {
    refusal(outcome).code
}

/// The fields that a refusal names.
pub(crate) fn fields<T: std::fmt::Debug>(outcome: Result<T, Status>) -> Vec<String> {
    refusal(outcome).violations.into_iter().map(|v| v.field).collect()
}
