//! Each layer at its place in the whole stack, on a clock that moves only while everybody waits.

#![allow(clippy::unwrap_used)]

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicI64, Ordering},
};

use futures::FutureExt;
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use mesh::{Body, context::CallContext, lately, serve::Peer};
use model::{Environment, KeyText};
use storage::{Key, Places};
use tokio::{sync::watch, time::Instant};

use super::*;
use crate::authenticate::tests::{key as kept_key, metastore, text};

const TODAY_MS: i64 = 1_700_000_000_000;
/// From where calls come, if nothing else is said.
const PEER: &str = "192.0.2.1";
const SQL: &str = "/v1/sql";
const STREAM: &str = "/penstock.v1.QueryService/SqlStream";

fn today_ms() -> i64 {
    TODAY_MS
}

fn context_key() -> SigningKey {
    SigningKey::derive(&[7; 32], "call context")
}

/// What the service behind the stack was handed.
#[derive(Clone)]
struct Handed(HeaderMap);

/// The stack, with a service behind it that takes as many seconds for each call as the call's `takes` says.
struct Edge {
    stack: HttpService,
    /// How many calls came through.
    came: watch::Receiver<usize>,
    /// May ask questions.
    key: KeyText,
    /// The same from [`PEER`]'s network alone, and for half a second.
    narrow: KeyText,
    _folder: tempfile::TempDir,
}

impl Edge {
    /// From here on the clock stands; the keys and the settings are read.
    async fn new(options: Options, now_ms: fn() -> i64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let meta = metastore(&format!("sqlite:{}", folder.path().join("meta.db").display())).await;
        let (key, narrow) = (text(), KeyText::from_random(Environment::Live, [3; 12], [4; 32]));
        let places = Places { networks: vec![Network::parse("192.0.2.0/24").unwrap()], ..Places::default() };
        let kept = Key { places, expires_at_ms: Some(TODAY_MS + 500), ..kept_key(&narrow) };
        meta.create_key(&kept).await.unwrap();

        let (coming, came) = watch::channel(0);
        let behind = BoxCloneSyncService::new(service_fn(move |request: Request| {
            coming.send_modify(|came| *came += 1);
            behind(request).map(Ok)
        }));
        let directory = meta as Arc<dyn Directory>;
        let stack = service(Parts {
            directory: Arc::clone(&directory),
            cache: storage::open_cache("memory:").await.unwrap(),
            cache_key: SigningKey::derive(&[7; 32], "cached API key"),
            context_key: context_key(),
            name: "this".to_owned(),
            uses: Arc::new(Uses::new(directory)),
            services: Services {
                ingest: behind.clone(),
                query: behind.clone(),
                metrics: behind.clone(),
                admin: behind.clone(),
                public: behind,
            },
            options,
            now_ms,
        });
        let edge = Self { stack, came, key, narrow, _folder: folder };
        for key in [&edge.key, &edge.narrow] {
            assert_eq!(edge.call(with(SQL, key)).await.status(), StatusCode::OK);
        }
        tokio::time::pause();
        edge
    }

    async fn standing(options: Options) -> Self {
        Self::new(options, today_ms).await
    }

    /// The answer's head.
    async fn call(&self, request: Request) -> Response {
        self.stack.clone().oneshot(request).await.unwrap()
    }

    /// A call beside others, under way once this returns.
    async fn begin(&mut self, request: Request) -> tokio::task::JoinHandle<Response> {
        let before = *self.came.borrow_and_update();
        let call = tokio::spawn(self.stack.clone().oneshot(request).map(Result::unwrap));
        self.came.wait_for(|came| *came > before).await.unwrap();
        call
    }

    fn came(&self) -> usize {
        *self.came.borrow()
    }
}

async fn behind(request: Request) -> Response {
    let (head, body) = request.into_parts();
    let read = body.collect().await;
    let seconds = head.headers.get("takes").map_or(0, |takes| takes.to_str().unwrap().parse().unwrap());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let answer = match head.uri.path() {
        STREAM => Body::new(StreamBody::new(futures::stream::pending::<Result<Frame<bytes::Bytes>, Infallible>>())),
        _ => Body::new(Full::new(read.map_or_else(|_| bytes::Bytes::new(), |read| read.to_bytes()))),
    };
    let mut answer = Response::new(answer);
    answer.extensions_mut().insert(Handed(head.headers));
    answer
}

fn from_peer(path: &str) -> http::request::Builder {
    http::Request::post(path).extension(Peer(SocketAddr::new(PEER.parse().unwrap(), 1)))
}

fn keyed(path: &str, key: &KeyText) -> http::request::Builder {
    from_peer(path).header("authorization", format!("Bearer {}", key.as_str()))
}

fn with(path: &str, key: &KeyText) -> Request {
    keyed(path, key).body(Body::empty()).unwrap()
}

fn taking(seconds: u64, path: &str, key: &KeyText, priority: &str) -> Request {
    keyed(path, key).header("takes", seconds).header("x-priority", priority).body(Body::empty()).unwrap()
}

fn handed(answer: &Response) -> &HeaderMap {
    &answer.extensions().get::<Handed>().expect("the service was called").0
}

async fn said(answer: Response) -> String {
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn rescue_says_a_refusal_in_the_callers_protocol() {
    let edge = Edge::standing(Options::default()).await;
    let json = edge.call(from_peer(SQL).body(Body::empty()).unwrap()).await;
    assert_eq!(json.status(), StatusCode::UNAUTHORIZED);
    assert!(said(json).await.contains("UNAUTHENTICATED"));
    let grpc = from_peer("/penstock.v1.QueryService/Sql").header("content-type", "application/grpc");
    let grpc = edge.call(grpc.body(Body::empty()).unwrap()).await;
    assert_eq!((grpc.status(), &grpc.headers()["grpc-status"]), (StatusCode::OK, &HeaderValue::from_static("16")));
}

#[tokio::test]
async fn target_ends_what_no_service_has_before_anybody_is_asked_for_a_key() {
    let edge = Edge::standing(Options::default()).await;
    let came = edge.came();
    let answer = edge.call(from_peer("/v1/nothing").body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status(), edge.came()), (StatusCode::NOT_FOUND, came));
}

#[tokio::test]
async fn trace_goes_on_in_the_callers() {
    let edge = Edge::standing(Options::default()).await;
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let call = keyed(SQL, &edge.key).header("traceparent", format!("00-{id}-00f067aa0ba902b7-01"));
    let answer = edge.call(call.body(Body::empty()).unwrap()).await;
    assert!(handed(&answer)["traceparent"].to_str().unwrap().contains(id));
    let answer = edge.call(with(SQL, &edge.key)).await;
    assert_eq!(handed(&answer)["traceparent"].len(), 55, "one is made up where there is none");
}

#[tokio::test]
async fn observe_counts_what_is_refused_below_it() {
    let edge = Edge::standing(Options::default()).await;
    // No other test calls this service.
    let counted = || lately::calls().into_iter().find(|(target, _)| *target == "admin").map_or(0, |(_, of)| of.calls);
    let before = counted();
    let refused = edge.call(with("/v1/tenants", &edge.key)).await;
    assert_eq!((refused.status(), counted()), (StatusCode::FORBIDDEN, before + 1));
}

#[tokio::test]
async fn memory_guard_bounds_all_that_is_kept_whoever_calls() {
    let mut edge = Edge::standing(Options { max_calls: 1, ..Options::default() }).await;
    let health = || from_peer("/grpc.health.v1.Health/Check").header("takes", 5).body(Body::empty()).unwrap();
    let inside = [edge.begin(health()).await, edge.begin(health()).await];
    let refused = edge.call(with(SQL, &edge.key)).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    for call in inside {
        assert_eq!(call.await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(edge.call(with(SQL, &edge.key)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn deadline_ends_a_call_to_the_second_and_tells_the_service() {
    let edge = Edge::standing(Options::default()).await;
    let call = |takes: u64| {
        let call = keyed(SQL, &edge.key).header("grpc-timeout", "5S").header("takes", takes);
        edge.call(call.body(Body::empty()).unwrap())
    };
    let began = Instant::now();
    assert_eq!(call(3_600).await.status(), StatusCode::GATEWAY_TIMEOUT);
    assert!((5_000..5_002).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert_eq!(handed(&call(4).await)["grpc-timeout"], "5000m");
}

#[tokio::test]
async fn patience_ends_with_who_sends_a_byte_at_a_time() {
    let edge = Edge::standing(Options::default()).await;
    let trickle = futures::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, Infallible>(Frame::data(bytes::Bytes::from_static(b" "))), ()))
    });
    let call = keyed(SQL, &edge.key).body(Body::new(StreamBody::new(Box::pin(trickle)))).unwrap();
    let began = Instant::now();
    assert_eq!(edge.call(call).await.status(), StatusCode::GATEWAY_TIMEOUT);
    assert!((20..22).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test]
async fn public_first_answers_without_a_key() {
    let edge = Edge::standing(Options::default()).await;
    let call = from_peer("/grpc.health.v1.Health/Check").body(Body::empty()).unwrap();
    assert_eq!(edge.call(call).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn whence_believes_trusted_hops_alone() {
    let from =
        |edge: &Edge, told: &str| keyed(SQL, &edge.narrow).header("x-forwarded-for", told).body(Body::empty()).unwrap();
    let edge = Edge::standing(Options::default()).await;
    assert_eq!(edge.call(from(&edge, "203.0.113.1")).await.status(), StatusCode::OK, "its peer's network may");
    tokio::time::resume();
    let trusted_hops = vec![Network::parse(PEER).unwrap()];
    let edge = Edge::standing(Options { trusted_hops, ..Options::default() }).await;
    assert_eq!(edge.call(from(&edge, "203.0.113.1")).await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn authenticate_ends_a_stream_with_its_key() {
    static NOW_MS: AtomicI64 = AtomicI64::new(TODAY_MS);
    let edge = Edge::new(Options::default(), || NOW_MS.load(Ordering::Relaxed)).await;
    let call = keyed(STREAM, &edge.narrow).header("content-type", "application/grpc").body(Body::empty()).unwrap();
    let stream = edge.call(call).await;
    assert_eq!(stream.status(), StatusCode::OK);
    NOW_MS.store(TODAY_MS + 501, Ordering::Relaxed);
    let began = Instant::now();
    let end = stream.into_body().collect().await.unwrap();
    assert_eq!(end.trailers().unwrap()["grpc-status"], "16");
    assert!(began.elapsed().as_millis() < 1_002, "{:?}", began.elapsed());
    assert_eq!(edge.call(with(SQL, &edge.narrow)).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn place_refuses_a_key_from_elsewhere() {
    let edge = Edge::standing(Options::default()).await;
    let came = edge.came();
    let mut call = with(SQL, &edge.narrow);
    call.extensions_mut().insert(Peer(SocketAddr::new("203.0.113.1".parse().unwrap(), 1)));
    let refused = edge.call(call).await;
    assert_eq!((refused.status(), edge.came()), (StatusCode::FORBIDDEN, came));
    assert!(said(refused).await.contains("ADDRESS_NOT_ALLOWED"));
}

#[tokio::test]
async fn scope_keeps_a_key_from_services_that_it_has_no_business_with() {
    let edge = Edge::standing(Options::default()).await;
    let came = edge.came();
    let refused = edge.call(with("/v1/events", &edge.key)).await;
    assert_eq!((refused.status(), edge.came()), (StatusCode::FORBIDDEN, came));
}

#[tokio::test]
async fn tenant_limit_says_when_to_come_again_and_keeps_its_word() {
    // Reading the keys took the first two.
    let edge = Edge::standing(Options { tenant_calls_per_second: 1, tenant_burst: 4, ..Options::default() }).await;
    let calls = async || {
        let mut statuses = Vec::new();
        for _ in 0..10 {
            let answer = edge.call(with(SQL, &edge.key)).await;
            if answer.status() != StatusCode::OK {
                assert_eq!(answer.headers()["retry-after"], "1");
                return (statuses, answer.status());
            }
            statuses.push(answer.status());
        }
        (statuses, StatusCode::OK)
    };
    let (let_in, refused) = calls().await;
    assert_eq!(refused, StatusCode::TOO_MANY_REQUESTS);
    assert!((2..4).contains(&let_in.len()), "{let_in:?}");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(calls().await, (vec![StatusCode::OK], StatusCode::TOO_MANY_REQUESTS));
}

#[tokio::test]
async fn load_shed_turns_the_less_urgent_away_first() {
    let mut edge = Edge::standing(Options { max_calls: 4, ..Options::default() }).await;
    let key = edge.key.clone();
    let mut inside = Vec::new();
    for priority in ["background", "background", "scheduled", "interactive"] {
        inside.push(edge.begin(taking(5, SQL, &key, priority)).await);
        let refused = edge.call(taking(0, SQL, &key, "background")).await;
        let expected = if inside.len() < 2 { StatusCode::OK } else { StatusCode::TOO_MANY_REQUESTS };
        assert_eq!(refused.status(), expected, "beside {}", inside.len());
    }
    assert_eq!(edge.call(with(SQL, &key)).await.status(), StatusCode::TOO_MANY_REQUESTS, "it is full");
    for call in inside {
        assert_eq!(call.await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(edge.call(taking(0, SQL, &key, "background")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn sign_puts_what_is_known_of_the_caller_in_the_place_of_its_key_and_of_its_word() {
    let edge = Edge::standing(Options::default()).await;
    let call = keyed(SQL, &edge.key).header("x-api-key", edge.key.as_str()).header(CONTEXT_HEADER, "forged");
    let answer = edge.call(call.body(Body::empty()).unwrap()).await;
    let headers = handed(&answer);
    assert_eq!(["authorization", "x-api-key"].map(|name| headers.contains_key(name)), [false, false]);
    assert_eq!(headers.get_all(CONTEXT_HEADER).iter().count(), 1);
    let context: CallContext = context_key().open(headers[CONTEXT_HEADER].to_str().unwrap()).unwrap();
    assert_eq!((context.scope.tenant.as_str(), context.address.as_str()), ("acme", PEER));
    assert_eq!(context.good_until_ms, TODAY_MS + CONTEXT_GOOD_MS);
}
