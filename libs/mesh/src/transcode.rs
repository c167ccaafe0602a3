//! JSON for gRPC methods: the HTTP mapping that the contracts declare with `google.api.http`, applied to whatever they
//! declare. A new method needs no line here.
//!
//! `POST /v1/sql {"query": {...}}` becomes a gRPC request to the same service in the same process; the answer's
//! message becomes JSON, a stream of messages becomes NDJSON, or server-sent events for who accepts these, a failure becomes a
//! status with a JSON body.

use std::{convert::Infallible, sync::Arc};

use api::template::{Template, Variables, percent_decode};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use model::{Error, ErrorCode};
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MethodDescriptor, ReflectMessage, Value};
use tower::{ServiceExt, service_fn, util::BoxCloneSyncService};

use crate::{
    Body, HttpService, Request, Response, body,
    protocol::{self, Protocol},
};

const EVENTS: &str = "text/event-stream";
const JSON: &str = "application/json";

/// One path of a method.
pub(crate) struct Route {
    pub(crate) method: Method,
    /// As the contract has it, with `{field}` for what stands in the path.
    pub(crate) path: String,
    template: Template,
    pub(crate) grpc: MethodDescriptor,
    /// Whether the contract has the request in the body.
    pub(crate) has_body: bool,
    /// The field of bytes that is the whole answer, unless the caller asks for JSON.
    pub(crate) file: Option<FieldDescriptor>,
}

/// The routes of some services, built once from the contracts.
pub struct Transcoder {
    routes: Vec<Route>,
    limit_bytes: usize,
}

impl Transcoder {
    /// The routes that the named services declare in `descriptors` (an encoded `FileDescriptorSet`); request bodies may
    /// have `limit_bytes`.
    ///
    /// # Panics
    /// If the descriptors aren't those that this program was built with: they can't be decoded, or lack a service.
    pub fn new(descriptors: &[u8], services: &[&str], limit_bytes: usize) -> Self {
        let pool = DescriptorPool::decode(descriptors).expect("the contracts were compiled into this program");
        let routes = routes(&pool, services);
        Self { routes, limit_bytes }
    }

    /// Puts the routes before a gRPC service: gRPC goes through untouched, what matches a route is called as gRPC, the
    /// rest is NOT_FOUND.
    pub fn wrap(self, inner: HttpService) -> HttpService {
        let this = Arc::new(self);
        BoxCloneSyncService::new(service_fn(move |request: Request| {
            let (this, inner) = (Arc::clone(&this), inner.clone());
            async move {
                if Protocol::of(&request) == Protocol::Grpc {
                    return inner.oneshot(request).await;
                }
                Ok(this.call(request, inner).await.unwrap_or_else(|error| Protocol::Json.error(&error)))
            }
        }))
    }

    fn find(&self, method: &Method, path: &str) -> Result<(&Route, Variables), Error> {
        let mut other_methods = false;
        for route in &self.routes {
            if let Some(variables) = route.template.matches(path) {
                if route.method == method {
                    return Ok((route, variables));
                }
                other_methods = true;
            }
        }
        if other_methods {
            return Err(Error::invalid("method", "NOT_ALLOWED", format!("{method} is not a method of {path}")));
        }
        Err(Error::new(ErrorCode::NotFound, format!("there is no {path}")))
    }

    async fn call(&self, request: Request, inner: HttpService) -> Result<Response, Error> {
        let (parts, request_body) = request.into_parts();
        let path = parts.uri.path();
        let (route, variables) = self.find(&parts.method, path)?;
        let (lines, file) = (Lines::of(&parts.headers), route.file.clone().filter(|_| !accepts(&parts.headers, JSON)));
        let mut message = DynamicMessage::new(route.grpc.input());
        let bytes = body::collect(request_body, self.limit_bytes).await?;
        if !bytes.is_empty() {
            message = from_json(&route.grpc, &bytes)?;
        }
        for pair in parts.uri.query().unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
            let named = pair.split_once('=').filter(|(name, _)| !name.is_empty());
            let (name, text) = named.ok_or_else(|| {
                Error::invalid("query", "MALFORMED", format!("{pair:?} is not a parameter, as in `name=value`"))
            })?;
            set(&mut message, name, &percent_decode(&text.replace('+', " ")))?;
        }
        for (name, text) in variables {
            set(&mut message, &name, &text)?;
        }
        let response =
            inner.oneshot(grpc_request(parts, &route.grpc, &message)).await.unwrap_or_else(|e: Infallible| match e {});
        match file {
            Some(file) => to_file(response, &route.grpc, file).await,
            None => to_json(response, &route.grpc, lines).await,
        }
    }
}

/// The routes that the named services declare.
///
/// # Panics
/// As [`Transcoder::new`].
pub(crate) fn routes(pool: &DescriptorPool, services: &[&str]) -> Vec<Route> {
    let http =
        pool.get_extension_by_name("google.api.http").expect("the contracts import google/api/annotations.proto");
    let mut routes = Vec::new();
    for name in services {
        let service = pool.get_service_by_name(name).expect("the service is in the contracts");
        for grpc in service.methods() {
            let options = grpc.options();
            if !options.has_extension(&http) {
                continue;
            }
            if let Value::Message(rule) = options.get_extension(&http).as_ref() {
                routes.extend(route(rule, &grpc));
            }
        }
    }
    routes
}

fn route(rule: &DynamicMessage, grpc: &MethodDescriptor) -> Option<Route> {
    ["get", "put", "post", "delete", "patch"].into_iter().find_map(|verb| {
        let path = rule.get_field_by_name(verb)?;
        let path = path.as_str().filter(|path| !path.is_empty())?;
        let method = Method::from_bytes(verb.to_uppercase().as_bytes()).ok()?;
        let file = rule.get_field_by_name("response_body")?;
        let file = file.as_str().and_then(|name| grpc.output().get_field_by_name(name));
        let has_body = rule.get_field_by_name("body")?.as_str().is_some_and(|body| !body.is_empty());
        let template = Template::parse(path);
        Some(Route { method, path: path.to_owned(), template, grpc: grpc.clone(), has_body, file })
    })
}

fn from_json(grpc: &MethodDescriptor, bytes: &[u8]) -> Result<DynamicMessage, Error> {
    let malformed =
        |e: serde_json::Error| Error::invalid("body", "MALFORMED", format!("is not a {}: {e}", grpc.input().name()));
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let message = DynamicMessage::deserialize(grpc.input(), &mut json).map_err(malformed)?;
    json.end().map_err(malformed)?;
    Ok(message)
}

/// Sets a field by its dotted path from text. Only scalars and instants (RFC 3339) can stand in a URL.
fn set(message: &mut DynamicMessage, path: &str, text: &str) -> Result<(), Error> {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let unknown = || Error::invalid(path, "NOT_ALLOWED", "is not a parameter of this method");
    let descriptor = message.descriptor();
    let field =
        descriptor.get_field_by_name(name).or_else(|| descriptor.get_field_by_json_name(name)).ok_or_else(unknown)?;
    if let Some(rest) = rest {
        return match message.get_field_mut(&field) {
            Value::Message(inner) => set(inner, rest, text),
            _ => Err(unknown()),
        };
    }
    let malformed = || Error::invalid(path, "MALFORMED", format!("{text:?} is not a value of this parameter"));
    let value = match field.kind() {
        Kind::String if !field.is_list() => Value::String(text.to_owned()),
        Kind::Uint32 if !field.is_list() => Value::U32(text.parse().map_err(|_| malformed())?),
        Kind::Bool if !field.is_list() => Value::Bool(text.parse().map_err(|_| malformed())?),
        Kind::Message(kind) if !field.is_list() && kind.full_name() == "google.protobuf.Timestamp" => {
            let instant = serde_json::Value::from(text);
            Value::Message(DynamicMessage::deserialize(kind, instant).map_err(|_| malformed())?)
        }
        _ => return Err(unknown()),
    };
    message.set_field(&field, value);
    Ok(())
}

fn grpc_request(mut parts: http::request::Parts, grpc: &MethodDescriptor, message: &DynamicMessage) -> Request {
    let path = format!("/{}/{}", grpc.parent_service().full_name(), grpc.name());
    parts.uri = http::Uri::try_from(path).expect("a method's name is a path");
    parts.method = Method::POST;
    parts.version = http::Version::HTTP_2;
    for name in [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::TRANSFER_ENCODING] {
        parts.headers.remove(name);
    }
    // What they say of the message is not true of this one.
    for name in ["grpc-encoding", "grpc-accept-encoding"] {
        parts.headers.remove(name);
    }
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    parts.headers.insert(header::TE, HeaderValue::from_static("trailers"));
    let framed = body::frame(&prost_reflect::prost::Message::encode_to_vec(message));
    Request::from_parts(parts, Body::new(http_body_util::Full::new(framed)))
}

async fn to_json(response: Response, grpc: &MethodDescriptor, lines: Lines) -> Result<Response, Error> {
    if let Some(status) = protocol::status_of(response.headers()).filter(|s| s.code() != tonic::Code::Ok) {
        return Ok(Protocol::Json.status(&status));
    }
    let mut messages =
        Messages { body: response.into_body(), deframer: body::Deframer::default(), output: grpc.output() };
    if grpc.is_server_streaming() {
        return Ok(lines.of_messages(messages).await);
    }
    match messages.next().await {
        Ok(Some(json)) => Ok(with_type(Body::new(http_body_util::Full::from(json)), "application/json")),
        Ok(None) => Err(Error::internal("a method ended without an answer")),
        Err(status) => Ok(Protocol::Json.status(&status)),
    }
}

/// Whether the caller names this type among those that it accepts.
fn accepts(headers: &http::HeaderMap, content_type: &str) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|list| list.split(',')).any(|one| one.trim().starts_with(content_type))
}

/// What the messages have in this field, one behind the other, of the type that the first says in its `content_type`. A failure before the
/// first message is a status; after it the answer breaks off.
async fn to_file(response: Response, grpc: &MethodDescriptor, file: FieldDescriptor) -> Result<Response, Error> {
    if let Some(status) = protocol::status_of(response.headers()).filter(|s| s.code() != tonic::Code::Ok) {
        return Ok(Protocol::Json.status(&status));
    }
    let mut messages =
        Messages { body: response.into_body(), deframer: body::Deframer::default(), output: grpc.output() };
    let first = match messages.next_message().await {
        Ok(first) => first,
        Err(status) => return Ok(Protocol::Json.status(&status)),
    };
    let content_type = first.as_ref().and_then(|message| message.get_field_by_name("content_type"));
    let content_type = content_type.as_ref().and_then(|value| HeaderValue::from_str(value.as_str()?).ok());
    let rest = futures::stream::try_unfold(messages, |mut messages| async {
        Ok::<_, tonic::Status>(messages.next_message().await?.map(|message| (message, messages)))
    });
    let frames = futures::stream::iter(first.map(Ok)).chain(rest).map_ok(move |message| {
        let data = message.get_field(&file).as_bytes().cloned().unwrap_or_default();
        http_body::Frame::data(data)
    });
    let mut response = with_type(Body::new(StreamBody::new(frames)), "application/octet-stream");
    if let Some(content_type) = content_type {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    Ok(response)
}

/// How a stream of messages is written, each as soon as it is there.
#[derive(Clone, Copy)]
enum Lines {
    /// Each message a line of JSON.
    Ndjson,
    /// Each message an event whose data is JSON.
    Events,
}

impl Lines {
    /// By what the caller accepts.
    fn of(headers: &http::HeaderMap) -> Self {
        if accepts(headers, EVENTS) { Self::Events } else { Self::Ndjson }
    }

    /// A failure before the first message is a status; after it a last line `{"error": ...}`, or an event named `error`.
    async fn of_messages(self, mut messages: Messages) -> Response {
        let first = match messages.next().await {
            Ok(first) => first,
            Err(status) => return Protocol::Json.status(&status),
        };
        let rest = futures::stream::unfold(Some(messages), |messages| async {
            let mut messages = messages?;
            match messages.next().await {
                Ok(next) => Some((Ok(next?), Some(messages))),
                Err(status) => Some((Err(status), None)),
            }
        });
        let all = futures::stream::iter(first.map(Ok)).chain(rest);
        let frames = all.map(move |message| Ok::<_, Infallible>(http_body::Frame::data(self.frame(message))));
        let content_type = match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Events => EVENTS,
        };
        with_type(Body::new(StreamBody::new(frames)), content_type)
    }

    fn frame(self, message: Result<String, tonic::Status>) -> Bytes {
        let text = match (self, message) {
            (Self::Ndjson, Ok(json)) => json + "\n",
            (Self::Ndjson, Err(status)) => format!("{}\n", protocol::error_body(&status)),
            (Self::Events, Ok(json)) => format!("data: {json}\n\n"),
            (Self::Events, Err(status)) => format!("event: error\ndata: {}\n\n", protocol::error_body(&status)),
        };
        text.into()
    }
}

fn with_type(body: Body, content_type: &'static str) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The messages of a gRPC response body, as JSON texts.
struct Messages {
    body: Body,
    deframer: body::Deframer,
    output: prost_reflect::MessageDescriptor,
}

impl Messages {
    async fn next(&mut self) -> Result<Option<String>, tonic::Status> {
        self.next_message().await?.map(|message| json(&message)).transpose()
    }

    async fn next_message(&mut self) -> Result<Option<DynamicMessage>, tonic::Status> {
        loop {
            if let Some(message) = self.deframer.next_message().map_err(|e| api::status::to_status(&e))? {
                return DynamicMessage::decode(self.output.clone(), message).map(Some).map_err(|e| unsayable(&e));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.deframer.push(&data),
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        match protocol::status_of(&trailers) {
                            Some(status) if status.code() != tonic::Code::Ok => return Err(status),
                            _ => return Ok(None),
                        }
                    }
                },
                Some(Err(error)) => return Err(tonic::Status::from_error(Box::new(error))),
                None => return Ok(None),
            }
        }
    }
}

fn json(message: &DynamicMessage) -> Result<String, tonic::Status> {
    let mut json = serde_json::Serializer::new(Vec::new());
    message.serialize_with_options(&mut json, &api::json()).map_err(|e| unsayable(&e))?;
    String::from_utf8(json.into_inner()).map_err(|e| unsayable(&e))
}

/// A message of the contracts in `descriptors`, by its full name, in JSON as the routes say it. `Internal` if it is none.
pub fn message_json(descriptors: &[u8], name: &str, message: &[u8]) -> Result<String, Error> {
    let descriptor = DescriptorPool::decode(descriptors).ok().and_then(|pool| pool.get_message_by_name(name));
    let descriptor = descriptor.ok_or_else(|| Error::internal(format!("there is no message {name}")))?;
    let message = DynamicMessage::decode(descriptor, message).map_err(|e| Error::internal(e.to_string()))?;
    json(&message).map_err(|status| Error::internal(status.message()))
}

fn unsayable(error: &dyn std::fmt::Display) -> tonic::Status {
    tonic::Status::internal(format!("an answer can't be said in JSON: {error}"))
}
