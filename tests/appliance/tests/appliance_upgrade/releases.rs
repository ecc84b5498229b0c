//! Versions next to this one, without compiling anything a second time.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use nix::fcntl::{Flock, FlockArg};
use ringdown_appliance::bundle::{bundle, bundle_of};
use ringdown_appliance::fleet::{Fleet, cache};

/// The version of this checkout.
pub(crate) const NOW: &str = env!("CARGO_PKG_VERSION");
pub(crate) const NEXT: &str = "0.2.0";
pub(crate) const TOO_FAR: &str = "0.3.0";

/// The bundle of this checkout, and the one of the next version, which is kept for the other tests of a run.
pub(crate) fn now_and_next() -> anyhow::Result<(PathBuf, PathBuf)> {
    let now = bundle()?;
    let folder = cache().join("upgrade");
    std::fs::create_dir_all(&folder).context("making a folder")?;
    let lock = std::fs::File::create(folder.join("lock")).context("making a lock")?;
    let _held =
        Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error).context("waiting for the bundle")?;
    let (next, made_of) = (folder.join("next"), folder.join("made-of"));
    let of = std::fs::read(now.join("SHA256SUMS")).context("reading the bundle's checksums")?;
    if next.join("SHA256SUMS").is_file() && std::fs::read(&made_of).is_ok_and(|kept| kept == of) {
        return Ok((now, next));
    }
    let programs = folder.join("programs");
    marked_programs(&programs)?;
    bundle_of(NEXT, Some(&programs), &next)?;
    std::fs::write(&made_of, of).context("noting what it was made of")?;
    Ok((now, next))
}

/// The same programs with a section more: to packages they are others, so daemons are started anew.
fn marked_programs(folder: &Path) -> anyhow::Result<()> {
    let programs = std::env::var("RINGDOWN_BIN_DIR").context("RINGDOWN_BIN_DIR names the programs")?;
    let line = "mkdir -p \"$2\" && echo next >\"$2/mark\"
        for program in ringdown ringdown-web-api ringdown-provisioner ringdown-acd ringdown-registrar ringdown-notifier; do
            objcopy --add-section .ringdown_next=\"$2/mark\" \"$1/$program\" \"$2/$program\"
        done";
    let made = Command::new("sh").args(["-euc", line, "next", &programs]).arg(folder).status()?;
    ensure!(made.success(), "making the next version's programs");
    Ok(())
}

/// The next version with an ACD that starts and ends at once.
pub(crate) fn broken(fleet: &Fleet, bundles: &Path) -> anyhow::Result<()> {
    let folder = fleet.folder("broken-programs")?;
    let line = "cp \"$1\"/ringdown* \"$2\"/ && rm \"$2/ringdown-acd\"
        echo 'int main(int count, char **words) { return count > 1 ? 0 : 1; }' | gcc -x c -o \"$2/ringdown-acd\" -";
    let programs = cache().join("upgrade/programs");
    let made = Command::new("sh").args(["-euc", line, "broken"]).args([&programs, &folder]).status()?;
    ensure!(made.success(), "making a broken ACD");
    bundle_of(NEXT, Some(&folder), &bundles.join("broken"))
}

/// The next version with another Asterisk: the same one, in an archive with other bytes (a frame that zstd skips).
pub(crate) fn another_asterisk(next: &Path, bundles: &Path) -> anyhow::Result<()> {
    let out = bundles.join("another-asterisk");
    let line = "cp -a \"$1\" \"$2\" && cd \"$2\" && cp asterisk-root.tar.zst asterisk.new
        printf 'P*M\\030\\004\\000\\000\\000next' >>asterisk.new && mv asterisk.new asterisk-root.tar.zst
        sum=$(sha256sum asterisk-root.tar.zst | cut -d ' ' -f 1)
        sed -i \"s/^[0-9a-f]*  asterisk-root.tar.zst\\$/$sum  asterisk-root.tar.zst/\" SHA256SUMS
        gpg --batch --quiet --yes --armor --detach-sign -o SHA256SUMS.asc SHA256SUMS";
    let mut command = Command::new("sh");
    let home = std::env::var_os("RINGDOWN_SIGNING_HOME").map_or_else(|| cache().join("signing"), PathBuf::from);
    command.args(["-euc", line, "asterisk"]).args([next, &out]).env("GNUPGHOME", home);
    ensure!(command.status()?.success(), "making a bundle with another Asterisk");
    Ok(())
}

/// A folder of bundles, which hosts see as /srv/bundles, with the next version's in it.
pub(crate) fn bundles(fleet: &Fleet, next: &Path) -> anyhow::Result<PathBuf> {
    let folder = fleet.folder("bundles")?;
    // A host needs to pass through it, whatever the mask.
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).context("opening a folder")?;
    let copied = Command::new("cp").arg("-al").arg(next).arg(folder.join("next")).status()?;
    if !copied.success() {
        let copied = Command::new("cp").arg("-a").arg(next).arg(folder.join("next")).status()?;
        ensure!(copied.success(), "copying the next version's bundle");
    }
    Ok(folder)
}
