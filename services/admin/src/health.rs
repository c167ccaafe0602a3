//! How the house is, for its operators.

use std::time::Duration;

use api::{
    convert::time_to_wire,
    v1::{CallHealth, DependencyHealth, GetHealthRequest, GetHealthResponse, PartitionHealth, ProcessHealth},
};
use futures::future::try_join_all;
use model::Error;
use storage::{PartitionState, Process, ProcessCalls};
use tokio::time::{Instant, timeout};

use crate::{
    caller::Caller,
    service::{Admin, Ground},
};

/// How long each of what the house stands on has for its answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// A process that wasn't heard of for so long is gone.
const GONE_MS: i64 = 60_000;

impl Admin {
    pub(crate) async fn health(&self, caller: &Caller, _: &GetHealthRequest) -> Result<GetHealthResponse, Error> {
        caller.require_operator()?;
        let ground = self.ground()?;
        let now_ms = (self.now_ms)();
        let topic = ground.topic();
        let known = async {
            let states = ground.ledger.partitions(&topic).await.map_err(|error| error.to_string())?;
            let processes = ground.processes.processes(now_ms - GONE_MS).await.map_err(|error| error.to_string())?;
            Ok((states, processes))
        };
        let ping = async { ground.warehouse.ping().await.map_err(|error| error.to_string()) };
        let (known, ends, warehouse) =
            tokio::join!(asked("metastore", known), asked("log", ends(ground)), asked("warehouse", ping));
        let (states, processes) = known.1.unwrap_or_default();
        Ok(GetHealthResponse {
            at: Some(time_to_wire(now_ms)),
            processes: processes.into_iter().map(process).collect(),
            partitions: ends.1.unwrap_or_default().into_iter().map(|(p, end)| partition(p, end, &states)).collect(),
            dependencies: vec![known.0, ends.0, warehouse.0],
        })
    }
}

/// What it answers in good time, and how that went.
async fn asked<T>(name: &str, answer: impl Future<Output = Result<T, String>>) -> (DependencyHealth, Option<T>) {
    let started = Instant::now();
    let answer = timeout(PATIENCE, answer).await;
    let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())));
    let seconds = started.elapsed().as_secs_f64();
    let error = answer.as_ref().err().cloned().unwrap_or_default();
    (DependencyHealth { name: name.to_owned(), answers: answer.is_ok(), seconds, error }, answer.ok())
}

/// The end of each partition.
async fn ends(ground: &Ground) -> Result<Vec<(u32, u64)>, String> {
    let tails = (0..ground.log.partitions()).map(async |p| Ok((p, ground.log.tail(p).await?.end)));
    try_join_all(tails).await.map_err(|error: eventlog::LogError| error.to_string())
}

fn process(process: Process) -> ProcessHealth {
    let Process { name, roles, version, started_at_ms, seen_at_ms, calls } = process;
    let [started_at, seen_at] = [started_at_ms, seen_at_ms].map(|ms| Some(time_to_wire(ms)));
    let calls = calls.into_iter().map(|calls| {
        let ProcessCalls { service, calls, failed, p50_seconds, p99_seconds } = calls;
        CallHealth { service, calls, failed, p50_seconds, p99_seconds }
    });
    ProcessHealth { name, roles, version, started_at, seen_at, calls: calls.collect() }
}

fn partition(partition: u32, end: u64, states: &[PartitionState]) -> PartitionHealth {
    let state = states.iter().find(|state| state.partition == partition);
    PartitionHealth {
        partition,
        end,
        committed: state.map_or(0, |state| state.committed),
        stored_until: state.filter(|state| state.frontier_ms > 0).map(|state| time_to_wire(state.frontier_ms)),
        held: state.is_some_and(|state| state.held),
        owner: state.map(|state| state.owner.clone()).unwrap_or_default(),
    }
}
