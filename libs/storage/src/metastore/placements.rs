use async_trait::async_trait;
use model::{Offset, PartitionId};
use serde_json::json;

use super::{SqlMetastore, ledger::on_partition};
use crate::{
    Change, Growing, Grown, MetaError, Placement, Placements, Topic, Writer,
    sql::{Statement, Transaction, erasures, placements as sql, query, replays},
};

#[async_trait]
impl Placements for SqlMetastore {
    async fn placement(&self, topic: &Topic, partitions: u32) -> Result<Placement, MetaError> {
        if let Some(row) = self.database.fetch_optional::<sql::PlacementRow>(on_topic(sql::ONE, topic)).await? {
            return row.try_into();
        }
        self.database.execute(on_topic(sql::INSERT, topic).bind(i64::from(partitions))).await?;
        let row: Option<sql::PlacementRow> = self.database.fetch_optional(on_topic(sql::ONE, topic)).await?;
        row.ok_or(sqlx::Error::RowNotFound)?.try_into()
    }

    async fn confirm(&self, topic: &Topic, partitions: u32, writer: &Writer) -> Result<Placement, MetaError> {
        let mut transaction = self.database.write().await?;
        lock(&mut transaction, topic).await?;
        let confirm = on_topic(sql::CONFIRM, topic)
            .bind(&writer.name)
            .bind(writer.version.cast_signed())
            .bind(writer.holds_ms.cast_signed())
            .bind(writer.heard_ms);
        transaction.execute(confirm).await?;
        transaction.execute(on_topic(sql::INSERT, topic).bind(i64::from(partitions))).await?;
        let placement = known(&mut transaction, topic).await?;
        transaction.commit().await?;
        Ok(placement)
    }

    async fn writers(&self, topic: &Topic) -> Result<Vec<Writer>, MetaError> {
        let rows: Vec<sql::WriterRow> = self.database.fetch_all(on_topic(sql::WRITERS, topic)).await?;
        rows.into_iter().map(Writer::try_from).collect()
    }

    async fn forget_writer(&self, topic: &Topic, name: &str) -> Result<(), MetaError> {
        self.database.execute(on_topic(sql::FORGET, topic).bind(name)).await?;
        Ok(())
    }

    async fn grow(&self, topic: &Topic, to: u32) -> Result<Placement, MetaError> {
        let mut changing = self.changing(None).await?;
        lock(&mut changing, topic).await?;
        let placement = known(&mut changing, topic).await?;
        let from = placement.partitions();
        match placement.growing {
            Some(growing) if growing.to == to => return Ok(placement),
            None if from == to => return Ok(placement),
            None if to > from && to.is_multiple_of(from) => {}
            _ => return Err(changed(topic)),
        }
        let growing = Some(Growing { to, paused: false });
        let placement = change(&mut changing, topic, &placement.grown, growing).await?;
        let partitions = |count: u32| json!({"partitions": count});
        let (object, app) = (format!("topics/{}", topic.name), String::new());
        changing.commit(Change { object, app, before: partitions(from), after: partitions(to) }).await?;
        Ok(placement)
    }

    async fn pause(&self, topic: &Topic, version: u64, paused: bool) -> Result<Placement, MetaError> {
        let mut transaction = self.database.write().await?;
        lock(&mut transaction, topic).await?;
        let placement = known(&mut transaction, topic).await?;
        let growing = placement.growing.filter(|growing| placement.version == version && growing.paused != paused);
        let growing = Growing { paused, ..growing.ok_or_else(|| changed(topic))? };
        let placement = change(&mut transaction, topic, &placement.grown, Some(growing)).await?;
        transaction.commit().await?;
        Ok(placement)
    }

    async fn cut(&self, topic: &Topic, version: u64, ends: &[Offset]) -> Result<Placement, MetaError> {
        let mut transaction = self.database.write().await?;
        lock(&mut transaction, topic).await?;
        let mut placement = known(&mut transaction, topic).await?;
        let before = placement.partitions();
        let growing = placement.growing.filter(|growing| growing.paused && placement.version == version);
        let Some(Growing { to, .. }) = growing.filter(|_| ends.len() == before as usize) else {
            return Err(changed(topic));
        };
        transaction.lock("replays".to_owned()).await?;
        if transaction.fetch_optional::<replays::ReplayRow>(query(replays::OPEN)).await?.is_some() {
            return Err(MetaError::Conflict("replays".to_owned()));
        }
        let mut grown = Grown { to, ends: Vec::with_capacity(ends.len()) };
        for (partition, end) in (0..).zip(ends) {
            grown.ends.push((*end).max(worked_on(&mut transaction, topic, partition).await?));
        }
        for partition in before..to {
            let insert = on_partition(sql::INSERT_PARTITION, topic, partition).bind(i64::from(partition % before));
            transaction.execute(insert).await?;
        }
        placement.grown.push(grown);
        let placement = change(&mut transaction, topic, &placement.grown, None).await?;
        transaction.commit().await?;
        Ok(placement)
    }
}

/// Takes the partition's row; returns the end of what its worker has done or is at.
pub(super) async fn worked_on(
    transaction: &mut Transaction,
    topic: &Topic,
    partition: PartitionId,
) -> Result<Offset, MetaError> {
    let hold = on_partition(erasures::HOLD_PARTITION, topic, partition);
    let held: Option<(i64, Option<i64>)> = transaction.fetch_optional(hold).await?;
    let (committed, pending_last) = held.ok_or(sqlx::Error::RowNotFound)?;
    Ok(pending_last.map_or(committed, |last| last.saturating_add(1)).unsigned_abs())
}

/// The topic's placement, if anybody asked for it before.
pub(super) async fn found(transaction: &mut Transaction, topic: &Topic) -> Result<Option<Placement>, MetaError> {
    let row: Option<sql::PlacementRow> = transaction.fetch_optional(on_topic(sql::ONE, topic)).await?;
    row.map(Placement::try_from).transpose()
}

async fn known(transaction: &mut Transaction, topic: &Topic) -> Result<Placement, MetaError> {
    found(transaction, topic).await?.ok_or_else(|| MetaError::NotFound(format!("topic {}", topic.name)))
}

async fn change(
    transaction: &mut Transaction,
    topic: &Topic,
    grown: &[Grown],
    growing: Option<Growing>,
) -> Result<Placement, MetaError> {
    let change = on_topic(sql::CHANGE, topic)
        .bind(serde_json::to_string(grown).expect("numbers and plain names"))
        .bind(growing.map(|growing| i64::from(growing.to)))
        .bind(i64::from(growing.is_some_and(|growing| growing.paused)));
    let row: Option<sql::PlacementRow> = transaction.fetch_optional(change).await?;
    row.ok_or(sqlx::Error::RowNotFound)?.try_into()
}

/// No writer is new, and none learns of an older placement, while it changes.
async fn lock(transaction: &mut Transaction, topic: &Topic) -> Result<(), MetaError> {
    Ok(transaction.lock(format!("placement of {}", topic.name)).await?)
}

fn on_topic(text: &'static str, topic: &Topic) -> Statement {
    query(text).bind(&topic.name).bind(topic.incarnation.cast_signed())
}

pub(super) fn changed(topic: &Topic) -> MetaError {
    MetaError::Conflict(format!("the placement of topic {}", topic.name))
}
