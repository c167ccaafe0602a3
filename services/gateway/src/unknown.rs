//! What look-ups of keys may cost that a gateway doesn't know: a flood of made up ones must not become a flood of queries.
//!
//! Each takes from a budget of its caller's address and from one of all; a key that is found gives back what it took. So only keys
//! that don't exist cost anything, and who floods uses up a budget of their own long before that of all.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use mesh::rate::{Meter, OverRate, Rate};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::whence::Whence;

/// So many addresses are metered at once. More would have to have asked within the last ten seconds than the budget of all lets ask.
const METERED: usize = 1 << 16;
/// What may be looked up at once after a pause: what comes in so many seconds.
const BURST_SECONDS: u32 = 10;

/// The budgets.
pub(crate) struct Unknown {
    all: Rate,
    each: Rate,
    meters: Mutex<Meters>,
}

#[derive(Default)]
struct Meters {
    all: Meter,
    each: HashMap<Option<IpAddr>, Meter>,
}

impl Unknown {
    /// So many a second of all addresses, and of each.
    pub(crate) fn new(all: u32, each: u32) -> Self {
        let rate =
            |a_second: u32| Rate { per_second: a_second.into(), burst: u64::from(a_second) * u64::from(BURST_SECONDS) };
        Self { all: rate(all), each: rate(each), meters: Mutex::default() }
    }

    /// Takes one look-up, or says when there will be one.
    pub(crate) fn take(&self, whence: Whence, now: Instant) -> Result<(), Duration> {
        let mut meters = self.meters.lock();
        let Meters { all, each } = &mut *meters;
        if each.len() >= METERED {
            each.retain(|_, meter| !meter.is_idle(now));
        }
        let wait = |over| match over {
            OverRate::For(wait) => wait,
            OverRate::Always => Duration::from_secs(1), // one fits into any burst
        };
        let place = place(whence);
        each.get(&place).copied().unwrap_or_default().check(self.each, 1, now).map_err(wait)?;
        all.take(self.all, 1, now).map_err(wait)?;
        each.entry(place).or_default().charge(self.each, 1, now);
        Ok(())
    }

    /// Gives back what a look-up took that found a key.
    pub(crate) fn give_back(&self, whence: Whence) {
        let mut meters = self.meters.lock();
        meters.all.give_back(self.all, 1);
        if let Some(meter) = meters.each.get_mut(&place(whence)) {
            meter.give_back(self.each, 1);
        }
    }
}

/// Who has one IPv6 address mostly has all of its last 64 bits.
fn place(Whence(address): Whence) -> Option<IpAddr> {
    address.map(|address| match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn from(address: &str) -> Whence {
        Whence(Some(address.parse().unwrap()))
    }

    fn taken(budget: &Unknown, from: impl Fn(usize) -> Whence) -> usize {
        (0..1_000).filter(|i| budget.take(from(*i), Instant::now()).is_ok()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn who_floods_uses_up_their_own_and_many_together_that_of_all() {
        let budget = Unknown::new(20, 2);
        let (flood, other) = (from("192.0.2.1"), from("192.0.2.2"));
        assert_eq!(taken(&budget, |_| flood), 20);
        assert_eq!(budget.take(flood, Instant::now()), Err(Duration::from_millis(500)));
        budget.take(other, Instant::now()).unwrap();
        tokio::time::advance(Duration::from_millis(500)).await;
        budget.take(flood, Instant::now()).unwrap();

        tokio::time::advance(Duration::from_secs(60)).await;
        let many = |i: usize| Whence(Some(IpAddr::from([10, 0, (i >> 8) as u8, i as u8])));
        assert_eq!(taken(&budget, many), 200);
        assert_eq!(budget.take(other, Instant::now()), Err(Duration::from_millis(50)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_there_costs_nothing_and_a_network_of_ipv6_is_one_caller() {
        let budget = Unknown::new(20, 2);
        for _ in 0..1_000 {
            budget.take(from("192.0.2.1"), Instant::now()).unwrap();
            budget.give_back(from("192.0.2.1"));
        }
        let of_one_network = |i: usize| Whence(Some(Ipv6Addr::from_bits(0x2001_0db8 << 96 | i as u128).into()));
        assert_eq!(taken(&budget, of_one_network), 20);
        budget.take(from("2001:db8:0:1::"), Instant::now()).unwrap();
    }
}
