//! Calls by a library's HTTP, whose content is broken: messages, frames, encodings, JSON, headers.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::TokioExecutor,
};
use prost::Message;
use prost_reflect::{DescriptorPool, MethodDescriptor};
use rand::RngExt;
use tokio::runtime::Runtime;

use super::answer;
use crate::{
    inside::transcode,
    mutate::{self, json, one_in, pick, proto, samples},
    report::Verdict,
    run::Random,
};

/// How long an answer may take. Generous: it bounds a hang, it measures nothing.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub struct Call {
    http2: bool,
    method: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

/// The connections of one thread.
pub struct Client {
    runtime: Runtime,
    address: String,
    http1: Pool<HttpConnector, Full<bytes::Bytes>>,
    http2: Pool<HttpConnector, Full<bytes::Bytes>>,
}

impl Client {
    pub fn new(address: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http1 = Pool::builder(TokioExecutor::new()).build(connector.clone());
        let http2 = Pool::builder(TokioExecutor::new()).http2_only(true).build(connector);
        Self { runtime, address: address.to_owned(), http1, http2 }
    }

    /// What the server says to it, or what is wrong with that. What HTTP itself can't carry isn't sent.
    pub fn send(&self, call: &Call) -> Result<Verdict, String> {
        let mut request = http::Request::builder()
            .method(call.method.as_str())
            .uri(format!("http://{}{}", self.address, call.target));
        for (name, value) in &call.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value)) {
                request = request.header(name, value);
            }
        }
        let Ok(request) = request.body(Full::from(call.body.clone())) else {
            return Ok(Verdict::Refused("not HTTP".to_owned()));
        };
        let pool = if call.http2 { &self.http2 } else { &self.http1 };
        let answer = async {
            let (head, mut body) = pool.request(request).await.map_err(|e| format!("no answer: {e:?}"))?.into_parts();
            let goes_on = head.status.is_success() && !head.headers.contains_key("grpc-status");
            if goes_on && call.target.to_lowercase().contains("subscribe") {
                body.frame().await.transpose().map_err(|e| format!("no beginning: {e:?}"))?;
                return Ok(None); // it has no end
            }
            let body = body.collect().await.map_err(|e| format!("half an answer: {e:?}"))?;
            Ok::<_, String>(Some((head, body)))
        };
        let answer = self
            .runtime
            .block_on(async { tokio::time::timeout(PATIENCE, answer).await })
            .map_err(|_| "no answer in time".to_owned())??;
        let Some((head, body)) = answer else { return Ok(Verdict::Accepted) };
        let (status, trailers, body) = (head.status.as_u16(), body.trailers().cloned(), body.to_bytes());
        let content_type = head.headers.get("content-type").map_or(&b""[..], HeaderValue::as_bytes);
        if content_type.starts_with(b"application/grpc-web") {
            let text = content_type.starts_with(b"application/grpc-web-text");
            answer::grpc(status, &head.headers, answer::web_trailers(&body, text).as_ref())
        } else if content_type.starts_with(b"application/grpc") {
            match answer::grpc(status, &head.headers, trailers.as_ref())? {
                Verdict::Accepted if call.target.ends_with("/Publish") => answer::publish(&body),
                verdict => Ok(verdict),
            }
        } else if body.is_empty() && status >= 400 && call.is_web() {
            Ok(Verdict::Refused(status.to_string())) // no grpc-web at all, and so there is nothing to say it in
        } else {
            answer::json(status, &body)
        }
    }
}

impl Call {
    /// A POST as it is written here: a gRPC call or JSON, by its content type.
    pub fn post(target: &str, key: &str, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let headers = headers.iter().copied().chain([("x-api-key", key)]);
        Self {
            http2: target.starts_with("/penstock") || target.starts_with("/grpc"),
            method: "POST".to_owned(),
            target: target.to_owned(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).collect(),
            body: body.to_vec(),
        }
    }

    /// A GET.
    pub fn get(target: &str, key: &str) -> Self {
        Self { method: "GET".to_owned(), ..Self::post(target, key, &[], b"") }
    }

    pub fn of(kind: &str, random: &mut Random, keys: &[String; 2]) -> Self {
        let mut call = match kind {
            "grpc" => grpc(random),
            "json" => transcoded(random),
            _ => events(random),
        };
        // The operator may do little, and that is soon refused.
        let key = &keys[usize::from(one_in(random, 6))];
        call.headers.push(("authorization".to_owned(), format!("Bearer {key}").into_bytes()));
        if one_in(random, 8) {
            headers(random, &mut call.headers);
        }
        call
    }

    fn is_web(&self) -> bool {
        self.headers.iter().any(|(_, value)| value.starts_with(b"application/grpc-web"))
    }

    /// The same call with another body.
    pub fn with(&self, body: &[u8]) -> Self {
        Self { body: body.to_vec(), ..self.clone() }
    }

    /// The request, its key left out.
    pub fn shown(&self, keys: &[String; 2]) -> String {
        let headers =
            self.headers.iter().map(|(name, value)| format!("{name}: {}", value.escape_ascii())).collect::<Vec<_>>();
        let shown = format!("{} {} {} {}", self.method, self.target, headers.join("; "), self.body.escape_ascii());
        shown.replace(&keys[0], "KEY").replace(&keys[1], "OPERATORS-KEY")
    }
}

/// Any method of the contracts, and of health.
fn grpc(random: &mut Random) -> Call {
    let pool = DescriptorPool::decode(api::DESCRIPTORS).unwrap();
    let method = any_method(random, &pool);
    let mut message = if method.name().starts_with("Publish") && !one_in(random, 4) {
        samples::batch(random).encode_to_vec()
    } else {
        samples::message(random, &method.input()).encode_to_vec()
    };
    if random.random() {
        message = proto::mutate(random, &message);
    }
    if one_in(random, 4) {
        mutate::bytes(random, &mut message);
    }
    let mut headers = vec![
        ("content-type".to_owned(), b"application/grpc".to_vec()),
        ("te".to_owned(), b"trailers".to_vec()),
        ("grpc-timeout".to_owned(), b"20S".to_vec()),
    ];
    let (mut flag, mut encoding) = (0, None);
    if one_in(random, 4) {
        let (name, bytes) = samples::compressed(random, &message);
        (flag, encoding, message) = (1, Some(name), bytes);
    }
    if one_in(random, 20) {
        encoding = Some(pick(random, &["identity", "br", "gzip", "zstd", ""]));
    }
    headers.extend(encoding.map(|name| ("grpc-encoding".to_owned(), name.as_bytes().to_vec())));
    let mut body = mesh::body::frame(&message).to_vec();
    body[0] = flag;
    match random.random_range(0..40) {
        0 => body[0] = pick(random, &[1, 2, 0x80, 0xff]),
        1 => body[1] = pick(random, &[0x7f, 0xff]),
        2 => body[4] = body[4].wrapping_add(1),
        3 => body.truncate(random.random_range(0..body.len())),
        4 => body.extend_from_within(..),
        5 => body.clear(),
        _ => {}
    }
    let mut target = format!("/{}/{}", method.parent_service().full_name(), method.name());
    if one_in(random, 30) {
        target = pick(
            random,
            &[
                "/grpc.health.v1.Health/Check",
                "/penstock.v1.QueryService/Nothing",
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            ],
        )
        .to_owned();
    }
    Call { http2: true, method: "POST".to_owned(), target, headers, body }
}

fn any_method(random: &mut Random, pool: &DescriptorPool) -> MethodDescriptor {
    let service = pool.get_service_by_name(pick(random, &transcode::SERVICES)).unwrap();
    let methods: Vec<_> = service.methods().collect();
    pick(random, &methods)
}

/// What the JSON routes take.
fn transcoded(random: &mut Random) -> Call {
    let mut input = transcode::input(random);
    let at = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let body = input.split_off((at + 1).min(input.len()));
    let line = String::from_utf8_lossy(&input).trim().to_owned();
    let (method, target) = line.split_once(' ').unwrap_or(("POST", "/v1/sql"));
    // What doesn't begin a path would be part of the address.
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    let headers = vec![("content-type".to_owned(), b"application/json".to_vec())];
    Call { http2: one_in(random, 2), method: method.to_owned(), target, headers, body }
}

/// `POST /v1/events`, under every encoding.
fn events(random: &mut Random) -> Call {
    let lines = random.random();
    let text = samples::batch_json(&samples::batch(random), lines);
    let mut body = if one_in(random, 4) { text.into_bytes() } else { json::mutate(random, &text) };
    let content_type = if lines { "application/x-ndjson" } else { "application/json" };
    let mut headers = vec![("content-type".to_owned(), content_type.as_bytes().to_vec())];
    match random.random_range(0..3) {
        0 => {
            let (encoding, bytes) = samples::compressed(random, &body);
            headers.push(("content-encoding".to_owned(), encoding.as_bytes().to_vec()));
            body = bytes;
        }
        1 => mutate::bytes(random, &mut body),
        _ => {}
    }
    let target =
        pick(random, &["/v1/events?app_id=xyz123", "/v1/events?app_id=xyz123", "/v1/events", "/v1/events?app_id=%00"]);
    Call { http2: one_in(random, 2), method: "POST".to_owned(), target: target.to_owned(), headers, body }
}

/// Headers that mean something to the gateway, with what they don't expect.
fn headers(random: &mut Random, headers: &mut Vec<(String, Vec<u8>)>) {
    const NAMES: [&str; 12] = [
        "authorization",
        "x-api-key",
        "x-penstock-context",
        "grpc-timeout",
        "content-type",
        "content-encoding",
        "traceparent",
        "grpc-encoding",
        "origin",
        "accept-encoding",
        "x-request-timeout",
        "grpc-accept-encoding",
    ];
    const VALUES: [&[u8]; 16] = [
        b"",
        b"Bearer ",
        b"Bearer x",
        b"Basic YTpi",
        b"0S",
        b"99999999H",
        b"-1S",
        b"1n",
        b"\xff\xfe",
        b"application/grpc-web+proto",
        b"application/grpc-web-text",
        b"application/grpc+json",
        b"00-0-0-0",
        b"gzip, br;q=0",
        b"eyJhbGciOiJub25lIn0..",
        b"*",
    ];
    let name = pick(random, &NAMES).to_owned();
    let mut value = pick(random, &VALUES).to_vec();
    if one_in(random, 6) {
        value = vec![b'x'; pick(random, &[100, 5_000, 20_000])];
    }
    if random.random() {
        headers.retain(|(other, _)| *other != name);
    }
    headers.push((name, value));
}
