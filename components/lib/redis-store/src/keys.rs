//! Every key name of the installation. The table in components/README.md says who writes what.
//!
//! `{T}` is the tenant's id in braces (the hash tag of Redis Cluster), so all keys of a tenant live on one shard and
//! one script may touch them together.

use ringdown_domain::{AgentId, InteractionId, NodeId, SkillName, TenantId, UserId};

/// Ids of the tenants that have a configuration (set).
pub const TENANTS: &str = "tenants";
/// SIP realm to tenant id (hash).
pub const REALMS: &str = "realms";
/// Trunk id to tenant id (hash).
pub const TRUNKS: &str = "trunks";
/// Hosts that render configuration for an Asterisk, to JSON of [`crate::RendererSign`] (hash).
pub const RENDERERS: &str = "renderers";
/// Media nodes by name (hash).
pub const NODES: &str = "nodes";
/// What the voice duties put into the object store (stream): [`ringdown_events::RecordingNote`].
pub const RECORDED: &str = "recorded";
/// The lease of the provisioner that compiles, and the counter of its epochs; braced so that both share a shard.
pub const PROVISIONER_LEASE: &str = "{provisioner}:lease";
/// See [`PROVISIONER_LEASE`].
pub const PROVISIONER_EPOCH: &str = "{provisioner}:epoch";
/// The channel that nudges readers of configuration: `<tenant>:<version>`.
pub const CONFIG_CHANNEL: &str = "config";

/// The field of a command, journal or voice entry.
pub const ENTRY_FIELD: &str = "e";
/// The field of an outcome entry that names the process that asked.
pub const OUTCOME_ASKER_FIELD: &str = "a";
/// The field of an outcome entry that names the command.
pub const OUTCOME_COMMAND_FIELD: &str = "c";
/// The field of an outcome entry that holds the outcome.
pub const OUTCOME_FIELD: &str = "o";

/// The command stream.
#[must_use]
pub fn commands(tenant: TenantId) -> String {
    format!("{{{tenant}}}:commands")
}

/// The outcome stream.
#[must_use]
pub fn outcomes(tenant: TenantId) -> String {
    format!("{{{tenant}}}:outcomes")
}

/// The journal.
#[must_use]
pub fn journal(tenant: TenantId) -> String {
    format!("{{{tenant}}}:journal")
}

/// What is committed and waits for replicas before it goes into the outcomes, the journal and the voice streams (list).
#[must_use]
pub fn unshown(tenant: TenantId) -> String {
    format!("{{{tenant}}}:unshown")
}

/// Interactions that ended, by when (sorted set, ms): for answering for them, and for listing them.
#[must_use]
pub fn ended(tenant: TenantId) -> String {
    format!("{{{tenant}}}:ended")
}

/// The effects for the voice duty that owns a node.
#[must_use]
pub fn voice(tenant: TenantId, node: &NodeId) -> String {
    format!("{{{tenant}}}:voice:{node}")
}

/// The router's own record (hash).
#[must_use]
pub fn router(tenant: TenantId) -> String {
    format!("{{{tenant}}}:router")
}

/// An agent's record.
#[must_use]
pub fn agent(tenant: TenantId, agent: AgentId) -> String {
    format!("{{{tenant}}}:agent:{agent}")
}

/// What an agent's key begins with.
#[must_use]
pub fn agent_prefix(tenant: TenantId) -> String {
    format!("{{{tenant}}}:agent:")
}

/// Ids of all agents (set).
#[must_use]
pub fn agents(tenant: TenantId) -> String {
    format!("{{{tenant}}}:agents")
}

/// An interaction's record.
#[must_use]
pub fn interaction(tenant: TenantId, interaction: InteractionId) -> String {
    format!("{{{tenant}}}:interaction:{interaction}")
}

/// What an interaction's key begins with.
#[must_use]
pub fn interaction_prefix(tenant: TenantId) -> String {
    format!("{{{tenant}}}:interaction:")
}

/// Ids of the interactions that have not ended (set).
#[must_use]
pub fn live(tenant: TenantId) -> String {
    format!("{{{tenant}}}:live")
}

/// The universal queue: waiting interactions by rank (sorted set).
#[must_use]
pub fn queue(tenant: TenantId) -> String {
    format!("{{{tenant}}}:queue")
}

/// The available agents with a skill, by availability time (sorted set).
#[must_use]
pub fn available(tenant: TenantId, skill: &SkillName) -> String {
    format!("{{{tenant}}}:available:{skill}")
}

/// What the keys of the index of available agents begin with.
#[must_use]
pub fn available_prefix(tenant: TenantId) -> String {
    format!("{{{tenant}}}:available:")
}

/// The journal entries of one interaction (list).
#[must_use]
pub fn history(tenant: TenantId, interaction: InteractionId) -> String {
    format!("{{{tenant}}}:history:{interaction}")
}

/// What a request with an Idempotency-Key was answered.
#[must_use]
pub fn answer(tenant: TenantId, request: &str) -> String {
    format!("{{{tenant}}}:answer:{request}")
}

/// The call record of the voice duty.
#[must_use]
pub fn call(tenant: TenantId, interaction: InteractionId) -> String {
    format!("{{{tenant}}}:call:{interaction}")
}

/// The lease of the tenant's router.
#[must_use]
pub fn router_lease(tenant: TenantId) -> String {
    format!("{{{tenant}}}:lease:router")
}

/// The counter of the router lease's epochs.
#[must_use]
pub fn router_epoch(tenant: TenantId) -> String {
    format!("{{{tenant}}}:epoch:router")
}

/// The voice lease of a media node. The name is braced so that lease and epoch share a shard.
#[must_use]
pub fn node_lease(node: &NodeId) -> String {
    format!("node:{{{node}}}:lease")
}

/// The counter of a node lease's epochs.
#[must_use]
pub fn node_epoch(node: &NodeId) -> String {
    format!("node:{{{node}}}:epoch")
}

/// The configuration version in force.
#[must_use]
pub fn config_current(tenant: TenantId) -> String {
    format!("{{{tenant}}}:config:current")
}

/// The facts about a version, written last.
#[must_use]
pub fn config_meta(tenant: TenantId, version: u64) -> String {
    format!("{{{tenant}}}:config:{version}")
}

/// What the keys of all versions begin with.
#[must_use]
pub fn config_prefix(tenant: TenantId) -> String {
    format!("{{{tenant}}}:config:")
}

/// The highest epoch of the provisioner's lease that wrote the tenant's configuration.
#[must_use]
pub fn config_fence(tenant: TenantId) -> String {
    format!("{{{tenant}}}:config:fence")
}

/// The versions that are written, with their bytes (hash).
#[must_use]
pub fn config_sizes(tenant: TenantId) -> String {
    format!("{{{tenant}}}:config:sizes")
}

/// The keys of all tenants, and whose a key is.
pub const OF_TENANTS: &str = "{*}:*";

/// The tenant a key belongs to, if it is a tenant's.
#[must_use]
pub fn tenant_of(key: &str) -> Option<TenantId> {
    key.strip_prefix('{')?.split_once('}')?.0.parse().ok()
}

/// A part of a version.
#[must_use]
pub fn config_part(tenant: TenantId, version: u64, part: ConfigPart) -> String {
    format!("{{{tenant}}}:config:{version}:{}", part.name())
}

/// The parts of a compiled configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConfigPart {
    /// Skill names (set).
    Skills,
    /// Agent id to `AgentConfig` (hash).
    Agents,
    /// Queue id to `QueueConfig` (hash).
    Queues,
    /// Dialled number to `RouteConfig` (hash).
    Routes,
    /// Trunk id to `TrunkConfig` (hash).
    Trunks,
    /// SIP user to `SipCredential` (hash).
    Credentials,
}

impl ConfigPart {
    /// All parts, in the order in which they are written.
    pub const ALL: [Self; 6] =
        [Self::Skills, Self::Agents, Self::Queues, Self::Routes, Self::Trunks, Self::Credentials];

    /// The part's name in its key and in `ConfigMeta::counts`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Skills => "skills",
            Self::Agents => "agents",
            Self::Queues => "queues",
            Self::Routes => "routes",
            Self::Trunks => "trunks",
            Self::Credentials => "credentials",
        }
    }
}

/// Which version the daemons of a host run (hash): field `<daemon>/<tenant>`.
#[must_use]
pub fn config_status(host: &str) -> String {
    format!("config:status:{host}")
}

/// The bindings of an AOR (hash).
#[must_use]
pub fn location(tenant: TenantId, user: &str) -> String {
    format!("{{{tenant}}}:location:{user}")
}

/// The channel that carries the users whose bindings changed, each behind who changed them and a space.
#[must_use]
pub fn location_changed(tenant: TenantId) -> String {
    format!("{{{tenant}}}{LOCATION_CHANGED}")
}

const LOCATION_CHANGED: &str = ":location-changed";

/// The pattern of [`location_changed`] of all tenants.
#[must_use]
pub fn location_changed_pattern() -> String {
    format!("{{*}}{LOCATION_CHANGED}")
}

/// Whose channel this is, when it is one of [`location_changed`].
#[must_use]
pub fn tenant_of_location_changed(channel: &str) -> Option<TenantId> {
    channel.strip_prefix('{')?.strip_suffix(LOCATION_CHANGED)?.strip_suffix('}')?.parse().ok()
}

/// Short-lived credentials of a user's browser phones, by id (hash).
#[must_use]
pub fn phone_credentials(tenant: TenantId, user: &str) -> String {
    format!("{{{tenant}}}:phone-credentials:{user}")
}

/// The channel that carries the users whose short-lived credentials changed.
#[must_use]
pub fn phone_credentials_changed(tenant: TenantId) -> String {
    format!("{{{tenant}}}{PHONE_CREDENTIALS_CHANGED}")
}

const PHONE_CREDENTIALS_CHANGED: &str = ":phone-credentials-changed";

/// The pattern of [`phone_credentials_changed`] of all tenants.
#[must_use]
pub fn phone_credentials_changed_pattern() -> String {
    format!("{{*}}{PHONE_CREDENTIALS_CHANGED}")
}

/// Whose channel this is, when it is one of [`phone_credentials_changed`].
#[must_use]
pub fn tenant_of_phone_credentials_changed(channel: &str) -> Option<TenantId> {
    channel.strip_prefix('{')?.strip_suffix(PHONE_CREDENTIALS_CHANGED)?.strip_suffix('}')?.parse().ok()
}

/// A log-in session by the hexadecimal SHA-256 of its token.
#[must_use]
pub fn session(token_sha256: &str) -> String {
    format!("session:{token_sha256}")
}

/// The generation below which a user's log-ins are worth nothing.
#[must_use]
pub fn user_generation(user: UserId) -> String {
    format!("user:{user}:generation")
}

/// Says for a moment that a token, by its digest, is nobody's.
#[must_use]
pub fn token_unknown(token_sha256: &str) -> String {
    format!("token:{token_sha256}:unknown")
}

/// The channel that asks web-api whether a token, by its digest, is an API token.
pub const TOKEN_ASKED_CHANNEL: &str = "token-asked";
