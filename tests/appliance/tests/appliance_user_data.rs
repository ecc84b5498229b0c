//! `appliance-user-data`: what cloud-init gets is what the templates make, is valid, and tells no secret.
//!
//! The module `terraform` needs that program (1.9 or newer, no provider); the rest needs the hosts' root only.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use ringdown_appliance::fleet::{self, checkout};

/// The keys we mean. cloud-init's own check passes unknown ones in silence.
const KEYS: [&str; 3] = ["locale", "ssh_authorized_keys", "write_files"];
const LIMIT: Duration = Duration::from_secs(120);

fn ran(command: Command) -> anyhow::Result<String> {
    let shown = format!("{command:?}");
    fleet::run(command, None, LIMIT)?.success().context(shown)
}

/// The user-data in a folder, by name.
fn files(folder: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "yaml") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.push((name, std::fs::read_to_string(&path)?));
        }
    }
    files.sort();
    ensure!(files.len() > 5, "there is user-data in {}", folder.display());
    Ok(files)
}

/// What cloud-init of the hosts' root says of a folder of user-data; its own mount namespace leaves the root as it is.
fn schema(folder: &Path) -> anyhow::Result<String> {
    let root = fleet::cached_root()?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-euc"]);
    command.arg(
        "mount --bind \"$1\" \"$2/mnt\"
         for file in \"$1\"/*.yaml; do chroot \"$2\" cloud-init schema --config-file \"/mnt/$(basename \"$file\")\" 2>&1; done",
    );
    command.arg("schema").arg(folder).arg(root);
    ran(command)
}

fn top_level_keys(text: &str) -> BTreeSet<&str> {
    let plain =
        |line: &&str| line.starts_with(|first: char| first.is_ascii_alphabetic() || first == '"' || first == '\'');
    text.lines().filter(plain).map(|line| line.split(':').next().unwrap_or(line)).collect()
}

#[test]
fn the_user_data_is_valid() -> anyhow::Result<()> {
    let folder = checkout().join("cloud-init");
    let said = schema(&folder)?;
    for (name, text) in files(&folder)? {
        assert!(said.contains(&format!("Valid cloud-config: /mnt/{name}")), "{name}: {said}");
        assert!(text.starts_with("#cloud-config\n"), "{name}");
        let unknown: Vec<_> = top_level_keys(&text).into_iter().filter(|key| !KEYS.contains(key)).collect();
        assert!(unknown.is_empty(), "{name} has keys that are not meant: {unknown:?}");
        assert!(text.len() <= 16_384, "{name} is larger than every cloud takes");
    }
    Ok(())
}

#[test]
fn wrong_user_data_is_found() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("wrong.yaml"), "#cloud-config\nwrite_files:\n- pth: /etc/x\n")?;
    assert!(schema(folder.path()).is_err(), "a misspelled key in a known list");
    assert_eq!(top_level_keys("#cloud-config\nlocale: C\nruncmds:\n- id\n"), BTreeSet::from(["locale", "runcmds"]));
    Ok(())
}

#[test]
fn the_user_data_names_what_the_installer_knows() -> anyhow::Result<()> {
    let variables = std::fs::read_to_string(checkout().join("provisioning/first_boot/variables.txt"))?;
    let mut known: BTreeSet<String> =
        variables.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    for folder in std::fs::read_dir(checkout().join("packaging"))? {
        let folder = folder?.path();
        for file in std::fs::read_dir(&folder).into_iter().flatten() {
            let text = std::fs::read_to_string(file?.path()).unwrap_or_default();
            let names = text.lines().filter_map(|line| line.strip_prefix('#')?.split_once('=').map(|(name, _)| name));
            known.extend(names.map(str::to_owned));
        }
    }
    for (file, text) in files(&checkout().join("cloud-init"))? {
        let names = text.lines().filter_map(|line| line.trim().split_once('=').map(|(name, _)| name));
        for name in names.filter(|name| name.contains("RINGDOWN_")) {
            assert!(known.contains(name), "{file}: first boot does not know {name}");
            assert!(!["PASSWORD", "TOKEN", "NONCE"].iter().any(|secret| name.contains(secret)), "{file}: {name}");
        }
    }
    Ok(())
}

/// What needs Terraform.
mod terraform {
    use super::*;

    fn terraform(folder: &Path, arguments: &[&str]) -> anyhow::Result<String> {
        let settings = folder.join("none.rc");
        std::fs::write(&settings, "")?;
        let mut command = Command::new("terraform");
        command.args(arguments).current_dir(folder);
        command.env("TF_CLI_CONFIG_FILE", settings).env("CHECKPOINT_DISABLE", "1").env("TF_IN_AUTOMATION", "1");
        ran(command)
    }

    fn copied(folder: &Path) -> anyhow::Result<PathBuf> {
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(checkout().join("terraform")).arg(folder);
        ran(copy)?;
        Ok(folder.join("terraform"))
    }

    #[test]
    fn the_committed_user_data_is_what_the_templates_make() -> anyhow::Result<()> {
        let made = tempfile::tempdir()?;
        let mut render = Command::new(checkout().join("cloud-init/render"));
        render.arg(made.path());
        ran(render)?;
        let (committed, made) = (files(&checkout().join("cloud-init"))?, files(made.path())?);
        for ((name, text), (made_name, made_text)) in committed.iter().zip(&made) {
            assert_eq!((name, text), (made_name, made_text), "run cloud-init/render");
        }
        assert_eq!(committed.len(), made.len(), "run cloud-init/render");
        Ok(())
    }

    #[test]
    fn the_module_refuses_what_is_wrong() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let module = copied(folder.path())?.join("modules/user-data");
        terraform(&module, &["init", "-no-color", "-input=false"])?;
        let said = terraform(&module, &["test", "-no-color"])?;
        assert!(said.contains("Success!") && said.contains(" 0 failed"), "{said}");
        Ok(())
    }

    #[test]
    fn everything_is_formatted() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let said = terraform(&copied(folder.path())?, &["fmt", "-check", "-recursive"])?;
        assert_eq!(said, "", "run terraform fmt");
        Ok(())
    }
}
