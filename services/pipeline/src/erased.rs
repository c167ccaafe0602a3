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
//!
//! Where the log grew, the user's tombstone may stand in a partition that the user came from, or went to. Those are all known when a worker
//! begins, or never concern it: from there on new ones of its users stand in its own.

use ahash::HashMap;
use model::{Offset, PartitionId, identity_hash};
use storage::{Erasures, MetaError, Placement, Tombstone, Topic};

use crate::users::Users;

/// The tombstones of a partition.
#[derive(Debug, Default)]
pub(crate) struct Erased {
    /// By the user's hash: every record is looked up.
    ends: HashMap<u128, (PartitionId, Offset)>,
    /// The ordinal of the last one that was read.
    known: u64,
}

impl Erased {
    /// All tombstones by now that concern records of the partition.
    pub(crate) async fn of(
        erasures: &dyn Erasures,
        topic: &Topic,
        placement: &Placement,
        partition: PartitionId,
    ) -> Result<Self, MetaError> {
        let mut erased = Self::default();
        for relative in placement.relatives(partition) {
            erased.learn(relative, erasures.tombstones(topic, relative, 0).await?, &mut Users::default());
        }
        erased.known = 0;
        let own = erased.news(erasures, topic, partition).await?;
        erased.learn(partition, own, &mut Users::default());
        Ok(erased)
    }

    /// Where the user begins: after the latest tombstone, if there is one.
    pub(crate) fn end(&self, tenant: &str, app: &str, user_id: &str) -> Option<(PartitionId, Offset)> {
        if self.ends.is_empty() || user_id.is_empty() {
            return None;
        }
        self.ends.get(&identity_hash(tenant, app, user_id, "")).copied()
    }

    /// The partition's tombstones that were put up since the last look.
    pub(crate) async fn news(
        &self,
        erasures: &dyn Erasures,
        topic: &Topic,
        partition: PartitionId,
    ) -> Result<Vec<Tombstone>, MetaError> {
        erasures.tombstones(topic, partition, self.known).await
    }

    /// Takes tombstones of the partition, and lets `users` forget them.
    pub(crate) fn learn(&mut self, partition: PartitionId, news: Vec<Tombstone>, users: &mut Users) {
        for Tombstone { ordinal, tenant, app, user_id, end } in news {
            self.known = self.known.max(ordinal);
            users.forget(tenant.as_str(), app.as_str(), &user_id);
            let known = self.ends.entry(identity_hash(tenant.as_str(), app.as_str(), &user_id, "")).or_default();
            *known = (partition, end).max(*known);
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
        assert_eq!(erased.end("acme", "web", "ada"), None);
        erased.learn(1, vec![tombstone(1, "acme", 30), tombstone(2, "acme", 20)], &mut users);
        assert_eq!((erased.end("acme", "web", "ada"), erased.known), (Some((1, 30)), 2));
        assert_eq!(
            (erased.end("beta", "web", "ada"), erased.end("acme", "ios", "ada"), erased.end("acme", "web", "")),
            (None, None, None)
        );
        assert!(users.get("acme", "web", "ada").is_none() && users.get("beta", "web", "ada").is_some());
        erased.learn(5, vec![tombstone(1, "acme", 0)], &mut users);
        assert_eq!(erased.end("acme", "web", "ada"), Some((5, 0)), "where the user went later");
    }
}
