//! The offline bundle that hosts are installed from.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use nix::fcntl::{Flock, FlockArg};

use crate::fleet::{cache, checkout, run};

/// Where a host of a test sees it.
pub const INSIDE: &str = "/srv/bundle";
/// Building packages, downloading the distribution's.
const LIMIT: Duration = Duration::from_secs(540);
/// Made once by a process: hosts read it while others are still to come.
static MADE: Mutex<Option<PathBuf>> = Mutex::new(None);

/// A bundle of this checkout's programs, or of others, under another version.
///
/// # Errors
/// When it cannot be made.
pub fn bundle_of(version: &str, programs: Option<&Path>, out: &Path) -> anyhow::Result<()> {
    let mut command = Command::new(checkout().join("provisioning/bundle"));
    command.args(["--version", version]).arg("--out").arg(out);
    // Packages of its own, beside those of others who build at the same time.
    let packages = out.with_extension("packages");
    if let Some(programs) = programs {
        command.env("RINGDOWN_BIN_DIR", programs);
    }
    let mut build = Command::new(checkout().join("packaging/build"));
    build.args(["--version", version]).arg("--out").arg(&packages).arg("deb");
    if let Some(programs) = programs {
        build.env("RINGDOWN_BIN_DIR", programs);
    }
    run(build, None, LIMIT)?.success().with_context(|| format!("building packages of {version}"))?;
    run(
        {
            command.arg("--packages").arg(&packages);
            command
        },
        None,
        LIMIT,
    )?
    .success()
    .with_context(|| format!("making a bundle of {version}"))
    .map(drop)
}

/// The bundle of this checkout: the one `RINGDOWN_TEST_BUNDLE` names, which `tests/run` made, else it is made now.
///
/// # Errors
/// When it cannot be made.
pub fn bundle() -> anyhow::Result<PathBuf> {
    if let Some(made) = std::env::var_os("RINGDOWN_TEST_BUNDLE").filter(|made| !made.is_empty()) {
        return Ok(PathBuf::from(made));
    }
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(made) = made.as_ref() {
        return Ok(made.clone());
    }
    let folder = cache().join("bundle");
    let lock = std::fs::File::create(cache().join("bundle.lock")).context("making the bundle's lock")?;
    let _held =
        Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error).context("waiting for the bundle")?;
    let mut command = Command::new(checkout().join("provisioning/bundle"));
    command.arg("--out").arg(&folder);
    run(command, None, LIMIT)?.success().context("making the bundle")?;
    *made = Some(folder.clone());
    Ok(folder)
}
