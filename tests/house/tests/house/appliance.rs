//! The appliance: what every component ships beside its program. `packaging/manifest.toml` is the one list;
//! `terraform/modules/user-data/components.json` is made from it and is read here, as it names every component a host can have.

use std::process::Command;

use anyhow::Context;
use ringdown_house::{Place, Workspace, nothing_found};
use serde_json::Value;

const COMPONENTS: &str = "terraform/modules/user-data/components.json";

fn components(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let all: Value = serde_json::from_str(&workspace.text(COMPONENTS).context("the list is there")?)?;
    Ok(all.as_object().context("it is a table")?.keys().cloned().collect())
}

/// What `packaging/generate` says, by the manifest as it is now.
fn generate(workspace: &Workspace, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(workspace.top.join("packaging/generate")).args(arguments).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?)
}

/// Daemons of the workspace, by the names of their components. The operator's tool is no daemon.
fn daemons(workspace: &Workspace) -> Vec<String> {
    let components = workspace.packages.iter().filter(|package| package.place == Place::Component);
    components.filter_map(ringdown_house::Package::component).filter(|name| name != "cli").collect()
}

#[test]
fn every_daemon_is_packaged() {
    let workspace = Workspace::read().unwrap();
    let (known, packages) = (components(&workspace).unwrap(), generate(&workspace, &["names"]).unwrap());
    let mut findings = Vec::new();
    for name in daemons(&workspace) {
        if !packages.lines().any(|package| package == format!("ringdown-{name}")) {
            findings.push(format!("{name} is not in packaging/manifest.toml"));
        }
        if !known.contains(&name) {
            findings.push(format!("{name} is not in {COMPONENTS} (packaging/generate makes it)"));
        }
    }
    nothing_found("every daemon is in the one list of what is packaged", &findings);
}

#[test]
fn nothing_is_packaged_that_is_gone() {
    let workspace = Workspace::read().unwrap();
    let mut known = daemons(&workspace);
    known.extend(["base".to_owned(), "asterisk".to_owned()]);
    let packages = generate(&workspace, &["names"]).unwrap();
    let packages = packages.lines().filter_map(|package| package.strip_prefix("ringdown-"));
    let findings: Vec<_> =
        packages.filter(|name| !known.iter().any(|known| known == name)).map(str::to_owned).collect();
    nothing_found("these packages are of no component of the workspace", &findings);
}

#[test]
fn what_is_made_of_the_manifest_is_in_step() {
    let workspace = Workspace::read().unwrap();
    let findings: Vec<_> = generate(&workspace, &["--check"]).err().iter().map(ToString::to_string).collect();
    nothing_found("files made of packaging/manifest.toml are as packaging/generate makes them", &findings);
}

/// What a daemon ships: files, and the places where it is named.
fn shipped(name: &str) -> (Vec<String>, Vec<(&'static str, String)>) {
    let package = format!("ringdown-{name}");
    let role = name.replace('-', "_");
    let files = vec![
        format!("packaging/{name}/{package}.service"),
        format!("packaging/{name}/{package}.env"),
        format!("packaging/{name}/{package}.sysusers"),
        format!("packaging/{name}/{package}.tmpfiles"),
        format!("packaging/{name}/{package}.container"),
        format!("packaging/{name}/Containerfile"),
        format!("provisioning/ansible/roles/{role}/tasks/main.yml"),
        format!("provisioning/ansible/roles/{role}/meta/main.yml"),
        format!("cloud-init/{name}.yaml"),
        format!("components/{name}/README.md"),
    ];
    let places = vec![
        ("packaging/ringdown.spec", format!("\n%package {name}\n")),
        ("packaging/ringdown.spec", format!("\n%files {name}\n")),
        ("packaging/ringdown.spec", format!("\nRequires: {package} = ")),
        ("packaging/README.md", format!("`{package}`")),
        ("provisioning/ansible/site.yml", format!("\n  hosts: {role}\n")),
        ("provisioning/ansible/roles/base/vars/main.yml", format!("\n  {role}: [{package}]")),
    ];
    (files, places)
}

#[test]
fn every_daemon_ships_all_its_files() {
    let workspace = Workspace::read().unwrap();
    let mut findings = Vec::new();
    for name in daemons(&workspace) {
        let (files, places) = shipped(&name);
        let missing = files.iter().filter(|path| workspace.text(path).is_none_or(|text| text.trim().is_empty()));
        findings.extend(missing.map(|path| format!("{name} has no {path}")));
        for (path, word) in places {
            if !workspace.text(path).unwrap_or_default().contains(&word) {
                findings.push(format!("{name}: {path} has no {:?}", word.trim()));
            }
        }
        if let Err(error) = generate(&workspace, &["control", &format!("ringdown-{name}"), "1.2.3-1", "2.34", "amd64"])
        {
            findings.push(format!("{name} makes no Debian package: {error}"));
        }
    }
    nothing_found("a daemon ships its unit, users, folders, packages, image, role, user-data and pages", &findings);
}

/// What every daemon's unit promises; `systemd-analyze security` counts the rest on a booted host (appliance-packages).
const PROMISES: [&str; 9] = [
    "Type=notify",
    "WatchdogSec=10",
    "Restart=always",
    "RestartPreventExitStatus=78",
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "CapabilityBoundingSet=",
    "PartOf=ringdown.target",
    "WantedBy=ringdown.target",
];

#[test]
fn every_unit_keeps_the_house_promises() {
    let workspace = Workspace::read().unwrap();
    let mut findings = Vec::new();
    for name in daemons(&workspace) {
        let unit = workspace.text(&format!("packaging/{name}/ringdown-{name}.service")).unwrap_or_default();
        let own = [
            format!("ExecStart=/usr/bin/ringdown-{name}"),
            format!("User=ringdown-{name}"),
            format!("LoadCredential=RINGDOWN:/etc/ringdown/credentials/{name}"),
        ];
        let promised = PROMISES.into_iter().map(str::to_owned).chain(own);
        let broken = promised.filter(|line| !unit.lines().any(|there| there == line));
        findings.extend(broken.map(|line| format!("{name}: {line}")));
    }
    nothing_found("these lines are missing in a daemon's unit", &findings);
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
