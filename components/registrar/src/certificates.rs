//! The certificate of TLS and WSS: read from files, and again whenever they change, without a restart.
//!
//! A new pair that cannot be used leaves the old one in force, and the log says so. While there is none at all, connections
//! are refused and everything else works.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ringdown_service::Shutdown;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// How often the files are looked at: who renews a certificate does it days before it is needed.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Where a certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM: the certificate, then those that lead to its root.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
}

/// Why a pair of files cannot be used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{path}: {source}")]
    Pem { path: String, source: rustls::pki_types::pem::Error },
    #[error("{0}: holds no certificate")]
    Empty(String),
    #[error("{0}")]
    Tls(#[from] rustls::Error),
}

/// The certificate in force. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Certificates(watch::Receiver<Option<Arc<ServerConfig>>>);

impl Certificates {
    /// What to accept connections with; none while there is no certificate that can be used.
    pub(crate) fn acceptor(&self) -> Option<TlsAcceptor> {
        self.0.borrow().clone().map(TlsAcceptor::from)
    }
}

/// Follows the files.
pub(crate) struct CertificateKeeper {
    files: CertificateFiles,
    seen: Option<[(SystemTime, u64); 2]>,
    current: watch::Sender<Option<Arc<ServerConfig>>>,
}

impl CertificateKeeper {
    /// Reads the files once.
    pub(crate) fn new(files: CertificateFiles) -> (Self, Certificates) {
        let (current, certificates) = watch::channel(None);
        let mut keeper = Self { files, seen: None, current };
        keeper.look();
        (keeper, Certificates(certificates))
    }

    /// Until the daemon stops.
    pub(crate) async fn follow(mut self, shutdown: Shutdown) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => self.look(),
                () = shutdown.requested() => return Ok(()),
            }
        }
    }

    fn look(&mut self) {
        let stamps = stamp(&self.files.certificate).zip(stamp(&self.files.key)).map(|(one, two)| [one, two]);
        if stamps == self.seen && (stamps.is_some() || self.current.borrow().is_some()) {
            return;
        }
        let first = self.seen.is_none();
        self.seen = stamps;
        match read(&self.files) {
            Ok(config) => {
                self.current.send_replace(Some(Arc::new(config)));
                log::info!(certificate:% = self.files.certificate.display(); "this certificate is shown to phones");
            }
            Err(error) if first || stamps.is_some() => {
                log::warn!(error:% = error; "a certificate for phones cannot be used; the one before stays, if there is one");
            }
            Err(_) => {}
        }
    }
}

/// When a file was written, and its length; none when it is not there.
fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}

fn read(files: &CertificateFiles) -> Result<ServerConfig, Unusable> {
    let named = |path: &Path| path.display().to_string();
    let failed = |path: &Path| {
        let path = named(path);
        move |source| Unusable::Pem { path, source }
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .map_err(failed(&files.certificate))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed(&files.certificate))?;
    if chain.is_empty() {
        return Err(Unusable::Empty(named(&files.certificate)));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(failed(&files.key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_no_client_auth().with_single_cert(chain, key)?)
}
