//! Answers put together from states.
//!
//! What a question gathers from whole UTC hours and days that have ended can be kept in the warehouse as states of its aggregates
//! ([`formula::Pieces`]), under the *shape* of the question: its keys, aggregates and conditions, whatever its range and whatever is done with the
//! groups afterwards. Each bucket is kept under the epochs that its hours had when it was computed. A commit that touches an ended hour
//! gives it a new epoch, so what was kept before is not used any more, and is computed anew. A range that moves on by a minute reads the
//! states of what it has in common with the one before, and the events of its two ends.
//!
//! [`asked`] knows which shapes are worth it, and [`build`] computes their buckets in the background.

mod asked;
mod build;

use std::{ops::Range, sync::Arc};

use formula::{Length, Pieces, Run, SealedPlan, Unmergeable};
use model::{AppId, DAY_MS, Error, HOUR_MS, TenantId};
use sha2::{Digest, Sha256};
use storage::{BucketState, STATES_LAST_MS};

pub(crate) use asked::Standing;
pub(crate) use build::Builder;

use crate::{
    freshness::Ended,
    kept::{self, Question},
    states::asked::{Asked, FURTHEST_MS},
};

/// Fewer hours than that are as soon gathered from their events.
const LEAST_HOURS: i64 = 6;
/// States that one answer is put together from.
const MOST_PIECES: usize = 1_000;
/// Times that are left to the events; the last takes in all that follow.
const MOST_TIMES: usize = 16;
/// How states are written. Another number, and none of before is read any more.
const FORMAT: u8 = 1;

/// What is kept of states, and which are wanted.
pub(crate) struct States {
    store: Arc<dyn storage::States>,
    asked: Asked,
    now_ms: fn() -> i64,
}

/// What an answer is put together from.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) pieces: Pieces,
    /// As long as this is the app's life of states, they are there.
    pub(crate) life: i64,
}

/// Why an answer isn't put together from states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Without {
    /// The question has none.
    Unmergeable(Unmergeable),
    /// The caller wants none.
    Unwanted,
    /// Its range has too few whole hours that have ended.
    Short,
    /// Its range ends before any states are kept of.
    Old,
    /// It can't be known what is kept.
    Unknown,
    /// None of its buckets are kept, or none that are still so. What is known of the shape.
    Nothing(Standing),
}

impl States {
    pub(crate) fn new(store: Arc<dyn storage::States>, options: &crate::Options, now_ms: fn() -> i64) -> Self {
        Self { store, asked: Asked::new(options), now_ms }
    }

    /// What of these times of a question is kept. `count` if the question was asked, and not only what would become of it.
    /// Errors are the compiler's.
    pub(crate) async fn find(
        &self,
        plan: &SealedPlan,
        times: &[Range<i64>],
        ended: &Ended,
        count: Option<Count>,
    ) -> Result<Result<Found, Without>, Error> {
        if let Err(why) = plan.mergeable() {
            return Ok(Err(Without::Unmergeable(why)));
        }
        let (from_ms, whole_ms) = extent(times, ended.until_ms);
        if whole_ms < LEAST_HOURS * HOUR_MS {
            return Ok(Err(Without::Short));
        }
        if times.iter().all(|times| times.end <= (self.now_ms)() - FURTHEST_MS) {
            return Ok(Err(Without::Old));
        }
        let (tenant, app, shape) = (plan.tenant(), plan.app(), shape(plan)?);
        let standing = match count {
            Some(count) => self.asked.count(plan, &shape, (self.now_ms)() - from_ms, count),
            None => self.asked.standing(tenant, &shape),
        };
        if !ended.has_states {
            return Ok(Err(Without::Nothing(standing)));
        }
        let since_ms = (self.now_ms)() - STATES_LAST_MS;
        let buckets = (from_ms - DAY_MS, ended.until_ms);
        let Ok((life, kept)) = self.store.states(tenant, app, &shape, buckets, since_ms).await else {
            return Ok(Err(Without::Unknown));
        };
        let pieces = choose(shape, times, ended, &kept);
        if pieces.numbers.is_empty() {
            return Ok(Err(Without::Nothing(standing)));
        }
        Ok(Ok(Found { pieces, life }))
    }

    /// The app's life of states; `None` while that can't be known.
    pub(crate) async fn life(&self, tenant: &TenantId, app: &AppId) -> Option<i64> {
        self.store.states_life(tenant, app).await.ok()
    }
}

/// Who counts as one that asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    /// Anyone.
    Once,
    /// One whose states are to be kept however rarely it is asked.
    Materialize,
}

/// Where the whole hours of these times begin that have ended, and how long all of them are, in ms.
fn extent(times: &[Range<i64>], until_ms: i64) -> (i64, i64) {
    let whole =
        times.iter().map(|times| (up(times.start, HOUR_MS), times.end.min(until_ms).div_euclid(HOUR_MS) * HOUR_MS));
    let whole: Vec<_> = whole.filter(|(from, to)| from < to).collect();
    let from = whole.iter().map(|(from, _)| *from).min().unwrap_or(until_ms);
    (from, whole.iter().map(|(from, to)| to - from).sum())
}

/// The first multiple that isn't before.
const fn up(ms: i64, length_ms: i64) -> i64 {
    (ms.saturating_add(length_ms - 1)).div_euclid(length_ms) * length_ms
}

/// What the states of a plan depend on, as a word.
pub(crate) fn shape(plan: &SealedPlan) -> Result<String, Error> {
    // Of any run they are the same.
    let run = Run { times: 0..HOUR_MS, length: Length::Hour, first_piece: 0, life: 0 };
    let (text, params) = plan.spelled_states("", &run)?;
    let mut question = Question::of_text(&text, &params);
    question.add_bytes(&[FORMAT]);
    Ok(question.hex()[..32].to_owned())
}

/// A word for the epochs that the hours of a bucket have; the same as long as these are.
pub(crate) fn epochs_of(times: Range<i64>, epochs: &[(i64, u128)]) -> String {
    let first = epochs.partition_point(|(hour, _)| *hour < times.start);
    let changed = epochs[first..].iter().take_while(|(hour, _)| *hour < times.end);
    let mut hash = Sha256::new();
    let mut any = false;
    for (hour, epoch) in changed {
        any = true;
        hash.update(hour.to_le_bytes());
        hash.update(epoch.to_le_bytes());
    }
    if !any {
        return String::new();
    }
    kept::hex(&hash.finalize()[..16])
}

/// The buckets that are kept under the epochs of now, the longest first, and the times between them.
fn choose(shape: String, times: &[Range<i64>], ended: &Ended, kept: &[BucketState]) -> Pieces {
    let valid = |at: i64, length: Length| {
        let first = kept.partition_point(|state| state.bucket_ms < at);
        let of_bucket = kept[first..].iter().take_while(|state| state.bucket_ms == at);
        let is_so = |state: &&BucketState| {
            state.length_ms == length.ms() && state.epochs == epochs_of(at..at + length.ms(), &ended.epochs)
        };
        of_bucket.into_iter().find(is_so).map(|state| state.piece)
    };
    let mut chosen: Vec<(Range<i64>, i64)> = Vec::new();
    let mut rest: Vec<Range<i64>> = Vec::new();
    let leave = |rest: &mut Vec<Range<i64>>, times: Range<i64>| match rest.last_mut() {
        _ if times.is_empty() => {}
        Some(before) if before.end == times.start => before.end = times.end,
        _ => rest.push(times),
    };
    for Range { start, end } in times.iter().cloned() {
        let until = end.min(ended.until_ms);
        let mut at = up(start, HOUR_MS).min(end);
        leave(&mut rest, start..at);
        while at + HOUR_MS <= until && chosen.len() < MOST_PIECES {
            let fits = |length: &Length| at.rem_euclid(length.ms()) == 0 && at + length.ms() <= until;
            let lengths = [Length::Day, Length::Hour].into_iter().filter(fits);
            let found = lengths.into_iter().find_map(|length| Some((length.ms(), valid(at, length)?)));
            let next = at + found.map_or(HOUR_MS, |(length_ms, _)| length_ms);
            match found {
                Some((_, piece)) => chosen.push((at..next, piece)),
                None => leave(&mut rest, at..next),
            }
            at = next;
        }
        leave(&mut rest, at..end);
    }
    if let (Some(last), true) = (rest.last().map(|times| times.end), rest.len() > MOST_TIMES) {
        rest.truncate(MOST_TIMES);
        let from = rest[MOST_TIMES - 1].start;
        rest[MOST_TIMES - 1].end = last;
        chosen.retain(|(times, _)| times.start < from);
    }
    let hull = chosen.first().map_or(0, |(times, _)| times.start)..chosen.last().map_or(0, |(times, _)| times.end);
    let numbers = chosen.into_iter().map(|(_, piece)| piece).collect();
    Pieces { shape, times: hull, numbers, rest }
}

#[cfg(test)]
mod tests;
