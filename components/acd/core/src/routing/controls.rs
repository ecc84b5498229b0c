//! What agents do with a call they have: hold, mute, record, send digits, class it, take longer over it.

use ringdown_domain::{AgentId, AgentState, InteractionId, InteractionState, Recording, TimestampMs};
use ringdown_events::{Disposition, Done, JournalEvent, Refusal, RefusalCode};

use super::timers::Timer;
use super::{Router, refuse};
use crate::conversation::is_voice;

/// Bounds of what an agent's wrap-up is extended by, and how far ahead its end may lie, in milliseconds.
const MIN_EXTENSION_MS: u64 = 1_000;
const MAX_EXTENSION_MS: u64 = 3_600_000;
/// How long after an interaction's end its disposition may change, in milliseconds.
const DISPOSITION_MS: u64 = 3_600_000;
const MAX_DIGITS: usize = 32;
const MAX_CODE_CHARS: usize = 64;
const MAX_NOTES_CHARS: usize = 4_000;
const MAX_FIELDS: usize = 32;
const MAX_FIELD_KEY_CHARS: usize = 64;
const MAX_FIELD_VALUE_CHARS: usize = 1_000;

impl Router {
    pub(super) fn hold(&mut self, id: InteractionId, held: bool) -> Result<Done, Refusal> {
        let (slot, _) = self.call_with_customer(id)?;
        let now = self.now();
        let record = &mut self.interactions[slot].record;
        if record.held_since_ms.is_some() == held {
            return Ok(Done::Unchanged);
        }
        record.held_since_ms = held.then_some(now);
        self.interaction_changed(slot);
        self.families.insert(id);
        Ok(Done::Changed)
    }

    /// Of the interaction itself or of a child: whose leg it is.
    pub(super) fn mute(&mut self, id: InteractionId, muted: bool) -> Result<Done, Refusal> {
        let slot = self.find_interaction(id)?;
        let record = &mut self.interactions[slot].record;
        if !is_voice(record) || !matches!(record.state, InteractionState::Connected { .. }) {
            return refuse(RefusalCode::NotConnected, "no agent is on the line");
        }
        if record.muted == muted {
            return Ok(Done::Unchanged);
        }
        record.muted = muted;
        self.interaction_changed(slot);
        Ok(Done::Changed)
    }

    pub(super) fn set_recording(&mut self, id: InteractionId, recording: Recording) -> Result<Done, Refusal> {
        let (slot, _) = self.connected_call(id)?;
        let record = &mut self.interactions[slot].record;
        if record.recording == recording {
            return Ok(Done::Unchanged);
        }
        if (record.recording, recording) == (Recording::Off, Recording::Paused) {
            return refuse(RefusalCode::NotConnected, "the call is not recorded, so there is nothing to pause");
        }
        record.recording = recording;
        self.interaction_changed(slot);
        Ok(Done::Changed)
    }

    /// The journal tells that digits were sent, not which: they may be a card's.
    pub(super) fn send_digits(&mut self, id: InteractionId, digits: &str) -> Result<Done, Refusal> {
        let (slot, _) = self.call_with_customer(id)?;
        let fits = |digit: u8| matches!(digit, b'0'..=b'9' | b'*' | b'#' | b'A'..=b'D');
        if !(1..=MAX_DIGITS).contains(&digits.len()) || !digits.bytes().all(fits) {
            return refuse(RefusalCode::Malformed, "digits must be 1 to 32 of 0-9 * # A-D");
        }
        self.interaction_changed(slot);
        Ok(Done::Changed)
    }

    /// The end of the wrap-up moves, to an hour from now at most.
    pub(super) fn extend_wrap_up(&mut self, id: AgentId, by_ms: u64) -> Result<Done, Refusal> {
        let agent = self.find_agent(id)?;
        if !(MIN_EXTENSION_MS..=MAX_EXTENSION_MS).contains(&by_ms) {
            return refuse(RefusalCode::Malformed, "by_ms must be 1000 to 3600000");
        }
        let latest = self.now().plus_ms(MAX_EXTENSION_MS);
        let record = &mut self.agents[agent].record;
        let AgentState::WrappingUp { interaction, until_ms: before } = record.state else {
            return refuse(RefusalCode::AgentBusy, "the agent does not wrap up");
        };
        let until_ms = before.plus_ms(by_ms).min(latest).max(before);
        if until_ms == before {
            return Ok(Done::Unchanged);
        }
        record.state = AgentState::WrappingUp { interaction, until_ms };
        self.timers.clear(before, Timer::WrapUp(id));
        self.timers.set(until_ms, Timer::WrapUp(id));
        self.agent_changed(agent);
        Ok(Done::Changed)
    }

    /// A live interaction's, or one's that ended within the hour and is remembered.
    pub(super) fn set_disposition(&mut self, id: InteractionId, disposition: &Disposition) -> Result<Done, Refusal> {
        check_disposition(disposition)?;
        let slot = match self.find_interaction(id) {
            Ok(slot) => slot,
            Err(refusal) if refusal.code == RefusalCode::InteractionEnded => {
                return self.class_ended(id, disposition).ok_or(refusal);
            }
            Err(refusal) => return Err(refusal),
        };
        let record = &mut self.interactions[slot].record;
        if record.disposition.as_ref() == Some(disposition) {
            return Ok(Done::Unchanged);
        }
        record.disposition = Some(disposition.clone());
        self.interaction_changed(slot);
        Ok(Done::Changed)
    }

    /// None: it ended too long ago.
    fn class_ended(&mut self, id: InteractionId, disposition: &Disposition) -> Option<Done> {
        let earliest = TimestampMs(self.now().0.saturating_sub(DISPOSITION_MS));
        let record = self.recent.find(id, earliest)?;
        if record.disposition.as_ref() == Some(disposition) {
            return Some(Done::Unchanged);
        }
        record.disposition = Some(disposition.clone());
        let record = record.clone();
        self.changes.classed.push(record.clone());
        self.emit(JournalEvent::InteractionChanged { interaction: record });
        Some(Done::Changed)
    }
}

fn check_disposition(disposition: &Disposition) -> Result<(), Refusal> {
    let Disposition { code, notes, fields } = disposition;
    if !(1..=MAX_CODE_CHARS).contains(&code.chars().count()) {
        return refuse(RefusalCode::Malformed, "code must be 1 to 64 characters");
    }
    if notes.chars().count() > MAX_NOTES_CHARS {
        return refuse(RefusalCode::Malformed, "notes must be at most 4000 characters");
    }
    let too_long = |(key, value): (&String, &String)| {
        key.is_empty() || key.chars().count() > MAX_FIELD_KEY_CHARS || value.chars().count() > MAX_FIELD_VALUE_CHARS
    };
    if fields.len() > MAX_FIELDS || fields.iter().any(too_long) {
        return refuse(RefusalCode::Malformed, "fields: at most 32, keys to 64 and values to 1000 characters");
    }
    Ok(())
}
