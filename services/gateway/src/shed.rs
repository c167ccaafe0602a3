//! Calls under way, bounded; the less urgent are turned away first.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use model::{Error, ErrorCode, Priority};

/// Counts calls under way.
pub(crate) struct Load {
    under_way: AtomicUsize,
    max: usize,
}

/// One call under way; counted until it is dropped.
pub(crate) struct Underway(Arc<Load>);

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Load {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { under_way: AtomicUsize::new(0), max })
    }

    /// Lets a call in, unless so many are under way that only more urgent ones are: background up to half of the room,
    /// scheduled up to three quarters, interactive up to all of it.
    pub(crate) fn enter(self: &Arc<Self>, priority: Priority) -> Result<Underway, Error> {
        let room = match priority {
            Priority::Interactive => self.max,
            Priority::Scheduled => self.max / 4 * 3,
            Priority::Background => self.max / 2,
        };
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        let call = Underway(Arc::clone(self));
        if before < room {
            return Ok(call);
        }
        let message = format!("{before} calls are under way, and {priority:?} calls are let in up to {room}");
        Err(Error {
            retry_after: Some(Duration::from_millis(500)),
            ..Error::new(ErrorCode::ResourceExhausted, message)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_less_urgent_are_turned_away_first_and_room_comes_back() {
        let load = Load::new(4);
        let mut inside: Vec<_> = (0..2).map(|_| load.enter(Priority::Background).unwrap()).collect();
        let refused = load.enter(Priority::Background).err().unwrap();
        assert_eq!((refused.code, refused.retry_after.is_some()), (ErrorCode::ResourceExhausted, true));
        inside.push(load.enter(Priority::Scheduled).unwrap());
        assert!(load.enter(Priority::Scheduled).is_err());
        inside.push(load.enter(Priority::Interactive).unwrap());
        assert!(load.enter(Priority::Interactive).is_err());
        drop(inside);
        assert!(load.enter(Priority::Background).is_ok());
    }
}
