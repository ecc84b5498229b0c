//! Random histories: the core and the naive model must tell the same story, in the same words, step by step. Now and then
//! the core is replaced by one restored from the store, which nobody may notice.

use std::collections::BTreeMap;
use std::time::Instant;

use ringdown_domain::{
    AgentId, AgentStatus, Delivery, EndReason, InteractionId, InteractionState, Media, OfferFailure, OfferId, Origin,
    Priority, ReasonCode, Recording, TimestampMs,
};
use ringdown_events::{
    AfterNoAnswer, Command, CompiledConfig, ConsultEnd, Disposition, InteractionRecord, JournalEvent, NewCall,
    NewInteraction, Party, QueueRules, RouterRecord, SupervisionMode, Target,
};

use super::conservation::{self, Store};
use super::model::Model;
use super::setup::{
    Choices, add_agent, add_queue, agent_id, bytes, config, interaction_id, need, new_interaction, queue_id, skill,
    tenant,
};
use crate::routing::{Changes, OfferIds, Router};

const STEPS_PER_SEED: u64 = 2_000;

#[test]
fn the_core_and_a_naive_model_tell_the_same_story() {
    let started = Instant::now();
    if let Some(seed) = number_from_environment("RINGDOWN_SEED") {
        History::new(seed).run(STEPS_PER_SEED);
        return;
    }
    let steps = number_from_environment("RINGDOWN_STEPS").unwrap_or(3_000_000);
    let mut met = BTreeMap::new();
    for seed in 1..=steps.div_ceil(STEPS_PER_SEED) {
        let mut history = History::new(seed);
        history.run(STEPS_PER_SEED);
        for (what, count) in std::mem::take(&mut history.met) {
            *met.entry(what).or_insert(0_u64) += count;
        }
    }
    println!("{steps} steps in {:?}: {met:#?}", started.elapsed());
    let rare: Vec<_> =
        WHAT_MUST_HAPPEN.iter().filter(|what| met.get(**what).is_none_or(|count| *count < steps / 20_000)).collect();
    assert!(rare.is_empty(), "the histories no longer show {rare:?}");
}

/// A history that never shows these proves little.
const WHAT_MUST_HAPPEN: [&str; 43] = [
    "event acd_changed",
    "event agent_changed",
    "event agent_removed",
    "event config_applied",
    "event interaction_changed",
    "event interaction_connected",
    "event interaction_ended",
    "event interaction_offered",
    "event interaction_queued",
    "event offer_failed",
    "five candidates",
    "refused AgentBusy",
    "refused DuplicateInteraction",
    "refused Full",
    "refused InteractionEnded",
    "refused Malformed",
    "refused NotConnected",
    "refused StaleOffer",
    "refused UnknownAgent",
    "refused UnknownInteraction",
    "refused UnknownQueue",
    "refused UnknownSkill",
    "trigger AgentAvailable",
    "trigger ConfigChanged",
    "trigger Directed",
    "trigger InteractionArrived",
    "trigger OfferFailed",
    "ended Abandoned",
    "ended AgentHangup",
    "ended Busy",
    "ended CallerHangup",
    "ended NoAnswer",
    "ended NodeLost",
    "ended Transferred",
    "ended Unreachable",
    "ended WaitLimit",
    "failure Busy",
    "failure HungUp",
    "failure NoAnswer",
    "party Conference of Consult",
    "party Conference of Internal",
    "party Consult with a number",
    "party Whisper of Supervision",
];

fn number_from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

struct History {
    seed: u64,
    step: u64,
    choices: Choices,
    now: TimestampMs,
    config: CompiledConfig,
    router: Router,
    model: Model,
    store: Store,
    interactions: u64,
    /// Offers seen, so that stale ones are named too.
    offers: Vec<(InteractionId, OfferId)>,
    /// How crowded and how skilled this world is.
    agents: u64,
    skills: u64,
    levels: u64,
    /// Whether most of what happens is about calls.
    calls: bool,
    started: bool,
    met: BTreeMap<String, u64>,
}

/// Says which seed to run again when a check fails, whatever the check.
impl Drop for History {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("history failed: RINGDOWN_SEED={} at step {}", self.seed, self.step);
        }
    }
}

impl History {
    fn new(seed: u64) -> Self {
        let mut choices = Choices::new(seed);
        let calls = seed.is_multiple_of(2);
        let agents = *choices.pick(if calls { &[3, 5, 8, 12, 20] } else { &[1, 2, 3, 5, 8, 8, 20, 100][..] });
        let skills = 1 + choices.below(5);
        let levels = *choices.pick(&[1, 1, 2, 10]);
        let ids = OfferIds::new(tenant(), seed);
        let config = config(0, skills);
        Self {
            seed,
            step: 0,
            choices,
            now: TimestampMs(1_700_000_000_000),
            router: Router::new(ids.clone()),
            model: Model::new(ids, config.clone()),
            config,
            store: Store::default(),
            interactions: 0,
            offers: Vec::new(),
            agents,
            skills,
            levels,
            calls,
            started: false,
            met: BTreeMap::new(),
        }
    }

    fn run(&mut self, steps: u64) {
        self.configure();
        self.compare();
        for step in 0..steps {
            self.step = step;
            self.pass_time();
            match self.choices.below(1_000) {
                0..5 => self.configure(),
                5..10 => self.restore(),
                10..300 => self.tick(),
                _ => self.command(),
            }
            self.compare();
        }
    }

    /// Mostly the same or the next millisecond, so that clocks are shared; sometimes exactly to the next deadline.
    fn pass_time(&mut self) {
        let deadline = self.model.next_deadline().map_or(0, |at| at.since_ms(self.now));
        self.now = self.now.plus_ms(match self.choices.below(if self.calls { 80 } else { 20 }) {
            0 => deadline,
            1 => deadline.saturating_sub(1),
            2 => self.choices.below(3_000),
            3 if self.choices.one_in(20) => self.choices.below(40_000),
            4..10 => 1,
            _ => 0,
        });
    }

    fn tick(&mut self) {
        self.router.tick(self.now);
        self.model.tick(self.now);
    }

    fn command(&mut self) {
        let command = self.choose_command();
        let result = self.router.command(self.now, &command);
        let expected = self.model.command(self.now, &command);
        if let Err(refusal) = &result {
            *self.met.entry(format!("refused {:?}", refusal.code)).or_default() += 1;
        }
        assert_eq!(result.map_err(|refusal| refusal.code), expected, "{command:?}");
    }

    fn configure(&mut self) {
        let version = self.config.meta.version + 1;
        let same = self.choices.one_in(10) && self.started;
        self.started = true;
        if !same {
            self.config = self.choose_config(version);
        }
        self.router.apply_config(self.now, &self.config);
        self.model.apply_config(self.now, &self.config);
    }

    /// Another process takes over from the store.
    fn restore(&mut self) {
        let record = RouterRecord {
            open: self.router.is_open(),
            config_version: self.router.config_version(),
            ..RouterRecord::default()
        };
        let mut agents: Vec<_> = self.store.agents.values().cloned().collect();
        let mut interactions: Vec<_> = self.store.live.values().cloned().collect();
        interactions.extend(self.model.ended.iter().cloned());
        if self.choices.one_in(2) {
            agents.reverse();
            interactions.reverse();
        }
        let ids = self.router.offer_ids().clone();
        self.router = Router::restore(ids, &self.config, agents, interactions, &record);
        self.router.apply_config(self.now, &self.config);
        self.model.apply_config(self.now, &self.config);
    }

    fn compare(&mut self) {
        let mut events = Vec::new();
        let mut changes = Changes::default();
        self.router.drain_events(&mut events);
        self.router.drain_changes(&mut changes);
        self.store.write(&self.router, &changes);
        for (index, event) in events.iter().enumerate() {
            assert_eq!(Some(event), self.model.events.get(index), "event {index}");
        }
        events.iter().for_each(|(_, event)| self.note(event));
        assert_eq!(events.len(), self.model.events.len(), "events of the model: {:?}", self.model.events);
        self.model.events.clear();
        assert_eq!(self.router.next_deadline(), self.model.next_deadline());
        for interaction in self.model.live.values() {
            let open = match interaction.state {
                InteractionState::Offered { offer, .. } => offer,
                InteractionState::External { leg, deadline_ms: Some(_), .. } => leg,
                _ => continue,
            };
            if !self.offers.contains(&(interaction.id, open)) {
                self.offers.push((interaction.id, open));
            }
        }
        if self.step.is_multiple_of(8) {
            assert!(conservation::sorted_agents(&self.router).into_values().eq(self.model.agents.values()));
            assert!(conservation::sorted_live(&self.router).into_values().eq(self.model.live.values()));
            conservation::check(&self.router);
            self.store.check(&self.router);
        }
        let excess = self.offers.len().saturating_sub(30);
        self.offers.drain(..excess);
    }

    fn note(&mut self, event: &JournalEvent) {
        let kind = match event {
            JournalEvent::AcdChanged { .. } => "acd_changed",
            JournalEvent::AgentChanged { .. } => "agent_changed",
            JournalEvent::AgentRemoved { .. } => "agent_removed",
            JournalEvent::ConfigApplied { .. } => "config_applied",
            JournalEvent::InteractionChanged { .. } => "interaction_changed",
            JournalEvent::InteractionConnected { .. } => "interaction_connected",
            JournalEvent::InteractionEnded { .. } => "interaction_ended",
            JournalEvent::InteractionOffered { .. } => "interaction_offered",
            JournalEvent::InteractionQueued { .. } => "interaction_queued",
            JournalEvent::OfferFailed { .. } => "offer_failed",
        };
        let mut met = vec![format!("event {kind}")];
        if let JournalEvent::InteractionOffered { decision, .. } = event {
            met.push(format!("trigger {:?}", decision.trigger));
            if decision.agents.len() + decision.interactions.len() == 5 {
                met.push("five candidates".to_owned());
            }
        }
        if let JournalEvent::OfferFailed { failure: Some(failure), .. } = event {
            met.push(format!("failure {failure:?}"));
        }
        if let JournalEvent::InteractionEnded { interaction } = event
            && let InteractionState::Ended { reason, .. } = interaction.state
        {
            met.push(format!("ended {reason:?}"));
        }
        if let JournalEvent::InteractionChanged { interaction } = event {
            for party in &interaction.parties {
                let role = party.role.map_or("taking over".to_owned(), |role| format!("{role:?}"));
                met.push(format!("party {role} of {:?}", party.origin));
                if party.number.is_some() {
                    met.push(format!("party {role} with a number"));
                }
            }
        }
        for what in met {
            *self.met.entry(what).or_default() += 1;
        }
    }

    fn choose_command(&mut self) -> Command {
        let kind = if self.calls {
            // Calls live longer here, and more is done with them.
            match self.choices.below(100) {
                0..12 => 0,
                12..42 => 30,
                42..45 => 50,
                45..54 => 72,
                54..56 => 90,
                56 => 96 + self.choices.below(4),
                _ => 100,
            }
        } else {
            self.choices.below(110)
        };
        match kind {
            100.. => self.choose_act(),
            0..30 => Command::CreateInteraction(self.choose_interaction()),
            30..50 => self.choose_offer_command(),
            50..72 => Command::EndInteraction {
                interaction: self.choose_interaction_id(),
                reason: *self.choices.pick(&[
                    EndReason::CallerHangup,
                    EndReason::Abandoned,
                    EndReason::AgentHangup,
                    EndReason::Completed,
                    EndReason::Failed,
                ]),
                at_ms: self.choices.one_in(3).then(|| TimestampMs((self.now.0 + 50) - self.choices.below(2_000))),
            },
            72..90 => Command::SetAgentStatus { agent: self.choose_agent(), status: self.choose_status() },
            90..96 => Command::FinishWrapUp { agent: self.choose_agent() },
            96..98 => Command::SetAcdOpen { open: self.choices.one_in(2) },
            98 => Command::SetAcdOpen { open: true },
            _ => Command::LoseNode {
                node: format!("node{}", self.choices.below(3)).parse().unwrap(),
                before_ms: TimestampMs(self.now.0 + 1 - self.choices.below(5_000)),
            },
        }
    }

    /// Something an agent or a supervisor does with a call.
    fn choose_act(&mut self) -> Command {
        let interaction = self.choose_call();
        match self.choices.below(30) {
            0..5 => {
                let (consult, target) = (self.choose_new_id(), self.choose_target());
                Command::ConsultInteraction { interaction, consult, target }
            }
            5..9 => Command::EndConsult {
                interaction: self.choose_consulted().unwrap_or(interaction),
                how: *self.choices.pick(&[ConsultEnd::Cancel, ConsultEnd::Complete, ConsultEnd::Conference]),
            },
            9..11 => {
                let interaction = self.choose_consulted().filter(|_| self.choices.one_in(2)).unwrap_or(interaction);
                let leg = match self.model.live.get(&interaction).map(|record| &record.state) {
                    Some(InteractionState::Connected { offer, .. }) => *offer,
                    Some(InteractionState::External { leg, .. }) => *leg,
                    _ => OfferId::from_parts(9, &bytes(9)),
                };
                Command::EndLeg { interaction, leg, at_ms: self.now }
            }
            11 => Command::HoldInteraction { interaction, held: self.choices.one_in(2) },
            12 => Command::MuteInteraction { interaction, muted: self.choices.one_in(2) },
            13 => Command::SendDigits { interaction, digits: (*self.choices.pick(&["1#", "", "x"])).to_owned() },
            14 => {
                let recording = *self.choices.pick(&[Recording::On, Recording::Off, Recording::Paused]);
                Command::SetRecording { interaction, recording }
            }
            15..18 => Command::TransferInteraction { interaction, target: self.choose_target() },
            18..20 => Command::MoveInteraction {
                interaction: self.choose_interaction_id(),
                queue: queue_id(self.choices.below(4)),
            },
            20..23 => Command::SuperviseInteraction {
                interaction,
                supervision: self.choose_new_id(),
                supervisor: self.choose_agent(),
                mode: *self.choices.pick(&[
                    SupervisionMode::Barge,
                    SupervisionMode::Listen,
                    SupervisionMode::TakeOver,
                    SupervisionMode::Whisper,
                ]),
            },
            23..26 => {
                let (id, agent, target) = (self.choose_new_id(), self.choose_agent(), self.choose_target());
                let queue = self.choices.one_in(2).then(|| queue_id(self.choices.below(3)));
                let node = format!("node{}", self.choices.below(3)).parse().unwrap();
                Command::PlaceCall(NewCall { id, agent, target, queue, node })
            }
            26 => Command::AnswerCustomer { interaction },
            27 => {
                Command::ExtendWrapUp { agent: self.choose_agent(), by_ms: *self.choices.pick(&[0, 1_000, 3_600_000]) }
            }
            28 => Command::SetDisposition {
                interaction: self.choose_interaction_id(),
                disposition: Disposition {
                    code: (*self.choices.pick(&["a", "b", ""])).to_owned(),
                    notes: String::new(),
                    fields: BTreeMap::new(),
                },
            },
            _ => Command::ObservePhone { agent: self.choose_agent(), reachable: !self.choices.one_in(3) },
        }
    }

    /// Mostly one that somebody has.
    fn choose_call(&mut self) -> InteractionId {
        let has = |record: &&InteractionRecord| {
            matches!(record.state, InteractionState::Connected { .. } | InteractionState::External { .. })
                && record.media == Media::Voice
        };
        let calls: Vec<_> = self.model.live.values().filter(has).map(|record| record.id).collect();
        if calls.is_empty() || self.choices.one_in(8) {
            self.choose_interaction_id()
        } else {
            *self.choices.pick(&calls)
        }
    }

    /// One with a consultation, open or turned into a conference.
    fn choose_consulted(&mut self) -> Option<InteractionId> {
        let consults = |party: &Party| party.origin == Origin::Consult;
        let with = self.model.live.values().filter(|record| record.parties.iter().any(consults));
        let with: Vec<_> = with.map(|record| record.id).collect();
        if with.is_empty() || self.choices.one_in(8) { None } else { Some(*self.choices.pick(&with)) }
    }

    fn choose_new_id(&mut self) -> InteractionId {
        let again = self.choices.one_in(50);
        self.interactions += u64::from(!again);
        interaction_id(self.interactions.wrapping_mul(0x9e37_79b9) % 65_521)
    }

    fn choose_target(&mut self) -> Target {
        match self.choices.below(5) {
            0..3 => Target::Agent(self.choose_agent()),
            3 => Target::Queue(queue_id(self.choices.below(4))),
            _ => Target::Number("+4930123".parse().unwrap()),
        }
    }

    fn choose_offer_command(&mut self) -> Command {
        if self.calls
            && self.choices.one_in(2)
            && let Some((interaction, offer)) = self.choose_open_offer()
        {
            return Command::AcceptOffer { interaction, offer };
        }
        let unknown = (interaction_id(self.interactions + 1), OfferId::from_parts(9, &bytes(9)));
        let recent = self.offers.len().saturating_sub(1 + usize::try_from(self.choices.below(6)).unwrap());
        let (interaction, offer) = self.offers.get(recent).copied().unwrap_or(unknown);
        match self.choices.below(if self.calls { 8 } else { 5 }) {
            0 | 1 | 5.. => Command::AcceptOffer { interaction, offer },
            2 => Command::RingOffer { interaction, offer },
            _ => Command::FailOffer {
                interaction,
                offer,
                failure: *self.choices.pick(&[
                    OfferFailure::Busy,
                    OfferFailure::HungUp,
                    OfferFailure::HungUp,
                    OfferFailure::NoAnswer,
                    OfferFailure::Rejected,
                    OfferFailure::Unreachable,
                ]),
                sip_code: self.choices.one_in(2).then_some(486),
            },
        }
    }

    fn choose_open_offer(&mut self) -> Option<(InteractionId, OfferId)> {
        let open = |record: &InteractionRecord| match record.state {
            InteractionState::Offered { offer, .. } => Some((record.id, offer)),
            InteractionState::External { leg, deadline_ms: Some(_), .. } => Some((record.id, leg)),
            _ => None,
        };
        let open: Vec<_> = self.model.live.values().filter_map(open).collect();
        if open.is_empty() { None } else { Some(*self.choices.pick(&open)) }
    }

    fn choose_interaction(&mut self) -> NewInteraction {
        let again = self.choices.one_in(50);
        self.interactions += u64::from(!again);
        // Ids come in no order, as those of two writers do.
        let number = self.interactions.wrapping_mul(0x9e37_79b9) % 65_521;
        let needs = self.choose_needs(1);
        let mut new = new_interaction(number, needs);
        if self.calls || self.choices.one_in(2) {
            new.media = Media::Voice;
        }
        if self.calls || !self.choices.one_in(3) {
            new.delivery = Delivery::Ring;
        }
        if self.choices.one_in(2) {
            new.queue = Some(queue_id(self.choices.below(4)));
        }
        if new.queue.is_none() && !self.choices.one_in(20) && new.requirements.is_empty() {
            new.requirements = vec![need(0, 1)];
        }
        if self.choices.one_in(3) {
            new.priority = Some(Priority::try_from(u8::try_from(self.choices.below(4)).unwrap()).unwrap());
        }
        if self.calls || self.choices.one_in(2) {
            new.node = Some(format!("node{}", self.choices.below(3)).parse().unwrap());
        }
        if self.choices.one_in(4) {
            let age = *self.choices.pick(&[0, 1, 500, 100_000_000]);
            new.arrived_at_ms = Some(TimestampMs(self.now.0 + 1 - self.choices.below(age + 1)));
        }
        new
    }

    fn choose_interaction_id(&mut self) -> InteractionId {
        let live: Vec<_> = self.model.live.keys().copied().collect();
        if live.is_empty() || self.choices.one_in(10) {
            let number = self.choices.below(self.interactions + 2);
            return interaction_id(number.wrapping_mul(0x9e37_79b9) % 65_521);
        }
        *self.choices.pick(&live)
    }

    fn choose_agent(&mut self) -> AgentId {
        agent_id(self.choices.below(self.agents + 1))
    }

    fn choose_status(&mut self) -> AgentStatus {
        match self.choices.below(8) {
            0 => AgentStatus::LoggedOut,
            1 => AgentStatus::NotReady { reason: ReasonCode::known("break") },
            _ => AgentStatus::Ready,
        }
    }

    fn choose_needs(&mut self, one_too_many: u64) -> Vec<ringdown_domain::SkillRequirement> {
        let count = self.choices.below(self.skills.min(3) + 1);
        let mut needs = BTreeMap::new();
        for _ in 0..count {
            let beyond = if self.choices.one_in(30) { one_too_many } else { 0 };
            needs.insert(self.choices.below(self.skills + beyond), 1 + self.choices.below(self.levels));
        }
        let mut needs: Vec<_> = needs.into_iter().map(|(name, least)| need(name, least)).collect();
        if self.choices.one_in(2) {
            needs.reverse();
        }
        needs
    }

    fn choose_config(&mut self, version: u64) -> CompiledConfig {
        let mut config = config(version, self.skills);
        if self.choices.one_in(3) {
            config.skills.remove(&skill(self.choices.below(self.skills)));
        }
        for agent in 0..self.agents {
            if self.choices.one_in(10) && version > 1 {
                continue;
            }
            let old = self.config.agents.get(&agent_id(agent));
            if let Some(old) = old.filter(|_| self.choices.one_in(2)) {
                config.agents.insert(old.id, old.clone());
                continue;
            }
            let mut skills: Vec<(u64, u64)> = Vec::new();
            for name in 0..self.skills {
                if self.choices.one_in(2) {
                    skills.push((name, 1 + self.choices.below(self.levels)));
                }
            }
            add_agent(&mut config, agent, &skills);
        }
        for queue in 0..self.choices.below(4) {
            let rules = self.choose_rules();
            add_queue(&mut config, queue, rules);
        }
        config
    }

    fn choose_rules(&mut self) -> QueueRules {
        QueueRules {
            requirements: self.choose_needs(0),
            priority: Priority::try_from(u8::try_from(self.choices.below(3)).unwrap()).unwrap(),
            ring_timeout_ms: *self.choices.pick(&[1_000, 1_500, 15_000]),
            wrap_up_ms: *self.choices.pick(&[0, 1, 2_000]),
            wait_limit_ms: *self.choices.pick(&[None, Some(1_000), Some(5_000), Some(60_000)]),
            capacity: *self.choices.pick(&[1, 5, 100]),
            service_level_ms: 20_000,
            after_no_answer: *self.choices.pick(&[AfterNoAnswer::NotReady, AfterNoAnswer::StayReady]),
            busy_limit: *self.choices.pick(&[1, 3, 9]),
            recorded: self.choices.one_in(4),
        }
    }
}
