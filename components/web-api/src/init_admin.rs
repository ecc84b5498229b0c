//! `ringdown-web-api init-admin [--login NAME]`: the first administrator, made by first boot.
//!
//! The password comes from `RINGDOWN_ADMIN_PASSWORD_FILE` (or the variable without `_FILE`) and is never printed. When the
//! installation has an administrator already, nothing is done, so running it again is safe.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use ringdown_domain::UserId;
use ringdown_env_config::{EXIT_CONFIG, EXIT_USAGE, Reader, Secret, Url, shared};
use ringdown_pg_store::{Isolation, Limits, PgStore};
use ringdown_service::{Clock, Life};

use crate::auth::password::Passwords;
use crate::resources::fields::{Login, NewPassword};
use crate::schema;

/// The sub-command's name.
pub const NAME: &str = "init-admin";

struct Settings {
    postgres: Url,
    password: NewPassword,
}

/// Runs the sub-command.
#[must_use]
pub fn run(arguments: &[String]) -> ExitCode {
    let Some(login) = parse(arguments) else {
        return say(
            EXIT_USAGE,
            "usage: ringdown-web-api init-admin [--login NAME], NAME of 1 to 64 of a-z 0-9 . _ @ + -",
        );
    };
    let settings = match Reader::from_process("web-api").load(read) {
        Ok(settings) => settings,
        Err(faults) => return say(EXIT_CONFIG, &format!("ringdown-web-api: {faults}")),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return say(1, &format!("no runtime: {error}")),
    };
    match runtime.block_on(create(&login, settings)) {
        Ok(line) => say(0, &line),
        Err(error) => say(1, &format!("ringdown-web-api: {error:#}")),
    }
}

fn parse(arguments: &[String]) -> Option<Login> {
    match arguments {
        [] => Login::try_from("admin".to_owned()).ok(),
        [flag, login] if flag == "--login" => Login::try_from(login.clone()).ok(),
        _ => None,
    }
}

fn read(env: &mut Reader) -> Option<Settings> {
    // The daemon's own variables are known too, so that one environment file serves both.
    let config = crate::config::Config::read(env);
    // So are those every daemon has.
    let _others = (shared::log_level(env), shared::drain_limit(env), shared::drain_file(env), shared::node_name(env));
    let config = config?;
    let Some(password) = config.admin_password else {
        env.fault("RINGDOWN_ADMIN_PASSWORD", "is not set; init-admin needs it, best as RINGDOWN_ADMIN_PASSWORD_FILE");
        return None;
    };
    let Ok(password) = NewPassword::try_from(Secret::expose(&password).to_owned()) else {
        env.fault("RINGDOWN_ADMIN_PASSWORD", "must have 10 to 256 printable characters");
        return None;
    };
    Some(Settings { postgres: config.postgres, password })
}

async fn create(login: &Login, settings: Settings) -> anyhow::Result<String> {
    let life = Life::detached("web-api", Clock::system());
    let store = PgStore::open(&life, &settings.postgres, Limits::default())?;
    store.migrate(schema::migrations()).await.context("bringing the schema up to date")?;
    let hash = Passwords::new()?.hash(settings.password.reveal().to_owned()).await?;
    let mut session = store.session("init_admin").await?;
    let mut tx = session.begin(Isolation::ReadCommitted).await?;
    // Two first boots at once: the second one waits here and finds the administrator.
    tx.execute("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE", &[]).await?;
    let sql = "SELECT count(*) FILTER (WHERE role = 'administrator' AND tenant_id IS NULL) AS administrators, \
               count(*) FILTER (WHERE login = $1) AS same_login FROM users";
    let row = tx.query_one(sql, &[&login.as_str()]).await?;
    if row.get::<_, i64>("administrators") > 0 {
        return Ok("an administrator exists already; nothing was changed".to_owned());
    }
    if row.get::<_, i64>("same_login") > 0 {
        bail!("a user of this login exists and is no administrator of the installation; choose another --login");
    }
    let id = life.new_id(UserId::from_parts);
    let sql = "INSERT INTO users (id, login, name, password_hash, role) VALUES ($1, $2, 'Administrator', $3, 'administrator')";
    tx.execute(sql, &[&id.0, &login.as_str(), &hash]).await?;
    tx.commit().await?;
    Ok(format!("the administrator {} was made", login.as_str()))
}

fn say(code: u8, line: &str) -> ExitCode {
    let written = if code == 0 { writeln!(std::io::stdout(), "{line}") } else { writeln!(std::io::stderr(), "{line}") };
    // Nobody reads: the code says it.
    drop(written);
    ExitCode::from(code)
}
