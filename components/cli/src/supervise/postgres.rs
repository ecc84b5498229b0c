//! The installation's own PostgreSQL: a cluster in its folder, run as the user `postgres` when we are root.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use nix::unistd::{User, chown, geteuid};
use tokio::process::Command;

use crate::installation::{Installation, PortName, SecretName, write_private};

use super::child::{Child, Stage};

const USER: &str = "postgres";
/// Longest `initdb`; it takes 2 s on an idle disk.
const INIT_LIMIT: Duration = Duration::from_secs(120);
/// Longest wait for one of PostgreSQL's programs.
const TOOL_LIMIT: Duration = Duration::from_secs(20);

/// Makes the cluster when there is none, and describes the server.
pub(super) async fn prepare(installation: &Installation) -> anyhow::Result<Child> {
    let tools = find_tools()?;
    let folder = installation.join("postgres");
    let data = folder.join("data");
    make_folder(&folder)?;
    // initdb makes this file last but one; a killed initdb leaves none and is done again.
    if !data.join("PG_VERSION").exists() || folder.join("initdb.unfinished").exists() {
        make_cluster(&tools, &folder, &data, &installation.secrets().make(SecretName::PostgresPassword)?).await?;
    }
    let port = installation.ports().of(PortName::Postgres).to_string();
    let server = Child::new("postgres", Stage::Store, tools.join("postgres"));
    let settings = [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        // Everybody comes over TCP. A socket's path may have 107 characters at most, and blanks separate folders in this list.
        "unix_socket_directories=".to_owned(),
        // The log goes where everything's goes.
        "log_destination=stderr".to_owned(),
        "logging_collector=off".to_owned(),
        "password_encryption=scram-sha-256".to_owned(),
    ];
    let server = settings.into_iter().fold(server, |server, setting| server.arg("-c").arg(setting));
    // SIGINT is PostgreSQL's fast stop: transactions are ended, not waited for; nothing committed is lost.
    Ok(server.arg("-D").arg(data).user(USER).stop(Signal::SIGINT))
}

/// Whether the server answers.
pub(crate) async fn answers(port: u16) -> bool {
    let Ok(tools) = find_tools() else { return false };
    let mut command = Command::new(tools.join("pg_isready"));
    // Any other user or database is refused, and each refusal is a line in the server's log.
    command.args(["-q", "-h", "127.0.0.1", "-U", "ringdown", "-d", "ringdown", "-t", "2", "-p"]).arg(port.to_string());
    matches!(command.status().await, Ok(status) if status.success())
}

fn make_folder(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    give_to_server(folder)
}

/// The server has a user of its own when we are root.
fn give_to_server(path: &Path) -> anyhow::Result<()> {
    let Some(user) = server_user()? else { return Ok(()) };
    chown(path, Some(user.uid), Some(user.gid))
        .with_context(|| format!("giving {} to the user postgres", path.display()))
}

/// The server's own user; none when we are not root and it runs as we do.
fn server_user() -> anyhow::Result<Option<User>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let user = User::from_name(USER).context("looking up the user postgres")?;
    user.context("there is no user postgres; install the server: apt-get install postgresql").map(Some)
}

/// Whether PostgreSQL could work in a folder that may not exist yet: its user must be able to enter every folder above.
///
/// # Errors
/// Naming the folder that is closed to it, and what to do.
pub(crate) fn check_folder(folder: &Path) -> anyhow::Result<()> {
    let Some(user) = server_user()? else { return Ok(()) };
    for above in folder.ancestors().filter(|above| above.is_dir()) {
        let about = std::fs::metadata(above).with_context(|| format!("looking at {}", above.display()))?;
        let bit = if about.uid() == user.uid.as_raw() {
            0o100
        } else if about.gid() == user.gid.as_raw() {
            0o010
        } else {
            0o001
        };
        if about.mode() & bit == 0 {
            bail!(
                "the user postgres cannot enter {0}; allow it (chmod o+x {0}) or name another folder with --data",
                above.display()
            );
        }
    }
    Ok(())
}

/// The superuser is `ringdown`: the cluster is ours alone.
async fn make_cluster(tools: &Path, folder: &Path, data: &Path, password: &str) -> anyhow::Result<()> {
    let mark = folder.join("initdb.unfinished");
    std::fs::write(&mark, b"").context("marking the cluster as unfinished")?;
    if data.exists() {
        std::fs::remove_dir_all(data).context("removing an unfinished cluster")?;
    }
    let mut command = as_postgres(tools.join("initdb"));
    command.args(["--username=ringdown", "--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256"]);
    // Not in the arguments, which everybody on the host sees.
    let file = folder.join("initdb.password");
    write_private(&file, password.as_bytes())?;
    give_to_server(&file)?;
    command.arg("--pwfile").arg(&file).arg("-D").arg(data).stdin(Stdio::null());
    let made = run(command, INIT_LIMIT).await;
    std::fs::remove_file(&file).context("removing the password file")?;
    made.context("making PostgreSQL's cluster")?;
    std::fs::remove_file(&mark).context("marking the cluster as finished")
}

/// Makes the database when there is none.
pub(crate) async fn make_database(installation: &Installation) -> anyhow::Result<()> {
    let password = installation.secrets().make(SecretName::PostgresPassword)?;
    let psql = |database: &str, statement: &str| {
        let mut command = Command::new("psql");
        let port = installation.ports().of(PortName::Postgres).to_string();
        command.args([
            "-X",
            "-q",
            "-t",
            "-A",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
            "-U",
            "ringdown",
            "-p",
            &port,
        ]);
        command.args(["-d", database, "-c", statement]).env("PGPASSWORD", &password).stdin(Stdio::null());
        command
    };
    let there = psql("postgres", "SELECT 1 FROM pg_database WHERE datname = 'ringdown'");
    if run(there, TOOL_LIMIT).await?.trim() == "1" {
        return Ok(());
    }
    run(psql("postgres", "CREATE DATABASE ringdown"), TOOL_LIMIT).await.map(drop)
}

fn as_postgres(program: PathBuf) -> Command {
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--init-groups", "--"]).arg(program);
    // The user postgres may not be allowed into the caller's folder.
    command.current_dir("/");
    command
}

async fn run(mut command: Command, limit: Duration) -> anyhow::Result<String> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = tokio::time::timeout(limit, command.output()).await;
    let output = output.with_context(|| format!("it took longer than {limit:?}"))?.context("waiting for it")?;
    if !output.status.success() {
        bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Debian's newest, else what is in PATH.
fn find_tools() -> anyhow::Result<PathBuf> {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let versions = debian.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let with_server = versions.map(|version| (version, PathBuf::from(format!("/usr/lib/postgresql/{version}/bin"))));
    if let Some((_, tools)) = with_server.filter(|(_, tools)| tools.join("initdb").is_file()).max() {
        return Ok(tools);
    }
    let initdb = super::find_program("initdb", "postgresql")?;
    initdb.parent().map(Path::to_owned).context("a program lies in a folder")
}
