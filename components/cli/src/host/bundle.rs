//! A bundle: what a version is installed from. It is believed only when it is signed by the key this host has.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use super::command::{ask, ask_for};
use super::record::Release;

/// Bundles of the version that runs and of the one before.
const KEPT: &str = "/var/lib/ringdown/bundles";
/// What the first bundle brought.
const KEY: &str = "/etc/ringdown/bundle-key.gpg";
/// Reading or copying a few hundred MB.
const COPY_LIMIT: Duration = Duration::from_secs(600);
/// Beside the bundle itself, in MB.
const ROOM_MB: u64 = 300;

/// Where the bundle of a version is kept.
fn place_of(version: &str) -> PathBuf {
    Path::new(KEPT).join(version)
}

/// The kept bundle of a version, when it is there.
pub(crate) fn kept(version: &str) -> Option<Release> {
    let bundle = place_of(version);
    bundle.join("VERSION").is_file().then(|| Release { version: version.to_owned(), bundle })
}

/// Checks signature and content of the bundle at `source`, a folder or a .tar, and keeps a copy of it, unless it is of the
/// version that is `here`. Nothing of what is in it is run before.
pub(crate) async fn keep(source: &Path, here: &str) -> anyhow::Result<Option<Release>> {
    let new = copy(source).await?;
    let version = version_of(&new)?;
    if version == here {
        ask("rm", &["-rf", &new.to_string_lossy()]).await?;
        return Ok(None);
    }
    name(&new, version).await.map(Some)
}

/// The bundle of the version that runs, when first boot has not kept it: the operator says where it is.
pub(crate) async fn keep_previous(source: Option<&Path>, here: &str) -> anyhow::Result<Release> {
    let hint =
        format!("the bundle of the version that runs ({here}) is not kept here, so nothing could be gone back to");
    let source = source.with_context(|| format!("{hint}: name it by --previous"))?;
    let new = copy(source).await?;
    let version = version_of(&new)?;
    ensure!(version == here, "{} is of version {version}, and this host has {here}", source.display());
    name(&new, version).await
}

/// A checked copy, not yet under its name.
async fn copy(source: &Path) -> anyhow::Result<PathBuf> {
    ensure!(source.exists(), "there is no bundle at {}", source.display());
    std::fs::create_dir_all(KEPT).with_context(|| format!("making {KEPT}"))?;
    let new = Path::new(KEPT).join(".new");
    let (from, to) = (source.to_string_lossy(), new.to_string_lossy().into_owned());
    ask("rm", &["-rf", &to]).await?;
    enough_room(source).await?;
    std::fs::create_dir(&new).with_context(|| format!("making {to}"))?;
    if source.is_dir() {
        let inside = format!("{from}/.");
        ask_for(COPY_LIMIT, "cp", &["-a", "--no-preserve=ownership", "--reflink=auto", &inside, &to]).await?;
    } else {
        let words = ["-C", &to, "--strip-components=1", "--no-same-owner", "-xf", &from];
        ask_for(COPY_LIMIT, "tar", &words).await.with_context(|| format!("{from} is no bundle"))?;
    }
    check(&new).await?;
    ask_for(COPY_LIMIT, "sync", &["-f", &to]).await?;
    Ok(new)
}

async fn name(new: &Path, version: String) -> anyhow::Result<Release> {
    let place = place_of(&version);
    ask("rm", &["-rf", &place.to_string_lossy()]).await?;
    std::fs::rename(new, &place).with_context(|| format!("making {}", place.display()))?;
    Ok(Release { version, bundle: place })
}

async fn enough_room(source: &Path) -> anyhow::Result<()> {
    let size = ask("du", &["-smL", &source.to_string_lossy()]).await?;
    let size: u64 = size.split_whitespace().next().and_then(|text| text.parse().ok()).context("du gives a number")?;
    let there = nix::sys::statvfs::statvfs(KEPT).context("asking for free space")?;
    let free = there.blocks_available() * there.fragment_size() / 1_048_576;
    ensure!(
        free >= size + ROOM_MB,
        "there are {free} MB free in {KEPT}; the bundle needs {}: make room, or take the old one away",
        size + ROOM_MB
    );
    Ok(())
}

/// Signature, then content.
pub(crate) async fn check(bundle: &Path) -> anyhow::Result<()> {
    let file = |name: &str| bundle.join(name).to_string_lossy().into_owned();
    ensure!(bundle.join("SHA256SUMS").is_file(), "{} is no bundle: it has no SHA256SUMS", bundle.display());
    let words = ["--quiet", "--keyring", KEY, &file("SHA256SUMS.asc"), &file("SHA256SUMS")];
    let signed = ask("gpgv", &words).await;
    signed.with_context(|| format!("the bundle is not signed by the key of this host ({KEY})"))?;
    let folder = bundle.to_string_lossy();
    let line = "cd \"$1\" && sha256sum --quiet --check SHA256SUMS";
    ask_for(COPY_LIMIT, "sh", &["-euc", line, "check", &folder])
        .await
        .context("the bundle is damaged: get it again")?;
    // A part that nobody signed could be run.
    let line = "cd \"$1\" && find . -type f ! -name 'SHA256SUMS*' ! -name key.gpg -printf '%P\\n' | sort >\"$2\" && \
                sed 's/^[0-9a-f]*  //' SHA256SUMS | sort | comm -13 - \"$2\"; find . -type l";
    let list = tempfile::NamedTempFile::new().context("making a list")?;
    let extra = ask("sh", &["-euc", line, "check", &folder, &list.path().to_string_lossy()]).await?;
    ensure!(extra.trim().is_empty(), "the bundle holds what is not signed: {}", extra.trim());
    Ok(())
}

fn version_of(bundle: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(bundle.join("VERSION")).context("the bundle has no VERSION")?;
    let version = text.trim();
    let fits = version.len() <= 64 && version.starts_with(|first: char| first.is_ascii_digit());
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'~' | b'+' | b'-');
    if !fits || !version.bytes().all(sound) {
        bail!("the bundle's version {version:?} is none");
    }
    Ok(version.to_owned())
}

/// Takes away all that are kept but these.
pub(crate) async fn forget_others(releases: &[&Release]) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(KEPT).with_context(|| format!("reading {KEPT}"))?;
    for entry in entries {
        let path = entry.with_context(|| format!("reading {KEPT}"))?.path();
        if !releases.iter().any(|release| release.bundle == path) {
            ask("rm", &["-rf", &path.to_string_lossy()]).await?;
        }
    }
    Ok(())
}

/// Whether a bundle's package of Asterisk starts it in another way than this host does: then it is started anew.
pub(crate) async fn starts_asterisk_anew(bundle: &Path) -> anyhow::Result<bool> {
    let line = "set -- \"$1\"/repository/ringdown-asterisk_*.deb
        for file in usr/lib/ringdown/asterisk_run usr/lib/systemd/system/ringdown-asterisk.service; do
            dpkg-deb --fsys-tarfile \"$1\" | tar -xOf - \"./$file\" | cmp -s - \"/$file\" || echo \"$file\"
        done";
    Ok(!ask("sh", &["-euc", line, "compare", &bundle.to_string_lossy()]).await?.trim().is_empty())
}

/// The checksum of the Asterisk in a bundle, if it brings one.
pub(crate) async fn asterisk_of(bundle: &Path) -> anyhow::Result<Option<String>> {
    let archive = bundle.join("asterisk-root.tar.zst");
    if !archive.is_file() {
        return Ok(None);
    }
    let said = ask_for(COPY_LIMIT, "sha256sum", &[&archive.to_string_lossy()]).await?;
    Ok(said.split_whitespace().next().map(str::to_owned))
}
