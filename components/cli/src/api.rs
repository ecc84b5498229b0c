//! The API as a client: bearer token, limits, problem documents as errors.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::appliance::Appliance;
use crate::arguments::Place;
use crate::installation::{Installation, PortName, SecretName};

/// Longer than the server's own longest wait.
const LIMIT: Duration = Duration::from_secs(35);
/// Requests that were not answered are sent again this often; every write carries an Idempotency-Key.
const ATTEMPTS: u32 = 5;
/// Between attempts, times the attempt's number.
const PAUSE: Duration = Duration::from_millis(300);

/// A client of one installation.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// An answer other than a success.
#[derive(Debug, thiserror::Error)]
#[error("{method} {path}: {status}: {detail}")]
pub(crate) struct Refused {
    method: Method,
    path: String,
    /// The status.
    pub(crate) status: StatusCode,
    detail: String,
}

impl Api {
    /// The API at `base` (`http://host:port`), without a token.
    pub(crate) fn at(base: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(LIMIT).no_proxy().build().context("making a client")?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), token: None })
    }

    /// The API of `place`: `RINGDOWN_API_URL` with `RINGDOWN_API_TOKEN` (or `_FILE`), else the installation on this host with its
    /// operator's token.
    pub(crate) fn of(place: &Place) -> anyhow::Result<Self> {
        if let (None, Some(appliance)) = (token_variable()?, Appliance::find(place)?) {
            let token = appliance.secret("OPERATOR_TOKEN")?;
            let token =
                token.context("this host's operator has no token: ringdown enrol, or set RINGDOWN_API_TOKEN_FILE")?;
            let base = variable("RINGDOWN_API_URL").unwrap_or(appliance.api);
            return Ok(Self::at(&base)?.with_token(&token));
        }
        let installation = Installation::find(place)?;
        let base = match (variable("RINGDOWN_API_URL"), &installation) {
            (Some(base), _) => base,
            (None, Some(installation)) => format!("http://{}", installation.ports().loopback(PortName::WebApi)),
            (None, None) => "http://127.0.0.1:8000".to_owned(),
        };
        let token = match (token_variable()?, &installation) {
            (Some(token), _) => Some(token),
            (None, Some(installation)) => installation.secrets().read(SecretName::OperatorToken)?,
            (None, None) => None,
        };
        let Some(token) = token else {
            bail!("there is no token for the API: set RINGDOWN_API_TOKEN_FILE, or name the installation by --data");
        };
        Ok(Self::at(&base)?.with_token(token.trim()))
    }

    /// The same with a token.
    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// GET.
    pub(crate) async fn read<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.ask(Method::GET, path, None).await
    }

    /// POST; sent again under the same key until it is answered.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> anyhow::Result<T> {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// PUT.
    pub(crate) async fn put<T: DeserializeOwned>(&self, path: &str, body: &Value) -> anyhow::Result<T> {
        self.ask(Method::PUT, path, Some(body)).await
    }

    /// DELETE.
    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.ask::<Value>(Method::DELETE, path, None).await.map(drop)
    }

    /// All items of a paged list.
    pub(crate) async fn list(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let separator = if path.contains('?') { '&' } else { '?' };
            let after = cursor.as_ref().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
            let mut page: Value = self.read(&format!("{path}{separator}limit=500{after}")).await?;
            items.append(page["items"].as_array_mut().context("a list has items")?);
            match page["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return Ok(items),
            }
        }
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<T> {
        let key = uuid::Uuid::now_v7().to_string();
        let mut attempt = 1;
        loop {
            let sent = self.send(&method, path, body, &key).await;
            let again = match &sent {
                Ok(answer) => matches!(answer.status().as_u16(), 429 | 502 | 503 | 504),
                Err(_) => true,
            };
            if !again || attempt == ATTEMPTS {
                return read_answer(method, path, sent.with_context(|| format!("asking {}", self.base))?).await;
            }
            tokio::time::sleep(PAUSE * attempt).await;
            attempt += 1;
        }
    }

    async fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        key: &str,
    ) -> reqwest::Result<reqwest::Response> {
        let mut request = self.http.request(method.clone(), format!("{}/api/v1{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if *method != Method::GET {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await
    }
}

async fn read_answer<T: DeserializeOwned>(method: Method, path: &str, answer: reqwest::Response) -> anyhow::Result<T> {
    let status = answer.status();
    let bytes = answer.bytes().await.with_context(|| format!("{method} {path}: reading the answer"))?;
    if status.is_success() {
        let text = if bytes.is_empty() { b"null".as_slice() } else { &bytes };
        return serde_json::from_slice(text)
            .with_context(|| format!("{method} {path}: the answer is another than expected"));
    }
    let problem: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let detail = problem["detail"].as_str().or(problem["title"].as_str()).unwrap_or("no reason given").to_owned();
    Err(Refused { method, path: path.to_owned(), status, detail }.into())
}

/// The token the environment names.
fn token_variable() -> anyhow::Result<Option<String>> {
    match (variable("RINGDOWN_API_TOKEN"), variable("RINGDOWN_API_TOKEN_FILE")) {
        (Some(token), _) => Ok(Some(token)),
        (None, Some(path)) => std::fs::read_to_string(&path).with_context(|| format!("reading {path}")).map(Some),
        (None, None) => Ok(None),
    }
}

/// A variable that is set and not empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
