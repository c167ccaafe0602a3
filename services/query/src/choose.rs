//! Which way a question would be answered, why, and why not the others: for people.

use std::time::Duration;

use api::v1;
use formula::{Buckets, Route, SealedPlan, Statement};
use model::Error;
use storage::warehouse::ReadCost;

use crate::{
    answer,
    kept::Kept,
    run::{Caller, Engine, range},
    states::{Standing, Without},
};

/// How a question would be answered now.
pub(crate) struct Chosen {
    /// What the warehouse would be asked, were nothing cached.
    pub(crate) statement: Statement,
    pub(crate) route: v1::Route,
    pub(crate) reason: String,
    pub(crate) estimated: ReadCost,
    /// How long the warehouse's threads would work.
    pub(crate) estimated_work: Duration,
}

impl Engine {
    /// The way that the question would be answered; nothing is run for it, and it doesn't count as asked.
    pub(crate) async fn choose(&self, plan: &SealedPlan, caller: &Caller) -> Result<Chosen, Error> {
        let all = [range(plan)];
        let ended = self.ended(plan).await;
        let found = match (&ended, plan.mergeable()) {
            (_, Err(why)) => Err(Without::Unmergeable(why)),
            _ if !caller.allows(v1::Route::States) => Err(Without::Unwanted),
            (None, Ok(())) => Err(Without::Unknown),
            (Some(ended), Ok(())) => self.states.find(plan, &all, ended, None).await?,
        };
        let kept = match &ended {
            Some(ended) if caller.allows(v1::Route::Cache) => {
                Kept::find(plan, ended, &*self.cache).await?.filter(Kept::has_any)
            }
            _ => None,
        };
        let cache = match (&kept, plan.buckets()) {
            (Some(kept), _) if kept.missing().is_empty() => "cache: it has the whole answer".to_owned(),
            (Some(_), _) => "cache: it has some of the buckets, and the others are computed".to_owned(),
            _ if !caller.allows(v1::Route::Cache) => {
                "not from the cache: the question's options leave it out".to_owned()
            }
            (None, buckets) => without_cache(&buckets).to_owned(),
        };
        let (statement, states, times) = match found {
            Ok(found) => {
                let states = found.pieces.numbers.len();
                let why = format!(
                    "states: those of {states} whole UTC hours and days are kept; the events of what is left are read"
                );
                (plan.put_together(&found.pieces)?, why, found.pieces.rest)
            }
            Err(without) => (plan.compile()?, format!("not from states, since {without}"), all.to_vec()),
        };
        let table = match statement.route() {
            Route::States => format!("not from the events alone, nor from daily_users: {}", plan.route()),
            route => route.to_string(),
        };
        let own = answer::route(statement.route());
        let route = if kept.is_some() { v1::Route::Cache } else { own };
        let mut reasons = match route {
            v1::Route::Cache => vec![cache, states, table],
            v1::Route::States => vec![states, cache, table],
            _ => vec![table, cache, states],
        };
        reasons.retain(|reason| !reason.is_empty());
        let (estimated, estimated_work) = self.expected(plan, own, &times);
        Ok(Chosen { statement, route, reason: reasons.join("; "), estimated, estimated_work })
    }
}

fn without_cache(buckets: &Buckets) -> &'static str {
    match buckets.column {
        _ if buckets.range.start == i64::MIN => {
            "not from the cache, since the range has no beginning, or what is known of users is asked for"
        }
        Some(_) => {
            "not from the cache, which has none of its buckets: they come from there once they were computed, those of hours that \
             have not ended as long as nothing new comes for the app"
        }
        None => {
            "not from the cache: it has an answer if it was asked before, and if since then nothing new came into its hours, or for the app \
             while they have not ended; by buckets only what groups by time, without DISTINCT and LIMIT, ordered by time first"
        }
    }
}

impl std::fmt::Display for Without {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unmergeable(why) => why.fmt(f),
            Self::Unwanted => f.write_str("the question's options leave them out"),
            Self::Short => f.write_str("the range has fewer than six whole UTC hours that have ended"),
            Self::Old => f.write_str("the range lies more than 400 days back"),
            Self::Unknown => f.write_str("it can't be known now which are kept"),
            Self::Nothing(Standing::Wanted) => f.write_str("they are still to be computed"),
            Self::Nothing(Standing::Rare(times)) => {
                write!(
                    f,
                    "the question was asked {times} times in ten minutes: they are kept from the third time on, or if it is to be materialized"
                )
            }
            Self::Nothing(Standing::Full(shapes)) => write!(f, "the tenant has those of {shapes} questions already"),
            Self::Nothing(Standing::TooManyGroups) => {
                f.write_str("an hour or day has too many groups, or too large ones")
            }
        }
    }
}
