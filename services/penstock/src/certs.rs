//! `penstock certs`: an authority and an identity for every role, for development and for installations without one of their own.

use std::path::{Path, PathBuf};

use clap::Args;
use mesh::tls::role_name;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde::Serialize;

use crate::{
    bootstrap::write_secret,
    roles::{Role, WHOLE},
    wire::StartError,
};

/// Where certificates go, and for whom.
#[derive(Debug, Args)]
pub(crate) struct CertsArguments {
    /// Directory to write to. An authority that is there is used again, so that a new identity fits the old ones.
    #[arg(long)]
    dir: PathBuf,
    /// An identity to make: a role, or several with `+` between them for a process that has them all. Each role if none is
    /// named.
    #[arg(long = "role", value_delimiter = ',')]
    identities: Vec<String>,
}

/// Why certificates can't be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertsError {
    #[error("{0}")]
    File(#[from] StartError),
    #[error("{path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("`{0}` is no role; roles are gateway, ingest, pipeline, query, metrics and admin")]
    Role(String),
    #[error("can't make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// The files of an identity.
#[derive(Debug, Serialize)]
pub(crate) struct Identity {
    identity: String,
    #[serde(serialize_with = "path")]
    authority: PathBuf,
    #[serde(serialize_with = "path")]
    certificate: PathBuf,
    #[serde(serialize_with = "path")]
    key: PathBuf,
}

/// As it is shown: a path may be no UTF-8, and JSON must be.
fn path<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// What to set.
impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { identity, authority, certificate, key } = self;
        writeln!(f, "# {identity}\n[mesh_tls]\nauthority = {authority:?}\ncertificate = {certificate:?}\nkey = {key:?}")
    }
}

/// Makes what is asked for.
pub(crate) fn make(arguments: &CertsArguments) -> Result<Vec<Identity>, CertsError> {
    let authority = authority(&arguments.dir)?;
    let identities = match arguments.identities.as_slice() {
        [] => WHOLE.iter().map(|role| role.name().to_owned()).collect(),
        named => named.to_vec(),
    };
    let mut made = Vec::new();
    for identity in identities {
        let (certificate, key) =
            (arguments.dir.join(format!("{identity}.pem")), arguments.dir.join(format!("{identity}.key")));
        let pair = KeyPair::generate()?;
        let mut parameters = CertificateParams::new(names(&identity)?)?;
        parameters.distinguished_name = named(&format!("Penstock {identity}"));
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        // The key first: a process that follows its files must not see a certificate without its key for longer than it has to.
        write_secret(&key, pair.serialize_pem().trim_end())?;
        write_secret(&certificate, parameters.signed_by(&pair, &authority)?.pem().trim_end())?;
        made.push(Identity { identity, authority: arguments.dir.join("authority.pem"), certificate, key });
    }
    Ok(made)
}

/// The names in the certificate of `gateway+ingest`.
fn names(identity: &str) -> Result<Vec<String>, CertsError> {
    let role = |name: &str| {
        let role = WHOLE.iter().find(|role: &&Role| role.name() == name);
        role.map(|role| role_name(role.name())).ok_or_else(|| CertsError::Role(name.to_owned()))
    };
    identity.split('+').map(role).collect()
}

/// The authority of the directory, made if there is none.
fn authority(dir: &Path) -> Result<Issuer<'static, KeyPair>, CertsError> {
    let (certificate, key) = (dir.join("authority.pem"), dir.join("authority.key"));
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = named("Penstock development authority");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    if key.exists() {
        let text = std::fs::read_to_string(&key).map_err(|source| CertsError::Read { path: key, source })?;
        return Ok(Issuer::new(parameters, KeyPair::from_pem(&text)?));
    }
    let pair = KeyPair::generate()?;
    write_secret(&key, pair.serialize_pem().trim_end())?;
    write_secret(&certificate, parameters.self_signed(&pair)?.pem().trim_end())?;
    Ok(Issuer::new(parameters, pair))
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    use super::*;

    #[test]
    fn a_path_that_is_no_text_is_said_all_the_same() {
        let path = PathBuf::from(OsStr::from_bytes(b"certs\xff"));
        let identity =
            Identity { identity: "query".to_owned(), authority: path.clone(), certificate: path.clone(), key: path };
        assert_eq!(serde_json::to_value(identity).unwrap()["key"], "certs\u{fffd}");
    }
}
