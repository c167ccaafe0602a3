//! Mutual TLS between roles: every process shows a certificate of the installation's own authority that names its role.
//!
//! A role's name in a certificate is the DNS name `ROLE.penstock.internal`, wherever the process runs. A caller demands the
//! name of the role that it calls; a server demands a role that may call. TLS 1.3 alone. The files are read again when they
//! change: new connections use the new ones.

mod edge;
mod files;

use std::{path::PathBuf, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName},
    server::WebPkiClientVerifier,
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use tokio_util::sync::CancellationToken;

pub(crate) use self::edge::Connection;
pub use self::edge::{Edge, EdgeOptions, Identity};
use self::files::{File, Followed};

/// How long a handshake may take.
const OPENING: Duration = Duration::from_secs(10);

/// Where a process's identity is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsOptions {
    /// PEM file with the certificates of the authorities whose roles are trusted; empty for no TLS.
    pub authority: PathBuf,
    /// PEM file with this process's certificate and the chain to the authority.
    pub certificate: PathBuf,
    /// PEM file with its private key.
    pub key: PathBuf,
}

/// Why an identity can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or isn't PEM of the expected kind.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::pki_types::pem::Error,
    },
    /// The certificates don't fit each other or the key.
    #[error("the certificates: {0}")]
    Certificates(String),
}

/// The name of a role in a certificate.
pub fn role_name(role: &str) -> String {
    format!("{role}.penstock.internal")
}

/// A process's identity, kept up to date with its files.
#[derive(Clone)]
pub struct Tls(Arc<Followed<Configs>>);

/// Both ways in which an identity is used.
struct Configs {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Tls {
    /// Reads the files.
    pub fn load(options: &TlsOptions) -> Result<Self, TlsError> {
        let TlsOptions { authority, certificate, key } = options.clone();
        Ok(Self(Arc::new(Followed::read(vec![authority, certificate, key], configs)?)))
    }

    /// Reads the files again whenever they change, until `stop`. Files that can't be used are reported, and the old ones kept.
    pub async fn follow(self, stop: CancellationToken) {
        self.0.follow("the mesh's", stop).await;
    }

    /// Takes a connection from a caller whose certificate names one of `roles`.
    pub(crate) async fn accept(
        &self,
        socket: TcpStream,
        roles: &[String],
    ) -> std::io::Result<server::TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.0.now().server));
        let stream = tokio::time::timeout(OPENING, acceptor.accept(socket)).await??;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let names: Vec<_> = roles.iter().filter_map(|role| ServerName::try_from(role_name(role)).ok()).collect();
        if !shown.is_some_and(|certificate| names_one_of(certificate, &names)) {
            let what = format!("the caller's certificate names none of the roles {roles:?}");
            return Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, what));
        }
        Ok(stream)
    }

    /// Makes a connection to a process whose certificate names `role`.
    pub(crate) async fn connect(&self, socket: TcpStream, role: &str) -> std::io::Result<client::TlsStream<TcpStream>> {
        let connector = TlsConnector::from(Arc::clone(&self.0.now().client));
        let name = ServerName::try_from(role_name(role)).map_err(std::io::Error::other)?;
        tokio::time::timeout(OPENING, connector.connect(name, socket)).await?
    }
}

fn names_one_of(certificate: &CertificateDer<'_>, names: &[ServerName<'_>]) -> bool {
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else { return false };
    names.iter().any(|name| certificate.verify_is_valid_for_subject_name(name).is_ok())
}

/// Of authority, certificate and key.
fn configs(files: &[File]) -> Result<Configs, TlsError> {
    let [authority, certificate, key] = files else { return Err(TlsError::Certificates("three files".to_owned())) };
    let refused = |what: &dyn std::fmt::Display| TlsError::Certificates(what.to_string());
    let mut roots = RootCertStore::empty();
    for root in authority.certificates()? {
        roots.add(root).map_err(|e| refused(&e))?;
    }
    let roots = Arc::new(roots);
    let (chain, key) = (certificate.certificates()?, key.key()?);

    let provider = Arc::new(provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
    let verifier = verifier.build().map_err(|e| refused(&e))?;
    let tls13 = &[&rustls::version::TLS13];
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(tls13);
    let mut server = server
        .and_then(|server| server.with_client_cert_verifier(verifier).with_single_cert(chain.clone(), key.clone_key()))
        .map_err(|e| refused(&e))?;
    let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(tls13);
    let mut client = client
        .and_then(|client| client.with_root_certificates(roots).with_client_auth_cert(chain, key))
        .map_err(|e| refused(&e))?;
    server.alpn_protocols = vec![b"h2".to_vec()];
    client.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Configs { server: Arc::new(server), client: Arc::new(client) })
}

fn provider() -> CryptoProvider {
    ring::default_provider()
}
