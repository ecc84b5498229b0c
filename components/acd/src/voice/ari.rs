//! ARI's REST interface: what is asked, with a limit, and what an answer means. All ids are ours, so everything here may be
//! repeated.

use std::time::{Duration, Instant};

use ringdown_acd_core::conversation::{Conversation, NORMAL_CLEARING, Room, Track};
use ringdown_acd_core::node::Look;
use ringdown_domain::{InteractionId, NodeId, OfferId, TenantId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::Config;
use super::event::{MARK, RawChannel};
use super::fence::Fence;
use super::recordings::TrackName;

/// Longest wait for an answer. A healthy Asterisk answers in 5 ms, under load in 100; one that is slow for minutes still does
/// what it was asked, and an order that was given up is unknown. So this is long, and nothing that must not wait waits here.
const LIMIT: Duration = Duration::from_secs(10);

/// Longest that fetching a recording may take: an hour's file is 58 MB.
const FILE_LIMIT: Duration = Duration::from_secs(60);

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

    /// Puts channels into a room, all or none. Whoever was in another one of the conversation leaves it.
    pub(crate) async fn seat(
        &self,
        interaction: InteractionId,
        room: Room,
        channels: &[String],
    ) -> Result<(), AriError> {
        let bridge = room_bridge(interaction, room);
        let kind = if room == Room::Waiting { "holding" } else { "mixing" };
        self.make_bridge(&bridge, kind).await?;
        self.enter(&bridge, &channels.join(",")).await?;
        if room != Room::Waiting {
            return Ok(());
        }
        let music = self.client.post(format!("{}/bridges/{bridge}/moh", self.base)).query(&[("mohClass", "default")]);
        self.order("music", music).await
    }

    /// Rings a party, an agent's phone through the registrar or an outside number over a trunk.
    pub(crate) async fn dial(&self, leg: &Dialling<'_>) -> Result<(), AriError> {
        let arguments = match leg.leg {
            Some(offer) => format!("leg,{},{},{offer}", leg.tenant, leg.interaction),
            None => format!("cust,{},{}", leg.tenant, leg.interaction),
        };
        // Asterisk counts whole seconds; the router's deadline is the sharper one.
        let seconds = leg.ring_ms.div_ceil(1_000).saturating_add(1).to_string();
        let mut query =
            vec![("endpoint", leg.endpoint), ("app", "acd"), ("appArgs", &arguments), ("timeout", &seconds)];
        query.extend(leg.originator.map(|channel| ("originator", channel)));
        query.extend(leg.caller_id.map(|number| ("callerId", number)));
        let mut post = self.client.post(format!("{}/channels/{}", self.base, leg.channel)).query(&query);
        if leg.auto_answer {
            // The two forms phones know (RFC 7462 alert URNs are not among them).
            post = post.json(&json!({ "variables": {
                "PJSIP_HEADER(add,Call-Info)": "<sip:ringdown.invalid>;answer-after=0",
                "PJSIP_HEADER(add,Alert-Info)": "<http://ringdown.invalid>;info=alert-autoanswer;delay=0",
            }}));
        }
        // Dialled before: the answer got lost, not the call.
        there_is_fine(self.order("dial", post).await)
    }

    /// Lets a channel hear what another says and hears; the other hears it too when it whispers.
    pub(crate) async fn spy(
        &self,
        interaction: InteractionId,
        number: u32,
        channel: &str,
        on: &str,
        whispers: bool,
    ) -> Result<(), AriError> {
        let spying = spying_channel(interaction, number, whispers);
        let whisper = if whispers { "out" } else { "none" };
        let snoop = self.client.post(format!("{}/channels/{on}/snoop/{spying}", self.base)).query(&[
            ("spy", "both"),
            ("whisper", whisper),
            ("app", "acd"),
            ("appArgs", "spy"),
        ]);
        there_is_fine(self.order("spy", snoop).await)?;
        let bridge = spy_bridge(interaction, number);
        self.make_bridge(&bridge, "mixing").await?;
        self.enter(&bridge, &format!("{channel},{spying}")).await?;
        // One that spied in the other way before.
        self.hang_up(&spying_channel(interaction, number, !whispers), NORMAL_CLEARING).await
    }

    /// Ends what [`Self::spy`] began.
    pub(crate) async fn end_spying(&self, interaction: InteractionId, number: u32) -> Result<(), AriError> {
        for whispers in [false, true] {
            self.hang_up(&spying_channel(interaction, number, whispers), NORMAL_CLEARING).await?;
        }
        self.remove_bridge(&spy_bridge(interaction, number)).await
    }

    /// Plays the ringing tone in a room, or stops it.
    pub(crate) async fn ringback(&self, interaction: InteractionId, room: Room, on: bool) -> Result<(), AriError> {
        let bridge = room_bridge(interaction, room);
        let playback = format!("{bridge}-ring");
        if !on {
            let stop = self.client.delete(format!("{}/playbacks/{playback}", self.base));
            return gone_is_fine(self.order("stop_ringback", stop).await);
        }
        let play = self
            .client
            .post(format!("{}/bridges/{bridge}/play/{playback}", self.base))
            .query(&[("media", RINGING_TONE)]);
        self.order("ringback", play).await
    }

    /// Lets nobody hear a channel, or everybody again.
    pub(crate) async fn mute(&self, channel: &str, muted: bool) -> Result<(), AriError> {
        let url = format!("{}/channels/{channel}/mute", self.base);
        let request = if muted { self.client.post(url) } else { self.client.delete(url) };
        self.order("mute", request.query(&[("direction", "in")])).await
    }

    /// Sends digits to a channel's other end.
    pub(crate) async fn send_digits(&self, channel: &str, digits: &str) -> Result<(), AriError> {
        let send = self.client.post(format!("{}/channels/{channel}/dtmf", self.base)).query(&[("dtmf", digits)]);
        self.order("send_digits", send).await
    }

    /// Records what one party says, under a name that says whose it is.
    pub(crate) async fn begin_track(&self, call: &Conversation, track: &Track) -> Result<(), AriError> {
        let taping = taping_channel(call.interaction, track.number);
        let snoop = self.client.post(format!("{}/channels/{}/snoop/{taping}", self.base, track.on)).query(&[
            ("spy", "in"),
            ("whisper", "none"),
            ("app", "acd"),
            ("appArgs", "tape"),
        ]);
        there_is_fine(self.order("tape", snoop).await)?;
        let name = TrackName::of(call, track).to_string();
        let mut tries = 0;
        loop {
            let record = self.client.post(format!("{}/channels/{taping}/record", self.base)).query(&[
                ("name", name.as_str()),
                ("format", "wav"),
                ("ifExists", "fail"),
                ("terminateOn", "none"),
            ]);
            let done = self.order("record", record).await;
            tries += 1;
            // The channel was made and is on its way into the application: until then nothing can be recorded on it.
            match done {
                Err(AriError::Refused { ref detail, .. }) if detail.contains(NOT_IN_YET) && tries < ENTRY_TRIES => {
                    tokio::time::sleep(ENTRY_PAUSE).await;
                }
                Err(AriError::Refused { ref detail, .. }) if detail.contains(NOT_IN_YET) => return done,
                done => return there_is_fine(done),
            }
        }
    }

    /// Writes silence into a recording, or goes on with it.
    pub(crate) async fn pause_track(&self, call: &Conversation, track: &Track) -> Result<(), AriError> {
        let url = format!("{}/recordings/live/{}/mute", self.base, TrackName::of(call, track));
        let request = if track.paused { self.client.post(url) } else { self.client.delete(url) };
        gone_is_fine(self.order("pause_recording", request).await)
    }

    /// The names of recordings whose files Asterisk keeps, those that are still being written included.
    pub(crate) async fn stored_recordings(&self) -> Result<Vec<String>, AriError> {
        #[derive(Deserialize)]
        struct Stored {
            name: String,
        }
        let request = self.client.get(format!("{}/recordings/stored", self.base));
        Ok(self
            .read::<Vec<Stored>>("stored_recordings", request)
            .await?
            .into_iter()
            .map(|stored| stored.name)
            .collect())
    }

    /// Whether a recording is still being written.
    pub(crate) async fn is_recording(&self, name: &str) -> Result<bool, AriError> {
        match self.send("live_recording", self.client.get(format!("{}/recordings/live/{name}", self.base))).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A recording's file; none: there is none any more.
    pub(crate) async fn recording_file(&self, name: &str) -> Result<Option<bytes::Bytes>, AriError> {
        let request = "recording_file";
        let url = format!("{}/recordings/stored/{name}/file", self.base);
        match self.send(request, self.client.get(url).timeout(FILE_LIMIT)).await {
            Ok(answer) => answer.bytes().await.map(Some).map_err(|source| AriError::Away { request, source }),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes a recording's file from Asterisk's host; one that is gone is fine.
    pub(crate) async fn remove_recording(&self, name: &str) -> Result<(), AriError> {
        let delete = self.client.delete(format!("{}/recordings/stored/{name}", self.base));
        gone_is_fine(self.order("remove_recording", delete).await)
    }

    /// Ends a recording; its file is there then.
    pub(crate) async fn end_track(&self, call: &Conversation, track: &Track) -> Result<(), AriError> {
        let stop = self.client.post(format!("{}/recordings/live/{}/stop", self.base, TrackName::of(call, track)));
        gone_is_fine(self.order("end_recording", stop).await)?;
        self.hang_up(&taping_channel(call.interaction, track.number), NORMAL_CLEARING).await
    }

    async fn make_bridge(&self, bridge: &str, kind: &str) -> Result<(), AriError> {
        let make =
            self.client.post(format!("{}/bridges/{bridge}", self.base)).query(&[("type", kind), ("name", bridge)]);
        there_is_fine(self.order("make_bridge", make).await)
    }

    async fn enter(&self, bridge: &str, channels: &str) -> Result<(), AriError> {
        let add =
            self.client.post(format!("{}/bridges/{bridge}/addChannel", self.base)).query(&[("channel", channels)]);
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
        for room in [Room::Waiting, Room::Main, Room::Consult] {
            self.remove_bridge(&room_bridge(interaction, room)).await?;
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

/// A leg to be dialled.
pub(crate) struct Dialling<'a> {
    pub(crate) tenant: TenantId,
    pub(crate) interaction: InteractionId,
    /// The leg's identity; none: it is the customer's.
    pub(crate) leg: Option<OfferId>,
    pub(crate) channel: &'a str,
    /// As Asterisk dials it.
    pub(crate) endpoint: &'a str,
    /// The channel for which it is dialled, whose caller it shows.
    pub(crate) originator: Option<&'a str>,
    /// The number it shows instead.
    pub(crate) caller_id: Option<&'a str>,
    pub(crate) ring_ms: u64,
    pub(crate) auto_answer: bool,
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

/// What Asterisk says of a channel that is not in the application, with the same status as for a recording that is there.
const NOT_IN_YET: &str = "not in Stasis";
/// How often, and after which pause, a channel that was just made is tried: a second in all, a hundred times what it takes.
const ENTRY_TRIES: u32 = 40;
const ENTRY_PAUSE: Duration = Duration::from_millis(25);

/// A bridge that was made before, by us or a predecessor: Asterisk refuses to make it again under the same name.
fn there_is_fine(result: Result<(), AriError>) -> Result<(), AriError> {
    match result {
        Err(AriError::Refused { status: 409, .. }) => Ok(()),
        other => other,
    }
}

fn gone_is_fine(result: Result<(), AriError>) -> Result<(), AriError> {
    match result {
        Err(error) if error.is_missing() => Ok(()),
        other => other,
    }
}

/// The ringing tone of most of Europe: 425 Hz, one second in five.
const RINGING_TONE: &str = "tone:425/1000,0/4000";

/// The bridge of a room.
pub(crate) fn room_bridge(interaction: InteractionId, room: Room) -> String {
    let suffix = match room {
        Room::Consult => 'k',
        Room::Main => 'm',
        Room::Waiting => 'h',
    };
    format!("rd-{interaction}-{suffix}")
}

/// The bridge of the spy whose leg has this number.
pub(crate) fn spy_bridge(interaction: InteractionId, number: u32) -> String {
    format!("rd-{interaction}-l{number}")
}

/// The channel through which that spy hears, and whispers or not.
pub(crate) fn spying_channel(interaction: InteractionId, number: u32, whispers: bool) -> String {
    format!("rd-{interaction}-s{number}{}", if whispers { 'w' } else { 'l' })
}

/// The channel through which a party is recorded.
fn taping_channel(interaction: InteractionId, number: u32) -> String {
    format!("rd-{interaction}-r{number}")
}

/// Whether a channel of ours only serves others of its conversation: it ends with them.
pub(crate) fn is_serving(channel: &str) -> bool {
    channel.rsplit_once('-').is_some_and(|(_, last)| last.starts_with(['s', 'r']))
}

/// The interaction a channel or bridge of ours belongs to, by its id.
pub(crate) fn owner_of(id: &str) -> Option<InteractionId> {
    id.strip_prefix("rd-")?.get(..36)?.parse().ok()
}

/// What Redis' `nodes` hash tells about a node.
pub(crate) fn node_status(node: &NodeId, connected: bool, calls: usize, started: &str) -> String {
    json!({ "node": node, "connected": connected, "calls": calls, "asterisk_started": started }).to_string()
}
