//! The one thing asked of Asterisk: to read a file again.

use std::net::SocketAddr;
use std::time::Duration;

use ringdown_env_config::Secret;

/// A reload of pjsip with hundreds of trunks takes well under a second.
const LIMIT: Duration = Duration::from_secs(5);

/// Asterisk's ARI on this host.
#[derive(Clone, Debug)]
pub(crate) struct Ari {
    client: reqwest::Client,
    address: SocketAddr,
    user: String,
    password: Secret,
}

/// Why a module was not reloaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AriError {
    /// Asterisk does not answer; it reads its files when it starts.
    #[error("Asterisk does not answer: {0}")]
    Away(reqwest::Error),
    /// Asterisk answered with an error.
    #[error("Asterisk answered {status} to the reload of {module}")]
    Refused {
        /// The module.
        module: String,
        /// The HTTP status.
        status: u16,
    },
}

impl Ari {
    pub(crate) fn new(address: SocketAddr, user: String, password: Secret) -> Result<Self, reqwest::Error> {
        let client =
            reqwest::Client::builder().timeout(LIMIT).connect_timeout(Duration::from_secs(1)).no_proxy().build()?;
        Ok(Self { client, address, user, password })
    }

    /// Reloads a module; safe to repeat. A module that is not loaded has nothing to read again.
    pub(crate) async fn reload(&self, module: &str) -> Result<(), AriError> {
        let url = format!("http://{}/ari/asterisk/modules/{module}", self.address);
        let request = self.client.put(url).basic_auth(&self.user, Some(self.password.expose()));
        let status = request.send().await.map_err(AriError::Away)?.status().as_u16();
        match status {
            200..=299 | 404 => Ok(()),
            _ => Err(AriError::Refused { module: module.to_owned(), status }),
        }
    }
}
