//! What systemd says about a unit of ours.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Command;

const PROPERTIES: &str = "--property=MainPID,NRestarts,ActiveState,Result,UnitFileState,NeedDaemonReload";
const LIMIT: Duration = Duration::from_secs(5);

/// A unit as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Its main process.
    pub(crate) process: Option<u32>,
    /// How often systemd has started it again by itself.
    pub(crate) restarts: u32,
    /// `active`, `failed` ...
    pub(crate) state: String,
    /// How it ended: `success`, `exit-code`, `watchdog`, `oom-kill` ...
    pub(crate) result: String,
    /// Whether it starts at boot: `enabled`, `disabled`, `masked`; empty when there is no such unit.
    pub(crate) at_boot: String,
    /// Whether its file changed and systemd has not read it again.
    pub(crate) stale: bool,
}

impl Unit {
    /// The unit of a component.
    pub(crate) async fn of(component: &str) -> anyhow::Result<Self> {
        let mut command = Command::new("systemctl");
        command.args(["show", PROPERTIES, &Self::name(component)]);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(LIMIT, command.output()).await.context("systemctl does not answer")?;
        let output = output.context("starting systemctl")?;
        if !output.status.success() {
            bail!("systemctl: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(Self::parse(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Load balancers run by the distribution's own units, with a drop-in of ours.
    pub(crate) fn name(component: &str) -> String {
        match component {
            "monitoring" => "prometheus.service".to_owned(),
            "haproxy" | "keepalived" => format!("{component}.service"),
            _ => format!("ringdown-{component}.service"),
        }
    }

    fn parse(text: &str) -> Self {
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or("");
        Self {
            process: value("MainPID").parse().ok().filter(|id| *id != 0),
            restarts: value("NRestarts").parse().unwrap_or(0),
            state: value("ActiveState").to_owned(),
            result: value("Result").to_owned(),
            at_boot: value("UnitFileState").to_owned(),
            stale: value("NeedDaemonReload") == "yes",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_has_a_unit() {
        assert_eq!(
            (Unit::name("acd"), Unit::name("haproxy")),
            ("ringdown-acd.service".into(), "haproxy.service".into())
        );
    }

    #[test]
    fn what_systemd_says_is_read() {
        let said = "MainPID=123\nNRestarts=2\nActiveState=active\nResult=success\nUnitFileState=enabled\nNeedDaemonReload=yes\n";
        let unit = Unit::parse(said);
        assert_eq!((unit.process, unit.restarts, unit.state.as_str()), (Some(123), 2, "active"));
        assert_eq!((unit.result.as_str(), unit.at_boot.as_str(), unit.stale), ("success", "enabled", true));
        assert_eq!(Unit::parse("MainPID=0\nNRestarts=0\nActiveState=failed\n").process, None);
    }
}
