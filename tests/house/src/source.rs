//! The files of the checkout.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::{Package, packages};

/// Folders that are made, not written.
const MADE: [&str; 4] = ["target", "node_modules", ".git", "dist"];
/// Endings of files the rules read.
const TEXTS: [&str; 18] = [
    "rs", "toml", "md", "ts", "svelte", "sh", "py", "yml", "yaml", "tf", "conf", "service", "spec", "sql", "env",
    "css", "html", "json",
];

/// A text file of the checkout.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path below the top, with `/`.
    pub path: String,
    /// What it says.
    pub text: String,
}

impl Source {
    /// Whether it is Rust.
    #[must_use]
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// The checkout.
#[derive(Debug)]
pub struct Workspace {
    /// Its folder.
    pub top: PathBuf,
    /// Its packages.
    pub packages: Vec<Package>,
    /// Its text files, sorted.
    pub sources: Vec<Source>,
}

impl Workspace {
    /// Reads it.
    ///
    /// # Errors
    /// When a file or cargo's view of the workspace cannot be read.
    pub fn read() -> anyhow::Result<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let top = here.ancestors().nth(2).context("the house rules lie in tests/house")?.to_owned();
        let packages = packages(&top)?;
        let mut sources = Vec::new();
        collect(&top, &top, &mut sources)?;
        sources.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(Self { top, packages, sources })
    }

    /// The text at a path below the top, if there is one.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.top.join(path)).ok()
    }

    /// Writes a text at a path below the top, making its folder.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &str, text: &str) -> anyhow::Result<()> {
        let path = self.top.join(path);
        let folder = path.parent().context("a file lies in a folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// A binary of the workspace, built in this test's profile.
    ///
    /// # Errors
    /// When it is not built.
    pub fn binary(&self, name: &str) -> anyhow::Result<PathBuf> {
        let test = std::env::current_exe().context("finding the test's own program")?;
        // target/<profile>/deps/<test>: binaries are two levels up.
        let profile = test.ancestors().nth(2).context("a test lies in its target folder")?;
        let binary = profile.join(name);
        anyhow::ensure!(binary.is_file(), "{name} is not built; build it first: cargo build --bin {name}");
        Ok(binary)
    }
}

fn collect(top: &Path, folder: &Path, sources: &mut Vec<Source>) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("reading {}", folder.display()))?;
        let path = entry.path();
        let kind = entry.file_type().with_context(|| format!("looking at {}", path.display()))?;
        if kind.is_dir() && !MADE.contains(&entry.file_name().to_string_lossy().as_ref()) {
            collect(top, &path, sources)?;
        } else if kind.is_file() && is_text(&path) {
            let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let inside = path.strip_prefix(top).context("a walk stays below its top")?;
            sources.push(Source { path: inside.to_string_lossy().into_owned(), text });
        }
    }
    Ok(())
}

/// By its ending; a file without one that starts with `#!` is a script.
fn is_text(path: &Path) -> bool {
    match path.extension() {
        Some(ending) => TEXTS.iter().any(|text| ending == *text),
        None => std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"#!")),
    }
}
