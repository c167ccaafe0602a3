//! What of a block is whose, and what each is charged for it.

use std::{collections::HashMap, sync::LazyLock, time::Duration};

use mesh::{per_tenant::PerTenant, work::Account};
use metrics::{Counter, counter};
use model::TenantId;

/// A tenant's part of a range of records.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Part {
    /// Of its records, as they lie in the log.
    bytes: u64,
    /// Events that count.
    stored: u64,
    stored_bytes: u64,
}

/// The tenants' parts.
#[derive(Debug, Default)]
pub(crate) struct Shares(HashMap<String, Part>);

struct OfTenant {
    stored: Counter,
    stored_bytes: Counter,
    insert: Counter,
}

static OF_TENANTS: LazyLock<PerTenant<OfTenant>> = LazyLock::new(|| {
    PerTenant::new(|tenant| OfTenant {
        stored: counter!("penstock_tenant_stored_events_total", "tenant" => tenant.clone()),
        stored_bytes: counter!("penstock_tenant_stored_record_bytes_total", "tenant" => tenant.clone()),
        insert: counter!("penstock_tenant_insert_nanoseconds_total", "tenant" => tenant),
    })
});

impl Shares {
    /// Counts a record of so many bytes.
    pub(crate) fn add(&mut self, tenant: &str, bytes: usize) {
        self.part(tenant).bytes += bytes as u64;
    }

    /// Counts that a record of so many bytes is an event that counts.
    pub(crate) fn store(&mut self, tenant: &str, bytes: usize) {
        let part = self.part(tenant);
        part.stored += 1;
        part.stored_bytes += bytes as u64;
    }

    fn part(&mut self, tenant: &str) -> &mut Part {
        if !self.0.contains_key(tenant) {
            self.0.insert(tenant.to_owned(), Part::default());
        }
        self.0.get_mut(tenant).expect("it was put there")
    }

    /// Charges each by its part of the bytes: for the work on the block, and for the time that the warehouse took to insert it.
    pub(crate) fn charge(&self, work: &Account, insert: Duration) {
        let all = self.0.values().map(|part| part.bytes).sum::<u64>().max(1) as f64;
        let parts: Vec<_> =
            self.0.iter().filter_map(|(tenant, part)| Some((TenantId::new(tenant).ok()?, *part))).collect();
        work.share_out(parts.iter().map(|(tenant, part)| (tenant, part.bytes as f64 / all)));
        for (tenant, part) in &parts {
            let of_tenant = OF_TENANTS.of(tenant);
            of_tenant.stored.increment(part.stored);
            of_tenant.stored_bytes.increment(part.stored_bytes);
            of_tenant.insert.increment((insert.as_nanos() as f64 * (part.bytes as f64 / all)) as u64);
        }
    }
}
