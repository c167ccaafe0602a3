//! Whether a call may be tried at all.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::endpoint::Endpoint;

/// Closed while an endpoint is well. Open, it lets one call at a time try: the checks may be wrong, but a role that is gone
/// costs its callers no connection timeout each.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    trying: Arc<AtomicBool>,
}

/// The right to try, until it is dropped.
#[derive(Debug)]
pub(super) struct Pass(Option<Arc<AtomicBool>>);

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(trying) = &self.0 {
            trying.store(false, Ordering::Release);
        }
    }
}

impl Breaker {
    pub(super) fn pass(&self, endpoints: &[Arc<Endpoint>]) -> Option<Pass> {
        self.pass_if(endpoints.iter().any(|endpoint| endpoint.is_healthy()))
    }

    fn pass_if(&self, any_is_well: bool) -> Option<Pass> {
        if any_is_well {
            return Some(Pass(None));
        }
        let first = !self.trying.swap(true, Ordering::AcqRel);
        first.then(|| Pass(Some(Arc::clone(&self.trying))))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn while_none_is_well_one_call_at_a_time_tries() {
        let breaker = Breaker::default();
        let (_one, _two) = (breaker.pass_if(true).unwrap(), breaker.pass_if(true).unwrap());
        let trial = breaker.pass_if(false).unwrap();
        assert!(breaker.pass_if(false).is_none());
        assert!(breaker.pass_if(true).is_some(), "the others go on as soon as one is well");
        assert!(breaker.pass_if(false).is_none(), "and end no trial that is under way");
        drop(trial);
        assert!(breaker.pass_if(false).is_some());
    }
}
