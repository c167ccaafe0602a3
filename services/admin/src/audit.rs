//! Who changed what: the entries that changes leave, and whether they are all there.

use api::{
    convert::{time_from_wire, time_to_wire},
    v1::{self, ListAuditEntriesRequest, ListAuditEntriesResponse, VerifyAuditRequest, VerifyAuditResponse},
};
use model::{Act, AppId, Error, TenantId};
use prost::Message;
use storage::{AuditEntry, AuditExpected, AuditFilter, verify_audit};

use crate::{
    MAX_ANSWER_BYTES,
    caller::Caller,
    check::{self, both},
    service::{Admin, stored},
};

/// How many entries are read at once: each may have some hundred KiB.
const READ_AT_ONCE: u32 = 100;

impl Admin {
    pub(crate) async fn audit_entries(
        &self,
        caller: &Caller,
        request: &ListAuditEntriesRequest,
    ) -> Result<ListAuditEntriesResponse, Error> {
        let chain = self.known_chain(caller, &request.tenant_id).await?;
        let (page_size, wanted) = both(check::page_size(request.page_size), filter(request))?;
        let mut before = before(&request.page_token)?;
        let mut response = ListAuditEntriesResponse::default();
        let (mut looked_at, mut bytes) = (0, 0);
        loop {
            let most = READ_AT_ONCE.min(page_size - looked_at + 1);
            let entries = self.directory.audit_entries(chain.as_ref(), &wanted, before, most).await.map_err(stored)?;
            let is_last = entries.len() < most as usize;
            for entry in entries {
                let sequence = entry.sequence;
                let entry = to_wire(caller, chain.as_ref(), entry);
                bytes += entry.encoded_len();
                if looked_at == page_size || (looked_at > 0 && bytes > MAX_ANSWER_BYTES / 2) {
                    response.next_page_token = before.map_or_else(String::new, |before| before.to_string());
                    return Ok(response);
                }
                (looked_at, before) = (looked_at + 1, Some(sequence));
                if sees(caller, &entry.app_id) {
                    response.entries.push(entry);
                }
            }
            if is_last {
                return Ok(response);
            }
        }
    }

    pub(crate) async fn verified_audit(
        &self,
        caller: &Caller,
        request: VerifyAuditRequest,
    ) -> Result<VerifyAuditResponse, Error> {
        let chain = self.known_chain(caller, &request.tenant_id).await?;
        let expected = AuditExpected { entries: request.expected_entries, hash: request.expected_hash };
        let verdict = verify_audit(&*self.directory, chain.as_ref(), &expected).await.map_err(stored)?;
        let (broken_sequence, broken_reason) = verdict.broken.unwrap_or_default();
        Ok(VerifyAuditResponse {
            entries: verdict.entries,
            last_hash: verdict.last_hash,
            broken_sequence,
            broken_reason: broken_reason.to_owned(),
            contains_expected: (expected != AuditExpected::default()).then_some(verdict.as_expected),
        })
    }

    async fn known_chain(&self, caller: &Caller, named: &str) -> Result<Option<TenantId>, Error> {
        let chain = caller.chain(named)?;
        if let Some(tenant) = &chain {
            self.require_tenant(tenant).await?;
        }
        Ok(chain)
    }
}

fn filter(request: &ListAuditEntriesRequest) -> Result<AuditFilter, Error> {
    let time = |field, time: &Option<_>| time.as_ref().map(|time| time_from_wire(field, time)).transpose();
    let (from_ms, to_ms) = both(time("from", &request.from), time("to", &request.to))?;
    let (from_ms, to_ms) = (from_ms.unwrap_or(i64::MIN), to_ms.unwrap_or(i64::MAX));
    if to_ms <= from_ms {
        return Err(Error::invalid("to", "MALFORMED", "must be after `from`"));
    }
    let plain = |field, text: &str| match text.contains('\0') {
        // PostgreSQL's texts can't have it.
        true => Err(Error::invalid(field, "MALFORMED", "must not have the character U+0000")),
        false => Ok(text.to_owned()),
    };
    let (method, key_id) = both(plain("method", &request.method), plain("key_id", &request.key_id))?;
    Ok(AuditFilter { from_ms, to_ms, method, key_id })
}

/// The place in a page token.
fn before(token: &str) -> Result<Option<u64>, Error> {
    let wrong = |_| Error::invalid("page_token", "MALFORMED", "must be the `next_page_token` of an earlier answer");
    if token.is_empty() { Ok(None) } else { token.parse().map(Some).map_err(wrong) }
}

/// A key that is limited to some apps sees what is about one of them.
fn sees(caller: &Caller, app: &str) -> bool {
    caller.reaches_all() || AppId::new(app).is_ok_and(|app| caller.reaches(&app))
}

fn to_wire(caller: &Caller, chain: Option<&TenantId>, entry: AuditEntry) -> v1::AuditEntry {
    let tenant_id = chain.map_or_else(String::new, TenantId::to_string);
    let Act { method, key_id, mut key_tenant, at_ms, mut address, trace_id } = entry.act;
    // Whoever operates the installation is not for its tenants to know.
    if key_tenant != tenant_id && !caller.is_operator() {
        (key_tenant, address) = (String::new(), String::new());
    }
    v1::AuditEntry {
        tenant_id,
        sequence: entry.sequence,
        at: Some(time_to_wire(at_ms)),
        method,
        key_id,
        key_tenant_id: key_tenant,
        object: entry.object,
        app_id: entry.app,
        before: entry.before,
        after: entry.after,
        address,
        trace_id,
        previous_hash: entry.previous_hash,
        hash: entry.hash,
    }
}
