//! What is known of the users of one partition: the in-log join.

use std::sync::Arc;

use ahash::HashMap;
use model::{
    PropertyKind,
    record::{PropertyRef, ValueRef},
};

/// A user of an app of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct UserKey {
    pub(crate) tenant: Box<str>,
    pub(crate) app: Box<str>,
    pub(crate) user_id: Box<str>,
}

impl UserKey {
    pub(crate) fn new(tenant: &str, app: &str, user_id: &str) -> Self {
        Self { tenant: tenant.into(), app: app.into(), user_id: user_id.into() }
    }
}

/// A trait's value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TraitValue {
    Number(f64),
    Text(Box<str>),
}

/// A user's traits after the latest Identify.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct User {
    pub(crate) traits: Vec<(Box<str>, PropertyKind, TraitValue)>,
}

impl User {
    fn text(&self, name: &str) -> Option<&str> {
        self.traits.iter().find_map(|(n, _, value)| match value {
            TraitValue::Text(text) if &**n == name => Some(&**text),
            _ => None,
        })
    }

    pub(crate) fn country(&self) -> Option<&str> {
        self.text("country")
    }

    pub(crate) fn plan(&self) -> Option<&str> {
        self.text("plan")
    }

    /// A trait that is sent replaces the one of its name and kind; one that isn't stays.
    fn merge(&mut self, traits: &[PropertyRef<'_>]) {
        for PropertyRef { name, kind, value } in traits {
            let value = match *value {
                ValueRef::Number(x) => TraitValue::Number(x),
                ValueRef::Text(text) => TraitValue::Text(text.into()),
            };
            match self.traits.iter_mut().find(|(n, k, _)| &**n == *name && k == kind) {
                Some(there) => there.2 = value,
                None => self.traits.push(((*name).into(), *kind, value)),
            }
        }
    }
}

/// The users that were ever identified.
#[derive(Debug, Default)]
pub(crate) struct Users {
    known: HashMap<UserKey, Arc<User>>,
}

impl Users {
    pub(crate) fn restore(&mut self, key: UserKey, user: User) {
        self.known.insert(key, Arc::new(user));
    }

    /// Forgets all that is known of a user.
    pub(crate) fn forget(&mut self, tenant: &str, app: &str, user_id: &str) {
        self.known.remove(&UserKey::new(tenant, app, user_id));
    }

    /// What is known of the user at this point of the log.
    pub(crate) fn get(&self, tenant: &str, app: &str, user_id: &str) -> Option<Arc<User>> {
        if user_id.is_empty() || self.known.is_empty() {
            return None;
        }
        self.known.get(&UserKey::new(tenant, app, user_id)).cloned()
    }

    /// Takes an Identify, and returns all that is known after it.
    pub(crate) fn identify(&mut self, tenant: &str, app: &str, user_id: &str, traits: &[PropertyRef<'_>]) -> Arc<User> {
        let user = self.known.entry(UserKey::new(tenant, app, user_id)).or_default();
        Arc::make_mut(user).merge(traits);
        Arc::clone(user)
    }
}
