//! The same service in JSON, by the paths that the contract declares.

use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use mesh::{
    Body,
    context::{CONTEXT_HEADER, CallContext},
};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::world::{World, admin, operator};

async fn ask(world: &World, caller: &CallContext, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(CONTEXT_HEADER, world.header(caller))
        .body(Body::new(http_body_util::Full::from(text)))
        .unwrap();
    let response = world.service.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn a_tenant_is_set_up_and_its_key_revoked() {
    let world = World::new().await;
    let (status, answer) =
        ask(&world, &operator(), Method::POST, "/v1/tenants", &json!({"tenant": {"tenant_id": "new"}})).await;
    assert_eq!((status, &answer["tenant"]["display_name"]), (StatusCode::OK, &json!("new")));
    let app = json!({"app": {"app_id": "shop", "time_zone": "Europe/Berlin"}});
    let (status, _) = ask(&world, &admin("new"), Method::POST, "/v1/apps", &app).await;
    assert_eq!(status, StatusCode::OK);
    let key = json!({"tenant_id": "new", "permissions": ["PERMISSION_QUERY"], "app_ids": ["shop"]});
    let (status, made) = ask(&world, &operator(), Method::POST, "/v1/keys", &key).await;
    assert_eq!(status, StatusCode::OK);
    assert!(made["secret"].as_str().unwrap().starts_with("pnsk_live_"));

    let path = format!("/v1/keys/{}?tenant_id=new", made["key"]["key_id"].as_str().unwrap());
    assert_eq!(ask(&world, &operator(), Method::DELETE, &path, &Value::Null).await, (StatusCode::OK, json!({})));
    let (_, list) = ask(&world, &operator(), Method::GET, "/v1/keys?tenant_id=new", &Value::Null).await;
    assert_eq!(list["keys"][0]["permissions"], json!(["PERMISSION_QUERY"]));
    assert!(list["keys"][0]["revoked_at"].is_string());
}

#[tokio::test]
async fn a_refusal_names_the_field() {
    let world = World::new().await;
    let app = json!({"app": {"app_id": "tv", "time_zone": "Nowhere"}});
    let (status, answer) = ask(&world, &admin("acme"), Method::POST, "/v1/apps", &app).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(answer["error"]["details"][1]["fieldViolations"][0]["field"], "app.time_zone");
    let large = json!({"app": {"app_id": "x".repeat(admin::MAX_REQUEST_BYTES)}});
    let (status, _) = ask(&world, &admin("acme"), Method::POST, "/v1/apps", &large).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}
