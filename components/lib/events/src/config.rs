//! A tenant's configuration as the provisioner compiles it into Redis: one version, whole, immutable.

use std::collections::{BTreeMap, BTreeSet};

use ringdown_domain::{
    AgentId, Name, NumberPlan, Priority, QueueId, SkillLevel, SkillName, SkillRequirement, TenantId, TimestampMs,
    TrunkId,
};
use serde::{Deserialize, Serialize};

/// Facts about a version. Written last, so a version without it is not complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigMeta {
    /// The tenant.
    pub tenant: TenantId,
    /// The tenant's name.
    pub name: Name,
    /// The tenant's SIP realm (domain), lower case; unique in the installation.
    pub realm: String,
    /// 1, 2, 3 ... per tenant.
    pub version: u64,
    /// When it was compiled.
    pub compiled_at_ms: TimestampMs,
    /// Entries per part (`agents`, `queues`, ...), for a reader to check that it has them all.
    pub counts: BTreeMap<String, u64>,
    /// How outside numbers are dialled, the longest prefix first, at most 200; none: over any trunk that has a destination.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outbound: Vec<OutboundRouteConfig>,
}

/// The whole configuration of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompiledConfig {
    /// Facts about this version.
    pub meta: ConfigMeta,
    /// The skills that exist.
    pub skills: BTreeSet<SkillName>,
    /// The agents.
    pub agents: BTreeMap<AgentId, AgentConfig>,
    /// The queues.
    pub queues: BTreeMap<QueueId, QueueConfig>,
    /// From dialled number to queue.
    pub routes: BTreeMap<String, RouteConfig>,
    /// The trunks.
    pub trunks: BTreeMap<TrunkId, TrunkConfig>,
    /// SIP credentials by user name within the realm.
    pub credentials: BTreeMap<String, SipCredential>,
}

/// An agent as configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentConfig {
    /// Who.
    pub id: AgentId,
    /// The name supervisors see.
    pub name: Name,
    /// What the agent can do.
    pub skills: BTreeMap<SkillName, SkillLevel>,
    /// The SIP user of the agent's phone, if there is one.
    pub sip_user: Option<String>,
}

impl AgentConfig {
    /// The user under which the agent's phones register: the configured one, or for an agent who has a browser's phone only,
    /// the agent's id.
    #[must_use]
    pub fn phone_user(&self) -> String {
        self.sip_user.clone().unwrap_or_else(|| self.id.to_string())
    }
}

/// How a queue treats its interactions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRules {
    /// The skills every interaction of the queue needs.
    #[serde(default)]
    pub requirements: Vec<SkillRequirement>,
    /// Priority of interactions that bring none.
    #[serde(default)]
    pub priority: Priority,
    /// From offer to answer, 1,000 to 120,000 ms.
    pub ring_timeout_ms: u64,
    /// Longest wrap-up, 0 to 3,600,000 ms.
    pub wrap_up_ms: u64,
    /// Longest wait, 1,000 to 86,400,000 ms; none: no limit.
    pub wait_limit_ms: Option<u64>,
    /// Most waiting interactions, 1 to 100,000; a further one is refused.
    pub capacity: u32,
    /// The promised time to answer, in milliseconds, for the service level.
    pub service_level_ms: u64,
    /// What becomes of an agent who did not answer.
    #[serde(default)]
    pub after_no_answer: AfterNoAnswer,
    /// Busy answers in a row after which the agent is set not ready with the reason `busy`, 1 to 100. Until then the agent is
    /// left alone for longer each time.
    #[serde(default = "default_busy_limit")]
    pub busy_limit: u32,
    /// Whether its calls are recorded.
    #[serde(default, skip_serializing_if = "crate::is_false")]
    pub recorded: bool,
}

/// Three answers within some ten seconds: an agent who is on a private call is left in peace, one who rejects a call with the
/// phone's busy key is not taken out of the queue at once.
const fn default_busy_limit() -> u32 {
    3
}

/// The rules of interactions without a queue, and where a new queue starts.
impl Default for QueueRules {
    fn default() -> Self {
        Self {
            requirements: Vec::new(),
            priority: Priority::default(),
            // Three or four rings: long enough to reach for the phone, short enough for a caller.
            ring_timeout_ms: 15_000,
            wrap_up_ms: 0,
            wait_limit_ms: None,
            capacity: 100_000,
            // The field's common promise: 80 % in 20 s.
            service_level_ms: 20_000,
            after_no_answer: AfterNoAnswer::NotReady,
            busy_limit: default_busy_limit(),
            recorded: false,
        }
    }
}

/// What becomes of an agent who let an offer ring out (RONA).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterNoAnswer {
    /// Set not ready with the reason `rona`, until the agent says ready again.
    #[default]
    NotReady,
    /// Stays ready, at the end of the line: the availability clock starts anew.
    StayReady,
}

/// A queue as configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueConfig {
    /// Which.
    pub id: QueueId,
    /// The name supervisors see.
    pub name: Name,
    /// How it treats its interactions.
    pub rules: QueueRules,
}

/// Where calls to a number go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteConfig {
    /// The dialled number, unique in the tenant.
    pub did: String,
    /// The queue.
    pub queue: QueueId,
    /// Only calls over this trunk; none: any trunk of the tenant.
    pub trunk: Option<TrunkId>,
}

/// A carrier's connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrunkConfig {
    /// Which.
    pub id: TrunkId,
    /// The name administrators see.
    pub name: Name,
    /// Addresses or networks the carrier calls from (`192.0.2.7`, `192.0.2.0/24`), 1 to 32.
    pub sources: Vec<String>,
    /// Most calls at once, 1 to 10,000.
    pub capacity: u32,
    /// How the carrier writes numbers.
    #[serde(default)]
    pub numbers: NumberPlan,
    /// Where calls over this trunk go: an address with or without a port, as `192.0.2.7:5060`; none: calls only come in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// The number that calls over it show unless their route says another; none: the carrier's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_id: Option<String>,
}

/// How outside numbers are dialled. Of the routes whose prefix fits, the one with the longest is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboundRouteConfig {
    /// What the number begins with, as `+49`; empty: every number.
    pub prefix: String,
    /// Taken off the front before it is dialled.
    #[serde(default)]
    pub strip: String,
    /// Put before what is left.
    #[serde(default)]
    pub prepend: String,
    /// The trunks, the first choice first; a further one is tried when one fails. 1 to 8.
    pub trunks: Vec<TrunkId>,
    /// The number that is shown; none: the trunk's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_id: Option<String>,
}

/// What the registrar needs to check a phone. Never a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SipCredential {
    /// The user name within the realm.
    pub user: String,
    /// Whose phone.
    pub agent: AgentId,
    /// MD5(user:realm:password), 32 lower-case hex digits (RFC 2617 3.2.2.2).
    pub ha1_md5: String,
    /// SHA-256(user:realm:password), 64 lower-case hex digits (RFC 7616 3.4.2).
    pub ha1_sha256: String,
}

/// Hashes are as good as passwords for digest: they stay out of logs.
impl std::fmt::Debug for SipCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SipCredential").field("user", &self.user).field("agent", &self.agent).finish_non_exhaustive()
    }
}

/// A short-lived credential of the phone in an agent's browser: web-api writes it, the registrar reads it. Never a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhoneCredential {
    /// As [`SipCredential::ha1_md5`].
    pub ha1_md5: String,
    /// As [`SipCredential::ha1_sha256`].
    pub ha1_sha256: String,
    /// UTC milliseconds; worth nothing from then on.
    pub expires_at_ms: u64,
}

/// As good as a password for digest: stays out of logs.
impl std::fmt::Debug for PhoneCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PhoneCredential").field("expires_at_ms", &self.expires_at_ms).finish_non_exhaustive()
    }
}
