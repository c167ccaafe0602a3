use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

use async_trait::async_trait;
use model::{Act, TenantId};
use serde::Serialize;
use serde_json::Value;

use super::SqlMetastore;
use crate::{
    Audit, AuditEntry, AuditFilter, Change, MetaError, Metastore,
    sql::{Transaction, audit as sql, query},
};

#[async_trait]
impl Audit for SqlMetastore {
    fn acting(&self, act: Act) -> Arc<dyn Metastore> {
        Arc::new(Self { database: Arc::clone(&self.database), act: Some(Arc::new(act)) })
    }

    async fn note(&self, chain: Option<&TenantId>, act: &Act, change: &Change) -> Result<(), MetaError> {
        let mut transaction = self.database.write().await?;
        lock(&mut transaction, chain).await?;
        append(&mut transaction, chain, act, change).await?;
        Ok(transaction.commit().await?)
    }

    async fn audit_entries(
        &self,
        chain: Option<&TenantId>,
        wanted: &AuditFilter,
        before: Option<u64>,
        most: u32,
    ) -> Result<Vec<AuditEntry>, MetaError> {
        let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
        let select = query(sql::PAGE)
            .bind(name(chain))
            .bind(before)
            .bind(wanted.from_ms)
            .bind(wanted.to_ms)
            .bind(&wanted.method)
            .bind(&wanted.key_id)
            .bind(i64::from(most));
        let rows: Vec<sql::EntryRow> = self.database.fetch_all(select).await?;
        rows.into_iter().map(AuditEntry::try_from).collect()
    }

    async fn audit_chain(&self, chain: Option<&TenantId>, after: u64, most: u32) -> Result<Vec<AuditEntry>, MetaError> {
        let select = query(sql::AFTER).bind(name(chain)).bind(after.cast_signed()).bind(i64::from(most));
        let rows: Vec<sql::EntryRow> = self.database.fetch_all(select).await?;
        rows.into_iter().map(AuditEntry::try_from).collect()
    }
}

/// A transaction of a change that is noted if somebody acts.
pub(super) struct Changing<'a> {
    transaction: Transaction,
    act: Option<Arc<Act>>,
    chain: Option<&'a TenantId>,
}

impl SqlMetastore {
    /// Begins a change that is about this tenant, or none. Until its end it is the only noted one of its chain, so that what is read of before is
    /// what is changed.
    pub(super) async fn changing<'a>(&self, chain: Option<&'a TenantId>) -> Result<Changing<'a>, MetaError> {
        let mut transaction = self.database.write().await?;
        if self.act.is_some() {
            lock(&mut transaction, chain).await?;
        }
        Ok(Changing { transaction, act: self.act.clone(), chain })
    }
}

impl Changing<'_> {
    /// Adds an entry, unless nothing is another than before.
    pub(super) async fn note(&mut self, change: Change) -> Result<(), MetaError> {
        match &self.act {
            Some(act) if change.before != change.after => append(&mut self.transaction, self.chain, act, &change).await,
            _ => Ok(()),
        }
    }

    /// Ends it, with a last entry.
    pub(super) async fn commit(mut self, change: Change) -> Result<(), MetaError> {
        self.note(change).await?;
        Ok(self.transaction.commit().await?)
    }
}

impl Deref for Changing<'_> {
    type Target = Transaction;
    fn deref(&self) -> &Transaction {
        &self.transaction
    }
}

impl DerefMut for Changing<'_> {
    fn deref_mut(&mut self) -> &mut Transaction {
        &mut self.transaction
    }
}

/// One entry follows another. Taken before all else that a change locks.
async fn lock(transaction: &mut Transaction, chain: Option<&TenantId>) -> Result<(), MetaError> {
    Ok(transaction.lock(format!("audit of {}", name(chain))).await?)
}

async fn append(
    transaction: &mut Transaction,
    chain: Option<&TenantId>,
    act: &Act,
    change: &Change,
) -> Result<(), MetaError> {
    let last: Option<(i64, String)> = transaction.fetch_optional(query(sql::LAST).bind(name(chain))).await?;
    let (last, previous_hash) = last.unwrap_or_default();
    let (before, after) = differing(&change.before, &change.after);
    let mut entry = AuditEntry {
        sequence: last.unsigned_abs() + 1,
        act: act.clone(),
        object: change.object.clone(),
        app: change.app.clone(),
        before: text(&before),
        after: text(&after),
        previous_hash,
        hash: String::new(),
    };
    entry.hash = entry.computed_hash(chain);
    let insert = query(sql::INSERT)
        .bind(name(chain))
        .bind(entry.sequence.cast_signed())
        .bind(act.at_ms)
        .bind(&act.method)
        .bind(&act.key_id)
        .bind(&act.key_tenant)
        .bind(entry.object)
        .bind(entry.app)
        .bind(entry.before)
        .bind(entry.after)
        .bind(&act.address)
        .bind(&act.trace_id)
        .bind(entry.previous_hash)
        .bind(entry.hash);
    transaction.execute(insert).await?;
    Ok(())
}

/// Of two objects the fields that aren't the same.
fn differing(before: &Value, after: &Value) -> (Value, Value) {
    let (Value::Object(old), Value::Object(new)) = (before, after) else { return (before.clone(), after.clone()) };
    let unlike = |one: &serde_json::Map<String, Value>, other: &serde_json::Map<String, Value>| {
        let fields = one.iter().filter(|(name, value)| other.get(*name) != Some(*value));
        Value::Object(fields.map(|(name, value)| (name.clone(), value.clone())).collect())
    };
    (unlike(old, new), unlike(new, old))
}

/// A thing as an entry shows it.
pub(super) fn json(thing: &impl Serialize) -> Value {
    serde_json::to_value(thing).expect("numbers, texts and lists of them")
}

fn text(value: &Value) -> String {
    if value.is_null() { String::new() } else { value.to_string() }
}

fn name(chain: Option<&TenantId>) -> &str {
    chain.map_or("", TenantId::as_str)
}
