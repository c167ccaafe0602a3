use api::v1::{CreateTenantRequest, ListTenantsRequest, Tenant};
use model::ErrorCode::{AlreadyExists, PermissionDenied, Unauthenticated, Unavailable};

use crate::world::{NOW_MS, World, admin, code, fields, method, operator};

fn tenant(id: &str, display_name: &str) -> CreateTenantRequest {
    CreateTenantRequest {
        tenant: Some(Tenant { tenant_id: id.into(), display_name: display_name.into(), created_at: None }),
    }
}

#[tokio::test]
async fn an_operator_adds_and_lists_tenants() {
    let world = World::new().await;
    let added = world.call(&operator(), tenant("a-new-one", ""), method!(create_tenant)).await.unwrap().tenant.unwrap();
    assert_eq!((added.tenant_id.as_str(), added.display_name.as_str()), ("a-new-one", "a-new-one"));
    assert_eq!(added.created_at, Some(api::convert::time_to_wire(NOW_MS)));

    let tenants = world.call(&operator(), ListTenantsRequest {}, method!(list_tenants)).await.unwrap().tenants;
    let ids: Vec<_> = tenants.iter().map(|t| t.tenant_id.as_str()).collect();
    assert_eq!(ids, ["a-new-one", "acme", "beta", "host"]);
    assert_eq!(tenants[0], added);

    assert_eq!(code(world.call(&operator(), tenant("acme", ""), method!(create_tenant)).await), AlreadyExists);
}

#[tokio::test]
async fn tenants_are_the_operator_s_alone() {
    let world = World::new().await;
    assert_eq!(code(world.call(&admin("acme"), ListTenantsRequest {}, method!(list_tenants)).await), PermissionDenied);
    // Neither a taken name nor a bad one tells an admin anything.
    for id in ["beta", "free", "not an id"] {
        assert_eq!(code(world.call(&admin("acme"), tenant(id, ""), method!(create_tenant)).await), PermissionDenied);
    }
}

#[tokio::test]
async fn a_refusal_names_every_field_at_fault() {
    let world = World::new().await;
    for name in [&"x".repeat(129), "a\0b"] {
        let refused = world.call(&operator(), tenant("not an id", name), method!(create_tenant)).await;
        assert_eq!(fields(refused), ["tenant.tenant_id", "tenant.display_name"]);
    }
    let refused = world.call(&operator(), CreateTenantRequest::default(), method!(create_tenant)).await;
    assert_eq!(fields(refused), ["tenant"]);
}

#[tokio::test]
async fn only_the_gateway_s_calls_are_taken() {
    let world = World::new().await;
    let mut client = api::v1::admin_service_client::AdminServiceClient::new(world.service.clone());
    assert_eq!(code(client.list_tenants(ListTenantsRequest {}).await), Unauthenticated);
    let mut late = operator();
    late.good_until_ms = NOW_MS;
    // Their clocks differ: a caller is not told that its key is bad.
    assert_eq!(code(world.call(&late, ListTenantsRequest {}, method!(list_tenants)).await), Unavailable);
}
