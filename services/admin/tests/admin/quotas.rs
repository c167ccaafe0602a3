use api::v1::{GetTenantQuotaRequest, SetTenantQuotaRequest, TenantQuota};
use model::ErrorCode::{NotFound, PermissionDenied};

use crate::world::{World, admin, code, fields, method, operator};

fn set(tenant: &str, quota: TenantQuota) -> SetTenantQuotaRequest {
    SetTenantQuotaRequest { tenant_id: tenant.into(), quota: Some(quota) }
}

fn get(tenant: &str) -> GetTenantQuotaRequest {
    GetTenantQuotaRequest { tenant_id: tenant.into() }
}

#[tokio::test]
async fn an_operator_sets_a_quota_and_its_tenant_can_read_it() {
    let world = World::new().await;
    let quota = TenantQuota { events_per_second: Some(100), bytes_per_second: Some(0), ..TenantQuota::default() };
    let answer = world.call(&operator(), set("acme", quota), method!(set_tenant_quota)).await.unwrap();
    assert_eq!(answer.quota, Some(quota));
    for (caller, named) in [(operator(), "acme"), (admin("acme"), ""), (admin("acme"), "acme")] {
        let answer = world.call(&caller, get(named), method!(get_tenant_quota)).await.unwrap();
        assert_eq!(answer.quota, Some(quota));
    }
    let others = world.call(&admin("beta"), get(""), method!(get_tenant_quota)).await.unwrap();
    assert_eq!(others.quota, Some(TenantQuota::default()));
    world.call(&operator(), set("acme", TenantQuota::default()), method!(set_tenant_quota)).await.unwrap();
    let taken_back = world.call(&admin("acme"), get(""), method!(get_tenant_quota)).await.unwrap();
    assert_eq!(taken_back.quota, Some(TenantQuota::default()));
}

#[tokio::test]
async fn a_tenant_neither_raises_its_own_quota_nor_reads_another_s() {
    let world = World::new().await;
    for named in ["acme", "beta", "nobody", ""] {
        let raised = world.call(&admin("acme"), set(named, TenantQuota::default()), method!(set_tenant_quota)).await;
        assert_eq!(code(raised), PermissionDenied);
    }
    for named in ["beta", "nobody"] {
        assert_eq!(code(world.call(&admin("acme"), get(named), method!(get_tenant_quota)).await), PermissionDenied);
    }
}

#[tokio::test]
async fn a_quota_that_can_not_be_is_refused_by_field() {
    let world = World::new().await;
    let huge = TenantQuota { events_burst: Some(1 << 60), bytes_burst: Some(u64::MAX), ..TenantQuota::default() };
    let refused = world.call(&operator(), set("acme", huge), method!(set_tenant_quota)).await;
    assert_eq!(fields(refused), ["quota.events_burst", "quota.bytes_burst"]);
    let none = SetTenantQuotaRequest { tenant_id: "acme".into(), quota: None };
    assert_eq!(fields(world.call(&operator(), none, method!(set_tenant_quota)).await), ["quota"]);
    let unnamed = world.call(&operator(), set("", TenantQuota::default()), method!(set_tenant_quota)).await;
    assert_eq!(fields(unnamed), ["tenant_id"]);
    let nobody = world.call(&operator(), set("nobody", TenantQuota::default()), method!(set_tenant_quota)).await;
    assert_eq!(code(nobody), NotFound);
    assert_eq!(code(world.call(&operator(), get("nobody"), method!(get_tenant_quota)).await), NotFound);
}
