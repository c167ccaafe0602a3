use async_trait::async_trait;
use serde_json::json;

use super::{SqlMetastore, ledger::on_partition};
use crate::{
    Change, MetaError, Replay, ReplayClock, ReplayProgress, ReplayRequest, ReplayState, Replays, Topic,
    sql::{Transaction, query, replays as sql, taken},
};

const JSON: &str = "numbers and plain names";

#[async_trait]
impl Replays for SqlMetastore {
    async fn request_replay(&self, request: ReplayRequest) -> Result<Replay, MetaError> {
        let progress = ReplayProgress::default();
        let mut changing = self.changing(None).await?;
        changing.lock("replays".to_owned()).await?;
        if let Some(open) = changing.fetch_optional::<sql::ReplayRow>(query(sql::OPEN)).await? {
            let open = Replay::try_from(open)?;
            return Err(MetaError::AlreadyExists(format!("replay {}, which is not finished,", open.request.id)));
        }
        let insert = query(sql::INSERT)
            .bind(&request.id)
            .bind(&request.topic.name)
            .bind(request.topic.incarnation.cast_signed())
            .bind(serde_json::to_string(&request.ranges).expect(JSON))
            .bind(request.requested_at_ms)
            .bind(&request.requested_by)
            .bind(serde_json::to_string(&progress).expect(JSON));
        let inserted = changing.execute(insert).await;
        inserted.map_err(|e| taken(e, || MetaError::AlreadyExists(format!("replay {}", request.id))))?;
        let after = json!({"ranges": request.ranges});
        changing.commit(Change { object: named(&request.id), after, ..Change::default() }).await?;
        let (state, attempt) = (ReplayState::Waiting, 0);
        Ok(Replay { request, state, attempt, to_cancel: false, finished_at_ms: None, progress })
    }

    async fn replay(&self, id: &str) -> Result<Option<Replay>, MetaError> {
        let row: Option<sql::ReplayRow> = self.database.fetch_optional(query(sql::ONE).bind(id)).await?;
        row.map(Replay::try_from).transpose()
    }

    async fn replays(&self, before: Option<(i64, &str)>, most: u32) -> Result<Vec<Replay>, MetaError> {
        let (time_ms, id) = before.unwrap_or((i64::MAX, ""));
        let select = query(sql::PAGE).bind(time_ms).bind(id).bind(i64::from(most));
        let rows: Vec<sql::ReplayRow> = self.database.fetch_all(select).await?;
        rows.into_iter().map(Replay::try_from).collect()
    }

    async fn open_replay(&self) -> Result<Option<Replay>, MetaError> {
        let row: Option<sql::ReplayRow> = self.database.fetch_optional(query(sql::OPEN)).await?;
        row.map(Replay::try_from).transpose()
    }

    async fn begin_replay(&self, id: &str) -> Result<Replay, MetaError> {
        let mut transaction = self.database.write().await?;
        let row: Option<sql::ReplayRow> = transaction.fetch_optional(query(sql::BEGIN).bind(id)).await?;
        transaction.commit().await?;
        row.ok_or_else(|| fenced(id))?.try_into()
    }

    async fn note_replay(&self, id: &str, attempt: u64, progress: &ReplayProgress) -> Result<(), MetaError> {
        let progress = serde_json::to_string(progress).expect(JSON);
        let note = query(sql::NOTE).bind(id).bind(attempt.cast_signed()).bind(progress);
        match self.database.execute(note).await? {
            0 => Err(fenced(id)),
            _ => Ok(()),
        }
    }

    async fn hold(&self, id: &str, attempt: u64, partitions: u32) -> Result<(), MetaError> {
        let mut transaction = self.database.write().await?;
        let topic = set_state(&mut transaction, id, attempt, ReplayState::Swapping).await?;
        for partition in 0..partitions {
            transaction.execute(on_partition(sql::HOLD, &topic, partition).bind(id)).await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn let_go(&self, id: &str, attempt: u64) -> Result<(), MetaError> {
        let mut transaction = self.database.write().await?;
        set_state(&mut transaction, id, attempt, ReplayState::Building).await?;
        transaction.execute(query(sql::LET_GO).bind(id)).await?;
        Ok(transaction.commit().await?)
    }

    async fn finish_replay(
        &self,
        id: &str,
        attempt: u64,
        state: ReplayState,
        progress: &ReplayProgress,
        now_ms: i64,
    ) -> Result<(), MetaError> {
        let mut transaction = self.database.write().await?;
        let finish = query(sql::FINISH)
            .bind(id)
            .bind(attempt.cast_signed())
            .bind(state.name())
            .bind(serde_json::to_string(progress).expect(JSON))
            .bind(now_ms);
        if transaction.execute(finish).await? == 0 {
            return Err(fenced(id));
        }
        transaction.execute(query(sql::LET_GO).bind(id)).await?;
        Ok(transaction.commit().await?)
    }

    async fn cancel_replay(&self, id: &str) -> Result<Replay, MetaError> {
        let mut changing = self.changing(None).await?;
        let before: Option<sql::ReplayRow> = changing.fetch_optional(query(sql::ONE).bind(id)).await?;
        let after: Option<sql::ReplayRow> = changing.fetch_optional(query(sql::CANCEL).bind(id)).await?;
        let (Some(before), Some(after)) = (before, after) else { return Err(fenced(id)) };
        let (before, after) = (Replay::try_from(before)?, Replay::try_from(after)?);
        let shown = |replay: &Replay| json!({"to_cancel": replay.to_cancel});
        let (object, app) = (named(id), String::new());
        changing.commit(Change { object, app, before: shown(&before), after: shown(&after) }).await?;
        Ok(after)
    }

    async fn replay_clock(&self) -> Result<ReplayClock, MetaError> {
        let clock: Option<(i64, i64)> = self.database.fetch_optional(query(sql::CLOCK)).await?;
        let (attempts, running) = clock.ok_or(sqlx::Error::RowNotFound)?;
        Ok(ReplayClock { attempts: attempts.unsigned_abs(), running: running > 0 })
    }
}

/// The replay's log.
async fn set_state(
    transaction: &mut Transaction,
    id: &str,
    attempt: u64,
    state: ReplayState,
) -> Result<Topic, MetaError> {
    let set = query(sql::SET_STATE).bind(id).bind(attempt.cast_signed()).bind(state.name());
    let row: Option<(String, i64)> = transaction.fetch_optional(set).await?;
    let (name, incarnation) = row.ok_or_else(|| fenced(id))?;
    Ok(Topic { name, incarnation: incarnation.cast_unsigned() })
}

fn named(id: &str) -> String {
    format!("replays/{id}")
}

/// It is finished, or another attempt was begun.
fn fenced(id: &str) -> MetaError {
    MetaError::Conflict(format!("replay {id}"))
}
