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
const SOURCES: [&str; 6] = ["packaging", "provisioning", "terraform", "Cargo.toml", "Cargo.lock", "LICENSE"];
/// Daemons of which the next version has another environment file.
const NEW_FILE: [&str; 2] = ["acd", "notifier"];

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

/// The daemons that are packaged, by name, as packaging/manifest.toml says.
///
/// # Errors
/// When it cannot be asked.
pub fn daemons() -> anyhow::Result<Vec<String>> {
    let generate = checkout().join("packaging/generate");
    let names = here(&[&generate.to_string_lossy(), "names"])?.success().context("asking for packages")?;
    let daemons = names.lines().filter_map(|name| name.strip_prefix("ringdown-"));
    Ok(daemons.filter(|name| !["base", "asterisk"].contains(name)).map(str::to_owned).collect())
}

/// A copy of what packages are made of, of the next version: acd's unit and the environment files of acd and of the
/// notifier are others; of the other daemons nothing is but the version.
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
    for name in NEW_FILE {
        let file = folder.join(format!("packaging/{name}/ringdown-{name}.env"));
        edit(&file, |text| format!("{text}\n# New in the next version.\n"))?;
    }
    let manifest = folder.join("packaging/manifest.toml");
    edit(&manifest, |text| text.replace("contact centre: ACD\"", "contact centre: ACD of the next version\""))?;
    here(&[&folder.join("packaging/generate").to_string_lossy()])?.success().context("generating its files")?;
    Ok(folder.to_owned())
}

fn edit(file: &Path, change: impl FnOnce(&str) -> String) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let changed = change(&text);
    ensure!(changed != text, "{} is as before", file.display());
    std::fs::write(file, changed).with_context(|| format!("writing {}", file.display()))
}

/// A package that promises what Enterprise Linux 9 has, for a host that is a Debian one; made in `folder`.
///
/// # Errors
/// When it cannot be made.
pub fn enterprise_linux(folder: &Path) -> anyhow::Result<PathBuf> {
    let spec = checkout().join("tests/appliance/enterprise_linux_9.spec");
    let top = format!("_topdir {}", folder.join("rpmbuild").display());
    let out = format!("_rpmdir {}", folder.display());
    let names = "_build_name_fmt %%{NAME}.rpm";
    let words = ["rpmbuild", "--quiet", "-bb", "--define", &top, "--define", &out, "--define", names];
    here(&[&words[..], &[&spec.to_string_lossy()]].concat())?.success().context("rpmbuild")?;
    one_file(folder, "enterprise-linux-9")
}

/// Runs a command on this machine to its end.
///
/// # Errors
/// When it cannot be started or takes longer than a minute.
pub fn here(arguments: &[&str]) -> anyhow::Result<Ran> {
    here_for(COMMAND_LIMIT, arguments)
}

/// As [`here`] with another limit.
///
/// # Errors
/// As [`here`].
pub fn here_for(limit: Duration, arguments: &[&str]) -> anyhow::Result<Ran> {
    let (program, rest) = arguments.split_first().context("a command has a program")?;
    let mut command = Command::new(program);
    command.args(rest).env("LC_ALL", "C.UTF-8");
    run(command, None, limit).with_context(|| format!("running {program}"))
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
