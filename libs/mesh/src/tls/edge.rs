//! The public door: TLS for whoever calls, with the certificate of the host that was asked for, and load balancers that say for whom they call.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use model::Network;
use proxy_header::{ParseConfig, io::ProxiedStream};
use rustls::{
    ServerConfig,
    pki_types::ServerName,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{
    OPENING, TlsError,
    files::{File, Followed},
    names_one_of, provider,
};

/// How the public port is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EdgeOptions {
    /// Networks of load balancers, as "10.0.0.0/8", whose connections begin with the PROXY protocol, version 1 or 2, which says who called
    /// them. From there a connection without it is refused; from elsewhere it counts for nothing.
    pub proxies: Vec<Network>,
    /// The certificates, one or several for a host each; none for plain text. A caller gets the first that names the host it asks for, or else the
    /// first of all. TLS 1.2 and 1.3.
    pub certificates: Vec<Identity>,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// PEM file with the certificate and the chain to an authority that callers trust.
    pub certificate: PathBuf,
    /// PEM file with its private key.
    pub key: PathBuf,
}

/// The public door, kept up to date with its files.
#[derive(Clone)]
pub struct Edge {
    proxies: Arc<[Network]>,
    server: Option<Arc<Followed<ServerConfig>>>,
}

/// A connection, whatever it is wrapped in.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

impl Edge {
    /// Reads the files.
    pub fn load(options: &EdgeOptions) -> Result<Self, TlsError> {
        let paths: Vec<_> =
            options.certificates.iter().flat_map(|id| [id.certificate.clone(), id.key.clone()]).collect();
        let server = match paths.is_empty() {
            true => None,
            false => Some(Arc::new(Followed::read(paths, server)?)),
        };
        Ok(Self { proxies: options.proxies.clone().into(), server })
    }

    /// Reads the files again whenever they change, until `stop`. Files that can't be used are reported, and the old ones kept.
    pub async fn follow(self, stop: CancellationToken) {
        if let Some(server) = &self.server {
            server.follow("the edge's", stop).await;
        }
    }

    /// Takes a connection, and says who is at its other end.
    pub(crate) async fn open(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
    ) -> io::Result<(Box<dyn Connection>, SocketAddr)> {
        let opened = async {
            if !self.proxies.iter().any(|network| network.contains(peer.ip())) {
                return Ok((self.secured(socket).await?, peer));
            }
            let stream = ProxiedStream::create_from_tokio(socket, ParseConfig::default()).await?;
            // A balancer that asks for itself, as for health, names nobody.
            let caller = stream.proxy_header().proxied_address().map_or(peer, |told| told.source);
            Ok((self.secured(stream).await?, caller))
        };
        tokio::time::timeout(OPENING, opened).await?
    }

    async fn secured(&self, stream: impl Connection + 'static) -> io::Result<Box<dyn Connection>> {
        Ok(match &self.server {
            None => Box::new(stream),
            Some(server) => Box::new(TlsAcceptor::from(server.now()).accept(stream).await?),
        })
    }
}

/// Of certificate and key, by turns.
fn server(files: &[File]) -> Result<ServerConfig, TlsError> {
    let refused = |e: rustls::Error| TlsError::Certificates(e.to_string());
    let provider = Arc::new(provider());
    let identities = files.chunks_exact(2).map(|pair| {
        let (chain, key) = (pair[0].certificates()?, pair[1].key()?);
        CertifiedKey::from_der(chain, key, &provider).map(Arc::new).map_err(refused)
    });
    let resolver = ByHost(identities.collect::<Result<_, _>>()?);
    let config =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(refused)?;
    let mut config = config.with_no_client_auth().with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[derive(Debug)]
struct ByHost(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByHost {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let host = hello.server_name().and_then(|host| ServerName::try_from(host).ok());
        let names = |identity: &&Arc<CertifiedKey>| {
            let (Some(host), Ok(certificate)) = (&host, identity.end_entity_cert()) else { return false };
            names_one_of(certificate, std::slice::from_ref(host))
        };
        self.0.iter().find(names).or(self.0.first()).cloned()
    }
}
