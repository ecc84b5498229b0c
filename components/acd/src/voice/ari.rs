//! ARI's REST interface: what is asked, with a limit, and what an answer means. All ids are ours, so everything here may be
//! repeated.

use std::time::{Duration, Instant};

use ringdown_acd_core::node::Look;
use ringdown_domain::{InteractionId, NodeId, OfferId, TenantId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::Config;
use super::event::{MARK, RawChannel};
use super::fence::Fence;

/// Longest wait for an answer. A healthy Asterisk answers in 5 ms, under load in 100; one that is slow for minutes still does
/// what it was asked, and an order that was given up is unknown. So this is long, and nothing that must not wait waits here.
const LIMIT: Duration = Duration::from_secs(10);

/// Characters of a refusal's text that are kept: a log line's worth. Characters, not bytes: the text may be in any language.
const MAX_DETAIL_CHARS: usize = 200;

/// The node's ARI. Cloning shares the connections.
#[derive(Clone, Debug)]
pub(crate) struct Ari {
    client: reqwest::Client,
    base: String,
    user: String,
    password: ringdown_env_config::Secret,
    /// What changes something is asked only within it; none: not at all.
    fence: Option<Fence>,
}

/// Why a request did not do what it was to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AriError {
    /// No answer. For requests that change something the outcome is unknown; all may be repeated.
    #[error("{request}: Asterisk does not answer: {source}")]
    Away {
        /// Which.
        request: &'static str,
        /// What.
        source: reqwest::Error,
    },
    /// This process does not own the node (any more): nothing was asked, or the answer was not waited for.
    #[error("{request}: this process does not own the node any more")]
    Fenced {
        /// Which.
        request: &'static str,
    },
    /// An answer that says no.
    #[error("{request}: Asterisk answered {status}: {detail}")]
    Refused {
        /// Which.
        request: &'static str,
        /// The HTTP status.
        status: u16,
        /// Its words.
        detail: String,
    },
}

impl AriError {
    /// Whether the thing asked about does not exist.
    pub(crate) const fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// What the failure shows of the node; none: nothing.
    pub(crate) fn look(&self) -> Option<Look> {
        match self {
            Self::Fenced { .. } => None,
            // It answers; what it did not like is the request's affair.
            Self::Refused { .. } => Some(Look::Answered),
            Self::Away { source, .. } if !source.is_connect() => Some(Look::Silent),
            Self::Away { source, .. } => {
                Some(if is_port_closed(source) { Look::PortClosed } else { Look::Unreachable })
            }
        }
    }
}

/// A bridge as a listing shows it.
#[derive(Debug, Deserialize)]
pub(crate) struct RawBridge {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) channels: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Info {
    status: InfoStatus,
}

#[derive(Debug, Deserialize)]
struct InfoStatus {
    startup_time: String,
}

impl Ari {
    pub(crate) fn new(config: &Config) -> Result<Self, reqwest::Error> {
        let client =
            reqwest::Client::builder().timeout(LIMIT).connect_timeout(Duration::from_millis(500)).no_proxy().build()?;
        let base = config.ari.expose().trim_end_matches('/').to_owned();
        Ok(Self { client, base, user: config.user.clone(), password: config.password.clone(), fence: None })
    }

    /// The same, for orders of one ownership.
    pub(crate) fn within(&self, fence: Fence) -> Self {
        Self { fence: Some(fence), ..self.clone() }
    }

    /// When this Asterisk was started, as it says: another moment means another Asterisk.
    pub(crate) async fn started(&self) -> Result<String, AriError> {
        let request = self.client.get(format!("{}/asterisk/info?only=status", self.base));
        self.read::<Info>("info", request).await.map(|info| info.status.startup_time)
    }

    /// Has only those events sent that mean something to us ([`super::event::KINDS`]): bridges tell as much as calls do.
    pub(crate) async fn filter_events(&self) -> Result<(), AriError> {
        let allowed: Vec<_> = super::event::KINDS.iter().map(|kind| json!({ "type": kind })).collect();
        let url = format!("{}/applications/acd/eventFilter", self.base);
        self.order("filter", self.client.put(url).json(&json!({ "allowed": allowed }))).await
    }

    /// Sends ourselves an event behind everything that is queued for this connection.
    pub(crate) async fn mark(&self, connection: u64) -> Result<(), AriError> {
        let url = format!("{}/events/user/{MARK}{connection}", self.base);
        self.order("mark", self.client.post(url).query(&[("application", "acd")])).await
    }

    /// All channels.
    pub(crate) async fn channels(&self) -> Result<Vec<RawChannel>, AriError> {
        self.read("channels", self.client.get(format!("{}/channels", self.base))).await
    }

    /// All bridges.
    pub(crate) async fn bridges(&self) -> Result<Vec<RawBridge>, AriError> {
        self.read("bridges", self.client.get(format!("{}/bridges", self.base))).await
    }

    /// Answers the caller.
    pub(crate) async fn answer(&self, channel: &str) -> Result<(), AriError> {
        self.order("answer", self.client.post(format!("{}/channels/{channel}/answer", self.base))).await
    }

    /// Puts the caller into the holding bridge, where music plays.
    pub(crate) async fn hold(&self, interaction: InteractionId, channel: &str) -> Result<(), AriError> {
        let bridge = holding_bridge(interaction);
        let make = self
            .client
            .post(format!("{}/bridges/{bridge}", self.base))
            .query(&[("type", "holding"), ("name", &bridge)]);
        self.order("make_bridge", make).await?;
        let add = self.client.post(format!("{}/bridges/{bridge}/addChannel", self.base)).query(&[("channel", channel)]);
        self.order("add_channel", add).await?;
        let music = self.client.post(format!("{}/bridges/{bridge}/moh", self.base)).query(&[("mohClass", "default")]);
        self.order("music", music).await
    }

    /// Rings an agent's phone through the registrar.
    pub(crate) async fn dial(&self, leg: &Dialling<'_>) -> Result<(), AriError> {
        let arguments = format!("leg,{},{},{}", leg.tenant, leg.interaction, leg.offer);
        let endpoint = format!("PJSIP/registrar/sip:{}", leg.address);
        // Asterisk counts whole seconds; the router's deadline is the sharper one.
        let seconds = leg.ring_ms.div_ceil(1_000).saturating_add(1).to_string();
        let query = [
            ("endpoint", endpoint.as_str()),
            ("app", "acd"),
            ("appArgs", &arguments),
            ("timeout", &seconds),
            ("originator", leg.caller),
        ];
        let post = self.client.post(format!("{}/channels/{}", self.base, leg.channel)).query(&query);
        match self.order("dial", post).await {
            // Dialled before: the answer got lost, not the call.
            Err(AriError::Refused { status: 409, .. }) => Ok(()),
            other => other,
        }
    }

    /// Joins two channels.
    pub(crate) async fn join(&self, interaction: InteractionId, caller: &str, leg: &str) -> Result<(), AriError> {
        let bridge = mixing_bridge(interaction);
        let make =
            self.client.post(format!("{}/bridges/{bridge}", self.base)).query(&[("type", "mixing"), ("name", &bridge)]);
        self.order("make_bridge", make).await?;
        let both = format!("{caller},{leg}");
        let add = self.client.post(format!("{}/bridges/{bridge}/addChannel", self.base)).query(&[("channel", &both)]);
        self.order("add_channel", add).await
    }

    /// Hangs a channel up; one that is gone is fine. `reason_code` is a Q.850 cause; a channel that was not answered gets
    /// the SIP error Asterisk makes of it.
    pub(crate) async fn hang_up(&self, channel: &str, reason_code: u16) -> Result<(), AriError> {
        let code = reason_code.to_string();
        let delete = self.client.delete(format!("{}/channels/{channel}", self.base)).query(&[("reason_code", &code)]);
        gone_is_fine(self.order("hang_up", delete).await)
    }

    /// Deletes a call's bridges; those that are gone are fine.
    pub(crate) async fn remove_bridges(&self, interaction: InteractionId) -> Result<(), AriError> {
        for bridge in [holding_bridge(interaction), mixing_bridge(interaction)] {
            self.remove_bridge(&bridge).await?;
        }
        Ok(())
    }

    /// Deletes one bridge; one that is gone is fine.
    pub(crate) async fn remove_bridge(&self, bridge: &str) -> Result<(), AriError> {
        gone_is_fine(self.order("remove_bridge", self.client.delete(format!("{}/bridges/{bridge}", self.base))).await)
    }

    async fn order(&self, request: &'static str, builder: reqwest::RequestBuilder) -> Result<(), AriError> {
        let fenced = || AriError::Fenced { request };
        let fence = self.fence.as_ref().ok_or_else(fenced)?;
        fence.while_held(self.send(request, builder)).await.ok_or_else(fenced)?.map(|_answer| ())
    }

    async fn read<T: DeserializeOwned>(
        &self,
        request: &'static str,
        builder: reqwest::RequestBuilder,
    ) -> Result<T, AriError> {
        let answer = self.send(request, builder).await?;
        answer.json().await.map_err(|source| AriError::Away { request, source })
    }

    async fn send(
        &self,
        request: &'static str,
        builder: reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, AriError> {
        let started = Instant::now();
        let sent = builder.basic_auth(&self.user, Some(self.password.expose())).send().await;
        log::trace!(request, took:? = started.elapsed(); "ARI");
        let answer = sent.map_err(|source| AriError::Away { request, source })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let detail = answer.text().await.unwrap_or_default().chars().take(MAX_DETAIL_CHARS).collect();
        Err(AriError::Refused { request, status: status.as_u16(), detail })
    }
}

/// An agent's leg to be dialled.
pub(crate) struct Dialling<'a> {
    pub(crate) tenant: TenantId,
    pub(crate) interaction: InteractionId,
    pub(crate) offer: OfferId,
    pub(crate) channel: &'a str,
    pub(crate) caller: &'a str,
    pub(crate) address: &'a str,
    pub(crate) ring_ms: u64,
}

fn is_port_closed(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return true;
        }
        cause = error.source();
    }
    false
}

fn gone_is_fine(result: Result<(), AriError>) -> Result<(), AriError> {
    match result {
        Err(error) if error.is_missing() => Ok(()),
        other => other,
    }
}

pub(crate) fn holding_bridge(interaction: InteractionId) -> String {
    format!("rd-{interaction}-h")
}

pub(crate) fn mixing_bridge(interaction: InteractionId) -> String {
    format!("rd-{interaction}-m")
}

/// The interaction a channel or bridge of ours belongs to, by its id.
pub(crate) fn owner_of(id: &str) -> Option<InteractionId> {
    id.strip_prefix("rd-")?.get(..36)?.parse().ok()
}

/// What Redis' `nodes` hash tells about a node.
pub(crate) fn node_status(node: &NodeId, connected: bool, calls: usize, started: &str) -> String {
    json!({ "node": node, "connected": connected, "calls": calls, "asterisk_started": started }).to_string()
}
