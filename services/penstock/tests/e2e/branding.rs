//! White label: whoever comes by a tenant's domain sees that tenant's product, and nothing of anybody else's.

use api::v1::{GetHostBrandingRequest, public_service_client::PublicServiceClient};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};
use tonic::transport::Endpoint;

use crate::house::{House, PATIENCE};

async fn put(house: &House, key: &str, path: &str, body: &Value) -> (u16, Value) {
    let request = house.http.put(format!("http://{}{path}", house.address)).bearer_auth(key);
    let answer = request.json(body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn get(house: &House, key: &str, path: &str) -> Value {
    let answer = house.http.get(format!("http://{}{path}", house.address)).bearer_auth(key).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

/// What a page by that host is told before anybody signed in.
async fn by_host(house: &House, host: &str) -> Value {
    let request = house.http.get(format!("http://{}/v1/branding:host", house.address)).header("host", host);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json::<Value>().await.unwrap()["branding"].clone()
}

async fn until_by_host(house: &House, host: &str, wanted: &Value) {
    let started = Instant::now();
    while by_host(house, host).await != *wanted {
        assert!(started.elapsed() < PATIENCE, "{host} shows {}", by_host(house, host).await);
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn by_each_domain_there_is_its_tenant_s_product_and_by_others_the_installation_s() {
    let house = House::start().await;
    let operator = house.operator_key();
    let acme = house.tenant("acme", "shop", &["admin"]).await; // limited to the app
    let beta = house.tenant("beta", "shop", &["admin"]).await;
    let all = json!({"tenant_id": "acme", "permissions": ["PERMISSION_ADMIN"]});
    let (_, answer) = house.post(&operator, "/v1/keys", &all).await;
    let chief = answer["secret"].as_str().unwrap().to_owned();
    assert_eq!(by_host(&house, "dash.acme.example").await, json!({}), "nothing is set");

    let own = json!({"product_name": "Acme Insights", "primary_color": "#0a0b0c"});
    let (status, answer) = put(&house, &chief, "/v1/branding", &json!({"branding": own})).await;
    assert_eq!((status, &answer["branding"], &answer["effective"]), (200, &own, &own));
    let of_house =
        json!({"product_name": "House", "accent_color": "#ffffff", "docs_url": "https://docs.house.example/"});
    let (status, _) = put(&house, &operator, "/v1/branding", &json!({"branding": of_house})).await;
    assert_eq!(status, 200);
    let of_app = json!({"tenant_id": "acme", "app_id": "shop", "branding": {"docs_url": "https://acme.example/help"}});
    let (status, answer) = put(&house, &acme, "/v1/branding", &of_app).await;
    let of_tenant = json!({"product_name": "Acme Insights", "primary_color": "#0a0b0c", "accent_color": "#ffffff",
        "docs_url": "https://docs.house.example/"});
    let mut effective = of_tenant.clone();
    effective["docs_url"] = json!("https://acme.example/help");
    assert_eq!(
        (status, &answer["effective"]),
        (200, &effective),
        "an app has what is wider, as far as it has nothing of its own"
    );

    for (tenant, domains, status) in [
        ("acme", json!(["dash.acme.example", "a.example"]), 200),
        ("beta", json!(["a.example"]), 409),
        ("beta", json!(["beta.example"]), 200),
        ("beta", json!(["Beta.example"]), 400),
        ("nobody", json!(["c.example"]), 404),
    ] {
        let (code, answer) =
            put(&house, &operator, "/v1/domains", &json!({"tenant_id": tenant, "domains": domains})).await;
        assert_eq!(code, status, "{answer}");
        assert!(code != 409 || !answer.to_string().contains("acme"), "whose it is, is not said: {answer}");
    }
    until_by_host(&house, "dash.acme.example:8443", &of_tenant).await;
    until_by_host(&house, "DASH.acme.example", &of_tenant).await;
    for host in ["beta.example", "unknown.example", &house.address] {
        assert_eq!(by_host(&house, host).await, of_house, "{host}");
    }
    let by_grpc = Endpoint::from_shared(format!("http://{}", house.address)).unwrap();
    let by_grpc = by_grpc.origin("http://a.example".parse().unwrap()).connect().await.unwrap();
    let answer = PublicServiceClient::new(by_grpc).get_host_branding(GetHostBrandingRequest {}).await.unwrap();
    assert_eq!(answer.into_inner().branding.unwrap().product_name(), "Acme Insights");

    // What is the tenant's, its admins see and change; what is another's they don't, nor the installation's.
    let seen = get(&house, &chief, "/v1/branding").await;
    assert_eq!((&seen["effective"], &seen["domains"]), (&of_tenant, &json!(["a.example", "dash.acme.example"])));
    for (key, body, code) in [
        (&beta, json!({"tenant_id": "acme", "app_id": "shop", "branding": {}}), 403),
        (&acme, json!({"branding": {}}), 403),
        (&acme, json!({"app_id": "none", "branding": {}}), 403),
        (&chief, json!({}), 400),
        (&chief, json!({"branding": {"logo_url": "javascript:alert(1)"}}), 400),
    ] {
        let (status, answer) = put(&house, key, "/v1/branding", &body).await;
        assert_eq!(status, code, "{body}: {answer}");
    }
    assert_eq!(put(&house, &chief, "/v1/domains", &json!({"domains": ["x.example"]})).await.0, 403);

    // Taken back, it is as the installation has it.
    assert_eq!(put(&house, &chief, "/v1/branding", &json!({"branding": {}})).await.0, 200);
    until_by_host(&house, "dash.acme.example", &of_house).await;
}
