//! What operators see of the queue.

use std::{sync::LazyLock, time::Duration};

use mesh::per_tenant::PerTenant;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use model::{Priority, TenantId};

use super::fair::{CLASSES, Fair};

/// The series of the queue's classes.
pub(super) struct Shown([OfClass; 3]);

struct OfClass {
    waiting: Gauge,
    running: Gauge,
    waited: Histogram,
}

/// What one tenant's queries took.
struct OfTenant {
    seconds: Histogram,
    read_bytes: Counter,
}

static OF_TENANTS: LazyLock<PerTenant<OfTenant>> = LazyLock::new(|| {
    PerTenant::new(|tenant| OfTenant {
        seconds: histogram!("penstock_tenant_query_seconds", "tenant" => tenant.clone()),
        read_bytes: counter!("penstock_tenant_query_read_bytes_total", "tenant" => tenant),
    })
});

impl Default for Shown {
    fn default() -> Self {
        Self(CLASSES.map(|class| OfClass {
            waiting: gauge!("penstock_query_waiting", "class" => class.name()),
            running: gauge!("penstock_query_running", "class" => class.name()),
            waited: histogram!("penstock_query_wait_seconds", "class" => class.name()),
        }))
    }
}

impl Shown {
    /// How many wait and run now.
    pub(super) fn queue<W>(&self, fair: &Fair<W>) {
        for (class, shown) in CLASSES.into_iter().zip(&self.0) {
            let (waiting, running) = fair.numbers(class);
            shown.waiting.set(waiting as f64);
            shown.running.set(running as f64);
        }
    }

    /// One of this class waited so long and then began.
    pub(super) fn waited(&self, class: Priority, time: Duration) {
        self.0[class as usize].waited.record(time.as_secs_f64());
    }

    /// One of this tenant's ran so long, and read so much as far as that is known.
    pub(super) fn ended(&self, tenant: &TenantId, seconds: f64, read_bytes: u64) {
        let of_tenant = OF_TENANTS.of(tenant);
        of_tenant.seconds.record(seconds);
        of_tenant.read_bytes.increment(read_bytes);
    }
}
