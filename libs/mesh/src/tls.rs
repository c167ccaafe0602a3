//! Mutual TLS between roles: every process shows a certificate of the installation's own authority that names its role.
//!
//! A role's name in a certificate is the DNS name `ROLE.penstock.internal`, wherever the process runs. A caller demands the
//! name of the role that it calls; a server demands a role that may call. TLS 1.3 alone. The files are read again when they
//! change: new connections use the new ones.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::RwLock;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

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
    #[error("the mesh's certificates: {0}")]
    Certificates(String),
}

/// The name of a role in a certificate.
pub fn role_name(role: &str) -> String {
    format!("{role}.penstock.internal")
}

/// A process's identity, kept up to date with its files.
#[derive(Clone)]
pub struct Tls {
    options: Arc<TlsOptions>,
    now: Arc<RwLock<Arc<Loaded>>>,
}

struct Loaded {
    /// The bytes of the three files, to see a change.
    files: [Vec<u8>; 3],
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Tls {
    /// Reads the files.
    pub fn load(options: &TlsOptions) -> Result<Self, TlsError> {
        let now = Arc::new(RwLock::new(Arc::new(Loaded::read(options)?)));
        Ok(Self { options: Arc::new(options.clone()), now })
    }

    /// Reads the files again whenever they change, until `stop`. Files that can't be used are reported, and the old ones kept.
    pub async fn follow(self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            match self.reload() {
                Ok(true) => info!("the mesh's certificates changed and are in use"),
                Ok(false) => {}
                Err(error) => warn!(%error, "the mesh's certificates changed and can't be used; the old ones stay"),
            }
        }
    }

    /// Whether the files had changed.
    fn reload(&self) -> Result<bool, TlsError> {
        if read_files(&self.options)? == self.now.read().files {
            return Ok(false);
        }
        let loaded = Loaded::read(&self.options)?;
        *self.now.write() = Arc::new(loaded);
        Ok(true)
    }

    /// Takes a connection from a caller whose certificate names one of `roles`.
    pub(crate) async fn accept(
        &self,
        socket: TcpStream,
        roles: &[String],
    ) -> std::io::Result<server::TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.now.read().server));
        let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(socket)).await??;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        if !shown.is_some_and(|certificate| names_one_of(certificate, roles)) {
            let what = format!("the caller's certificate names none of the roles {roles:?}");
            return Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, what));
        }
        Ok(stream)
    }

    /// Makes a connection to a process whose certificate names `role`.
    pub(crate) async fn connect(&self, socket: TcpStream, role: &str) -> std::io::Result<client::TlsStream<TcpStream>> {
        let connector = TlsConnector::from(Arc::clone(&self.now.read().client));
        let name = ServerName::try_from(role_name(role)).map_err(std::io::Error::other)?;
        tokio::time::timeout(HANDSHAKE, connector.connect(name, socket)).await?
    }
}

fn names_one_of(certificate: &CertificateDer<'_>, roles: &[String]) -> bool {
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else { return false };
    roles.iter().any(|role| {
        ServerName::try_from(role_name(role))
            .is_ok_and(|name| certificate.verify_is_valid_for_subject_name(&name).is_ok())
    })
}

fn read_files(options: &TlsOptions) -> Result<[Vec<u8>; 3], TlsError> {
    let read = |path: &Path| {
        let failed =
            |source| TlsError::File { path: path.to_owned(), source: rustls::pki_types::pem::Error::Io(source) };
        std::fs::read(path).map_err(failed)
    };
    Ok([read(&options.authority)?, read(&options.certificate)?, read(&options.key)?])
}

impl Loaded {
    fn read(options: &TlsOptions) -> Result<Self, TlsError> {
        let files = read_files(options)?;
        let [authority, certificate, key] = &files;
        let certificates = |bytes: &[u8], path: &Path| {
            let failed = |source| TlsError::File { path: path.to_owned(), source };
            CertificateDer::pem_slice_iter(bytes).collect::<Result<Vec<_>, _>>().map_err(failed)
        };
        let refused = |what: &dyn std::fmt::Display| TlsError::Certificates(what.to_string());

        let mut roots = RootCertStore::empty();
        for root in certificates(authority, &options.authority)? {
            roots.add(root).map_err(|e| refused(&e))?;
        }
        let roots = Arc::new(roots);
        let chain = certificates(certificate, &options.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|source| TlsError::File { path: options.key.clone(), source })?;

        let provider = Arc::new(provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let verifier = verifier.build().map_err(|e| refused(&e))?;
        let tls13 = &[&rustls::version::TLS13];
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(tls13);
        let mut server = server
            .and_then(|server| {
                server.with_client_cert_verifier(verifier).with_single_cert(chain.clone(), key.clone_key())
            })
            .map_err(|e| refused(&e))?;
        let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(tls13);
        let mut client = client
            .and_then(|client| client.with_root_certificates(roots).with_client_auth_cert(chain, key))
            .map_err(|e| refused(&e))?;
        server.alpn_protocols = vec![b"h2".to_vec()];
        client.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { files, server: Arc::new(server), client: Arc::new(client) })
    }
}

fn provider() -> CryptoProvider {
    ring::default_provider()
}
