//! Keeping dashboards: what comes back, what is refused, and who sees what.

use api::v1::{
    Dashboard, DeleteDashboardRequest, Evaluation, GetDashboardRequest, ListDashboardsRequest, Measure,
    PutDashboardRequest, SqlQuery, Tile, TileMetric, TimeRange, TypedQuery,
    dashboard_service_client::DashboardServiceClient, explain_request, tile::Question,
};
use mesh::context::CallContext;
use model::{ErrorCode, Permission};
use prost_types::Duration;
use tonic::Status;

use crate::world::{World, analyst, caller, code, fields, refusal};

/// Calls a method of the dashboards' contract.
macro_rules! method {
    ($name:ident) => {
        |service, request| async move { DashboardServiceClient::new(service).$name(request).await }
    };
}

fn query(formula: &str) -> Question {
    let measures = vec![Measure { name: "n".into(), formula: formula.into(), ..Measure::default() }];
    Question::Query(TypedQuery { measures, ..TypedQuery::default() })
}

fn tile(id: &str, question: Question) -> Tile {
    Tile { id: id.into(), title: format!("Tile {id}"), width: 2, question: Some(question), ..Tile::default() }
}

fn dashboard(tiles: Vec<Tile>) -> Dashboard {
    Dashboard { dashboard_id: "sales".into(), title: "Sales".into(), tiles, ..Dashboard::default() }
}

async fn put(world: &World, by: &CallContext, dashboard: Dashboard) -> Result<Dashboard, Status> {
    let request = PutDashboardRequest { app_id: "shop".into(), dashboard: Some(dashboard) };
    Ok(world.send(by, request, method!(put_dashboard)).await?.dashboard.unwrap())
}

async fn get(world: &World, by: &CallContext, id: &str) -> Result<Dashboard, Status> {
    let request = GetDashboardRequest { app_id: "shop".into(), dashboard_id: id.into() };
    Ok(world.send(by, request, method!(get_dashboard)).await?.dashboard.unwrap())
}

async fn ids(world: &World, by: &CallContext) -> Vec<String> {
    let request = ListDashboardsRequest { app_id: "shop".into() };
    let listed = world.send(by, request, method!(list_dashboards)).await.unwrap().dashboards;
    listed.into_iter().map(|dashboard| dashboard.dashboard_id).collect()
}

async fn delete(world: &World, by: &CallContext, etag: &str) -> Result<(), Status> {
    let request = DeleteDashboardRequest { app_id: "shop".into(), dashboard_id: "sales".into(), etag: etag.into() };
    world.send(by, request, method!(delete_dashboard)).await.map(drop)
}

#[tokio::test]
async fn what_was_put_comes_back_and_two_editors_do_not_overwrite_each_other() {
    let world = World::new().await;
    let sql = SqlQuery { sql: "SELECT COUNT(*) AS n FROM events".into(), app_id: "shop".into() };
    let given = dashboard(vec![tile("a", query("COUNT(*)")), tile("b", Question::Sql(sql))]);
    let first = put(&world, &analyst(), Dashboard { updated_by: "somebody".into(), ..given }).await.unwrap();
    assert_eq!((first.updated_by.as_str(), first.etag.len()), ("caller", 16));
    assert!(first.updated_at.is_some());
    assert_eq!(get(&world, &analyst(), "sales").await.unwrap(), first);
    assert_eq!(ids(&world, &analyst()).await, ["sales"]);

    assert_eq!(code(put(&world, &analyst(), dashboard(vec![])).await), ErrorCode::AlreadyExists);
    let second = put(&world, &analyst(), Dashboard { title: "Sales, all".into(), ..first.clone() }).await.unwrap();
    assert_ne!(second.etag, first.etag);
    assert_eq!(code(put(&world, &analyst(), first.clone()).await), ErrorCode::Conflict);
    assert_eq!(code(delete(&world, &analyst(), &first.etag).await), ErrorCode::Conflict);
    assert_eq!(get(&world, &analyst(), "sales").await.unwrap(), second);
    delete(&world, &analyst(), &second.etag).await.unwrap();
    assert_eq!(code(get(&world, &analyst(), "sales").await), ErrorCode::NotFound);
    assert_eq!(code(delete(&world, &analyst(), "").await), ErrorCode::NotFound);
    // What is made anew is another one, under whatever id.
    put(&world, &analyst(), dashboard(vec![])).await.unwrap();
    assert_eq!(code(put(&world, &analyst(), second).await), ErrorCode::Conflict);
}

#[tokio::test]
async fn what_is_no_dashboard_is_refused_by_its_fields() {
    let world = World::new().await;
    let wrong = Dashboard {
        dashboard_id: "a b".into(),
        title: "x".repeat(129),
        tiles: vec![
            Tile { width: 3, view: 9, ..tile("a", query("COUNT(*)")) },
            tile("a", Question::Sql(SqlQuery { app_id: "blog".into(), ..SqlQuery::default() })),
            Tile { question: None, ..tile("", query("")) },
            tile("c", Question::Metric(TileMetric { name: "No".into(), ..TileMetric::default() })),
        ],
        ..Dashboard::default()
    };
    let told = [
        "dashboard.dashboard_id",
        "dashboard.title",
        "dashboard.tiles[0].width",
        "dashboard.tiles[0].view",
        "dashboard.tiles[1].id",
        "dashboard.tiles[1].sql.app_id",
        "dashboard.tiles[2].id",
        "dashboard.tiles[2].question",
        "dashboard.tiles[3].metric.name",
    ];
    assert_eq!(fields(put(&world, &analyst(), wrong).await), told);
    let many = (0..51).map(|n| tile(&n.to_string(), query("COUNT(*)"))).collect();
    assert_eq!(fields(put(&world, &analyst(), dashboard(many)).await), ["dashboard.tiles"]);
    let long = SqlQuery { sql: "x".repeat(65 << 10), ..SqlQuery::default() };
    assert_eq!(fields(put(&world, &analyst(), dashboard(vec![tile("a", Question::Sql(long))])).await), ["dashboard"]);
    let none = PutDashboardRequest { app_id: "shop".into(), dashboard: None };
    assert_eq!(fields(world.send(&analyst(), none, method!(put_dashboard)).await), ["dashboard"]);
    // Only Protobuf can bring what no text says.
    for seconds in [i64::MAX, i64::MIN] {
        let last = Some(Duration { seconds, nanos: 0 });
        let ranged = Dashboard { range: Some(TimeRange { last, ..TimeRange::default() }), ..dashboard(Vec::new()) };
        assert_eq!(fields(put(&world, &analyst(), ranged).await), ["dashboard"]);
        let from = Some(prost_types::Timestamp { seconds, nanos: 0 });
        let ranged = Dashboard { range: Some(TimeRange { from, ..TimeRange::default() }), ..dashboard(Vec::new()) };
        assert_eq!(fields(put(&world, &analyst(), ranged).await), ["dashboard"]);
    }
    assert_eq!(world.query.explained().len(), 0, "only what has the form of one is tried");
}

#[tokio::test]
async fn tiles_are_tried_before_they_are_kept_and_not_again_as_they_are() {
    let world = World::new().await;
    let metric = |name: &str| Question::Metric(TileMetric { name: name.into(), ..TileMetric::default() });
    let wrong = vec![
        tile("a", query("COUNT(*)")),
        tile("b", query("NO")),
        tile("c", Question::Sql(SqlQuery { sql: "NO".into(), ..SqlQuery::default() })),
        Tile { time_zone: "NO".into(), ..tile("d", query("COUNT(*)")) },
        tile("e", metric("nothing")),
    ];
    let told = [
        "dashboard.tiles[1].query.measures[0].formula",
        "dashboard.tiles[2].sql.sql",
        "dashboard.tiles[3].time_zone",
        "dashboard.tiles[4].metric.name",
    ];
    assert_eq!(fields(put(&world, &analyst(), dashboard(wrong)).await), told);
    assert_eq!(ids(&world, &analyst()).await, Vec::<String>::new());
    world.query.explained();

    // The range of the dashboard is that of what has none, and every question is about its app.
    let last = |seconds| Some(TimeRange { last: Some(Duration { seconds, nanos: 0 }), ..TimeRange::default() });
    let own = TypedQuery {
        range: last(60),
        ..match query("COUNT(*)") {
            Question::Query(query) => query,
            _ => unreachable!(),
        }
    };
    let tiles = vec![tile("a", query("COUNT(*)")), tile("b", Question::Query(own))];
    let kept = put(&world, &analyst(), Dashboard { range: last(3600), ..dashboard(tiles) }).await.unwrap();
    let asked: Vec<_> = world
        .query
        .explained()
        .into_iter()
        .map(|request| match request.question {
            Some(explain_request::Question::Query(query)) => (query.app_id, query.range.unwrap().last.unwrap().seconds),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(asked, [("shop".into(), 3600), ("shop".into(), 3600), ("shop".into(), 60)]);

    let mut next = Dashboard { description: "All of them.".into(), ..kept };
    next.tiles.swap(0, 1);
    next.tiles.push(tile("c", query("SUM(purchase_amount)")));
    put(&world, &analyst(), next).await.unwrap();
    assert_eq!(world.query.explained().len(), 2, "the range, and the tile that is new");
}

#[tokio::test]
async fn a_tile_of_a_metric_asks_what_the_metric_is() {
    let world = World::new().await;
    let request = api::v1::CreateMetricRequest { app_id: "shop".into(), definition: Some(crate::world::revenue()) };
    world
        .call(&analyst(), request, |mut client, request| async move { client.create_metric(request).await })
        .await
        .unwrap();
    let metric = |evaluation: Evaluation| {
        let name = "revenue_per_user".to_owned();
        tile("m", Question::Metric(TileMetric { name, evaluation: Some(evaluation), ..TileMetric::default() }))
    };
    put(&world, &analyst(), dashboard(vec![metric(Evaluation::default())])).await.unwrap();
    let explained = world.query.explained();
    let Some(explain_request::Question::Query(query)) = &explained[0].question else { panic!("{explained:?}") };
    assert_eq!((query.measures[0].name.as_str(), query.filters.len()), ("revenue_per_user", 2));
    let many = Evaluation { limit: 10_001, ..Evaluation::default() };
    let mut next = get(&world, &analyst(), "sales").await.unwrap();
    next.tiles = vec![metric(many)];
    assert_eq!(fields(put(&world, &analyst(), next).await), ["dashboard.tiles[0].metric.evaluation.limit"]);
}

#[tokio::test]
async fn who_may_see_a_dashboard_and_who_may_put_one() {
    let world = World::new().await;
    let kept = put(&world, &analyst(), dashboard(vec![tile("a", query("COUNT(*)"))])).await.unwrap();
    let (reader, writer) = (caller("acme", &[], &[Permission::Query]), caller("acme", &[], &[Permission::Metrics]));
    assert_eq!(get(&world, &reader, "sales").await.unwrap(), kept);
    assert_eq!(code(put(&world, &reader, kept.clone()).await), ErrorCode::PermissionDenied);
    assert_eq!(code(delete(&world, &reader, "").await), ErrorCode::PermissionDenied);
    assert_eq!(code(get(&world, &writer, "sales").await), ErrorCode::PermissionDenied);
    // Who may not ask can't put what asks, but take away.
    let renamed = put(&world, &writer, Dashboard { title: "All".into(), ..kept }).await.unwrap();
    let more = vec![tile("b", query("COUNT(*)"))];
    let refused = refusal(put(&world, &writer, Dashboard { tiles: more, ..renamed.clone() }).await);
    assert!(refused.code == ErrorCode::PermissionDenied && refused.message.contains("`query`"), "{refused:?}");
    put(&world, &writer, Dashboard { tiles: vec![], ..renamed }).await.unwrap();

    // Another app, another tenant: there is nothing of that name.
    let elsewhere = caller("acme", &["blog"], &[Permission::Query]);
    assert_eq!(code(get(&world, &elsewhere, "sales").await), ErrorCode::PermissionDenied);
    let beta = caller("beta", &[], &[Permission::Query, Permission::Metrics]);
    assert_eq!(code(get(&world, &beta, "sales").await), ErrorCode::NotFound);
    assert_eq!(ids(&world, &beta).await, Vec::<String>::new());
    put(&world, &beta, dashboard(vec![])).await.unwrap();
    delete(&world, &beta, "").await.unwrap();

    // A token shows what it names.
    put(&world, &analyst(), Dashboard { dashboard_id: "costs".into(), ..dashboard(vec![]) }).await.unwrap();
    let mut token = reader.clone();
    token.scope.dashboards = Some(vec!["sales".into(), "later".into()]);
    assert_eq!(ids(&world, &token).await, ["sales"]);
    get(&world, &token, "sales").await.unwrap();
    assert_eq!(code(get(&world, &token, "later").await), ErrorCode::NotFound);
    for hidden in ["costs", "nothing"] {
        assert_eq!(code(get(&world, &token, hidden).await), ErrorCode::PermissionDenied);
    }
    assert_eq!(ids(&world, &reader).await, ["sales", "costs"], "by title");
}

#[tokio::test]
async fn an_app_has_so_many_and_no_more() {
    let world = World::new().await;
    for n in 0..100 {
        put(&world, &analyst(), Dashboard { dashboard_id: format!("d{n}"), ..dashboard(vec![]) }).await.unwrap();
    }
    let refused = refusal(put(&world, &analyst(), dashboard(vec![])).await);
    assert_eq!((refused.code, refused.violations[0].field.as_str()), (ErrorCode::InvalidArgument, "dashboard"));
    assert!(refused.message.contains("delete one first"), "{}", refused.message);
}
