//! The certificate that browsers' phones and TLS phones are shown until the operator puts a real one in its place.

use std::path::PathBuf;

use anyhow::Context;

use super::Installation;
use super::atomic::{make_private_folder, write_private};

/// Where the certificate and its key are.
#[derive(Clone, Debug)]
pub(crate) struct CertificatePaths {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Installation {
    /// The pair of files; a self-signed one is made when there is none. An operator's own stays as it is.
    pub(crate) fn certificate(&self) -> anyhow::Result<CertificatePaths> {
        let folder = self.join("tls");
        let paths = CertificatePaths { certificate: folder.join("sip.crt"), key: folder.join("sip.key") };
        if paths.certificate.is_file() && paths.key.is_file() {
            return Ok(paths);
        }
        make_private_folder(&folder)?;
        let names =
            [self.node().to_owned(), self.address().to_string(), "localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).context("making a certificate")?;
        // The key first: a certificate that is there has its key.
        write_private(&paths.key, made.signing_key.serialize_pem().as_bytes())?;
        write_private(&paths.certificate, made.cert.pem().as_bytes())?;
        Ok(paths)
    }
}
