//! JSON for gRPC methods: what is made of a path, a query string and a body.

use std::{convert::Infallible, sync::LazyLock};

use http_body_util::{BodyExt, Full};
use mesh::{Body, HttpService, Request, Response, transcode::Transcoder};
use model::Error;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use rand::RngExt;
use tower::{ServiceExt, service_fn, util::BoxCloneSyncService};

use super::Outcome;
use crate::{
    mutate::{self, json, one_in, pick, samples},
    report::Verdict,
    run::Random,
};

pub const SERVICES: [&str; 5] = [
    "penstock.v1.IngestService",
    "penstock.v1.QueryService",
    "penstock.v1.MetricsService",
    "penstock.v1.DashboardService",
    "penstock.v1.AdminService",
];

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| DescriptorPool::decode(api::DESCRIPTORS).unwrap());

const LINES: [&str; 21] = [
    "POST /v1/identify",
    "POST /v1/query",
    "POST /v1/query:stream",
    "POST /v1/subscribe",
    "POST /v1/export",
    "POST /v1/sql",
    "POST /v1/explain",
    "POST /v1/apps/xyz123/metrics",
    "PATCH /v1/apps/xyz123/metrics/a%20b",
    "GET /v1/apps/xyz123/metrics/revenue?version=3",
    "POST /v1/apps/x/metrics/m:evaluate",
    "POST /v1/apps/x/metrics:preview",
    "PUT /v1/apps/xyz123/dashboards/sales",
    "DELETE /v1/apps/xyz123/dashboards/a%20b?etag=0",
    "POST /v1/tenants",
    "GET /v1/apps?tenant_id=a%2fb+c",
    "DELETE /v1/keys/k?tenant_id=acme",
    "GET /v1/keys?tenant_id=%ff&tenant_id=",
    "POST /v1/keys",
    "POST /v1/keys/k:rotate",
    "POST /v1/apps",
];

/// Method and target on a line, and a body after it.
pub fn input(random: &mut Random) -> Vec<u8> {
    let mut line = pick(random, &LINES).as_bytes().to_vec();
    if one_in(random, 3) {
        mutate::bytes(random, &mut line);
    }
    let body = if line.starts_with(b"GET") { Vec::new() } else { body(random) };
    [&line, &b"\n"[..], &body].concat()
}

/// The JSON of some method's request, broken.
pub fn body(random: &mut Random) -> Vec<u8> {
    let service = POOL.get_service_by_name(pick(random, &SERVICES)).unwrap();
    let methods: Vec<_> = service.methods().collect();
    let method = pick(random, &methods);
    let message = samples::message(random, &method.input());
    let options = SerializeOptions::new().use_proto_field_name(random.random());
    let mut text = serde_json::Serializer::new(Vec::new());
    // NaN in a Timestamp or the like has no JSON: then something else that is none.
    let text = message.serialize_with_options(&mut text, &options).map(|()| text.into_inner());
    json::mutate(random, &String::from_utf8(text.unwrap_or_default()).unwrap())
}

/// A gRPC server that answers every request that can be read of its method with nothing.
fn method(request: &Request, message: &[u8]) -> Result<(), String> {
    let (service, name) = request.uri().path()[1..].split_once('/').unwrap();
    let service = POOL.get_service_by_name(service).unwrap();
    let method = service.methods().find(|method| method.name() == name).unwrap();
    DynamicMessage::decode(method.input(), &message[5..]).map(drop).map_err(|e| e.to_string())
}

static TRANSCODER: LazyLock<HttpService> = LazyLock::new(|| {
    let inner = BoxCloneSyncService::new(service_fn(|request: Request| async {
        let (parts, body) = request.into_parts();
        let message = body.collect().await.unwrap().to_bytes();
        let read = method(&Request::from_parts(parts, Body::empty()), &message);
        let mut response = Response::new(Body::new(Full::from(mesh::body::frame(&[]))));
        if let Err(why) = read {
            let status = api::status::to_status(&Error::internal(why));
            response = status.into_http();
        }
        Ok::<_, Infallible>(response)
    }));
    Transcoder::new(api::DESCRIPTORS, &SERVICES, 1 << 20).wrap(inner)
});

pub fn check(input: &[u8]) -> Outcome {
    let at = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (line, body) = (&input[..at], input.get(at + 1..).unwrap_or_default());
    let (verb, target) = line.split_at(line.iter().position(|byte| *byte == b' ').unwrap_or(line.len()));
    let request = http::Request::builder().method(verb).uri(target.get(1..).unwrap_or_default());
    let Ok(request) = request.body(Body::new(Full::from(body.to_vec()))) else {
        return Ok(Verdict::Refused("not HTTP".to_owned()));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let response = TRANSCODER.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
        crate::outside::answer::json(status, &body)
    })
}
