//! The daemons of the house on a private Redis and PostgreSQL, each on free ports, for suites that need no telephone calls.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use ringdown_test_support::{
    Daemon, PostgresOptions, PrivatePostgres, PrivateRedis, RedisOptions, free_address, workspace_binary,
};
use serde_json::{Value, json};

/// The longest wait for a daemon; far beyond what it takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// The first administrator's password.
pub const PASSWORD: &str = "correct horse battery";

/// A daemon's name and what it needs beside the stores to start without Asterisk.
pub const DAEMONS: [&str; 5] = ["web-api", "acd", "provisioner", "registrar", "notifier"];

/// Everything that runs.
pub struct Installation {
    pub daemons: Vec<(&'static str, Daemon)>,
    pub redis: PrivateRedis,
    pub postgres: PrivatePostgres,
    pub api: String,
    pub sip: SocketAddr,
    pub client: reqwest::Client,
}

impl Installation {
    /// Starts it all and waits until all is ready.
    pub async fn start() -> anyhow::Result<Self> {
        let redis = PrivateRedis::start(RedisOptions::default()).await?;
        let postgres = PrivatePostgres::start(PostgresOptions::default()).await?;
        init_admin(&postgres.url()).await?;
        let sip = free_address();
        let mut daemons = Vec::new();
        let mut api = String::new();
        for name in DAEMONS {
            let daemon = describe(name, &redis.url(), &postgres.url(), sip)?.start()?;
            if name == "web-api" {
                api = format!("http://{}/api/v1", daemon.admin());
            }
            daemons.push((name, daemon));
        }
        let mut installation = Self { daemons, redis, postgres, api, sip, client: reqwest::Client::new() };
        installation.wait_ready().await?;
        Ok(installation)
    }

    /// Waits until every daemon says that it is ready.
    pub async fn wait_ready(&mut self) -> anyhow::Result<()> {
        for (name, daemon) in &mut self.daemons {
            daemon.wait_ready(PATIENCE).await.with_context(|| (*name).to_owned())?;
        }
        Ok(())
    }

    /// Whether every daemon still runs and answers.
    pub async fn check_alive(&mut self) -> anyhow::Result<()> {
        for (name, daemon) in &mut self.daemons {
            let exited = daemon.process().exited()?;
            anyhow::ensure!(exited.is_none(), "{name} ended: {}", daemon.process().log_tail());
            let answer = daemon.get("/livez").await.with_context(|| (*name).to_owned())?;
            anyhow::ensure!(answer.status == 200, "{name} is not alive: {}", answer.body);
        }
        Ok(())
    }

    /// A token of somebody.
    pub async fn log_in(&self, login: &str, password: &str) -> anyhow::Result<String> {
        let request = self.client.post(format!("{}/sessions", self.api));
        let answer = request.json(&json!({ "login": login, "password": password })).send().await?;
        let body: Value = answer.error_for_status()?.json().await?;
        Ok(body["token"].as_str().context("a log-in has a token")?.to_owned())
    }
}

/// A daemon with what it needs.
pub fn describe(
    name: &str,
    redis: &str,
    postgres: &str,
    sip: SocketAddr,
) -> anyhow::Result<ringdown_test_support::DaemonBuilder> {
    let builder = Daemon::builder(workspace_binary(&format!("ringdown-{name}"))?)?.env("RINGDOWN_REDIS_URL", redis);
    Ok(match name {
        "web-api" => builder.admin("RINGDOWN_WEB_API_LISTEN", free_address()).env("RINGDOWN_POSTGRES_URL", postgres),
        "provisioner" => builder
            .admin("RINGDOWN_PROVISIONER_LISTEN", free_address())
            .env("RINGDOWN_POSTGRES_URL", postgres)
            .env("RINGDOWN_PROVISIONER_DUTIES", "compile"),
        "notifier" => builder.admin("RINGDOWN_NOTIFIER_LISTEN", free_address()),
        "registrar" => builder
            .env("RINGDOWN_REGISTRAR_UDP_LISTEN", sip.to_string())
            .env("RINGDOWN_REGISTRAR_TCP_LISTEN", sip.to_string())
            .env("RINGDOWN_REGISTRAR_WS_LISTEN", free_address().to_string()),
        _ => builder.env("RINGDOWN_ACD_DUTIES", "router"),
    })
}

/// Makes the first administrator, `admin`.
pub(crate) async fn init_admin(postgres: &str) -> anyhow::Result<()> {
    let output = tokio::process::Command::new(workspace_binary("ringdown-web-api")?)
        .arg("init-admin")
        .env_clear()
        .env("RINGDOWN_POSTGRES_URL", postgres)
        .env("RINGDOWN_ADMIN_PASSWORD", PASSWORD)
        .output()
        .await
        .context("running init-admin")?;
    anyhow::ensure!(output.status.success(), "init-admin: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
