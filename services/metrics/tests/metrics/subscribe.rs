//! Following: what the query service pushes is passed on, and another version begins anew.

use std::time::Duration;

use api::v1::{
    CreateMetricRequest, DeleteMetricRequest, Heartbeat, LiveChange, LiveState, MetricDefinition,
    SubscribeMetricRequest, SubscribeMetricResponse, SubscribeResponse, UpdateMetricRequest,
    subscribe_metric_response::Push, subscribe_request::Question, subscribe_response,
};
use model::{Error, ErrorCode, Evaluates, Violation};
use tonic::Streaming;

use crate::{
    query::Pusher,
    world::{World, analyst, code, method, refusal, revenue},
};

fn request(version: u32) -> SubscribeMetricRequest {
    let min_interval = Some(prost_types::Duration { seconds: 2, nanos: 0 });
    let (app_id, name) = ("shop".into(), "revenue_per_user".into());
    SubscribeMetricRequest { app_id, name, version, min_interval, ..SubscribeMetricRequest::default() }
}

fn pushes(pusher: &Pusher, push: subscribe_response::Push) {
    pusher.unbounded_send(Ok(SubscribeResponse { push: Some(push) })).unwrap();
}

/// The one subscription that was begun since the last look, and the formula that it is about.
fn begun(world: &World) -> (String, Pusher) {
    let [(request, pusher)] = world.query.subscribed().try_into().unwrap();
    assert_eq!(request.min_interval.map(|interval| interval.seconds), Some(2));
    let Some(Question::Query(query)) = request.question else { panic!("a metric is a typed query") };
    (query.measures[0].formula.clone(), pusher)
}

async fn told(pushes: &mut Streaming<SubscribeMetricResponse>) -> (u32, Push) {
    let push = pushes.message().await.unwrap().unwrap();
    (push.version, push.push.unwrap())
}

async fn counting(world: &World, base_version: u32) {
    let count = MetricDefinition { formula: "COUNT(*)".into(), ..revenue() };
    let request = UpdateMetricRequest { app_id: "shop".into(), definition: Some(count), base_version };
    world.call(&analyst(), request, method!(update_metric)).await.unwrap();
}

async fn with_revenue() -> World {
    let world = World::new().await;
    let request = CreateMetricRequest { app_id: "shop".into(), definition: Some(revenue()) };
    world.call(&analyst(), request, method!(create_metric)).await.unwrap();
    world
}

/// The next look at the version comes at once. The clock isn't paused for longer: what the metastore takes would be taken for hours.
async fn soon() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(5)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn the_newest_version_is_followed_and_a_named_one_stays() {
    let world = with_revenue().await;
    let mut newest = world.call(&analyst(), request(0), method!(subscribe_metric)).await.unwrap();
    let (formula, first) = begun(&world);
    assert_eq!(formula, revenue().formula);
    let mut named = world.call(&analyst(), request(1), method!(subscribe_metric)).await.unwrap();
    let (_, of_named) = begun(&world);
    let (state, change) = (LiveState::default(), LiveChange::default());
    pushes(&first, subscribe_response::Push::State(state.clone()));
    pushes(&first, subscribe_response::Push::Change(change.clone()));
    assert_eq!(told(&mut newest).await, (1, Push::State(state.clone())));
    assert_eq!(told(&mut newest).await, (1, Push::Change(change)));

    counting(&world, 1).await;
    let following = tokio::spawn(async move { (told(&mut newest).await, newest) });
    soon().await;
    let second = loop {
        if let Some((_, pusher)) = world.query.subscribed().pop() {
            break pusher;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(first.is_closed(), "what is followed no longer is given up");
    pushes(&second, subscribe_response::Push::State(state.clone()));
    let (told_now, mut newest) = following.await.unwrap();
    assert_eq!(told_now, (2, Push::State(state)));

    pushes(&of_named, subscribe_response::Push::Heartbeat(Heartbeat::default()));
    assert_eq!(told(&mut named).await, (1, Push::Heartbeat(Heartbeat::default())));

    let request = DeleteMetricRequest { app_id: "shop".into(), name: "revenue_per_user".into() };
    world.call(&analyst(), request, method!(delete_metric)).await.unwrap();
    soon().await;
    assert_eq!(code(newest.message().await), ErrorCode::NotFound);
}

#[tokio::test]
async fn it_ends_as_the_query_service_says_and_with_the_process() {
    let world = with_revenue().await;
    let violation = |field: &str| {
        let violation =
            Violation { field: field.into(), description: "is wrong".into(), reason: "R".into(), span: None };
        Error { violations: vec![violation], ..Error::new(ErrorCode::InvalidQuery, "no") }
    };
    world.query.answers(Err(violation("query.range.from")));
    let refused = refusal(world.call(&analyst(), request(0), method!(subscribe_metric)).await);
    assert_eq!(refused.message, "evaluation.range.from: is wrong");
    world.query.answers(Ok(api::v1::Result::default()));
    assert_eq!(code(world.call(&analyst(), request(7), method!(subscribe_metric)).await), ErrorCode::NotFound);

    let mut followed = world.call(&analyst(), request(0), method!(subscribe_metric)).await.unwrap();
    let (_, pusher) = begun(&world);
    let away = Error::unavailable("this process ends", Duration::from_secs(3));
    pusher.unbounded_send(Err(api::status::to_status(&away))).unwrap();
    let ended = refusal(followed.message().await);
    assert_eq!((ended.code, ended.retry_after), (ErrorCode::Unavailable, away.retry_after));

    let mut followed = world.call(&analyst(), request(0), method!(subscribe_metric)).await.unwrap();
    world.stop.cancel();
    let ended = refusal(followed.message().await);
    assert_eq!(ended.code, ErrorCode::Unavailable);
    assert!(ended.retry_after.is_some());
}

#[tokio::test]
async fn a_token_follows_what_it_evaluates() {
    let world = with_revenue().await;
    let mut token = analyst();
    token.scope.evaluates = Some(Evaluates { metrics: Some(vec!["buyers".into()]), dimensions: None });
    let refused = world.call(&token, request(0), method!(subscribe_metric)).await;
    assert_eq!(code(refused), ErrorCode::PermissionDenied);
    token.scope.evaluates = Some(Evaluates { metrics: Some(vec!["revenue_per_user".into()]), dimensions: None });
    world.call(&token, request(0), method!(subscribe_metric)).await.unwrap();
}
