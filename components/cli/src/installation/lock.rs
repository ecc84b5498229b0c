//! The lock a supervisor holds for as long as it lives: the kernel frees it with the process, so it cannot be stale.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Pid;

use super::atomic::make_private_folder;

/// Where the lock is.
#[derive(Clone, Debug)]
pub(crate) struct Lock(PathBuf);

/// The lock, held until this is dropped.
#[derive(Debug)]
pub(crate) struct Held(#[expect(dead_code, reason = "held, not read")] Flock<File>);

impl Lock {
    /// At a path whose folder is there, or is made for its owner only.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Takes it and writes our process id into it; `None` when somebody else has it.
    pub(crate) fn take(&self) -> anyhow::Result<Option<Held>> {
        make_private_folder(self.0.parent().context("a lock lies in a folder")?)?;
        let file = open(&self.0)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut held) => {
                held.set_len(0).and_then(|()| held.write_all(std::process::id().to_string().as_bytes()))?;
                Ok(Some(Held(held)))
            }
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => Err(error).context("locking"),
        }
    }

    /// The process that holds it.
    pub(crate) fn holder(&self) -> anyhow::Result<Option<Pid>> {
        if !self.0.exists() {
            return Ok(None);
        }
        let mut file = open(&self.0)?;
        let mut text = String::new();
        file.read_to_string(&mut text).with_context(|| format!("reading {}", self.0.display()))?;
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            // Nobody has it; what it says is of somebody who is gone.
            Ok(_) => Ok(None),
            Err((_, Errno::EWOULDBLOCK)) => {
                let id = text.trim().parse().with_context(|| format!("{} names no process", self.0.display()))?;
                Ok(Some(Pid::from_raw(id)))
            }
            Err((_, error)) => Err(error).context("asking for the lock"),
        }
    }
}

fn open(path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    file.with_context(|| format!("opening {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_by_one_and_names_its_holder() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::at(folder.path().join("run/lock"));
        assert!(lock.holder().unwrap().is_none());
        let held = lock.take().unwrap();
        assert!(held.is_some());
        assert!(lock.take().unwrap().is_none());
        assert_eq!(lock.holder().unwrap(), Some(nix::unistd::getpid()));
        drop(held);
        assert!(lock.holder().unwrap().is_none());
    }
}
