//! A script of the console's suites: a browser driven from Node, and what it asks for outside of the browser.

#![expect(clippy::print_stdout, reason = "figures, and where the screenshots are, belong into the suite's output")]

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use ringdown_test_support::Folder;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::call_centre::{CARRIER, CallCentre, PATIENCE, text};
use crate::phone::{Manner, Phone};
use crate::voice::wav;

/// The tone of the browsers' microphones.
pub const BROWSER_HZ: f64 = 600.0;
/// The tone of callers.
pub const CALLER_HZ: f64 = 1_000.0;
/// The password of everybody who signs in.
pub const PASSWORD: &str = "correct horse battery";
/// A whole script may not take longer.
const LIMIT: Duration = Duration::from_secs(150);

/// A user with an agent; the agent's id.
///
/// # Errors
/// The API refuses it.
pub async fn employ(centre: &CallCentre, name: &str, role: &str, skills: Value) -> anyhow::Result<String> {
    let agent = centre.post(&centre.of_tenant("agents"), json!({ "name": name, "skills": skills })).await?;
    let agent = text(&agent, "id")?;
    let login = name.split(' ').next().unwrap_or_default().to_lowercase();
    let user = json!({ "login": login, "name": name, "password": PASSWORD, "role": role, "tenant": centre.tenant, "agent": agent });
    centre.post("/users", user).await?;
    Ok(agent)
}

/// Plays a script of `tests/suites/console` to its end; prints its figures.
///
/// # Errors
/// The script says what failed, or does not come to an end.
pub async fn play(script: &str, centre: &mut CallCentre) -> anyhow::Result<()> {
    let mut stage = Stage::open(script, centre)?;
    tokio::time::timeout(LIMIT, stage.run(centre)).await.context("the script does not end")?
}

struct Stage {
    _child: Child,
    commands: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    callers: Vec<Phone>,
    _folder: Folder,
}

impl Stage {
    fn open(script: &str, centre: &CallCentre) -> anyhow::Result<Self> {
        let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        let modules = workspace.join("components/console");
        anyhow::ensure!(modules.join("dist/index.html").exists(), "the console is not built: components/console/build");
        let folder = Folder::new("console")?;
        let microphone = folder.join("microphone.wav");
        std::fs::write(&microphone, wav(BROWSER_HZ))?;
        let target = std::env::var("CARGO_TARGET_DIR").map_or_else(|_| workspace.join("target"), PathBuf::from);
        let shots = target.join("screenshots").join(script);
        println!("screenshots are in {}", shots.display());
        let given = json!({
            "url": format!("http://{}", centre.web), "modules": modules, "shots": shots, "password": PASSWORD,
            "microphone": microphone, "hz": BROWSER_HZ, "caller_hz": CALLER_HZ, "tenant": centre.tenant,
            "queue": centre.queue, "carrier": CARRIER, "realm": centre.realm,
        });
        let mut child = Command::new("node")
            .arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("console/{script}.mjs")))
            .arg(given.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let commands = child.stdin.take().context("standard input")?;
        let lines = BufReader::new(child.stdout.take().context("standard output")?).lines();
        Ok(Self { _child: child, commands, lines, callers: Vec::new(), _folder: folder })
    }

    async fn run(&mut self, centre: &mut CallCentre) -> anyhow::Result<()> {
        loop {
            let line = self.lines.next_line().await?.context("the script ended without a word")?;
            let said: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            if let Some(figure) = said["figure"].as_str() {
                println!("{figure}");
            } else if let Some(failed) = said["failed"].as_str() {
                anyhow::bail!("{failed}");
            } else if said["done"] == true {
                return Ok(());
            } else {
                let answer = self.perform(centre, &said).await?;
                self.commands.write_all(format!("{answer}\n").as_bytes()).await?;
            }
        }
    }

    /// What the script asks for.
    async fn perform(&mut self, centre: &mut CallCentre, said: &Value) -> anyhow::Result<Value> {
        match said["ask"].as_str().unwrap_or_default() {
            "call" => self.call(centre, said["number"].as_str().unwrap_or("100")).await,
            "hang_up" => {
                self.caller(said)?.hang_up().await?;
                Ok(json!({}))
            }
            "caller_hears" => {
                let hz = said["hz"].as_f64().context("hz")?;
                Ok(json!({ "yes": self.caller(said)?.hears(hz, PATIENCE).await }))
            }
            "caller_hears_not" => {
                let hz = said["hz"].as_f64().context("hz")?;
                Ok(json!({ "yes": self.silent(said, hz).await? }))
            }
            "kill_registrar" => {
                centre.registrar_daemon.kill9()?;
                Ok(json!({}))
            }
            "start_registrar" => {
                centre.registrar_daemon.restart()?;
                Ok(json!({}))
            }
            "ring_timeout" => {
                let path = centre.of_tenant(&format!("queues/{}", centre.queue));
                centre.patch(&path, json!({ "ring_timeout_ms": said["ms"] })).await
            }
            "get" => centre.get(said["path"].as_str().context("path")?).await,
            "trunk" => {
                centre.wait_for_trunk().await?;
                Ok(json!({}))
            }
            other => anyhow::bail!("the script asks for {other:?}"),
        }
    }

    async fn call(&mut self, centre: &CallCentre, number: &str) -> anyhow::Result<Value> {
        let index = self.callers.len();
        let phone = Phone::new(CARRIER, &format!("493055{index:02}"), CALLER_HZ, Manner::Answer).await?;
        phone.call(number, centre.trunk).await?;
        self.callers.push(phone);
        Ok(json!({ "caller": index }))
    }

    fn caller(&self, said: &Value) -> anyhow::Result<&Phone> {
        let index = said["caller"].as_u64().context("caller")?;
        self.callers.get(usize::try_from(index)?).context("no such caller")
    }

    /// Whether the caller stops hearing a tone.
    async fn silent(&self, said: &Value, hz: f64) -> anyhow::Result<bool> {
        let caller = self.caller(said)?;
        let until = std::time::Instant::now() + PATIENCE;
        while std::time::Instant::now() < until {
            if !caller.hears(hz, Duration::from_millis(300)).await {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
