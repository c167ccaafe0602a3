use async_trait::async_trait;
use model::{AppId, HOUR_MS, Offset, PartitionId, TenantId};
use sqlx::{Executor, Sqlite, Transaction, query::Query, query_as, query_scalar, sqlite::SqliteArguments};

use super::SqliteMetastore;
use crate::{
    Commit, Ledger, LedgerError, MetaError, PartitionState, Pending, Topic, TouchedHour,
    sql::ledger::{self as sql, stored},
};

#[async_trait]
impl Ledger for SqliteMetastore {
    async fn claim(&self, topic: &Topic, partition: PartitionId, owner: &str) -> Result<PartitionState, MetaError> {
        let claim = query_as(sql::CLAIM)
            .bind(&topic.name)
            .bind(topic.incarnation.cast_signed())
            .bind(i64::from(partition))
            .bind(owner);
        let row: sql::PartitionRow = claim.fetch_one(&self.writer).await?;
        row.try_into()
    }

    async fn begin(
        &self,
        topic: &Topic,
        partition: PartitionId,
        generation: u64,
        pending: Pending,
    ) -> Result<(), LedgerError> {
        if pending.last < pending.first {
            let what = format!("the range {}..={} is empty", pending.first, pending.last);
            return Err(LedgerError::OutOfOrder { partition, what });
        }
        let update = on_partition(sql::BEGIN, topic, partition)
            .bind(stored(generation, partition)?)
            .bind(stored(pending.first, partition)?)
            .bind(stored(pending.last, partition)?)
            .bind(pending.since_ms);
        let mut transaction = self.write().await?;
        if update.execute(&mut *transaction).await?.rows_affected() == 0 {
            let what = format!("the range {}..={} can't begin", pending.first, pending.last);
            return Err(refusal(&mut transaction, topic, partition, generation, &what).await);
        }
        Ok(transaction.commit().await?)
    }

    async fn commit(
        &self,
        topic: &Topic,
        partition: PartitionId,
        generation: u64,
        commit: Commit,
    ) -> Result<(), LedgerError> {
        if let Some(hour) = commit.hours.iter().find(|hour| hour.hour_ms.rem_euclid(HOUR_MS) != 0) {
            let what = format!("{} ms is not the start of an hour", hour.hour_ms);
            return Err(LedgerError::OutOfOrder { partition, what });
        }
        let end = stored(commit.end, partition)?;
        let update = query_scalar(sql::COMMIT)
            .bind(&topic.name)
            .bind(topic.incarnation.cast_signed())
            .bind(i64::from(partition))
            .bind(stored(generation, partition)?)
            .bind(end - 1)
            .bind(end);
        let mut transaction = self.write().await?;
        let Some(frontier_ms) = update.fetch_optional(&mut *transaction).await? else {
            let what = format!("a commit up to {} doesn't end what is pending", commit.end);
            return Err(refusal(&mut transaction, topic, partition, generation, &what).await);
        };
        change_epochs(&mut transaction, commit.hours, frontier_ms).await?;
        let raise = on_partition(sql::RAISE_FRONTIER, topic, partition).bind(commit.frontier_ms);
        raise.execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    async fn advance(
        &self,
        topic: &Topic,
        partition: PartitionId,
        generation: u64,
        committed: Offset,
        frontier_ms: i64,
    ) -> Result<(), LedgerError> {
        let update = on_partition(sql::ADVANCE, topic, partition)
            .bind(stored(generation, partition)?)
            .bind(stored(committed, partition)?)
            .bind(frontier_ms);
        let mut transaction = self.write().await?;
        if update.execute(&mut *transaction).await?.rows_affected() == 0 {
            let what = format!("it is not idle at {committed}");
            return Err(refusal(&mut transaction, topic, partition, generation, &what).await);
        }
        Ok(transaction.commit().await?)
    }

    async fn partitions(&self, topic: &Topic) -> Result<Vec<PartitionState>, MetaError> {
        read_partitions(&self.readers, topic).await
    }

    async fn epochs(
        &self,
        topic: &Topic,
        tenant: &TenantId,
        app: &AppId,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<(Vec<(i64, u128)>, Vec<PartitionState>), MetaError> {
        let mut snapshot = self.snapshot().await?;
        let select = query_as(sql::EPOCHS).bind(tenant.as_str()).bind(app.as_str()).bind(from_ms).bind(to_ms);
        let rows: Vec<(i64, String)> = select.fetch_all(&mut *snapshot).await?;
        let partitions = read_partitions(&mut *snapshot, topic).await?;
        snapshot.commit().await?;
        let epochs = rows.into_iter().map(|(hour_ms, epoch)| Ok((hour_ms, sql::epoch_id(&epoch)?)));
        Ok((epochs.collect::<Result<_, MetaError>>()?, partitions))
    }
}

/// A statement whose first three parameters name the partition.
fn on_partition<'q>(
    text: &'static str,
    topic: &'q Topic,
    partition: PartitionId,
) -> Query<'q, Sqlite, SqliteArguments> {
    sqlx::query(text).bind(&topic.name).bind(topic.incarnation.cast_signed()).bind(i64::from(partition))
}

/// Gives a new epoch to each of the hours that had ended by `frontier_ms`.
async fn change_epochs(
    transaction: &mut Transaction<'_, Sqlite>,
    mut hours: Vec<TouchedHour>,
    frontier_ms: i64,
) -> Result<(), MetaError> {
    hours.retain(|hour| hour.hour_ms.saturating_add(HOUR_MS) <= frontier_ms);
    hours.sort_unstable();
    hours.dedup();
    for hour in hours {
        let change = sqlx::query(sql::CHANGE_EPOCH)
            .bind(hour.tenant.as_str().to_owned())
            .bind(hour.app.as_str().to_owned())
            .bind(hour.hour_ms)
            .bind(sql::new_epoch());
        change.execute(&mut **transaction).await?;
    }
    Ok(())
}

/// Why a conditional write met no row.
async fn refusal(
    transaction: &mut Transaction<'_, Sqlite>,
    topic: &Topic,
    partition: PartitionId,
    held: u64,
    what: &str,
) -> LedgerError {
    let select =
        query_as(sql::PARTITION).bind(&topic.name).bind(topic.incarnation.cast_signed()).bind(i64::from(partition));
    let row: Result<Option<sql::PartitionRow>, _> = select.fetch_optional(&mut **transaction).await;
    let state = row.map_err(MetaError::from).and_then(|row| row.map(PartitionState::try_from).transpose());
    match state {
        Err(error) => error.into(),
        Ok(None) => MetaError::NotFound(format!("partition {partition} of topic {}", topic.name)).into(),
        Ok(Some(state)) if state.generation != held => {
            LedgerError::Fenced { partition, held, current: state.generation }
        }
        Ok(Some(state)) => {
            let pending = match state.pending {
                Some(pending) => format!("{}..={} is pending", pending.first, pending.last),
                None => "nothing is pending".to_owned(),
            };
            let what = format!("{what}: committed is {}, {pending}", state.committed);
            LedgerError::OutOfOrder { partition, what }
        }
    }
}

async fn read_partitions(
    executor: impl Executor<'_, Database = Sqlite>,
    topic: &Topic,
) -> Result<Vec<PartitionState>, MetaError> {
    let select = query_as(sql::PARTITIONS).bind(&topic.name).bind(topic.incarnation.cast_signed());
    let rows: Vec<sql::PartitionRow> = select.fetch_all(executor).await?;
    rows.into_iter().map(PartitionState::try_from).collect()
}
