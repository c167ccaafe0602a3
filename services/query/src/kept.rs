//! Answers put together from what was answered before.
//!
//! A plan that groups by time is cut into whole buckets of hours that have ended, and what is left: open buckets, and those that
//! the range cuts. The rows of a whole bucket are kept in the cache under the question without its range, the bucket, and the
//! epochs of its hours; likewise an answer that has no buckets, if its whole range has ended. A commit that touches an ended hour
//! gives it a new epoch, so what was kept before is not asked for any more: the cache can make an answer slow, never wrong. And a
//! range that moves on by a minute recomputes its two ends alone.

use std::{iter, ops::Range, sync::Arc, time::Duration};

use api::v1;
use formula::{Buckets, Param, SealedPlan, Statement};
use futures::{StreamExt, stream};
use model::{Error, HOUR_MS};
use prost::Message;
use sha2::{Digest, Sha256};
use storage::Cache;
use tracing::debug;

use crate::freshness::Ended;

/// Of one question. More are not worth asking the cache for.
const MOST_BUCKETS: usize = 1_000;
/// What is asked for again more rarely may as well be computed.
const TTL: Duration = Duration::from_secs(24 * 3_600);
/// Rows of one bucket that are kept, in bytes.
const MOST_BYTES: usize = 256 << 10;
/// Times that one query asks for; the last takes in all that follow.
const MOST_TIMES: usize = 16;
/// How much of the cache is asked at once.
const AT_ONCE: usize = 8;

/// A question, and what the cache knows of its answer.
pub(crate) struct Kept {
    buckets: Buckets,
    /// Whole buckets of ended hours, from the earliest on, without gaps.
    whole: Vec<Bucket>,
}

struct Bucket {
    times: Range<i64>,
    key: String,
    rows: Option<Vec<v1::Row>>,
}

impl Kept {
    /// Looks into the cache; `None` if the plan has no whole bucket of ended hours. Errors are the compiler's.
    pub(crate) async fn find(plan: &SealedPlan, ended: &Ended, cache: &dyn Cache) -> Result<Option<Self>, Error> {
        let buckets = plan.buckets();
        let Some(whole) = buckets.whole(ended.until_ms, MOST_BUCKETS).filter(|whole| !whole.is_empty()) else {
            return Ok(None);
        };
        let question = Question::of(plan)?;
        let whole = stream::iter(whole).map(|times| {
            let key = key(question.clone(), &times, &ended.epochs);
            async move {
                let rows = cache.get(&key).await.and_then(|bytes| v1::RowBatch::decode(bytes).ok());
                Bucket { times, key, rows: rows.map(|batch| batch.rows) }
            }
        });
        let whole = whole.buffered(AT_ONCE).collect().await;
        Ok(Some(Self { buckets, whole }))
    }

    /// Whether the cache had any of it.
    pub(crate) fn has_any(&self) -> bool {
        self.whole.iter().any(|bucket| bucket.rows.is_some())
    }

    /// The keys of whole buckets that are left to compute: what is kept of their rows depends on these.
    pub(crate) fn missing_keys(&self) -> impl Iterator<Item = &str> {
        self.whole.iter().filter(|bucket| bucket.rows.is_none()).map(|bucket| bucket.key.as_str())
    }

    /// The event times that are left to compute; none if all of the answer is here.
    pub(crate) fn missing(&self) -> Vec<Range<i64>> {
        let Range { start, end } = self.buckets.range;
        let (first, last) = match (self.whole.first(), self.whole.last()) {
            (Some(first), Some(last)) => (first.times.start, last.times.end),
            _ => (start, start), // all of it is left
        };
        let unknown = self.whole.iter().filter(|bucket| bucket.rows.is_none()).map(|bucket| bucket.times.clone());
        let mut missing: Vec<Range<i64>> = Vec::new();
        for times in iter::once(start..first).chain(unknown).chain(iter::once(last..end)) {
            let is_full = missing.len() == MOST_TIMES;
            match missing.last_mut() {
                _ if times.is_empty() => {}
                Some(before) if before.end == times.start || is_full => before.end = times.end,
                _ => missing.push(times),
            }
        }
        missing
    }

    /// The whole answer, given all rows of the missing times in the engine's order. They are kept if `keep` says so, which nobody
    /// waits for.
    pub(crate) fn put_together(self, computed: Vec<v1::Row>, keep: bool, cache: &Arc<dyn Cache>) -> Vec<v1::Row> {
        let Self { buckets, whole } = self;
        let mut rows: Vec<(i64, v1::Row)> = Vec::with_capacity(computed.len());
        let mut sound = true;
        let mut fresh: Vec<v1::RowBatch> = whole.iter().map(|_| v1::RowBatch::default()).collect();
        for row in computed {
            let Some(time) = buckets.column.map_or(Some(buckets.range.start), |column| time(&row, column)) else {
                sound = false; // no bucket of ours
                rows.push((i64::MIN, row));
                continue;
            };
            let at = whole.partition_point(|bucket| bucket.times.end <= time);
            match whole.get(at).filter(|bucket| bucket.times.contains(&time)) {
                // Computed again between others that were missing.
                Some(bucket) if bucket.rows.is_some() => continue,
                Some(bucket) => {
                    sound &= bucket.times.start == time;
                    fresh[at].rows.push(row.clone());
                }
                None => {}
            }
            rows.push((time, row));
        }
        let mut news = Vec::new();
        for (bucket, fresh) in whole.into_iter().zip(fresh) {
            match bucket.rows {
                Some(known) => rows.extend(known.into_iter().map(|row| (bucket.times.start, row))),
                None if sound && fresh.encoded_len() <= MOST_BYTES => news.push((bucket.key, fresh)),
                None => {}
            }
        }
        if keep {
            put(news, Arc::clone(cache));
        }
        if !sound {
            debug!("an answer has rows in buckets that were not expected; nothing of it is kept");
        }
        // Within a bucket the rows stay in the engine's order.
        match buckets.descending {
            Some(true) => rows.sort_by_key(|(time, _)| std::cmp::Reverse(*time)),
            Some(false) => rows.sort_by_key(|(time, _)| *time),
            None => {}
        }
        rows.into_iter().map(|(_, row)| row).collect()
    }
}

fn put(news: Vec<(String, v1::RowBatch)>, cache: Arc<dyn Cache>) {
    if news.is_empty() {
        return;
    }
    tokio::spawn(async move {
        let set = |(key, rows): (String, v1::RowBatch)| {
            let cache = &cache;
            async move { cache.set(&key, rows.encode_to_vec().into(), TTL).await }
        };
        stream::iter(news).for_each_concurrent(AT_ONCE, set).await;
    });
}

/// A hash of a question, and of what else is to tell it from others.
#[derive(Clone)]
pub(crate) struct Question(Sha256);

impl Question {
    /// That of a plan, whatever its range.
    pub(crate) fn of(plan: &SealedPlan) -> Result<Self, Error> {
        let (text, params) = plan.over(&[]).spelled()?;
        Ok(Self::of_text(&text, &params))
    }

    /// That of all that a statement says.
    pub(crate) fn of_statement(statement: &Statement) -> Self {
        Self::of_text(statement.text(), statement.params())
    }

    fn of_text(text: &str, params: &[Param]) -> Self {
        let mut question = Self(Sha256::new());
        question.add_bytes(text.as_bytes());
        for param in params {
            question.add_bytes(param.name.as_bytes());
            question.add_bytes(param.value.as_bytes());
        }
        question
    }

    pub(crate) fn add_bytes(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    pub(crate) fn digest(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    pub(crate) fn hex(self) -> String {
        self.digest().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Of the question, for one bucket, as its hours are now.
fn key(mut question: Question, times: &Range<i64>, epochs: &[(i64, u128)]) -> String {
    let hash = &mut question.0;
    hash.update(times.start.to_le_bytes());
    hash.update(times.end.to_le_bytes());
    let first = epochs.partition_point(|(hour, _)| hour + HOUR_MS <= times.start);
    for (hour, epoch) in epochs[first..].iter().take_while(|(hour, _)| *hour < times.end) {
        hash.update(hour.to_le_bytes());
        hash.update(epoch.to_le_bytes());
    }
    format!("rows:{}", question.hex())
}

fn time(row: &v1::Row, column: usize) -> Option<i64> {
    match row.values.get(column)?.kind.as_ref()? {
        v1::value::Kind::Time(time) => api::convert::time_from_wire("", time).ok(),
        _ => None,
    }
}
