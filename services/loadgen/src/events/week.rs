//! A week of visits: when people come, and what they do.

use std::collections::VecDeque;

use model::{DAY_MS, HOUR_MS};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

use super::{Density, KINDS, Made, User, Users, number, text, users::weighted};

/// A week in ms.
pub(crate) const WEEK_MS: i64 = 7 * DAY_MS;
const HOURS: usize = 7 * 24;
/// How busy each hour of a person's day is, in percent of the busiest.
const HOUR_SHAPE: [u32; 24] =
    [12, 7, 4, 3, 3, 6, 16, 34, 56, 74, 84, 90, 86, 82, 88, 90, 84, 78, 80, 92, 100, 90, 60, 28];
/// How busy each day is, Monday first, in percent.
const DAY_SHAPE: [u32; 7] = [100, 98, 96, 95, 90, 62, 70];
/// Where most people are, in hours ahead of UTC.
const HOME_OFFSET_HOURS: usize = 1;

const PAGES: [(&str, u32); 14] = [
    ("/", 26),
    ("/pricing", 10),
    ("/products", 14),
    ("/products/atlas", 9),
    ("/products/borealis", 7),
    ("/products/cirrus", 5),
    ("/cart", 6),
    ("/checkout", 3),
    ("/docs", 6),
    ("/docs/start", 4),
    ("/blog", 4),
    ("/account", 3),
    ("/search", 2),
    ("/help", 1),
];
const REFERRERS: [(&str, u32); 7] =
    [("direct", 38), ("google", 30), ("newsletter", 9), ("bing", 6), ("linkedin", 6), ("reddit", 6), ("partner", 5)];
const CAMPAIGNS: [(&str, u32); 5] =
    [("none", 70), ("autumn-sale", 12), ("pro-trial", 9), ("webinar", 5), ("retarget", 4)];
const VERSIONS: [(&str, u32); 4] = [("5.2.1", 58), ("5.2.0", 24), ("5.1.4", 13), ("4.9.8", 5)];
const STATUSES: [(&str, u32); 4] = [("completed", 88), ("pending", 5), ("refunded", 4), ("failed", 3)];

/// The events of a week, visit by visit, hour by hour. Exactly as many as asked for.
pub(crate) struct Week<'a> {
    users: &'a Users,
    density: Density,
    events: u64,
    rng: ChaCha8Rng,
    /// Of the visit under way.
    visit: VecDeque<Made>,
    made: u64,
    hour: usize,
}

impl<'a> Week<'a> {
    pub(crate) fn new(seed: u64, users: &'a Users, events: u64, density: Density) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self { users, density, events, rng, visit: VecDeque::new(), made: 0, hour: 0 }
    }

    /// Adds a visit that begins in this hour.
    fn visit(&mut self) {
        let start_ms = self.hour as i64 * HOUR_MS + self.rng.random_range(0..HOUR_MS);
        let place = self.visitor(start_ms);
        let user = self.users.get(place);
        let rng = &mut self.rng;
        let visit = Visit {
            place,
            user,
            referrer: pick(rng, &REFERRERS),
            campaign: pick(rng, &CAMPAIGNS),
            version: pick(rng, &VERSIONS),
            rtt_ms: f64::from(rng.random_range(8..180u32)),
            returning: rng.random_bool(0.6),
        };
        let pages = 1 + (0..8).take_while(|_| rng.random_bool(0.7)).count();
        let mut at_ms = start_ms;
        let mut events = Vec::with_capacity(pages + 3);
        for _ in 0..pages {
            events.push(visit.page_view(rng, at_ms));
            at_ms += rng.random_range(3_000..95_000);
        }
        if !visit.returning && rng.random_bool(0.1) {
            events.push(visit.event("signup", at_ms));
            at_ms += rng.random_range(2_000..20_000);
        }
        if rng.random_bool(0.09) {
            events.push(visit.purchase(rng, at_ms));
            at_ms += rng.random_range(2_000..30_000);
        }
        events.push(visit.session(pages, at_ms - start_ms, at_ms));
        for mut event in events {
            if self.density == Density::Full {
                fill(&mut self.rng, user, &mut event);
            }
            event.number = self.made;
            event.at_ms = event.at_ms.rem_euclid(WEEK_MS); // Sunday's last visits end on Monday
            self.made += 1;
            self.visit.push_back(event);
        }
    }

    /// Somebody for whom it is a likely hour.
    fn visitor(&mut self, at_ms: i64) -> usize {
        loop {
            let place = self.users.draw(&mut self.rng);
            let local_ms = at_ms + self.users.get(place).utc_offset_hours * HOUR_MS;
            let hour = (local_ms.rem_euclid(DAY_MS) / HOUR_MS) as usize;
            if self.rng.random_range(0..100) < HOUR_SHAPE[hour] {
                return place;
            }
        }
    }
}

impl Iterator for Week<'_> {
    type Item = Made;

    fn next(&mut self) -> Option<Made> {
        while self.visit.is_empty() {
            if self.made >= self.events {
                return None;
            }
            if self.made >= due(self.events, self.hour) && self.hour + 1 < HOURS {
                self.hour += 1;
                continue;
            }
            self.visit();
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

/// What all events of one visit share.
struct Visit<'a> {
    place: usize,
    user: &'a User,
    referrer: &'static str,
    campaign: &'static str,
    version: &'static str,
    rtt_ms: f64,
    returning: bool,
}

impl Visit<'_> {
    fn event(&self, event_type: &'static str, at_ms: i64) -> Made {
        let (mut numbers, mut texts) = ([None; KINDS], [None; KINDS]);
        numbers[number::SCREEN_WIDTH] = Some(f64::from(self.user.screen_width));
        numbers[number::NETWORK_RTT_MS] = Some(self.rtt_ms);
        numbers[number::RETURNING] = Some(f64::from(u8::from(self.returning)));
        texts[text::REFERRER] = Some(self.referrer);
        texts[text::BROWSER] = Some(self.user.browser);
        texts[text::OS] = Some(self.user.os);
        texts[text::DEVICE] = Some(self.user.device);
        texts[text::LANGUAGE] = Some(self.user.language);
        texts[text::APP_VERSION] = Some(self.version);
        texts[text::CAMPAIGN] = Some(self.campaign);
        Made { number: 0, event_type, user: self.place, at_ms, numbers, texts }
    }

    fn page_view(&self, rng: &mut ChaCha8Rng, at_ms: i64) -> Made {
        let mut event = self.event("page_view", at_ms);
        view(rng, &mut event);
        event
    }

    fn purchase(&self, rng: &mut ChaCha8Rng, at_ms: i64) -> Made {
        let mut event = self.event("purchase", at_ms);
        buy(rng, self.user, &mut event);
        event
    }

    fn session(&self, pages: usize, duration_ms: i64, at_ms: i64) -> Made {
        let mut event = self.event("session", at_ms);
        event.numbers[number::SESSION_DURATION] = Some(duration_ms as f64 / 1000.0);
        event.numbers[number::PAGES_VIEWED] = Some(pages as f64);
        event
    }
}

/// What a look at a page brings. Load time: mostly around a second, with a long tail; in seconds.
fn view(rng: &mut ChaCha8Rng, event: &mut Made) {
    let tail = -(1.0 - rng.random::<f64>()).ln();
    event.numbers[number::LOAD_TIME] = Some(rounded(0.25 + 0.7 * tail, 1000.0));
    event.numbers[number::SCROLL_DEPTH] = Some(rounded(rng.random(), 100.0));
    event.texts[text::PAGE] = Some(pick(rng, &PAGES));
}

fn buy(rng: &mut ChaCha8Rng, user: &User, event: &mut Made) {
    let price = match user.plan {
        "enterprise" => rng.random_range(400.0..2_400.0),
        "pro" => rng.random_range(29.0..240.0),
        _ => rng.random_range(4.0..60.0),
    };
    event.numbers[number::PURCHASE_AMOUNT] = Some(rounded(price, 100.0));
    event.numbers[number::QUANTITY] = Some(f64::from(rng.random_range(1..5u32)));
    event.numbers[number::DISCOUNT] = Some(if rng.random_bool(0.2) { 0.15 } else { 0.0 });
    event.texts[text::CURRENCY] = Some(user.currency);
    event.texts[text::STATUS] = Some(pick(rng, &STATUSES));
}

/// Gives an event what its type doesn't have.
fn fill(rng: &mut ChaCha8Rng, user: &User, event: &mut Made) {
    let mut other = event.clone();
    view(rng, &mut other);
    buy(rng, user, &mut other);
    other.numbers[number::SESSION_DURATION] = Some(rounded(rng.random_range(5.0..900.0), 1000.0));
    other.numbers[number::PAGES_VIEWED] = Some(f64::from(rng.random_range(1..9u32)));
    for (value, more) in event.numbers.iter_mut().zip(other.numbers) {
        *value = value.or(more);
    }
    for (value, more) in event.texts.iter_mut().zip(other.texts) {
        *value = value.or(more);
    }
}

fn pick<const N: usize>(rng: &mut ChaCha8Rng, choices: &[(&'static str, u32); N]) -> &'static str {
    choices[weighted(rng, choices.iter().map(|c| c.1))].0
}

fn rounded(x: f64, steps: f64) -> f64 {
    (x * steps).round() / steps
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

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
