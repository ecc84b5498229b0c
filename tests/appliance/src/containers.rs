//! A place to run images: podman with a store of its own, in a fleet's network, whose containers go with the fleet.
//!
//! What it can't show here: limits of open files (this machine gives no right to raise them), a network of podman's own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use crate::fleet::{Fleet, Ran, run};

const LIMIT: Duration = Duration::from_secs(60);

/// podman, apart from the machine's own.
#[derive(Debug)]
pub struct Containers {
    network: PathBuf,
    settings: PathBuf,
    storage: PathBuf,
}

impl Containers {
    /// An empty store.
    ///
    /// # Errors
    /// When its folder or files cannot be made.
    pub fn new(fleet: &Fleet) -> anyhow::Result<Self> {
        let folder = fleet.folder("containers")?;
        let (settings, storage) = (folder.join("containers.conf"), folder.join("storage.conf"));
        // runc: crun of Debian 12 refuses the control groups of some hosts. Defaults podman would raise without the right to.
        let text = format!(
            "[containers]\ndefault_ulimits=[\"nofile=4096:4096\",\"nproc=4096:4096\"]\n\
             [engine]\nruntime=\"runc\"\ncgroup_manager=\"cgroupfs\"\nevents_logger=\"file\"\n\
             [network]\nnetwork_config_dir=\"{}\"\n",
            folder.join("networks").display()
        );
        std::fs::write(&settings, text).context("writing podman's settings")?;
        let graph = folder.join("graph");
        let text = format!(
            "[storage]\ndriver=\"vfs\"\ngraphroot=\"{}\"\nrunroot=\"{}\"\n",
            graph.display(),
            folder.join("run").display()
        );
        std::fs::write(&storage, text).context("writing podman's store")?;
        Ok(Self { network: fleet.network(), settings, storage })
    }

    /// A program in the fleet's network that uses this store. `ip netns exec` would hide the control groups.
    #[must_use]
    pub fn command(&self, program: &str, folder: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.network.display())).arg(program).current_dir(folder);
        command.env("CONTAINERS_CONF", &self.settings).env("CONTAINERS_STORAGE_CONF", &self.storage);
        command
    }

    /// podman, to its end.
    ///
    /// # Errors
    /// When it cannot be started or takes longer than a minute.
    pub fn podman(&self, folder: &Path, arguments: &[&str]) -> anyhow::Result<Ran> {
        let mut command = self.command("podman", folder);
        command.args(arguments);
        run(command, None, LIMIT).with_context(|| format!("podman {}", arguments.join(" ")))
    }

    /// A container's first process, as this machine sees it.
    ///
    /// # Errors
    /// When there is no such container, or it does not run.
    pub fn process(&self, container: &str) -> anyhow::Result<u32> {
        let said = self.podman(Path::new("/"), &["inspect", "--format", "{{.State.Pid}}", container])?.success()?;
        let id: u32 = said.trim().parse().with_context(|| format!("podman said {said:?}"))?;
        anyhow::ensure!(id > 0, "{container} does not run");
        Ok(id)
    }

    /// What a container has said.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn log(&self, container: &str) -> anyhow::Result<String> {
        Ok(self.podman(Path::new("/"), &["logs", container])?.said())
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        // What fails here the guard of the fleet does.
        self.podman(Path::new("/"), &["rm", "--force", "--all", "--time", "0"]).ok();
    }
}
