//! Answers put together from what was answered before.
//!
//! A plan that groups by time is cut into whole buckets of hours that have ended, and what is left: open buckets, and those that
//! the range cuts. Any other is one part. The rows of a part are kept in the cache under the question without its range, the part's times, and the
//! epochs of its hours. A commit that touches an ended hour gives it a new epoch, so what was kept before is not asked for
//! any more: the cache can make an answer slow, never wrong. And a range that moves on by a minute recomputes its two ends alone.
//!
//! Hours that have not ended have no such epochs. A part with one is kept under the mark of its app, which any commit for it takes
//! away: what is asked again is computed again only if something came.

use std::{fmt::Write, iter, ops::Range, sync::Arc, time::Duration};

use api::v1;
use formula::{Buckets, Param, SealedPlan, Statement};
use futures::{StreamExt, stream};
use model::{Error, HOUR_MS};
use prost::Message;
use sha2::{Digest, Sha256};
use storage::Cache;
use tracing::debug;

use crate::{elsewhere::Claim, freshness::Ended};

/// Of one question. More are not worth asking the cache for.
const MOST_BUCKETS: usize = 1_000;
/// What is asked for again more rarely may as well be computed.
const TTL: Duration = Duration::from_secs(24 * 3_600);
/// The same for what a range cuts or has not ended: a range by the clock cuts otherwise a moment later.
const TTL_OF_ENDS: Duration = Duration::from_secs(60);
/// Rows of one part that are kept, in bytes; less of what is perhaps asked for once.
const MOST_BYTES: usize = 256 << 10;
const MOST_BYTES_OF_ENDS: usize = 64 << 10;
/// Times that one query asks for; the last takes in all that follow.
const MOST_TIMES: usize = 16;
/// How much of the cache is asked at once.
const AT_ONCE: usize = 8;

/// A question, and what the cache knows of its answer.
pub(crate) struct Kept {
    buckets: Buckets,
    /// All of the range, from the earliest on, without gaps. A bucket lies in one part.
    parts: Vec<Part>,
    /// Whether more could be kept if the app had a mark.
    pub(crate) wants_mark: bool,
}

struct Part {
    times: Range<i64>,
    /// Whether it is one whole bucket.
    is_whole: bool,
    /// `None` if it isn't to be kept.
    key: Option<String>,
    rows: Option<Vec<v1::Row>>,
}

impl Kept {
    /// Looks into the cache; `None` if nothing of the answer would be there. Errors are the compiler's.
    pub(crate) async fn find(plan: &SealedPlan, ended: &Ended, cache: &dyn Cache) -> Result<Option<Self>, Error> {
        let buckets = plan.buckets();
        let Some(whole) = buckets.whole(ended.until_ms, MOST_BUCKETS) else { return Ok(None) };
        let question = Question::of(plan)?;
        let parts = parts(&buckets.range, whole).map(|(times, is_whole)| {
            let key = key(question.clone(), &times, ended);
            async move {
                let rows = match &key {
                    Some(key) => rows(key, cache).await,
                    None => None,
                };
                Part { times, is_whole, key, rows }
            }
        });
        let parts: Vec<_> = stream::iter(parts).buffered(AT_ONCE).collect().await;
        let wants_mark = parts.iter().any(|part| part.key.is_none());
        Ok(Some(Self { buckets, parts, wants_mark }))
    }

    /// Whether the cache had any of it.
    pub(crate) fn has_any(&self) -> bool {
        self.parts.iter().any(|part| part.rows.is_some())
    }

    /// Whether any of it is to be kept.
    pub(crate) fn keeps_any(&self) -> bool {
        self.parts.iter().any(|part| part.key.is_some())
    }

    /// The keys of what is left to compute: what is kept of it depends on these.
    pub(crate) fn missing_keys(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter(|part| part.rows.is_none()).filter_map(|part| part.key.as_deref())
    }

    /// The keys of all that is left to compute; none if some of it isn't to be kept.
    pub(crate) fn missing_as_kept(&self) -> Vec<String> {
        let missing = self.parts.iter().filter(|part| part.rows.is_none()).map(|part| part.key.clone());
        missing.collect::<Option<_>>().unwrap_or_default()
    }

    /// The event times that are left to compute; none if all of the answer is here.
    pub(crate) fn missing(&self) -> Vec<Range<i64>> {
        let mut missing: Vec<Range<i64>> = Vec::new();
        for Part { times, .. } in self.parts.iter().filter(|part| part.rows.is_none()) {
            let is_full = missing.len() == MOST_TIMES;
            match missing.last_mut() {
                Some(before) if before.end == times.start || is_full => before.end = times.end,
                _ => missing.push(times.clone()),
            }
        }
        missing
    }

    /// The whole answer, given all rows of the missing times in the engine's order. They are kept if `keep` says so, which nobody
    /// waits for but who waits for the end of the claim.
    pub(crate) fn put_together(
        self,
        computed: Vec<v1::Row>,
        keep: Option<Option<Claim>>,
        cache: &Arc<dyn Cache>,
    ) -> Vec<v1::Row> {
        let Self { buckets, parts, .. } = self;
        let time = |row: &v1::Row| buckets.column.map_or(Some(buckets.range.start), |column| time(row, column));
        let mut rows: Vec<(i64, v1::Row)> = Vec::with_capacity(computed.len());
        let mut sound = true;
        let mut fresh: Vec<v1::RowBatch> = parts.iter().map(|_| v1::RowBatch::default()).collect();
        for row in computed {
            let Some(time) = time(&row) else {
                sound = false; // no bucket of ours
                rows.push((i64::MIN, row));
                continue;
            };
            // The bucket that the range's start cuts begins before it.
            let at = parts.partition_point(|part| part.times.end <= time);
            match parts.get(at) {
                // Computed again between others that were missing.
                Some(part) if part.rows.is_some() => continue,
                Some(part) => {
                    sound &= !part.is_whole || buckets.column.is_none() || part.times.start == time;
                    fresh[at].rows.push(row.clone());
                }
                None => sound = false,
            }
            rows.push((time, row));
        }
        let mut news = Vec::new();
        for (part, fresh) in parts.into_iter().zip(fresh) {
            match (part.rows, part.key) {
                (Some(known), _) => rows.extend(known.into_iter().map(|row| (time(&row).unwrap_or(i64::MIN), row))),
                (None, Some(key)) => {
                    let (most, ttl) = if part.is_whole { (MOST_BYTES, TTL) } else { (MOST_BYTES_OF_ENDS, TTL_OF_ENDS) };
                    if sound && fresh.encoded_len() <= most {
                        news.push((key, fresh, ttl));
                    }
                }
                (None, None) => {}
            }
        }
        if let Some(claim) = keep {
            put(news, Arc::clone(cache), claim);
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

/// The parts of a range around its whole buckets, and whether each is one.
fn parts(range: &Range<i64>, whole: Vec<Range<i64>>) -> impl Iterator<Item = (Range<i64>, bool)> + use<> {
    let Range { start, end } = *range;
    let first = whole.first().map_or(start, |bucket| bucket.start);
    let last = whole.last().map_or(start, |bucket| bucket.end);
    let whole = whole.into_iter().map(|bucket| (bucket, true));
    let all = iter::once((start..first, false)).chain(whole).chain(iter::once((last..end, false)));
    all.filter(|(times, _)| !times.is_empty())
}

fn put(news: Vec<(String, v1::RowBatch, Duration)>, cache: Arc<dyn Cache>, claim: Option<Claim>) {
    if news.is_empty() {
        return;
    }
    tokio::spawn(async move {
        let set = |(key, rows, ttl): (String, v1::RowBatch, Duration)| {
            let cache = &cache;
            async move { keep(&key, rows, ttl, &**cache).await }
        };
        stream::iter(news).for_each_concurrent(AT_ONCE, set).await;
        drop(claim);
    });
}

/// Keeps the rows of a part.
pub(crate) async fn keep(key: &str, rows: v1::RowBatch, ttl: Duration, cache: &dyn Cache) {
    cache.set(key, rows.encode_to_vec().into(), ttl).await;
}

/// The rows of a part, if they are kept.
async fn rows(key: &str, cache: &dyn Cache) -> Option<Vec<v1::Row>> {
    Some(v1::RowBatch::decode(cache.get(key).await?).ok()?.rows)
}

/// Those of several parts, if all are.
pub(crate) async fn rows_of(keys: &[String], cache: &dyn Cache) -> Option<Vec<v1::Row>> {
    let (first, others) = keys.split_first()?;
    let mut all = rows(first, cache).await?; // mostly there is none
    let others: Vec<_> = others.iter().map(|key| rows(key, cache)).collect();
    let mut others = stream::iter(others).buffered(AT_ONCE);
    while let Some(part) = others.next().await {
        all.extend(part?);
    }
    Some(all)
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

    pub(crate) fn of_text(text: &str, params: &[Param]) -> Self {
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
        hex(&self.digest())
    }
}

/// As text.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Of the question, for these times, as their hours are now; `None` if one of them hasn't ended and the app has no mark.
fn key(mut question: Question, times: &Range<i64>, ended: &Ended) -> Option<String> {
    let hash = &mut question.0;
    hash.update(times.start.to_le_bytes());
    hash.update(times.end.to_le_bytes());
    if times.end > ended.until_ms {
        hash.update(ended.mark?.to_le_bytes());
    }
    let first = ended.epochs.partition_point(|(hour, _)| hour + HOUR_MS <= times.start);
    for (hour, epoch) in ended.epochs[first..].iter().take_while(|(hour, _)| *hour < times.end) {
        hash.update(hour.to_le_bytes());
        hash.update(epoch.to_le_bytes());
    }
    Some(format!("rows:{}", question.hex()))
}

fn time(row: &v1::Row, column: usize) -> Option<i64> {
    match row.values.get(column)?.kind.as_ref()? {
        v1::value::Kind::Time(time) => api::convert::time_from_wire("", time).ok(),
        _ => None,
    }
}
