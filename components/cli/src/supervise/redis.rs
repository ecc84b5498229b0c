//! The installation's own Redis: append-only file, written to disk before each answer.

use std::path::Path;

use anyhow::Context;

use crate::installation::{Installation, PortName, SecretName, make_private_folder, write_private};

use super::child::{Child, Stage};
use super::find_program;

/// Writes its configuration (which holds the password, so it is no argument) and describes it.
pub(super) fn prepare(installation: &Installation) -> anyhow::Result<Child> {
    let folder = installation.join("redis");
    make_private_folder(&folder)?;
    let password = installation.secrets().make(SecretName::RedisPassword)?;
    let port = installation.ports().of(PortName::Redis);
    let text = format!(
        "# Written by `ringdown up`; changes are overwritten.\n\
         bind 127.0.0.1\nport {port}\nprotected-mode yes\nrequirepass {password}\n\
         daemonize no\nlogfile \"\"\ndir {folder}\n\
         # Nothing accepted is lost: every write is on disk before its answer.\n\
         appendonly yes\nappendfsync always\nsave \"\"\n\
         # State is never thrown away to make room: a full memory is an error somebody sees.\n\
         maxmemory {memory}kb\nmaxmemory-policy noeviction\ntcp-keepalive 60\n",
        folder = quoted(&folder),
        memory = memory_limit_kb(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default()),
    );
    let file = folder.join("redis.conf");
    write_private(&file, text.as_bytes()).context("Redis' configuration")?;
    Ok(Child::new("redis", Stage::Store, find_program("redis-server", "redis-server")?).arg(file))
}

/// A path as Redis' configuration takes it: in quotes, since blanks end a word there.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Two fifths of the host's memory, 256 MB at least: a rewrite of the append-only file may take as much again, and beyond the
/// limit Redis refuses writes before the host runs out.
fn memory_limit_kb(meminfo: &str) -> u64 {
    let total =
        meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse().ok());
    (total.unwrap_or(0_u64) * 2 / 5).max(256 * 1024)
}

#[cfg(test)]
mod tests {
    use super::memory_limit_kb;

    #[test]
    fn redis_gets_two_fifths_of_the_memory() {
        assert_eq!(memory_limit_kb("MemFree: 1 kB\nMemTotal:       10000000 kB\n"), 4_000_000);
        assert_eq!(memory_limit_kb(""), 262_144);
    }
}
