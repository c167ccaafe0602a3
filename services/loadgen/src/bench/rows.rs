//! The rows that every way of writing gets.

use api::raw::Event;
use load::shop::{Density, Made, User, Users, Week, wire};

/// Different events; after them they come again under other ids.
const POOL: u64 = 100_000;

/// Endless events of twenty properties each.
pub(crate) struct Rows {
    seed: u64,
    users: Users,
    pool: Vec<Made>,
}

/// An event and who it is of.
pub(crate) struct Row<'a> {
    pub(crate) made: &'a Made,
    pub(crate) user: &'a User,
    pub(crate) event_id: String,
}

impl Rows {
    pub(crate) fn new(seed: u64, most: u64) -> Self {
        let users = Users::new(seed);
        let pool = Week::new(seed, &users, most.clamp(1, POOL), Density::Full).collect();
        Self { seed, users, pool }
    }

    pub(crate) fn users(&self) -> &Users {
        &self.users
    }

    /// The row of that number. Its id is made here, as a client makes it, within what is measured.
    pub(crate) fn get(&self, number: u64) -> Row<'_> {
        let made = &self.pool[(number % self.pool.len() as u64) as usize];
        Row { made, user: self.users.get(made.user), event_id: wire::event_id(self.seed, number) }
    }
}

impl Row<'_> {
    /// The row as a message.
    pub(crate) fn into_event(self, timestamp_ms: i64) -> Event {
        wire::event(self.made, self.user, &self.event_id, timestamp_ms)
    }
}
