use async_trait::async_trait;
use model::{AppId, Offset, PartitionId, TenantId};
use serde_json::json;

use super::{SqlMetastore, directory::require_app, ledger::on_partition, placements};
use crate::{
    Change, Erasure, ErasureRequest, ErasureState, Erasures, MetaError, Progress, Tombstone, Topic,
    sql::{erasures as sql, query, taken},
};

#[async_trait]
impl Erasures for SqlMetastore {
    async fn request_erasure(
        &self,
        request: ErasureRequest,
        topic: &Topic,
        partitions: u32,
        partition: PartitionId,
        log_end: Offset,
    ) -> Result<Erasure, MetaError> {
        let tenant = request.tenant.clone();
        let mut changing = self.changing(Some(&tenant)).await?;
        require_app(&mut changing, &request.tenant, &request.app).await?;
        let end = log_end.max(placements::worked_on(&mut changing, topic, partition).await?);
        let placement = placements::found(&mut changing, topic).await?;
        if placement.is_some_and(|placement| placement.partitions() != partitions) {
            return Err(placements::changed(topic));
        }
        let last = on_partition(sql::LAST_ORDINAL, topic, partition);
        let last: Option<(Option<i64>,)> = changing.fetch_optional(last).await?;
        let ordinal = last.and_then(|(last,)| last).unwrap_or(0) + 1;
        let insert = on_partition(sql::INSERT, topic, partition)
            .bind(&request.id)
            .bind(request.tenant.as_str())
            .bind(request.app.as_str())
            .bind(&request.user_id)
            .bind(request.requested_at_ms)
            .bind(&request.requested_by)
            .bind(end.cast_signed())
            .bind(ordinal);
        let inserted = changing.execute(insert).await;
        inserted.map_err(|e| taken(e, || MetaError::AlreadyExists(format!("erasure {}", request.id))))?;
        // The erasure says who the user was; no further copy of that, which nothing could ever erase.
        let object = format!("erasures/{}", request.id);
        let change = Change { object, app: request.app.to_string(), after: json!({}), ..Change::default() };
        changing.commit(change).await?;
        let progress = Progress {
            state: ErasureState::Waiting,
            look_again_at_ms: None,
            finished_at_ms: None,
            hours: Default::default(),
            gone: Default::default(),
        };
        Ok(Erasure { request, topic: topic.clone(), partition, end, progress })
    }

    async fn tombstones(&self, topic: &Topic, partition: PartitionId, after: u64) -> Result<Vec<Tombstone>, MetaError> {
        let select = on_partition(sql::TOMBSTONES, topic, partition).bind(after.cast_signed());
        let rows: Vec<sql::TombstoneRow> = self.database.fetch_all(select).await?;
        rows.into_iter().map(Tombstone::try_from).collect()
    }

    async fn erasure(&self, tenant: &TenantId, id: &str) -> Result<Option<Erasure>, MetaError> {
        let select = query(sql::ONE).bind(tenant.as_str()).bind(id);
        let row: Option<sql::ErasureRow> = self.database.fetch_optional(select).await?;
        row.map(Erasure::try_from).transpose()
    }

    async fn erasures(
        &self,
        tenant: &TenantId,
        app: &AppId,
        before: Option<(i64, &str)>,
        most: u32,
    ) -> Result<Vec<Erasure>, MetaError> {
        let (time_ms, id) = before.unwrap_or((i64::MAX, ""));
        let select = query(sql::PAGE).bind(tenant.as_str()).bind(app.as_str()).bind(time_ms).bind(id);
        let rows: Vec<sql::ErasureRow> = self.database.fetch_all(select.bind(i64::from(most))).await?;
        rows.into_iter().map(Erasure::try_from).collect()
    }

    async fn open_erasures(&self, most: u32) -> Result<Vec<Erasure>, MetaError> {
        let rows: Vec<sql::ErasureRow> = self.database.fetch_all(query(sql::OPEN).bind(i64::from(most))).await?;
        rows.into_iter().map(Erasure::try_from).collect()
    }

    async fn note_erasure(&self, id: &str, progress: &Progress) -> Result<(), MetaError> {
        let json = "numbers and plain names";
        let update = query(sql::NOTE)
            .bind(id)
            .bind(progress.state.name())
            .bind(progress.look_again_at_ms)
            .bind(progress.finished_at_ms)
            .bind(serde_json::to_string(&progress.hours).expect(json))
            .bind(serde_json::to_string(&progress.gone).expect(json));
        self.database.execute(update).await?;
        Ok(())
    }
}
