//! A name for this process by which another on the same host can tell that it has died.
//!
//! `<boot>/<pid namespace>/<pid>/<start>`: a process id means something only within one boot and one namespace, and comes back
//! for another process, which started at another time. Whoever cannot be sure says so: a process that may live, lives.

use std::fmt;
use std::fs;
use std::str::FromStr;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessMark {
    boot: String,
    namespace: String,
    pid: i32,
    /// In clock ticks since the boot (`/proc/<pid>/stat`, field 22).
    started: u64,
}

/// Why a text is no mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be <boot>/<namespace>/<pid>/<start>")]
pub struct MarkError;

impl ProcessMark {
    /// This process; none where the kernel does not tell.
    #[must_use]
    pub fn own() -> Option<Self> {
        let pid = i32::try_from(std::process::id()).ok()?;
        let (boot, namespace) = here()?;
        Some(Self { boot, namespace, pid, started: started("self")? })
    }

    /// Whether it is certain that this process does not exist any more.
    #[must_use]
    pub fn is_surely_dead(&self) -> bool {
        let same_place = here().is_some_and(|(boot, namespace)| boot == self.boot && namespace == self.namespace);
        if !same_place {
            return false;
        }
        // A signal of 0 only asks. It reaches what /proc may hide; no permission means that somebody is there.
        match kill(Pid::from_raw(self.pid), None) {
            Err(Errno::ESRCH) => true,
            Ok(()) | Err(_) => started(&self.pid.to_string()).is_some_and(|started| started != self.started),
        }
    }
}

impl fmt::Display for ProcessMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.boot, self.namespace, self.pid, self.started)
    }
}

impl FromStr for ProcessMark {
    type Err = MarkError;
    fn from_str(text: &str) -> Result<Self, MarkError> {
        let parts: Vec<&str> = text.split('/').collect();
        let [boot, namespace, pid, started] = parts[..] else { return Err(MarkError) };
        let pid = pid.parse().ok().filter(|pid| *pid > 0).ok_or(MarkError)?;
        let started = started.parse().map_err(|_| MarkError)?;
        Ok(Self { boot: boot.to_owned(), namespace: namespace.to_owned(), pid, started })
    }
}

/// This boot and this namespace.
fn here() -> Option<(String, String)> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    let digits = namespace.to_str()?.trim_start_matches("pid:[").trim_end_matches(']').to_owned();
    Some((boot.trim().to_owned(), digits))
}

/// When a process was started. Its name, the second field, may hold anything, a `)` included.
fn started(process: &str) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    // The field after the name is the third.
    rest.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::ProcessMark;

    #[test]
    fn a_process_that_lives_is_not_dead_and_one_that_ended_is() {
        let own = ProcessMark::own().expect("Linux tells");
        assert!(!own.is_surely_dead());
        assert_eq!(own.to_string().parse(), Ok(own.clone()));
        let mut child = std::process::Command::new("true").spawn().expect("a child");
        let pid = i32::try_from(child.id()).expect("a process id");
        child.wait().expect("it ends");
        assert!(ProcessMark { pid, ..own.clone() }.is_surely_dead());
        // The number belongs to another process now.
        assert!(ProcessMark { started: own.started + 1, ..own.clone() }.is_surely_dead());
    }

    #[test]
    fn who_is_elsewhere_may_live() {
        let own = ProcessMark::own().expect("Linux tells");
        assert!(!ProcessMark { boot: "another".to_owned(), pid: i32::MAX, ..own.clone() }.is_surely_dead());
        assert!(!ProcessMark { namespace: "1".to_owned(), pid: i32::MAX, ..own }.is_surely_dead());
        for text in ["", "a/b/c", "a/b/0/1", "a/b/-1/1", "a/b/x/1", "a/b/1/x", "a/b/1/1/1"] {
            assert!(text.parse::<ProcessMark>().is_err(), "{text}");
        }
    }
}
