//! Who of the tenants has had more than their part of late: the state alone, without time.
//!
//! Places alone don't protect a small tenant: what runs already shares the cores with its query. So the queries of who has had more than the
//! others stand back in the engine, as long as anybody else's run. It needs no bound of its own against starving: who stands back reads less, and
//! is then no longer above the others.

use std::collections::HashMap;

use model::TenantId;

/// After so many bytes that all tenants read, what was read before counts half.
const HALF_LIFE: f64 = (1_u64 << 30) as f64;
/// So many times the mean of those who read is more than a tenant's part; who reads alone has more.
const MORE: f64 = 1.5;
/// Who has read less than this part of all is no reader.
const FORGOTTEN: f64 = 1e-3;

/// What each tenant has read, the latest counting most.
#[derive(Debug, Default)]
pub(super) struct Shares {
    bytes: HashMap<TenantId, f64>,
}

impl Shares {
    pub(super) fn read(&mut self, tenant: &TenantId, bytes: i64) {
        let bytes = bytes.max(0) as f64;
        let less = (-bytes / HALF_LIFE).exp2();
        self.bytes.values_mut().for_each(|read| *read *= less);
        *self.bytes.entry(tenant.clone()).or_default() += bytes;
        let least = self.all() * FORGOTTEN;
        self.bytes.retain(|_, read| *read >= least);
    }

    /// Whether the tenant's queries are to stand back for those of others.
    pub(super) fn has_more(&self, tenant: &TenantId) -> bool {
        let readers = self.bytes.len().max(2) as f64;
        self.bytes.get(tenant).is_some_and(|read| read * readers > self.all() * MORE)
    }

    fn all(&self) -> f64 {
        self.bytes.values().sum()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MIB: i64 = 1 << 20;

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    #[test]
    fn the_noisy_one_stands_back_and_a_small_one_or_a_like_never_does() {
        let (mut shares, noisy, small, like) = (Shares::default(), tenant("noisy"), tenant("small"), tenant("like"));
        assert!(!shares.has_more(&noisy));
        shares.read(&noisy, 100 * MIB);
        assert!(shares.has_more(&noisy), "whoever comes now has had nothing");
        for _ in 0..1_000 {
            shares.read(&noisy, 100 * MIB);
            shares.read(&small, MIB);
            assert!(shares.has_more(&noisy) && !shares.has_more(&small));
        }
        // A like one comes: after a while neither stands back.
        for _ in 0..1_000 {
            shares.read(&noisy, 100 * MIB);
            shares.read(&like, 100 * MIB);
        }
        assert!(!shares.has_more(&noisy) && !shares.has_more(&like));
    }

    #[test]
    fn what_was_long_ago_counts_no_more_and_nobody_is_kept_for_ever() {
        let mut shares = Shares::default();
        let of = |i: i64| tenant(&format!("t{i}"));
        for i in 0..1_000 {
            shares.read(&of(i), 100 * MIB);
        }
        assert!(shares.bytes.len() < 200, "{}", shares.bytes.len());
        assert!(!shares.has_more(&of(0)) && !shares.has_more(&of(900)));
        for _ in 0..20 {
            shares.read(&of(0), 100 * MIB);
        }
        assert!(shares.has_more(&of(0)));
    }
}
