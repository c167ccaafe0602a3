//! The people behind the events.

use rand::{Rng, RngExt, SeedableRng, rngs::ChaCha8Rng};

/// Country, its share in percent, the offset of its clocks from UTC in hours, language, currency.
const COUNTRIES: [(&str, u32, i64, &str, &str); 10] = [
    ("DE", 24, 1, "de", "EUR"),
    ("FR", 15, 1, "fr", "EUR"),
    ("GB", 14, 0, "en", "GBP"),
    ("US", 18, -6, "en", "USD"),
    ("ES", 8, 1, "es", "EUR"),
    ("NL", 6, 1, "nl", "EUR"),
    ("BR", 5, -3, "pt", "BRL"),
    ("PL", 4, 1, "pl", "PLN"),
    ("JP", 3, 9, "ja", "JPY"),
    ("IN", 3, 5, "en", "INR"),
];
/// Plan and share in percent.
const PLANS: [(&str, u32); 3] = [("free", 68), ("pro", 25), ("enterprise", 7)];
/// Device, operating system, browser, screen width, share in percent.
const DEVICES: [(&str, &str, &str, u32, u32); 8] = [
    ("phone", "iOS", "Safari", 390, 24),
    ("phone", "Android", "Chrome", 412, 26),
    ("desktop", "Windows", "Chrome", 1920, 19),
    ("desktop", "Windows", "Edge", 1920, 9),
    ("desktop", "macOS", "Safari", 1512, 7),
    ("desktop", "macOS", "Chrome", 1728, 6),
    ("desktop", "Linux", "Firefox", 2560, 4),
    ("tablet", "iPadOS", "Safari", 1024, 5),
];

/// Somebody who sends events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub id: String,
    /// ISO code.
    pub country: &'static str,
    /// free, pro or enterprise.
    pub plan: &'static str,
    /// Hours that the user's clock is ahead of UTC.
    pub utc_offset_hours: i64,
    /// ISO code.
    pub language: &'static str,
    /// ISO code.
    pub currency: &'static str,
    /// phone, desktop or tablet.
    pub device: &'static str,
    /// Operating system.
    pub os: &'static str,
    /// Its name.
    pub browser: &'static str,
    /// In pixels.
    pub screen_width: u32,
}

/// All of them, in the order of their activity: the first ones come most often.
#[derive(Debug, Clone)]
pub struct Users(Vec<User>);

impl Users {
    /// How many there are.
    pub const COUNT: usize = 3_000;

    /// The seed's users.
    pub fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x0075_7365_7273);
        Self((0..Self::COUNT).map(|i| user(seed, i, &mut rng)).collect())
    }

    /// The user at a place below [`Self::COUNT`].
    pub fn get(&self, place: usize) -> &User {
        &self.0[place]
    }

    /// One after another.
    pub fn iter(&self) -> impl Iterator<Item = &User> {
        self.0.iter()
    }

    /// Somebody; a tenth of the users is behind a third of the draws.
    pub fn draw(&self, rng: &mut impl Rng) -> usize {
        let x: f64 = rng.random();
        ((x * x * self.0.len() as f64) as usize).min(self.0.len() - 1)
    }
}

fn user(seed: u64, i: usize, rng: &mut ChaCha8Rng) -> User {
    let (country, _, utc_offset_hours, language, currency) = COUNTRIES[weighted(rng, COUNTRIES.iter().map(|c| c.1))];
    let (plan, _) = PLANS[weighted(rng, PLANS.iter().map(|p| p.1))];
    let (device, os, browser, screen_width, _) = DEVICES[weighted(rng, DEVICES.iter().map(|d| d.4))];
    let id = format!("user-{seed:x}-{i:04}");
    User { id, country, plan, utc_offset_hours, language, currency, device, os, browser, screen_width }
}

/// A place by its share.
pub(super) fn weighted(rng: &mut impl Rng, shares: impl Iterator<Item = u32> + Clone) -> usize {
    let mut left = rng.random_range(0..shares.clone().sum::<u32>());
    for (place, share) in shares.enumerate() {
        if left < share {
            return place;
        }
        left -= share;
    }
    0 // not reached: `left` is below the sum of all shares
}
