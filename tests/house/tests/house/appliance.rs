//! The appliance: what every component ships beside its program. `packaging/manifest.toml` is the one list;
//! `terraform/modules/user-data/components.json` is made from it and is read here, as it names every component a host can have.

use anyhow::Context;
use ringdown_house::{Place, Workspace, nothing_found};
use serde_json::Value;

const COMPONENTS: &str = "terraform/modules/user-data/components.json";

fn components(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let all: Value = serde_json::from_str(&workspace.text(COMPONENTS).context("the list is there")?)?;
    Ok(all.as_object().context("it is a table")?.keys().cloned().collect())
}

#[test]
fn every_daemon_is_packaged() {
    let workspace = Workspace::read().unwrap();
    let known = components(&workspace).unwrap();
    let mut findings = Vec::new();
    for package in workspace.packages.iter().filter(|package| package.place == Place::Component) {
        let name = package.name.trim_start_matches("ringdown-");
        // The operator's tool is no daemon.
        if name != "cli" && !known.iter().any(|component| component == name) {
            findings.push(format!("{name} is not in packaging/manifest.toml"));
        }
    }
    nothing_found("every daemon is in the one list of what is packaged", &findings);
}

#[test]
fn every_daemon_has_an_image() {
    let workspace = Workspace::read().unwrap();
    let mut findings = Vec::new();
    for package in workspace.packages.iter().filter(|package| package.place == Place::Component) {
        let name = package.name.trim_start_matches("ringdown-");
        for file in ["Containerfile".to_owned(), format!("ringdown-{name}.container")] {
            let path = format!("packaging/{name}/{file}");
            if name != "cli" && workspace.text(&path).is_none() {
                findings.push(format!("{name} has no {path}"));
            }
        }
    }
    nothing_found("a daemon ships its image and its quadlet (uid in packaging/manifest.toml)", &findings);
}

#[test]
fn every_component_has_a_role_and_user_data() {
    let workspace = Workspace::read().unwrap();
    let mut findings = Vec::new();
    for name in components(&workspace).unwrap() {
        let role = name.replace('-', "_");
        for path in [format!("cloud-init/{name}.yaml"), format!("provisioning/ansible/roles/{role}/tasks/main.yml")] {
            if workspace.text(&path).is_none() {
                findings.push(format!("{name} has no {path}"));
            }
        }
    }
    nothing_found("a component ships its role and its user-data (cloud-init/render)", &findings);
}

#[test]
fn no_user_data_is_left_of_what_is_gone() {
    let workspace = Workspace::read().unwrap();
    let mut known = components(&workspace).unwrap();
    known.push("all".to_owned());
    let findings: Vec<_> = std::fs::read_dir(workspace.top.join("cloud-init"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|file| file.strip_suffix(".yaml").is_some_and(|name| !known.iter().any(|known| known == name)))
        .collect();
    nothing_found("these are of no component", &findings);
}
