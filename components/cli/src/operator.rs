//! The first administrator and this host's operator: made when an installation becomes healthy for the first time.

use std::io::IsTerminal;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::api::Api;
use crate::appliance::Appliance;
use crate::installation::{Installation, PortName, SecretName, write_private};
use crate::{output, supervise};

/// Longest `init-admin`: it brings the schema up to date.
const LIMIT: Duration = Duration::from_secs(60);
const ADMIN_PASSWORD: &str = "ADMIN_PASSWORD";
const OPERATOR_TOKEN: &str = "OPERATOR_TOKEN";
/// The file that says that there is an administrator.
const MADE: &str = "run/administrator-made";

/// Makes the first administrator and the operator's token, unless they are there. The password stays in its file until
/// [`announce`] has shown it.
pub(crate) async fn make(installation: &Installation, programs: &Path) -> anyhow::Result<()> {
    let secrets = installation.secrets();
    let mark = installation.join(MADE);
    if !mark.exists() {
        let password = secrets.make(SecretName::AdminPassword)?;
        init_admin(installation, programs).await?;
        if secrets.read(SecretName::OperatorToken)?.is_none() {
            let api = format!("http://{}", installation.ports().loopback(PortName::WebApi));
            let token = make_token(&api, &password, installation.node()).await?;
            secrets.keep(SecretName::OperatorToken, &token)?;
        }
        std::fs::write(&mark, b"").with_context(|| format!("writing {}", mark.display()))?;
    }
    Ok(())
}

/// Who reads what is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Somebody who asked.
    Person,
    /// A log that keeps everything: it must not get the password.
    Log,
}

/// Says the addresses. Shows a person the administrator's password if it was never shown, and forgets it.
pub(crate) fn announce(installation: &Installation, reader: Reader) -> anyhow::Result<()> {
    let secrets = installation.secrets();
    let url = format!("http://{}/api/v1", installation.ports().loopback(PortName::WebApi));
    output::say(format!("API           {url}  (its description: {url}/openapi.json)"));
    let console = installation.ports().loopback(PortName::WebApi);
    output::say(format!(
        "console       http://{console}/ from this host; from others behind TLS (provisioning/README.md)"
    ));
    let port = |name: PortName| installation.ports().of(name);
    output::say(format!(
        "phones        register at {} (UDP and TCP), port {} (TLS); browsers at wss://{}:{}",
        installation.public(PortName::Sip),
        port(PortName::SipTls),
        installation.address(),
        port(PortName::SipWss)
    ));
    output::say(format!("trunks        call {} (UDP)", installation.public(PortName::AsteriskSip)));
    let password = if installation.join(MADE).exists() { secrets.read(SecretName::AdminPassword)? } else { None };
    let Some(password) = password else { return Ok(()) };
    if reader == Reader::Log {
        output::say("administrator admin; `ringdown announce` shows the password, once");
    } else {
        output::say(format!("administrator admin, password {password}   (shown this once; note it now)"));
        secrets.forget(SecretName::AdminPassword)?;
    }
    Ok(())
}

/// As [`announce`], on a host that was set up by packages. Whoever may read the password is a person.
pub(crate) fn announce_appliance(appliance: &Appliance) -> anyhow::Result<()> {
    output::say(format!("API           {}/api/v1  (its description: {0}/api/v1/openapi.json)", appliance.api));
    if appliance.has("haproxy") {
        output::say(format!("console       https://{}/", appliance.address));
    }
    if appliance.has("registrar") {
        output::say(format!("phones        register at {} (UDP and TCP)", appliance.registrar()?));
    }
    if appliance.has("asterisk") {
        output::say(format!("trunks        call {} (UDP)", appliance.trunk()?));
    }
    let Some(password) = appliance.secret(ADMIN_PASSWORD)? else { return Ok(()) };
    if !std::io::stdout().is_terminal() {
        output::say("administrator admin; `ringdown announce` at a terminal shows the password, once");
        return Ok(());
    }
    output::say(format!("administrator admin, password {password}   (shown this once; note it now)"));
    let path = appliance.secret_path(ADMIN_PASSWORD);
    std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))
}

/// Gets the operator of a host that was set up by packages a token, unless there is one that works.
pub(crate) async fn enrol(appliance: &Appliance) -> anyhow::Result<()> {
    let place = appliance.secret_path(OPERATOR_TOKEN);
    if let Some(token) = appliance.secret(OPERATOR_TOKEN)? {
        Api::at(&appliance.api)?.with_token(&token).read::<Value>("/tenants?limit=1").await?;
        output::say("the operator of this host has a token, and it works");
        return Ok(());
    }
    let password = admin_password(appliance)?;
    let password = password.context(
        "the first administrator's password is not here: name a file with it by RINGDOWN_ADMIN_PASSWORD_FILE, or one with a token by RINGDOWN_API_TOKEN_FILE",
    )?;
    let token = make_token(&appliance.api, &password, &appliance.node()?).await?;
    write_private(&place, token.as_bytes())?;
    output::say("the operator of this host has a token");
    Ok(())
}

/// From the file the environment names (a host without the API keeps none), else this host's.
fn admin_password(appliance: &Appliance) -> anyhow::Result<Option<String>> {
    match std::env::var_os("RINGDOWN_ADMIN_PASSWORD_FILE").filter(|path| !path.is_empty()) {
        Some(path) => {
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("reading {}", Path::new(&path).display()))?;
            Ok(Some(text.trim().to_owned()))
        }
        None => appliance.secret(ADMIN_PASSWORD),
    }
}

async fn init_admin(installation: &Installation, programs: &Path) -> anyhow::Result<()> {
    let secrets = installation.secrets();
    let mut command = Command::new(programs.join("ringdown-web-api"));
    command.arg("init-admin").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.env_clear().envs(supervise::postgres_variables(installation)?);
    command.env("RINGDOWN_ADMIN_PASSWORD_FILE", secrets.path(SecretName::AdminPassword));
    let output =
        tokio::time::timeout(LIMIT, command.output()).await.context("making the administrator took too long")?;
    let output = output.context("starting ringdown-web-api init-admin")?;
    if !output.status.success() {
        bail!("making the administrator: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

async fn make_token(api: &str, password: &str, node: &str) -> anyhow::Result<String> {
    let api = Api::at(api)?;
    let login: Value = api.post("/sessions", &json!({ "login": "admin", "password": password })).await?;
    let token = login["token"].as_str().context("a log-in has a token")?;
    let user = login["user"].as_str().context("a log-in has a user")?;
    let api = api.with_token(token);
    let name = format!("operator of {node}");
    let made: Value = api.post(&format!("/users/{user}/tokens"), &json!({ "name": name })).await?;
    api.delete("/sessions/current").await.ok();
    made["token"].as_str().map(str::to_owned).context("the API made no token")
}
