//! Embed tokens: what a tenant signs for its customers' pages shows each what is its own, and nothing gets in that the tenant didn't sign.

use std::time::{SystemTime, UNIX_EPOCH};

use api::v1::{SqlQuery, SubscribeRequest, query_service_client::QueryServiceClient, subscribe_request::Question};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64URL},
};
use ring::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair},
};
use serde_json::{Value, json};
use tonic::Code;

use crate::house::{House, PATIENCE, rows};

const APP: &str = "portal";

pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Who signs.
pub enum Signer {
    Ed(Ed25519KeyPair),
    Hmac(Vec<u8>),
    Nobody,
}

impl Signer {
    /// With the secret as CreateKey shows it.
    pub fn hs256(secret: &str) -> Self {
        Self::Hmac(BASE64URL.decode(secret).unwrap())
    }

    fn sign(&self, text: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed(pair) => pair.sign(text).as_ref().to_vec(),
            Self::Hmac(secret) => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text).as_ref().to_vec(),
            Self::Nobody => Vec::new(),
        }
    }

    fn token_with(&self, header: &Value, claims: &Value) -> String {
        let [header, claims] = [header, claims].map(|part| BASE64URL.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        format!("{signed}.{}", BASE64URL.encode(self.sign(signed.as_bytes())))
    }

    pub fn token(&self, kid: &str, claims: Value) -> String {
        let alg = match self {
            Self::Ed(_) => "EdDSA",
            Self::Hmac(_) => "HS256",
            Self::Nobody => "none",
        };
        self.token_with(&json!({"alg": alg, "kid": kid, "typ": "JWT"}), &claims)
    }
}

/// A tenant, two keys that sign, and events of two customers.
struct Portal {
    house: House,
    whole: String,
    position: String,
    ed: (String, Signer),
    hs: (String, Signer),
}

impl Portal {
    async fn open() -> Self {
        let house = House::start().await;
        let whole = house.tenant("host", APP, &["ingest", "query", "export", "metrics", "admin"]).await;
        let of = |customer: &str, n: i64| json!({"event_type": "sale", "user_id": customer, "properties": {"customer": customer, "store": n, "amount": n}});
        let events: Vec<_> = (1..=4).flat_map(|n| [of("ann", n), of("bob", n)]).collect();
        let (status, answer) = house.post(&whole, "/v1/events", &json!(events)).await;
        assert_eq!(status, 200, "{answer}");
        let position = answer["position_token"].as_str().unwrap().to_owned();
        let metric = |name: &str, formula: &str| json!({"definition": {"name": name, "formula": formula}});
        for (name, formula) in [("sales", "SUM(amount)"), ("buyers", "COUNT(DISTINCT user_id)")] {
            let (status, answer) = house.post(&whole, &format!("/v1/apps/{APP}/metrics"), &metric(name, formula)).await;
            assert_eq!(status, 200, "{answer}");
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let public = STANDARD.encode(pair.public_key().as_ref());
        let signing = |more: Value| {
            let mut body = json!({"permissions": ["PERMISSION_QUERY", "PERMISSION_EXPORT"], "app_ids": [APP]});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body
        };
        let mut made = Vec::new();
        for more in [json!({"kind": "KEY_KIND_EDDSA", "public_key": public}), json!({"kind": "KEY_KIND_HS256"})] {
            let (status, answer) = house.post(&whole, "/v1/keys", &signing(more)).await;
            assert_eq!(status, 200, "{answer}");
            let [id, secret] =
                [&answer["key"]["key_id"], &answer["secret"]].map(|text| text.as_str().unwrap().to_owned());
            made.push((id, secret));
        }
        let [(ed, none), (hs, secret)] = made.try_into().unwrap();
        assert_eq!(none, "");
        let secret = BASE64URL.decode(secret).unwrap();
        Self { house, whole, position, ed: (ed, Signer::Ed(pair)), hs: (hs, Signer::Hmac(secret)) }
    }

    async fn count(&self, token: &str) -> Result<i64, (u16, String)> {
        let options = json!({"position_token": self.position, "max_wait_ms": 30_000});
        let question = json!({"sql": "SELECT COUNT(*) AS n FROM events", "app_id": APP, "options": options});
        let (status, answer) = self.house.post(token, "/v1/sql", &question).await;
        match status {
            200 => Ok(rows(&answer["result"])[0][0].as_i64().unwrap()),
            status => Err((status, answer["error"]["message"].as_str().unwrap_or_default().to_owned())),
        }
    }

    async fn evaluate(&self, token: &str, metric: &str, evaluation: Value) -> Result<Vec<Vec<Value>>, u16> {
        let body =
            json!({"evaluation": evaluation, "options": {"position_token": self.position, "max_wait_ms": 30_000}});
        let (status, answer) =
            self.house.post(token, &format!("/v1/apps/{APP}/metrics/{metric}:evaluate"), &body).await;
        if status == 200 { Ok(rows(&answer["result"])) } else { Err(status) }
    }
}

fn claims(more: Value) -> Value {
    let mut claims = json!({"exp": now_s() + 600, "filters": {"customer": "ann"}});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

#[tokio::test(flavor = "multi_thread")]
async fn each_customer_sees_its_own_rows() {
    let portal = Portal::open().await;
    for (kid, signer) in [&portal.ed, &portal.hs] {
        for (more, wanted) in [
            (json!({}), 4),
            (json!({"filters": {}}), 8),
            (json!({"filters": {"customer": ["ann", "bob"], "store": [1, 2]}}), 4),
            (json!({"filters": {"customer": "bob", "store": "4"}}), 1),
            (json!({"filters": {"customer": "eve"}}), 0),
            (
                json!({"apps": [APP], "nbf": now_s() - 5, "iat": now_s(), "iss": "host", "sub": "u1", "aud": ["page"], "jti": "1"}),
                4,
            ),
        ] {
            let token = signer.token(kid, claims(more.clone()));
            assert_eq!(portal.count(&token).await, Ok(wanted), "{more}");
        }
    }
    assert_eq!(portal.count(&portal.whole).await, Ok(8));
    // Days begin where the token says, unless the question says otherwise.
    let token = portal.ed.1.token(&portal.ed.0, claims(json!({"time_zone": "Asia/Kathmandu"})));
    let day = async |key: &str, zone: &str| {
        let sql = "SELECT DATE_TRUNC('day', timestamp) AS day, COUNT(*) AS n FROM events GROUP BY day";
        let question = json!({"sql": sql, "app_id": APP, "options": {"time_zone": zone}});
        rows(&portal.house.post(key, "/v1/sql", &question).await.1["result"])[0][0].clone()
    };
    assert_eq!(day(&token, "").await, day(&portal.whole, "Asia/Kathmandu").await);
    assert_eq!(day(&token, "UTC").await, day(&portal.whole, "").await);
    assert_ne!(day(&token, "").await, day(&token, "UTC").await);
    // It reads and nothing else.
    let token = portal.ed.1.token(&portal.ed.0, claims(json!({})));
    let event = json!([{"event_type": "sale", "user_id": "ann", "properties": {"customer": "ann"}}]);
    assert_eq!(portal.house.post(&token, "/v1/events", &event).await.0, 403);
    assert_eq!(portal.house.post(&token, "/v1/keys", &json!({"permissions": ["PERMISSION_QUERY"]})).await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_metrics_evaluates_these_by_its_dimensions_and_asks_nothing_else() {
    let portal = Portal::open().await;
    let (kid, signer) = &portal.ed;
    let by = |name: &str| json!({"dimensions": [{"expression": name}]});
    let token = signer.token(kid, claims(json!({"metrics": ["sales"], "dimensions": ["store"]})));
    assert_eq!(portal.evaluate(&token, "sales", json!({})).await, Ok(vec![vec![json!(10.0)]]));
    assert_eq!(portal.evaluate(&token, "sales", by("store")).await.map(|rows| rows.len()), Ok(4));
    assert_eq!(portal.evaluate(&token, "buyers", json!({})).await, Err(403));
    assert_eq!(portal.evaluate(&token, "sales", by("customer")).await, Err(403));
    assert_eq!(portal.evaluate(&token, "sales", by("CONCAT(store, customer)")).await, Err(403));
    let filtered = json!({"filters": [{"field": "customer", "op": "FILTER_OP_EQ", "values": [{"string": "bob"}]}]});
    assert_eq!(portal.evaluate(&token, "sales", filtered).await, Err(403));
    assert_eq!(portal.evaluate(&token, "sales", json!({"having": "COUNT(DISTINCT customer) > 1"})).await, Err(403));
    let (status, message) = portal.count(&token).await.unwrap_err();
    assert!(status == 403 && message.contains("evaluates metrics"), "{message}");
    let preview = json!({"definition": {"name": "x", "formula": "MAX(amount)"}});
    assert_eq!(portal.house.post(&token, &format!("/v1/apps/{APP}/metrics:preview"), &preview).await.0, 403);
    let followed = async |metric: &str| {
        let url = format!("http://{}/v1/apps/{APP}/metrics/{metric}:subscribe", portal.house.address);
        let mut answer = portal.house.http.post(url).bearer_auth(&token).json(&json!({})).send().await.unwrap();
        let first = answer.chunk().await.unwrap().unwrap();
        (answer.status().as_u16(), serde_json::from_slice::<Value>(&first).unwrap())
    };
    let (status, push) = followed("sales").await;
    assert_eq!((status, rows(&push["state"]["result"])), (200, vec![vec![json!(10.0)]]), "{push}");
    assert_eq!(followed("buyers").await.0, 403);
    let any = signer.token(kid, claims(json!({"dimensions": ["store"]})));
    assert_eq!(portal.evaluate(&any, "buyers", json!({})).await, Ok(vec![vec![json!(1)]]));
    assert_eq!(portal.count(&any).await.unwrap_err().0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_reads_the_dashboards_that_it_names() {
    let portal = Portal::open().await;
    let (kid, signer) = &portal.ed;
    let house = &portal.house;
    let url = |id: &str| format!("http://{}/v1/apps/{APP}/dashboards{id}", house.address);
    let tiles = json!([{"id": "t", "query": {"measures": [{"formula": "SUM(amount)"}]}}, {"id": "m", "metric": {"name": "sales"}}]);
    for id in ["sales", "costs"] {
        let body = json!({"dashboard": {"tiles": tiles}});
        let kept = house.http.put(url(&format!("/{id}"))).bearer_auth(&portal.whole).json(&body).send().await.unwrap();
        assert_eq!(kept.status(), 200, "{}", kept.text().await.unwrap());
    }
    let read = async |token: &str, id: &str| {
        let answer = house.http.get(url(&format!("/{id}"))).bearer_auth(token).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let listed = async |token: &str| {
        let answer = house.http.get(url("")).bearer_auth(token).send().await.unwrap();
        let all = answer.json::<Value>().await.unwrap();
        let ids =
            all["dashboards"].as_array().unwrap().iter().map(|one| one["dashboard_id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    let named = signer.token(kid, claims(json!({"dashboards": ["sales", "nothing"]})));
    let (status, answer) = read(&named, "sales").await;
    assert_eq!((status, answer["dashboard"]["tiles"].as_array().unwrap().len()), (200, 2), "{answer}");
    assert_eq!((read(&named, "costs").await.0, read(&named, "nothing").await.0), (403, 404));
    assert_eq!(listed(&named).await, ["sales"]);
    // Who names none sees none, and nobody puts one.
    let unnamed = signer.token(kid, claims(json!({})));
    assert_eq!((read(&unnamed, "sales").await.0, listed(&unnamed).await.len()), (403, 0));
    let put = house.http.put(url("/sales")).bearer_auth(&named).json(&json!({"dashboard": {}})).send().await.unwrap();
    assert_eq!(put.status(), 403);
    assert_eq!(house.http.delete(url("/sales")).bearer_auth(&named).send().await.unwrap().status(), 403);
    // Of one that only evaluates metrics, the tiles are all the same; what they ask beside metrics it may not.
    let evaluates = signer.token(kid, claims(json!({"metrics": ["sales"], "dashboards": ["sales"]})));
    assert_eq!(read(&evaluates, "sales").await.0, 200);
    assert_eq!(portal.count(&evaluates).await.unwrap_err().0, 403);
    // Another app's dashboards are another's.
    let elsewhere = signer.token(kid, claims(json!({"apps": [], "dashboards": ["sales"]})));
    assert_eq!(read(&elsewhere, "sales").await.0, 403);
}

/// The product's look is inherited from the installation over the tenant and the app to a customer.
#[tokio::test]
async fn a_customer_is_shown_the_product_as_its_token_says_and_else_as_its_app_has_it() {
    let portal = Portal::open().await;
    let (house, (kid, signer)) = (&portal.house, &portal.ed);
    let url = |path: &str| format!("http://{}{path}", house.address);
    let app = json!({"tenant_id": "host", "app_id": APP});
    for (place, branding) in [
        (json!({}), json!({"docs_url": "https://house.example/", "product_name": "House"})),
        (json!({"tenant_id": "host"}), json!({"product_name": "Host", "primary_color": "#112233"})),
        (app, json!({"primary_color": "#445566", "logo_url": "https://host.example/portal.svg"})),
    ] {
        let mut body = place;
        body["branding"] = branding;
        let put = house.http.put(url("/v1/branding")).bearer_auth(house.operator_key()).json(&body);
        assert_eq!(put.send().await.unwrap().status(), 200);
    }
    let shown = async |key: &str| {
        let answer = house.http.get(url("/v1/describe")).bearer_auth(key).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json::<Value>().await.unwrap()["branding"].clone()
    };
    let mut of_app = json!({"product_name": "Host", "primary_color": "#445566", "logo_url": "https://host.example/portal.svg",
        "docs_url": "https://house.example/"});
    assert_eq!(shown(&portal.whole).await, of_app);
    assert_eq!(shown(&signer.token(kid, claims(json!({})))).await, of_app);
    let of_ann = json!({"product_name": "Ann's numbers", "logo_url": "https://ann.example/logo.png"});
    of_app.as_object_mut().unwrap().extend(of_ann.as_object().unwrap().clone());
    assert_eq!(shown(&signer.token(kid, claims(json!({"branding": of_ann})))).await, of_app);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_has_no_more_calls_and_no_more_urgent_ones_than_its_tokens_say() {
    let portal = Portal::open().await;
    let bounded = |(kid, signer): &(String, Signer), customer: &str, jti: u64| {
        signer.token(kid, claims(json!({"sub": customer, "jti": jti, "calls_per_second": 1})))
    };
    // Two tokens by two keys are one customer's.
    let of_ann = [bounded(&portal.ed, "ann", 1), bounded(&portal.hs, "ann", 2)];
    let (started, mut let_in) = (std::time::Instant::now(), 0);
    let (status, refusal) = loop {
        match portal.count(&of_ann[let_in % 2]).await {
            Ok(count) => assert_eq!(count, 4),
            Err(refused) => break refused,
        }
        let_in += 1;
        assert!(let_in < 1_000, "nothing is refused");
    };
    assert!(let_in >= 10 && let_in as f64 <= 11.0 + started.elapsed().as_secs_f64(), "{let_in}");
    assert_eq!(status, 429);
    assert!(refusal.contains("the customer's 1 requests a second are used up"), "{refusal}");
    assert_eq!(portal.count(&bounded(&portal.ed, "bob", 3)).await, Ok(4), "another customer of the same tenant");
    assert_eq!(portal.count(&portal.whole).await, Ok(8), "the tenant itself");

    let asked = async |class: &str| {
        let url = format!("http://{}/metrics", portal.house.ops_address);
        let text = portal.house.http.get(url).send().await.unwrap().text().await.unwrap();
        let line = format!("penstock_query_wait_seconds_count{{class=\"{class}\"}} ");
        text.lines().find_map(|told| told.strip_prefix(&line)?.parse::<f64>().ok()).unwrap_or_default()
    };
    let (interactive, background) = (asked("interactive").await, asked("background").await);
    let token = portal.ed.1.token(&portal.ed.0, claims(json!({"priority": "background"})));
    let options = json!({"priority": "PRIORITY_INTERACTIVE"});
    let question = json!({"sql": "SELECT MAX(store) AS n FROM events", "app_id": APP, "options": options});
    assert_eq!(portal.house.post(&token, "/v1/sql", &question).await.0, 200);
    assert_eq!((asked("interactive").await, asked("background").await), (interactive, background + 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_for_the_pages_that_it_names_among_those_of_its_key_s() {
    let portal = Portal::open().await;
    let allowed =
        json!({"tenant_id": "host", "settings": {"allowed_origins": ["https://ann.example", "https://bob.example"]}});
    let put = portal.house.http.put(format!("http://{}/v1/settings", portal.house.address));
    let put = put.bearer_auth(portal.house.operator_key()).json(&allowed).send().await.unwrap();
    assert_eq!(put.status(), 200);
    let ask = async |token: &str, origin: Option<&str>| {
        let ask = portal.house.http.post(format!("http://{}/v1/sql", portal.house.address)).bearer_auth(token);
        let ask = origin.into_iter().fold(ask, |ask, origin| ask.header("origin", origin));
        let answer = ask.json(&json!({"sql": "SELECT COUNT(*) FROM events", "app_id": APP})).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let token = |origins: Value| portal.ed.1.token(&portal.ed.0, claims(json!({"origins": origins})));
    let anns = token(json!(["https://ann.example"]));
    let elsewhere = token(json!(["https://carl.example"]));
    // Settings are known within seconds.
    let started = std::time::Instant::now();
    while ask(&elsewhere, Some("https://carl.example")).await.0 == 200 {
        assert!(started.elapsed() < PATIENCE);
    }
    let (status, told) = ask(&anns, Some("https://ann.example")).await;
    assert_eq!(status, 200, "{told}");
    let (status, refusal) = ask(&anns, Some("https://bob.example")).await;
    assert!(status == 403 && refusal.contains("this embed token may not be used by pages of this origin"), "{refusal}");
    let (status, refusal) = ask(&elsewhere, Some("https://carl.example")).await;
    assert!(status == 403 && refusal.contains("this key may not"), "it widens nothing: {refusal}");
    assert_eq!(ask(&anns, None).await.0, 200, "no browser's");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_gets_in_that_the_tenant_did_not_sign() {
    let portal = Portal::open().await;
    let ((ed, pair), (hs, _)) = (&portal.ed, &portal.hs);
    let Signer::Ed(public) = pair else { unreachable!() };
    let public = Signer::Hmac(public.public_key().as_ref().to_vec());
    let (good, bearer) = (claims(json!({})), &portal.whole["pnsk_live_".len()..][..12]);
    let alg = |alg: &str, kid: &str| json!({"alg": alg, "kid": kid, "typ": "JWT"});
    let ours = pair.token(ed, good.clone());
    let (signed, signature) = ours.rsplit_once('.').unwrap();
    let widened = BASE64URL.encode(claims(json!({"filters": {}})).to_string());
    let tampered = format!("{}.{widened}.{signature}", signed.split_once('.').unwrap().0);
    for (token, what) in [
        (Signer::Nobody.token(ed, good.clone()), "no signature"),
        (Signer::Nobody.token_with(&alg("EdDSA", ed), &good), "an empty signature"),
        (public.token_with(&alg("HS256", ed), &good), "the public key as a secret"),
        (public.token_with(&alg("EdDSA", ed), &good), "another algorithm's signature"),
        (pair.token_with(&alg("HS256", ed), &good), "another algorithm's name"),
        (pair.token(hs, good.clone()), "another key's id"),
        (pair.token(bearer, good.clone()), "the id of a key that signs nothing"),
        (pair.token("0123456789ab", good.clone()), "no key's id"),
        (pair.token("a' OR 1", good.clone()), "an id that is none"),
        (
            pair.token_with(&json!({"alg": "EdDSA", "kid": ed, "crit": ["exp"]}), &good),
            "what must be understood and isn't",
        ),
        (pair.token_with(&json!({"alg": "EdDSA"}), &good), "no key's id at all"),
        (tampered, "other claims"),
        (format!("{ours}x"), "a longer signature"),
        (signed.to_owned(), "no third part"),
        (format!("eyJ{}", "A".repeat(9_000)), "what is too long"),
        (pair.token(ed, claims(json!({"exp": now_s() - 1}))), "an end that is past"),
        (pair.token(ed, claims(json!({"exp": now_s() + 90_000}))), "an end too far away"),
        (pair.token(ed, claims(json!({"nbf": now_s() + 600}))), "a begin that is to come"),
        (pair.token(ed, json!({"filters": {}})), "no end"),
        (pair.token(ed, json!({"exp": now_s() + 60})), "no filters, where none should be said"),
        (pair.token(ed, claims(json!({"filter": {"store": 1}}))), "a claim that is misspelt"),
        (pair.token(ed, claims(json!({"filters": {"customer": []}}))), "a filter without values"),
        (pair.token(ed, claims(json!({"filters": {"customer": {"ne": "bob"}}}))), "a filter that isn't one"),
        (pair.token(ed, claims(json!({"apps": ["other"]}))), "an app out of reach"),
        (pair.token(ed, claims(json!({"priority": "urgent"}))), "a priority that is none"),
        (pair.token(ed, claims(json!({"calls_per_second": 5}))), "a bound for nobody"),
        (pair.token(ed, claims(json!({"calls_per_second": 5, "sub": {"id": 1}}))), "a bound for what is no id"),
        (pair.token(ed, claims(json!({"calls_per_second": 0, "sub": "u1"}))), "a bound that lets nothing in"),
        (pair.token(ed, claims(json!({"branding": {"product": "Ann"}}))), "a branding's word that is misspelt"),
        (pair.token(ed, claims(json!({"branding": {"logo_url": "javascript:alert(1)"}}))), "a script for a logo"),
        (pair.token(ed, claims(json!({"origins": []}))), "pages of nobody"),
        (pair.token(ed, claims(json!({"origins": "https://ann.example"}))), "origins that are no list"),
    ] {
        let refused = portal.count(&token).await;
        assert!(matches!(&refused, Err((401, message)) if !message.contains("host")), "{what}: {refused:?}");
    }
    assert_eq!(portal.count(&ours).await, Ok(4));

    // The secret itself is no key, and a key that is revoked signs nothing any more.
    let Signer::Hmac(secret) = &portal.hs.1 else { unreachable!() };
    assert_eq!(portal.count(&BASE64URL.encode(secret)).await.unwrap_err().0, 401);
    let url = format!("http://{}/v1/keys/{ed}", portal.house.address);
    let revoked = portal.house.http.delete(url).bearer_auth(&portal.whole).send().await.unwrap();
    assert_eq!(revoked.status(), 200);
    let started = std::time::Instant::now();
    while portal.count(&ours).await.is_ok() {
        assert!(started.elapsed() < PATIENCE);
    }
    assert_eq!(portal.count(&portal.hs.1.token(hs, good)).await, Ok(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_ends_with_its_token() {
    let portal = Portal::open().await;
    let (kid, signer) = &portal.hs;
    let token = signer.token(kid, claims(json!({"exp": now_s() + 4})));
    let mut client = QueryServiceClient::new(portal.house.keyed(&token).await);
    let sql = SqlQuery { sql: "SELECT COUNT(*) AS n FROM events".to_owned(), app_id: APP.to_owned() };
    let request = SubscribeRequest { question: Some(Question::Sql(sql)), ..SubscribeRequest::default() };
    let mut pushed = client.subscribe(request).await.unwrap().into_inner();
    let ended = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Err(status) = pushed.message().await {
                break status;
            }
        }
    });
    assert_eq!(ended.await.expect("it ends by itself").code(), Code::Unauthenticated);
    assert_eq!(portal.count(&token).await.unwrap_err().0, 401);
}
