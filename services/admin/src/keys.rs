//! A tenant's API keys.

use api::v1::{
    CreateKeyRequest, CreateKeyResponse, ListKeysRequest, ListKeysResponse, RevokeKeyRequest, RevokeKeyResponse,
};
use model::{Error, ErrorCode, KeyText, Permission, Scope};
use storage::Key;
use tracing::info;

use crate::{
    caller::Caller,
    service::{Admin, stored},
    wire::{WantedKey, key_to_make, key_to_wire},
};

/// A new key with this scope, and its text: random, from the operating system's seed. The key holds only the text's hash, so the
/// text is shown now or never.
pub fn mint(display_name: String, scope: Scope, created_at_ms: i64, expires_at_ms: Option<i64>) -> (Key, KeyText) {
    let text = KeyText::from_random(rand::random(), rand::random());
    let key = Key {
        id: text.id().to_owned(),
        hash: text.hash(),
        display_name,
        scope,
        created_at_ms,
        expires_at_ms,
        revoked_at_ms: None,
    };
    (key, text)
}

impl Admin {
    pub(crate) async fn make_key(
        &self,
        caller: &Caller,
        request: CreateKeyRequest,
    ) -> Result<CreateKeyResponse, Error> {
        let tenant = caller.tenant(&request.tenant_id)?;
        let now_ms = (self.now_ms)();
        let WantedKey { display_name, permissions, apps, expires_at_ms, priority } = key_to_make(request, now_ms)?;
        caller.may_give(permissions, &apps)?;
        let scope = Scope { tenant, apps, permissions, priority: priority.max(caller.priority()) };
        let (key, text) = mint(display_name, scope, now_ms, expires_at_ms);
        self.directory.create_key(&key).await.map_err(stored)?;
        info!(by = caller.key_id(), tenant = %key.scope.tenant, key = key.id, "made a key");
        Ok(CreateKeyResponse { key: Some(key_to_wire(key)), secret: text.as_str().to_owned() })
    }

    pub(crate) async fn keys(&self, caller: &Caller, request: &ListKeysRequest) -> Result<ListKeysResponse, Error> {
        let tenant = caller.tenant(&request.tenant_id)?;
        let keys = self.directory.keys(&tenant).await.map_err(stored)?;
        if keys.is_empty() {
            self.require_tenant(&tenant).await?;
        }
        let within_reach = keys.into_iter().filter(|key| caller.covers(&key.scope.apps));
        Ok(ListKeysResponse { keys: within_reach.map(key_to_wire).collect() })
    }

    pub(crate) async fn revoke(&self, caller: &Caller, request: &RevokeKeyRequest) -> Result<RevokeKeyResponse, Error> {
        let tenant = caller.tenant(&request.tenant_id)?;
        let id = &request.key_id;
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            let rule = if id.is_empty() { "REQUIRED" } else { "MALFORMED" };
            return Err(Error::invalid("key_id", rule, "must be the public part of the key to revoke"));
        }
        let key = self.directory.key(id).await.map_err(stored)?;
        // What the caller can't list doesn't exist for the caller.
        let listed = key.filter(|key| key.scope.tenant == tenant && caller.covers(&key.scope.apps));
        let key = listed.ok_or_else(|| Error::new(ErrorCode::NotFound, "the tenant has no such key"))?;
        if key.scope.allows(Permission::Operator) {
            caller.require_operator()?;
        }
        self.directory.revoke_key(&tenant, id, (self.now_ms)()).await.map_err(stored)?;
        // Gateways hear of it and refuse the key at once.
        self.cache.delete(&Key::cache_name(id)).await;
        info!(by = caller.key_id(), %tenant, key = id, "revoked a key");
        Ok(RevokeKeyResponse {})
    }
}
