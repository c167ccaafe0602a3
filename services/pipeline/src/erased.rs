//! Which users of one partition were erased, and where in the log each ends.
//!
//! A record before its user's tombstone must not be stored for good, and the worker need not know the tombstone in time for that: the
//! eraser waits until the committed offset has passed it, and then deletes what is there. What the worker owes is
//! what can't be deleted: no later event may carry a trait of the erased user, or be taken for a duplicate of what that one sent.
//!
//! It knows all it must, by the order of two steps. A worker records its range as pending, *then* reads the tombstones, then builds. Whoever puts
//! up a tombstone holds the partition's row in the ledger meanwhile, and puts it behind the pending range. So either the range was
//! pending first: the tombstone lies behind it and concerns no record after the user's in this range. Or the tombstone was first: it is read.
//! All that a worker remembered when it first reads of a tombstone comes from before it, and is forgotten.
//!
//! Where a tombstone comes between two tries of a range, the second knows it and the first did not. Each part of the block goes in as
//! either try built it: with the user's rows, which are deleted later, or without. The rows that stand for the erased are a part of their own,
//! and the second try adds them all, so no offset is without a row. One may have two for a while: with a row that
//! says it is erased, an offset counts as that and nothing else (`storage::warehouse::Reason::Erased`).

use ahash::HashMap;
use model::{Offset, PartitionId, identity_hash};
use storage::{Erasures, MetaError, Tombstone, Topic};

use crate::users::Users;

/// The tombstones of a partition.
#[derive(Debug, Default)]
pub(crate) struct Erased {
    /// By the user's hash: every record is looked up.
    ends: HashMap<u128, Offset>,
    /// The ordinal of the last one that was read.
    known: u64,
}

impl Erased {
    /// Where the user begins: after the latest tombstone.
    pub(crate) fn end(&self, tenant: &str, app: &str, user_id: &str) -> Offset {
        if self.ends.is_empty() || user_id.is_empty() {
            return 0;
        }
        self.ends.get(&identity_hash(tenant, app, user_id, "")).copied().unwrap_or(0)
    }

    /// The tombstones that were put up since the last look.
    pub(crate) async fn news(
        &self,
        erasures: &dyn Erasures,
        topic: &Topic,
        partition: PartitionId,
    ) -> Result<Vec<Tombstone>, MetaError> {
        erasures.tombstones(topic, partition, self.known).await
    }

    /// Takes what [`Erased::news`] brought, and lets `users` forget them.
    pub(crate) fn learn(&mut self, news: Vec<Tombstone>, users: &mut Users) {
        for Tombstone { ordinal, tenant, app, user_id, end } in news {
            self.known = self.known.max(ordinal);
            users.forget(tenant.as_str(), app.as_str(), &user_id);
            let known = self.ends.entry(identity_hash(tenant.as_str(), app.as_str(), &user_id, "")).or_default();
            *known = end.max(*known);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use model::{AppId, TenantId};

    use super::*;

    fn tombstone(ordinal: u64, tenant: &str, end: Offset) -> Tombstone {
        let (tenant, app) = (TenantId::new(tenant).unwrap(), AppId::new("web").unwrap());
        Tombstone { ordinal, tenant, app, user_id: "ada".to_owned(), end }
    }

    #[test]
    fn a_user_begins_after_the_latest_tombstone_and_is_forgotten() {
        let (mut erased, mut users) = (Erased::default(), Users::default());
        for tenant in ["acme", "beta"] {
            users.identify(tenant, "web", "ada", &[]);
        }
        assert_eq!(erased.end("acme", "web", "ada"), 0);
        erased.learn(vec![tombstone(1, "acme", 30), tombstone(2, "acme", 20)], &mut users);
        assert_eq!((erased.end("acme", "web", "ada"), erased.known), (30, 2));
        assert_eq!(
            (erased.end("beta", "web", "ada"), erased.end("acme", "ios", "ada"), erased.end("acme", "web", "")),
            (0, 0, 0)
        );
        assert!(users.get("acme", "web", "ada").is_none() && users.get("beta", "web", "ada").is_some());
    }
}
