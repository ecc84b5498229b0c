//! Asterisk, from the distribution's own place or from a root of its own (`provisioning/asterisk_root`).
//!
//! Its files are rendered by the provisioner into the instance's folder, which must lie inside Asterisk's root; Asterisk is
//! started when they are there.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use crate::installation::Installation;

use super::child::{Child, Stage};

/// Where first boot and the tests make the root.
const MADE_ROOT: &str = "/var/cache/ringdown/asterisk-root";
/// The names Asterisk looks up in the threads that speak SIP (research: calls stall 5 s without them when DNS is away).
const ROOT_SERVER: (&str, &str) = ("198.41.0.4", "A.ROOT-SERVERS.NET");

/// Where Asterisk and its instance are.
#[derive(Clone, Debug)]
pub(crate) struct AsteriskPlace {
    root: PathBuf,
    inside: PathBuf,
    outside: PathBuf,
}

impl AsteriskPlace {
    /// Finds Asterisk and decides where the instance's folder is.
    pub(crate) fn find(installation: &Installation, root: Option<&Path>) -> anyhow::Result<Self> {
        let root = match root {
            Some(root) => root.to_owned(),
            None => [Path::new("/"), Path::new(MADE_ROOT)]
                .into_iter()
                .find(|root| program(root).is_file())
                .context(
                    "Asterisk is not installed; provisioning/asterisk_root /var/cache/ringdown/asterisk-root makes it",
                )?
                .to_owned(),
        };
        if !program(&root).is_file() {
            bail!("there is no Asterisk in {}", root.display());
        }
        if root == Path::new("/") {
            let folder = installation.join("asterisk");
            if !is_plain(&folder.to_string_lossy()) {
                bail!(
                    "Asterisk cannot work in {}: letters a to z, digits and ._-/ only, {PLAIN_MAX} characters at most; name another folder with --data",
                    folder.display()
                );
            }
            return Ok(Self { root, inside: folder.clone(), outside: folder });
        }
        // One root serves several installations: each has a folder in it, named after where it is.
        let inside = Path::new("/srv").join(folder_name(installation.folder()));
        let outside = root.join(inside.strip_prefix("/").unwrap_or(&inside));
        Ok(Self { root, inside, outside })
    }

    /// The instance's folder as we see it.
    pub(super) fn outside(&self) -> &Path {
        &self.outside
    }

    /// The instance's folder as Asterisk sees it.
    pub(super) fn inside(&self) -> &Path {
        &self.inside
    }

    /// The folder of its modules, as Asterisk sees it.
    pub(super) fn modules(&self) -> anyhow::Result<PathBuf> {
        let folders = [
            "/usr/lib/x86_64-linux-gnu/asterisk/modules",
            "/usr/lib/aarch64-linux-gnu/asterisk/modules",
            "/usr/lib/asterisk/modules",
        ];
        let found = folders.into_iter().find(|folder| self.root.join(folder.trim_start_matches('/')).is_dir());
        found.map(PathBuf::from).with_context(|| format!("Asterisk's modules are not in {}", self.root.display()))
    }

    /// Makes its folder and describes it.
    pub(super) fn prepare(&self, installation: &Installation) -> anyhow::Result<Child> {
        std::fs::create_dir_all(&self.outside).with_context(|| {
            format!(
                "making {} (a user other than root needs a root of its own: provisioning/asterisk_root FOLDER, then --asterisk-root FOLDER)",
                self.outside.display()
            )
        })?;
        add_hosts(&self.root.join("etc/hosts"), installation.node())?;
        // -n: no colours in the log. The provisioner writes the hosts file last: when it is there, everything is.
        let child = Child::new("asterisk", Stage::Media, "/usr/sbin/asterisk")
            .arg("-fn")
            .arg("-C")
            .arg(self.inside.join("etc/asterisk.conf"))
            .needs(self.outside.join("hosts"));
        Ok(if self.root == Path::new("/") { child } else { child.root(&self.root) })
    }
}

/// Longest path that leaves room for the names of Asterisk's sockets: the kernel allows 107 characters in all.
const PLAIN_MAX: usize = 70;

/// Whether Asterisk's configuration files can name this path: blanks and characters beyond ASCII would need quoting there, and
/// its control socket has a limit.
fn is_plain(path: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-/".contains(letter);
    path.len() <= PLAIN_MAX && path.chars().all(plain)
}

/// The name of an installation's folder in a root of several: its path, or a short stand-in for one Asterisk cannot name.
fn folder_name(folder: &Path) -> String {
    let path = folder.to_string_lossy();
    let name = path.trim_matches('/').replace('/', "-");
    if is_plain(&name) {
        return name;
    }
    let digest = Sha256::digest(path.as_bytes());
    digest.iter().take(8).fold("ringdown-".to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

fn program(root: &Path) -> PathBuf {
    root.join("usr/sbin/asterisk")
}

/// Adds what is missing to a hosts file; what is there stays.
fn add_hosts(path: &Path, node: &str) -> anyhow::Result<()> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "127.0.0.1 localhost\n::1 localhost\n".to_owned(),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let host = nix::unistd::gethostname().context("asking for the host's name")?.to_string_lossy().into_owned();
    let mut wanted = vec![("127.0.0.1", host.as_str()), ROOT_SERVER];
    if node != host {
        wanted.push(("127.0.0.1", node));
    }
    let mut new = text.clone();
    for (address, name) in wanted {
        if !knows(&new, name) {
            if !new.is_empty() && !new.ends_with('\n') {
                new.push('\n');
            }
            new.push_str(&format!("{address} {name}\n"));
        }
    }
    if new == text {
        return Ok(());
    }
    // In place: a container's /etc/hosts is a mount and cannot be renamed over.
    std::fs::write(path, new).with_context(|| format!("writing {}", path.display()))
}

fn knows(hosts: &str, name: &str) -> bool {
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.flat_map(|line| line.split_whitespace().skip(1)).any(|word| word.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_asterisk_cannot_name_gets_a_short_name() {
        assert_eq!(folder_name(Path::new("/var/lib/ringdown")), "var-lib-ringdown");
        for odd in ["/srv/with blank", "/srv/b\u{fc}ro", &format!("/srv/{}", "x".repeat(90))] {
            let name = folder_name(Path::new(odd));
            assert!(name.starts_with("ringdown-") && is_plain(&name), "{odd}: {name}");
            assert_ne!(name, folder_name(Path::new("/srv/another one")), "{odd}");
        }
    }

    #[test]
    fn hosts_get_what_they_lack_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        std::fs::write(&path, "10.0.0.9 elsewhere # node-7").unwrap();
        add_hosts(&path, "node-7").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("10.0.0.9 elsewhere # node-7\n"), "{text}");
        assert!(knows(&text, "node-7") && knows(&text, "a.root-servers.net"), "{text}");
        add_hosts(&path, "node-7").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}
