//! The event log's topic: how many partitions it has, and more of them.

use api::v1::{self, GetTopicRequest, GetTopicResponse, GrowTopicRequest, GrowTopicResponse, topic::State};
use model::Error;
use storage::{Growing, MetaError, Placement};
use tracing::info;

use crate::{
    caller::Caller,
    service::{Admin, Ground, stored},
};

/// How many partitions a log has at most.
const MOST_PARTITIONS: u32 = 1_024;

impl Admin {
    pub(crate) async fn topic(&self, caller: &Caller, _: &GetTopicRequest) -> Result<GetTopicResponse, Error> {
        caller.require_operator()?;
        let ground = self.ground()?;
        let placement = ground.placement().await?;
        Ok(GetTopicResponse { topic: Some(to_wire(ground, &placement).await?) })
    }

    pub(crate) async fn grow_topic(
        &self,
        caller: &Caller,
        request: &GrowTopicRequest,
    ) -> Result<GrowTopicResponse, Error> {
        caller.require_operator()?;
        let ground = self.ground()?;
        let (placement, to) = (ground.placement().await?, request.partitions);
        let from = placement.partitions();
        let wrong = |rule, what: String| Err(Error::invalid("partitions", rule, what));
        if to == 0 {
            return wrong("REQUIRED", format!("must be a multiple of {from}, which the topic has"));
        }
        if to > MOST_PARTITIONS {
            return wrong("OUT_OF_RANGE", format!("must be at most {MOST_PARTITIONS}"));
        }
        match placement.growing {
            Some(Growing { to: other, .. }) if other != to => {
                return wrong("CONFLICT", format!("must be {other}: the topic grows to that already"));
            }
            None if to < from || !to.is_multiple_of(from) => {
                let what = format!("must be a multiple of {from}, which the topic has: it never gets fewer");
                return wrong("OUT_OF_RANGE", what);
            }
            _ => {}
        }
        let acting = self.acting(caller, "AdminService/GrowTopic");
        let placement = match acting.grow(&ground.topic(), to).await {
            // It did so in between: what it is now says it.
            Err(MetaError::Conflict(_)) => ground.placement().await?,
            grown => grown.map_err(stored)?,
        };
        info!(by = caller.key_id(), from, to, "the log is to get more partitions");
        Ok(GrowTopicResponse { topic: Some(to_wire(ground, &placement).await?) })
    }
}

async fn to_wire(ground: &Ground, placement: &Placement) -> Result<v1::Topic, Error> {
    let topic = ground.topic();
    let states = ground.ledger.partitions(&topic).await.map_err(stored)?;
    let committed = |p| states.iter().find(|state| state.partition == p).map_or(0, |state| state.committed);
    let waits = |p: &u32| placement.ancestors(*p).iter().any(|(ancestor, end)| committed(*ancestor) < *end);
    let waiting = (0..placement.partitions()).filter(waits).count() as u32;
    let mut unheard = Vec::new();
    if placement.growing.is_some() {
        let writers = ground.placements.writers(&topic).await.map_err(stored)?;
        unheard.extend(writers.into_iter().filter(|w| w.version < placement.version).map(|w| w.name));
    }
    let state = match placement.growing {
        Some(Growing { paused: true, .. }) => State::Paused,
        Some(_) => State::Growing,
        None if waiting > 0 => State::Draining,
        None => State::Steady,
    };
    Ok(v1::Topic {
        name: topic.name,
        partitions: placement.partitions(),
        state: state.into(),
        growing_to: placement.growing.map_or(0, |growing| growing.to),
        unheard_writers: unheard,
        waiting_partitions: waiting,
    })
}
