//! A tenant's API keys.

use api::v1::{
    CreateKeyRequest, CreateKeyResponse, ListKeysRequest, ListKeysResponse, RevokeKeyRequest, RevokeKeyResponse,
    RotateKeyRequest, RotateKeyResponse,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use model::{Environment, Error, ErrorCode, KeyKind, KeyText, Permission, Scope, TenantId};
use storage::{Key, Places};
use tracing::info;

use crate::{
    caller::{Caller, denied},
    service::{Admin, stored},
    wire::{WantedKey, key_to_make, key_to_wire, overlap},
};

/// A new key with this scope, good from everywhere and for ever, and its text. The key holds only the text's hash, so the
/// text is shown now or never.
pub fn mint(display_name: String, scope: Scope, environment: Environment, created_at_ms: i64) -> (Key, KeyText) {
    let text = new_text(environment);
    let key = Key {
        id: text.id().to_owned(),
        kind: KeyKind::Bearer,
        hash: text.hash(),
        display_name,
        environment,
        scope,
        places: Places::default(),
        customer: None,
        rotated_from: None,
        created_at_ms,
        expires_at_ms: None,
        revoked_at_ms: None,
        last_used_at_ms: None,
    };
    (key, text)
}

/// Random, from the operating system's seed.
fn new_text(environment: Environment) -> KeyText {
    KeyText::from_random(environment, rand::random(), rand::random())
}

impl Admin {
    pub(crate) async fn make_key(
        &self,
        caller: &Caller,
        request: CreateKeyRequest,
    ) -> Result<CreateKeyResponse, Error> {
        let tenant = caller.tenant(&request.tenant_id)?;
        let now_ms = (self.now_ms)();
        let WantedKey {
            display_name,
            permissions,
            apps,
            expires_at_ms,
            priority,
            environment,
            places,
            filters,
            kind,
            public_key,
        } = key_to_make(request, now_ms)?;
        caller.may_give(permissions, &apps)?;
        let scope = Scope { filters, ..Scope::new(tenant, apps, permissions, priority.max(caller.priority())) };
        let (key, text) = mint(display_name, scope, environment, now_ms);
        let key = Key { expires_at_ms, places, ..key };
        let (key, secret) = match kind {
            KeyKind::Bearer => (key, text.as_str().to_owned()),
            KeyKind::EdDsa => (Key { kind, hash: public_key, ..key }, String::new()),
            KeyKind::Hs256 => {
                let secret: [u8; 32] = rand::random();
                (Key { kind, hash: secret, ..key }, BASE64.encode(secret))
            }
        };
        self.acting(caller, "AdminService/CreateKey").create_key(&key).await.map_err(stored)?;
        info!(by = caller.key_id(), tenant = %key.scope.tenant, key = key.id, "made a key");
        Ok(CreateKeyResponse { key: Some(key_to_wire(key)), secret })
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
        let key = self.listed_key(caller, &tenant, &request.key_id).await?;
        if key.scope.allows(Permission::Operator) {
            caller.require_operator()?;
        }
        let now_ms = (self.now_ms)();
        self.acting(caller, "AdminService/RevokeKey").revoke_key(&tenant, &key.id, now_ms).await.map_err(stored)?;
        // Gateways hear of it and refuse the key at once.
        self.cache.delete(&Key::cache_name(&key.id)).await;
        info!(by = caller.key_id(), %tenant, key = key.id, "revoked a key");
        Ok(RevokeKeyResponse {})
    }

    pub(crate) async fn rotate(&self, caller: &Caller, request: &RotateKeyRequest) -> Result<RotateKeyResponse, Error> {
        let tenant = caller.tenant(&request.tenant_id)?;
        let overlap = overlap(request.overlap.as_ref())?;
        let old = self.listed_key(caller, &tenant, &request.key_id).await?;
        caller.may_give(old.scope.permissions, &old.scope.apps)?;
        if old.scope.priority < caller.priority() {
            return Err(denied("this key can't make one whose calls are more urgent than its own"));
        }
        if old.kind != KeyKind::Bearer {
            let description = "must be a key that is shown as its text: of one that signs tokens make another, sign with that, then revoke this one";
            return Err(Error::invalid("key_id", "NOT_ALLOWED", description));
        }
        let now_ms = (self.now_ms)();
        if !old.is_good(now_ms) {
            let description = "must be a key that is good: this one is revoked or has expired, make another";
            return Err(Error::invalid("key_id", "NOT_ALLOWED", description));
        }
        let text = new_text(old.environment);
        let key = Key {
            id: text.id().to_owned(),
            hash: text.hash(),
            rotated_from: Some(old.id.clone()),
            created_at_ms: now_ms,
            last_used_at_ms: None,
            ..old.clone()
        };
        let end_ms = now_ms.saturating_add(i64::try_from(overlap.as_millis()).unwrap_or(i64::MAX));
        self.acting(caller, "AdminService/RotateKey").rotate_key(&key, end_ms).await.map_err(stored)?;
        // Gateways hear of the old one's end, which may be now.
        self.cache.delete(&Key::cache_name(&old.id)).await;
        info!(by = caller.key_id(), %tenant, old = old.id, key = key.id, end_ms, "rotated a key");
        let expires_at_ms = Some(old.expires_at_ms.map_or(end_ms, |end| end.min(end_ms)));
        Ok(RotateKeyResponse {
            key: Some(key_to_wire(key)),
            secret: text.as_str().to_owned(),
            old_key: Some(key_to_wire(Key { expires_at_ms, ..old })),
        })
    }

    /// The tenant's key with this id. What the caller can't list doesn't exist for the caller.
    async fn listed_key(&self, caller: &Caller, tenant: &TenantId, id: &str) -> Result<Key, Error> {
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            let rule = if id.is_empty() { "REQUIRED" } else { "MALFORMED" };
            return Err(Error::invalid("key_id", rule, "must be the public part of one of the tenant's keys"));
        }
        let key = self.directory.key(id).await.map_err(stored)?;
        let listed = key.filter(|key| key.scope.tenant == *tenant && caller.covers(&key.scope.apps));
        listed.ok_or_else(|| Error::new(ErrorCode::NotFound, "the tenant has no such key"))
    }
}
