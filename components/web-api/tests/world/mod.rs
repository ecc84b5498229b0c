//! A web-api with a real PostgreSQL and a real Redis, on request with the real provisioner and router too, and a client
//! that says what it got.

#![expect(dead_code, unreachable_pub, reason = "each test program uses its part")]

use std::time::Duration;

use reqwest::Method;
use ringdown_test_support::{
    Daemon, PostgresOptions, PrivatePostgres, PrivateRedis, RedisOptions, free_address, workspace_binary,
};
use serde_json::{Value, json};

/// The longest wait for a daemon or a condition; far beyond what they take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The first administrator's password.
pub const PASSWORD: &str = "correct horse battery";

/// Who asks in a test.
#[derive(Clone, Debug)]
pub struct Caller {
    base: String,
    client: reqwest::Client,
    token: Option<String>,
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Answer {
    /// The answer, if it has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// The answer, if it is a problem document of this status that names this field.
    #[track_caller]
    pub fn refuses(self, status: u16, field: &str) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["status"], status, "{}", self.text);
        let fields: Vec<&str> =
            self.body["errors"].as_array().into_iter().flatten().filter_map(|e| e["field"].as_str()).collect();
        assert!(fields.contains(&field), "{field} is not named: {}", self.text);
        self
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The id of the object in the body.
    #[track_caller]
    pub fn id(&self) -> String {
        self.body["id"].as_str().unwrap_or_else(|| panic!("no id: {}", self.text)).to_owned()
    }
}

impl Caller {
    /// The same client without a token.
    pub fn nobody(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    /// The same client with a token.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.expect("web-api answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.expect("a body");
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer { status, headers, body, text }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::PATCH, path).json(&body)).await
    }

    pub async fn log_in(&self, login: &str, password: &str) -> Answer {
        self.nobody().post("/sessions", json!({ "login": login, "password": password })).await
    }

    /// The same client, logged in as somebody.
    pub async fn logged_in(&self, login: &str, password: &str) -> Self {
        let answer = self.log_in(login, password).await.expect(201);
        self.with_token(answer.body["token"].as_str().expect("a token"))
    }
}

/// What is running.
pub struct World {
    pub api: Daemon,
    pub acd: Option<Daemon>,
    pub provisioner: Option<Daemon>,
    pub redis: PrivateRedis,
    pub postgres: PrivatePostgres,
    /// The first administrator.
    pub root: Caller,
}

impl World {
    /// PostgreSQL, Redis and web-api, with the first administrator; changes do not wait for a router.
    pub async fn configuration() -> Self {
        Self::start(false, &[]).await
    }

    /// The same, with variables of web-api.
    pub async fn configuration_with(variables: &[(&str, &str)]) -> Self {
        Self::start(false, variables).await
    }

    /// The same with provisioner and router.
    pub async fn live() -> Self {
        Self::start(true, &[]).await
    }

    async fn start(live: bool, variables: &[(&str, &str)]) -> Self {
        let redis = PrivateRedis::start(RedisOptions::default()).await.expect("Redis");
        let postgres = PrivatePostgres::start(PostgresOptions::default()).await.expect("PostgreSQL");
        init_admin(&postgres.url(), "admin", PASSWORD).await;
        let address = free_address();
        let builder = Daemon::builder(env!("CARGO_BIN_EXE_ringdown-web-api")).expect("the binary");
        let builder = variables.iter().fold(builder, |builder, (name, value)| builder.env(*name, *value));
        let mut api = builder
            .admin("RINGDOWN_WEB_API_LISTEN", address)
            .env("RINGDOWN_REDIS_URL", redis.url())
            .env("RINGDOWN_POSTGRES_URL", postgres.url())
            .env("RINGDOWN_WEB_API_APPLY_WAIT_MS", if live { "5000" } else { "0" })
            .start()
            .expect("web-api starts");
        let (acd, provisioner) = if live {
            (Some(daemon("ringdown-acd", &redis, &postgres)), Some(daemon("ringdown-provisioner", &redis, &postgres)))
        } else {
            (None, None)
        };
        api.wait_ready(PATIENCE).await.expect("web-api is ready");
        let (mut acd, mut provisioner) = (acd, provisioner);
        for daemon in [&mut acd, &mut provisioner].into_iter().flatten() {
            daemon.wait_ready(PATIENCE).await.expect("the daemon is ready");
        }
        let base = format!("http://{address}/api/v1");
        let nobody = Caller { base, client: reqwest::Client::new(), token: None };
        let root = nobody.logged_in("admin", PASSWORD).await;
        Self { api, acd, provisioner, redis, postgres, root }
    }

    /// A tenant's path, as `/tenants/<id>`.
    pub async fn tenant(&self, realm: &str) -> String {
        let answer = self.root.post("/tenants", json!({ "name": realm, "realm": realm })).await.expect(201);
        format!("/tenants/{}", answer.id())
    }

    /// Somebody of a tenant, logged in.
    pub async fn user(&self, login: &str, role: &str, tenant: Option<&str>, agent: Option<&str>) -> Caller {
        let tenant = tenant.map(|path| path.trim_start_matches("/tenants/"));
        let body = json!({
            "login": login, "name": login, "password": PASSWORD, "role": role, "tenant": tenant, "agent": agent,
        });
        self.root.post("/users", body).await.expect(201);
        self.root.logged_in(login, PASSWORD).await
    }
}

/// A daemon of the house; its ports are free ones.
fn daemon(name: &str, redis: &PrivateRedis, postgres: &PrivatePostgres) -> Daemon {
    let binary = workspace_binary(name).expect("the daemon is built");
    let builder = Daemon::builder(binary).expect("the binary").env("RINGDOWN_REDIS_URL", redis.url());
    let builder = if name == "ringdown-provisioner" {
        builder
            .admin("RINGDOWN_PROVISIONER_LISTEN", free_address())
            .env("RINGDOWN_POSTGRES_URL", postgres.url())
            .env("RINGDOWN_PROVISIONER_DUTIES", "compile")
    } else {
        builder.env("RINGDOWN_ACD_DUTIES", "router")
    };
    builder.start().expect("the daemon starts")
}

/// Runs `ringdown-web-api init-admin`; gives its exit code and what it wrote.
pub async fn init_admin(postgres: &str, login: &str, password: &str) -> (i32, String) {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_ringdown-web-api"))
        .args(["init-admin", "--login", login])
        .env_clear()
        .env("RINGDOWN_POSTGRES_URL", postgres)
        .env("RINGDOWN_ADMIN_PASSWORD", password)
        .output()
        .await
        .expect("init-admin runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}
