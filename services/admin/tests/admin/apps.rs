use api::v1::{App, CreateAppRequest, ListAppsRequest};
use mesh::context::CallContext;
use model::{
    ErrorCode::{AlreadyExists, NotFound, PermissionDenied},
    Permission,
};

use crate::world::{World, admin, admin_of, caller, code, fields, method, operator};

fn app(tenant: &str, id: &str, time_zone: &str) -> CreateAppRequest {
    let app = App { app_id: id.into(), time_zone: time_zone.into(), ..App::default() };
    CreateAppRequest { tenant_id: tenant.into(), app: Some(app) }
}

fn of(tenant: &str) -> ListAppsRequest {
    ListAppsRequest { tenant_id: tenant.into() }
}

async fn listed(world: &World, caller: &CallContext, tenant: &str) -> Vec<String> {
    let apps = world.call(caller, of(tenant), method!(list_apps)).await.unwrap().apps;
    apps.into_iter().map(|app| app.app_id).collect()
}

#[tokio::test]
async fn an_admin_manages_the_apps_of_its_own_tenant() {
    let world = World::new().await;
    let added =
        world.call(&admin("acme"), app("", "tv", "america/new_york"), method!(create_app)).await.unwrap().app.unwrap();
    assert_eq!((added.display_name.as_str(), added.time_zone.as_str()), ("tv", "America/New_York"));
    let named = world.call(&admin("acme"), app("acme", "watch", ""), method!(create_app)).await.unwrap().app.unwrap();
    assert_eq!(named.time_zone, "UTC");
    assert_eq!(listed(&world, &admin("acme"), "").await, ["ios", "tv", "watch", "web"]);
    assert_eq!(listed(&world, &admin("beta"), "beta").await, ["web"]);
    assert_eq!(code(world.call(&admin("acme"), app("", "web", ""), method!(create_app)).await), AlreadyExists);
}

#[tokio::test]
async fn another_tenant_looks_the_same_to_an_admin_whether_it_exists_or_not() {
    let world = World::new().await;
    let mut answers = Vec::new();
    for tenant in ["beta", "nobody", "not an id"] {
        for outcome in [
            world.call(&admin("acme"), of(tenant), method!(list_apps)).await.map(drop),
            world.call(&admin("acme"), app(tenant, "web", ""), method!(create_app)).await.map(drop),
        ] {
            let status = outcome.unwrap_err();
            answers.push((status.code(), status.message().to_owned(), status.details().to_vec()));
        }
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(answers[0].0, tonic::Code::PermissionDenied);
}

#[tokio::test]
async fn an_operator_names_the_tenant() {
    let world = World::new().await;
    assert_eq!(listed(&world, &operator(), "beta").await, ["web"]);
    world.call(&operator(), app("beta", "tv", ""), method!(create_app)).await.unwrap();
    assert_eq!(listed(&world, &operator(), "beta").await, ["tv", "web"]);
    assert_eq!(listed(&world, &operator(), "host").await, [""; 0]);

    assert_eq!(fields(world.call(&operator(), of(""), method!(list_apps)).await), ["tenant_id"]);
    assert_eq!(code(world.call(&operator(), of("nobody"), method!(list_apps)).await), NotFound);
    assert_eq!(code(world.call(&operator(), app("nobody", "web", ""), method!(create_app)).await), NotFound);
}

#[tokio::test]
async fn a_key_limited_to_some_apps_sees_and_adds_no_others() {
    let world = World::new().await;
    let limited = admin_of("acme", &["web"]);
    assert_eq!(listed(&world, &limited, "").await, ["web"]);
    // `ios` is taken and `tv` is free: the refusals are the same.
    for id in ["ios", "tv"] {
        assert_eq!(code(world.call(&limited, app("", id, ""), method!(create_app)).await), PermissionDenied);
    }
}

#[tokio::test]
async fn other_permissions_manage_nothing() {
    let world = World::new().await;
    use Permission::{Backfill, Ingest, Metrics, Query};
    let all_others = caller("acme", &[], &[Ingest, Query, Metrics, Backfill]);
    assert_eq!(code(world.call(&all_others, of(""), method!(list_apps)).await), PermissionDenied);
    assert_eq!(code(world.call(&all_others, app("", "tv", ""), method!(create_app)).await), PermissionDenied);
}

#[tokio::test]
async fn a_refusal_names_every_field_at_fault() {
    let world = World::new().await;
    let mut bad = app("", "", "Mars/Olympus");
    bad.app.as_mut().unwrap().display_name = "x".repeat(129);
    let refused = world.call(&admin("acme"), bad, method!(create_app)).await;
    assert_eq!(fields(refused), ["app.app_id", "app.display_name", "app.time_zone"]);
}
