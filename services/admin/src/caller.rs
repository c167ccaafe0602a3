//! Who calls, and whose things that one may manage.

use std::sync::Arc;

use mesh::{
    context::{self, CallContext},
    trace::TRACEPARENT,
};
use model::{Act, AppId, AppSet, Error, ErrorCode, Permission, Permissions, Priority, Scope, TenantId};

use crate::wire;

/// The caller, by the key that was shown.
pub(crate) struct Caller {
    context: Arc<CallContext>,
    traceparent: Option<String>,
}

impl Caller {
    /// The caller of a request that came through the gateway.
    pub(crate) fn of<T>(request: &tonic::Request<T>) -> Result<Self, Error> {
        let traceparent = request.metadata().get(TRACEPARENT).and_then(|header| header.to_str().ok());
        Ok(Self { context: context::of(request.extensions())?, traceparent: traceparent.map(str::to_owned) })
    }

    /// The public part of the caller's key.
    pub(crate) fn key_id(&self) -> &str {
        &self.context.key_id
    }

    /// The call as the audit log tells of it.
    pub(crate) fn act(&self, method: &str, at_ms: i64) -> Act {
        self.context.act(method, self.traceparent.as_deref(), at_ms)
    }

    /// The priority that the caller's key has, and at most hands on.
    pub(crate) fn priority(&self) -> Priority {
        self.context.scope.priority
    }

    /// What the caller reaches.
    pub(crate) fn scope(&self) -> &Scope {
        &self.context.scope
    }

    /// The caller's own tenant, which it manages; not even an operator asks another's questions.
    pub(crate) fn own(&self) -> Result<&TenantId, Error> {
        self.context.require(Permission::Admin)?;
        Ok(&self.context.scope.tenant)
    }

    /// Refuses whoever may not see answers.
    pub(crate) fn may_query(&self) -> Result<(), Error> {
        self.context.require(Permission::Query)
    }

    pub(crate) fn is_operator(&self) -> bool {
        self.context.scope.allows(Permission::Operator)
    }

    /// Refuses all but operators.
    pub(crate) fn require_operator(&self) -> Result<(), Error> {
        self.context.require(Permission::Operator)
    }

    /// The tenant to manage: the one that an operator names, or an admin's own. Whether another tenant exists is not for an
    /// admin to know, so its name is refused before anything is looked up.
    pub(crate) fn tenant(&self, named: &str) -> Result<TenantId, Error> {
        if self.is_operator() {
            if named.is_empty() {
                return Err(Error::invalid(
                    "tenant_id",
                    "REQUIRED",
                    "must name the tenant: an operator's key manages every one",
                ));
            }
            return wire::tenant_id("tenant_id", named);
        }
        self.context.require(Permission::Admin)?;
        let own = &self.context.scope.tenant;
        if named.is_empty() || named == own.as_str() {
            return Ok(own.clone());
        }
        Err(denied("this key manages its own tenant only"))
    }

    /// What to look into: the tenant to manage's, or for an operator who names none what is no tenant's, or every one's.
    pub(crate) fn chain(&self, named: &str) -> Result<Option<TenantId>, Error> {
        if named.is_empty() && self.is_operator() {
            return Ok(None);
        }
        self.tenant(named).map(Some)
    }

    /// Whether the app is within the caller's reach.
    pub(crate) fn reaches(&self, app: &AppId) -> bool {
        self.context.scope.reaches(app)
    }

    /// Whether it is limited to no apps.
    pub(crate) fn reaches_all(&self) -> bool {
        self.covers(&AppSet::All)
    }

    /// Whether everything that `apps` reaches is within the caller's reach too.
    pub(crate) fn covers(&self, apps: &AppSet) -> bool {
        match (&self.context.scope.apps, apps) {
            (AppSet::All, _) => true,
            (AppSet::Only(_), AppSet::All) => false,
            (AppSet::Only(_), AppSet::Only(apps)) => apps.iter().all(|app| self.reaches(app)),
        }
    }

    /// Refuses to add an app that the caller couldn't reach afterwards.
    pub(crate) fn may_add(&self, app: &AppId) -> Result<(), Error> {
        if self.reaches(app) { Ok(()) } else { Err(denied("this key is limited to some apps and can't add others")) }
    }

    /// Refuses to hand on more than the caller has. An admin may give what a tenant's key can have, be it in the admin's own
    /// key or not; `operator` is the operators' to give.
    pub(crate) fn may_give(&self, permissions: Permissions, apps: &AppSet) -> Result<(), Error> {
        if permissions.contains(Permission::Operator) {
            self.require_operator()?;
        }
        match apps {
            _ if self.covers(apps) => Ok(()),
            AppSet::All => {
                Err(denied("this key is limited to some apps: say in `app_ids` which of them the new key reaches"))
            }
            AppSet::Only(_) => Err(denied("`app_ids` names an app that this key doesn't reach")),
        }
    }
}

pub(crate) fn denied(message: &str) -> Error {
    Error::new(ErrorCode::PermissionDenied, message)
}
