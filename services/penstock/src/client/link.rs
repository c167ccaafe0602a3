//! Calls by the contract's own descriptors: a method's name and JSON in, JSON out, as over HTTP.

use std::{sync::LazyLock, time::Duration};

use api::raw::AsItIs;
use http::uri::PathAndQuery;
use prost::{Message, bytes::Bytes};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage};
use serde_json::Value;
use tonic::{
    Request, Status,
    client::Grpc,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, ClientTlsConfig, Endpoint},
};

use super::{ClientError, Target};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How often the other end is asked whether it is there while a call waits, and how long it may be silent: what takes connections and says
/// nothing, or is gone without a word, is given up.
const ALIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(10));

static CONTRACTS: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(api::DESCRIPTORS).expect("the contracts were compiled into this program"));

/// Shows the key with each call.
#[derive(Clone)]
pub(super) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

pub(super) type Keyed = InterceptedService<Channel, Bearer>;

/// A channel that shows the key.
pub(super) async fn keyed(target: &Target) -> Result<Keyed, ClientError> {
    let bearer = format!("Bearer {}", target.key()?.trim()).parse().map_err(|_| ClientError::BadKey)?;
    Ok(InterceptedService::new(channel(&target.server).await?, Bearer(bearer)))
}

/// A channel without one.
pub(super) async fn channel(server: &str) -> Result<Channel, ClientError> {
    let none = || ClientError::NoServer(server.to_owned());
    let endpoint = Endpoint::from_shared(server.to_owned()).map_err(|_| none())?.connect_timeout(CONNECT);
    let endpoint = endpoint.http2_keep_alive_interval(ALIVE.0).keep_alive_timeout(ALIVE.1);
    let failed = |source| ClientError::Connect { server: server.to_owned(), source };
    let endpoint = match endpoint.uri().scheme_str() {
        Some("http") => endpoint,
        Some("https") => endpoint.tls_config(ClientTlsConfig::new().with_native_roots()).map_err(failed)?,
        _ => return Err(none()),
    };
    endpoint.connect().await.map_err(failed)
}

/// A server, to be called by the names of its methods.
pub(super) struct Link {
    grpc: Grpc<Keyed>,
    patience: Option<Duration>,
}

impl Link {
    pub(super) async fn open(target: &Target) -> Result<Self, ClientError> {
        let grpc = Grpc::new(keyed(target).await?).max_decoding_message_size(usize::MAX);
        Ok(Self { grpc, patience: None })
    }

    /// Gives each call up that takes longer, with DEADLINE_EXCEEDED.
    pub(super) fn within(self, patience: Duration) -> Self {
        Self { patience: Some(patience), ..self }
    }

    /// Calls `Service.Method` with a request in the contract's JSON.
    ///
    /// # Panics
    /// If the contract has no such method, or its request no such fields.
    pub(super) async fn call(&mut self, method: &str, request: Value) -> Result<Value, ClientError> {
        Ok(json(&self.answer(method, request).await?))
    }

    /// The same, with the answer as the message that it is.
    pub(super) async fn answer(&mut self, method: &str, request: Value) -> Result<DynamicMessage, ClientError> {
        let (service, name) = method.split_once('.').expect("a method is written Service.Method");
        let service = CONTRACTS.get_service_by_name(&format!("penstock.v1.{service}"));
        let method = service.and_then(|service| service.methods().find(|method| method.name() == name));
        let method = method.unwrap_or_else(|| panic!("the contract has no method {name}"));
        let path = format!("/{}/{name}", method.parent_service().full_name());
        let path = PathAndQuery::try_from(path).expect("names make a path");
        let request = encoded(method.input(), &request)?;
        let mut request = Request::new(request);
        if let Some(patience) = self.patience {
            request.set_timeout(patience); // the server gives up too
        }
        let answered = async {
            self.grpc.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
            self.grpc.unary(request, path, ByteCodec).await
        };
        let patience = self.patience.unwrap_or(Duration::MAX);
        let late = |_| Status::deadline_exceeded(format!("no answer within {} s", patience.as_secs()));
        let answer = tokio::time::timeout(patience, answered).await.map_err(late)??.into_inner();
        let answer = DynamicMessage::decode(method.output(), answer);
        Ok(answer.map_err(|error| Status::internal(format!("the answer can't be read: {error}")))?)
    }

    /// All items of a list that comes in pages.
    pub(super) async fn list(
        &mut self,
        method: &str,
        mut request: Value,
        items: &str,
    ) -> Result<Vec<Value>, ClientError> {
        let mut all = Vec::new();
        loop {
            let mut page = self.call(method, request.clone()).await?;
            if let Value::Array(items) = page[items].take() {
                all.extend(items);
            }
            match page["next_page_token"].take() {
                Value::String(token) if !token.is_empty() => request["page_token"] = token.into(),
                _ => return Ok(all),
            }
        }
    }
}

/// What the caller said that isn't a value of its field is the caller's mistake.
fn encoded(message: MessageDescriptor, request: &Value) -> Result<Bytes, ClientError> {
    let message =
        DynamicMessage::deserialize(message, request).map_err(|error| ClientError::Mistake(error.to_string()))?;
    Ok(message.encode_to_vec().into())
}

/// A message as all of the product says it in JSON.
pub(super) fn json(message: &impl ReflectMessage) -> Value {
    let said = message.transcode_to_dynamic().serialize_with_options(serde_json::value::Serializer, &api::json());
    said.unwrap_or_default() // only an instant beyond the calendar can't be said
}

/// The same, of a message that was decoded by its type.
///
/// # Panics
/// If the contract has no such message.
pub(super) fn json_of(name: &str, message: &impl Message) -> Value {
    let descriptor = CONTRACTS.get_message_by_name(&format!("penstock.v1.{name}"));
    let descriptor = descriptor.unwrap_or_else(|| panic!("the contract has no message {name}"));
    let message = DynamicMessage::decode(descriptor, &*message.encode_to_vec());
    json(&message.expect("what was encoded by the contract can be decoded by it"))
}

/// Bytes as they are.
#[derive(Debug, Clone, Copy)]
struct ByteCodec;

impl tonic::codec::Codec for ByteCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = AsItIs;
    type Decoder = AsItIs;

    fn encoder(&mut self) -> AsItIs {
        AsItIs
    }

    fn decoder(&mut self) -> AsItIs {
        AsItIs
    }
}
