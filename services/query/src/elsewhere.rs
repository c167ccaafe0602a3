//! What another process computes is not computed here too.
//!
//! A tenant's calls go to one process while that can take them, and what is too much for it to others, which may be asked the same. So who
//! computes what the cache will keep claims it there first. Everybody else waits until the claim ends, and finds what was kept; if nothing
//! was, the next has the claim. Without a shared cache, or with nobody to share it, nothing is claimed.

use std::{sync::Arc, time::Duration};

use api::v1;
use mesh::limits::Limits;
use storage::Cache;
use tokio::{
    task::AbortHandle,
    time::{interval, sleep},
};

use crate::{flight::Key, kept};

/// How long a claim outlives a process that died with it.
const TTL: Duration = Duration::from_secs(2);
const RENEW: Duration = Duration::from_millis(500);
/// How often is looked whether a claim has ended.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) struct Claims {
    cache: Arc<dyn Cache>,
    /// Who knows how many processes there are.
    limits: Arc<Limits>,
}

/// The right to compute something, until it is dropped.
pub(crate) struct Claim {
    cache: Arc<dyn Cache>,
    name: String,
    holder: Arc<str>,
    renewal: AbortHandle,
}

pub(crate) enum Outcome {
    /// It is to be computed here.
    Here(Option<Claim>),
    /// It was computed elsewhere meanwhile.
    Elsewhere(Vec<v1::Row>),
}

impl Claims {
    pub(crate) fn new(cache: Arc<dyn Cache>, limits: Arc<Limits>) -> Self {
        Self { cache, limits }
    }

    /// Claims what is kept under these keys once it is computed, or waits for who has.
    pub(crate) async fn claim(&self, work: &Key, keys: &[String]) -> Outcome {
        if keys.is_empty() || self.limits.processes() < 2 {
            return Outcome::Here(None);
        }
        let name = format!("flight/{}", kept::hex(work));
        // Its own: two of one process may want the same, too.
        let holder = Arc::from(uuid::Uuid::new_v4().to_string());
        while !self.cache.claim(&name, &holder, TTL).await {
            sleep(LOOK).await;
        }
        let claim = Claim::new(Arc::clone(&self.cache), name, holder);
        // By who had the claim a moment ago.
        match kept::rows_of(keys, &*self.cache).await {
            Some(rows) => Outcome::Elsewhere(rows),
            None => Outcome::Here(Some(claim)),
        }
    }
}

impl Claim {
    fn new(cache: Arc<dyn Cache>, name: String, holder: Arc<str>) -> Self {
        let (renewed, key, own) = (Arc::clone(&cache), name.clone(), Arc::clone(&holder));
        let renewal = tokio::spawn(async move {
            let mut renew = interval(RENEW);
            renew.tick().await; // it has just been made
            loop {
                renew.tick().await;
                renewed.claim(&key, &own, TTL).await;
            }
        });
        Self { cache, name, holder, renewal: renewal.abort_handle() }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.renewal.abort();
        let (cache, name, holder) = (Arc::clone(&self.cache), self.name.clone(), Arc::clone(&self.holder));
        tokio::spawn(async move { cache.release(&name, &holder).await });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use storage::{conformance::stand::Server, open_cache};

    use super::*;

    async fn claims(url: &str) -> Claims {
        let cache = open_cache(url).await.unwrap();
        Claims::new(Arc::clone(&cache), Arc::new(Limits::new(cache, "query", 2)))
    }

    #[tokio::test]
    async fn who_comes_second_waits_finds_what_was_kept_and_takes_over_if_nothing_was() {
        let server = Server::redis();
        let [first, second] = [claims(server.url()).await, claims(server.url()).await];
        let (work, keys) = ([7; 32], ["rows:a".to_owned(), "rows:b".to_owned()]);
        for is_kept in [false, true] {
            let Outcome::Here(Some(held)) = first.claim(&work, &keys).await else { panic!("nobody else had it") };
            let mut waits = std::pin::pin!(second.claim(&work, &keys));
            // Longer than a claim lives that nobody renews.
            assert!(tokio::time::timeout(TTL + RENEW, &mut waits).await.is_err());
            let row = |n| v1::Row { values: vec![v1::Value { kind: Some(v1::value::Kind::Integer(n)) }] };
            if is_kept {
                for (n, key) in (0..).zip(&keys) {
                    kept::keep(key, v1::RowBatch { rows: vec![row(n)] }, TTL * 30, &*first.cache).await;
                }
            }
            drop(held);
            let mut outcome = waits.await;
            // A cache that is too slow has nothing, and on a busy machine it may be.
            for _ in 0..20 {
                if !is_kept || matches!(outcome, Outcome::Elsewhere(_)) {
                    break;
                }
                outcome = second.claim(&work, &keys).await;
            }
            match (outcome, is_kept) {
                (Outcome::Here(Some(_)), false) => {}
                (Outcome::Elsewhere(rows), true) => assert_eq!(rows, [row(0), row(1)]),
                _ => panic!("kept: {is_kept}"),
            }
        }
        server.kill().await;
        assert!(matches!(second.claim(&work, &keys).await, Outcome::Here(Some(_))), "without Redis everybody computes");
    }
}
