//! What is counted for each tenant, within what a Prometheus server can keep.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use metrics::SharedString;
use model::TenantId;
use parking_lot::RwLock;

/// So many tenants have series of their own in one process: each has some twenty of them.
const MOST: usize = 1_000;
/// The label of all others. No tenant is called so: parentheses are not in names.
const OTHERS: &str = "(others)";

/// The counters of each tenant, made when it is first seen. What comes after the first thousand shares one set.
pub struct PerTenant<T> {
    most: usize,
    make: fn(SharedString) -> T,
    known: RwLock<HashMap<TenantId, Arc<T>>>,
    others: LazyLock<Arc<T>, Box<dyn FnOnce() -> Arc<T> + Send>>,
}

impl<T: 'static> PerTenant<T> {
    /// `make` gives the counters whose label `tenant` is the text it is called with.
    pub fn new(make: fn(SharedString) -> T) -> Self {
        Self::bounded(MOST, make)
    }

    fn bounded(most: usize, make: fn(SharedString) -> T) -> Self {
        let others: Box<dyn FnOnce() -> Arc<T> + Send> = Box::new(move || Arc::new(make(OTHERS.into())));
        Self { most, make, known: RwLock::default(), others: LazyLock::new(others) }
    }

    /// Those of this tenant.
    pub fn of(&self, tenant: &TenantId) -> Arc<T> {
        if let Some(known) = self.known.read().get(tenant) {
            return Arc::clone(known);
        }
        let mut known = self.known.write();
        if known.len() >= self.most && !known.contains_key(tenant) {
            return Arc::clone(&self.others);
        }
        let made = || Arc::new((self.make)(tenant.to_string().into()));
        Arc::clone(known.entry(tenant.clone()).or_insert_with(made))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_beyond_the_bound_share_one_set() {
        let labels = PerTenant::bounded(2, |label| label.to_string());
        let of = |name: &str| labels.of(&TenantId::new(name).unwrap()).to_string();
        assert_eq!(["red", "blue", "green", "red", "grey"].map(of), ["red", "blue", OTHERS, "red", OTHERS]);
        assert!(TenantId::new(OTHERS).is_err(), "a tenant could be called as the others are");
    }
}
