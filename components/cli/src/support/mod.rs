//! `ringdown support-bundle`: one archive of what somebody who helps has to see, and of nothing else.
//!
//! ```text
//! pieces (commands, files, what status and doctor say) -> masked -> a private folder -> looked through once more -> .tar.gz, 0600
//! ```
//! In it: versions, units and their journals of the last hours, configuration, doctor's findings, figures of Redis and
//! PostgreSQL. Never in it: secrets, rows of the database, values of Redis' keys, recordings, callers' numbers. A piece that
//! cannot be had is named with the reason; a secret that cannot be masked ends the command.

mod masked;
mod pieces;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::process::Command;

use crate::appliance::Appliance;
use crate::arguments::{Place, SupportBundle};
use crate::asked::ask;
use crate::installation::Installation;
use crate::output::{self, Progress};

use masked::Masker;
use pieces::{Piece, Source};

/// Longest that one piece may take.
const PIECE_LIMIT: Duration = Duration::from_secs(20);
/// Most of one piece: a day of a busy daemon's journal. Its end is kept.
const PIECE_MAX: usize = 4 * 1_024 * 1_024;
/// Most of all pieces together, before they are packed.
const ALL_MAX: usize = 64 * 1_024 * 1_024;
/// Packing that much takes a second or two.
const PACK_LIMIT: Duration = Duration::from_secs(60);

/// Where the secrets of what runs here are.
enum Ground {
    Packaged(Appliance),
    Folder(Installation),
}

pub(crate) async fn run(place: &Place, bundle: &SupportBundle) -> anyhow::Result<ExitCode> {
    let ground = match (Appliance::find(place)?, Installation::find(place)?) {
        (Some(appliance), _) => Ground::Packaged(appliance),
        (None, Some(installation)) => Ground::Folder(installation),
        (None, None) => bail!("there is no installation here: first boot or `ringdown up` makes one"),
    };
    let masker = learn(&ground)?;
    let name = format!("ringdown-support-{}-{}", host_name(), jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ"));
    let out = bundle.out.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.tar.gz")));
    ensure!(!out.exists(), "{} is there already", out.display());
    let staging = tempfile::Builder::new().prefix("ringdown-support-").tempdir().context("making a folder")?;
    let folder = staging.path().join(&name);
    let pieces = match &ground {
        Ground::Packaged(appliance) => pieces::of_appliance(appliance, bundle.hours).await?,
        Ground::Folder(installation) => pieces::of_installation(installation),
    };
    let told = collect(place, &masker, pieces, &folder).await?;
    write(&folder, "README", &readme(&name, bundle.hours, &told))?;
    look_through(&masker, &folder)?;
    pack(staging.path(), &name, &out).await?;
    let size = std::fs::metadata(&out).context("looking at the archive")?.len();
    output::say(format!(
        "{}: {} KiB, {} pieces; secrets and callers are masked",
        out.display(),
        size / 1_024,
        told.len()
    ));
    output::say("look through it before you give it away: tar -tzf, and its README says what is in it");
    Ok(ExitCode::SUCCESS)
}

/// Everything that must not be in it, from where it is kept.
fn learn(ground: &Ground) -> anyhow::Result<Masker> {
    let mut masker = Masker::default();
    match ground {
        Ground::Packaged(appliance) => {
            for name in ["secrets", "credentials"] {
                masker.learn(&appliance.folder().join(name))?;
            }
            for file in appliance.files()? {
                masker.learn_settings(&std::fs::read_to_string(&file).unwrap_or_default());
            }
        }
        Ground::Folder(installation) => masker.learn(&installation.join("secrets"))?,
    }
    Ok(masker)
}

/// What became of a piece: its name, and what is to be said of it.
type Told = Vec<(String, String)>;

/// Writes every piece, masked, until the limit of all is reached.
async fn collect(place: &Place, masker: &Masker, pieces: Vec<Piece>, folder: &Path) -> anyhow::Result<Told> {
    let mut progress = Progress::new(pieces.len() as u64);
    let (mut told, mut size) = (Vec::new(), 0);
    for (number, piece) in pieces.into_iter().enumerate() {
        progress.at(number as u64, piece.name.clone());
        if size >= ALL_MAX {
            told.push((piece.name, format!("left out: the others have {} MiB already", ALL_MAX / 1_048_576)));
            continue;
        }
        let (text, said) = match take(place, &piece.source).await {
            Ok((text, cut)) => {
                (text, if cut { format!("its last {} MiB", PIECE_MAX / 1_048_576) } else { String::new() })
            }
            Err(error) => {
                (String::new(), format!("could not be had: {}", masker.mask(&format!("{error:#}"), piece.of)))
            }
        };
        let text = masker.mask(&text, piece.of);
        if !text.is_empty() {
            size += text.len();
            write(folder, &piece.name, &text)?;
        }
        told.push((piece.name, said));
    }
    progress.end();
    Ok(told)
}

/// A piece as it is, and whether its beginning was dropped.
async fn take(place: &Place, source: &Source) -> anyhow::Result<(String, bool)> {
    match source {
        Source::Command(words) => {
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            let answer = ask(&words, PIECE_LIMIT, PIECE_MAX).await?;
            let mut text = answer.text;
            if !answer.errors.is_empty() {
                text.push_str(&format!("\n--- on standard error:\n{}", answer.errors));
            }
            Ok((text, answer.cut))
        }
        Source::File(path) => the_end_of(path),
        Source::Text(text) => Ok((text.clone(), false)),
        Source::Status => Ok((serde_json::to_string_pretty(&crate::status::parts(place).await?)?, false)),
        Source::Doctor => Ok((serde_json::to_string_pretty(&crate::doctor::findings(place).await?)?, false)),
    }
}

/// The last [`PIECE_MAX`] bytes of a file.
fn the_end_of(path: &Path) -> anyhow::Result<(String, bool)> {
    use std::io::{Read, Seek, SeekFrom};
    let reading = || format!("reading {}", path.display());
    let mut file = std::fs::File::open(path).with_context(reading)?;
    let length = file.metadata().with_context(reading)?.len();
    let most = PIECE_MAX as u64;
    file.seek(SeekFrom::Start(length.saturating_sub(most))).with_context(reading)?;
    let mut bytes = Vec::new();
    // It may grow while it is read.
    file.take(most).read_to_end(&mut bytes).with_context(reading)?;
    Ok((String::from_utf8_lossy(&bytes).into_owned(), length > most))
}

fn write(folder: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = folder.join(name);
    let parent = path.parent().context("a piece lies in a folder")?;
    std::fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}

fn readme(name: &str, hours: u32, told: &[(String, String)]) -> String {
    let mut text = format!(
        "{name}\nmade by ringdown {}, journals of the last {hours} h\n\n\
         Secrets stand as ***NAME*** or ***, callers' numbers and SIP users as ***. Not in here: secrets, rows of the database,\n\
         values of Redis' keys, recordings.\n\n",
        env!("CARGO_PKG_VERSION")
    );
    for (piece, said) in told {
        text.push_str(&format!("{piece}{}{said}\n", if said.is_empty() { "" } else { ": " }));
    }
    text
}

/// Looks for secrets once more, in what was really written.
fn look_through(masker: &Masker, folder: &Path) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("reading {}", folder.display()))?.path();
        if path.is_dir() {
            look_through(masker, &path)?;
            continue;
        }
        let text = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let (text, place) = (String::from_utf8_lossy(&text), path.to_string_lossy());
        if let Some(name) = masker.found_in(&text).or_else(|| masker.found_in(&place)) {
            bail!("{name} would be seen in {}: nothing was made; please report this", path.display());
        }
    }
    Ok(())
}

/// Packs the folder `name` of `staging` into a file only its owner may read, whole or not at all.
async fn pack(staging: &Path, name: &str, out: &Path) -> anyhow::Result<()> {
    let new = out.with_extension(format!("new-{}", std::process::id()));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
    let file = file.with_context(|| format!("making {}", new.display()))?;
    let kept = file.try_clone().context("sharing the archive")?;
    let mut command = Command::new("tar");
    command.args(["--create", "--gzip", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--directory"]);
    command.arg(staging).arg(name).stdin(Stdio::null()).stdout(file).stderr(Stdio::piped()).kill_on_drop(true);
    // Not `output()`: that takes standard output for itself.
    let packed = command.spawn().context("starting tar")?.wait_with_output();
    let packed =
        tokio::time::timeout(PACK_LIMIT, packed).await.context("tar takes too long")?.context("running tar")?;
    if !packed.status.success() {
        std::fs::remove_file(&new).with_context(|| format!("removing {}", new.display()))?;
        bail!("tar: {}", String::from_utf8_lossy(&packed.stderr).trim());
    }
    kept.sync_all().with_context(|| format!("writing {}", new.display()))?;
    std::fs::rename(&new, out).with_context(|| format!("renaming to {}", out.display()))
}

fn host_name() -> String {
    let name = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    let name: String = name.chars().filter(plain).take(64).collect();
    if name.is_empty() { "host".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_got_through_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut masker = Masker::default();
        masker.add("REDIS_PASSWORD", "of-the-redis");
        write(folder.path(), "deep/in/it", "nothing").unwrap();
        look_through(&masker, folder.path()).unwrap();
        write(folder.path(), "deep/in/it", "it is of-the-redis").unwrap();
        let error = look_through(&masker, folder.path()).unwrap_err().to_string();
        assert!(error.contains("REDIS_PASSWORD") && !error.contains("of-the-redis"), "{error}");
    }

    #[test]
    fn of_a_long_file_the_end_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, format!("{}the end\n", "x".repeat(PIECE_MAX))).unwrap();
        let (text, cut) = the_end_of(&path).unwrap();
        assert!(cut && text.len() == PIECE_MAX && text.ends_with("the end\n"));
        assert!(the_end_of(&folder.path().join("none")).is_err());
    }

    #[tokio::test]
    async fn the_archive_is_its_owners_and_holds_the_pieces() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "bundle/host/system", "Linux\n").unwrap();
        let out = folder.path().join("out.tar.gz");
        pack(folder.path(), "bundle", &out).await.unwrap();
        assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
        let list = ask(&["tar", "-tzf", &out.to_string_lossy()], PIECE_LIMIT, 1_000).await.unwrap();
        assert!(list.text.contains("bundle/host/system"), "{}", list.text);
    }
}
