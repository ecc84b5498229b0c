//! Where files are kept, from the environment.

use std::path::PathBuf;

use ringdown_env_config::Reader;

/// Where files are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A folder of this host, or one that several hosts mount.
    pub folder: PathBuf,
}

/// Reads the variable; faults are collected in `env`.
pub fn read(env: &mut Reader) -> Option<Settings> {
    let folder = env
        .parsed("RINGDOWN_OBJECT_STORE", "a folder, as file:///var/lib/ringdown/objects", parse)
        .default("file:///var/lib/ringdown/objects")
        .about("Where recordings are kept: a folder, which the daemons that write and read them share.")
        .read();
    Some(Settings { folder: folder? })
}

fn parse(text: &str) -> Result<PathBuf, String> {
    let folder = text.strip_prefix("file://").map(PathBuf::from);
    folder.filter(|folder| folder.is_absolute()).ok_or_else(|| "is no absolute folder after file://".to_owned())
}
