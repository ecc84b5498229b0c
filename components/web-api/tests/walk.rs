//! The walk-through of the README, as it is printed there, against the real daemons.

mod world;

use std::process::Stdio;

use ringdown_test_support::Folder;
use world::{PASSWORD, World};

#[tokio::test]
async fn the_readme_works_as_printed() {
    let world = World::live().await;
    let readme = include_str!("../README.md");
    let (_, rest) = readme.split_once("<!-- walk -->\n```sh\n").expect("the walk begins");
    let (script, _) = rest.split_once("```\n<!-- /walk -->").expect("the walk ends");
    let folder = Folder::new("walk").expect("a folder");
    let password = folder.join("password");
    std::fs::write(&password, PASSWORD).expect("a file");
    let output = tokio::process::Command::new("bash")
        .args(["-e", "-u", "-o", "pipefail", "-c", script])
        .env("RINGDOWN_WEB_API_URL", format!("http://{}", world.api.admin()))
        .env("RINGDOWN_ADMIN_PASSWORD_FILE", &password)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("bash runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    for shown in ["\"kind\":\"connected\"", "\"reason\":\"completed\"", "\"decision\":", "\"open\":false"] {
        assert!(text.contains(shown), "{shown} is missing in:\n{text}\n{errors}");
    }
}
