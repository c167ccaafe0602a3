use std::collections::HashSet;

use async_trait::async_trait;
use model::{AppId, DAY_MS, HOUR_MS, Incarnation, Offset, PartitionId, TenantId};

use super::SqlMetastore;
use crate::{
    Commit, Epochs, ExpiringDay, Ledger, LedgerError, MetaError, PartitionState, Pending, Reached, Topic, TouchedHour,
    sql::{
        Statement, Transaction,
        ledger::{self as sql, stored},
        query,
    },
};

#[async_trait]
impl Ledger for SqlMetastore {
    async fn incarnation(&self, topic: &str, identity: &str, now_ms: i64) -> Result<Incarnation, MetaError> {
        let select = || query(sql::LIFE).bind(topic).bind(identity);
        if let Some((known,)) = self.database.fetch_optional::<(i64,)>(select()).await? {
            return Ok(known.cast_unsigned());
        }
        let mut transaction = self.database.write().await?;
        transaction.lock(format!("lives of {topic}")).await?;
        if let Some((known,)) = transaction.fetch_optional::<(i64,)>(select()).await? {
            return Ok(known.cast_unsigned());
        }
        let last: Option<(Option<i64>,)> = transaction.fetch_optional(query(sql::LAST_LIFE).bind(topic)).await?;
        let next = last.and_then(|(last,)| last).map_or(0, |last| last.saturating_add(1)).max(now_ms).max(0);
        transaction.execute(query(sql::INSERT_LIFE).bind(topic).bind(identity).bind(next)).await?;
        transaction.commit().await?;
        Ok(next.cast_unsigned())
    }

    async fn claim(&self, topic: &Topic, partition: PartitionId, owner: &str) -> Result<PartitionState, MetaError> {
        let mut transaction = self.database.write().await?;
        let claim = on_partition(sql::CLAIM, topic, partition).bind(owner);
        let row: Option<sql::PartitionRow> = transaction.fetch_optional(claim).await?;
        transaction.commit().await?;
        row.ok_or(sqlx::Error::RowNotFound)?.try_into()
    }

    async fn place(
        &self,
        topic: &Topic,
        partition: PartitionId,
        generation: u64,
        shard: u32,
    ) -> Result<(), LedgerError> {
        let update = on_partition(sql::PLACE, topic, partition);
        let update = update.bind(stored(generation, partition)?).bind(i64::from(shard));
        let mut transaction = self.database.write().await?;
        if transaction.execute(update).await? == 0 {
            let what = format!("its rows can't go to shard {shard}");
            return Err(refusal(&mut transaction, topic, partition, generation, None, &what).await);
        }
        Ok(transaction.commit().await?)
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
        let mut transaction = self.database.write().await?;
        if transaction.execute(update).await? == 0 {
            let what = format!("the range {}..={} can't begin", pending.first, pending.last);
            return Err(refusal(&mut transaction, topic, partition, generation, Some(pending.first), &what).await);
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
        let update =
            on_partition(sql::COMMIT, topic, partition).bind(stored(generation, partition)?).bind(end - 1).bind(end);
        let mut transaction = self.database.write().await?;
        let Some((frontier_ms,)) = transaction.fetch_optional(update).await? else {
            let what = format!("a commit up to {} doesn't end what is pending", commit.end);
            return Err(refusal(&mut transaction, topic, partition, generation, None, &what).await);
        };
        unmark(&mut transaction, &commit).await?;
        let ended_by = if frontier_ms == 0 { i64::MAX } else { frontier_ms };
        change_epochs(&mut transaction, commit.hours, ended_by).await?;
        let raise = on_partition(sql::RAISE_FRONTIER, topic, partition).bind(commit.frontier_ms);
        transaction.execute(raise).await?;
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
        let mut transaction = self.database.write().await?;
        if transaction.execute(update).await? == 0 {
            let what = format!("it is not idle at {committed}");
            return Err(refusal(&mut transaction, topic, partition, generation, None, &what).await);
        }
        Ok(transaction.commit().await?)
    }

    async fn change_epochs(&self, hours: Vec<TouchedHour>) -> Result<(), MetaError> {
        let mut transaction = self.database.write().await?;
        change_epochs(&mut transaction, hours, i64::MAX).await?;
        Ok(transaction.commit().await?)
    }

    async fn partitions(&self, topic: &Topic) -> Result<Vec<PartitionState>, MetaError> {
        states(self.database.fetch_all(all_partitions(topic)).await?)
    }

    async fn reached(&self, topic: &Topic) -> Result<Vec<Reached>, MetaError> {
        let select = query(sql::REACHED).bind(&topic.name).bind(topic.incarnation.cast_signed());
        let list: Option<(Option<String>,)> = self.database.fetch_optional(select).await?;
        sql::reached(list.and_then(|(list,)| list).as_deref())
    }

    async fn epochs(
        &self,
        topic: &Topic,
        tenant: &TenantId,
        app: &AppId,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Epochs, MetaError> {
        let select = query(sql::EPOCHS).bind(&topic.name).bind(topic.incarnation.cast_signed());
        let select = select.bind(tenant.as_str()).bind(app.as_str()).bind(from_ms).bind(to_ms);
        type Lists = (Option<String>, Option<String>, Option<String>, Option<i64>);
        let lists: Option<Lists> = self.database.fetch_optional(select).await?;
        let (reached, hours, mark, any_piece) = lists.unwrap_or_default();
        Ok(Epochs {
            hours: sql::hours(hours.as_deref())?,
            mark: mark.as_deref().map(sql::epoch_id).transpose()?,
            reached: sql::reached(reached.as_deref())?,
            has_states: any_piece.is_some(),
        })
    }

    async fn mark(&self, tenant: &TenantId, app: &AppId, now_ms: i64) -> Result<(), MetaError> {
        let mark = query(sql::MARK).bind(tenant.as_str()).bind(app.as_str()).bind(sql::new_epoch());
        self.database.execute(mark.bind(now_ms)).await?;
        Ok(())
    }

    async fn expire(&self, days: &[ExpiringDay]) -> Result<(), MetaError> {
        let mut transaction = self.database.write().await?;
        for day in in_order(days) {
            let (tenant, app) = (day.tenant.as_str(), day.app.as_str());
            let raise = query(sql::RAISE_EXPIRED).bind(tenant).bind(app).bind(day.day_ms.saturating_add(DAY_MS));
            transaction.execute(raise).await?;
            transaction.execute(query(sql::INSERT_EXPIRING).bind(day.day_ms).bind(tenant).bind(app)).await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn expiring(&self) -> Result<Vec<ExpiringDay>, MetaError> {
        let rows: Vec<sql::ExpiringRow> = self.database.fetch_all(query(sql::EXPIRING)).await?;
        rows.into_iter().map(ExpiringDay::try_from).collect()
    }

    async fn expired(&self, days: &[ExpiringDay]) -> Result<(), MetaError> {
        let mut transaction = self.database.write().await?;
        for ExpiringDay { day_ms, tenant, app } in in_order(days) {
            let delete = query(sql::DELETE_EXPIRING).bind(*day_ms).bind(tenant.as_str()).bind(app.as_str());
            transaction.execute(delete).await?;
            let hours = (0..DAY_MS / HOUR_MS).map(|hour| TouchedHour {
                tenant: tenant.clone(),
                app: app.clone(),
                hour_ms: day_ms + hour * HOUR_MS,
            });
            change_epochs(&mut transaction, hours.collect(), i64::MAX).await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn expired_before(&self, tenant: &TenantId, app: &AppId) -> Result<Option<i64>, MetaError> {
        let select = query(sql::EXPIRED_BEFORE).bind(tenant.as_str()).bind(app.as_str());
        let row: Option<(i64,)> = self.database.fetch_optional(select).await?;
        Ok(row.map(|(before_ms,)| before_ms))
    }

    async fn lease(&self, name: &str, owner: &str, now_ms: i64, until_ms: i64) -> Result<bool, MetaError> {
        let lease = query(sql::LEASE).bind(name).bind(owner).bind(now_ms).bind(until_ms);
        Ok(self.database.execute(lease).await? > 0)
    }
}

/// Rows are locked in one order by everybody: by tenant, app and hour, as a commit changes epochs.
fn in_order(days: &[ExpiringDay]) -> Vec<&ExpiringDay> {
    let mut days: Vec<_> = days.iter().collect();
    days.sort_unstable_by_key(|day| (&day.tenant, &day.app, day.day_ms));
    days
}

/// A statement whose first three parameters name the partition.
pub(super) fn on_partition(text: &'static str, topic: &Topic, partition: PartitionId) -> Statement {
    query(text).bind(&topic.name).bind(topic.incarnation.cast_signed()).bind(i64::from(partition))
}

/// Takes their marks from the apps, and from those that have an old one. So few have one: those that were looked at lately, and for which
/// nothing came.
async fn unmark(transaction: &mut Transaction, commit: &Commit) -> Result<(), MetaError> {
    let touched: HashSet<_> = commit.hours.iter().map(|hour| (hour.tenant.as_str(), hour.app.as_str())).collect();
    if touched.is_empty() {
        return Ok(());
    }
    // In one order for everybody.
    for (tenant, app, made_at_ms) in transaction.fetch_all::<(String, String, i64)>(query(sql::MARKED)).await? {
        let is_old = made_at_ms < commit.frontier_ms.saturating_sub(HOUR_MS);
        if is_old || touched.contains(&(tenant.as_str(), app.as_str())) {
            transaction.execute(query(sql::UNMARK).bind(tenant).bind(app)).await?;
        }
    }
    Ok(())
}

/// Gives a new epoch to each of the hours that had ended by `frontier_ms`.
async fn change_epochs(
    transaction: &mut Transaction,
    mut hours: Vec<TouchedHour>,
    frontier_ms: i64,
) -> Result<(), MetaError> {
    hours.retain(|hour| hour.hour_ms.saturating_add(HOUR_MS) <= frontier_ms);
    hours.sort_unstable();
    hours.dedup();
    for hour in hours {
        let change = query(sql::CHANGE_EPOCH)
            .bind(hour.tenant.as_str())
            .bind(hour.app.as_str())
            .bind(hour.hour_ms)
            .bind(sql::new_epoch());
        transaction.execute(change).await?;
    }
    Ok(())
}

/// Why a conditional write met no row; `begins`: where the range that was to begin does.
async fn refusal(
    transaction: &mut Transaction,
    topic: &Topic,
    partition: PartitionId,
    held: u64,
    begins: Option<Offset>,
    what: &str,
) -> LedgerError {
    let row: Result<Option<sql::PartitionRow>, _> =
        transaction.fetch_optional(on_partition(sql::PARTITION, topic, partition)).await;
    let state = row.map_err(MetaError::from).and_then(|row| row.map(PartitionState::try_from).transpose());
    match state {
        Err(error) => error.into(),
        Ok(None) => MetaError::NotFound(format!("partition {partition} of topic {}", topic.name)).into(),
        Ok(Some(state)) if state.generation != held => {
            LedgerError::Fenced { partition, held, current: state.generation }
        }
        // All else fits. Another statement may have ended the hold since.
        Ok(Some(state)) if begins == Some(state.committed) && state.pending.is_none() => {
            LedgerError::Held { partition }
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

fn all_partitions(topic: &Topic) -> Statement {
    query(sql::PARTITIONS).bind(&topic.name).bind(topic.incarnation.cast_signed())
}

fn states(rows: Vec<sql::PartitionRow>) -> Result<Vec<PartitionState>, MetaError> {
    rows.into_iter().map(PartitionState::try_from).collect()
}
