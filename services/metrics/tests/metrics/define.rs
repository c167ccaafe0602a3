//! Defining and reading.

use api::v1::{
    CreateMetricRequest, DeleteMetricRequest, GetMetricRequest, ListMetricVersionsRequest, ListMetricsRequest, Metric,
    MetricDefinition, UpdateMetricRequest,
};
use mesh::context::CallContext;
use model::{
    ErrorCode::{self, AlreadyExists, Conflict, InvalidArgument, InvalidQuery, NotFound, PermissionDenied},
    Permission,
};
use tonic::Status;

use crate::world::{NOW_MS, World, analyst, caller, code, fields, method, refusal, revenue};

async fn create(
    world: &World,
    caller: &CallContext,
    app: &str,
    definition: MetricDefinition,
) -> Result<Metric, Status> {
    let request = CreateMetricRequest { app_id: app.into(), definition: Some(definition) };
    Ok(world.call(caller, request, method!(create_metric)).await?.metric.unwrap())
}

async fn update(world: &World, definition: MetricDefinition, base_version: u32) -> Result<Metric, Status> {
    let request = UpdateMetricRequest { app_id: "shop".into(), definition: Some(definition), base_version };
    Ok(world.call(&analyst(), request, method!(update_metric)).await?.metric.unwrap())
}

async fn get(world: &World, name: &str, version: u32) -> Result<Metric, Status> {
    let request = GetMetricRequest { app_id: "shop".into(), name: name.into(), version };
    Ok(world.call(&analyst(), request, method!(get_metric)).await?.metric.unwrap())
}

async fn versions(world: &World, name: &str) -> Result<Vec<u32>, Status> {
    let request = ListMetricVersionsRequest { app_id: "shop".into(), name: name.into() };
    let metrics = world.call(&analyst(), request, method!(list_metric_versions)).await?.metrics;
    Ok(metrics.into_iter().map(|metric| metric.version).collect())
}

async fn listed(world: &World, caller: &CallContext, app: &str) -> Result<Vec<(String, u32)>, Status> {
    let metrics = world.call(caller, ListMetricsRequest { app_id: app.into() }, method!(list_metrics)).await?.metrics;
    Ok(metrics.into_iter().map(|metric| (metric.definition.unwrap().name, metric.version)).collect())
}

async fn delete(world: &World, caller: &CallContext, name: &str) -> Result<(), Status> {
    let request = DeleteMetricRequest { app_id: "shop".into(), name: name.into() };
    world.call(caller, request, method!(delete_metric)).await.map(drop)
}

#[tokio::test]
async fn a_definition_comes_back_as_it_was_given() {
    let world = World::new().await;
    let made = create(&world, &analyst(), "shop", revenue()).await.unwrap();
    assert_eq!((made.version, made.created_at), (1, Some(api::convert::time_to_wire(NOW_MS))));
    assert_eq!(made.definition, Some(revenue()));
    assert_eq!(get(&world, "revenue_per_user", 0).await.unwrap(), made);
    assert_eq!(code(create(&world, &analyst(), "shop", revenue()).await), AlreadyExists);

    let plain = MetricDefinition { name: "events".into(), formula: "COUNT(*)".into(), ..MetricDefinition::default() };
    let made = create(&world, &analyst(), "shop", plain).await.unwrap();
    assert_eq!(made.definition.unwrap().display_name, "events");
    assert_eq!(
        listed(&world, &analyst(), "shop").await.unwrap(),
        [("events".into(), 1), ("revenue_per_user".into(), 1)]
    );
    assert_eq!(listed(&world, &analyst(), "blog").await.unwrap(), []);
}

#[tokio::test]
async fn a_change_is_a_new_version_of_the_newest() {
    let world = World::new().await;
    assert_eq!(code(update(&world, revenue(), 1).await), NotFound);
    let first = create(&world, &analyst(), "shop", revenue()).await.unwrap();
    let euros = MetricDefinition { unit: "EUR".into(), ..revenue() };
    let second = update(&world, euros.clone(), 1).await.unwrap();
    assert_eq!((second.version, second.definition), (2, Some(euros.clone())));
    for stale in [1, 3, u32::MAX] {
        assert_eq!(code(update(&world, revenue(), stale).await), Conflict, "{stale}");
    }
    assert_eq!(fields(update(&world, revenue(), 0).await), ["base_version"]);
    let nameless = MetricDefinition { name: String::new(), ..euros };
    assert_eq!(fields(update(&world, nameless, 0).await), ["definition.name", "base_version"]);

    assert_eq!(versions(&world, "revenue_per_user").await.unwrap(), [2, 1]);
    assert_eq!(get(&world, "revenue_per_user", 1).await.unwrap(), first);
    assert_eq!(get(&world, "revenue_per_user", 2).await.unwrap(), get(&world, "revenue_per_user", 0).await.unwrap());
    assert_eq!(listed(&world, &analyst(), "shop").await.unwrap(), [("revenue_per_user".into(), 2)]);
}

#[tokio::test]
async fn a_deleted_metric_is_gone_with_its_history() {
    let world = World::new().await;
    create(&world, &analyst(), "shop", revenue()).await.unwrap();
    update(&world, revenue(), 1).await.unwrap();
    delete(&world, &analyst(), "revenue_per_user").await.unwrap();
    assert_eq!(code(delete(&world, &analyst(), "revenue_per_user").await), NotFound);
    for version in [0, 1] {
        assert_eq!(code(get(&world, "revenue_per_user", version).await), NotFound);
    }
    assert_eq!(code(versions(&world, "revenue_per_user").await), NotFound);
    assert_eq!(create(&world, &analyst(), "shop", revenue()).await.unwrap().version, 1);
}

#[tokio::test]
async fn a_wrong_definition_is_not_kept() {
    let world = World::new().await;
    let unknown = MetricDefinition { formula: "SUM(purchase_amout)".into(), ..revenue() };
    let error = refusal(create(&world, &analyst(), "shop", unknown).await);
    assert_eq!((error.code, error.violations.len()), (InvalidQuery, 1));
    let violation = &error.violations[0];
    assert_eq!((violation.field.as_str(), violation.span), ("definition.formula", Some((4, 18))));
    assert!(violation.description.contains("`purchase_amount`"), "{violation:?}");

    let nameless = CreateMetricRequest { app_id: "shop".into(), definition: None };
    assert_eq!(fields(world.call(&analyst(), nameless, method!(create_metric)).await), ["definition"]);
    let many = MetricDefinition { filters: vec![revenue().filters[0].clone(); 65], ..revenue() };
    assert_eq!(fields(create(&world, &analyst(), "shop", many).await), ["definition.filters"]);
    assert_eq!(listed(&world, &analyst(), "shop").await.unwrap(), []);
}

#[tokio::test]
async fn defining_and_reading_are_two_permissions() {
    let world = World::new().await;
    let (definer, reader) = (caller("acme", &[], &[Permission::Metrics]), caller("acme", &[], &[Permission::Query]));
    assert_eq!(code(create(&world, &reader, "shop", revenue()).await), PermissionDenied);
    create(&world, &definer, "shop", revenue()).await.unwrap();
    assert_eq!(code(listed(&world, &definer, "shop").await), PermissionDenied);
    assert_eq!(listed(&world, &reader, "shop").await.unwrap().len(), 1);
    assert_eq!(code(delete(&world, &reader, "revenue_per_user").await), PermissionDenied);
    delete(&world, &definer, "revenue_per_user").await.unwrap();
}

#[tokio::test]
async fn a_metric_stays_in_its_tenant_and_app() {
    let world = World::new().await;
    create(&world, &analyst(), "shop", revenue()).await.unwrap();
    use Permission::{Metrics, Query};
    let beta = caller("beta", &[], &[Metrics, Query]);
    assert_eq!(listed(&world, &beta, "shop").await.unwrap(), []);
    assert_eq!(code(delete(&world, &beta, "revenue_per_user").await), NotFound);
    // Properties are an app's own: beta's shop has none.
    assert_eq!(code(create(&world, &beta, "shop", revenue()).await), InvalidQuery);

    let blogger = caller("acme", &["blog"], &[Metrics, Query]);
    let answer = async |caller: &CallContext, app: &str| -> ErrorCode { code(listed(&world, caller, app).await) };
    assert_eq!(answer(&blogger, "shop").await, PermissionDenied);
    assert_eq!(answer(&blogger, "nowhere").await, PermissionDenied);
    assert_eq!(answer(&analyst(), "nowhere").await, NotFound);
    assert_eq!(answer(&analyst(), "").await, InvalidArgument);
}

#[tokio::test]
async fn a_name_that_no_metric_can_have_is_refused() {
    let world = World::new().await;
    for name in ["", "Revenue", &"x".repeat(65)] {
        assert_eq!(fields(get(&world, name, 0).await), ["name"]);
        assert_eq!(fields(versions(&world, name).await), ["name"]);
        assert_eq!(fields(delete(&world, &analyst(), name).await), ["name"]);
    }
}
