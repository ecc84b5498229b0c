//! The unit that performs a replacement: it is there only while one is under way, and starts again at boot.

use std::path::Path;

use anyhow::Context;

use super::FOLDER;
use super::command::ask;
use crate::installation::write_private;

const NAME: &str = "ringdown-replacement.service";
const PLACE: &str = "/etc/systemd/system/ringdown-replacement.service";
const LINK: &str = "/etc/systemd/system/multi-user.target.wants/ringdown-replacement.service";

/// Copies this tool to the data volume, makes the unit and starts it; both are on disk before anything changes.
pub(crate) async fn start() -> anyhow::Result<()> {
    let tool = Path::new(FOLDER).join("ringdown");
    let own = std::env::current_exe().context("asking for this program")?;
    if own != tool {
        let bytes = std::fs::read(&own).with_context(|| format!("reading {}", own.display()))?;
        write_private(&tool, &bytes)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&tool, mode).with_context(|| format!("setting the mode of {}", tool.display()))?;
    }
    // Not `oneshot`: its own end takes this file away, and what is then still starting would be under systemd's usual limit for
    // starts, which a replacement that has waited for calls is over.
    let text = format!(
        "[Unit]\nDescription=Ringdown: a replacement of this host's version\nDocumentation=file:{FOLDER}/replacement.json\n\
         After=network-online.target ringdown.target\nWants=network-online.target\nRequiresMountsFor=/var/lib/ringdown\n\n\
         [Service]\nType=exec\nExecStart={} host resume\n\n[Install]\nWantedBy=multi-user.target\n",
        tool.display()
    );
    write_private(Path::new(PLACE), text.as_bytes())?;
    std::fs::set_permissions(PLACE, std::os::unix::fs::PermissionsExt::from_mode(0o644)).context("opening the unit")?;
    ask("systemctl", &["daemon-reload"]).await?;
    ask("systemctl", &["enable", "--quiet", NAME]).await?;
    ask("sync", &["-f", PLACE]).await?;
    // One that failed before may be started again.
    ask("systemctl", &["reset-failed", NAME]).await.ok();
    ask("systemctl", &["start", "--no-block", NAME]).await.map(drop)
}

/// Takes the unit away; what runs in it goes on to its end.
pub(crate) async fn remove() -> anyhow::Result<()> {
    for path in [LINK, PLACE] {
        match std::fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("removing {path}")),
        }
    }
    ask("systemctl", &["daemon-reload"]).await.map(drop)
}

/// Whether it runs.
pub(crate) async fn runs() -> bool {
    let state = ask("systemctl", &["show", "--property=ActiveState", "--value", NAME]).await.unwrap_or_default();
    matches!(state.trim(), "active" | "activating" | "deactivating" | "reloading")
}
