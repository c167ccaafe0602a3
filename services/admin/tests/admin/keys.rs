use std::collections::HashSet;

use api::{
    convert::{WireDuration, time_to_wire},
    v1::{
        CreateKeyRequest, CreateKeyResponse, ListKeysRequest, Permission as Wire, Priority as WirePriority,
        RevokeKeyRequest, RotateKeyRequest, RotateKeyResponse,
    },
};
use mesh::context::CallContext;
use model::{
    ErrorCode::{AlreadyExists, NotFound, PermissionDenied},
    KeyText, Permission, Priority,
};
use tonic::Status;

use crate::world::{NOW_MS, World, admin, admin_of, caller, code, fields, method, operator};

fn wanted(tenant: &str, apps: &[&str], permissions: &[Wire]) -> CreateKeyRequest {
    CreateKeyRequest {
        tenant_id: tenant.into(),
        display_name: "a key".into(),
        permissions: permissions.iter().map(|p| *p as i32).collect(),
        app_ids: apps.iter().map(|app| (*app).into()).collect(),
        ..CreateKeyRequest::default()
    }
}

async fn make(world: &World, caller: &CallContext, wanted: CreateKeyRequest) -> Result<CreateKeyResponse, Status> {
    world.call(caller, wanted, method!(create_key)).await
}

async fn made(world: &World, caller: &CallContext, wanted: CreateKeyRequest) -> String {
    make(world, caller, wanted).await.unwrap().key.unwrap().key_id
}

async fn listed(world: &World, caller: &CallContext, tenant: &str) -> Vec<String> {
    let request = ListKeysRequest { tenant_id: tenant.into() };
    let keys = world.call(caller, request, method!(list_keys)).await.unwrap().keys;
    keys.into_iter().map(|key| key.key_id).collect()
}

async fn revoke(world: &World, caller: &CallContext, tenant: &str, id: &str) -> Result<(), Status> {
    let request = RevokeKeyRequest { tenant_id: tenant.into(), key_id: id.into() };
    world.call(caller, request, method!(revoke_key)).await.map(drop)
}

#[tokio::test]
async fn a_key_s_text_is_shown_once_and_only_its_hash_is_kept() {
    let world = World::new().await;
    let mut request = wanted("", &["web", "ios", "web"], &[Wire::Backfill, Wire::Ingest]);
    request.expires_at = Some(time_to_wire(NOW_MS + 1));
    let answer = make(&world, &admin("acme"), request).await.unwrap();
    let (key, text) = (answer.key.unwrap(), KeyText::parse(&answer.secret).unwrap());
    assert_eq!(key.key_id, text.id());
    assert_eq!(key.app_ids, ["ios", "web"]);
    assert_eq!(key.permissions, [Wire::Ingest as i32, Wire::Backfill as i32]);
    assert_eq!((key.created_at, key.expires_at), (Some(time_to_wire(NOW_MS)), Some(time_to_wire(NOW_MS + 1))));

    use sha2::{Digest, Sha256};
    let stored = world.directory.key(text.id()).await.unwrap().unwrap();
    assert_eq!(stored.hash, <[u8; 32]>::from(Sha256::digest(answer.secret.as_bytes())));
    assert_eq!(stored.scope.tenant.as_str(), "acme");
    assert_eq!(stored.scope.priority, Priority::Scheduled, "no key hands on more than it has");
    assert_eq!(key.priority, WirePriority::Scheduled as i32);
    let request = CreateKeyRequest { priority: WirePriority::Background.into(), ..wanted("", &[], &[Wire::Query]) };
    let background = make(&world, &admin("acme"), request).await.unwrap().key.unwrap();
    assert_eq!(background.priority, WirePriority::Background as i32);

    let list = world.call(&admin("acme"), ListKeysRequest::default(), method!(list_keys)).await.unwrap();
    assert!(list.keys.contains(&key) && list.keys.contains(&background) && list.keys.len() == 2);
    assert!(!format!("{list:?}").contains(&answer.secret[answer.secret.len() - 38..]));
    assert_ne!(made(&world, &admin("acme"), wanted("", &[], &[Wire::Query])).await, text.id());
}

#[tokio::test]
async fn what_a_key_may_be() {
    let world = World::new().await;
    let acme = admin("acme");
    let field = async |request| fields(make(&world, &acme, request).await);
    assert_eq!(field(wanted("", &[], &[])).await, ["permissions"]);
    assert_eq!(field(wanted("", &[], &[Wire::Backfill])).await, ["permissions"]);
    assert_eq!(field(wanted("", &[], &[Wire::Export])).await, ["permissions"]);
    let places = CreateKeyRequest {
        environment: 3,
        allowed_cidrs: vec!["10.0.0.0/8".into(), "10.0.0.1/8".into(), String::new()],
        allowed_origins: vec!["https://dash.example/".into()],
        ..wanted("", &[], &[Wire::Query])
    };
    assert_eq!(field(places).await, ["environment", "allowed_cidrs[1]", "allowed_cidrs[2]", "allowed_origins[0]"]);
    let many = CreateKeyRequest {
        allowed_cidrs: vec!["::1".into(); 33],
        allowed_origins: vec!["http://a".into(); 33],
        ..wanted("", &[], &[Wire::Query])
    };
    assert_eq!(field(many).await, ["allowed_cidrs", "allowed_origins"]);
    assert_eq!(field(CreateKeyRequest { priority: 4, ..wanted("", &[], &[Wire::Query]) }).await, ["priority"]);
    assert_eq!(
        field(wanted("", &["a b", "web", ""], &[Wire::Query, Wire::Unspecified])).await,
        ["permissions[1]", "app_ids[0]", "app_ids[2]"]
    );
    for expiry in [NOW_MS, NOW_MS - 1, i64::MIN] {
        let mut request = wanted("", &[], &[Wire::Query]);
        request.display_name = "x".repeat(129);
        request.expires_at = Some(time_to_wire(expiry));
        assert_eq!(field(request).await, ["display_name", "expires_at"]);
    }
    assert_eq!(code(make(&world, &acme, wanted("", &["nowhere"], &[Wire::Query])).await), NotFound);
    let many = field(wanted("", &["?"; 5000], &[Wire::Query])).await;
    assert!((1..100).contains(&many.len()), "{} violations don't fit a header", many.len());
}

#[tokio::test]
async fn an_admin_gives_what_a_tenant_s_key_can_have_and_no_more() {
    let world = World::new().await;
    for permission in [Wire::Ingest, Wire::Query, Wire::Metrics, Wire::Admin] {
        make(&world, &admin("acme"), wanted("acme", &[], &[permission])).await.unwrap();
    }
    assert_eq!(code(make(&world, &admin("acme"), wanted("", &[], &[Wire::Operator])).await), PermissionDenied);
    for tenant in ["beta", "nobody"] {
        assert_eq!(code(make(&world, &admin("acme"), wanted(tenant, &[], &[Wire::Query])).await), PermissionDenied);
    }
    use Permission::{Backfill, Ingest, Metrics, Query};
    let others = caller("acme", &[], &[Ingest, Query, Metrics, Backfill]);
    assert_eq!(code(make(&world, &others, wanted("", &[], &[Wire::Query])).await), PermissionDenied);
}

#[tokio::test]
async fn an_operator_makes_keys_for_any_tenant_and_other_operators() {
    let world = World::new().await;
    let id = made(&world, &operator(), wanted("beta", &["web"], &[Wire::Admin])).await;
    assert_eq!(listed(&world, &admin("beta"), "").await, [id]);
    make(&world, &operator(), wanted("host", &[], &[Wire::Operator])).await.unwrap();
    assert_eq!(fields(make(&world, &operator(), wanted("beta", &["web"], &[Wire::Operator])).await), ["app_ids"]);
    assert_eq!(fields(make(&world, &operator(), wanted("", &[], &[Wire::Query])).await), ["tenant_id"]);
    assert_eq!(code(make(&world, &operator(), wanted("nobody", &[], &[Wire::Query])).await), NotFound);
    let nobody = ListKeysRequest { tenant_id: "nobody".into() };
    assert_eq!(code(world.call(&operator(), nobody, method!(list_keys)).await), NotFound);
}

#[tokio::test]
async fn a_key_limited_to_some_apps_manages_only_keys_within_them() {
    let world = World::new().await;
    let limited = admin_of("acme", &["web"]);
    let whole = made(&world, &admin("acme"), wanted("", &[], &[Wire::Query])).await;
    let other = made(&world, &admin("acme"), wanted("", &["ios"], &[Wire::Query])).await;
    let wider = made(&world, &admin("acme"), wanted("", &["ios", "web"], &[Wire::Query])).await;
    let within = made(&world, &limited, wanted("", &["web"], &[Wire::Admin])).await;
    for apps in [&[][..], &["ios"], &["web", "ios"], &["web", "nowhere"]] {
        assert_eq!(code(make(&world, &limited, wanted("", apps, &[Wire::Query])).await), PermissionDenied, "{apps:?}");
    }
    assert_eq!(listed(&world, &limited, "").await, [within.as_str()]);
    for out_of_reach in [&whole, &other, &wider] {
        assert_eq!(code(revoke(&world, &limited, "", out_of_reach).await), NotFound);
    }
    revoke(&world, &limited, "", &within).await.unwrap();
    let all = HashSet::from([whole, other, wider, within]);
    assert_eq!(listed(&world, &admin("acme"), "").await.into_iter().collect::<HashSet<_>>(), all);
}

#[tokio::test]
async fn revoking_keeps_the_first_time_and_stays_in_the_tenant() {
    let world = World::new().await;
    let id = made(&world, &admin("acme"), wanted("", &[], &[Wire::Query])).await;
    let revoked_at = async || world.directory.key(&id).await.unwrap().unwrap().revoked_at_ms;

    assert_eq!(code(revoke(&world, &admin("beta"), "", &id).await), NotFound);
    assert_eq!(code(revoke(&world, &admin("beta"), "acme", &id).await), PermissionDenied);
    assert_eq!(code(revoke(&world, &operator(), "beta", &id).await), NotFound);
    for malformed in ["", "a\0", "a-b"] {
        assert_eq!(fields(revoke(&world, &admin("acme"), "", malformed).await), ["key_id"]);
    }
    assert_eq!(revoked_at().await, None);

    let mut deleted = world.cache.deleted();
    revoke(&world, &operator(), "acme", &id).await.unwrap();
    assert_eq!(deleted.try_recv().unwrap(), storage::Key::cache_name(&id), "gateways hear of it");
    assert_eq!(revoked_at().await, Some(NOW_MS));
    revoke(&world, &admin("acme"), "", &id).await.unwrap();
    assert_eq!(revoked_at().await, Some(NOW_MS));
}

#[tokio::test]
async fn an_operator_s_key_is_revoked_by_operators_only() {
    let world = World::new().await;
    let id = made(&world, &operator(), wanted("acme", &[], &[Wire::Operator])).await;
    assert_eq!(code(revoke(&world, &admin("acme"), "", &id).await), PermissionDenied);
    assert_eq!(
        code(revoke(&world, &admin("beta"), "", &id).await),
        NotFound,
        "another tenant doesn't learn that it exists"
    );
    revoke(&world, &operator(), "acme", &id).await.unwrap();
}

async fn rotate(world: &World, caller: &CallContext, tenant: &str, id: &str) -> Result<RotateKeyResponse, Status> {
    let request = RotateKeyRequest { tenant_id: tenant.into(), key_id: id.into(), overlap: None };
    world.call(caller, request, method!(rotate_key)).await
}

#[tokio::test]
async fn a_key_is_rotated_by_who_could_make_it_and_once() {
    const DAY_MS: i64 = 86_400_000;
    let world = World::new().await;
    let acme = admin("acme");
    let request = CreateKeyRequest {
        expires_at: Some(time_to_wire(NOW_MS + DAY_MS / 2)),
        allowed_cidrs: vec!["10.0.0.0/8".into()],
        ..wanted("", &["web"], &[Wire::Query, Wire::Export])
    };
    let key = make(&world, &acme, request).await.unwrap().key.unwrap();
    let urgent = made(&world, &operator(), wanted("acme", &[], &[Wire::Operator])).await;
    let whole = made(&world, &acme, wanted("", &[], &[Wire::Query])).await;
    for (caller, tenant, id, refusal) in [
        (&admin("beta"), "", &key.key_id, NotFound),
        (&admin("beta"), "acme", &key.key_id, PermissionDenied),
        (&admin_of("acme", &["ios"]), "", &key.key_id, NotFound),
        (&admin_of("acme", &["web"]), "", &whole, NotFound),
        (&acme, "", &urgent, PermissionDenied),
        (&caller("acme", &[], &[Permission::Query]), "", &key.key_id, PermissionDenied),
    ] {
        assert_eq!(code(rotate(&world, caller, tenant, id).await), refusal, "{id}");
    }
    let mut slow = acme.clone();
    slow.scope.priority = Priority::Background;
    assert_eq!(
        code(rotate(&world, &slow, "", &key.key_id).await),
        PermissionDenied,
        "no key hands on more than it has"
    );

    let mut deleted = world.cache.deleted();
    let answer = rotate(&world, &admin_of("acme", &["web"]), "", &key.key_id).await.unwrap();
    assert_eq!(deleted.try_recv().unwrap(), storage::Key::cache_name(&key.key_id), "gateways hear of it");
    let (new, text) = (answer.key.unwrap(), KeyText::parse(&answer.secret).unwrap());
    assert_eq!(world.directory.key(text.id()).await.unwrap().unwrap().hash, text.hash());
    assert_eq!((new.key_id.as_str(), &new.rotated_from), (text.id(), &key.key_id));
    let like = |key: &api::v1::Key| api::v1::Key { key_id: String::new(), rotated_from: String::new(), ..key.clone() };
    assert_eq!(like(&new), like(&key));
    assert_eq!(answer.old_key.unwrap(), key, "it ends before the overlap does");
    assert_eq!(code(rotate(&world, &acme, "", &key.key_id).await), AlreadyExists);

    let overlap = async |seconds, nanos| {
        let overlap = Some(WireDuration { seconds, nanos });
        let request = RotateKeyRequest { tenant_id: String::new(), key_id: whole.clone(), overlap };
        world.call(&acme, request, method!(rotate_key)).await
    };
    for (seconds, nanos) in [(-1, 0), (0, -1), (30 * 86_400, 1), (i64::MAX, 0), (i64::MIN, i32::MIN)] {
        assert_eq!(fields(overlap(seconds, nanos).await), ["overlap"]);
    }
    let old = overlap(30 * 86_400, 0).await.unwrap().old_key.unwrap();
    assert_eq!(old.expires_at, Some(time_to_wire(NOW_MS + 30 * DAY_MS)));
    revoke(&world, &acme, "", &new.key_id).await.unwrap();
    assert_eq!(fields(rotate(&world, &acme, "", &new.key_id).await), ["key_id"]);
}
