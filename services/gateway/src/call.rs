//! What the layers find out about a call, handed down in the request's extensions.

use std::sync::Arc;

use http::HeaderMap;
use mesh::{Request, context::CallContext};
use model::{Error, Permission, Priority, Scope};
use storage::{Key, Settings};

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

/// The header in which a call says how urgent it is: `interactive`, `scheduled` or `background`.
const PRIORITY: &str = "x-priority";

/// How urgent a call may be, and is unless its message says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Urgency {
    pub(crate) most: Priority,
    pub(crate) default: Priority,
}

impl Urgency {
    /// Of calls with a key, where these settings hold.
    pub(crate) fn of(key: &Key, settings: &Settings) -> Self {
        let most = settings.max_priority.unwrap_or_default().max(key.scope.priority);
        Self { most, default: settings.default_priority.unwrap_or_default().max(most) }
    }

    /// As the call's header asks, as far as it may.
    pub(crate) fn asked(self, headers: &HeaderMap) -> Result<Self, Error> {
        let Some(asked) = headers.get(PRIORITY) else { return Ok(self) };
        let asked = asked.to_str().ok().and_then(Priority::from_name).ok_or_else(|| {
            Error::invalid(PRIORITY, "NOT_ALLOWED", "must be `interactive`, `scheduled` or `background`")
        })?;
        Ok(Self { default: asked.max(self.most), ..self })
    }
}

/// How urgent the call may be.
pub(crate) fn urgency(request: &Request) -> Result<Urgency, Error> {
    request.extensions().get().copied().ok_or_else(|| Error::internal("a call has no urgency"))
}

/// The context of the call, for the header.
pub(crate) fn context(key: &Key, urgency: Urgency, Whence(address): Whence, good_until_ms: i64) -> CallContext {
    let (scope, key_id) = (Scope { priority: urgency.most, ..key.scope.clone() }, key.id.clone());
    let address = address.map_or_else(String::new, |address| address.to_string());
    CallContext { priority: urgency.default, scope, key_id, address, good_until_ms }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use model::{AppSet, Priority::*, TenantId};

    use super::*;
    use crate::authenticate::tests::{key, text};

    #[test]
    fn a_call_is_never_more_urgent_than_its_key_and_its_settings_allow() {
        for (of_key, max_priority, default_priority, most, default) in [
            (Interactive, None, None, Interactive, Interactive),
            (Interactive, Some(Scheduled), None, Scheduled, Scheduled),
            (Background, Some(Scheduled), Some(Interactive), Background, Background),
            (Interactive, None, Some(Scheduled), Interactive, Scheduled),
            (Interactive, Some(Scheduled), Some(Background), Scheduled, Background),
        ] {
            let scope = Scope::new(TenantId::new("a").unwrap(), AppSet::All, [].into_iter().collect(), of_key);
            let key = Key { scope, ..key(&text()) };
            let settings = Settings { max_priority, default_priority, ..Settings::default() };
            let urgency = Urgency::of(&key, &settings);
            assert_eq!(urgency, Urgency { most, default });
            for (asked, got) in [("interactive", most), ("background", Background)] {
                let headers = [(PRIORITY.parse().unwrap(), asked.parse().unwrap())].into_iter().collect();
                assert_eq!(urgency.asked(&headers).unwrap(), Urgency { most, default: got });
            }
        }
        let urgency = Urgency { most: Scheduled, default: Scheduled };
        assert_eq!(urgency.asked(&HeaderMap::new()).unwrap(), urgency);
        let headers = [(PRIORITY.parse().unwrap(), "urgent".parse().unwrap())].into_iter().collect();
        assert_eq!(urgency.asked(&headers).unwrap_err().violations[0].field, PRIORITY);
    }
}
