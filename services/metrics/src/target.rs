//! The app that a call is about.

use api::{convert::app_from_wire, v1::Evaluation};
use formula::Context;
use model::{AppSchema, Error, ErrorCode, Evaluates, Permission};
use storage::App;

use crate::{
    call::Call,
    service::{Metrics, stored},
};

impl Metrics {
    /// [`Self::target`] of an evaluation, also for whoever may evaluate some metrics and nothing else.
    pub(crate) async fn target_of_evaluation(
        &self,
        call: &Call,
        app_id: &str,
        metric: &str,
        evaluation: &Evaluation,
    ) -> Result<App, Error> {
        if let Some(allowed) = &call.context.scope.evaluates {
            within(allowed, metric, evaluation)
                .map_err(|why| Error::new(ErrorCode::PermissionDenied, format!("this token {why}")))?;
        }
        self.app_of(call, Permission::Query, app_id).await
    }

    /// The app, if the caller has the permission, the key reaches the app, and it exists. Whether an app out of reach exists isn't told.
    pub(crate) async fn target(&self, call: &Call, permission: Permission, app_id: &str) -> Result<App, Error> {
        if call.context.scope.evaluates.is_some() {
            let message = "this token evaluates metrics and does nothing else";
            return Err(Error::new(ErrorCode::PermissionDenied, message));
        }
        self.app_of(call, permission, app_id).await
    }

    /// The app, if the caller has the permission and the key reaches it, whatever else the caller may do.
    pub(crate) async fn app_of(&self, call: &Call, permission: Permission, app_id: &str) -> Result<App, Error> {
        call.context.require(permission)?;
        let app = app_from_wire("app_id", app_id)?;
        if !call.context.scope.reaches(&app) {
            return Err(Error::new(ErrorCode::PermissionDenied, format!("this key doesn't reach app {app}")));
        }
        let found = self.known.app(call.tenant(), &app).await.map_err(stored)?;
        found.ok_or_else(|| Error::new(ErrorCode::NotFound, format!("app {app} does not exist")))
    }

    /// The properties that definitions of the app's metrics may name.
    pub(crate) async fn schema(&self, app: &App) -> Result<AppSchema, Error> {
        self.store.schema(&app.tenant, &app.id).await.map_err(stored)
    }

    /// What a definition is read against.
    pub(crate) fn language<'a>(&self, app: &'a App, schema: &'a AppSchema) -> Context<'a> {
        Context { schema, app: app.id.clone(), now_ms: (self.now_ms)(), time_zone: &app.time_zone }
    }
}

/// Whether a metric may be evaluated so; if not, what the token doesn't do.
fn within(allowed: &Evaluates, metric: &str, evaluation: &Evaluation) -> Result<(), String> {
    let lacks =
        |names: &Option<Vec<String>>, name: &str| names.as_ref().is_some_and(|all| all.iter().all(|n| n != name));
    if lacks(&allowed.metrics, metric) {
        return Err(format!("doesn't evaluate the metric {metric:.100}"));
    }
    let Evaluation { dimensions, filters, having, .. } = evaluation;
    let mut named = dimensions.iter().map(|d| &d.expression).chain(filters.iter().map(|f| &f.field));
    if let Some(name) = named.find(|name| lacks(&allowed.dimensions, name)) {
        return Err(format!(
            "evaluates nothing by {name:.100}: a dimension must be one of its own, as it is written there"
        ));
    }
    // A formula, which could ask for anything.
    if !having.is_empty() {
        return Err("sets no condition on rows: `having` must be left out".to_owned());
    }
    Ok(())
}
