//! A whole contact centre with a real Asterisk, for suites that make calls.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use ringdown_test_support::{
    Appendfsync, Daemon, Folder, PostgresOptions, PrivatePostgres, PrivateRedis, PrivateRtpengine, Process,
    RedisOptions, Spec, free_address, free_port, wait_until, workspace_binary,
};
use serde_json::{Value, json};

use crate::slow_link::SlowLink;

/// The longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);
const ADMIN_PASSWORD: &str = "correct horse battery";
const ARI_PASSWORD: &str = "0123456789abcdef0123";
/// Where the carrier calls from: an address of its own, since none of the installation's may be a trunk's source.
pub const CARRIER: &str = "127.0.0.9";
/// The password of every phone.
pub const PHONE_PASSWORD: &str = "phone-secret-1";

/// Everything that runs, and one tenant in it.
pub struct CallCentre {
    pub acd: Daemon,
    pub asterisk: Process,
    pub redis: PrivateRedis,
    /// Where Asterisk's websocket arrives.
    pub websocket: SocketAddr,
    /// Where callers call.
    pub trunk: SocketAddr,
    /// Where phones register.
    pub registrar: SocketAddr,
    /// Where browsers' phones connect, by WebSocket over TLS; only with [`Wishes::browsers`].
    pub web_phones: SocketAddr,
    /// The relay of browsers' calls.
    pub rtpengine: Option<PrivateRtpengine>,
    /// The registrar's own process.
    pub registrar_daemon: Daemon,
    /// Where browsers connect.
    pub notifier: SocketAddr,
    /// Where the REST interface and the console are served.
    pub web: SocketAddr,
    /// Between the acd and Asterisk's ARI: how slow that is.
    pub ari_link: SlowLink,
    pub tenant: String,
    pub realm: String,
    pub queue: String,
    pub token: String,
    api: String,
    /// Asterisk's ARI.
    ari: SocketAddr,
    client: reqwest::Client,
    asterisk_spec: Spec,
    _daemons: Vec<Daemon>,
    _postgres: PrivatePostgres,
    folder: Folder,
}

/// How a centre differs from the usual one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    /// Asterisk asks a name server that never answers.
    pub dns_cut_off: bool,
    /// The ACD opens the websocket for ARI's events, as it does for an Asterisk before 22.
    pub classic: bool,
    /// The daemons log as they do in production: what they cost is measured.
    pub measured: bool,
    /// The acd asks Asterisk over a link that can be slow ([`CallCentre::ari_link`]).
    pub slow_ari: bool,
    /// There are phones in browsers: a certificate, and an rtpengine.
    pub browsers: bool,
    /// Nothing is configured, not even a tenant.
    pub blank: bool,
}

/// A certificate and its key.
async fn self_signed(folder: &Folder) -> anyhow::Result<[PathBuf; 2]> {
    let files = [folder.join("sip.crt"), folder.join("sip.key")];
    let done = tokio::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-out"])
        .arg(&files[0])
        .arg("-keyout")
        .arg(&files[1])
        .output()
        .await
        .context("running openssl")?;
    anyhow::ensure!(done.status.success(), "openssl: {}", String::from_utf8_lossy(&done.stderr));
    Ok(files)
}

impl CallCentre {
    /// Starts it all and waits until a call can come in: one tenant, the skill English, a queue that needs it behind the
    /// number 100, a trunk from [`CARRIER`].
    pub async fn open(wishes: Wishes) -> anyhow::Result<Self> {
        let redis =
            PrivateRedis::start(RedisOptions { appendfsync: Appendfsync::Always, ..RedisOptions::default() }).await?;
        let postgres = PrivatePostgres::start(PostgresOptions::default()).await?;
        init_admin(&postgres.url()).await?;
        let folder = Folder::new("asterisk")?;
        let [registrar, trunk, http, socket, notifier, web, web_phones] = std::array::from_fn(|_| free_address());
        let rtp = free_port() / 2 * 2;
        let websocket = if wishes.classic { "inbound" } else { "outbound" };
        let daemon = |name: &str| -> anyhow::Result<_> {
            let builder = Daemon::builder(workspace_binary(&format!("ringdown-{name}"))?)?;
            Ok(builder
                .env("RINGDOWN_REDIS_URL", redis.url())
                .env("RINGDOWN_NODE_NAME", "voice-1")
                .env("RINGDOWN_OBJECT_STORE", format!("file://{}", folder.join("objects").display()))
                .env("RINGDOWN_LOG_LEVEL", if wishes.measured { "info" } else { "debug" }))
        };
        let mut daemons = vec![
            daemon("web-api")?
                .admin("RINGDOWN_WEB_API_LISTEN", web)
                .env("RINGDOWN_POSTGRES_URL", postgres.url())
                .env("RINGDOWN_WEB_API_PHONE_URLS", format!("wss://{web_phones}"))
                .env("RINGDOWN_WEB_API_WEBSOCKET_URL", format!("ws://{notifier}/ws"))
                .start()?,
            daemon("provisioner")?
                .admin("RINGDOWN_PROVISIONER_LISTEN", free_address())
                .env("RINGDOWN_POSTGRES_URL", postgres.url())
                .env("RINGDOWN_ASTERISK_DIR", folder.path().display().to_string())
                .env("RINGDOWN_ASTERISK_INSIDE_DIR", "/srv")
                .env("RINGDOWN_ASTERISK_SIP_LISTEN", trunk.to_string())
                .env("RINGDOWN_ASTERISK_HTTP_LISTEN", http.to_string())
                .env("RINGDOWN_REGISTRAR_SIP", registrar.to_string())
                .env("RINGDOWN_ACD_ARI_URL", format!("ws://{socket}/ari"))
                .env("RINGDOWN_ARI_WEBSOCKET", websocket)
                .env("RINGDOWN_ARI_PASSWORD", ARI_PASSWORD)
                .env("RINGDOWN_ASTERISK_RTP_FIRST", rtp.to_string())
                .env("RINGDOWN_ASTERISK_RTP_LAST", (rtp + 400).to_string())
                .start()?,
            daemon("notifier")?.admin("RINGDOWN_NOTIFIER_LISTEN", notifier).start()?,
        ];
        let rtpengine = if wishes.browsers { Some(PrivateRtpengine::start().await?) } else { None };
        let mut registrar_builder = daemon("registrar")?;
        if let Some(engine) = &rtpengine {
            let certificate = self_signed(&folder).await?;
            registrar_builder = registrar_builder
                .env("RINGDOWN_RTPENGINE_URLS", format!("udp://{}", engine.ng()))
                .env("RINGDOWN_REGISTRAR_TLS_LISTEN", free_address().to_string())
                .env("RINGDOWN_REGISTRAR_WSS_LISTEN", web_phones.to_string())
                .env("RINGDOWN_REGISTRAR_TLS_CERTIFICATE", certificate[0].display().to_string())
                .env("RINGDOWN_REGISTRAR_TLS_KEY", certificate[1].display().to_string());
        }
        let mut registrar_daemon = registrar_builder
            .env("RINGDOWN_REGISTRAR_UDP_LISTEN", registrar.to_string())
            .env("RINGDOWN_REGISTRAR_TCP_LISTEN", registrar.to_string())
            .env("RINGDOWN_REGISTRAR_WS_LISTEN", free_address().to_string())
            .env("RINGDOWN_ASTERISK_SIP", trunk.to_string())
            // Debian 12's baresip cannot choose between two challenges.
            .env("RINGDOWN_SIP_DIGEST", "md5")
            .start()?;
        for daemon in daemons.iter_mut().chain([&mut registrar_daemon]) {
            daemon.wait_ready(PATIENCE).await?;
        }
        let ari_link = SlowLink::to(http).await?;
        let acd = daemon("acd")?
            .env("RINGDOWN_ACD_ARI_LISTEN", socket.to_string())
            .env("RINGDOWN_ARI_WEBSOCKET", websocket)
            .env("RINGDOWN_ARI_URL", format!("http://{}/ari", if wishes.slow_ari { ari_link.address() } else { http }))
            .env("RINGDOWN_ARI_PASSWORD", ARI_PASSWORD)
            .start()?;
        let asterisk_spec = asterisk(&folder, wishes)?;
        let asterisk = asterisk_spec.start()?;
        let mut centre = Self {
            acd,
            asterisk,
            redis,
            websocket: socket,
            trunk,
            registrar,
            registrar_daemon,
            web_phones,
            rtpengine,
            notifier,
            web,
            ari_link,
            tenant: String::new(),
            realm: "demo.invalid".to_owned(),
            queue: String::new(),
            token: String::new(),
            api: format!("http://{web}/api/v1"),
            ari: http,
            client: reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?,
            asterisk_spec,
            _daemons: daemons,
            _postgres: postgres,
            folder,
        };
        centre.acd.wait_ready(PATIENCE).await?;
        let log_in = json!({ "login": "admin", "password": ADMIN_PASSWORD });
        centre.token = text(&centre.post("/sessions", log_in).await?, "token")?;
        if !wishes.blank {
            centre.furnish().await?;
            centre.wait_for_trunk().await?;
        }
        Ok(centre)
    }

    async fn furnish(&mut self) -> anyhow::Result<()> {
        let tenant = self.post("/tenants", json!({ "name": "Demo", "realm": self.realm })).await?;
        self.tenant = text(&tenant, "id")?;
        self.post(&self.of_tenant("skills"), json!({ "name": "English" })).await?;
        let queue = json!({ "name": "Support", "requirements": [{ "skill": "English" }], "ring_timeout_ms": 4_000 });
        self.queue = text(&self.post(&self.of_tenant("queues"), queue).await?, "id")?;
        let trunk = json!({ "name": "Carrier", "sources": [CARRIER], "capacity": 200 });
        self.post(&self.of_tenant("trunks"), trunk).await?;
        let route = json!({ "did": "100", "queue": self.queue });
        self.post(&self.of_tenant("routes"), route).await?;
        Ok(())
    }

    /// Asterisk knows the trunk: calls are told apart.
    ///
    /// # Errors
    /// None; a trunk that never comes ends the test.
    pub async fn wait_for_trunk(&self) -> anyhow::Result<()> {
        wait_until(PATIENCE, "Asterisk knows the trunk", async || {
            self.asterisk_has("endpoints").await.ok()?.to_string().contains("trunk-").then_some(())
        })
        .await;
        Ok(())
    }

    /// What Asterisk itself lists: `channels`, `bridges` or `endpoints`.
    pub async fn asterisk_has(&self, what: &str) -> anyhow::Result<Value> {
        let url = format!("http://{}/ari/{what}", self.ari);
        let asked = self.client.get(&url).basic_auth("ringdown", Some(ARI_PASSWORD)).send().await?;
        Ok(asked.error_for_status()?.json().await?)
    }

    /// Waits until Asterisk has no channel and no bridge.
    pub async fn asterisk_is_empty(&self) {
        for what in ["channels", "bridges"] {
            wait_until(PATIENCE, &format!("Asterisk has no {what}"), async || {
                self.asterisk_has(what).await.ok()?.as_array()?.is_empty().then_some(())
            })
            .await;
        }
    }

    /// Where everything that happens in Asterisk can be listened to.
    #[must_use]
    pub fn events_url(&self, listener: &str) -> String {
        format!("ws://{}/ari/events?app={listener}&subscribeAll=true&api_key=ringdown:{ARI_PASSWORD}", self.ari)
    }

    /// Lets a listener at [`CallCentre::events_url`] hear these kinds of events only. Asterisk knows it while it listens.
    ///
    /// # Errors
    /// Nobody listens.
    pub async fn hear_only(&self, listener: &str, kinds: &[&str]) -> anyhow::Result<()> {
        let allowed: Vec<_> = kinds.iter().map(|kind| json!({ "type": kind })).collect();
        let filter = self.client.put(format!("http://{}/ari/applications/{listener}/eventFilter", self.ari));
        let filter = filter.basic_auth("ringdown", Some(ARI_PASSWORD)).json(&json!({ "allowed": allowed }));
        filter.send().await?.error_for_status()?;
        Ok(())
    }

    /// Lets Asterisk's own dialplan do for callers of `number` what the ACD does: answer them at once, play music, and connect
    /// them with a phone. `user` may be an expression of the dialplan.
    ///
    /// # Errors
    /// Asterisk does not take the line.
    pub async fn dial_directly(&self, number: &str, user: &str) -> anyhow::Result<()> {
        let trunks = self.get(&self.of_tenant("trunks")).await?;
        let trunk = text(&trunks["items"][0], "id")?;
        let path = self.folder.join("etc/extensions.conf");
        let rendered = std::fs::read_to_string(&path)?;
        let endpoint = format!("PJSIP/registrar/sip:{user}@{}", self.realm);
        // "i": without waiting half a second for the caller's sound; "m": music instead of ringing.
        let lines = format!(
            "\n[trunk-{trunk}](+)\nexten => {number},1,Answer(,i)\n same => n,Dial({endpoint},30,m)\n same => n,Hangup()\n"
        );
        std::fs::write(&path, rendered + &lines)?;
        let module = |name: &str| format!("http://{}/ari/asterisk/modules/{name}", self.ari);
        let login = ("ringdown", Some(ARI_PASSWORD));
        for request in [self.client.post(module("app_dial.so")), self.client.put(module("pbx_config.so"))] {
            request.basic_auth(login.0, login.1).send().await?.error_for_status()?;
        }
        Ok(())
    }

    /// A path below the tenant.
    pub fn of_tenant(&self, path: &str) -> String {
        format!("/tenants/{}/{path}", self.tenant)
    }

    /// Asks the API to change something.
    pub async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.ask(self.client.post(format!("{}{path}", self.api)).json(&body)).await
    }

    /// Asks the API to replace something.
    pub async fn put(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.ask(self.client.put(format!("{}{path}", self.api)).json(&body)).await
    }

    /// Asks the API to change a part of something.
    pub async fn patch(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.ask(self.client.patch(format!("{}{path}", self.api)).json(&body)).await
    }

    /// Reads from the API.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(self.client.get(format!("{}{path}", self.api))).await
    }

    /// Asks the API to remove something.
    pub async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(self.client.delete(format!("{}{path}", self.api))).await
    }

    /// Reads a file from the API.
    pub async fn file(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let answer = self.client.get(format!("{}{path}", self.api)).bearer_auth(&self.token).send().await?;
        Ok(answer.error_for_status()?.bytes().await?.to_vec())
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let answer = request.bearer_auth(&self.token).send().await?;
        let status = answer.status();
        let body = answer.text().await?;
        anyhow::ensure!(status.is_success(), "{status}: {body}");
        Ok(serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// A new agent with a phone of its own name, ready; the agent's id.
    pub async fn hire(&self, name: &str, skills: Value) -> anyhow::Result<String> {
        let id = self.employ(name, skills).await?;
        self.set_status(&id, "ready").await?;
        Ok(id)
    }

    /// A new agent with a phone of its own name, who is not at work yet; the agent's id.
    pub async fn employ(&self, name: &str, skills: Value) -> anyhow::Result<String> {
        let agent = json!({ "name": name, "sip_user": name, "sip_password": PHONE_PASSWORD, "skills": skills });
        text(&self.post(&self.of_tenant("agents"), agent).await?, "id")
    }

    /// Declares a status for an agent.
    pub async fn set_status(&self, agent: &str, status: &str) -> anyhow::Result<()> {
        self.put(&self.of_tenant(&format!("agents/{agent}/status")), json!({ "status": status })).await?;
        Ok(())
    }

    /// Waits until an agent's live record is as `accept` wants it.
    pub async fn agent(&self, agent: &str, what: &str, accept: impl Fn(&Value) -> bool) -> Value {
        let path = self.of_tenant(&format!("agents/{agent}/status"));
        wait_until(PATIENCE, what, async || self.get(&path).await.ok().filter(|record| accept(record))).await
    }

    /// Waits until the one live interaction is as `accept` wants it; its record.
    pub async fn interaction(&self, what: &str, accept: impl Fn(&Value) -> bool) -> Value {
        let path = self.of_tenant("interactions");
        wait_until(PATIENCE, what, async || {
            let list = self.get(&path).await.ok()?;
            list["items"].as_array()?.iter().find(|record| accept(record)).cloned()
        })
        .await
    }

    /// Waits until an interaction has ended; how.
    pub async fn ended(&self, interaction: &str) -> Value {
        let path = self.of_tenant(&format!("interactions/{interaction}"));
        let record = wait_until(PATIENCE, "the interaction ends", async || {
            let record = self.get(&path).await.ok()?;
            (record["state"]["kind"] == "ended").then_some(record)
        })
        .await;
        record["state"].clone()
    }

    /// The kinds of what happened to an interaction, in order.
    pub async fn story(&self, interaction: &str) -> anyhow::Result<Vec<String>> {
        let history = self.get(&self.of_tenant(&format!("interactions/{interaction}/history"))).await?;
        let items = history["items"].as_array().context("a history")?;
        Ok(items.iter().map(|item| item["event"]["kind"].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// Starts Asterisk again after it died.
    pub fn restart_asterisk(&mut self) -> anyhow::Result<()> {
        self.asterisk = self.asterisk_spec.start()?;
        Ok(())
    }
}

/// A text field of an answer.
pub fn text(value: &Value, field: &str) -> anyhow::Result<String> {
    Ok(value[field].as_str().with_context(|| format!("no {field} in {value}"))?.to_owned())
}

fn asterisk(folder: &Folder, wishes: Wishes) -> anyhow::Result<Spec> {
    let root = std::env::var("RINGDOWN_ASTERISK_ROOT").context(
        "RINGDOWN_ASTERISK_ROOT names the Asterisk root: tests/run sets it (provisioning/asterisk_root makes it)",
    )?;
    let run = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../provisioning/asterisk_run");
    let mut spec = Spec::new("asterisk", run, folder.join("asterisk.out")).arg(root).arg(folder.path()).arg("voice-1");
    if wishes.dns_cut_off {
        let resolv = folder.join("resolv.conf");
        // TEST-NET-1: nobody answers there.
        std::fs::write(&resolv, "nameserver 192.0.2.53\noptions timeout:5 attempts:2\n")?;
        spec = spec.env("RINGDOWN_ASTERISK_RESOLV_CONF", resolv);
    }
    Ok(spec)
}

async fn init_admin(postgres: &str) -> anyhow::Result<()> {
    let output = tokio::process::Command::new(workspace_binary("ringdown-web-api")?)
        .arg("init-admin")
        .env_clear()
        .env("RINGDOWN_POSTGRES_URL", postgres)
        .env("RINGDOWN_ADMIN_PASSWORD", ADMIN_PASSWORD)
        .output()
        .await
        .context("running init-admin")?;
    anyhow::ensure!(output.status.success(), "init-admin: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
