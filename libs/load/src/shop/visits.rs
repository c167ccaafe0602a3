//! Visits: who comes, and what somebody does there.

use model::{DAY_MS, HOUR_MS};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

use super::{Density, KINDS, Made, User, Users, number, text, users::weighted};

/// How busy each hour of a person's day is, in percent of the busiest.
pub(super) const HOUR_SHAPE: [u32; 24] =
    [12, 7, 4, 3, 3, 6, 16, 34, 56, 74, 84, 90, 86, 82, 88, 90, 84, 78, 80, 92, 100, 90, 60, 28];

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

/// Visits, one after another, of users that the same numbers choose.
pub(super) struct Visits<'a> {
    users: &'a Users,
    density: Density,
    pub(super) rng: ChaCha8Rng,
    made: u64,
}

impl<'a> Visits<'a> {
    pub(super) fn new(seed: u64, users: &'a Users, density: Density) -> Self {
        Self { users, density, rng: ChaCha8Rng::seed_from_u64(seed), made: 0 }
    }

    /// How many events all visits so far have.
    pub(super) fn made(&self) -> u64 {
        self.made
    }

    /// The events of a visit that begins at this ms of a clock that began at midnight UTC, each at its ms.
    pub(super) fn visit(&mut self, start_ms: i64) -> Vec<Made> {
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
        for event in &mut events {
            if self.density == Density::Full {
                fill(&mut self.rng, user, event);
            }
            event.number = self.made;
            self.made += 1;
        }
        events
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
