//! How many queries run at once, in all and of one tenant.

use std::{collections::HashMap, sync::Arc, time::Duration};

use model::{Error, ErrorCode, TenantId};
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::Options;

/// Lets queries run.
pub(crate) struct Admission {
    all: Arc<Semaphore>,
    tenants: Mutex<HashMap<TenantId, Arc<Semaphore>>>,
    tenant_concurrent: usize,
    max_queue: Duration,
}

/// Leave to run; the place is free again when it is dropped.
pub(crate) struct Leave {
    _tenant: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Admission {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            all: Arc::new(Semaphore::new(options.concurrent)),
            tenants: Mutex::default(),
            tenant_concurrent: options.tenant_concurrent,
            max_queue: Duration::from_millis(options.max_queue_ms),
        }
    }

    /// Waits for the tenant's place first, then for one of all: who waits for its own tenant takes no room from others.
    pub(crate) async fn enter(&self, tenant: &TenantId) -> Result<Leave, Error> {
        let own = {
            let mut tenants = self.tenants.lock().await;
            Arc::clone(
                tenants.entry(tenant.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.tenant_concurrent))),
            )
        };
        let all = Arc::clone(&self.all);
        let both = async move {
            let tenant = own.acquire_owned().await.ok()?;
            Some(Leave { _tenant: tenant, _all: all.acquire_owned().await.ok()? })
        };
        match timeout(self.max_queue, both).await {
            Ok(Some(leave)) => Ok(leave),
            _ => Err(Error {
                retry_after: Some(Duration::from_secs(1)),
                ..Error::new(
                    ErrorCode::ResourceExhausted,
                    "too many queries run already: this one waited its time in vain",
                )
            }),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_tenant_s_queries_leave_room_for_others() {
        let admission = Admission::new(&Options { concurrent: 3, tenant_concurrent: 2, ..Options::default() });
        let (a, b) = (TenantId::new("a").unwrap(), TenantId::new("b").unwrap());
        let first = admission.enter(&a).await.unwrap();
        let _second = admission.enter(&a).await.unwrap();
        let refused = admission.enter(&a).await.err().unwrap();
        assert_eq!((refused.code, refused.retry_after.is_some()), (ErrorCode::ResourceExhausted, true));
        let _other = admission.enter(&b).await.unwrap();
        drop(first);
        admission.enter(&a).await.unwrap();
    }
}
