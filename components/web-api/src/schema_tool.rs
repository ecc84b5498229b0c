//! `ringdown-web-api schema [--down-to VERSION]`: where the schema stands, and the way back.
//!
//! Without an option nothing is changed: the exit code says whether this program can work on the database. A replacement of a
//! host asks the new version before anything stops. With `--down-to` migrations are taken back, newest first; programs
//! that need them must not run any more.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use ringdown_env_config::{EXIT_CONFIG, EXIT_USAGE, Reader, Url, shared};
use ringdown_pg_store::{Limits, PgStore};
use ringdown_service::{Clock, Life};

use crate::schema;

/// The sub-command's name.
pub const NAME: &str = "schema";
/// This program cannot work on the database.
const EXIT_UNFIT: u8 = 1;

enum Task {
    Look,
    DownTo(i32),
}

/// Runs the sub-command.
#[must_use]
pub fn run(arguments: &[String]) -> ExitCode {
    let Some(task) = parse(arguments) else {
        return say(EXIT_USAGE, "usage: ringdown-web-api schema [--down-to VERSION], VERSION 1 or higher");
    };
    let url = match Reader::from_process("web-api").load(read) {
        Ok(url) => url,
        Err(faults) => return say(EXIT_CONFIG, &format!("ringdown-web-api: {faults}")),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return say(EXIT_UNFIT, &format!("no runtime: {error}")),
    };
    match runtime.block_on(perform(task, &url)) {
        Ok(line) => say(0, &line),
        Err(error) => say(EXIT_UNFIT, &format!("ringdown-web-api: {error:#}")),
    }
}

fn parse(arguments: &[String]) -> Option<Task> {
    match arguments {
        [] => Some(Task::Look),
        [flag, version] if flag == "--down-to" => {
            version.parse().ok().filter(|version| *version >= 1).map(Task::DownTo)
        }
        _ => None,
    }
}

fn read(env: &mut Reader) -> Option<Url> {
    // The daemon's own variables are known too, so that one environment file serves both.
    let config = crate::config::Config::read(env);
    let _others = (shared::log_level(env), shared::drain_limit(env), shared::drain_file(env), shared::node_name(env));
    Some(config?.postgres)
}

async fn perform(task: Task, postgres: &Url) -> anyhow::Result<String> {
    let life = Life::detached("web-api", Clock::system());
    let store = PgStore::open(&life, postgres, Limits::default())?;
    match task {
        Task::Look => {
            let standing = store.standing(schema::migrations()).await.context("reading the schema")?;
            Ok(format!("schema {}, this program knows {}", standing.applied, standing.known))
        }
        Task::DownTo(version) => {
            let count = store.migrate_down(version).await.context("taking migrations back")?;
            Ok(format!("{count} migrations were taken back; the schema is at version {version}"))
        }
    }
}

fn say(code: u8, line: &str) -> ExitCode {
    let written = if code == 0 { writeln!(std::io::stdout(), "{line}") } else { writeln!(std::io::stderr(), "{line}") };
    // Nobody reads: the code says it.
    drop(written);
    ExitCode::from(code)
}
