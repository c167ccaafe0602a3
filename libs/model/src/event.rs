use xxhash_rust::xxh3::Xxh3;

use crate::PartitionId;

/// The partition of a user's records: a hash of (tenant, app, user), or of the event id where no user is known.
///
/// It decides where a user's history lies, so it must never change for a log that exists.
pub fn partition_of(tenant: &str, app: &str, user_id: &str, event_id: &str, partitions: u32) -> PartitionId {
    let mut hash = Xxh3::new();
    let last = if user_id.is_empty() { event_id } else { user_id };
    for part in [tenant, app, last] {
        hash.update(part.as_bytes());
        hash.update(&[0]); // no id contains a NUL, so the parts can't run into one another
    }
    (hash.digest() % u64::from(partitions.max(1))) as PartitionId
}

/// 128 bits that stand for an event's identity (tenant, app, user, event id): equal identities are one event.
pub fn identity_hash(tenant: &str, app: &str, user_id: &str, event_id: &str) -> u128 {
    let mut hash = Xxh3::new();
    for part in [tenant, app, user_id, event_id] {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.digest128()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placement_is_frozen() {
        // A change of these numbers would tear users' histories apart in every log that exists.
        let place = |tenant: &str, user: &str| partition_of(tenant, "app", user, "e1", 32);
        assert_eq!([place("acme", "u1"), place("acme", "u2"), place("beta", "u1"), place("acme", "")], PLACES);
    }
    const PLACES: [u32; 4] = [4, 0, 6, 9];

    #[test]
    fn identity_separates_its_parts() {
        assert_ne!(identity_hash("a", "b", "cd", "e"), identity_hash("a", "b", "c", "de"));
        assert_eq!(identity_hash("a", "b", "c", "d"), identity_hash("a", "b", "c", "d"));
    }
}
