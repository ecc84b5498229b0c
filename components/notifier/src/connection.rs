//! One browser, from its opening message to its close code.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::SinkExt;
use futures_util::stream::{SplitSink, SplitStream, StreamExt};
use ringdown_domain::TenantId;
use ringdown_live_views::{ClientMessage, Interaction, LiveAgent, Position, Scope, ServerMessage, SnapshotCause};
use ringdown_notifier_core::{Audience, CloseCode, Resume, resume};
use ringdown_redis_store::session::{self, Role, Session, Standing, TokenAnswer};
use ringdown_redis_store::{RedisPool, StoreError, snapshot};
use ringdown_service::{Clock, Shutdown};
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::error::ProtocolError;

use crate::config::Limits;
use crate::feed::{Feed, Feeds, Pulled};
use crate::journal::{self, Delta};
use crate::lobby::Lobby;
use crate::metrics::NotifierMetrics;
use crate::seats::Seats;

/// Entries sent before the next look at what the browser says.
const BATCH: usize = 64;
/// Records per part of a snapshot: about 150 kB.
const SNAPSHOT_PART: usize = 500;
/// A browser that is up to date is told its position this often, so that a later resume starts from there.
const POSITION_EVERY: Duration = Duration::from_secs(10);
/// Longest wait for a close frame to leave and to be answered. Without the wait a browser that is still sending would be
/// reset, and would never read why it was sent away (RFC 6455 7.1.1).
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// What all connections share.
#[derive(Clone, Debug)]
pub(crate) struct Hub {
    pub(crate) pool: RedisPool,
    pub(crate) feeds: Feeds,
    pub(crate) metrics: NotifierMetrics,
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
    pub(crate) shutdown: Shutdown,
    /// Who has not opened yet.
    pub(crate) lobby: Lobby,
    /// Who has, by tenant.
    pub(crate) seats: Seats,
    /// Snapshots are large: only a few are made at once.
    pub(crate) snapshots: Arc<Semaphore>,
    /// So are questions to web-api about tokens: strangers may ask, too.
    pub(crate) questions: Arc<Semaphore>,
}

/// Why a connection ends.
enum End {
    /// We close it.
    Close(CloseCode),
    /// The browser left.
    Gone,
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        log::warn!(error:% = error; "a browser is sent away until Redis is back");
        Self::Close(CloseCode::StoreUnavailable)
    }
}

/// Serves one WebSocket until it ends.
/// `cookie` is the token of a browser whose page is this host's own.
pub(crate) async fn serve(hub: Hub, socket: WebSocket, source: IpAddr, cookie: Option<String>) {
    let (sink, mut stream) = socket.split();
    let mut outlet =
        Outlet { sink, metrics: hub.metrics.clone(), write_wait: hub.limits.write_wait, sent: Instant::now() };
    hub.metrics.connections.inc();
    let end = match admit_opening(&hub, &mut stream, source, cookie).await {
        Ok(opening) => converse(&hub, opening, &mut outlet, &mut stream).await,
        Err(end) => end,
    };
    hub.metrics.connections.dec();
    match end {
        End::Close(code) => outlet.close(stream, code).await,
        End::Gone => {}
    }
}

/// The opening message of somebody who may see something. Until it has come, the connection may have to make room.
async fn admit_opening(
    hub: &Hub,
    stream: &mut SplitStream<WebSocket>,
    source: IpAddr,
    cookie: Option<String>,
) -> Result<Opening, End> {
    let guest = hub.lobby.enter(source);
    let opened = tokio::select! {
        opened = tokio::time::timeout(hub.limits.open_wait, open(hub, stream, cookie)) => opened,
        () = guest.must_leave() => return Err(End::Close(CloseCode::Full)),
        () = hub.shutdown.requested() => return Err(End::Close(CloseCode::GoingAway)),
    };
    opened.unwrap_or(Err(End::Close(CloseCode::Timeout)))
}

async fn converse(hub: &Hub, opening: Opening, outlet: &mut Outlet, stream: &mut SplitStream<WebSocket>) -> End {
    let Some(_seat) = hub.seats.take(opening.tenant) else {
        return End::Close(CloseCode::Full);
    };
    let feed = hub.feeds.watch(opening.tenant);
    let mut connection =
        Connection { hub, opening, feed, position: Position { epoch: String::new(), seq: 0 }, figures: 0 };
    match connection.run(outlet, stream).await {
        Ok(never) => match never {},
        Err(end) => end,
    }
}

/// What a browser may see, and where it goes on.
struct Opening {
    tenant: TenantId,
    audience: Audience,
    position: Option<Position>,
    token: String,
    session: Session,
}

/// Reads the opening message and checks who sent it.
async fn open(hub: &Hub, stream: &mut SplitStream<WebSocket>, cookie: Option<String>) -> Result<Opening, End> {
    let text = loop {
        match stream.next().await {
            Some(Ok(Message::Text(text))) => break text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Binary(_))) => return Err(End::Close(CloseCode::BadMessage)),
            Some(Err(error)) => return Err(broken(&error)),
            Some(Ok(Message::Close(_))) | None => return Err(End::Gone),
        }
    };
    let Ok(ClientMessage::Open { token, tenant, topics, position }) = serde_json::from_str(&text) else {
        return Err(End::Close(CloseCode::BadMessage));
    };
    if topics.is_empty() || topics.len() > 3 {
        return Err(End::Close(CloseCode::BadMessage));
    }
    let token = token.or(cookie).ok_or(End::Close(CloseCode::Unauthenticated))?;
    let session = match who_is(hub, &token).await? {
        TokenAnswer::Valid(session) => session,
        TokenAnswer::Unknown => return Err(End::Close(CloseCode::Unauthenticated)),
        TokenAnswer::Silent => return Err(End::Close(CloseCode::StoreUnavailable)),
    };
    let (tenant, scope) = admit(&session, tenant).ok_or(End::Close(CloseCode::Forbidden))?;
    let audience = Audience { topics: topics.into_iter().collect::<BTreeSet<_>>(), scope };
    if audience.asks_too_much() {
        log::info!(user:% = session.user; "denied: figures of queues are not for agents");
        return Err(End::Close(CloseCode::Forbidden));
    }
    Ok(Opening { tenant, audience, position, token, session })
}

/// Who a token stands for: as Redis says, or as web-api says of an API token that Redis does not remember.
async fn who_is(hub: &Hub, token: &str) -> Result<TokenAnswer, StoreError> {
    if let Standing::Valid(session) = session::look_up(&hub.pool, token, hub.clock.now()).await? {
        return Ok(TokenAnswer::Valid(session));
    }
    // Closed only when the process ends.
    let Ok(_turn) = hub.questions.acquire().await else { return Ok(TokenAnswer::Silent) };
    session::ask(&hub.pool, token, hub.clock.now()).await
}

/// The tenant and the eyes of a log-in; none when it asks for what it may not see.
fn admit(session: &Session, asked: Option<TenantId>) -> Option<(TenantId, Scope)> {
    let tenant = match (session.tenant, asked) {
        (Some(own), None) => own,
        (Some(own), Some(asked)) if own == asked => own,
        (None, Some(asked)) => asked,
        (Some(_), Some(_)) | (None, None) => {
            log::info!(user:% = session.user; "denied: not the log-in's tenant");
            return None;
        }
    };
    let scope = match session.role {
        Role::Agent => Scope::Agent(session.agent?),
        Role::Supervisor | Role::Administrator => Scope::Tenant,
    };
    Some((tenant, scope))
}

/// An open connection.
struct Connection<'a> {
    hub: &'a Hub,
    opening: Opening,
    feed: Arc<Feed>,
    position: Position,
    /// Version of the queue figures sent.
    figures: u64,
}

/// Nothing: the loop of a connection only ends by an error.
enum Never {}

impl Connection<'_> {
    async fn run(&mut self, outlet: &mut Outlet, stream: &mut SplitStream<WebSocket>) -> Result<Never, End> {
        let mut changes = self.feed.changes();
        self.begin(outlet).await?;
        let mut heard = Instant::now();
        let mut ping = every(self.hub.limits.ping_every);
        let mut look_up = every(self.hub.limits.session_every);
        loop {
            self.catch_up(outlet).await?;
            tokio::select! {
                changed = changes.changed() => changed.map_err(|_| End::Close(CloseCode::GoingAway))?,
                message = stream.next() => {
                    heard = Instant::now();
                    hear(message)?;
                }
                _ = ping.tick() => self.ping(outlet, heard).await?,
                _ = look_up.tick() => self.check_session().await?,
                () = self.hub.shutdown.requested() => return Err(End::Close(CloseCode::GoingAway)),
            }
        }
    }

    /// Resumes or sends a snapshot.
    async fn begin(&mut self, outlet: &mut Outlet) -> Result<(), End> {
        let extent = journal::extent(&self.hub.pool, self.opening.tenant).await?;
        match resume(self.opening.position.as_ref(), &extent.epoch, extent.first, extent.last) {
            Resume::After(seq) => {
                self.hub.metrics.opened("resumed");
                self.position = Position { epoch: extent.epoch, seq };
                outlet.say(&ServerMessage::Resumed { position: self.position.clone() }).await
            }
            Resume::Snapshot(cause) => self.snapshot(outlet, cause).await,
        }
    }

    async fn snapshot(&mut self, outlet: &mut Outlet, cause: SnapshotCause) -> Result<(), End> {
        self.hub.metrics.opened("snapshot");
        let Ok(_permit) = self.hub.snapshots.acquire().await else {
            return Err(End::Close(CloseCode::GoingAway));
        };
        let mut state = snapshot::read(&self.hub.pool, self.opening.tenant).await?;
        let audience = &self.opening.audience;
        state.agents.retain(|agent| audience.sees_agent(agent.id));
        state.interactions.retain(|interaction| audience.sees_interaction(interaction));
        self.position = Position { epoch: state.router.journal_epoch, seq: state.router.seq };
        let parts = state.agents.len().max(state.interactions.len()).div_ceil(SNAPSHOT_PART).max(1);
        let mut agents = state.agents.into_iter().map(LiveAgent::from);
        let mut interactions = state.interactions.into_iter().map(Interaction::from);
        for part in 1..=parts {
            let message = ServerMessage::Snapshot {
                position: self.position.clone(),
                cause,
                part: u32::try_from(part).unwrap_or(u32::MAX),
                last: part == parts,
                acd_open: state.router.open,
                agents: agents.by_ref().take(SNAPSHOT_PART).collect(),
                interactions: interactions.by_ref().take(SNAPSHOT_PART).collect(),
            };
            outlet.say(&message).await?;
        }
        self.figures = 0;
        Ok(())
    }

    /// Sends everything there is after the position, then the figures that changed.
    async fn catch_up(&mut self, outlet: &mut Outlet) -> Result<(), End> {
        loop {
            match self.feed.pull(&self.position.epoch, self.position.seq, BATCH) {
                Pulled::Deltas(deltas, newest) => {
                    self.check_lag(newest)?;
                    self.tell(outlet, &deltas).await?;
                }
                Pulled::Behind(newest) => {
                    self.check_lag(newest)?;
                    self.read_page(outlet).await?;
                }
                Pulled::Reset => self.after_reset(outlet).await?,
                Pulled::UpToDate => break,
            }
        }
        self.tell_figures(outlet).await?;
        if outlet.sent.elapsed() >= POSITION_EVERY {
            outlet.say(&ServerMessage::Position { position: self.position.clone() }).await?;
        }
        Ok(())
    }

    /// The feed follows another journal than this connection. The feed may also be late: it started before the tenant's
    /// first commit. Redis knows.
    async fn after_reset(&mut self, outlet: &mut Outlet) -> Result<(), End> {
        let extent = journal::extent(&self.hub.pool, self.opening.tenant).await?;
        if extent.epoch != self.position.epoch {
            return self.snapshot(outlet, SnapshotCause::JournalReset).await;
        }
        self.read_page(outlet).await?;
        // Until the feed has started again there is nothing to pull.
        let mut changes = self.feed.changes();
        let waited = tokio::time::timeout(Duration::from_millis(200), changes.changed()).await;
        if let Ok(Err(_)) = waited {
            return Err(End::Close(CloseCode::GoingAway));
        }
        Ok(())
    }

    fn check_lag(&self, newest: u64) -> Result<(), End> {
        if newest.saturating_sub(self.position.seq) > self.hub.limits.lag_entries {
            return Err(End::Close(CloseCode::SlowReader));
        }
        Ok(())
    }

    async fn read_page(&mut self, outlet: &mut Outlet) -> Result<(), End> {
        self.hub.metrics.pages.inc();
        let deltas = journal::page(&self.hub.pool, self.opening.tenant, self.position.seq).await?;
        if deltas.first().is_some_and(|delta| delta.entry.seq != self.position.seq + 1) {
            return self.snapshot(outlet, SnapshotCause::TooOld).await;
        }
        self.tell(outlet, &deltas).await
    }

    async fn tell(&mut self, outlet: &mut Outlet, deltas: &[Arc<Delta>]) -> Result<(), End> {
        for delta in deltas {
            if self.opening.audience.sees(&delta.entry.event) {
                outlet.say_text(delta.text(self.opening.audience.scope)).await?;
            }
            self.position.seq = delta.entry.seq;
        }
        Ok(())
    }

    async fn tell_figures(&mut self, outlet: &mut Outlet) -> Result<(), End> {
        if !self.opening.audience.sees_queues() {
            return Ok(());
        }
        let (version, queues) = self.feed.figures_after(self.figures);
        self.figures = version;
        if queues.is_empty() {
            return Ok(());
        }
        outlet.say(&ServerMessage::Queues { queues }).await
    }

    async fn ping(&self, outlet: &mut Outlet, heard: Instant) -> Result<(), End> {
        if heard.elapsed() > self.hub.limits.ping_every * 3 {
            return Err(End::Close(CloseCode::Timeout));
        }
        outlet.send(Message::Ping(axum::body::Bytes::new())).await
    }

    /// A log-in that was ended, or whose time is over, sees nothing more; nor does an API token that was revoked. One whose
    /// user may see something else by now begins anew.
    async fn check_session(&mut self) -> Result<(), End> {
        let answer = if self.opening.session.api_token {
            who_is(self.hub, &self.opening.token).await
        } else {
            let standing = session::look_up(&self.hub.pool, &self.opening.token, self.hub.clock.now()).await;
            standing.map(|standing| match standing {
                Standing::Valid(session) => TokenAnswer::Valid(session),
                Standing::Over | Standing::Unknown => TokenAnswer::Unknown,
            })
        };
        match answer {
            Ok(TokenAnswer::Valid(session)) if sees_the_same(&session, &self.opening.session) => {
                self.opening.session = session;
                Ok(())
            }
            Ok(TokenAnswer::Valid(_)) => Err(End::Close(CloseCode::GoingAway)),
            Ok(TokenAnswer::Unknown) => Err(End::Close(CloseCode::Unauthenticated)),
            // Nobody can revoke a token while no web-api is there.
            Ok(TokenAnswer::Silent) => Ok(()),
            // Redis is away: what was allowed stays allowed until it is back.
            Err(error) => {
                log::debug!(tenant:% = self.feed.tenant(), error:% = error; "a log-in could not be looked up");
                Ok(())
            }
        }
    }
}

fn sees_the_same(one: &Session, other: &Session) -> bool {
    one.user == other.user && one.tenant == other.tenant && one.role == other.role && one.agent == other.agent
}

/// Ticks after each `period`, not at once as a plain interval does.
fn every(period: Duration) -> tokio::time::Interval {
    tokio::time::interval_at(tokio::time::Instant::now() + period, period)
}

/// Judges what an open browser says: nothing but pongs and a good-bye is expected.
fn hear(message: Option<Result<Message, axum::Error>>) -> Result<(), End> {
    match message {
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
        Some(Ok(Message::Text(_) | Message::Binary(_))) => Err(End::Close(CloseCode::BadMessage)),
        Some(Err(error)) => Err(broken(&error)),
        Some(Ok(Message::Close(_))) | None => Err(End::Gone),
    }
}

/// What a browser is told that breaks the protocol (RFC 6455 7.1.7: a close frame says why); one that is gone is told nothing.
fn broken(error: &axum::Error) -> End {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(reason) = cause {
        if let Some(reason) = reason.downcast_ref::<tungstenite::Error>() {
            return code_of(reason).map_or(End::Gone, End::Close);
        }
        cause = reason.source();
    }
    End::Gone
}

/// The code for a breach; none when the connection itself failed.
fn code_of(error: &tungstenite::Error) -> Option<CloseCode> {
    if let tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) = error {
        return None;
    }
    let is_breach = |matches: bool, code| matches.then_some(code);
    is_breach(matches!(error, tungstenite::Error::Capacity(_)), CloseCode::TooLarge)
        .or(is_breach(matches!(error, tungstenite::Error::Utf8(_)), CloseCode::NotText))
        .or(is_breach(matches!(error, tungstenite::Error::Protocol(_)), CloseCode::Protocol))
}

/// The way to the browser, with a limit on every message.
struct Outlet {
    sink: SplitSink<WebSocket, Message>,
    metrics: NotifierMetrics,
    write_wait: Duration,
    /// When the last message left.
    sent: Instant,
}

impl Outlet {
    async fn say(&mut self, message: &ServerMessage) -> Result<(), End> {
        let text = serde_json::to_string(message).expect("our own messages have string keys only");
        self.say_text(Utf8Bytes::from(text)).await
    }

    async fn say_text(&mut self, text: Utf8Bytes) -> Result<(), End> {
        self.send(Message::Text(text)).await?;
        self.metrics.messages.inc();
        self.sent = Instant::now();
        Ok(())
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        match tokio::time::timeout(self.write_wait, self.sink.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::Close(CloseCode::SlowReader)),
        }
    }

    /// Says why, then waits for the browser's own close frame.
    async fn close(&mut self, mut stream: SplitStream<WebSocket>, code: CloseCode) {
        self.metrics.closed(code);
        let frame = CloseFrame { code: code.code(), reason: Utf8Bytes::from_static(code.reason()) };
        let closing = async {
            self.sink.send(Message::Close(Some(frame))).await?;
            while let Some(Ok(_)) = stream.next().await {}
            self.sink.close().await
        };
        match tokio::time::timeout(CLOSE_WAIT, closing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                log::debug!(code = code.code(), error:% = error; "the browser left before it was told why")
            }
            Err(_) => log::debug!(code = code.code(); "the browser does not read why it is sent away"),
        }
    }
}
