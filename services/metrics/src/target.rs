//! The app that a call is about.

use api::convert::app_from_wire;
use formula::Context;
use model::{AppSchema, Error, ErrorCode, Permission};
use storage::App;

use crate::{
    call::Call,
    service::{Metrics, stored},
};

impl Metrics {
    /// The app, if the caller has the permission, the key reaches the app, and it exists. Whether an app out of reach exists isn't told.
    pub(crate) async fn target(&self, call: &Call, permission: Permission, app_id: &str) -> Result<App, Error> {
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
