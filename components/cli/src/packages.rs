//! What the distribution's package database says of us: deb or RPM.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::bail;

use crate::asked::{Answer, ask};

const LIMIT: Duration = Duration::from_secs(10);
const ANSWER_MAX: usize = 64 * 1_024;

/// The kind of packages a host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Deb,
    Rpm,
}

impl Kind {
    /// The command that brings an interrupted or a partial upgrade to its end.
    pub(crate) fn finish(self) -> &'static str {
        match self {
            Self::Deb => "dpkg --configure -a; apt-get --fix-broken install; apt-get dist-upgrade",
            Self::Rpm => "dnf upgrade 'ringdown*'",
        }
    }
}

/// Our packages on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packages {
    /// Whose database it is.
    pub(crate) kind: Kind,
    /// Version by name, of those that are whole.
    pub(crate) versions: BTreeMap<String, String>,
    /// Names of those that are half installed.
    pub(crate) half: Vec<String>,
}

impl Packages {
    /// Asks the database that knows `ringdown-base`.
    ///
    /// # Errors
    /// When neither does.
    pub(crate) async fn of_host() -> anyhow::Result<Self> {
        let deb = ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version}\n", "ringdown*"];
        // Exit code 1 says that one of several patterns matched nothing.
        if let Ok(answer) = ask(&deb, LIMIT, ANSWER_MAX).await
            && answer.text.contains(" ringdown-base ")
        {
            return Ok(Self::of_deb(&answer));
        }
        let rpm = ["rpm", "-qa", "--qf", "%{NAME} %{VERSION}-%{RELEASE}\n", "ringdown*"];
        match ask(&rpm, LIMIT, ANSWER_MAX).await {
            Ok(answer) if answer.text.contains("ringdown-base ") => Ok(Self::of_rpm(&answer)),
            Ok(_) | Err(_) => bail!("neither dpkg nor rpm knows ringdown-base"),
        }
    }

    fn of_deb(answer: &Answer) -> Self {
        let (mut versions, mut half) = (BTreeMap::new(), Vec::new());
        for line in answer.text.lines() {
            match line.split(' ').collect::<Vec<_>>().as_slice() {
                ["installed", name, version] => drop(versions.insert((*name).to_owned(), (*version).to_owned())),
                // Removed, or only heard of.
                ["not-installed" | "config-files", ..] => {}
                [_, name, ..] => half.push((*name).to_owned()),
                [..] => {}
            }
        }
        Self { kind: Kind::Deb, versions, half }
    }

    fn of_rpm(answer: &Answer) -> Self {
        let pairs = answer.text.lines().filter_map(|line| line.split_once(' '));
        let versions = pairs.map(|(name, version)| (name.to_owned(), version.to_owned())).collect();
        Self { kind: Kind::Rpm, versions, half: Vec::new() }
    }

    /// A package's version without the number of its packaging: what its program says of itself.
    pub(crate) fn program_version(&self, name: &str) -> Option<&str> {
        let version = self.versions.get(name)?;
        Some(version.rsplit_once('-').map_or(version.as_str(), |(program, _)| program))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Answer {
        Answer { text: text.to_owned(), ..Answer::default() }
    }

    #[test]
    fn what_dpkg_says_is_read() {
        let said = "installed ringdown-base 1.2.3-1\nconfig-files ringdown-acd 1.0.0-1\nhalf-configured ringdown-notifier 1.2.3-1\nnot-installed ringdown \n";
        let packages = Packages::of_deb(&answer(said));
        assert_eq!(packages.versions.keys().collect::<Vec<_>>(), ["ringdown-base"]);
        assert_eq!(packages.half, ["ringdown-notifier"]);
        assert_eq!(packages.program_version("ringdown-base"), Some("1.2.3"));
        assert_eq!(packages.program_version("ringdown-acd"), None);
    }

    #[test]
    fn what_rpm_says_is_read() {
        let packages = Packages::of_rpm(&answer("ringdown-base 1.2.3-1\nringdown-acd 1.2.3~rc1-1\n"));
        assert_eq!(packages.program_version("ringdown-acd"), Some("1.2.3~rc1"));
    }
}
