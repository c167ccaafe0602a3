//! Which endpoint takes a call.

use std::{collections::HashSet, net::SocketAddr, sync::Arc};

use rand::seq::IndexedRandom;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::endpoint::Endpoint;

/// How far above its fair share of the calls under way an endpoint may be before an affinity gives way, in percent.
const BOUND_PERCENT: usize = 125;

/// How many times as long as the quickest one's a process's checks may take, and how long they may in any case, ms. One that takes longer is alive, but
/// out of breath: a check is answered by every process in a moment.
const SLOW_TIMES: u32 = 5;
const SLOW_MS: u32 = 250;

/// The less busy of two at random; with an affinity, the same one for the same value while it is within its bound.
///
/// Only healthy endpoints are asked, unless there is none: then the checks may be wrong, and any is tried. None if all were.
/// Of the healthy ones those that are slow beside the others aren't.
pub(super) fn pick(
    endpoints: &[Arc<Endpoint>],
    affinity: Option<u64>,
    tried: &HashSet<SocketAddr>,
) -> Option<Arc<Endpoint>> {
    let left: Vec<_> = endpoints.iter().filter(|endpoint| !tried.contains(&endpoint.address)).collect();
    let mut able: Vec<_> = left.iter().copied().filter(|endpoint| endpoint.is_healthy()).collect();
    if able.is_empty() {
        able = left;
    }
    let quickest = able.iter().map(|endpoint| endpoint.check_ms()).min().unwrap_or_default();
    able.retain(|endpoint| endpoint.check_ms() <= SLOW_MS.max(quickest.saturating_mul(SLOW_TIMES)));
    let picked = match affinity {
        Some(value) => by_rendezvous(&able, value),
        None => able.sample(&mut rand::rng(), 2).min_by_key(|endpoint| endpoint.under_way()).copied(),
    };
    picked.cloned()
}

/// The highest of the hashes of value and address, of those within the bound: one that comes or goes moves its own share alone.
fn by_rendezvous<'a>(able: &[&'a Arc<Endpoint>], value: u64) -> Option<&'a Arc<Endpoint>> {
    let under_way: usize = able.iter().map(|endpoint| endpoint.under_way()).sum();
    let bound = ((under_way + 1) * BOUND_PERCENT).div_ceil(100 * able.len().max(1));
    let within = able.iter().filter(|endpoint| endpoint.under_way() < bound);
    within.max_by_key(|endpoint| xxh3_64_with_seed(endpoint.name.as_bytes(), value)).copied()
}
