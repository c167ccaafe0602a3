use api::v1::{GetTenantRetentionRequest, SetTenantRetentionRequest};
use model::ErrorCode::{NotFound, PermissionDenied};

use crate::world::{World, admin, code, fields, method, operator};

fn set(tenant: &str, app: &str, days: Option<u32>) -> SetTenantRetentionRequest {
    SetTenantRetentionRequest { tenant_id: tenant.into(), app_id: app.into(), days }
}

fn get(tenant: &str, app: &str) -> GetTenantRetentionRequest {
    GetTenantRetentionRequest { tenant_id: tenant.into(), app_id: app.into() }
}

#[tokio::test]
async fn an_app_s_retention_holds_before_its_tenant_s_and_that_before_the_server_s() {
    let world = World::new().await;
    let kept = async |app: &str| {
        let answer = world.call(&admin("acme"), get("", app), method!(get_tenant_retention)).await.unwrap();
        (answer.days, answer.effective_days)
    };
    let change = async |app: &str, days| {
        let answer = world.call(&operator(), set("acme", app, days), method!(set_tenant_retention)).await.unwrap();
        assert_eq!((answer.days, answer.effective_days), kept(app).await);
    };
    assert_eq!((kept("").await, kept("web").await), ((None, 400), (None, 400)), "the server's");
    change("", Some(30)).await;
    change("web", Some(0)).await;
    assert_eq!((kept("").await, kept("web").await, kept("ios").await), ((Some(30), 30), (Some(0), 0), (None, 30)));
    change("web", None).await;
    assert_eq!(kept("web").await, (None, 30));
    let other = world.call(&admin("beta"), get("", ""), method!(get_tenant_retention)).await.unwrap();
    assert_eq!((other.days, other.effective_days), (None, 400));
}

#[tokio::test]
async fn only_an_operator_says_when_events_go() {
    let world = World::new().await;
    for named in ["acme", "beta", "nobody", ""] {
        let shortened = world.call(&admin("acme"), set(named, "", Some(1)), method!(set_tenant_retention)).await;
        assert_eq!(code(shortened), PermissionDenied);
    }
    let foreign = world.call(&admin("acme"), get("beta", ""), method!(get_tenant_retention)).await;
    assert_eq!(code(foreign), PermissionDenied);
}

#[tokio::test]
async fn a_retention_that_can_not_be_is_refused_by_field() {
    let world = World::new().await;
    let refused = async |request| world.call(&operator(), request, method!(set_tenant_retention)).await;
    assert_eq!(fields(refused(set("acme", "", Some(36_501))).await), ["days"]);
    assert_eq!(fields(refused(set("acme", "no app", Some(1))).await), ["app_id"]);
    assert_eq!(fields(refused(set("", "", Some(1))).await), ["tenant_id"]);
    assert_eq!(code(refused(set("nobody", "", Some(1))).await), NotFound);
    assert_eq!(code(refused(set("acme", "none", Some(1))).await), NotFound);
    assert_eq!(code(world.call(&operator(), get("acme", "none"), method!(get_tenant_retention)).await), NotFound);
    assert_eq!(code(world.call(&operator(), get("nobody", ""), method!(get_tenant_retention)).await), NotFound);
}
