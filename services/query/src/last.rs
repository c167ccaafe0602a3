//! Earlier answers, for when the warehouse is away and the caller would rather have an old one.

use std::{sync::Arc, time::Duration};

use api::{convert, v1};
use formula::SealedPlan;
use model::Error;
use prost::Message;
use storage::Cache;

use crate::kept::Question;

const TTL: Duration = Duration::from_secs(24 * 3_600);
/// Answers that are kept, in bytes.
const MOST_BYTES: usize = 256 << 10;

/// The place of the last answer to a question.
pub(crate) struct Last {
    key: String,
    oldest_ms: i64,
}

impl Last {
    /// That of a question in these words: they say which range is meant, the sealed plan whose events. An answer may be as old.
    pub(crate) fn of(plan: &SealedPlan, words: &[u8], max: Duration, now_ms: i64) -> Result<Self, Error> {
        let mut question = Question::of(plan)?;
        question.add_bytes(words);
        let age_ms = i64::try_from(max.as_millis()).unwrap_or(i64::MAX);
        Ok(Self { key: format!("last:{}", question.hex()), oldest_ms: now_ms.saturating_sub(age_ms) })
    }

    /// The last answer, marked as such, if there is one that isn't too old.
    pub(crate) async fn find(&self, cache: &dyn Cache) -> Option<v1::Result> {
        let mut result = v1::Result::decode(cache.get(&self.key).await?).ok()?;
        let info = result.info.as_mut()?;
        let until = info.watermark.as_ref()?.complete_until.as_ref()?;
        if convert::instant(until)? < self.oldest_ms {
            return None;
        }
        (info.stale, info.route, info.cost) = (true, v1::Route::Cache.into(), Some(v1::Cost::default()));
        Some(result)
    }

    /// Keeps an answer, which nobody waits for.
    pub(crate) fn keep(self, answer: &v1::Result, cache: &Arc<dyn Cache>) {
        if answer.encoded_len() <= MOST_BYTES {
            let (cache, bytes) = (Arc::clone(cache), answer.encode_to_vec());
            tokio::spawn(async move { cache.set(&self.key, bytes.into(), TTL).await });
        }
    }
}
