use std::{fmt::Write, sync::Arc};

use async_trait::async_trait;
use model::{Act, TenantId};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{MetaError, Metastore, sql::hex};

/// What an act is about, and what it did to it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// The thing, as in `keys/Ab12`.
    pub object: String,
    /// The one app that it is about; empty if that is none, or several.
    pub app: String,
    /// What it was; null if it wasn't there.
    pub before: Value,
    /// What it is; null if it no longer is there.
    pub after: Value,
}

/// An entry of a chain, as it is stored: whether it is what was noted once, [`verify_audit`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its place in the chain, from 1.
    pub sequence: u64,
    /// Who did it, how, when, and from where.
    pub act: Act,
    /// The thing.
    pub object: String,
    /// The one app that it is about; empty if that is none, or several.
    pub app: String,
    /// Of what the thing was, a JSON object of what changed; empty if it wasn't there.
    pub before: String,
    /// Of what it is; empty if it no longer is there.
    pub after: String,
    /// The hash of the entry before; empty in the first.
    pub previous_hash: String,
    /// Its own, in hex.
    pub hash: String,
}

impl AuditEntry {
    /// The hash of all that it says, as an entry of this chain: the SHA-256 of its fields, each as a netstring (its length in bytes, `:`, itself,
    /// `,`), which are as many whatever they say.
    pub fn computed_hash(&self, chain: Option<&TenantId>) -> String {
        let Self { sequence, act, object, app, before, after, previous_hash, hash: _ } = self;
        let Act { method, key_id, key_tenant, at_ms, address, trace_id } = act;
        let (sequence, at_ms) = (sequence.to_string(), at_ms.to_string());
        let chain = chain.map_or("", TenantId::as_str);
        let mut text = String::new();
        for field in [
            previous_hash,
            chain,
            &sequence,
            &at_ms,
            method,
            key_id,
            key_tenant,
            object,
            app,
            before,
            after,
            address,
            trace_id,
        ] {
            write!(text, "{}:{field},", field.len()).expect("writing to a string can't fail");
        }
        hex(&Sha256::digest(text))
    }
}

/// Which entries of a chain to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditFilter {
    /// Those of this time on, UTC ms.
    pub from_ms: i64,
    /// Those of before this time, UTC ms.
    pub to_ms: i64,
    /// Those of this method; of all if empty.
    pub method: String,
    /// Those of this key; of all if empty.
    pub key_id: String,
}

impl Default for AuditFilter {
    fn default() -> Self {
        Self { from_ms: i64::MIN, to_ms: i64::MAX, method: String::new(), key_id: String::new() }
    }
}

/// Who changed what. Entries are only ever added, each to the chain of the tenant that it is about, or to the one of what is about no
/// tenant; an entry holds the hash of the one before, so that none can be changed or left out without a trace.
#[async_trait]
pub trait Audit: Send + Sync + 'static {
    /// The metastore by whom this is done: a change through it is noted in the change's own transaction, so that neither is without the other. What
    /// changes nothing is not noted.
    fn acting(&self, act: Act) -> Arc<dyn Metastore>;

    /// Notes what is no change of the metastore.
    async fn note(&self, chain: Option<&TenantId>, act: &Act, change: &Change) -> Result<(), MetaError>;

    /// A chain's entries, the newest first: at most `most` of those wanted before the one of this place.
    async fn audit_entries(
        &self,
        chain: Option<&TenantId>,
        wanted: &AuditFilter,
        before: Option<u64>,
        most: u32,
    ) -> Result<Vec<AuditEntry>, MetaError>;

    /// A chain's entries in their order: at most `most` after the one of this place.
    async fn audit_chain(&self, chain: Option<&TenantId>, after: u64, most: u32) -> Result<Vec<AuditEntry>, MetaError>;
}

/// What a chain is held against: as somebody knew it once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditExpected {
    /// How many entries it had; 0 if that isn't known.
    pub entries: u64,
    /// The hash of its last; empty if that isn't known.
    pub hash: String,
}

/// What becomes of a chain's entries when all are looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditVerdict {
    /// From the first on so many hold together.
    pub entries: u64,
    /// The hash of the last of those; empty if there are none.
    pub last_hash: String,
    /// The place of the first that doesn't, and why.
    pub broken: Option<(u64, &'static str)>,
    /// Whether those that hold together have what was expected.
    pub as_expected: bool,
}

/// How many entries are read at once: each may have some hundred KiB.
const PAGE: u32 = 200;

/// Walks over a chain. Entries that are taken off its end leave nothing that could tell of them but what is expected.
pub async fn verify_audit(
    audit: &dyn Audit,
    chain: Option<&TenantId>,
    expected: &AuditExpected,
) -> Result<AuditVerdict, MetaError> {
    let mut verdict = AuditVerdict { as_expected: *expected == AuditExpected::default(), ..AuditVerdict::default() };
    loop {
        let page = audit.audit_chain(chain, verdict.entries, PAGE).await?;
        let is_last = page.len() < PAGE as usize;
        for entry in page {
            let place = verdict.entries + 1;
            let why = match () {
                () if entry.sequence != place => Some("it is missing"),
                () if entry.previous_hash != verdict.last_hash => Some("it follows another than the one before it"),
                () if entry.computed_hash(chain) != entry.hash => Some("it is not what it was: its hash is another's"),
                () => None,
            };
            if let Some(why) = why {
                return Ok(AuditVerdict { broken: Some((place, why)), ..verdict });
            }
            (verdict.entries, verdict.last_hash) = (place, entry.hash);
            verdict.as_expected |= (expected.entries == 0 || expected.entries == place)
                && (expected.hash.is_empty() || expected.hash == verdict.last_hash);
        }
        if is_last {
            return Ok(verdict);
        }
    }
}
