//! Names: no crate or module called for nothing, no word that means several things.

use std::path::Path;

use ringdown_house::{Workspace, nothing_found};

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 9] =
    ["common", "util", "utils", "helper", "helpers", "misc", "shared_utils", "stuff", "tools"];
/// Type names that mean several things in this trade (STYLE, "Words").
const COLLIDING_TYPES: [&str; 6] = ["Contact", "Record", "Transfer", "Dispatch", "Channel", "Dispatcher"];

#[test]
fn nothing_is_called_common_utils_or_helpers() {
    let workspace = Workspace::read().unwrap();
    let mut findings = Vec::new();
    for source in workspace.sources.iter().filter(|source| source.is_rust()) {
        for part in Path::new(&source.path).iter().map(|part| part.to_string_lossy()) {
            let stem = part.trim_end_matches(".rs");
            if EMPTY_NAMES.contains(&stem) {
                findings.push(source.path.clone());
            }
        }
    }
    for package in &workspace.packages {
        if package.name.split('-').any(|word| EMPTY_NAMES.contains(&word)) {
            findings.push(package.name.clone());
        }
    }
    nothing_found("a crate or module is named after what is in it", &findings);
}

#[test]
fn colliding_words_are_not_type_names() {
    let workspace = Workspace::read().unwrap();
    let mut findings = Vec::new();
    for source in workspace.sources.iter().filter(|source| source.is_rust()) {
        for line in source.text.lines().map(str::trim) {
            let declared = line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(crate) ")).unwrap_or(line);
            let mut words = declared.split(|c: char| !c.is_alphanumeric() && c != '_');
            let declares = matches!(words.next(), Some("struct" | "enum" | "trait" | "type"));
            if let Some(name) = words.next().filter(|name| declares && COLLIDING_TYPES.contains(name)) {
                findings.push(format!("{}: {name}", source.path));
            }
        }
    }
    nothing_found("a type has a word of the trade that means one thing", &findings);
}

#[test]
fn functions_have_no_get_in_front() {
    let workspace = Workspace::read().unwrap();
    let mut findings = Vec::new();
    // Handlers of HTTP's GET are named after it.
    let ours = |path: &str| path.starts_with("components/") && !path.starts_with("components/web-api/");
    for source in workspace.sources.iter().filter(|source| source.is_rust() && ours(&source.path)) {
        for line in source.text.lines() {
            if let Some(name) = line.trim_start().strip_prefix("pub fn get_") {
                findings.push(format!("{}: get_{}", source.path, name.split('(').next().unwrap_or_default()));
            }
        }
    }
    nothing_found("a reader is named after what it gives", &findings);
}
