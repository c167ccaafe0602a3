//! Calls any method of the contracts by its name, with a body in JSON: by gRPC, and by the HTTP mapping that it declares.
//! What holds for every method is tested over this, and so for the methods of the future too.

use futures::stream;
use http::uri::PathAndQuery;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor};
use serde_json::Value;
use tonic::{
    Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::{AsciiMetadataKey, MetadataMap},
};
use tonic_types::StatusExt;

use crate::house::House;

/// What came back, by whichever protocol.
#[derive(Debug, Clone)]
pub struct Answer {
    /// `OK`, or the reason of the error.
    pub code: String,
    /// The messages, as far as they came.
    pub messages: Vec<Value>,
    /// All that the caller got to see: messages, error texts, details, headers.
    pub text: String,
}

/// Their streams never end: the first message is taken for all.
const ENDLESS: [&str; 2] = ["QueryService/Subscribe", "MetricsService/SubscribeMetric"];

/// Headers of a call.
pub type Headers<'a> = &'a [(&'a str, &'a str)];

/// The product's methods.
pub struct Contracts(DescriptorPool);

impl Contracts {
    pub fn new() -> Self {
        Self(DescriptorPool::decode(api::DESCRIPTORS).unwrap())
    }

    /// The names of all methods, as in `QueryService/Sql`.
    pub fn names(&self) -> Vec<String> {
        let ours = self.0.services().filter(|service| service.package_name() == "penstock.v1");
        ours.flat_map(|s| s.methods().map(|m| format!("{}/{}", s.name(), m.name())).collect::<Vec<_>>()).collect()
    }

    fn method(&self, name: &str) -> MethodDescriptor {
        let (service, method) = name.split_once('/').unwrap();
        let service = self.0.get_service_by_name(&format!("penstock.v1.{service}")).unwrap();
        service.methods().find(|m| m.name() == method).unwrap_or_else(|| panic!("no method {name}"))
    }

    /// Calls by gRPC.
    pub async fn grpc(&self, house: &House, headers: Headers<'_>, name: &str, body: &Value) -> Answer {
        let method = self.method(name);
        let message =
            DynamicMessage::deserialize(method.input(), body).unwrap_or_else(|e| panic!("{name} {body}: {e}"));
        let mut request = Request::new(stream::iter([message]));
        for (name, value) in headers {
            let name = AsciiMetadataKey::from_bytes(name.as_bytes()).unwrap();
            request.metadata_mut().append(name, value.parse().unwrap());
        }
        let mut client = tonic::client::Grpc::new(house.channel().await);
        client.ready().await.unwrap();
        let path: PathAndQuery = format!("/penstock.v1.{name}").parse().unwrap();
        let (mut messages, mut seen) = (Vec::new(), String::new());
        let status = match client.streaming(request, path, Dynamic(method.output())).await {
            Ok(response) => {
                let (metadata, mut answers, _) = response.into_parts();
                seen += &shown(&metadata);
                loop {
                    match answers.message().await {
                        Ok(Some(message)) => {
                            messages.push(serde_json::to_value(message).unwrap());
                            if ENDLESS.contains(&name) {
                                break None;
                            }
                        }
                        Ok(None) => break None,
                        Err(status) => break Some(status),
                    }
                }
            }
            Err(status) => Some(status),
        };
        for message in &messages {
            seen += &message.to_string();
        }
        let code = status.as_ref().map_or_else(|| "OK".to_owned(), reason);
        if let Some(status) = status {
            seen += &format!("{status:?} {}", String::from_utf8_lossy(status.details()));
        }
        Answer { code, messages, text: seen }
    }

    /// Calls by JSON, if the method has an HTTP mapping. Fields of the path are taken from the body; those of a GET go into the query.
    pub async fn json(&self, house: &House, headers: Headers<'_>, name: &str, body: &Value) -> Option<Answer> {
        let (verb, path) = self.mapping(name)?;
        let mut body = body.clone();
        let mut url = reqwest::Url::parse(&format!("http://{}", house.address)).unwrap();
        url.set_path(&fill(&path, &mut body));
        let mut request = if verb == http::Method::GET || verb == http::Method::DELETE {
            for (field, value) in body.as_object().unwrap() {
                url.query_pairs_mut().append_pair(field, value.as_str().unwrap_or(&value.to_string()));
            }
            house.http.request(verb, url)
        } else {
            house.http.request(verb, url).json(&body)
        };
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        Some(if ENDLESS.contains(&name) { beginning_of(response).await } else { answer_of(response).await })
    }

    fn mapping(&self, name: &str) -> Option<(http::Method, String)> {
        let http = self.0.get_extension_by_name("google.api.http").unwrap();
        let options = self.method(name).options();
        let rule = options.get_extension(&http);
        let rule = rule.as_message()?;
        ["get", "put", "post", "delete", "patch"].into_iter().find_map(|verb| {
            let path = rule.get_field_by_name(verb)?.as_str()?.to_owned();
            (!path.is_empty()).then(|| (verb.to_uppercase().parse().unwrap(), path))
        })
    }
}

/// An HTTP response as an answer.
pub async fn answer_of(response: reqwest::Response) -> Answer {
    let (status, headers) = (response.status(), format!("{:?}", response.headers()));
    answer(status, headers, &response.bytes().await.unwrap())
}

/// The same of its first piece alone.
async fn beginning_of(mut response: reqwest::Response) -> Answer {
    let (status, headers) = (response.status(), format!("{:?}", response.headers()));
    answer(status, headers, &response.chunk().await.unwrap().unwrap_or_default())
}

fn answer(status: reqwest::StatusCode, headers: String, body: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(body).into_owned();
    let messages: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let failed = messages.iter().rev().find_map(|message| message.get("error"));
    let code = match failed {
        Some(error) => {
            error["details"][0]["reason"].as_str().or(error["status"].as_str()).unwrap_or("UNKNOWN").to_owned()
        }
        None if status.is_success() => "OK".to_owned(),
        None => status.to_string(),
    };
    Answer { code, messages, text: headers + &text }
}

/// The error's reason; of a status that no Penstock made, its code.
pub fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details.error_info().map_or_else(|| format!("{:?}", status.code()), |info| info.reason.clone())
}

fn shown(metadata: &MetadataMap) -> String {
    format!("{:?}", metadata.clone().into_headers())
}

/// Puts the body's fields into the path and takes them out of the body.
fn fill(path: &str, body: &mut Value) -> String {
    let mut filled = String::new();
    for (i, piece) in path.split(['{', '}']).enumerate() {
        if i % 2 == 0 {
            filled += piece;
            continue;
        }
        let value = match piece.split_once('.') {
            Some((outer, inner)) => body[outer].as_object_mut().and_then(|fields| fields.remove(inner)),
            None => body.as_object_mut().and_then(|fields| fields.remove(piece)),
        };
        let escaped = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c.to_string() } else { percent(c) };
        filled += &value.as_ref().and_then(Value::as_str).unwrap_or("-").chars().map(escaped).collect::<String>();
    }
    filled
}

fn percent(c: char) -> String {
    c.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Messages known by their descriptor only.
struct Dynamic(MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Encoding;
    type Decoder = Self;

    fn encoder(&mut self) -> Encoding {
        Encoding
    }

    fn decoder(&mut self) -> Self {
        Self(self.0.clone())
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        DynamicMessage::decode(self.0.clone(), src).map(Some).map_err(|e| Status::internal(e.to_string()))
    }
}

struct Encoding;

impl Encoder for Encoding {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(dst).map_err(|e| Status::internal(e.to_string()))
    }
}
