//! What anybody may ask: how the product shows itself by the host of the call.

use std::{sync::Arc, time::Duration};

use api::{
    status::to_status,
    v1::{
        GetHostBrandingRequest, GetHostBrandingResponse,
        public_service_server::{PublicService, PublicServiceServer, SERVICE_NAME},
    },
};
use http::header;
use mesh::{HttpService, Request, transcode::Transcoder};
use storage::{Brandings, Hosts};
use tokio::{sync::Mutex, time::Instant};
use tonic::{Response, Status, service::Routes};
use tower::{ServiceExt, util::BoxCloneSyncService};
use tracing::warn;

/// How long a change may take to show. All hosts are read together, so that a made up one costs no query.
const FRESH: Duration = Duration::from_secs(10);
const MAX_REQUEST_BYTES: usize = 4 * 1024;

/// The host of a call, without its port and in lower case.
#[derive(Debug, Clone)]
struct Host(String);

impl Host {
    fn of(request: &Request) -> Self {
        let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()?.parse().ok());
        let authority = request.uri().authority().cloned().or(header);
        Self(authority.map_or_else(String::new, |authority| authority.host().to_ascii_lowercase()))
    }
}

/// The service, in gRPC and in JSON.
pub fn public(brandings: Arc<dyn Brandings>) -> HttpService {
    let routes = Routes::new(PublicServiceServer::new(Public { brandings, known: Mutex::default() }));
    let grpc = BoxCloneSyncService::new(routes.prepare());
    let with_json = Transcoder::new(api::DESCRIPTORS, &[SERVICE_NAME], MAX_REQUEST_BYTES).wrap(grpc);
    BoxCloneSyncService::new(with_json.map_request(|mut request: Request| {
        let host = Host::of(&request);
        request.extensions_mut().insert(host);
        request
    }))
}

struct Public {
    brandings: Arc<dyn Brandings>,
    known: Mutex<Option<(Instant, Arc<Hosts>)>>,
}

impl Public {
    /// While the metastore is away they are as they were last.
    async fn hosts(&self) -> Result<Arc<Hosts>, model::Error> {
        let mut known = self.known.lock().await;
        if let Some((read, hosts)) = &*known
            && read.elapsed() < FRESH
        {
            return Ok(Arc::clone(hosts));
        }
        let hosts = match (self.brandings.hosts().await, &*known) {
            (Ok(hosts), _) => Arc::new(hosts),
            (Err(error), Some((_, before))) => {
                warn!(%error, "brandings are as they were");
                Arc::clone(before)
            }
            (Err(error), None) => return Err(error.into()),
        };
        *known = Some((Instant::now(), Arc::clone(&hosts)));
        Ok(hosts)
    }
}

#[tonic::async_trait]
impl PublicService for Public {
    async fn get_host_branding(
        &self,
        request: tonic::Request<GetHostBrandingRequest>,
    ) -> Result<Response<GetHostBrandingResponse>, Status> {
        let hosts = self.hosts().await.map_err(|error| to_status(&error))?;
        let host = request.extensions().get::<Host>();
        let branding = host.and_then(|Host(host)| hosts.by_domain.get(host)).unwrap_or(&hosts.other);
        Ok(Response::new(GetHostBrandingResponse { branding: Some(branding.clone().into()) }))
    }
}

#[cfg(test)]
mod tests {
    use mesh::Body;

    use super::*;

    #[test]
    fn a_host_is_known_without_its_port_and_its_case() {
        for (uri, header, host) in [
            ("https://Dash.Acme.example:8443/v1/branding:host", "", "dash.acme.example"),
            ("/v1/branding:host", "Dash.Acme.example:8443", "dash.acme.example"),
            ("/v1/branding:host", "[::1]:7070", "[::1]"),
            ("/v1/branding:host", "not a host", ""),
            ("/v1/branding:host", "", ""),
        ] {
            let request = http::Request::builder().uri(uri).header(header::HOST, header).body(Body::empty());
            assert_eq!(request.map(|request| Host::of(&request).0).ok().as_deref(), Some(host), "{uri} {header}");
        }
    }
}
