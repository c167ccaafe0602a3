//! The same service in JSON, by the paths that the contract declares.

use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use mesh::{Body, context::CONTEXT_HEADER};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::world::{World, analyst};

async fn ask(world: &World, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(CONTEXT_HEADER, world.header(&analyst()))
        .body(Body::new(http_body_util::Full::from(text)))
        .unwrap();
    let response = world.service.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn the_life_of_a_metric() {
    let world = World::new().await;
    let definition = json!({
        "name": "revenue_per_user",
        "formula": "SUM(purchase_amount) / COUNT(DISTINCT user_id)",
        "filters": [{"field": "status", "op": "FILTER_OP_EQ", "values": [{"string": "completed"}]}],
    });
    let metrics = "/v1/apps/shop/metrics";
    let validated = ask(&world, Method::POST, &format!("{metrics}:validate"), json!({"definition": definition})).await;
    assert_eq!((validated.0, &validated.1["column"]["type"]), (StatusCode::OK, &json!("COLUMN_TYPE_NUMBER")));
    let made = ask(&world, Method::POST, metrics, json!({"definition": definition})).await;
    assert_eq!((made.0, &made.1["metric"]["version"]), (StatusCode::OK, &json!(1)));

    let one = &format!("{metrics}/revenue_per_user");
    let change = json!({"definition": {"formula": "COUNT(*)", "unit": "USD"}, "base_version": 1});
    let changed = ask(&world, Method::PATCH, one, change.clone()).await;
    assert_eq!((changed.0, &changed.1["metric"]["version"]), (StatusCode::OK, &json!(2)));
    assert_eq!(ask(&world, Method::PATCH, one, change).await.0, StatusCode::CONFLICT);
    let (_, versions) = ask(&world, Method::GET, &format!("{one}/versions"), Value::Null).await;
    assert_eq!(versions["metrics"][1]["definition"]["filters"][0]["values"][0]["string"], "completed");
    let (_, first) = ask(&world, Method::GET, &format!("{one}?version=1"), Value::Null).await;
    assert_eq!(first["metric"]["definition"]["formula"], definition["formula"]);

    let (status, answer) = ask(&world, Method::POST, &format!("{one}:evaluate"), json!({"version": 1})).await;
    assert_eq!((status, &answer["version"]), (StatusCode::OK, &json!(1)));
    let previewed = ask(&world, Method::POST, &format!("{metrics}:preview"), json!({"definition": definition})).await;
    assert_eq!(previewed.0, StatusCode::OK);
    assert_eq!(world.query.asked().len(), 2);

    assert_eq!(ask(&world, Method::DELETE, one, Value::Null).await, (StatusCode::OK, json!({})));
    assert_eq!(ask(&world, Method::GET, one, Value::Null).await.0, StatusCode::NOT_FOUND);
    let (_, list) = ask(&world, Method::GET, metrics, Value::Null).await;
    assert_eq!(list, json!({"metrics": []}));
}

#[tokio::test]
async fn a_refusal_names_field_and_place() {
    let world = World::new().await;
    let definition = json!({"name": "m", "formula": "SUM(purchase_amout)"});
    let (status, answer) = ask(&world, Method::POST, "/v1/apps/shop/metrics", json!({"definition": definition})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let details = &answer["error"]["details"];
    assert_eq!(details[0]["reason"], "INVALID_QUERY");
    assert_eq!(details[0]["metadata"]["position"], "4-18");
    assert_eq!(details[1]["fieldViolations"][0]["field"], "definition.formula");
}
