//! Evaluating: what the query service is asked, and what comes back of it.

use std::time::Duration;

use api::v1::{
    Column, CreateMetricRequest, Dimension, EvaluateRequest, Evaluation, Fill, Grain, Measure, MetricDefinition,
    OrderBy, PreviewMetricRequest, QueryRequest, ReadOptions, Result as Answer, Row, TimeRange, TypedQuery,
    UpdateMetricRequest, Value, value::Kind,
};
use mesh::deadline;
use model::{Error, ErrorCode, Permission, PropertyKind, Violation};

use crate::world::{NOW_MS, TRACE, World, analyst, caller, code, equals, fields, method, refusal, revenue};

fn evaluation() -> Evaluation {
    Evaluation {
        dimensions: vec![Dimension { name: "where".into(), expression: "country".into() }],
        filters: vec![equals("user_plan", "pro")],
        range: Some(TimeRange {
            last: Some(prost_types::Duration { seconds: 86_400, nanos: 0 }),
            ..TimeRange::default()
        }),
        grain: Grain::Day.into(),
        order_by: vec![OrderBy { column: "revenue_per_user".into(), descending: true }],
        limit: 100,
        having: "revenue_per_user > 1".into(),
        fill: Fill::Zero.into(),
        totals: true,
        ..Evaluation::default()
    }
}

fn options() -> Option<ReadOptions> {
    Some(ReadOptions {
        position_token: "token".into(),
        max_wait_ms: 100,
        time_zone: "Asia/Tokyo".into(),
        ..ReadOptions::default()
    })
}

fn by_name(version: u32, evaluation: Evaluation) -> EvaluateRequest {
    let (app_id, name) = ("shop".into(), "revenue_per_user".into());
    EvaluateRequest { app_id, name, version, evaluation: Some(evaluation), options: options() }
}

fn preview(definition: MetricDefinition, evaluation: Evaluation) -> PreviewMetricRequest {
    let (definition, evaluation) = (Some(definition), Some(evaluation));
    PreviewMetricRequest { app_id: "shop".into(), definition, evaluation, options: options() }
}

/// The query that revenue under `evaluation()` is.
fn revenue_query() -> QueryRequest {
    let Evaluation { dimensions, range, grain, order_by, limit, having, fill, totals, .. } = evaluation();
    let query = TypedQuery {
        app_id: "shop".into(),
        measures: vec![Measure { name: "revenue_per_user".into(), formula: revenue().formula, unit: "USD".into() }],
        dimensions,
        filters: vec![equals("event_type", "purchase"), equals("status", "completed"), equals("user_plan", "pro")],
        range,
        grain,
        order_by,
        limit,
        having,
        fill,
        totals,
        ..TypedQuery::default()
    };
    QueryRequest { query: Some(query), options: options(), ..QueryRequest::default() }
}

fn an_answer() -> Answer {
    let column = Column { name: "revenue_per_user".into(), unit: "USD".into(), ..Column::default() };
    let row = Row { values: vec![Value { kind: Some(Kind::Number(12.5)) }] };
    Answer { columns: vec![column], rows: vec![row], info: None }
}

async fn with_revenue() -> World {
    let world = World::new().await;
    let request = CreateMetricRequest { app_id: "shop".into(), definition: Some(revenue()) };
    world.call(&analyst(), request, method!(create_metric)).await.unwrap();
    world
}

#[tokio::test]
async fn a_metric_is_asked_as_one_measure() {
    let world = with_revenue().await;
    world.query.answers(Ok(an_answer()));
    let answer = world.call(&analyst(), by_name(0, evaluation()), method!(evaluate)).await.unwrap();
    assert_eq!((answer.result, answer.version), (Some(an_answer()), 1));
    let shown = world.call(&analyst(), preview(revenue(), evaluation()), method!(preview_metric)).await.unwrap();
    assert_eq!(shown.result, Some(an_answer()));
    let asked: Vec<_> = world.query.asked().into_iter().map(|asked| asked.request).collect();
    assert_eq!(asked, [revenue_query(), revenue_query()]);
}

#[tokio::test]
async fn the_query_service_sees_the_caller() {
    let world = with_revenue().await;
    let shopper = caller("acme", &["shop"], &[Permission::Query]);
    world.call(&shopper, by_name(0, evaluation()), method!(evaluate)).await.unwrap();
    let [asked] = world.query.asked().try_into().unwrap();
    assert_eq!(asked.context.scope, shopper.scope);
    assert_eq!((asked.context.priority, &asked.context.key_id), (shopper.priority, &shopper.key_id));
    assert!(asked.context.good_until_ms > NOW_MS);
    assert_eq!(asked.trace.as_deref(), Some(TRACE));
    let left = asked.timeout.as_deref().and_then(deadline::parse).unwrap();
    assert!(left > Duration::ZERO && left <= Duration::from_millis(750), "what is left of it: {left:?}");
}

#[tokio::test]
async fn a_version_stays_what_it_was() {
    let world = with_revenue().await;
    let count = MetricDefinition { formula: "COUNT(*)".into(), ..revenue() };
    let request = UpdateMetricRequest { app_id: "shop".into(), definition: Some(count), base_version: 1 };
    world.call(&analyst(), request, method!(update_metric)).await.unwrap();
    for (version, evaluated, formula) in [(1, 1, revenue().formula.as_str()), (2, 2, "COUNT(*)"), (0, 2, "COUNT(*)")] {
        let answer = world.call(&analyst(), by_name(version, evaluation()), method!(evaluate)).await.unwrap();
        let [asked] = world.query.asked().try_into().unwrap();
        assert_eq!((answer.version, asked.request.query.unwrap().measures[0].formula.as_str()), (evaluated, formula));
    }
    assert_eq!(code(world.call(&analyst(), by_name(3, evaluation()), method!(evaluate)).await), ErrorCode::NotFound);
    let bare = EvaluateRequest { app_id: "shop".into(), name: "revenue_per_user".into(), ..EvaluateRequest::default() };
    world.call(&analyst(), bare, method!(evaluate)).await.unwrap();
}

#[tokio::test]
async fn a_refusal_is_told_by_the_caller_s_own_fields() {
    let world = with_revenue().await;
    let violation =
        |field: &str, span| Violation { field: field.into(), description: "is wrong".into(), reason: "R".into(), span };
    let refused = |violation| Error { violations: vec![violation], ..Error::new(ErrorCode::InvalidQuery, "no") };

    world.query.answers(Err(refused(violation("query.dimensions[0].expression", Some((2, 5))))));
    let error = refusal(world.call(&analyst(), by_name(0, evaluation()), method!(evaluate)).await);
    assert_eq!(
        (error.code, error.message.as_str()),
        (ErrorCode::InvalidQuery, "evaluation.dimensions[0].expression: is wrong")
    );
    assert_eq!(error.violations[0].span, Some((2, 5)));

    world.query.answers(Err(refused(violation("query.filters[2]", None))));
    assert_eq!(
        fields(world.call(&analyst(), by_name(0, evaluation()), method!(evaluate)).await),
        ["evaluation.filters[0]"]
    );
    world.query.answers(Err(refused(violation("query.measures[0].formula", Some((0, 1))))));
    assert_eq!(fields(world.call(&analyst(), by_name(0, evaluation()), method!(evaluate)).await), ["name"]);
    let shown = world.call(&analyst(), preview(revenue(), evaluation()), method!(preview_metric)).await;
    assert_eq!(fields(shown), ["definition.formula"]);
}

#[tokio::test]
async fn when_to_retry_is_passed_on() {
    let world = with_revenue().await;
    let wait = Duration::from_millis(1500);
    for code in [ErrorCode::Unavailable, ErrorCode::ResourceExhausted] {
        world.query.answers(Err(Error { retry_after: Some(wait), ..Error::new(code, "busy") }));
        let error = refusal(world.call(&analyst(), by_name(0, evaluation()), method!(evaluate)).await);
        assert_eq!((error.code, error.retry_after), (code, Some(wait)));
    }
}

#[tokio::test]
async fn a_query_service_that_does_not_know_us_is_our_defect() {
    let world = with_revenue().await;
    world.query.answers(Err(Error::new(ErrorCode::Unauthenticated, "who?")));
    assert_eq!(code(world.call(&analyst(), by_name(0, evaluation()), method!(evaluate)).await), ErrorCode::Internal);
}

#[tokio::test]
async fn what_can_be_refused_here_is_never_asked() {
    let world = with_revenue().await;
    let much = Evaluation { limit: 10_001, ..evaluation() };
    assert_eq!(fields(world.call(&analyst(), by_name(0, much.clone()), method!(evaluate)).await), ["evaluation.limit"]);
    assert_eq!(
        fields(world.call(&analyst(), preview(revenue(), much), method!(preview_metric)).await),
        ["evaluation.limit"]
    );
    let wrong = MetricDefinition { formula: "SUM(nothing)".into(), ..revenue() };
    assert_eq!(
        fields(world.call(&analyst(), preview(wrong, evaluation()), method!(preview_metric)).await),
        ["definition.formula"]
    );
    for (caller, refused) in [
        (caller("acme", &["blog"], &[Permission::Query]), ErrorCode::PermissionDenied),
        (caller("acme", &[], &[Permission::Metrics]), ErrorCode::PermissionDenied),
    ] {
        assert_eq!(code(world.call(&caller, by_name(0, evaluation()), method!(evaluate)).await), refused);
        assert_eq!(code(world.call(&caller, preview(revenue(), evaluation()), method!(preview_metric)).await), refused);
    }
    let beta = caller("beta", &[], &[Permission::Query]);
    assert_eq!(code(world.call(&beta, by_name(0, evaluation()), method!(evaluate)).await), ErrorCode::NotFound);
    assert!(world.query.asked().is_empty());
}

#[tokio::test]
async fn a_stored_metric_is_asked_as_it_is_even_if_properties_came_since() {
    let world = with_revenue().await;
    world.register(&[("status", PropertyKind::Number)]).await;
    world.call(&analyst(), by_name(0, evaluation()), method!(evaluate)).await.unwrap();
    assert_eq!(world.query.asked()[0].request, revenue_query());
}

#[tokio::test]
async fn a_large_answer_passes() {
    let world = with_revenue().await;
    let wide = Row { values: vec![Value { kind: Some(Kind::String("x".repeat(1000))) }] };
    let large = Answer { rows: vec![wide; 6000], ..Answer::default() };
    world.query.answers(Ok(large.clone()));
    let analyst = analyst();
    let answer = world.call(&analyst, by_name(0, evaluation()), |client, request| async move {
        client.max_decoding_message_size(usize::MAX).evaluate(request).await
    });
    assert_eq!(answer.await.unwrap().result.unwrap().rows.len(), large.rows.len());
}
