//! Dependencies point one way.

use ringdown_house::{Package, Place, Workspace, nothing_found};

/// What a core must not know: runtimes, clients, clocks, randomness, logs, the environment.
const NOT_IN_A_CORE: [&str; 24] = [
    "anyhow",
    "axum",
    "bb8",
    "bb8-postgres",
    "bb8-redis",
    "env_logger",
    "futures-util",
    "getrandom",
    "hyper",
    "hyper-util",
    "indicatif",
    "jiff",
    "log",
    "nix",
    "prometheus-client",
    "redis",
    "refinery",
    "reqwest",
    "sd-notify",
    "tempfile",
    "tokio",
    "tokio-postgres",
    "tokio-tungstenite",
    "tokio-util",
];
/// The libraries a core may know.
const PURE_LIBRARIES: [&str; 3] = ["ringdown-domain", "ringdown-events", "ringdown-live-views"];

fn check(rule: &str, find: impl Fn(&Workspace, &Package) -> Vec<String>) {
    let workspace = Workspace::read().expect("the checkout can be read");
    let findings: Vec<_> = workspace.packages.iter().flat_map(|package| find(&workspace, package)).collect();
    nothing_found(rule, &findings);
}

fn place(workspace: &Workspace, name: &str) -> Option<Place> {
    workspace.packages.iter().find(|package| package.name == name).map(|package| package.place)
}

#[test]
fn a_core_knows_no_runtime_client_clock_or_environment() {
    check("a core depends on no runtime, client library, clock or environment", |_, package| {
        if package.place != Place::Core {
            return Vec::new();
        }
        let bad = package.linked().filter(|name| NOT_IN_A_CORE.contains(name));
        bad.map(|name| format!("{} depends on {name}", package.name)).collect()
    });
}

#[test]
fn a_core_knows_only_the_pure_libraries_of_ours() {
    check("a core depends on lib/domain, lib/events and lib/live-views only", |_, package| {
        if package.place != Place::Core {
            return Vec::new();
        }
        let bad = package.linked().filter(|name| name.starts_with("ringdown-") && !PURE_LIBRARIES.contains(name));
        bad.map(|name| format!("{} depends on {name}", package.name)).collect()
    });
}

#[test]
fn a_component_links_its_own_core_and_libraries_only() {
    check("components meet on the wire only", |workspace, package| {
        if package.place != Place::Component {
            return Vec::new();
        }
        let own = format!("{}-", package.name);
        let bad = package.linked().filter(|name| match place(workspace, name) {
            Some(Place::Core) => !name.starts_with(&own),
            Some(Place::Component | Place::Tests) => true,
            Some(Place::Library) | None => false,
        });
        bad.map(|name| format!("{} links {name}", package.name)).collect()
    });
}

#[test]
fn a_library_links_libraries_only() {
    check("a library knows no component", |workspace, package| {
        if package.place != Place::Library {
            return Vec::new();
        }
        let bad = package.linked().filter(|name| place(workspace, name).is_some_and(|place| place != Place::Library));
        bad.map(|name| format!("{} links {name}", package.name)).collect()
    });
}

#[test]
fn test_support_is_for_tests_only() {
    check("test-support is a development dependency", |_, package| {
        let shipped = matches!(package.place, Place::Component | Place::Core | Place::Library);
        let bad = package.linked().filter(|name| shipped && *name == "ringdown-test-support");
        bad.map(|name| format!("{} links {name}", package.name)).collect()
    });
}

#[test]
fn domain_knows_nothing_but_serde() {
    check("lib/domain and lib/events stay small", |_, package| {
        let allowed: &[&str] = match package.name.as_str() {
            "ringdown-domain" => &["serde", "uuid", "thiserror"],
            "ringdown-events" => &["ringdown-domain", "serde"],
            _ => return Vec::new(),
        };
        package
            .linked()
            .filter(|name| !allowed.contains(name))
            .map(|name| format!("{} depends on {name}", package.name))
            .collect()
    });
}
