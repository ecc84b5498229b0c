//! Arrival of interactions: what is refused, what the queue adds.

use ringdown_domain::{
    CustomerSide, InteractionState, MAX_REQUIREMENTS, Media, Origin, Recording, SkillRequirement, TimestampMs,
};
use ringdown_events::{
    Done, InteractionRecord, JournalEvent, NewInteraction, QueueRules, Refusal, RefusalCode, Trigger,
};

use super::{MAX_WAITING, Router, refuse, skills};
use crate::conversation::is_voice;

/// Most free notes, and the most characters of a key and of a value.
const MAX_ATTRIBUTES: usize = 16;
const MAX_ATTRIBUTE_KEY_CHARS: usize = 64;
const MAX_ATTRIBUTE_VALUE_CHARS: usize = 256;
/// Earliest arrival believed, in milliseconds before now: the longest wait a queue may allow.
const MAX_AGE_MS: u64 = 86_400_000;
/// A ring time of less would let one phone be rung over and over without a pause.
pub(super) const MIN_RING_TIMEOUT_MS: u64 = 1_000;

impl Router {
    pub(super) fn create_interaction(&mut self, new: &NewInteraction) -> Result<Done, Refusal> {
        let record = self.admit(new)?;
        let id = record.id;
        self.emit(JournalEvent::InteractionQueued { interaction: record.clone() });
        let slot = self.insert_record(record);
        let offered = self.seek_or_wait(slot, Trigger::InteractionArrived);
        Ok(Done::Created { interaction: id, offered })
    }

    /// The record of a new interaction, or why it is refused.
    fn admit(&self, new: &NewInteraction) -> Result<InteractionRecord, Refusal> {
        self.check_new_id(new.id)?;
        check_attributes(new)?;
        let default_rules;
        let rules = match new.queue {
            Some(queue) => match self.queues.get(&queue) {
                Some(super::Queue { rules: Some(rules), waiting }) => {
                    check_room(*waiting, rules.capacity, "the queue")?;
                    rules
                }
                Some(super::Queue { rules: None, .. }) | None => {
                    return refuse(RefusalCode::UnknownQueue, "no such queue");
                }
            },
            None => {
                default_rules = QueueRules::default();
                &default_rules
            }
        };
        check_room(self.waiting.len(), MAX_WAITING, "the tenant")?;
        let requirements = self.requirements_of(new, rules)?;
        Ok(new_record(new, rules, requirements, self.now()))
    }

    fn requirements_of(&self, new: &NewInteraction, rules: &QueueRules) -> Result<Vec<SkillRequirement>, Refusal> {
        if new.queue.is_none() && new.requirements.is_empty() {
            return refuse(RefusalCode::Malformed, "requirements must not be empty without a queue");
        }
        if new.requirements.len() > MAX_REQUIREMENTS {
            return refuse(RefusalCode::Malformed, "requirements must be at most 16");
        }
        if let Some(unknown) = new.requirements.iter().find(|need| !self.skills.is_known(&need.skill)) {
            return refuse(RefusalCode::UnknownSkill, format!("no skill {}", unknown.skill));
        }
        // A queue may still name a skill that was removed; nobody could ever serve it.
        let of_queue = rules.requirements.iter().filter(|need| self.skills.is_known(&need.skill));
        let merged = skills::merge(of_queue.chain(&new.requirements));
        if merged.len() > MAX_REQUIREMENTS {
            return refuse(RefusalCode::Malformed, "requirements must be at most 16, the queue's included");
        }
        Ok(merged)
    }

    /// Takes skills that no longer exist out of what an interaction needs, since it would wait for ever. The interaction
    /// must be in no index. True when something was taken out.
    pub(super) fn drop_unknown_needs(&mut self, slot: u32) -> bool {
        let record = &mut self.interactions[slot].record;
        let before = record.requirements.len();
        record.requirements.retain(|need| self.skills.is_known(&need.skill));
        if record.requirements.len() == before {
            return false;
        }
        let needs = self.skills.needs(&record.requirements, is_voice(record));
        let set = self.waiting.use_set(needs, &mut self.line);
        let old = std::mem::replace(&mut self.interactions[slot].set, set);
        self.waiting.drop_set(old, &mut self.line);
        true
    }
}

fn new_record(
    new: &NewInteraction,
    rules: &QueueRules,
    requirements: Vec<SkillRequirement>,
    now: TimestampMs,
) -> InteractionRecord {
    let priority = new.priority.unwrap_or(rules.priority);
    let earliest = TimestampMs(now.0.saturating_sub(MAX_AGE_MS));
    let arrived = new.arrived_at_ms.unwrap_or(now).clamp(earliest, now);
    InteractionRecord {
        id: new.id,
        media: new.media,
        delivery: new.delivery,
        queue: new.queue,
        requirements,
        priority,
        caller: new.caller.clone(),
        called: new.called.clone(),
        node: new.node.clone(),
        attributes: new.attributes.clone(),
        arrived_at_ms: arrived,
        rank_ms: TimestampMs(arrived.0.saturating_sub(priority.head_start_ms())),
        wait_limit_at_ms: rules.wait_limit_ms.map(|limit| arrived.plus_ms(limit)),
        ring_timeout_ms: rules.ring_timeout_ms.max(MIN_RING_TIMEOUT_MS),
        wrap_up_ms: rules.wrap_up_ms,
        offers: 0,
        state: InteractionState::Waiting,
        origin: origin_of(new.media),
        parent: None,
        role: None,
        initiator: None,
        target: None,
        children: Vec::new(),
        parties: Vec::new(),
        held_since_ms: None,
        muted: false,
        recording: if new.media == Media::Voice { recording_of(rules) } else { Recording::Off },
        customer: CustomerSide::Here,
        disposition: None,
    }
}

/// Whether the calls of a queue are recorded from their beginning.
pub(super) const fn recording_of(rules: &QueueRules) -> Recording {
    if rules.recorded { Recording::On } else { Recording::Off }
}

/// What arrives by itself.
const fn origin_of(media: Media) -> Origin {
    match media {
        Media::Task => Origin::Task,
        Media::Voice => Origin::Inbound,
    }
}

pub(super) fn check_room(waiting: u32, limit: u32, who: &str) -> Result<(), Refusal> {
    if waiting < limit {
        return Ok(());
    }
    refuse(RefusalCode::Full, format!("{who} holds {limit} waiting interactions, as many as it may"))
}

fn check_attributes(new: &NewInteraction) -> Result<(), Refusal> {
    if new.attributes.len() > MAX_ATTRIBUTES {
        return refuse(RefusalCode::Malformed, "attributes must be at most 16");
    }
    let too_long = |(key, value): (&String, &String)| {
        key.chars().count() > MAX_ATTRIBUTE_KEY_CHARS || value.chars().count() > MAX_ATTRIBUTE_VALUE_CHARS
    };
    if new.attributes.iter().any(too_long) {
        return refuse(RefusalCode::Malformed, "attributes: keys to 64 and values to 256 characters");
    }
    Ok(())
}
