//! A connection to a server, with a key.

use std::path::Path;

use api::{raw::IngestServiceClient, v1::query_service_client::QueryServiceClient};
use tonic::{
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

use crate::error::LoadError;

/// Receive windows that don't make a batch wait for the network's round trip.
const WINDOW_BYTES: u32 = 4 << 20;

/// Puts the key on every call.
#[derive(Clone)]
pub(crate) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// The client for events as bytes.
pub(crate) type Ingest = IngestServiceClient<InterceptedService<Channel, Bearer>>;
/// The generated client for questions.
pub(crate) type Query = QueryServiceClient<InterceptedService<Channel, Bearer>>;

/// One HTTP/2 connection. Clones share it.
#[derive(Clone)]
pub(crate) struct Connection {
    channel: Channel,
    bearer: Bearer,
}

impl Connection {
    /// Connects with the key that the file holds.
    pub(crate) async fn open(server: &str, key_file: &Path) -> Result<Self, LoadError> {
        let key = std::fs::read_to_string(key_file)
            .map_err(|source| LoadError::KeyFile { path: key_file.to_owned(), source })?;
        let bearer = format!("Bearer {}", key.trim()).parse().map_err(|_| LoadError::BadKey)?;
        let failed = |source| LoadError::Connect { server: server.to_owned(), source };
        let channel = Channel::from_shared(server.to_owned())
            .map_err(|_| LoadError::NotUp(format!("{server:?} is not a URL")))?
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .tcp_nodelay(true)
            .connect()
            .await
            .map_err(failed)?;
        Ok(Self { channel, bearer: Bearer(bearer) })
    }

    /// The same connection, with another key.
    pub(crate) fn with_key(&self, key: &str) -> Result<Self, LoadError> {
        let bearer = format!("Bearer {}", key.trim()).parse().map_err(|_| LoadError::BadKey)?;
        Ok(Self { channel: self.channel.clone(), bearer: Bearer(bearer) })
    }

    /// What a generated client stands on.
    pub(crate) fn service(&self) -> InterceptedService<Channel, Bearer> {
        InterceptedService::new(self.channel.clone(), self.bearer.clone())
    }

    pub(crate) fn ingest(&self) -> Ingest {
        IngestServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub(crate) fn query(&self) -> Query {
        QueryServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }
}
