//! Manifests: versions in one table, lints inherited by every crate.

use ringdown_house::{Workspace, nothing_found};

#[test]
fn versions_stand_in_the_workspace_table_only() {
    let workspace = Workspace::read().unwrap();
    let mut findings = Vec::new();
    for package in &workspace.packages {
        let path = package.folder.join("Cargo.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut in_dependencies = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                in_dependencies = line.contains("dependencies");
            } else if in_dependencies
                && !line.is_empty()
                && !line.starts_with('#')
                && !line.contains("workspace = true")
            {
                findings.push(format!("{}: {line}", package.name));
            }
        }
    }
    nothing_found("a dependency takes its version from the workspace's table (name.workspace = true)", &findings);
}

#[test]
fn every_crate_inherits_the_lints() {
    let workspace = Workspace::read().unwrap();
    let mut findings = Vec::new();
    for package in &workspace.packages {
        let text = std::fs::read_to_string(package.folder.join("Cargo.toml")).unwrap();
        if !text.contains("[lints]\nworkspace = true") {
            findings.push(package.name.clone());
        }
        if !text.contains("license.workspace = true") {
            findings.push(format!("{} (licence)", package.name));
        }
    }
    nothing_found("every crate inherits the workspace's lints and licence", &findings);
}
