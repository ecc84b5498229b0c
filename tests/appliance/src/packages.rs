//! Packages of this checkout, and of one that is a version further.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::fleet::{Ran, checkout, run};

/// Building, where the programs are built too.
const BUILD_LIMIT: Duration = Duration::from_secs(540);
/// Any other command here.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);
/// When the next version was committed, in seconds since 1970.
const NEXT_EPOCH: &str = "1767225600";
/// What a build reads, besides the components' pages.
const SOURCES: [&str; 5] = ["packaging", "provisioning", "Cargo.toml", "Cargo.lock", "LICENSE"];

/// Builds packages of `top` into `out`; `arguments` as `packaging/build --help` says.
///
/// # Errors
/// When it fails, with all it said.
pub fn build(top: &Path, out: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(top.join("packaging/build"));
    command.arg("--out").arg(out).args(arguments);
    if top != checkout() {
        command.env("SOURCE_DATE_EPOCH", NEXT_EPOCH);
    }
    run(command, None, BUILD_LIMIT)?.success().context("building packages")
}

/// A copy of what packages are made of, in which every environment file has a line more: the next version's.
///
/// # Errors
/// When it cannot be copied.
pub fn next_checkout(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut copy = Command::new("cp");
    copy.arg("--archive").args(SOURCES.map(|name| checkout().join(name))).arg(folder);
    run(copy, None, COMMAND_LIMIT)?.success().context("copying packaging")?;
    for entry in std::fs::read_dir(checkout().join("components")).context("reading components")? {
        let page = entry.context("reading components")?.path().join("README.md");
        if page.is_file() {
            let place = folder.join(page.strip_prefix(checkout()).context("a page lies in the checkout")?);
            std::fs::create_dir_all(place.parent().context("a page lies in a folder")?).context("making a folder")?;
            std::fs::copy(&page, &place).context("copying a page")?;
        }
    }
    for entry in std::fs::read_dir(folder.join("packaging")).context("reading packaging")? {
        let component = entry.context("reading packaging")?.path();
        let name = component.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = component.join(format!("ringdown-{name}.env"));
        if file.is_file() {
            let text = std::fs::read_to_string(&file).context("reading an environment file")?;
            std::fs::write(&file, format!("{text}\n# New in the next version.\n")).context("writing it")?;
        }
    }
    Ok(folder.to_owned())
}

/// Runs a command on this machine to its end.
///
/// # Errors
/// When it cannot be started or takes longer than a minute.
pub fn here(arguments: &[&str]) -> anyhow::Result<Ran> {
    let (program, rest) = arguments.split_first().context("a command has a program")?;
    let mut command = Command::new(program);
    command.args(rest).env("LC_ALL", "C.UTF-8");
    run(command, None, COMMAND_LIMIT).with_context(|| format!("running {program}"))
}

/// A key to sign with that nobody trusts; gives its GnuPG home.
///
/// # Errors
/// When it cannot be made.
pub fn foreign_key(folder: &Path) -> anyhow::Result<PathBuf> {
    let home = folder.join("gnupg");
    std::fs::create_dir_all(&home).context("making a folder")?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&home, mode).context("closing it")?;
    let place = home.to_string_lossy();
    let words = ["gpg", "--homedir", &place, "--batch", "--quiet", "--passphrase", "", "--quick-gen-key"];
    here(&[&words[..], &["Somebody else", "rsa3072", "sign", "never"]].concat())?.success().context("making a key")?;
    Ok(home)
}

/// Flips one bit in the middle of a file.
///
/// # Errors
/// When it is empty or cannot be written.
pub fn flip_a_bit(file: &Path) -> anyhow::Result<()> {
    let mut bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    ensure!(!bytes.is_empty(), "{} is empty", file.display());
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).with_context(|| format!("writing {}", file.display()))
}

/// The one file in a folder that begins so.
///
/// # Errors
/// When there is none, or several.
pub fn one_file(folder: &Path, beginning: &str) -> anyhow::Result<PathBuf> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let begins = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(beginning));
    let found: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(begins).collect();
    match found.as_slice() {
        [one] => Ok(one.clone()),
        _ => anyhow::bail!("{} files in {} begin with {beginning}", found.len(), folder.display()),
    }
}
