//! From rows to a configuration. PostgreSQL keeps most rules already; this is the last look before daemons believe it,
//! and it says all that is wrong at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ringdown_domain::{
    AgentId, MAX_REQUIREMENTS, MAX_SKILLS_PER_AGENT, Name, NumberPlan, PhoneNumber, Priority, QueueId, SkillLevel,
    SkillName, SkillRequirement, TimestampMs, TrunkId,
};
use ringdown_events::{
    AfterNoAnswer, AgentConfig, CompiledConfig, ConfigMeta, OutboundRouteConfig, QueueConfig, QueueRules, RouteConfig,
    SipCredential, TrunkConfig,
};

use crate::rows::{AgentRow, OutboundRouteRow, QueueRow, RouteRow, TenantRows, TrunkRow};

/// Most contradictions reported for one tenant; the first ones are the ones to mend.
const MAX_CONTRADICTIONS: usize = 50;

/// Why a tenant's rows make no configuration: the object and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// For instance `queue 0190...`.
    pub object: String,
    /// One sentence without the object.
    pub problem: String,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.problem)
    }
}

/// Compiles a tenant's rows.
///
/// # Errors
/// Everything that contradicts itself, at most fifty; nothing is compiled then.
pub fn compile(rows: &TenantRows, now: TimestampMs) -> Result<CompiledConfig, Vec<Contradiction>> {
    let mut compiler = Compiler { wrong: Vec::new(), skills: BTreeSet::new() };
    let config = compiler.tenant(rows, now);
    match config {
        Some(config) if compiler.wrong.is_empty() => Ok(config),
        Some(_) | None => Err(compiler.wrong),
    }
}

/// Collects what is wrong while it builds.
struct Compiler {
    wrong: Vec<Contradiction>,
    skills: BTreeSet<SkillName>,
}

impl Compiler {
    fn tenant(&mut self, rows: &TenantRows, now: TimestampMs) -> Option<CompiledConfig> {
        let name = self.parse::<Name>("tenant", &rows.tenant, "name", &rows.name);
        let realm = self.realm(rows);
        self.skills(rows);
        let mut abilities = self.abilities(rows);
        let agents = self.each(&rows.agents, |compiler, row| {
            compiler.agent(row, abilities.remove(&row.id).unwrap_or_default()).map(|agent| (agent.id, agent))
        });
        let mut needs = self.needs(rows);
        let queues = self.each(&rows.queues, |compiler, row| {
            compiler.queue(row, needs.remove(&row.id).unwrap_or_default()).map(|queue| (queue.id, queue))
        });
        let trunks = self.each(&rows.trunks, |compiler, row| compiler.trunk(row).map(|trunk| (trunk.id, trunk)));
        let routes = self.routes(rows);
        let credentials = self.credentials(rows);
        let meta = ConfigMeta {
            tenant: rows.tenant,
            name: name?,
            realm: realm?,
            version: rows.revision,
            compiled_at_ms: now,
            counts: BTreeMap::new(),
            outbound: self.outbound(rows),
        };
        Some(CompiledConfig {
            meta,
            skills: std::mem::take(&mut self.skills),
            agents,
            queues,
            routes,
            trunks,
            credentials,
        })
    }

    fn each<R, K: Ord, V>(
        &mut self,
        rows: &[R],
        mut build: impl FnMut(&mut Self, &R) -> Option<(K, V)>,
    ) -> BTreeMap<K, V> {
        rows.iter().filter_map(|row| build(self, row)).collect()
    }

    fn realm(&mut self, rows: &TenantRows) -> Option<String> {
        let label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
        if rows.realm.is_empty() || rows.realm.len() > 253 || !rows.realm.bytes().all(label) {
            self.report("tenant", &rows.tenant, "the realm must be 1 to 253 of a-z 0-9 . -");
            return None;
        }
        Some(rows.realm.clone())
    }

    fn skills(&mut self, rows: &TenantRows) {
        for text in &rows.skills {
            if let Some(skill) = self.parse::<SkillName>("skill", text, "name", text) {
                self.skills.insert(skill);
            }
        }
    }

    fn abilities(&mut self, rows: &TenantRows) -> BTreeMap<AgentId, BTreeMap<SkillName, SkillLevel>> {
        let mut abilities: BTreeMap<AgentId, BTreeMap<SkillName, SkillLevel>> = BTreeMap::new();
        for row in &rows.agent_skills {
            let skill = self.known_skill("agent", &row.agent, &row.skill);
            let level = self.level("agent", &row.agent, row.level);
            if let (Some(skill), Some(level)) = (skill, level) {
                abilities.entry(row.agent).or_default().insert(skill, level);
            }
        }
        abilities
    }

    fn needs(&mut self, rows: &TenantRows) -> BTreeMap<QueueId, Vec<SkillRequirement>> {
        let mut needs: BTreeMap<QueueId, Vec<SkillRequirement>> = BTreeMap::new();
        for row in &rows.queue_skills {
            let skill = self.known_skill("queue", &row.queue, &row.skill);
            let level = self.level("queue", &row.queue, row.min_level);
            if let (Some(skill), Some(min_level)) = (skill, level) {
                needs.entry(row.queue).or_default().push(SkillRequirement { skill, min_level });
            }
        }
        needs.values_mut().for_each(|list| list.sort());
        needs
    }

    fn agent(&mut self, row: &AgentRow, skills: BTreeMap<SkillName, SkillLevel>) -> Option<AgentConfig> {
        let name = self.parse::<Name>("agent", &row.id, "name", &row.name);
        if skills.len() > MAX_SKILLS_PER_AGENT {
            self.report("agent", &row.id, &format!("has more than {MAX_SKILLS_PER_AGENT} skills"));
        }
        if let Some(user) = &row.sip_user {
            self.sip_user(row, user);
        }
        Some(AgentConfig { id: row.id, name: name?, skills, sip_user: row.sip_user.clone() })
    }

    fn sip_user(&mut self, row: &AgentRow, user: &str) {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if user.is_empty() || user.len() > 64 || !user.bytes().all(allowed) {
            self.report("agent", &row.id, "the SIP user must be 1 to 64 of 0-9 A-Z a-z . _ -");
        }
    }

    fn queue(&mut self, row: &QueueRow, requirements: Vec<SkillRequirement>) -> Option<QueueConfig> {
        let name = self.parse::<Name>("queue", &row.id, "name", &row.name);
        if requirements.len() > MAX_REQUIREMENTS {
            self.report("queue", &row.id, &format!("needs more than {MAX_REQUIREMENTS} skills"));
        }
        let priority = u8::try_from(row.priority).ok().and_then(|value| Priority::try_from(value).ok());
        if priority.is_none() {
            self.report("queue", &row.id, "the priority must be 0 to 100");
        }
        let ring_timeout_ms = self.within(row, "the ring timeout", row.ring_timeout_ms, 1_000, 120_000);
        let wrap_up_ms = self.within(row, "the wrap-up", row.wrap_up_ms, 0, 3_600_000);
        let wait_limit_ms = row.wait_limit_ms.map(|limit| self.within(row, "the wait limit", limit, 1_000, 86_400_000));
        let capacity = self.within(row, "the capacity", row.capacity, 1, 100_000);
        let service_level_ms = self.within(row, "the service level", row.service_level_ms, 1, 86_400_000);
        let after_no_answer = self.after_no_answer(row);
        let busy_limit = self.within(row, "the limit of busy answers", row.busy_limit, 1, 100);
        let rules = QueueRules {
            requirements,
            priority: priority?,
            ring_timeout_ms: ring_timeout_ms?,
            wrap_up_ms: wrap_up_ms?,
            wait_limit_ms: wait_limit_ms.map_or(Some(None), |limit| limit.map(Some))?,
            capacity: u32::try_from(capacity?).ok()?,
            service_level_ms: service_level_ms?,
            after_no_answer: after_no_answer?,
            busy_limit: u32::try_from(busy_limit?).ok()?,
            recorded: row.recorded,
        };
        Some(QueueConfig { id: row.id, name: name?, rules })
    }

    fn after_no_answer(&mut self, row: &QueueRow) -> Option<AfterNoAnswer> {
        match row.after_no_answer.as_str() {
            "not_ready" => Some(AfterNoAnswer::NotReady),
            "stay_ready" => Some(AfterNoAnswer::StayReady),
            _ => {
                self.report("queue", &row.id, "after no answer must be not_ready or stay_ready");
                None
            }
        }
    }

    fn trunk(&mut self, row: &TrunkRow) -> Option<TrunkConfig> {
        let name = self.parse::<Name>("trunk", &row.id, "name", &row.name);
        if !(1..=32).contains(&row.sources.len()) {
            self.report("trunk", &row.id, "must have 1 to 32 sources");
        }
        for source in &row.sources {
            if !is_source(source) {
                self.report("trunk", &row.id, "a source must be an address or a network, as 192.0.2.7 or 192.0.2.0/24");
            }
        }
        let capacity = u32::try_from(row.capacity).ok().filter(|capacity| (1..=10_000).contains(capacity));
        if capacity.is_none() {
            self.report("trunk", &row.id, "the capacity must be 1 to 10,000");
        }
        let numbers = self.numbers(row);
        let destination = row.destination.clone();
        if destination.as_deref().is_some_and(|text| !is_destination(text)) {
            self.report(
                "trunk",
                &row.id,
                "the destination must be an address with or without a port, as 192.0.2.7:5060",
            );
        }
        let caller_id = self.caller_id("trunk", &row.id, row.caller_id.as_deref());
        Some(TrunkConfig {
            id: row.id,
            name: name?,
            sources: row.sources.clone(),
            capacity: capacity?,
            numbers,
            destination,
            caller_id,
        })
    }

    fn caller_id(&mut self, kind: &'static str, id: &dyn fmt::Display, text: Option<&str>) -> Option<String> {
        let text = text?;
        let digits = text.strip_prefix('+').unwrap_or(text);
        if digits.is_empty() || digits.len() > 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            self.report(kind, &id, "the number that is shown must be 1 to 20 digits, with or without +");
        }
        Some(text.to_owned())
    }

    /// The longest prefix first.
    fn outbound(&mut self, rows: &TenantRows) -> Vec<OutboundRouteConfig> {
        let known: BTreeSet<TrunkId> = rows.trunks.iter().map(|trunk| trunk.id).collect();
        let mut routes: Vec<OutboundRouteConfig> =
            rows.outbound_routes.iter().map(|row| self.outbound_route(row, &known)).collect();
        routes.sort_by(|one, other| other.prefix.len().cmp(&one.prefix.len()).then(one.prefix.cmp(&other.prefix)));
        routes
    }

    fn outbound_route(&mut self, row: &OutboundRouteRow, known: &BTreeSet<TrunkId>) -> OutboundRouteConfig {
        let is_prefix = |text: &str| {
            let digits = text.strip_prefix('+').unwrap_or(text);
            digits.len() <= 15 && digits.bytes().all(|byte| byte.is_ascii_digit())
        };
        if ![&row.prefix, &row.strip, &row.prepend].into_iter().all(|text| is_prefix(text)) {
            self.report("outbound route", &row.id, "prefixes must be at most 15 digits, with or without +");
        }
        if !(1..=8).contains(&row.trunks.len()) || row.trunks.iter().any(|trunk| !known.contains(trunk)) {
            self.report("outbound route", &row.id, "must have 1 to 8 trunks, each of which exists");
        }
        OutboundRouteConfig {
            prefix: row.prefix.clone(),
            strip: row.strip.clone(),
            prepend: row.prepend.clone(),
            trunks: row.trunks.clone(),
            caller_id: self.caller_id("outbound route", &row.id, row.caller_id.as_deref()),
        }
    }

    fn numbers(&mut self, row: &TrunkRow) -> NumberPlan {
        let digits = |text: &str, most: usize| text.len() <= most && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_code = |text: &str| !text.is_empty() && !text.starts_with('0') && digits(text, 3);
        if row.country_code.as_deref().is_some_and(|code| !is_code(code)) {
            self.report("trunk", &row.id, "the country code must be 1 to 3 digits and not begin with 0");
        }
        if !digits(&row.international_prefix, 5) || !digits(&row.national_prefix, 5) {
            self.report("trunk", &row.id, "a prefix must be 0 to 5 digits");
        }
        NumberPlan {
            country_code: row.country_code.clone(),
            international_prefix: row.international_prefix.clone(),
            national_prefix: row.national_prefix.clone(),
        }
    }

    /// A queue or trunk that exists but is faulty was reported as such; its routes are not reported again.
    fn routes(&mut self, rows: &TenantRows) -> BTreeMap<String, RouteConfig> {
        let queues: BTreeSet<QueueId> = rows.queues.iter().map(|queue| queue.id).collect();
        let trunks: BTreeSet<TrunkId> = rows.trunks.iter().map(|trunk| trunk.id).collect();
        self.each(&rows.routes, |compiler, row| {
            compiler.route(row, &queues, &trunks).map(|route| (route.did.clone(), route))
        })
    }

    fn route(&mut self, row: &RouteRow, queues: &BTreeSet<QueueId>, trunks: &BTreeSet<TrunkId>) -> Option<RouteConfig> {
        let did = self.parse::<PhoneNumber>("route", &row.id, "number", &row.did);
        if !queues.contains(&row.queue) {
            self.report("route", &row.id, "leads to a queue that does not exist");
        }
        if row.trunk.is_some_and(|trunk| !trunks.contains(&trunk)) {
            self.report("route", &row.id, "is for a trunk that does not exist");
        }
        Some(RouteConfig { did: did?.as_str().to_owned(), queue: row.queue, trunk: row.trunk })
    }

    fn credentials(&mut self, rows: &TenantRows) -> BTreeMap<String, SipCredential> {
        let mut credentials = BTreeMap::new();
        for row in &rows.agents {
            let (Some(user), Some(ha1_md5), Some(ha1_sha256)) = (&row.sip_user, &row.ha1_md5, &row.ha1_sha256) else {
                continue;
            };
            if !is_hex(ha1_md5, 32) || !is_hex(ha1_sha256, 64) {
                self.report("agent", &row.id, "the stored SIP hashes are malformed; set the SIP password again");
                continue;
            }
            let credential = SipCredential {
                user: user.clone(),
                agent: row.id,
                ha1_md5: ha1_md5.clone(),
                ha1_sha256: ha1_sha256.clone(),
            };
            if credentials.insert(user.clone(), credential).is_some() {
                self.report("agent", &row.id, "another agent has the same SIP user");
            }
        }
        credentials
    }

    fn known_skill(&mut self, kind: &str, id: &dyn fmt::Display, text: &str) -> Option<SkillName> {
        let skill = text.parse::<SkillName>().ok().filter(|skill| self.skills.contains(skill));
        if skill.is_none() {
            self.report(kind, id, "names a skill that does not exist");
        }
        skill
    }

    fn level(&mut self, kind: &str, id: &dyn fmt::Display, value: i16) -> Option<SkillLevel> {
        let level = u8::try_from(value).ok().and_then(|value| SkillLevel::try_from(value).ok());
        if level.is_none() {
            self.report(kind, id, "a skill's level must be 1 to 10");
        }
        level
    }

    fn within(&mut self, row: &QueueRow, what: &str, value: i64, least: i64, most: i64) -> Option<u64> {
        if !(least..=most).contains(&value) {
            self.report("queue", &row.id, &format!("{what} must be {least} to {most}"));
            return None;
        }
        u64::try_from(value).ok()
    }

    fn parse<T>(&mut self, kind: &str, id: &dyn fmt::Display, field: &str, text: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        match text.parse() {
            Ok(value) => Some(value),
            Err(problem) => {
                self.report(kind, id, &format!("the {field} {problem}"));
                None
            }
        }
    }

    fn report(&mut self, kind: &str, id: &dyn fmt::Display, problem: &str) {
        if self.wrong.len() < MAX_CONTRADICTIONS {
            self.wrong.push(Contradiction { object: format!("{kind} {id}"), problem: problem.to_owned() });
        }
    }
}

/// An address, or a network as `address/bits`.
fn is_source(text: &str) -> bool {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= most))
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// An address with or without a port. Names are never looked up on the way of a call.
fn is_destination(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || text.parse::<std::net::SocketAddr>().is_ok()
}
