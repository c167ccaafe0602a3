//! The apps that a batch speaks of, each looked up once.

use std::sync::Arc;

use api::convert;
use mesh::context::CallContext;
use model::{Error, ErrorCode};
use storage::{AppInfo, Apps, MetaError};

/// Why there is no app.
pub(crate) enum AppError {
    /// The event names one out of reach.
    Event(Error),
    /// Nothing can be judged now.
    Batch(Error),
}

impl AppError {
    pub(crate) fn into_inner(self) -> Error {
        match self {
            Self::Event(error) | Self::Batch(error) => error,
        }
    }
}

pub(crate) struct AppsOfBatch<'a> {
    apps: &'a Apps,
    context: &'a CallContext,
    /// That of events that name none.
    default_app: &'a str,
    known: Vec<Arc<AppInfo>>,
    /// The app found last: neighbours mostly are of one.
    last: Option<(&'a str, usize)>,
}

impl<'a> AppsOfBatch<'a> {
    pub(crate) fn new(apps: &'a Apps, context: &'a CallContext, default_app: &'a str) -> Self {
        Self { apps, context, default_app, known: Vec::new(), last: None }
    }

    pub(crate) fn known(&self, app: usize) -> &AppInfo {
        &self.known[app]
    }

    pub(crate) fn into_known(self) -> Vec<Arc<AppInfo>> {
        self.known
    }

    /// The place of the app among the known ones. `field`: where it is named.
    pub(crate) async fn find(&mut self, named: &'a str, field: impl FnOnce() -> String) -> Result<usize, AppError> {
        let name = if named.is_empty() { self.default_app } else { named };
        if let Some((_, app)) = self.last.filter(|(last, _)| *last == name) {
            return Ok(app);
        }
        let app = match self.known.iter().position(|info| info.app.id.as_str() == name) {
            Some(app) => app,
            None => self.look_up(name, field).await?,
        };
        self.last = Some((name, app));
        Ok(app)
    }

    async fn look_up(&mut self, name: &str, field: impl FnOnce() -> String) -> Result<usize, AppError> {
        let scope = &self.context.scope;
        let (app, field) = match name {
            "" => match scope.apps.single() {
                Some(app) => (app.clone(), String::new()),
                None => {
                    let description = "is needed, in the event or the request: this key reaches more than one app";
                    return Err(AppError::Event(Error::invalid(field(), "REQUIRED", description)));
                }
            },
            name => {
                let field = field();
                (convert::app_from_wire(&field, name).map_err(AppError::Event)?, field)
            }
        };
        let refused = |description: String| {
            let error = Error::invalid(field, "NOT_ALLOWED", description);
            Err(AppError::Event(Error { code: ErrorCode::PermissionDenied, ..error }))
        };
        if !scope.reaches(&app) {
            return refused(format!("app {app} is out of this key's reach"));
        }
        match self.apps.get(&scope.tenant, &app).await {
            Ok(info) => {
                self.known.push(info);
                Ok(self.known.len() - 1)
            }
            Err(MetaError::NotFound(_)) => refused(format!("there is no app {app}")),
            Err(error) => Err(AppError::Batch(error.into())),
        }
    }
}
