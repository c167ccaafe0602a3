//! A week of visits: when people come.

use std::collections::VecDeque;

use model::{DAY_MS, HOUR_MS};
use rand::RngExt;

use super::{
    Density, Made, Users,
    visits::{HOUR_SHAPE, Visits},
};

/// A week in ms.
pub(super) const WEEK_MS: i64 = 7 * DAY_MS;
const HOURS: usize = 7 * 24;
/// How busy each day is, Monday first, in percent.
const DAY_SHAPE: [u32; 7] = [100, 98, 96, 95, 90, 62, 70];
/// Where most people are, in hours ahead of UTC.
const HOME_OFFSET_HOURS: usize = 1;

/// The events of a week, visit by visit, hour by hour. Exactly as many as asked for.
pub struct Week<'a> {
    visits: Visits<'a>,
    events: u64,
    /// Of the visit under way.
    visit: VecDeque<Made>,
    hour: usize,
}

impl<'a> Week<'a> {
    /// The seed's week of so many events.
    pub fn new(seed: u64, users: &'a Users, events: u64, density: Density) -> Self {
        Self { visits: Visits::new(seed, users, density), events, visit: VecDeque::new(), hour: 0 }
    }

    /// Begins a visit in this hour.
    fn begin(&mut self) {
        let start_ms = self.hour as i64 * HOUR_MS + self.visits.rng.random_range(0..HOUR_MS);
        self.visit.extend(self.visits.visit(start_ms));
        for event in &mut self.visit {
            event.at_ms = event.at_ms.rem_euclid(WEEK_MS); // Sunday's last visits end on Monday
        }
    }
}

impl Iterator for Week<'_> {
    type Item = Made;

    fn next(&mut self) -> Option<Made> {
        while self.visit.is_empty() {
            let made = self.visits.made();
            if made >= self.events {
                return None;
            }
            if made >= due(self.events, self.hour) && self.hour + 1 < HOURS {
                self.hour += 1;
                continue;
            }
            self.begin();
        }
        self.visit.pop_front().filter(|event| event.number < self.events)
    }
}

/// How many of the week's events are made by the end of this hour.
fn due(events: u64, hour: usize) -> u64 {
    let weight = |h: usize| u64::from(DAY_SHAPE[h / 24] * HOUR_SHAPE[(h + HOME_OFFSET_HOURS) % 24]);
    let (so_far, all) = ((0..=hour).map(weight).sum::<u64>(), (0..HOURS).map(weight).sum::<u64>());
    (u128::from(events) * u128::from(so_far)).div_ceil(u128::from(all)) as u64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::shop::{number, text};

    fn week(seed: u64, events: u64, density: Density) -> Vec<Made> {
        Week::new(seed, &Users::new(seed), events, density).collect()
    }

    #[test]
    fn the_seed_decides_everything() {
        let one = week(7, 20_000, Density::Natural);
        assert_eq!(one, week(7, 20_000, Density::Natural));
        assert_ne!(one, week(8, 20_000, Density::Natural));
        assert_ne!(Users::new(7).get(0), Users::new(8).get(0));
        assert!(one.iter().enumerate().all(|(i, event)| event.number == i as u64), "numbers are the order");
    }

    #[test]
    fn as_many_as_asked_for_all_within_the_week() {
        for events in [0, 1, 5, 999, 10_000] {
            let made = week(1, events, Density::Natural);
            assert_eq!(made.len() as u64, events);
            assert!(made.iter().all(|event| (0..WEEK_MS).contains(&event.at_ms)));
        }
    }

    #[test]
    fn people_sleep_and_rest_and_come_from_everywhere() {
        let users = Users::new(1);
        let made = week(1, 60_000, Density::Natural);
        let between = |day: i64, from: i64, to: i64| {
            let range = day * DAY_MS + from * HOUR_MS..day * DAY_MS + to * HOUR_MS;
            made.iter().filter(|event| range.contains(&event.at_ms)).count()
        };
        for day in 0..7 {
            assert!(between(day, 9, 12) > 3 * between(day, 1, 4), "day {day}");
        }
        assert!(between(1, 0, 24) > between(5, 0, 24), "Saturday is quieter than Tuesday");
        let seen: BTreeSet<_> = made.iter().map(|event| users.get(event.user).country).collect();
        assert_eq!(seen.len(), 10);
        let seen: BTreeSet<_> = made.iter().map(|event| event.user).collect();
        assert!(seen.len() > 2_000, "a few thousand users, not {}", seen.len());
    }

    #[test]
    fn each_type_has_what_belongs_to_it() {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for event in week(1, 20_000, Density::Natural) {
            *counts.entry(event.event_type).or_default() += 1;
            let has = |place: usize| event.numbers[place].is_some();
            assert_eq!(has(number::PURCHASE_AMOUNT), event.event_type == "purchase");
            assert_eq!(has(number::SESSION_DURATION), event.event_type == "session");
            assert_eq!(has(number::LOAD_TIME), event.event_type == "page_view");
            assert_eq!(event.texts[text::STATUS].is_some(), event.event_type == "purchase");
        }
        assert_eq!(counts.keys().copied().collect::<Vec<_>>(), ["page_view", "purchase", "session", "signup"]);
        assert!(counts["page_view"] > 10_000 && counts["signup"] > 50 && counts["purchase"] > 200, "{counts:?}");
        for event in week(1, 500, Density::Full) {
            assert!(event.numbers.iter().all(Option::is_some) && event.texts.iter().all(Option::is_some));
        }
    }
}
