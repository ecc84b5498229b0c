//! A tenant as PostgreSQL holds it. Plain values: nothing is believed before it is compiled.

use ringdown_domain::{AgentId, QueueId, RouteId, TenantId, TrunkId};

/// Everything of one tenant, read in one snapshot.
#[derive(Clone, Debug)]
pub struct TenantRows {
    /// The tenant.
    pub tenant: TenantId,
    /// Its name.
    pub name: String,
    /// Its SIP realm.
    pub realm: String,
    /// Its revision: the version's number.
    pub revision: u64,
    /// Skill names.
    pub skills: Vec<String>,
    /// Agents.
    pub agents: Vec<AgentRow>,
    /// Who can do what.
    pub agent_skills: Vec<AgentSkillRow>,
    /// Queues.
    pub queues: Vec<QueueRow>,
    /// What queues need.
    pub queue_skills: Vec<QueueSkillRow>,
    /// Trunks.
    pub trunks: Vec<TrunkRow>,
    /// Its outbound routes.
    pub outbound_routes: Vec<OutboundRouteRow>,
    /// Routes.
    pub routes: Vec<RouteRow>,
}

/// An agent.
#[derive(Clone, Debug)]
pub struct AgentRow {
    /// Who.
    pub id: AgentId,
    /// The name supervisors see.
    pub name: String,
    /// The SIP user of the phone.
    pub sip_user: Option<String>,
    /// MD5(user:realm:password) in hexadecimal.
    pub ha1_md5: Option<String>,
    /// SHA-256(user:realm:password) in hexadecimal.
    pub ha1_sha256: Option<String>,
}

/// An agent's skill.
#[derive(Clone, Debug)]
pub struct AgentSkillRow {
    /// Whose.
    pub agent: AgentId,
    /// Which.
    pub skill: String,
    /// How well.
    pub level: i16,
}

/// A queue.
#[derive(Clone, Debug)]
pub struct QueueRow {
    /// Which.
    pub id: QueueId,
    /// The name supervisors see.
    pub name: String,
    /// 0 to 100.
    pub priority: i16,
    /// Milliseconds.
    pub ring_timeout_ms: i64,
    /// Milliseconds.
    pub wrap_up_ms: i64,
    /// Milliseconds, if there is a limit.
    pub wait_limit_ms: Option<i64>,
    /// Most waiting interactions.
    pub capacity: i64,
    /// Milliseconds.
    pub service_level_ms: i64,
    /// `not_ready` or `stay_ready`.
    pub after_no_answer: String,
    /// Busy answers in a row after which an agent is not ready.
    pub busy_limit: i64,
    /// Whether its calls are recorded.
    pub recorded: bool,
}

/// A skill a queue needs.
#[derive(Clone, Debug)]
pub struct QueueSkillRow {
    /// Whose.
    pub queue: QueueId,
    /// Which.
    pub skill: String,
    /// At least.
    pub min_level: i16,
}

/// A trunk.
#[derive(Clone, Debug)]
pub struct TrunkRow {
    /// Which.
    pub id: TrunkId,
    /// The name administrators see.
    pub name: String,
    /// Addresses and networks.
    pub sources: Vec<String>,
    /// Most calls at once.
    pub capacity: i32,
    /// The country whose national numbers the carrier sends; none: they stay as they are.
    pub country_code: Option<String>,
    /// What stands before a number with its country's code, beside `+`.
    pub international_prefix: String,
    /// What stands before a number of the country itself.
    pub national_prefix: String,
    /// Where calls over it go; none: calls only come in.
    pub destination: Option<String>,
    /// The number that calls over it show.
    pub caller_id: Option<String>,
}

/// An outbound route.
#[derive(Clone, Debug)]
pub struct OutboundRouteRow {
    /// Which.
    pub id: RouteId,
    /// What a number begins with.
    pub prefix: String,
    /// Taken off.
    pub strip: String,
    /// Put before.
    pub prepend: String,
    /// Over which trunks.
    pub trunks: Vec<TrunkId>,
    /// The number that is shown; none: the trunk's.
    pub caller_id: Option<String>,
}

/// A route.
#[derive(Clone, Debug)]
pub struct RouteRow {
    /// Which.
    pub id: RouteId,
    /// The dialled number.
    pub did: String,
    /// Where to.
    pub queue: QueueId,
    /// Only over this trunk.
    pub trunk: Option<TrunkId>,
}
