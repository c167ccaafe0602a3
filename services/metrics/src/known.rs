//! What the metastore said of late, for while it can't be reached.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use model::{AppId, Metric, TenantId};
use parking_lot::Mutex;
use storage::{App, MetaError, Metastore};

/// How long after it was read a thing is taken for what it was: as long as gateways take a key.
const KNOWN_MS: i64 = 60_000;
/// Things of a kind that are remembered; when there are more all are forgotten.
const MOST: usize = 100_000;

/// Apps and metrics, read through to the metastore as long as that answers.
pub(crate) struct Known {
    store: Arc<dyn Metastore>,
    apps: Memory<(TenantId, AppId), App>,
    metrics: Memory<(TenantId, AppId, String, Option<u32>), Metric>,
    now_ms: fn() -> i64,
}

impl Known {
    pub(crate) fn new(store: Arc<dyn Metastore>, now_ms: fn() -> i64) -> Self {
        Self { store, apps: Memory::default(), metrics: Memory::default(), now_ms }
    }

    pub(crate) async fn app(&self, tenant: &TenantId, app: &AppId) -> Result<Option<App>, MetaError> {
        let read = self.store.app(tenant, app).await;
        self.apps.or_known((tenant.clone(), app.clone()), read, (self.now_ms)())
    }

    /// One version of a metric, or the newest.
    pub(crate) async fn metric(
        &self,
        tenant: &TenantId,
        app: &AppId,
        name: &str,
        version: Option<u32>,
    ) -> Result<Option<Metric>, MetaError> {
        let read = self.store.metric(tenant, app, name, version).await;
        self.metrics.or_known((tenant.clone(), app.clone(), name.to_owned(), version), read, (self.now_ms)())
    }
}

/// What was read, and when.
struct Memory<K, V>(Mutex<HashMap<K, (i64, Option<V>)>>);

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Memory<K, V> {
    /// What was read now; if it couldn't be, what was within the last minute.
    fn or_known(&self, key: K, read: Result<Option<V>, MetaError>, now_ms: i64) -> Result<Option<V>, MetaError> {
        let mut memory = self.0.lock();
        match read {
            Ok(value) => {
                if memory.len() >= MOST {
                    memory.clear();
                }
                memory.insert(key, (now_ms, value.clone()));
                Ok(value)
            }
            Err(error @ MetaError::Unavailable(_)) => match memory.get(&key) {
                Some((read_at_ms, value)) if now_ms - read_at_ms < KNOWN_MS => Ok(value.clone()),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_holds_for_a_minute_and_only_while_nothing_can_be_read() {
        let memory = Memory::default();
        let away = || Err(MetaError::Unavailable("gone".into()));
        assert!(memory.or_known("a", away(), 0).is_err());
        assert_eq!(memory.or_known("a", Ok(Some(1)), 0).unwrap(), Some(1));
        assert_eq!(memory.or_known("a", away(), KNOWN_MS - 1).unwrap(), Some(1));
        assert!(memory.or_known("b", away(), KNOWN_MS - 1).is_err());
        assert!(memory.or_known("a", away(), KNOWN_MS).is_err());
        assert_eq!(memory.or_known("a", Ok(None), KNOWN_MS).unwrap(), None);
        assert_eq!(memory.or_known("a", away(), KNOWN_MS + 1).unwrap(), None, "it was deleted");
        assert!(memory.or_known("a", Err(MetaError::Inconsistent("no".into())), KNOWN_MS + 1).is_err());
    }
}
