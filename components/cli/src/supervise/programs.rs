//! Where programs of the distribution are.

use std::path::PathBuf;

use anyhow::bail;

/// The program, in PATH or where Debian puts servers.
pub(crate) fn find_program(name: &str, package: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into(), "/sbin".into()]);
    match folders.map(|folder| folder.join(name)).find(|path| path.is_file()) {
        Some(program) => Ok(program),
        None => bail!("{name} is not installed; install it: apt-get install {package}"),
    }
}
