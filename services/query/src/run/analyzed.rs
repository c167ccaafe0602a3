//! How the warehouse works at a statement, in place of what comes of it.

use std::time::Duration;

use formula::{SealedPlan, Statement};
use model::{Error, ErrorCode};
use storage::warehouse::analyze;
use tokio::time::Instant;

use super::{Caller, Engine, Work, statement::place};
use crate::{answer, flight::Frontier};

impl Engine {
    /// How long the warehouse's threads work at a statement of the plan, which runs in its turn for that and reads so many bytes; `None` if it
    /// doesn't tell. What comes after is expected to take as long.
    pub(crate) async fn worked(
        &self,
        plan: &SealedPlan,
        statement: Statement,
        bytes: u64,
        caller: &Caller,
    ) -> Result<Option<Duration>, Error> {
        // The engine can't tell how others worked.
        if self.warehouse.shard_count() > 1 {
            return Ok(None);
        }
        let (fresh, _) = self.freshness.ready(None, &caller.options, None).await?;
        let frontier = Frontier::new(fresh.at, fresh.reached.clone());
        let place = place(plan, answer::route(statement.route()));
        let work = self.work_without_states(plan, None, caller)?;
        let work = Work { statement, until: caller.deadline, is_analyzed: true, ..work };
        let mut running = self.run(work, fresh, &frontier, Instant::now()).await?;
        let mut all = Some(Duration::ZERO);
        loop {
            match running.next().await {
                Ok(Some(told)) => all = all.zip(analyze::worked(&told)).map(|(all, more)| all + more),
                Ok(None) => {
                    if let Some(worked) = all {
                        self.estimates.learn_work(place, bytes, worked);
                    }
                    return Ok(all);
                }
                // An older server doesn't know the statement.
                Err(error) if error.code == ErrorCode::Internal => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}
