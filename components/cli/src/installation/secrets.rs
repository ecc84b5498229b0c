//! Secrets: one file each, made once, never printed (except the administrator's password, once, by `up`).

use std::path::PathBuf;

use anyhow::Context;

use super::atomic::{make_private_folder, write_private, write_private_once};

/// 24 bytes: 192 bits, 48 hexadecimal digits, which every server's configuration takes as they are.
const SECRET_BYTES: usize = 24;
/// The administrator's password is typed by people: 20 letters and digits without look-alikes, 115 bits.
const PASSWORD_LETTERS: &[u8; 54] = b"abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ2345679";
const PASSWORD_LENGTH: usize = 20;

/// Which secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecretName {
    /// The first administrator's; there only until it has been shown.
    AdminPassword,
    /// Asterisk's REST interface, and what Asterisk shows to the ACD.
    AriPassword,
    /// The API token this host's operator works with.
    OperatorToken,
    /// PostgreSQL's user `ringdown`.
    PostgresPassword,
    /// Redis'.
    RedisPassword,
    /// What SIP nonces are signed with.
    SipNonceKey,
}

impl SecretName {
    const fn file(self) -> &'static str {
        match self {
            Self::AdminPassword => "admin-password",
            Self::AriPassword => "ari-password",
            Self::OperatorToken => "operator-token",
            Self::PostgresPassword => "postgres-password",
            Self::RedisPassword => "redis-password",
            Self::SipNonceKey => "sip-nonce-key",
        }
    }
}

/// The folder of secrets.
#[derive(Clone, Debug)]
pub(crate) struct Secrets(PathBuf);

impl Secrets {
    pub(super) fn in_folder(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Where a secret is.
    pub(crate) fn path(&self, name: SecretName) -> PathBuf {
        self.0.join(name.file())
    }

    /// The secret, if it is there.
    pub(crate) fn read(&self, name: SecretName) -> anyhow::Result<Option<String>> {
        match std::fs::read_to_string(self.path(name)) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {}", self.path(name).display())),
        }
    }

    /// The secret; made when it is not there.
    pub(crate) fn make(&self, name: SecretName) -> anyhow::Result<String> {
        if let Some(secret) = self.read(name)? {
            return Ok(secret);
        }
        make_private_folder(&self.0)?;
        let secret = if name == SecretName::AdminPassword { draw_password()? } else { draw_secret()? };
        write_private_once(&self.path(name), secret.as_bytes())?;
        // Somebody else may have made it in the same moment: what is in the file counts.
        self.read(name)?.context("a secret vanished as it was made")
    }

    /// Keeps a secret that somebody else made.
    pub(crate) fn keep(&self, name: SecretName, secret: &str) -> anyhow::Result<()> {
        make_private_folder(&self.0)?;
        write_private(&self.path(name), secret.as_bytes())
    }

    /// Forgets a secret.
    pub(crate) fn forget(&self, name: SecretName) -> anyhow::Result<()> {
        match std::fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", self.path(name).display()))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn draw_secret() -> anyhow::Result<String> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).context("asking the kernel for random bytes")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn draw_password() -> anyhow::Result<String> {
    let mut password = String::with_capacity(PASSWORD_LENGTH);
    while password.len() < PASSWORD_LENGTH {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).context("asking the kernel for random bytes")?;
        // Bytes past the last multiple are thrown away, so that every letter is as likely.
        let fair =
            bytes.iter().filter(|byte| usize::from(**byte) < 256 / PASSWORD_LETTERS.len() * PASSWORD_LETTERS.len());
        let letters = fair.map(|byte| char::from(PASSWORD_LETTERS[usize::from(*byte) % PASSWORD_LETTERS.len()]));
        password.extend(letters.take(PASSWORD_LENGTH - password.len()));
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::in_folder(folder.path().join("secrets"));
        let first = secrets.make(SecretName::RedisPassword).unwrap();
        assert_eq!(first.len(), 2 * SECRET_BYTES);
        assert_eq!(secrets.make(SecretName::RedisPassword).unwrap(), first);
        let mode = std::fs::metadata(secrets.path(SecretName::RedisPassword)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let password = secrets.make(SecretName::AdminPassword).unwrap();
        assert_eq!(password.len(), PASSWORD_LENGTH);
        secrets.forget(SecretName::AdminPassword).unwrap();
        assert_eq!(secrets.read(SecretName::AdminPassword).unwrap(), None);
        secrets.forget(SecretName::AdminPassword).unwrap();
    }
}
