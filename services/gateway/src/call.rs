//! What the layers find out about a call, handed down in the request's extensions.

use std::sync::Arc;

use mesh::{Request, context::CallContext};
use model::{Error, Permission, Scope};
use storage::Key;

use crate::{target::Target, whence::Whence};

/// The service that the call goes to. Set by the first layer, so always there.
pub(crate) fn target(request: &Request) -> Result<Target, Error> {
    request.extensions().get().copied().ok_or_else(|| Error::internal("a call has no target"))
}

/// The key that was shown.
pub(crate) fn key(request: &Request) -> Result<Arc<Key>, Error> {
    request.extensions().get().cloned().ok_or_else(|| Error::internal("a call has no key"))
}

/// Where the call comes from.
pub(crate) fn whence(request: &Request) -> Result<Whence, Error> {
    request.extensions().get().copied().ok_or_else(|| Error::internal("a call comes from nowhere"))
}

/// The context of the call, for the header.
pub(crate) fn context(key: &Key, Whence(address): Whence, good_until_ms: i64) -> CallContext {
    let (scope, key_id) = (key.scope.clone(), key.id.clone());
    let address = address.map_or_else(String::new, |address| address.to_string());
    CallContext { priority: scope.priority, scope, key_id, address, good_until_ms }
}

/// Whether a key with this scope has any business with the service. The service itself checks each method.
pub(crate) fn may_call(target: Target, scope: &Scope) -> bool {
    let any_of: &[Permission] = match target {
        Target::Ingest => &[Permission::Ingest],
        Target::Query if scope.evaluates.is_some() => return false, // but through metrics
        Target::Query => &[Permission::Query],
        Target::Metrics => &[Permission::Query, Permission::Metrics],
        Target::Admin => &[Permission::Admin, Permission::Operator],
        Target::Public => return true,
    };
    any_of.iter().any(|p| scope.allows(*p))
}
