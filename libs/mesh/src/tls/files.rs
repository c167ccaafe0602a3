//! What is read from files, and read again when they change: new connections use the new, open ones go on.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::RwLock;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::TlsError;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A PEM file, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl File {
    fn read(path: &Path) -> Result<Self, TlsError> {
        let bytes = std::fs::read(path)
            .map_err(|source| TlsError::File { path: path.to_owned(), source: pem::Error::Io(source) })?;
        Ok(Self { path: path.to_owned(), bytes })
    }

    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        CertificateDer::pem_slice_iter(&self.bytes).collect::<Result<_, _>>().map_err(|source| self.refused(source))
    }

    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.bytes).map_err(|source| self.refused(source))
    }

    fn refused(&self, source: pem::Error) -> TlsError {
        TlsError::File { path: self.path.clone(), source }
    }
}

/// What some files say.
pub(super) struct Followed<T> {
    paths: Vec<PathBuf>,
    /// What is made of the files, in the order of their paths.
    make: fn(&[File]) -> Result<T, TlsError>,
    now: RwLock<(Vec<File>, Arc<T>)>,
}

impl<T> Followed<T> {
    pub(super) fn read(paths: Vec<PathBuf>, make: fn(&[File]) -> Result<T, TlsError>) -> Result<Self, TlsError> {
        let files = read(&paths)?;
        let now = RwLock::new((files.clone(), Arc::new(make(&files)?)));
        Ok(Self { paths, make, now })
    }

    /// By the files as they were when last looked at.
    pub(super) fn now(&self) -> Arc<T> {
        Arc::clone(&self.now.read().1)
    }

    /// Looks at the files until `stop`. What can't be used is reported, and the old kept. `whose` certificates they are stands in the log.
    pub(super) async fn follow(&self, whose: &str, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            match self.look() {
                Ok(true) => info!("{whose} certificates changed and are in use"),
                Ok(false) => {}
                Err(error) => warn!(%error, "{whose} certificates changed and can't be used; the old ones stay"),
            }
        }
    }

    /// Whether the files had changed.
    fn look(&self) -> Result<bool, TlsError> {
        let files = read(&self.paths)?;
        if files == self.now.read().0 {
            return Ok(false);
        }
        let made = Arc::new((self.make)(&files)?);
        *self.now.write() = (files, made);
        Ok(true)
    }
}

fn read(paths: &[PathBuf]) -> Result<Vec<File>, TlsError> {
    paths.iter().map(|path| File::read(path)).collect()
}
