//! The description of a child.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::process::Command;

use super::STOP_GRACE;

/// When a child is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Takes in work: stopped first.
    Edge,
    /// Decides and controls.
    Work,
    /// Carries voice: after those who talk to it.
    Media,
    /// Keeps state: last.
    Store,
}

impl Stage {
    pub(crate) const STOP_ORDER: [Self; 4] = [Self::Edge, Self::Work, Self::Media, Self::Store];
}

/// A child: program, environment, how it ends.
#[derive(Clone, Debug)]
pub(crate) struct Child {
    name: String,
    stage: Stage,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(String, OsString)>,
    user: Option<String>,
    root: Option<PathBuf>,
    stop: Signal,
    stop_limit: Duration,
    needs: Option<PathBuf>,
}

impl Child {
    pub(super) fn new(name: impl Into<String>, stage: Stage, program: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            stage,
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            user: None,
            root: None,
            stop: Signal::SIGTERM,
            // A daemon's own drain limit is 10 s unless it is told otherwise.
            stop_limit: Duration::from_secs(10) + STOP_GRACE,
            needs: None,
        }
    }

    pub(super) fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub(super) fn env(mut self, name: impl Into<String>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Runs as this user when we are root.
    pub(super) fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Runs in a root of its own.
    pub(super) fn root(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = Some(root.into());
        self
    }

    /// Ends by this signal.
    pub(super) fn stop(mut self, signal: Signal) -> Self {
        self.stop = signal;
        self
    }

    /// Is not started before this file is there.
    pub(super) fn needs(mut self, path: impl Into<PathBuf>) -> Self {
        self.needs = Some(path.into());
        self
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    pub(super) fn needed(&self) -> Option<&Path> {
        self.needs.as_deref()
    }

    pub(super) fn stop_signal(&self) -> Signal {
        self.stop
    }

    pub(super) fn stop_limit(&self) -> Duration {
        self.stop_limit
    }

    /// What is executed. `setpriv` takes root's powers away, asks for the death signal and becomes the program, so the
    /// process id stays; inside a root of its own it is that root's `setpriv`.
    pub(super) fn command(&self) -> Command {
        let root = nix::unistd::geteuid().is_root();
        let mut words: Vec<OsString> = Vec::new();
        if let Some(folder) = &self.root {
            if !root {
                // Only root may change the root; in a user namespace of one's own everybody is.
                words.extend(["unshare", "--user", "--map-root-user"].map(OsString::from));
            }
            words.extend(["chroot".into(), folder.clone().into()]);
        }
        words.push("setpriv".into());
        if root {
            if let Some(user) = &self.user {
                words.extend(["--reuid".into(), user.into(), "--regid".into(), user.into(), "--init-groups".into()]);
            }
            // What a daemon may do is what the files' modes allow its user.
            words.extend(["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"].map(OsString::from));
        }
        words.extend(["--pdeathsig".into(), "KILL".into(), "--".into(), self.program.clone().into()]);
        words.extend(self.arguments.iter().cloned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}
