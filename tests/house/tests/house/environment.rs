//! Environment variables: the table in each daemon's README and its packaged file are what the daemon itself says.
//!
//! `RINGDOWN_HOUSE_MEND=1 cargo nextest run -p ringdown-house` writes both anew.

use std::process::Command;

use ringdown_house::{Package, Place, Workspace, nothing_found};

const BEGIN: &str = "<!-- env-table -->\n";
const END: &str = "<!-- /env-table -->";

fn daemons(workspace: &Workspace) -> Vec<(String, &Package)> {
    let components = workspace.packages.iter().filter(|package| package.place == Place::Component);
    // The operator's tool is no daemon.
    components.filter_map(|package| Some((package.component()?, package))).filter(|(name, _)| name != "cli").collect()
}

fn ask(workspace: &Workspace, component: &str, flag: &str) -> anyhow::Result<String> {
    let binary = workspace.binary(&format!("ringdown-{component}"))?;
    let output = Command::new(binary).arg(flag).env_clear().output()?;
    let text = String::from_utf8(output.stdout)?;
    anyhow::ensure!(output.status.success() && !text.is_empty(), "ringdown-{component} does not answer {flag}");
    Ok(text)
}

/// Compares, or mends.
fn agree(workspace: &Workspace, path: &str, wanted: &str, findings: &mut Vec<String>) {
    if workspace.text(path).as_deref() == Some(wanted) {
        return;
    }
    match std::env::var_os("RINGDOWN_HOUSE_MEND") {
        Some(_) => workspace.write(path, wanted).expect("the checkout can be written"),
        None => findings.push(format!("{path} is out of step with its daemon (RINGDOWN_HOUSE_MEND=1 mends it)")),
    }
}

#[test]
fn readme_tables_are_what_the_daemons_say() {
    let workspace = Workspace::read().unwrap();
    let mut findings = Vec::new();
    for (component, _) in daemons(&workspace) {
        let path = format!("components/{component}/README.md");
        let text = workspace.text(&path).unwrap_or_default();
        let Some((before, rest)) = text.split_once(BEGIN) else {
            findings.push(format!("{path} has no line {}", BEGIN.trim()));
            continue;
        };
        let Some((_, after)) = rest.split_once(END) else {
            findings.push(format!("{path} has no line {END}"));
            continue;
        };
        match ask(&workspace, &component, "--env-table") {
            Ok(table) => agree(&workspace, &path, &format!("{before}{BEGIN}{table}{END}{after}"), &mut findings),
            Err(error) => findings.push(error.to_string()),
        }
    }
    nothing_found("the table of variables in a README is generated", &findings);
}

#[test]
fn packaged_files_are_what_the_daemons_print() {
    let workspace = Workspace::read().unwrap();
    let mut findings = Vec::new();
    for (component, _) in daemons(&workspace) {
        match ask(&workspace, &component, "--print-env") {
            Ok(text) => {
                agree(&workspace, &format!("packaging/{component}/ringdown-{component}.env"), &text, &mut findings);
            }
            Err(error) => findings.push(error.to_string()),
        }
    }
    nothing_found("a packaged environment file is generated", &findings);
}

#[test]
fn every_variable_has_the_product_prefix() {
    let workspace = Workspace::read().unwrap();
    let mut findings = Vec::new();
    for (component, _) in daemons(&workspace) {
        let table = ask(&workspace, &component, "--env-table").unwrap_or_default();
        let names = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        findings.extend(names.filter(|name| !name.starts_with("RINGDOWN_")).map(|name| format!("{component}: {name}")));
    }
    nothing_found("variables begin with RINGDOWN_", &findings);
}
