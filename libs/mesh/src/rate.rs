//! A rate with a burst: the generic cell rate algorithm, one instant for each who is limited.
//!
//! Time is an argument; what is kept is only when everything taken so far is paid for.

use std::time::Duration;

use tokio::time::Instant;

/// What may be taken in the long run, and at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Units a second, sustained; 0 counts as 1.
    pub per_second: u64,
    /// Units that may be taken at once after a pause; 0 counts as 1.
    pub burst: u64,
}

impl Rate {
    /// How long the rate takes for so many units.
    pub fn time_of(self, units: u64) -> Duration {
        let nanos = u128::from(units) * 1_000_000_000 / u128::from(self.per_second.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn window(self) -> Duration {
        self.time_of(self.burst.max(1))
    }
}

/// Why so many units can't be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverRate {
    /// They can once this time has passed, if nothing else is taken meanwhile.
    For(Duration),
    /// They are more than the burst, and never can at once.
    Always,
}

/// What one who is limited has taken.
#[derive(Debug, Clone, Copy, Default)]
pub struct Meter {
    /// When everything that was taken is paid for. None: it is.
    paid_until: Option<Instant>,
}

impl Meter {
    /// Whether so many units can be taken now. Takes none: so several rates can be asked before any of them is charged.
    pub fn check(&self, rate: Rate, units: u64, now: Instant) -> Result<(), OverRate> {
        if units > rate.burst.max(1) {
            return Err(OverRate::Always);
        }
        let ahead = self.ahead(now) + rate.time_of(units);
        match ahead.checked_sub(rate.window()) {
            Some(wait) if !wait.is_zero() => Err(OverRate::For(wait)),
            _ => Ok(()),
        }
    }

    /// Charges so many units, also those that [`Self::check`] didn't find to be there.
    pub fn charge(&mut self, rate: Rate, units: u64, now: Instant) {
        self.paid_until = now.checked_add(self.ahead(now) + rate.time_of(units));
    }

    /// Gives back units that were charged.
    pub fn give_back(&mut self, rate: Rate, units: u64) {
        self.paid_until = self.paid_until.and_then(|paid| paid.checked_sub(rate.time_of(units)));
    }

    /// Takes so many units, or none.
    pub fn take(&mut self, rate: Rate, units: u64, now: Instant) -> Result<(), OverRate> {
        self.check(rate, units, now)?;
        self.charge(rate, units, now);
        Ok(())
    }

    /// Whether everything that was taken is paid for: the meter says no more than a new one.
    pub fn is_idle(&self, now: Instant) -> bool {
        self.paid_until.is_none_or(|paid| paid <= now)
    }

    /// How many units are not paid for yet, by this rate.
    pub fn units_ahead(&self, rate: Rate, now: Instant) -> u64 {
        let units = self.ahead(now).as_nanos() * u128::from(rate.per_second.max(1)) / 1_000_000_000;
        u64::try_from(units).unwrap_or(u64::MAX)
    }

    /// Forgives what a burst at this rate doesn't pay: after a change of the rate nobody owes the debt of another.
    pub fn forgive(&mut self, rate: Rate, now: Instant) {
        self.paid_until = now.checked_add(self.ahead(now).min(rate.window()));
    }

    /// How far ahead of now the payment reaches.
    fn ahead(&self, now: Instant) -> Duration {
        self.paid_until.map_or(Duration::ZERO, |paid| paid.saturating_duration_since(now))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TEN: Rate = Rate { per_second: 10, burst: 5 };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_then_the_rate_and_a_long_pause_saves_up_one_burst() {
        let mut meter = Meter::default();
        for _ in 0..5 {
            meter.take(TEN, 1, Instant::now()).unwrap();
        }
        assert_eq!(meter.take(TEN, 1, Instant::now()), Err(OverRate::For(ms(100))));
        assert_eq!(meter.take(TEN, 3, Instant::now()), Err(OverRate::For(ms(300))));
        tokio::time::advance(ms(299)).await;
        assert_eq!(meter.take(TEN, 3, Instant::now()), Err(OverRate::For(ms(1))));
        tokio::time::advance(ms(1)).await;
        meter.take(TEN, 3, Instant::now()).unwrap();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(meter.is_idle(Instant::now()));
        let taken = (0..9).filter(|_| meter.take(TEN, 1, Instant::now()).is_ok()).count();
        assert_eq!(taken, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn all_or_nothing_and_what_is_given_back_can_be_taken_again() {
        let (mut meter, now) = (Meter::default(), Instant::now());
        assert_eq!(meter.take(TEN, 6, now), Err(OverRate::Always));
        meter.take(TEN, 5, now).unwrap();
        meter.give_back(TEN, 5);
        meter.take(TEN, 5, now).unwrap();
        assert_eq!(meter.take(TEN, 5, now), Err(OverRate::For(ms(500))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_rate_works_at_once() {
        let (mut meter, now) = (Meter::default(), Instant::now());
        let slow = Rate { per_second: 1, burst: 3_600 };
        meter.take(slow, 3_600, now).unwrap();
        assert_eq!(meter.check(slow, 1, now), Err(OverRate::For(Duration::from_secs(1))));
        meter.forgive(TEN, now);
        assert_eq!(meter.check(TEN, 1, now), Err(OverRate::For(ms(100))), "an hour's debt isn't owed at the new rate");
    }

    #[tokio::test(start_paused = true)]
    async fn no_rate_overflows() {
        for rate in [Rate { per_second: 0, burst: u64::MAX }, Rate { per_second: u64::MAX, burst: u64::MAX }] {
            let (mut meter, now) = (Meter::default(), Instant::now());
            let _ = meter.take(rate, u64::MAX, now);
            let _ = meter.take(rate, u64::MAX, now);
            meter.give_back(rate, u64::MAX);
        }
    }
}
