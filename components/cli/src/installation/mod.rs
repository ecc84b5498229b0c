//! An installation on one host: its folder, what was decided when it was made, its secrets, and the lock that says that a
//! supervisor runs.
//!
//! ```text
//! <data>/installation.json   ports and names, decided once
//!        secrets/            one secret per file, 0600, made once
//!        tls/                what phones on TLS and WSS are shown: sip.crt, sip.key
//!        run/                lock, what the supervisor runs
//!        log/                ringdown.log: what everything says, with the name in front
//!        redis/ postgres/    the servers' data
//!        asterisk/           Asterisk's files (or where they are: see `servers`)
//! ```

mod atomic;
mod certificate;
mod decided;
mod lock;
mod ports;
mod secrets;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::arguments::Place;

pub(crate) use atomic::{make_private_folder, write_private};
pub(crate) use decided::Decided;
pub(crate) use lock::{Held, Lock};
pub(crate) use ports::{PortName, Ports, RTP_BLOCK, is_free};
pub(crate) use secrets::{SecretName, Secrets};

/// An installation's folder with what was decided about it.
#[derive(Clone, Debug)]
pub(crate) struct Installation {
    folder: PathBuf,
    decided: Decided,
}

impl Installation {
    /// The folder of `place`; it need not exist.
    pub(crate) fn folder_of(place: &Place) -> anyhow::Result<PathBuf> {
        let folder = place.data.clone().unwrap_or_else(default_folder);
        std::path::absolute(&folder).with_context(|| format!("making {} absolute", folder.display()))
    }

    /// The installation at `place`, if there is one.
    pub(crate) fn find(place: &Place) -> anyhow::Result<Option<Self>> {
        let folder = Self::folder_of(place)?;
        let decided = Decided::read(&decided_path(&folder))?;
        Ok(decided.map(|decided| Self { folder, decided }))
    }

    /// The installation at `place`, which must be there.
    pub(crate) fn open(place: &Place) -> anyhow::Result<Self> {
        match Self::find(place)? {
            Some(installation) => Ok(installation),
            None => bail!(
                "there is no installation in {}; `ringdown up` makes one, --data names another folder",
                Self::folder_of(place)?.display()
            ),
        }
    }

    /// The installation at `place`; a new one, decided by `decide`, where there is none.
    pub(crate) fn open_or_make(
        place: &Place,
        decide: impl FnOnce() -> anyhow::Result<Decided>,
    ) -> anyhow::Result<Self> {
        if let Some(installation) = Self::find(place)? {
            return Ok(installation);
        }
        let folder = Self::folder_of(place)?;
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let decided = decide()?;
        decided.write(&decided_path(&folder))?;
        Ok(Self { folder, decided })
    }

    /// A path in its folder.
    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its ports.
    pub(crate) fn ports(&self) -> &Ports {
        &self.decided.ports
    }

    /// This host's address for phones and trunks.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.decided.address
    }

    /// A port at that address.
    pub(crate) fn public(&self, name: PortName) -> SocketAddr {
        SocketAddr::from((self.decided.address, self.decided.ports.of(name)))
    }

    /// This host's name in leases and status.
    pub(crate) fn node(&self) -> &str {
        &self.decided.node
    }

    /// Its secrets.
    pub(crate) fn secrets(&self) -> Secrets {
        Secrets::in_folder(self.join("secrets"))
    }

    /// Its lock.
    pub(crate) fn lock(&self) -> Lock {
        Lock::at(self.join("run/supervisor.lock"))
    }

    /// What everything says.
    pub(crate) fn log_file(&self) -> PathBuf {
        self.join("log/ringdown.log")
    }
}

fn decided_path(folder: &Path) -> PathBuf {
    folder.join("installation.json")
}

fn default_folder() -> PathBuf {
    if nix::unistd::geteuid().is_root() { PathBuf::from("/var/lib/ringdown") } else { PathBuf::from(".ringdown") }
}
