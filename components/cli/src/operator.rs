//! The first administrator and this host's operator: made when an installation becomes healthy for the first time.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::api::Api;
use crate::installation::{Installation, PortName, SecretName};
use crate::{output, supervise};

/// Longest `init-admin`: it brings the schema up to date.
const LIMIT: Duration = Duration::from_secs(60);
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
            secrets.keep(SecretName::OperatorToken, &make_token(installation, &password).await?)?;
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
    output::say(format!("phones        register at {} (UDP and TCP)", installation.public(PortName::Sip)));
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

async fn make_token(installation: &Installation, password: &str) -> anyhow::Result<String> {
    let api = Api::at(&format!("http://{}", installation.ports().loopback(PortName::WebApi)))?;
    let login: Value = api.post("/sessions", &json!({ "login": "admin", "password": password })).await?;
    let token = login["token"].as_str().context("a log-in has a token")?;
    let user = login["user"].as_str().context("a log-in has a user")?;
    let api = api.with_token(token);
    let name = format!("operator of {}", installation.node());
    let made: Value = api.post(&format!("/users/{user}/tokens"), &json!({ "name": name })).await?;
    api.delete("/sessions/current").await.ok();
    made["token"].as_str().map(str::to_owned).context("the API made no token")
}
