//! Files: where they stand, how long they are, what must not be in them.

use ringdown_house::{Place, Workspace, nothing_found};

/// What stands at the top, beside dotfiles for tools.
const TOP: [&str; 12] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "cloud-init",
    "components",
    "packaging",
    "provisioning",
    "target",
    "terraform",
    "tests",
];
/// Past this a file usually holds two nouns (STYLE 5); 700 is where to begin to look.
const LINES_MAX: usize = 1_000;

#[test]
fn the_top_level_is_fixed() {
    let workspace = Workspace::read().unwrap();
    let mut findings = Vec::new();
    for entry in std::fs::read_dir(&workspace.top).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && !TOP.contains(&name.as_str()) {
            findings.push(name);
        }
    }
    nothing_found("the visible top level is fixed (components/README.md says where things go)", &findings);
}

#[test]
fn every_component_has_a_page() {
    let workspace = Workspace::read().unwrap();
    let mut findings = Vec::new();
    for package in workspace.packages.iter().filter(|package| package.place == Place::Component) {
        let path = package.folder.join("README.md");
        if std::fs::read_to_string(&path).map_or(0, |text| text.trim().len()) < 200 {
            findings.push(path.display().to_string());
        }
    }
    for path in ["README.md", "CHANGELOG.md", "LICENSE", "components/README.md"] {
        if workspace.text(path).is_none_or(|text| text.trim().is_empty()) {
            findings.push(path.to_owned());
        }
    }
    nothing_found("these pages are missing or empty", &findings);
}

#[test]
fn no_file_holds_two_nouns() {
    let workspace = Workspace::read().unwrap();
    let mut findings = Vec::new();
    for source in workspace.sources.iter().filter(|source| source.is_rust()) {
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            findings.push(format!("{}: {lines} lines", source.path));
        }
    }
    nothing_found("a file past 1,000 lines holds two nouns", &findings);
}

#[test]
fn a_result_that_is_dropped_says_why() {
    let workspace = Workspace::read().unwrap();
    let mut findings = Vec::new();
    for source in workspace.sources.iter().filter(|source| source.is_rust() && source.path.starts_with("components/")) {
        let lines: Vec<_> = source.text.lines().map(str::trim).collect();
        for (number, line) in lines.iter().enumerate() {
            let before = number.checked_sub(1).map_or("", |before| lines[before]);
            if line.starts_with("let _ =") && !before.starts_with("//") {
                findings.push(format!("{}:{}", source.path, number + 1));
            }
        }
    }
    nothing_found("`let _ =` needs its reason on the line above", &findings);
}

#[test]
fn nothing_is_left_for_later() {
    let workspace = Workspace::read().unwrap();
    let mut findings = Vec::new();
    // Put together here, so that this file is not found.
    let words = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X"].concat()];
    for source in &workspace.sources {
        for (number, line) in source.text.lines().enumerate() {
            let mut found =
                line.split(|c: char| !c.is_alphanumeric()).filter(|word| words.iter().any(|bad| bad == word));
            if found.next().is_some() {
                findings.push(format!("{}:{}", source.path, number + 1));
            }
        }
    }
    nothing_found("unfinished work is an issue, not a comment", &findings);
}

#[test]
fn every_file_of_code_says_what_it_is_for() {
    let workspace = Workspace::read().unwrap();
    let mut findings = Vec::new();
    let shipped = |path: &str| path.starts_with("components/") && path.contains("/src/") && !path.contains("tests");
    for source in workspace.sources.iter().filter(|source| source.is_rust() && shipped(&source.path)) {
        if !source.text.starts_with("//!") {
            findings.push(source.path.clone());
        }
    }
    nothing_found("a file begins with what it is for (//!)", &findings);
}
