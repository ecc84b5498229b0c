//! The workspace's packages, from `cargo metadata`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;

/// Where a package stands in the house.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `components/<name>`: a daemon or the operator's tool.
    Component,
    /// `components/<name>/core`, or another folder of a component that decides and does nothing, as `acd/pacing`.
    Core,
    /// `components/lib/<name>`.
    Library,
    /// `tests/<name>`.
    Tests,
}

/// A dependency of a package.
#[derive(Clone, Debug)]
pub struct Dependency {
    /// The package it names.
    pub name: String,
    /// Whether only tests need it.
    pub development: bool,
}

/// A package of the workspace.
#[derive(Clone, Debug)]
pub struct Package {
    /// `ringdown-...`.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Where it stands.
    pub place: Place,
    /// Its binaries.
    pub binaries: Vec<String>,
    /// What it depends on directly.
    pub dependencies: Vec<Dependency>,
}

impl Package {
    /// The folder under `components/` it belongs to.
    #[must_use]
    pub fn component(&self) -> Option<String> {
        let folder = match self.place {
            Place::Component => self.folder.as_path(),
            Place::Core => self.folder.parent()?,
            Place::Library | Place::Tests => return None,
        };
        Some(folder.file_name()?.to_string_lossy().into_owned())
    }

    /// Direct dependencies that are built into it.
    pub fn linked(&self) -> impl Iterator<Item = &str> {
        self.dependencies.iter().filter(|dependency| !dependency.development).map(|dependency| dependency.name.as_str())
    }
}

/// All packages of the workspace at `top`.
///
/// # Errors
/// When cargo cannot say.
pub fn packages(top: &Path) -> anyhow::Result<Vec<Package>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    let output = command
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(top)
        .output()
        .context("running cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).context("reading cargo metadata")?;
    list(&metadata, "packages").iter().map(|package| read(top, package)).collect()
}

fn read(top: &Path, package: &Value) -> anyhow::Result<Package> {
    let name = text(package, "name");
    let manifest = PathBuf::from(text(package, "manifest_path"));
    let folder = manifest.parent().context("a manifest lies in a folder")?.to_owned();
    let inside = folder.strip_prefix(top).with_context(|| format!("{name} lies outside of the workspace"))?;
    let parts: Vec<_> = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let place = match parts.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["components", "lib", _] => Place::Library,
        ["components", _, "core" | "pacing"] => Place::Core,
        ["components", _] => Place::Component,
        ["tests", _] => Place::Tests,
        [..] => anyhow::bail!("{name} lies in {}, which is no place for a crate", inside.display()),
    };
    let is_binary = |target: &&Value| list(target, "kind").iter().any(|kind| kind.as_str() == Some("bin"));
    let binaries = list(package, "targets").iter().filter(is_binary).map(|target| text(target, "name")).collect();
    let dependencies = list(package, "dependencies").iter().map(dependency).collect();
    Ok(Package { name, folder, place, binaries, dependencies })
}

fn dependency(value: &Value) -> Dependency {
    Dependency { name: text(value, "name"), development: value["kind"].as_str() == Some("dev") }
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}
